// For each part of a channel of a picture: the gradient before SiLU, summed, and its products with the normal numbers.

@group(0) @binding(0) var<storage, read_write> x: array<elem>;
@group(0) @binding(1) var<storage, read_write> gradient: array<elem>; // of the result
@group(0) @binding(2) var<storage, read_write> gamma: array<elem>;
@group(0) @binding(3) var<storage, read_write> beta: array<elem>;
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>; // [rows, parts]
@group(0) @binding(5) var<storage, read_write> sums: array<vec2<f32>>; // [batch, channels, channel_parts]
@group(0) @binding(6) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = min(numbered(workgroup, workgroups), call.batch * call.channels * call.channel_parts - 1u);
    let plane = index / call.channel_parts;
    let of_row = statistics_of(plane / call.group);
    let channel = plane % call.channels;
    let part = part_of(index, call.pixels, call.channel_parts);
    var sum = vec2<f32>(0.0);
    for (var at = part.x + lane; at < part.y; at += THREADS) {
        let normal = (f32(x[at]) - of_row.x) * of_row.y;
        let value = before_silu(f32(gradient[at]), normal * f32(gamma[channel]) + f32(beta[channel]));
        sum += vec2<f32>(value * normal, value);
    }
    let all = total(lane, sum);
    if lane == 0u {
        sums[index] = all;
    }
}
