//! The one decode loop: a plan and a network become an iterator of steps.
//!
//! Pausing is not pulling, cancelling is dropping, and a test is `collect()`. For each visit: predict, mix the streams,
//! sample, tell, yield.

use std::sync::Arc;

use burn::prelude::*;
use burn::tensor::s;
use serde::{Deserialize, Serialize};

use crate::lattice::{Site, Token};
use crate::network::{Network, Prompt};
use crate::plan::Plan;
use crate::sample::{Guidance, Made, Sampling};
use crate::{Error, Result};

/// What decides the tokens, beside the plan and the network.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Knobs {
    /// The class, or the number of classes for none; guidance needs a class.
    pub class: u32,
    /// How strongly the class pulls.
    pub guidance: Guidance,
    /// How boldly tokens are drawn.
    pub sampling: Sampling,
    /// Where the randomness starts.
    pub seed: u64,
}

/// One step: the tokens that were made at once.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    /// Its number, from 0.
    pub index: usize,
    /// Its tokens.
    pub made: Vec<Made>,
}

/// A run in progress.
pub struct Decoding<'a> {
    network: &'a mut dyn Network,
    plan: Arc<Plan>,
    knobs: Knobs,
    next: usize,
    known: usize,
    failed: bool,
}

impl<'a> Decoding<'a> {
    /// Starts on a plan, or goes on after `earlier` steps of it: given tokens and earlier steps are told in one pass.
    ///
    /// # Errors
    /// If a control's value means nothing, or the network refuses class, lattice or tokens.
    pub fn start(network: &'a mut dyn Network, plan: Arc<Plan>, knobs: Knobs, earlier: &[Step]) -> Result<Self> {
        knobs.sampling.check()?;
        let guided = knobs.guidance.is_on() && (knobs.class as usize) < network.spec().classes;
        network.begin(&Prompt { class: knobs.class, guided }, &plan.lattice)?;
        let made = earlier.iter().flat_map(|step| &step.made).map(|made| (made.site, made.token));
        let (sites, tokens): (Vec<Site>, Vec<Token>) = plan.given.iter().copied().chain(made).unzip();
        if !sites.is_empty() {
            network.tell(&sites, &tokens)?;
        }
        Ok(Self { network, plan, knobs, next: earlier.len(), known: sites.len(), failed: false })
    }

    fn step(&mut self, visit: &[Site]) -> Result<Step> {
        let logits = self.network.predict(visit)?;
        let logits = self.mix(logits);
        let [_, vocab] = logits.dims();
        let logits = logits.try_into_vec_as::<f32>();
        let logits = logits.map_err(|error| Error::device("model", error, "Try --device cpu"))?;
        let draw =
            |(site, logits): (&Site, &[f32])| self.knobs.sampling.draw(logits, self.knobs.seed, self.next, *site);
        let made: Vec<Made> = visit.iter().zip(logits.chunks_exact(vocab)).map(draw).collect::<Result<_>>()?;
        let tokens: Vec<Token> = made.iter().map(|made| made.token).collect();
        self.network.tell(visit, &tokens)?;
        Ok(Step { index: self.next, made })
    }

    /// Guidance: `[streams, visit, vocab]` to `[visit, vocab]`. The scale depends on the tokens known before the visit.
    fn mix(&self, logits: Tensor<3>) -> Tensor<2> {
        let [streams, visit, vocab] = logits.dims();
        let stream = |index: usize| logits.clone().slice(s![index..index + 1, .., ..]).reshape([visit, vocab]);
        if streams == 1 {
            return stream(0);
        }
        let (with, without) = (stream(0), stream(1));
        let scale = self.knobs.guidance.scale(self.known, self.plan.lattice.len());
        without.clone() + (with - without) * scale
    }
}

impl Iterator for Decoding<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let plan = self.plan.clone();
        let visit = plan.visits.get(self.next).filter(|_| !self.failed)?;
        let step = self.step(visit);
        self.failed = step.is_err();
        self.next += 1;
        self.known += visit.len();
        Some(step)
    }
}
