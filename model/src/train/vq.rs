//! LlamaGen's VQ tokenizer (`tokenizer/tokenizer_image/vq_loss.py`).
//!
//! Reconstruction, codebook and commitment terms as published. Declared differences: the perceptual term (LPIPS needs
//! weights of another network) is replaced by an absolute error on pixels and on their differences to the right and
//! below; there is no discriminator; and codes that fell out of use are restarted from features of the current pictures.

use std::path::Path;
use std::sync::Arc;

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::{Int, s};
use serde::Deserialize;

use super::config::{Config, sizes};
use super::data::pictures::Pictures;
use super::data::prefetch::{Prefetch, threads};
use super::metrics::Metrics;
use super::optimiser::Group;
use super::run::{Folder, Settings, Trainer, make, write, write_json};
use super::{Event, Outcome, Progress, Run, below, randomness, uniform};
use crate::checkpoint::{VQ_KEYS, export};
use crate::library::TokenizerCard;
use crate::networks::to_value;
use crate::tokenizers::llamagen_vq::{FAMILY, VqConfig, VqModel};
use crate::{Error, Result};

/// The options under `[method]`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Weight of the commitment term (`commit_loss_beta`).
    pub commitment: f64,
    /// Weight of the absolute error.
    pub absolute: f64,
    /// Weight of the absolute error of differences between neighbouring pixels.
    pub edges: f64,
    /// Codes unused for this many steps are restarted.
    pub restart_after: usize,
    /// Side of random squares cut out of the pictures for cheaper steps; by default whole pictures.
    pub crop: Option<u32>,
    /// Share of the steps, at the end, that see whole pictures all the same.
    pub whole_at_end: f64,
}

impl Default for Options {
    fn default() -> Self {
        Self { commitment: 0.25, absolute: 0.5, edges: 0.5, restart_after: 100, crop: None, whole_at_end: 0.1 }
    }
}

/// Trains, or goes on training, and exports at every checkpoint.
///
/// # Errors
/// If a folder cannot be written, or a checkpoint does not fit the configuration.
pub fn train(path: &Path, run: &mut Run) -> Result<Outcome> {
    let config = Config::<Options>::read(path)?;
    let options = config.options();
    let base = path.parent().unwrap_or(Path::new("."));
    let folder = Folder::open(&run.folder)?;
    let precision = config.precision.on(&run.device.device, run.device.gpu)?;
    let sizes: VqConfig = sizes(&config.model, &[])?;
    sizes.check()?;
    let device = run.device.device.clone().autodiff();
    device.seed(config.seed);
    let settings = Settings { precision, ema: config.ema, ..Settings::new(&config.optimiser, config.steps) };
    let group = |_: &str, dims: usize| Group::by_dims(dims);
    let mut trainer = Trainer::start(VqModel::new(&sizes, &device), settings, &group);
    if let Some(checkpoint) = folder.newest()? {
        trainer.load(&checkpoint, "tokenizer", &group)?;
    }
    // Steps since each code was last used; at the start all codes are due for a restart onto real features.
    if trainer.counters.is_empty() {
        trainer.counters = vec![options.restart_after; sizes.codebook_size];
    }
    let pictures = Arc::new(Pictures::open(&config.data, base)?);
    let (seed, batch, side, steps) = (config.seed, config.batch, config.data.side, config.steps);
    let whole_from = (steps as f64 * (1.0 - options.whole_at_end)) as usize;
    let crop = options.crop.unwrap_or(side).min(side);
    let source = pictures.clone();
    let cut = move |step: usize| if step < whole_from { crop } else { side };
    let mut pixels = Prefetch::start(trainer.step(), threads(), move |step| source.batch(seed, step, batch, cut(step)));
    let mut metrics = Metrics::open(&run.folder, trainer.step())?;
    let output = base.join(&config.output);
    while trainer.step() < steps {
        let Some(batch) = pixels.next() else {
            return Err(Error::control("[data]", "no picture could be made", "Report this"));
        };
        pictures.take_broken().into_iter().for_each(|text| (run.report)(Event::Note(text)));
        let pixels = batch.tensor(&device);
        let step = trainer.step();
        let (z, dims) = trainer.model.encode_continuous(pixels.clone());
        restart_idle_codes(&mut trainer.model, &mut trainer.counters, &options, config.seed, step, &z);

        let nearest = trainer.model.quantize.nearest(z.clone().detach());
        note_used(&mut trainer.counters, &nearest)?;
        let codes = trainer.model.quantize.codebook().select(0, nearest);
        let codebook = (codes.clone() - z.clone().detach()).square().mean();
        let commitment = (codes.clone().detach() - z.clone()).square().mean() * options.commitment;
        let straight_through = z.clone() + (codes - z).detach();
        let error = trainer.model.decode_continuous(straight_through, dims) - pixels;
        let squared = error.clone().square().mean();
        let loss = squared.clone()
            + error.clone().abs().mean() * options.absolute
            + edge_error(error) * options.edges
            + codebook
            + commitment;
        trainer.gather(loss.clone());
        let updated = trainer.update()?;

        let used = trainer.counters.iter().filter(|idle| **idle < options.restart_after).count();
        let figures = vec![
            ("loss", scalar(&loss)),
            ("PSNR dB", 10.0 * (4.0 / scalar(&squared)).log10()),
            ("codes in use", used as f64 / sizes.codebook_size as f64),
            ("rate", updated.rate),
            ("gradient", updated.norm),
        ];
        let step = trainer.step();
        metrics.add(step, &figures)?;
        (run.report)(Event::Step(&Progress { task: "tokenizer", step, steps, pictures: config.batch, figures }));
        let done = step == steps || (run.enough)();
        if done || step.is_multiple_of(config.checkpoint_every) {
            make(&output)?;
            let card = TokenizerCard { kind: FAMILY.name.into(), config: to_value(&sizes), weights: None };
            write(&output.join("weights.safetensors"), &export(&trainer.result(), &VQ_KEYS)?)?;
            write_json(&output.join("config.json"), &card)?;
            metrics.plot("tokenizer")?;
            folder.save(step, |checkpoint| trainer.save(checkpoint, "tokenizer"))?;
        }
        if done && step < steps {
            return Ok(Outcome::paused(step, steps));
        }
    }
    Ok(Outcome::Finished)
}

/// Mean absolute error of horizontal and vertical differences; `error` is `[batch, 3, height, width]`.
fn edge_error(error: Tensor<4>) -> Tensor<1> {
    let [_, _, height, width] = error.dims();
    let right = error.clone().slice(s![.., .., .., 1..]) - error.clone().slice(s![.., .., .., ..width - 1]);
    let below = error.clone().slice(s![.., .., 1.., ..]) - error.slice(s![.., .., ..height - 1, ..]);
    right.abs().mean() + below.abs().mean()
}

fn note_used(idle: &mut [usize], nearest: &Tensor<1, Int>) -> Result<()> {
    let used = nearest.to_data().convert::<i32>().try_to_vec::<i32>();
    let used = used.map_err(|error| Error::device("training", format!("{error:?}"), "Try another device"))?;
    idle.iter_mut().for_each(|idle| *idle += 1);
    used.into_iter().for_each(|code| idle[code as usize] = 0);
    Ok(())
}

/// Puts codes that fell out of use onto features of the current pictures, `z`: `[positions, dim]`.
fn restart_idle_codes(
    model: &mut VqModel,
    idle: &mut [usize],
    options: &Options,
    seed: u64,
    step: usize,
    z: &Tensor<2>,
) {
    if !step.is_multiple_of(20) || !idle.iter().any(|idle| *idle >= options.restart_after) {
        return;
    }
    let mut random = randomness(seed ^ 1, step);
    let positions = z.dims()[0];
    let source: Vec<i32> = idle.iter().map(|_| below(&mut random, positions) as i32).collect();
    let idle_rows: Vec<bool> = idle.iter().map(|idle| *idle >= options.restart_after).collect();
    let weight = model.quantize.embedding.weight.val().inner();
    let device = weight.device();
    let fresh = z.clone().inner().select(0, Tensor::from_data(source.as_slice(), &device));
    // A little noise keeps codes apart that restart from the same feature.
    let noise: Vec<f32> = (0..fresh.shape().num_elements()).map(|_| 0.1 * (uniform(&mut random) - 0.5)).collect();
    let noise = Tensor::from_data(TensorData::new(noise, fresh.dims()), &device);
    let rows = Tensor::<1, burn::tensor::Bool>::from_data(idle_rows.as_slice(), &device);
    let mask = rows.unsqueeze_dim::<2>(1).expand(weight.dims());
    let weight = weight.mask_where(mask, fresh + noise);
    let id = model.quantize.embedding.weight.id;
    let weight = Tensor::from_inner(weight).require_grad();
    model.quantize.embedding.weight = Param::initialized(id, weight);
    idle.iter_mut().for_each(|idle| {
        if *idle >= options.restart_after {
            *idle = 0;
        }
    });
}

fn scalar(value: &Tensor<1>) -> f64 {
    value.clone().into_scalar::<f32>() as f64
}
