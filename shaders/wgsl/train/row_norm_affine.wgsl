// The gradients of scale and shift, from their parts: one invocation for each column.

@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>; // [parts, width]
@group(0) @binding(0) var<storage, read_write> of_gamma: array<elem>; // [width]
@group(0) @binding(1) var<storage, read_write> of_beta: array<elem>; // [width]
@group(0) @binding(3) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let column = invocation.x;
    if column >= call.width {
        return;
    }
    var sum = vec2<f32>(0.0);
    for (var part = 0u; part < call.parts; part++) {
        sum += sums[part * call.width + column];
    }
    of_gamma[column] = elem(sum.x);
    of_beta[column] = elem(sum.y);
}
