
// Rows as they are.

fn prepare(first: u32, last: u32, thread: u32) {}

fn gains(k: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}

fn taken(tile_row: u32, start: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(x[start + k]);
}

fn scaled(tile_row: u32, sum: vec4<f32>) -> vec4<f32> {
    return sum;
}
