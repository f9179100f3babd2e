//! Negative log-likelihood: how many bits a network needs for the tokens of a picture, token by token in an order.
//!
//! Every token is predicted from the class and the true tokens before it, without guidance, at temperature 1; what is
//! added up over all sites is the likelihood of the whole picture. In several scales a scale's tokens are predicted
//! together, from the true coarser scales.
//!
//! Where tokens are revised (TensorAR) it is the *final* prediction that counts, the one that takes the token as the first
//! of its tensor. It reads drafts of the tokens to come, which nobody knows the truth of: they are drawn from the network
//! itself. By Jensen's inequality the mean over drafts bounds the picture's bits from above.

use std::ops::ControlFlow;

use burn::prelude::*;

use crate::lattice::{Site, Token};
use crate::network::{Network, Prompt, check_tokens};
use crate::order;
use crate::plan::Plan;
use crate::sample::{Draw, Sampling};
use crate::{Error, Result};

/// Bits of every token of a picture, by site. `tokens` fill the network's own lattice, site by site; `class` may be the
/// number of classes for none; `seed` decides random orders and drafts.
///
/// # Errors
/// If the network cannot follow the order, refuses class or tokens, or the device fails.
pub fn bits(network: &mut dyn Network, class: u32, order: &str, tokens: &[Token], seed: u64) -> Result<Vec<f64>> {
    let spec = network.spec();
    spec.abilities.check_course(order, spec.abilities.schedule(None))?;
    let sequence = order::arrange(order, &spec.lattice, seed)?;
    let mut bits = vec![0.0; tokens.len()];
    read(network, class, (order, &sequence), tokens, seed, &mut |read| {
        read.iter().for_each(|token| bits[token.site.index()] = token.bits);
        ControlFlow::Continue(())
    })?;
    Ok(bits)
}

/// A token that was read.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Read {
    /// Where.
    pub site: Site,
    /// Its bits.
    pub bits: f64,
}

/// The same in a sequence of sites that an order has, reported as it is read, a pass of the network at a time. Ends early if
/// told to break off.
///
/// # Errors
/// As [`bits`].
pub fn read(
    network: &mut dyn Network,
    class: u32,
    (order, sequence): (&str, &[u32]),
    tokens: &[Token],
    seed: u64,
    report: &mut dyn FnMut(&[Read]) -> ControlFlow<()>,
) -> Result<()> {
    let spec = network.spec().clone();
    let (lattice, abilities) = (spec.lattice, spec.abilities);
    let schedule = abilities.schedule(None);
    abilities.check_course(order, schedule)?;
    let sites: Vec<Site> = lattice.sites().collect();
    check_tokens(&sites, tokens, spec.vocab)?;

    let visited: Vec<Site> = sequence.iter().copied().map(Site).collect();
    let told: Vec<Token> = visited.iter().map(|site| tokens[site.index()]).collect();
    if let Some(logits) = network.teacher_forced(class, &visited, &told)? {
        let rows = numbers(logits)?;
        let rows = visited.iter().zip(&told).zip(rows.chunks_exact(spec.vocab));
        let read = |((site, token), row): ((&Site, &Token), &[f32])| Read { site: *site, bits: surprise(row, *token) };
        let _all = report(&rows.map(read).collect::<Vec<_>>());
        return Ok(());
    }
    let nothing = vec![None; lattice.len()];
    let plan = Plan::new(lattice, sequence, &nothing, schedule, abilities.orders.given(order))?;
    network.begin(&Prompt { class, guided: false }, &plan.lattice)?;
    for (step, visit) in plan.visits.iter().enumerate() {
        let final_ones = if schedule.revises() { 1 } else { visit.sites.len() };
        let final_ones = visit.sites[..final_ones].iter();
        let mut read: Vec<Read> = final_ones.map(|site| Read { site: *site, bits: 0.0 }).collect();
        let mut chosen: Vec<Token> = vec![0; visit.sites.len()];
        let mut logits = network.predict(&visit.sites)?;
        let mut radix = 1;
        for factor in 0.. {
            let codes = logits.dims()[2];
            let rows = numbers(logits)?;
            for (index, (site, row)) in visit.sites.iter().zip(rows.chunks_exact(codes)).enumerate() {
                let value = match read.get_mut(index) {
                    Some(read) => {
                        let value = tokens[site.index()] / radix % codes as Token;
                        read.bits += surprise(row, value);
                        value
                    }
                    None => Sampling::default().draw(row, &Draw { seed, step, site: *site, factor })?.token,
                };
                chosen[index] += radix * value;
            }
            radix *= codes as Token;
            match network.refine(&visit.sites, &chosen)? {
                Some(next) => logits = next,
                None => break,
            }
        }
        network.tell(&visit.sites, &chosen)?;
        if report(&read).is_break() {
            break;
        }
    }
    Ok(())
}

/// Logits, `[1, sites, codes]`, row by row.
fn numbers(logits: Tensor<3>) -> Result<Vec<f32>> {
    logits.try_into_vec_as::<f32>().map_err(|error| Error::device("model", error, "Try --device cpu"))
}

/// The bits of a code under logits.
fn surprise(logits: &[f32], code: Token) -> f64 {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let sum: f64 = logits.iter().map(|logit| f64::from(logit - largest).exp()).sum();
    (sum.ln() - f64::from(logits[code as usize] - largest)) / std::f64::consts::LN_2
}
