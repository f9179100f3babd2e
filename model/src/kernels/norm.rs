//! Norms, and the activations that follow them, in one pass each.

use andamento_shaders::train as gpu;
use burn::backend::Flex;
use burn::backend::flex::FlexTensor;
use burn::nn::{GroupNorm, RmsNorm};
use burn::tensor::Tensor;
use burn::tensor::activation::silu;
use burn::tensor::module::layer_norm;
use rayon::prelude::*;

use super::{LANES, differentiable, differentiable_on_gpu, dispatch, dot, fold, primitive, sigmoid, tensor};
use super::{tracked, tracked_on_gpu, untracked};

/// A group norm of `x`, `[batch, channels, height, width]`, and SiLU behind it.
pub fn group_norm_silu(norm: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
    let (Some(gamma), Some(beta)) = (&norm.gamma, &norm.beta) else {
        return silu(norm.forward(x));
    };
    let (gamma, beta) = (gamma.val(), beta.val());
    let sizes = Sizes { groups: norm.num_groups, epsilon: norm.epsilon as f32 };
    if let (Some(x), Some(gamma), Some(beta)) = (tracked(&x), tracked(&gamma), tracked(&beta)) {
        let nodes = [x.1, gamma.1, beta.1];
        let [x, gamma, beta] = [x.0, gamma.0, beta.0].map(|x| x.to_contiguous());
        let (out, statistics) = forward(&sizes, &x, &gamma, &beta);
        return differentiable(nodes, out, move |grad, _| backward(&sizes, [&x, &gamma, &beta], &statistics, grad));
    }
    if let Some(out) = group_norm_on_gpu(norm, &x, true) {
        return out;
    }
    match (untracked(&x), untracked(&gamma), untracked(&beta)) {
        (Some(x), Some(gamma), Some(beta)) => {
            let [x, gamma, beta] = [x, gamma, beta].map(|x| x.to_contiguous());
            Tensor::from_primitive::<Flex>(forward(&sizes, &x, &gamma, &beta).0)
        }
        _ if x.is_autodiff() => folded_group_norm_silu(norm, x),
        _ => silu(norm.forward(x)),
    }
}

/// A group norm of `x`, `[batch, channels, height, width]`.
pub fn group_normed(norm: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
    group_norm_on_gpu(norm, &x, false).unwrap_or_else(|| norm.forward(x))
}

/// A group norm, and SiLU behind it where that is asked for, as few kernels: in training on a GPU.
fn group_norm_on_gpu(norm: &GroupNorm, x: &Tensor<4>, silu: bool) -> Option<Tensor<4>> {
    let (gamma, beta) = (norm.gamma.as_ref()?.val(), norm.beta.as_ref()?.val());
    let kind = gpu::GroupNorm { groups: norm.num_groups, silu, epsilon: norm.epsilon as f32 };
    let same = gamma.dtype() == x.dtype() && beta.dtype() == x.dtype();
    let (x, node) = tracked_on_gpu(x).filter(|_| same)?;
    let ((gamma, from_gamma), (beta, from_beta)) = (tracked_on_gpu(&gamma)?, tracked_on_gpu(&beta)?);
    let affine = [gamma, beta];
    let (out, statistics) = gpu::group_norm(x.clone(), affine.clone(), &kind);
    Some(differentiable_on_gpu([node, from_gamma, from_beta], out, move |grad| {
        let (x, affine, statistics) = (x.clone(), affine.clone(), statistics.clone());
        let (of_x, [of_gamma, of_beta]) = gpu::group_norm_gradients(grad, x, affine, statistics, &kind);
        [primitive(of_x), primitive(of_gamma), primitive(of_beta)]
    }))
}

/// The same as [`group_norm_silu`] in plain operations for training on a GPU, where one thread sums a row: means of means, so that no row is long.
pub fn folded_group_norm_silu(norm: &GroupNorm, x: Tensor<4>) -> Tensor<4> {
    let shape @ [batch, channels, height, width] = x.dims();
    let x: Tensor<3> = x.reshape([batch * norm.num_groups, channels / norm.num_groups * height, width]);
    let x = x.clone() - x.mean_dim(2).mean_dim(1);
    let variance = x.clone().square().mean_dim(2).mean_dim(1);
    let x = (x / (variance + norm.epsilon).sqrt()).reshape(shape);
    let [gamma, beta] = [&norm.gamma, &norm.beta].map(|it| it.as_ref().map(|it| it.val().reshape([1, -1, 1, 1])));
    let x = if let Some(gamma) = gamma { x * gamma } else { x };
    silu(if let Some(beta) = beta { x + beta } else { x })
}

/// The groups of a norm, and what is added to their variance.
struct Sizes {
    groups: usize,
    epsilon: f32,
}

/// The root mean square norm of `x` over its last axis.
pub fn rms_normed(norm: &RmsNorm, x: Tensor<3>) -> Tensor<3> {
    let gamma = norm.gamma.val();
    let kind = gpu::RowNorm { centred: false, epsilon: norm.epsilon as f32 };
    if let Some(out) = row_norm_on_gpu(&x, &gamma, None, kind) {
        return out;
    }
    let (Some(tracked_x), Some(gamma)) = (tracked(&x), tracked(&gamma)) else {
        return norm.forward(x);
    };
    let (shape, epsilon) = (x.dims(), norm.epsilon as f32);
    let nodes = [tracked_x.1, gamma.1];
    let [x, gamma] = [tracked_x.0, gamma.0].map(|x| x.to_contiguous());
    let mut out = vec![0.0; shape.iter().product()];
    let inverse = move |row: &[f32]| (dot(row, row) / row.len() as f32 + epsilon).sqrt().recip();
    let gains: &[f32] = gamma.storage();
    rows_of(&mut out, x.storage(), shape[2]).for_each(|(out, x)| {
        dispatch(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(shape[2]).zip(x.chunks_exact(shape[2])) {
                    let inverse = inverse(x);
                    out.iter_mut().zip(x).zip(gains).for_each(|((out, x), gain)| *out = x * inverse * gain);
                }
            },
        );
    });
    differentiable(nodes, tensor(out, shape), move |grad, _| {
        let (width, gains): (usize, &[f32]) = (shape[2], gamma.storage());
        let grad: &[f32] = grad.storage();
        let mut grad_x = vec![0.0; grad.len()];
        let tasks = rows_of(&mut grad_x, x.storage(), width).zip(grad.par_chunks(ROWS * width));
        let of_gamma = tasks.map(|((grad_x, x), grad)| {
            let mut of_gamma = vec![0.0; width];
            dispatch(
                #[inline(always)]
                || {
                    let rows = grad_x.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(grad.chunks_exact(width));
                    for ((grad_x, x), grad) in rows {
                        let inverse = inverse(x);
                        for (index, grad_x) in grad_x.iter_mut().enumerate() {
                            of_gamma[index] += grad[index] * x[index] * inverse;
                            *grad_x = grad[index] * gains[index];
                        }
                        let along = dot(grad_x, x) * inverse * inverse / width as f32;
                        grad_x.iter_mut().zip(x).for_each(|(grad_x, x)| *grad_x = (*grad_x - x * along) * inverse);
                    }
                },
            );
            of_gamma
        });
        let of_gamma = of_gamma.collect::<Vec<_>>();
        let of_gamma = (0..width).map(|index| of_gamma.iter().map(|part| part[index]).sum()).collect();
        [tensor(grad_x, shape), tensor(of_gamma, [width])]
    })
}

/// A norm over the last axis as few kernels: in training on a GPU.
fn row_norm_on_gpu<const D: usize>(
    x: &Tensor<D>,
    gamma: &Tensor<1>,
    beta: Option<&Tensor<1>>,
    kind: gpu::RowNorm,
) -> Option<Tensor<D>> {
    let same = |affine: &Tensor<1>| affine.dtype() == x.dtype();
    let (x, from_x) = tracked_on_gpu(x).filter(|_| same(gamma) && beta.is_none_or(same))?;
    let (gamma, from_gamma) = tracked_on_gpu(gamma)?;
    let (beta, from_beta) = beta.map(tracked_on_gpu).map_or(Some((None, None)), |beta| {
        let (beta, from_beta) = beta?;
        Some((Some(beta), Some(from_beta)))
    })?;
    let (out, statistics) = gpu::row_norm(x.clone(), gamma.clone(), beta, &kind);
    let gradients = move |grad| {
        let (x, gamma, statistics) = (x.clone(), gamma.clone(), statistics.clone());
        let (of_x, [of_gamma, of_beta]) = gpu::row_norm_gradients(grad, x, gamma, statistics, &kind);
        [primitive(of_x), primitive(of_gamma), primitive(of_beta)]
    };
    Some(match from_beta {
        Some(from_beta) => differentiable_on_gpu([from_x, from_gamma, from_beta], out, gradients),
        None => differentiable_on_gpu([from_x, from_gamma], out, move |grad| {
            let [of_x, of_gamma, _] = gradients(grad);
            [of_x, of_gamma]
        }),
    })
}

/// The layer norm of `x` over its last axis.
pub fn layer_normed<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Option<Tensor<1>>,
    epsilon: f64,
) -> Tensor<D> {
    let kind = gpu::RowNorm { centred: true, epsilon: epsilon as f32 };
    if let Some(out) = row_norm_on_gpu(&x, &gamma, beta.as_ref(), kind) {
        return out;
    }
    let no_beta = || Tensor::zeros(gamma.dims(), &gamma.device());
    let numbers = tracked(&x).zip(tracked(&gamma)).zip(tracked(&beta.clone().unwrap_or_else(no_beta)));
    let Some((((x, from_x), (gamma, from_gamma)), (beta, from_beta))) = numbers else {
        return layer_norm(x, gamma, beta, epsilon);
    };
    let (shape, epsilon): ([usize; D], f32) = (x.layout().shape().dims(), epsilon as f32);
    let width = shape[D - 1];
    let [x, gamma, beta] = [x, gamma, beta].map(|x| x.to_contiguous());
    let mut out = vec![0.0; shape.iter().product()];
    let (gains, shifts): (&[f32], &[f32]) = (gamma.storage(), beta.storage());
    rows_of(&mut out, x.storage(), width).for_each(|(out, x)| {
        dispatch(
            #[inline(always)]
            || {
                for (out, x) in out.chunks_exact_mut(width).zip(x.chunks_exact(width)) {
                    let inverse = centred(out, x, epsilon);
                    let affine = gains.iter().zip(shifts);
                    out.iter_mut().zip(affine).for_each(|(out, (gain, shift))| *out = *out * inverse * gain + shift);
                }
            },
        );
    });
    differentiable([from_x, from_gamma, from_beta], tensor(out, shape), move |grad, _| {
        let (gains, grad): (&[f32], &[f32]) = (gamma.storage(), grad.storage());
        let mut grad_x = vec![0.0; grad.len()];
        let tasks = rows_of(&mut grad_x, x.storage(), width).zip(grad.par_chunks(ROWS * width));
        let affine = tasks.map(|((grad_x, x), grad)| {
            let mut affine = [vec![0.0; width], vec![0.0; width]];
            let [of_gamma, of_beta] = &mut affine;
            dispatch(
                #[inline(always)]
                || {
                    let mut normal = vec![0.0; width];
                    let rows = grad_x.chunks_exact_mut(width).zip(x.chunks_exact(width)).zip(grad.chunks_exact(width));
                    for ((grad_x, x), grad) in rows {
                        let inverse = centred(&mut normal, x, epsilon);
                        for (index, grad_x) in grad_x.iter_mut().enumerate() {
                            normal[index] *= inverse;
                            of_gamma[index] += grad[index] * normal[index];
                            of_beta[index] += grad[index];
                            *grad_x = grad[index] * gains[index];
                        }
                        let mean = fold(grad_x, 0.0, |a, b| a + b) / width as f32;
                        let along = dot(grad_x, &normal) / width as f32;
                        grad_x
                            .iter_mut()
                            .zip(&normal)
                            .for_each(|(x, normal)| *x = (*x - mean - normal * along) * inverse);
                    }
                },
            );
            affine
        });
        let affine = affine.collect::<Vec<_>>();
        let sum = |which: usize| {
            let of = |index: usize| affine.iter().map(|part| part[which][index]).sum();
            tensor((0..width).map(of).collect(), [width])
        };
        [tensor(grad_x, shape), sum(0), sum(1)]
    })
}

/// Writes a row less its mean, and returns the inverse of its deviation.
#[inline(always)]
fn centred(out: &mut [f32], x: &[f32], epsilon: f32) -> f32 {
    let mean = fold(x, 0.0, |a, b| a + b) / x.len() as f32;
    out.iter_mut().zip(x).for_each(|(out, x)| *out = x - mean);
    (dot(out, out) / x.len() as f32 + epsilon).sqrt().recip()
}

/// Rows that a thread takes at a time.
const ROWS: usize = 64;

/// Rows to write and the rows that they come from, [`ROWS`] at a time.
fn rows_of<'a>(
    out: &'a mut [f32],
    from: &'a [f32],
    width: usize,
) -> impl IndexedParallelIterator<Item = (&'a mut [f32], &'a [f32])> {
    out.par_chunks_mut(ROWS * width).zip(from.par_chunks(ROWS * width))
}

fn dims(x: &FlexTensor) -> [usize; 4] {
    x.layout().shape().dims()
}

fn forward(sizes: &Sizes, x: &FlexTensor, gamma: &FlexTensor, beta: &FlexTensor) -> (FlexTensor, Vec<[f32; 2]>) {
    let shape @ [batch, channels, height, width] = dims(x);
    let (group, pixels) = (channels / sizes.groups, height * width);
    let (x, gamma, beta): (&[f32], &[f32], &[f32]) = (x.storage(), gamma.storage(), beta.storage());
    let mut out = vec![0.0; x.len()];
    let mut statistics = vec![[0.0; 2]; batch * sizes.groups];
    let groups = out.par_chunks_mut(group * pixels).zip(x.par_chunks(group * pixels)).zip(&mut statistics).enumerate();
    groups.for_each(|(index, ((out, x), statistics))| {
        dispatch(
            #[inline(always)]
            || {
                let mean = fold(x, 0.0, |a, b| a + b) / x.len() as f32;
                out.iter_mut().zip(x).for_each(|(out, x)| *out = x - mean);
                let inverse = (dot(out, out) / x.len() as f32 + sizes.epsilon).sqrt().recip();
                *statistics = [mean, inverse];
                for (at, out) in out.chunks_exact_mut(pixels).enumerate() {
                    let channel = index % sizes.groups * group + at;
                    let (scale, shift) = (gamma[channel] * inverse, beta[channel]);
                    for out in out {
                        let y = *out * scale + shift;
                        *out = y * sigmoid(y);
                    }
                }
            },
        );
    });
    (tensor(out, shape), statistics)
}

fn backward(
    sizes: &Sizes,
    [x, gamma, beta]: [&FlexTensor; 3],
    statistics: &[[f32; 2]],
    grad: &FlexTensor,
) -> [FlexTensor; 3] {
    let shape @ [batch, channels, height, width] = dims(x);
    let (group, pixels) = (channels / sizes.groups, height * width);
    let (x, grad): (&[f32], &[f32]) = (x.storage(), grad.storage());
    let (gamma, beta): (&[f32], &[f32]) = (gamma.storage(), beta.storage());
    let mut grad_x = vec![0.0; x.len()];
    // Of gamma and of beta, for each picture.
    let mut affine = vec![[0.0; 2]; batch * channels];
    let groups = grad_x.par_chunks_mut(group * pixels).zip(affine.par_chunks_mut(group)).zip(statistics);
    let groups = groups.zip(x.par_chunks(group * pixels).zip(grad.par_chunks(group * pixels))).enumerate();
    groups.for_each(|(index, (((grad_x, affine), [mean, inverse]), (x, grad)))| {
        dispatch(
            #[inline(always)]
            || {
                let first = index % sizes.groups * group;
                let mut sums = [0.0; 2];
                for (at, affine) in affine.iter_mut().enumerate() {
                    let (gamma, beta) = (gamma[first + at], beta[first + at]);
                    let part = at * pixels..(at + 1) * pixels;
                    let (grad_x, x, grad) = (&mut grad_x[part.clone()], &x[part.clone()], &grad[part]);
                    *affine = through_silu(grad_x, x, grad, [*mean, *inverse, gamma, beta]);
                    sums = [sums[0] + affine[0] * gamma, sums[1] + affine[1] * gamma];
                }
                let count = x.len() as f32;
                let [along, shift] = [sums[0] / count, sums[1] / count];
                for (at, grad_x) in grad_x.chunks_exact_mut(pixels).enumerate() {
                    let gamma = gamma[first + at];
                    for (grad_x, x) in grad_x.iter_mut().zip(&x[at * pixels..]) {
                        let normal = (x - mean) * inverse;
                        *grad_x = (*grad_x * gamma - shift - normal * along) * inverse;
                    }
                }
            },
        );
    });
    let of = |which: usize| {
        let sum = |channel: usize| affine[channel..].iter().step_by(channels).map(|pair| pair[which]).sum();
        tensor((0..channels).map(sum).collect(), [channels])
    };
    [tensor(grad_x, shape), of(0), of(1)]
}

/// The gradient of a channel before its SiLU, and its sums with the normal numbers and alone.
#[inline(always)]
fn through_silu(out: &mut [f32], x: &[f32], grad: &[f32], [mean, inverse, gamma, beta]: [f32; 4]) -> [f32; 2] {
    let (mut along, mut alone) = ([0.0; LANES], [0.0; LANES]);
    let mut last = [0.0; 2];
    let one = |x: f32, grad: f32| {
        let normal = (x - mean) * inverse;
        let y = normal * gamma + beta;
        let sigmoid = sigmoid(y);
        (grad * sigmoid * (1.0 + y * (1.0 - sigmoid)), normal)
    };
    let ((out, out_rest), (x, x_rest), (grad, grad_rest)) =
        (out.as_chunks_mut::<LANES>(), x.as_chunks::<LANES>(), grad.as_chunks::<LANES>());
    for ((out, x), grad) in out.iter_mut().zip(x).zip(grad) {
        let sums = along.iter_mut().zip(&mut alone);
        for (((out, x), grad), (along, alone)) in out.iter_mut().zip(x).zip(grad).zip(sums) {
            let (value, normal) = one(*x, *grad);
            *out = value;
            *along += value * normal;
            *alone += value;
        }
    }
    for ((out, x), grad) in out_rest.iter_mut().zip(x_rest).zip(grad_rest) {
        let (value, normal) = one(*x, *grad);
        *out = value;
        last = [last[0] + value * normal, last[1] + value];
    }
    [last[0] + along.iter().sum::<f32>(), last[1] + alone.iter().sum::<f32>()]
}
