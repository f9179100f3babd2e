//! RAR's recipe (arXiv 2411.00776; `scripts/train_rar.py`, `configs/training/generator/rar.yaml`): next-token prediction on
//! sequences in a random order with a probability that is annealed from 1 to 0 (§3.2, Eq. 5), and otherwise in one scan
//! order, so that the network ends as an ordinary one of that order, its two tables of positions merged.
//!
//! As published, for all sizes: AdamW with betas 0.9 and 0.96 and a weight decay of 0.03, clipping at 1; 4e-4 after a
//! linear warm-up over a quarter of the steps, then half a cosine down to 1e-5; 250 000 steps of 2048 pictures; no moving
//! average.

use burn::prelude::*;
use burn::tensor::Int;
use rand_chacha::ChaCha8Rng;
use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, check_shares, sizes};
use super::data::tokens::Tokens;
use super::generator::{Ground, Loss, Method, Turn};
use super::optimiser::Group;
use crate::checkpoint::{KeyMap, RAR_KEYS};
use crate::library::Defaults;
use crate::networks::rar::{Dropout, FAMILY, Rar, RarConfig, Scan};
use crate::networks::to_value;
use crate::order::{shuffle, uniform};
use crate::sample::{Guidance, Sampling};
use crate::{Error, Result};

/// The options of RAR's training.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The order that training anneals to (table 3).
    pub scan: Scan,
    /// Before this share of the steps every order is random: *start* of Eq. 5.
    pub anneal_start: f64,
    /// After this share of the steps no order is random: *end* of Eq. 5. With 0 for both none ever is, which is ordinary
    /// training in the scan order, with 1 for both every one.
    pub anneal_end: f64,
    /// Share of the pictures that lose their class.
    pub class_dropout: f64,
    /// Drop-out after the projection of attention and after both layers of the feed-forward.
    pub dropout: f64,
    /// Drop-out on the weights of attention.
    pub attention_dropout: f64,
}

impl Default for Options {
    /// As published: epochs 200 to 300 of 400, and 0.1 for everything that is dropped.
    fn default() -> Self {
        Self {
            scan: Scan::Raster,
            anneal_start: 0.5,
            anneal_end: 0.75,
            class_dropout: 0.1,
            dropout: 0.1,
            attention_dropout: 0.1,
        }
    }
}

impl Options {
    /// Refuses what means nothing.
    ///
    /// # Errors
    /// Names the option.
    pub fn check(&self) -> Result<()> {
        let Self { anneal_start: start, anneal_end: end, .. } = self;
        if !(0.0 <= *start && start <= end && *end <= 1.0) {
            let cause =
                format!("anneal_start is {start} and anneal_end {end}, which are shares of the steps in sequence");
            return Err(Error::control("[method]", cause, "Use 0.5 and 0.75, as published, or 0 and 0 for none"));
        }
        check_shares(&[
            ("class_dropout", self.class_dropout),
            ("dropout", self.dropout),
            ("attention_dropout", self.attention_dropout),
        ])
    }

    /// The probability `r` of a random order at a step, counted from 0, of `steps` (Eq. 5).
    pub fn randomness(&self, step: usize, steps: usize) -> f64 {
        let [start, end] = [self.anneal_start, self.anneal_end].map(|share| share * steps as f64);
        let step = step as f64;
        if step < start {
            1.0
        } else if step >= end {
            0.0
        } else {
            1.0 - (step - start) / (end - start)
        }
    }
}

/// The order of one picture: random with the probability `randomness`, otherwise `scan`; raster indices.
pub fn order(scan: &[u32], randomness: f64, random: &mut ChaCha8Rng) -> Vec<u32> {
    let permuted = f64::from(uniform(random)) < randomness;
    let mut order = scan.to_vec();
    if permuted {
        shuffle(&mut order, random);
    }
    order
}

/// How a parameter is updated, by its path in [`Rar`] (`train_utils.py`, `create_optimizer`): weight decay spares whatever has
/// one of these in its published name. That `ln` is found in `adaln_before_head`, but not in the blocks' `adaLN_modulation`,
/// is published and kept.
pub fn group(path: &str, dims: usize) -> Group {
    const SPARED: [&str; 8] = ["ln", "bias", "latent_tokens", "mask_token", "embedding", "norm", "gamma", "embed"];
    let published = path.replace("ada_ln_modulation", "adaLN_modulation.1");
    Group { decay: dims >= 2 && !SPARED.iter().any(|spared| published.contains(spared)), rate: 1.0 }
}

/// RAR as it is trained.
pub struct TrainRar {
    sizes: RarConfig,
    options: Options,
    /// The scan order that it anneals to.
    scan: Vec<u32>,
    steps: usize,
}

impl Method for TrainRar {
    type Options = Options;
    type Model = Rar;
    const KEYS: KeyMap = RAR_KEYS;

    fn new(config: &Config<Options>, ground: &Ground) -> Result<Self> {
        let options = config.options();
        options.check()?;
        let grid = ground.lattice.finest();
        let known = [
            ("codebook_size", ground.codes()),
            ("condition_num_classes", ground.classes.len()),
            ("image_seq_len", grid.len()),
        ];
        let sizes = RarConfig { scan: options.scan, merged: false, ..sizes(&config.model, &known)? };
        sizes.check()?;
        sizes.check_grid(grid, grid)?;
        Ok(Self { scan: options.scan.arrange(grid)?, sizes, options, steps: config.steps })
    }

    fn family(&self) -> &'static str {
        FAMILY.name
    }

    fn network(&self) -> Value {
        to_value(&self.sizes)
    }

    /// The sampling of the published quick start (`README_RAR.md`).
    fn defaults(&self) -> Defaults {
        let guidance = Guidance::PowerCosine { scale: 4.0, power: 0.0 };
        Defaults { steps: self.scan.len(), guidance, sampling: Sampling::default() }
    }

    fn init(&self, device: &Device) -> Result<Rar> {
        Ok(Rar::new(&self.sizes, device))
    }

    fn group(&self, path: &str, dims: usize) -> Group {
        group(path, dims)
    }

    fn loss(&self, model: &Rar, tokens: &Tokens, turn: &mut Turn) -> Result<Loss> {
        let randomness = self.options.randomness(turn.step, turn.steps);
        let (mut ordered, mut orders) = (Vec::new(), Vec::new());
        for index in 0..tokens.batch() {
            let picture = tokens.picture(index);
            let order = order(&self.scan, randomness, &mut turn.random);
            ordered.extend(order.iter().map(|site| picture[*site as usize] as i32));
            orders.extend(order.iter().map(|site| *site as i32));
        }
        let classes = turn.classes(tokens, self.options.class_dropout, self.sizes.condition_num_classes);
        let shape = [tokens.batch(), tokens.length];
        let ints = |values: Vec<i32>| Tensor::<2, Int>::from_data(TensorData::new(values, shape), &turn.device);
        let dropout = Dropout { projection: self.options.dropout, attention: self.options.attention_dropout };
        let loss = model.loss(classes, ints(ordered), model.positions(ints(orders)), dropout);
        Ok(Loss { loss, figures: vec![("random orders", randomness)] })
    }

    /// Once no order is random any more, the tables of positions are merged; where all are random to the end, they never are.
    fn published(&self, model: Rar, step: usize) -> (Rar, Value) {
        if self.options.anneal_start >= 1.0 || self.options.randomness(step, self.steps) > 0.0 {
            return (model, self.network());
        }
        let merged = RarConfig { merged: true, ..self.sizes.clone() };
        (model.merge(&self.scan), to_value(&merged))
    }
}
