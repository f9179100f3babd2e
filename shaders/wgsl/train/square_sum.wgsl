// The sums of squares of up to six tensors, each in as many parts as there are workgroups across.

struct Call {
    counts: array<u32, 6>,
}

@group(0) @binding(0) var<storage, read_write> first: array<f32>;
@group(0) @binding(1) var<storage, read_write> second: array<f32>;
@group(0) @binding(2) var<storage, read_write> third: array<f32>;
@group(0) @binding(3) var<storage, read_write> fourth: array<f32>;
@group(0) @binding(4) var<storage, read_write> fifth: array<f32>;
@group(0) @binding(5) var<storage, read_write> sixth: array<f32>;
@group(0) @binding(6) var<storage, read_write> sums: array<f32>; // [tensors, parts]
@group(0) @binding(7) var<storage, read_write> call: Call;

fn number(tensor: u32, at: u32) -> f32 {
    switch tensor {
        case 0u: { return first[at]; }
        case 1u: { return second[at]; }
        case 2u: { return third[at]; }
        case 3u: { return fourth[at]; }
        case 4u: { return fifth[at]; }
        default: { return sixth[at]; }
    }
}

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    var sum = 0.0;
    for (var at = workgroup.x * THREADS + lane; at < call.counts[workgroup.y]; at += workgroups.x * THREADS) {
        let x = number(workgroup.y, at);
        sum += x * x;
    }
    let all = total(lane, vec2<f32>(sum, 0.0));
    if lane == 0u {
        sums[workgroup.y * workgroups.x + workgroup.x] = all.x;
    }
}
