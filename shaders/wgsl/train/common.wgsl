{{ enable }}
// What the kernels of training share. Tensors are contiguous, of f32 or, where it says `elem`, of f16; sums are of f32.
// Every binding is read_write: tensors share buffers, and one buffer cannot be bound in two ways.

alias elem = {{ elem }};

const THREADS: u32 = 256u;

// The number of a workgroup: there may be more of them than fit one dimension, and then some beyond the last. Where they
// have to wait for one another none may return early: those beyond do the last one's work again.
fn numbered(workgroup: vec3<u32>, workgroups: vec3<u32>) -> u32 {
    return workgroup.y * workgroups.x + workgroup.x;
}

var<workgroup> lanes: array<vec2<f32>, THREADS>;

// The sum over all invocations of a workgroup, told to each.
fn total(lane: u32, value: vec2<f32>) -> vec2<f32> {
    // Whoever still reads an earlier sum comes first.
    workgroupBarrier();
    lanes[lane] = value;
    workgroupBarrier();
    for (var apart = THREADS / 2u; apart > 0u; apart /= 2u) {
        if lane < apart {
            lanes[lane] += lanes[lane + apart];
        }
        workgroupBarrier();
    }
    return lanes[0];
}

// The largest number of a workgroup, told to each invocation.
fn greatest(lane: u32, value: f32) -> f32 {
    workgroupBarrier();
    lanes[lane].x = value;
    workgroupBarrier();
    for (var apart = THREADS / 2u; apart > 0u; apart /= 2u) {
        if lane < apart {
            lanes[lane].x = max(lanes[lane].x, lanes[lane + apart].x);
        }
        workgroupBarrier();
    }
    return lanes[0].x;
}

fn sigmoid(x: f32) -> f32 {
    return 1.0 / (1.0 + exp(-x));
}
