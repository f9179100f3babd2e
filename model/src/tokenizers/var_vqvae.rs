//! VAR's multi-scale VQVAE (Tian et al., arXiv 2404.02905, §3.2, algorithms 1 and 2).
//!
//! Published code: `FoundationVision/VAR`, `models/vqvae.py`, `basic_vae.py` and `quant.py`. A VQGAN's encoder and decoder
//! around a residual quantiser: each scale takes what the coarser ones left over, shrinks it to `p × p`, looks it up in
//! the one codebook, enlarges the codes to the full map and smooths them with φ. The sum over scales, `f_hat`, is what
//! the decoder sees; after each scale it is a whole picture already, from blurred to sharp.
//!
//! Shrinking (`area`) and enlarging (`bicubic`) are linear in rows and in columns. They are written as one small matrix
//! for each, the same on every device. Field names are the published state dict's keys. Of the published variants of φ it
//! has the released one, a few φ shared among the scales (`PhiPartiallyShared`); the codebook is used as it is
//! (`using_znorm` false).

use burn::module::Module;
use burn::nn::{Embedding, EmbeddingConfig, GroupNorm};
use burn::prelude::*;
use burn::tensor::Int;
use serde::{Deserialize, Serialize};

use super::TokenizerFamily;
use super::layers::{GROUPS, ResBlock, Resample, attend_over_map, conv1x1, conv3x3, group_norm};
use crate::checkpoint::KeyMap;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role, levels};
use crate::kernels::{Conv2d, group_norm_silu, group_normed};
use crate::lattice::{Grid, Lattice, Token};
use crate::networks::{configuration, to_value};
use crate::tokenizer::{Tokenizer, to_codes, to_tokens};
use crate::{Error, Result};

/// The tokenizer's keys; `ema_vocab_hit_SV` is a usage counter of training.
pub const VQVAE_KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: &["ema_vocab_hit_SV"] };

/// The same file's keys when the quantiser alone is wanted.
pub const QUANTIZER_KEYS: KeyMap = KeyMap {
    to_ours: None,
    to_published: None,
    leftovers: &["ema_vocab_hit_SV", "encoder.", "decoder.", "quant_conv."],
};

/// VAR's tokenizer for the registry.
pub const FAMILY: TokenizerFamily = TokenizerFamily {
    name: "VAR VQVAE",
    build: |config, weights, device| {
        let config: VqVaeConfig = configuration(config)?;
        config.check()?;
        let model = weights.fill(VqVae::new(&config, device), &VQVAE_KEYS)?;
        Ok(Box::new(VarVqVae::new(model, config, device)))
    },
    presets: || {
        let published = [("256", &PATCH_NUMS_256), ("512", &PATCH_NUMS_512)];
        published.map(|(name, sides)| (name, to_value(&VqVaeConfig::published(sides)))).to_vec()
    },
    recognise,
    published_in: "vae_ch160v4096z32.pth",
};

/// The tokenizer by its tensors: attention after each block of the last level, and φ.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let shared = Some(manifest.count("quantize.quant_resi.qresi_ls.")).filter(|shared| *shared > 0)?;
    let ch = manifest.axis("encoder.conv_in.weight", 0)?;
    let mults = levels(manifest, ch, "encoder.down.", "block.0.conv1")?;
    let blocks = manifest.count("encoder.down.0.block.");
    let [codes, z] = *manifest.shape("quantize.embedding.weight")? else { return None };
    let mut layout = Layout::default();
    let attention = |layout: &mut Layout, name: &str, width: usize| {
        layout.norm(&format!("{name}.norm"), width);
        layout.conv(&format!("{name}.qkv"), 3 * width, width, 1);
        layout.conv(&format!("{name}.proj_out"), width, width, 1);
    };
    let block = |layout: &mut Layout, name: &str, inputs: usize, outputs: usize| {
        layout.res_block(name, inputs, outputs, true);
        if inputs != outputs {
            layout.conv(&format!("{name}.nin_shortcut"), outputs, inputs, 1);
        }
    };
    let mid = |layout: &mut Layout, name: &str, width: usize| {
        block(layout, &format!("{name}.mid.block_1"), width, width);
        attention(layout, &format!("{name}.mid.attn_1"), width);
        block(layout, &format!("{name}.mid.block_2"), width, width);
    };
    let last = mults.len() - 1;
    let mut width = ch;
    layout.conv("encoder.conv_in", ch, 3, 3);
    for (level, mult) in mults.iter().enumerate() {
        let name = format!("encoder.down.{level}");
        for index in 0..blocks {
            block(&mut layout, &format!("{name}.block.{index}"), width, ch * mult);
            width = ch * mult;
            if level == last {
                attention(&mut layout, &format!("{name}.attn.{index}"), width);
            }
        }
        if level < last {
            layout.conv(&format!("{name}.downsample.conv"), width, width, 3);
        }
    }
    mid(&mut layout, "encoder", width);
    layout.norm("encoder.norm_out", width);
    layout.conv("encoder.conv_out", z, width, 3);
    layout.conv("quant_conv", z, z, 3);
    layout.conv("post_quant_conv", z, z, 3);
    layout.weight("quantize.embedding", &[codes, z]);
    (0..shared).for_each(|index| layout.conv(&format!("quantize.quant_resi.qresi_ls.{index}"), z, z, 3));
    layout.conv("decoder.conv_in", width, z, 3);
    mid(&mut layout, "decoder", width);
    for (level, mult) in mults.iter().enumerate().rev() {
        let name = format!("decoder.up.{level}");
        for index in 0..=blocks {
            block(&mut layout, &format!("{name}.block.{index}"), width, ch * mult);
            width = ch * mult;
            if level == last {
                attention(&mut layout, &format!("{name}.attn.{index}"), width);
            }
        }
        if level > 0 {
            layout.conv(&format!("{name}.upsample.conv"), width, width, 3);
        }
    }
    layout.norm("decoder.norm_out", width);
    layout.conv("decoder.conv_out", 3, width, 3);
    // The scales are the generator's; a tokenizer on its own gets those of 256 pixels.
    let scales = manifest.axis("quantize.ema_vocab_hit_SV", 0).unwrap_or(10);
    let sides = if scales == 10 { PATCH_NUMS_256.into() } else { (1..=scales.min(64)).collect() };
    let stride = 1 << last;
    let config = VqVaeConfig {
        ch,
        ch_mult: mults,
        num_res_blocks: blocks,
        z_channels: z,
        vocab_size: codes,
        share_quant_resi: shared,
        v_patch_nums: sides,
    };
    Some(Recognised {
        family: FAMILY.name,
        size: format!("ch{ch}v{codes}z{z}"),
        config: to_value(&config),
        layout,
        leftovers: VQVAE_KEYS.leftovers,
        licence: "MIT",
        role: Role::Tokenizer { codes, stride, per_pixel: 4 * ch as u64 },
    })
}

/// Sizes of the tokenizer; the names are those of `vqvae.py`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VqVaeConfig {
    /// Channels at full resolution.
    pub ch: usize,
    /// Channels of the levels, from fine to coarse, as multiples of `ch`.
    pub ch_mult: Vec<usize>,
    /// Residual blocks per level of the encoder; the decoder has one more.
    pub num_res_blocks: usize,
    /// Channels of a code and of the maps around the quantiser.
    pub z_channels: usize,
    /// Number of codes.
    pub vocab_size: usize,
    /// Number of φ that the scales share.
    pub share_quant_resi: usize,
    /// Sides of the scales in tokens, from coarse to fine.
    pub v_patch_nums: Vec<usize>,
}

/// Sides of the scales for pictures of 256 × 256 pixels (`var.py`, `vqvae.py`).
pub const PATCH_NUMS_256: [usize; 10] = [1, 2, 3, 4, 5, 6, 8, 10, 13, 16];
/// Sides of the scales for pictures of 512 × 512 pixels (VAR-d36).
pub const PATCH_NUMS_512: [usize; 10] = [1, 2, 3, 4, 6, 9, 13, 18, 24, 32];

/// The share of a φ's convolution in its output; the rest passes unchanged (`vqvae.py`, `quant_resi`).
const QUANT_RESI: f64 = 0.5;
/// The weight of the commitment loss in training (`vqvae.py`, `beta`).
const BETA: f64 = 0.25;

impl VqVaeConfig {
    /// The published tokenizer (`vae_ch160v4096z32.pth`) for pictures whose scales have these sides.
    pub fn published(patch_nums: &[usize]) -> Self {
        Self {
            ch: 160,
            ch_mult: vec![1, 1, 2, 2, 4],
            num_res_blocks: 2,
            z_channels: 32,
            vocab_size: 4096,
            share_quant_resi: 4,
            v_patch_nums: patch_nums.into(),
        }
    }

    /// Pixels along each side of a token of the finest scale.
    pub fn stride(&self) -> usize {
        1 << (self.ch_mult.len() - 1)
    }

    /// The scales, from coarse to fine.
    pub fn scales(&self) -> Vec<Grid> {
        self.v_patch_nums.iter().map(|side| Grid::new(*side, *side)).collect()
    }

    /// How many of the finest levels can be left out in training: those that have the channels of full resolution.
    pub(crate) fn most_skipped(&self) -> usize {
        self.ch_mult.iter().take_while(|mult| **mult == 1).count().saturating_sub(1)
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let sizes = [self.num_res_blocks, self.z_channels, self.vocab_size, self.share_quant_resi];
        let cause = if self.ch_mult.is_empty() || self.ch_mult.len() > 8 || self.ch_mult.contains(&0) {
            "ch_mult must have 1 to 8 levels, each of at least 1"
        } else if self.ch == 0 || !self.ch.is_multiple_of(GROUPS) {
            "ch must be a multiple of 32, the number of groups of its norms"
        } else if sizes.contains(&0) {
            "every size must be at least 1"
        } else {
            return check_patch_nums(&self.v_patch_nums);
        };
        Err(Error::control("tokenizer configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// Refuses scales that do not grow from scale to scale, or are more tokens than a network of this kind can hold.
pub(crate) fn check_patch_nums(sides: &[usize]) -> Result<()> {
    let grows = sides.windows(2).all(|pair| pair[0] < pair[1]);
    if grows && sides.len() >= 2 && sides[0] > 0 && sides.iter().all(|side| *side <= 256) {
        return Ok(());
    }
    let cause = "patch_nums must be at least two sides that grow from scale to scale, up to 256 tokens";
    Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"))
}

/// Attention of one head over all positions (`AttnBlock`).
#[derive(Module, Debug)]
pub struct AttnBlock {
    norm: GroupNorm,
    qkv: Conv2d,
    proj_out: Conv2d,
}

impl AttnBlock {
    fn new(channels: usize, device: &Device) -> Self {
        Self {
            norm: group_norm(channels, device),
            qkv: conv1x1(channels, 3 * channels, device),
            proj_out: conv1x1(channels, channels, device),
        }
    }

    /// `[batch, channels, height, width]`
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let channels = x.dims()[1];
        let qkv = self.qkv.forward(group_normed(&self.norm, x.clone()));
        let qkv = [0, 1, 2].map(|part| qkv.clone().narrow(1, part * channels, channels));
        x + self.proj_out.forward(attend_over_map(qkv))
    }
}

/// The middle of encoder and decoder: block, attention, block.
#[derive(Module, Debug)]
pub struct Middle {
    block_1: ResBlock,
    attn_1: AttnBlock,
    block_2: ResBlock,
}

impl Middle {
    fn new(channels: usize, device: &Device) -> Self {
        let block = || ResBlock::new(channels, channels, device);
        Self { block_1: block(), attn_1: AttnBlock::new(channels, device), block_2: block() }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        self.block_2.forward(self.attn_1.forward(self.block_1.forward(x)))
    }
}

/// One resolution of the encoder or the decoder.
#[derive(Module, Debug)]
pub struct Level {
    block: Vec<ResBlock>,
    attn: Vec<AttnBlock>,
    downsample: Option<Resample>,
    upsample: Option<Resample>,
}

impl Level {
    /// `count` residual blocks and, on the deepest level, as many attentions.
    fn new(inputs: usize, outputs: usize, count: usize, deepest: bool, device: &Device) -> Self {
        let block = (0..count).map(|index| ResBlock::new(if index == 0 { inputs } else { outputs }, outputs, device));
        let attn = (0..if deepest { count } else { 0 }).map(|_| AttnBlock::new(outputs, device));
        Self { block: block.collect(), attn: attn.collect(), downsample: None, upsample: None }
    }

    /// Each block, followed by its attention where the level has any.
    fn blocks(&self, mut x: Tensor<4>) -> Tensor<4> {
        for (index, block) in self.block.iter().enumerate() {
            x = block.forward(x);
            if let Some(attn) = self.attn.get(index) {
                x = attn.forward(x);
            }
        }
        x
    }

    /// Passes on what comes, until it learns.
    fn pass(&mut self) {
        self.block.iter_mut().for_each(ResBlock::pass);
        self.downsample.iter_mut().chain(&mut self.upsample).for_each(Resample::pass);
    }

    /// The blocks, then the change of resolution.
    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let x = self.blocks(x);
        match (&self.downsample, &self.upsample) {
            (Some(down), _) => down.halve(x),
            (_, Some(up)) => up.double(x),
            _ => x,
        }
    }
}

/// From pictures to features.
#[derive(Module, Debug)]
pub struct Encoder {
    conv_in: Conv2d,
    down: Vec<Level>,
    mid: Middle,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Encoder {
    fn new(config: &VqVaeConfig, device: &Device) -> Self {
        let mut channels = config.ch;
        let last = config.ch_mult.len() - 1;
        let mut down = Vec::new();
        for (index, mult) in config.ch_mult.iter().enumerate() {
            let outputs = config.ch * mult;
            let mut level = Level::new(channels, outputs, config.num_res_blocks, index == last, device);
            level.downsample = (index < last).then(|| Resample::halving(outputs, device));
            down.push(level);
            channels = outputs;
        }
        Self {
            conv_in: conv3x3(3, config.ch, device),
            down,
            mid: Middle::new(channels, device),
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
        let x = self.down[skipped..].iter().fold(self.conv_in.forward(pixels), |x, level| level.forward(x));
        self.conv_out.forward(group_norm_silu(&self.norm_out, self.mid.forward(x)))
    }
}

/// From features to pictures.
#[derive(Module, Debug)]
pub struct Decoder {
    conv_in: Conv2d,
    mid: Middle,
    /// From the finest resolution to the coarsest, as published; run from the last to the first.
    up: Vec<Level>,
    norm_out: GroupNorm,
    conv_out: Conv2d,
}

impl Decoder {
    fn new(config: &VqVaeConfig, device: &Device) -> Self {
        let last = config.ch_mult.len() - 1;
        let channels = |level: usize| config.ch * config.ch_mult[level];
        let level = |index: usize| {
            let inputs = channels((index + 1).min(last));
            let count = config.num_res_blocks + 1;
            let mut level = Level::new(inputs, channels(index), count, index == last, device);
            level.upsample = (index > 0).then(|| Resample::doubling(channels(index), device));
            level
        };
        Self {
            conv_in: conv3x3(config.z_channels, channels(last), device),
            mid: Middle::new(channels(last), device),
            up: (0..=last).map(level).collect(),
            norm_out: group_norm(channels(0), device),
            conv_out: conv3x3(channels(0), 3, device),
        }
    }

    /// `[batch, z_channels, rows, cols]` to `[batch, 3, rows * stride, cols * stride]`.
    pub fn forward(&self, features: Tensor<4>) -> Tensor<4> {
        self.conv_out.forward(self.before_last(0, features))
    }

    /// What the last convolution reads, without the `skipped` finest levels:
    /// `[batch, ch * ch_mult[0], rows * stride, cols * stride]`, the sides so many times halved.
    pub(crate) fn before_last(&self, skipped: usize, features: Tensor<4>) -> Tensor<4> {
        let x = self.mid.forward(self.conv_in.forward(features));
        let x = self.up[skipped + 1..].iter().rev().fold(x, |x, level| level.forward(x));
        let x = self.up[skipped].blocks(x);
        group_norm_silu(&self.norm_out, x)
    }

    /// The last convolution.
    pub(crate) fn last(&self) -> &Conv2d {
        &self.conv_out
    }
}

/// A linear map from the samples of one side to those of another: `[from, to]`, one column per sample it makes.
type SideMap = fn(usize, usize) -> Vec<f32>;

/// Resizes `x`, `[batch, channels, rows, cols]`, with the same map along rows and columns.
fn resized(x: Tensor<4>, to: Grid, map: SideMap) -> Tensor<4> {
    let [_, _, rows, cols] = x.dims();
    if (rows, cols) == (to.rows, to.cols) {
        return x;
    }
    let device = x.device();
    let matrix = |from: usize, to: usize| -> Tensor<4> {
        Tensor::<2>::from_data(TensorData::new(map(from, to), [from, to]), &device).unsqueeze()
    };
    matrix(rows, to.rows).swap_dims(2, 3).matmul(x.matmul(matrix(cols, to.cols)))
}

/// Averages over bins that may differ in size and overlap (`F.interpolate(mode="area")`, which is adaptive average
/// pooling): sample `i` is the mean of the samples from `⌊i · from / to⌋` to `⌈(i + 1) · from / to⌉`.
fn area(from: usize, to: usize) -> Vec<f32> {
    let mut matrix = vec![0.0; from * to];
    for i in 0..to {
        let bin = i * from / to..((i + 1) * from).div_ceil(to);
        bin.clone().for_each(|sample| matrix[sample * to + i] = 1.0 / bin.len() as f32);
    }
    matrix
}

/// Cubic convolution with a = -0.75 between sample centres, the border repeated, no smoothing when it shrinks
/// (`F.interpolate(mode="bicubic", align_corners=False)`).
fn bicubic(from: usize, to: usize) -> Vec<f32> {
    const A: f32 = -0.75;
    let near = |x: f32| ((A + 2.0) * x - (A + 3.0)) * x * x + 1.0;
    let far = |x: f32| ((A * x - 5.0 * A) * x + 8.0 * A) * x - 4.0 * A;
    let mut matrix = vec![0.0; from * to];
    for i in 0..to {
        let centre = from as f32 / to as f32 * (i as f32 + 0.5) - 0.5;
        let first = centre.floor();
        let past = centre - first;
        for (tap, weight) in [far(past + 1.0), near(past), near(1.0 - past), far(2.0 - past)].into_iter().enumerate() {
            let sample = (first as isize + tap as isize - 1).clamp(0, from as isize - 1) as usize;
            matrix[sample * to + i] += weight;
        }
    }
    matrix
}

/// Which φ a scale uses (`quant.py`, `PhiPartiallyShared`): the one whose tick, of `layers` spread evenly over 0 to 1, is
/// nearest to `scale / (scales - 1)`.
///
/// With four layers several scales lie exactly between two ticks, and the last bit of the published arithmetic decides;
/// the published numbers of scales therefore stand here as tables.
pub fn phi_index(scale: usize, scales: usize, layers: usize) -> usize {
    let table: &[usize] = match (layers, scales) {
        (4, 4) => &[0, 1, 2, 3],
        (4, 5) => &[0, 1, 2, 2, 3],
        (4, 10) => &[0, 0, 1, 1, 1, 2, 2, 3, 3, 3],
        (4, 14) => &[0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2, 3, 3, 3],
        _ => &[],
    };
    if let Some(index) = table.get(scale) {
        return *index;
    }
    let margin = if layers == 4 { 1.0 / 3.0 } else { 1.0 / 2.0 } / layers as f64;
    let step = (1.0 - 2.0 * margin) / (layers - 1).max(1) as f64;
    let place = scale as f64 / (scales - 1).max(1) as f64;
    let distance = |layer: usize| (margin + step * layer as f64 - place).abs();
    (0..layers).min_by(|a, b| distance(*a).total_cmp(&distance(*b))).unwrap_or(0)
}

/// The convolutions that smooth enlarged codes (`PhiPartiallyShared`).
#[derive(Module, Debug)]
pub struct QuantResi {
    qresi_ls: Vec<Conv2d>,
}

/// The residual quantiser over scales (`VectorQuantizer2`). Scales are grids from coarse to fine; the last is the map's
/// own.
#[derive(Module, Debug)]
pub struct MultiScaleQuantizer {
    /// `[vocab_size, z_channels]`
    pub embedding: Embedding,
    quant_resi: QuantResi,
}

impl MultiScaleQuantizer {
    /// Fresh weights.
    pub fn new(config: &VqVaeConfig, device: &Device) -> Self {
        let phi = || conv3x3(config.z_channels, config.z_channels, device);
        Self {
            embedding: EmbeddingConfig::new(config.vocab_size, config.z_channels).init(device),
            quant_resi: QuantResi { qresi_ls: (0..config.share_quant_resi).map(|_| phi()).collect() },
        }
    }

    /// Codes of tokens: `[batch, sites]` to `[batch, sites, z_channels]`.
    pub fn lookup(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.embedding.forward(tokens)
    }

    /// The nearest tokens of a map, `[batch, z_channels, rows, cols]`, in Euclid's sense: `[batch, rows * cols]`.
    pub fn nearest(&self, map: Tensor<4>) -> Tensor<2, Int> {
        let [batch, channels, rows, cols] = map.dims();
        let z = map.permute([0, 2, 3, 1]).reshape([batch * rows * cols, channels]);
        let codes = self.embedding.weight.val().detach();
        // |z - e|² without |z|², which is the same for every code.
        let lengths: Tensor<2> = codes.clone().square().sum_dim(1).transpose();
        (lengths - z.matmul(codes.transpose()) * 2.0).argmin(1).reshape([batch, rows * cols])
    }

    /// Codes of a scale, `[batch, sites, z_channels]`, enlarged to the last scale: `[batch, z_channels, rows, cols]`.
    pub fn enlarged(&self, codes: Tensor<3>, scale: usize, scales: &[Grid]) -> Tensor<4> {
        let [batch, _, channels] = codes.dims();
        let map = codes.swap_dims(1, 2).reshape([batch, channels, scales[scale].rows, scales[scale].cols]);
        resized(map, scales[scales.len() - 1], bicubic)
    }

    /// What a scale adds to `f_hat`: its codes, `[batch, sites, z_channels]`, enlarged and smoothed with its φ.
    /// `[batch, z_channels, rows, cols]`
    pub fn contribution(&self, codes: Tensor<3>, scale: usize, scales: &[Grid]) -> Tensor<4> {
        let h = self.enlarged(codes, scale, scales);
        let phi = &self.quant_resi.qresi_ls[phi_index(scale, scales.len(), self.quant_resi.qresi_ls.len())];
        h.clone() * (1.0 - QUANT_RESI) + phi.forward(h) * QUANT_RESI
    }

    /// A map shrunk to a scale, `[batch, z_channels, rows, cols]`.
    pub fn shrunk(&self, map: Tensor<4>, to: Grid) -> Tensor<4> {
        resized(map, to, area)
    }

    /// What the transformer reads at a scale, given `f_hat` after the coarser ones: `[batch, sites, z_channels]`.
    pub fn input(&self, f_hat: Tensor<4>, to: Grid) -> Tensor<3> {
        let [batch, channels, _, _] = f_hat.dims();
        self.shrunk(f_hat, to).reshape([batch, channels, to.len()]).swap_dims(1, 2)
    }

    /// Tokens of features at every scale (algorithm 1): `[batch, z_channels, rows, cols]` to `[batch, sites]` per scale.
    pub fn encode(&self, features: Tensor<4>, scales: &[Grid]) -> Vec<Tensor<2, Int>> {
        let mut rest = features;
        let mut tokens = Vec::new();
        for (scale, grid) in scales.iter().enumerate() {
            let found = self.nearest(self.shrunk(rest.clone(), *grid));
            rest = rest - self.contribution(self.lookup(found.clone()), scale, scales);
            tokens.push(found);
        }
        tokens
    }

    /// `f_hat` after each scale (algorithm 2): `[batch, sites]` per scale to `[batch, z_channels, rows, cols]` per scale.
    /// Fewer scales than there are may be given, the coarsest first.
    pub fn accumulate(&self, tokens: &[Tensor<2, Int>], scales: &[Grid]) -> Vec<Tensor<4>> {
        let mut sums: Vec<Tensor<4>> = Vec::new();
        for (scale, tokens) in tokens.iter().enumerate() {
            let added = self.contribution(self.lookup(tokens.clone()), scale, scales);
            sums.push(match sums.last() {
                Some(sum) => sum.clone() + added,
                None => added,
            });
        }
        sums
    }

    /// The transformer's input for teacher forcing (`idxBl_to_var_input`): for each scale but the first, `f_hat` after the
    /// coarser ones shrunk to that scale. `[batch, sites of all scales but the first, z_channels]`
    ///
    /// `tokens` are `[batch, sites]` per scale; fewer scales than there are may be given, the coarsest first. The first
    /// alone has no input.
    pub fn var_input(&self, tokens: &[Tensor<2, Int>], scales: &[Grid]) -> Option<Tensor<3>> {
        let (_, coarser) = tokens.split_last()?;
        let sums = self.accumulate(coarser, scales);
        let inputs: Vec<_> = sums.into_iter().zip(&scales[1..]).map(|(sum, grid)| self.input(sum, *grid)).collect();
        (!inputs.is_empty()).then(|| Tensor::cat(inputs, 1))
    }

    /// The quantiser in training (`VectorQuantizer2.forward`); the loss is a mean over the scales.
    /// Features `[batch, z_channels, rows, cols]`.
    pub fn straight_through(&self, features: Tensor<4>, scales: &[Grid]) -> StraightThrough {
        let fixed = features.clone().detach();
        // Both algorithms at once, so that each contribution is computed a single time.
        let (mut rest, mut tokens, mut sums) = (fixed.clone(), Vec::new(), Vec::<Tensor<4>>::new());
        for (scale, grid) in scales.iter().enumerate() {
            let found = self.nearest(self.shrunk(rest.clone(), *grid));
            let added = self.contribution(self.lookup(found.clone()), scale, scales);
            rest = rest - added.clone().detach();
            sums.push(sums.last().map_or(added.clone(), |sum| sum.clone() + added));
            tokens.push(found);
        }
        let mean_square = |difference: Tensor<4>| difference.square().mean();
        let losses = sums.iter().map(|sum| {
            let commitment = mean_square(sum.clone().detach() - features.clone());
            commitment * BETA + mean_square(sum.clone() - fixed.clone())
        });
        let loss = Tensor::cat(losses.collect(), 0).mean();
        let f_hat = sums[sums.len() - 1].clone().detach() - fixed + features;
        StraightThrough { f_hat, loss, tokens, sums: sums.into_iter().map(Tensor::detach).collect() }
    }

    /// The vectors that were looked up, of all scales: features `[batch, z_channels, rows, cols]` and the sums over scales
    /// to `[positions, z_channels]`.
    pub(crate) fn looked_up(&self, features: Tensor<4>, sums: &[Tensor<4>], scales: &[Grid]) -> Tensor<2> {
        let channels = features.dims()[1];
        let rests = scales.iter().enumerate().map(|(scale, grid)| {
            let rest = match scale {
                0 => features.clone(),
                _ => features.clone() - sums[scale - 1].clone(),
            };
            self.shrunk(rest, *grid).permute([0, 2, 3, 1]).reshape([-1, channels as i32])
        });
        Tensor::cat(rests.collect(), 0)
    }
}

/// The quantiser in training.
#[derive(Debug)]
pub struct StraightThrough {
    /// The sum over scales through which gradients pass straight to the features, `[batch, z_channels, rows, cols]`.
    pub f_hat: Tensor<4>,
    /// The codebook and commitment loss, `[1]`.
    pub loss: Tensor<1>,
    /// Tokens of every scale, `[batch, sites]`.
    pub tokens: Vec<Tensor<2, Int>>,
    /// The sum after every scale, without gradients, `[batch, z_channels, rows, cols]`.
    pub sums: Vec<Tensor<4>>,
}

/// The whole tokenizer's weights (`VQVAE`).
#[derive(Module, Debug)]
pub struct VqVae {
    /// Pictures to features.
    pub encoder: Encoder,
    /// Features to pictures.
    pub decoder: Decoder,
    /// Features to tokens of all scales and back.
    pub quantize: MultiScaleQuantizer,
    /// Before the quantiser, 3×3.
    pub quant_conv: Conv2d,
    /// After the quantiser, 3×3.
    pub post_quant_conv: Conv2d,
}

impl VqVae {
    /// Fresh weights.
    pub fn new(config: &VqVaeConfig, device: &Device) -> Self {
        let conv = || conv3x3(config.z_channels, config.z_channels, device);
        Self {
            encoder: Encoder::new(config, device),
            decoder: Decoder::new(config, device),
            quantize: MultiScaleQuantizer::new(config, device),
            quant_conv: conv(),
            post_quant_conv: conv(),
        }
    }

    /// Lets the `skipped` finest levels pass on what comes, until they learn.
    pub(crate) fn pass_finest(&mut self, skipped: usize) {
        self.encoder.down[..skipped].iter_mut().chain(&mut self.decoder.up[..skipped]).for_each(Level::pass);
        self.decoder.up[skipped].upsample.iter_mut().for_each(Resample::pass);
    }

    /// Features of pictures: `[batch, 3, height, width]`, samples in -1..1, to `[batch, z_channels, rows, cols]`.
    pub fn features(&self, pixels: Tensor<4>) -> Tensor<4> {
        self.quant_conv.forward(self.encoder.forward(pixels))
    }

    /// The picture of accumulated features, `[batch, z_channels, rows, cols]`: `[batch, 3, height, width]`, samples about
    /// -1..1, not clamped.
    pub fn picture(&self, f_hat: Tensor<4>) -> Tensor<4> {
        self.decoder.forward(self.post_quant_conv.forward(f_hat))
    }

    /// Tokens of pictures at every scale: `[batch, 3, height, width]` to `[batch, sites]` per scale.
    pub fn encode(&self, pixels: Tensor<4>, scales: &[Grid]) -> Vec<Tensor<2, Int>> {
        self.quantize.encode(self.features(pixels), scales)
    }

    /// Pictures in training (`VQVAE.forward`): the reconstruction, not clamped, and the quantiser's loss.
    /// `[batch, 3, height, width]`, `[1]`
    pub fn reconstruct(&self, pixels: Tensor<4>, scales: &[Grid]) -> (Tensor<4>, Tensor<1>) {
        let StraightThrough { f_hat, loss, .. } = self.quantize.straight_through(self.features(pixels), scales);
        (self.picture(f_hat), loss)
    }
}

/// The quantiser of a whole tokenizer's file, which is what VAR needs of it.
#[derive(Module, Debug)]
pub struct QuantizerAlone {
    /// The quantiser.
    pub quantize: MultiScaleQuantizer,
}

impl QuantizerAlone {
    /// Fresh weights.
    pub fn new(config: &VqVaeConfig, device: &Device) -> Self {
        Self { quantize: MultiScaleQuantizer::new(config, device) }
    }
}

/// The tokenizer behind the seam.
pub struct VarVqVae {
    weights: VqVae,
    config: VqVaeConfig,
    device: Device,
}

impl VarVqVae {
    /// Wraps weights.
    pub fn new(weights: VqVae, config: VqVaeConfig, device: &Device) -> Self {
        Self { weights, config, device: device.clone() }
    }
}

impl Tokenizer for VarVqVae {
    fn stride(&self) -> usize {
        self.config.stride()
    }

    fn codes(&self) -> usize {
        self.config.vocab_size
    }

    fn lattice(&self, side: usize) -> Result<Lattice> {
        let lattice = Lattice::of_scales(self.config.scales());
        let own = lattice.finest().rows * self.stride();
        if side == own {
            return Ok(lattice);
        }
        let cause = format!("{side} pixels do not fit its scales");
        Err(Error::control("side", cause, format!("Use {own}")))
    }

    fn encode_batch(&self, pixels: Tensor<4>) -> Result<Vec<Token>> {
        let [_, _, height, width] = pixels.dims();
        let scales = self.config.scales();
        let side = scales[scales.len() - 1].rows * self.stride();
        if [height, width] != [side, side] {
            let cause = format!("{width} × {height} pixels do not fit its scales");
            return Err(Error::control("picture size", cause, format!("Use {side} × {side} pixels")));
        }
        to_tokens(Tensor::cat(self.weights.encode(pixels, &scales), 1))
    }

    fn decode(&self, lattice: &Lattice, tokens: &[Token]) -> Result<Tensor<3>> {
        self.decode_scales(lattice, tokens, lattice.scales().len())
    }

    fn decode_scales(&self, lattice: &Lattice, tokens: &[Token], scales: usize) -> Result<Tensor<3>> {
        let known = |token: &Token| (*token as usize) < self.config.vocab_size;
        let grids = lattice.scales();
        let fits = grids == self.config.scales() && (1..=grids.len()).contains(&scales);
        if !fits || tokens.len() != lattice.len() || !tokens.iter().all(known) {
            let cause = "they do not fill the scales with codes of this tokenizer";
            return Err(Error::control("tokens", cause, "Use the tokenizer they were made with"));
        }
        let of_scale = |scale| {
            let range = lattice.scale(scale);
            to_codes(&tokens[range.start as usize..range.end as usize], &self.device)
        };
        let tokens: Vec<_> = (0..scales).map(of_scale).collect();
        let sums = self.weights.quantize.accumulate(&tokens, grids);
        self.decode_features(sums[scales - 1].clone())
    }

    fn decode_features(&self, features: Tensor<4>) -> Result<Tensor<3>> {
        Ok(self.weights.picture(features).clamp(-1.0, 1.0).squeeze_dim(0))
    }

    fn device(&self) -> &Device {
        &self.device
    }
}
