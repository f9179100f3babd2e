//! The operations of this crate in plain tensor operations: what runs wherever the kernels do not (the CPU above all),
//! and what the tests hold the kernels against.

use std::f64::consts::{FRAC_2_SQRT_PI, SQRT_2};

use burn::tensor::activation::{gelu, silu, softmax};
use burn::tensor::module::{layer_norm, linear};
use burn::tensor::{Bool, DType, FloatDType, Tensor, TensorData, s};

use crate::product::Norm;
use crate::{Activation, Heads, Projection};

/// [`cached_attention`](crate::cached_attention) on any device, with the same arguments, result and panics.
///
/// Storage other than f32 is widened first and the result narrowed back. Under autodiff it is differentiable.
pub fn cached_attention(q: Tensor<4>, k: Tensor<4>, v: Tensor<4>, visible: &[u32]) -> Tensor<4> {
    let [_, _, queries, head_dim] = crate::attention::checked_dims(&q, &k, &v, visible);
    let (shortest, longest) =
        visible.iter().fold((usize::MAX, 0), |(low, high), &n| (low.min(n as usize), high.max(n as usize)));
    let (storage, device) = (q.dtype(), q.device());

    let rows = |t: Tensor<4>, from: usize, to: usize| t.slice(s![.., .., from..to, ..]).cast(FloatDType::F32);
    let q = q.cast(FloatDType::F32) * (head_dim as f32).powf(-0.5);
    let scores = q.matmul(rows(k, 0, longest).swap_dims(2, 3));

    let out = if shortest == longest {
        softmax(scores, 3).matmul(rows(v, 0, longest))
    } else {
        let hidden = visible.iter().flat_map(|&n| (0..longest).map(move |key| key >= n as usize)).collect::<Vec<_>>();
        let hidden = Tensor::<4, Bool>::from_data(TensorData::new(hidden, [1, 1, queries, longest]), &device);
        let weights = softmax(scores.mask_fill(hidden, f32::NEG_INFINITY), 3);
        // Zero times NaN is NaN, and a row that one query sees may be stale to another.
        let tail = rows(v.clone(), shortest, longest);
        let tail = tail.clone().mask_fill(tail.is_nan(), 0.0);
        weights.clone().slice(s![.., .., .., ..shortest]).matmul(rows(v, 0, shortest))
            + weights.slice(s![.., .., .., shortest..]).matmul(tail)
    };
    out.cast(storage)
}

/// [`Projection::of`] on any device. Under autodiff it is differentiable.
pub fn projection(of: Projection, x: Tensor<3>) -> Tensor<3> {
    let kind = x.dtype();
    let x = match of.norm {
        Some(Norm::Rms { gamma, epsilon }) => {
            let rms = (x.clone().cast(DType::F32).square().mean_dim(2) + epsilon).sqrt();
            (x / rms.cast(kind)) * gamma.unsqueeze()
        }
        Some(Norm::Layer { affine, epsilon, scale, shift }) => {
            let [gamma, beta] = affine.map_or([None, None], |affine| affine.map(Some));
            let gamma = gamma.unwrap_or_else(|| Tensor::ones([x.dims()[2]], (&x.device(), kind)));
            layer_norm(x, gamma, beta, epsilon) * (scale + 1.0) + shift
        }
        None => x,
    };
    let product = linear(x.clone(), of.weight.cast(kind), of.bias);
    let product = match of.up {
        Some(up) => silu(product) * linear(x, up.cast(kind), None),
        None => product,
    };
    let product = match of.activation {
        Some(Activation::Gelu) => gelu(product),
        Some(Activation::GeluTanh) => gelu_tanh(product),
        None => product,
    };
    let product = match of.gate {
        Some(gate) => gate * product,
        None => product,
    };
    match of.residual {
        Some(residual) => residual + product,
        None => product,
    }
}

/// GELU by its approximation with tanh. Without a power, which some devices lack for negative numbers.
pub fn gelu_tanh(x: Tensor<3>) -> Tensor<3> {
    let inner = (x.clone() * x.clone() * x.clone() * 0.044_715 + x.clone()) * (FRAC_2_SQRT_PI / SQRT_2);
    x * 0.5 * (inner.tanh() + 1.0)
}

/// [`cache_heads`](crate::cache_heads) on any device, with the same arguments and result.
pub fn cache_heads(
    qkv: Tensor<3>,
    how: &Heads,
    first_slot: usize,
    keys: &mut Tensor<4>,
    values: &mut Tensor<4>,
) -> Tensor<4> {
    let [batch, slots, width] = qkv.dims();
    let heads = keys.dims()[1];
    let part = |index: usize| -> Tensor<4> {
        let part = qkv.clone().slice(s![.., .., index * width / 3..(index + 1) * width / 3]);
        part.reshape([batch, slots, heads, width / 3 / heads]).swap_dims(1, 2)
    };
    let [q, k, v] = [part(0), part(1), part(2)];
    let [q, k] = match how {
        Heads::Rotary { cos, sin, quarter_turn } => [q, k].map(|x| rotated(x, [cos, sin], quarter_turn)),
        Heads::LayerNorm { query, key, epsilon } => {
            [(q, query), (k, key)].map(|(x, [gamma, beta])| layer_norm(x, gamma.clone(), Some(beta.clone()), *epsilon))
        }
        Heads::Scaled { factor } => [q * *factor, k],
        Heads::Unit { temperature, epsilon } => {
            let unit = |x: Tensor<4>| x.clone() / x.square().sum_dim(3).sqrt().clamp_min(*epsilon);
            [unit(q) * temperature.clone(), unit(k)]
        }
    };
    let slots = first_slot..first_slot + slots;
    keys.inplace(|cache| cache.slice_assign(s![.., .., slots.clone(), ..], k));
    values.inplace(|cache| cache.slice_assign(s![.., .., slots, ..], v));
    q
}

/// Rotary embeddings of `x`, `[batch, heads, slots, head_dim]`, in f32; see [`Heads::Rotary`].
pub fn rotated(x: Tensor<4>, [cos, sin]: [&Tensor<4>; 2], quarter_turn: &Tensor<2>) -> Tensor<4> {
    let kind = x.dtype();
    let x = x.cast(DType::F32);
    let turned = x.clone().matmul(quarter_turn.clone().unsqueeze());
    (x * cos.clone() + turned * sin.clone()).cast(kind)
}
