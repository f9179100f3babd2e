//! What every loop of training stands upon: the trainer of one module, and the folder of a run with its checkpoints.
//!
//! Weights and optimiser are f32 whatever the network computes with. A checkpoint appears whole or not at all, and holds
//! all that decides the steps to come: weights, moments, the average, the step, the loss scale and the recipe's counters.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use andamento_shaders::train as gpu;
use burn::module::{Module, ModuleMapper, ModuleVisitor, Param};
use burn::optim::{GradientsAccumulator, GradientsParams};
use burn::prelude::*;
use burn::store::{BurnpackStore, ModuleSnapshot};
use burn::tensor::FloatDType;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::optimiser::{Asked, Group, Optimiser, Updater};
use crate::checkpoint::drawn;
use crate::{Error, Result};

/// How a module is trained.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The optimiser.
    pub optimiser: Optimiser,
    /// Steps in all.
    pub steps: usize,
    /// Losses per step.
    pub accumulate: usize,
    /// Decay of the average of the weights.
    pub ema: Option<f64>,
    /// What the network computes with.
    pub precision: FloatDType,
}

impl Settings {
    /// One loss per step, no average, f32.
    pub fn new(optimiser: &Optimiser, steps: usize) -> Self {
        Self { optimiser: optimiser.clone(), steps, accumulate: 1, ema: None, precision: FloatDType::F32 }
    }
}

/// A module with its optimiser. Losses are gathered, then an update makes a step of them.
pub struct Trainer<M: Module> {
    /// What is trained, in f32.
    pub model: M,
    /// What a recipe keeps between steps; saved with the rest.
    pub counters: Vec<usize>,
    settings: Settings,
    optimiser: Updater,
    average: Option<M>,
    gathered: GradientsAccumulator<M>,
    state: State,
}

/// What a trainer keeps beside tensors.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct State {
    step: usize,
    /// Steps that were left out.
    skipped: usize,
    /// The factor on the loss that keeps small gradients above zero in f16.
    scale: f64,
    /// Steps since the factor was last changed.
    steady: usize,
    counters: Vec<usize>,
}

/// What an update did.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Updated {
    /// The learning rate.
    pub rate: f64,
    /// The global norm of the gradients, before clipping.
    pub norm: f64,
    /// The sum of the norms of the parameters' gradients, after clipping: what [`Optimiser::skip`] looks at.
    pub norms: f64,
    /// Whether the weights were left as they are.
    pub skipped: bool,
}

/// The first factor on the loss, and after how many steady steps it doubles (`torch.amp.GradScaler`).
const FIRST_SCALE: f64 = 65_536.0;
const STEADY: usize = 2000;

impl<M: Module> Trainer<M> {
    /// Starts on a module, whose parameters lie on a device with autodiff; `group` says how each is updated.
    pub fn start(model: M, settings: Settings, group: &dyn Fn(&str, usize) -> Group) -> Self {
        // Now, so that the weights depend on the seed alone.
        let model = drawn(model);
        let scale = if settings.precision == FloatDType::F16 { FIRST_SCALE } else { 1.0 };
        Self {
            optimiser: settings.optimiser.build(&model, group),
            average: settings.ema.map(|_| model.valid()),
            gathered: GradientsAccumulator::new(),
            state: State { step: 0, skipped: 0, scale, steady: 0, counters: Vec::new() },
            counters: Vec::new(),
            model,
            settings,
        }
    }

    /// Steps done.
    pub fn step(&self) -> usize {
        self.state.step
    }

    /// Steps that were left out so far.
    pub fn skipped(&self) -> usize {
        self.state.skipped
    }

    /// The module as it computes: in the precision of the run. Gradients of what it computes reach the module itself.
    pub fn working(&self) -> M {
        match self.settings.precision {
            FloatDType::F32 => self.model.clone(),
            kind => cast(self.model.clone(), kind),
        }
    }

    /// What is to be exported: the average of the weights, or the weights. Without autodiff.
    pub fn result(&self) -> M {
        self.average.clone().unwrap_or_else(|| self.model.valid())
    }

    /// Adds a loss, `[1]` in f32, to those of the next update.
    pub fn gather(&mut self, loss: Tensor<1>) {
        let factor = self.state.scale / self.settings.accumulate as f64;
        let loss = if factor == 1.0 { loss } else { loss * factor };
        let grads = GradientsParams::from_grads(loss.backward(), &self.model);
        self.gathered.accumulate(&self.model, grads);
    }

    /// Makes a step of what was gathered.
    ///
    /// # Errors
    /// If the gradients are not numbers, or the device fails.
    pub fn update(&mut self) -> Result<Updated> {
        let Settings { optimiser: settings, steps, .. } = &self.settings;
        let (step, steps) = (self.state.step, *steps);
        let grads = self.gathered.grads();
        let mut each = Norms { grads: &grads, flat: Vec::new() };
        self.model.visit(&mut each);
        let each = each.read()?;
        let scale = self.state.scale;
        let norm = each.iter().map(|norm| norm * norm).sum::<f64>().sqrt() / scale;
        let rate = settings.rate(step, steps);
        self.state.step += 1;
        if !norm.is_finite() {
            return self.overflowed(step, rate);
        }
        let clipped = settings.clip.map_or(1.0, |largest| if norm > largest { largest / (norm + 1e-6) } else { 1.0 });
        let norms = each.iter().sum::<f64>() / scale * clipped;
        let skipped = step >= settings.skip_from && settings.skip.is_some_and(|limit| norms >= limit);
        if !skipped {
            let asked = Asked { rate, decay: settings.decay(step, steps), factor: clipped / scale };
            self.model = self.optimiser.step(asked, self.model.clone(), grads);
            self.average = self.average.take().map(|average| blend(average, &self.model, self.settings.ema));
        }
        self.state.skipped += usize::from(skipped);
        self.state.steady += 1;
        if self.settings.precision == FloatDType::F16 && self.state.steady >= STEADY {
            self.state = State { scale: scale * 2.0, steady: 0, ..self.state.clone() };
        }
        Ok(Updated { rate, norm, norms, skipped })
    }

    /// In f16 the loss scale was too large: the step is left out and the next are scaled less. Elsewhere there is no remedy.
    fn overflowed(&mut self, step: usize, rate: f64) -> Result<Updated> {
        let halved = self.state.scale / 2.0;
        if self.settings.precision != FloatDType::F16 || halved < 1e-3 {
            let cause = format!("the gradients of step {step} are not numbers");
            return Err(Error::control("[optimiser]", cause, "Lower learning_rate and start from the last checkpoint"));
        }
        self.state = State { scale: halved, steady: 0, skipped: self.state.skipped + 1, ..self.state.clone() };
        Ok(Updated { rate, norm: f64::INFINITY, norms: f64::INFINITY, skipped: true })
    }

    /// Writes everything into a checkpoint, in files that begin with `name`.
    ///
    /// # Errors
    /// If the disk is full or the device fails.
    pub fn save(&self, checkpoint: &Path, name: &str) -> Result<()> {
        let failed = |error: String| Error::file(checkpoint, error, "Free some space and run the command again");
        let file = |what: &str| checkpoint.join(format!("{name}-{what}"));
        let save = |module: &M, what: &str| {
            let mut store = BurnpackStore::from_file(file(what));
            module.save_into(&mut store).map_err(|error| failed(error.to_string()))
        };
        save(&self.model, "model.bpk")?;
        if let Some(average) = &self.average {
            save(average, "average.bpk")?;
        }
        self.optimiser.save(&file("optimiser.bpk")).map_err(|error| failed(format!("{error:?}")))?;
        let state = State { counters: self.counters.clone(), ..self.state.clone() };
        write_json(&file("state.json"), &state)
    }

    /// Goes on from what [`Trainer::save`] wrote.
    ///
    /// # Errors
    /// If the checkpoint does not fit the module.
    pub fn load(&mut self, checkpoint: &Path, name: &str, group: &dyn Fn(&str, usize) -> Group) -> Result<()> {
        let file = |what: &str| checkpoint.join(format!("{name}-{what}"));
        let load = |module: &mut M, what: &str| {
            let mut store = BurnpackStore::from_file(file(what));
            module.load_from(&mut store).map(drop).map_err(|error| refused(&file(what), error))
        };
        load(&mut self.model, "model.bpk")?;
        if let Some(average) = &mut self.average {
            load(average, "average.bpk")?;
        }
        self.state = read_json(&file("state.json"))?;
        self.counters = self.state.counters.clone();
        // The parameters have taken over the ids that the moments are filed under.
        let optimiser = self.settings.optimiser.build(&self.model, group).load(&file("optimiser.bpk"));
        self.optimiser = optimiser.map_err(|error| refused(&file("optimiser.bpk"), format!("{error:?}")))?;
        Ok(())
    }
}

fn refused(file: &Path, cause: impl ToString) -> Error {
    Error::file(file, cause, "Remove the run's folder to start anew, or use the run's own configuration")
}

/// A module that computes in another type. Gradients of what it computes reach the module itself.
pub(super) fn cast<M: Module>(module: M, kind: FloatDType) -> M {
    module.map(&mut Cast(kind))
}

/// Casts a module's numbers, as part of what is differentiated.
struct Cast(FloatDType);

impl ModuleMapper for Cast {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let (id, tensor, mapper) = param.consume();
        Param::from_mapped_value(id, tensor.cast(self.0), mapper)
    }
}

/// The norm of each parameter's gradient.
struct Norms<'a> {
    grads: &'a GradientsParams,
    flat: Vec<Tensor<1>>,
}

impl ModuleVisitor for Norms<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.flat.extend(self.grads.get::<D>(param.id).map(|grad| grad.flatten(0, D - 1)));
    }
}

impl Norms<'_> {
    /// Reads all of them at once.
    fn read(self) -> Result<Vec<f64>> {
        if self.flat.is_empty() {
            return Ok(Vec::new());
        }
        let count = self.flat.len();
        let squares = if self.flat.iter().all(gpu::updates) {
            gpu::square_sums(self.flat)
        } else {
            let sums = self.flat.into_iter().map(|grad| grad.square().sum()).collect();
            Tensor::cat(sums, 0).reshape([count, 1])
        };
        let parts = squares.dims()[1];
        let squares = squares.try_into_vec_as::<f32>();
        let squares = squares.map_err(|error| Error::device("training", error, "Try another device"))?;
        let norm = |parts: &[f32]| parts.iter().map(|part| f64::from(*part)).sum::<f64>().sqrt();
        Ok(squares.chunks_exact(parts).map(norm).collect())
    }
}

/// The average, moved towards the module by what `decay` does not keep.
fn blend<M: Module>(average: M, module: &M, decay: Option<f64>) -> M {
    let mut held = GradientsParams::new();
    module.visit(&mut Hold(&mut held));
    average.map(&mut Blend { towards: held, keep: decay.unwrap_or(0.0) })
}

/// Collects a module's tensors by their ids.
struct Hold<'a>(&'a mut GradientsParams);

impl ModuleVisitor for Hold<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        self.0.register(param.id, param.val().inner());
    }
}

struct Blend {
    towards: GradientsParams,
    keep: f64,
}

impl ModuleMapper for Blend {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let Some(towards) = self.towards.remove::<D>(param.id) else { return param };
        param.map(|average| {
            if gpu::updates(&average) && gpu::updates(&towards) {
                gpu::approach(average, towards, self.keep as f32)
            } else {
                average * self.keep + towards * (1.0 - self.keep)
            }
        })
    }
}

/// The folder of a run.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder of a run, made where it is missing.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn open(path: &Path) -> Result<Self> {
        make(path)?;
        Ok(Self(path.into()))
    }

    /// The step of the newest whole checkpoint of a run, 0 where there is none.
    ///
    /// # Errors
    /// If the folder is there and cannot be read.
    pub fn step(folder: &Path) -> Result<usize> {
        if !folder.is_dir() {
            return Ok(0);
        }
        let newest = Self(folder.into()).newest()?;
        let name = newest.as_deref().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
        Ok(name.strip_prefix(CHECKPOINT).and_then(|step| step.parse().ok()).unwrap_or(0))
    }

    /// A file or folder in it.
    pub fn join(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The newest whole checkpoint. Anything else that an interruption left is removed.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn newest(&self) -> Result<Option<PathBuf>> {
        let mut steps: Vec<(usize, PathBuf)> = Vec::new();
        for entry in fs::read_dir(&self.0).map_err(|error| unwritable(&self.0, error))? {
            let path = entry.map_err(|error| unwritable(&self.0, error))?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            match name.strip_prefix(CHECKPOINT).map(str::parse::<usize>) {
                Some(Ok(step)) => steps.push((step, path)),
                Some(Err(_)) => fs::remove_dir_all(&path).map_err(|error| unwritable(&path, error))?,
                None => {}
            }
        }
        steps.sort();
        let newest = steps.pop();
        for (_, older) in steps {
            fs::remove_dir_all(&older).map_err(|error| unwritable(&older, error))?;
        }
        Ok(newest.map(|(_, path)| path))
    }

    /// Writes a checkpoint beside the one there is, which is removed once this one is whole.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn save(&self, step: usize, write: impl FnOnce(&Path) -> Result<()>) -> Result<()> {
        let partial = self.0.join(format!("{CHECKPOINT}partial"));
        let whole = self.0.join(format!("{CHECKPOINT}{step:06}"));
        if whole.exists() {
            return Ok(());
        }
        let io = |error: io::Error| Error::file(&partial, error, "Free some space and run the command again");
        if partial.exists() {
            fs::remove_dir_all(&partial).map_err(io)?;
        }
        make(&partial)?;
        write(&partial)?;
        for entry in fs::read_dir(&partial).map_err(io)? {
            File::open(entry.map_err(io)?.path()).and_then(|file| file.sync_all()).map_err(io)?;
        }
        sync_folder(&partial).map_err(io)?;
        fs::rename(&partial, &whole).map_err(io)?;
        sync_folder(&self.0).map_err(io)?;
        self.newest().map(drop)
    }
}

/// What the names of checkpoints begin with; the step follows.
const CHECKPOINT: &str = "checkpoint-";

/// Makes a folder where it is missing.
///
/// # Errors
/// If it cannot be made.
pub fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).map_err(|error| unwritable(folder, error))
}

fn unwritable(path: &Path, error: impl ToString) -> Error {
    Error::file(path, error, "Choose a folder you can write to")
}

/// Replaces a file as a whole: written beside it, flushed to the disk, renamed.
///
/// # Errors
/// If it cannot be written.
pub fn write(path: &Path, bytes: &[u8]) -> Result<()> {
    let partial = path.with_extension("partial");
    let written = fs::write(&partial, bytes).and_then(|()| File::open(&partial)?.sync_all());
    written.and_then(|()| fs::rename(&partial, path)).map_err(|error| unwritable(path, error))
}

/// Writes a value as JSON, as a whole.
///
/// # Errors
/// If it cannot be written.
pub fn write_json(path: &Path, value: &impl Serialize) -> Result<()> {
    let text = serde_json::to_string_pretty(value).map_err(|error| unwritable(path, error))?;
    write(path, (text + "\n").as_bytes())
}

/// Reads a value of JSON, as [`write_json`] wrote it into a checkpoint.
pub(super) fn read_json<T: DeserializeOwned>(path: &Path) -> Result<T> {
    let bytes = fs::read(path).map_err(|error| refused(path, error))?;
    serde_json::from_slice(&bytes).map_err(|error| refused(path, error))
}

/// Flushes a folder's entries, where the system can.
fn sync_folder(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}
