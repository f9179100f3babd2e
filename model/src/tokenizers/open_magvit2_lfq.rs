//! Open-MAGVIT2's tokenizer (Luo et al., arXiv 2409.04410; after MAGVIT-v2, Yu et al., arXiv 2310.05737).
//!
//! Published code: `TencentARC/SEED-Voken`, `src/Open_MAGVIT2/modules/diffusionmodules/improved_model.py` and
//! `modules/vqvae/lookup_free_quantize.py`. A convolutional encoder and decoder without attention around *lookup-free
//! quantisation* (§3.1): the signs of a position's channels are the bits of its code, channel 0 the lowest, and there is no
//! codebook. The decoder is told the mean and spread of the whole quantised map before every level (adaptive group norm),
//! and doubles the sides by spreading channels over space. Field names are the published state dict's keys.

use burn::module::Module;
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::Int;
use serde::{Deserialize, Serialize};

use super::TokenizerFamily;
use super::grid::{GridCodes, GridTokenizer};
use super::layers::{GROUPS, ResBlock, conv1x1, conv3x3, group_norm};
use crate::checkpoint::OPEN_MAGVIT2_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role, levels};
use crate::kernels::{Conv2d, group_norm_silu};
use crate::lattice::Grid;
use crate::networks::{configuration, to_value};
use crate::{Error, Result};

/// Sizes of the tokenizer; the names are those of the published `ddconfig`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LfqConfig {
    /// Channels at full resolution.
    pub ch: usize,
    /// Channels of the levels, from fine to coarse, as multiples of `ch`.
    pub ch_mult: Vec<usize>,
    /// Residual blocks per level, and in the middle.
    pub num_res_blocks: usize,
    /// Channels of the quantised map, which are the bits of a code.
    pub z_channels: usize,
}

/// The most bits that a code may have, so that it fits the integers of every device.
const MAX_BITS: usize = 24;

impl LfqConfig {
    /// The published tokenizers of 2^18 codes with 16 pixels per token (`imagenet_256_L.ckpt`, `imagenet_128_L.ckpt`).
    pub fn published() -> Self {
        Self { ch: 128, ch_mult: vec![1, 1, 2, 2, 4], num_res_blocks: 4, z_channels: 18 }
    }

    /// Pixels along each side of a token.
    pub fn stride(&self) -> usize {
        1 << (self.ch_mult.len() - 1)
    }

    /// Number of codes.
    pub fn codes(&self) -> usize {
        1 << self.z_channels
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let cause = if self.ch_mult.is_empty() || self.ch_mult.len() > 8 || self.ch_mult.contains(&0) {
            "ch_mult must name 1 to 8 levels of at least one multiple of ch"
        } else if self.ch == 0 || !self.ch.is_multiple_of(GROUPS) {
            "ch must be a multiple of 32, the number of groups of its norms"
        } else if self.num_res_blocks == 0 {
            "num_res_blocks must be at least 1"
        } else if self.z_channels == 0 || self.z_channels > MAX_BITS {
            "z_channels must be 1 to 24, the bits of a code"
        } else {
            return Ok(());
        };
        Err(Error::control("tokenizer configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// `count` residual blocks, of which the first changes the number of channels.
fn blocks(inputs: usize, outputs: usize, count: usize, device: &Device) -> Vec<ResBlock> {
    let block = |index| ResBlock::without_biases(if index == 0 { inputs } else { outputs }, outputs, device);
    (0..count).map(block).collect()
}

/// `x`, `[batch, channels, height, width]`, through blocks one after the other.
fn through(blocks: &[ResBlock], x: Tensor<4>) -> Tensor<4> {
    blocks.iter().fold(x, |x, block| block.forward(x))
}

/// One level of the encoder.
#[derive(Module, Debug)]
pub struct Down {
    block: Vec<ResBlock>,
    downsample: Option<Conv2d>,
}

/// From pictures to features.
#[derive(Module, Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    down: Vec<Down>,
    mid_block: Vec<ResBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(config: &LfqConfig, device: &Device) -> Self {
        let levels = config.ch_mult.len();
        let conv_in = conv3x3(3, config.ch, device).without_bias();
        let mut channels = config.ch;
        let mut down = Vec::new();
        for (index, mult) in config.ch_mult.iter().enumerate() {
            let outputs = config.ch * mult;
            let block = blocks(channels, outputs, config.num_res_blocks, device);
            channels = outputs;
            down.push(Down { block, downsample: (index + 1 < levels).then(|| halving(channels, device)) });
        }
        Self {
            conv_in,
            down,
            mid_block: blocks(channels, channels, config.num_res_blocks, device),
            norm_out: group_norm(channels, device),
            conv_out: conv1x1(channels, config.z_channels, device),
        }
    }

    /// `[batch, 3, height, width]` to `[batch, z_channels, height / stride, width / stride]`.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let mut x = self.conv_in.forward(pixels);
        for level in &self.down {
            x = through(&level.block, x);
            if let Some(downsample) = &level.downsample {
                x = downsample.forward(x);
            }
        }
        self.conv_out.forward(group_norm_silu(&self.norm_out, through(&self.mid_block, x)))
    }
}

/// A 3×3 convolution of stride 2 after a border of zeros all around.
fn halving(channels: usize, device: &Device) -> Conv2d {
    Conv2d::new([channels, channels], 3, 2, [1; 4], device)
}

/// A convolution to four times the channels, which then become twice the sides (`Upsampler`).
#[derive(Module, Debug)]
pub struct Upsampler {
    conv1: Conv2d,
}

impl Upsampler {
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        depth_to_space(self.conv1.forward(x))
    }
}

/// Spreads channels over squares of 2 × 2 pixels, the square's position counting slower than the remaining channels:
/// `[batch, 4 * channels, height, width]` to `[batch, channels, 2 * height, 2 * width]`.
fn depth_to_space(x: Tensor<4>) -> Tensor<4> {
    let [batch, channels, height, width] = x.dims();
    let x: Tensor<6> = x.reshape([batch, 2, 2, channels / 4, height, width]);
    x.permute([0, 3, 4, 1, 5, 2]).reshape([batch, channels / 4, 2 * height, 2 * width])
}

/// A group norm whose scale and shift come from the quantised map (`AdaptiveGroupNorm`).
#[derive(Module, Debug)]
pub struct AdaptiveGroupNorm {
    gn: GroupNorm,
    gamma: Linear,
    beta: Linear,
}

/// Added to the variance of the quantised map (`AdaptiveGroupNorm`).
const SPREAD_EPS: f64 = 1e-6;

impl AdaptiveGroupNorm {
    fn new(z_channels: usize, channels: usize, device: &Device) -> Self {
        let linear = || LinearConfig::new(z_channels, channels).init(device);
        let gn = GroupNormConfig::new(GROUPS, channels).with_epsilon(1e-6).with_affine(false);
        Self { gn: gn.init(device), gamma: linear(), beta: linear() }
    }

    /// `x` is `[batch, channels, height, width]`, `quantised` is `[batch, z_channels, rows, cols]`. The variance over the
    /// map divides by one less than the number of positions, whatever the published comment says.
    fn forward(&self, x: Tensor<4>, quantised: &Tensor<4>) -> Tensor<4> {
        let [batch, channels, _, _] = x.dims();
        let map: Tensor<3> = quantised.clone().flatten(2, 3);
        let mean: Tensor<2> = map.clone().mean_dim(2).squeeze_dim(2);
        let spread: Tensor<2> = (map.var(2) + SPREAD_EPS).sqrt().squeeze_dim(2);
        let per_channel = |style: Tensor<2>| style.reshape([batch, channels, 1, 1]);
        let (gamma, beta) = (self.gamma.forward(spread), self.beta.forward(mean));
        self.gn.forward(x) * per_channel(gamma) + per_channel(beta)
    }
}

/// One level of the decoder.
#[derive(Module, Debug)]
pub struct Up {
    block: Vec<ResBlock>,
    upsample: Option<Upsampler>,
}

/// From quantised maps to pictures.
#[derive(Module, Debug)]
pub struct Decoder {
    conv_in: Conv2d,
    mid_block: Vec<ResBlock>,
    /// From fine to coarse; run from coarse to fine.
    up: Vec<Up>,
    /// One before each level of `up`.
    adaptive: Vec<AdaptiveGroupNorm>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(config: &LfqConfig, device: &Device) -> Self {
        let deepest = config.ch * config.ch_mult[config.ch_mult.len() - 1];
        let mut channels = deepest;
        let (mut up, mut adaptive) = (Vec::new(), Vec::new());
        for (index, mult) in config.ch_mult.iter().enumerate().rev() {
            let outputs = config.ch * mult;
            adaptive.insert(0, AdaptiveGroupNorm::new(config.z_channels, channels, device));
            let block = blocks(channels, outputs, config.num_res_blocks, device);
            channels = outputs;
            let upsample = (index > 0).then(|| Upsampler { conv1: conv3x3(channels, 4 * channels, device) });
            up.insert(0, Up { block, upsample });
        }
        Self {
            conv_in: conv3x3(config.z_channels, deepest, device),
            mid_block: blocks(deepest, deepest, config.num_res_blocks, device),
            up,
            adaptive,
            norm_out: group_norm(channels, device),
            conv_out: conv3x3(channels, 3, device),
        }
    }

    /// `[batch, z_channels, rows, cols]`, each value 1 or -1, to `[batch, 3, rows * stride, cols * stride]`.
    pub fn forward(&self, quantised: Tensor<4>) -> Tensor<4> {
        let mut x = through(&self.mid_block, self.conv_in.forward(quantised.clone()));
        for (level, adaptive) in self.up.iter().zip(&self.adaptive).rev() {
            x = through(&level.block, adaptive.forward(x, &quantised));
            if let Some(upsample) = &level.upsample {
                x = upsample.forward(x);
            }
        }
        self.conv_out.forward(group_norm_silu(&self.norm_out, x))
    }
}

/// The whole tokenizer's weights (`VQModel`).
#[derive(Module, Debug)]
pub struct LfqModel {
    /// Pictures to features.
    pub encoder: Encoder,
    /// Quantised maps to pictures.
    pub decoder: Decoder,
}

impl LfqModel {
    /// Fresh weights.
    pub fn new(config: &LfqConfig, device: &Device) -> Self {
        Self { encoder: Encoder::new(config, device), decoder: Decoder::new(config, device) }
    }

    /// Codes of pictures: `[batch, 3, height, width]` to `[batch, rows * cols]` in raster order.
    pub fn encode(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        codes(self.encoder.forward(pixels))
    }

    /// Pictures of codes: `[batch, rows * cols]` to `[batch, 3, height, width]`, samples about -1..1.
    pub fn decode(&self, codes: Tensor<2, Int>, rows: usize, cols: usize) -> Tensor<4> {
        let bits = self.decoder.conv_in.weight.dims()[1];
        self.decoder.forward(quantised(codes, bits, rows, cols))
    }
}

/// The codes of features, `[batch, bits, rows, cols]`: bit `k` is set where channel `k` is above 0. `[batch, rows * cols]`
pub fn codes(features: Tensor<4>) -> Tensor<2, Int> {
    let [batch, bits, rows, cols] = features.dims();
    let values: Vec<i32> = (0..bits).map(|bit| 1 << bit).collect();
    let values = Tensor::<1, Int>::from_data(values.as_slice(), &features.device()).reshape([1, bits, 1, 1]);
    (features.greater_elem(0.0).int() * values).sum_dim(1).reshape([batch, rows * cols])
}

/// The quantised map of codes, `[batch, rows * cols]`: 1 where a code's bit is set, -1 elsewhere.
/// `[batch, bits, rows, cols]`
pub fn quantised(codes: Tensor<2, Int>, bits: usize, rows: usize, cols: usize) -> Tensor<4> {
    let batch = codes.dims()[0];
    let codes: Tensor<4, Int> = codes.reshape([batch, 1, rows, cols]);
    let channel = |bit: usize| codes.clone().div_scalar(1i64 << bit).remainder_scalar(2).float() * 2.0 - 1.0;
    Tensor::cat((0..bits).map(channel).collect(), 1)
}

impl GridCodes for LfqModel {
    fn codes_of(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        self.encode(pixels)
    }

    fn pixels_of(&self, codes: Tensor<2, Int>, grid: Grid) -> Tensor<4> {
        self.decode(codes, grid.rows, grid.cols)
    }

    fn check(&self, grid: Grid) -> std::result::Result<(), &'static str> {
        let alone = "the decoder measures how the tokens spread, and one alone has no spread";
        if grid.len() > 1 { Ok(()) } else { Err(alone) }
    }
}

/// The tokenizer behind the seam.
pub type OpenMagvit2Lfq = GridTokenizer<LfqModel>;

/// Open-MAGVIT2's tokenizers for the registry.
pub const FAMILY: TokenizerFamily = TokenizerFamily {
    name: "Open-MAGVIT2 LFQ",
    build: |config, weights, device| {
        let config: LfqConfig = configuration(config)?;
        config.check()?;
        let model = weights.fill(LfqModel::new(&config, device), &OPEN_MAGVIT2_KEYS)?;
        Ok(Box::new(OpenMagvit2Lfq::new(model, config.stride(), config.codes(), device)))
    },
    presets: || vec![("LFQ-16", to_value(&LfqConfig::published()))],
    recognise,
    published_in: "imagenet_256_L.ckpt",
};

/// The tokenizer by its tensors; it has no codebook, its codes are the signs of its channels.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    manifest.shape("decoder.adaptive.0.gamma.weight")?;
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let mults = levels(manifest, ch, "encoder.down.", "block.0.conv1")?;
    let blocks = manifest.count("encoder.down.0.block.");
    let z = Some(manifest.axis("encoder.conv_out.weight", 0)?).filter(|bits| (1..=24).contains(bits))?;
    let mut layout = Layout::default();
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, false);
        if inputs != outputs {
            layout.weight(&format!("{name}.nin_shortcut"), &[outputs, inputs, 1, 1]);
        }
    };
    let mut width = ch;
    layout.weight("encoder.conv_in", &[ch, 3, 3, 3]);
    for (level, mult) in mults.iter().enumerate() {
        for index in 0..blocks {
            block(&mut layout, &format!("encoder.down.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
        if level + 1 < mults.len() {
            layout.conv(&format!("encoder.down.{level}.downsample"), width, width, 3);
        }
    }
    for part in ["encoder", "decoder"] {
        (0..blocks).for_each(|index| block(&mut layout, &format!("{part}.mid_block.{index}"), width, width));
    }
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 1);
    layout.conv("decoder.conv_in", width, z, 3);
    for (level, mult) in mults.iter().enumerate().rev() {
        layout.linear(&format!("decoder.adaptive.{level}.gamma"), width, z);
        layout.linear(&format!("decoder.adaptive.{level}.beta"), width, z);
        for index in 0..blocks {
            block(&mut layout, &format!("decoder.up.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
        if level > 0 {
            layout.conv(&format!("decoder.up.{level}.upsample.conv1"), 4 * width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    let stride = 1 << (mults.len() - 1);
    let config = LfqConfig { ch, ch_mult: mults, num_res_blocks: blocks, z_channels: z };
    Some(Recognised {
        family: FAMILY.name,
        size: if ch == 128 { format!("{stride}-{z}") } else { format!("{stride}-{z}-ch{ch}") },
        config: to_value(&config),
        layout,
        leftovers: OPEN_MAGVIT2_KEYS.leftovers,
        licence: "Apache-2.0",
        role: Role::Tokenizer { codes: 1 << z, stride, per_pixel: 4 * ch as u64 },
    })
}
