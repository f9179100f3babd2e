
// The end of attend.wgsl where the keys are split; combine.wgsl goes on from here.

@group(0) @binding(3) var<storage, read_write> partial: array<vec4<f32>>; // [batch * heads, queries, parts, COLUMNS + 1]

fn store(sequence: u32, row: u32, part: u32, column: u32, sum: vec4<f32>, maximum: f32, total: f32) {
    let start = part_row(sequence * call.queries + row, part, call.parts);
    partial[start + column] = sum;
    if column == 0u {
        partial[start + COLUMNS] = vec4<f32>(maximum, total, 0.0, 0.0);
    }
}
