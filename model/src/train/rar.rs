//! RAR's recipe (arXiv 2411.00776; `scripts/train_rar.py`, `configs/training/generator/rar.yaml`): next-token prediction on
//! sequences in a random order with a probability that is annealed from 1 to 0 (§3.2, Eq. 5), and otherwise in one scan
//! order, so that the network ends as an ordinary one of that order, its two tables of positions merged.
//!
//! As published, for all sizes: AdamW with betas 0.9 and 0.96 and a weight decay of 0.03, clipping at 1; 4e-4 after a
//! linear warm-up over a quarter of the steps, then half a cosine down to 1e-5; 250 000 steps of 2048 pictures; no moving
//! average.

use rand_chacha::ChaCha8Rng;
use serde::Deserialize;

use crate::networks::rar::Scan;
use crate::order::{shuffle, uniform};

/// The options of RAR's training.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// The order that training anneals to (table 3).
    pub scan: Scan,
    /// Before this share of the steps every order is random: *start* of Eq. 5.
    pub anneal_start: f64,
    /// After this share of the steps no order is random: *end* of Eq. 5. With 0 for both none ever is, which is ordinary
    /// training in the scan order, with 1 for both every one.
    pub anneal_end: f64,
    /// Share of the pictures that lose their class.
    pub class_dropout: f64,
    /// Drop-out after the projection of attention and after both layers of the feed-forward.
    pub dropout: f64,
    /// Drop-out on the weights of attention.
    pub attention_dropout: f64,
}

impl Default for Options {
    /// As published: epochs 200 to 300 of 400, and 0.1 for everything that is dropped.
    fn default() -> Self {
        Self {
            scan: Scan::Raster,
            anneal_start: 0.5,
            anneal_end: 0.75,
            class_dropout: 0.1,
            dropout: 0.1,
            attention_dropout: 0.1,
        }
    }
}

impl Options {
    /// The probability `r` of a random order at a step, counted from 0, of `steps` (Eq. 5).
    pub fn randomness(&self, step: usize, steps: usize) -> f64 {
        let [start, end] = [self.anneal_start, self.anneal_end].map(|share| share * steps as f64);
        let step = step as f64;
        if step < start {
            1.0
        } else if step >= end {
            0.0
        } else {
            1.0 - (step - start) / (end - start)
        }
    }
}

/// The order of one picture: random with the probability `randomness`, otherwise `scan`; raster indices.
pub fn order(scan: &[u32], randomness: f64, random: &mut ChaCha8Rng) -> Vec<u32> {
    let permuted = f64::from(uniform(random)) < randomness;
    let mut order = scan.to_vec();
    if permuted {
        shuffle(&mut order, random);
    }
    order
}

/// Whether weight decay applies to a parameter, by its published name (`train_utils.py`, `create_optimizer`). The names that
/// are looked for are those of other models as well: that `ln` is found in `adaln_before_head` is published, and kept.
pub fn decays(name: &str, dims: usize) -> bool {
    const SPARED: [&str; 8] = ["ln", "bias", "latent_tokens", "mask_token", "embedding", "norm", "gamma", "embed"];
    dims >= 2 && !SPARED.iter().any(|spared| name.contains(spared))
}
