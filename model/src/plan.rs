//! What a run will do: which tokens are given, and which sites each step visits.

use crate::decode::Step;
use crate::lattice::{Lattice, Site, Token};
use crate::order;
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
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Visit {
    /// Given sites that the network is told of just before, in this sequence.
    pub told: Vec<Site>,
    /// The sites that are predicted in one run of the network. Given ones among them keep their token.
    pub sites: Vec<Site>,
    /// Sites whose tokens are settled before the step, given ones that were told included.
    pub known: usize,
    /// Sites there are; in the first pass over a refined lattice, those of the coarse grid.
    pub total: usize,
}

/// Given tokens and visits. Every site is either given or made; made ones are visited once, except by sliding windows.
#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Plan {
    /// Where the tokens live.
    pub lattice: Lattice,
    /// Tokens taken from the picture, site by site.
    pub given: Vec<Option<Token>>,
    /// The steps.
    pub visits: Vec<Visit>,
    /// Sites whose tokens are hidden from the last stream of spatial contextual guidance.
    pub dropped: Vec<Site>,
    /// The number of the first step: where several frames follow each other, steps are counted through, so that no two of
    /// them draw by the same random numbers.
    pub first: usize,
    /// Factors on the temperature, site by site, see [`Boldness`](crate::boldness::Boldness); empty where all are 1.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub boldness: Vec<f32>,
}

impl Plan {
    /// Lays a plan: `order` is a permutation of the lattice's sites (see [`crate::order`]), `given` holds a token for
    /// every site that is not to be made.
    ///
    /// # Errors
    /// If `order` is not a permutation of the lattice, nothing is left to make, or a refined lattice is not made from its
    /// coarse grid outwards.
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
            (Schedule::OneByOne, Given::First) => {
                after_all_given(&lattice, &order, |done, sites, _| vec![1; sites - done], is_given)?
            }
            (Schedule::Cosine { steps }, _) => {
                let share = |sites: usize, of: usize| (steps * sites).div_ceil(of.max(1)).max(1);
                after_all_given(&lattice, &order, |done, sites, of| cosine(done, sites, share(sites, of)), is_given)?
            }
        };
        Ok(Self { lattice, given: given.to_vec(), visits, dropped: Vec::new(), first: 0, boldness: Vec::new() })
    }

    /// The same plan with a `share` of tokens dropped for spatial contextual guidance. On a refined lattice these are that
    /// share of the coarse grid, exactly, as published (`resolution_extrapolation.py`); otherwise every token is dropped
    /// with that probability, as the paper has it (appendix F.1).
    pub fn dropping(mut self, share: f32, seed: u64) -> Self {
        let mut random = order::random(seed, order::DROP_STREAM);
        self.dropped = if self.lattice.refinement() > 1 {
            let mut coarse: Vec<Site> =
                self.lattice.sites().filter(|site| self.lattice.coarse_site(*site).is_some()).collect();
            order::shuffle(&mut coarse, &mut random);
            coarse.truncate((coarse.len() as f32 * share) as usize);
            coarse
        } else {
            self.lattice.sites().filter(|_| order::uniform(&mut random) < share).collect()
        };
        self
    }

    /// The same plan after so many steps in other frames.
    pub fn following(self, first: usize) -> Self {
        Self { first, ..self }
    }

    /// The same plan with factors on the temperature, site by site, or none.
    pub fn painted(self, boldness: Vec<f32>) -> Self {
        Self { boldness, ..self }
    }

    /// The factor on the temperature of a site.
    pub fn boldness(&self, site: Site) -> f32 {
        self.boldness.get(site.index()).copied().unwrap_or(1.0)
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

    /// The sites that are to be made, and that these steps have made nothing for.
    pub fn waiting(&self, steps: &[Step]) -> Vec<Site> {
        let mut waiting: Vec<bool> = self.given.iter().map(Option::is_none).collect();
        steps.iter().flat_map(|step| &step.made).for_each(|made| waiting[made.site.index()] = false);
        self.lattice.sites().filter(|site| waiting[site.index()]).collect()
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

/// All given sites first, then the others in groups; both parts in the order's sequence. `groups` holds their sizes: of
/// `sites`, `done` are already made, and `of` is the number of sites there are.
///
/// A refined lattice is made in two passes: first the sites of the coarse grid, as if there were no others, then the rest.
fn after_all_given(
    lattice: &Lattice,
    order: &[Site],
    groups: impl Fn(usize, usize, usize) -> Vec<usize>,
    is_given: impl Fn(&Site) -> bool,
) -> Result<Vec<Visit>> {
    let (mut told, masked): (Vec<Site>, Vec<Site>) = order.iter().partition(|site| is_given(site));
    let is_coarse = |site: &&Site| lattice.refinement() > 1 && lattice.coarse_site(**site).is_some();
    let (first, second) = masked.split_at(masked.iter().take_while(is_coarse).count());
    if second.iter().any(|site| is_coarse(&site)) {
        let cause = "a refined canvas begins with every other token of every other row";
        return Err(Error::control("order", cause, "Choose hierarchical"));
    }
    let mut visits = Vec::new();
    let mut done = 0;
    for (mut rest, total) in [(first, lattice.coarse().len()), (second, lattice.len())] {
        for count in groups(done, done + rest.len(), total) {
            let known = total - rest.len();
            let (sites, later) = rest.split_at(count);
            visits.push(Visit { told: std::mem::take(&mut told), sites: sites.to_vec(), known, total });
            done += count;
            rest = later;
        }
    }
    Ok(visits)
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
            visits.push(Visit { told: std::mem::take(&mut told), sites, known, total: lattice.len() });
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
        visits.push(Visit { told, sites: window.to_vec(), known: start, total: order.len() });
    }
    visits
}
