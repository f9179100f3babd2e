//! VAR: autoregression over scales instead of tokens (Tian et al., arXiv 2404.02905).
//!
//! Published code: `FoundationVision/VAR`, `models/var.py` and `models/basic_var.py`. A picture is a pyramid of token maps
//! from 1 × 1 to 16 × 16 ([`var_vqvae`](crate::tokenizers::var_vqvae)). The transformer reads, at every site of a scale,
//! what the coarser scales add up to there, and predicts all tokens of the scale at once (§3.2):
//!
//! ```text
//! read     [class]      ↑f̂(r₁)         ↑f̂(r₁ r₂)           …
//! predict  r₁ (1 × 1)   r₂ (2 × 2)     r₃ (3 × 3)          …
//! ```
//!
//! The class is the start token and, through adaptive layer norms, turns every block; those vectors depend on the class
//! alone and are computed once per picture. Queries and keys are unit vectors with a learnt temperature per head. Inside
//! a scale all sites see each other and every coarser site, so decoding needs no mask, only the cache.
//!
//! In- and outpainting and class-conditional editing (§6) keep the source's tokens where [`Lattice::masked`] says so:
//! the network is told given and made tokens of a scale together, and only what the finer scales read depends on the mix.
//!
//! Attention runs on [`cached_attention`](andamento_shaders::cached_attention), which takes any number of queries, tile
//! by tile: the scores of d36's last scale would fill 660 MB where no kernel avoids them. The queries carry what takes
//! its factor `1/√head_dim` back.
//!
//! Field names are the published state dict's keys.

#![expect(non_snake_case, reason = "the published state dict's keys are field names")]

use std::f64::consts::LN_10;
use std::ops::Range;

use andamento_shaders::{Activation, Heads, Projection};
use burn::module::{Module, Param};
use burn::nn::activation::SiLU;
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig};
use burn::prelude::*;
use burn::tensor::{Distribution, Int, s};
use serde::{Deserialize, Serialize};

use super::llamagen::{KvCache, merge_heads, projection, split_heads};
use super::{Family, Preset, configuration, to_value};
use crate::bench::Work;
use crate::checkpoint::KeyMap;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role};
use crate::kernels::{attention, gelu_tanh, layer_normed};
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{
    Abilities, Network, Orders, Pace, Prompt, Spec, check_class, check_tokens, check_visit, not_begun,
};
use crate::order::SCALES;
use crate::sample::{Guidance, Sampling};
use crate::schedule::Schedule;
use crate::tokenizers::layers::{UNIT_EPSILON, l2_normalise};
use crate::tokenizers::var_vqvae::{
    self, MultiScaleQuantizer, PATCH_NUMS_256, PATCH_NUMS_512, QUANTIZER_KEYS, QuantizerAlone, VqVaeConfig,
    check_patch_nums,
};
use crate::{Error, Result};

/// Sizes of the network; the names are those of `var.py`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VarConfig {
    /// Number of blocks.
    pub depth: usize,
    /// Width of the residual stream.
    pub embed_dim: usize,
    /// Number of attention heads.
    pub num_heads: usize,
    /// Number of classes, without the null class of guidance.
    pub num_classes: usize,
    /// Number of codes of the tokenizer (`V`).
    pub vocab_size: usize,
    /// Length of a code of the tokenizer.
    pub Cvae: usize,
    /// Sides of the scales in tokens, from coarse to fine.
    pub patch_nums: Vec<usize>,
    /// Whether all blocks share one projection of the class (d36), or have one each.
    pub shared_aln: bool,
    /// Whether queries and keys are unit vectors, as in all released files.
    pub attn_l2_norm: bool,
}

/// VAR's keys. Tables of the scale and the mask of training are stored as well, and computed here.
pub const VAR_KEYS: KeyMap =
    KeyMap { to_ours: None, to_published: None, leftovers: &["lvl_1L", "attn_bias_for_masking", "zero_k_bias"] };

/// VAR for the registry.
pub const FAMILY: Family = Family {
    name: "VAR",
    paper: "Visual Autoregressive Modeling: Scalable Image Generation via Next-Scale Prediction (arXiv 2404.02905)",
    abilities: |config| Ok(configuration::<VarConfig>(config)?.abilities()),
    build: |parts| {
        let config: VarConfig = configuration(parts.config)?;
        config.check()?;
        let tokenizer: VqVaeConfig = configuration(parts.tokenizer)?;
        tokenizer.check()?;
        if (tokenizer.vocab_size, tokenizer.z_channels) != (config.vocab_size, config.Cvae) {
            let cause = "the codes of VAR and of its tokenizer differ in number or length";
            return Err(Error::control("tokenizer", cause, "Choose the tokenizer it was trained with"));
        }
        let weights = parts.weights.fill(Var::new(&config, parts.device), &VAR_KEYS)?;
        let quantizer = QuantizerAlone::new(&tokenizer, parts.device);
        let quantizer = parts.tokenizer_weights.fill(quantizer, &QUANTIZER_KEYS)?;
        Ok(Box::new(VarNetwork::new(weights, quantizer.quantize, config, parts.device)))
    },
    presets: || {
        let preset = |(name, depth)| {
            let config = VarConfig::published(depth);
            let grid = config.patch_nums.last().copied().unwrap_or(0);
            Preset {
                name,
                grid,
                side: 16 * grid as u32,
                tokenizer: (var_vqvae::FAMILY.name, if grid == 16 { "256" } else { "512" }),
                steps: config.patch_nums.len(),
                config: to_value(&config),
                guidance: Guidance::Scales { scale: 1.5 },
                sampling: Sampling { top_k: 900, top_p: 0.96, ..Sampling::default() },
            }
        };
        PRESETS.into_iter().map(preset).collect()
    },
    cost: |config, plan, step, streams| {
        let config: VarConfig = configuration(config)?;
        let visit = &plan.visits[step];
        let work = Work {
            blocks: (4 + 2 * MLP_RATIO) * config.depth * config.embed_dim.pow(2),
            head: config.vocab_size * config.embed_dim,
            layers: config.depth,
            width: config.embed_dim,
            fed: visit.told.len() + visit.sites.len(),
            asked: visit.sites.len(),
            visible: visit.known + visit.sites.len(),
            streams,
        };
        Ok(work.cost())
    },
    recognise,
};

/// VAR by its tensors: AdaLN of its own per block or shared, with or without cosine attention.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let [1, tokens, dim] = *manifest.shape("pos_1LC")? else { return None };
    let scales = manifest.axis("lvl_embed.weight", 0)?;
    let depth = manifest.count("blocks.");
    let codes = manifest.axis("head.weight", 0)?;
    let code = manifest.axis("word_embed.weight", 1)?;
    let classes = manifest.axis("class_emb.weight", 0)?.checked_sub(1)?;
    let shared = manifest.tensors.contains_key("shared_ada_lin.1.weight");
    let cosine = manifest.axis("blocks.0.attn.scale_mul_1H11", 1);
    let heads = cosine.unwrap_or(if dim.is_multiple_of(64) { dim / 64 } else { depth });
    let sides = patch_nums(manifest.levels.as_deref(), tokens, scales)?;
    let grid = *sides.last()?;
    let mut layout = Layout::default();
    layout.bare("pos_start", &[1, sides.first()?.pow(2), dim]);
    layout.bare("pos_1LC", &[1, tokens, dim]);
    layout.linear("word_embed", dim, code);
    layout.weight("class_emb", &[classes + 1, dim]);
    layout.weight("lvl_embed", &[scales, dim]);
    if shared {
        layout.linear("shared_ada_lin.1", 6 * dim, dim);
    }
    for block in (0..depth).map(|block| format!("blocks.{block}")) {
        if shared {
            layout.bare(format!("{block}.ada_gss"), &[1, 1, 6, dim]);
        } else {
            layout.linear(&format!("{block}.ada_lin.1"), 6 * dim, dim);
        }
        if let Some(heads) = cosine {
            layout.bare(format!("{block}.attn.scale_mul_1H11"), &[1, heads, 1, 1]);
        }
        layout.bare(format!("{block}.attn.q_bias"), &[dim]);
        layout.bare(format!("{block}.attn.v_bias"), &[dim]);
        layout.weight(&format!("{block}.attn.mat_qkv"), &[3 * dim, dim]);
        layout.linear(&format!("{block}.attn.proj"), dim, dim);
        layout.linear(&format!("{block}.ffn.fc1"), 4 * dim, dim);
        layout.linear(&format!("{block}.ffn.fc2"), dim, 4 * dim);
    }
    layout.linear("head_nm.ada_lin.1", 2 * dim, dim);
    layout.linear("head", codes, dim);
    let config = VarConfig {
        depth,
        embed_dim: dim,
        num_heads: heads,
        num_classes: classes,
        vocab_size: codes,
        Cvae: code,
        patch_nums: sides,
        shared_aln: shared,
        attn_l2_norm: cosine.is_some(),
    };
    Some(Recognised {
        family: FAMILY.name,
        size: if dim == 64 * depth { format!("d{depth}") } else { format!("{dim}x{depth}") },
        config: to_value(&config),
        layout,
        leftovers: VAR_KEYS.leftovers,
        licence: "MIT",
        role: Role::Generator {
            tokenizers: vec!["VAR VQVAE".into()],
            codes,
            classes,
            grid,
            cache: (2 * depth * tokens * dim) as u64,
            activations: (grid * grid * (16 * dim + codes + heads * tokens)) as u64,
        },
    })
}

/// The sides of the scales: the roots of the run lengths of `lvl_1L`, or of the published list of as many scales and
/// tokens where a file leaves that table out.
fn patch_nums(levels: Option<&[i64]>, tokens: usize, scales: usize) -> Option<Vec<usize>> {
    let sides: Vec<usize> = match levels {
        Some(levels) => levels.chunk_by(|a, b| a == b).map(|run| run.len().isqrt()).collect(),
        None => [PATCH_NUMS_256, PATCH_NUMS_512]
            .into_iter()
            .find(|sides| sides.iter().map(|side| side * side).sum::<usize>() == tokens)?
            .into(),
    };
    let fits = sides.len() == scales && sides.iter().map(|side| side * side).sum::<usize>() == tokens;
    fits.then_some(sides)
}

/// The released networks and their depths: d16 to d30 for 256 × 256 pixels, d36 for 512 × 512.
pub const PRESETS: [(&str, usize); 5] = [("d16", 16), ("d20", 20), ("d24", 24), ("d30", 30), ("d36", 36)];

/// Added to the variance in every layer norm (`var.py`, `norm_eps`).
const NORM_EPS: f64 = 1e-6;
/// The width of the feed-forward layer in widths of the stream (`var.py`, `mlp_ratio`).
const MLP_RATIO: usize = 4;
/// The factor of scores where queries and keys are no unit vectors (`basic_var.py`, `SelfAttention`), before `1/√head_dim`.
const PLAIN_SCALE: f64 = 0.25;
/// The largest logarithm of a head's temperature (`basic_var.py`, `max_scale_mul`): ln 100.
const MAX_SCALE_MUL: f64 = 2.0 * LN_10;

impl VarConfig {
    /// The released network of a depth (equation 7: width 64 d, d heads).
    pub fn published(depth: usize) -> Self {
        let large = depth == 36;
        Self {
            depth,
            embed_dim: 64 * depth,
            num_heads: depth,
            num_classes: 1000,
            vocab_size: 4096,
            Cvae: 32,
            patch_nums: if large { PATCH_NUMS_512.into() } else { PATCH_NUMS_256.into() },
            shared_aln: large,
            attn_l2_norm: true,
        }
    }

    /// What a network of these sizes can be asked to do.
    pub fn abilities(&self) -> Abilities {
        Abilities {
            orders: Orders::Only { order: SCALES, reason: "VAR makes the whole picture at once, ever finer" },
            pace: Pace::Fixed { schedule: Schedule::Scales, reason: "VAR makes a whole scale in a step" },
            smooth: Ok(()),
            scales: self.patch_nums.len(),
        }
    }

    /// Width of one attention head.
    pub fn head_dim(&self) -> usize {
        self.embed_dim / self.num_heads
    }

    /// The scales, from coarse to fine.
    pub fn scales(&self) -> Vec<Grid> {
        self.patch_nums.iter().map(|side| Grid::new(*side, *side)).collect()
    }

    /// The share of residual branches that the last block drops in training (equation 7).
    pub fn drop_path_rate(&self) -> f64 {
        0.1 * self.depth as f64 / 24.0
    }

    /// The factor on the initial gains of residual branches (`--alng` of the published recipes, by depth).
    fn init_adaln_gamma(&self) -> f64 {
        match self.depth {
            ..=20 => 1e-3,
            21..=24 => 1e-4,
            25..=30 => 1e-5,
            31.. => 5e-6,
        }
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let sizes = [self.depth, self.embed_dim, self.num_heads, self.num_classes, self.vocab_size, self.Cvae];
        let cause = if sizes.contains(&0) {
            "every size must be at least 1"
        } else if !self.embed_dim.is_multiple_of(self.num_heads) {
            "embed_dim must be a multiple of num_heads"
        } else {
            return check_patch_nums(&self.patch_nums);
        };
        Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// Attention without a bias on the keys (`SelfAttention`).
#[derive(Module, Debug)]
pub struct SelfAttention {
    /// The logarithm of each head's temperature, `[1, heads, 1, 1]`, where queries and keys are unit vectors.
    scale_mul_1H11: Option<Param<Tensor<4>>>,
    mat_qkv: Linear,
    q_bias: Param<Tensor<1>>,
    v_bias: Param<Tensor<1>>,
    proj: Linear,
    num_heads: usize,
}

impl SelfAttention {
    fn new(config: &VarConfig, device: &Device) -> Self {
        let dim = config.embed_dim;
        let temperature = Initializer::Constant { value: 4f64.ln() };
        let bias = || Initializer::Zeros.init([dim], device);
        Self {
            scale_mul_1H11: config.attn_l2_norm.then(|| temperature.init([1, config.num_heads, 1, 1], device)),
            mat_qkv: LinearConfig::new(dim, 3 * dim).with_bias(false).with_initializer(normal(dim, 1.0)).init(device),
            q_bias: bias(),
            v_bias: bias(),
            proj: linear(dim, dim, normal(dim, residual_gain(config)), device),
            num_heads: config.num_heads,
        }
    }

    /// The bias of the fused projection: `[3 * dim]`.
    fn bias(&self) -> Tensor<1> {
        let (q_bias, v_bias) = (self.q_bias.val(), self.v_bias.val());
        Tensor::cat(vec![q_bias.clone(), q_bias.zeros_like(), v_bias], 0)
    }

    /// The temperature of each head, which also takes the factor of attention's scores back: `[1, heads, 1, 1]`.
    fn temperature(&self, scale_mul: &Param<Tensor<4>>) -> Tensor<4> {
        let head_dim = self.q_bias.dims()[0] / self.num_heads;
        scale_mul.val().clamp_max(MAX_SCALE_MUL).exp() * (head_dim as f64).sqrt()
    }

    /// What a run needs to know of the fused projection.
    fn constants(&self) -> Constants {
        let heads = match &self.scale_mul_1H11 {
            Some(scale_mul) => Heads::Unit { temperature: self.temperature(scale_mul), epsilon: UNIT_EPSILON },
            None => Heads::Scaled { factor: PLAIN_SCALE },
        };
        Constants { bias: self.bias(), heads }
    }

    /// Queries, keys and values of `x`, `[batch, slots, dim]`: `[batch, heads, slots, head_dim]` each, the queries with
    /// all factors of the scores but `1/√head_dim`.
    fn project(&self, x: Tensor<3>) -> [Tensor<4>; 3] {
        let [q, k, v] = split_heads(self.mat_qkv.forward(x) + self.bias().unsqueeze(), self.num_heads);
        match &self.scale_mul_1H11 {
            Some(scale_mul) => [l2_normalise(q) * self.temperature(scale_mul), l2_normalise(k), v],
            None => [q * PLAIN_SCALE, k, v],
        }
    }
}

/// What a run needs to know of a block's fused projection, made of weights alone.
#[derive(Debug, Clone)]
struct Constants {
    /// `[3 * dim]`
    bias: Tensor<1>,
    heads: Heads,
}

/// The feed-forward layer (`FFN`).
#[derive(Module, Debug)]
pub struct Ffn {
    fc1: Linear,
    fc2: Linear,
}

impl Ffn {
    fn new(config: &VarConfig, device: &Device) -> Self {
        let (dim, hidden) = (config.embed_dim, MLP_RATIO * config.embed_dim);
        Self {
            fc1: linear(dim, hidden, normal(dim, 1.0), device),
            fc2: linear(hidden, dim, normal(dim, residual_gain(config)), device),
        }
    }

    /// `x` is `[batch, slots, dim]`.
    fn forward(&self, x: Tensor<3>) -> Tensor<3> {
        self.fc2.forward(gelu_tanh(self.fc1.forward(x)))
    }
}

/// Layer norm without weights: `[batch, slots, dim]`.
fn plain_norm(x: Tensor<3>) -> Tensor<3> {
    let ones = Tensor::ones([x.dims()[2]], (&x.device(), x.dtype()));
    layer_normed(x, ones, None, NORM_EPS)
}

/// SiLU and a projection (`nn.Sequential`).
type AdaLin = (SiLU, Linear);

/// `count` vectors per picture from the class, `[batch, dim]`: `[batch, 1, count, dim]`.
fn modulations(ada_lin: &AdaLin, class: Tensor<2>, count: usize) -> Tensor<4> {
    let [batch, dim] = class.dims();
    ada_lin.1.forward(ada_lin.0.forward(class)).reshape([batch, 1, count, dim])
}

/// One of several vectors per picture, `[batch, 1, count, dim]`: `[batch, 1, dim]`.
fn vector(of: &Tensor<4>, index: usize) -> Tensor<3> {
    of.clone().slice(s![.., .., index..index + 1, ..]).squeeze_dim(2)
}

/// What a class does to a block: gains of its two residual branches, and the scale and shift of the norm before each.
/// `[batch, 1, dim]` each.
#[derive(Debug, Clone)]
pub struct Modulation {
    gamma: [Tensor<3>; 2],
    scale: [Tensor<3>; 2],
    shift: [Tensor<3>; 2],
}

impl Modulation {
    /// The input of a branch: `x`, `[batch, slots, dim]`, normalised, scaled and shifted.
    fn before(&self, branch: usize, x: Tensor<3>) -> Tensor<3> {
        plain_norm(x) * (self.scale[branch].clone() + 1.0) + self.shift[branch].clone()
    }
}

/// What a block computes, `[batch, slots, dim]` each.
#[derive(Debug, Clone)]
pub struct BlockOutput {
    /// The attention's branch, before its gain.
    pub attention: Tensor<3>,
    /// The feed-forward branch, before its gain.
    pub feed_forward: Tensor<3>,
    /// The residual stream after the block.
    pub stream: Tensor<3>,
}

/// One block (`AdaLNSelfAttn`).
#[derive(Module, Debug)]
pub struct AdaLnSelfAttn {
    attn: SelfAttention,
    ffn: Ffn,
    /// The projection of the class, where every block has its own.
    ada_lin: Option<AdaLin>,
    /// What the block adds to the shared projection: `[1, 1, 6, dim]`.
    ada_gss: Option<Param<Tensor<4>>>,
}

impl AdaLnSelfAttn {
    fn new(config: &VarConfig, device: &Device) -> Self {
        let dim = config.embed_dim;
        let gains = init_gains(config, device);
        let ada_gss = || -> Param<Tensor<4>> {
            let fresh = Tensor::random([1, 1, 6, dim], Distribution::Normal(0.0, (dim as f64).powf(-0.5)), device);
            Param::from_tensor(fresh * gains.clone().reshape([1, 1, 6, 1]))
        };
        let ada_lin = || {
            let mut lin = linear(dim, 6 * dim, normal(dim, 1.0), device);
            let columns = gains.clone().repeat_dim(1, dim).reshape([1, 6 * dim]);
            lin.weight = lin.weight.map(|weight| weight * columns);
            (SiLU, lin)
        };
        Self {
            attn: SelfAttention::new(config, device),
            ffn: Ffn::new(config, device),
            ada_lin: (!config.shared_aln).then(ada_lin),
            ada_gss: config.shared_aln.then(ada_gss),
        }
    }

    /// The vectors of the class, `[batch, dim]`; `shared` is the projection that all blocks share, where there is one.
    fn modulation(&self, class: &Tensor<2>, shared: Option<&Tensor<4>>) -> Modulation {
        let [batch, dim] = class.dims();
        let own = self.ada_lin.as_ref().map(|ada_lin| modulations(ada_lin, class.clone(), 6));
        let added = self.ada_gss.as_ref().map(|ada_gss| ada_gss.val().expand([batch, 1, 6, dim]));
        let six = [own, shared.cloned(), added].into_iter().flatten().reduce(|sum, part| sum + part);
        let six = six.unwrap_or_else(|| Tensor::zeros([batch, 1, 6, dim], &class.device()));
        let pair = |first: usize| [vector(&six, first), vector(&six, first + 1)];
        Modulation { gamma: pair(0), scale: pair(2), shift: pair(4) }
    }

    /// `x` is `[batch, slots, dim]`; `attend` takes queries, keys and values, `[batch, heads, slots, head_dim]` each;
    /// `drop` is applied to each branch after its gain.
    pub fn forward(
        &self,
        x: Tensor<3>,
        modulation: &Modulation,
        attend: impl FnOnce([Tensor<4>; 3]) -> Tensor<4>,
        drop: impl Fn(Tensor<3>) -> Tensor<3>,
    ) -> BlockOutput {
        let qkv = self.attn.project(modulation.before(0, x.clone()));
        let attention = self.attn.proj.forward(merge_heads(attend(qkv)));
        let x = x + drop(attention.clone() * modulation.gamma[0].clone());
        let feed_forward = self.ffn.forward(modulation.before(1, x.clone()));
        let stream = x + drop(feed_forward.clone() * modulation.gamma[1].clone());
        BlockOutput { attention, feed_forward, stream }
    }

    /// The stream after the block for the slots `first_slot..`, of which each sees its `visible` first slots of the cache: `x`
    /// is `[streams, slots, dim]`.
    fn forward_cached(
        &self,
        x: Tensor<3>,
        modulation: &Modulation,
        constants: &Constants,
        (first_slot, visible): (usize, &[u32]),
        cache: &mut KvCache,
    ) -> Tensor<3> {
        let Self { attn, ffn, .. } = self;
        let [gain_attn, gain_ffn] = modulation.gamma.clone();
        let before = |branch: usize| [modulation.scale[branch].clone(), modulation.shift[branch].clone()];
        let qkv = Projection::new(attn.mat_qkv.weight.val(), Some(constants.bias.clone()));
        let qkv = qkv.layer_normed(None, NORM_EPS, before(0)).of(x.clone());
        let attended = cache.attend_to(first_slot, qkv, &constants.heads, visible);
        let x = projection(&attn.proj).gated(gain_attn).onto(x).of(attended);
        let hidden = projection(&ffn.fc1).layer_normed(None, NORM_EPS, before(1));
        let hidden = hidden.activated(Activation::GeluTanh).of(x.clone());
        projection(&ffn.fc2).gated(gain_ffn).onto(x).of(hidden)
    }
}

/// The last norm (`AdaLNBeforeHead`).
#[derive(Module, Debug)]
pub struct AdaLnBeforeHead {
    ada_lin: AdaLin,
}

/// What a class does to the whole network.
#[derive(Debug, Clone)]
pub struct Modulations {
    /// To each block.
    pub blocks: Vec<Modulation>,
    /// To the last norm: scale and shift, `[batch, 1, 2, dim]`.
    pub head: Tensor<4>,
}

/// The network's weights.
#[derive(Module, Debug)]
pub struct Var {
    /// Codes of the tokenizer to the width of the network.
    pub word_embed: Linear,
    /// Class labels; the last row is the null class: `[num_classes + 1, dim]`.
    pub class_emb: Embedding,
    /// Added to the start token: `[1, sites of the first scale, dim]`.
    pos_start: Param<Tensor<3>>,
    /// Positions of all sites: `[1, sites, dim]`.
    pos_1LC: Param<Tensor<3>>,
    /// Scales: `[scales, dim]`.
    lvl_embed: Embedding,
    /// The projection of the class that all blocks share (d36).
    shared_ada_lin: Option<AdaLin>,
    /// The blocks.
    pub blocks: Vec<AdaLnSelfAttn>,
    head_nm: AdaLnBeforeHead,
    /// To logits: `[dim, vocab_size]`.
    pub head: Linear,
}

impl Var {
    /// Fresh weights as published (`init_weights`): spread `1/√(3 · dim)`, residual branches almost closed, a flat head.
    pub fn new(config: &VarConfig, device: &Device) -> Self {
        let dim = config.embed_dim;
        let sites = config.scales().iter().map(Grid::len).sum();
        let embedding = |rows| EmbeddingConfig::new(rows, dim).with_initializer(normal(dim, 1.0)).init(device);
        let positions = |sites| normal(dim, 1.0).init([1, sites, dim], device);
        let projection = |gain| (SiLU, linear(dim, if gain == 1.0 { 6 } else { 2 } * dim, normal(dim, gain), device));
        Self {
            word_embed: linear(config.Cvae, dim, normal(dim, 1.0), device),
            class_emb: embedding(config.num_classes + 1),
            pos_start: positions(config.scales()[0].len()),
            pos_1LC: positions(sites),
            lvl_embed: embedding(config.patch_nums.len()),
            shared_ada_lin: config.shared_aln.then(|| projection(1.0)),
            blocks: (0..config.depth).map(|_| AdaLnSelfAttn::new(config, device)).collect(),
            head_nm: AdaLnBeforeHead { ada_lin: projection(INIT_ADALN) },
            head: linear(dim, config.vocab_size, normal(dim, INIT_HEAD), device),
        }
    }

    /// Classes as vectors: `[batch]` to `[batch, dim]`.
    pub fn classes(&self, labels: Tensor<1, Int>) -> Tensor<2> {
        self.class_emb.forward(labels.unsqueeze()).squeeze_dim(0)
    }

    /// What classes, `[batch, dim]`, do to the network.
    pub fn modulations(&self, class: &Tensor<2>) -> Modulations {
        let shared = self.shared_ada_lin.as_ref().map(|ada_lin| modulations(ada_lin, class.clone(), 6));
        Modulations {
            blocks: self.blocks.iter().map(|block| block.modulation(class, shared.as_ref())).collect(),
            head: modulations(&self.head_nm.ada_lin, class.clone(), 2),
        }
    }

    /// What the first block reads at all sites of some neighbouring scales of the pyramid: `[batch, slots, dim]`.
    ///
    /// `inputs`, `[batch or 1, slots, Cvae]`, are the features of these scales, of all but the very first, whose place
    /// the classes, `[batch, dim]`, take.
    pub fn embed(
        &self,
        class: Tensor<2>,
        inputs: Option<Tensor<3>>,
        which: Range<usize>,
        scales: &[Grid],
    ) -> Tensor<3> {
        let [batch, dim] = class.dims();
        let (device, precision) = (class.device(), class.dtype());
        let start = (which.start == 0).then(|| class.unsqueeze_dim(1) + self.pos_start.val());
        let words = inputs.map(|inputs| {
            let words = self.word_embed.forward(inputs.cast(precision));
            let slots = words.dims()[1];
            words.expand([batch, slots, dim])
        });
        let x = Tensor::cat(start.into_iter().chain(words).collect(), 1);
        let levels: Vec<i32> = which.clone().flat_map(|scale| vec![scale as i32; scales[scale].len()]).collect();
        let levels = self.lvl_embed.forward(Tensor::<1, Int>::from_data(levels.as_slice(), &device).unsqueeze());
        let sites = start_of(scales, which.start)..start_of(scales, which.end);
        x + levels + self.pos_1LC.val().slice(s![.., sites, ..])
    }

    /// The last norm of hidden states, `[batch, slots, dim]`.
    pub fn before_head(&self, x: Tensor<3>, modulations: &Modulations) -> Tensor<3> {
        plain_norm(x) * (vector(&modulations.head, 0) + 1.0) + vector(&modulations.head, 1)
    }

    /// The last norm and the head: `[batch, slots, dim]` to logits `[batch, slots, vocab]`.
    fn predictions(&self, x: Tensor<3>, modulations: &Modulations) -> Tensor<3> {
        let scale_and_shift = [0, 1].map(|index| vector(&modulations.head, index));
        projection(&self.head).layer_normed(None, NORM_EPS, scale_and_shift).of(x)
    }

    /// A whole pyramid at once, as in training (`var.py`, `forward`): logits at every site, `[batch, sites, vocab]`.
    /// `scales` may be the first ones of the pyramid alone, as in a stage of progressive training.
    ///
    /// `labels` is `[batch]`, some of them the null class; `inputs`, `[batch, sites of all scales but the first, Cvae]`,
    /// are the tokenizer's [`var_input`](MultiScaleQuantizer::var_input), none for the first scale alone. `drop_path` is
    /// the share of pictures for which the last block's branches are left out, earlier blocks in proportion; 0 in
    /// evaluation.
    pub fn forward(
        &self,
        labels: Tensor<1, Int>,
        inputs: Option<Tensor<3>>,
        drop_path: f64,
        scales: &[Grid],
    ) -> Tensor<3> {
        let class = self.classes(labels);
        let modulations = self.modulations(&class);
        let mut x = self.embed(class, inputs, 0..scales.len(), scales);
        let mask = mask(scales, &x.device()).cast(x.dtype());
        let last = (self.blocks.len() - 1).max(1) as f64;
        for (index, (block, modulation)) in self.blocks.iter().zip(&modulations.blocks).enumerate() {
            let share = drop_path * index as f64 / last;
            x = block.forward(x, modulation, |qkv| attention(qkv, &mask, 0.0), |x| dropped(x, share)).stream;
        }
        self.head.forward(self.before_head(x, &modulations))
    }
}

/// How many sites the sites of some scales see: all up to the end of their own scale.
pub fn visible(which: Range<usize>, scales: &[Grid]) -> Vec<u32> {
    which.flat_map(|scale| vec![start_of(scales, scale + 1) as u32; scales[scale].len()]).collect()
}

/// The additive mask of training (`attn_bias_for_masking`): 0 where a site may look, a large negative number where not.
/// `[1, 1, sites, sites]`
fn mask(scales: &[Grid], device: &Device) -> Tensor<4> {
    let visible = visible(0..scales.len(), scales);
    let sites = visible.len();
    let row = |seen: &u32| (0..sites).map(|key| if key < *seen as usize { 0.0 } else { -1e30 }).collect::<Vec<f32>>();
    let values: Vec<f32> = visible.iter().flat_map(row).collect();
    Tensor::from_data(TensorData::new(values, [1, 1, sites, sites]), device)
}

/// Number of sites in the scales before one.
fn start_of(scales: &[Grid], scale: usize) -> usize {
    scales[..scale].iter().map(Grid::len).sum()
}

/// Leaves the branch out for a share of the pictures and strengthens it for the rest (`DropPath`).
fn dropped(x: Tensor<3>, share: f64) -> Tensor<3> {
    if share == 0.0 {
        return x;
    }
    let pictures = [x.dims()[0], 1, 1];
    let keep = Tensor::random(pictures, Distribution::Bernoulli(1.0 - share), (&x.device(), x.dtype()));
    x * keep / (1.0 - share)
}

/// The factor on initial scales and shifts (`init_adaln`).
const INIT_ADALN: f64 = 0.5;
/// The factor on the head's initial weights (`init_head`).
const INIT_HEAD: f64 = 0.02;

/// The published spread of fresh weights in a network of a width, times a gain.
fn normal(dim: usize, gain: f64) -> Initializer {
    Initializer::Normal { mean: 0.0, std: gain * (3.0 * dim as f64).powf(-0.5) }
}

/// The gain of the last layer of a residual branch.
fn residual_gain(config: &VarConfig) -> f64 {
    (2.0 * config.depth as f64).powf(-0.5)
}

/// The factors on the initial six vectors of a block: `[6, 1]`.
fn init_gains(config: &VarConfig, device: &Device) -> Tensor<2> {
    let (gamma, rest) = (config.init_adaln_gamma(), INIT_ADALN);
    Tensor::<1>::from_floats([gamma, gamma, rest, rest, rest, rest].map(|gain| gain as f32), device).reshape([6, 1])
}

fn linear(inputs: usize, outputs: usize, weights: Initializer, device: &Device) -> Linear {
    let mut lin = LinearConfig::new(inputs, outputs).with_initializer(weights).init(device);
    lin.bias = Some(Initializer::Zeros.init([outputs], device));
    lin
}

/// What is remembered between calls.
struct Run {
    /// The classes of the streams: `[streams, dim]`.
    class: Tensor<2>,
    modulations: Modulations,
    /// Of every block.
    constants: Vec<Constants>,
    cache: Vec<KvCache>,
    /// The scale that is being made; the number of scales when all are.
    scale: usize,
    /// Scales whose keys and values are final in the cache.
    settled: usize,
    /// What the scales from `settled` to `scale` read, but for the very first: `[1, sites, Cvae]` each.
    inputs: Vec<Tensor<3>>,
    /// What all complete scales add up to: `[1, Cvae, rows, cols]`.
    f_hat: Option<Tensor<4>>,
    /// Codes that were told of the scale in the making: `[sites, Cvae]` each.
    codes: Vec<Tensor<2>>,
    /// For each site of that scale, its row in `codes`.
    rows: Vec<Option<i32>>,
    /// The visit that was predicted last and not yet told.
    asked: Vec<Site>,
    /// Shares of the codes for the next visit that is told: `[visit, vocab]`.
    softened: Option<Tensor<2>>,
    /// Whether any visit was softened.
    smooth: bool,
}

/// VAR behind the seam. It holds its tokenizer's quantiser, which turns the tokens of a scale into what the next reads.
pub struct VarNetwork {
    weights: Var,
    quantize: MultiScaleQuantizer,
    config: VarConfig,
    spec: Spec,
    device: Device,
    run: Option<Run>,
}

impl VarNetwork {
    /// Wraps weights and the quantiser of the tokenizer they were trained with.
    pub fn new(weights: Var, quantize: MultiScaleQuantizer, config: VarConfig, device: &Device) -> Self {
        let spec = Spec {
            family: FAMILY.name,
            classes: config.num_classes,
            vocab: config.vocab_size,
            lattice: Lattice::of_scales(config.scales()),
            parameters: weights.num_params(),
            abilities: config.abilities(),
        };
        Self { weights, quantize, config, spec, device: device.clone(), run: None }
    }

    /// Runs the scales from `run.settled` to `run.scale` through the blocks. Hidden states `[streams, slots, dim]`.
    fn feed(&self, run: &mut Run) -> Tensor<3> {
        let scales = self.spec.lattice.scales();
        let which = run.settled..run.scale + 1;
        let inputs = (!run.inputs.is_empty()).then(|| Tensor::cat(run.inputs.clone(), 1));
        let mut x = self.weights.embed(run.class.clone(), inputs, which.clone(), scales);
        let (first_slot, visible) = (start_of(scales, which.start), visible(which, scales));
        let blocks = self.weights.blocks.iter().zip(&run.modulations.blocks).zip(&run.constants).zip(&mut run.cache);
        for (((block, modulation), constants), cache) in blocks {
            x = block.forward_cached(x, modulation, constants, (first_slot, &visible), cache);
        }
        x
    }

    /// Adds the complete scale in the making to what the finer ones read.
    fn complete_scale(&self, run: &mut Run) {
        let scales = self.spec.lattice.scales();
        let rows: Vec<i32> = std::mem::take(&mut run.rows).into_iter().flatten().collect();
        let rows = Tensor::<1, Int>::from_data(rows.as_slice(), &self.device);
        let codes = Tensor::cat(std::mem::take(&mut run.codes), 0).select(0, rows);
        let added = self.quantize.contribution(codes.unsqueeze(), run.scale, scales);
        let f_hat = match run.f_hat.take() {
            Some(f_hat) => f_hat + added,
            None => added,
        };
        run.scale += 1;
        if let Some(next) = scales.get(run.scale) {
            run.inputs.push(self.quantize.input(f_hat.clone(), *next));
            run.rows = vec![None; next.len()];
        }
        run.f_hat = Some(f_hat);
    }
}

impl Network for VarNetwork {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        check_class(prompt.class, &self.spec)?;
        if *lattice != self.spec.lattice {
            let cause = "VAR makes pictures of the size and scales it was trained on, no others";
            return Err(Error::control("picture size", cause, "Choose its own size"));
        }
        let classes = prompt.streams(self.config.num_classes);
        let class = self.weights.classes(Tensor::from_data(classes.as_slice(), &self.device));
        let capacity = lattice.len().next_multiple_of(8);
        let (heads, head_dim) = (self.config.num_heads, self.config.head_dim());
        let cache = || KvCache::new(classes.len(), heads, head_dim, capacity, &self.device);
        self.run = Some(Run {
            modulations: self.weights.modulations(&class),
            class,
            constants: self.weights.blocks.iter().map(|block| block.attn.constants()).collect(),
            cache: (0..self.config.depth).map(|_| cache()).collect(),
            scale: 0,
            settled: 0,
            inputs: Vec::new(),
            f_hat: None,
            codes: Vec::new(),
            rows: vec![None; lattice.scales()[0].len()],
            asked: Vec::new(),
            softened: None,
            smooth: false,
        });
        Ok(())
    }

    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let mut run = self.run.take().ok_or_else(not_begun)?;
        check_visit(visit, &self.spec.lattice)?;
        let lattice = &self.spec.lattice;
        if visit.iter().any(|site| lattice.scale_of(*site) != run.scale) {
            return Err(out_of_turn());
        }
        let hidden = self.feed(&mut run);
        // Its keys and values are final, whatever its own tokens will be: only finer scales read them.
        run.settled = run.scale;
        run.inputs.drain(..run.inputs.len().saturating_sub(1));
        run.asked = visit.to_vec();
        run.softened = None;
        let before = hidden.dims()[1] - lattice.scales()[run.scale].len();
        let first = lattice.scale(run.scale).start;
        let slots: Vec<i32> = visit.iter().map(|site| (site.0 - first) as i32 + before as i32).collect();
        let asked = hidden.select(1, Tensor::from_data(slots.as_slice(), &self.device));
        let logits = self.weights.predictions(asked, &run.modulations);
        self.run = Some(run);
        Ok(logits)
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let mut run = self.run.take().ok_or_else(not_begun)?;
        check_visit(visit, &self.spec.lattice)?;
        check_tokens(visit, tokens, self.spec.vocab)?;
        let asked = std::mem::take(&mut run.asked);
        if !asked.is_empty() && asked != visit {
            return Err(Error::control("decoding", "told other sites than were predicted", "Start the run again"));
        }
        let codes = match run.softened.take() {
            Some(shares) => shares.matmul(self.quantize.embedding.weight.val()),
            None => {
                let tokens: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
                let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), &self.device);
                self.quantize.lookup(tokens.unsqueeze()).squeeze_dim(0)
            }
        };
        let scale_of = |site: &Site| self.spec.lattice.scale_of(*site);
        let mut told = 0;
        for part in visit.chunk_by(|a, b| scale_of(a) == scale_of(b)) {
            let first = self.spec.lattice.scale(scale_of(&part[0])).start;
            let known: i32 = run.codes.iter().map(|codes| codes.dims()[0] as i32).sum();
            for (index, site) in part.iter().enumerate() {
                let row = run.rows.get_mut((site.0 - first) as usize).filter(|_| scale_of(site) == run.scale);
                match row {
                    Some(row @ None) => *row = Some(known + index as i32),
                    _ => return Err(out_of_turn()),
                }
            }
            run.codes.push(codes.clone().slice(s![told..told + part.len(), ..]));
            told += part.len();
            if run.rows.iter().all(Option::is_some) {
                self.complete_scale(&mut run);
            }
        }
        self.run = Some(run);
        Ok(())
    }

    fn soften(&mut self, shares: Tensor<2>) -> Result<()> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        if shares.dims() != [run.asked.len(), self.spec.vocab] {
            let cause = "the shares do not fit the visit that was predicted";
            return Err(Error::control("smooth", cause, "Start the run again"));
        }
        run.softened = Some(shares);
        run.smooth = true;
        Ok(())
    }

    fn features(&self) -> Option<Tensor<4>> {
        self.run.as_ref().filter(|run| run.smooth)?.f_hat.clone()
    }
}

fn out_of_turn() -> Error {
    let cause = "VAR makes one scale after the other, from coarse to fine";
    Error::control("order", cause, "Choose the order of scales")
}
