//! What pictures are compared by: features of a network that tells classes apart, and what it takes the pictures for.
//!
//! An imported [Inception](super::inception) where the person has one; otherwise a small classifier of the bundled scenes,
//! which `andamento train` trains and which comes with the program.

use burn::module::Module;
use burn::nn::conv::{Conv2d, Conv2dConfig};
use burn::nn::{GroupNorm, GroupNormConfig, Linear, LinearConfig, PaddingConfig2d};
use burn::prelude::*;
use burn::tensor::activation::{silu, softmax};
use image::RgbImage;
use image::imageops::{self, FilterType};
use serde::{Deserialize, Serialize};

use crate::checkpoint::{KeyMap, load};
use crate::tokenizer::to_samples;
use crate::{Error, Result};

/// A network that reads pictures.
pub trait Extractor {
    /// What reports call it.
    fn name(&self) -> String;

    /// Number of features.
    fn width(&self) -> usize;

    /// Whether its classes are those of the bundled scenes.
    fn knows_scenes(&self) -> bool {
        false
    }

    /// Reads a picture of any size.
    ///
    /// # Errors
    /// If the device fails.
    fn read(&self, picture: &RgbImage) -> Result<Reading>;
}

/// What a network says of a picture.
#[derive(Debug, Clone, PartialEq)]
pub struct Reading {
    /// Its features, before the last layer.
    pub features: Vec<f64>,
    /// The probability of each class.
    pub probabilities: Vec<f64>,
}

impl Reading {
    /// From features, `[1, width]`, and probabilities, `[1, classes]`, on the device.
    pub(super) fn new(features: Tensor<2>, probabilities: Tensor<2>) -> Result<Self> {
        let numbers = |values: Tensor<2>| values.try_into_vec_as::<f64>();
        let failed = |error| Error::device("features", error, "Try --device cpu");
        Ok(Self {
            features: numbers(features).map_err(failed)?,
            probabilities: numbers(probabilities).map_err(failed)?,
        })
    }

    /// The likeliest class.
    pub fn class(&self) -> usize {
        let classes = self.probabilities.iter().enumerate();
        classes.max_by(|(_, a), (_, b)| a.total_cmp(b)).map_or(0, |(class, _)| class)
    }
}

/// The features of readings, `[pictures][width]`.
pub fn features(readings: &[Reading]) -> Vec<Vec<f64>> {
    readings.iter().map(|reading| reading.features.clone()).collect()
}

/// The Inception score (Salimans et al., arXiv 1606.03498, §4), of whatever network: `exp(E KL(p(y|x) ‖ p(y)))` over all
/// pictures at once. From 1 to the number of classes, which pictures reach that are clear and of all classes alike.
pub fn score(readings: &[Reading]) -> f64 {
    let count = readings.len() as f64;
    let classes = readings.first().map_or(0, |reading| reading.probabilities.len());
    let share = |class: usize| readings.iter().map(|reading| reading.probabilities[class]).sum::<f64>() / count;
    let shares: Vec<f64> = (0..classes).map(share).collect();
    let divergence = |reading: &Reading| -> f64 {
        let terms = reading.probabilities.iter().zip(&shares).filter(|(p, _)| **p > 0.0);
        terms.map(|(p, share)| p * (p / share).ln()).sum()
    };
    (readings.iter().map(divergence).sum::<f64>() / count).exp()
}

/// Sizes of the classifier of scenes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClassifierConfig {
    /// The side that pictures are brought down to, in pixels: a multiple of 16.
    pub side: u32,
    /// Channels of the first map, a multiple of 8; the maps after it have twice and four times as many.
    pub width: usize,
    /// Number of classes.
    pub classes: usize,
}

impl ClassifierConfig {
    /// Number of features.
    pub const fn features(&self) -> usize {
        4 * self.width
    }

    /// Refuses sizes that the network cannot have.
    ///
    /// # Errors
    /// Names the condition that is broken.
    pub fn check(&self) -> Result<()> {
        let halves = self.side.is_multiple_of(16) && self.side > 0;
        if halves && self.width.is_multiple_of(8) && self.width > 0 && self.classes > 1 {
            return Ok(());
        }
        let cause = "side must be a multiple of 16, width one of 8, and classes at least 2";
        Err(Error::control("model configuration", cause, "Correct the sizes in the configuration"))
    }

    /// A picture as the network sees it: a square of its side, smoothly brought down.
    pub fn view(&self, picture: &RgbImage) -> RgbImage {
        imageops::resize(picture, self.side, self.side, FilterType::Triangle)
    }
}

/// A 3 × 3 convolution, a norm over groups of 4 channels, and SiLU.
#[derive(Module, Debug)]
pub struct Stage {
    conv: Conv2d,
    norm: GroupNorm,
}

impl Stage {
    fn new(channels: [usize; 2], stride: usize, device: &Device) -> Self {
        let conv = Conv2dConfig::new(channels, [3, 3]).with_stride([stride; 2]).with_bias(false);
        Self {
            conv: conv.with_padding(PaddingConfig2d::Explicit(1, 1, 1, 1)).init(device),
            norm: GroupNormConfig::new(channels[1] / 4, channels[1]).init(device),
        }
    }

    fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        silu(self.norm.forward(self.conv.forward(x)))
    }
}

/// A small convolutional network that tells the bundled scenes apart: five stages, four of which halve the sides, and the
/// mean of the last maps as features.
#[derive(Module, Debug)]
pub struct SceneClassifier {
    stages: Vec<Stage>,
    head: Linear,
}

/// The classifier's keys, ours without exception.
pub const CLASSIFIER_KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: &[] };

impl SceneClassifier {
    /// Fresh weights.
    pub fn new(config: &ClassifierConfig, device: &Device) -> Self {
        let width = config.width;
        let stages = [
            ([3, width], 2),
            ([width, 2 * width], 2),
            ([2 * width, 4 * width], 2),
            ([4 * width; 2], 2),
            ([4 * width; 2], 1),
        ];
        Self {
            stages: stages.into_iter().map(|(channels, stride)| Stage::new(channels, stride, device)).collect(),
            head: LinearConfig::new(config.features(), config.classes).init(device),
        }
    }

    /// Pictures, `[batch, 3, side, side]` with samples in -1..1, to features, `[batch, features]`.
    pub fn features(&self, pictures: Tensor<4>) -> Tensor<2> {
        let maps = self.stages.iter().fold(pictures, |x, stage| stage.forward(x));
        let [batch, channels, height, width] = maps.dims();
        maps.reshape([batch, channels, height * width]).mean_dim(2).reshape([batch, channels])
    }

    /// Features, `[batch, features]`, to logits, `[batch, classes]`.
    pub fn logits(&self, features: Tensor<2>) -> Tensor<2> {
        self.head.forward(features)
    }
}

/// The classifier of the bundled scenes, reading pictures.
pub struct Classifier {
    weights: SceneClassifier,
    config: ClassifierConfig,
    device: Device,
}

impl Classifier {
    /// Wraps trained weights.
    pub fn new(weights: SceneClassifier, config: ClassifierConfig, device: &Device) -> Self {
        Self { weights, config, device: device.clone() }
    }

    /// The one that comes with the program.
    ///
    /// # Errors
    /// If its files are damaged.
    pub fn bundled(device: &Device) -> Result<Self> {
        const CONFIG: &str = include_str!("../../../assets/models/scenes-classifier/config.json");
        const WEIGHTS: &[u8] = include_bytes!("../../../assets/models/scenes-classifier/weights.safetensors");
        let damaged = |error| Error::file("scenes-classifier/config.json", error, "Install Andamento again");
        let config: ClassifierConfig = serde_json::from_str(CONFIG).map_err(damaged)?;
        let fresh = SceneClassifier::new(&config, device);
        let weights = load(fresh, WEIGHTS.to_vec(), &CLASSIFIER_KEYS, "scenes-classifier/weights.safetensors")?;
        Ok(Self::new(weights, config, device))
    }
}

impl Extractor for Classifier {
    fn name(&self) -> String {
        format!("classifier of the bundled scenes, {} features", self.config.features())
    }

    fn width(&self) -> usize {
        self.config.features()
    }

    fn knows_scenes(&self) -> bool {
        true
    }

    fn read(&self, picture: &RgbImage) -> Result<Reading> {
        let view = to_samples(&self.config.view(picture), &self.device).unsqueeze();
        let features = self.weights.features(view);
        let probabilities = softmax(self.weights.logits(features.clone()), 1);
        Reading::new(features, probabilities)
    }
}
