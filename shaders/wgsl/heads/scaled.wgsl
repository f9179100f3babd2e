
// Queries are multiplied by a factor.

fn prepared(value: vec4<f32>, at: Place, thread: u32) -> vec4<f32> {
    return select(value, value * call.number, at.part == 0u);
}
