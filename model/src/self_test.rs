//! A short run against what the published code computes, to tell whether a device computes rightly.

use std::sync::Arc;

use burn::prelude::*;
use serde::Deserialize;

use crate::checkpoint::{RANDAR_KEYS, load};
use crate::decode::{Decoding, Knobs};
use crate::lattice::{Grid, Lattice, Token};
use crate::network::{Network, Prompt};
use crate::networks::llamagen::TransformerConfig;
use crate::networks::randar::{RandAr, RandArNetwork};
use crate::plan::{Given, Plan};
use crate::sample::{Guidance, Sampling};
use crate::schedule::Schedule;
use crate::{Error, Result};

const GOLDEN: &str = include_str!("../../assets/self-test/randar.json");
const WEIGHTS: &[u8] = include_bytes!("../../assets/self-test/randar.safetensors");

#[derive(Deserialize)]
struct Golden {
    network: TransformerConfig,
    grid: usize,
    class: u32,
    steps: usize,
    guidance: [f32; 2],
    order: Vec<u32>,
    tokens: Vec<Token>,
    first_logits: Vec<f32>,
}

/// What came out.
#[derive(Debug, Clone, Copy)]
pub struct Outcome {
    /// Tokens that are as published.
    pub right: usize,
    /// Tokens in all.
    pub of: usize,
    /// Largest difference between the first token's logits and the published ones.
    pub logits_off: f32,
}

impl Outcome {
    /// Whether the device computes rightly: every token as published, logits within the goldens' tolerance.
    pub fn passed(&self) -> bool {
        self.right == self.of && self.logits_off <= 1e-4
    }
}

/// Decodes a small RandAR greedily on `device` and compares.
///
/// # Errors
/// If the device fails.
pub fn run(device: &Device) -> Result<Outcome> {
    let damaged = |cause: String| Error::file("self-test", cause, "Install Andamento again");
    let golden: Golden = serde_json::from_str(GOLDEN).map_err(|error| damaged(error.to_string()))?;
    let weights = load(RandAr::new(&golden.network, device), WEIGHTS.to_vec(), &RANDAR_KEYS, "self-test")?;
    let grid = Grid::new(golden.grid, golden.grid);
    let mut network = RandArNetwork::new(weights, golden.network, grid, device);
    let given = vec![None; grid.len()];
    let schedule = Schedule::Cosine { steps: golden.steps };
    let plan = Arc::new(Plan::new(Lattice::grid(grid.rows, grid.cols), &golden.order, &given, schedule, Given::First)?);

    network.begin(&Prompt { class: golden.class, guided: false }, &plan.lattice)?;
    // At the first token the guidance scale is 1: the guided logits are those of the class.
    let first = network.predict(&plan.visits[0].sites)?.try_into_vec_as::<f32>();
    let first = first.map_err(|error| Error::device("self-test", error, "Try --device cpu"))?;
    let off = first.iter().zip(&golden.first_logits).map(|(got, want)| (got - want).abs());
    let logits_off = off.fold(0.0, |worst: f32, off| if off.is_nan() { f32::INFINITY } else { worst.max(off) });

    let [start, end] = golden.guidance;
    let sampling = Sampling { top_k: 1, ..Sampling::default() };
    let knobs = Knobs { class: golden.class, guidance: Guidance::Linear { start, end }, sampling, seed: 0 };
    let mut right = 0;
    for step in Decoding::start(&mut network, plan, knobs, &[])? {
        right += step?.made.iter().filter(|made| golden.tokens[made.site.index()] == made.token).count();
    }
    Ok(Outcome { right, of: grid.len(), logits_off })
}
