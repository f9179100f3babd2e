
// The root mean square norm. Its gains multiply the weights as they are read, its scale the sums in the end.

var<workgroup> inverses: array<f32, ROWS>;

fn prepare(first: u32, last: u32, thread: u32) {
    let start = place(min(first + thread / SHARE, last), call.x);
    var squares = 0.0;
    for (var k = thread % SHARE; k < call.inputs; k += SHARE) {
        let part = vec4<f32>(x[start + k]);
        squares += dot(part, part);
    }
    let mean = row_sum(thread, squares) / f32(4u * call.inputs);
    if thread % SHARE == 0u {
        inverses[thread / SHARE] = 1.0 / sqrt(mean + call.epsilon);
    }
    workgroupBarrier();
}

fn gains(k: u32) -> vec4<f32> {
    return vec4<f32>(gamma[k]);
}

fn taken(tile_row: u32, start: u32, k: u32) -> vec4<f32> {
    return vec4<f32>(x[start + k]);
}

fn scaled(tile_row: u32, sum: vec4<f32>) -> vec4<f32> {
    return sum * inverses[tile_row];
}
