//! RandAR's recipe (arXiv 2412.01827, §3.2 and appendix B; `train_c2i.py`): next-token prediction on sequences whose order
//! is a fresh uniform permutation for every picture and step, cross entropy at the instruction tokens, and the class
//! replaced by the null class for a share of the pictures.

use burn::prelude::*;
use burn::tensor::Int;
use serde::Deserialize;
use serde_json::Value;

use super::config::Config;
use super::data::tokens::Tokens;
use super::generator::{Ground, Loss, Method, Turn};
use super::llamagen::{check_dropouts, transformer};
use crate::Result;
use crate::checkpoint::{KeyMap, RANDAR_KEYS};
use crate::library::Defaults;
use crate::networks::llamagen::{Rope, TransformerConfig};
use crate::networks::randar::{Dropout, FAMILY, RandAr};
use crate::networks::to_value;
use crate::order::shuffle;
use crate::sample::{Guidance, Sampling};

/// RandAR's own options; the defaults are the published ones.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Share of pictures that lose their class.
    pub class_dropout: f64,
    /// Drop-out on embeddings of image tokens.
    pub token_dropout: f64,
    /// Drop-out inside the blocks.
    pub residual_dropout: f64,
    /// The order of a picture's tokens.
    pub order: Order,
}

/// The order of a picture's tokens in training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Order {
    /// A fresh uniform permutation for every picture and step.
    #[default]
    Random,
    /// Row by row, for comparison (`position_order="raster"`).
    Raster,
}

impl Default for Options {
    fn default() -> Self {
        Self { class_dropout: 0.1, token_dropout: 0.1, residual_dropout: 0.1, order: Order::Random }
    }
}

/// RandAR as it is trained.
pub struct TrainRandAr {
    sizes: TransformerConfig,
    options: Options,
    rope: Rope,
}

impl Method for TrainRandAr {
    type Options = Options;
    type Model = RandAr;
    const KEYS: KeyMap = RANDAR_KEYS;

    fn new(config: &Config<Options>, ground: &Ground) -> Result<Self> {
        let options = config.options();
        check_dropouts(options.class_dropout, options.token_dropout, options.residual_dropout)?;
        let (sizes, rope) = transformer(config, ground)?;
        Ok(Self { sizes, options, rope })
    }

    fn family(&self) -> &'static str {
        FAMILY.name
    }

    fn network(&self) -> Value {
        to_value(&self.sizes)
    }

    fn defaults(&self) -> Defaults {
        Defaults { steps: 88, guidance: Guidance::linear(4.0), sampling: Sampling::default() }
    }

    fn init(&self, device: &Device) -> Result<RandAr> {
        Ok(RandAr::new(&self.sizes, device))
    }

    fn loss(&self, model: &RandAr, tokens: &Tokens, turn: &mut Turn) -> Result<Loss> {
        let classes = turn.classes(tokens, self.options.class_dropout, self.sizes.num_classes);
        let (mut ordered, mut orders) = (Vec::new(), Vec::new());
        for picture in tokens.ids.chunks_exact(tokens.length) {
            let mut order: Vec<u32> = (0..tokens.length as u32).collect();
            if self.options.order == Order::Random {
                shuffle(&mut order, &mut turn.random);
            }
            ordered.extend(order.iter().map(|site| picture[*site as usize] as i32));
            orders.extend(order.iter().map(|site| *site as i32));
        }
        let shape = [tokens.batch(), tokens.length];
        let ints = |values: Vec<i32>| Tensor::<2, Int>::from_data(TensorData::new(values, shape), &turn.device);
        let dropout = Dropout { token: self.options.token_dropout, residual: self.options.residual_dropout };
        let loss = model.loss(classes, ints(ordered), ints(orders), &self.rope, self.sizes.n_head, dropout);
        Ok(loss.into())
    }
}
