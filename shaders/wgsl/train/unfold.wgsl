// What a convolution reads at each of its places, as a matrix whose product with the weights is the result.
// One invocation for each number of the matrix.

@group(0) @binding(0) var<storage, read_write> pictures: array<elem>; // [batch, channels, height, width]
@group(0) @binding(1) var<storage, read_write> unfolded: array<elem>; // [batch, strips, channels, rows, columns, strip]
@group(0) @binding(2) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    let reads = call.channels * call.rows * call.columns;
    if at >= call.batch * call.strips * reads * call.strip {
        return;
    }
    let read = at / call.strip % reads;
    let strip = at / call.strip / reads;
    let place = strip % call.strips * call.strip + at % call.strip;
    // Before the first row or column the difference wraps around, beyond the last.
    let y = place / call.out_width * call.stride + read / call.columns % call.rows - call.top;
    let x = place % call.out_width * call.stride + read % call.columns - call.left;
    let plane = strip / call.strips * call.channels + read / call.columns / call.rows;
    var number = elem(0.0);
    if y < call.height && x < call.width {
        number = pictures[(plane * call.height + y) * call.width + x];
    }
    unfolded[at] = number;
}
