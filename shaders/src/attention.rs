//! Attention of a few queries against a key-value cache.

use burn::backend::Cube;
use burn::tensor::{Shape, Tensor};
use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::cubecl::server::Handle;
use burn_cubecl::cubecl::zspace::{Strides, metadata::Metadata};
use burn_wgpu::{CubeTensor, KernelSource, SourceTemplate};

use crate::launch::{self, MAX_WORKGROUPS, in_buffer, kernel_id, with_vector_rows};

/// Invocations per workgroup, and the keys that a workgroup takes at a time.
const THREADS: usize = 128;
/// The most query rows that a workgroup takes.
const MAX_ROWS: usize = 8;
/// The largest head that fits: the query tile lies in workgroup memory.
const MAX_HEAD_DIM: usize = 128;
/// Workgroups that fill a large GPU. With fewer, the keys are split over more of them.
const ENOUGH_WORKGROUPS: usize = 512;
/// Up to this many blocks of [`THREADS`] keys, the second pass would cost more than the split saves: a launch takes the host
/// tens of microseconds, a block a workgroup a few.
const UNSPLIT_BLOCKS: usize = 5;

/// Softmax attention of new queries against the leading rows of a key-value cache.
///
/// - `q`: `[batch, heads, queries, head_dim]`.
/// - `k`, `v`: `[batch, heads, capacity, head_dim]`, the cache.
/// - `visible`: for each query, how many leading rows of the cache it sees. Rows beyond that never influence its result,
///   whatever they hold, NaN included.
///
/// Returns `[batch, heads, queries, head_dim]` in the storage type of `q`. Scores are scaled by `1/√head_dim`; sums are
/// kept in f32.
///
/// On wgpu this is one kernel, or two where there are many keys and little else to do side by side. They take f32 and
/// f16, heads of a multiple of 4 up to 128, and `batch · heads` up to 65 535. Anything else, and any other device, is
/// computed by [`reference`](crate::reference), including tensors under autodiff.
///
/// Views are read as they are where rows of `head_dim` are contiguous and 4 elements apart or a multiple of that; others
/// are copied first. The kernels leave the result in memory as `[batch, queries, heads, head_dim]`, so that merging the
/// heads again (`swap_dims(1, 2)` and a reshape) copies nothing.
///
/// # Panics
/// If `q` is empty, if the shapes or storage types do not agree, if there is not one `visible` per query, or if one is 0
/// or beyond the capacity.
pub fn cached_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, visible: &[u32]) -> Tensor<4> {
    let [batch, heads, _, head_dim] = checked_dims(&q, &k, &v, visible);
    let fits = head_dim.is_multiple_of(4) && head_dim <= MAX_HEAD_DIM && batch * heads <= MAX_WORKGROUPS;
    match (launch::elem(q.dtype()).filter(|_| fits), in_buffer(&q), in_buffer(&k), in_buffer(&v)) {
        (Some(elem), Some(q), Some(k), Some(v)) => Tensor::from_primitive::<Cube>(launch(q, k, v, visible, elem)),
        _ => crate::reference::cached_attention(q, k, v, visible),
    }
}

/// The shape of `q`, once everything agrees with it.
pub(crate) fn checked_dims(q: &Tensor<4>, k: &Tensor<4>, v: &Tensor<4>, visible: &[u32]) -> [usize; 4] {
    let [batch, heads, queries, head_dim] = q.dims();
    let capacity = k.dims()[2];
    assert!(q.dims().iter().all(|&n| n > 0), "no queries: {:?}", q.dims());
    assert!(k.dims() == [batch, heads, capacity, head_dim], "keys {:?} do not fit queries {:?}", k.dims(), q.dims());
    assert!(v.dims() == k.dims(), "values {:?} do not fit keys {:?}", v.dims(), k.dims());
    assert!(q.dtype() == k.dtype() && q.dtype() == v.dtype(), "queries, keys and values differ in storage type");
    assert!(visible.len() == queries, "{} visible lengths for {queries} queries", visible.len());
    assert!(
        visible.iter().all(|&n| (1..=capacity).contains(&(n as usize))),
        "a query must see 1 to {capacity} rows of the cache, not {visible:?}"
    );
    [batch, heads, queries, head_dim]
}

/// How the work of one call is laid out over workgroups.
struct Plan {
    /// Query rows per workgroup.
    rows: usize,
    /// Keys per part: a multiple of [`THREADS`].
    part_keys: usize,
    /// Parts of the keys, each with a workgroup of its own.
    parts: usize,
}

impl Plan {
    fn new(sequences: usize, queries: usize, longest: usize) -> Self {
        let rows = queries.next_power_of_two().min(MAX_ROWS);
        let blocks = longest.div_ceil(THREADS);
        let wanted = (ENOUGH_WORKGROUPS / (sequences * queries.div_ceil(rows))).clamp(1, blocks);
        let part_blocks = if blocks <= UNSPLIT_BLOCKS { blocks } else { blocks.div_ceil(wanted) };
        Self { rows, part_keys: part_blocks * THREADS, parts: blocks.div_ceil(part_blocks) }
    }
}

/// Launches the kernels. The shapes are checked, and the head is a multiple of 4.
fn launch(q: CubeTensor, k: CubeTensor, v: CubeTensor, visible: &[u32], elem: &'static str) -> CubeTensor {
    let [q, k, v] = [q, k, v].map(with_vector_rows);
    let (batch, heads, queries, head_dim) = match q.meta.shape()[..] {
        [batch, heads, queries, head_dim] => (batch, heads, queries, head_dim),
        _ => unreachable!("the public function takes rank 4"),
    };
    let longest = visible.iter().max().map_or(0, |&n| n as usize);
    let plan = Plan::new(batch * heads, queries, longest);

    let client = q.client.clone();
    let shape = Shape::new([batch, heads, queries, head_dim]);
    let strides = Strides::new(&[queries * heads * head_dim, head_dim, heads * head_dim, 1]);
    let layout = Metadata::new(shape.clone(), strides);
    let out = client.empty(shape.num_elements() * q.elem_size());
    let out = CubeTensor::new(client.clone(), out, layout, q.device.clone(), q.dtype);

    let mut call = vec![batch * heads, heads, queries, plan.part_keys, plan.parts];
    for tensor in [&q, &k, &v] {
        call.extend(tensor.meta.strides()[..3].iter().map(|stride| stride / 4));
    }
    let call: Vec<u32> = call.into_iter().map(|word| word as u32).chain(visible.iter().copied()).collect();

    let launch = |stage, count, buffers: Vec<Handle>| {
        let kernel = Kernel { stage, elem, head_dim, rows: plan.rows };
        launch::launch(&client, kernel, THREADS, count, buffers, &call);
    };
    let attend_count = [plan.parts, queries.div_ceil(plan.rows), batch * heads];
    let [q, k, v] = [q, k, v].map(|t| t.handle);
    let result = out.handle.clone();
    if plan.parts == 1 {
        launch(Stage::Attend, attend_count, vec![q, k, v, result]);
    } else {
        let rows = batch * heads * queries;
        let parts = client.empty(rows * plan.parts * (head_dim + 4) * size_of::<f32>());
        launch(Stage::AttendPart, attend_count, vec![q, k, v, parts.clone()]);
        launch(Stage::Combine, [(rows * head_dim / 4).div_ceil(THREADS), 1, 1], vec![parts, result]);
    }
    out
}

/// One of the kernels, for one storage type, head size and tile of query rows.
struct Kernel {
    stage: Stage,
    elem: &'static str,
    head_dim: usize,
    rows: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Stage {
    /// Reads all keys and writes the result.
    Attend,
    /// Reads one part of the keys and writes a partial result.
    AttendPart,
    /// Writes the result from the partial ones.
    Combine,
}

impl KernelSource for Kernel {
    fn source(&self) -> SourceTemplate {
        let template = SourceTemplate::new(include_str!("../wgsl/attention/common.wgsl"));
        let template = match self.stage {
            Stage::Attend => template
                .add_template(include_str!("../wgsl/attention/attend.wgsl"))
                .add_template(include_str!("../wgsl/attention/store_result.wgsl")),
            Stage::AttendPart => template
                .add_template(include_str!("../wgsl/attention/attend.wgsl"))
                .add_template(include_str!("../wgsl/attention/store_part.wgsl")),
            Stage::Combine => template.add_template(include_str!("../wgsl/attention/combine.wgsl")),
        };
        template
            .register("enable", if self.elem == "f16" { "enable f16;" } else { "" })
            .register("elem", self.elem)
            .register("threads", THREADS.to_string())
            .register("columns", (self.head_dim / 4).to_string())
            .register("rows", self.rows.to_string())
    }

    fn id(&self) -> KernelId {
        kernel_id::<Self, _>(THREADS, (self.stage, self.elem, self.head_dim, self.rows))
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
