// The mean and the inverse deviation of a row, from those of its parts (Chan, Golub and LeVeque, 1979).
fn statistics_of(row: u32) -> vec2<f32> {
    let count = call.group * call.pixels;
    let length = part_length(count, call.parts);
    var sum = 0.0;
    for (var part = 0u; part < call.parts; part++) {
        let numbers = f32(min((part + 1u) * length, count) - min(part * length, count));
        sum += statistics[row * call.parts + part].x * numbers;
    }
    let mean = sum / f32(count);
    var squares = 0.0;
    for (var part = 0u; part < call.parts; part++) {
        let numbers = f32(min((part + 1u) * length, count) - min(part * length, count));
        let of_part = statistics[row * call.parts + part];
        squares += of_part.y + (of_part.x - mean) * (of_part.x - mean) * numbers;
    }
    return vec2<f32>(mean, inverseSqrt(squares / f32(count) + call.epsilon));
}
