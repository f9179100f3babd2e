// The normal numbers, scaled and shifted, and SiLU of them where it is asked for.

@group(0) @binding(0) var<storage, read_write> x: array<elem>;
@group(0) @binding(1) var<storage, read_write> gamma: array<elem>; // [channels]
@group(0) @binding(2) var<storage, read_write> beta: array<elem>; // [channels]
@group(0) @binding(3) var<storage, read_write> statistics: array<vec2<f32>>; // [rows, parts]
@group(0) @binding(4) var<storage, read_write> result: array<elem>;
@group(0) @binding(5) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = numbered(workgroup, workgroups);
    let row = index / call.chunks;
    if row >= call.batch * (call.channels / call.group) {
        return;
    }
    let of_row = statistics_of(row);
    let chunk = part_of(index, call.group * call.pixels, call.chunks);
    for (var at = chunk.x + lane; at < chunk.y; at += THREADS) {
        let channel = at / call.pixels % call.channels;
        let y = (f32(x[at]) - of_row.x) * of_row.y * f32(gamma[channel]) + f32(beta[channel]);
        result[at] = elem(finished(y));
    }
}
