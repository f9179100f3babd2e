//! RAR: a transformer trained on permuted sequences, annealed to raster order (Yu et al., arXiv 2411.00776).
//!
//! Published code: `bytedance/1d-tokenizer`, `modeling/rar.py`. Two tokens stand before those of the picture:
//!
//! ```text
//! [cls]  [class]  x(τ₀)  x(τ₁)  …
//! ```
//!
//! Every token carries its own learned position and, as *target-aware positional embedding* (§3.2), the position of the
//! token that is predicted from it: the next one of the order τ. AdaLN shifts, scales and gates every block by the class
//! and by the index in the sequence. Training anneals from random orders to one scan order (§3.2), for which the two
//! tables of positions merge into one: such a file has no `target_aware_pos_embed`, and its network knows that order alone.
//!
//! Decoding uses both facts. The modulations depend on class and index alone, so they are computed once for a run, which
//! is exact. A token can only be fed when it is known which one follows, so it waits for the next prediction.
//!
//! Choices that the paper leaves open: the depth of RAR-S, of which it gives the 133 M parameters only, and which 12 blocks
//! of RAR-B's width have; and its sampling, which is that of the published quick start.
//!
//! Field names are the published state dict's keys, but for `adaLN_modulation.1`, where `0` is an activation.

use std::ops::Range;

use andamento_shaders::{Activation, Heads};
use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, LayerNorm, LayerNormConfig, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::activation::silu;
use burn::tensor::{DType, Int, s};
use serde::{Deserialize, Serialize};

use super::llamagen::{KvCache, causal_mask, chunk, drop, merge_heads, normal, projection, split_heads};
use super::{Family, Preset, configuration, to_value};
use crate::bench::Work;
use crate::checkpoint::RAR_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role};
use crate::kernels::{attention, cross_entropy, gelu, layer_normed};
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{
    Abilities, Network, Orders, Pace, Prompt, Spec, check_class, check_tokens, check_visit, not_begun,
};
use crate::order::by_name;
use crate::sample::{Guidance, Sampling};
use crate::schedule::Schedule;
use crate::tokenizer::to_codes;
use crate::{Error, Result};

/// Added to the variance in every norm.
pub(crate) const EPSILON: f64 = 1e-6;
/// Rows of the position tables and of the table of indices beyond those of the picture (`rar.py`). Two are used.
const SPARE_POSITIONS: usize = 1024;
const SPARE_TIMESTEPS: usize = 100;
/// The tokens before those of the picture: cls and class.
pub(crate) const PREFIX: usize = 2;

/// The scan orders that training may anneal to (table 3): those that VQGAN compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Scan {
    /// Row by row: the best of them, and that of all published weights.
    #[default]
    Raster,
    /// Around the border and inwards.
    SpiralIn,
    /// From the middle outwards.
    SpiralOut,
    /// Along Morton's curve.
    ZCurve,
    /// Ever finer.
    Subsample,
    /// Row by row, every second row backwards.
    Alternate,
}

impl Scan {
    /// All six.
    pub const ALL: [Self; 6] =
        [Self::Raster, Self::SpiralIn, Self::SpiralOut, Self::ZCurve, Self::Subsample, Self::Alternate];

    /// What [`crate::order::ORDERS`] call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Raster => "raster",
            Self::SpiralIn => "spiral-in",
            Self::SpiralOut => "spiral-out",
            Self::ZCurve => "z-curve",
            Self::Subsample => "subsample",
            Self::Alternate => "alternate",
        }
    }

    /// The raster indices of a grid's sites in this order: a permutation of `0..grid.len()`.
    ///
    /// # Errors
    /// Never: each is one of [`crate::order::ORDERS`], as the tests make sure.
    pub fn arrange(self, grid: Grid) -> Result<Vec<u32>> {
        Ok(by_name(self.name())?.arrange(grid, 0))
    }
}

/// The sizes of RAR; the names are those of `configs/training/generator/rar.yaml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RarConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Number of blocks.
    pub num_hidden_layers: usize,
    /// Number of attention heads.
    pub num_attention_heads: usize,
    /// Width of the feed-forward layer.
    pub intermediate_size: usize,
    /// Number of tokens of a picture.
    pub image_seq_len: usize,
    /// Number of codes of the tokenizer.
    pub codebook_size: usize,
    /// Number of classes, without the null class of guidance.
    pub condition_num_classes: usize,
    /// The order that training ended in.
    #[serde(default)]
    pub scan: Scan,
    /// Whether both tables of positions were merged into one, for that order alone.
    #[serde(default)]
    pub merged: bool,
}

impl RarConfig {
    /// A published size, for 256×256 pixels of ImageNet and MaskGIT's tokenizer (table 1).
    pub const fn published(hidden_size: usize, num_hidden_layers: usize, intermediate_size: usize) -> Self {
        Self {
            hidden_size,
            num_hidden_layers,
            num_attention_heads: 16,
            intermediate_size,
            image_seq_len: 256,
            codebook_size: 1024,
            condition_num_classes: 1000,
            scan: Scan::Raster,
            merged: false,
        }
    }

    /// What a network of these sizes can be asked to do.
    pub fn abilities(&self) -> Abilities {
        let order = self.scan.name();
        let orders = if self.merged {
            Orders::Only {
                order,
                reason: "The positions of this RAR were merged for the order that its training ended in",
            }
        } else {
            let others = "Experimental: training ended in one order, the others were seen in its first part only";
            Orders::Native { order, others }
        };
        let reason = "RAR makes one token at a time: each token carries the position of the one that follows";
        Abilities {
            orders,
            pace: Pace::Fixed { schedule: Schedule::OneByOne, reason },
            smooth: Err("Only next-scale models mix codes"),
            scales: 1,
        }
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.hidden_size / self.num_attention_heads
    }

    /// What a step does that feeds `fed` slots, asks for `asked` logits and sees `visible` slots.
    pub(crate) fn work(&self, fed: usize, asked: usize, visible: usize, streams: usize) -> Work {
        let dim = self.hidden_size;
        let block = 4 * dim * dim + 2 * dim * self.intermediate_size;
        let (blocks, head) = (self.num_hidden_layers * block, dim * self.codebook_size);
        Work { blocks, head, layers: self.num_hidden_layers, width: dim, fed, asked, visible, streams }
    }

    /// Refuses a picture that is not of the trained size, which is `trained`.
    ///
    /// # Errors
    /// Names the size.
    pub(crate) fn check_grid(&self, trained: Grid, grid: Grid) -> Result<()> {
        let Grid { rows, cols } = trained;
        if trained.len() != self.image_seq_len {
            let cause = format!("image_seq_len is {}, but {rows} × {cols} tokens", self.image_seq_len);
            return Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"));
        }
        if grid != trained {
            let cause = format!("RAR learned its positions on {rows} × {cols} tokens");
            return Err(Error::control("model", cause, "Frame a part of the trained size"));
        }
        Ok(())
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let sizes = [
            self.hidden_size,
            self.num_hidden_layers,
            self.num_attention_heads,
            self.intermediate_size,
            self.image_seq_len,
            self.codebook_size,
            self.condition_num_classes,
        ];
        let cause = if sizes.contains(&0) {
            "every size must be at least 1"
        } else if !self.hidden_size.is_multiple_of(self.num_attention_heads) {
            "hidden_size must be a multiple of num_attention_heads"
        } else {
            return Ok(());
        };
        Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// The published sizes with their sampling: guidance scale and power, temperature (`README_RAR.md`).
pub const PRESETS: [(&str, RarConfig, Guidance, f32); 5] = [
    ("S", RarConfig::published(768, 12, 3072), power_cosine(4.0, 0.0), 1.0),
    ("B", RarConfig::published(768, 24, 3072), power_cosine(16.0, 2.75), 1.0),
    ("L", RarConfig::published(1024, 24, 4096), power_cosine(15.5, 2.5), 1.02),
    ("XL", RarConfig::published(1280, 32, 5120), power_cosine(6.9, 1.5), 1.02),
    ("XXL", RarConfig::published(1408, 40, 6144), power_cosine(8.0, 1.2), 1.02),
];

const fn power_cosine(scale: f32, power: f32) -> Guidance {
    Guidance::PowerCosine { scale, power }
}

/// RAR for the registry.
pub const FAMILY: Family = Family {
    name: "RAR",
    paper: "Randomized Autoregressive Visual Generation (arXiv 2411.00776)",
    abilities: |config| {
        let config: RarConfig = configuration(config)?;
        Ok(config.abilities())
    },
    build: |parts| {
        let config: RarConfig = configuration(parts.config)?;
        config.check()?;
        let weights = parts.weights.fill(Rar::new(&config, parts.device), &RAR_KEYS)?;
        Ok(Box::new(RarNetwork::new(weights, config, parts.grid, parts.device)?))
    },
    presets: || {
        let published = PRESETS.iter().map(|(name, config, guidance, temperature)| Preset {
            name,
            config: to_value(config),
            grid: 16,
            side: 256,
            tokenizer: ("MaskGIT-VQGAN", "ImageNet"),
            steps: config.image_seq_len,
            guidance: *guidance,
            sampling: Sampling { temperature: *temperature, ..Sampling::default() },
        });
        published.collect()
    },
    cost: |config, plan, step, streams| {
        let config: RarConfig = configuration(config)?;
        let visit = &plan.visits[step];
        let fed = visit.told.len() + if step == 0 { PREFIX } else { 1 };
        Ok(config.work(fed, 1, PREFIX + visit.known, streams).cost())
    },
    recognise,
};

/// RAR by its tensors, which say every size.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let dim = manifest.axis("timesteps_embeddings", 2)?;
    let depth = manifest.count("blocks.");
    let head = manifest.axis("blocks.0.attn.q_norm.weight", 0).filter(|head| *head > 0)?;
    let hidden = manifest.axis("blocks.0.mlp.fc1.weight", 0)?;
    let codes = manifest.axis("lm_head.weight", 0)?;
    let classes = manifest.axis("embeddings.weight", 0)?.checked_sub(codes + 2)?;
    let tokens = manifest.axis("pos_embed", 1)?.checked_sub(SPARE_POSITIONS)?;
    let config = RarConfig {
        hidden_size: dim,
        num_hidden_layers: depth,
        num_attention_heads: dim / head,
        intermediate_size: hidden,
        image_seq_len: tokens,
        codebook_size: codes,
        condition_num_classes: classes,
        scan: Scan::Raster,
        merged: !manifest.tensors.contains_key("target_aware_pos_embed"),
    };
    let mut layout = Layout::default();
    layout.bare("cls_token", &[1, 1, dim]);
    layout.bare("pos_embed", &[1, tokens + SPARE_POSITIONS, dim]);
    if !config.merged {
        layout.bare("target_aware_pos_embed", &[1, tokens + SPARE_POSITIONS, dim]);
    }
    layout.bare("timesteps_embeddings", &[1, tokens + SPARE_TIMESTEPS, dim]);
    layout.weight("embeddings", &[codes + classes + 2, dim]);
    for block in (0..depth).map(|block| format!("blocks.{block}")) {
        layout.norm(&format!("{block}.norm1"), dim);
        layout.norm(&format!("{block}.norm2"), dim);
        layout.linear(&format!("{block}.attn.qkv"), 3 * dim, dim);
        layout.norm(&format!("{block}.attn.q_norm"), head);
        layout.norm(&format!("{block}.attn.k_norm"), head);
        layout.linear(&format!("{block}.attn.proj"), dim, dim);
        layout.linear(&format!("{block}.mlp.fc1"), hidden, dim);
        layout.linear(&format!("{block}.mlp.fc2"), dim, hidden);
        layout.linear(&format!("{block}.adaLN_modulation.1"), 6 * dim, dim);
    }
    layout.linear("adaln_before_head.adaLN_modulation.1", 2 * dim, dim);
    layout.linear("lm_head", codes, dim);
    let published = PRESETS.iter().find(|(_, published, ..)| *published == config);
    Some(Recognised {
        family: FAMILY.name,
        size: published.map_or_else(|| format!("{dim}x{depth}"), |(name, ..)| name.to_string()),
        config: to_value(&config),
        layout,
        leftovers: RAR_KEYS.leftovers,
        licence: "Apache-2.0",
        role: Role::Generator {
            tokenizers: vec!["MaskGIT-VQGAN".into()],
            codes,
            classes,
            grid: tokens.isqrt(),
            cache: (2 * depth * (tokens + PREFIX) * dim) as u64,
            // The modulations of all positions are computed once, before the first token.
            activations: ((tokens + PREFIX) * (6 * depth * dim + 2 * hidden) + codes) as u64,
        },
    })
}

/// The drop-out rates of training, both 0.1 as published; evaluation uses none.
#[derive(Debug, Clone, Copy, Default)]
pub struct Dropout {
    /// After the projection of attention and after both layers of the feed-forward (`dropout`).
    pub projection: f64,
    /// On the weights of attention (`attn_drop`).
    pub attention: f64,
}

/// The fused projection to queries, keys and values, a norm of queries and keys per head, and the projection back.
#[derive(Module, Debug)]
pub struct Attention {
    qkv: Linear,
    q_norm: LayerNorm,
    k_norm: LayerNorm,
    proj: Linear,
    n_head: usize,
}

impl Attention {
    fn new(config: &RarConfig, device: &Device) -> Self {
        let (dim, head_dim) = (config.hidden_size, config.head_dim());
        Self {
            qkv: linear(dim, 3 * dim, device),
            q_norm: layer_norm(head_dim, device),
            k_norm: layer_norm(head_dim, device),
            proj: linear(dim, dim, device),
            n_head: config.num_attention_heads,
        }
    }

    /// Normed queries and keys, and values, of `x`, `[batch, slots, dim]`: `[batch, heads, slots, head_dim]` each.
    fn project(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [q, k, v] = split_heads(self.qkv.forward(x), self.n_head);
        [normed(&self.q_norm, q), normed(&self.k_norm, k), v]
    }

    /// Causal attention over a whole sequence: `x` is `[batch, slots, dim]`, `mask` is `[1, 1, slots, slots]`.
    pub fn forward(&self, x: Tensor<3>, mask: &Tensor<4>, dropout: Dropout) -> Tensor<3> {
        let attended = attention(self.project(x), mask, dropout.attention);
        drop(self.proj.forward(merge_heads(attended)), dropout.projection)
    }

    /// What becomes of queries and keys.
    fn heads(&self) -> Heads {
        Heads::LayerNorm { query: affine(&self.q_norm), key: affine(&self.k_norm), epsilon: EPSILON }
    }
}

/// The feed-forward layer: `fc2(gelu(fc1 x))`, with the exact GELU.
#[derive(Module, Debug)]
pub struct Mlp {
    fc1: Linear,
    fc2: Linear,
}

impl Mlp {
    /// `x` is `[batch, slots, dim]`.
    fn forward(&self, x: Tensor<3>, dropout: f64) -> Tensor<3> {
        let hidden = drop(gelu(self.fc1.forward(x)), dropout);
        drop(self.fc2.forward(hidden), dropout)
    }
}

/// One block: attention and feed-forward, each shifted, scaled and gated by AdaLN (`rar.py`, `Block`).
#[derive(Module, Debug)]
pub struct Block {
    norm1: LayerNorm,
    attn: Attention,
    norm2: LayerNorm,
    mlp: Mlp,
    ada_ln_modulation: Linear,
}

impl Block {
    fn new(config: &RarConfig, device: &Device) -> Self {
        let (dim, hidden) = (config.hidden_size, config.intermediate_size);
        Self {
            norm1: layer_norm(dim, device),
            attn: Attention::new(config, device),
            norm2: layer_norm(dim, device),
            mlp: Mlp { fc1: linear(dim, hidden, device), fc2: linear(hidden, dim, device) },
            ada_ln_modulation: zero_linear(dim, 6 * dim, device),
        }
    }

    /// What [`Rar::conditions`] do to this block: shift, scale and gate of attention and of the feed-forward layer, side
    /// by side. `[batch, slots, dim]` to `[batch, slots, 6 * dim]`
    pub fn modulation(&self, conditions: Tensor<3>) -> Tensor<3> {
        self.ada_ln_modulation.forward(conditions)
    }

    /// `x` is `[batch, slots, dim]`; `attention` is how the block's attention is applied to such a tensor.
    pub fn forward(
        &self,
        x: Tensor<3>,
        modulation: &Tensor<3>,
        attention: impl FnOnce(&Attention, Tensor<3>) -> Tensor<3>,
        dropout: Dropout,
    ) -> Tensor<3> {
        let [shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp] = chunk(modulation);
        let attended = attention(&self.attn, modulate(normed(&self.norm1, x.clone()), shift_msa, scale_msa));
        let x = x + gate_msa * attended;
        let normed = modulate(normed(&self.norm2, x.clone()), shift_mlp, scale_mlp);
        x + gate_mlp * self.mlp.forward(normed, dropout.projection)
    }

    /// The slots `first_slot..` of a sequence whose earlier slots are in the cache: `x` is `[streams, slots, dim]`.
    fn forward_cached(
        &self,
        x: Tensor<3>,
        modulation: &Tensor<3>,
        first_slot: usize,
        cache: &mut KvCache,
    ) -> Tensor<3> {
        let Self { norm1, attn, norm2, mlp, .. } = self;
        let [shift_msa, scale_msa, gate_msa, shift_mlp, scale_mlp, gate_mlp] = chunk(modulation);
        let qkv =
            projection(&attn.qkv).layer_normed(Some(affine(norm1)), EPSILON, [scale_msa, shift_msa]).of(x.clone());
        let attended = cache.attend(first_slot, qkv, &attn.heads());
        let x = projection(&attn.proj).gated(gate_msa).onto(x).of(attended);
        let hidden = projection(&mlp.fc1).layer_normed(Some(affine(norm2)), EPSILON, [scale_mlp, shift_mlp]);
        let hidden = hidden.activated(Activation::Gelu).of(x.clone());
        projection(&mlp.fc2).gated(gate_mlp).onto(x).of(hidden)
    }
}

/// The last norm, which has no weights of its own (`rar.py`, `FinalLayer`).
#[derive(Module, Debug)]
pub struct AdaLnBeforeHead {
    ada_ln_modulation: Linear,
}

impl AdaLnBeforeHead {
    /// Scale and shift, in this order: `[batch, slots, dim]` to `[batch, slots, 2 * dim]`.
    fn modulation(&self, conditions: Tensor<3>) -> Tensor<3> {
        self.ada_ln_modulation.forward(conditions)
    }
}

/// The network's weights.
#[derive(Module, Debug)]
pub struct Rar {
    /// The first token: `[1, 1, dim]`.
    pub cls_token: Param<Tensor<3>>,
    /// Positions of tokens, after two rows for cls and class: `[1, image_seq_len + 1024, dim]`.
    pub pos_embed: Param<Tensor<3>>,
    /// Positions of the tokens that are predicted, likewise, unless they were merged into the others: `[1, image_seq_len +
    /// 1024, dim]`.
    pub target_aware_pos_embed: Option<Param<Tensor<3>>>,
    /// Indices in the sequence: `[1, image_seq_len + 100, dim]`.
    pub timesteps_embeddings: Param<Tensor<3>>,
    /// Codes, the unused mask token, classes and the null class: `[codebook_size + 1 + classes + 1, dim]`.
    pub embeddings: Embedding,
    /// The blocks.
    pub blocks: Vec<Block>,
    /// The last norm.
    pub adaln_before_head: AdaLnBeforeHead,
    /// To logits: `[dim, codebook_size]`.
    pub lm_head: Linear,
    first_class: usize,
}

impl Rar {
    /// Fresh weights as published: everything N(0, 0.02), cls and all modulations zero. The published truncation lies 100
    /// standard deviations out.
    pub fn new(config: &RarConfig, device: &Device) -> Self {
        let dim = config.hidden_size;
        let table = |rows: usize| normal().init([1, rows, dim], device);
        let rows = config.codebook_size + 1 + config.condition_num_classes + 1;
        Self {
            cls_token: Initializer::Zeros.init([1, 1, dim], device),
            pos_embed: table(config.image_seq_len + SPARE_POSITIONS),
            target_aware_pos_embed: (!config.merged).then(|| table(config.image_seq_len + SPARE_POSITIONS)),
            timesteps_embeddings: table(config.image_seq_len + SPARE_TIMESTEPS),
            embeddings: EmbeddingConfig::new(rows, dim).with_initializer(normal()).init(device),
            blocks: (0..config.num_hidden_layers).map(|_| Block::new(config, device)).collect(),
            adaln_before_head: AdaLnBeforeHead { ada_ln_modulation: zero_linear(dim, 2 * dim, device) },
            lm_head: linear(dim, config.codebook_size, device),
            first_class: config.codebook_size + 1,
        }
    }

    /// What positions add to the inputs of sequences in any order: `order` holds raster indices, `[batch, sites]`. The
    /// last token has no target. `[batch, 2 + sites, dim]`
    pub fn positions(&self, order: Tensor<2, Int>) -> Tensor<3> {
        let [batch, _] = order.dims();
        let device = order.device();
        let rows = order + PREFIX as i32;
        let prefix = Tensor::<1, Int>::arange(0..PREFIX as i64, &device).unsqueeze::<2>().expand([batch, PREFIX]);
        let own = look_up(&self.pos_embed, Tensor::cat(vec![prefix, rows.clone()], 1));
        match &self.target_aware_pos_embed {
            Some(table) => own + without_ends(look_up(table, rows)),
            None => own,
        }
    }

    /// The same for raster order, where both tables merge into one (§3.2): `[1, 2 + sites, dim]`.
    pub fn fused_positions(&self, sites: usize) -> Tensor<3> {
        let own = self.pos_embed.val().slice(s![.., ..PREFIX + sites, ..]);
        match &self.target_aware_pos_embed {
            Some(table) => own + without_ends(table.val().slice(s![.., PREFIX..PREFIX + sites, ..])),
            None => own,
        }
    }

    /// The same network for one order alone, `order` being raster indices: both tables of positions are merged into one, as
    /// after training (§3.2).
    #[must_use]
    pub fn merge(mut self, order: &[u32]) -> Self {
        let Some(targets) = self.target_aware_pos_embed.take() else { return self };
        let own = self.pos_embed.val();
        let ([_, rows, _], device) = (own.dims(), own.device());
        // The slot of the class predicts the first token, that of every token the next one; all others predict nothing.
        let row = |site: &u32| PREFIX + *site as usize;
        let mut targeted = vec![(0, 0.0); rows];
        let slots = std::iter::once(PREFIX - 1).chain(order.iter().map(row));
        slots.zip(order).for_each(|(slot, target)| targeted[slot] = (row(target) as i32, 1.0));
        let (indices, counts): (Vec<i32>, Vec<f32>) = targeted.into_iter().unzip();
        let targets = targets.val().select(1, Tensor::from_data(indices.as_slice(), &device));
        let counts = Tensor::<1>::from_data(counts.as_slice(), &device).reshape([1, rows, 1]);
        self.pos_embed = Param::initialized(self.pos_embed.id, own + targets * counts);
        self
    }

    /// Classes as vectors, `[batch]` to `[batch, 1, dim]`; the number of classes itself is the null class.
    fn class(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        let [batch] = classes.dims();
        self.embeddings.forward((classes + self.first_class as i32).reshape([batch, 1]))
    }

    /// The tokens before those of the picture, without their positions: `[batch]` to `[batch, 2, dim]`.
    pub(crate) fn prefix(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        let class = self.class(classes);
        Tensor::cat(vec![self.cls_token.val().expand(class.dims()), class], 1)
    }

    /// The inputs of the first block. `classes` is `[batch]`, `tokens` is `[batch, tokens]` in the order of `positions`,
    /// `[batch, 2 + tokens or more, dim]`. `[batch, 2 + tokens, dim]`
    pub fn embed(&self, classes: Tensor<1, Int>, tokens: Tensor<2, Int>, positions: Tensor<3>) -> Tensor<3> {
        let [_, length] = tokens.dims();
        Tensor::cat(vec![self.prefix(classes), self.embeddings.forward(tokens)], 1)
            + positions.slice(s![.., ..PREFIX + length, ..])
    }

    /// What the first `slots` slots know of class and index, `[batch, slots, dim]`.
    pub fn class_and_index(&self, classes: Tensor<1, Int>, slots: usize) -> Tensor<3> {
        self.class(classes) + self.timesteps_embeddings.val().slice(s![.., ..slots, ..])
    }

    /// The input of all modulations for the first `slots` slots, activated: `[batch, slots, dim]`.
    pub fn conditions(&self, classes: Tensor<1, Int>, slots: usize) -> Tensor<3> {
        silu(self.class_and_index(classes, slots))
    }

    /// A whole sequence at once; the arguments are those of [`Rar::embed`]. Row `r` of the logits predicts token `r` of
    /// the order: `[batch, 1 + tokens, vocab]`.
    pub fn forward(
        &self,
        classes: Tensor<1, Int>,
        tokens: Tensor<2, Int>,
        positions: Tensor<3>,
        dropout: Dropout,
    ) -> Tensor<3> {
        let x = self.embed(classes.clone(), tokens, positions);
        let modulations = self.modulations(classes, x.dims()[1]);
        self.lm_head.forward(self.through(x, &modulations, dropout).slice(s![.., 1.., ..]))
    }

    /// The loss of training: mean cross entropy of the tokens, `[batch, sites]` in the order of `positions`, in nats, `[1]`
    /// (`losses.py`, `ARLoss`). The other arguments are those of [`Rar::forward`].
    pub fn loss(
        &self,
        classes: Tensor<1, Int>,
        tokens: Tensor<2, Int>,
        positions: Tensor<3>,
        dropout: Dropout,
    ) -> Tensor<1> {
        let sites = tokens.dims()[1];
        // The last row of the logits predicts nothing.
        let logits = self.forward(classes, tokens.clone(), positions, dropout).slice(s![.., ..sites, ..]);
        cross_entropy(logits.cast(DType::F32), tokens)
    }

    /// Whole sequences through all blocks and the last norm: `x` is `[batch, slots, dim]`.
    pub(crate) fn through(&self, x: Tensor<3>, modulations: &Modulations, dropout: Dropout) -> Tensor<3> {
        let slots = x.dims()[1];
        let mask = causal_mask(slots, &x.device());
        let x = self.blocks.iter().zip(&modulations.blocks).fold(x, |x, (block, modulation)| {
            block.forward(x, modulation, |attn, x| attn.forward(x, &mask, dropout), dropout)
        });
        last_norm(x, &modulations.head)
    }

    /// The slots `first..` of sequences whose earlier slots are in the caches, through all blocks: `x` is
    /// `[streams, slots, dim]`, the modulations are those of the whole sequences.
    fn through_cached(
        &self,
        x: Tensor<3>,
        first: usize,
        modulations: &Modulations,
        caches: &mut [KvCache],
    ) -> Tensor<3> {
        let end = first + x.dims()[1];
        let blocks = self.blocks.iter().zip(&modulations.blocks).zip(caches);
        blocks.fold(x, |x, ((block, modulation), cache)| {
            block.forward_cached(x, &of_slots(modulation, first..end), first, cache)
        })
    }

    /// The same and the last norm.
    pub(crate) fn extend(
        &self,
        x: Tensor<3>,
        first: usize,
        modulations: &Modulations,
        caches: &mut [KvCache],
    ) -> Tensor<3> {
        let end = first + x.dims()[1];
        last_norm(self.through_cached(x, first, modulations, caches), &of_slots(&modulations.head, first..end))
    }

    /// The same, and the logits of the last slot: `[streams, 1, vocab]`.
    fn next(&self, x: Tensor<3>, first: usize, modulations: &Modulations, caches: &mut [KvCache]) -> Tensor<3> {
        let last = first + x.dims()[1] - 1;
        let stream = self.through_cached(x, first, modulations, caches).slice(s![.., -1.., ..]);
        let scale_and_shift = chunk(&of_slots(&modulations.head, last..last + 1));
        projection(&self.lm_head).layer_normed(None, EPSILON, scale_and_shift).of(stream)
    }

    /// The modulations of the first `slots` slots in every block and before the head.
    pub(crate) fn modulations(&self, classes: Tensor<1, Int>, slots: usize) -> Modulations {
        let conditions = self.conditions(classes, slots);
        Modulations {
            blocks: self.blocks.iter().map(|block| block.modulation(conditions.clone())).collect(),
            head: self.adaln_before_head.modulation(conditions),
        }
    }
}

/// What is said of some slots, of `[batch, slots, dim]`.
fn of_slots(modulation: &Tensor<3>, slots: Range<usize>) -> Tensor<3> {
    modulation.clone().slice(s![.., slots, ..])
}

/// `x` scaled and shifted, all `[batch, slots, dim]`.
fn modulate(x: Tensor<3>, shift: Tensor<3>, scale: Tensor<3>) -> Tensor<3> {
    x * (scale + 1.0) + shift
}

/// The last norm, modulated: `x` is `[batch, slots, dim]`.
fn last_norm(x: Tensor<3>, modulation: &Tensor<3>) -> Tensor<3> {
    let [scale, shift] = chunk(modulation);
    modulate(normalise(x), shift, scale)
}

/// A layer norm without weights: `[batch, slots, dim]`.
fn normalise(x: Tensor<3>) -> Tensor<3> {
    let ones = Tensor::ones([x.dims()[2]], (&x.device(), x.dtype()));
    layer_normed(x, ones, None, EPSILON)
}

/// Rows of a table, `[1, rows, dim]`, at indices `[batch, slots]`: `[batch, slots, dim]`.
fn look_up(table: &Param<Tensor<3>>, indices: Tensor<2, Int>) -> Tensor<3> {
    burn::tensor::module::embedding(table.val().squeeze_dim(0), indices)
}

/// A row of zeros before and behind: `[batch, sites, dim]` to `[batch, 2 + sites, dim]`.
fn without_ends(targets: Tensor<3>) -> Tensor<3> {
    let [batch, _, dim] = targets.dims();
    let nothing = Tensor::zeros([batch, 1, dim], (&targets.device(), targets.dtype()));
    Tensor::cat(vec![nothing.clone(), targets, nothing], 1)
}

/// A projection N(0, 0.02) with a bias of zero.
fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    let bias = Initializer::Zeros.init([outputs], device);
    Linear { weight: normal().init([inputs, outputs], device), bias: Some(bias) }
}

/// A projection that is zero at first: AdaLN-zero.
fn zero_linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).with_initializer(Initializer::Zeros).init(device)
}

fn normed<const D: usize>(norm: &LayerNorm, x: Tensor<D>) -> Tensor<D> {
    layer_normed(x, norm.gamma.val(), norm.beta.as_ref().map(Param::val), EPSILON)
}

/// Gains and biases of a norm.
fn affine(norm: &LayerNorm) -> [Tensor<1>; 2] {
    let gamma = norm.gamma.val();
    let beta = norm.beta.as_ref().map_or_else(|| gamma.zeros_like(), Param::val);
    [gamma, beta]
}

fn layer_norm(dim: usize, device: &Device) -> LayerNorm {
    LayerNormConfig::new(dim).with_epsilon(EPSILON).init(device)
}

/// AdaLN modulations of a run, `[streams, slots, 6 * dim]` for each block and `[streams, slots, 2 * dim]` for the head.
#[derive(Debug, Clone)]
pub struct Modulations {
    blocks: Vec<Tensor<3>>,
    head: Tensor<3>,
}

/// What is remembered between calls.
struct Run {
    lattice: Lattice,
    prompt: Prompt,
    modulations: Modulations,
    cache: Vec<KvCache>,
    /// The tokens so far, in the order in which they were told.
    told: Vec<(Site, Token)>,
    /// Slots whose keys and values in the cache are final.
    settled: usize,
    /// The site that was predicted last and not yet told.
    asked: Option<Site>,
}

/// RAR behind the seam.
pub struct RarNetwork {
    weights: Rar,
    config: RarConfig,
    spec: Spec,
    device: Device,
    run: Option<Run>,
}

impl RarNetwork {
    /// Wraps weights whose picture is `grid` tokens.
    ///
    /// # Errors
    /// If the grid has another number of tokens than the configuration.
    pub fn new(weights: Rar, config: RarConfig, grid: Grid, device: &Device) -> Result<Self> {
        config.check_grid(grid, grid)?;
        let spec = Spec {
            family: FAMILY.name,
            classes: config.condition_num_classes,
            vocab: config.codebook_size,
            lattice: Lattice::grid(grid.rows, grid.cols),
            parameters: weights.num_params(),
            abilities: config.abilities(),
        };
        Ok(Self { weights, config, spec, device: device.clone(), run: None })
    }

    /// The classes of the streams: `[streams]`.
    fn streams(&self, prompt: &Prompt) -> Tensor<1, Int> {
        let classes: Vec<i32> = prompt.streams(self.spec.classes).iter().map(|class| *class as i32).collect();
        Tensor::from_data(classes.as_slice(), &self.device)
    }

    /// The inputs of the slots that are not yet settled, the last of which predicts `target`: `[streams, slots, dim]`.
    ///
    /// The whole prefix is embedded again: some rows of tables, against all weights that a step reads.
    fn pending(&self, run: &Run, target: Site) -> Tensor<3> {
        let classes = self.streams(&run.prompt);
        let [streams] = classes.dims();
        // The target stands last, with any code for its own slot, which is cut off.
        let (order, tokens): (Vec<i32>, Vec<i32>) =
            run.told.iter().chain(&[(target, 0)]).map(|(site, token)| (site.0 as i32, *token as i32)).unzip();
        let row = |values: Vec<i32>| Tensor::<1, Int>::from_data(values.as_slice(), &self.device).unsqueeze::<2>();
        let length = order.len();
        let positions = self.weights.positions(row(order));
        let x = self.weights.embed(classes, row(tokens).expand([streams, length]), positions);
        x.slice(s![.., run.settled..PREFIX + run.told.len(), ..])
    }

    /// Feeds what is pending; logits for `target`, `[streams, 1, vocab]`.
    fn feed(&self, run: &mut Run, target: Site) -> Tensor<3> {
        let x = self.pending(run, target);
        let logits = self.weights.next(x, run.settled, &run.modulations, &mut run.cache);
        run.settled = PREFIX + run.told.len();
        logits
    }
}

impl Network for RarNetwork {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        check_class(prompt.class, &self.spec)?;
        let [grid] = lattice.scales() else {
            return Err(Error::control("model", "RAR works on one grid of tokens", "Choose a VQ tokenizer"));
        };
        self.config.check_grid(self.spec.lattice.finest(), *grid)?;
        let slots = 1 + lattice.len();
        let modulations = match self.run.take() {
            Some(run) if run.prompt == *prompt => run.modulations,
            _ => self.weights.modulations(self.streams(prompt), slots),
        };
        let streams = modulations.head.dims()[0];
        let (heads, head_dim) = (self.config.num_attention_heads, self.config.head_dim());
        let cache = || KvCache::new(streams, heads, head_dim, slots.next_multiple_of(8), &self.device);
        self.run = Some(Run {
            lattice: lattice.clone(),
            prompt: *prompt,
            modulations,
            cache: (0..self.config.num_hidden_layers).map(|_| cache()).collect(),
            told: Vec::new(),
            settled: 0,
            asked: None,
        });
        Ok(())
    }

    fn teacher_forced(&mut self, class: u32, order: &[Site], tokens: &[Token]) -> Result<Option<Tensor<3>>> {
        check_class(class, &self.spec)?;
        let classes = Tensor::from_data([class], &self.device);
        let order: Vec<Token> = order.iter().map(|site| site.0).collect();
        let [order, tokens] = [&order, tokens].map(|row| to_codes(row, &self.device));
        let sites = tokens.dims()[1];
        let logits = self.weights.forward(classes, tokens, self.weights.positions(order), Dropout::default());
        Ok(Some(logits.slice(s![.., ..sites, ..])))
    }

    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let mut run = self.run.take().ok_or_else(not_begun)?;
        let logits = check_visit(visit, &run.lattice).and_then(|()| {
            let &[site] = visit else {
                return Err(Error::control("steps", "RAR makes one token at a time", "Choose one token per step"));
            };
            if run.told.len() == run.lattice.len() {
                return Err(Error::control("order", "every token is made already", "Start the run again"));
            }
            if run.asked.replace(site).is_some() {
                // The last prediction was not used: its slot had another target.
                run.settled -= 1;
            }
            Ok(self.feed(&mut run, site))
        });
        self.run = Some(run);
        logits
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        check_visit(visit, &run.lattice)?;
        check_tokens(visit, tokens, self.spec.vocab)?;
        if run.told.len() + visit.len() > run.lattice.len() {
            return Err(Error::control("order", "it visits more tokens than the grid has", "Choose another order"));
        }
        if run.asked.is_some_and(|asked| visit != [asked]) {
            return Err(Error::control("decoding", "told other sites than were predicted", "Start the run again"));
        }
        run.asked = None;
        run.told.extend(visit.iter().copied().zip(tokens.iter().copied()));
        Ok(())
    }
}
