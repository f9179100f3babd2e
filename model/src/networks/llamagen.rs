//! LlamaGen: a plain Llama that makes pictures row by row (Sun et al., "Autoregressive Model Beats Diffusion: Llama for
//! Scalable Image Generation", arXiv 2406.06525), and the trunk that RandAR and TensorAR stand on.
//!
//! Published code: `FoundationVision/LlamaGen`, `autoregressive/models/gpt.py` and `generate.py`. RMSNorm before each half
//! of a block, SwiGLU, one fused `wqkv` without biases, rotary embeddings in two dimensions, and the class as one more
//! token at the front. A token turns by its own site's angles, and the next site's token is predicted there:
//!
//! ```text
//! [class]  x₀  x₁  …      the prediction for site i is read at slot i
//! ```
//!
//! Class-conditional models only. Field names are the published state dict's keys, so a checkpoint loads without a key
//! map.

use std::ops::Range;

use andamento_shaders::{Heads, Projection, cache_heads};
use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::prelude::*;
use burn::tensor::{DType, Int, s};
use serde::{Deserialize, Serialize};

use super::{Family, Preset, configuration, to_value};
use crate::bench::Work;
use crate::checkpoint::LLAMAGEN_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role};
use crate::kernels::{attention, cross_entropy, rms_normed, rotated, swiglu};
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{Abilities, Network, Orders, Pace, Prompt, Spec, check_class, check_tokens, not_begun};
use crate::plan::Visit;
use crate::sample::{Guidance, Sampling};
use crate::schedule::Schedule;
use crate::tokenizer::to_codes;
use crate::{Error, Result};

/// The published models: their sizes (`gpt.py`, `GPT_models`; 111 M, 343 M, 775 M, 1.4 B and 3.1 B parameters) and the
/// tokens along each side of their pictures, 16 for 256 pixels and 24 for 384. The weights alone do not show which.
pub const PRESETS: [(&str, TransformerConfig, usize); 7] = [
    ("B-256", preset(768, 12, 12), 16),
    ("B-384", preset(768, 12, 12), 24),
    ("L-256", preset(1024, 24, 16), 16),
    ("L-384", preset(1024, 24, 16), 24),
    ("XL-384", preset(1280, 36, 20), 24),
    ("XXL-384", preset(1536, 48, 24), 24),
    ("3B-384", preset(3200, 24, 32), 24),
];

/// A model on ImageNet's classes and the codes of LlamaGen's tokenizer.
pub(crate) const fn preset(dim: usize, n_layer: usize, n_head: usize) -> TransformerConfig {
    TransformerConfig {
        dim,
        n_layer,
        n_head,
        vocab_size: 16_384,
        num_classes: 1000,
        multiple_of: 256,
        norm_eps: 1e-5,
        rope_base: 10_000.0,
    }
}

/// What LlamaGen can be asked to do.
pub const ABILITIES: Abilities = Abilities {
    orders: Orders::Only { order: "raster", reason: "LlamaGen learned to read pictures row by row" },
    pace: Pace::Fixed { schedule: Schedule::OneByOne, reason: "LlamaGen predicts one token after the other" },
    smooth: Err("Only next-scale models mix codes"),
    scales: 1,
};

/// LlamaGen for the registry. Guidance and sampling are those of the published demonstration (`sample_c2i.py`).
pub const FAMILY: Family = Family {
    name: "LlamaGen",
    paper: "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation (arXiv 2406.06525)",
    abilities: |_| Ok(ABILITIES),
    build: |parts| {
        let config: TransformerConfig = configuration(parts.config)?;
        config.check()?;
        let weights = parts.weights.fill(Trunk::new(&config, parts.device), &LLAMAGEN_KEYS)?;
        Ok(Box::new(LlamaGenNetwork::new(weights, config, parts.grid, parts.device)))
    },
    presets: || {
        let published = PRESETS.iter().map(|(name, config, grid)| Preset {
            name,
            config: to_value(config),
            grid: *grid,
            side: 16 * *grid as u32,
            tokenizer: ("LlamaGen VQ", "VQ-16"),
            steps: grid * grid,
            guidance: Guidance::constant(4.0),
            sampling: Sampling { top_k: 2000, ..Sampling::default() },
        });
        published.collect()
    },
    cost: |config, plan, step, streams| {
        let config: TransformerConfig = configuration(config)?;
        Ok(config.raster_work(&plan.visits[step], streams).cost())
    },
    recognise,
};

/// LlamaGen by its tensors; RandAR adds `pos_instruct_embeddings` to the same.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let (config, layout) = recognise_transformer(manifest)?;
    if manifest.tensors.contains_key("pos_instruct_embeddings") {
        return None;
    }
    // The tensors leave the resolution open, the published names do not: `c2i_B_256.pt`, `c2i_B_384.pt`. From XL on
    // only models for 384 pixels were published.
    let grid = match (manifest.file.contains("256"), manifest.file.contains("384")) {
        (true, false) => 16,
        (false, true) => 24,
        _ if config.dim >= 1280 => 24,
        _ => 16,
    };
    let published = PRESETS.iter().find(|(_, published, of)| *published == config && *of == grid);
    let sequence = (grid * grid + 1) as u64;
    Some(Recognised {
        family: FAMILY.name,
        size: published.map_or_else(|| format!("{}x{}", config.dim, config.n_layer), |(name, ..)| name.to_string()),
        layout,
        leftovers: LLAMAGEN_KEYS.leftovers,
        licence: "MIT",
        role: transformer_role(&config, grid, sequence),
        config: to_value(&config),
    })
}

/// A transformer of LlamaGen's make by its tensors: its sizes, and all tensors that it has.
pub(crate) fn recognise_transformer(manifest: &Manifest) -> Option<(TransformerConfig, Layout)> {
    let [vocab_size, dim] = *manifest.shape("tok_embeddings.weight")? else { return None };
    let num_classes = manifest.axis("cls_embedding.embedding_table.weight", 0)?.checked_sub(1)?;
    let hidden = manifest.axis("layers.0.feed_forward.w1.weight", 0)?;
    let config = TransformerConfig {
        dim,
        n_layer: manifest.count("layers."),
        n_head: heads(dim),
        vocab_size,
        num_classes,
        multiple_of: multiple_of(dim, hidden)?,
        norm_eps: default_norm_eps(),
        rope_base: default_rope_base(),
    };
    let mut layout = Layout::default();
    layout.weight("tok_embeddings", &[vocab_size, dim]);
    layout.weight("cls_embedding.embedding_table", &[num_classes + 1, dim]);
    (0..config.n_layer).for_each(|layer| block_layout(&mut layout, &format!("layers.{layer}"), dim, hidden));
    layout.weight("norm", &[dim]);
    layout.weight("output", &[vocab_size, dim]);
    Some((config, layout))
}

/// The tensors of one block.
pub(crate) fn block_layout(layout: &mut Layout, name: &str, dim: usize, hidden: usize) {
    layout.weight(&format!("{name}.attention.wqkv"), &[3 * dim, dim]);
    layout.weight(&format!("{name}.attention.wo"), &[dim, dim]);
    layout.weight(&format!("{name}.feed_forward.w1"), &[hidden, dim]);
    layout.weight(&format!("{name}.feed_forward.w3"), &[hidden, dim]);
    layout.weight(&format!("{name}.feed_forward.w2"), &[dim, hidden]);
    layout.weight(&format!("{name}.attention_norm"), &[dim]);
    layout.weight(&format!("{name}.ffn_norm"), &[dim]);
}

/// What a generator of this make needs of its tokenizer and of memory, for a cache of `slots`.
pub(crate) fn transformer_role(config: &TransformerConfig, grid: usize, slots: u64) -> Role {
    // With 1024 codes RandAR was published for MaskGIT's tokenizer.
    let tokenizers =
        if config.vocab_size == 1024 { ["MaskGIT-VQGAN", "LlamaGen VQ"] } else { ["LlamaGen VQ", "MaskGIT-VQGAN"] };
    Role::Generator {
        tokenizers: tokenizers.map(String::from).into(),
        codes: config.vocab_size,
        classes: config.num_classes,
        grid,
        cache: 2 * (config.n_layer * config.dim) as u64 * slots,
        activations: slots * (4 * config.dim + 2 * config.hidden_dim() + config.vocab_size) as u64,
    }
}

/// The attention heads, which no shape tells: those of the published widths; others get heads of 64 numbers, as nearly all
/// published ones have, or 4 heads where that does not divide.
pub(crate) fn heads(dim: usize) -> usize {
    match dim {
        3200 => 32,
        _ if dim.is_multiple_of(64) && dim >= 128 => dim / 64,
        _ => 4,
    }
}

/// What the width of SwiGLU was rounded up to (`gpt.py`, `find_multiple`).
pub(crate) fn multiple_of(dim: usize, hidden: usize) -> Option<usize> {
    (0..9).rev().map(|power| 1 << power).find(|of| (2 * 4 * dim / 3).div_ceil(*of) * of == hidden)
}

/// The sizes of a LlamaGen-style transformer; they follow `gpt.py`'s `ModelArgs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TransformerConfig {
    /// Width of the residual stream.
    pub dim: usize,
    /// Number of blocks.
    pub n_layer: usize,
    /// Number of attention heads; `dim / n_head` is a multiple of 4.
    pub n_head: usize,
    /// Number of codes of the tokenizer.
    pub vocab_size: usize,
    /// Number of classes, without the null class of guidance.
    pub num_classes: usize,
    /// The width of the feed-forward layer is rounded up to a multiple of this.
    #[serde(default = "default_multiple_of")]
    pub multiple_of: usize,
    /// Added to the mean square inside RMSNorm.
    #[serde(default = "default_norm_eps")]
    pub norm_eps: f64,
    /// Base of the rotary frequencies.
    #[serde(default = "default_rope_base")]
    pub rope_base: f64,
}

fn default_multiple_of() -> usize {
    256
}
fn default_norm_eps() -> f64 {
    1e-5
}
fn default_rope_base() -> f64 {
    10_000.0
}

impl TransformerConfig {
    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.dim / self.n_head
    }

    /// Width of the SwiGLU layer: `int(2 * 4 * dim / 3)` rounded up to `multiple_of` (`gpt.py`, `FeedForward`).
    pub fn hidden_dim(&self) -> usize {
        (2 * 4 * self.dim / 3).div_ceil(self.multiple_of) * self.multiple_of
    }

    /// An empty cache of one block for `capacity` slots.
    pub(crate) fn cache(&self, streams: usize, capacity: usize, device: &Device) -> KvCache {
        KvCache::new(streams, self.n_head, self.head_dim(), capacity, device)
    }

    /// What a step does that feeds `fed` slots, asks for `asked` logits and sees `visible` slots.
    pub(crate) fn work(&self, fed: usize, asked: usize, visible: usize, streams: usize) -> Work {
        let block = 4 * self.dim * self.dim + 3 * self.dim * self.hidden_dim();
        let (blocks, head) = (self.n_layer * block, self.dim * self.vocab_size);
        Work { blocks, head, layers: self.n_layer, width: self.dim, fed, asked, visible, streams }
    }

    /// What a step does in raster order: what was told comes in behind the class or the token made last.
    pub(crate) fn raster_work(&self, visit: &Visit, streams: usize) -> Work {
        self.work(1 + visit.told.len(), 1, 1 + visit.known, streams)
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the field and the condition it breaks.
    pub fn check(&self) -> Result<()> {
        let sizes = [self.dim, self.n_layer, self.n_head, self.vocab_size, self.num_classes, self.multiple_of];
        let broken = if sizes.contains(&0) {
            Some("every size must be at least 1")
        } else if !self.dim.is_multiple_of(self.n_head) || !self.head_dim().is_multiple_of(4) {
            Some("dim must be n_head times a multiple of 4, since rotary embeddings turn pairs on two axes")
        } else {
            None
        };
        match broken {
            Some(cause) => Err(Error::control("model configuration", cause, "Correct the sizes in the configuration")),
            None => Ok(()),
        }
    }
}

/// Rotary embeddings in two dimensions (`gpt.py`, `precompute_freqs_cis_2d`).
///
/// Of a head's `head_dim / 2` angles the first half turns with the row, the second half with the column, each with
/// frequencies `base^(-2j / (head_dim / 2))`. Row 0 of the table belongs to the class token and is all zeros: cosine
/// *and* sine, so that its query and key vanish.
#[derive(Debug, Clone)]
pub struct Rope {
    /// Cosines, each written twice for its pair: `[1 + sites, head_dim]`.
    cos: Tensor<2>,
    /// Sines, likewise: `[1 + sites, head_dim]`.
    sin: Tensor<2>,
    /// Maps `(x0, x1)` to `(-x1, x0)` for every adjacent pair, as a product from the right: `[head_dim, head_dim]`.
    quarter_turn: Tensor<2>,
}

impl Rope {
    /// The table of a grid of `rows` by `cols` sites in raster order, for heads of `head_dim`. On a grid larger than the
    /// trained one the positions go on counting.
    pub fn new(rows: usize, cols: usize, head_dim: usize, base: f64, device: &Device) -> Self {
        Self::with_positions(rows, cols, head_dim, base, |_, at, _| at as f32, device)
    }

    /// The same, but frequency `j` of an axis sees the site `at` of `length` at `position(j, at, length)`.
    pub fn with_positions(
        rows: usize,
        cols: usize,
        head_dim: usize,
        base: f64,
        position: impl Fn(usize, usize, usize) -> f32,
        device: &Device,
    ) -> Self {
        let sites = rows * cols;
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half / 2).map(|j| base.powf(-2.0 * j as f64 / half as f64) as f32).collect();
        let mut cos = vec![0.0f32; head_dim];
        let mut sin = vec![0.0f32; head_dim];
        for site in 0..sites {
            for (at, length) in [(site / cols, rows), (site % cols, cols)] {
                for (j, frequency) in frequencies.iter().enumerate() {
                    let angle = position(j, at, length) * frequency;
                    cos.extend([angle.cos(); 2]);
                    sin.extend([angle.sin(); 2]);
                }
            }
        }
        let mut turn = vec![0.0f32; head_dim * head_dim];
        for pair in 0..half {
            turn[(2 * pair + 1) * head_dim + 2 * pair] = -1.0;
            turn[2 * pair * head_dim + 2 * pair + 1] = 1.0;
        }
        Self {
            cos: Tensor::from_data(TensorData::new(cos, [1 + sites, head_dim]), device),
            sin: Tensor::from_data(TensorData::new(sin, [1 + sites, head_dim]), device),
            quarter_turn: Tensor::from_data(TensorData::new(turn, [head_dim, head_dim]), device),
        }
    }

    /// Cosine and sine per angle, as published: `[1 + sites, head_dim / 2, 2]`.
    pub fn freqs_cis(&self) -> Tensor<3> {
        let [rows, head_dim] = self.cos.dims();
        let every_other = |table: &Tensor<2>| {
            let pairs: Tensor<3> = table.clone().reshape([rows, head_dim / 2, 2]);
            pairs.slice(s![.., .., 0..1])
        };
        Tensor::cat(vec![every_other(&self.cos), every_other(&self.sin)], 2)
    }

    /// Rows of the table: one for each site and one for the class token.
    pub(crate) fn rows(&self) -> usize {
        self.cos.dims()[0]
    }

    /// The angles of some rows of the table: `rows` is `[batch, slots]`, and 0 is the class token's row.
    pub fn at(&self, rows: Tensor<2, Int>) -> Angles {
        let [batch, slots] = rows.dims();
        let [_, head_dim] = self.cos.dims();
        let rows: Tensor<1, Int> = rows.reshape([batch * slots]);
        let pick = |table: &Tensor<2>| table.clone().select(0, rows.clone()).reshape([batch, 1, slots, head_dim]);
        Angles { cos: pick(&self.cos), sin: pick(&self.sin), quarter_turn: self.quarter_turn.clone() }
    }
}

/// Rotary angles of the slots of a sequence.
#[derive(Debug, Clone)]
pub struct Angles {
    /// `[batch, 1, slots, head_dim]`
    cos: Tensor<4>,
    /// `[batch, 1, slots, head_dim]`
    sin: Tensor<4>,
    /// `[head_dim, head_dim]`
    quarter_turn: Tensor<2>,
}

impl Angles {
    /// Turns `x`, `[batch, heads, slots, head_dim]`, each adjacent pair by its slot's angle; in f32, as published.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        rotated(x, [&self.cos, &self.sin], &self.quarter_turn)
    }

    /// The same for queries and keys on their way to attention.
    fn heads(&self) -> Heads {
        let Self { cos, sin, quarter_turn } = self.clone();
        Heads::Rotary { cos, sin, quarter_turn }
    }
}

/// The drop-out rates of training; evaluation uses none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dropout {
    /// On embeddings: LlamaGen's of classes and tokens alike, RandAR's of image tokens alone.
    pub token: f64,
    /// On the output of attention and of the feed-forward layer.
    pub residual: f64,
}

/// Zeroes a share of `x` and scales up the rest, in training only.
pub(crate) fn drop<const D: usize>(x: Tensor<D>, share: f64) -> Tensor<D> {
    if share == 0.0 {
        return x;
    }
    let keep: Tensor<D> = Tensor::random(x.dims(), burn::tensor::Distribution::Bernoulli(1.0 - share), &x.device());
    let keep = keep.cast(x.dtype());
    x * keep / (1.0 - share)
}

/// Keys and values of one block, `[streams, heads, capacity, head_dim]` each.
#[derive(Debug, Clone)]
pub struct KvCache {
    keys: Tensor<4>,
    values: Tensor<4>,
}

impl KvCache {
    /// An empty cache for `capacity` slots of `n_head` heads.
    pub fn new(streams: usize, n_head: usize, head_dim: usize, capacity: usize, device: &Device) -> Self {
        let shape = [streams, n_head, capacity, head_dim];
        Self { keys: Tensor::zeros(shape, device), values: Tensor::zeros(shape, device) }
    }

    /// Causal attention of the slots `first_slot..`, whose fused projection is `qkv`, `[streams, slots, 3 * dim]`, once their
    /// keys and values are written: `[streams, slots, dim]`.
    pub(crate) fn attend(&mut self, first_slot: usize, qkv: Tensor<3>, heads: &Heads) -> Tensor<3> {
        let slots = first_slot..first_slot + qkv.dims()[1];
        let visible: Vec<u32> = slots.map(|slot| slot as u32 + 1).collect();
        self.attend_to(first_slot, qkv, heads, &visible)
    }

    /// The same where each slot sees its `visible` first slots of the cache instead of those before it.
    pub(crate) fn attend_to(&mut self, first_slot: usize, qkv: Tensor<3>, heads: &Heads, visible: &[u32]) -> Tensor<3> {
        let q = cache_heads(qkv, heads, first_slot, &mut self.keys, &mut self.values);
        merge_heads(attend_in_tiles([q, self.keys.clone(), self.values.clone()], visible))
    }
}

/// Queries per call of the attention: the scores of thousands at once would fill memory where no kernel avoids them.
const QUERIES: usize = 256;

/// Attention of each query over its `visible` first keys, tile by tile: `[batch, heads, slots, head_dim]` each.
pub(crate) fn attend_in_tiles([q, k, v]: [Tensor<4>; 3], visible: &[u32]) -> Tensor<4> {
    if visible.len() <= QUERIES {
        return andamento_shaders::cached_attention(q, k, v, visible);
    }
    let tiles = visible.chunks(QUERIES).enumerate().map(|(tile, visible)| {
        let first = tile * QUERIES;
        let q = q.clone().slice(s![.., .., first..first + visible.len(), ..]);
        andamento_shaders::cached_attention(q, k.clone(), v.clone(), visible)
    });
    Tensor::cat(tiles.collect(), 2)
}

/// The fused projection to queries, keys and values, causal attention, and the projection back.
#[derive(Module, Debug)]
pub struct Attention {
    wqkv: Linear,
    wo: Linear,
    n_head: usize,
}

impl Attention {
    fn new(config: &TransformerConfig, device: &Device) -> Self {
        Self {
            wqkv: linear(config.dim, 3 * config.dim, device),
            wo: linear(config.dim, config.dim, device),
            n_head: config.n_head,
        }
    }

    /// Queries and keys (rotated) and values of `x`, `[batch, slots, dim]`: `[batch, heads, slots, head_dim]` each.
    fn project(&self, x: Tensor<3>, angles: &Angles) -> [Tensor<4>; 3] {
        let [q, k, v] = split_heads(self.wqkv.forward(x), self.n_head);
        [angles.rotate(q), angles.rotate(k), v]
    }

    /// Causal attention over a whole sequence: `x` is `[batch, slots, dim]`, `mask` is `[1, 1, slots, slots]`.
    fn forward(&self, x: Tensor<3>, angles: &Angles, mask: &Tensor<4>) -> Tensor<3> {
        self.wo.forward(merge_heads(attention(self.project(x, angles), mask, 0.0)))
    }
}

/// Queries, keys and values of a fused projection, `[batch, slots, 3 * dim]`: `[batch, heads, slots, head_dim]` each.
pub(crate) fn split_heads(qkv: Tensor<3>, n_head: usize) -> [Tensor<4>; 3] {
    let [batch, slots, width] = qkv.dims();
    chunk::<3>(&qkv).map(|part| part.reshape([batch, slots, n_head, width / 3 / n_head]).swap_dims(1, 2))
}

/// `N` equal parts of `x`, `[batch, slots, N * dim]`: `[batch, slots, dim]` each.
pub(crate) fn chunk<const N: usize>(x: &Tensor<3>) -> [Tensor<3>; N] {
    let dim = x.dims()[2] / N;
    std::array::from_fn(|index| x.clone().slice(s![.., .., index * dim..(index + 1) * dim]))
}

/// Joins the heads of `x`, `[batch, heads, slots, head_dim]`: `[batch, slots, dim]`.
pub(crate) fn merge_heads(x: Tensor<4>) -> Tensor<3> {
    let [batch, heads, slots, head_dim] = x.dims();
    x.swap_dims(1, 2).reshape([batch, slots, heads * head_dim])
}

/// SwiGLU: `w2(silu(w1 x) * w3 x)`.
#[derive(Module, Debug)]
pub struct FeedForward {
    w1: Linear,
    w3: Linear,
    w2: Linear,
}

impl FeedForward {
    fn new(config: &TransformerConfig, device: &Device) -> Self {
        let (dim, hidden) = (config.dim, config.hidden_dim());
        Self { w1: linear(dim, hidden, device), w3: linear(dim, hidden, device), w2: linear(hidden, dim, device) }
    }

    /// `x` is `[batch, slots, dim]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.w2.forward(swiglu(self.w1.forward(x.clone()), self.w3.forward(x)))
    }
}

/// A projection of the few rows of a step, to be completed by what goes along in the same launch.
pub(crate) fn projection(linear: &Linear) -> Projection {
    Projection::new(linear.weight.val(), linear.bias.as_ref().map(Param::val))
}

/// The same for rows after a norm.
pub(crate) fn after_norm(norm: &RmsNorm, linear: &Linear) -> Projection {
    projection(linear).rms_normed(norm.gamma.val(), norm.epsilon)
}

/// One pre-norm block.
#[derive(Module, Debug)]
pub struct TransformerBlock {
    attention: Attention,
    feed_forward: FeedForward,
    attention_norm: RmsNorm,
    ffn_norm: RmsNorm,
}

impl TransformerBlock {
    /// Fresh weights, N(0, 0.02).
    pub(crate) fn new(config: &TransformerConfig, device: &Device) -> Self {
        Self {
            attention: Attention::new(config, device),
            feed_forward: FeedForward::new(config, device),
            attention_norm: rms_norm(config, device),
            ffn_norm: rms_norm(config, device),
        }
    }

    /// A whole sequence at once: `x` is `[batch, slots, dim]`; `drop` is applied to the output of each half.
    pub fn forward(
        &self,
        x: Tensor<3>,
        angles: &Angles,
        mask: &Tensor<4>,
        drop: &impl Fn(Tensor<3>) -> Tensor<3>,
    ) -> Tensor<3> {
        let x = x.clone() + drop(self.attention.forward(rms_normed(&self.attention_norm, x), angles, mask));
        x.clone() + drop(self.feed_forward.forward(rms_normed(&self.ffn_norm, x)))
    }

    /// The slots `first_slot..` of a sequence whose earlier slots are in the cache: `x` is `[streams, slots, dim]`.
    pub fn forward_cached(&self, x: Tensor<3>, angles: &Angles, first_slot: usize, cache: &mut KvCache) -> Tensor<3> {
        let Self { attention, feed_forward, attention_norm, ffn_norm } = self;
        let qkv = after_norm(attention_norm, &attention.wqkv).of(x.clone());
        let attended = cache.attend(first_slot, qkv, &angles.heads());
        let x = projection(&attention.wo).onto(x).of(attended);
        let hidden = after_norm(ffn_norm, &feed_forward.w1).swiglu(feed_forward.w3.weight.val()).of(x.clone());
        projection(&feed_forward.w2).onto(x).of(hidden)
    }
}

/// Whole sequences through blocks, each slot seeing itself and the earlier ones: `x` is `[batch, slots, dim]`.
pub(crate) fn through(blocks: &[TransformerBlock], x: Tensor<3>, angles: &Angles, dropout: f64) -> Tensor<3> {
    let mask = causal_mask(x.dims()[1], &x.device());
    blocks.iter().fold(x, |x, block| block.forward(x, angles, &mask, &|x| drop(x, dropout)))
}

/// The slots `first_slot..` of sequences through blocks whose caches hold the earlier slots: `x` is
/// `[streams, slots, dim]`. Returns the output of the last block and leaves the new slots in the caches.
pub(crate) fn through_cached(
    blocks: &[TransformerBlock],
    x: Tensor<3>,
    angles: &Angles,
    first_slot: usize,
    caches: &mut [KvCache],
) -> Tensor<3> {
    blocks.iter().zip(caches).fold(x, |x, (block, cache)| block.forward_cached(x, angles, first_slot, cache))
}

/// Class labels as vectors; the last row is the null class of guidance (`gpt.py`, `LabelEmbedder`).
#[derive(Module, Debug)]
pub struct LabelEmbedder {
    /// `[num_classes + 1, dim]`
    pub embedding_table: Embedding,
}

/// LlamaGen's weights, which are also RandAR's trunk: embeddings, blocks, the last norm and the head.
#[derive(Module, Debug)]
pub struct Trunk {
    /// Class labels.
    pub cls_embedding: LabelEmbedder,
    /// Codes as vectors: `[vocab_size, dim]`.
    pub tok_embeddings: Embedding,
    /// The blocks.
    pub layers: Vec<TransformerBlock>,
    /// The last norm.
    pub norm: RmsNorm,
    /// To logits: `[dim, vocab_size]`.
    pub output: Linear,
}

impl Trunk {
    /// Fresh weights as published: everything N(0, 0.02), the head zero, so that all codes start equally likely.
    pub fn new(config: &TransformerConfig, device: &Device) -> Self {
        Self {
            cls_embedding: LabelEmbedder { embedding_table: embedding(config.num_classes + 1, config.dim, device) },
            tok_embeddings: embedding(config.vocab_size, config.dim, device),
            layers: (0..config.n_layer).map(|_| TransformerBlock::new(config, device)).collect(),
            norm: rms_norm(config, device),
            output: zero_head(config.dim, config.vocab_size, device),
        }
    }

    /// The head: hidden states after the last norm, `[batch, slots, dim]`, to logits `[batch, slots, vocab]`.
    pub(crate) fn head(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.output.forward(hidden)
    }

    /// The last norm and the head for the few rows of a step: `[batch, slots, dim]` to logits `[batch, slots, vocab]`.
    pub(crate) fn predictions(&self, stream: Tensor<3>) -> Tensor<3> {
        after_norm(&self.norm, &self.output).of(stream)
    }

    /// A whole sequence at once, as in training (`gpt.py`, `forward`).
    ///
    /// `classes` is `[batch]`, `tokens` is `[batch, sites]` in raster order; the last token is predicted, not read.
    /// Returns what enters the blocks and what leaves each of them, `1 + n_layer` times `[batch, sites, dim]`.
    pub fn hidden(
        &self,
        classes: Tensor<1, Int>,
        tokens: Tensor<2, Int>,
        rope: &Rope,
        dropout: Dropout,
    ) -> Vec<Tensor<3>> {
        let x = shifted(self.embed_classes(classes), self.embed_tokens(tokens));
        let angles = rope.at(slots(0..x.dims()[1], &x.device()));
        let mut states = vec![drop(x, dropout.token)];
        for (index, layer) in self.layers.iter().enumerate() {
            states.push(through(std::slice::from_ref(layer), states[index].clone(), &angles, dropout.residual));
        }
        states
    }

    /// The loss of training: mean cross entropy of all tokens in nats, `[1]` (`gpt.py`, `forward`). The arguments are those
    /// of [`Trunk::hidden`].
    pub fn loss(&self, classes: Tensor<1, Int>, tokens: Tensor<2, Int>, rope: &Rope, dropout: Dropout) -> Tensor<1> {
        let x = shifted(self.embed_classes(classes), self.embed_tokens(tokens.clone()));
        let angles = rope.at(slots(0..x.dims()[1], &x.device()));
        let hidden = through(&self.layers, drop(x, dropout.token), &angles, dropout.residual);
        let logits = self.logits(hidden).cast(DType::F32);
        cross_entropy(logits, tokens)
    }

    /// The last norm and the head: the last block's output, `[batch, slots, dim]`, to logits `[batch, slots, vocab]`. In
    /// raster order, those at slot `i` are of site `i`.
    pub fn logits(&self, hidden: Tensor<3>) -> Tensor<3> {
        self.head(rms_normed(&self.norm, hidden))
    }
}

/// A decoder that reads `[class] x₀ x₁ …` in raster order: what is needed to run it slot by slot, whatever it predicts.
pub(crate) trait RasterDecoder {
    /// Classes as vectors: `[batch]` to `[batch, 1, dim]`.
    fn embed_classes(&self, classes: Tensor<1, Int>) -> Tensor<3>;

    /// Tokens as vectors: `[batch, tokens]` to `[batch, tokens, dim]`.
    fn embed_tokens(&self, tokens: Tensor<2, Int>) -> Tensor<3>;

    /// The slots `first_slot..` of sequences whose earlier slots are in the caches, one cache per block: `x`,
    /// `[streams, slots, dim]`, becomes what leaves the last block, of the same shape.
    fn extend(&self, x: Tensor<3>, angles: &Angles, first_slot: usize, caches: &mut [KvCache]) -> Tensor<3>;
}

impl RasterDecoder for Trunk {
    fn embed_classes(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        self.cls_embedding.embedding_table.forward(classes.unsqueeze_dim(1))
    }

    fn embed_tokens(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        self.tok_embeddings.forward(tokens)
    }

    fn extend(&self, x: Tensor<3>, angles: &Angles, first_slot: usize, caches: &mut [KvCache]) -> Tensor<3> {
        through_cached(&self.layers, x, angles, first_slot, caches)
    }
}

/// The class before all tokens but the last: `[batch, 1, dim]` and `[batch, sites, dim]` to `[batch, sites, dim]`.
pub(crate) fn shifted(class: Tensor<3>, tokens: Tensor<3>) -> Tensor<3> {
    let sites = tokens.dims()[1];
    Tensor::cat(vec![class, tokens], 1).slice(s![.., ..sites, ..])
}

/// Slots in a row as rows of the rotary table, the same in raster order: `[1, slots]`.
pub(crate) fn slots(range: Range<usize>, device: &Device) -> Tensor<2, Int> {
    Tensor::<1, Int>::arange(range.start as i64..range.end as i64, device).unsqueeze()
}

/// The shared vector of position-instruction tokens, N(0, 0.02): `[1, dim]`.
pub(crate) fn instruction_parameter(dim: usize, device: &Device) -> Param<Tensor<2>> {
    normal().init([1, dim], device)
}

/// An additive causal mask: 0 where a slot may look, a large negative number where not. `[1, 1, slots, slots]`
pub(crate) fn causal_mask(slots: usize, device: &Device) -> Tensor<4> {
    let mask = Tensor::<2>::full([slots, slots], -1e30, device).triu(1);
    mask.unsqueeze()
}

/// N(0, 0.02), as published for every projection and table.
pub(crate) fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).with_bias(false).with_initializer(normal()).init(device)
}

/// A table of vectors, N(0, 0.02): `[rows, dim]`.
pub(crate) fn embedding(rows: usize, dim: usize, device: &Device) -> Embedding {
    EmbeddingConfig::new(rows, dim).with_initializer(normal()).init(device)
}

/// A projection to logits that starts at zero, so that all codes start equally likely.
pub(crate) fn zero_head(dim: usize, codes: usize, device: &Device) -> Linear {
    LinearConfig::new(dim, codes).with_bias(false).with_initializer(Initializer::Zeros).init(device)
}

pub(crate) fn rms_norm(config: &TransformerConfig, device: &Device) -> RmsNorm {
    RmsNormConfig::new(config.dim).with_epsilon(config.norm_eps).init(device)
}

/// A run in raster order: the tokens of the sequence so far, and how much of it the caches hold.
pub(crate) struct RasterRun {
    family: &'static str,
    /// The class of every stream, in the order of the logits.
    classes: Vec<i32>,
    sites: usize,
    rope: Rope,
    caches: Vec<KvCache>,
    /// Tokens of the sites from 0 on.
    tokens: Vec<i32>,
    /// Slots in the caches; slot 0 is the class, slot `1 + i` the token of site `i`.
    settled: usize,
    device: Device,
}

impl RasterRun {
    /// An empty run of the network that `spec` describes, with a cache for each of `config.n_layer` blocks.
    ///
    /// # Errors
    /// If the class does not exist, or the lattice is not one grid.
    pub(crate) fn begin(
        prompt: &Prompt,
        lattice: &Lattice,
        spec: &Spec,
        config: &TransformerConfig,
        device: &Device,
    ) -> Result<Self> {
        check_class(prompt.class, spec)?;
        let [grid] = lattice.scales() else {
            let cause = format!("{} works on one grid of tokens", spec.family);
            return Err(Error::control("model", cause, "Choose a tokenizer of one grid"));
        };
        let classes: Vec<i32> = prompt.streams(config.num_classes).into_iter().map(|class| class as i32).collect();
        let cache = |_| config.cache(classes.len(), (1 + grid.len()).next_multiple_of(8), device);
        Ok(Self {
            family: spec.family,
            sites: grid.len(),
            rope: Rope::new(grid.rows, grid.cols, config.head_dim(), config.rope_base, device),
            caches: (0..config.n_layer).map(cache).collect(),
            classes,
            tokens: Vec::new(),
            settled: 0,
            device: device.clone(),
        })
    }

    /// Number of sequences side by side: 2 where guided.
    pub(crate) fn streams(&self) -> usize {
        self.classes.len()
    }

    /// Feeds all that is known and not yet in the caches. Returns what leaves the last block where the prediction for `visit`
    /// is read: `[streams, 1, dim]`.
    ///
    /// # Errors
    /// If `visit` is not the next site alone.
    pub(crate) fn advance(&mut self, visit: &[Site], decoder: &impl RasterDecoder) -> Result<Tensor<3>> {
        self.check(visit)?;
        if visit.len() != 1 {
            let cause = format!("{} predicts the next token alone", self.family);
            return Err(Error::control("steps", cause, "Use one token per step"));
        }
        let next = self.tokens.len();
        // A prediction that nobody used has left its slot in the caches: the slot is fed once more.
        let first = self.settled.min(next);
        let mut parts = Vec::new();
        if first == 0 {
            parts.push(decoder.embed_classes(Tensor::from_data(self.classes.as_slice(), &self.device)));
        }
        let tokens = &self.tokens[first.saturating_sub(1)..];
        if !tokens.is_empty() {
            let tokens = Tensor::<1, Int>::from_data(tokens, &self.device);
            parts.push(decoder.embed_tokens(tokens.unsqueeze()).repeat_dim(0, self.streams()));
        }
        let angles = self.rope.at(slots(first..next + 1, &self.device));
        let hidden = decoder.extend(Tensor::cat(parts, 1), &angles, first, &mut self.caches);
        self.settled = next + 1;
        Ok(hidden.slice(s![.., -1.., ..]))
    }

    /// Appends tokens, of which there are `vocab`, to the sequence; the next [`RasterRun::advance`] feeds them.
    ///
    /// # Errors
    /// If the sites are not the next ones in raster order, or there is not one token of the codebook for each.
    pub(crate) fn tell(&mut self, visit: &[Site], tokens: &[Token], vocab: usize) -> Result<()> {
        self.check(visit)?;
        check_tokens(visit, tokens, vocab)?;
        self.tokens.extend(tokens.iter().map(|token| *token as i32));
        Ok(())
    }

    /// Refuses sites other than the next ones in raster order.
    fn check(&self, visit: &[Site]) -> Result<()> {
        let next = self.tokens.len();
        let in_order = visit.iter().enumerate().all(|(index, site)| site.index() == next + index);
        if visit.is_empty() || !in_order || next + visit.len() > self.sites {
            let cause = format!("{} makes tokens row by row", self.family);
            return Err(Error::control("order", cause, "Choose the raster order"));
        }
        Ok(())
    }
}

/// LlamaGen behind the seam.
pub struct LlamaGenNetwork {
    weights: Trunk,
    config: TransformerConfig,
    spec: Spec,
    device: Device,
    run: Option<RasterRun>,
}

impl LlamaGenNetwork {
    /// Wraps weights whose picture is `grid` tokens in training.
    pub fn new(weights: Trunk, config: TransformerConfig, grid: Grid, device: &Device) -> Self {
        let spec = Spec {
            family: "LlamaGen",
            classes: config.num_classes,
            vocab: config.vocab_size,
            lattice: Lattice::grid(grid.rows, grid.cols),
            parameters: weights.num_params(),
            abilities: ABILITIES,
        };
        Self { weights, config, spec, device: device.clone(), run: None }
    }
}

impl Network for LlamaGenNetwork {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        self.run = Some(RasterRun::begin(prompt, lattice, &self.spec, &self.config, &self.device)?);
        Ok(())
    }

    fn teacher_forced(&mut self, class: u32, order: &[Site], tokens: &[Token]) -> Result<Option<Tensor<3>>> {
        check_class(class, &self.spec)?;
        if !order.is_sorted() {
            return Ok(None);
        }
        let (grid, config) = (self.spec.lattice.finest(), &self.config);
        let rope = Rope::new(grid.rows, grid.cols, config.head_dim(), config.rope_base, &self.device);
        let classes = Tensor::from_data([class], &self.device);
        let states = self.weights.hidden(classes, to_codes(tokens, &self.device), &rope, Dropout::default());
        Ok(states.into_iter().next_back().map(|hidden| self.weights.logits(hidden)))
    }

    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        Ok(self.weights.predictions(run.advance(visit, &self.weights)?))
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let vocab = self.spec.vocab;
        self.run.as_mut().ok_or_else(not_begun)?.tell(visit, tokens, vocab)
    }
}
