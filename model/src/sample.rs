//! From logits to a token: guidance, temperature, top-k and top-p, and the draw.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use serde::{Deserialize, Serialize};

use crate::lattice::{Site, Token};
use crate::{Error, Result};

/// Classifier-free guidance whose scale runs linearly from `start` to `end` as tokens are made (`randar_gpt.py`,
/// `cfg_scales`). It is on when `end` is above 1, as published: (4, 1) is off.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Guidance {
    /// Scale at the first token.
    pub start: f32,
    /// Scale that would be reached after the last token.
    pub end: f32,
}

impl Guidance {
    /// The same scale throughout.
    pub const fn constant(scale: f32) -> Self {
        Self { start: scale, end: scale }
    }

    /// From 1 to `scale`, RandAR's default.
    pub const fn linear(scale: f32) -> Self {
        Self { start: 1.0, end: scale }
    }

    /// Whether a stream without the class is needed.
    pub fn is_on(&self) -> bool {
        self.end > 1.0
    }

    /// The scale when `done` of `total` tokens are known, given ones included.
    pub fn scale(&self, done: usize, total: usize) -> f32 {
        self.start + (self.end - self.start) * (done as f32 / total as f32)
    }
}

/// How boldly tokens are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sampling {
    /// Divides the logits; below 1 cautious, above 1 bold.
    pub temperature: f32,
    /// Only the likeliest `top_k` codes; 0 is all.
    pub top_k: usize,
    /// Only the likeliest codes that reach this probability together; 1 is all.
    pub top_p: f32,
}

impl Default for Sampling {
    fn default() -> Self {
        Self { temperature: 1.0, top_k: 0, top_p: 1.0 }
    }
}

/// A token that was drawn, with what the network thought of it before top-k and top-p.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Made {
    /// Where.
    pub site: Site,
    /// What.
    pub token: Token,
    /// Its probability, 0 to 1.
    pub probability: f32,
    /// How many codes were likelier.
    pub rank: u32,
    /// Entropy of the distribution it was drawn from, in bits.
    pub bits: f32,
}

impl Sampling {
    /// Refuses values that mean nothing.
    ///
    /// # Errors
    /// Names the control and its range.
    pub fn check(&self) -> Result<()> {
        if !(self.temperature.is_finite() && (0.0..=100.0).contains(&self.temperature)) {
            let cause = format!("{} is not between 0 and 100", self.temperature);
            return Err(Error::control("temperature", cause, "Use about 1"));
        }
        if !(self.top_p > 0.0 && self.top_p <= 1.0) {
            return Err(Error::control(
                "top-p",
                format!("{} is not between 0 and 1", self.top_p),
                "Use 1 for no limit",
            ));
        }
        Ok(())
    }

    /// Probabilities after temperature, top-k and top-p, as published (`RandAR/model/generate.py`): ties at the k-th
    /// value are kept, and so is the code that crosses `top_p`.
    pub fn probabilities(&self, logits: &[f32]) -> Vec<f32> {
        let mut logits = self.tempered(logits);
        if self.top_k > 0 && self.top_k < logits.len() {
            let mut sorted = logits.clone();
            sorted.sort_unstable_by(|a, b| b.total_cmp(a));
            let least = sorted[self.top_k - 1];
            logits.iter_mut().filter(|logit| **logit < least).for_each(|logit| *logit = f32::NEG_INFINITY);
        }
        if self.top_p < 1.0 {
            let probabilities = softmax(&logits);
            let mut order: Vec<usize> = (0..logits.len()).collect();
            order.sort_by(|a, b| logits[*b].total_cmp(&logits[*a]));
            let mut before = 0.0;
            for code in order {
                if before > self.top_p {
                    logits[code] = f32::NEG_INFINITY;
                }
                before += probabilities[code];
            }
        }
        softmax(&logits)
    }

    /// Draws a token for a site from its logits. The same (seed, step, site) and logits give the same token everywhere.
    ///
    /// # Errors
    /// If the logits are not numbers, which is how a failing device shows.
    pub fn draw(&self, logits: &[f32], seed: u64, step: usize, site: Site) -> Result<Made> {
        if logits.is_empty() || logits.iter().any(|logit| logit.is_nan()) {
            return Err(Error::device("model", "it returned values that are not numbers", "Try --device cpu"));
        }
        let believed = softmax(&self.tempered(logits));
        let token = pick(&self.probabilities(logits), uniform(seed, step, site));
        let probability = believed[token];
        Ok(Made {
            site,
            token: token as Token,
            probability,
            rank: believed.iter().filter(|other| **other > probability).count() as u32,
            bits: -believed.iter().filter(|p| **p > 0.0).map(|p| p * p.log2()).sum::<f32>(),
        })
    }

    fn tempered(&self, logits: &[f32]) -> Vec<f32> {
        let temperature = self.temperature.max(1e-5);
        logits.iter().map(|logit| logit / temperature).collect()
    }
}

/// A number in 0..1 that depends on seed, step and site alone.
fn uniform(seed: u64, step: usize, site: Site) -> f64 {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream((step as u64) << 32 | u64::from(site.0));
    (random.next_u64() >> 11) as f64 / (1u64 << 53) as f64
}

/// The first code whose cumulative probability exceeds `at`.
fn pick(probabilities: &[f32], at: f64) -> usize {
    let total: f64 = probabilities.iter().map(|p| f64::from(*p)).sum();
    let mut sum = 0.0;
    let mut last = 0;
    for (code, p) in probabilities.iter().enumerate().filter(|(_, p)| **p > 0.0) {
        sum += f64::from(*p) / total;
        last = code;
        if sum > at {
            break;
        }
    }
    last
}

fn softmax(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let exp: Vec<f32> = logits.iter().map(|logit| (logit - largest).exp()).collect();
    let sum: f32 = exp.iter().sum();
    exp.into_iter().map(|e| e / sum).collect()
}
