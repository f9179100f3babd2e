// The middle of SwiGLU: silu(gate) * x.

struct Call {
    count: u32,
}

@group(0) @binding(0) var<storage, read_write> gate: array<elem>;
@group(0) @binding(1) var<storage, read_write> x: array<elem>;
@group(0) @binding(2) var<storage, read_write> result: array<elem>;
@group(0) @binding(3) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    if at < call.count {
        let open = f32(gate[at]);
        result[at] = elem(open * sigmoid(open) * f32(x[at]));
    }
}
