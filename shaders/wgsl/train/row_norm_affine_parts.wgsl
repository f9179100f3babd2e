// The gradients of scale and shift, summed over parts of the rows: one invocation for each column of each part.

@group(0) @binding(0) var<storage, read_write> x: array<elem>; // [rows, width]
@group(0) @binding(1) var<storage, read_write> gradient: array<elem>; // of the result
@group(0) @binding(2) var<storage, read_write> statistics: array<vec2<f32>>; // [rows]
@group(0) @binding(3) var<storage, read_write> sums: array<vec2<f32>>; // [parts, width]
@group(0) @binding(4) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    let part = at / call.width;
    let column = at % call.width;
    if part >= call.parts {
        return;
    }
    var sum = vec2<f32>(0.0);
    for (var row = part; row < call.rows; row += call.parts) {
        let value = f32(gradient[row * call.width + column]);
        let normal = (f32(x[row * call.width + column]) - statistics[row].x) * statistics[row].y;
        sum += vec2<f32>(value * normal, value);
    }
    sums[at] = sum;
}
