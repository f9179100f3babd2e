//! What a run will do: which tokens are given, and which sites each step visits.

use crate::lattice::{Lattice, Site, Token};
use crate::schedule::{Schedule, cosine};
use crate::{Error, Result};

/// When a network is told of given tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// All of them before the first step (RandAR, §3.4.1).
    First,
    /// Each at its own place in the order: for networks that read tokens in one sequence.
    InPlace,
}

/// One step of a plan.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Visit {
    /// Given sites that the network is told of just before, in this sequence.
    pub told: Vec<Site>,
    /// The sites that are predicted in one run of the network. Given ones among them keep their token.
    pub sites: Vec<Site>,
    /// Sites whose tokens are settled before the step, given ones that were told included.
    pub known: usize,
}

/// Given tokens and visits. Every site is either given or made; made ones are visited once, except by sliding windows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the tokens live.
    pub lattice: Lattice,
    /// Tokens taken from the picture, site by site.
    pub given: Vec<Option<Token>>,
    /// The steps.
    pub visits: Vec<Visit>,
}

impl Plan {
    /// Lays a plan: `order` is a permutation of the lattice's sites (see [`crate::order`]), `given` holds a token for
    /// every site that is not to be made.
    ///
    /// # Errors
    /// If `order` is not a permutation of the lattice, or nothing is left to make.
    pub fn new(
        lattice: Lattice,
        order: &[u32],
        given: &[Option<Token>],
        schedule: Schedule,
        when: Given,
    ) -> Result<Self> {
        let total = lattice.len();
        let mut seen = vec![false; total];
        let fresh = |site: &u32| seen.get_mut(*site as usize).is_some_and(|seen| !std::mem::replace(seen, true));
        if order.len() != total || given.len() != total || !order.iter().all(fresh) {
            let cause = format!("it does not visit each of the {total} tokens exactly once");
            return Err(Error::control("order", cause, "Choose another order"));
        }
        if given.iter().all(Option::is_some) {
            return Err(Error::control("mask", "it is empty: nothing may change", "Paint over what should change"));
        }
        let order: Vec<Site> = order.iter().copied().map(Site).collect();
        let is_given = |site: &Site| given[site.index()].is_some();
        let visits = match (schedule, when) {
            (Schedule::Scales, _) => by_scale(&lattice, is_given),
            (Schedule::Windows { width }, _) => by_window(&order, width.max(1), is_given),
            (Schedule::OneByOne, Given::InPlace) => by_window(&order, 1, is_given),
            (Schedule::OneByOne, Given::First) => after_all_given(&order, |masked| vec![1; masked], is_given),
            (Schedule::Cosine { steps }, _) => {
                let share = |masked: usize| cosine(masked, (steps * masked).div_ceil(total.max(1)).max(1));
                after_all_given(&order, share, is_given)
            }
        };
        Ok(Self { lattice, given: given.to_vec(), visits })
    }

    /// Number of tokens to make.
    pub fn masked(&self) -> usize {
        self.given.iter().filter(|token| token.is_none()).count()
    }

    /// The sites that a step makes tokens for.
    pub fn made_by(&self, step: usize) -> impl Iterator<Item = Site> {
        let sites = self.visits.get(step).map_or(&[][..], |visit| &visit.sites);
        sites.iter().copied().filter(|site| self.given[site.index()].is_none())
    }

    /// How many of the lattice's scales are complete after so many steps; at least one, so that there is a picture.
    pub fn scales_after(&self, steps: usize) -> usize {
        match self.visits.get(steps).and_then(|visit| visit.sites.first()) {
            Some(next) => self.lattice.scale_of(*next).max(1),
            None => self.lattice.scales().len(),
        }
    }

    /// Given sites with their tokens.
    pub fn given_tokens(&self) -> impl Iterator<Item = (Site, Token)> {
        self.lattice.sites().filter_map(|site| Some((site, self.given[site.index()]?)))
    }
}

/// All given sites first, then the others in groups; both parts in the order's sequence.
fn after_all_given(
    order: &[Site],
    groups: impl FnOnce(usize) -> Vec<usize>,
    is_given: impl Fn(&Site) -> bool,
) -> Vec<Visit> {
    let (mut told, masked): (Vec<Site>, Vec<Site>) = order.iter().partition(|site| is_given(site));
    let mut known = told.len();
    let mut rest = masked.as_slice();
    let visit = |count: usize| {
        let (sites, later) = rest.split_at(count);
        rest = later;
        let visit = Visit { told: std::mem::take(&mut told), sites: sites.to_vec(), known };
        known += count;
        visit
    };
    groups(masked.len()).into_iter().map(visit).collect()
}

/// A whole scale per step. Scales of given sites alone are no step of their own: the next one is told of them.
fn by_scale(lattice: &Lattice, is_given: impl Fn(&Site) -> bool) -> Vec<Visit> {
    let mut visits = Vec::new();
    let mut told = Vec::new();
    for scale in 0..lattice.scales().len() {
        let range = lattice.scale(scale);
        let known = range.start as usize;
        let sites: Vec<Site> = range.map(Site).collect();
        if sites.iter().all(&is_given) {
            told.extend(sites);
        } else {
            visits.push(Visit { told: std::mem::take(&mut told), sites, known });
        }
    }
    visits
}

/// The sites `t..t + width` of the order for every `t` where that holds any to make. The network is told of given sites
/// up to the end of the window before, which is what it reads for its last slot.
fn by_window(order: &[Site], width: usize, is_given: impl Fn(&Site) -> bool) -> Vec<Visit> {
    let mut visits = Vec::new();
    let mut next = 0;
    for start in 0..order.len() {
        let window = &order[start..order.len().min(start + width)];
        if window.iter().all(&is_given) {
            continue;
        }
        let end = (start + width - 1).min(order.len()).max(next);
        let told = order[next..end].iter().copied().filter(|site| is_given(site)).collect();
        next = end;
        visits.push(Visit { told, sites: window.to_vec(), known: start });
    }
    visits
}
