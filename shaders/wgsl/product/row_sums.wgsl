
// What the norms share: the invocations sum up all rows of the tile side by side.

// Invocations for each row.
const SHARE: u32 = THREADS / ROWS;

var<workgroup> shares: array<f32, THREADS>;

// The sum of `value` over the invocations of the same row.
fn row_sum(thread: u32, value: f32) -> f32 {
    shares[thread] = value;
    workgroupBarrier();
    for (var half = SHARE / 2u; half > 0u; half /= 2u) {
        if thread % SHARE < half {
            shares[thread] += shares[thread + half];
        }
        workgroupBarrier();
    }
    let sum = shares[thread - thread % SHARE];
    workgroupBarrier();
    return sum;
}
