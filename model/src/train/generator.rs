//! The one loop of all generators: tokens in, a loss of the method, an update, and now and then a checkpoint and a sheet.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::FloatDType;
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::{Config, LoadedTokenizer};
use super::data::pictures::Pictures;
use super::data::tokens::{TokenSet, Tokens};
use super::metrics::Metrics;
use super::optimiser::Group;
use super::run::{Folder, Settings, Trainer, make, write, write_json};
use super::{Event, Outcome, Progress, Run, randomness, sheet};
use crate::lattice::Lattice;
use crate::library::{Card, Defaults};
use crate::Result;

/// A paper's way to train a generator.
pub trait Method: Sized {
    /// What `[method]` holds; its default is the published one.
    type Options: DeserializeOwned + Default + Clone;
    /// The network's weights.
    type Model: Module;

    /// Takes over a configuration.
    ///
    /// # Errors
    /// Names what does not fit, in the configuration or between it and the data.
    fn new(config: &Config<Self::Options>, ground: &Ground) -> Result<Self>;

    /// The family in [`networks::FAMILIES`](crate::networks::FAMILIES) that opens the result.
    fn family(&self) -> &'static str;

    /// The family's own configuration, as a [`Card`] has it.
    fn network(&self) -> Value;

    /// The settings that the result does best with, where the configuration does not say.
    fn defaults(&self) -> Defaults;

    /// Fresh weights on a device with autodiff, or those of a trained base.
    ///
    /// # Errors
    /// If the base cannot be loaded.
    fn init(&self, device: &Device) -> Result<Self::Model>;

    /// How a parameter is updated, by its path in the module, such as `trunk.layers.0.attention.wo.weight`, and its number
    /// of dimensions.
    fn group(&self, path: &str, dims: usize) -> Group {
        let _ = path;
        Group::by_dims(dims)
    }

    /// The loss of a batch. `model` computes in the precision of the run ([`Turn::precision`]); the loss is f32.
    ///
    /// # Errors
    /// If the device fails.
    fn loss(&self, model: &Self::Model, tokens: &Tokens, turn: &mut Turn) -> Result<Loss>;

    /// The weights as a safetensors file with the family's published names.
    ///
    /// # Errors
    /// If the weights cannot be read back from the device.
    fn export(&self, model: &Self::Model) -> Result<Vec<u8>>;
}

/// What a method stands on: the data and the tokenizer.
pub struct Ground {
    /// The tokenizer, on a device without autodiff.
    pub tokenizer: LoadedTokenizer,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// The tokens of a picture.
    pub lattice: Lattice,
    /// Side of a picture in pixels.
    pub side: u32,
    /// The folder that paths of the configuration are relative to.
    pub base: PathBuf,
    /// The device without autodiff.
    pub device: Device,
}

impl Ground {
    /// Number of codes.
    pub fn codes(&self) -> usize {
        self.tokenizer.tokenizer.codes()
    }
}

/// One forward pass.
pub struct Turn {
    /// The step, from 0.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Randomness of this pass alone: of the seed, the step and the place within it.
    pub random: ChaCha8Rng,
    /// The device, with autodiff.
    pub device: Device,
    /// What the network computes with.
    pub precision: FloatDType,
}

impl Turn {
    /// How far the training is, 0 to 1.
    pub fn progress(&self) -> f64 {
        self.step as f64 / self.steps as f64
    }
}

/// The loss of a batch.
pub struct Loss {
    /// Mean cross entropy in nats, or what the method minimises in its place: `[1]`.
    pub loss: Tensor<1>,
    /// Figures that the host knows, for the plot, such as the share of random orders.
    pub figures: Vec<(&'static str, f64)>,
}

impl From<Tensor<1>> for Loss {
    fn from(loss: Tensor<1>) -> Self {
        Self { loss, figures: Vec::new() }
    }
}

/// Trains, or goes on training.
///
/// # Errors
/// If the configuration, the data, the tokenizer or a checkpoint is refused, a folder cannot be written, or the device
/// fails.
pub fn train<M: Method>(path: &Path, run: &mut Run) -> Result<Outcome> {
    let config = Config::<M::Options>::read(path)?;
    let base = path.parent().unwrap_or(Path::new(".")).to_path_buf();
    let folder = Folder::open(&run.folder)?;
    let device = run.device.device.clone();
    let source = config.tokenizer()?;
    let tokenizer = source.load(&base, &device)?;
    let precision = config.precision.on(&device, run.device.gpu)?;
    let pictures = Arc::new(Pictures::open(&config.data, &base)?);
    let mut tokens = TokenSet::open(&config.data, &pictures, &tokenizer, config.seed, &run.folder, run.report)?;
    let lattice = tokenizer.tokenizer.lattice(config.data.side as usize)?;
    let (classes, side) = (pictures.classes.clone(), config.data.side);
    let ground = Ground { tokenizer, classes, lattice, side, base: base.clone(), device: device.clone() };
    let method = M::new(&config, &ground)?;

    let device = device.autodiff();
    device.seed(config.seed);
    let group = |path: &str, dims: usize| method.group(path, dims);
    let settings = Settings {
        optimiser: config.optimiser.clone(),
        steps: config.steps,
        accumulate: config.accumulate,
        ema: config.ema,
        precision,
    };
    let mut trainer = Trainer::start(method.init(&device)?, settings, &group);
    if let Some(checkpoint) = folder.newest()? {
        trainer.load(&checkpoint, "generator", &group)?;
    }
    let output = base.join(&config.output);
    let mut metrics = Metrics::open(&run.folder, trainer.step())?;
    let export = |trainer: &Trainer<M::Model>| publish(&method, &config, &ground, trainer, &output);
    while trainer.step() < config.steps {
        let step = trainer.step();
        let model = trainer.working();
        let (mut nats, mut figures) = (0.0, Vec::new());
        for part in 0..config.accumulate {
            let number = step * config.accumulate + part;
            device.seed(config.seed.wrapping_add(number as u64));
            let random = randomness(config.seed, number);
            let mut turn = Turn { step, steps: config.steps, random, device: device.clone(), precision };
            let batch = tokens.batch(config.seed, number, config.batch);
            let loss = method.loss(&model, &batch, &mut turn)?;
            trainer.gather(loss.loss.clone());
            nats += loss.loss.into_scalar::<f32>() as f64 / config.accumulate as f64;
            figures = loss.figures;
        }
        drop(model);
        let updated = trainer.update()?;

        let bits = nats / std::f64::consts::LN_2;
        let mut all = vec![("loss", nats), ("bits per token", bits), ("rate", updated.rate), ("gradient", updated.norm)];
        all.append(&mut figures);
        all.push(("skipped", trainer.skipped() as f64));
        metrics.add(trainer.step(), &all)?;
        let (step, steps) = (trainer.step(), config.steps);
        let progress =
            Progress { task: method.family(), step, steps, pictures: config.batch * config.accumulate, figures: all };
        (run.report)(Event::Step(&progress));

        let done = step == steps || (run.enough)();
        let sheet = config.sheet_every > 0 && (step.is_multiple_of(config.sheet_every) || step == steps);
        if done || sheet || step.is_multiple_of(config.checkpoint_every) {
            folder.save(step, |checkpoint| trainer.save(checkpoint, "generator"))?;
            metrics.plot(method.family())?;
            export(&trainer)?;
        }
        if sheet {
            sheet::generated(&output, &run.device, &folder.join(&format!("sheets/step-{step:06}.png")))?;
        }
        if done && step < steps {
            return Ok(Outcome::Paused { step, steps });
        }
    }
    Ok(Outcome::Finished)
}

/// Writes the output folder: a model that opens in the window.
fn publish<M: Method>(
    method: &M,
    config: &Config<M::Options>,
    ground: &Ground,
    trainer: &Trainer<M::Model>,
    output: &Path,
) -> Result<()> {
    make(output)?;
    let model = trainer.result();
    let name = std::path::absolute(output).unwrap_or_else(|_| output.into());
    let id = name.file_name().map_or_else(|| config.recipe.clone(), |name| name.to_string_lossy().into_owned());
    let mut tokenizer = ground.tokenizer.card.clone();
    tokenizer.weights = ground.tokenizer.place(output)?;
    let card = Card {
        title: config.title.clone().unwrap_or_else(|| format!("{} {id}", method.family())),
        id,
        family: method.family().into(),
        side: ground.side,
        grid: ground.lattice.finest().rows,
        parameters: model.num_params(),
        subjects: ground.classes.clone(),
        defaults: config.defaults.unwrap_or_else(|| method.defaults()),
        network: method.network(),
        tokenizer,
    };
    write(&output.join("weights.safetensors"), &method.export(&model)?)?;
    write_json(&output.join("config.json"), &card)
}
