//! Softmax attention that never holds the scores of a whole sequence, forward and backward (Dao et al., arXiv 2205.14135).

use andamento_shaders::train as gpu;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::backend::ops::FloatTensorOps;
use burn::tensor::activation::softmax as plain_softmax;
use burn::tensor::{DType, Distribution, Tensor};
use rayon::prelude::*;

use crate::networks::llamagen::drop;

use super::{differentiable, differentiable_on_gpu, dispatch, dot, exp, fold, primitive, tensor};
use super::{tracked, tracked_on_gpu, without_gradients};

/// Queries whose scores are held at a time, about: the scores of so many stay in the second-level cache.
const ROWS: usize = 128;
/// What is below this in a mask is not seen.
const HIDDEN: f32 = -1e20;

/// Softmax attention of whole sequences.
///
/// `q` is `[batch, heads, queries, head_dim]`; `k` and `v` are `[batch, heads, keys, head_dim]`; `mask`,
/// `[1, 1, queries, keys]`, is added to the scores, which are scaled by `1/√head_dim`: 0 where a query may look, -1e30 where
/// not. `dropout` is the share of the weights that is zeroed, the others being scaled up. Returns
/// `[batch, heads, queries, head_dim]`. There is no gradient of the mask.
pub fn attention([q, k, v]: [Tensor<4>; 3], mask: &Tensor<4>, dropout: f64) -> Tensor<4> {
    let device = q.device();
    let (Some(q), Some(k), Some(v), Some(mask)) = (tracked(&q), tracked(&k), tracked(&v), tracked(mask)) else {
        let scores = tracked_on_gpu(&q).map(|_| scores(&q, &k));
        return match scores.and_then(|scores| softmax_on_gpu(&scores, Some(mask))) {
            Some(weights) => drop(weights, dropout).matmul(v),
            None => plain_attention([q, k, v], mask, dropout),
        };
    };
    let dropout = (dropout > 0.0).then(|| {
        let seed = Tensor::<1>::random([1], Distribution::Uniform(0.0, (1 << 24) as f64), &device);
        Dropout { share: dropout as f32, seed: seed.into_scalar::<f32>() as u32 }
    });
    let inputs = Inputs { q: q.0, k: k.0, v: v.0, mask: mask.0.to_contiguous(), dropout };
    let (out, log_sums) = forward(&inputs);
    differentiable([q.1, k.1, v.1], out.clone(), move |grad, _| backward(&inputs, &out, &log_sums, grad))
}

/// The same in plain tensor operations, with scores and weights in f32 whatever the rest is.
pub fn plain_attention([q, k, v]: [Tensor<4>; 3], mask: &Tensor<4>, dropout: f64) -> Tensor<4> {
    let scores = scores(&q, &k).cast(DType::F32) + mask.clone();
    drop(plain_softmax(scores, 3), dropout).cast(v.dtype()).matmul(v)
}

/// The products of queries and keys, scaled.
fn scores(q: &Tensor<4>, k: &Tensor<4>) -> Tensor<4> {
    (q.clone() * (q.dims()[3] as f64).powf(-0.5)).matmul(k.clone().swap_dims(2, 3))
}

/// Softmax over the last axis: `[batch, heads, queries, keys]`.
pub fn softmax(scores: Tensor<4>) -> Tensor<4> {
    softmax_on_gpu(&scores, None).unwrap_or_else(|| plain_softmax(scores, 3))
}

/// Softmax of scores with a mask added, where one kernel can: in training on a GPU.
fn softmax_on_gpu(scores: &Tensor<4>, mask: Option<&Tensor<4>>) -> Option<Tensor<4>> {
    let (scores, node) = tracked_on_gpu(scores)?;
    let weights = gpu::softmax(scores, mask.map(without_gradients));
    Some(differentiable_on_gpu([node], weights.clone(), move |grad| {
        [primitive(gpu::softmax_gradient(grad, weights.clone()))]
    }))
}

/// What the result is computed from.
struct Inputs {
    q: FlexTensor,
    k: FlexTensor,
    v: FlexTensor,
    mask: FlexTensor,
    dropout: Option<Dropout>,
}

/// Which weights are zeroed follows from the seed and the place alone, so that the gradient need not be told.
#[derive(Debug, Clone, Copy)]
struct Dropout {
    share: f32,
    seed: u32,
}

impl Dropout {
    /// What the weights of one query of one head are multiplied by: 0 or `1 / (1 - share)`.
    #[inline(always)]
    fn factors(self, head: usize, query: usize) -> impl Fn(usize) -> f32 {
        let row = scrambled(scrambled(self.seed ^ scrambled(head as u32)) ^ query as u32);
        let (kept, limit) = ((1.0 - self.share).recip(), (self.share * (1 << 24) as f32) as u32);
        move |key| if scrambled(row ^ key as u32) >> 8 < limit { 0.0 } else { kept }
    }
}

/// A number whose every bit depends on every bit of `x` (C. Wellons, "lowbias32").
#[inline(always)]
fn scrambled(x: u32) -> u32 {
    let x = (x ^ (x >> 16)).wrapping_mul(0x7feb_352d);
    let x = (x ^ (x >> 15)).wrapping_mul(0x846c_a68b);
    x ^ (x >> 16)
}

fn dims(x: &FlexTensor) -> [usize; 4] {
    x.layout().shape().dims()
}

/// Rows of one head: `[1, 1, rows, head_dim]`.
fn rows(x: &FlexTensor, head: usize, from: usize, to: usize) -> FlexTensor {
    let heads = dims(x)[1];
    x.narrow(0, head / heads, 1).narrow(1, head % heads, 1).narrow(2, from, to - from)
}

fn transposed(x: FlexTensor) -> FlexTensor {
    x.transpose(2, 3)
}

/// Queries whose scores are held at a time.
struct Block<'a> {
    /// The first of them.
    first: usize,
    /// Their rows of the mask, as far as one of them sees.
    mask: Vec<&'a [f32]>,
    /// How many keys the one sees that sees furthest.
    seen: usize,
}

/// The queries in nearly equal blocks of about [`ROWS`].
fn blocks(mask: &[f32], queries: usize) -> Vec<Block<'_>> {
    let rows = queries.div_ceil((queries / ROWS).max(1));
    let keys = mask.len() / queries;
    let reach = |row: &[f32]| row.iter().rposition(|x| *x > HIDDEN).map_or(0, |last| last + 1);
    let blocks = mask.chunks(rows * keys).enumerate().map(|(index, mask)| {
        let seen = mask.chunks_exact(keys).map(reach).max().unwrap_or(0).max(1);
        Block { first: index * rows, mask: mask.chunks_exact(keys).map(|row| &row[..seen]).collect(), seen }
    });
    blocks.collect()
}

/// The result, and the logarithms of the sums of exponentials.
fn forward(inputs: &Inputs) -> (FlexTensor, Vec<f32>) {
    let Inputs { q, k, v, mask, dropout } = inputs;
    let [batch, heads, queries, head_dim] = dims(q);
    let keys = dims(k)[2];
    assert!(dims(k) == [batch, heads, keys, head_dim] && dims(v) == dims(k), "queries, keys and values do not fit");
    assert!(dims(mask) == [1, 1, queries, keys], "a mask of {:?} for {queries} queries and {keys} keys", dims(mask));
    let scale = (head_dim as f32).powf(-0.5);
    let blocks = blocks(mask.storage(), queries);
    let mut out = vec![0.0; batch * heads * queries * head_dim];
    let mut log_sums = vec![0.0; batch * heads * queries];
    let each_head = out.par_chunks_mut(queries * head_dim).zip(log_sums.par_chunks_mut(queries)).enumerate();
    each_head.for_each(|(head, (out, log_sums))| {
        for block in &blocks {
            let (first, last) = (block.first, block.first + block.mask.len());
            let mut weights = Flex::float_matmul(rows(q, head, first, last), transposed(rows(k, head, 0, block.seen)));
            softmax_rows(weights.storage_mut(), block, scale, &mut log_sums[first..last]);
            if let Some(dropout) = dropout {
                drop_weights(weights.storage_mut(), block, head, *dropout);
            }
            let attended = Flex::float_matmul(weights, rows(v, head, 0, block.seen));
            out[first * head_dim..last * head_dim].copy_from_slice(attended.storage());
        }
    });
    (tensor(out, [batch, heads, queries, head_dim]), log_sums)
}

/// Scores to weights, row by row, and the logarithms of the sums of exponentials.
fn softmax_rows(scores: &mut [f32], block: &Block, scale: f32, log_sums: &mut [f32]) {
    dispatch(
        #[inline(always)]
        || {
            for ((row, mask), log_sum) in scores.chunks_exact_mut(block.seen).zip(&block.mask).zip(log_sums) {
                row.iter_mut().zip(*mask).for_each(|(x, mask)| *x = *x * scale + mask);
                let largest = fold(row, f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
                row.iter_mut().for_each(|x| *x = exp(*x - largest));
                let sum = fold(row, 0.0, |a, b| a + b);
                let share = sum.recip();
                row.iter_mut().for_each(|x| *x *= share);
                *log_sum = largest + sum.ln();
            }
        },
    )
}

/// Zeroes some weights and scales up the others.
fn drop_weights(weights: &mut [f32], block: &Block, head: usize, dropout: Dropout) {
    dispatch(
        #[inline(always)]
        || {
            for (query, row) in weights.chunks_exact_mut(block.seen).enumerate() {
                let factor = dropout.factors(head, block.first + query);
                row.iter_mut().enumerate().for_each(|(key, x)| *x *= factor(key));
            }
        },
    )
}

/// The gradients of queries, keys and values, from that of the result.
fn backward(inputs: &Inputs, out: &FlexTensor, log_sums: &[f32], grad: &FlexTensor) -> [FlexTensor; 3] {
    let Inputs { q, k, v, mask, dropout } = inputs;
    let ([batch, heads, queries, head_dim], keys) = (dims(q), dims(k)[2]);
    let scale = (head_dim as f32).powf(-0.5);
    let blocks = blocks(mask.storage(), queries);
    let mut grads = [queries, keys, keys].map(|rows| vec![0.0; batch * heads * rows * head_dim]);
    let [grad_q, grad_k, grad_v] = &mut grads;
    let (out, grads_out): (&[f32], &[f32]) = (out.storage(), grad.storage());
    let each_head = grad_q.par_chunks_mut(queries * head_dim).zip(grad_k.par_chunks_mut(keys * head_dim));
    let each_head = each_head.zip(grad_v.par_chunks_mut(keys * head_dim)).enumerate();
    each_head.for_each(|(head, ((grad_q, grad_k), grad_v))| {
        for block in &blocks {
            let (first, last) = (block.first, block.first + block.mask.len());
            let (q, grad) = (rows(q, head, first, last), rows(grad, head, first, last));
            let (k, v) = (rows(k, head, 0, block.seen), rows(v, head, 0, block.seen));
            let mut weights = Flex::float_matmul(q.clone(), transposed(k.clone()));
            let mut grad_scores = Flex::float_matmul(grad.clone(), transposed(v));
            let of_block = (head * queries + first) * head_dim..(head * queries + last) * head_dim;
            if let Some(dropout) = dropout {
                drop_weights(grad_scores.storage_mut(), block, head, *dropout);
            }
            softmax_backward(
                weights.storage_mut(),
                grad_scores.storage_mut(),
                (block, scale),
                &log_sums[head * queries + first..head * queries + last],
                (&out[of_block.clone()], &grads_out[of_block]),
            );
            if let Some(dropout) = dropout {
                drop_weights(weights.storage_mut(), block, head, *dropout);
            }
            let of_q = Flex::float_matmul(grad_scores.clone(), k);
            grad_q[first * head_dim..last * head_dim].copy_from_slice(of_q.storage());
            add(grad_k, Flex::float_matmul(transposed(grad_scores), q).storage());
            add(grad_v, Flex::float_matmul(transposed(weights), grad).storage());
        }
    });
    let [grad_q, grad_k, grad_v] = grads;
    [
        tensor(grad_q, [batch, heads, queries, head_dim]),
        tensor(grad_k, [batch, heads, keys, head_dim]),
        tensor(grad_v, [batch, heads, keys, head_dim]),
    ]
}

/// Scores to weights, and the gradient of the weights to that of the scores, row by row. `out` is the result of these rows
/// and its gradient.
fn softmax_backward(
    scores: &mut [f32],
    grads: &mut [f32],
    (block, scale): (&Block, f32),
    log_sums: &[f32],
    out: (&[f32], &[f32]),
) {
    let head_dim = out.0.len() / block.mask.len();
    dispatch(
        #[inline(always)]
        || {
            let scores = scores.chunks_exact_mut(block.seen).zip(grads.chunks_exact_mut(block.seen));
            let out = out.0.chunks_exact(head_dim).zip(out.1.chunks_exact(head_dim));
            for ((((scores, grads), out), mask), log_sum) in scores.zip(out).zip(&block.mask).zip(log_sums) {
                let mean = dot(out.0, out.1);
                for ((score, grad), mask) in scores.iter_mut().zip(grads).zip(*mask) {
                    *score = exp(*score * scale + mask - log_sum);
                    *grad = *score * (*grad - mean) * scale;
                }
            }
        },
    )
}

/// Adds to the first numbers of a sum.
fn add(sum: &mut [f32], part: &[f32]) {
    dispatch(
        #[inline(always)]
        || sum.iter_mut().zip(part).for_each(|(sum, part)| *sum += part),
    )
}
