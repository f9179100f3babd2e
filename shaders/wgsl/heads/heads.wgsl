{{ enable }}
// A fused projection into queries, keys and values; keys and values go straight into their cache.
// Workgroups: [heads, slots, batch]. LANES invocations for the query, as many for the key and for the value of a head, each
// with a vector of four.
// Every binding is read_write: tensors share buffers, and one buffer cannot be bound in two ways.
//
// qkv: [batch, slots, 3 * heads * COLUMNS], strided; query: [batch, slots, heads, COLUMNS]
// keys, values: [batch, heads, capacity, COLUMNS]; cosines, sines: [batch or 1, slots, COLUMNS]
// query_gamma, query_beta, key_gamma, key_beta: [COLUMNS]; temperature: [heads], number by number

{{ bindings }}
struct Call { // strides in vectors of four
    heads: u32,
    slots: u32,
    first_slot: u32,
    number: f32, // epsilon or a factor
    qkv_batch: u32,
    qkv_slot: u32,
    keys_batch: u32,
    keys_head: u32,
    values_batch: u32,
    values_head: u32,
    angles_batch: u32,
}

// Vectors of a head.
const COLUMNS: u32 = {{ columns }}u;
const LANES: u32 = 32u;

struct Place {
    part: u32, // 0 for the query, 1 for the key, 2 for the value
    batch: u32,
    slot: u32,
    head: u32,
    column: u32,
}

@compute @workgroup_size({{ threads }}, 1, 1)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) thread: u32) {
    let at = Place(thread / LANES, workgroup.z, workgroup.y, workgroup.x, thread % LANES);
    let inside = at.column < COLUMNS;
    var value = vec4<f32>(0.0);
    if inside {
        let start = at.batch * call.qkv_batch + at.slot * call.qkv_slot;
        value = vec4<f32>(qkv[start + (at.part * call.heads + at.head) * COLUMNS + at.column]);
    }
    let stored = vec4<{{ elem }}>(prepared(value, at, thread));
    if !inside {
        return;
    }
    let row = (call.first_slot + at.slot) * COLUMNS + at.column;
    if at.part == 0u {
        query[((at.batch * call.slots + at.slot) * call.heads + at.head) * COLUMNS + at.column] = stored;
    } else if at.part == 1u {
        keys[at.batch * call.keys_batch + at.head * call.keys_head + row] = stored;
    } else {
        values[at.batch * call.values_batch + at.head * call.values_head + row] = stored;
    }
}
