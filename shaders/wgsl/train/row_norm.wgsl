// A norm over the last axis, scaled and shifted: one workgroup for each row.
// Layer norm takes the mean away; the root mean square norm leaves it, and has no shift.

@group(0) @binding(0) var<storage, read_write> x: array<elem>; // [rows, width]
@group(0) @binding(1) var<storage, read_write> gamma: array<elem>; // [width]
@group(0) @binding(2) var<storage, read_write> beta: array<elem>; // [width]
@group(0) @binding(3) var<storage, read_write> result: array<elem>; // [rows, width]
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>; // [rows]: mean and inverse deviation
@group(0) @binding(5) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = min(numbered(workgroup, workgroups), call.rows - 1u);
    let first = row * call.width;
    var sum = 0.0;
    for (var at = lane; at < call.width; at += THREADS) {
        sum += f32(x[first + at]);
    }
    var mean = total(lane, vec2<f32>(sum, 0.0)).x / f32(call.width);
    if call.centred == 0u {
        mean = 0.0;
    }
    var squares = 0.0;
    for (var at = lane; at < call.width; at += THREADS) {
        let away = f32(x[first + at]) - mean;
        squares += away * away;
    }
    let inverse = inverseSqrt(total(lane, vec2<f32>(squares, 0.0)).x / f32(call.width) + call.epsilon);
    for (var at = lane; at < call.width; at += THREADS) {
        var y = (f32(x[first + at]) - mean) * inverse * f32(gamma[at]);
        if call.shifted != 0u {
            y += f32(beta[at]);
        }
        result[first + at] = elem(y);
    }
    if lane == 0u {
        statistics[row] = vec2<f32>(mean, inverse);
    }
}
