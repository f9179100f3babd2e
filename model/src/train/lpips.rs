//! LPIPS, the perceptual distance of Zhang et al. (arXiv 1801.03924), as LlamaGen trains with it (`tokenizer_image/lpips.py`).
//!
//! The features of VGG-16 at five depths, each of length 1 along its channels, are compared position by position; a
//! learned weight per channel says how much each matters. Both networks' weights are the person's own files: torchvision's
//! VGG-16 (`vgg16-397923af.pth`) and the linear layers (`vgg.pth`).

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::pool::{MaxPool2d, MaxPool2dConfig};
use burn::prelude::*;
use burn::tensor::activation::relu;

use crate::Result;
use crate::checkpoint::arrays::Arrays;
use crate::kernels::Conv2d;

/// VGG-16's convolutions in groups with a pooling between them: `(index in torchvision's features, inputs, outputs)`.
const GROUPS: [&[(usize, usize, usize)]; 5] = [
    &[(0, 3, 64), (2, 64, 64)],
    &[(5, 64, 128), (7, 128, 128)],
    &[(10, 128, 256), (12, 256, 256), (14, 256, 256)],
    &[(17, 256, 512), (19, 512, 512), (21, 512, 512)],
    &[(24, 512, 512), (26, 512, 512), (28, 512, 512)],
];

/// What samples in -1..1 are shifted and scaled by, per channel (`ScalingLayer`).
const SHIFT: [f32; 3] = [-0.030, -0.088, -0.188];
const SCALE: [f32; 3] = [0.458, 0.448, 0.450];

/// The perceptual distance. Its weights do not learn.
#[derive(Module, Debug)]
pub struct Lpips {
    groups: Vec<Vec<Conv2d>>,
    /// Weights of the channels of each group, `[1, channels, 1, 1]`.
    linear: Vec<Param<Tensor<4>>>,
    pool: MaxPool2d,
}

impl Lpips {
    /// Reads both files, PyTorch's or safetensors.
    ///
    /// # Errors
    /// Names the file and the entry that is missing or does not fit.
    pub fn read(vgg: &Path, linear: &Path, device: &Device) -> Result<Self> {
        let [vgg, linear] = [Arrays::open(vgg)?, Arrays::open(linear)?];
        let mut groups = Vec::new();
        for group in GROUPS {
            let convolutions = group.iter().map(|(index, inputs, outputs)| {
                let mut conv = Conv2d::new([*inputs, *outputs], 3, 1, [1; 4], device);
                let name = |part: &str| format!("features.{index}.{part}");
                conv.weight = Param::from_tensor(vgg.get(&name("weight"), [*outputs, *inputs, 3, 3], device)?);
                conv.bias = Some(Param::from_tensor(vgg.get(&name("bias"), [*outputs], device)?));
                Ok(conv)
            });
            groups.push(convolutions.collect::<Result<Vec<_>>>()?);
        }
        let weights = GROUPS.iter().enumerate().map(|(index, group)| {
            let channels = group[0].2;
            let weight = linear.get(&format!("lin{index}.model.1.weight"), [1, channels, 1, 1], device)?;
            Ok(Param::from_tensor(weight))
        });
        let linear = weights.collect::<Result<Vec<_>>>()?;
        let pool = MaxPool2dConfig::new([2, 2]).with_strides([2, 2]).init();
        Ok(Self { groups, linear, pool }.no_grad())
    }

    /// Features of `[batch, 3, height, width]`, samples in -1..1, after each group: `[batch, channels, rows, cols]`.
    pub fn features(&self, pixels: Tensor<4>) -> Vec<Tensor<4>> {
        let device = pixels.device();
        let [shift, scale] = [SHIFT, SCALE].map(|row| Tensor::<1>::from_data(row, &device).reshape([1, 3, 1, 1]));
        let mut x = (pixels - shift) / scale;
        let mut features = Vec::new();
        for (index, group) in self.groups.iter().enumerate() {
            if index > 0 {
                x = self.pool.forward(x);
            }
            x = group.iter().fold(x, |x, conv| relu(conv.forward(x)));
            features.push(x.clone());
        }
        features
    }

    /// The distance's share of each group of features, for each picture: five times `[batch, 1, 1, 1]`.
    pub fn shares(&self, a: Tensor<4>, b: Tensor<4>) -> Vec<Tensor<4>> {
        let pairs = self.features(a).into_iter().zip(self.features(b));
        let shares = pairs.zip(&self.linear).map(|((a, b), weight)| {
            let difference = (of_length_1(a) - of_length_1(b)).square();
            (difference * weight.val()).sum_dim(1).mean_dim(2).mean_dim(3)
        });
        shares.collect()
    }

    /// The distance, a mean over the pictures: `[batch, 3, height, width]` twice to `[1]`.
    pub fn forward(&self, a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
        Tensor::cat(self.shares(a, b), 1).sum_dim(1).mean()
    }
}

/// Features of length 1 along the channels (`normalize_tensor`).
fn of_length_1(features: Tensor<4>) -> Tensor<4> {
    // The root's slope at 0 is infinite: dead positions, where every channel is 0, would turn gradients into NaN.
    let length = features.clone().square().sum_dim(1).clamp_min(1e-30).sqrt();
    features / (length + 1e-10)
}
