// The gradients of both inputs of swiglu.wgsl.

struct Call {
    count: u32,
}

@group(0) @binding(0) var<storage, read_write> gate: array<elem>;
@group(0) @binding(1) var<storage, read_write> x: array<elem>;
@group(0) @binding(2) var<storage, read_write> gradient: array<elem>; // of the result
@group(0) @binding(3) var<storage, read_write> of_gate: array<elem>;
@group(0) @binding(4) var<storage, read_write> of_x: array<elem>;
@group(0) @binding(5) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    if at < call.count {
        let open = f32(gate[at]);
        let share = sigmoid(open);
        let slope = f32(gradient[at]);
        of_x[at] = elem(slope * open * share);
        of_gate[at] = elem(slope * f32(x[at]) * share * (1.0 + open * (1.0 - share)));
    }
}
