//! TensorAR's recipe (arXiv 2505.16324, §3.2.2 and §4.1): a trained base model is fine-tuned to predict tensors from tensors
//! whose later tokens are noised, by the cross entropy of all their tokens. The plug-in starts with closed gates, so that
//! the first step sees the base model's own predictions.
//!
//! As published: AdamW with betas 0.9 and 0.95 and a weight decay of 0.05, clipping at 1, 20 epochs at 256 pictures a step,
//! a learning rate that falls along a straight line to nothing, no moving average. Two learning rates, one for the base
//! model and one for what is plugged in, are published without their values; ours are 1e-4, that of LlamaGen's training, and
//! a tenth of it for the base model.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::checkpoint::{KeyMap, LLAMAGEN_KEYS, OPEN_MAGVIT2_KEYS, RAR_KEYS, Report, Weights};
use crate::library::Card;
use crate::library::imported::{Record, Shelf};
use crate::networks::configuration;
use crate::networks::tensorar::TensorArConfig;
use crate::networks::tensorar::base::BaseConfig;
use crate::networks::tensorar::noise::Noise;
use crate::{Error, Result};

/// The options of TensorAR's training.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Options {
    /// The trained base model: a folder that a recipe wrote, relative to the configuration, or the id of an imported model.
    pub base: PathBuf,
    /// The base model's learning rate as a share of the run's; 0 leaves it as it is.
    #[serde(default = "base_rate")]
    pub base_rate: f64,
    /// The noise of the tensors that are read.
    #[serde(default)]
    pub noise: Noise,
    /// How much the first token of a tensor, which is final, weighs beside each of the others.
    #[serde(default = "first_weight")]
    pub first_weight: f32,
    /// Share of the pictures that lose their class.
    #[serde(default = "tenth")]
    pub class_dropout: f64,
    /// Drop-out on the vectors of class and tensors.
    #[serde(default = "tenth")]
    pub token_dropout: f64,
    /// Drop-out on the output of attention and of the feed-forward layer.
    #[serde(default = "tenth")]
    pub residual_dropout: f64,
}
