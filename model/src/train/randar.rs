//! RandAR's recipe (arXiv 2412.01827, §3.2 and appendix B; `train_c2i.py`): next-token prediction on sequences whose order
//! is a fresh uniform permutation for every picture and step, cross entropy at the instruction tokens, and the class
//! replaced by the null class for a share of the pictures.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::Int;
use serde::Deserialize;

use super::{Optimiser, Progress, Trainer, below, randomness, scene_batch, scenes, uniform, write};
use crate::checkpoint::{RANDAR_KEYS, VQ_KEYS, export, load};
use crate::lattice::Token;
use crate::networks::llamagen::{Rope, TransformerConfig};
use crate::networks::randar::{Dropout, RandAr};
use crate::order::shuffle;
use crate::tokenizers::llamagen_vq::{VqConfig, VqModel};
use crate::{Error, Result};

/// The configuration of a run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Recipe {
    /// Sizes of the network.
    pub model: TransformerConfig,
    /// Sizes of the tokenizer.
    pub tokenizer: VqConfig,
    /// The tokenizer's weights, relative to the configuration file.
    pub tokenizer_weights: PathBuf,
    /// Optimiser settings.
    pub optimiser: Optimiser,
    /// Number of steps.
    pub steps: usize,
    /// Pictures per step.
    pub batch: usize,
    /// Pictures that are tokenised beforehand, each also mirrored.
    pub pictures: usize,
    /// Side of a picture in pixels.
    pub side: u32,
    /// Share of pictures that lose their class.
    pub class_dropout: f64,
    /// Drop-out on embeddings of image tokens.
    pub token_dropout: f64,
    /// Drop-out inside the blocks.
    pub residual_dropout: f64,
    /// Decides data, orders and the first weights.
    pub seed: u64,
    /// Steps from one checkpoint to the next.
    #[serde(default = "super::checkpoint_every")]
    pub checkpoint_every: usize,
    /// The folder that receives `weights.safetensors`, relative to the configuration file.
    pub output: PathBuf,
}

/// Trains, or goes on training, and exports at every checkpoint.
///
/// # Errors
/// If the tokenizer cannot be loaded, a folder cannot be written, or a checkpoint does not fit the configuration.
pub fn train(
    recipe: &Recipe,
    base: &Path,
    run: &Path,
    device: &Device,
    report: &mut dyn FnMut(&Progress),
) -> Result<()> {
    recipe.model.check()?;
    std::fs::create_dir_all(run).map_err(|error| Error::file(run, error, "Choose a folder you can write to"))?;
    let data = tokenised(recipe, base, run, device, report)?;
    let grid = recipe.side as usize / recipe.tokenizer.stride();
    let sites = grid * grid;

    let device = device.clone().autodiff();
    device.seed(recipe.seed);
    let mut trainer = Trainer::start(RandAr::new(&recipe.model, &device), &recipe.optimiser, recipe.steps, run)?;
    let rope = Rope::new(grid, grid, recipe.model.head_dim(), recipe.model.rope_base, &device);
    let dropout = Dropout { token: recipe.token_dropout, residual: recipe.residual_dropout };
    while trainer.step < recipe.steps {
        device.seed(recipe.seed.wrapping_add(trainer.step as u64));
        let batch = Batch::draw(recipe, &data, sites, trainer.step);
        let loss = batch.loss(&trainer.model, &rope, recipe.model.n_head, dropout, &device);
        trainer.update(loss.clone());

        let nats = loss.into_scalar::<f32>() as f64;
        let figures = vec![("loss", nats), ("bits per token", nats / std::f64::consts::LN_2)];
        let (step, steps) = (trainer.step, recipe.steps);
        report(&Progress { task: "RandAR", step, steps, pictures: recipe.batch, figures });
        if trainer.step.is_multiple_of(recipe.checkpoint_every) || trainer.step == recipe.steps {
            trainer.save()?;
            let folder = base.join(&recipe.output);
            std::fs::create_dir_all(&folder)
                .map_err(|error| Error::file(&folder, error, "Choose a folder you can write to"))?;
            write(&folder.join("weights.safetensors"), &export(&trainer.model, &RANDAR_KEYS)?)?;
        }
    }
    Ok(())
}

/// A pre-tokenised picture.
struct Example {
    class: usize,
    /// Codes in raster order.
    tokens: Vec<Token>,
}

/// Tokens of the training scenes and their mirror images, from `tokens.bin` in the run's folder or made now.
fn tokenised(
    recipe: &Recipe,
    base: &Path,
    run: &Path,
    device: &Device,
    report: &mut dyn FnMut(&Progress),
) -> Result<Vec<Example>> {
    const BATCH: usize = 16;
    let file = run.join("tokens.bin");
    let grid = recipe.side as usize / recipe.tokenizer.stride();
    let sites = grid * grid;
    let length = 2 * recipe.pictures * sites;
    let unreadable = |error: std::io::Error| Error::file(&file, error, "Remove it and run the command again");
    let codes: Vec<u16> = if file.exists() {
        let bytes = std::fs::read(&file).map_err(unreadable)?;
        bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]])).collect()
    } else {
        let weights = base.join(&recipe.tokenizer_weights);
        let bytes =
            std::fs::read(&weights).map_err(|error| Error::file(&weights, error, "Train the tokenizer first"))?;
        let tokenizer = load(VqModel::new(&recipe.tokenizer, device), bytes, &VQ_KEYS, &weights)?;
        let mut codes = Vec::with_capacity(length);
        let indices: Vec<usize> = (0..recipe.pictures).collect();
        for chunk in indices.chunks(BATCH) {
            let picked: Vec<_> = chunk.iter().map(|index| (index % scenes::CLASSES, *index as u64)).collect();
            let pixels = scene_batch(&picked, recipe.side, device);
            let both = [tokenizer.encode(pixels.clone()), tokenizer.encode(pixels.flip([3]))];
            let [straight, mirrored] = both.map(|codes| codes.into_data().convert::<i32>().try_to_vec::<i32>());
            let failed = |error| Error::device("training", format!("{error:?}"), "Try another device");
            let (straight, mirrored) = (straight.map_err(failed)?, mirrored.map_err(failed)?);
            for (a, b) in straight.chunks_exact(sites).zip(mirrored.chunks_exact(sites)) {
                codes.extend(a.iter().chain(b).map(|code| *code as u16));
            }
            let (step, steps) = (codes.len() / (2 * sites), recipe.pictures);
            report(&Progress { task: "tokenising", step, steps, pictures: chunk.len(), figures: Vec::new() });
        }
        write(&file, &codes.iter().flat_map(|code| code.to_le_bytes()).collect::<Vec<_>>())?;
        codes
    };
    if codes.len() != length {
        return Err(Error::file(&file, "it was made for other sizes", "Remove it and run the command again"));
    }
    let example = |(index, codes): (usize, &[u16])| Example {
        class: (index / 2) % scenes::CLASSES,
        tokens: codes.iter().map(|code| *code as Token).collect(),
    };
    Ok(codes.chunks_exact(sites).enumerate().map(example).collect())
}

/// What one step sees.
struct Batch {
    classes: Vec<i32>,
    /// Codes in generation order, `[batch, sites]`.
    tokens: Vec<i32>,
    /// Raster indices in generation order, `[batch, sites]`.
    order: Vec<i32>,
    shape: [usize; 2],
}

impl Batch {
    fn draw(recipe: &Recipe, data: &[Example], sites: usize, step: usize) -> Self {
        let mut random = randomness(recipe.seed, step);
        let mut batch =
            Self { classes: Vec::new(), tokens: Vec::new(), order: Vec::new(), shape: [recipe.batch, sites] };
        for _ in 0..recipe.batch {
            let example = &data[below(&mut random, data.len())];
            let nameless = f64::from(uniform(&mut random)) < recipe.class_dropout;
            batch.classes.push(if nameless { recipe.model.num_classes } else { example.class } as i32);
            let mut order: Vec<u32> = (0..sites as u32).collect();
            shuffle(&mut order, &mut random);
            batch.tokens.extend(order.iter().map(|site| example.tokens[*site as usize] as i32));
            batch.order.extend(order.iter().map(|site| *site as i32));
        }
        batch
    }

    /// Mean cross entropy over all sites, in nats: `[1]`.
    fn loss(&self, model: &RandAr, rope: &Rope, n_head: usize, dropout: Dropout, device: &Device) -> Tensor<1> {
        let classes = Tensor::<1, Int>::from_data(self.classes.as_slice(), device);
        let ints = |values: &[i32]| Tensor::<1, Int>::from_data(values, device).reshape(self.shape);
        model.loss(classes, ints(&self.tokens), ints(&self.order), rope, n_head, dropout)
    }
}
