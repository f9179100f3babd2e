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
use crate::plan::{Plan, Visit};
use crate::sample::{Draw, Guidance, Made, Moment, Sampling};
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
    /// Its number, from 0; through all frames where there are several.
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
    failed: bool,
}

impl<'a> Decoding<'a> {
    /// Starts on a plan, or goes on after `earlier` steps of it: networks only remember what they are told, and read all
    /// of it in one pass at the next prediction. Mixtures of the smooth mode are not recorded: they are drawn again, which
    /// gives the same ones for the same seed.
    ///
    /// # Errors
    /// If a control's value means nothing, or the network refuses class, lattice or tokens.
    pub fn start(network: &'a mut dyn Network, plan: Arc<Plan>, knobs: Knobs, earlier: &[Step]) -> Result<Self> {
        knobs.sampling.check()?;
        network.spec().abilities.check(&knobs.sampling)?;
        if knobs.guidance.dropped().is_some() {
            network.spec().abilities.check_context()?;
        }
        let guided = knobs.guidance.is_on() && (knobs.class as usize) < network.spec().classes;
        network.begin(&Prompt { class: knobs.class, guided }, &plan.lattice)?;
        if guided && !plan.dropped.is_empty() {
            network.drop_context(&plan.dropped)?;
        }
        let mut decoding = Self { network, plan, knobs, next: 0, failed: false };
        for step in earlier {
            let plan = decoding.plan.clone();
            let visit = plan.visits.get(decoding.next).ok_or_else(another_run)?;
            decoding.tell_given(visit)?;
            if knobs.sampling.smooth {
                let logits = decoding.network.predict(&visit.sites)?;
                decoding.draw(visit, logits, 0)?;
            }
            decoding.tell_made(visit, &step.made)?;
            decoding.next += 1;
        }
        Ok(decoding)
    }

    /// What the tokenizer shall decode in place of tokens: set by the smooth mode alone.
    pub fn features(&self) -> Option<Tensor<4>> {
        if self.knobs.sampling.smooth { self.network.features() } else { None }
    }

    /// Hands the network back, for the next frame.
    pub fn into_network(self) -> &'a mut dyn Network {
        self.network
    }

    fn step(&mut self, visit: &Visit) -> Result<Step> {
        self.tell_given(visit)?;
        let logits = self.network.predict(&visit.sites)?;
        let mut made = self.draw(visit, logits, 0)?;
        let mut radix = 1;
        for factor in 1.. {
            let factors: Vec<Token> = made.iter().map(|(made, _)| made.token).collect();
            let Some(logits) = self.network.refine(&visit.sites, &factors)? else { break };
            radix *= made.first().map_or(1, |(_, codes)| *codes);
            let next = self.draw(visit, logits, factor)?;
            made = made.into_iter().zip(next).map(|((a, _), (b, codes))| (a.with_factor(b, radix), codes)).collect();
        }
        let made = made.into_iter().map(|(made, _)| made);
        let made: Vec<Made> = made.filter(|made| self.plan.given[made.site.index()].is_none()).collect();
        self.tell_made(visit, &made)?;
        Ok(Step { index: self.plan.first + self.next, made })
    }

    /// Draws one factor for every site of a visit from the network's logits, each at the temperature of its site; with the
    /// number of codes of the factor.
    /// Given sites get a draw as well, as the network reads their factors; their tokens are put right in the end.
    fn draw(&mut self, visit: &Visit, logits: Tensor<3>, factor: usize) -> Result<Vec<(Made, u32)>> {
        let at = self.moment(visit, factor);
        let logits = self.mix(logits, &at);
        let [_, codes] = logits.dims();
        let device = logits.device();
        let logits = logits.try_into_vec_as::<f32>();
        let logits = logits.map_err(|error| Error::device("model", error, "Try --device cpu"))?;
        let sampling = self.knobs.sampling;
        let (seed, step) = (self.knobs.seed, self.plan.first + self.next);
        let rows = || {
            let sites = visit.sites.iter().map(move |site| Draw { seed, step, site: *site, factor });
            sites.zip(logits.chunks_exact(codes))
        };
        if sampling.smooth {
            let weights = rows().flat_map(|(of, logits)| match self.plan.given[of.site.index()] {
                Some(token) => (0..codes).map(|code| if code == token as usize { 1.0 } else { 0.0 }).collect(),
                None => sampling.bolder(self.plan.boldness(of.site)).mixture(logits, &of, &at),
            });
            let weights: Vec<f32> = weights.collect();
            let weights = TensorData::new(weights, [visit.sites.len(), codes]);
            self.network.soften(Tensor::from_data(weights, &device))?;
        }
        let draw = |(of, logits): (Draw, &[f32])| {
            let boldness = self.plan.boldness(of.site);
            let made = sampling.bolder(boldness).draw(logits, &of)?;
            Ok((Made { boldness, ..made }, codes as u32))
        };
        rows().map(draw).collect()
    }

    fn moment(&self, visit: &Visit, factor: usize) -> Moment {
        let lattice = &self.plan.lattice;
        let scale = visit.sites.first().map_or(0, |site| lattice.scale_of(*site));
        Moment { known: visit.known, total: visit.total, scale, scales: lattice.scales().len(), factor }
    }

    /// Guidance: `[streams, visit, vocab]` to `[visit, vocab]`. Each stream knows less than the one before; the last is
    /// pulled towards the others by the scales of their differences.
    fn mix(&self, logits: Tensor<3>, at: &Moment) -> Tensor<2> {
        let [streams, visit, vocab] = logits.dims();
        let stream = |index: usize| logits.clone().slice(s![index..index + 1, .., ..]).reshape([visit, vocab]);
        let scales = self.knobs.guidance.scales(at);
        let pulls = (1..streams).zip(scales).map(|(less, scale)| (stream(less - 1) - stream(less)) * scale);
        pulls.fold(stream(streams - 1), |mixed, pull| mixed + pull)
    }

    fn tell_given(&mut self, visit: &Visit) -> Result<()> {
        if visit.told.is_empty() {
            return Ok(());
        }
        let tokens: Vec<Token> = visit.told.iter().filter_map(|site| self.plan.given[site.index()]).collect();
        self.network.tell(&visit.told, &tokens)
    }

    /// Tells a visit's tokens: what was made, and what was given among it.
    fn tell_made(&mut self, visit: &Visit, made: &[Made]) -> Result<()> {
        let mut made = made.iter();
        let token = |site: &Site| match self.plan.given[site.index()] {
            Some(token) => Ok(token),
            None => made.next().filter(|made| made.site == *site).map(|made| made.token).ok_or_else(another_run),
        };
        let tokens: Vec<Token> = visit.sites.iter().map(token).collect::<Result<_>>()?;
        self.network.tell(&visit.sites, &tokens)
    }
}

fn another_run() -> Error {
    Error::control("timeline", "these steps belong to another run", "Start again with Generate")
}

impl Iterator for Decoding<'_> {
    type Item = Result<Step>;

    fn next(&mut self) -> Option<Self::Item> {
        let plan = self.plan.clone();
        let visit = plan.visits.get(self.next).filter(|_| !self.failed)?;
        let step = self.step(visit);
        self.failed = step.is_err();
        self.next += 1;
        Some(step)
    }
}
