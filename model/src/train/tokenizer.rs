//! LlamaGen's VQ tokenizer on scenes (`tokenizer/tokenizer_image/vq_loss.py`).
//!
//! Reconstruction, codebook and commitment terms as published. Declared differences: the perceptual term (LPIPS needs
//! weights of another network) is replaced by an absolute error on pixels and on their differences to the right and
//! below; there is no discriminator; and codes that fell out of use are restarted from features of the current pictures.

use std::path::{Path, PathBuf};

use burn::module::Param;
use burn::prelude::*;
use burn::tensor::{Int, s};
use serde::Deserialize;

use super::{Optimiser, Progress, Trainer, below, randomness, scene_batch, scenes, uniform, write};
use crate::checkpoint::{VQ_KEYS, export};
use crate::tokenizers::llamagen_vq::{VqConfig, VqModel};
use crate::{Error, Result};

/// The configuration of a run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Sizes of the tokenizer.
    pub model: VqConfig,
    /// Optimiser settings.
    pub optimiser: Optimiser,
    /// What is trained on, in sequence.
    pub phases: Vec<Phase>,
    /// Side of a scene in pixels.
    pub side: u32,
    /// Weight of the commitment term (`commit_loss_beta`).
    pub commitment: f64,
    /// Weight of the absolute error.
    pub absolute: f64,
    /// Weight of the absolute error of differences between neighbouring pixels.
    pub edges: f64,
    /// Codes unused for this many steps are restarted.
    pub restart_after: usize,
    /// Decides the data, and the first weights.
    pub seed: u64,
    /// Steps from one checkpoint to the next.
    #[serde(default = "super::checkpoint_every")]
    pub checkpoint_every: usize,
    /// The folder that receives `weights.safetensors`, relative to the configuration file.
    pub output: PathBuf,
}

/// A stretch of training on crops of one size.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// Number of steps.
    pub steps: usize,
    /// Side of the crops in pixels.
    pub crop: usize,
    /// Crops per step.
    pub batch: usize,
}

/// Trains, or goes on training, and exports at every checkpoint.
///
/// # Errors
/// If a folder cannot be written, or a checkpoint does not fit the configuration.
pub fn train(
    recipe: &Recipe,
    base: &Path,
    run: &Path,
    device: &Device,
    report: &mut dyn FnMut(&Progress),
) -> Result<()> {
    recipe.model.check()?;
    let device = device.clone().autodiff();
    device.seed(recipe.seed);
    let steps = recipe.phases.iter().map(|phase| phase.steps).sum();
    let mut trainer = Trainer::start(VqModel::new(&recipe.model, &device), &recipe.optimiser, steps, run)?;
    // Steps since each code was last used; at the start all codes are due for a restart onto real features.
    if trainer.counters.is_empty() {
        trainer.counters = vec![recipe.restart_after; recipe.model.codebook_size];
    }
    while trainer.step < steps {
        let phase = phase_at(&recipe.phases, trainer.step)?;
        let pixels = crops(recipe, phase, trainer.step, &device);
        let (z, dims) = trainer.model.encode_continuous(pixels.clone());
        restart_idle_codes(&mut trainer.model, &mut trainer.counters, recipe, trainer.step, &z);

        let nearest = trainer.model.quantize.nearest(z.clone().detach());
        note_used(&mut trainer.counters, &nearest)?;
        let codes = trainer.model.quantize.codebook().select(0, nearest);
        let codebook = (codes.clone() - z.clone().detach()).square().mean();
        let commitment = (codes.clone().detach() - z.clone()).square().mean() * recipe.commitment;
        let straight_through = z.clone() + (codes - z).detach();
        let error = trainer.model.decode_continuous(straight_through, dims) - pixels;
        let squared = error.clone().square().mean();
        let loss = squared.clone()
            + error.clone().abs().mean() * recipe.absolute
            + edge_error(error) * recipe.edges
            + codebook
            + commitment;
        trainer.update(loss.clone());

        let used = trainer.counters.iter().filter(|idle| **idle < recipe.restart_after).count();
        let psnr = 10.0 * (4.0 / scalar(&squared)).log10();
        let figures = vec![
            ("loss", scalar(&loss)),
            ("PSNR dB", psnr),
            ("codes in use", used as f64 / recipe.model.codebook_size as f64),
        ];
        report(&Progress { task: "tokenizer", step: trainer.step, steps, pictures: phase.batch, figures });
        if trainer.step.is_multiple_of(recipe.checkpoint_every) || trainer.step == steps {
            trainer.save()?;
            save_model(&trainer.model, recipe, base)?;
        }
    }
    Ok(())
}

fn phase_at(phases: &[Phase], step: usize) -> Result<&Phase> {
    let mut first = 0;
    for phase in phases {
        first += phase.steps;
        if step < first {
            return Ok(phase);
        }
    }
    Err(Error::control("phases", "there is none left for this step", "Give the recipe more steps"))
}

/// Random crops of random scenes, half of them mirrored: `[batch, 3, crop, crop]`, -1..1.
fn crops(recipe: &Recipe, phase: &Phase, step: usize, device: &Device) -> Tensor<4> {
    let mut random = randomness(recipe.seed, step);
    let side = recipe.side as usize;
    let mut crops = Vec::with_capacity(phase.batch);
    for index in 0..phase.batch {
        let class = below(&mut random, scenes::CLASSES);
        let scene = scene_batch(&[(class, (step * phase.batch + index) as u64)], recipe.side, device);
        let [top, left] = [0; 2].map(|_| below(&mut random, side - phase.crop + 1));
        let crop = scene.slice(s![.., .., top..top + phase.crop, left..left + phase.crop]);
        crops.push(if below(&mut random, 2) == 0 { crop } else { crop.flip([3]) });
    }
    Tensor::cat(crops, 0)
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
fn restart_idle_codes(model: &mut VqModel, idle: &mut [usize], recipe: &Recipe, step: usize, z: &Tensor<2>) {
    if !step.is_multiple_of(20) || !idle.iter().any(|idle| *idle >= recipe.restart_after) {
        return;
    }
    let mut random = randomness(recipe.seed ^ 1, step);
    let positions = z.dims()[0];
    let source: Vec<i32> = idle.iter().map(|_| below(&mut random, positions) as i32).collect();
    let idle_rows: Vec<bool> = idle.iter().map(|idle| *idle >= recipe.restart_after).collect();
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
        if *idle >= recipe.restart_after {
            *idle = 0;
        }
    });
}

fn save_model(model: &VqModel, recipe: &Recipe, base: &Path) -> Result<()> {
    let folder = base.join(&recipe.output);
    std::fs::create_dir_all(&folder)
        .map_err(|error| Error::file(&folder, error, "Choose a folder you can write to"))?;
    write(&folder.join("weights.safetensors"), &export(model, &VQ_KEYS)?)
}

fn scalar(value: &Tensor<1>) -> f64 {
    value.clone().into_scalar::<f32>() as f64
}
