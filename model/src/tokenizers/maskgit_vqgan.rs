//! MaskGIT's VQGAN, the tokenizer of RAR and of a RandAR variant (Chang et al., arXiv 2202.04200).
//!
//! Published code: `bytedance/1d-tokenizer`, `modeling/modules/maskgit_vqgan.py`. Convolutions alone, without attention or
//! projections around the codebook; the nearest code is the one at the smallest squared distance. It works for any height
//! and width that are multiples of the stride. Field names are the published state dict's keys.
//!
//! Two things are as published though they may look like mistakes. Where a residual block changes the number of channels,
//! its 1×1 shortcut is applied to the block's own output, and the input is not added. And a picture's bytes are cut off,
//! not rounded; the samples returned behind the seam are half a level lower, so that
//! [`to_picture`](crate::tokenizer::to_picture) cuts at the same places.

use burn::module::Module;
use burn::nn::pool::AvgPool2dConfig;
use burn::nn::{Embedding, EmbeddingConfig, GroupNorm};
use burn::prelude::*;
use burn::tensor::Int;
use serde::{Deserialize, Serialize};

use super::TokenizerFamily;
use super::grid::{GridCodes, GridTokenizer};
use super::layers::{GROUPS, conv1x1, conv3x3, doubled, group_norm};
use crate::checkpoint::MASKGIT_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role, levels};
use crate::kernels::{Conv2d, group_norm_silu};
use crate::lattice::Grid;
use crate::networks::{configuration, to_value};
use crate::{Error, Result};

/// Sizes of the tokenizer; the names are those of `titok.py`'s configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskGitConfig {
    /// Channels at full resolution.
    pub hidden_channels: usize,
    /// Channels of the levels, from fine to coarse, as multiples of `hidden_channels`.
    pub channel_mult: Vec<usize>,
    /// Residual blocks per level, and in the middle.
    pub num_res_blocks: usize,
    /// Length of a code.
    pub z_channels: usize,
    /// Number of codes.
    pub codebook_size: usize,
}

impl MaskGitConfig {
    /// The published tokenizer, trained on ImageNet (`maskgit-vqgan-imagenet-f16-256.bin`).
    pub fn imagenet() -> Self {
        Self {
            hidden_channels: 128,
            channel_mult: vec![1, 1, 2, 2, 4],
            num_res_blocks: 2,
            z_channels: 256,
            codebook_size: 1024,
        }
    }

    /// Pixels along each side of a token.
    pub fn stride(&self) -> usize {
        1 << (self.channel_mult.len() - 1)
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let cause = if self.channel_mult.is_empty() || self.channel_mult.len() > 8 {
            "channel_mult must have 1 to 8 levels"
        } else if self.hidden_channels == 0 || !self.hidden_channels.is_multiple_of(GROUPS) {
            "hidden_channels must be a multiple of 32, the number of groups of its norms"
        } else if [self.num_res_blocks, self.z_channels, self.codebook_size].contains(&0)
            || self.channel_mult.contains(&0)
        {
            "every size must be at least 1"
        } else {
            return Ok(());
        };
        Err(Error::control("tokenizer configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// Two convolutions around a skip (`ResBlock`).
#[derive(Module, Debug)]
pub struct ResBlock {
    norm1: GroupNorm,
    conv1: Conv2d,
    norm2: GroupNorm,
    conv2: Conv2d,
    nin_shortcut: Option<Conv2d>,
}

impl ResBlock {
    fn new(inputs: usize, outputs: usize, device: &Device) -> Self {
        Self {
            norm1: group_norm(inputs, device),
            conv1: unbiased(inputs, outputs, 3, device),
            norm2: group_norm(outputs, device),
            conv2: unbiased(outputs, outputs, 3, device),
            nin_shortcut: (inputs != outputs).then(|| unbiased(outputs, outputs, 1, device)),
        }
    }

    /// `[batch, channels, height, width]`
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = self.conv1.forward(group_norm_silu(&self.norm1, x.clone()));
        let h = self.conv2.forward(group_norm_silu(&self.norm2, h));
        match &self.nin_shortcut {
            Some(shortcut) => shortcut.forward(h.clone()) + h,
            None => x + h,
        }
    }
}

/// `count` residual blocks from `inputs` to `outputs` channels.
fn blocks(inputs: usize, outputs: usize, count: usize, device: &Device) -> Vec<ResBlock> {
    (0..count).map(|index| ResBlock::new(if index == 0 { inputs } else { outputs }, outputs, device)).collect()
}

fn through(blocks: &[ResBlock], x: Tensor<4>) -> Tensor<4> {
    blocks.iter().fold(x, |x, block| block.forward(x))
}

/// One level of the encoder.
#[derive(Module, Debug)]
pub struct Down {
    block: Vec<ResBlock>,
    halves: bool,
}

impl Down {
    /// `[batch, channels, height, width]`; all but the last level halve the sides.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = through(&self.block, x);
        if self.halves { AvgPool2dConfig::new([2, 2]).init().forward(x) } else { x }
    }
}

/// One level of the decoder.
#[derive(Module, Debug)]
pub struct Up {
    block: Vec<ResBlock>,
    upsample_conv: Option<Conv2d>,
}

impl Up {
    /// `[batch, channels, height, width]`; all but the finest level double the sides.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = through(&self.block, x);
        match &self.upsample_conv {
            Some(conv) => conv.forward(doubled(x)),
            None => x,
        }
    }
}

/// From pictures to features.
#[derive(Module, Debug)]
pub struct Encoder {
    /// The first convolution.
    pub conv_in: Conv2d,
    /// The levels, from fine to coarse.
    pub down: Vec<Down>,
    /// Blocks at the coarsest resolution.
    pub mid: Vec<ResBlock>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(config: &MaskGitConfig, device: &Device) -> Self {
        let mut channels = config.hidden_channels;
        let mut down = Vec::new();
        for (index, mult) in config.channel_mult.iter().enumerate() {
            let outputs = config.hidden_channels * mult;
            let block = blocks(channels, outputs, config.num_res_blocks, device);
            down.push(Down { block, halves: index + 1 < config.channel_mult.len() });
            channels = outputs;
        }
        Self {
            conv_in: unbiased(3, config.hidden_channels, 3, device),
            down,
            mid: blocks(channels, channels, config.num_res_blocks, device),
            norm_out: group_norm(channels, device),
            conv_out: conv1x1(channels, config.z_channels, device),
        }
    }

    /// `[batch, 3, height, width]`, samples in 0..1, to `[batch, z_channels, height / stride, width / stride]`.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        let x = self.down.iter().fold(self.conv_in.forward(pixels), |x, level| level.forward(x));
        self.conv_out.forward(group_norm_silu(&self.norm_out, through(&self.mid, x)))
    }
}

/// From features to pictures.
#[derive(Module, Debug)]
pub struct Decoder {
    /// The first convolution.
    pub conv_in: Conv2d,
    /// Blocks at the coarsest resolution.
    pub mid: Vec<ResBlock>,
    /// The levels, from fine to coarse; they are run from the last to the first.
    pub up: Vec<Up>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(config: &MaskGitConfig, device: &Device) -> Self {
        let channels: Vec<usize> = config.channel_mult.iter().map(|mult| config.hidden_channels * mult).collect();
        let (finest, deepest) = (channels[0], channels[channels.len() - 1]);
        let up = channels.iter().enumerate().map(|(index, outputs)| {
            let inputs = channels.get(index + 1).unwrap_or(&deepest);
            let block = blocks(*inputs, *outputs, config.num_res_blocks, device);
            Up { block, upsample_conv: (index > 0).then(|| conv3x3(*outputs, *outputs, device)) }
        });
        Self {
            conv_in: conv3x3(config.z_channels, deepest, device),
            mid: blocks(deepest, deepest, config.num_res_blocks, device),
            up: up.collect(),
            norm_out: group_norm(finest, device),
            conv_out: conv3x3(finest, 3, device),
        }
    }

    /// `[batch, z_channels, rows, cols]` to `[batch, 3, rows * stride, cols * stride]`, samples about 0..1.
    pub fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        let x = through(&self.mid, self.conv_in.forward(features));
        let x = self.up.iter().rev().fold(x, |x, level| level.forward(x));
        self.conv_out.forward(group_norm_silu(&self.norm_out, x))
    }
}

/// The codebook.
#[derive(Module, Debug)]
pub struct VectorQuantizer {
    /// `[codebook_size, z_channels]`
    pub embedding: Embedding,
}

impl VectorQuantizer {
    /// The nearest codes of features, `[batch, z_channels, rows, cols]`, by squared distance: `[batch, rows * cols]`.
    pub fn nearest(&self, features: Tensor<4>) -> Tensor<2, Int> {
        let [batch, dim, rows, cols] = features.dims();
        let z: Tensor<2> = features.permute([0, 2, 3, 1]).reshape([batch * rows * cols, dim]);
        let codebook = self.embedding.weight.val();
        // |z - e|² without |z|², which is the same for all codes.
        let lengths = codebook.clone().square().sum_dim(1).transpose();
        let distances = lengths - z.matmul(codebook.transpose()) * 2.0;
        distances.argmin(1).reshape([batch, rows * cols])
    }

    /// Codes as features: `[batch, rows * cols]` to `[batch, z_channels, rows, cols]`.
    pub fn look_up(&self, codes: Tensor<2, Int>, rows: usize, cols: usize) -> Tensor<4> {
        let [batch, _] = codes.dims();
        let features = self.embedding.forward(codes);
        let dim = features.dims()[2];
        features.reshape([batch, rows, cols, dim]).permute([0, 3, 1, 2])
    }
}

/// The whole tokenizer's weights (`PretrainedTokenizer`).
#[derive(Module, Debug)]
pub struct MaskGitVqgan {
    /// Pictures to features.
    pub encoder: Encoder,
    /// Features to pictures.
    pub decoder: Decoder,
    /// The codebook.
    pub quantize: VectorQuantizer,
}

impl MaskGitVqgan {
    /// Fresh weights.
    pub fn new(config: &MaskGitConfig, device: &Device) -> Self {
        let embedding = EmbeddingConfig::new(config.codebook_size, config.z_channels).init(device);
        Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quantize: VectorQuantizer { embedding },
        }
    }

    /// Codes of pictures with samples in 0..1: `[batch, 3, height, width]` to `[batch, rows * cols]` in raster order.
    pub fn encode(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        self.quantize.nearest(self.encoder.forward(pixels))
    }

    /// Pictures of codes with samples in 0..1: `[batch, rows * cols]` to `[batch, 3, height, width]`.
    pub fn decode(&self, codes: Tensor<2, Int>, rows: usize, cols: usize) -> Tensor<4> {
        self.decoder.forward(self.quantize.look_up(codes, rows, cols)).clamp(0.0, 1.0)
    }
}

impl GridCodes for MaskGitVqgan {
    fn codes_of(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        self.encode(pixels / 2.0 + 0.5)
    }

    fn pixels_of(&self, codes: Tensor<2, Int>, grid: Grid) -> Tensor<4> {
        self.decode(codes, grid.rows, grid.cols) * 2.0 - (1.0 + 1.0 / 255.0)
    }
}

/// The tokenizer behind the seam.
pub type MaskGitTokenizer = GridTokenizer<MaskGitVqgan>;

/// MaskGIT's tokenizer for the registry.
pub const FAMILY: TokenizerFamily = TokenizerFamily {
    name: "MaskGIT-VQGAN",
    build: |config, weights, device| {
        let config: MaskGitConfig = configuration(config)?;
        config.check()?;
        let model = weights.fill(MaskGitVqgan::new(&config, device), &MASKGIT_KEYS)?;
        Ok(Box::new(MaskGitTokenizer::new(model, config.stride(), config.codebook_size, device)))
    },
    presets: || vec![("ImageNet", to_value(&MaskGitConfig::imagenet()))],
    recognise,
    published_in: "maskgit-vqgan-imagenet-f16-256.bin",
};

/// The tokenizer by its tensors: no attention, and shortcuts from a width to itself.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    manifest.shape("decoder.up.0.block.0.conv1.weight")?;
    manifest.shape("encoder.mid.0.conv1.weight")?;
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let mults = levels(manifest, ch, "encoder.down.", "block.0.conv1")?;
    let blocks = manifest.count("encoder.down.0.block.");
    let [codes, z] = *manifest.shape("quantize.embedding.weight")? else { return None };
    let mut layout = Layout::default();
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, false);
        if inputs != outputs {
            layout.weight(&format!("{name}.nin_shortcut"), &[outputs, outputs, 1, 1]);
        }
    };
    let mut width = ch;
    layout.weight("encoder.conv_in", &[ch, 3, 3, 3]);
    for (level, mult) in mults.iter().enumerate() {
        for index in 0..blocks {
            block(&mut layout, &format!("encoder.down.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
    }
    for part in ["encoder", "decoder"] {
        (0..blocks).for_each(|index| block(&mut layout, &format!("{part}.mid.{index}"), width, width));
    }
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 1);
    layout.weight("quantize.embedding", &[codes, z]);
    layout.conv("decoder.conv_in", width, z, 3);
    for (level, mult) in mults.iter().enumerate().rev() {
        for index in 0..blocks {
            block(&mut layout, &format!("decoder.up.{level}.block.{index}"), width, ch * mult);
            width = ch * mult;
        }
        if level > 0 {
            layout.conv(&format!("decoder.up.{level}.upsample_conv"), width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    let stride = 1 << (mults.len() - 1);
    let config = MaskGitConfig {
        hidden_channels: ch,
        channel_mult: mults,
        num_res_blocks: blocks,
        z_channels: z,
        codebook_size: codes,
    };
    Some(Recognised {
        family: FAMILY.name,
        size: if ch == 128 { stride.to_string() } else { format!("{stride}-ch{ch}") },
        config: to_value(&config),
        layout,
        leftovers: MASKGIT_KEYS.leftovers,
        licence: "Apache-2.0",
        role: Role::Tokenizer { codes, stride, per_pixel: 4 * ch as u64 },
    })
}

/// A convolution without a bias that keeps the sides; `kernel` is odd.
fn unbiased(inputs: usize, outputs: usize, kernel: usize, device: &Device) -> Conv2d {
    Conv2d::new([inputs, outputs], kernel, 1, [kernel / 2; 4], device).without_bias()
}
