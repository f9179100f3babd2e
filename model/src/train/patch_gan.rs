//! The PatchGAN discriminator (Isola et al., arXiv 1611.07004) that a tokenizer is trained against, as LlamaGen has it
//! (`tokenizer_image/discriminator_patchgan.py`, `vq_loss.py`).
//!
//! It judges overlapping patches: one logit for each, high where it takes the patch for a real one. Of the published
//! losses the hinge and the “vanilla” one are here; the “non-saturating” ones exchange logits and targets, so that they do
//! not train what they name.

use burn::module::Module;
use burn::nn::{BatchNorm, BatchNormConfig, Initializer, LeakyRelu, LeakyReluConfig};
use burn::prelude::*;
use burn::tensor::activation::{relu, softplus};
use serde::Deserialize;

use crate::kernels::Conv2d;

/// Sizes of the discriminator and its part in training, `[discriminator]` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Discriminator {
    /// Steps before it begins to judge and to learn (`disc_start`; published: 20 000).
    pub start: usize,
    /// Weight of the generator's adversarial loss (`disc_weight`).
    #[serde(default = "published_weight")]
    pub weight: f64,
    /// Whether that weight is multiplied by the ratio of the gradients that the two losses have at the decoder's last
    /// convolution (`disc_adaptive_weight`).
    #[serde(default)]
    pub adaptive: bool,
    /// The loss it learns from.
    #[serde(default)]
    pub loss: Judgement,
    /// Channels of the first convolution (`ndf`).
    #[serde(default = "published_channels")]
    pub channels: usize,
    /// Halvings of the sides (`n_layers`).
    #[serde(default = "published_layers")]
    pub layers: usize,
}

fn published_weight() -> f64 {
    0.5
}

fn published_channels() -> usize {
    64
}

fn published_layers() -> usize {
    3
}

impl Discriminator {
    /// The least side in pixels of a picture that it has a logit for.
    pub(crate) fn least_side(&self) -> usize {
        3 << self.layers
    }
}

/// What a discriminator learns from (`disc_loss`).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Judgement {
    /// Logits of real patches above 1 and of made ones below -1.
    #[default]
    Hinge,
    /// Binary cross entropy.
    Vanilla,
}

impl Judgement {
    /// The discriminator's loss (`hinge_d_loss`, `vanilla_d_loss`); logits of any shape to `[1]`.
    pub fn loss(self, real: Tensor<4>, made: Tensor<4>) -> Tensor<1> {
        let (real, made) = match self {
            Self::Hinge => (relu(1.0 - real), relu(made + 1.0)),
            Self::Vanilla => (softplus(-real, 1.0), softplus(made, 1.0)),
        };
        (real.mean() + made.mean()) * 0.5
    }
}

/// The generator's adversarial loss (`hinge_gen_loss`): `[1]`.
pub fn adversarial(made: Tensor<4>) -> Tensor<1> {
    -made.mean()
}

/// One entry of the published list of layers.
#[derive(Module, Debug)]
enum Layer {
    Convolution(Conv2d),
    Norm(BatchNorm),
    Activation(LeakyRelu),
}

/// The discriminator; its parameters have the published names, `main.{index}`.
#[derive(Module, Debug)]
pub struct PatchGan {
    main: Vec<Layer>,
}

impl PatchGan {
    /// Fresh weights: convolutions from N(0, 0.02), the norms' from N(1, 0.02) (`_init_weights`). `channels` and `layers`
    /// are those of [`Discriminator`].
    pub fn new(channels: usize, layers: usize, device: &Device) -> Self {
        let leaky = || Layer::Activation(LeakyReluConfig::new().with_negative_slope(0.2).init());
        let widths: Vec<usize> = (0..=layers).map(|layer| channels << layer.min(3)).collect();
        let mut main = vec![convolution([3, channels], 2, true, device), leaky()];
        for layer in 1..=layers {
            let stride = if layer < layers { 2 } else { 1 };
            main.push(convolution([widths[layer - 1], widths[layer]], stride, false, device));
            let mut norm = BatchNormConfig::new(widths[layer]).init(device);
            norm.gamma = Initializer::Normal { mean: 1.0, std: 0.02 }.init([widths[layer]], device);
            main.extend([Layer::Norm(norm), leaky()]);
        }
        main.push(convolution([widths[layers], 1], 1, true, device));
        Self { main }
    }

    /// `[batch, 3, height, width]`, samples in -1..1, to one logit per patch, `[batch, 1, rows, cols]`. On a device that
    /// records gradients the norms use the batch's own statistics and keep a running average of them.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.main.iter().fold(pixels, |x, layer| match layer {
            Layer::Convolution(convolution) => convolution.forward(x),
            Layer::Norm(norm) => norm.forward(x),
            Layer::Activation(leaky) => leaky.forward(x),
        })
    }
}

/// A 4×4 convolution with one pixel of padding.
fn convolution(channels: [usize; 2], stride: usize, bias: bool, device: &Device) -> Layer {
    let fresh = Conv2d::new(channels, 4, stride, [1; 4], device);
    let mut convolution = if bias { fresh } else { fresh.without_bias() };
    let shape = [channels[1], channels[0], 4, 4];
    convolution.weight = Initializer::Normal { mean: 0.0, std: 0.02 }.init(shape, device);
    Layer::Convolution(convolution)
}
