//! Training: one recipe per paper, one file per recipe, on procedural scenes or a folder of pictures.
//!
//! A run lives in a folder of its own: its checkpoints, its tokens, `metrics.csv` with `metrics.svg`, and contact sheets. What
//! it trains appears in the output folder, a model that opens in the window. Everything random is keyed by the seed and
//! the step: a resumed run sees what it would have seen.

pub mod all;
pub mod classifier;
pub mod config;
pub mod data;
pub mod generator;
pub mod llamagen;
pub mod lpips;
pub mod metrics;
pub mod multi_scale_vq;
pub mod optimiser;
pub mod patch_gan;
pub mod perceptual;
pub mod randar;
pub mod rar;
pub mod run;
pub mod scenes;
pub mod sheet;
pub mod tensorar;
pub mod var;
pub mod vq;
pub mod vqgan;

use std::path::{Path, PathBuf};

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::Rng;
use serde::Deserialize;

use crate::device::ChosenDevice;
use crate::order::{random, uniform};
use crate::{Error, Result};

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

/// What happens during training.
#[derive(Debug)]
pub enum Event<'a> {
    /// A step was done.
    Step(&'a Progress),
    /// Something a person should know, in words, such as a broken file.
    Note(String),
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// All steps are done.
    Finished,
    /// It was enough for now, and the checkpoint holds everything; what remains, in words.
    Paused(String),
}

impl Outcome {
    /// Paused at a step.
    fn paused(step: usize, steps: usize) -> Self {
        Self::Paused(format!("step {step} of {steps} is done"))
    }
}

/// The usual folder of a configuration's run, beside it: `andamento-run`, for files that are not called `train.toml` with
/// their name.
pub fn usual_folder(config: &Path) -> PathBuf {
    let stem = config.file_stem().unwrap_or_default().to_string_lossy();
    config.with_file_name(if stem == "train" { "andamento-run".into() } else { format!("andamento-run-{stem}") })
}

/// Where and how long a recipe is carried out.
pub struct Run<'a> {
    /// The folder of checkpoints and figures.
    pub folder: PathBuf,
    /// The folder of tokens; the same, or one that several runs share.
    pub tokens: PathBuf,
    /// What computes.
    pub device: ChosenDevice,
    /// Told of every step.
    pub report: &'a mut dyn FnMut(Event),
    /// Asked after every step whether to stop for now.
    pub enough: &'a dyn Fn() -> bool,
    /// Starts a run beside others; without it they follow one another.
    pub aside: Option<&'a all::Aside<'a>>,
}

/// A recipe: its name in a configuration, and its loop.
pub struct Recipe {
    /// The name.
    pub name: &'static str,
    /// Carries out a configuration.
    pub train: fn(&Path, &mut Run) -> Result<Outcome>,
}

/// Every recipe.
pub const RECIPES: &[Recipe] = &[
    Recipe { name: "all", train: all::run },
    Recipe { name: "vq", train: vq::train },
    Recipe { name: "multi-scale-vq", train: multi_scale_vq::train },
    Recipe { name: "llamagen", train: generator::train::<llamagen::TrainLlamaGen> },
    Recipe { name: "rar", train: generator::train::<rar::TrainRar> },
    Recipe { name: "randar", train: generator::train::<randar::TrainRandAr> },
    Recipe { name: "tensorar", train: tensorar::train },
    Recipe { name: "var", train: generator::train::<var::TrainVar> },
    Recipe { name: "classifier", train: classifier::train },
];

/// Which recipe a configuration is of.
#[derive(Deserialize)]
struct Kind {
    recipe: String,
}

/// Reads a configuration and carries out its recipe.
///
/// # Errors
/// If the configuration is not one, a folder cannot be written, or a checkpoint does not fit.
pub fn train(path: &Path, run: &mut Run) -> Result<Outcome> {
    let kind: Kind = toml::from_str(&config::text(path)?)
        .map_err(|error| Error::file(path, error.to_string().trim_end(), "Correct the configuration"))?;
    let Some(recipe) = RECIPES.iter().find(|recipe| recipe.name == kind.recipe) else {
        let names: Vec<_> = RECIPES.iter().map(|recipe| recipe.name).collect();
        let cause = format!("there is no recipe “{}”", kind.recipe);
        return Err(Error::file(path, cause, format!("Choose one of {}", names.join(", "))));
    };
    (recipe.train)(path, run)
}

/// The generator of everything random in one forward pass of a run.
fn randomness(seed: u64, number: usize) -> ChaCha8Rng {
    random(seed, number as u64)
}

/// A number below `bound`, evenly enough for data: the bias is below `bound / 2³²`.
fn below(random: &mut ChaCha8Rng, bound: usize) -> usize {
    ((u64::from(random.next_u32()) * bound as u64) >> 32) as usize
}

/// Scenes with seeds below this are for training, those from here on are held out.
pub const HELD_OUT: u64 = 1 << 32;
