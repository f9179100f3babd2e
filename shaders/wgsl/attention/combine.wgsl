
// Joins the partial results of attend.wgsl: one invocation for each column of each query.

@group(0) @binding(0) var<storage, read_write> partial: array<vec4<f32>>; // [batch * heads, queries, parts, COLUMNS + 1]
@group(0) @binding(1) var<storage, read_write> result: array<vec4<{{ elem }}>>; // [batch, queries, heads, COLUMNS]
@group(0) @binding(2) var<storage, read_write> call: Call;

@compute @workgroup_size({{ threads }}, 1, 1)
fn main(@builtin(global_invocation_id) invocation: vec3<u32>) {
    let row = invocation.x / COLUMNS;
    let column = invocation.x % COLUMNS;
    let sequence = row / call.queries;
    // The last workgroup reaches beyond the last row.
    if sequence >= call.sequences {
        return;
    }

    var maximum = LOWEST;
    for (var part = 0u; part < call.parts; part++) {
        maximum = max(maximum, partial[part_row(row, part, call.parts) + COLUMNS].x);
    }
    var sum = vec4<f32>(0.0);
    var total = 0.0;
    for (var part = 0u; part < call.parts; part++) {
        let start = part_row(row, part, call.parts);
        let shrink = exp(partial[start + COLUMNS].x - maximum);
        sum += shrink * partial[start + column];
        total += shrink * partial[start + COLUMNS].y;
    }
    result[result_row(sequence, row % call.queries, call.heads, call.queries) + column] = vec4<{{ elem }}>(sum / total);
}
