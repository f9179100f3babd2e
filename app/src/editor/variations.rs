//! Variations: the same request with several seeds, and choosing among what came of them.

use std::collections::VecDeque;

use super::runs::roll;
use super::*;

/// The most variations that are made one after the other.
pub const MOST_VARIATIONS: usize = 16;
/// How many results the strip keeps.
pub(super) const RESULTS: usize = 60;

/// A result in the strip.
pub struct Outcome {
    /// The document.
    pub document: Document,
    /// A small picture of it.
    pub thumbnail: RgbaImage,
    /// Whether it was accepted among its variations.
    pub accepted: bool,
}

/// Variations that are being made.
#[derive(Default)]
pub(super) struct Batch {
    /// What is asked for, and for which picture and mask.
    asked: Option<(Request, (u64, u64))>,
    /// The seeds that are left.
    left: VecDeque<u64>,
    /// How many results are in.
    made: usize,
}

impl Batch {
    /// The variations after the first one. Seeds that are locked count upwards, so that they come out the same again.
    pub(super) fn new(request: &Request, ids: (u64, u64), count: usize, locked: bool) -> Self {
        let seed = request.knobs.seed;
        let left = (1..count as u64).map(|index| if locked { (seed + index) % (1 << 32) } else { roll() }).collect();
        Self { asked: Some((request.clone(), ids)), left, made: 0 }
    }

    /// Whether a result is already in the history, whose place the next one takes.
    pub(super) fn has_entry(&self) -> bool {
        self.made > 0
    }

    pub(super) fn count(&mut self) {
        self.made += 1;
    }

    /// Makes no more of them.
    pub(super) fn stop(&mut self) {
        self.left.clear();
        self.asked = None;
    }

    fn next(&mut self) -> Option<(Request, (u64, u64))> {
        let seed = self.left.pop_front()?;
        let (mut request, ids) = self.asked.clone()?;
        (request.knobs.seed, request.order_seed) = (seed, seed);
        Some((request, ids))
    }
}

impl Editor {
    /// How many variations are still to be made, without the one that is being made.
    pub fn variations_left(&self) -> usize {
        self.batch.left.len()
    }

    /// The results in the strip that were asked for the same part of the same picture as the present one.
    pub fn variations(&self) -> Vec<usize> {
        let Some(track) = &self.document.track else { return Vec::new() };
        let asked = |outcome: &Outcome| outcome.document.track.as_ref().map(|track| (track.before, track.mask_id));
        let same = |index: &usize| asked(&self.results[*index]) == Some((track.before, track.mask_id));
        (0..self.results.len()).filter(same).collect()
    }

    /// The place in the strip of the picture that is shown.
    pub fn shown_result(&self) -> Option<usize> {
        self.results.iter().position(|outcome| outcome.document.picture_id == self.document.picture_id)
    }

    /// Whether one can go to the variation before or after the shown one, accept it or discard it.
    pub fn is_choosing(&self) -> bool {
        let shown = self.shown_result().is_some_and(|index| !self.results[index].accepted);
        shown && self.run.is_none() && self.document.is_fulfilled()
    }

    pub(super) fn next_variation(&mut self) {
        match self.batch.next() {
            // The mask has been changed since: it is something else that is wanted now.
            Some((_, (_, mask_id))) if mask_id != self.document.mask_id => self.batch.stop(),
            Some((request, ids)) => {
                if let Err(error) = self.start(request, ids, None) {
                    self.batch.stop();
                    self.complain(&error);
                }
            }
            None => self.batch.asked = None,
        }
    }

    /// Shows the next variation, or with `false` the one before.
    pub(super) fn step_variation(&mut self, forward: bool) {
        let all = self.variations();
        let Some(at) = self.shown_result().filter(|_| self.is_choosing()) else { return };
        let Some(place) = all.iter().position(|index| *index == at) else { return };
        let other = if forward { place + 1 } else { place.wrapping_sub(1) };
        if let Some(index) = all.get(other) {
            self.show_variation(*index);
        }
    }

    /// Shows a result in the place of another one of the same request.
    fn show_variation(&mut self, index: usize) {
        let document = self.results[index].document.clone();
        self.end_stroke();
        let label = self.history.undo_label().unwrap_or_default().to_owned();
        self.amend(&label, document);
    }

    /// Keeps the variation that is shown: the arrows leave it alone from here on, and no further ones are made.
    pub(super) fn accept_variation(&mut self) -> Result<()> {
        self.batch.stop();
        if self.run.is_some() {
            return self.stop();
        }
        if let Some(index) = self.shown_result().filter(|_| self.is_choosing()) {
            self.results[index].accepted = true;
        }
        Ok(())
    }

    /// Takes the variation that is shown out of the strip, and shows the one beside it; without one, the picture as it was.
    pub(super) fn discard_variation(&mut self) {
        let all = self.variations();
        let Some(at) = self.shown_result().filter(|_| self.is_choosing()) else { return };
        let Some(place) = all.iter().position(|index| *index == at) else { return };
        match all.get(place + 1).or_else(|| all.get(place.wrapping_sub(1))) {
            Some(other) => self.show_variation(*other),
            None => {
                let document = self.history.undo();
                self.go_to(document);
            }
        }
        self.results.remove(at);
    }

    /// Takes a result from the strip.
    pub(super) fn take_result(&mut self, number: usize) {
        let Some(outcome) = self.results.get(number) else { return };
        if self.document.picture_id == outcome.document.picture_id {
            return;
        }
        if self.is_choosing() && self.variations().contains(&number) {
            return self.show_variation(number);
        }
        let document = outcome.document.clone();
        self.end_stroke();
        self.change(&format!("Result {}", number + 1), document);
    }
}
