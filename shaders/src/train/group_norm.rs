//! Group norm (Wu and He, arXiv 1803.08494), with SiLU behind it or without.

use burn::tensor::Tensor;

use super::{Kernel, launch, numbers, room, room_for_sums, tensor};

/// A part of a row or channel is summed by one workgroup: it has at least so many numbers.
const PART: usize = 4096;
/// The most parts, whose sums every later workgroup reads.
const MAX_PARTS: usize = 16;
/// Numbers that one workgroup makes.
const CHUNK: usize = 1024;

/// Which norm it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GroupNorm {
    /// Groups of channels.
    pub groups: usize,
    /// Whether SiLU is behind it.
    pub silu: bool,
    /// Keeps the division finite.
    pub epsilon: f32,
}

/// How the work is laid out.
struct Plan {
    shape: [usize; 4],
    norm: GroupNorm,
    /// Parts of a row, which is a group of a picture, and of a channel.
    parts: [usize; 2],
    /// Chunks of a row.
    chunks: usize,
}

impl Plan {
    fn new(shape: [usize; 4], norm: &GroupNorm) -> Self {
        let [_, channels, height, width] = shape;
        assert!(channels.is_multiple_of(norm.groups), "{channels} channels in {} groups", norm.groups);
        let row = channels / norm.groups * height * width;
        let parts = [row, height * width].map(|count| (count / PART).clamp(1, MAX_PARTS));
        Self { shape, norm: *norm, parts, chunks: row.div_ceil(CHUNK) }
    }

    fn rows(&self) -> usize {
        self.shape[0] * self.norm.groups
    }

    fn call(&self) -> [u32; 9] {
        let ([batch, channels, height, width], [parts, channel_parts]) = (self.shape, self.parts);
        let GroupNorm { groups, silu, epsilon } = self.norm;
        let sizes = [batch, channels, channels / groups, height * width, parts, channel_parts, self.chunks];
        let [batch, channels, group, pixels, parts, channel_parts, chunks] = sizes.map(|size| size as u32);
        [batch, channels, group, pixels, parts, channel_parts, chunks, silu.into(), epsilon.to_bits()]
    }
}

/// `norm(x) · gamma + beta` of `x`, `[batch, channels, height, width]`, or SiLU of that; and what the gradients need beside the
/// inputs.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn group_norm(x: Tensor<4>, [gamma, beta]: [Tensor<1>; 2], norm: &GroupNorm) -> (Tensor<4>, Tensor<3>) {
    let plan = Plan::new(x.dims(), norm);
    assert!(gamma.dims() == [plan.shape[1]] && beta.dims() == gamma.dims(), "one scale and shift for each channel");
    let (x, gamma, beta) = (numbers(x), numbers(gamma), numbers(beta));
    let statistics = room_for_sums(&x, [plan.rows(), plan.parts[0], 2]);
    launch(Kernel::NormSums, plan.rows() * plan.parts[0], &[&x, &statistics], &plan.call());
    let result = room(&x, plan.shape);
    let buffers = [&x, &gamma, &beta, &statistics, &result];
    launch(Kernel::NormApply, plan.rows() * plan.chunks, &buffers, &plan.call());
    (tensor(result), tensor(statistics))
}

/// The gradients of `x`, `gamma` and `beta` in [`group_norm`], from that of its result. `statistics` came with it.
///
/// # Panics
/// If the sizes do not fit, or a tensor is not [taken here](super::runs).
pub fn group_norm_gradients(
    gradient: Tensor<4>,
    x: Tensor<4>,
    [gamma, beta]: [Tensor<1>; 2],
    statistics: Tensor<3>,
    norm: &GroupNorm,
) -> (Tensor<4>, [Tensor<1>; 2]) {
    let plan = Plan::new(x.dims(), norm);
    let [batch, channels, ..] = plan.shape;
    assert!(gradient.dims() == plan.shape && gamma.dims() == [channels] && beta.dims() == [channels], "sizes differ");
    assert!(statistics.dims() == [plan.rows(), plan.parts[0], 2], "statistics of {:?}", statistics.dims());
    let (x, gradient, statistics) = (numbers(x), numbers(gradient), numbers(statistics));
    let (gamma, beta) = (numbers(gamma), numbers(beta));
    let sums = room_for_sums(&x, [batch, channels, plan.parts[1], 2]);
    let buffers = [&x, &gradient, &gamma, &beta, &statistics, &sums];
    launch(Kernel::NormGradientSums, batch * channels * plan.parts[1], &buffers, &plan.call());
    let of_x = room(&x, plan.shape);
    let buffers = [&x, &gradient, &gamma, &beta, &statistics, &sums, &of_x];
    launch(Kernel::NormGradient, plan.rows() * plan.chunks, &buffers, &plan.call());
    let (of_gamma, of_beta) = (room(&x, [channels]), room(&x, [channels]));
    launch(Kernel::NormAffine, channels, &[&of_gamma, &of_beta, &sums], &plan.call());
    (tensor(of_x), [of_gamma, of_beta].map(tensor))
}
