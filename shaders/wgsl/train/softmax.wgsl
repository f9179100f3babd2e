// Softmax over the last axis, with a mask added: one workgroup for each row.

struct Call {
    rows: u32,
    queries: u32, // rows of the mask
    width: u32,
    masked: u32, // whether there is a mask
}

fn score(row: u32, at: u32) -> f32 {
    let score = f32(scores[row * call.width + at]);
    if call.masked == 0u {
        return score;
    }
    return score + mask[row % call.queries * call.width + at];
}

@group(0) @binding(0) var<storage, read_write> scores: array<elem>; // [rows, width]
@group(0) @binding(1) var<storage, read_write> mask: array<f32>; // [queries, width]
@group(0) @binding(2) var<storage, read_write> result: array<elem>; // [rows, width]
@group(0) @binding(3) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let row = min(numbered(workgroup, workgroups), call.rows - 1u);
    let first = row * call.width;
    var highest = -3.0e38;
    for (var at = lane; at < call.width; at += THREADS) {
        highest = max(highest, score(row, at));
    }
    highest = greatest(lane, highest);
    var sum = 0.0;
    for (var at = lane; at < call.width; at += THREADS) {
        sum += exp(score(row, at) - highest);
    }
    sum = total(lane, vec2<f32>(sum, 0.0)).x;
    for (var at = lane; at < call.width; at += THREADS) {
        result[first + at] = elem(exp(score(row, at) - highest) / sum);
    }
}
