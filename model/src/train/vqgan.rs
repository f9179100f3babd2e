//! What the tokenizers' recipes share: reconstruction against pixels, a perceptual term and a discriminator (VQGAN, Esser et
//! al., arXiv 2012.09841; LlamaGen's `vq_train.py` and `vq_loss.py`), and their loop.
//!
//! Each step updates the tokenizer, and then, from its start on, the discriminator on the same pictures and their
//! reconstructions. Declared differences from the published code: before its start the discriminator is not run at all,
//! where LlamaGen runs it with a weight of 0, which differs by the age of its Adam alone; its learning rate runs over the
//! steps that are left to it; idle codes can be restarted; and training can begin without the finest levels on smaller
//! pictures, which cost a fraction (progressive growing, Karras et al., arXiv 1710.10196).

use std::path::Path;
use std::sync::Arc;

use burn::module::{Module, Param};
use burn::nn::Embedding;
use burn::prelude::*;
use burn::tensor::FloatDType::F32;
use burn::tensor::{IndexingUpdateOp, Int};
use rand_chacha::ChaCha8Rng;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::config::Config;
use super::data::pictures::{Pictures, Pixels};
use super::data::prefetch::{Prefetch, threads};
use super::metrics::Metrics;
use super::optimiser::Group;
use super::patch_gan::{Discriminator, PatchGan, adversarial};
use super::perceptual::{Perceptual, Term};
use super::run::{Folder, Settings, Trainer, make, read_json, write, write_json};
use super::{Event, HELD_OUT, Outcome, Progress, Run, below, randomness, scenes, sheet};
use crate::checkpoint::{KeyMap, drawn};
use crate::kernels::Conv2d;
use crate::library::TokenizerCard;
use crate::order::uniform;
use crate::tokenizer::to_picture;
use crate::{Error, Result};

/// How a tokenizer is trained, `[method.vqgan]` of a configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Vqgan {
    /// The error of pixels (`reconstruction_loss`, `reconstruction_weight`).
    pub error: PixelError,
    /// The perceptual term.
    pub perceptual: Perceptual,
    /// The discriminator (published: `{ start = 20000 }`); without it there is none.
    pub discriminator: Option<Discriminator>,
    /// A code that none of the last so many tokens took is put onto a vector that was looked up; without it codes stay
    /// where they are, as published.
    pub restart_after: Option<usize>,
    /// Stretches of training on crops; before the first, and without any, on whole pictures.
    pub phases: Vec<Phase>,
    /// Trains the decoder of the weights that `init` names, and leaves everything else as it is: pictures keep their codes,
    /// and generators that have learned them stay valid (TiTok, Yu et al., arXiv 2406.07550, §3.3, "decoder fine-tuning").
    pub decoder_only: bool,
}

/// An error of pixels, whose weight is 1.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum PixelError {
    /// The mean squared error (`l2`).
    #[default]
    Squared,
    /// The mean absolute error (`l1`).
    Absolute,
}

/// A stretch of training on crops of one size.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Phase {
    /// The step it begins with, counted from 0.
    pub from: usize,
    /// Side of the crops in pixels.
    pub crop: u32,
    /// Crops per step.
    pub batch: usize,
    /// How often the crops' sides are halved before the network, which so many of its finest levels are left out of.
    #[serde(default)]
    pub halvings: usize,
}

impl PixelError {
    fn of(self, made: Tensor<4>, pixels: Tensor<4>) -> Tensor<1> {
        match self {
            Self::Squared => (made - pixels).square().mean(),
            Self::Absolute => (made - pixels).abs().mean(),
        }
    }
}

/// What a tokenizer makes of pictures in training.
pub(super) struct Forward {
    /// What the decoder's last convolution reads, `[batch, channels, height, width]`.
    pub(super) features: Tensor<4>,
    /// The quantiser's losses, weighted, `[1]`.
    pub(super) quantiser: Tensor<1>,
    /// The codes taken, per scale, `[positions]`.
    pub(super) taken: Vec<Tensor<1, Int>>,
    /// Vectors that were looked up, onto which a code may be restarted: `[positions, length of a code]`.
    pub(super) looked_up: Tensor<2>,
}

/// A tokenizer as it is trained.
pub(super) trait Method: Sized {
    /// What `[method]` holds.
    type Options: DeserializeOwned + Default + Clone;
    /// The tokenizer's weights.
    type Model: Module;

    /// What a run of it is called.
    const TASK: &'static str;
    /// The published names of the weights.
    const KEYS: KeyMap;

    /// Takes over a configuration.
    fn new(config: &Config<Self::Options>) -> Result<Self>;
    /// What this method shares with the other.
    fn vqgan(&self) -> &Vqgan;
    /// How many of the finest levels can be left out.
    fn most_skipped(&self) -> usize;
    /// Pixels along each side of a token.
    fn stride(&self) -> usize;
    /// Number of codes, and of scales.
    fn codes(&self) -> (usize, usize);
    /// The weights, of which the decoder's alone are trained.
    fn decoder_alone(model: Self::Model) -> Self::Model;
    /// Fresh weights, the `skipped` finest levels passing on what comes.
    fn fresh(&self, skipped: usize, device: &Device) -> Self::Model;
    /// Pictures, `[batch, 3, height, width]`, through the network without its `skipped` finest levels.
    fn forward(&self, model: &Self::Model, skipped: usize, pixels: Tensor<4>) -> Forward;
    /// The codebook.
    fn codebook(model: &mut Self::Model) -> &mut Embedding;
    /// The decoder's last convolution.
    fn last(model: &Self::Model) -> &Conv2d;
    /// Pictures and back, clamped, without gradients.
    fn reconstruct(&self, model: &Self::Model, pixels: Tensor<4>) -> Tensor<4>;
    /// The weights as a safetensors file with the published names.
    fn export(&self, model: &Self::Model, usage: &Usage) -> Result<Vec<u8>>;
    /// The tokenizer's kind and sizes.
    fn card(&self) -> TokenizerCard;
}

/// Everything but the quantiser's losses, in f32.
pub(super) struct Losses<'a> {
    settings: &'a Vqgan,
    perceptual: Term,
}

/// What the tokenizer's loss consists of, each `[1]`.
pub(super) struct Reconstruction {
    /// Everything together.
    pub(super) loss: Tensor<1>,
    /// The mean squared error of pixels.
    pub(super) squared: Tensor<1>,
    /// The pictures that were made, without gradients.
    pub(super) made: Tensor<4>,
}

impl<'a> Losses<'a> {
    /// Reads what the perceptual term needs; `base` is the folder of the configuration.
    pub(super) fn open(settings: &'a Vqgan, base: &Path, device: &Device) -> Result<Self> {
        Ok(Self { settings, perceptual: settings.perceptual.open(base, device)? })
    }

    /// Without the discriminator (`null_loss`).
    fn visible(&self, made: Tensor<4>, pixels: Tensor<4>) -> Tensor<1> {
        let error = self.settings.error.of(made.clone(), pixels.clone());
        match self.perceptual.loss(made, pixels) {
            Some(term) => error + term,
            None => error,
        }
    }

    /// The tokenizer's loss on `pixels`, `[batch, 3, height, width]`; the discriminator takes part from its start on.
    pub(super) fn reconstruction(
        &self,
        forward: Forward,
        last: &Conv2d,
        pixels: &Tensor<4>,
        against: Option<&PatchGan>,
    ) -> Result<Reconstruction> {
        let made = last.forward(forward.features.clone()).cast(F32);
        let mut loss = self.visible(made.clone(), pixels.clone()) + forward.quantiser;
        if let (Some(judge), Some(settings)) = (against, &self.settings.discriminator) {
            let judge = judge.clone().no_grad();
            let weight = if settings.adaptive { self.adaptive(forward.features, last, pixels, &judge)? } else { 1.0 };
            loss = loss + adversarial(judge.forward(made.clone())) * (settings.weight * weight);
        }
        let squared = (made.clone() - pixels.clone()).detach().square().mean();
        Ok(Reconstruction { loss, squared, made: made.detach() })
    }

    /// By how much the gradient of what is visible exceeds that of the adversarial loss at the last convolution's weights
    /// (`calculate_adaptive_weight`).
    fn adaptive(&self, features: Tensor<4>, last: &Conv2d, pixels: &Tensor<4>, judge: &PatchGan) -> Result<f64> {
        // The last convolution on its own: another graph, which leaves that of the step whole.
        let mut last = last.clone();
        last.weight = Param::from_tensor(last.weight.val().detach());
        let features = features.detach();
        let norm = |loss: &dyn Fn(Tensor<4>) -> Tensor<1>| {
            let gradients = loss(last.forward(features.clone()).cast(F32)).backward();
            let gradient = last.weight.val().grad(&gradients);
            gradient.map_or(Ok(0.0), |gradient| number(gradient.square().sum().sqrt()))
        };
        let visible = norm(&|made| self.visible(made, pixels.clone()))?;
        let hidden = norm(&|made| adversarial(judge.forward(made)))?;
        Ok((visible / (hidden + 1e-4)).clamp(0.0, 1e4))
    }
}

/// Which codes are in use; saved with a checkpoint.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Usage {
    /// Tokens since each code was last taken.
    idle: Vec<usize>,
    /// Tokens since each code was last taken or restarted.
    waiting: Vec<usize>,
    /// Per scale, a moving average of how often a step takes each code (`ema_vocab_hit_SV`).
    hits: Vec<Vec<f32>>,
    /// Steps that were recorded (`record_hit`).
    recorded: usize,
}

/// The tokens that LlamaGen looks back upon for its figure of codes in use (`codebook_used`).
const REMEMBERED: usize = 65_536;

impl Usage {
    /// At the start no code is in use, or all are where the weights are `trained`.
    pub(super) fn new(codes: usize, scales: usize, trained: bool) -> Self {
        let idle = vec![if trained { 0 } else { usize::MAX / 2 }; codes];
        Self { idle: idle.clone(), waiting: idle, hits: vec![vec![0.0; codes]; scales], recorded: 0 }
    }

    /// Notes the codes that a step took, `[positions]` per scale.
    pub(super) fn note(&mut self, taken: Vec<Tensor<1, Int>>) -> Result<()> {
        // The first step stands for itself, each of the next hundred counts for a tenth, each later one for a hundredth.
        let keep = match self.recorded {
            0 => 0.0,
            1..100 => 0.9,
            _ => 0.99,
        };
        for (taken, average) in taken.into_iter().zip(&mut self.hits) {
            let taken = taken.try_into_vec_as::<i32>();
            let taken = taken.map_err(|error| Error::device("training", error, "Try another device"))?;
            self.idle.iter_mut().chain(&mut self.waiting).for_each(|tokens| *tokens += taken.len());
            average.iter_mut().for_each(|average| *average *= keep);
            for code in taken {
                let code = code as usize;
                (self.idle[code], self.waiting[code]) = (0, 0);
                average[code] += 1.0 - keep;
            }
        }
        self.recorded += 1;
        Ok(())
    }

    /// The share of codes that the last 65 536 tokens took.
    pub(super) fn in_use(&self) -> f64 {
        self.idle.iter().filter(|idle| **idle < REMEMBERED).count() as f64 / self.idle.len() as f64
    }

    /// Per scale, the moving average of how often a step takes each code.
    pub(super) fn hits(&self) -> &[Vec<f32>] {
        &self.hits
    }

    /// Puts codes that `after` tokens did not take onto vectors that were looked up, `[positions, length of a code]`.
    pub(super) fn restart(
        &mut self,
        codes: &mut Embedding,
        after: usize,
        looked_up: Tensor<2>,
        random: &mut ChaCha8Rng,
    ) {
        let due = (0..self.waiting.len()).filter(|code| self.waiting[*code] >= after);
        let due: Vec<i32> = due.map(|code| code as i32).collect();
        if due.is_empty() {
            return;
        }
        let device = codes.weight.val().inner().device();
        let source: Vec<i32> = due.iter().map(|_| below(random, looked_up.dims()[0]) as i32).collect();
        let source = Tensor::from_data(source.as_slice(), &looked_up.device());
        let fresh = looked_up.select(0, source).inner();
        // A little noise keeps codes apart that restart from the same vector.
        let noise = (0..fresh.shape().num_elements()).map(|_| 1.0 + NOISE * (2.0 * uniform(random) - 1.0)).collect();
        let fresh = fresh.clone() * Tensor::from_data(TensorData::new::<f32, _>(noise, fresh.dims()), &device);
        let rows = Tensor::<1, Int>::from_data(due.as_slice(), &device);
        let weight = codes.weight.val().inner();
        let change = fresh - weight.clone().select(0, rows.clone());
        let weight = weight.select_assign(0, rows, change, IndexingUpdateOp::Add);
        codes.weight = Param::initialized(codes.weight.id, Tensor::from_inner(weight).require_grad());
        due.into_iter().for_each(|code| self.waiting[code as usize] = 0);
    }
}

/// How far a restarted code may lie from its vector, as a share of each of its numbers.
const NOISE: f32 = 0.05;

/// A number from the device.
pub(super) fn number(value: Tensor<1>) -> Result<f64> {
    let value =
        value.try_into_vec_as::<f32>().map_err(|error| Error::device("training", error, "Try another device"))?;
    Ok(f64::from(value[0]))
}

impl Vqgan {
    /// The stretch that a step lies in; whole pictures where there is none.
    fn phase(&self, step: usize, whole: Phase) -> Phase {
        self.phases.iter().rev().find(|phase| phase.from <= step).copied().unwrap_or(whole)
    }

    /// Refuses stretches that a tokenizer of this stride cannot be trained on.
    fn check(&self, whole: Phase, stride: usize, most_skipped: usize, trained: bool) -> Result<()> {
        let refused = |cause: String, remedy: String| Err(Error::control("[method.vqgan]", cause, remedy));
        if self.decoder_only && !trained {
            let cause = "decoder_only = true, but there are no trained weights whose decoder could be trained";
            return refused(cause.into(), "Name a tokenizer's folder with init".into());
        }
        if self.decoder_only && self.restart_after.is_some() {
            let cause = "decoder_only = true keeps the codes as they are, and restart_after would move them";
            return refused(cause.into(), "Leave out one of the two".into());
        }
        let least = self.discriminator.as_ref().map_or(0, Discriminator::least_side).max(self.perceptual.least_side());
        for phase @ Phase { from, crop, batch, halvings } in std::iter::once(&whole).chain(&self.phases) {
            if !(*crop as usize).is_multiple_of(stride) || *crop == 0 || *crop > whole.crop || *batch == 0 {
                let cause = format!("from step {from} on it has batch = {batch} and sides of {crop} pixels");
                return refused(cause, format!("Use multiples of {stride} up to {}, and at least 1", whole.crop));
            }
            if *halvings > most_skipped {
                let cause = format!("from step {from} on it has halvings = {halvings}");
                return refused(cause, format!("With these multiples of ch the most are {most_skipped}"));
            }
            let side = phase.crop as usize >> halvings;
            if side < least {
                let cause = format!("from step {from} on the pictures have sides of {side} pixels");
                return refused(cause, format!("Its losses need {least}: use larger crops or fewer halvings"));
            }
        }
        if !self.phases.is_sorted_by_key(|phase| phase.from) {
            return refused("the phases are not in sequence".into(), "Sort them by the step they begin with".into());
        }
        Ok(())
    }
}

/// Half the sides so many times, by means of four pixels: `[batch, 3, height, width]`.
fn halved(pixels: Tensor<4>, times: usize) -> Tensor<4> {
    (0..times).fold(pixels, |pixels, _| {
        let [batch, channels, height, width] = pixels.dims();
        let cells: Tensor<6> = pixels.reshape([batch, channels, height / 2, 2, width / 2, 2]);
        cells.mean_dim(5).mean_dim(3).reshape([batch, channels, height / 2, width / 2])
    })
}

/// Trains, or goes on training.
pub(super) fn train<M: Method>(path: &Path, run: &mut Run) -> Result<Outcome> {
    let config = Config::<M::Options>::read(path)?;
    let base = path.parent().unwrap_or(Path::new("."));
    let method = M::new(&config)?;
    let vqgan = method.vqgan();
    let whole = Phase { from: 0, crop: config.data.side, batch: config.batch, halvings: 0 };
    vqgan.check(whole, method.stride(), method.most_skipped(), config.init.is_some())?;
    let folder = Folder::open(&run.folder)?;
    let precision = config.precision.on(&run.device.device, run.device.gpu)?;
    let pictures = Arc::new(Pictures::open(&config.data, base)?);

    let device = run.device.device.clone().autodiff();
    device.seed(config.seed);
    let losses = Losses::open(vqgan, base, &device)?;
    let skipped = vqgan.phases.iter().map(|phase| phase.halvings).max().unwrap_or(0);
    let settings = config.settings(precision);
    let first = config.first_weights(base, |card: &TokenizerCard| *card == method.card())?;
    let first = first.fill(method.fresh(skipped, &device), &M::KEYS)?;
    let mut trainer = Trainer::start(first, settings.clone(), &group);
    let mut judge = vqgan.discriminator.as_ref().map(|sizes| {
        let steps = config.steps.saturating_sub(sizes.start);
        let settings = Settings { steps, ema: None, precision: F32, ..settings };
        // Drawn before copies without gradients are made of it.
        let judge = drawn(PatchGan::new(sizes.channels, sizes.layers, &device));
        Trainer::start(judge, settings, &group)
    });
    let (codes, scales) = method.codes();
    let mut usage = Usage::new(codes, scales, config.init.is_some());
    if let Some(checkpoint) = folder.newest()? {
        trainer.load(&checkpoint, TOKENIZER, &group)?;
        if let Some(judge) = &mut judge {
            judge.load(&checkpoint, DISCRIMINATOR, &group)?;
        }
        usage = read_json(&checkpoint.join(USAGE))?;
    }
    let mut metrics = Metrics::open(&run.folder, trainer.step())?;
    let mut ahead = batches(&config, vqgan.clone(), whole, pictures.clone(), trainer.step());
    while trainer.step() < config.steps {
        let step = trainer.step();
        let phase = vqgan.phase(step, whole);
        let starts = vqgan.discriminator.as_ref().map_or(usize::MAX, |sizes| sizes.start);
        let mut judging = judge.as_mut().filter(|_| step >= starts);
        let model = trainer.working();
        let model = if vqgan.decoder_only { M::decoder_alone(model) } else { model };
        let against = judging.as_ref().map(|judge| judge.model.clone());
        let (mut loss, mut squared, mut judged) = (0.0, 0.0, 0.0);
        let mut looked_up = None;
        for _ in 0..config.accumulate {
            let batch = ahead.next().filter(|batch| !batch.classes.is_empty());
            pictures.take_broken().into_iter().for_each(|text| (run.report)(Event::Note(text)));
            let Some(batch) = batch else {
                return Err(Error::control(
                    "[data]",
                    "no picture could be read",
                    "Use pictures that open in the editor",
                ));
            };
            let pixels = halved(batch.tensor(&device), phase.halvings);
            let mut forward = method.forward(&model, phase.halvings, pixels.clone().cast(precision));
            usage.note(std::mem::take(&mut forward.taken))?;
            looked_up = Some(forward.looked_up.clone());
            let made = losses.reconstruction(forward, M::last(&model), &pixels, against.as_ref())?;
            loss += number(made.loss.clone())? / config.accumulate as f64;
            squared += number(made.squared)? / config.accumulate as f64;
            trainer.gather(made.loss);
            if let (Some(judge), Some(against), Some(sizes)) = (&mut judging, &against, &vqgan.discriminator) {
                let lesson = sizes.loss.loss(against.forward(pixels), against.forward(made.made));
                judged += number(lesson.clone())? / config.accumulate as f64;
                judge.gather(lesson);
            }
        }
        drop((model, against));
        let updated = trainer.update()?;
        if let Some(judge) = judging {
            judge.update()?;
        }
        if let (Some(after), Some(looked_up)) = (vqgan.restart_after, looked_up) {
            let mut random = randomness(config.seed ^ RESTARTS, step);
            usage.restart(M::codebook(&mut trainer.model), after, looked_up, &mut random);
        }

        let psnr = 10.0 * (4.0 / squared).log10();
        let figures = vec![
            ("loss", loss),
            ("PSNR dB", psnr),
            ("codes in use", usage.in_use()),
            ("rate", updated.rate),
            ("gradient", updated.norm),
            ("discriminator", judged),
        ];
        metrics.add(trainer.step(), &figures)?;
        let (step, steps) = (trainer.step(), config.steps);
        let used = phase.batch * config.accumulate;
        (run.report)(Event::Step(&Progress { task: M::TASK, step, steps, pictures: used, figures }));

        let done = step == steps || (run.enough)();
        let sheet = config.sheet_every > 0 && (step.is_multiple_of(config.sheet_every) || step == steps);
        if done || sheet || step.is_multiple_of(config.checkpoint_every) {
            let output = base.join(&config.output);
            make(&output)?;
            write(&output.join("weights.safetensors"), &method.export(&trainer.result(), &usage)?)?;
            write_json(&output.join("config.json"), &method.card())?;
            metrics.plot(M::TASK)?;
            folder.save(step, |checkpoint| {
                trainer.save(checkpoint, TOKENIZER)?;
                if let Some(judge) = &judge {
                    judge.save(checkpoint, DISCRIMINATOR)?;
                }
                write_json(&checkpoint.join(USAGE), &usage)
            })?;
        }
        if sheet {
            let path = folder.join(&format!("sheets/step-{step:06}.png"));
            reconstructions(&method, &trainer.result(), config.data.side, &run.device.device, &path)?;
        }
        if done && step < steps {
            return Ok(Outcome::paused(step, steps));
        }
    }
    Ok(Outcome::Finished)
}

/// The parts of a checkpoint.
const TOKENIZER: &str = "tokenizer";
const DISCRIMINATOR: &str = "discriminator";
const USAGE: &str = "usage.json";

/// Keeps the draws of restarts apart from others.
const RESTARTS: u64 = 0x72_6573_7461_7274;

/// Every parameter alike: nothing decays, unless the configuration asks for it, but matrices and larger.
fn group(_path: &str, dims: usize) -> Group {
    Group::by_dims(dims)
}

/// The batches from a step on, made ahead.
fn batches<O>(
    config: &Config<O>,
    vqgan: Vqgan,
    whole: Phase,
    pictures: Arc<Pictures>,
    step: usize,
) -> Prefetch<Pixels> {
    let (seed, accumulate) = (config.seed, config.accumulate);
    Prefetch::start(step * accumulate, threads(), move |number| {
        let phase = vqgan.phase(number / accumulate, whole);
        pictures.batch(seed, number, phase.batch, phase.crop)
    })
}

/// Held-out scenes and what the tokenizer makes of them, in pairs.
fn reconstructions<M: Method>(method: &M, model: &M::Model, side: u32, device: &Device, path: &Path) -> Result<()> {
    const PICTURES: usize = 6;
    let mut all = Vec::new();
    for index in 0..PICTURES {
        let scene = scenes::scene(index * scenes::CLASSES / PICTURES, HELD_OUT + index as u64, side);
        let pixels = Pixels::of(std::slice::from_ref(&scene), side as usize).tensor(device);
        all.push(scene);
        all.push(to_picture(method.reconstruct(model, pixels).squeeze_dim(0))?);
    }
    sheet::save(&all, 4, path)
}
