
// Queries and keys are normalised over their head.

fn prepared(value: vec4<f32>, at: Place, thread: u32) -> vec4<f32> {
    let width = f32(4u * COLUMNS);
    let mean = lane_sum(thread, dot(value, vec4<f32>(1.0))) / width;
    let centred = select(vec4<f32>(0.0), value - mean, at.column < COLUMNS);
    let variance = lane_sum(thread, dot(centred, centred)) / width;
    if at.part == 2u || at.column >= COLUMNS {
        return value;
    }
    let normal = centred / sqrt(variance + call.number);
    if at.part == 0u {
        return normal * vec4<f32>(query_gamma[at.column]) + vec4<f32>(query_beta[at.column]);
    }
    return normal * vec4<f32>(key_gamma[at.column]) + vec4<f32>(key_beta[at.column]);
}
