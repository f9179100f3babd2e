//! Open-MAGVIT2: a Llama over 2^18 codes, each predicted as two factors (Luo et al., "Open-MAGVIT2: An Open-Source Project
//! Toward Democratizing Auto-regressive Visual Generation", arXiv 2409.04410).
//!
//! Published code: `TencentARC/SEED-Voken`, `src/Open_MAGVIT2/modules/transformer/gpt.py`. The blocks are LlamaGen's. A
//! code's lowest bits are its first factor (*pre*), the others its second (*post*): `code = pre + 2^bits · post`. Two
//! passes make a token (§3.2): the spatial one reads pictures in raster order as LlamaGen does, and what it says of a site
//! begins a sequence of two for the factorised one, where the first factor is predicted before the second:
//!
//! ```text
//! spatial      [class]  x₀  x₁  …      an x is the sum of its factors' vectors
//!                 ↓     ↓   ↓
//! factorised   [h₀ pre₀] …             at the first slot pre is predicted, at the second post
//! ```
//!
//! Field names are the published state dict's keys, so a checkpoint loads without a key map.

use burn::module::Module;
use burn::nn::{Embedding, Linear, RmsNorm};
use burn::prelude::*;
use burn::tensor::{Int, s};
use serde::{Deserialize, Serialize};

use super::llamagen::{
    Angles, Dropout, KvCache, LabelEmbedder, RasterDecoder, RasterRun, Rope, TransformerBlock, TransformerConfig,
    after_norm, block_layout, drop, embedding, heads, multiple_of, rms_norm, shifted, slots, through, through_cached,
    zero_head,
};
use super::{Family, Preset, configuration, to_value};
use crate::bench::Work;
use crate::checkpoint::OPEN_MAGVIT2_KEYS;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::{Layout, Recognised, Role};
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{Abilities, Network, Orders, Pace, Prompt, Spec, not_begun};
use crate::sample::{Guidance, Sampling};
use crate::schedule::Schedule;
use crate::{Error, Result};

/// The published sizes (`configs/Open-MAGVIT2/gpu`): 344 M, 804 M and 1.5 B parameters, for 16 × 16 tokens (256 pixels).
pub const PRESETS: [(&str, OpenMagvit2Config); 3] =
    [("B", preset(1024, 16, 24, 2)), ("L", preset(1280, 20, 36, 3)), ("XL", preset(1536, 24, 48, 4))];

const fn preset(dim: usize, n_head: usize, spatial_n_layer: usize, factorized_n_layer: usize) -> OpenMagvit2Config {
    OpenMagvit2Config {
        dim,
        n_head,
        spatial_n_layer,
        factorized_n_layer,
        factorized_bits: [6, 12],
        class_num: 1000,
        multiple_of: 256,
        norm_eps: 1e-5,
        rope_base: 10_000.0,
    }
}

/// Guidance and temperature of both factors for each of [`PRESETS`] (`scripts/evaluation/sample_gpu.sh`).
const SAMPLING: [([f32; 2], [f32; 2]); 3] =
    [([1.9, 2.0], [1.0, 1.0]), ([1.9, 1.9], [1.1, 1.0]), ([1.75, 1.85], [1.1, 1.0])];

/// What Open-MAGVIT2 can be asked to do.
pub const ABILITIES: Abilities = Abilities {
    orders: Orders::Only { order: "raster", reason: "Open-MAGVIT2 learned to read pictures row by row" },
    pace: Pace::Fixed { schedule: Schedule::OneByOne, reason: "Open-MAGVIT2 predicts one token after the other" },
    smooth: Err("Only next-scale models mix codes"),
    scales: 1,
};

/// Open-MAGVIT2 for the registry.
pub const FAMILY: Family = Family {
    name: "Open-MAGVIT2",
    paper: "Open-MAGVIT2: An Open-Source Project Toward Democratizing Auto-regressive Visual Generation (arXiv 2409.04410)",
    abilities: |_| Ok(ABILITIES),
    build: |parts| {
        let config: OpenMagvit2Config = configuration(parts.config)?;
        config.check()?;
        let weights = parts.weights.fill(OpenMagvit2::new(&config, parts.device), &OPEN_MAGVIT2_KEYS)?;
        Ok(Box::new(OpenMagvit2Network::new(weights, config, parts.grid, parts.device)))
    },
    presets: || {
        let published = PRESETS.iter().zip(SAMPLING).map(|((name, config), (scales, temperatures))| Preset {
            name,
            config: to_value(config),
            grid: 16,
            side: 256,
            tokenizer: ("Open-MAGVIT2 LFQ", "LFQ-16"),
            steps: 256,
            guidance: Guidance::Factors { scales },
            sampling: Sampling {
                temperature: temperatures[0],
                second_temperature: Some(temperatures[1]),
                ..Sampling::default()
            },
        });
        published.collect()
    },
    cost: |config, plan, step, streams| {
        let config: OpenMagvit2Config = configuration(config)?;
        let spatial = config.spatial();
        let mut cost = Work { head: 0, ..spatial.raster_work(&plan.visits[step], streams) }.cost();
        // The factorised blocks are read once for each factor.
        for (slot, bits) in config.factorized_bits.into_iter().enumerate() {
            let factor =
                TransformerConfig { n_layer: config.factorized_n_layer, vocab_size: 1 << bits, ..spatial.clone() };
            cost.add(factor.work(1, 1, 1 + slot, streams).cost());
        }
        Ok(cost)
    },
    recognise,
};

/// Open-MAGVIT2 by its tensors: two factors per token.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let [first, dim] = *manifest.shape("pre_emb.weight")? else { return None };
    let second = manifest.axis("post_emb.weight", 0)?;
    let [spatial, factorized] = ["spatial_blocks.", "factorized_blocks."].map(|blocks| manifest.count(blocks));
    let hidden = manifest.axis("spatial_blocks.0.feed_forward.w1.weight", 0)?;
    let classes = manifest.axis("class_emb.embedding_table.weight", 0)?.checked_sub(1)?;
    let multiple_of = multiple_of(dim, hidden)?;
    if !first.is_power_of_two() || !second.is_power_of_two() {
        return None;
    }
    let config = OpenMagvit2Config {
        dim,
        n_head: heads(dim),
        spatial_n_layer: spatial,
        factorized_n_layer: factorized,
        factorized_bits: [first.ilog2() as usize, second.ilog2() as usize],
        class_num: classes,
        multiple_of,
        norm_eps: 1e-5,
        rope_base: 10_000.0,
    };
    let mut layout = Layout::default();
    layout.weight("pre_emb", &[first, dim]);
    layout.weight("post_emb", &[second, dim]);
    layout.weight("class_emb.embedding_table", &[classes + 1, dim]);
    (0..spatial).for_each(|block| block_layout(&mut layout, &format!("spatial_blocks.{block}"), dim, hidden));
    (0..factorized).for_each(|block| block_layout(&mut layout, &format!("factorized_blocks.{block}"), dim, hidden));
    layout.weight("norm", &[dim]);
    layout.weight("head.0", &[first, dim]);
    layout.weight("head.1", &[second, dim]);
    let published = PRESETS.iter().find(|(_, published)| *published == config);
    let tokens = 256;
    Some(Recognised {
        family: FAMILY.name,
        size: published.map_or_else(|| format!("{dim}x{spatial}"), |(name, _)| name.to_string()),
        config: to_value(&config),
        layout,
        leftovers: OPEN_MAGVIT2_KEYS.leftovers,
        licence: "Apache-2.0",
        role: Role::Generator {
            tokenizers: vec!["Open-MAGVIT2 LFQ".into()],
            codes: first.checked_mul(second)?,
            classes,
            grid: 16,
            cache: (2 * spatial * (tokens + 1) * dim) as u64,
            activations: (tokens * (4 * dim + 2 * hidden) + first + second) as u64,
        },
    })
}

/// Sizes of the network; the names are those of `gpt.py`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OpenMagvit2Config {
    /// Width of the residual stream.
    pub dim: usize,
    /// Number of attention heads; `dim / n_head` is a multiple of 4.
    pub n_head: usize,
    /// Blocks of the spatial pass.
    pub spatial_n_layer: usize,
    /// Blocks of the factorised pass.
    pub factorized_n_layer: usize,
    /// Bits of the first and of the second factor; together those of the tokenizer.
    pub factorized_bits: [usize; 2],
    /// Number of classes, without the null class of guidance.
    pub class_num: usize,
    /// The width of the feed-forward layer is rounded up to a multiple of this.
    pub multiple_of: usize,
    /// Added to the mean square inside RMSNorm.
    pub norm_eps: f64,
    /// Base of the rotary frequencies.
    pub rope_base: f64,
}

/// The most bits that a code may have: a token and its embedding's row stay countable on every device.
const MAX_BITS: usize = 24;

impl OpenMagvit2Config {
    /// The spatial pass as a LlamaGen-style transformer.
    pub fn spatial(&self) -> TransformerConfig {
        TransformerConfig {
            dim: self.dim,
            n_layer: self.spatial_n_layer,
            n_head: self.n_head,
            vocab_size: self.codes(),
            num_classes: self.class_num,
            multiple_of: self.multiple_of,
            norm_eps: self.norm_eps,
            rope_base: self.rope_base,
        }
    }

    /// Number of codes.
    pub fn codes(&self) -> usize {
        1 << self.factorized_bits.iter().sum::<usize>()
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the field and the condition it breaks.
    pub fn check(&self) -> Result<()> {
        let bits = self.factorized_bits;
        let cause = if bits.contains(&0) || bits.iter().any(|bits| *bits > MAX_BITS) || bits[0] + bits[1] > MAX_BITS {
            "factorized_bits must be two numbers of at least 1 and at most 24 together"
        } else if self.factorized_n_layer == 0 {
            "factorized_n_layer must be at least 1"
        } else {
            return self.spatial().check();
        };
        Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"))
    }
}

/// The network's weights.
#[derive(Module, Debug)]
pub struct OpenMagvit2 {
    /// First factors as vectors.
    pub pre_emb: Embedding,
    /// Second factors as vectors.
    pub post_emb: Embedding,
    /// Class labels.
    pub class_emb: LabelEmbedder,
    /// The blocks of the spatial pass.
    pub spatial_blocks: Vec<TransformerBlock>,
    /// The blocks of the factorised pass.
    pub factorized_blocks: Vec<TransformerBlock>,
    /// The last norm.
    pub norm: RmsNorm,
    /// To the logits of the first and of the second factor.
    pub head: [Linear; 2],
}

impl OpenMagvit2 {
    /// Fresh weights as published: everything N(0, 0.02), the heads zero.
    pub fn new(config: &OpenMagvit2Config, device: &Device) -> Self {
        let spatial = config.spatial();
        let dim = config.dim;
        let [pre, post] = config.factorized_bits.map(|bits| 1 << bits);
        let blocks = |count| (0..count).map(|_| TransformerBlock::new(&spatial, device)).collect();
        Self {
            pre_emb: embedding(pre, dim, device),
            post_emb: embedding(post, dim, device),
            class_emb: LabelEmbedder { embedding_table: embedding(config.class_num + 1, dim, device) },
            spatial_blocks: blocks(config.spatial_n_layer),
            factorized_blocks: blocks(config.factorized_n_layer),
            norm: rms_norm(&spatial, device),
            head: [zero_head(dim, pre, device), zero_head(dim, post, device)],
        }
    }

    /// Codes as their two factors: `code = pre + 2^bits · post`.
    fn factors(&self, codes: Tensor<2, Int>) -> [Tensor<2, Int>; 2] {
        let radix = self.pre_emb.weight.dims()[0] as i64;
        [codes.clone().remainder_scalar(radix), codes.div_scalar(radix)]
    }

    /// Whole sequences at once, as in training (`gpt.py`, `forward`): the logits of both factors of every token, each given
    /// the true earlier ones, `[batch, sites, 2^bits]`.
    ///
    /// `classes` is `[batch]`, `codes` is `[batch, sites]` in raster order.
    pub fn forward(
        &self,
        classes: Tensor<1, Int>,
        codes: Tensor<2, Int>,
        rope: &Rope,
        dropout: Dropout,
    ) -> [Tensor<3>; 2] {
        let [pre, _] = self.factors(codes.clone());
        let x = shifted(self.embed_classes(classes), self.embed_tokens(codes));
        let angles = rope.at(slots(0..x.dims()[1], &x.device()));
        let hidden = through(&self.spatial_blocks, drop(x, dropout.token), &angles, dropout.residual);
        self.factor_logits([hidden, self.pre_emb.forward(pre)], rope, dropout.residual)
    }

    /// The factorised pass of many sites at once: it reads their hidden states and, for the logits of the second factor as
    /// well, the vectors of their first factors, `[batch, sites, dim]` each. `[batch, sites, 2^bits]` for each factor.
    pub(crate) fn factor_logits<const N: usize>(
        &self,
        read: [Tensor<3>; N],
        rope: &Rope,
        dropout: f64,
    ) -> [Tensor<3>; N] {
        let [batch, sites, dim] = read[0].dims();
        let x: Tensor<4> = Tensor::stack(read.to_vec(), 2);
        let x = x.reshape([batch * sites, N, dim]);
        let angles = rope.at(slots(0..N, &x.device()));
        let x = self.norm.forward(through(&self.factorized_blocks, x, &angles, dropout));
        let slot = |index: usize| x.clone().slice(s![.., index..index + 1, ..]).reshape([batch, sites, dim]);
        std::array::from_fn(|index| self.head[index].forward(slot(index)))
    }

    /// One slot of the factorised pass, whose earlier slots are in the caches: `x`, `[streams, 1, dim]`, to the logits of
    /// the factor of that index, `[streams, 1, 2^bits]`.
    fn next_factor(&self, factor: usize, x: Tensor<3>, rope: &Rope, caches: &mut [KvCache]) -> Tensor<3> {
        let angles = rope.at(slots(factor..factor + 1, &x.device()));
        let x = through_cached(&self.factorized_blocks, x, &angles, factor, caches);
        after_norm(&self.norm, &self.head[factor]).of(x)
    }
}

impl RasterDecoder for OpenMagvit2 {
    fn embed_classes(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        self.class_emb.embedding_table.forward(classes.unsqueeze_dim(1))
    }

    fn embed_tokens(&self, tokens: Tensor<2, Int>) -> Tensor<3> {
        let [pre, post] = self.factors(tokens);
        self.pre_emb.forward(pre) + self.post_emb.forward(post)
    }

    fn extend(&self, x: Tensor<3>, angles: &Angles, first_slot: usize, caches: &mut [KvCache]) -> Tensor<3> {
        through_cached(&self.spatial_blocks, x, angles, first_slot, caches)
    }
}

/// What is remembered between calls.
struct Run {
    spatial: RasterRun,
    /// The caches of the factorised pass while the second factor of the predicted token is open.
    open: Option<Vec<KvCache>>,
}

/// Open-MAGVIT2 behind the seam.
pub struct OpenMagvit2Network {
    weights: OpenMagvit2,
    config: OpenMagvit2Config,
    spec: Spec,
    /// Angles of the factorised pass: its first slot turns like a class, its second like the first site.
    factor_rope: Rope,
    device: Device,
    run: Option<Run>,
}

impl OpenMagvit2Network {
    /// Wraps weights whose picture is `grid` tokens in training.
    pub fn new(weights: OpenMagvit2, config: OpenMagvit2Config, grid: Grid, device: &Device) -> Self {
        let spec = Spec {
            family: "Open-MAGVIT2",
            classes: config.class_num,
            vocab: config.codes(),
            lattice: Lattice::grid(grid.rows, grid.cols),
            parameters: weights.num_params(),
            abilities: ABILITIES,
        };
        let factor_rope = Rope::new(1, 1, config.spatial().head_dim(), config.rope_base, device);
        Self { weights, config, spec, factor_rope, device: device.clone(), run: None }
    }
}

impl Network for OpenMagvit2Network {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        let spatial = RasterRun::begin(prompt, lattice, &self.spec, &self.config.spatial(), &self.device)?;
        self.run = Some(Run { spatial, open: None });
        Ok(())
    }

    /// The logits of the first factor.
    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        let hidden = run.spatial.advance(visit, &self.weights)?;
        let (streams, config) = (hidden.dims()[0], self.config.spatial());
        let cache = |_| config.cache(streams, 2, &self.device);
        let mut caches: Vec<KvCache> = (0..self.config.factorized_n_layer).map(cache).collect();
        let logits = self.weights.next_factor(0, hidden, &self.factor_rope, &mut caches);
        run.open = Some(caches);
        Ok(logits)
    }

    /// The logits of the second factor, given the first.
    fn refine(&mut self, _visit: &[Site], factors: &[Token]) -> Result<Option<Tensor<3>>> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        let Some(mut caches) = run.open.take() else {
            return Ok(None);
        };
        let pre: Vec<i32> = factors.iter().map(|factor| *factor as i32).collect();
        let pre = Tensor::<1, Int>::from_data(pre.as_slice(), &self.device).unsqueeze();
        let x = self.weights.pre_emb.forward(pre).repeat_dim(0, run.spatial.streams());
        Ok(Some(self.weights.next_factor(1, x, &self.factor_rope, &mut caches)))
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let vocab = self.spec.vocab;
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        run.open = None;
        run.spatial.tell(visit, tokens, vocab)
    }
}
