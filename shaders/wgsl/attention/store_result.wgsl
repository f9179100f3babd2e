
// The end of attend.wgsl where one workgroup sees all keys.

@group(0) @binding(3) var<storage, read_write> result: array<vec4<{{ elem }}>>; // [batch, queries, heads, COLUMNS]

fn store(sequence: u32, row: u32, part: u32, column: u32, sum: vec4<f32>, maximum: f32, total: f32) {
    result[result_row(sequence, row, call.heads, call.queries) + column] = vec4<{{ elem }}>(sum / total);
}
