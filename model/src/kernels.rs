//! The operations in which training on the processor spends its time, each in one pass and with a gradient of its own.
//!
//! burn's backend for the processor, Flex, differentiates by composing small operations, each of which reads and writes
//! whole tensors on one thread. The kernels here do the same mathematics on pieces that stay in the cache, on all threads.
//! They apply to f32 on Flex; anywhere else the same function is computed by plain tensor operations, which are also what
//! the tests hold the kernels against. Where such operations would cost a GPU dozens of launches, the kernels of
//! `andamento_shaders::train` stand in.

mod attention;
mod convolution;
mod elementwise;
mod norm;
mod rotary;
mod short;

pub use attention::{attention, plain_attention, softmax};
pub use convolution::{Conv2d, conv2d, plain_conv2d, unfolded_conv2d};
pub use elementwise::{cross_entropy, gelu, gelu_tanh, swiglu, weighted_cross_entropy};
pub use norm::{folded_group_norm_silu, group_norm_silu, group_normed, layer_normed, rms_normed};
pub use rotary::rotated;
pub use short::{plain_short_attention, short_attention};

use std::fmt;
use std::sync::Arc;

use andamento_shaders::train as gpu;
use burn::backend::autodiff::checkpoint::base::Checkpointer;
use burn::backend::autodiff::checkpoint::strategy::NoCheckpointing;
use burn::backend::autodiff::grads::Gradients;
use burn::backend::autodiff::ops::{Backward, NodeGuard, Ops, OpsKind};
use burn::backend::flex::{FlexTensor, Layout};
use burn::backend::tensor::FloatTensor;
use burn::backend::{Autodiff, Backend, Cube, Flex};
use burn::tensor::{Bytes, DType, Shape, Tensor};

/// The numbers of a tensor of f32 on Flex that gradients may be asked of, and its place in their graph.
fn tracked<const D: usize>(x: &Tensor<D>) -> Option<(FlexTensor, NodeGuard)> {
    let f32 = (x.dtype() == DType::F32).then(|| x.clone().try_into_primitive::<Autodiff<Flex>>());
    Some(f32?.ok()?.into_parts())
}

/// The numbers of a tensor of f32 on Flex that no gradients are asked of.
fn untracked<const D: usize>(x: &Tensor<D>) -> Option<FlexTensor> {
    let f32 = (x.dtype() == DType::F32).then(|| x.clone().try_into_primitive::<Flex>());
    f32?.ok()
}

/// A tensor of f32 or f16 on a GPU that gradients may be asked of, and its place in their graph.
fn tracked_on_gpu<const D: usize>(x: &Tensor<D>) -> Option<(Tensor<D>, NodeGuard)> {
    let (x, node) = x.clone().try_into_primitive::<Autodiff<Cube>>().ok()?.into_parts();
    let x = Tensor::from_primitive::<Cube>(x);
    gpu::runs(&x).then_some((x, node))
}

/// A tensor that no gradients are asked of.
fn without_gradients<const D: usize>(x: &Tensor<D>) -> Tensor<D> {
    if x.is_autodiff() { x.clone().inner() } else { x.clone() }
}

/// The result `out` of a kernel that has read `inputs`. From the gradient of the result, contiguous, `gradients` makes those
/// of the inputs, of which only the wanted ones are used.
fn differentiable<const N: usize, const D: usize>(
    inputs: [NodeGuard; N],
    out: FlexTensor,
    gradients: impl Fn(&FlexTensor, [bool; N]) -> [FlexTensor; N] + Send + Sync + 'static,
) -> Tensor<D> {
    let gradients = move |grad: FlexTensor, wanted| gradients(&grad.to_contiguous(), wanted);
    Tensor::from_primitive::<Autodiff<Flex>>(in_graph::<Flex, N>(inputs, out, gradients))
}

/// The same on a GPU.
fn differentiable_on_gpu<const N: usize, const D: usize>(
    inputs: [NodeGuard; N],
    out: Tensor<D>,
    gradients: impl Fn(Tensor<D>) -> [FloatTensor<Cube>; N] + Send + Sync + 'static,
) -> Tensor<D> {
    let gradients = move |grad, _| gradients(Tensor::from_primitive::<Cube>(grad));
    Tensor::from_primitive::<Autodiff<Cube>>(in_graph::<Cube, N>(inputs, primitive(out), gradients))
}

/// What a tensor on a GPU consists of.
///
/// # Panics
/// If it lies elsewhere, or under autodiff.
fn primitive<const D: usize>(x: Tensor<D>) -> FloatTensor<Cube> {
    x.try_into_primitive::<Cube>().expect("made by a kernel on a GPU")
}

/// A result in the graph of gradients.
fn in_graph<B: Backend, const N: usize>(
    inputs: [NodeGuard; N],
    out: FloatTensor<B>,
    gradients: impl Fn(FloatTensor<B>, [bool; N]) -> [FloatTensor<B>; N] + Send + Sync + 'static,
) -> FloatTensor<Autodiff<B>> {
    let prepared = Backward::<B, N>::prepare::<NoCheckpointing>(Kernel, inputs);
    match prepared.compute_bound().stateful() {
        OpsKind::Tracked(prep) => prep.finish(Saved(Arc::new(gradients)), out),
        OpsKind::UnTracked(prep) => prep.finish(out),
    }
}

/// A kernel in the graph of gradients.
#[derive(Debug)]
struct Kernel;

type GradientsOf<B, const N: usize> = dyn Fn(FloatTensor<B>, [bool; N]) -> [FloatTensor<B>; N] + Send + Sync;

/// How a kernel computes the gradients of its inputs.
#[derive(Clone)]
struct Saved<B: Backend, const N: usize>(Arc<GradientsOf<B, N>>);

impl<B: Backend, const N: usize> fmt::Debug for Saved<B, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Saved")
    }
}

impl<B: Backend, const N: usize> Backward<B, N> for Kernel {
    type State = Saved<B, N>;

    fn backward(self, ops: Ops<Saved<B, N>, N>, grads: &mut Gradients, _: &mut Checkpointer) {
        let grad = grads.consume::<B>(&ops.node);
        let wanted = ops.parents.each_ref().map(Option::is_some);
        for (node, grad) in ops.parents.into_iter().zip((ops.state.0)(grad, wanted)) {
            if let Some(node) = node {
                grads.register::<B>(node.id, grad);
            }
        }
    }
}

/// Nothing, for a gradient that is not wanted.
fn nothing() -> FlexTensor {
    tensor(Vec::new(), [0])
}

/// Numbers that are worked on side by side: one register of AVX-512, two of AVX2.
const LANES: usize = 16;

/// Runs `work` compiled for the vector instructions of this processor. What it calls must be inlined into it.
#[inline(always)]
fn dispatch<Work: pulp::WithSimd>(work: Work) -> Work::Output {
    pulp::Arch::new().dispatch(work)
}

/// A tensor of its own storage.
fn tensor<const D: usize>(values: Vec<f32>, shape: [usize; D]) -> FlexTensor {
    FlexTensor::new(Bytes::from_elems(values), Layout::contiguous(Shape::new(shape)), DType::F32)
}

/// `e^x` for `x` up to 88, to 2 units in the last place; 0 below -87.
#[inline(always)]
fn exp(x: f32) -> f32 {
    // Adding 1.5 · 2²³ leaves the nearest integer in the low bits.
    const ROUND: f32 = 12_582_912.0;
    let clamped = if x > -87.5 { x } else { -87.5 };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let whole = shifted - ROUND;
    // ln 2 in two parts, the first with few enough bits that its product is exact.
    let rest = (clamped - whole * 0.693_359_4) + whole * 2.121_944_4e-4;
    let series = 1.0 / 5040.0;
    let series = series * rest + 1.0 / 720.0;
    let series = series * rest + 1.0 / 120.0;
    let series = series * rest + 1.0 / 24.0;
    let series = series * rest + 1.0 / 6.0;
    let series = (series * rest + 0.5) * rest * rest + rest + 1.0;
    let power = f32::from_bits(shifted.to_bits().wrapping_sub(ROUND.to_bits()).wrapping_add(127) << 23);
    if x < -87.0 { 0.0 } else { series * power }
}

/// All numbers of a row joined by `join`, whose neutral number is `neutral`.
#[inline(always)]
fn fold(row: &[f32], neutral: f32, join: impl Fn(f32, f32) -> f32) -> f32 {
    let (whole, rest) = row.as_chunks::<LANES>();
    let mut lanes = [neutral; LANES];
    for chunk in whole {
        for (lane, x) in lanes.iter_mut().zip(chunk) {
            *lane = join(*lane, *x);
        }
    }
    lanes.iter().chain(rest).fold(neutral, |so_far, x| join(so_far, *x))
}

/// The sum of the products of two rows.
#[inline(always)]
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let ((a, rest_a), (b, rest_b)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0; LANES];
    for (a, b) in a.iter().zip(b) {
        for ((lane, a), b) in lanes.iter_mut().zip(a).zip(b) {
            *lane += a * b;
        }
    }
    let rest = rest_a.iter().zip(rest_b).map(|(a, b)| a * b);
    lanes.into_iter().chain(rest).sum()
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    let negative = exp(if x < 0.0 { x } else { -x });
    (if x < 0.0 { negative } else { 1.0 }) / (1.0 + negative)
}
