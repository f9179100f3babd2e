//! Softmax attention of very many sequences of very few slots, forward and backward. A matrix product for each of them would
//! cost more in calls than in arithmetic.

use std::ops::Range;

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};
use rayon::prelude::*;

use super::{differentiable, dispatch, dot, exp, fold, tensor, tracked};

/// Sequences that a thread takes at a time.
const PART: usize = 64;

/// Attention of each sequence's queries over its own slots, without order.
///
/// `q` is `[sequences, queries, dim]`; `k` and `v` are `[sequences, slots, dim]`, all with `heads` heads side by side; `mask`,
/// `[sequences, slots]`, is added to the scores, which are scaled by `1/√head_dim`: 0 where there is something to see, -1e30
/// where not. Returns `[sequences, queries, dim]`. There is no gradient of the mask.
pub fn short_attention([q, k, v]: [Tensor<3>; 3], heads: usize, mask: Tensor<2>) -> Tensor<3> {
    let ([sequences, queries, dim], slots) = (q.dims(), k.dims()[1]);
    let numbers = (tracked(&q), tracked(&k), tracked(&v), tracked(&mask));
    let (Some((q, from_q)), Some((k, from_k)), Some((v, from_v)), Some((mask, _))) = numbers else {
        return plain_short_attention([q, k, v], heads, mask);
    };
    let sizes = Sizes { queries, slots, heads, dim };
    let [q, k, v, mask] = [q, k, v, mask].map(|x| x.to_contiguous());
    let mut out = vec![0.0; sequences * queries * dim];
    let mut weights = vec![0.0; sequences * heads * queries * slots];
    let each = out.par_chunks_mut(PART * queries * dim).zip(weights.par_chunks_mut(PART * heads * queries * slots));
    let inputs =
        q.storage::<f32>().par_chunks(PART * queries * dim).zip(k.storage::<f32>().par_chunks(PART * slots * dim));
    let inputs = inputs
        .zip(v.storage::<f32>().par_chunks(PART * slots * dim).zip(mask.storage::<f32>().par_chunks(PART * slots)));
    each.zip(inputs).for_each(|((out, weights), ((q, k), (v, mask)))| {
        dispatch(
            #[inline(always)]
            || sizes.forward(out, weights, [q, k, v, mask]),
        );
    });
    differentiable([from_q, from_k, from_v], tensor(out, [sequences, queries, dim]), move |grad, _| {
        let mut grads = [queries, slots, slots].map(|rows| vec![0.0; sequences * rows * dim]);
        let [of_q, of_k, of_v] = &mut grads;
        let outputs = of_q.par_chunks_mut(PART * queries * dim).zip(of_k.par_chunks_mut(PART * slots * dim));
        let outputs = outputs.zip(of_v.par_chunks_mut(PART * slots * dim));
        let inputs =
            q.storage::<f32>().par_chunks(PART * queries * dim).zip(k.storage::<f32>().par_chunks(PART * slots * dim));
        let inputs = inputs.zip(v.storage::<f32>().par_chunks(PART * slots * dim));
        let known = weights
            .par_chunks(PART * heads * queries * slots)
            .zip(grad.storage::<f32>().par_chunks(PART * queries * dim));
        outputs.zip(inputs).zip(known).for_each(|((((of_q, of_k), of_v), ((q, k), v)), (weights, grad))| {
            dispatch(
                #[inline(always)]
                || sizes.backward([of_q, of_k, of_v], [q, k, v], weights, grad),
            );
        });
        let [of_q, of_k, of_v] = grads;
        [
            tensor(of_q, [sequences, queries, dim]),
            tensor(of_k, [sequences, slots, dim]),
            tensor(of_v, [sequences, slots, dim]),
        ]
    })
}

/// The same in plain tensor operations, with scores and weights in f32 whatever the rest is.
pub fn plain_short_attention([q, k, v]: [Tensor<3>; 3], heads: usize, mask: Tensor<2>) -> Tensor<3> {
    let [sequences, queries, dim] = q.dims();
    let split = |x: Tensor<3>| {
        let slots = x.dims()[1];
        x.reshape([sequences, slots, heads, dim / heads]).swap_dims(1, 2)
    };
    let [q, k, v] = [q, k, v].map(split);
    let mask: Tensor<4> = mask.unsqueeze_dims(&[1, 1]);
    let scores = (q * ((dim / heads) as f64).powf(-0.5)).matmul(k.swap_dims(2, 3)).cast(DType::F32) + mask;
    let attended = softmax(scores, 3).cast(v.dtype()).matmul(v);
    attended.swap_dims(1, 2).reshape([sequences, queries, dim])
}

/// What every sequence has.
#[derive(Debug, Clone, Copy)]
struct Sizes {
    queries: usize,
    slots: usize,
    heads: usize,
    dim: usize,
}

/// What a row of the weights belongs to.
struct Row {
    sequence: usize,
    /// Where its query's numbers are, for its head.
    of_query: Range<usize>,
    /// Where those of its sequence's first slot begin.
    of_slots: usize,
}

impl Sizes {
    #[inline(always)]
    fn row(self, row: usize) -> Row {
        let Self { queries, slots, heads, dim } = self;
        let (sequence, head, query) = (row / queries / heads, row / queries % heads, row % queries);
        let (head_dim, of_query) = (dim / heads, (sequence * queries + query) * dim);
        let [of_query, of_slots] = [of_query, sequence * slots * dim].map(|of| of + head * head_dim);
        Row { sequence, of_query: of_query..of_query + head_dim, of_slots }
    }

    /// Some sequences: their results and their weights, `[sequences, heads, queries, slots]`.
    #[inline(always)]
    fn forward(self, out: &mut [f32], weights: &mut [f32], [q, k, v, mask]: [&[f32]; 4]) {
        let Self { slots, heads, dim, .. } = self;
        let head_dim = dim / heads;
        let scale = (head_dim as f32).powf(-0.5);
        for (row, weights) in weights.chunks_exact_mut(slots).enumerate() {
            let Row { sequence, of_query, of_slots } = self.row(row);
            let of_slot = |slot: usize| of_slots + slot * dim..of_slots + slot * dim + head_dim;
            let q = &q[of_query.clone()];
            for (slot, weight) in weights.iter_mut().enumerate() {
                *weight = dot(q, &k[of_slot(slot)]) * scale + mask[sequence * slots + slot];
            }
            let largest = fold(weights, f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
            weights.iter_mut().for_each(|weight| *weight = exp(*weight - largest));
            let share = fold(weights, 0.0, |a, b| a + b).recip();
            weights.iter_mut().for_each(|weight| *weight *= share);
            let out = &mut out[of_query];
            for (slot, weight) in weights.iter().enumerate() {
                add(out, &v[of_slot(slot)], *weight);
            }
        }
    }

    /// The gradients of some sequences' queries, keys and values, which start at zero, from that of the result.
    #[inline(always)]
    fn backward(self, [of_q, of_k, of_v]: [&mut [f32]; 3], [q, k, v]: [&[f32]; 3], weights: &[f32], grad: &[f32]) {
        let Self { slots, heads, dim, .. } = self;
        let head_dim = dim / heads;
        let scale = (head_dim as f32).powf(-0.5);
        for (row, weights) in weights.chunks_exact(slots).enumerate() {
            let Row { of_query, of_slots, .. } = self.row(row);
            let of_slot = |slot: usize| of_slots + slot * dim..of_slots + slot * dim + head_dim;
            let grad = &grad[of_query.clone()];
            let of_weight = |slot: usize| dot(grad, &v[of_slot(slot)]);
            let mean: f32 = weights.iter().enumerate().map(|(slot, weight)| weight * of_weight(slot)).sum();
            for (slot, weight) in weights.iter().enumerate() {
                let of_score = weight * (of_weight(slot) - mean) * scale;
                add(&mut of_v[of_slot(slot)], grad, *weight);
                add(&mut of_k[of_slot(slot)], &q[of_query.clone()], of_score);
                add(&mut of_q[of_query.clone()], &k[of_slot(slot)], of_score);
            }
        }
    }
}

/// Adds a multiple of a row to a sum.
#[inline(always)]
fn add(sum: &mut [f32], row: &[f32], times: f32) {
    sum.iter_mut().zip(row).for_each(|(sum, x)| *sum += x * times);
}
