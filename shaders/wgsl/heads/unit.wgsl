
// Queries and keys become unit vectors, the queries times the temperature of their head.

fn prepared(value: vec4<f32>, at: Place, thread: u32) -> vec4<f32> {
    let length = sqrt(lane_sum(thread, dot(value, value)));
    if at.part == 2u {
        return value;
    }
    let unit = value / max(length, call.number);
    return select(unit, unit * f32(temperature[at.head]), at.part == 0u);
}
