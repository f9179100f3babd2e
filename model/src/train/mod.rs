//! Training: one recipe per paper, on the procedural scenes.
//!
//! A run lives in a folder of its own: `checkpoint/` holds weights, optimiser state and the step, replaced as a whole, so
//! that an interrupted run goes on where it stopped. Everything random is keyed by the seed and the step: a resumed run
//! sees the data it would have seen.

pub mod randar;
pub mod scenes;
pub mod tokenizer;

use std::fs;
use std::path::{Path, PathBuf};

use burn::module::ParamGroup;
use burn::module::{Module, ModuleVisitor, Param, ParamId};
use burn::optim::{AdamWConfig, GradientsParams, ModuleOptimizer};
use burn::prelude::*;
use burn::store::{BurnpackStore, ModuleSnapshot};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::order::uniform;
use crate::{Error, Result};

/// A training configuration file: which recipe, and its sizes.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "recipe", rename_all = "kebab-case")]
pub enum Recipe {
    /// LlamaGen's VQ tokenizer.
    Tokenizer(tokenizer::Recipe),
    /// RandAR on the codes of a trained tokenizer.
    Randar(randar::Recipe),
}

/// AdamW as published (`randar_gpt.py`, `configure_optimizer`): weight decay on matrices only, gradients clipped by their
/// global norm, and a learning rate that warms up linearly and falls along half a cosine.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimiser {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// Share of the highest learning rate that is left at the end.
    pub final_share: f64,
    /// Steps until the highest learning rate is reached.
    pub warm_up: usize,
    /// Decay rates of the two moments.
    pub betas: (f32, f32),
    /// Decoupled weight decay, on parameters of two or more dimensions.
    pub weight_decay: f32,
    /// Largest global gradient norm.
    pub clip: f64,
}

impl Optimiser {
    fn rate(&self, step: usize, steps: usize) -> f64 {
        if step < self.warm_up {
            return self.learning_rate * (step + 1) as f64 / self.warm_up as f64;
        }
        let progress = (step - self.warm_up) as f64 / (steps - self.warm_up).max(1) as f64;
        let cosine = 0.5 * (1.0 + (std::f64::consts::PI * progress).cos());
        self.learning_rate * (self.final_share + (1.0 - self.final_share) * cosine)
    }

    fn build<M: Module>(&self, module: &M) -> ModuleOptimizer {
        let adamw = |decay| {
            let (beta_1, beta_2) = self.betas;
            let config = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(1e-8);
            config.with_weight_decay(decay)
        };
        let mut matrices = Matrices::default();
        module.visit(&mut matrices);
        let group = ParamGroup::from_ids(matrices.0);
        adamw(0.0).init().with_group(group, adamw(self.weight_decay).build(), None)
    }
}

/// Collects the parameters that are decayed.
#[derive(Default)]
struct Matrices(Vec<ParamId>);

impl ModuleVisitor for Matrices {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if D >= 2 {
            self.0.push(param.id);
        }
    }
}

/// What one step reports.
#[derive(Debug, Clone)]
pub struct Progress {
    /// What is being done.
    pub task: &'static str,
    /// Steps done.
    pub step: usize,
    /// Steps in all.
    pub steps: usize,
    /// Pictures used by this step.
    pub pictures: usize,
    /// Named figures of this step, such as the loss.
    pub figures: Vec<(&'static str, f64)>,
}

/// Module, optimiser and step of a run, with its checkpoints.
pub struct Trainer<M: Module> {
    /// What is trained.
    pub model: M,
    optimiser: ModuleOptimizer,
    settings: Optimiser,
    step: usize,
    steps: usize,
    /// Counters that a recipe keeps between steps.
    counters: Vec<usize>,
    folder: PathBuf,
}

#[derive(Serialize, Deserialize)]
struct State {
    step: usize,
    counters: Vec<usize>,
}

impl<M: Module> Trainer<M> {
    /// Starts a run of `steps` steps in `folder`, or goes on with the one that is there.
    ///
    /// # Errors
    /// If the folder cannot be written, or its checkpoint does not fit the module.
    pub fn start(mut model: M, settings: &Optimiser, steps: usize, folder: &Path) -> Result<Self> {
        fs::create_dir_all(folder).map_err(|error| Error::file(folder, error, "Choose a folder you can write to"))?;
        let settings = settings.clone();
        let saved = [folder.join("checkpoint"), folder.join("checkpoint.old")].into_iter().find(|path| path.is_dir());
        let Some(saved) = saved else {
            let optimiser = settings.build(&model);
            return Ok(Self {
                model,
                optimiser,
                settings,
                step: 0,
                steps,
                counters: Vec::new(),
                folder: folder.into(),
            });
        };
        let refuse = |what: &str, error: String| {
            Error::file(
                saved.join(what),
                error,
                "Remove the checkpoint to start anew, or use the run's own configuration",
            )
        };
        let state = fs::read(saved.join("state.json")).map_err(|error| refuse("state.json", error.to_string()))?;
        let State { step, counters } =
            serde_json::from_slice(&state).map_err(|error| refuse("state.json", error.to_string()))?;
        let mut store = BurnpackStore::from_file(saved.join("model.bpk"));
        model.load_from(&mut store).map_err(|error| refuse("model.bpk", error.to_string()))?;
        let optimiser = settings.build(&model);
        let optimiser = optimiser
            .load(saved.join("optimiser.bpk"))
            .map_err(|error| refuse("optimiser.bpk", format!("{error:?}")))?;
        Ok(Self { model, optimiser, settings, step, steps, counters, folder: folder.into() })
    }

    /// One optimiser step on `loss`, `[1]`.
    pub fn update(&mut self, loss: Tensor<1>) {
        let mut grads = GradientsParams::from_grads(loss.backward(), &self.model);
        clip_global_norm(&mut grads, &self.model, self.settings.clip);
        let rate = self.settings.rate(self.step, self.steps);
        self.model = self.optimiser.step(rate, self.model.clone(), grads);
        self.step += 1;
    }

    /// Replaces the checkpoint; whatever happens in between, one of the two is whole.
    fn save(&self) -> Result<()> {
        let [new, current, old] = ["checkpoint.new", "checkpoint", "checkpoint.old"].map(|name| self.folder.join(name));
        let failed = |error: String| Error::file(&new, error, "Free some space and run the command again");
        let io = |error: std::io::Error| failed(error.to_string());
        if new.exists() {
            fs::remove_dir_all(&new).map_err(io)?;
        }
        fs::create_dir_all(&new).map_err(io)?;
        let mut store = BurnpackStore::from_file(new.join("model.bpk"));
        self.model.save_into(&mut store).map_err(|error| failed(error.to_string()))?;
        self.optimiser.save(new.join("optimiser.bpk")).map_err(|error| failed(format!("{error:?}")))?;
        let state = serde_json::to_vec(&State { step: self.step, counters: self.counters.clone() })
            .map_err(|error| failed(error.to_string()))?;
        fs::write(new.join("state.json"), state).map_err(io)?;
        for file in ["model.bpk", "optimiser.bpk", "state.json"] {
            fs::File::open(new.join(file)).and_then(|file| file.sync_all()).map_err(io)?;
        }
        if old.exists() {
            fs::remove_dir_all(&old).map_err(io)?;
        }
        if current.exists() {
            fs::rename(&current, &old).map_err(io)?;
        }
        fs::rename(&new, &current).map_err(io)
    }
}

/// Scales all gradients so that their joint norm is at most `largest` (`torch.nn.utils.clip_grad_norm_`).
fn clip_global_norm<M: Module>(grads: &mut GradientsParams, module: &M, largest: f64) {
    let mut squares = Squares { grads, sum: 0.0 };
    module.visit(&mut squares);
    let norm = squares.sum.sqrt();
    if norm > largest {
        module.visit(&mut Scale { grads, by: largest / (norm + 1e-6) });
    }
}

struct Squares<'a> {
    grads: &'a GradientsParams,
    sum: f64,
}

impl ModuleVisitor for Squares<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.get::<D>(param.id) {
            self.sum += grad.clone().mul(grad).sum().into_scalar::<f32>() as f64;
        }
    }
}

struct Scale<'a> {
    grads: &'a mut GradientsParams,
    by: f64,
}

impl ModuleVisitor for Scale<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        if let Some(grad) = self.grads.remove::<D>(param.id) {
            self.grads.register(param.id, grad * self.by);
        }
    }
}

/// The generator of everything random in one step of a run.
fn randomness(seed: u64, step: usize) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(step as u64);
    random
}

/// A number below `bound`, evenly enough for data: the bias is below `bound / 2³²`.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    ((random.next_u32() as u64 * bound as u64) >> 32) as usize
}

/// How often a checkpoint is written where the configuration does not say.
fn checkpoint_every() -> usize {
    250
}

/// Seeds below this are for training, seeds from here on are held out.
pub const HELD_OUT: u64 = 1 << 32;

/// Scenes as samples in -1..1: `[pictures, 3, side, side]`.
pub fn scene_batch(scenes: &[(usize, u64)], side: u32, device: &Device) -> Tensor<4> {
    let mut samples = Vec::with_capacity(scenes.len() * 3 * (side * side) as usize);
    for (class, seed) in scenes {
        let picture = scenes::scene(*class, *seed, side);
        for channel in 0..3 {
            samples.extend(picture.pixels().map(|pixel| pixel.0[channel] as f32 / 127.5 - 1.0));
        }
    }
    Tensor::from_data(TensorData::new(samples, [scenes.len(), 3, side as usize, side as usize]), device)
}

/// Writes a file of a model's folder.
fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).map_err(|error| Error::file(path, error, "Choose a folder you can write to"))
}

/// Reads a configuration and runs its recipe. `run` is the folder of checkpoints.
///
/// # Errors
/// If the configuration is not one, a folder cannot be written, or a checkpoint does not fit.
pub fn train(config: &Path, run: &Path, device: &Device, report: &mut dyn FnMut(&Progress)) -> Result<()> {
    let text = fs::read_to_string(config).map_err(|error| {
        Error::file(config, error, "Name a training configuration, such as assets/models/scenes-vq/train.toml")
    })?;
    let recipe: Recipe =
        toml::from_str(&text).map_err(|error| Error::file(config, error, "Correct the configuration"))?;
    let base = config.parent().unwrap_or(Path::new("."));
    match recipe {
        Recipe::Tokenizer(recipe) => tokenizer::train(&recipe, base, run, device, report),
        Recipe::Randar(recipe) => randar::train(&recipe, base, run, device, report),
    }
}
