//! VAR's recipe (arXiv 2404.02905, §3.2 and appendix 4; `train.py`, `trainer.py`): the tokens of every scale are predicted at
//! once from what the true tokens of the coarser scales add up to, the class is replaced by the null class for a share of
//! the pictures, and whole residual branches are left out at random, more of them in later blocks.
//!
//! Every site counts alike. In progressive training only the coarse scales are trained at first, one more at a time; the
//! newest then counts little in the beginning.

use std::ops::Range;

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::{FloatDType, Int, s};
use serde::Deserialize;
use serde_json::Value;

use super::config::{Config, sizes};
use super::data::tokens::Tokens;
use super::generator::{Ground, Loss, Method, Turn};
use super::optimiser::Group;
use super::uniform;
use crate::checkpoint::{KeyMap, Report, Weights};
use crate::kernels::cross_entropy;
use crate::lattice::Grid;
use crate::library::Defaults;
use crate::networks::var::{FAMILY, VAR_KEYS, Var, VarConfig};
use crate::networks::{configuration, to_value};
use crate::sample::{Guidance, Sampling};
use crate::tokenizers::var_vqvae::{self, MultiScaleQuantizer, QUANTIZER_KEYS, QuantizerAlone, VqVaeConfig};
use crate::{Error, Result};

/// The recipe's own options, at first as published (`arg_util.py`, `models/__init__.py`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Share of pictures that lose their class (`cond_drop_rate`).
    pub class_dropout: f64,
    /// Share of pictures for which the last block's branches are left out; 0.1 · depth / 24 where it is not given.
    pub drop_path: Option<f64>,
    /// Share of each target that goes to all codes alike (`ls`).
    pub label_smoothing: f64,
    /// Coarse scales first; all scales from the start where it is not given, as in the paper.
    pub progressive: Option<Progressive>,
}

impl Default for Options {
    fn default() -> Self {
        Self { class_dropout: 0.1, drop_path: None, label_smoothing: 0.0, progressive: None }
    }
}

impl Options {
    /// Refuses options that mean nothing for a network of so many scales.
    fn check(&self, scales: usize) -> Result<()> {
        let shares = [
            ("class_dropout", self.class_dropout),
            ("drop_path", self.drop_path.unwrap_or(0.0)),
            ("label_smoothing", self.label_smoothing),
        ];
        if let Some((name, share)) = shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
            let cause = format!("{name} = {share} is not a share from 0 to below 1");
            return Err(Error::control("[method]", cause, "Correct the training configuration"));
        }
        self.progressive.as_ref().map_or(Ok(()), |progressive| progressive.check(scales))
    }
}

/// Training of the coarse scales first (`train.py`, `pg`, `pg0`, `pgwp`).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Progressive {
    /// Share of training from which on all scales are trained (`pg`).
    pub until: f64,
    /// The finest scale at the start, counted from 0 (`pg0`).
    #[serde(default = "first_stage")]
    pub first: usize,
    /// Steps over which a new scale comes to count fully (`pgwp`); a 300th of training where it is not given.
    pub warm_up: Option<f64>,
}

/// The published `pg0`.
fn first_stage() -> usize {
    4
}

/// What is trained at a step.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stage {
    /// Number of scales, from the coarsest.
    pub scales: usize,
    /// How much a site of the newest of them counts beside a site of the others.
    pub newest: f64,
}

/// A run as the stages of progressive training see it.
#[derive(Debug, Clone, Copy)]
pub struct Course {
    /// Steps in all.
    pub steps: usize,
    /// Steps in which the learning rate rises.
    pub warm_up: f64,
    /// Scales of the network.
    pub scales: usize,
}

impl Progressive {
    /// Refuses options that a network of so many scales cannot have.
    fn check(&self, scales: usize) -> Result<()> {
        let cause = if !(self.until > 0.0 && self.until <= 1.0) {
            "`until` is a share of training, above 0 and up to 1".into()
        } else if self.first >= scales {
            format!("`first` is a scale from 0 to {}", scales - 1)
        } else if self.warm_up.is_some_and(|steps| steps.is_nan() || steps <= 0.0) {
            "`warm_up` is a number of steps above 0".into()
        } else {
            return Ok(());
        };
        Err(Error::control("[method.progressive]", cause, "Correct the training configuration"))
    }

    /// The finest scale that is trained at a step, counted from 0 (`train_one_ep`).
    fn finest(&self, step: usize, course: Course) -> usize {
        let (step, last) = (step as f64, course.scales - 1);
        let end = course.steps as f64 * self.until;
        if step <= course.warm_up {
            self.first
        } else if step >= end {
            last
        } else {
            let progress = ((step - course.warm_up) / (end - course.warm_up)).clamp(0.0, 1.0);
            self.first + (progress * (last - self.first) as f64).round_ties_even() as usize
        }
    }

    /// What is trained at a step (`VARTrainer.train_step`). The first stage and the last have no scale that counts less.
    pub fn stage(&self, step: usize, course: Course) -> Stage {
        let finest = self.finest(step, course);
        let newest = if finest == self.first || finest == course.scales - 1 {
            1.0
        } else {
            let seen = (0..=step).rev().take_while(|step| self.finest(*step, course) == finest).count() as f64;
            let warm_up = self.warm_up.unwrap_or(course.steps as f64 / 300.0);
            (seen / warm_up).clamp(0.01, 1.0)
        };
        Stage { scales: finest + 1, newest }
    }
}

/// Pictures and their classes as a step sees them, on the device of training.
#[derive(Debug, Clone)]
pub struct Pyramids {
    /// Classes, some of them the null class: `[batch]`.
    pub labels: Tensor<1, Int>,
    /// Tokens of all scales, from coarse to fine: `[batch, sites]`.
    pub tokens: Tensor<2, Int>,
    /// What the transformer reads, [`MultiScaleQuantizer::var_input`]: `[batch, sites of all scales but the first, Cvae]`.
    pub inputs: Option<Tensor<3>>,
}

/// The loss of a stage in nats (`VARTrainer.train_step`): `[1]`. Each site counts 1 over the number of all sites, also where
/// some are not trained yet. `drop_path` is as in [`Var::forward`], `smoothing` the share of each target that goes to all
/// codes alike.
pub fn loss(model: &Var, batch: Pyramids, stage: Stage, scales: &[Grid], drop_path: f64, smoothing: f64) -> Tensor<1> {
    let sites = batch.tokens.dims()[1];
    let all: usize = scales.iter().map(Grid::len).sum();
    let logits = model.forward(batch.labels, batch.inputs, drop_path, &scales[..stage.scales]).cast(FloatDType::F32);
    let entropy = |sites: Range<usize>| {
        let share = sites.len() as f64 / all as f64;
        let tokens = batch.tokens.clone().slice(s![.., sites.clone()]);
        let logits = logits.clone().slice(s![.., sites, ..]);
        if smoothing == 0.0 {
            return cross_entropy(logits, tokens) * share;
        }
        let alike = log_softmax(logits.clone(), 2).mean().neg();
        (cross_entropy(logits, tokens) * (1.0 - smoothing) + alike * smoothing) * share
    };
    if stage.newest == 1.0 {
        return entropy(0..sites);
    }
    let newest = sites - scales[stage.scales - 1].len();
    entropy(0..newest) + entropy(newest..sites) * stage.newest
}

/// What no weight decay applies to, besides vectors and biases: parameters whose paths hold one of these (`train.py`).
const NOT_DECAYED: [&str; 5] = ["pos_1LC", "pos_start", "lvl_embed", "ada_gss", "scale_mul"];

/// How a parameter is updated (`lr_control.py`, `filter_params`).
pub fn group(path: &str, dims: usize) -> Group {
    let decay = dims > 1 && !path.ends_with("bias") && !NOT_DECAYED.iter().any(|name| path.contains(name));
    Group { decay, rate: 1.0 }
}

/// VAR as it is trained.
pub struct TrainVar {
    sizes: VarConfig,
    options: Options,
    course: Course,
    /// The tokenizer's quantiser, on a device without autodiff.
    quantize: MultiScaleQuantizer,
    device: Device,
}

impl TrainVar {
    /// Tokens of a stage with what the transformer reads of them.
    fn pyramids(&self, tokens: &Tokens, stage: Stage, turn: &mut Turn) -> Pyramids {
        let label = |class: &u32| {
            let nameless = f64::from(uniform(&mut turn.random)) < self.options.class_dropout;
            if nameless { self.sizes.num_classes as i32 } else { *class as i32 }
        };
        let labels: Vec<i32> = tokens.classes.iter().map(label).collect();
        let scales = self.sizes.scales();
        let ids = tokens.ids(&self.device);
        let mut first = 0;
        let of_scale = |grid: &Grid| {
            let sites = first..first + grid.len();
            first = sites.end;
            ids.clone().slice(s![.., sites])
        };
        let found: Vec<Tensor<2, Int>> = scales[..stage.scales].iter().map(of_scale).collect();
        let inputs = self.quantize.var_input(&found, &scales);
        Pyramids {
            labels: Tensor::from_data(labels.as_slice(), &turn.device),
            tokens: Tensor::from_inner(Tensor::cat(found, 1)),
            inputs: inputs.map(Tensor::from_inner),
        }
    }
}

impl Method for TrainVar {
    type Options = Options;
    type Model = Var;
    const KEYS: KeyMap = VAR_KEYS;

    fn new(config: &Config<Options>, ground: &Ground) -> Result<Self> {
        let card = &ground.tokenizer.card;
        if card.kind != var_vqvae::FAMILY.name {
            let cause = format!("VAR works on the scales of a {}, not on a {}", var_vqvae::FAMILY.name, card.kind);
            return Err(Error::control("[tokenizer]", cause, "Name the folder of such a tokenizer"));
        }
        let tokenizer: VqVaeConfig = configuration(&card.config)?;
        let mut model = config.model.clone();
        let sides = tokenizer.v_patch_nums.iter().map(|side| toml::Value::Integer(*side as i64)).collect();
        model.entry("patch_nums").or_insert(toml::Value::Array(sides));
        let known = [
            ("num_classes", ground.classes.len()),
            ("vocab_size", tokenizer.vocab_size),
            ("Cvae", tokenizer.z_channels),
        ];
        let sizes: VarConfig = sizes(&model, &known)?;
        sizes.check()?;
        if sizes.patch_nums != tokenizer.v_patch_nums {
            let cause = "patch_nums are not the scales of the tokenizer";
            return Err(Error::control("[model]", cause, "Leave them out: they follow from it"));
        }
        let (options, scales) = (config.options(), sizes.patch_nums.len());
        options.check(scales)?;
        let weights = Weights::Imported { path: ground.tokenizer.weights.clone(), report: Report::new(|_| ()) };
        let quantizer = weights.fill(QuantizerAlone::new(&tokenizer, &ground.device), &QUANTIZER_KEYS)?;
        let course = Course { steps: config.steps, warm_up: config.optimiser.warm_up, scales };
        Ok(Self { sizes, options, course, quantize: quantizer.quantize, device: ground.device.clone() })
    }

    fn family(&self) -> &'static str {
        FAMILY.name
    }

    fn network(&self) -> Value {
        to_value(&self.sizes)
    }

    fn defaults(&self) -> Defaults {
        let sampling = Sampling { top_k: self.sizes.vocab_size.min(900), top_p: 0.96, ..Sampling::default() };
        Defaults { steps: self.course.scales, guidance: Guidance::Scales { scale: 1.5 }, sampling }
    }

    fn init(&self, device: &Device) -> Result<Var> {
        Ok(Var::new(&self.sizes, device))
    }

    fn group(&self, path: &str, dims: usize) -> Group {
        group(path, dims)
    }

    fn loss(&self, model: &Var, tokens: &Tokens, turn: &mut Turn) -> Result<Loss> {
        let all = Stage { scales: self.course.scales, newest: 1.0 };
        let stage = self.options.progressive.as_ref().map_or(all, |stages| stages.stage(turn.step, self.course));
        let batch = self.pyramids(tokens, stage, turn);
        let drop_path = self.options.drop_path.unwrap_or(self.sizes.drop_path_rate());
        let scales = self.sizes.scales();
        let loss = loss(model, batch, stage, &scales, drop_path, self.options.label_smoothing);
        Ok(Loss { loss, figures: vec![("scales", stage.scales as f64)] })
    }
}
