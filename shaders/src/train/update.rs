//! The update of weights.

use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::server::Handle;
use burn_wgpu::CubeTensor;

use super::{Kernel, THREADS, launch, launch_on, numbers, room, tensor};

/// Whether the functions of an update take this tensor, of f32.
pub fn updates<const D: usize>(tensor: &Tensor<D>) -> bool {
    tensor.dtype() == DType::F32 && super::runs(tensor)
}

/// The parts that a sum of squares is in. Each tensor's are 256 bytes from the next one's, as bindings have to be.
const PARTS: usize = 64;
/// Tensors whose squares one launch sums: with the sums and the sizes they are the eight buffers that any device can bind.
const AT_ONCE: usize = 6;

/// The sums of squares of tensors of f32, each in parts that are still to be added up: `[tensors, parts]`.
///
/// # Panics
/// If there is no tensor, or one that is not [taken here](updates).
pub fn square_sums(tensors: Vec<Tensor<1>>) -> Tensor<2> {
    let tensors: Vec<_> = tensors.into_iter().map(single).collect();
    let sums = room(&tensors[0], [tensors.len(), PARTS]);
    for (index, some) in tensors.chunks(AT_ONCE).enumerate() {
        let parts = sums.handle.clone().offset_start((index * AT_ONCE * PARTS * size_of::<f32>()) as u64);
        let first = &some[0];
        let bound = some.iter().chain(std::iter::repeat(first)).take(AT_ONCE);
        let bindings = bound.map(|numbers| numbers.handle.clone()).chain([parts]).map(Handle::binding).collect();
        let mut counts = [0; AT_ONCE];
        counts.iter_mut().zip(some).for_each(|(count, numbers)| *count = numbers.meta.num_elements() as u32);
        launch_on(Kernel::SquareSum, [PARTS, some.len()], first, bindings, &counts);
    }
    tensor(sums)
}

/// The numbers of a tensor of f32.
fn single<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    assert!(tensor.dtype() == DType::F32, "{:?} where f32 is taken", tensor.dtype());
    numbers(tensor)
}

/// The same, to be written over: a copy where others hold them too.
fn own<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    let tensor = single(tensor);
    if tensor.can_mut() { tensor } else { tensor.copy() }
}

/// What a step of Adam does to a tensor of weights.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamStep {
    /// The learning rate.
    pub rate: f32,
    /// What weight decay leaves of a weight: 1 for no decay.
    pub keep: f32,
    /// The factor on the gradient.
    pub factor: f32,
    /// Decay rates of the two moments.
    pub betas: [f32; 2],
    /// Keeps the division by the second moment finite.
    pub epsilon: f32,
    /// The number of the step, from 1.
    pub step: usize,
}

/// A step of AdamW (Loshchilov and Hutter, arXiv 1711.05101), all in f32: the weights and the two moments after it.
///
/// # Panics
/// If the shapes differ, or a tensor is not [taken here](updates).
pub fn adam<const D: usize>(
    weights: Tensor<D>,
    gradient: Tensor<D>,
    moments: [Tensor<D>; 2],
    step: &AdamStep,
) -> (Tensor<D>, [Tensor<D>; 2]) {
    let shape = weights.dims();
    assert!(gradient.dims() == shape && moments.iter().all(|moment| moment.dims() == shape), "shapes differ");
    let (weights, gradient, moments) = (single(weights), single(gradient), moments.map(own));
    let updated = room(&weights, shape);
    let count = shape.iter().product::<usize>();
    let mut call = vec![count as u32];
    call.extend([step.rate, step.keep, step.factor].map(f32::to_bits));
    for beta in step.betas {
        call.extend([beta, 1.0 - beta, 1.0 - beta.powi(step.step as i32)].map(f32::to_bits));
    }
    call.push(step.epsilon.to_bits());
    let [first, second] = &moments;
    launch(Kernel::Adam, count.div_ceil(THREADS), &[&weights, &gradient, first, second, &updated], &call);
    (tensor(updated), moments.map(tensor))
}

/// An average in f32, moved towards the newest numbers by what `keep` leaves.
///
/// # Panics
/// If the shapes differ, or a tensor is not [taken here](updates).
pub fn approach<const D: usize>(average: Tensor<D>, newest: Tensor<D>, keep: f32) -> Tensor<D> {
    assert!(average.dims() == newest.dims(), "an average of {:?} and {:?}", average.dims(), newest.dims());
    let (average, newest) = (own(average), single(newest));
    let count = average.meta.num_elements();
    let call = [count as u32, keep.to_bits(), (1.0 - keep).to_bits()];
    launch(Kernel::Approach, count.div_ceil(THREADS), &[&average, &newest], &call);
    tensor(average)
}
