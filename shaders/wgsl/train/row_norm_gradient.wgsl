// The gradient of `x`: one workgroup for each row.

@group(0) @binding(0) var<storage, read_write> x: array<elem>; // [rows, width]
@group(0) @binding(1) var<storage, read_write> gradient: array<elem>; // of the result
@group(0) @binding(2) var<storage, read_write> gamma: array<elem>; // [width]
@group(0) @binding(3) var<storage, read_write> statistics: array<vec2<f32>>; // [rows]
@group(0) @binding(4) var<storage, read_write> result: array<elem>; // [rows, width]
@group(0) @binding(5) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = min(numbered(workgroup, workgroups), call.rows - 1u);
    let first = row * call.width;
    let of_row = statistics[row];
    var sum = vec2<f32>(0.0);
    for (var at = lane; at < call.width; at += THREADS) {
        let value = f32(gradient[first + at]) * f32(gamma[at]);
        sum += vec2<f32>(value * (f32(x[first + at]) - of_row.x) * of_row.y, value);
    }
    // The mean product with the normal numbers, and the mean, which only matters where one was taken away.
    var means = total(lane, sum) / f32(call.width);
    if call.centred == 0u {
        means.y = 0.0;
    }
    for (var at = lane; at < call.width; at += THREADS) {
        let value = f32(gradient[first + at]) * f32(gamma[at]);
        let normal = (f32(x[first + at]) - of_row.x) * of_row.y;
        result[first + at] = elem((value - means.y - normal * means.x) * of_row.y);
    }
}
