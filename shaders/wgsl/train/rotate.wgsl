// Rotary embeddings: each adjacent pair of `x` turned by its slot's angle. One invocation for each pair.

struct Call {
    batch: u32,
    heads: u32,
    slots: u32,
    pairs: u32, // of a head
    of_batch: u32, // from one to the next in `x`
    of_head: u32,
    of_slot: u32,
    of_number: u32,
    of_angles: u32, // from one sequence's angles to the next one's; 0 where all share them
    sign: f32, // of the angle
}

@group(0) @binding(0) var<storage, read_write> x: array<elem>; // [batch, heads, slots, 2 * pairs]
@group(0) @binding(1) var<storage, read_write> cosines: array<f32>; // [batch or 1, slots, 2 * pairs]
@group(0) @binding(2) var<storage, read_write> sines: array<f32>;
@group(0) @binding(3) var<storage, read_write> result: array<elem>; // [batch, heads, slots, 2 * pairs]
@group(0) @binding(4) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let index = numbered(workgroup, workgroups) * THREADS + lane;
    let number = index % call.pairs * 2u;
    let slot = index / call.pairs % call.slots;
    let head = index / call.pairs / call.slots % call.heads;
    let sequence = index / call.pairs / call.slots / call.heads;
    if sequence >= call.batch {
        return;
    }
    let at = sequence * call.of_batch + head * call.of_head + slot * call.of_slot + number * call.of_number;
    let angle = sequence * call.of_angles + slot * call.pairs * 2u + number;
    let pair = vec2<f32>(f32(x[at]), f32(x[at + call.of_number]));
    let cosine = cosines[angle];
    let sine = sines[angle] * call.sign;
    result[2u * index] = elem(pair.x * cosine - pair.y * sine);
    result[2u * index + 1u] = elem(pair.y * cosine + pair.x * sine);
}
