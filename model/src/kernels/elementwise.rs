//! What a transformer does to single numbers, and the loss at its end.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI};

use andamento_shaders::train as gpu;
use burn::prelude::*;
use burn::tensor::Int;
use burn::tensor::activation::{gelu as plain_gelu, log_softmax, silu};
use rayon::prelude::*;

use super::{differentiable, differentiable_on_gpu, dispatch, exp, fold, primitive, sigmoid, tensor};
use super::{tracked, tracked_on_gpu};

/// Numbers that a thread takes at a time.
const PART: usize = 1 << 14;

/// `silu(gate) · x`, the middle of SwiGLU: `[batch, slots, hidden]` each.
pub fn swiglu(gate: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
    if let (Some((gate, from_gate)), Some((x, from_x))) = (tracked_on_gpu(&gate), tracked_on_gpu(&x)) {
        let out = gpu::swiglu(gate.clone(), x.clone());
        return differentiable_on_gpu([from_gate, from_x], out, move |grad| {
            gpu::swiglu_gradients(grad, gate.clone(), x.clone()).map(primitive)
        });
    }
    let (Some((gate, from_gate)), Some((x, from_x))) = (tracked(&gate), tracked(&x)) else {
        return silu(gate) * x;
    };
    let shape: [usize; 3] = x.layout().shape().dims();
    let (gate, x) = (gate.to_contiguous(), x.to_contiguous());
    let mut out = vec![0.0; shape.iter().product()];
    let inputs = gate.storage::<f32>().par_chunks(PART).zip(x.storage::<f32>().par_chunks(PART));
    out.par_chunks_mut(PART).zip(inputs).for_each(|(out, (gate, x))| {
        dispatch(
            #[inline(always)]
            || out.iter_mut().zip(gate).zip(x).for_each(|((out, gate), x)| *out = gate * sigmoid(*gate) * x),
        );
    });
    differentiable([from_gate, from_x], tensor(out, shape), move |grad, _| {
        let grad: &[f32] = grad.storage();
        let mut grads = [vec![0.0; grad.len()], vec![0.0; grad.len()]];
        let [of_gate, of_x] = &mut grads;
        let inputs = gate.storage::<f32>().par_chunks(PART).zip(x.storage::<f32>().par_chunks(PART));
        let parts = of_gate.par_chunks_mut(PART).zip(of_x.par_chunks_mut(PART)).zip(inputs).zip(grad.par_chunks(PART));
        parts.for_each(|(((of_gate, of_x), (gate, x)), grad)| {
            dispatch(
                #[inline(always)]
                || {
                    let inputs = gate.iter().zip(x).zip(grad);
                    for ((of_gate, of_x), ((gate, x), grad)) in of_gate.iter_mut().zip(of_x).zip(inputs) {
                        let share = sigmoid(*gate);
                        *of_x = grad * gate * share;
                        *of_gate = grad * x * share * (1.0 + gate * (1.0 - share));
                    }
                },
            );
        });
        grads.map(|grad| tensor(grad, shape))
    })
}

/// The exact GELU, `x · Φ(x)`: `[batch, slots, hidden]`.
pub fn gelu(x: Tensor<3>) -> Tensor<3> {
    elementwise(
        x,
        #[inline(always)]
        |x| x * normal_cdf(x),
        // The density of the normal distribution is 1/√(2π) e^(-x²/2).
        #[inline(always)]
        |x| normal_cdf(x) + x * exp(-0.5 * x * x) * 0.5 * FRAC_2_SQRT_PI * FRAC_1_SQRT_2,
        plain_gelu,
    )
}

/// GELU by its approximation with tanh (`nn.GELU(approximate="tanh")`): `[batch, slots, hidden]`.
pub fn gelu_tanh(x: Tensor<3>) -> Tensor<3> {
    const CUBE: f32 = 0.044_715;
    // √(2/π)
    const FACTOR: f32 = FRAC_2_SQRT_PI * FRAC_1_SQRT_2;
    // ½ (1 + tanh u) is the sigmoid of 2u.
    #[inline(always)]
    fn share(x: f32) -> f32 {
        sigmoid(2.0 * FACTOR * (x + CUBE * x * x * x))
    }
    elementwise(
        x,
        #[inline(always)]
        |x| x * share(x),
        #[inline(always)]
        |x| {
            let share = share(x);
            share + x * share * (1.0 - share) * 2.0 * FACTOR * (1.0 + 3.0 * CUBE * x * x)
        },
        andamento_shaders::reference::gelu_tanh,
    )
}

/// A function of every number and its slope; `plain` is the same in tensor operations.
fn elementwise(
    x: Tensor<3>,
    of: impl Fn(f32) -> f32 + Copy + Sync,
    slope: impl Fn(f32) -> f32 + Copy + Send + Sync + 'static,
    plain: impl FnOnce(Tensor<3>) -> Tensor<3>,
) -> Tensor<3> {
    let Some((numbers, node)) = tracked(&x) else {
        return plain(x);
    };
    let (x, shape) = (numbers.to_contiguous(), x.dims());
    let mut out = vec![0.0; shape.iter().product()];
    out.par_chunks_mut(PART).zip(x.storage::<f32>().par_chunks(PART)).for_each(|(out, x)| {
        dispatch(
            #[inline(always)]
            || out.iter_mut().zip(x).for_each(|(out, x)| *out = of(*x)),
        );
    });
    differentiable([node], tensor(out, shape), move |grad, _| {
        let mut of_x = grad.storage::<f32>().to_vec();
        of_x.par_chunks_mut(PART).zip(x.storage::<f32>().par_chunks(PART)).for_each(|(grad, x)| {
            dispatch(
                #[inline(always)]
                || grad.iter_mut().zip(x).for_each(|(grad, x)| *grad *= slope(*x)),
            );
        });
        [tensor(of_x, shape)]
    })
}

/// `Φ(x)`, the share of a standard normal distribution below `x`, to 2e-7.
#[inline(always)]
fn normal_cdf(x: f32) -> f32 {
    0.5 + 0.5 * erf(x * FRAC_1_SQRT_2)
}

/// The error function, by minimax polynomials in `x²` near zero and of the logarithm of `erfc` elsewhere.
#[inline(always)]
fn erf(x: f32) -> f32 {
    let (far, square) = (if x < 0.0 { -x } else { x }, x * x);
    let near = -5.967_617e-4 * square + 4.991_194_2e-3;
    let near = near * square - 2.676_813_5e-2;
    let near = near * square + 1.128_199_25e-1;
    let near = near * square - 3.761_253_4e-1;
    let near = (near * square + 1.283_791_7e-1) * x + x;
    let tail = (-1.728_534_7e-5 * far + 3.831_972_7e-4) * square + (-3.883_964_4e-3 * far + 2.425_462_2e-2);
    let tail = tail * far - 1.067_777_9e-1;
    let tail = tail * far - 6.348_468_7e-1;
    let tail = tail * far - 1.287_175_1e-1;
    let tail = 1.0 - exp(tail * far - far);
    if far > 0.927_734_4 { if x < 0.0 { -tail } else { tail } } else { near }
}

/// The mean cross entropy of `logits`, `[batch, sites, vocab]`, and the tokens that should have been likely,
/// `[batch, sites]`, in nats: `[1]`.
pub fn cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<1> {
    weighted_cross_entropy(logits, targets, &[1.0])
}

/// The same where sites weigh differently: the mean over all by their weights, which are repeated along batch and sites.
pub fn weighted_cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>, weights: &[f32]) -> Tensor<1> {
    let shape = logits.dims();
    let (rows, vocab) = (shape[0] * shape[1], shape[2]);
    let weights: Vec<f32> = weights.iter().copied().cycle().take(rows).collect();
    let total: f64 = weights.iter().copied().map(f64::from).sum();
    let Some((logits, node)) = tracked(&logits) else {
        let weights = Tensor::<1>::from_data(weights.as_slice(), &logits.device()).reshape([shape[0], shape[1], 1]);
        let of_targets = log_softmax(logits, 2).gather(2, targets.unsqueeze_dim(2));
        return (of_targets * weights).sum().neg() / total;
    };
    let logits = logits.to_contiguous();
    let targets: Vec<usize> = targets.into_data().iter::<i64>().map(|target| target as usize).collect();
    let rows_of_logits = logits.storage::<f32>().par_chunks(vocab).zip(&targets);
    let losses = rows_of_logits.map(|(row, target)| {
        let log_sum = dispatch(
            #[inline(always)]
            || {
                let largest = fold(row, f32::NEG_INFINITY, |a, b| if a > b { a } else { b });
                let sum: f32 = row.chunks(256).map(|part| sum_of_powers(part, largest)).sum();
                largest + sum.ln()
            },
        );
        (log_sum, log_sum - row[*target])
    });
    let (log_sums, losses): (Vec<f32>, Vec<f32>) = losses.unzip();
    let sum: f64 = losses.iter().zip(&weights).map(|(loss, weight)| f64::from(*loss) * f64::from(*weight)).sum();
    differentiable([node], tensor(vec![(sum / total) as f32], [1]), move |grad, _| {
        let share = (f64::from(grad.storage::<f32>()[0]) / total) as f32;
        let mut out = vec![0.0; rows * vocab];
        let inputs = logits.storage::<f32>().par_chunks(vocab).zip(&log_sums).zip(targets.par_iter().zip(&weights));
        out.par_chunks_mut(vocab).zip(inputs).for_each(|(out, ((row, log_sum), (target, weight)))| {
            let share = share * weight;
            dispatch(
                #[inline(always)]
                || out.iter_mut().zip(row).for_each(|(out, x)| *out = exp(x - log_sum) * share),
            );
            out[*target] -= share;
        });
        [tensor(out, shape)]
    })
}

/// `Σ e^(x - largest)`.
#[inline(always)]
fn sum_of_powers(row: &[f32], largest: f32) -> f32 {
    let mut powers = [0.0; 256];
    powers.iter_mut().zip(row).for_each(|(power, x)| *power = exp(x - largest));
    fold(&powers, 0.0, |a, b| a + b)
}
