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
    /// VAR's next-scale prediction: a whole scale per step, given sites included.
    Scales,
    /// TensorAR's sliding windows: step `t` visits the `t`-th site of the order and those that follow it, given ones
    /// included. The first is final then, the others will be revised.
    Windows {
        /// Sites per window, TensorAR's `k`.
        width: usize,
    },
}

impl Schedule {
    /// Whether a site may be visited by more than one step.
    pub fn revises(&self) -> bool {
        matches!(self, Self::Windows { width } if *width > 1)
    }
}

/// The published schedule (`RandAR/model/utils.py`, `calculate_num_query_tokens_for_parallel_decoding`): one site first,
/// then up to `int((1 - cos(π/2 · (call + 1) / steps)) · sites + 1)` in all after each call, at least one more each time.
///
/// `done` of the sites are known beforehand. As in the second pass of resolution extrapolation, calls are counted from 0
/// all the same: there is one site per call until the cosine has caught up.
pub fn cosine(mut done: usize, sites: usize, steps: usize) -> Vec<usize> {
    let mut visits = Vec::new();
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
