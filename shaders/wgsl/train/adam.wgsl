// A step of Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101). The moments are replaced.

struct Call {
    count: u32,
    rate: f32,
    keep: f32, // what weight decay leaves of a weight
    factor: f32, // on the gradient
    beta_1: f32,
    rest_1: f32, // 1 - beta_1
    unbias_1: f32, // 1 - beta_1^steps
    beta_2: f32,
    rest_2: f32,
    unbias_2: f32,
    epsilon: f32,
}

@group(0) @binding(0) var<storage, read_write> weights: array<f32>;
@group(0) @binding(1) var<storage, read_write> gradient: array<f32>;
@group(0) @binding(2) var<storage, read_write> moment_1: array<f32>;
@group(0) @binding(3) var<storage, read_write> moment_2: array<f32>;
@group(0) @binding(4) var<storage, read_write> updated: array<f32>;
@group(0) @binding(5) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    if at >= call.count {
        return;
    }
    let slope = gradient[at] * call.factor;
    let mean = moment_1[at] * call.beta_1 + slope * call.rest_1;
    let square = moment_2[at] * call.beta_2 + slope * slope * call.rest_2;
    moment_1[at] = mean;
    moment_2[at] = square;
    let change = (mean / call.unbias_1) / (sqrt(square / call.unbias_2) + call.epsilon);
    updated[at] = weights[at] * call.keep - change * call.rate;
}
