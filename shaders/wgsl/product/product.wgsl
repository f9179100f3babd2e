{{ enable }}
// A tile of ROWS rows, times a tile of LANES columns of a weight matrix; a column here is four numbers wide.
// Workgroups: [tiles of rows, tiles of columns], so that those that read the same weights run side by side.
//
// The invocations share out the inputs: each takes every GROUPS-th vector of four inputs, in one column and for all rows
// of the tile, so that a weight is read once for all of them. Their sums meet in workgroup memory.
// What is needed for every row is written out by the Rust side, row by row: it stays in registers on every driver.
// Every binding is read_write: tensors share buffers, and one buffer cannot be bound in two ways.
//
// x, scale, shift: [batch or 1, slots or 1, INPUTS]; gate, residual: [batch or 1, slots or 1, OUTPUTS], all strided
// weight, up: [4 * INPUTS, OUTPUTS]; gamma, beta: [INPUTS]; bias: [OUTPUTS]; result: [rows, OUTPUTS]

{{ bindings }}
struct Strides { // in vectors of four
    batch: u32,
    slot: u32,
}

struct Call {
    rows: u32, // batch * slots
    slots: u32,
    inputs: u32, // in vectors of four
    outputs: u32, // in vectors of four
    epsilon: f32,
    x: Strides,
    scale: Strides,
    shift: Strides,
    gate: Strides,
    residual: Strides,
}

const THREADS: u32 = {{ threads }}u;
const ROWS: u32 = {{ rows }}u;
const LANES: u32 = {{ lanes }}u;
const GROUPS: u32 = THREADS / LANES;
// Results that are joined at a time.
const JOINED: u32 = {{ joined }}u;

var<workgroup> sums: array<vec4<f32>, 2u * THREADS>; // [sum, GROUPS, LANES]

// Where a row's vector begins in a tensor of [batch or 1, slots or 1, ...].
fn place(row: u32, strides: Strides) -> u32 {
    return (row / call.slots) * strides.batch + (row % call.slots) * strides.slot;
}

// A sum over all groups, for one lane.
fn total(sum: u32, lane: u32) -> vec4<f32> {
    var all = vec4<f32>(0.0);
    for (var group = 0u; group < GROUPS; group++) {
        all += sums[(sum * GROUPS + group) * LANES + lane];
    }
    return all;
}
// Finishes JOINED results from row `r` of the tile on.
fn finish(workgroup: vec3<u32>, thread: u32, r: u32) {
    let tile_row = r + thread / LANES;
    let row = workgroup.x * ROWS + tile_row;
    let column = workgroup.y * LANES + thread % LANES;
    if thread >= JOINED * LANES || row >= call.rows || column >= call.outputs {
        return;
    }
{{ finish }}
    result[row * call.outputs + column] = vec4<{{ elem }}>(value);
}

@compute @workgroup_size({{ threads }}, 1, 1)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let first = workgroup.x * ROWS;
    // Rows beyond the last are the last once more, and not stored.
    let last = call.rows - 1u;
    let column = workgroup.y * LANES + thread % LANES;
    prepare(first, last, thread);
{{ clear }}
    if column < call.outputs {
        for (var k = thread / LANES; k < call.inputs; k += GROUPS) {
            let gain = gains(k);
            let at = 4u * k * call.outputs + column;
{{ weights }}
{{ accumulate }}
        }
    }
    for (var r = 0u; r < ROWS; r += JOINED) {
        switch r {
{{ cases }}
            default: {}
        }
        workgroupBarrier();
        finish(workgroup, thread, r);
        workgroupBarrier();
    }
}
