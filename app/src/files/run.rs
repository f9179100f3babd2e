//! A run as a file: what was asked, planned and made. It is checked when it is read, as others may have written it.

use std::sync::Arc;

use andamento_model::decode::{Knobs, Step};
use andamento_model::frame::{Extent, Frame};
use andamento_model::lattice::{Lattice, Site, Token};
use andamento_model::paint::Request;
use andamento_model::picture::{Mask, Picture};
use andamento_model::plan::Plan;
use andamento_model::schedule::Schedule;
use serde::{Deserialize, Serialize};

use crate::document::{Track, fresh};

/// More tokens than any canvas has.
const TOKENS: usize = 1 << 20;
/// Further from the canvas no frame lies, in pixels, and no larger one is.
const REACH: i64 = 1 << 28;

/// A run, with its picture and mask by their numbers.
#[derive(Serialize, Deserialize)]
pub(super) struct Run {
    model: String,
    /// The number of the picture it was asked for.
    pub(super) before: u64,
    /// The number of the mask it was asked for.
    pub(super) mask: u64,
    request_frame: Option<Frame>,
    extent: Extent,
    order: String,
    order_seed: u64,
    schedule: Schedule,
    knobs: Knobs,
    frame: Frame,
    plan: Plan,
    guess: Vec<Token>,
    steps: Vec<Step>,
}

impl Run {
    pub(super) fn of(track: &Track) -> Self {
        let request = &track.request;
        Self {
            model: track.model.clone(),
            before: track.before,
            mask: track.mask_id,
            request_frame: request.frame,
            extent: request.extent,
            order: request.order.clone(),
            order_seed: request.order_seed,
            schedule: request.schedule,
            knobs: request.knobs,
            frame: track.frame,
            plan: Plan::clone(&track.plan),
            guess: track.guess.to_vec(),
            steps: track.steps.clone(),
        }
    }

    /// The run on a picture and a mask, whose numbers are new ones.
    ///
    /// # Errors
    /// Why it does not hold together.
    pub(super) fn track(
        self,
        (before, picture): (u64, Picture),
        (mask_id, mask): (u64, Mask),
    ) -> Result<Track, &'static str> {
        self.check()?;
        if (mask.width(), mask.height()) != (picture.width(), picture.height()) {
            return Err("its mask has another size than its picture");
        }
        let request = Request {
            picture,
            mask,
            frame: self.request_frame,
            extent: self.extent,
            order: self.order,
            order_seed: self.order_seed,
            schedule: self.schedule,
            knobs: self.knobs,
        };
        Ok(Track {
            number: fresh(),
            model: self.model,
            request: Arc::new(request),
            before,
            mask_id,
            plan: Arc::new(self.plan),
            frame: self.frame,
            guess: Arc::new(self.guess),
            steps: self.steps,
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        let tokens = count(&self.plan.lattice).ok_or("its lattice has no sensible size")?;
        let inside = |site: &Site| site.index() < tokens;
        let visited = self
            .plan
            .visits
            .iter()
            .all(|visit| visit.told.iter().chain(&visit.sites).chain(&self.plan.dropped).all(inside));
        if self.plan.given.len() != tokens || self.guess.len() != tokens || !visited {
            return Err("its plan does not fit its lattice");
        }
        let follows = |(index, step): (usize, &Step)| {
            step.index == index && step.made.iter().map(|made| made.site).eq(self.plan.made_by(index))
        };
        if self.steps.len() > self.plan.visits.len() || !self.steps.iter().enumerate().all(follows) {
            return Err("its steps do not follow its plan");
        }
        for frame in [Some(self.frame), self.request_frame].into_iter().flatten() {
            let rect = frame.rect;
            let sane = rect.x.abs() < REACH && rect.y.abs() < REACH && i64::from(rect.width.max(rect.height)) < REACH;
            if !sane
                || rect.is_empty()
                || frame.size.contains(&0)
                || i64::from(frame.size[0].max(frame.size[1])) > 1 << 16
            {
                return Err("its frame is nowhere");
            }
        }
        Ok(())
    }
}

/// The number of a lattice's sites, if it is a sensible one.
fn count(lattice: &Lattice) -> Option<usize> {
    if lattice.scales().is_empty() || !(1..=64).contains(&lattice.refinement()) {
        return None;
    }
    let sites = lattice.scales().iter().map(|grid| grid.rows.checked_mul(grid.cols).filter(|sites| *sites > 0));
    let count = sites.sum::<Option<usize>>();
    count.filter(|count| *count <= TOKENS && lattice.scales().iter().all(|grid| grid.rows.max(grid.cols) <= TOKENS))
}
