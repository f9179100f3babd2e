//! The seam between decoding and the papers: every network *predicts* tokens at some sites and is *told* what was
//! chosen.

use burn::prelude::*;

use crate::frame::Extent;
use crate::lattice::{Lattice, Site, Token};
use crate::plan::Given;
use crate::sample::{Guidance, Sampling};
use crate::schedule::Schedule;
use crate::{Error, Result};

/// In which orders a network can make tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Orders {
    /// In any; given tokens are read first.
    Any,
    /// In one, in which given tokens stand at their own places.
    Only {
        /// The order's name.
        order: &'static str,
        /// Why no other, for the greyed-out control.
        reason: &'static str,
    },
    /// In one as trained, in which given tokens stand at their own places; in any other as an experiment, with given
    /// tokens read first.
    Native {
        /// The order's name.
        order: &'static str,
        /// What to know about the others, for their label.
        others: &'static str,
    },
}

impl Orders {
    /// The order it does best with.
    pub fn native(&self) -> &'static str {
        match self {
            Self::Any => "random",
            Self::Only { order, .. } | Self::Native { order, .. } => order,
        }
    }

    /// Whether an order can be followed; otherwise why not.
    ///
    /// # Errors
    /// The reason, for the greyed-out control.
    pub fn allow(&self, order: &str) -> std::result::Result<(), &'static str> {
        match self {
            Self::Only { order: only, reason } if order != *only => Err(reason),
            Self::Any | Self::Native { .. } if order == crate::order::SCALES => {
                Err("Only models that work in scales follow it")
            }
            _ => Ok(()),
        }
    }

    /// What to know about an order that is followed as an experiment only.
    pub fn experimental(&self, order: &str) -> Option<&'static str> {
        match self {
            Self::Native { order: native, others } if order != *native => Some(others),
            _ => None,
        }
    }

    /// When given tokens are told.
    pub fn given(&self, order: &str) -> Given {
        match self {
            Self::Only { .. } => Given::InPlace,
            Self::Native { order: native, .. } if order == *native => Given::InPlace,
            Self::Any | Self::Native { .. } => Given::First,
        }
    }
}

/// How many tokens a network makes per step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pace {
    /// As many as one likes.
    Free,
    /// Only so.
    Fixed {
        /// The schedule.
        schedule: Schedule,
        /// Why no other, for the greyed-out control.
        reason: &'static str,
    },
}

/// What a model can be asked to do, for the window and the command line: known before its weights are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// The orders it can follow.
    pub orders: Orders,
    /// The steps it can take.
    pub pace: Pace,
    /// Whether it has the smooth mode; otherwise why not.
    pub smooth: std::result::Result<(), &'static str>,
    /// Number of scales of its tokens: 1 for all but next-scale models.
    pub scales: usize,
}

impl Abilities {
    /// The schedule for so many steps, or the only one there is.
    pub fn schedule(&self, steps: Option<usize>) -> Schedule {
        match (self.pace, steps) {
            (Pace::Fixed { schedule, .. }, _) => schedule,
            (Pace::Free, Some(steps)) => Schedule::Cosine { steps },
            (Pace::Free, None) => Schedule::OneByOne,
        }
    }

    /// Refuses what the model cannot honour.
    ///
    /// # Errors
    /// Names the control and the reason.
    pub fn check(&self, sampling: &Sampling) -> Result<()> {
        match self.smooth {
            Err(reason) if sampling.smooth => Err(Error::control("smooth", reason, "Turn it off")),
            _ => Ok(()),
        }
    }

    /// Refuses a number of tokens that the model cannot honour.
    ///
    /// # Errors
    /// Names the reason.
    pub fn check_extent(&self, extent: Extent) -> Result<()> {
        if let Extent::Refined(factor) = extent
            && !(2..=4).contains(&factor)
        {
            let cause = format!("a refinement by {factor} is not between 2 and 4");
            return Err(Error::control("canvas", cause, "Use 2, as published"));
        }
        if extent == Extent::Trained || self.orders == Orders::Any {
            return Ok(());
        }
        let cause = "only models that make tokens in any order work on more of them than in training";
        Err(Error::control("canvas", cause, "Choose RandAR, or the trained size"))
    }

    /// Refuses guidance that the model cannot honour.
    ///
    /// # Errors
    /// Names the reason.
    pub fn check_guidance(&self, guidance: &Guidance) -> Result<()> {
        let in_scales = matches!(self.pace, Pace::Fixed { schedule: Schedule::Scales, .. });
        match guidance {
            Guidance::Scales { .. } if !in_scales => {
                let cause = "only models that work in scales let it grow with them";
                Err(Error::control("guidance", cause, "Choose another schedule"))
            }
            Guidance::Spatial { .. } => self.check_context(),
            _ => Ok(()),
        }
    }

    /// Refuses spatial contextual guidance where the model has none.
    ///
    /// # Errors
    /// Names the reason.
    pub fn check_context(&self) -> Result<()> {
        if self.orders == Orders::Any {
            return Ok(());
        }
        let cause = "only models that make tokens in any order can be run without a part of them";
        Err(Error::control("context", cause, "Choose RandAR, or set it to 1"))
    }

    /// Refuses a painted order where the model follows its own alone.
    ///
    /// # Errors
    /// Names the reason.
    pub fn check_path(&self) -> Result<()> {
        match self.orders {
            Orders::Only { reason, .. } => {
                Err(Error::control("order brush", reason, "Choose RandAR, or clear the path"))
            }
            Orders::Any | Orders::Native { .. } => Ok(()),
        }
    }

    /// What to know about a painted order that is followed as an experiment only.
    pub fn experimental_path(&self) -> Option<&'static str> {
        match self.orders {
            Orders::Native { others, .. } => Some(others),
            Orders::Any | Orders::Only { .. } => None,
        }
    }

    /// Refuses tokens that are chosen by hand where a token is not one code that stays.
    ///
    /// # Errors
    /// Names the reason.
    pub fn check_choice(&self) -> Result<()> {
        let cause = match self.pace {
            Pace::Fixed { schedule: Schedule::Scales, .. } => {
                "its tokens lie in scales above each other, each of which answers to those below"
            }
            Pace::Fixed { schedule, .. } if schedule.revises() => "each of its tokens is revised by several steps",
            _ => return Ok(()),
        };
        Err(Error::control("token picker", cause, "Choose RandAR, RAR or LlamaGen"))
    }

    /// Refuses an order or schedule that the model cannot honour.
    ///
    /// # Errors
    /// Names the control and the reason.
    pub fn check_course(&self, order: &str, schedule: Schedule) -> Result<()> {
        if let Err(reason) = self.orders.allow(order) {
            let remedy = format!("Choose {}", self.orders.native());
            return Err(Error::control("order", reason, remedy));
        }
        match self.pace {
            Pace::Fixed { schedule: only, reason } if schedule != only => {
                Err(Error::control("steps", reason, "Leave the number of steps to the model"))
            }
            _ => Ok(()),
        }
    }
}

/// What a network is, for whoever drives it: the decode loop, the window, the command line.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The paper's family, as people know it.
    pub family: &'static str,
    /// Number of classes; the null class of guidance is not counted.
    pub classes: usize,
    /// Number of codes.
    pub vocab: usize,
    /// The tokens of a picture of the size it was trained on.
    pub lattice: Lattice,
    /// Number of parameters.
    pub parameters: usize,
    /// What it can be asked to do.
    pub abilities: Abilities,
}

/// What a network is asked to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// The class: below [`Spec::classes`], or that number itself for no class, the null class of guidance.
    pub class: u32,
    /// Whether a second stream without the class is run beside the first, for classifier-free guidance.
    pub guided: bool,
}

impl Prompt {
    /// The classes of the streams: the class itself and, where guided, the null class.
    pub fn streams(&self, null: usize) -> Vec<u32> {
        if self.guided { vec![self.class, null as u32] } else { vec![self.class] }
    }
}

/// A network that guesses tokens at sites and remembers what it is told.
pub trait Network: Send {
    /// What it is.
    fn spec(&self) -> &Spec;

    /// Forgets everything and starts on an empty lattice.
    ///
    /// # Errors
    /// If the class or the lattice is not one it can make.
    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()>;

    /// Logits for the sites of a visit, `[streams, visit, vocab]` on the device; stream 0 has the class, stream 1
    /// (when guided) has not. Where tokens are factorised, those of the first factor.
    ///
    /// # Errors
    /// If [`Network::begin`] did not come first, or the sites are not on the lattice.
    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>>;

    /// Spatial contextual guidance: one more stream, the last, in which the image tokens of these sites are hidden. Comes
    /// between [`Network::begin`] and the first [`Network::predict`].
    ///
    /// # Errors
    /// If the family has no such stream, or a site is not on the lattice.
    fn drop_context(&mut self, sites: &[Site]) -> Result<()> {
        let _ = sites;
        let cause = format!("{} has no spatial contextual guidance", self.spec().family);
        Err(Error::control("guidance", cause, "Choose RandAR, or another guidance"))
    }

    /// Where tokens are factorised: logits of the next factor, `[streams, visit, codes]`, given the earlier ones, which
    /// `tokens` holds as the value `first + codes of the first · second + …`; none when the tokens are complete.
    ///
    /// # Errors
    /// If it does not follow the prediction of the same visit.
    fn refine(&mut self, visit: &[Site], tokens: &[Token]) -> Result<Option<Tensor<3>>> {
        let _ = (visit, tokens);
        Ok(None)
    }

    /// What was chosen. After a `predict` the visit is the same; without one these are given tokens, or a step of an
    /// earlier run that is gone on with. It is only remembered: the next `predict` reads all of it in one pass.
    ///
    /// # Errors
    /// If [`Network::begin`] did not come first, or the visit is not the one that was predicted.
    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()>;

    /// Teacher forcing, as in training: logits of every site of a whole picture of the trained size in one pass, each given
    /// the tokens of the sites before it in `order`, `[1, sites, vocab]` in that sequence; `tokens` are in it as well. None
    /// where a prediction cannot be had so: the picture is then told step by step. A run in progress stays as it is.
    ///
    /// # Errors
    /// If the class does not exist.
    fn teacher_forced(&mut self, class: u32, order: &[Site], tokens: &[Token]) -> Result<Option<Tensor<3>>> {
        let _ = (class, order, tokens);
        Ok(None)
    }

    /// In the smooth mode: what the next `tell` embeds in place of its tokens, shares of the codes, `[visit, vocab]`.
    ///
    /// # Errors
    /// If the network has no such mode.
    fn soften(&mut self, shares: Tensor<2>) -> Result<()> {
        let _ = shares;
        Err(Error::control("smooth", "this model has no such mode", "Turn it off"))
    }

    /// After softened steps: what the tokenizer shall decode in place of tokens, `[1, channels, rows, cols]`.
    fn features(&self) -> Option<Tensor<4>> {
        None
    }
}

/// Refuses a class that the network does not have.
pub(crate) fn check_class(class: u32, spec: &Spec) -> Result<()> {
    if class as usize <= spec.classes {
        return Ok(());
    }
    Err(Error::control(
        "subject",
        format!("class {class} does not exist; this model has the classes 0 to {}", spec.classes - 1),
        "Choose one of them",
    ))
}

/// Refuses a visit that is empty or leaves the lattice.
pub(crate) fn check_visit(visit: &[Site], lattice: &Lattice) -> Result<()> {
    if visit.is_empty() || visit.iter().any(|site| site.index() >= lattice.len()) {
        return Err(Error::control("order", "it visits sites outside the grid", "Choose another order"));
    }
    Ok(())
}

/// Refuses tokens that the network has no code for, or that are not one for each site.
pub(crate) fn check_tokens(visit: &[Site], tokens: &[Token], vocab: usize) -> Result<()> {
    if tokens.len() != visit.len() || tokens.iter().any(|token| *token as usize >= vocab) {
        let cause = "they do not fit the model's codebook";
        return Err(Error::control("tokens", cause, "Choose a matching tokenizer"));
    }
    Ok(())
}

/// The error of a network that is used before [`Network::begin`].
pub(crate) fn not_begun() -> Error {
    Error::control("decoding", "the network was not started", "Start the run again")
}
