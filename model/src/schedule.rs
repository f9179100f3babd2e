//! How many sites each step visits.

use serde::{Deserialize, Serialize};

/// How the sites are shared out among steps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Schedule {
    /// One site per step.
    OneByOne,
    /// RandAR's parallel decoding: few sites at first, more as the picture fills, along a cosine.
    Cosine {
        /// Steps for a whole picture. A masked part takes its share of them, so that the cost follows the mask.
        steps: usize,
    },
}

impl Schedule {
    /// Sites per step for the `masked` of `total` sites; the sum is `masked`, and no entry is 0.
    pub fn visits(&self, masked: usize, total: usize) -> Vec<usize> {
        match self {
            Self::OneByOne => vec![1; masked],
            Self::Cosine { steps } => cosine(masked, (steps * masked).div_ceil(total.max(1)).max(1)),
        }
    }
}

/// The published schedule (`RandAR/model/utils.py`, `calculate_num_query_tokens_for_parallel_decoding`): one site first,
/// then up to `int((1 - cos(π/2 · (call + 1) / steps)) · sites + 1)` in all after each call, at least one more each time.
fn cosine(sites: usize, steps: usize) -> Vec<usize> {
    let mut visits = Vec::new();
    let mut done = 0;
    while done < sites {
        let call = visits.len();
        let visit = if call == 0 {
            1
        } else {
            let progress = (call + 1) as f64 / steps as f64;
            let target = ((1.0 - (std::f64::consts::FRAC_PI_2 * progress).cos()) * sites as f64 + 1.0) as usize;
            target.min(sites).saturating_sub(done).max(1)
        };
        done += visit;
        visits.push(visit);
    }
    visits
}
