
var<workgroup> shares: array<f32, {{ threads }}>;

// The sum of `value` over the lanes of one head's query, key or value.
fn lane_sum(thread: u32, value: f32) -> f32 {
    shares[thread] = value;
    workgroupBarrier();
    for (var half = LANES / 2u; half > 0u; half /= 2u) {
        if thread % LANES < half {
            shares[thread] += shares[thread + half];
        }
        workgroupBarrier();
    }
    let sum = shares[thread - thread % LANES];
    workgroupBarrier();
    return sum;
}
