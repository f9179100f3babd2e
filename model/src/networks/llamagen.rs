//! LlamaGen's decoder-only transformer, the trunk that RandAR stands on.
//!
//! Sun et al., "Autoregressive Model Beats Diffusion: Llama for Scalable Image Generation"; published code:
//! `FoundationVision/LlamaGen`, `autoregressive/models/gpt.py`. RMSNorm before each half of a block, SwiGLU, one fused
//! `wqkv` without biases, rotary embeddings in two dimensions, and classes as one more token at the front.
//!
//! Field names are the published state dict's keys, so a checkpoint loads without a key map.

use burn::module::{Module, Param};
use burn::nn::{Embedding, EmbeddingConfig, Initializer, Linear, LinearConfig, RmsNorm, RmsNormConfig};
use burn::prelude::*;
use burn::tensor::activation::{silu, softmax};
use burn::tensor::{Int, s};
use serde::{Deserialize, Serialize};

use crate::bench::Work;
use crate::{Error, Result};

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

    /// What a step does that feeds `fed` slots, asks for `asked` logits and sees `visible` slots.
    pub(crate) fn work(&self, fed: usize, asked: usize, visible: usize, streams: usize) -> Work {
        let block = 4 * self.dim * self.dim + 3 * self.dim * self.hidden_dim();
        let (blocks, head) = (self.n_layer * block, self.dim * self.vocab_size);
        Work { blocks, head, layers: self.n_layer, width: self.dim, fed, asked, visible, streams }
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
    /// The table of a grid of `rows` by `cols` sites in raster order, for heads of `head_dim`.
    pub fn new(rows: usize, cols: usize, head_dim: usize, base: f64, device: &Device) -> Self {
        let sites = rows * cols;
        let half = head_dim / 2;
        let frequencies: Vec<f32> = (0..half / 2).map(|j| base.powf(-2.0 * j as f64 / half as f64) as f32).collect();
        let mut cos = vec![0.0f32; head_dim];
        let mut sin = vec![0.0f32; head_dim];
        for site in 0..sites {
            for position in [site / cols, site % cols] {
                for frequency in &frequencies {
                    let angle = position as f32 * frequency;
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
    /// Turns `x`, `[batch, heads, slots, head_dim]`, each adjacent pair by its slot's angle.
    pub fn rotate(&self, x: Tensor<4>) -> Tensor<4> {
        let turned = x.clone().matmul(self.quarter_turn.clone().unsqueeze());
        x * self.cos.clone() + turned * self.sin.clone()
    }
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

    /// Causal attention of the slots `first_slot..` once their keys and values are written: `[streams, heads, slots,
    /// head_dim]` each.
    pub(crate) fn attend(&mut self, first_slot: usize, [q, k, v]: [Tensor<4>; 3]) -> Tensor<4> {
        let slots = first_slot..first_slot + q.dims()[2];
        self.keys.inplace(|cache| cache.slice_assign(s![.., .., slots.clone(), ..], k));
        self.values.inplace(|cache| cache.slice_assign(s![.., .., slots.clone(), ..], v));
        let visible: Vec<u32> = slots.map(|slot| slot as u32 + 1).collect();
        andamento_shaders::cached_attention(q, self.keys.clone(), self.values.clone(), &visible)
    }
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
        self.wo.forward(merge_heads(attend(self.project(x, angles), mask, &|weights| weights)))
    }

    /// Causal attention of the slots `first_slot..` over the cache: `x` is `[streams, slots, dim]`.
    fn forward_cached(&self, x: Tensor<3>, angles: &Angles, first_slot: usize, cache: &mut KvCache) -> Tensor<3> {
        self.wo.forward(merge_heads(cache.attend(first_slot, self.project(x, angles))))
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

/// Attention over whole sequences: `[batch, heads, slots, head_dim]` each, `mask` is `[1, 1, slots, slots]`; `drop` is
/// applied to the weights.
pub(crate) fn attend([q, k, v]: [Tensor<4>; 3], mask: &Tensor<4>, drop: &impl Fn(Tensor<4>) -> Tensor<4>) -> Tensor<4> {
    let scale = (q.dims()[3] as f64).powf(-0.5);
    // One sequence at a time: the scores of a whole batch would fall out of the processor's cache at every operation.
    let sequences = (0..q.dims()[0]).map(|index| {
        let [q, k, v] = [&q, &k, &v].map(|x| x.clone().slice(s![index..index + 1, .., .., ..]));
        let scores = (q * scale).matmul(k.swap_dims(2, 3)) + mask.clone();
        drop(softmax(scores, 3)).matmul(v)
    });
    Tensor::cat(sequences.collect(), 0)
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
        self.w2.forward(silu(self.w1.forward(x.clone())) * self.w3.forward(x))
    }
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
    fn new(config: &TransformerConfig, device: &Device) -> Self {
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
        let x = x.clone() + drop(self.attention.forward(self.attention_norm.forward(x), angles, mask));
        x.clone() + drop(self.feed_forward.forward(self.ffn_norm.forward(x)))
    }

    /// The slots `first_slot..` of a sequence whose earlier slots are in the cache: `x` is `[streams, slots, dim]`.
    pub fn forward_cached(&self, x: Tensor<3>, angles: &Angles, first_slot: usize, cache: &mut KvCache) -> Tensor<3> {
        let attended = self.attention.forward_cached(self.attention_norm.forward(x.clone()), angles, first_slot, cache);
        let x = x + attended;
        x.clone() + self.feed_forward.forward(self.ffn_norm.forward(x))
    }
}

/// Class labels as vectors; the last row is the null class of guidance (`gpt.py`, `LabelEmbedder`).
#[derive(Module, Debug)]
pub struct LabelEmbedder {
    /// `[num_classes + 1, dim]`
    pub embedding_table: Embedding,
}

/// The parts that LlamaGen and RandAR share: embeddings, blocks, the last norm and the head.
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
        let embedding = |rows| EmbeddingConfig::new(rows, config.dim).with_initializer(normal()).init(device);
        let head = LinearConfig::new(config.dim, config.vocab_size).with_bias(false);
        Self {
            cls_embedding: LabelEmbedder { embedding_table: embedding(config.num_classes + 1) },
            tok_embeddings: embedding(config.vocab_size),
            layers: (0..config.n_layer).map(|_| TransformerBlock::new(config, device)).collect(),
            norm: rms_norm(config, device),
            output: head.with_initializer(Initializer::Zeros).init(device),
        }
    }
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

fn normal() -> Initializer {
    Initializer::Normal { mean: 0.0, std: 0.02 }
}

fn linear(inputs: usize, outputs: usize, device: &Device) -> Linear {
    LinearConfig::new(inputs, outputs).with_bias(false).with_initializer(normal()).init(device)
}

fn rms_norm(config: &TransformerConfig, device: &Device) -> RmsNorm {
    RmsNormConfig::new(config.dim).with_epsilon(config.norm_eps).init(device)
}
