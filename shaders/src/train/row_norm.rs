//! Norms over the last axis: layer norm (Ba et al., arXiv 1607.06450) and the root mean square norm (Zhang and Sennrich,
//! arXiv 1910.07467).

use burn::tensor::Tensor;
use burn_wgpu::CubeTensor;

use super::{Kernel, THREADS, launch, numbers, room, room_for_sums, tensor};

/// Rows that one part sums for the gradients of scale and shift, about, and the most parts.
const PART_ROWS: usize = 64;
const MAX_PARTS: usize = 64;

/// Which norm it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RowNorm {
    /// Whether the mean is taken away, as layer norm does.
    pub centred: bool,
    /// Keeps the division finite.
    pub epsilon: f32,
}

/// The sizes of a call.
struct Plan {
    rows: usize,
    width: usize,
    parts: usize,
    norm: RowNorm,
}

impl Plan {
    fn new<const D: usize>(x: &Tensor<D>, gamma: &Tensor<1>, beta: Option<&Tensor<1>>, norm: &RowNorm) -> Self {
        let width = x.dims()[D - 1];
        let fits = |affine: &Tensor<1>| affine.dims() == [width] && affine.dtype() == x.dtype();
        assert!(fits(gamma) && beta.is_none_or(fits), "scale or shift do not fit rows of {width} {:?}", x.dtype());
        let rows = x.dims().iter().product::<usize>() / width;
        Self { rows, width, parts: rows.div_ceil(PART_ROWS).clamp(1, MAX_PARTS), norm: *norm }
    }

    fn call(&self, shifted: bool) -> [u32; 6] {
        let sizes = [self.rows, self.width, self.parts].map(|size| size as u32);
        let RowNorm { centred, epsilon } = self.norm;
        [sizes[0], sizes[1], sizes[2], centred.into(), shifted.into(), epsilon.to_bits()]
    }
}

/// The norm of `x` over its last axis, times `gamma`, plus `beta`; and what the gradients need beside the inputs.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn row_norm<const D: usize>(
    x: Tensor<D>,
    gamma: Tensor<1>,
    beta: Option<Tensor<1>>,
    norm: &RowNorm,
) -> (Tensor<D>, Tensor<2>) {
    let (shape, plan) = (x.dims(), Plan::new(&x, &gamma, beta.as_ref(), norm));
    let call = plan.call(beta.is_some());
    let (x, gamma, beta) = (numbers(x), numbers(gamma), beta.map(numbers));
    let (result, statistics) = (room(&x, shape), room_for_sums(&x, [plan.rows, 2]));
    let buffers = [&x, &gamma, beta.as_ref().unwrap_or(&gamma), &result, &statistics];
    launch(Kernel::RowNorm, plan.rows, &buffers, &call);
    (tensor(result), tensor(statistics))
}

/// The gradients of `x`, `gamma` and `beta` in [`row_norm`], from that of its result. `statistics` came with it.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn row_norm_gradients<const D: usize>(
    gradient: Tensor<D>,
    x: Tensor<D>,
    gamma: Tensor<1>,
    statistics: Tensor<2>,
    norm: &RowNorm,
) -> (Tensor<D>, [Tensor<1>; 2]) {
    let (shape, plan) = (x.dims(), Plan::new(&x, &gamma, None, norm));
    assert!(gradient.dims() == shape && statistics.dims() == [plan.rows, 2], "sizes differ");
    assert!(gradient.dtype() == x.dtype(), "a gradient of {:?} for {:?}", gradient.dtype(), x.dtype());
    let call = plan.call(false);
    let (x, gradient, gamma, statistics) = (numbers(x), numbers(gradient), numbers(gamma), numbers(statistics));
    let of_x = room(&x, shape);
    launch(Kernel::RowNormGradient, plan.rows, &[&x, &gradient, &gamma, &statistics, &of_x], &call);
    let sums = room_for_sums(&x, [plan.parts, plan.width, 2]);
    let workgroups = (plan.parts * plan.width).div_ceil(THREADS);
    launch(Kernel::RowNormAffineParts, workgroups, &[&x, &gradient, &statistics, &sums], &call);
    let [of_gamma, of_beta]: [CubeTensor; 2] = [(); 2].map(|()| room(&x, [plan.width]));
    launch(Kernel::RowNormAffine, plan.width.div_ceil(THREADS), &[&of_gamma, &of_beta, &sums], &call);
    (tensor(of_x), [of_gamma, of_beta].map(tensor))
}
