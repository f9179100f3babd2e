
// Attention of a tile of ROWS queries of one sequence (a head of one batch entry) against one part of its keys.
// Workgroups: [parts, tiles of queries, batch * heads].
//
// The keys are taken in blocks of THREADS. Each invocation scores one key for all rows; then the invocations share out
// the block's values by column and group of keys, and every value is read once. The softmax is online: with each block
// the sums so far shrink by what the maximum has grown.

@group(0) @binding(0) var<storage, read_write> q: array<vec4<{{ elem }}>>; // [batch, heads, queries, COLUMNS], strided
@group(0) @binding(1) var<storage, read_write> k: array<vec4<{{ elem }}>>; // [batch, heads, capacity, COLUMNS], strided
@group(0) @binding(2) var<storage, read_write> v: array<vec4<{{ elem }}>>; // [batch, heads, capacity, COLUMNS], strided
@group(0) @binding(4) var<storage, read_write> call: Call;

const ROWS: u32 = {{ rows }}u;
const GROUPS: u32 = THREADS / COLUMNS;
// The slices of a block in which its maximum is found.
const SLICES: u32 = 8u;

var<workgroup> query: array<vec4<f32>, ROWS * COLUMNS>; // [ROWS, COLUMNS], scaled
var<workgroup> weights: array<f32, ROWS * THREADS>; // [ROWS, THREADS], scores at first
var<workgroup> maxima: array<f32, ROWS * SLICES>; // [ROWS, SLICES]
var<workgroup> group_sums: array<vec4<f32>, THREADS>; // [GROUPS, COLUMNS]
var<workgroup> group_totals: array<f32, THREADS>; // [GROUPS, COLUMNS]

@compute @workgroup_size({{ threads }}, 1, 1)
fn main(@builtin(workgroup_id) workgroup_id: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let part = workgroup_id.x;
    let first = workgroup_id.y * ROWS;
    let sequence = workgroup_id.z;
    let batch = sequence / call.heads;
    let head = sequence % call.heads;
    let q_start = batch * call.q.batch + head * call.q.head;
    let k_start = batch * call.k.batch + head * call.k.head;
    let v_start = batch * call.v.batch + head * call.v.head;
    let k_row = call.k.row;
    let v_row = call.v.row;
    let rows = min(ROWS, call.queries - first);

    var visible: array<u32, ROWS>;
    var longest = 0u;
    for (var r = 0u; r < ROWS; r++) {
        visible[r] = select(0u, call.visible[first + min(r, rows - 1u)], r < rows);
        longest = max(longest, visible[r]);
    }
    let begin = part * call.part_keys;
    let end = min(begin + call.part_keys, longest);

    let scale = inverseSqrt(f32(4u * COLUMNS));
    for (var i = thread; i < ROWS * COLUMNS; i += THREADS) {
        let row = first + min(i / COLUMNS, rows - 1u);
        query[i] = scale * vec4<f32>(q[q_start + row * call.q.row + i % COLUMNS]);
    }
    workgroupBarrier();

    let column = thread % COLUMNS;
    let group = thread / COLUMNS;
    var maximum: array<f32, ROWS>;
    var total: array<f32, ROWS>; // of this group's keys
    var sum: array<vec4<f32>, ROWS>; // of this group's keys, in this column
    for (var r = 0u; r < ROWS; r++) {
        maximum[r] = LOWEST;
        total[r] = 0.0;
        sum[r] = vec4<f32>(0.0);
    }

    for (var block = begin; block < end; block += THREADS) {
        let key = block + thread;
        var score: array<f32, ROWS>;
        for (var r = 0u; r < ROWS; r++) {
            score[r] = 0.0;
        }
        if key < end {
            for (var c = 0u; c < COLUMNS; c++) {
                let vector = vec4<f32>(k[k_start + key * k_row + c]);
                for (var r = 0u; r < ROWS; r++) {
                    score[r] += dot(query[r * COLUMNS + c], vector);
                }
            }
        }
        for (var r = 0u; r < ROWS; r++) {
            weights[r * THREADS + thread] = select(LOWEST, score[r], key < visible[r]);
        }
        workgroupBarrier();

        if thread < ROWS * SLICES {
            let row = thread / SLICES;
            var highest = LOWEST;
            for (var i = thread % SLICES; i < THREADS; i += SLICES) {
                highest = max(highest, weights[row * THREADS + i]);
            }
            maxima[thread] = highest;
        }
        workgroupBarrier();

        for (var r = 0u; r < ROWS; r++) {
            var highest = maximum[r];
            for (var i = 0u; i < SLICES; i++) {
                highest = max(highest, maxima[r * SLICES + i]);
            }
            let shrink = exp(maximum[r] - highest);
            maximum[r] = highest;
            total[r] *= shrink;
            sum[r] *= shrink;
            weights[r * THREADS + thread] = select(0.0, exp(score[r] - highest), key < visible[r]);
        }
        workgroupBarrier();

        if group < GROUPS {
            let keys = min(THREADS, end - block);
            for (var i = group; i < keys; i += GROUPS) {
                let vector = vec4<f32>(v[v_start + (block + i) * v_row + column]);
                for (var r = 0u; r < ROWS; r++) {
                    let weight = weights[r * THREADS + i];
                    total[r] += weight;
                    // Not weight * vector alone: zero times a stale NaN is NaN.
                    sum[r] += weight * select(vec4<f32>(0.0), vector, block + i < visible[r]);
                }
            }
        }
        workgroupBarrier();
    }

    for (var r = 0u; r < ROWS; r++) {
        group_sums[thread] = sum[r];
        group_totals[thread] = total[r];
        workgroupBarrier();
        if thread < COLUMNS && r < rows {
            var all_sum = vec4<f32>(0.0);
            var all_total = 0.0;
            for (var g = 0u; g < GROUPS; g++) {
                all_sum += group_sums[g * COLUMNS + thread];
                all_total += group_totals[g * COLUMNS + thread];
            }
            store(sequence, first + r, part, thread, all_sum, maximum[r], all_total);
        }
        workgroupBarrier();
    }
}
