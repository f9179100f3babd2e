//! The whole path: a request becomes events.
//!
//! Frame → encode → order → schedule → plan → decode → composite. A whole new picture is a picture in which everything is
//! masked; outpainting is inpainting of pixels that were just added and masked.

use std::sync::Arc;

use image::RgbImage;

use crate::composite::composite;
use crate::decode::{Decoding, Knobs, Step};
use crate::frame::{Extent, Frame};
use crate::lattice::{Lattice, Token};
use crate::ledger::{Ledger, Source};
use crate::library::Model;
use crate::order;
use crate::picture::{Mask, Picture};
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::tokenizer::{Tokenizer, to_picture, to_samples};
use crate::{Error, Result};

/// All that decides a result.
#[derive(Debug, Clone)]
pub struct Request {
    /// The canvas.
    pub picture: Picture,
    /// What may change, of the canvas's size.
    pub mask: Mask,
    /// The part that the model sees; without one it is placed around the mask.
    pub frame: Option<Frame>,
    /// On how many tokens the model works.
    pub extent: Extent,
    /// The name of the order.
    pub order: String,
    /// Where a random order starts. Apart from the draws' seed, so that a run can branch into other draws.
    pub order_seed: u64,
    /// How the tokens are shared out among steps.
    pub schedule: Schedule,
    /// Class, guidance, sampling, seed.
    pub knobs: Knobs,
}

impl Request {
    /// The frame the model will see, and the tokens it will work on, given those of its own picture and their stride.
    ///
    /// # Errors
    /// If the mask is empty or of another size than the picture, the canvas is too oblong to be seen at once, or a given
    /// frame is seen at another size than that of the tokens.
    pub fn frame(&self, trained: &Lattice, stride: u32) -> Result<(Frame, Lattice)> {
        let (width, height) = (self.picture.width(), self.picture.height());
        if (self.mask.width(), self.mask.height()) != (width, height) {
            let cause =
                format!("it is {} × {}, the picture is {width} × {height}", self.mask.width(), self.mask.height());
            return Err(Error::control("mask", cause, "Give a mask of the picture's size"));
        }
        let Some(bounds) = self.mask.bounds() else {
            return Err(Error::control("mask", "it is empty: nothing may change", "Paint white what should change"));
        };
        let (placed, lattice) = self.extent.frame(bounds, (width, height), trained, stride)?;
        let (frame, grid) = (self.frame.unwrap_or(placed), lattice.finest());
        let size = [grid.cols as u32 * stride, grid.rows as u32 * stride];
        if frame.size != size {
            let cause = format!("it is seen at {:?}, and the model's tokens cover {size:?}", frame.size);
            return Err(Error::control("frame", cause, "Place it again"));
        }
        Ok((frame, lattice))
    }
}

/// What happens while a request is carried out.
#[derive(Debug, Clone)]
pub enum Event {
    /// The plan is laid: the first event.
    Planned {
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
    let (frame, lattice) = request.frame(&model.lattice(), model.card.stride())?;
    let grid = lattice.finest();
    let masked = lattice.masked(&frame.masked_sites(&request.mask, grid.rows, grid.cols));
    let view = frame.view(&request.picture, &request.mask);
    let tokens = model.tokenizer.encode(to_samples(&view, &model.device.device))?;
    let given: Vec<Option<Token>> =
        tokens.iter().zip(&masked).map(|(token, masked)| (!masked).then_some(*token)).collect();
    let order = order::arrange(&request.order, &lattice, request.order_seed)?;
    let when = abilities.orders.given(&request.order);
    let plan = Plan::new(lattice, &order, &given, request.schedule, when)?;
    let plan = Arc::new(match request.knobs.guidance.dropped() {
        Some(share) => plan.dropping(share, request.order_seed),
        None => plan,
    });
    let follows = |(index, step): (usize, &Step)| step.made.iter().map(|made| made.site).eq(plan.made_by(index));
    if earlier.len() > plan.visits.len() || !earlier.iter().enumerate().all(follows) {
        return Err(Error::control("timeline", "these steps belong to another run", "Start again with Generate"));
    }
    let mut board = Board { tokens, frame };
    earlier.iter().for_each(|step| board.place(step));
    let decoding = Decoding::start(model.network.as_mut(), plan.clone(), request.knobs, earlier)?;
    Ok(Painting {
        decoding,
        tokenizer: model.tokenizer.as_ref(),
        request: request.clone(),
        plan,
        board,
        steps: earlier.to_vec(),
        stage: Stage::Planned,
    })
}

/// The tokens on the frame: given ones, made ones, and for the rest what the tokenizer makes of the surroundings.
struct Board {
    tokens: Vec<Token>,
    frame: Frame,
}

impl Board {
    fn place(&mut self, step: &Step) {
        step.made.iter().for_each(|made| self.tokens[made.site.index()] = made.token);
    }

    /// Decodes what is there, of lattices with several scales the first `scales`.
    fn picture(&self, tokenizer: &dyn Tokenizer, lattice: &Lattice, scales: usize) -> Result<RgbImage> {
        to_picture(tokenizer.decode_scales(lattice, &self.tokens, scales)?)
    }
}

enum Stage {
    Planned,
    Decoding,
    Finished,
}

/// A request being carried out: an iterator of events.
pub struct Painting<'a> {
    decoding: Decoding<'a>,
    tokenizer: &'a dyn Tokenizer,
    request: Request,
    plan: Arc<Plan>,
    board: Board,
    steps: Vec<Step>,
    stage: Stage,
}

impl Painting<'_> {
    /// The frame as it stands, decoded in full at the model's own size; tokens still to come show a guess from their
    /// surroundings.
    ///
    /// # Errors
    /// If the device fails.
    pub fn preview(&self) -> Result<RgbImage> {
        if let Some(features) = self.decoding.features() {
            return to_picture(self.tokenizer.decode_features(features)?);
        }
        self.board.picture(self.tokenizer, &self.plan.lattice, self.plan.scales_after(self.steps.len()))
    }

    /// Given tokens and visits.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// The part that the model sees.
    pub fn frame(&self) -> Frame {
        self.board.frame
    }

    /// A token for every site: given ones, made ones, and for the rest a guess from their surroundings.
    pub fn tokens(&self) -> &[Token] {
        &self.board.tokens
    }

    /// What was made up to now, earlier steps included.
    pub fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// The canvas as it stands.
    ///
    /// # Errors
    /// If the device fails.
    pub fn so_far(&self) -> Result<Picture> {
        Ok(composite(&self.request.picture, &self.request.mask, &self.board.frame, &self.preview()?))
    }

    /// What was made up to now, and all that is needed to make it again.
    ///
    /// # Errors
    /// If the mask cannot be written down.
    pub fn ledger(&self, model: &str, model_hash: &str, source: Source) -> Result<Ledger> {
        Ledger::new(model, model_hash, source, &self.request, self.board.frame, &self.plan, &self.steps)
    }
}

impl Iterator for Painting<'_> {
    type Item = Result<Event>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.stage {
            Stage::Planned => {
                self.stage = Stage::Decoding;
                Some(Ok(Event::Planned { plan: self.plan.clone(), frame: self.board.frame }))
            }
            Stage::Decoding => match self.decoding.next() {
                Some(Ok(step)) => {
                    self.board.place(&step);
                    self.steps.push(step.clone());
                    Some(Ok(Event::Step(step)))
                }
                Some(Err(error)) => {
                    self.stage = Stage::Finished;
                    Some(Err(error))
                }
                None => {
                    self.stage = Stage::Finished;
                    Some(self.so_far().map(Event::Done))
                }
            },
            Stage::Finished => None,
        }
    }
}
