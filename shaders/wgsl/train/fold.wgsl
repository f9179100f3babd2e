// The gradient of unfold.wgsl: each pixel sums up what was read of it. One invocation for each pixel.

@group(0) @binding(0) var<storage, read_write> unfolded: array<elem>; // [batch, strips, channels, rows, columns, strip]
@group(0) @binding(1) var<storage, read_write> pictures: array<elem>; // [batch, channels, height, width]
@group(0) @binding(2) var<storage, read_write> call: Call;

@compute @workgroup_size(256, 1, 1)
fn main(
    @builtin(workgroup_id) workgroup: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
    @builtin(local_invocation_index) lane: u32,
) {
    let at = numbered(workgroup, workgroups) * THREADS + lane;
    let plane = at / call.width / call.height;
    let picture = plane / call.channels;
    let channel = plane % call.channels;
    if picture >= call.batch {
        return;
    }
    let out_height = call.strips * call.strip / call.out_width;
    let y = at / call.width % call.height + call.top;
    let x = at % call.width + call.left;
    var sum = 0.0;
    for (var row = 0u; row < call.rows; row++) {
        let out_y = (y - row) / call.stride;
        // Before the first row the difference wraps around, beyond the last.
        if (y - row) % call.stride != 0u || out_y >= out_height {
            continue;
        }
        for (var column = 0u; column < call.columns; column++) {
            let out_x = (x - column) / call.stride;
            if (x - column) % call.stride != 0u || out_x >= call.out_width {
                continue;
            }
            let place = out_y * call.out_width + out_x;
            let strip = picture * call.strips + place / call.strip;
            let read = (channel * call.rows + row) * call.columns + column;
            let reads = call.channels * call.rows * call.columns;
            sum += f32(unfolded[(strip * reads + read) * call.strip + place % call.strip]);
        }
    }
    pictures[at] = elem(sum);
}
