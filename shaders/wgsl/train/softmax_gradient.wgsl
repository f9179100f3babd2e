// The gradient of scores, from the weights that softmax made of them and the gradient of those: one workgroup for each row.

struct Call {
    rows: u32,
    width: u32,
}

@group(0) @binding(0) var<storage, read_write> weights: array<elem>; // [rows, width]
@group(0) @binding(1) var<storage, read_write> gradient: array<elem>; // of the weights
@group(0) @binding(2) var<storage, read_write> result: array<elem>; // [rows, width]
@group(0) @binding(3) var<storage, read_write> call: Call;

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
        sum += f32(weights[first + at]) * f32(gradient[first + at]);
    }
    let mean = total(lane, vec2<f32>(sum, 0.0)).x;
    for (var at = lane; at < call.width; at += THREADS) {
        result[first + at] = elem(f32(weights[first + at]) * (f32(gradient[first + at]) - mean));
    }
}
