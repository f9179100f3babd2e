//! What TensorAR stands on: the models that it can be plugged into, as it sees them.

use burn::module::{Module, ModuleDisplay};
use burn::prelude::*;
use burn::tensor::{Int, s};
use serde::{Deserialize, Serialize};

use super::noise::Codes;
use crate::bench::{Cost, Work};
use crate::kernels::rms_normed;
use crate::lattice::Grid;
use crate::networks::llamagen::{
    Dropout, KvCache, RasterDecoder, Rope, TransformerConfig, Trunk, drop, slots, through,
};
use crate::networks::open_magvit2::{OpenMagvit2, OpenMagvit2Config};
use crate::networks::rar::{self, Modulations, Rar, RarConfig, Scan};
use crate::{Error, Result};

/// A base model: it reads vectors in raster order behind those of a class, and what it says behind one of them is the
/// prediction for the next site.
///
/// ```text
/// [prefix]  v₀  v₁  …      the prediction for site i is read at slot PREFIX - 1 + i
/// ```
pub trait Base: Module + ModuleDisplay {
    /// Its sizes.
    type Config: Clone + Send;

    /// What it needs to know of all sequences of a batch: classes, positions.
    type Conditions: Send;

    /// Slots before those of the picture.
    const PREFIX: usize;

    /// Refuses a grid that it cannot work on, the one of its training being `trained`.
    ///
    /// # Errors
    /// Names the grid.
    fn check_grid(config: &Self::Config, trained: Grid, grid: Grid) -> Result<()> {
        let _ = (config, trained, grid);
        Ok(())
    }

    /// The class as vectors: `[batch]` to `[batch, PREFIX, dim]`.
    fn prefix(&self, classes: Tensor<1, Int>) -> Tensor<3>;

    /// The vectors of its codes.
    fn codes(&self) -> Codes;

    /// What it needs to know of sequences of the `classes`, `[batch]`, on a grid.
    fn conditions(&self, config: &Self::Config, classes: Tensor<1, Int>, grid: Grid) -> Self::Conditions;

    /// Whole sequences, as in training: `x`, `[batch, slots, dim]`, to the hidden states that its head reads.
    fn forward(&self, x: Tensor<3>, conditions: &Self::Conditions, dropout: Dropout) -> Tensor<3>;

    /// Empty caches for the pictures of so many sites, one for every block.
    fn caches(config: &Self::Config, streams: usize, sites: usize, device: &Device) -> Vec<KvCache>;

    /// The slots `first_slot..` of sequences whose earlier slots are in the caches: `x`, `[streams, slots, dim]`, to the
    /// hidden states that its head reads.
    fn extend(
        &self,
        x: Tensor<3>,
        first_slot: usize,
        conditions: &Self::Conditions,
        caches: &mut [KvCache],
    ) -> Tensor<3>;

    /// Its head: `[batch, slots, dim]` to the logits of the codes, `[batch, slots, codes]`. Where codes are factorised, to
    /// those of their first factors and, given the true ones, `[batch, slots]`, also to those of the second.
    fn logits(
        &self,
        hidden: Tensor<3>,
        first: Option<Tensor<2, Int>>,
        conditions: &Self::Conditions,
        dropout: f64,
    ) -> (Tensor<3>, Option<Tensor<3>>);

    /// What a step costs that feeds `fed` slots, asks for `asked` predictions and sees `visible` slots.
    fn cost(config: &Self::Config, fed: usize, asked: usize, visible: usize, streams: usize) -> Cost;
}

/// A base model's family and sizes, as in its own configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "family", content = "config", deny_unknown_fields)]
pub enum BaseConfig {
    /// LlamaGen.
    #[serde(rename = "LlamaGen")]
    LlamaGen(TransformerConfig),
    /// RAR, in raster order.
    #[serde(rename = "RAR")]
    Rar(RarConfig),
    /// Open-MAGVIT2.
    #[serde(rename = "Open-MAGVIT2")]
    OpenMagvit2(OpenMagvit2Config),
}

/// What TensorAR's modules take over from a base model.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sizes {
    /// Width of the residual stream.
    pub dim: usize,
    /// Number of attention heads.
    pub n_head: usize,
    /// Added to the mean square or the variance inside norms.
    pub norm_eps: f64,
    /// Number of classes, without the null class of guidance.
    pub classes: usize,
    /// Number of codes.
    pub codes: usize,
}

impl BaseConfig {
    /// What TensorAR's modules take over.
    pub fn sizes(&self) -> Sizes {
        let of = |config: &TransformerConfig| Sizes {
            dim: config.dim,
            n_head: config.n_head,
            norm_eps: config.norm_eps,
            classes: config.num_classes,
            codes: config.vocab_size,
        };
        match self {
            Self::LlamaGen(config) => of(config),
            Self::Rar(config) => Sizes {
                dim: config.hidden_size,
                n_head: config.num_attention_heads,
                norm_eps: rar::EPSILON,
                classes: config.condition_num_classes,
                codes: config.codebook_size,
            },
            Self::OpenMagvit2(config) => of(&config.spatial()),
        }
    }

    /// Refuses sizes that the base model cannot have.
    ///
    /// # Errors
    /// Names the field and the condition it breaks.
    pub fn check(&self) -> Result<()> {
        match self {
            Self::LlamaGen(config) => config.check(),
            Self::Rar(config) if config.scan != Scan::Raster => {
                let cause =
                    format!("TensorAR reads pictures row by row, this RAR was trained for {}", config.scan.name());
                Err(Error::control("model configuration", cause, "Choose a base model of raster order"))
            }
            Self::Rar(config) => config.check(),
            Self::OpenMagvit2(config) => config.check(),
        }
    }
}

impl Base for Trunk {
    type Config = TransformerConfig;
    type Conditions = Rope;
    const PREFIX: usize = 1;

    fn prefix(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        self.embed_classes(classes)
    }

    fn codes(&self) -> Codes {
        let first = self.tok_embeddings.weight.val();
        Codes { count: first.dims()[0], first, second: None }
    }

    fn conditions(&self, config: &Self::Config, classes: Tensor<1, Int>, grid: Grid) -> Rope {
        rope(config, grid, &classes.device())
    }

    fn forward(&self, x: Tensor<3>, rope: &Rope, dropout: Dropout) -> Tensor<3> {
        let angles = rope.at(slots(0..x.dims()[1], &x.device()));
        rms_normed(&self.norm, through(&self.layers, drop(x, dropout.token), &angles, dropout.residual))
    }

    fn caches(config: &Self::Config, streams: usize, sites: usize, device: &Device) -> Vec<KvCache> {
        caches(config, streams, sites, device)
    }

    fn extend(&self, x: Tensor<3>, first_slot: usize, rope: &Rope, caches: &mut [KvCache]) -> Tensor<3> {
        let angles = rope.at(slots(first_slot..first_slot + x.dims()[1], &x.device()));
        self.norm.forward(RasterDecoder::extend(self, x, &angles, first_slot, caches))
    }

    fn logits(
        &self,
        hidden: Tensor<3>,
        _first: Option<Tensor<2, Int>>,
        _rope: &Rope,
        _dropout: f64,
    ) -> (Tensor<3>, Option<Tensor<3>>) {
        (self.head(hidden), None)
    }

    fn cost(config: &Self::Config, fed: usize, asked: usize, visible: usize, streams: usize) -> Cost {
        config.work(fed, asked, visible, streams).cost()
    }
}

/// What RAR needs to know: positions, and what class and index do to every block.
#[derive(Debug)]
pub struct RarConditions {
    /// `[1, 2 + sites, dim]`
    positions: Tensor<3>,
    modulations: Modulations,
}

impl Base for Rar {
    type Config = RarConfig;
    type Conditions = RarConditions;
    const PREFIX: usize = rar::PREFIX;

    fn check_grid(config: &Self::Config, trained: Grid, grid: Grid) -> Result<()> {
        config.check_grid(trained, grid)
    }

    fn prefix(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        Rar::prefix(self, classes)
    }

    fn codes(&self) -> Codes {
        let first = self.embeddings.weight.val();
        Codes { count: self.lm_head.weight.dims()[1], first, second: None }
    }

    fn conditions(&self, _config: &Self::Config, classes: Tensor<1, Int>, grid: Grid) -> RarConditions {
        let slots = Self::PREFIX + grid.len();
        RarConditions { positions: self.fused_positions(grid.len()), modulations: self.modulations(classes, slots - 1) }
    }

    fn forward(&self, x: Tensor<3>, conditions: &RarConditions, dropout: Dropout) -> Tensor<3> {
        let x = drop(x, dropout.token);
        let x = x.clone() + conditions.positions.clone().slice(s![.., ..x.dims()[1], ..]);
        let dropout = rar::Dropout { projection: dropout.residual, attention: 0.0 };
        self.through(x, &conditions.modulations, dropout)
    }

    fn caches(config: &Self::Config, streams: usize, sites: usize, device: &Device) -> Vec<KvCache> {
        let capacity = (Self::PREFIX + sites).next_multiple_of(8);
        let cache = |_| KvCache::new(streams, config.num_attention_heads, config.head_dim(), capacity, device);
        (0..config.num_hidden_layers).map(cache).collect()
    }

    fn extend(&self, x: Tensor<3>, first_slot: usize, conditions: &RarConditions, caches: &mut [KvCache]) -> Tensor<3> {
        let slots = first_slot..first_slot + x.dims()[1];
        let x = x + conditions.positions.clone().slice(s![.., slots, ..]);
        Rar::extend(self, x, first_slot, &conditions.modulations, caches)
    }

    fn logits(
        &self,
        hidden: Tensor<3>,
        _first: Option<Tensor<2, Int>>,
        _conditions: &RarConditions,
        _dropout: f64,
    ) -> (Tensor<3>, Option<Tensor<3>>) {
        (self.lm_head.forward(hidden), None)
    }

    fn cost(config: &Self::Config, fed: usize, asked: usize, visible: usize, streams: usize) -> Cost {
        config.work(fed, asked, visible, streams).cost()
    }
}

impl Base for OpenMagvit2 {
    type Config = OpenMagvit2Config;
    type Conditions = Rope;
    const PREFIX: usize = 1;

    fn prefix(&self, classes: Tensor<1, Int>) -> Tensor<3> {
        self.embed_classes(classes)
    }

    fn codes(&self) -> Codes {
        let (first, second) = (self.pre_emb.weight.val(), self.post_emb.weight.val());
        Codes { count: first.dims()[0] * second.dims()[0], first, second: Some(second) }
    }

    fn conditions(&self, config: &Self::Config, classes: Tensor<1, Int>, grid: Grid) -> Rope {
        rope(&config.spatial(), grid, &classes.device())
    }

    fn forward(&self, x: Tensor<3>, rope: &Rope, dropout: Dropout) -> Tensor<3> {
        let angles = rope.at(slots(0..x.dims()[1], &x.device()));
        through(&self.spatial_blocks, drop(x, dropout.token), &angles, dropout.residual)
    }

    fn caches(config: &Self::Config, streams: usize, sites: usize, device: &Device) -> Vec<KvCache> {
        caches(&config.spatial(), streams, sites, device)
    }

    fn extend(&self, x: Tensor<3>, first_slot: usize, rope: &Rope, caches: &mut [KvCache]) -> Tensor<3> {
        let angles = rope.at(slots(first_slot..first_slot + x.dims()[1], &x.device()));
        RasterDecoder::extend(self, x, &angles, first_slot, caches)
    }

    fn logits(
        &self,
        hidden: Tensor<3>,
        first: Option<Tensor<2, Int>>,
        rope: &Rope,
        dropout: f64,
    ) -> (Tensor<3>, Option<Tensor<3>>) {
        match first.map(|first| self.pre_emb.forward(first)) {
            None => {
                let [first] = self.factor_logits([hidden], rope, dropout);
                (first, None)
            }
            Some(read) => {
                let [first, second] = self.factor_logits([hidden, read], rope, dropout);
                (first, Some(second))
            }
        }
    }

    fn cost(config: &Self::Config, fed: usize, asked: usize, visible: usize, streams: usize) -> Cost {
        let spatial = config.spatial();
        let mut cost = Work { head: 0, ..spatial.work(fed, asked, visible, streams) }.cost();
        for (earlier, bits) in config.factorized_bits.into_iter().enumerate() {
            let factor =
                TransformerConfig { n_layer: config.factorized_n_layer, vocab_size: 1 << bits, ..spatial.clone() };
            cost.add(factor.work((1 + earlier) * asked, asked, 1 + earlier, streams).cost());
        }
        cost
    }
}

fn rope(config: &TransformerConfig, grid: Grid, device: &Device) -> Rope {
    Rope::new(grid.rows, grid.cols, config.head_dim(), config.rope_base, device)
}

/// Caches for a class and all sites, rounded up as everywhere.
fn caches(config: &TransformerConfig, streams: usize, sites: usize, device: &Device) -> Vec<KvCache> {
    let capacity = (1 + sites).next_multiple_of(8);
    let cache = |_| KvCache::new(streams, config.n_head, config.head_dim(), capacity, device);
    (0..config.n_layer).map(cache).collect()
}
