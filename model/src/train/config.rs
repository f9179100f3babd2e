//! A training configuration: one TOML file per run.
//!
//! What all recipes share stands here; the sizes under `[model]` are the family's own, the options under `[method]` the
//! paper's own.

use std::fs;
use std::path::{Component, Path, PathBuf};

use burn::prelude::*;
use burn::tensor::FloatDType;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::data::Data;
use super::optimiser::Optimiser;
use super::run::{Settings, write};
use crate::checkpoint::{Report, Weights};
use crate::library::folder::Trained;
use crate::library::{Defaults, TokenizerCard, sha256};
use crate::tokenizer::Tokenizer;
use crate::{Error, Result, networks, tokenizers};

/// A configuration whose `[method]` holds `O`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config<O> {
    /// Which method trains, see [`RECIPES`](super::RECIPES).
    pub recipe: String,
    /// The folder that receives the trained model, relative to the configuration.
    pub output: PathBuf,
    /// What the window calls the model; by default the family and the folder's name.
    pub title: Option<String>,
    /// Decides the first weights, the data's sequence and everything drawn.
    #[serde(default)]
    pub seed: u64,
    /// Number of optimiser steps.
    pub steps: usize,
    /// Pictures per forward pass.
    pub batch: usize,
    /// Forward passes per optimiser step, whose gradients are averaged.
    #[serde(default = "one")]
    pub accumulate: usize,
    /// The numbers that the network computes with; weights and optimiser are always f32.
    #[serde(default)]
    pub precision: Precision,
    /// Decay of the exponential moving average of the weights, which is exported in their place; without it there is none.
    pub ema: Option<f64>,
    /// Steps from one checkpoint to the next.
    #[serde(default = "checkpoint_every")]
    pub checkpoint_every: usize,
    /// Steps from one contact sheet to the next; 0 makes none.
    #[serde(default = "sheet_every")]
    pub sheet_every: usize,
    /// What is trained on.
    pub data: Data,
    /// The trained tokenizer, for generators.
    pub tokenizer: Option<TokenizerSource>,
    /// A trained model of the same kind and sizes, whose weights training begins with: its folder, relative to the
    /// configuration. Without it they are fresh.
    pub init: Option<PathBuf>,
    /// The sizes of what is trained.
    pub model: toml::Table,
    /// How the weights are updated.
    pub optimiser: Optimiser,
    /// The paper's own options.
    pub method: Option<O>,
    /// The settings that the finished generator does best with; by default the family's.
    pub defaults: Option<Defaults>,
}

fn one() -> usize {
    1
}

fn checkpoint_every() -> usize {
    250
}

fn sheet_every() -> usize {
    500
}

/// What the network computes with while training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// bf16 where the device has it, else f16 where it has that, else f32.
    #[default]
    Auto,
    /// Single precision.
    F32,
    /// Brain floating point.
    Bf16,
    /// Half precision, with loss scaling.
    F16,
}

/// Where a generator's tokenizer is.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerSource {
    /// A folder that a tokenizer's recipe wrote, relative to the configuration.
    pub folder: PathBuf,
    /// Whether the output receives a copy of the tokenizer's weights, so that it can be moved about; otherwise it names them.
    #[serde(default = "yes")]
    pub copy: bool,
}

fn yes() -> bool {
    true
}

impl<O: DeserializeOwned + Default> Config<O> {
    /// Reads a configuration.
    ///
    /// # Errors
    /// Names the line, the field that is unknown or missing, or the value that means nothing.
    pub fn read(path: &Path) -> Result<Self> {
        let refused = |cause: String| Error::file(path, cause.trim_end(), "Correct the configuration");
        let config: Self = toml::from_str(&text(path)?).map_err(|error| refused(error.to_string()))?;
        let positive = [
            ("steps", config.steps),
            ("batch", config.batch),
            ("accumulate", config.accumulate),
            ("checkpoint_every", config.checkpoint_every),
        ];
        if let Some((name, _)) = positive.iter().find(|(_, value)| *value == 0) {
            return Err(refused(format!("{name} is 0")));
        }
        if config.ema.is_some_and(|decay| !(0.0..1.0).contains(&decay)) {
            return Err(refused("ema is the share that is kept, from 0 to below 1, such as 0.9999".into()));
        }
        config.optimiser.check().map_err(|cause| refused(format!("[optimiser] {cause}")))?;
        config.data.check().map_err(|cause| refused(format!("[data] {cause}")))?;
        Ok(config)
    }

    /// The tokenizer that a generator stands on.
    ///
    /// # Errors
    /// If none is named.
    pub fn tokenizer(&self) -> Result<&TokenizerSource> {
        let remedy = "Add [tokenizer] with folder = \"…\", a folder that a tokenizer's recipe wrote";
        self.tokenizer.as_ref().ok_or_else(|| Error::control("[tokenizer]", "a generator needs one", remedy))
    }

    /// The weights that training begins with, in a configuration of the folder `base`: fresh ones, or those of the model in
    /// the folder `init`, whose `config.json` must be one that `fits`.
    ///
    /// # Errors
    /// If there is no model in that folder, or another one.
    pub fn first_weights<C: DeserializeOwned>(&self, base: &Path, fits: impl FnOnce(&C) -> bool) -> Result<Weights> {
        let Some(folder) = &self.init else { return Ok(Weights::Fresh) };
        let file = base.join(folder).join(Trained::CARD);
        let refused = |cause: String| {
            Error::file(&file, cause, "Let init name a folder that the same recipe wrote for a model of the same sizes")
        };
        let card = fs::read(&file).map_err(|error| refused(error.to_string()))?;
        let card: C = serde_json::from_slice(&card).map_err(|error| refused(error.to_string()))?;
        if !fits(&card) {
            return Err(refused("it is of another family, or of other sizes than [model]".into()));
        }
        let path = base.join(folder).join(Trained::WEIGHTS);
        Ok(Weights::Imported { path, report: Report::new(|_| ()) })
    }

    /// How the weights are trained, with numbers of this precision.
    pub fn settings(&self, precision: FloatDType) -> Settings {
        let Self { steps, accumulate, ema, .. } = *self;
        Settings { optimiser: self.optimiser.clone(), steps, accumulate, ema, precision }
    }

    /// The paper's options, or its defaults.
    pub fn options(&self) -> O
    where
        O: Clone,
    {
        self.method.clone().unwrap_or_default()
    }
}

/// Refuses shares of `[method]` that mean nothing.
///
/// # Errors
/// Names the first that is not from 0 to below 1.
pub fn check_shares(shares: &[(&'static str, f64)]) -> Result<()> {
    match shares.iter().find(|(_, share)| !(0.0..1.0).contains(share)) {
        Some((name, share)) => {
            let remedy = format!("Set {name} to a share from 0 to below 1, such as 0.1");
            Err(Error::control("[method]", format!("{name} is {share}"), remedy))
        }
        None => Ok(()),
    }
}

/// The text of a configuration.
pub(super) fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        Error::file(path, error, "Name a training configuration, such as assets/models/scenes-vq/train.toml")
    })
}

impl Precision {
    /// The type that the network computes with on a device.
    ///
    /// # Errors
    /// If a type is asked for that the device does not have.
    pub fn on(self, device: &Device, gpu: bool) -> Result<burn::tensor::FloatDType> {
        use burn::tensor::FloatDType::{BF16, F16, F32};
        let has = |kind| gpu && device.supports_dtype(kind);
        let (name, kind) = match self {
            Self::F32 => return Ok(F32),
            Self::Auto => return Ok([BF16, F16].into_iter().find(|kind| has(*kind)).unwrap_or(F32)),
            Self::Bf16 => ("bf16", BF16),
            Self::F16 => ("f16", F16),
        };
        if has(kind) {
            return Ok(kind);
        }
        let cause = format!("{name} is not to be had on this device");
        Err(Error::control("precision", cause, "Use precision = \"auto\", or a GPU that has it (`andamento doctor`)"))
    }
}

/// A trained tokenizer, loaded.
pub struct LoadedTokenizer {
    /// Its kind and sizes.
    pub card: TokenizerCard,
    /// Its weights' file.
    pub weights: PathBuf,
    /// SHA-256 of that file.
    pub sha256: String,
    /// The tokenizer itself, on a device without autodiff.
    pub tokenizer: Box<dyn Tokenizer>,
    /// Whether the output receives a copy of its weights.
    pub copy: bool,
}

impl LoadedTokenizer {
    /// Puts the weights where a generator's folder finds them; what its card calls them: nothing for the copy in the folder.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn place(&self, output: &Path) -> Result<Option<PathBuf>> {
        let absolute = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
        let (output, weights) = (absolute(output), absolute(&self.weights));
        if !self.copy {
            return Ok(Some(relative(&output, &weights)));
        }
        let bytes = fs::read(&weights).map_err(|error| Error::file(&weights, error, "Train the tokenizer again"))?;
        write(&output.join(Trained::TOKENIZER), &bytes).map(|()| None)
    }
}

/// The way from a folder to a file, both absolute.
fn relative(folder: &Path, file: &Path) -> PathBuf {
    let shared = folder.components().zip(file.components()).take_while(|(a, b)| a == b).count();
    if shared == 0 {
        return file.into();
    }
    let up = folder.components().skip(shared).map(|_| Component::ParentDir);
    up.chain(file.components().skip(shared)).collect()
}

impl TokenizerSource {
    /// Loads the tokenizer onto a device.
    ///
    /// # Errors
    /// If the folder holds none, or its weights do not fit its configuration.
    pub fn load(&self, base: &Path, device: &Device) -> Result<LoadedTokenizer> {
        let folder = base.join(&self.folder);
        let [config, weights] = ["config.json", "weights.safetensors"].map(|name| folder.join(name));
        let missing = |path: &Path| {
            let path = path.to_path_buf();
            move |error: std::io::Error| Error::file(path, error, "Train the tokenizer first")
        };
        let card = fs::read(&config).map_err(missing(&config))?;
        let card: TokenizerCard = serde_json::from_slice(&card)
            .map_err(|error| Error::file(&config, error, "Name a folder that a tokenizer's recipe wrote"))?;
        let sha256 = sha256(&fs::read(&weights).map_err(missing(&weights))?);
        let source = Weights::Imported { path: weights.clone(), report: Report::new(|_| ()) };
        let tokenizer = (tokenizers::by_name(&card.kind)?.build)(&card.config, &source, device)?;
        Ok(LoadedTokenizer { card, weights, sha256, tokenizer, copy: self.copy })
    }
}

/// The sizes under `[model]` as a family's own configuration. What follows from the data and the tokenizer, `known`, need not
/// be written there, and must not differ.
///
/// # Errors
/// Names the field that is missing, unknown or contradicted.
pub fn sizes<T: DeserializeOwned>(model: &toml::Table, known: &[(&str, usize)]) -> Result<T> {
    let mut model = model.clone();
    for (name, value) in known {
        let value = toml::Value::Integer(*value as i64);
        let held = model.entry(*name).or_insert(value.clone());
        if *held != value {
            let cause = format!("{name} = {held}, but tokenizer and data have {value}");
            return Err(Error::control("[model]", cause, format!("Leave out {name}: it follows from them")));
        }
    }
    let model = serde_json::to_value(model).map_err(|error| Error::control("[model]", error, "Correct the sizes"))?;
    networks::configuration(&model)
}
