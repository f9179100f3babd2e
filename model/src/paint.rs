//! The whole path: a request becomes events.
//!
//! Frame → encode → order → schedule → plan → decode → composite. A whole new picture is a picture in which everything is
//! masked; outpainting is inpainting of pixels that were just added and masked. A mask that is larger than what the model
//! sees at once is worked on in several passes, each of which sees what the ones before have made.

use std::collections::VecDeque;
use std::sync::Arc;

use burn::prelude::Device;
use image::RgbImage;

use crate::boldness::Boldness;
use crate::decode::{Decoding, Knobs, Step};
use crate::frame::{Extent, Frame, Pass, sequence, shared};
use crate::lattice::{Lattice, Token};
use crate::ledger::{Ledger, Source};
use crate::library::Model;
use crate::network::{Abilities, Network};
use crate::order::{Course, OrderPath};
use crate::picture::{Combine, Mask, Picture};
use crate::plan::{Given, Plan};
use crate::schedule::Schedule;
use crate::seam::Seam;
use crate::tokenizer::{Tokenizer, to_picture, to_samples};
use crate::{Error, Result};

/// All that decides a result.
#[derive(Debug, Clone)]
pub struct Request {
    /// The canvas.
    pub picture: Picture,
    /// What may change, of the canvas's size.
    pub mask: Mask,
    /// The parts that the model sees, one after the other; without any they are placed around the mask.
    pub frames: Vec<Frame>,
    /// On how many tokens the model works.
    pub extent: Extent,
    /// How the mask's edge is treated.
    pub seam: Seam,
    /// The name of the order.
    pub order: String,
    /// Where a random order starts. Apart from the draws' seed, so that a run can branch into other draws.
    pub order_seed: u64,
    /// What is made before all others, in the sequence in which it was painted.
    pub path: Arc<OrderPath>,
    /// How boldly tokens are drawn where, on the whole canvas.
    pub boldness: Boldness,
    /// How the tokens are shared out among steps.
    pub schedule: Schedule,
    /// Class, guidance, sampling, seed.
    pub knobs: Knobs,
}

impl Request {
    /// The frames the model will see, each with the part of the mask that it makes, and the tokens it will work on, given
    /// those of its own picture and their stride.
    ///
    /// # Errors
    /// If the mask is empty or of another size than the picture, the canvas is too oblong to be seen at once, or given
    /// frames are seen at another size than that of the tokens or show nothing of the mask.
    pub fn passes(&self, trained: &Lattice, stride: u32) -> Result<(Vec<Pass>, Lattice)> {
        let (width, height) = (self.picture.width(), self.picture.height());
        if (self.mask.width(), self.mask.height()) != (width, height) {
            let cause =
                format!("it is {} × {}, the picture is {width} × {height}", self.mask.width(), self.mask.height());
            return Err(Error::control("mask", cause, "Give a mask of the picture's size"));
        }
        if self.mask.is_empty() {
            return Err(Error::control("mask", "it is empty: nothing may change", "Paint white what should change"));
        }
        let made = self.seam.made(&self.mask);
        if self.frames.is_empty() {
            return sequence(self.extent, &made, trained, stride, self.seam.overlap, None);
        }
        let lattice = self.extent.lattice(trained, width, height)?;
        let grid = lattice.finest();
        let size = [grid.cols as u32 * stride, grid.rows as u32 * stride];
        if let Some(frame) = self.frames.iter().find(|frame| frame.size != size) {
            let cause = format!("it is seen at {:?}, and the model's tokens cover {size:?}", frame.size);
            return Err(Error::control("frame", cause, "Place it again"));
        }
        let passes = shared(&made, &self.frames, self.seam.overlap);
        if passes.is_empty() {
            return Err(Error::control("frame", "it shows nothing of the mask", "Place it where the mask is"));
        }
        Ok((passes, lattice))
    }
}

/// What all passes of a request come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub struct Outline {
    /// How many passes there are.
    pub passes: usize,
    /// How many tokens are made.
    pub tokens: usize,
    /// In how many steps.
    pub steps: usize,
}

/// What happens while a request is carried out.
#[derive(Debug, Clone)]
pub enum Event {
    /// The plan of a pass is laid: the first event, and the first of every further pass.
    Planned {
        /// Which pass, from 0.
        pass: usize,
        /// All passes together.
        outline: Outline,
        /// Given tokens and visits.
        plan: Arc<Plan>,
        /// The part that the model sees.
        frame: Frame,
    },
    /// Some tokens were made.
    Step(Step),
    /// The finished picture: the last event.
    Done(Picture),
}

/// Carries out a request, or goes on with one after `earlier` steps.
///
/// # Errors
/// If the request cannot be honoured; the message names the control.
pub fn paint<'a>(model: &'a mut Model, request: &Request, earlier: &[Step]) -> Result<Painting<'a>> {
    let abilities = model.network.spec().abilities;
    abilities.check_course(&request.order, request.schedule)?;
    abilities.check_extent(request.extent)?;
    abilities.check_guidance(&request.knobs.guidance)?;
    request.seam.check()?;
    request.path.check()?;
    request.boldness.check(request.picture.width(), request.picture.height())?;
    if !request.path.is_empty() {
        abilities.check_path()?;
    }
    let (passes, lattice) = request.passes(&model.lattice(), model.card.stride())?;
    let mut painting = Painting {
        outline: Outline::default(),
        abilities,
        tokenizer: model.tokenizer.as_ref(),
        device: model.device.device.clone(),
        shares: request.seam.shares(&request.mask),
        canvas: request.picture.clone(),
        request: request.clone(),
        lattice,
        to_come: passes.into(),
        legs: Vec::new(),
        steps: Vec::new(),
        decoding: None,
        stage: Stage::Planned(0),
    };
    painting.outline = painting.outlined()?;
    painting.begin(model.network.as_mut(), earlier)?;
    while painting.steps.len() < earlier.len() {
        painting.go_on(&earlier[painting.steps.len()..])?;
    }
    Ok(painting)
}

/// A pass that was begun.
#[derive(Debug, Clone)]
pub struct Leg {
    /// What the model sees, and what is made there.
    pub pass: Pass,
    /// Given tokens and visits.
    pub plan: Arc<Plan>,
    /// A token for every site: given ones, made ones, and for the rest what the tokenizer makes of the surroundings.
    pub tokens: Vec<Token>,
}

impl Leg {
    fn place(&mut self, step: &Step) {
        step.made.iter().for_each(|made| self.tokens[made.site.index()] = made.token);
    }
}

enum Stage {
    /// So many begun passes were reported.
    Planned(usize),
    Decoding,
    Finished,
}

/// A request being carried out: an iterator of events.
pub struct Painting<'a> {
    outline: Outline,
    abilities: Abilities,
    tokenizer: &'a dyn Tokenizer,
    device: Device,
    request: Request,
    lattice: Lattice,
    /// How much of each new pixel comes in.
    shares: Mask,
    /// The canvas as the present pass found it.
    canvas: Picture,
    to_come: VecDeque<Pass>,
    legs: Vec<Leg>,
    steps: Vec<Step>,
    decoding: Option<Decoding<'a>>,
    stage: Stage,
}

impl<'a> Painting<'a> {
    /// Begins the next pass; the first of `earlier` steps are its own.
    fn begin(&mut self, network: &'a mut dyn Network, earlier: &[Step]) -> Result<()> {
        let another_run =
            || Error::control("timeline", "these steps belong to another run", "Start again with Generate");
        let pass = self.to_come.pop_front().ok_or_else(another_run)?;
        let view = pass.frame.view(&self.canvas, &pass.mask);
        let tokens = self.tokenizer.encode(to_samples(&view, &self.device))?;
        let boldness = self.request.boldness.factors(&pass.frame, &self.lattice);
        let plan = Arc::new(self.plan_for(&pass, |site| tokens[site])?.painted(boldness));
        let earlier = &earlier[..earlier.len().min(plan.visits.len())];
        let follows = |(index, step): (usize, &Step)| step.made.iter().map(|made| made.site).eq(plan.made_by(index));
        if !earlier.iter().enumerate().all(follows) {
            return Err(another_run());
        }
        let mut leg = Leg { pass, plan: plan.clone(), tokens };
        earlier.iter().for_each(|step| leg.place(step));
        self.decoding = Some(Decoding::start(network, plan, self.request.knobs, earlier)?);
        self.steps.extend_from_slice(earlier);
        self.legs.push(leg);
        Ok(())
    }

    /// The plan of a pass, given a token for every site.
    fn plan_for(&self, pass: &Pass, token: impl Fn(usize) -> Token) -> Result<Plan> {
        let (request, grid) = (&self.request, self.lattice.finest());
        let masked = self.lattice.masked(&pass.frame.masked_sites(&pass.mask, grid.rows, grid.cols));
        let given: Vec<Option<Token>> =
            masked.iter().enumerate().map(|(site, masked)| (!masked).then(|| token(site))).collect();
        let course = Course { order: &request.order, seed: request.order_seed, path: &request.path };
        let (order, led) = course.arrange(&pass.frame, &self.lattice, &masked)?;
        // Whoever follows a path reads given tokens before it.
        let when = if led.is_empty() { self.abilities.orders.given(&request.order) } else { Given::First };
        let plan = Plan::new(self.lattice.clone(), &order, &given, request.schedule, when)?;
        let plan = plan.following(self.steps.len());
        Ok(match request.knobs.guidance.dropped() {
            Some(share) => plan.dropping(share, request.order_seed),
            None => plan,
        })
    }

    /// What all passes come to: which tokens are given is known before any of them.
    fn outlined(&self) -> Result<Outline> {
        let mut outline = Outline { passes: self.to_come.len(), ..Outline::default() };
        for pass in &self.to_come {
            let plan = self.plan_for(pass, |_| 0)?;
            outline.tokens += plan.masked();
            outline.steps += plan.visits.len();
        }
        Ok(outline)
    }

    /// Puts the present pass into the canvas, and begins the next one.
    fn go_on(&mut self, earlier: &[Step]) -> Result<()> {
        self.canvas = self.so_far()?;
        match self.decoding.take() {
            Some(decoding) => self.begin(decoding.into_network(), earlier),
            None => Ok(()),
        }
    }

    fn leg(&self) -> &Leg {
        &self.legs[self.legs.len() - 1]
    }

    /// The frame as it stands, decoded in full at the model's own size; tokens still to come show a guess from their
    /// surroundings.
    ///
    /// # Errors
    /// If the device fails.
    pub fn preview(&self) -> Result<RgbImage> {
        if let Some(features) = self.decoding.as_ref().and_then(Decoding::features) {
            return to_picture(self.tokenizer.decode_features(features)?);
        }
        let Leg { plan, tokens, .. } = self.leg();
        let scales = plan.scales_after(self.steps.len() - plan.first);
        to_picture(self.tokenizer.decode_scales(&plan.lattice, tokens, scales)?)
    }

    /// What turns its tokens into pictures.
    pub fn tokenizer(&self) -> &'a dyn Tokenizer {
        self.tokenizer
    }

    /// Given tokens and visits of the present pass.
    pub fn plan(&self) -> &Plan {
        &self.leg().plan
    }

    /// The part that the model sees in the present pass.
    pub fn frame(&self) -> Frame {
        self.leg().pass.frame
    }

    /// A token for every site of the present pass: given ones, made ones, and for the rest a guess from their surroundings.
    pub fn tokens(&self) -> &[Token] {
        &self.leg().tokens
    }

    /// The passes that were begun, the present one last.
    pub fn legs(&self) -> &[Leg] {
        &self.legs
    }

    /// What all passes come to.
    pub fn outline(&self) -> Outline {
        self.outline
    }

    /// What was made up to now in all passes, earlier steps included.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The canvas as the present pass found it.
    pub fn canvas(&self) -> &Picture {
        &self.canvas
    }

    /// The canvas as it stands.
    ///
    /// # Errors
    /// If the device fails.
    pub fn so_far(&self) -> Result<Picture> {
        self.joined(&self.leg().pass.mask)
    }

    /// The canvas with the tokens that were made, and nothing else changed: what a stopped run keeps. Where tokens come in
    /// scales, the coarse ones cover everything.
    ///
    /// # Errors
    /// If the device fails.
    pub fn kept(&self) -> Result<Picture> {
        let Leg { pass, plan, .. } = self.leg();
        let [grid] = plan.lattice.scales() else { return self.so_far() };
        let mut mask = pass.mask.clone();
        for site in plan.waiting(&self.steps[plan.first..]) {
            let (row, col) = (site.index() / grid.cols, site.index() % grid.cols);
            mask.fill_rect(pass.frame.site_rect(row, col, grid.rows, grid.cols), 0);
        }
        self.joined(&mask)
    }

    /// The canvas with the present frame put into this part of it.
    fn joined(&self, part: &Mask) -> Result<Picture> {
        let Pass { frame, mask } = &self.leg().pass;
        let shares = self.shares.combined(part, Combine::Intersect)?;
        Ok(self.request.seam.join(&self.canvas, &shares, mask, frame, &self.preview()?))
    }

    /// What was made up to now, and all that is needed to make it again.
    ///
    /// # Errors
    /// If the mask cannot be written down.
    pub fn ledger(&self, model: &str, model_hash: &str, source: Source) -> Result<Ledger> {
        Ledger::new(model, model_hash, source, &self.request, self)
    }

    fn planned(&self, pass: usize) -> Event {
        let Leg { pass: Pass { frame, .. }, plan, .. } = &self.legs[pass];
        Event::Planned { pass, outline: self.outline, plan: plan.clone(), frame: *frame }
    }

    /// Makes all that is still to come: the finished picture.
    ///
    /// # Errors
    /// If the device fails.
    pub fn finish(mut self) -> Result<Picture> {
        loop {
            if let Event::Done(picture) = self.advance()? {
                return Ok(picture);
            }
        }
    }

    /// The next step, or what comes after the last one of a pass.
    fn advance(&mut self) -> Result<Event> {
        let last = self.legs.len() - 1;
        if let Some(step) = self.decoding.as_mut().and_then(Decoding::next) {
            let step = step?;
            self.legs[last].place(&step);
            self.steps.push(step.clone());
            return Ok(Event::Step(step));
        }
        if self.to_come.is_empty() {
            self.stage = Stage::Finished;
            return self.so_far().map(Event::Done);
        }
        self.go_on(&[])?;
        Ok(self.planned(last + 1))
    }
}

impl Iterator for Painting<'_> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.stage {
            Stage::Planned(pass) => {
                self.stage = if pass + 1 < self.legs.len() { Stage::Planned(pass + 1) } else { Stage::Decoding };
                Some(Ok(self.planned(pass)))
            }
            Stage::Decoding => {
                let event = self.advance();
                if event.is_err() {
                    self.stage = Stage::Finished;
                }
                Some(event)
            }
            Stage::Finished => None,
        }
    }
}
