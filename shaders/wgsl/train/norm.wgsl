// What the kernels of a group norm share.
// A row is a group of channels of one picture; `x` is [batch, channels, pixels], which is [rows, group * pixels].

struct Call {
    batch: u32,
    channels: u32,
    group: u32, // channels per group
    pixels: u32,
    parts: u32, // that a row is summed in
    channel_parts: u32, // that a channel is summed in
    chunks: u32, // of a row, each with a workgroup of its own
    silu: u32, // whether SiLU is behind it
    epsilon: f32,
}

// How many of `count` numbers lie in each of so many parts; the last may have fewer, or none.
fn part_length(count: u32, parts: u32) -> u32 {
    return (count + parts - 1u) / parts;
}

// Where in `x` a workgroup's part of a row or channel lies: its first number, and the first after it.
fn part_of(workgroup: u32, count: u32, parts: u32) -> vec2<u32> {
    let length = part_length(count, parts);
    let first = workgroup / parts * count;
    let part = workgroup % parts;
    return vec2<u32>(first + min(part * length, count), first + min((part + 1u) * length, count));
}

// The result, from the norm scaled and shifted.
fn finished(y: f32) -> f32 {
    if call.silu == 0u {
        return y;
    }
    return y * sigmoid(y);
}

// The gradient of `y`, from that of the result.
fn before_silu(gradient: f32, y: f32) -> f32 {
    if call.silu == 0u {
        return gradient;
    }
    let share = sigmoid(y);
    return gradient * share * (1.0 + y * (1.0 - share));
}
