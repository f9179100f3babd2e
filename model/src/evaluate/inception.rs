//! InceptionV3 as the Fréchet Inception distance has it (Szegedy et al., arXiv 1512.00567; weights of 2015-12-05).
//!
//! Published code and weights: `mseitzer/pytorch-fid`, `inception.py` and `pt_inception-2015-12-05-6726825d.pth`, a port of
//! TensorFlow's graph. It differs from the usual InceptionV3: 1008 logits, average pools that leave the padding out
//! (`count_include_pad=False`), and in the last block a largest value in the place of an average. Pictures are resized to
//! 299 × 299 bilinearly, without anti-aliasing and with corners not aligned, samples in -1..1; features are the means of
//! the last maps.
//!
//! Field names are the published keys. Maps are `[batch, channels, height, width]` everywhere.

#![allow(non_snake_case, reason = "fields are the published keys, such as `Mixed_5b`")]

use std::path::Path;

use burn::module::{Module, Param};
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{Initializer, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::{relu, softmax};
use burn::tensor::module::{avg_pool2d, max_pool2d};
use burn::tensor::ops::{AvgPoolOptions, MaxPoolOptions};
use image::RgbImage;

use super::features::{Extractor, Reading};
use crate::Result;
use crate::checkpoint::{KeyMap, foreign, load};
use crate::tokenizer::to_samples;

/// The keys of the published file: ours, and a counter of training.
pub const KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: &["num_batches_tracked"] };

/// The side that pictures are resized to.
const SIDE: usize = 299;
/// Added to the variance.
const EPSILON: f64 = 1e-3;
/// Logits: ImageNet's thousand classes among some that are not used.
const CLASSES: usize = 1008;
/// Features.
const WIDTH: usize = 2048;

/// A norm over the batches of training, whose statistics stand still.
#[derive(Module, Debug)]
pub struct FrozenBatchNorm {
    weight: Param<Tensor<1>>,
    bias: Param<Tensor<1>>,
    running_mean: Param<Tensor<1>>,
    running_var: Param<Tensor<1>>,
}

/// A convolution without a bias, a norm, and what is positive of it (`BasicConv2d`).
#[derive(Module, Debug)]
pub struct BasicConv2d {
    conv: Conv2d,
    bn: FrozenBatchNorm,
}

impl BasicConv2d {
    /// Fresh weights; `padding` is that of the heights and of the widths.
    fn new(channels: [usize; 2], kernel: [usize; 2], stride: usize, padding: [usize; 2], device: &Device) -> Self {
        let [above, left] = padding;
        let conv = Conv2dConfig::new(channels, kernel).with_stride([stride; 2]).with_bias(false);
        let vector = |value: Initializer| value.init([channels[1]], device);
        Self {
            conv: conv.with_padding(PaddingConfig2d::Explicit(above, left, above, left)).init(device),
            bn: FrozenBatchNorm {
                weight: vector(Initializer::Ones),
                bias: vector(Initializer::Zeros),
                running_mean: vector(Initializer::Zeros),
                running_var: vector(Initializer::Ones),
            },
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = self.bn.weight.dims()[0];
        let scale = self.bn.weight.val() / (self.bn.running_var.val() + EPSILON).sqrt();
        let shift = self.bn.bias.val() - self.bn.running_mean.val() * scale.clone();
        let [scale, shift]: [Tensor<4>; 2] = [scale, shift].map(|vector| vector.reshape([1, channels, 1, 1]));
        relu(self.conv.forward(x) * scale + shift)
    }
}

/// Of one side, keeping the map's.
fn square(inputs: usize, outputs: usize, side: usize, device: &Device) -> BasicConv2d {
    BasicConv2d::new([inputs, outputs], [side; 2], 1, [side / 2; 2], device)
}

/// 3 × 3 of stride 2 without padding.
fn halving(inputs: usize, outputs: usize, device: &Device) -> BasicConv2d {
    BasicConv2d::new([inputs, outputs], [3; 2], 2, [0; 2], device)
}

/// `length` in height.
fn tall(inputs: usize, outputs: usize, length: usize, device: &Device) -> BasicConv2d {
    BasicConv2d::new([inputs, outputs], [length, 1], 1, [length / 2, 0], device)
}

/// `length` in width.
fn wide(inputs: usize, outputs: usize, length: usize, device: &Device) -> BasicConv2d {
    BasicConv2d::new([inputs, outputs], [1, length], 1, [0, length / 2], device)
}

/// The mean of 3 × 3 neighbours; beyond the edges there are none.
fn average(x: Tensor<4>) -> Tensor<4> {
    let options = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
    avg_pool2d(x, options.with_count_include_pad(false))
}

/// The largest of 3 × 3 neighbours, at every second place.
fn halved(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([2, 2]))
}

/// The largest of 3 × 3 neighbours.
fn largest(x: Tensor<4>) -> Tensor<4> {
    max_pool2d(x, MaxPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]))
}

/// `Mixed_5b` to `Mixed_5d`.
#[derive(Module, Debug)]
pub struct InceptionA {
    branch1x1: BasicConv2d,
    branch5x5_1: BasicConv2d,
    branch5x5_2: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3: BasicConv2d,
    branch_pool: BasicConv2d,
}

impl InceptionA {
    fn new(inputs: usize, pool_features: usize, device: &Device) -> Self {
        Self {
            branch1x1: square(inputs, 64, 1, device),
            branch5x5_1: square(inputs, 48, 1, device),
            branch5x5_2: square(48, 64, 5, device),
            branch3x3dbl_1: square(inputs, 64, 1, device),
            branch3x3dbl_2: square(64, 96, 3, device),
            branch3x3dbl_3: square(96, 96, 3, device),
            branch_pool: square(inputs, pool_features, 1, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let five = self.branch5x5_2.forward(self.branch5x5_1.forward(x.clone()));
        let three = self.branch3x3dbl_2.forward(self.branch3x3dbl_1.forward(x.clone()));
        let three = self.branch3x3dbl_3.forward(three);
        let pool = self.branch_pool.forward(average(x.clone()));
        Tensor::cat(vec![self.branch1x1.forward(x), five, three, pool], 1)
    }
}

/// `Mixed_6a`.
#[derive(Module, Debug)]
pub struct InceptionB {
    branch3x3: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3: BasicConv2d,
}

impl InceptionB {
    fn new(inputs: usize, device: &Device) -> Self {
        Self {
            branch3x3: halving(inputs, 384, device),
            branch3x3dbl_1: square(inputs, 64, 1, device),
            branch3x3dbl_2: square(64, 96, 3, device),
            branch3x3dbl_3: halving(96, 96, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let double = self.branch3x3dbl_2.forward(self.branch3x3dbl_1.forward(x.clone()));
        let double = self.branch3x3dbl_3.forward(double);
        Tensor::cat(vec![self.branch3x3.forward(x.clone()), double, halved(x)], 1)
    }
}

/// `Mixed_6b` to `Mixed_6e`.
#[derive(Module, Debug)]
pub struct InceptionC {
    branch1x1: BasicConv2d,
    branch7x7_1: BasicConv2d,
    branch7x7_2: BasicConv2d,
    branch7x7_3: BasicConv2d,
    branch7x7dbl_1: BasicConv2d,
    branch7x7dbl_2: BasicConv2d,
    branch7x7dbl_3: BasicConv2d,
    branch7x7dbl_4: BasicConv2d,
    branch7x7dbl_5: BasicConv2d,
    branch_pool: BasicConv2d,
}

impl InceptionC {
    fn new(inputs: usize, within: usize, device: &Device) -> Self {
        Self {
            branch1x1: square(inputs, 192, 1, device),
            branch7x7_1: square(inputs, within, 1, device),
            branch7x7_2: wide(within, within, 7, device),
            branch7x7_3: tall(within, 192, 7, device),
            branch7x7dbl_1: square(inputs, within, 1, device),
            branch7x7dbl_2: tall(within, within, 7, device),
            branch7x7dbl_3: wide(within, within, 7, device),
            branch7x7dbl_4: tall(within, within, 7, device),
            branch7x7dbl_5: wide(within, 192, 7, device),
            branch_pool: square(inputs, 192, 1, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let seven = self.branch7x7_2.forward(self.branch7x7_1.forward(x.clone()));
        let seven = self.branch7x7_3.forward(seven);
        let double = self.branch7x7dbl_2.forward(self.branch7x7dbl_1.forward(x.clone()));
        let double = self.branch7x7dbl_4.forward(self.branch7x7dbl_3.forward(double));
        let double = self.branch7x7dbl_5.forward(double);
        let pool = self.branch_pool.forward(average(x.clone()));
        Tensor::cat(vec![self.branch1x1.forward(x), seven, double, pool], 1)
    }
}

/// `Mixed_7a`.
#[derive(Module, Debug)]
pub struct InceptionD {
    branch3x3_1: BasicConv2d,
    branch3x3_2: BasicConv2d,
    branch7x7x3_1: BasicConv2d,
    branch7x7x3_2: BasicConv2d,
    branch7x7x3_3: BasicConv2d,
    branch7x7x3_4: BasicConv2d,
}

impl InceptionD {
    fn new(inputs: usize, device: &Device) -> Self {
        Self {
            branch3x3_1: square(inputs, 192, 1, device),
            branch3x3_2: halving(192, 320, device),
            branch7x7x3_1: square(inputs, 192, 1, device),
            branch7x7x3_2: wide(192, 192, 7, device),
            branch7x7x3_3: tall(192, 192, 7, device),
            branch7x7x3_4: halving(192, 192, device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let three = self.branch3x3_2.forward(self.branch3x3_1.forward(x.clone()));
        let seven = self.branch7x7x3_2.forward(self.branch7x7x3_1.forward(x.clone()));
        let seven = self.branch7x7x3_4.forward(self.branch7x7x3_3.forward(seven));
        Tensor::cat(vec![three, seven, halved(x)], 1)
    }
}

/// `Mixed_7b` and `Mixed_7c`.
#[derive(Module, Debug)]
pub struct InceptionE {
    branch1x1: BasicConv2d,
    branch3x3_1: BasicConv2d,
    branch3x3_2a: BasicConv2d,
    branch3x3_2b: BasicConv2d,
    branch3x3dbl_1: BasicConv2d,
    branch3x3dbl_2: BasicConv2d,
    branch3x3dbl_3a: BasicConv2d,
    branch3x3dbl_3b: BasicConv2d,
    branch_pool: BasicConv2d,
}

impl InceptionE {
    fn new(inputs: usize, device: &Device) -> Self {
        Self {
            branch1x1: square(inputs, 320, 1, device),
            branch3x3_1: square(inputs, 384, 1, device),
            branch3x3_2a: wide(384, 384, 3, device),
            branch3x3_2b: tall(384, 384, 3, device),
            branch3x3dbl_1: square(inputs, 448, 1, device),
            branch3x3dbl_2: square(448, 384, 3, device),
            branch3x3dbl_3a: wide(384, 384, 3, device),
            branch3x3dbl_3b: tall(384, 384, 3, device),
            branch_pool: square(inputs, 192, 1, device),
        }
    }

    /// `pool` is that of the pooling branch: [`average`] in `Mixed_7b`, [`largest`] in `Mixed_7c`.
    fn forward(&self, x: Tensor<4>, pool: fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
        let three = self.branch3x3_1.forward(x.clone());
        let double = self.branch3x3dbl_2.forward(self.branch3x3dbl_1.forward(x.clone()));
        let parts = vec![
            self.branch1x1.forward(x.clone()),
            self.branch3x3_2a.forward(three.clone()),
            self.branch3x3_2b.forward(three),
            self.branch3x3dbl_3a.forward(double.clone()),
            self.branch3x3dbl_3b.forward(double),
            self.branch_pool.forward(pool(x)),
        ];
        Tensor::cat(parts, 1)
    }
}

/// The network's weights.
#[derive(Module, Debug)]
pub struct InceptionV3 {
    Conv2d_1a_3x3: BasicConv2d,
    Conv2d_2a_3x3: BasicConv2d,
    Conv2d_2b_3x3: BasicConv2d,
    Conv2d_3b_1x1: BasicConv2d,
    Conv2d_4a_3x3: BasicConv2d,
    Mixed_5b: InceptionA,
    Mixed_5c: InceptionA,
    Mixed_5d: InceptionA,
    Mixed_6a: InceptionB,
    Mixed_6b: InceptionC,
    Mixed_6c: InceptionC,
    Mixed_6d: InceptionC,
    Mixed_6e: InceptionC,
    Mixed_7a: InceptionD,
    Mixed_7b: InceptionE,
    Mixed_7c: InceptionE,
    fc: Linear,
}

impl InceptionV3 {
    /// Fresh weights.
    pub fn new(device: &Device) -> Self {
        Self {
            Conv2d_1a_3x3: halving(3, 32, device),
            Conv2d_2a_3x3: BasicConv2d::new([32, 32], [3; 2], 1, [0; 2], device),
            Conv2d_2b_3x3: square(32, 64, 3, device),
            Conv2d_3b_1x1: square(64, 80, 1, device),
            Conv2d_4a_3x3: BasicConv2d::new([80, 192], [3; 2], 1, [0; 2], device),
            Mixed_5b: InceptionA::new(192, 32, device),
            Mixed_5c: InceptionA::new(256, 64, device),
            Mixed_5d: InceptionA::new(288, 64, device),
            Mixed_6a: InceptionB::new(288, device),
            Mixed_6b: InceptionC::new(768, 128, device),
            Mixed_6c: InceptionC::new(768, 160, device),
            Mixed_6d: InceptionC::new(768, 160, device),
            Mixed_6e: InceptionC::new(768, 192, device),
            Mixed_7a: InceptionD::new(768, device),
            Mixed_7b: InceptionE::new(1280, device),
            Mixed_7c: InceptionE::new(WIDTH, device),
            fc: LinearConfig::new(WIDTH, CLASSES).init(device),
        }
    }

    /// Pictures of any size, `[batch, 3, height, width]` with samples in -1..1, to features, `[batch, 2048]`.
    pub fn features(&self, pictures: Tensor<4>) -> Tensor<2> {
        let x = self.Conv2d_1a_3x3.forward(resized(pictures, [SIDE; 2]));
        let x = halved(self.Conv2d_2b_3x3.forward(self.Conv2d_2a_3x3.forward(x)));
        let x = halved(self.Conv2d_4a_3x3.forward(self.Conv2d_3b_1x1.forward(x)));
        let x = [&self.Mixed_5b, &self.Mixed_5c, &self.Mixed_5d].into_iter().fold(x, |x, block| block.forward(x));
        let x = self.Mixed_6a.forward(x);
        let blocks = [&self.Mixed_6b, &self.Mixed_6c, &self.Mixed_6d, &self.Mixed_6e];
        let x = blocks.into_iter().fold(x, |x, block| block.forward(x));
        let x = self.Mixed_7b.forward(self.Mixed_7a.forward(x), average);
        let x = self.Mixed_7c.forward(x, largest);
        let [batch, channels, height, width] = x.dims();
        x.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
    }

    /// Features, `[batch, 2048]`, to logits, `[batch, 1008]`.
    pub fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.fc.forward(features)
    }
}

/// Maps at other sides, bilinearly as `torch.nn.functional.interpolate` without anti-aliasing and with corners not
/// aligned: `[batch, channels, height, width]` to those of `sides`, heights first.
pub fn resized(x: Tensor<4>, sides: [usize; 2]) -> Tensor<4> {
    let [_, _, height, width] = x.dims();
    let device = x.device();
    let down = mixing(height, sides[0], &device).unsqueeze();
    let along: Tensor<4> = mixing(width, sides[1], &device).transpose().unsqueeze();
    Tensor::matmul(down, x).matmul(along)
}

/// How much of each of `source` samples goes into each of `target`: `[target, source]`.
fn mixing(source: usize, target: usize, device: &Device) -> Tensor<2> {
    let mut shares = vec![0.0f32; target * source];
    for index in 0..target {
        let position = ((index as f64 + 0.5) * source as f64 / target as f64 - 0.5).max(0.0);
        let first = (position as usize).min(source - 1);
        let along = (position - first as f64) as f32;
        shares[index * source + first] += 1.0 - along;
        shares[index * source + (first + 1).min(source - 1)] += along;
    }
    Tensor::from_data(TensorData::new(shares, [target, source]), device)
}

/// An imported Inception that reads pictures.
pub struct Inception {
    weights: InceptionV3,
    device: Device,
}

impl Inception {
    /// Reads the published file, a pickle or our safetensors of the same keys, through the gate of all checkpoints.
    ///
    /// # Errors
    /// Names the file and what is missing, unexpected or of another shape.
    pub fn open(file: &Path, device: &Device) -> Result<Self> {
        let weights = load(InceptionV3::new(device), foreign(file)?, &KEYS, file)?;
        Ok(Self { weights, device: device.clone() })
    }
}

impl Extractor for Inception {
    fn name(&self) -> String {
        "InceptionV3, 2048 features (the weights of the FID)".into()
    }

    fn width(&self) -> usize {
        WIDTH
    }

    fn read(&self, picture: &RgbImage) -> Result<Reading> {
        let features = self.weights.features(to_samples(picture, &self.device).unsqueeze());
        let probabilities = softmax(self.weights.logits(features.clone()), 1);
        Reading::new(features, probabilities)
    }
}
