// The gradient of `x`.

@group(0) @binding(0) var<storage, read_write> x: array<elem>;
@group(0) @binding(1) var<storage, read_write> gradient: array<elem>; // of the result
@group(0) @binding(2) var<storage, read_write> gamma: array<elem>;
@group(0) @binding(3) var<storage, read_write> beta: array<elem>;
@group(0) @binding(4) var<storage, read_write> statistics: array<vec2<f32>>; // [rows, parts]
@group(0) @binding(5) var<storage, read_write> sums: array<vec2<f32>>; // [batch, channels, channel_parts]
@group(0) @binding(6) var<storage, read_write> result: array<elem>;
@group(0) @binding(7) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let groups = call.channels / call.group;
    let index = min(numbered(workgroup, workgroups), call.batch * groups * call.chunks - 1u);
    let row = index / call.chunks;
    let of_row = statistics_of(row);
    let count = call.group * call.pixels;
    var part = vec2<f32>(0.0);
    for (var at = lane; at < call.group * call.channel_parts; at += THREADS) {
        let channel = row % groups * call.group + at / call.channel_parts;
        part += sums[row * call.group * call.channel_parts + at] * f32(gamma[channel]);
    }
    // The mean product with the normal numbers, and the mean.
    let means = total(lane, part) / f32(count);
    let chunk = part_of(index, count, call.chunks);
    for (var at = chunk.x + lane; at < chunk.y; at += THREADS) {
        let channel = at / call.pixels % call.channels;
        let normal = (f32(x[at]) - of_row.x) * of_row.y;
        let value = before_silu(f32(gradient[at]), normal * f32(gamma[channel]) + f32(beta[channel]));
        result[at] = elem((value * f32(gamma[channel]) - means.y - normal * means.x) * of_row.y);
    }
}
