//! LlamaGen's VQ tokenizer (published code: `FoundationVision/LlamaGen`, `tokenizer/tokenizer_image/vq_model.py`).
//!
//! A convolutional encoder and decoder around a small codebook whose rows and queries are l2-normalised. VQ-16 has five
//! levels, VQ-8 four. Attention sits on the deepest level and in the middle. It works for any height and width that are
//! multiples of the stride. Field names are the published state dict's keys.

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, GroupNorm, Initializer};
use burn::prelude::*;
use burn::tensor::Int;
use burn::tensor::activation::log_softmax;
use serde::{Deserialize, Serialize};

use super::TokenizerFamily;
use super::grid::{GridCodes, GridTokenizer};
use super::layers::{GROUPS, ResBlock, Resample, attend_over_map, conv1x1, conv3x3, group_norm, l2_normalise};
use crate::checkpoint::VQ_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role, levels};
use crate::kernels::{Conv2d, group_norm_silu, group_normed};
use crate::lattice::Grid;
use crate::networks::{configuration, to_value};
use crate::{Error, Result};

/// Sizes of the tokenizer; the names are those of `vq_model.py`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VqConfig {
    /// Channels at full resolution.
    pub ch: usize,
    /// Channels of the encoder's levels, from fine to coarse, as multiples of `ch`.
    pub encoder_ch_mult: Vec<usize>,
    /// Channels of the decoder's levels, likewise.
    pub decoder_ch_mult: Vec<usize>,
    /// Residual blocks per level of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Channels between the convolutions and the projections to and from codes.
    pub z_channels: usize,
    /// Number of codes.
    pub codebook_size: usize,
    /// Length of a code.
    pub codebook_embed_dim: usize,
}

impl VqConfig {
    /// The published tokenizer with 16 pixels per token (`vq_ds16_c2i.pt`).
    pub fn vq_16() -> Self {
        Self::published(&[1, 1, 2, 2, 4])
    }

    /// The published tokenizer with 8 pixels per token (`vq_ds8_c2i.pt`).
    pub fn vq_8() -> Self {
        Self::published(&[1, 2, 2, 4])
    }

    fn published(ch_mult: &[usize]) -> Self {
        Self {
            ch: 128,
            encoder_ch_mult: ch_mult.into(),
            decoder_ch_mult: ch_mult.into(),
            num_res_blocks: 2,
            z_channels: 256,
            codebook_size: 16_384,
            codebook_embed_dim: 8,
        }
    }

    /// Pixels along each side of a token.
    pub fn stride(&self) -> usize {
        1 << (self.decoder_ch_mult.len() - 1)
    }

    /// How many of the finest levels can be left out in training: those that have the channels of full resolution.
    pub(crate) fn most_skipped(&self) -> usize {
        let encoder = self.encoder_ch_mult.iter().take_while(|mult| **mult == 1).count();
        let decoder = self.decoder_ch_mult.iter().take_while(|mult| **mult == self.decoder_ch_mult[0]).count() - 1;
        encoder.min(decoder).min(self.decoder_ch_mult.len() - 1)
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let levels = self.encoder_ch_mult.len();
        let cause = if levels == 0 || levels > 8 || levels != self.decoder_ch_mult.len() {
            "encoder_ch_mult and decoder_ch_mult must have the same number of levels, 1 to 8"
        } else if self.encoder_ch_mult.iter().chain(&self.decoder_ch_mult).any(|mult| *mult == 0) {
            "every level needs at least one multiple of ch"
        } else if self.ch == 0 || !self.ch.is_multiple_of(GROUPS) {
            "ch must be a multiple of 32, the number of groups of its norms"
        } else if [self.num_res_blocks, self.z_channels, self.codebook_size, self.codebook_embed_dim].contains(&0) {
            "every size must be at least 1"
        } else {
            return Ok(());
        };
        Err(Error::control("tokenizer configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// Attention of one head over all positions (`AttnBlock`).
#[derive(Module, Debug)]
pub struct AttnBlock {
    norm: GroupNorm,
    q: Conv2d,
    k: Conv2d,
    v: Conv2d,
    proj_out: Conv2d,
}

impl AttnBlock {
    fn new(channels: usize, device: &Device) -> Self {
        let conv = || conv1x1(channels, channels, device);
        Self { norm: group_norm(channels, device), q: conv(), k: conv(), v: conv(), proj_out: conv() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let h = group_normed(&self.norm, x.clone());
        let qkv = [&self.q, &self.k, &self.v].map(|conv| conv.forward(h.clone()));
        x + self.proj_out.forward(attend_over_map(qkv))
    }
}

/// The middle of encoder and decoder: block, attention, block.
type Middle = (ResBlock, AttnBlock, ResBlock);

fn middle(channels: usize, device: &Device) -> Middle {
    let block = || ResBlock::new(channels, channels, device);
    (block(), AttnBlock::new(channels, device), block())
}

fn through_middle(mid: &Middle, x: Tensor<4>) -> Tensor<4> {
    mid.2.forward(mid.1.forward(mid.0.forward(x)))
}

/// One level of the encoder.
#[derive(Module, Debug)]
pub struct Down {
    res: Vec<ResBlock>,
    attn: Vec<AttnBlock>,
    downsample: Option<Resample>,
}

/// One level of the decoder.
#[derive(Module, Debug)]
pub struct Up {
    res: Vec<ResBlock>,
    attn: Vec<AttnBlock>,
    upsample: Option<Resample>,
}

/// Residual blocks of a level, each followed by its attention where the level has any.
fn through_level(res: &[ResBlock], attn: &[AttnBlock], mut x: Tensor<4>) -> Tensor<4> {
    for (index, block) in res.iter().enumerate() {
        x = block.forward(x);
        if let Some(attn) = attn.get(index) {
            x = attn.forward(x);
        }
    }
    x
}

/// `count` residual blocks and, on the deepest level, as many attentions.
fn level(
    inputs: usize,
    outputs: usize,
    count: usize,
    deepest: bool,
    device: &Device,
) -> (Vec<ResBlock>, Vec<AttnBlock>) {
    let res = (0..count).map(|index| ResBlock::new(if index == 0 { inputs } else { outputs }, outputs, device));
    let attn = (0..if deepest { count } else { 0 }).map(|_| AttnBlock::new(outputs, device));
    (res.collect(), attn.collect())
}

/// From pictures to features.
#[derive(Module, Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    conv_blocks: Vec<Down>,
    mid: Middle,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(config: &VqConfig, device: &Device) -> Self {
        let mut channels = config.ch;
        let levels = config.encoder_ch_mult.len();
        let mut conv_blocks = Vec::new();
        for (index, mult) in config.encoder_ch_mult.iter().enumerate() {
            let (deepest, outputs) = (index + 1 == levels, config.ch * mult);
            let (res, attn) = level(channels, outputs, config.num_res_blocks, deepest, device);
            channels = outputs;
            conv_blocks.push(Down { res, attn, downsample: (!deepest).then(|| Resample::halving(channels, device)) });
        }
        Self {
            conv_in: conv3x3(3, config.ch, device),
            conv_blocks,
            mid: middle(channels, device),
            norm_out: group_norm(channels, device),
            conv_out: conv3x3(channels, config.z_channels, device),
        }
    }

    /// `[batch, 3, height, width]` to `[batch, z_channels, height / stride, width / stride]`.
    pub fn forward(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.forward_without(0, pixels)
    }

    /// Without the `skipped` finest levels, for pictures whose sides are so many times halved.
    pub(crate) fn forward_without(&self, skipped: usize, pixels: Tensor<4>) -> Tensor<4> {
        let mut x = self.conv_in.forward(pixels);
        for block in &self.conv_blocks[skipped..] {
            x = through_level(&block.res, &block.attn, x);
            if let Some(down) = &block.downsample {
                x = down.halve(x);
            }
        }
        self.conv_out.forward(group_norm_silu(&self.norm_out, through_middle(&self.mid, x)))
    }
}

/// From features to pictures.
#[derive(Module, Debug)]
pub struct Decoder {
    conv_in: Conv2d,
    mid: Middle,
    conv_blocks: Vec<Up>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(config: &VqConfig, device: &Device) -> Self {
        let levels = config.decoder_ch_mult.len();
        let deepest_channels = config.ch * config.decoder_ch_mult[levels - 1];
        let mut channels = deepest_channels;
        let mut conv_blocks = Vec::new();
        for (index, mult) in config.decoder_ch_mult.iter().enumerate().rev() {
            let (deepest, outputs) = (index + 1 == levels, config.ch * mult);
            let (res, attn) = level(channels, outputs, config.num_res_blocks + 1, deepest, device);
            channels = outputs;
            let upsample = (index > 0).then(|| Resample::doubling(channels, device));
            conv_blocks.push(Up { res, attn, upsample });
        }
        Self {
            conv_in: conv3x3(config.z_channels, deepest_channels, device),
            mid: middle(deepest_channels, device),
            conv_blocks,
            norm_out: group_norm(channels, device),
            conv_out: conv3x3(channels, 3, device),
        }
    }

    /// `[batch, z_channels, rows, cols]` to `[batch, 3, rows * stride, cols * stride]`.
    pub fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        self.conv_out.forward(self.before_last(0, features))
    }

    /// What the last convolution reads, without the `skipped` finest levels:
    /// `[batch, ch * decoder_ch_mult[0], rows * stride, cols * stride]`, the sides so many times halved.
    pub(crate) fn before_last(&self, skipped: usize, features: Tensor<4>) -> Tensor<4> {
        let mut x = through_middle(&self.mid, self.conv_in.forward(features));
        let finest = self.conv_blocks.len() - skipped - 1;
        for (index, block) in self.conv_blocks[..=finest].iter().enumerate() {
            x = through_level(&block.res, &block.attn, x);
            if let Some(up) = block.upsample.as_ref().filter(|_| index < finest) {
                x = up.double(x);
            }
        }
        group_norm_silu(&self.norm_out, x)
    }

    /// The last convolution (`last_layer`).
    pub(crate) fn last(&self) -> &Conv2d {
        &self.conv_out
    }
}

/// The quantiser in training.
#[derive(Debug)]
pub struct StraightThrough {
    /// Codes through which gradients pass straight to the features, `[positions, codebook_embed_dim]`.
    pub codes: Tensor<2>,
    /// Their numbers, `[positions]`.
    pub nearest: Tensor<1, Int>,
    /// Mean squared distance that moves codes towards features, `[1]`.
    pub codebook: Tensor<1>,
    /// The same that moves features towards codes, `[1]`, unweighted.
    pub commitment: Tensor<1>,
}

/// What softens the choice of a code in the entropy loss (`compute_entropy_loss`).
const ENTROPY_TEMPERATURE: f64 = 0.01;

/// The codebook.
#[derive(Module, Debug)]
pub struct VectorQuantizer {
    /// `[codebook_size, codebook_embed_dim]`, stored as trained; normalised at every use.
    pub embedding: Embedding,
}

impl VectorQuantizer {
    /// The codebook with rows of length 1: `[codebook_size, codebook_embed_dim]`.
    pub fn codebook(&self) -> Tensor<2> {
        l2_normalise(self.embedding.weight.val())
    }

    /// The nearest codes of unit vectors `z`, `[positions, codebook_embed_dim]`: between unit vectors the nearest is the
    /// one with the largest product. `[positions]`
    pub fn nearest(&self, z: Tensor<2>) -> Tensor<1, Int> {
        let positions = z.dims()[0];
        z.matmul(self.codebook().transpose()).argmax(1).reshape([positions])
    }

    /// The quantiser in training (`VectorQuantizer.forward`), of unit vectors `z`, `[positions, codebook_embed_dim]`.
    pub fn straight_through(&self, z: Tensor<2>) -> StraightThrough {
        let fixed = z.clone().detach();
        let nearest = self.nearest(fixed.clone());
        let codes = self.codebook().select(0, nearest.clone());
        StraightThrough {
            codebook: (codes.clone() - fixed.clone()).square().mean(),
            commitment: (codes.clone().detach() - z.clone()).square().mean(),
            codes: z + (codes.detach() - fixed),
            nearest,
        }
    }

    /// The mean entropy of each position's choice less the entropy of the mean choice (`compute_entropy_loss`, unweighted):
    /// low where each position is sure and all codes are used. Unit vectors `z`, `[positions, codebook_embed_dim]`, to `[1]`.
    pub fn entropy(&self, z: Tensor<2>) -> Tensor<1> {
        let codes = self.codebook();
        let lengths = z.clone().square().sum_dim(1) + codes.clone().square().sum_dim(1).transpose();
        let affinity = (z.matmul(codes.transpose()) * 2.0 - lengths) / ENTROPY_TEMPERATURE;
        let log_chances = log_softmax(affinity, 1);
        let chances = log_chances.clone().exp();
        let mean = chances.clone().mean_dim(0);
        let of_mean = (mean.clone() * (mean + 1e-5).log()).sum();
        of_mean - (chances * log_chances).sum_dim(1).mean()
    }
}

/// The whole tokenizer's weights (`VQModel`).
#[derive(Module, Debug)]
pub struct VqModel {
    /// Pictures to features.
    pub encoder: Encoder,
    /// Features to pictures.
    pub decoder: Decoder,
    /// The codebook.
    pub quantize: VectorQuantizer,
    /// Features to code space, 1×1.
    pub quant_conv: Conv2d,
    /// Code space to features, 1×1.
    pub post_quant_conv: Conv2d,
}

impl VqModel {
    /// Fresh weights; the codebook is uniform in ±1/size as published.
    pub fn new(config: &VqConfig, device: &Device) -> Self {
        let bound = 1.0 / config.codebook_size as f64;
        let codes = EmbeddingConfig::new(config.codebook_size, config.codebook_embed_dim)
            .with_initializer(Initializer::Uniform { min: -bound, max: bound });
        Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quantize: VectorQuantizer { embedding: codes.init(device) },
            quant_conv: conv1x1(config.z_channels, config.codebook_embed_dim, device),
            post_quant_conv: conv1x1(config.codebook_embed_dim, config.z_channels, device),
        }
    }

    /// Lets the `skipped` finest levels pass on what comes, until they learn.
    pub(crate) fn pass_finest(&mut self, skipped: usize) {
        for level in &mut self.encoder.conv_blocks[..skipped] {
            level.res.iter_mut().for_each(ResBlock::pass);
            level.downsample.iter_mut().for_each(Resample::pass);
        }
        let finest = self.decoder.conv_blocks.len() - skipped;
        self.decoder.conv_blocks[finest - 1].upsample.iter_mut().for_each(Resample::pass);
        for level in &mut self.decoder.conv_blocks[finest..] {
            level.res.iter_mut().for_each(ResBlock::pass);
            level.upsample.iter_mut().for_each(Resample::pass);
        }
    }

    /// Unit vectors in code space, before the lookup: `[batch, 3, height, width]` to `[batch * rows * cols, dim]`, and
    /// `[batch, rows, cols]`.
    pub fn encode_continuous(&self, pixels: Tensor<4>) -> (Tensor<2>, [usize; 3]) {
        self.encode_without(0, pixels)
    }

    /// The same without the encoder's `skipped` finest levels, for pictures whose sides are so many times halved.
    pub(crate) fn encode_without(&self, skipped: usize, pixels: Tensor<4>) -> (Tensor<2>, [usize; 3]) {
        let z = self.quant_conv.forward(self.encoder.forward_without(skipped, pixels));
        let [batch, dim, rows, cols] = z.dims();
        let z = z.permute([0, 2, 3, 1]).reshape([batch * rows * cols, dim]);
        (l2_normalise(z), [batch, rows, cols])
    }

    /// The picture of vectors in code space: `[batch * rows * cols, dim]` to `[batch, 3, height, width]`.
    pub fn decode_continuous(&self, codes: Tensor<2>, grid: [usize; 3]) -> Tensor<4> {
        self.decoder.forward(self.features(codes, grid))
    }

    /// What the decoder reads: `[batch * rows * cols, dim]` to `[batch, z_channels, rows, cols]`.
    pub(crate) fn features(&self, codes: Tensor<2>, [batch, rows, cols]: [usize; 3]) -> Tensor<4> {
        let dim = codes.dims()[1];
        let codes = codes.reshape([batch, rows, cols, dim]).permute([0, 3, 1, 2]);
        self.post_quant_conv.forward(codes)
    }

    /// Codes of pictures: `[batch, 3, height, width]` to `[batch, rows * cols]` in raster order.
    pub fn encode(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        let (z, [batch, rows, cols]) = self.encode_continuous(pixels);
        self.quantize.nearest(z).reshape([batch, rows * cols])
    }

    /// Pictures of codes: `[batch, rows * cols]` to `[batch, 3, height, width]`, samples about -1..1.
    pub fn decode(&self, codes: Tensor<2, Int>, rows: usize, cols: usize) -> Tensor<4> {
        let [batch, sites] = codes.dims();
        let rows_of_book = self.quantize.codebook().select(0, codes.reshape([batch * sites]));
        self.decode_continuous(rows_of_book, [batch, rows, cols])
    }
}

impl GridCodes for VqModel {
    fn codes_of(&self, pixels: Tensor<4>) -> Tensor<2, Int> {
        self.encode(pixels)
    }

    fn pixels_of(&self, codes: Tensor<2, Int>, grid: Grid) -> Tensor<4> {
        self.decode(codes, grid.rows, grid.cols)
    }
}

/// The tokenizer behind the seam.
pub type LlamaGenVq = GridTokenizer<VqModel>;

/// LlamaGen's tokenizers for the registry.
pub const FAMILY: TokenizerFamily = TokenizerFamily {
    name: "LlamaGen VQ",
    build: |config, weights, device| {
        let config: VqConfig = configuration(config)?;
        config.check()?;
        let model = weights.fill(VqModel::new(&config, device), &VQ_KEYS)?;
        Ok(Box::new(LlamaGenVq::new(model, config.stride(), config.codebook_size, device)))
    },
    presets: || vec![("VQ-16", to_value(&VqConfig::vq_16())), ("VQ-8", to_value(&VqConfig::vq_8()))],
    recognise,
    published_in: "vq_ds16_c2i.pt",
};

/// The tokenizer by its tensors, whose number of levels is that of halvings.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let encoder = levels(manifest, ch, "encoder.conv_blocks.", "res.0.conv1")?;
    let mut decoder = levels(manifest, ch, "decoder.conv_blocks.", "res.0.conv1")?;
    decoder.reverse();
    let blocks = manifest.count("encoder.conv_blocks.0.res.");
    let [codes, code] = *manifest.shape("quantize.embedding.weight")? else { return None };
    let z = manifest.axis("quant_conv.weight", 1)?;
    let mut layout = Layout::default();
    let attention = |layout: &mut Layout, name: &str, width: usize| {
        layout.norm(&format!("{name}.norm"), width);
        ["q", "k", "v", "proj_out"].iter().for_each(|part| layout.conv(&format!("{name}.{part}"), width, width, 1));
    };
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, true);
        if inputs != outputs {
            layout.conv(&format!("{name}.nin_shortcut"), outputs, inputs, 1);
        }
    };
    let mid = |layout: &mut Layout, name: &str, width: usize| {
        block(layout, &format!("{name}.mid.0"), width, width);
        attention(layout, &format!("{name}.mid.1"), width);
        block(layout, &format!("{name}.mid.2"), width, width);
    };
    let deepest = encoder.len() - 1;
    let mut width = ch;
    layout.conv("encoder.conv_in", ch, 3, 3);
    for (level, mult) in encoder.iter().enumerate() {
        let name = format!("encoder.conv_blocks.{level}");
        for index in 0..blocks {
            block(&mut layout, &format!("{name}.res.{index}"), width, ch * mult);
            width = ch * mult;
            if level == deepest {
                attention(&mut layout, &format!("{name}.attn.{index}"), width);
            }
        }
        if level < deepest {
            layout.conv(&format!("{name}.downsample.conv"), width, width, 3);
        }
    }
    mid(&mut layout, "encoder", width);
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 3);
    layout.weight("quantize.embedding", &[codes, code]);
    layout.conv("quant_conv", code, z, 1);
    layout.conv("post_quant_conv", z, code, 1);
    width = ch * decoder.last()?;
    layout.conv("decoder.conv_in", width, z, 3);
    mid(&mut layout, "decoder", width);
    for (index, mult) in decoder.iter().rev().enumerate() {
        let name = format!("decoder.conv_blocks.{index}");
        for part in 0..=blocks {
            block(&mut layout, &format!("{name}.res.{part}"), width, ch * mult);
            width = ch * mult;
            if index == 0 {
                attention(&mut layout, &format!("{name}.attn.{part}"), width);
            }
        }
        if index + 1 < decoder.len() {
            layout.conv(&format!("{name}.upsample.conv"), width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    let stride = 1 << (decoder.len() - 1);
    let config = VqConfig {
        ch,
        encoder_ch_mult: encoder,
        decoder_ch_mult: decoder,
        num_res_blocks: blocks,
        z_channels: z,
        codebook_size: codes,
        codebook_embed_dim: code,
    };
    Some(Recognised {
        family: FAMILY.name,
        size: if ch == 128 { stride.to_string() } else { format!("{stride}-ch{ch}") },
        config: to_value(&config),
        layout,
        leftovers: VQ_KEYS.leftovers,
        licence: "MIT",
        role: Role::Tokenizer { codes, stride, per_pixel: 4 * ch as u64 },
    })
}
