//! What a run will do: which tokens are given, and which sites each step visits.

use crate::lattice::{Lattice, Site, Token};
use crate::schedule::Schedule;
use crate::{Error, Result};

/// Given tokens and visits. Every site is either given or visited exactly once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Plan {
    /// Where the tokens live.
    pub lattice: Lattice,
    /// Tokens taken from the picture, in the sequence in which the network is told of them.
    pub given: Vec<(Site, Token)>,
    /// The sites of each step.
    pub visits: Vec<Vec<Site>>,
}

impl Plan {
    /// Lays a plan: `order` is a permutation of the lattice's sites (see [`crate::order`]), `given` holds a token for
    /// every site that is not to be made. Given tokens come first, both parts in the order's sequence (§3.4.1).
    ///
    /// # Errors
    /// If `order` is not a permutation of the lattice, or nothing is left to make.
    pub fn new(lattice: Lattice, order: &[u32], given: &[Option<Token>], schedule: Schedule) -> Result<Self> {
        let total = lattice.len();
        let mut seen = vec![false; total];
        let fresh = |site: &u32| seen.get_mut(*site as usize).is_some_and(|seen| !std::mem::replace(seen, true));
        if order.len() != total || given.len() != total || !order.iter().all(fresh) {
            let cause = format!("it does not visit each of the {total} tokens exactly once");
            return Err(Error::control("order", cause, "Choose another order"));
        }
        let told = order.iter().filter_map(|site| Some((Site(*site), given[*site as usize]?))).collect();
        let masked: Vec<Site> = order.iter().copied().map(Site).filter(|site| given[site.index()].is_none()).collect();
        if masked.is_empty() {
            return Err(Error::control("mask", "it is empty: nothing may change", "Paint over what should change"));
        }
        let mut rest = masked.as_slice();
        let visits = schedule.visits(masked.len(), total).into_iter().map(|count| {
            let (visit, later) = rest.split_at(count);
            rest = later;
            visit.to_vec()
        });
        let visits = visits.collect();
        Ok(Self { lattice, given: told, visits })
    }

    /// Number of tokens to make.
    pub fn masked(&self) -> usize {
        self.visits.iter().map(Vec::len).sum()
    }
}
