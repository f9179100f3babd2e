//! The operations of this crate in plain tensor operations: what runs wherever the kernels do not (the CPU above all),
//! and what the tests hold the kernels against.

use burn::tensor::activation::softmax;
use burn::tensor::{Bool, FloatDType, Tensor, TensorData, s};

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
