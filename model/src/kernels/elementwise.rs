//! What a transformer does to single numbers, and the loss at its end.

use burn::prelude::*;
use burn::tensor::Int;
use burn::tensor::activation::{log_softmax, silu};
use rayon::prelude::*;

use super::{differentiable, dispatch, exp, fold, sigmoid, tensor, tracked};

/// Numbers that a thread takes at a time.
const PART: usize = 1 << 14;

/// `silu(gate) · x`, the middle of SwiGLU: `[batch, slots, hidden]` each.
pub fn swiglu(gate: Tensor<3>, x: Tensor<3>) -> Tensor<3> {
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

/// The mean cross entropy of `logits`, `[batch, sites, vocab]`, and the tokens that should have been likely,
/// `[batch, sites]`, in nats: `[1]`.
pub fn cross_entropy(logits: Tensor<3>, targets: Tensor<2, Int>) -> Tensor<1> {
    let Some((logits, node)) = tracked(&logits) else {
        return log_softmax(logits, 2).gather(2, targets.unsqueeze_dim(2)).mean().neg();
    };
    let logits = logits.to_contiguous();
    let shape: [usize; 3] = logits.layout().shape().dims();
    let (rows, vocab) = (shape[0] * shape[1], shape[2]);
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
    let mean = losses.iter().map(|loss| f64::from(*loss)).sum::<f64>() / rows as f64;
    differentiable([node], tensor(vec![mean as f32], [1]), move |grad, _| {
        let share = grad.storage::<f32>()[0] / rows as f32;
        let mut out = vec![0.0; rows * vocab];
        let inputs = logits.storage::<f32>().par_chunks(vocab).zip(&log_sums).zip(&targets);
        out.par_chunks_mut(vocab).zip(inputs).for_each(|(out, ((row, log_sum), target))| {
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
