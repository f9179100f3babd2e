//! How long the window's thread computes for a frame while the model works, and how many frames there are; told on the error
//! stream when `ANDAMENTO_FRAME_TIMES` is set.

use std::time::{Duration, Instant};

/// Times of the frames of a run.
pub(super) struct Pace {
    told: bool,
    since: Option<Instant>,
    frames: Vec<Duration>,
}

impl Pace {
    /// Asks whether to tell.
    pub(super) fn new() -> Self {
        Self { told: std::env::var_os("ANDAMENTO_FRAME_TIMES").is_some(), since: None, frames: Vec::new() }
    }

    /// Takes down a frame. `working` tells whether the model works.
    pub(super) fn frame(&mut self, took: Duration, working: bool) {
        match (working, self.since) {
            (true, None) => {
                self.since = Some(Instant::now());
                self.frames = vec![took];
            }
            (true, Some(_)) => self.frames.push(took),
            (false, Some(since)) => {
                self.since = None;
                if self.told {
                    let (count, whole) = (self.frames.len(), since.elapsed());
                    let (median, slow) = (self.percentile(50), self.percentile(95));
                    eprintln!(
                        "{count} frames in {whole:.1?} of decoding, each {median:.1?}, 95 of 100 within {slow:.1?}"
                    );
                }
            }
            (false, None) => {}
        }
    }

    /// The time that so many of a hundred frames of the last run stayed below.
    fn percentile(&self, share: usize) -> Duration {
        let mut frames = self.frames.clone();
        frames.sort_unstable();
        frames.get((frames.len() * share / 100).min(frames.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
