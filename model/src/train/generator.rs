//! The one loop of all generators: tokens in, a loss of the method, an update, and now and then a checkpoint and a sheet.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::module::Module;
use burn::prelude::*;
use burn::tensor::{FloatDType, Int};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::config::{Config, LoadedTokenizer};
use super::data::pictures::Pictures;
use super::data::tokens::{TokenSet, Tokens};
use super::metrics::Metrics;
use super::optimiser::Group;
use super::run::{Folder, Trainer, make, write, write_json};
use super::{Event, Outcome, Progress, Run, randomness, sheet, uniform};
use crate::checkpoint::{KeyMap, export};
use crate::lattice::Lattice;
use crate::library::{Card, Defaults};
use crate::{Error, Result};

/// A paper's way to train a generator.
pub trait Method: Sized {
    /// What `[method]` holds; its default is the published one.
    type Options: DeserializeOwned + Default + Clone;
    /// The network's weights.
    type Model: Module;

    /// The published names of the weights.
    const KEYS: KeyMap;

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

    /// What becomes of the weights after `step` steps, and the configuration that goes with them: RAR merges tables once its
    /// order is settled.
    fn published(&self, model: Self::Model, step: usize) -> (Self::Model, Value) {
        let _ = step;
        (model, self.network())
    }
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

    /// The classes of a batch, `[batch]`: a share of the pictures, `dropout`, has the class `null` instead of its own.
    pub fn classes(&mut self, tokens: &Tokens, dropout: f64, null: usize) -> Tensor<1, Int> {
        let mut class =
            |class: &u32| if f64::from(uniform(&mut self.random)) < dropout { null as i32 } else { *class as i32 };
        let classes: Vec<i32> = tokens.classes.iter().map(&mut class).collect();
        Tensor::from_data(classes.as_slice(), &self.device)
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

/// The file of a checkpoint that names the tokens it was trained on.
const BASIS: &str = "tokens";

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
    let Some(mut tokens) = TokenSet::open(&config.data, &pictures, &tokenizer, run)? else {
        return Ok(Outcome::Paused("the pictures are not all tokenised yet".into()));
    };
    let lattice = tokenizer.tokenizer.lattice(config.data.side as usize)?;
    let (classes, side) = (pictures.classes.clone(), config.data.side);
    let ground = Ground { tokenizer, classes, lattice, side, base: base.clone(), device: device.clone() };
    let method = M::new(&config, &ground)?;

    let device = device.autodiff();
    device.seed(config.seed);
    let group = |path: &str, dims: usize| method.group(path, dims);
    let settings = config.settings(precision);
    let fits = |card: &Card| card.family == method.family() && card.network == method.network();
    let first = config.first_weights(&base, fits)?;
    let mut trainer = Trainer::start(first.fill(method.init(&device)?, &M::KEYS)?, settings, &group);
    if let Some(checkpoint) = folder.newest()? {
        if fs::read_to_string(checkpoint.join(BASIS)).is_ok_and(|key| key != tokens.key()) {
            let cause = "it was trained with another tokenizer or other data";
            return Err(Error::file(&run.folder, cause, "Remove the run's folder to start anew"));
        }
        trainer.load(&checkpoint, "generator", &group)?;
    }
    let output = base.join(&config.output);
    let mut metrics = Metrics::open(&run.folder, trainer.step())?;
    while trainer.step() < config.steps {
        let step = trainer.step();
        let model = trainer.working();
        let (mut losses, mut figures) = (Vec::new(), Vec::new());
        for part in 0..config.accumulate {
            let number = step * config.accumulate + part;
            device.seed(config.seed.wrapping_add(number as u64));
            let random = randomness(config.seed, number);
            let mut turn = Turn { step, steps: config.steps, random, device: device.clone(), precision };
            let batch = tokens.batch(config.seed, number, config.batch);
            let loss = method.loss(&model, &batch, &mut turn)?;
            trainer.gather(loss.loss.clone());
            losses.push(loss.loss.inner());
            figures = loss.figures;
        }
        drop(model);
        let updated = trainer.update()?;

        let nats = f64::from(Tensor::cat(losses, 0).mean().into_scalar::<f32>());
        let bits = nats / std::f64::consts::LN_2;
        let mut all =
            vec![("loss", nats), ("bits per token", bits), ("rate", updated.rate), ("gradient", updated.norm)];
        all.append(&mut figures);
        all.push(("skipped", trainer.skipped() as f64));
        metrics.add(trainer.step(), &all)?;
        let (step, steps) = (trainer.step(), config.steps);
        let progress =
            Progress { task: method.family(), step, steps, pictures: config.batch * config.accumulate, figures: all };
        (run.report)(Event::Step(&progress));

        let done = step == steps || (run.enough)();
        let sheet = config.sheet_every > 0 && (step.is_multiple_of(config.sheet_every) || step == steps);
        let keep = done || step.is_multiple_of(config.checkpoint_every);
        // The checkpoint comes last: what it says is done has its output, its sheet and its plot.
        if keep || sheet {
            publish(&method, &config, &ground, &trainer, &output)?;
        }
        if sheet {
            sheet::generated(&output, &run.device, &folder.join(&format!("sheets/step-{step:06}.png")))?;
        }
        if keep {
            metrics.plot(method.family())?;
            folder.save(step, |checkpoint| {
                write(&checkpoint.join(BASIS), tokens.key().as_bytes())?;
                trainer.save(checkpoint, "generator")
            })?;
        }
        if done && step < steps {
            return Ok(Outcome::paused(step, steps));
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
    let (model, network) = method.published(trainer.result(), trainer.step());
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
        network,
        tokenizer,
    };
    write(&output.join("weights.safetensors"), &export(&model, &M::KEYS)?)?;
    write_json(&output.join("config.json"), &card)
}
