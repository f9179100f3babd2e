
// Queries and keys are turned: each pair of neighbours by the angle of its slot.

fn prepared(value: vec4<f32>, at: Place, thread: u32) -> vec4<f32> {
    if at.part == 2u || at.column >= COLUMNS {
        return value;
    }
    let angle = at.batch * call.angles_batch + at.slot * COLUMNS + at.column;
    let turned = vec4<f32>(-value.y, value.x, -value.w, value.z);
    return value * vec4<f32>(cosines[angle]) + turned * vec4<f32>(sines[angle]);
}
