// Moves an average towards the newest numbers.

struct Call {
    count: u32,
    keep: f32,
    rest: f32, // 1 - keep
}

@group(0) @binding(0) var<storage, read_write> average: array<f32>;
@group(0) @binding(1) var<storage, read_write> newest: array<f32>;
@group(0) @binding(2) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    if at < call.count {
        average[at] = average[at] * call.keep + newest[at] * call.rest;
    }
}
