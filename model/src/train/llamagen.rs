//! LlamaGen's recipe (arXiv 2406.06525; `autoregressive/train/train_c2i.py`): next-token prediction in raster order, cross
//! entropy over all tokens, and the class replaced by the null class for a share of the pictures.
//!
//! As published: AdamW at a constant 1e-4 with betas 0.9 and 0.95 and a weight decay of 0.05 on all but vectors, clipping at
//! 1, 256 pictures a step for 300 epochs, ten-crop at 1.1, bf16; a moving average (0.9999) where one asks for it.

use burn::prelude::*;
use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, check_shares, sizes};
use super::data::tokens::Tokens;
use super::generator::{Ground, Loss, Method, Turn};
use crate::Result;
use crate::checkpoint::{KeyMap, LLAMAGEN_KEYS};
use crate::library::Defaults;
use crate::networks::llamagen::{Dropout, FAMILY, Rope, TransformerConfig, Trunk};
use crate::networks::to_value;
use crate::sample::{Guidance, Sampling};

/// The options of LlamaGen's training; the defaults are the published ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Share of the pictures that lose their class.
    pub class_dropout: f64,
    /// Drop-out on the vectors of class and tokens.
    pub token_dropout: f64,
    /// Drop-out on the output of attention and of the feed-forward layer.
    pub residual_dropout: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { class_dropout: 0.1, token_dropout: 0.1, residual_dropout: 0.1 }
    }
}

/// Refuses shares of drop-out that mean nothing.
pub(super) fn check_dropouts(class: f64, token: f64, residual: f64) -> Result<()> {
    check_shares(&[("class_dropout", class), ("token_dropout", token), ("residual_dropout", residual)])
}

/// The sizes of a transformer of LlamaGen's make, and its rotary table for the pictures of training.
pub(super) fn transformer<O>(config: &Config<O>, ground: &Ground) -> Result<(TransformerConfig, Rope)> {
    let known = [("vocab_size", ground.codes()), ("num_classes", ground.classes.len())];
    let sizes: TransformerConfig = sizes(&config.model, &known)?;
    sizes.check()?;
    let (grid, device) = (ground.lattice.finest(), ground.device.clone().autodiff());
    let rope = Rope::new(grid.rows, grid.cols, sizes.head_dim(), sizes.rope_base, &device);
    Ok((sizes, rope))
}

/// LlamaGen as it is trained.
pub struct TrainLlamaGen {
    sizes: TransformerConfig,
    options: Options,
    rope: Rope,
    sites: usize,
}

impl Method for TrainLlamaGen {
    type Options = Options;
    type Model = Trunk;
    const KEYS: KeyMap = LLAMAGEN_KEYS;

    fn new(config: &Config<Options>, ground: &Ground) -> Result<Self> {
        let options = config.options();
        check_dropouts(options.class_dropout, options.token_dropout, options.residual_dropout)?;
        let (sizes, rope) = transformer(config, ground)?;
        Ok(Self { sizes, options, rope, sites: ground.lattice.finest().len() })
    }

    fn family(&self) -> &'static str {
        FAMILY.name
    }

    fn network(&self) -> Value {
        to_value(&self.sizes)
    }

    fn defaults(&self) -> Defaults {
        Defaults { steps: self.sites, guidance: Guidance::constant(4.0), sampling: Sampling::default() }
    }

    fn init(&self, device: &Device) -> Result<Trunk> {
        Ok(Trunk::new(&self.sizes, device))
    }

    fn loss(&self, model: &Trunk, tokens: &Tokens, turn: &mut Turn) -> Result<Loss> {
        let classes = turn.classes(tokens, self.options.class_dropout, self.sizes.num_classes);
        let dropout = Dropout { token: self.options.token_dropout, residual: self.options.residual_dropout };
        Ok(model.loss(classes, tokens.ids(&turn.device), &self.rope, dropout).into())
    }
}
