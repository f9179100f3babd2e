// For each part of a row its mean, and the sum of squares of what deviates from that.

@group(0) @binding(0) var<storage, read_write> x: array<elem>;
@group(0) @binding(1) var<storage, read_write> statistics: array<vec2<f32>>; // [rows, parts]
@group(0) @binding(2) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let count = call.batch * (call.channels / call.group) * call.parts;
    let index = min(numbered(workgroup, workgroups), count - 1u);
    let part = part_of(index, call.group * call.pixels, call.parts);
    var sum = 0.0;
    for (var at = part.x + lane; at < part.y; at += THREADS) {
        sum += f32(x[at]);
    }
    let mean = total(lane, vec2<f32>(sum, 0.0)).x / max(f32(part.y - part.x), 1.0);
    var squares = 0.0;
    for (var at = part.x + lane; at < part.y; at += THREADS) {
        squares += (f32(x[at]) - mean) * (f32(x[at]) - mean);
    }
    let all = total(lane, vec2<f32>(squares, 0.0)).x;
    if lane == 0u {
        statistics[index] = vec2<f32>(mean, all);
    }
}
