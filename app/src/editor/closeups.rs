//! The revisions of a token as small pictures: asked of the worker while it rests, kept until another token is looked at.

use andamento_model::lattice::Site;
use image::RgbImage;

use super::*;

/// Which token of which run, after how many of the run's steps, and the first step of its pass.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Spot {
    /// The run.
    pub run: u64,
    /// After so many of its steps.
    pub steps: usize,
    /// The first step of the pass in which the token lies.
    pub first: usize,
    /// The token.
    pub site: Site,
}

/// What was asked for, and what came of it.
#[derive(Default)]
pub struct Closeups {
    asked: Option<Spot>,
    /// The token that is shown, and a picture of each of its revisions, the first one first.
    pub shown: Option<(Spot, Vec<RgbImage>)>,
}

impl Editor {
    /// Asks for pictures of a token's revisions, unless they are here or on their way. While a run is on the worker has no
    /// time for it.
    pub fn look_closely(&mut self, spot: Spot) {
        let here = self.closeups.shown.as_ref().is_some_and(|(shown, _)| *shown == spot);
        let track = self.document.track.clone().filter(|track| track.number == spot.run);
        let Some(track) = track.filter(|track| self.run.is_none() && track.model == self.card.id) else { return };
        if !here
            && self.closeups.asked != Some(spot)
            && matches!(self.engine, Engine::Ready { .. })
            && self.worker.send(Job::Closeups { track, spot }).is_ok()
        {
            self.closeups.asked = Some(spot);
        }
    }
}
