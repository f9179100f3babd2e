{{ enable }}
// What the kernels of cached attention share. Rows of `head_dim` elements are handled as COLUMNS vectors of four.
// Every binding is read_write: tensors share buffers, and one buffer cannot be bound in two ways.

const THREADS: u32 = {{ threads }}u;
const COLUMNS: u32 = {{ columns }}u;
// Below every score. Where nothing was visible it stands for the maximum.
const LOWEST: f32 = -3.0e38;

struct Strides { // in vectors of four
    batch: u32,
    head: u32,
    row: u32,
}

struct Call {
    sequences: u32, // batch * heads
    heads: u32,
    queries: u32,
    part_keys: u32,
    parts: u32,
    q: Strides,
    k: Strides,
    v: Strides,
    visible: array<u32>, // [queries]
}

// Where the result of a query lies: [batch, queries, heads, COLUMNS].
fn result_row(sequence: u32, query: u32, heads: u32, queries: u32) -> u32 {
    return (((sequence / heads) * queries + query) * heads + sequence % heads) * COLUMNS;
}

// Where a partial result lies: [batch * heads, queries, parts, COLUMNS + 1].
// The last vector holds the maximum score and the sum of the weights, relative to that maximum.
fn part_row(row: u32, part: u32, parts: u32) -> u32 {
    return (row * parts + part) * (COLUMNS + 1u);
}
