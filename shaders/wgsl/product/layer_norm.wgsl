
// A layer norm, scaled and shifted by what is known of each row (adaptive layer norm).

var<workgroup> statistics: array<vec2<f32>, ROWS>; // mean, inverse of the deviation
var<workgroup> places: array<vec2<u32>, ROWS>; // where scale and shift begin

fn prepare(first: u32, last: u32, thread: u32) {
    let row = min(first + thread / SHARE, last);
    let start = place(row, call.x);
    let width = f32(4u * call.inputs);
    var sum = 0.0;
    for (var k = thread % SHARE; k < call.inputs; k += SHARE) {
        sum += dot(vec4<f32>(x[start + k]), vec4<f32>(1.0));
    }
    let mean = row_sum(thread, sum) / width;
    var squares = 0.0;
    for (var k = thread % SHARE; k < call.inputs; k += SHARE) {
        let part = vec4<f32>(x[start + k]) - mean;
        squares += dot(part, part);
    }
    let variance = row_sum(thread, squares) / width;
    if thread % SHARE == 0u {
        statistics[thread / SHARE] = vec2<f32>(mean, 1.0 / sqrt(variance + call.epsilon));
        places[thread / SHARE] = vec2<u32>(place(row, call.scale), place(row, call.shift));
    }
    workgroupBarrier();
}

fn gains(k: u32) -> vec4<f32> {
    return vec4<f32>(1.0);
}

fn taken(tile_row: u32, start: u32, k: u32) -> vec4<f32> {
    let of_row = statistics[tile_row];
    let normal = (vec4<f32>(x[start + k]) - of_row.x) * of_row.y;
    let spread = {{ affine }} * (1.0 + vec4<f32>(scale[places[tile_row].x + k]));
    return spread + vec4<f32>(shift[places[tile_row].y + k]);
}

fn scaled(tile_row: u32, sum: vec4<f32>) -> vec4<f32> {
    return sum;
}
