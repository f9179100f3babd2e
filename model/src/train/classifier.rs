//! The classifier that pictures are compared by where there is no Inception: no paper's recipe, but plain cross entropy on
//! pictures of all classes.
//!
//! It is to read what generators make, which is softer and noisier than what it learns from: pictures are brightened,
//! blurred and covered with noise at random.

use std::path::Path;
use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::activation::log_softmax;
use burn::tensor::module::avg_pool2d;
use burn::tensor::ops::AvgPoolOptions;
use burn::tensor::{Distribution, FloatDType, Int};
use serde::Deserialize;

use super::config::{Config, sizes};
use super::data::Source;
use super::data::pictures::{Pictures, Pixels};
use super::data::prefetch::{Prefetch, threads};
use super::metrics::Metrics;
use super::optimiser::Group;
use super::run::{Folder, Trainer, make, write, write_json};
use super::{Event, Outcome, Progress, Run, randomness, scenes, uniform};
use crate::checkpoint::export;
use crate::evaluate::features::{CLASSIFIER_KEYS, Classifier, ClassifierConfig, Extractor, SceneClassifier};
use crate::evaluate::held_out::HeldOut;
use crate::{Error, Result};

/// The options under `[method]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// How far contrast may leave 1.
    pub contrast: f64,
    /// How far brightness may leave 0, with samples in -1..1.
    pub brightness: f64,
    /// Share of pictures that are blurred, each more or less.
    pub blur: f64,
    /// The largest standard deviation of noise, with samples in -1..1.
    pub noise: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { contrast: 0.1, brightness: 0.06, blur: 0.5, noise: 0.08 }
    }
}

/// Held-out pictures that a finished classifier is tried on.
const TRIED_ON: usize = 20 * scenes::CLASSES;

/// Trains, or goes on training, and exports at every checkpoint; of scenes it says in the end how many held-out ones are
/// recognised.
///
/// # Errors
/// If a folder cannot be written, or a checkpoint does not fit the configuration.
pub fn train(path: &Path, run: &mut Run) -> Result<Outcome> {
    let config = Config::<Options>::read(path)?;
    let options = config.options();
    let base = path.parent().unwrap_or(Path::new("."));
    let folder = Folder::open(&run.folder)?;
    let precision = config.precision.on(&run.device.device, run.device.gpu)?;
    let pictures = Arc::new(Pictures::open(&config.data, base)?);
    let (seed, batch, side, steps) = (config.seed, config.batch, config.data.side, config.steps);
    let known = [("side", side as usize), ("classes", pictures.classes.len())];
    let sizes: ClassifierConfig = sizes(&config.model, &known)?;
    sizes.check()?;
    let device = run.device.device.clone().autodiff();
    device.seed(seed);
    let settings = config.settings(precision);
    let group = |_: &str, dims: usize| Group::by_dims(dims);
    let first = config.first_weights(base, |trained: &ClassifierConfig| *trained == sizes)?;
    let first = first.fill(SceneClassifier::new(&sizes, &device), &CLASSIFIER_KEYS)?;
    let mut trainer = Trainer::start(first, settings, &group);
    if let Some(checkpoint) = folder.newest()? {
        trainer.load(&checkpoint, "classifier", &group)?;
    }
    let source = pictures.clone();
    let first = trainer.step() * config.accumulate;
    let mut pixels = Prefetch::start(first, threads(), move |number| source.batch(seed, number, batch, side));
    let mut metrics = Metrics::open(&run.folder, trainer.step())?;
    let output = base.join(&config.output);
    while trainer.step() < steps {
        let model = trainer.working();
        let (mut nats, mut right) = (0.0, 0.0);
        for part in 0..config.accumulate {
            let Some(batch) = pixels.next() else {
                return Err(Error::control(
                    "[data]",
                    "it holds no picture that can be read",
                    "Name a folder with pictures",
                ));
            };
            pictures.take_broken().into_iter().for_each(|text| (run.report)(Event::Note(text)));
            let number = trainer.step() * config.accumulate + part;
            device.seed(seed.wrapping_add(number as u64));
            let seen = disturbed(&batch, &options, seed, number, &device).cast(precision);
            let logits = model.logits(model.features(seen)).cast(FloatDType::F32);
            let classes: Vec<i32> = batch.classes.iter().map(|class| *class as i32).collect();
            let classes = Tensor::<1, Int>::from_data(classes.as_slice(), &device).unsqueeze_dim::<2>(1);
            let loss = log_softmax(logits.clone(), 1).gather(1, classes.clone()).mean().neg();
            let share = logits.argmax(1).equal(classes).float().mean();
            trainer.gather(loss.clone());
            let [loss, share] = [loss, share].map(|value| f64::from(value.into_scalar::<f32>()));
            nats += loss / config.accumulate as f64;
            right += share / config.accumulate as f64;
        }
        drop(model);
        let updated = trainer.update()?;
        let step = trainer.step();
        let figures = vec![("loss", nats), ("recognised", right), ("rate", updated.rate), ("gradient", updated.norm)];
        metrics.add(step, &figures)?;
        let pictures = batch * config.accumulate;
        (run.report)(Event::Step(&Progress { task: "classifier", step, steps, pictures, figures }));
        let done = step == steps || (run.enough)();
        if done || step.is_multiple_of(config.checkpoint_every) {
            make(&output)?;
            write(&output.join("weights.safetensors"), &export(&trainer.result(), &CLASSIFIER_KEYS)?)?;
            write_json(&output.join("config.json"), &sizes)?;
            metrics.plot("classifier")?;
            folder.save(step, |checkpoint| trainer.save(checkpoint, "classifier"))?;
        }
        if done && step < steps {
            return Ok(Outcome::paused(step, steps));
        }
    }
    if config.data.source == Source::Scenes {
        let right = recognised(trainer.result(), sizes, &run.device.device)?;
        let text = format!("{right} of {TRIED_ON} held-out scenes of 256 pixels are recognised");
        (run.report)(Event::Note(text));
    }
    Ok(Outcome::Finished)
}

/// Pictures as they are seen in training, disturbed at random: `[batch, 3, side, side]`.
fn disturbed(pixels: &Pixels, options: &Options, seed: u64, number: usize, device: &Device) -> Tensor<4> {
    let sharp = pixels.tensor(device);
    let [batch, channels, height, width] = sharp.dims();
    let mut random = randomness(seed ^ DISTURBANCE, number);
    let mut each = |draw: &mut dyn FnMut(f64, f64) -> f64| -> Tensor<4> {
        let draws: Vec<f32> =
            (0..batch).map(|_| draw(f64::from(uniform(&mut random)), f64::from(uniform(&mut random))) as f32).collect();
        Tensor::from_data(TensorData::new(draws, [batch, 1, 1, 1]), device)
    };
    let gain = each(&mut |u, _| 1.0 + options.contrast * (2.0 * u - 1.0));
    let shift = each(&mut |u, _| options.brightness * (2.0 * u - 1.0));
    let softness = each(&mut |u, v| if v < options.blur { u } else { 0.0 });
    let grain = each(&mut |u, _| options.noise * u);
    let neighbours = AvgPoolOptions::new([3, 3]).with_stride([1, 1]).with_padding([1, 1]);
    let soft = avg_pool2d(sharp.clone(), neighbours.with_count_include_pad(false));
    let noise = Tensor::random([batch, channels, height, width], Distribution::Normal(0.0, 1.0), device);
    let blurred = sharp.clone() + (soft - sharp) * softness;
    blurred * gain + shift + noise * grain
}

/// Keeps these draws apart from the others.
const DISTURBANCE: u64 = 0x6469_7374_7572;

/// How many of [`TRIED_ON`] held-out scenes a classifier recognises.
fn recognised(weights: SceneClassifier, config: ClassifierConfig, device: &Device) -> Result<usize> {
    let classifier = Classifier::new(weights, config, device);
    let data = HeldOut::Scenes { seed: 0 };
    let mut right = 0;
    for index in 0..TRIED_ON {
        let (picture, class) = data.picture(index, 256)?;
        right += usize::from(Some(classifier.read(&picture)?.class() as u32) == class);
    }
    Ok(right)
}
