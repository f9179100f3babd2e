//! TensorAR: next-tensor prediction ("TensorAR: Refinement is All You Need in Autoregressive Image Generation", arXiv
//! 2505.16324). No code was published.
//!
//! A tensor `X_t` is the window of `k` adjacent tokens `x_t … x_{t+k-1}` in raster order. A base model that predicts the
//! next token is made to predict the next tensor: an input encoder `E` puts each tensor into one vector, an output decoder
//! `D` takes the next one out of one hidden state (§3.2). Tensors overlap, so every token is predicted up to `k` times, first
//! as the last element, a draft, and in the end as the first, which is final:
//!
//! ```text
//! [class]  E(X₀)  E(X₁)  …      behind the class D predicts X₀, behind X_t it predicts X_{t+1}
//! ```
//!
//! From the paper: the plug-in around an unchanged base model, for LlamaGen, RAR and Open-MAGVIT2; query transformers for
//! `E` and `D`, of depth 2 or else 1 or 4; the residual by which the first token of each tensor comes out as from the base
//! model; noise on the tensors of training, two of its kinds and the names of its four schedules; algorithm 1, whose matrix
//! keeps each tensor as it was predicted. With `k = 1` the model is its base model.
//!
//! Chosen by us, as the paper leaves it open:
//! - A layer of a query transformer is one attention, of queries over the memory and themselves, and one GELU layer four
//!   times as wide, each after an RMSNorm, without biases: `12 dim²` parameters, which is what the paper's table 3 adds per
//!   layer. Heads and epsilon are those of the base model.
//! - `E`: one query, the vector of `x_t` plus a learned one, over the vectors of all tokens plus learned places. The tensor's
//!   vector is that of `x_t` plus a learned gate times the query. Positions are the base model's and those of `x_t`.
//! - `D`: `k` queries, the hidden state plus learned places, over the hidden state. Its `k` outputs are the hidden state plus
//!   a gate times a query, each read by the base model's own head.
//! - Both gates start at zero, so that a fresh model is its base model in the first token of every tensor. For `k = 1`
//!   both modules are passed by.
//! - Where a tensor leaves the picture, `E` does not attend to the missing tokens, and what `D` says of them is dropped, in
//!   training as in decoding.
//! - The formulas of the schedules, the third kind of noise and the range of the continuous one: see [`noise`]. The first
//!   token is never noised.
//! - The loss is the mean cross entropy over all tokens of all tensors within the picture; the first ones may weigh more.
//! - Drafts are drawn as final tokens are. Given tokens are known to every tensor that holds them.
//!
//! A file holds the base model's published keys behind `base.`, then `input_encoder.{query, positions, gate, layers.N.*}`
//! and `output_decoder.{positions, gate, layers.N.*}`, where a layer has `attention.{wq, wk, wv, wo}.weight`,
//! `feed_forward.{w1, w2}.weight`, `attention_norm.weight` and `ffn_norm.weight`.

pub mod base;
pub mod noise;

use andamento_shaders::Activation;
use burn::module::{Module, Param};
use burn::nn::{Initializer, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::prelude::*;
use burn::tensor::{DType, Int, s};
use serde::{Deserialize, Serialize};

use self::base::{Base, BaseConfig, Sizes};
use self::noise::Noise;
use super::llamagen::{self, Dropout, KvCache, Trunk, after_norm, attend_in_tiles, merge_heads, projection};
use super::open_magvit2::{self, OpenMagvit2};
use super::rar::{self, Rar};
use super::{Family, Parts, Preset, configuration};
use crate::bench::Cost;
use crate::checkpoint::TENSORAR_KEYS;
use crate::checkpoint::manifest::{Entry, Manifest};
use crate::checkpoint::recognise::{Layout, Recognised};
use crate::kernels::{gelu, rms_normed, short_attention, weighted_cross_entropy};
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::network::{
    Abilities, Network, Orders, Pace, Prompt, Spec, check_class, check_tokens, check_visit, not_begun,
};
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::{Error, Result};

/// The widest tensor.
pub const MAX_K: usize = 16;
/// The deepest query transformers of the paper's table 4.
pub const MAX_DEPTH: usize = 4;

/// What is published (table 3), by the base model's family and size: all with `k = 4` and depth 2.
const PUBLISHED: [(&str, &str, &str); 9] = [
    ("LlamaGen", "B-256", "LlamaGen-B-256"),
    ("LlamaGen", "L-256", "LlamaGen-L-256"),
    ("LlamaGen", "L-384", "LlamaGen-L-384"),
    ("LlamaGen", "XL-384", "LlamaGen-XL-384"),
    ("LlamaGen", "XXL-384", "LlamaGen-XXL-384"),
    ("RAR", "B", "RAR-B"),
    ("RAR", "L", "RAR-L"),
    ("Open-MAGVIT2", "B", "Open-MAGVIT2-B"),
    ("Open-MAGVIT2", "L", "Open-MAGVIT2-L"),
];

/// The families of base models.
const BASES: [Family; 3] = [llamagen::FAMILY, rar::FAMILY, open_magvit2::FAMILY];

/// TensorAR for the registry. Guidance and sampling are those of the base models (§4.1).
pub const FAMILY: Family = Family {
    name: "TensorAR",
    paper: "TensorAR: Refinement is All You Need in Autoregressive Image Generation (arXiv 2505.16324)",
    abilities: |config| {
        let config: TensorArConfig = configuration(config)?;
        config.check()?;
        Ok(config.abilities())
    },
    build: |parts| {
        let config: TensorArConfig = configuration(parts.config)?;
        config.check()?;
        match &config.base {
            BaseConfig::LlamaGen(base) => plug_in(parts, &config, base, Trunk::new(base, parts.device)),
            BaseConfig::Rar(base) => plug_in(parts, &config, base, Rar::new(base, parts.device)),
            BaseConfig::OpenMagvit2(base) => plug_in(parts, &config, base, OpenMagvit2::new(base, parts.device)),
        }
    },
    presets: || {
        let of_base = |family: &Family| (family.presets)().into_iter().filter_map(|base| published(family.name, base));
        BASES.iter().flat_map(of_base).collect()
    },
    cost: |config, plan, step, streams| {
        let config: TensorArConfig = configuration(config)?;
        Ok(config.cost(plan, step, streams))
    },
    recognise,
};

/// TensorAR by its own tensors, around a base model that is recognised by what stands behind `base.`.
fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let [k, dim] = *manifest.shape("input_encoder.positions")? else { return None };
    let depth = manifest.count("input_encoder.layers.");
    let of_base = |(name, entry): (&String, &Entry)| Some((name.strip_prefix("base.")?.to_string(), entry.clone()));
    let tensors = manifest.tensors.iter().filter_map(of_base).collect();
    let base = Manifest { file: manifest.file.clone(), tensors, levels: None };
    let found = BASES.iter().find_map(|family| (family.recognise)(&base))?;
    let config =
        serde_json::json!({ "base": { "family": found.family, "config": found.config }, "k": k, "depth": depth });
    let sizes: TensorArConfig = configuration(&config).ok().filter(|config: &TensorArConfig| config.check().is_ok())?;
    let mut layout = Layout::default();
    found.layout.0.iter().for_each(|(name, shape)| layout.bare(format!("base.{name}"), shape));
    layout.bare("input_encoder.query", &[dim]);
    for module in ["input_encoder", "output_decoder"] {
        layout.bare(format!("{module}.positions"), &[k, dim]);
        layout.bare(format!("{module}.gate"), &[dim]);
        for layer in (0..depth).map(|layer| format!("{module}.layers.{layer}")) {
            for name in ["wq", "wk", "wv", "wo"] {
                layout.weight(&format!("{layer}.attention.{name}"), &[dim, dim]);
            }
            layout.weight(&format!("{layer}.feed_forward.w1"), &[4 * dim, dim]);
            layout.weight(&format!("{layer}.feed_forward.w2"), &[dim, 4 * dim]);
            layout.weight(&format!("{layer}.attention_norm"), &[dim]);
            layout.weight(&format!("{layer}.ffn_norm"), &[dim]);
        }
    }
    let size = format!("{}-{}-k{k}", found.family, found.size);
    let published = PUBLISHED.iter().find(|(of, size, _)| *of == found.family && *size == found.size);
    let as_published = published.filter(|_| (sizes.k, sizes.depth) == (4, 2)).map(|(.., name)| name.to_string());
    Some(Recognised {
        family: FAMILY.name,
        size: as_published.unwrap_or(size),
        config,
        layout,
        leftovers: found.leftovers,
        licence: found.licence,
        role: found.role,
    })
}

/// The published model on a published base model, if there is one.
fn published(family: &str, base: Preset) -> Option<Preset> {
    let (.., name) = PUBLISHED.iter().find(|(of, size, _)| *of == family && *size == base.name)?;
    let config = serde_json::json!({ "base": { "family": family, "config": base.config }, "k": 4, "depth": 2 });
    Some(Preset { name, config, ..base })
}

/// Loads the whole around a base model that was made fresh.
fn plug_in<B: Base + 'static>(
    parts: &Parts,
    config: &TensorArConfig,
    base_config: &B::Config,
    base: B,
) -> Result<Box<dyn Network>> {
    let weights = parts.weights.fill(TensorAr::new(base, config, parts.device), &TENSORAR_KEYS)?;
    let network = TensorArNetwork::new(weights, config.clone(), base_config.clone(), parts.grid, parts.device)?;
    Ok(Box::new(network))
}

/// Sizes of the network.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TensorArConfig {
    /// The base model.
    pub base: BaseConfig,
    /// Tokens of a tensor, 1 to [`MAX_K`].
    pub k: usize,
    /// Layers of the input encoder and of the output decoder, 1 to [`MAX_DEPTH`].
    pub depth: usize,
    /// The noise of training.
    #[serde(default)]
    pub noise: Noise,
}

impl TensorArConfig {
    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the field and its range.
    pub fn check(&self) -> Result<()> {
        let cause = if !(1..=MAX_K).contains(&self.k) {
            format!("k is {}, but a tensor has 1 to {MAX_K} tokens", self.k)
        } else if !(1..=MAX_DEPTH).contains(&self.depth) {
            format!("depth is {}, but query transformers have 1 to {MAX_DEPTH} layers", self.depth)
        } else {
            return self.base.check();
        };
        Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"))
    }

    /// What a model of these sizes can be asked to do.
    pub fn abilities(&self) -> Abilities {
        Abilities {
            orders: Orders::Only { order: "raster", reason: "TensorAR reads pictures row by row" },
            pace: Pace::Fixed {
                schedule: Schedule::Windows { width: self.k },
                reason: "Each step of TensorAR revises the tokens of the steps before",
            },
            smooth: Err("Only next-scale models mix codes"),
            scales: 1,
        }
    }

    /// What a step costs: the base model's share, and that of both query transformers.
    fn cost(&self, plan: &Plan, step: usize, streams: usize) -> Cost {
        let visit = &plan.visits[step];
        let before = step.checked_sub(1).map(|last| plan.visits[last].known);
        let read = visit.known - before.unwrap_or(0);
        let asked = visit.sites.len();
        let mut cost = match &self.base {
            BaseConfig::LlamaGen(base) => base_cost::<Trunk>(base, before, visit.known, asked, streams),
            BaseConfig::Rar(base) => base_cost::<Rar>(base, before, visit.known, asked, streams),
            BaseConfig::OpenMagvit2(base) => base_cost::<OpenMagvit2>(base, before, visit.known, asked, streams),
        };
        if self.k > 1 {
            // Tensors are the same in all streams and encoded once.
            cost.add(self.query_cost(1, self.k, read));
            cost.add(self.query_cost(self.k, 1, streams));
        }
        cost
    }

    /// What a query transformer costs for so many tensors.
    fn query_cost(&self, queries: usize, memory: usize, tensors: usize) -> Cost {
        let (dim, seen) = (self.base.sizes().dim, memory + queries);
        let products = 10 * dim * dim * queries + 2 * dim * dim * seen + 2 * dim * queries * seen;
        let parameters = self.depth * 12 * dim * dim;
        Cost { bytes: 4.0 * parameters as f64, operations: 2.0 * (self.depth * products * tensors) as f64 }
    }
}

/// What a base model does in a step that reads the tensors from `before`, or the prefix and those from 0, to `known`.
fn base_cost<B: Base>(base: &B::Config, before: Option<usize>, known: usize, asked: usize, streams: usize) -> Cost {
    let fed = before.map_or(B::PREFIX + known, |before| known - before);
    B::cost(base, fed, asked, B::PREFIX + known, streams)
}

/// Attention of queries over a memory and themselves.
#[derive(Module, Debug)]
pub struct QueryAttention {
    wq: Linear,
    wk: Linear,
    wv: Linear,
    wo: Linear,
    n_head: usize,
}

impl QueryAttention {
    /// `queries` is `[tensors, queries, dim]`, `seen` is `[tensors, slots, dim]`, `mask` is added to the scores,
    /// `[tensors, slots]`.
    fn forward(&self, queries: Tensor<3>, seen: Tensor<3>, mask: &Tensor<2>) -> Tensor<3> {
        let [k, v] = [&self.wk, &self.wv].map(|linear| rowwise(linear, seen.clone()));
        rowwise(&self.wo, short_attention([rowwise(&self.wq, queries), k, v], self.n_head, mask.clone()))
    }
}

/// A projection of all rows of `x`, `[tensors, slots, dim]`, in one product instead of one for each tensor.
fn rowwise(linear: &Linear, x: Tensor<3>) -> Tensor<3> {
    let [tensors, slots, dim] = x.dims();
    linear.forward(x.reshape([tensors * slots, dim])).reshape([tensors, slots, linear.weight.dims()[1]])
}

/// `w2(gelu(w1 x))`.
#[derive(Module, Debug)]
pub struct FeedForward {
    w1: Linear,
    w2: Linear,
}

/// One layer of a query transformer.
#[derive(Module, Debug)]
pub struct QueryLayer {
    attention: QueryAttention,
    feed_forward: FeedForward,
    attention_norm: RmsNorm,
    ffn_norm: RmsNorm,
}

impl QueryLayer {
    fn new(sizes: &Sizes, device: &Device) -> Self {
        let linear = |inputs, outputs| {
            LinearConfig::new(inputs, outputs).with_bias(false).with_initializer(normal()).init(device)
        };
        let square = || linear(sizes.dim, sizes.dim);
        let norm = || RmsNormConfig::new(sizes.dim).with_epsilon(sizes.norm_eps).init(device);
        Self {
            attention: QueryAttention { wq: square(), wk: square(), wv: square(), wo: square(), n_head: sizes.n_head },
            feed_forward: FeedForward { w1: linear(sizes.dim, 4 * sizes.dim), w2: linear(4 * sizes.dim, sizes.dim) },
            attention_norm: norm(),
            ffn_norm: norm(),
        }
    }

    /// `queries` is `[tensors, queries, dim]`, `memory` is `[tensors, slots, dim]`; `mask` is added to the scores of the
    /// memory and the queries, `[tensors, slots + queries]`; without one they are all seen.
    fn forward(&self, queries: Tensor<3>, memory: &Tensor<3>, mask: Option<&Tensor<2>>) -> Tensor<3> {
        if !queries.is_autodiff() {
            return self.step(queries, memory, mask);
        }
        let seen = rms_normed(&self.attention_norm, Tensor::cat(vec![memory.clone(), queries.clone()], 1));
        let asking = seen.clone().slice(s![.., memory.dims()[1].., ..]);
        let [tensors, slots, _] = seen.dims();
        let mask = mask.cloned().unwrap_or_else(|| Tensor::zeros([tensors, slots], &seen.device()));
        let queries = queries + self.attention.forward(asking, seen, &mask);
        let hidden = gelu(rowwise(&self.feed_forward.w1, rms_normed(&self.ffn_norm, queries.clone())));
        queries + rowwise(&self.feed_forward.w2, hidden)
    }

    /// The same without gradients, for the few tensors of a step.
    fn step(&self, queries: Tensor<3>, memory: &Tensor<3>, mask: Option<&Tensor<2>>) -> Tensor<3> {
        let Self { attention: QueryAttention { wq, wk, wv, wo, n_head }, feed_forward: FeedForward { w1, w2 }, .. } =
            self;
        let shape @ [tensors, count, dim] = queries.dims();
        let flat = |x: Tensor<3>| x.reshape([1, -1, dim as i32]);
        let apart = |x: Tensor<3>| x.reshape([tensors as i32, -1, dim as i32]);
        let seen = flat(Tensor::cat(vec![memory.clone(), queries.clone()], 1));
        let queries = flat(queries);
        let after_attention_norm =
            |linear, x: &Tensor<3>| apart(after_norm(&self.attention_norm, linear).of(x.clone()));
        let qkv =
            [after_attention_norm(wq, &queries), after_attention_norm(wk, &seen), after_attention_norm(wv, &seen)];
        let attended = match mask {
            Some(mask) => short_attention(qkv, *n_head, mask.clone()),
            None => {
                let slots = qkv[1].dims()[1] as u32;
                let heads =
                    qkv.map(|x| x.reshape([tensors as i32, -1, *n_head as i32, (dim / n_head) as i32]).swap_dims(1, 2));
                merge_heads(attend_in_tiles(heads, &vec![slots; count]))
            }
        };
        let queries = projection(wo).onto(queries).of(flat(attended));
        let hidden = after_norm(&self.ffn_norm, w1).activated(Activation::Gelu).of(queries.clone());
        projection(w2).onto(queries).of(hidden).reshape(shape)
    }
}

/// `E`: a tensor into one vector.
#[derive(Module, Debug)]
pub struct InputEncoder {
    /// What is added to the first token's vector to ask: `[dim]`.
    pub query: Param<Tensor<1>>,
    /// What is added to the tokens' vectors for their places: `[k, dim]`.
    pub positions: Param<Tensor<2>>,
    /// The query transformer.
    pub layers: Vec<QueryLayer>,
    /// How much of the query is added to the first token's vector, zero at first: `[dim]`.
    pub gate: Param<Tensor<1>>,
}

impl InputEncoder {
    fn new(config: &TensorArConfig, device: &Device) -> Self {
        let sizes = config.base.sizes();
        Self {
            query: normal().init([sizes.dim], device),
            positions: normal().init([config.k, sizes.dim], device),
            layers: (0..config.depth).map(|_| QueryLayer::new(&sizes, device)).collect(),
            gate: Initializer::Zeros.init([sizes.dim], device),
        }
    }

    /// `vectors` are those of the tensors' tokens, `[tensors, k, dim]`; `mask`, `[tensors, k]`, is 0 for tokens and a large
    /// negative number for those beyond the picture, if there are any. `[tensors, dim]`
    fn forward(&self, vectors: Tensor<3>, mask: Option<Tensor<2>>) -> Tensor<2> {
        let own = vectors.clone().slice(s![.., 0..1, ..]);
        if self.positions.dims()[0] == 1 {
            return own.squeeze_dim(1);
        }
        let tensors = vectors.dims()[0];
        let memory = vectors + self.positions.val().unsqueeze();
        let mask = mask.map(|mask| Tensor::cat(vec![mask, Tensor::zeros([tensors, 1], &memory.device())], 1));
        let query = own.clone() + self.query.val().unsqueeze();
        let query = self.layers.iter().fold(query, |query, layer| layer.forward(query, &memory, mask.as_ref()));
        (own + query * self.gate.val().unsqueeze()).squeeze_dim(1)
    }
}

/// `D`: one hidden state into those of a tensor's tokens.
#[derive(Module, Debug)]
pub struct OutputDecoder {
    /// What is added to the hidden state to ask for a place: `[k, dim]`.
    pub positions: Param<Tensor<2>>,
    /// The query transformer.
    pub layers: Vec<QueryLayer>,
    /// How much of the queries is added to the hidden state, zero at first: `[dim]`.
    pub gate: Param<Tensor<1>>,
}

impl OutputDecoder {
    fn new(config: &TensorArConfig, device: &Device) -> Self {
        let sizes = config.base.sizes();
        Self {
            positions: normal().init([config.k, sizes.dim], device),
            layers: (0..config.depth).map(|_| QueryLayer::new(&sizes, device)).collect(),
            gate: Initializer::Zeros.init([sizes.dim], device),
        }
    }

    /// `[batch, slots, dim]` to `[batch, slots, k, dim]`.
    fn forward(&self, hidden: Tensor<3>) -> Tensor<4> {
        let [batch, slots, dim] = hidden.dims();
        let [k, _] = self.positions.dims();
        if k == 1 {
            return hidden.unsqueeze_dim(2);
        }
        let memory: Tensor<3> = hidden.reshape([batch * slots, 1, dim]);
        let queries = memory.clone() + self.positions.val().unsqueeze();
        let queries = self.layers.iter().fold(queries, |queries, layer| layer.forward(queries, &memory, None));
        (memory + queries * self.gate.val().unsqueeze()).reshape([batch, slots, k, dim])
    }
}

/// The network's weights: a base model and what is plugged into it.
#[derive(Module, Debug)]
pub struct TensorAr<B: Module> {
    /// The base model.
    pub base: B,
    /// In front of its blocks.
    pub input_encoder: InputEncoder,
    /// Behind its blocks.
    pub output_decoder: OutputDecoder,
}

impl<B: Base> TensorAr<B> {
    /// Plugs fresh modules into a base model, which it equals at first in the first token of every tensor.
    pub fn new(base: B, config: &TensorArConfig, device: &Device) -> Self {
        Self {
            base,
            input_encoder: InputEncoder::new(config, device),
            output_decoder: OutputDecoder::new(config, device),
        }
    }

    /// Number of tokens of a tensor.
    pub fn k(&self) -> usize {
        self.input_encoder.positions.dims()[0]
    }

    /// The tensors of whole pictures: `tokens`, `[batch, sites]`, to `[batch, sites, k]`, with token 0 beyond the picture.
    pub fn tensors(&self, tokens: Tensor<2, Int>) -> Tensor<3, Int> {
        let ([batch, sites], k) = (tokens.dims(), self.k());
        let padded = Tensor::cat(vec![tokens.clone(), Tensor::zeros([batch, k - 1], &tokens.device())], 1);
        Tensor::stack((0..k).map(|j| padded.clone().slice(s![.., j..j + sites])).collect(), 2)
    }

    /// The vectors of the tensors `first..`, whose tokens' vectors are `[batch, tensors, k, dim]`, in pictures of `sites`
    /// tokens: `[batch, tensors, dim]`.
    fn encode(&self, vectors: Tensor<4>, first: usize, sites: usize) -> Tensor<3> {
        let [batch, tensors, k, dim] = vectors.dims();
        let beyond = beyond(first..first + tensors, k, sites);
        let mask = beyond.contains(&true).then(|| {
            let mask: Vec<f32> = beyond.into_iter().map(|beyond| if beyond { -1e30 } else { 0.0 }).collect();
            Tensor::<1>::from_data(mask.as_slice(), &vectors.device()).reshape([tensors, k]).repeat_dim(0, batch)
        });
        let encoded = self.input_encoder.forward(vectors.reshape([batch * tensors, k, dim]), mask);
        encoded.reshape([batch, tensors, dim])
    }

    /// Whole pictures at once, as in training: the hidden states of every tensor's tokens, `[batch, sites, k, dim]`.
    ///
    /// `classes` is `[batch]`, `tokens` is `[batch, sites]` in raster order, `conditions` are those of the classes; `embed`
    /// makes vectors of the tokens of tensors, with noise or without: `[batch, tensors, k]` to `[batch, tensors, k, dim]`.
    /// The last tensor is predicted, not read.
    pub fn hidden(
        &self,
        classes: Tensor<1, Int>,
        tokens: Tensor<2, Int>,
        conditions: &B::Conditions,
        embed: impl FnOnce(Tensor<3, Int>) -> Tensor<4>,
        dropout: Dropout,
    ) -> Tensor<4> {
        let sites = tokens.dims()[1];
        let read = self.tensors(tokens).slice(s![.., ..sites - 1, ..]);
        let x = Tensor::cat(vec![self.base.prefix(classes), self.encode(embed(read), 0, sites)], 1);
        let hidden = self.base.forward(x, conditions, dropout);
        self.output_decoder.forward(hidden.slice(s![.., B::PREFIX - 1.., ..]))
    }

    /// The logits of hidden states, `[batch, sites, k, dim]`, for the tokens `[batch, sites]`: `[batch, sites, k, codes]` for
    /// each factor of a token, given the true earlier one.
    pub fn logits(
        &self,
        hidden: Tensor<4>,
        tokens: Tensor<2, Int>,
        conditions: &B::Conditions,
        dropout: f64,
    ) -> Vec<Tensor<4>> {
        let [batch, sites, k, dim] = hidden.dims();
        let (first, second) = self.base.codes().factors(self.tensors(tokens).reshape([batch, sites * k]));
        let first = second.map(|_| first);
        let (first, second) = self.base.logits(hidden.reshape([batch, sites * k, dim]), first, conditions, dropout);
        let apart = |logits: Tensor<3>| {
            let codes = logits.dims()[2];
            logits.reshape([batch, sites, k, codes])
        };
        [Some(first), second].into_iter().flatten().map(apart).collect()
    }

    /// The mean cross entropy, in nats, of [`TensorAr::logits`] over all tokens of all tensors within the picture, those
    /// that are first in their tensor weighing `first` and the others 1; factors add up. `[1]`
    pub fn loss(&self, logits: Vec<Tensor<4>>, tokens: Tensor<2, Int>, first: f32) -> Tensor<1> {
        let ([batch, sites], k, device) = (tokens.dims(), self.k(), tokens.device());
        let weights: Vec<f32> = beyond(0..sites, k, sites)
            .into_iter()
            .enumerate()
            .map(|(place, beyond)| {
                if beyond {
                    0.0
                } else if place % k == 0 {
                    first
                } else {
                    1.0
                }
            })
            .collect();
        let (one, two) = self.base.codes().factors(self.tensors(tokens).reshape([batch, sites * k]));
        let factors = [Some(one), two].into_iter().flatten();
        let surprise = |(logits, factor): (Tensor<4>, Tensor<2, Int>)| {
            let logits = logits.cast(DType::F32).flatten(1, 2);
            weighted_cross_entropy(logits, factor, &weights)
        };
        let zero = Tensor::zeros([1], &device);
        logits.into_iter().zip(factors).map(surprise).fold(zero, |sum, part| sum + part)
    }
}

/// Which tokens of tensors lie beyond a picture of `sites` tokens, tensor by tensor.
fn beyond(tensors: std::ops::Range<usize>, k: usize, sites: usize) -> Vec<bool> {
    tensors.flat_map(|t| (t..t + k).map(|site| site >= sites)).collect()
}

fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

/// The matrix of algorithm 1: every tensor as it was told, element by element.
struct Told {
    k: usize,
    sites: usize,
    tokens: Vec<Option<Token>>,
}

impl Told {
    fn nothing(k: usize, sites: usize) -> Self {
        Self { k, sites, tokens: vec![None; k * sites] }
    }

    /// Writes a tensor, or given tokens, into this and all later tensors. Earlier ones keep the drafts that they were told
    /// with, and have the gaps filled that given tokens leave in them.
    fn tell(&mut self, visit: &[Site], tokens: &[Token]) {
        let first = visit.first().map_or(0, |site| site.index());
        for (site, token) in visit.iter().zip(tokens) {
            let site = site.index();
            for tensor in (site + 1).saturating_sub(self.k)..=site {
                let element = &mut self.tokens[tensor * self.k + site - tensor];
                if tensor >= first || element.is_none() {
                    *element = Some(*token);
                }
            }
        }
    }

    /// The tokens of some tensors, with 0 beyond the picture; none if one of them was not told: `[tensors · k]`.
    fn tensors(&self, tensors: std::ops::Range<usize>) -> Option<Vec<i32>> {
        let tokens = &self.tokens[tensors.start * self.k..tensors.end * self.k];
        let beyond = beyond(tensors, self.k, self.sites);
        tokens
            .iter()
            .zip(beyond)
            .map(|(token, beyond)| if beyond { Some(0) } else { token.map(|t| t as i32) })
            .collect()
    }
}

/// A prediction that was made last and not yet told.
struct Asked {
    visit: Vec<Site>,
    /// Of the visit's tokens, until all factors of them were asked for: `[streams, visit, dim]`.
    hidden: Option<Tensor<3>>,
}

/// What is remembered between calls.
struct Run<B: Base> {
    prompt: Prompt,
    lattice: Lattice,
    conditions: B::Conditions,
    caches: Vec<KvCache>,
    told: Told,
    /// Slots in the caches, without those of the prefix but its last: slot 0 ends the prefix, slot `1 + t` is tensor `t`.
    settled: usize,
    asked: Option<Asked>,
}

impl<B: Base> Run<B> {
    /// The number of the tensor that a visit is; refuses other visits, and tensors that others were read behind.
    fn check_tensor(&self, visit: &[Site]) -> Result<usize> {
        check_visit(visit, &self.lattice)?;
        let next = visit[0].index();
        let end = self.told.sites.min(next + self.told.k);
        let is_tensor = visit.iter().map(|site| site.index()).eq(next..end);
        let untold = self.asked.as_ref().is_some_and(|asked| asked.visit != visit);
        if is_tensor && !untold && next + 1 >= self.settled { Ok(next) } else { Err(out_of_order()) }
    }
}

/// TensorAR behind the seam: visits are tensors, in raster order.
pub struct TensorArNetwork<B: Base> {
    weights: TensorAr<B>,
    base_config: B::Config,
    spec: Spec,
    device: Device,
    run: Option<Run<B>>,
}

impl<B: Base> TensorArNetwork<B> {
    /// Wraps weights whose picture is `grid` tokens in training.
    ///
    /// # Errors
    /// If the base model was trained on another grid.
    pub fn new(
        weights: TensorAr<B>,
        config: TensorArConfig,
        base_config: B::Config,
        grid: Grid,
        device: &Device,
    ) -> Result<Self> {
        B::check_grid(&base_config, grid, grid)?;
        let sizes = config.base.sizes();
        let spec = Spec {
            family: FAMILY.name,
            classes: sizes.classes,
            vocab: sizes.codes,
            lattice: Lattice::grid(grid.rows, grid.cols),
            parameters: weights.num_params(),
            abilities: config.abilities(),
        };
        Ok(Self { weights, base_config, spec, device: device.clone(), run: None })
    }

    /// The classes of the streams: `[streams]`.
    fn classes(&self, prompt: &Prompt) -> Tensor<1, Int> {
        let classes: Vec<i32> = prompt.streams(self.spec.classes).iter().map(|class| *class as i32).collect();
        Tensor::from_data(classes.as_slice(), &self.device)
    }

    /// The inputs of the slots from `first` to that of the last tensor before tensor `end`: `[streams, slots, dim]`.
    fn inputs(&self, run: &Run<B>, first: usize, end: usize) -> Result<Tensor<3>> {
        let classes = self.classes(&run.prompt);
        let [streams] = classes.dims();
        let mut parts = Vec::new();
        if first == 0 {
            parts.push(self.weights.base.prefix(classes));
        }
        let tensors = first.saturating_sub(1)..end;
        if !tensors.is_empty() {
            let tokens = run.told.tensors(tensors.clone()).ok_or_else(out_of_order)?;
            let tokens = Tensor::<1, Int>::from_data(tokens.as_slice(), &self.device);
            let tokens: Tensor<3, Int> = tokens.reshape([1, tensors.len(), run.told.k]);
            let vectors = self.weights.base.codes().embed_tensors(tokens);
            parts.push(self.weights.encode(vectors, tensors.start, run.told.sites).repeat_dim(0, streams));
        }
        Ok(Tensor::cat(parts, 1))
    }

    /// Feeds all tensors before tensor `next` that are not in the caches. The hidden states of the tokens of tensor `next`:
    /// `[streams, k, dim]`.
    fn advance(&self, run: &mut Run<B>, next: usize) -> Result<Tensor<3>> {
        // A prediction that nobody used has left its slot in the caches: the slot is fed once more.
        let first = run.settled.min(next);
        let x = self.inputs(run, first, next)?;
        let slot = if first == 0 { 0 } else { B::PREFIX - 1 + first };
        let hidden = self.weights.base.extend(x, slot, &run.conditions, &mut run.caches);
        run.settled = next + 1;
        let tensor = self.weights.output_decoder.forward(hidden.slice(s![.., -1.., ..]));
        Ok(tensor.squeeze_dim(1))
    }
}

fn out_of_order() -> Error {
    Error::control("order", "TensorAR makes its tensors row by row", "Choose the raster order")
}

fn another_visit() -> Error {
    Error::control("decoding", "told other sites than were predicted", "Start the run again")
}

impl<B: Base> Network for TensorArNetwork<B> {
    fn spec(&self) -> &Spec {
        &self.spec
    }

    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()> {
        check_class(prompt.class, &self.spec)?;
        let [grid] = lattice.scales() else {
            return Err(Error::control("model", "TensorAR works on one grid of tokens", "Choose a VQ tokenizer"));
        };
        B::check_grid(&self.base_config, self.spec.lattice.finest(), *grid)?;
        let classes = self.classes(prompt);
        let [streams] = classes.dims();
        let conditions = match self.run.take() {
            Some(run) if run.prompt == *prompt && run.lattice == *lattice => run.conditions,
            _ => self.weights.base.conditions(&self.base_config, classes, *grid),
        };
        self.run = Some(Run {
            prompt: *prompt,
            lattice: lattice.clone(),
            conditions,
            caches: B::caches(&self.base_config, streams, grid.len(), &self.device),
            told: Told::nothing(self.weights.k(), grid.len()),
            settled: 0,
            asked: None,
        });
        Ok(())
    }

    /// Of a tensor, or of what is left of it at the end of the picture.
    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>> {
        let mut run = self.run.take().ok_or_else(not_begun)?;
        let hidden = run.check_tensor(visit).and_then(|next| self.advance(&mut run, next));
        let logits = hidden.map(|hidden| {
            let hidden = hidden.slice(s![.., ..visit.len(), ..]);
            run.asked = Some(Asked { visit: visit.to_vec(), hidden: Some(hidden.clone()) });
            let (logits, _) = self.weights.base.logits(hidden, None, &run.conditions, 0.0);
            logits
        });
        self.run = Some(run);
        logits
    }

    fn refine(&mut self, visit: &[Site], tokens: &[Token]) -> Result<Option<Tensor<3>>> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        let asked = run.asked.as_mut().filter(|asked| asked.visit == visit && tokens.len() == visit.len());
        let hidden = asked.ok_or_else(another_visit)?.hidden.take();
        let Some(hidden) = hidden.filter(|_| self.weights.base.codes().second.is_some()) else {
            return Ok(None);
        };
        let first: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
        let first = Tensor::<1, Int>::from_data(first.as_slice(), &self.device).unsqueeze::<2>();
        let first = first.repeat_dim(0, hidden.dims()[0]);
        let (_, second) = self.weights.base.logits(hidden, Some(first), &run.conditions, 0.0);
        Ok(second)
    }

    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()> {
        let run = self.run.as_mut().ok_or_else(not_begun)?;
        check_visit(visit, &run.lattice)?;
        check_tokens(visit, tokens, self.spec.vocab)?;
        if run.asked.as_ref().is_some_and(|asked| asked.visit != visit) {
            return Err(another_visit());
        }
        let in_order = visit.is_sorted() && visit[0].index() + 1 >= run.settled;
        if !in_order {
            return Err(out_of_order());
        }
        run.asked = None;
        run.told.tell(visit, tokens);
        Ok(())
    }
}
