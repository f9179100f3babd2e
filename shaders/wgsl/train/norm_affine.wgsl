// The gradients of scale and shift: one workgroup for each channel.

@group(0) @binding(2) var<storage, read_write> sums: array<vec2<f32>>; // [batch, channels, channel_parts]
@group(0) @binding(0) var<storage, read_write> of_gamma: array<elem>; // [channels]
@group(0) @binding(1) var<storage, read_write> of_beta: array<elem>; // [channels]
@group(0) @binding(3) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let channel = workgroup.x;
    var sum = vec2<f32>(0.0);
    for (var at = lane; at < call.batch * call.channel_parts; at += THREADS) {
        let plane = at / call.channel_parts * call.channels + channel;
        sum += sums[plane * call.channel_parts + at % call.channel_parts];
    }
    let all = total(lane, sum);
    if lane == 0u {
        of_gamma[channel] = elem(all.x);
        of_beta[channel] = elem(all.y);
    }
}
