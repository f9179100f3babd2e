//! Layers that the convolutional tokenizers share: norms, convolutions, residual blocks, halving and doubling of the sides.
//!
//! LlamaGen's VQ, VAR's multi-scale VQVAE and the others descend from one VQGAN (Esser et al., arXiv 2012.09841), whose
//! field names they keep. Maps are `[batch, channels, height, width]` everywhere.

use burn::module::{Module, Param};
use burn::nn::{GroupNorm, GroupNormConfig};
use burn::prelude::*;

use crate::kernels::{Conv2d, group_norm_silu, softmax};

/// Groups of every group norm (`Normalize`).
pub(crate) const GROUPS: usize = 32;

/// A norm over 32 groups of channels, with a weight and a bias per channel and an epsilon of 1e-6 (`Normalize`).
pub(crate) fn group_norm(channels: usize, device: &Device) -> GroupNorm {
    GroupNormConfig::new(GROUPS, channels).with_epsilon(1e-6).init(device)
}

/// A 3×3 convolution with a bias that keeps the sides.
pub(crate) fn conv3x3(inputs: usize, outputs: usize, device: &Device) -> Conv2d {
    Conv2d::new([inputs, outputs], 3, 1, [1; 4], device)
}

/// A 1×1 convolution with a bias.
pub(crate) fn conv1x1(inputs: usize, outputs: usize, device: &Device) -> Conv2d {
    Conv2d::new([inputs, outputs], 1, 1, [0; 4], device)
}

/// Two convolutions around a skip (`ResnetBlock`).
#[derive(Module, Debug)]
pub(crate) struct ResBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    nin_shortcut: Option<Conv2d>,
}

impl ResBlock {
    /// Fresh weights; the skip is a 1×1 convolution where the number of channels changes.
    pub(crate) fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            norm1: group_norm(inputs, device),
            conv1: conv3x3(inputs, outputs, device),
            norm2: group_norm(outputs, device),
            conv2: conv3x3(outputs, outputs, device),
            nin_shortcut: (inputs != outputs).then(|| conv1x1(inputs, outputs, device)),
        }
    }

    /// The same with convolutions that have no biases (Open-MAGVIT2).
    pub(crate) fn without_biases(inputs: usize, outputs: usize, device: &Device) -> Self {
        let mut block = Self::new(inputs, outputs, device);
        let convolutions = [&mut block.conv1, &mut block.conv2].into_iter().chain(&mut block.nin_shortcut);
        convolutions.for_each(|convolution| convolution.bias = None);
        block
    }

    /// Lets pass what comes, where the number of channels stays: the second convolution is 0 until it learns.
    pub(crate) fn pass(&mut self) {
        self.conv2.weight = Param::from_tensor(self.conv2.weight.val().zeros_like());
        self.conv2.bias = self.conv2.bias.as_ref().map(|bias| Param::from_tensor(bias.val().zeros_like()));
    }

    /// `[batch, inputs, height, width]` to `[batch, outputs, height, width]`.
    pub(crate) fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.conv1.forward(group_norm_silu(&self.norm1, x.clone()));
        let h = self.conv2.forward(group_norm_silu(&self.norm2, h));
        match &self.nin_shortcut {
            Some(shortcut) => shortcut.forward(x) + h,
            None => x + h,
        }
    }
}

/// Attention of one head over all positions of maps of the same shape, `[batch, channels, height, width]`.
pub(crate) fn attend_over_map([q, k, v]: [Tensor<4>; 3]) -> Tensor<4> {
    let shape = q.dims();
    let [batch, channels, height, width] = shape;
    let [q, k, v]: [Tensor<3>; 3] = [q, k, v].map(|x| x.reshape([batch, channels, height * width]));
    let scores = q.swap_dims(1, 2).matmul(k) * (channels as f64).powf(-0.5);
    let weights: Tensor<3> = softmax(scores.unsqueeze_dim(1)).squeeze_dim(1);
    v.matmul(weights.swap_dims(1, 2)).reshape(shape)
}

/// A convolution that halves or doubles the sides.
#[derive(Module, Debug)]
pub(crate) struct Resample {
    conv: Conv2d,
}

impl Resample {
    /// A 3×3 convolution of stride 2 after one column of zeros on the right and one row below (`Downsample`).
    pub(crate) fn halving(channels: usize, device: &Device) -> Self {
        Self { conv: Conv2d::new([channels, channels], 3, 2, [0, 0, 1, 1], device) }
    }

    /// A 3×3 convolution for [`Resample::double`] (`Upsample`).
    pub(crate) fn doubling(channels: usize, device: &Device) -> Self {
        Self { conv: conv3x3(channels, channels, device) }
    }

    /// Passes every channel on until it learns: the mean of the four pixels that become one, or each pixel as it is.
    pub(crate) fn pass(&mut self) {
        // A halving starts at the pixel itself, a doubling is centred on it.
        let halves = self.conv.stride == 2;
        let taps: &[(usize, f32)] = if halves { &[(0, 0.25), (1, 0.25), (3, 0.25), (4, 0.25)] } else { &[(4, 1.0)] };
        let weight = self.conv.weight.val();
        let [outputs, inputs, rows, cols] = weight.dims();
        let mut kernels = vec![0.0f32; outputs * inputs * rows * cols];
        for channel in 0..outputs.min(inputs) {
            let kernel = (channel * inputs + channel) * rows * cols;
            taps.iter().for_each(|(tap, share)| kernels[kernel + tap] = *share);
        }
        let kernels = TensorData::new(kernels, weight.dims());
        self.conv.weight = Param::from_tensor(Tensor::from_data(kernels, &weight.device()));
        self.conv.bias = self.conv.bias.as_ref().map(|bias| Param::from_tensor(bias.val().zeros_like()));
    }

    /// Half the sides; made by [`Resample::halving`].
    pub(crate) fn halve(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(x)
    }

    /// Every pixel twice in both directions, then the convolution; made by [`Resample::doubling`].
    pub(crate) fn double(&self, x: Tensor<4>) -> Tensor<4> {
        self.conv.forward(doubled(x))
    }
}

/// Every pixel twice in both directions: `[batch, channels, 2 * height, 2 * width]`.
pub(crate) fn doubled(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let x: Tensor<6> = x.reshape([batch, channels, height, 1, width, 1]);
    x.expand([batch, channels, height, 2, width, 2]).reshape([batch, channels, 2 * height, 2 * width])
}

/// The least length that vectors are divided by (`F.normalize`, `eps`).
pub(crate) const UNIT_EPSILON: f64 = 1e-12;

/// Vectors of length 1 along the last axis (`F.normalize`).
pub(crate) fn l2_normalise<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let length = x.clone().square().sum_dim(D - 1).sqrt().clamp_min(UNIT_EPSILON);
    x / length
}
