//! A fused projection into queries, keys and values, which go into their cache.

use burn::backend::Cube;
use burn::tensor::{Shape, Tensor};
use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::cubecl::zspace::{Strides, metadata::Metadata};
use burn_wgpu::{CubeTensor, KernelSource, SourceTemplate, into_contiguous};

use crate::launch::{self, Binding, MAX_WORKGROUPS, in_buffer, kernel_id, vector_stride, with_vector_rows};

/// Invocations for one query, key or value: a vector of four each.
const LANES: usize = 32;
/// Invocations per workgroup.
const THREADS: usize = 3 * LANES;

/// What becomes of queries and keys before they meet.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "a handful at a time; a box would only add an indirection")]
pub enum Heads {
    /// Rotary embeddings: each pair of neighbours turns by an angle of its slot. Cosines and sines are `[batch or 1, 1,
    /// slots, head_dim]`, each written twice for its pair.
    Rotary {
        /// Cosines.
        cos: Tensor<4>,
        /// Sines.
        sin: Tensor<4>,
        /// Maps `(x0, x1)` to `(-x1, x0)` for every pair, as a product from the right, `[head_dim, head_dim]`: how it is
        /// done in plain tensor operations.
        quarter_turn: Tensor<2>,
    },
    /// A layer norm over the head, with gains and biases, `[head_dim]`.
    LayerNorm {
        /// Of queries.
        query: [Tensor<1>; 2],
        /// Of keys.
        key: [Tensor<1>; 2],
        /// Added to the variance.
        epsilon: f64,
    },
    /// Queries times a factor.
    Scaled {
        /// The factor.
        factor: f64,
    },
    /// Unit vectors, queries times a temperature, `[1, heads, 1, 1]`.
    Unit {
        /// The temperature of each head.
        temperature: Tensor<4>,
        /// The least length that is divided by.
        epsilon: f64,
    },
}

/// Takes a fused projection apart: `qkv`, `[batch, slots, 3 * heads * head_dim]`, holds the queries of all heads, then their
/// keys, then their values. Keys and values are written to the slots `first_slot..` of the caches, `[batch, heads, capacity,
/// head_dim]` each, in place where nothing else holds them. Returns the queries, `[batch, heads, slots, head_dim]`.
///
/// On wgpu this is one kernel, for f32 and f16 and heads of a multiple of 4 up to 128. Anything else, and any other device,
/// is computed by [`reference`](crate::reference), including tensors under autodiff.
///
/// # Panics
/// If the shapes or storage types do not agree, or the slots lie beyond the capacity.
pub fn cache_heads(
    qkv: Tensor<3>,
    how: &Heads,
    first_slot: usize,
    keys: &mut Tensor<4>,
    values: &mut Tensor<4>,
) -> Tensor<4> {
    let ([batch, slots, width], [streams, heads, capacity, head_dim]) = (qkv.dims(), keys.dims());
    assert!(values.dims() == keys.dims(), "values {:?} do not fit keys {:?}", values.dims(), keys.dims());
    assert!(batch == streams && width == 3 * heads * head_dim, "a projection {:?} for {:?}", qkv.dims(), keys.dims());
    assert!(first_slot + slots <= capacity, "slots up to {} in a cache of {capacity}", first_slot + slots);
    assert!(
        qkv.dtype() == keys.dtype() && qkv.dtype() == values.dtype(),
        "projection and caches differ in storage type"
    );
    match launch(&qkv, how, first_slot, keys, values) {
        Some(queries) => Tensor::from_primitive::<Cube>(queries),
        None => crate::reference::cache_heads(qkv, how, first_slot, keys, values),
    }
}

/// Launches the kernel, unless it is not for these tensors.
fn launch(
    qkv: &Tensor<3>,
    how: &Heads,
    first_slot: usize,
    keys: &mut Tensor<4>,
    values: &mut Tensor<4>,
) -> Option<CubeTensor> {
    let ([batch, slots, _], [_, heads, _, head_dim], kind) = (qkv.dims(), keys.dims(), qkv.dtype());
    let elem = launch::elem(kind)?;
    let fits = head_dim.is_multiple_of(4) && head_dim <= 4 * LANES;
    if !fits || slots == 0 || [batch, slots, heads].iter().any(|count| *count > MAX_WORKGROUPS) {
        return None;
    }
    let vector =
        |tensor: &Tensor<1>| (tensor.dtype() == kind).then(|| in_buffer(tensor).map(into_contiguous)).flatten();
    let table = |tensor: &Tensor<4>| (tensor.dtype() == kind).then(|| in_buffer(tensor).map(into_contiguous)).flatten();
    let (with, number): (Vec<(&'static str, CubeTensor)>, f64) = match how {
        Heads::Rotary { cos, sin, .. } => (vec![("cosines", table(cos)?), ("sines", table(sin)?)], 0.0),
        Heads::LayerNorm { query, key, epsilon } => {
            let [[a, b], [c, d]] = [query, key].map(|[gamma, beta]| [vector(gamma), vector(beta)]);
            (vec![("query_gamma", a?), ("query_beta", b?), ("key_gamma", c?), ("key_beta", d?)], *epsilon)
        }
        Heads::Scaled { factor } => (Vec::new(), *factor),
        Heads::Unit { temperature, epsilon } => (vec![("temperature", table(temperature)?)], *epsilon),
    };
    let qkv = with_vector_rows(in_buffer(qkv)?);
    let [keys, values] = [writable(keys)?, writable(values)?];

    let client = qkv.client.clone();
    let shape = Shape::new([batch, heads, slots, head_dim]);
    let strides = Strides::new(&[slots * heads * head_dim, head_dim, heads * head_dim, 1]);
    let query = client.empty(shape.num_elements() * kind.size());
    let query = CubeTensor::new(client.clone(), query, Metadata::new(shape, strides), qkv.device.clone(), kind);

    let angles = with.first().map_or(0, |(_, table)| if table.meta.shape()[0] == 1 { 0 } else { slots * head_dim / 4 });
    let mut call = vec![heads as u32, slots as u32, first_slot as u32, (number as f32).to_bits()];
    let strides = [(&qkv, 0), (&qkv, 1), (&keys, 0), (&keys, 1), (&values, 0), (&values, 1)];
    call.extend(strides.map(|(tensor, axis)| vector_stride(tensor, axis) as u32));
    call.push(angles as u32);

    let own = [("qkv", qkv), ("query", query.clone()), ("keys", keys), ("values", values)];
    let bound = own
        .into_iter()
        .chain(with)
        .map(|(name, tensor)| (Binding { name, elem, in_fours: name != "temperature" }, tensor.handle));
    let (tensors, buffers) = bound.unzip();
    let kernel = Kernel { tensors, head_dim };
    launch::launch(&client, kernel, THREADS, [heads, slots, batch], buffers, &call);
    Some(query)
}

/// The buffer of a cache that nothing else holds: its own, or else that of a copy, which takes its place.
fn writable(cache: &mut Tensor<4>) -> Option<CubeTensor> {
    let unique = cache.can_mut();
    let buffer = in_buffer(cache)?;
    if unique && buffer.is_contiguous() {
        return Some(buffer);
    }
    let copy = if buffer.is_contiguous() { buffer.copy() } else { into_contiguous(buffer) };
    *cache = Tensor::from_primitive::<Cube>(copy.clone());
    Some(copy)
}

/// The kernel for one choice of tensors and one head size.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kernel {
    tensors: Vec<Binding>,
    head_dim: usize,
}

impl KernelSource for Kernel {
    fn source(&self) -> SourceTemplate {
        let has = |name: &str| self.tensors.iter().any(|tensor| tensor.name == name);
        let template = SourceTemplate::new(include_str!("../wgsl/heads/heads.wgsl"));
        let with_sums = |template: SourceTemplate| template.add_template(include_str!("../wgsl/heads/lane_sums.wgsl"));
        let template = if has("cosines") {
            template.add_template(include_str!("../wgsl/heads/rotary.wgsl"))
        } else if has("query_gamma") {
            with_sums(template).add_template(include_str!("../wgsl/heads/layer_norm.wgsl"))
        } else if has("temperature") {
            with_sums(template).add_template(include_str!("../wgsl/heads/unit.wgsl"))
        } else {
            template.add_template(include_str!("../wgsl/heads/scaled.wgsl"))
        };
        template
            .register("enable", launch::enable(&self.tensors))
            .register("bindings", launch::bindings(&self.tensors))
            .register("elem", self.tensors.first().map_or("f32", |tensor| tensor.elem))
            .register("threads", THREADS.to_string())
            .register("columns", (self.head_dim / 4).to_string())
    }

    fn id(&self) -> KernelId {
        kernel_id::<Self, _>(THREADS, self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
