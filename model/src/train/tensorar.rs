//! TensorAR's recipe (arXiv 2505.16324, §3.2.2 and §4.1): a trained base model is fine-tuned to predict tensors from tensors
//! whose later tokens are noised, by the cross entropy of all their tokens. What is plugged in starts with closed gates: the
//! first step sees the base model's own predictions.
//!
//! As published: AdamW with betas 0.9 and 0.95 and a weight decay of 0.05, clipping at 1, 20 epochs of 256 pictures a step, a
//! learning rate that falls along a straight line to nothing, no moving average, drop-out of tokens and classes 0.1.
//!
//! Chosen by us, as the paper leaves it open: the two learning rates, of which it says that there is one for the base model
//! and another for what is plugged in, are 1e-4, that of LlamaGen's training, for the latter and a tenth of it for the
//! base; drop-out inside the base's blocks is that of LlamaGen's training; and see [`crate::networks::tensorar`].

use std::path::{Path, PathBuf};

use burn::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use super::config::{Config, sizes};
use super::data::tokens::Tokens;
use super::generator::{self, Ground, Loss, Method, Turn};
use super::llamagen::check_dropouts;
use super::optimiser::Group;
use super::{Outcome, Run};
use crate::checkpoint::{KeyMap, LLAMAGEN_KEYS, OPEN_MAGVIT2_KEYS, RAR_KEYS, Report, TENSORAR_KEYS, Weights};
use crate::lattice::Grid;
use crate::library::Defaults;
use crate::library::folder::Trained;
use crate::library::imported::Shelf;
use crate::networks::llamagen::{Dropout, TransformerConfig, Trunk};
use crate::networks::open_magvit2::{OpenMagvit2, OpenMagvit2Config};
use crate::networks::rar::{Rar, RarConfig};
use crate::networks::tensorar::base::{Base, BaseConfig};
use crate::networks::tensorar::noise::Noise;
use crate::networks::tensorar::{FAMILY, TensorAr, TensorArConfig};
use crate::networks::{by_name, configuration, to_value};
use crate::{Error, Result};

/// The options of TensorAR's training.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The trained base model: a folder that a recipe wrote, relative to the configuration, or the id of an imported model.
    pub base: PathBuf,
    /// The base model's learning rate as a share of the run's; at 0 it stays as it is.
    pub base_rate: f64,
    /// The noise on the tensors that are read.
    pub noise: Noise,
    /// How much the first token of a tensor, the final one, weighs in the loss beside each of the others.
    pub first_weight: f32,
    /// Share of the pictures that lose their class.
    pub class_dropout: f64,
    /// Drop-out on the vectors of class and tensors.
    pub token_dropout: f64,
    /// Drop-out on the output of attention and of the feed-forward layer, inside the base model.
    pub residual_dropout: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            base: PathBuf::new(),
            base_rate: 0.1,
            noise: Noise::default(),
            first_weight: 1.0,
            class_dropout: 0.1,
            token_dropout: 0.1,
            residual_dropout: 0.1,
        }
    }
}

/// What `[model]` holds: the base model knows its own sizes.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct PluggedIn {
    k: usize,
    depth: usize,
}

/// A trained base model that was not loaded yet.
struct Source {
    config: BaseConfig,
    weights: PathBuf,
    /// The settings that it does best with: its card's, or those published for its family's first size.
    defaults: Defaults,
}

/// What of a card, or of an imported model's record, says how to load a base model.
#[derive(Deserialize)]
struct About {
    family: String,
    /// In a card.
    network: Option<Value>,
    defaults: Option<Defaults>,
    /// In a record.
    config: Option<Value>,
}

impl Source {
    /// The base model of a configuration whose folder is `folder`.
    fn find(options: &Options, folder: &Path) -> Result<Self> {
        let remedy = "Name the folder of a trained LlamaGen or RAR, or the id of an imported model";
        if options.base.as_os_str().is_empty() {
            return Err(Error::control(
                "[method]",
                "TensorAR is fine-tuned from a trained base, and none is named",
                remedy,
            ));
        }
        let near = folder.join(&options.base);
        let home = if near.is_dir() { near } else { Shelf::open(None)?.folder().join(&options.base) };
        let about = [Trained::CARD, "record.json"].map(|name| home.join(name)).into_iter().find(|path| path.is_file());
        let about = about.ok_or_else(|| Error::file(&options.base, "no model is there", remedy))?;
        let refused = |cause: String| Error::file(&about, cause, remedy);
        let text = std::fs::read(&about).map_err(|error| refused(error.to_string()))?;
        let About { family, network, defaults, config } =
            serde_json::from_slice(&text).map_err(|error| refused(error.to_string()))?;
        let base = json!({ "family": family, "config": network.or(config) });
        let config = configuration(&base).map_err(|_| refused(format!("{family} is no base model of TensorAR's")))?;
        let preset = (by_name(&family)?.presets)().into_iter().next();
        let published = preset.map(|of| Defaults { steps: of.steps, guidance: of.guidance, sampling: of.sampling });
        let defaults = defaults.or(published).ok_or_else(|| refused("nothing says how to sample from it".into()))?;
        Ok(Self { config, weights: home.join(Trained::WEIGHTS), defaults })
    }
}

/// A base model that can be loaded and trained.
trait Trainable: Base {
    /// The published keys of its weights.
    const KEYS: KeyMap;

    /// Its own sizes, if it is the one that is meant.
    fn sizes(of: &BaseConfig) -> Option<Self::Config>;

    /// Fresh weights.
    fn fresh(sizes: &Self::Config, device: &Device) -> Self;
}

impl Trainable for Trunk {
    const KEYS: KeyMap = LLAMAGEN_KEYS;

    fn sizes(of: &BaseConfig) -> Option<TransformerConfig> {
        if let BaseConfig::LlamaGen(sizes) = of { Some(sizes.clone()) } else { None }
    }

    fn fresh(sizes: &TransformerConfig, device: &Device) -> Self {
        Self::new(sizes, device)
    }
}

impl Trainable for Rar {
    const KEYS: KeyMap = RAR_KEYS;

    fn sizes(of: &BaseConfig) -> Option<RarConfig> {
        if let BaseConfig::Rar(sizes) = of { Some(sizes.clone()) } else { None }
    }

    fn fresh(sizes: &RarConfig, device: &Device) -> Self {
        Self::new(sizes, device)
    }
}

impl Trainable for OpenMagvit2 {
    const KEYS: KeyMap = OPEN_MAGVIT2_KEYS;

    fn sizes(of: &BaseConfig) -> Option<OpenMagvit2Config> {
        if let BaseConfig::OpenMagvit2(sizes) = of { Some(sizes.clone()) } else { None }
    }

    fn fresh(sizes: &OpenMagvit2Config, device: &Device) -> Self {
        Self::new(sizes, device)
    }
}

/// Trains, or goes on training, on whatever base model the configuration names.
///
/// # Errors
/// As [`generator::train`], or if the base model cannot be found.
pub fn train(path: &Path, run: &mut Run) -> Result<Outcome> {
    let options = Config::<Options>::read(path)?.options();
    match Source::find(&options, path.parent().unwrap_or(Path::new(".")))?.config {
        BaseConfig::LlamaGen(_) => generator::train::<TrainTensorAr<Trunk>>(path, run),
        BaseConfig::Rar(_) => generator::train::<TrainTensorAr<Rar>>(path, run),
        BaseConfig::OpenMagvit2(_) => generator::train::<TrainTensorAr<OpenMagvit2>>(path, run),
    }
}

/// TensorAR as it is trained.
struct TrainTensorAr<B: Base> {
    config: TensorArConfig,
    base: B::Config,
    source: Source,
    options: Options,
    grid: Grid,
}

impl<B: Trainable> Method for TrainTensorAr<B> {
    type Options = Options;
    type Model = TensorAr<B>;
    const KEYS: KeyMap = TENSORAR_KEYS;

    fn new(config: &Config<Options>, ground: &Ground) -> Result<Self> {
        let options = config.options();
        check_dropouts(options.class_dropout, options.token_dropout, options.residual_dropout)?;
        let positive = |name: &str, value: f64| {
            let cause = format!("{name} is {value}");
            if value.is_finite() && value >= 0.0 {
                Ok(())
            } else {
                Err(Error::control("[method]", cause, "Use 0 or more"))
            }
        };
        positive("base_rate", options.base_rate)?;
        positive("first_weight", f64::from(options.first_weight))?;
        let PluggedIn { k, depth } = sizes(&config.model, &[])?;
        let source = Source::find(&options, &ground.base)?;
        let sizes = source.config.sizes();
        let has = (sizes.codes, sizes.classes);
        let (wants, grid) = ((ground.codes(), ground.classes.len()), ground.lattice.finest());
        if has != wants {
            let cause =
                format!("it has {} codes and {} classes, tokenizer and data {} and {}", has.0, has.1, wants.0, wants.1);
            return Err(Error::file(
                &options.base,
                cause,
                "Use the tokenizer and the classes that the base was trained with",
            ));
        }
        let Some(base) = B::sizes(&source.config) else {
            return Err(Error::file(&options.base, "it was replaced by another family", "Start again"));
        };
        B::check_grid(&base, grid, grid)?;
        let config = TensorArConfig { base: source.config.clone(), k, depth, noise: options.noise };
        config.check()?;
        Ok(Self { config, base, source, options, grid })
    }

    fn family(&self) -> &'static str {
        FAMILY.name
    }

    fn network(&self) -> Value {
        to_value(&self.config)
    }

    /// Those of the base model (§4.1).
    fn defaults(&self) -> Defaults {
        self.source.defaults
    }

    fn init(&self, device: &Device) -> Result<TensorAr<B>> {
        let weights = Weights::Imported { path: self.source.weights.clone(), report: Report::new(|_| ()) };
        let base = weights.fill(B::fresh(&self.base, device), &B::KEYS)?;
        Ok(TensorAr::new(base, &self.config, device))
    }

    fn group(&self, path: &str, dims: usize) -> Group {
        let rate = if path.starts_with("base.") { self.options.base_rate } else { 1.0 };
        Group { rate, ..Group::by_dims(dims) }
    }

    fn loss(&self, model: &TensorAr<B>, tokens: &Tokens, turn: &mut Turn) -> Result<Loss> {
        let Options { noise, first_weight, class_dropout, token_dropout, residual_dropout, .. } = self.options;
        let classes = turn.classes(tokens, class_dropout, self.config.base.sizes().classes);
        let ids = tokens.ids(&turn.device);
        let conditions = model.base.conditions(&self.base, classes.clone(), self.grid);
        let codes = model.base.codes();
        let dropout = Dropout { token: token_dropout, residual: residual_dropout };
        let embed = |tensors| noise.embed(tensors, &codes);
        let hidden = model.hidden(classes, ids.clone(), &conditions, embed, dropout);
        let logits = model.logits(hidden, ids.clone(), &conditions, residual_dropout);
        Ok(model.loss(logits, ids, first_weight).into())
    }
}
