//! What else a transformer does between its products of matrices.

use burn::tensor::{DType, Tensor};

use super::{Kernel, THREADS, launch, numbers, room, tensor, view};

/// Softmax of `scores + mask` over the last axis: `scores` is `[batch, heads, queries, keys]`, `mask` `[1, 1, queries, keys]`
/// in f32, or nothing.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn softmax(scores: Tensor<4>, mask: Option<Tensor<4>>) -> Tensor<4> {
    let shape @ [batch, heads, queries, keys] = scores.dims();
    let fits = |mask: &Tensor<4>| mask.dims() == [1, 1, queries, keys] && mask.dtype() == DType::F32;
    assert!(mask.as_ref().is_none_or(fits), "a mask that does not fit {shape:?}");
    let (scores, mask) = (numbers(scores), mask.map(numbers));
    let (result, rows) = (room(&scores, shape), batch * heads * queries);
    let call = [rows, queries, keys, usize::from(mask.is_some())].map(|size| size as u32);
    launch(Kernel::Softmax, rows, &[&scores, mask.as_ref().unwrap_or(&scores), &result], &call);
    tensor(result)
}

/// The gradient of the scores in [`softmax`], from the weights it made and their gradient: `[batch, heads, queries, keys]`.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn softmax_gradient(gradient: Tensor<4>, weights: Tensor<4>) -> Tensor<4> {
    let shape @ [batch, heads, queries, keys] = weights.dims();
    assert!(gradient.dims() == shape && gradient.dtype() == weights.dtype(), "a gradient of {:?}", gradient.dims());
    let (gradient, weights) = (numbers(gradient), numbers(weights));
    let (result, rows) = (room(&weights, shape), batch * heads * queries);
    launch(Kernel::SoftmaxGradient, rows, &[&weights, &gradient, &result], &[rows as u32, keys as u32]);
    tensor(result)
}

/// Turns `x`, `[batch, heads, slots, head_dim]`, each adjacent pair by its slot's angle, or `back`, which is the gradient.
/// `angles` are cosines and sines in f32, `[batch or 1, 1, slots, head_dim]`, each written twice for its pair.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn rotate(x: Tensor<4>, angles: [Tensor<4>; 2], back: bool) -> Tensor<4> {
    let shape @ [batch, heads, slots, head_dim] = x.dims();
    for angles in &angles {
        let [of, one, rows, width] = angles.dims();
        let fits = (of == batch || of == 1) && [one, rows, width] == [1, slots, head_dim];
        assert!(fits && angles.dtype() == DType::F32 && head_dim.is_multiple_of(2), "angles of {:?}", angles.dims());
    }
    let shared = angles[0].dims()[0] == 1;
    let (x, [cosines, sines]) = (view(x), angles.map(numbers));
    let result = room(&x, shape);
    let mut call = [batch, heads, slots, head_dim / 2].map(|size| size as u32).to_vec();
    call.extend(x.meta.strides().iter().map(|stride| *stride as u32));
    call.push(if shared { 0 } else { (slots * head_dim) as u32 });
    call.push(if back { -1.0_f32 } else { 1.0 }.to_bits());
    let pairs = batch * heads * slots * head_dim / 2;
    launch(Kernel::Rotate, pairs.div_ceil(THREADS), &[&x, &cosines, &sines, &result], &call);
    tensor(result)
}

/// `silu(gate) · x`, the middle of SwiGLU (Shazeer, arXiv 2002.05202).
///
/// # Panics
/// If the shapes or storage types differ, or a tensor is not [taken here](super::runs).
pub fn swiglu<const D: usize>(gate: Tensor<D>, x: Tensor<D>) -> Tensor<D> {
    let shape = x.dims();
    assert!(gate.dims() == shape && gate.dtype() == x.dtype(), "a gate of {:?} for {shape:?}", gate.dims());
    let (gate, x) = (numbers(gate), numbers(x));
    let (result, count) = (room(&x, shape), shape.iter().product::<usize>());
    launch(Kernel::Swiglu, count.div_ceil(THREADS), &[&gate, &x, &result], &[count as u32]);
    tensor(result)
}

/// The gradients of `gate` and `x` in [`swiglu`], from that of its result.
///
/// # Panics
/// If the shapes or storage types differ, or a tensor is not [taken here](super::runs).
pub fn swiglu_gradients<const D: usize>(gradient: Tensor<D>, gate: Tensor<D>, x: Tensor<D>) -> [Tensor<D>; 2] {
    let shape = x.dims();
    let fits = |other: &Tensor<D>| other.dims() == shape && other.dtype() == x.dtype();
    assert!(fits(&gate) && fits(&gradient), "shapes or storage types differ");
    let (gradient, gate, x) = (numbers(gradient), numbers(gate), numbers(x));
    let (of_gate, of_x, count) = (room(&x, shape), room(&x, shape), shape.iter().product::<usize>());
    let buffers = [&gate, &x, &gradient, &of_gate, &of_x];
    launch(Kernel::SwigluGradients, count.div_ceil(THREADS), &buffers, &[count as u32]);
    [of_gate, of_x].map(tensor)
}
