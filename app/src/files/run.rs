//! A run as a file: what was asked, planned and made. It is checked when it is read, as others may have written it.

use std::sync::Arc;

use andamento_model::boldness::{BOLD, Boldness, CALM};
use andamento_model::decode::{Knobs, Step};
use andamento_model::frame::{Extent, Frame, shared};
use andamento_model::lattice::{Lattice, Site, Token};
use andamento_model::order::OrderPath;
use andamento_model::paint::{Outline, Request};
use andamento_model::picture::{Mask, Picture};
use andamento_model::plan::Plan;
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::turn::Turns;
use serde::{Deserialize, Serialize};

use crate::document::{Leg, Track, fresh};

/// More tokens than any canvas has.
const TOKENS: usize = 1 << 20;
/// More passes than any run has.
const PASSES: usize = 1 << 16;
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
    /// The frames that were asked for.
    frames: Vec<Frame>,
    extent: Extent,
    seam: Seam,
    order: String,
    order_seed: u64,
    #[serde(default, skip_serializing_if = "OrderPath::is_empty")]
    path: OrderPath,
    #[serde(default, skip_serializing_if = "Boldness::is_neutral")]
    boldness: Boldness,
    schedule: Schedule,
    knobs: Knobs,
    outline: Outline,
    passes: Vec<Pass>,
    steps: Vec<Step>,
    #[serde(default, skip_serializing_if = "Turns::is_empty")]
    turns: Turns,
}

/// A pass: what it made follows from the masks of the run and the passes before.
#[derive(Serialize, Deserialize)]
struct Pass {
    frame: Frame,
    plan: Plan,
    guess: Vec<Token>,
}

impl Run {
    pub(super) fn of(track: &Track) -> Self {
        let request = &track.request;
        Self {
            model: track.model.clone(),
            before: track.before,
            mask: track.mask_id,
            frames: request.frames.clone(),
            extent: request.extent,
            seam: request.seam,
            order: request.order.clone(),
            order_seed: request.order_seed,
            path: OrderPath::clone(&request.path),
            boldness: request.boldness.clone(),
            schedule: request.schedule,
            knobs: request.knobs,
            outline: track.outline,
            passes: track.legs.iter().map(Pass::of).collect(),
            steps: track.steps.clone(),
            turns: track.turns.clone(),
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
        if self.boldness.check(picture.width(), picture.height()).is_err() {
            return Err("its boldness has another size than its picture");
        }
        let begun: Vec<Frame> = self.passes.iter().map(|pass| pass.frame).collect();
        let asked = if self.frames.is_empty() { &begun } else { &self.frames };
        let mut shared = shared(&self.seam.made(&mask), asked, self.seam.overlap).into_iter();
        let leg = |pass: Pass| {
            let mask = shared.find(|shared| shared.frame == pass.frame)?.mask;
            Some(Leg { plan: Arc::new(pass.plan), frame: pass.frame, mask, guess: Arc::new(pass.guess) })
        };
        let legs = self.passes.into_iter().map(leg).collect::<Option<Vec<Leg>>>();
        let legs = legs.ok_or("its passes are not those that were asked for")?;
        let request = Request {
            picture: picture.packed(),
            mask,
            frames: self.frames,
            extent: self.extent,
            seam: self.seam,
            order: self.order,
            order_seed: self.order_seed,
            path: Arc::new(self.path),
            boldness: self.boldness,
            schedule: self.schedule,
            knobs: self.knobs,
        };
        Ok(Track {
            number: fresh(),
            model: self.model,
            request: Arc::new(request),
            before,
            mask_id,
            outline: self.outline,
            legs,
            steps: self.steps,
            turns: self.turns,
        })
    }

    fn check(&self) -> Result<(), &'static str> {
        self.seam.check().map_err(|_| "its seam is out of bounds")?;
        self.turns.check().map_err(|_| "what was changed by hand does not fit its steps")?;
        self.path.check().map_err(|_| "its painted order is out of bounds")?;
        let mut made = 0;
        for pass in &self.passes {
            if pass.plan.first != made {
                return Err("its passes do not follow each other");
            }
            pass.check(self.steps.get(made..).unwrap_or_default())?;
            made += pass.plan.visits.len();
        }
        let numbered = self.steps.iter().enumerate().all(|(index, step)| step.index == index);
        if self.passes.is_empty() || self.steps.len() > made || made > self.outline.steps || !numbered {
            return Err("its steps do not follow its plan");
        }
        let frames = self.passes.iter().map(|pass| &pass.frame).chain(&self.frames);
        if frames.clone().count() > PASSES || !frames.into_iter().all(is_sane) {
            return Err("its frame is nowhere");
        }
        Ok(())
    }
}

impl Pass {
    fn of(leg: &Leg) -> Self {
        Self { frame: leg.frame, plan: Plan::clone(&leg.plan), guess: leg.guess.to_vec() }
    }

    /// `steps` are those of this pass and of the following ones.
    fn check(&self, steps: &[Step]) -> Result<(), &'static str> {
        let plan = &self.plan;
        let tokens = count(&plan.lattice).ok_or("its lattice has no sensible size")?;
        let inside = |site: &Site| site.index() < tokens;
        let visited =
            plan.visits.iter().all(|visit| visit.told.iter().chain(&visit.sites).chain(&plan.dropped).all(inside));
        if plan.given.len() != tokens || self.guess.len() != tokens || !visited {
            return Err("its plan does not fit its lattice");
        }
        let painted = [0, tokens].contains(&plan.boldness.len());
        if !painted || !plan.boldness.iter().all(|factor| (CALM..=BOLD).contains(factor)) {
            return Err("its boldness does not fit its lattice");
        }
        let follows = |(index, step): (usize, &Step)| step.made.iter().map(|made| made.site).eq(plan.made_by(index));
        if !steps.iter().take(plan.visits.len()).enumerate().all(follows) {
            return Err("its steps do not follow its plan");
        }
        Ok(())
    }
}

/// Whether a frame lies where a canvas can be.
fn is_sane(frame: &Frame) -> bool {
    let rect = frame.rect;
    rect.x.abs() < REACH
        && rect.y.abs() < REACH
        && i64::from(rect.width.max(rect.height)) < REACH
        && !rect.is_empty()
        && !frame.size.contains(&0)
        && i64::from(frame.size[0].max(frame.size[1])) <= 1 << 16
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
