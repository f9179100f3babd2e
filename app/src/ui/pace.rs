//! How long the window's thread takes for a frame while the model works; told on the error stream when
//! `ANDAMENTO_FRAME_TIMES` is set.

use std::time::Duration;

/// Times of frames.
#[derive(Default)]
pub(super) struct Pace {
    told: bool,
    frames: Vec<Duration>,
}

impl Pace {
    /// Starts measuring, and asks whether to tell.
    pub(super) fn new() -> Self {
        Self { told: std::env::var_os("ANDAMENTO_FRAME_TIMES").is_some(), frames: Vec::new() }
    }

    /// Takes down a frame. `working` tells whether the model works.
    pub(super) fn frame(&mut self, took: Duration, working: bool) {
        if working {
            self.frames.push(took);
        } else if !self.frames.is_empty() {
            if self.told {
                let (count, median, slow) = (self.frames.len(), self.percentile(50), self.percentile(95));
                eprintln!("{count} frames while decoding: median {median:.1?}, 95th percentile {slow:.1?}");
            }
            self.frames.clear();
        }
    }

    /// The time that so many of a hundred frames stay below.
    pub(super) fn percentile(&self, share: usize) -> Duration {
        let mut frames = self.frames.clone();
        frames.sort_unstable();
        frames.get((frames.len() * share / 100).min(frames.len().saturating_sub(1))).copied().unwrap_or_default()
    }
}
