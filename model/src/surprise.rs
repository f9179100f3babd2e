//! The surprise map: how many bits a model needs for every token of a picture that is there already.
//!
//! The picture is seen in a frame and encoded by the model's own tokenizer; the surprise of a token is the negative binary
//! logarithm of its probability given the class and other tokens of the picture, without guidance, at temperature 1. Which
//! other tokens those are is the model's to say:
//!
//! - Models of any order (RandAR) predict each token from those before it in a random order; what is shown is the mean over
//!   [`ORDERS`] of them. So every token is judged by few others and by many, near ones and far ones: what does not belong is
//!   found even where it is larger than a token. Given all others a token of a strange patch looks likely, as the rest of the
//!   patch is there to predict it from.
//! - Models of one order predict each token from those before it.
//! - Models of several scales (VAR) predict a scale from the coarser ones. On the finest lattice is shown the mean over the
//!   scales, of each the tokens that lie over a place: coarse ones tell what does not belong, fine ones where it is.
//!
//! The bits of all tokens add up to the picture's negative log-likelihood, see [`likelihood`]; of a model of any order, to
//! its mean over the orders.

use std::ops::ControlFlow;

use crate::evaluate::likelihood;
use crate::frame::Frame;
use crate::lattice::{Grid, Lattice, Site, Token};
use crate::library::Model;
use crate::network::{Abilities, Orders, Pace};
use crate::order;
use crate::picture::{Mask, Picture, Rect};
use crate::schedule::Schedule;
use crate::tokenizer::to_samples;
use crate::{Error, Result};

/// So many random orders does a model of any order read the picture in.
pub const ORDERS: u64 = 8;

/// Colours tell at least so many bits apart.
const LEAST_RANGE: f64 = 2.0;

/// What is asked.
#[derive(Debug, Clone)]
pub struct Query {
    /// The canvas.
    pub picture: Picture,
    /// The part of it that the model sees, at the size that it was trained on.
    pub frame: Frame,
    /// The part of the canvas, in its pixels, whose tokens are of interest.
    pub area: Rect,
    /// What the picture shows, or the number of classes for nothing in particular.
    pub class: u32,
    /// One pass in this order, each token given those before it, in place of what suits the model.
    pub order: Option<&'static str>,
    /// Decides random orders and drafts.
    pub seed: u64,
}

/// How far it is.
pub struct Progress {
    /// Tokens read, over all passes.
    pub done: usize,
    /// Tokens to read.
    pub of: usize,
    /// What the passes up to now come to, at the end of each.
    pub map: Option<SurpriseMap>,
}

/// A token of the finest scale, and how surprising it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cell {
    /// The token.
    pub site: Site,
    /// Its row.
    pub row: usize,
    /// Its column.
    pub col: usize,
    /// The canvas pixels that it touches.
    pub rect: Rect,
    /// Bits; of several scales the mean.
    pub bits: f64,
}

/// How surprising the tokens of a picture are.
#[derive(Debug, Clone, PartialEq)]
pub struct SurpriseMap {
    /// The part of the canvas that the model saw.
    pub frame: Frame,
    /// Its tokens' places.
    pub lattice: Lattice,
    /// Its tokens, by site.
    pub tokens: Vec<Token>,
    /// The bits of every token, by site, over all scales.
    pub bits: Vec<f64>,
    /// Tokens of the finest scale that touch the part of the canvas that was of interest, in raster order.
    pub cells: Vec<Cell>,
}

/// Which tokens are selected.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Threshold {
    /// The most surprising ones, as a share of all, 0 to 1.
    Share(f64),
    /// Those of at least so many bits.
    Bits(f64),
}

/// What the bits of a token mean, for the tooltip.
pub fn meaning(abilities: &Abilities) -> &'static str {
    match (abilities.orders, abilities.pace) {
        (_, Pace::Fixed { schedule: Schedule::Scales, .. }) => {
            "given the subject and all coarser scales; mean over the scales"
        }
        (_, Pace::Fixed { schedule, .. }) if schedule.revises() => {
            "given the subject and the tokens before it in raster order, at its last revision; drafts of later tokens are \
             drawn, so it is an upper bound"
        }
        (Orders::Any, _) => "given the subject and the tokens before it in a random order; mean over eight orders",
        (Orders::Only { .. } | Orders::Native { .. }, _) => {
            "given the subject and the tokens before it in raster order: the first rows know little of the picture"
        }
    }
}

/// The part of the canvas to look at: where the mask is, or all of it where nothing is masked.
pub fn frame(mask: &Mask, side: u32) -> Frame {
    let bounds = mask.bounds().unwrap_or(mask.rect());
    Frame::around(bounds, mask.width(), mask.height(), side)
}

/// Reads a picture, and says how surprising its tokens are. `report` hears how far it is after each visit of the model; if it
/// breaks off, what whole passes came to is the result, and nothing if there was none.
///
/// # Errors
/// If the model cannot follow the order, the class does not exist, the frame is not of the model's size, or the device fails.
pub fn measure(
    model: &mut Model,
    query: &Query,
    report: &mut dyn FnMut(Progress) -> ControlFlow<()>,
) -> Result<Option<SurpriseMap>> {
    let (lattice, side) = (model.lattice(), model.card.side);
    if query.frame.size != [side; 2] {
        let cause = format!("it is seen at {:?}, and the model was trained on {side} × {side}", query.frame.size);
        return Err(Error::control("frame", cause, "Place it again"));
    }
    let (order, passes) = course(&model.network.spec().abilities, query)?;
    let nothing = Mask::new(query.picture.width(), query.picture.height());
    let view = query.frame.view(&query.picture, &nothing);
    let tokens = model.tokenizer.encode(to_samples(&view, &model.device.device))?;

    let (mut done, of) = (0, passes as usize * lattice.len());
    let (mut sums, mut map, mut flow) = (vec![0.0; lattice.len()], None, ControlFlow::Continue(()));
    for pass in 0..passes {
        let sequence = order::arrange(order, &lattice, query.seed.wrapping_add(pass))?;
        let seed = query.seed;
        likelihood::read(model.network.as_mut(), query.class, (order, &sequence), &tokens, seed, &mut |read| {
            read.iter().for_each(|token| sums[token.site.index()] += token.bits);
            done += read.len();
            if done == (pass as usize + 1) * lattice.len() {
                let mean = sums.iter().map(|sum| sum / (pass + 1) as f64).collect();
                map = Some(SurpriseMap::new(query, &lattice, tokens.clone(), mean));
                flow = report(Progress { done, of, map: map.clone() });
            } else {
                flow = report(Progress { done, of, map: None });
            }
            flow
        })?;
        if flow.is_break() {
            break;
        }
    }
    Ok(map)
}

/// The order in which a picture is read, and how often.
fn course(abilities: &Abilities, query: &Query) -> Result<(&'static str, u64)> {
    let (order, passes) = match (query.order, abilities.orders) {
        (Some(order), _) => (order, 1),
        (None, Orders::Any) => (abilities.orders.native(), ORDERS),
        (None, _) => (abilities.orders.native(), 1),
    };
    abilities.check_course(order, abilities.schedule(None))?;
    Ok((order, passes))
}

impl SurpriseMap {
    fn new(query: &Query, lattice: &Lattice, tokens: Vec<Token>, bits: Vec<f64>) -> Self {
        let (grid, frame) = (lattice.finest(), query.frame);
        let area = query.area.intersect(query.picture.rect());
        let first = lattice.len() - grid.len();
        let places = on_finest(lattice, &bits);
        let cells = (0..grid.len()).map(|index| {
            let (row, col) = (index / grid.cols, index % grid.cols);
            let rect = frame.site_rect(row, col, grid.rows, grid.cols).intersect(query.picture.rect());
            Cell { site: Site((first + index) as u32), row, col, rect, bits: places[index] }
        });
        let cells = cells.filter(|cell| !cell.rect.intersect(area).is_empty()).collect();
        Self { frame, lattice: lattice.clone(), tokens, bits, cells }
    }

    /// The bits of all tokens together.
    pub fn total(&self) -> f64 {
        self.bits.iter().sum()
    }

    /// The bits of the tokens of interest on average.
    pub fn mean(&self) -> f64 {
        self.cells.iter().map(|cell| cell.bits).sum::<f64>() / self.cells.len().max(1) as f64
    }

    /// The least and the most bits that tokens of interest have.
    pub fn range(&self) -> (f64, f64) {
        let bits = || self.cells.iter().map(|cell| cell.bits);
        (bits().reduce(f64::min).unwrap_or(0.0), bits().reduce(f64::max).unwrap_or(0.0))
    }

    /// Where so many bits stand in that range, 0 to 1, for colours; the range is widened so that noise does not look like news.
    pub fn scale(&self) -> impl Fn(f64) -> f32 + use<> {
        let (least, most) = self.range();
        move |bits| ((bits - least) / (most - least).max(LEAST_RANGE)) as f32
    }

    /// The mean bits of each scale's tokens, from coarse to fine.
    pub fn scales(&self) -> Vec<f64> {
        let scale = |scale: usize| {
            let sites = self.lattice.scale(scale);
            let bits = &self.bits[sites.start as usize..sites.end as usize];
            bits.iter().sum::<f64>() / bits.len().max(1) as f64
        };
        (0..self.lattice.scales().len()).map(scale).collect()
    }

    /// The token at a canvas pixel.
    pub fn at(&self, x: i64, y: i64) -> Option<&Cell> {
        self.cells.iter().find(|cell| cell.rect.contains_pixel(x, y))
    }

    /// For every token of interest whether it is selected. A share is rounded to whole tokens; among equally surprising ones
    /// those further up come first.
    pub fn selected(&self, threshold: Threshold) -> Vec<bool> {
        match threshold {
            Threshold::Bits(bits) => self.cells.iter().map(|cell| cell.bits >= bits).collect(),
            Threshold::Share(share) => {
                let count = (share.clamp(0.0, 1.0) * self.cells.len() as f64).round() as usize;
                let mut ranked: Vec<usize> = (0..self.cells.len()).collect();
                ranked.sort_by(|a, b| self.cells[*b].bits.total_cmp(&self.cells[*a].bits));
                let mut selected = vec![false; self.cells.len()];
                ranked[..count].iter().for_each(|index| selected[*index] = true);
                selected
            }
        }
    }

    /// The pixels of the selected tokens on a canvas of this size. Those that another token shares stay out, so that no other
    /// is made anew with them.
    pub fn mask(&self, threshold: Threshold, width: u32, height: u32) -> Mask {
        let mut mask = Mask::new(width, height);
        let selected = self.selected(threshold);
        let chosen = || self.cells.iter().zip(&selected).filter(|(_, selected)| **selected).map(|(cell, _)| cell);
        chosen().for_each(|cell| {
            mask.fill_rect(cell.rect, 255);
        });
        let Grid { rows, cols } = self.lattice.finest();
        let mut kept = vec![true; rows * cols];
        chosen().for_each(|cell| kept[cell.row * cols + cell.col] = false);
        for index in (0..kept.len()).filter(|index| kept[*index]) {
            mask.fill_rect(self.frame.site_rect(index / cols, index % cols, rows, cols), 0);
        }
        mask
    }
}

/// For every place on the finest scale, in raster order, the mean over the scales of the bits of what lies there.
fn on_finest(lattice: &Lattice, bits: &[f64]) -> Vec<f64> {
    let finest = lattice.finest();
    let place = |index: usize| {
        let scales = lattice.scales().iter().enumerate().map(|(scale, grid)| {
            let first = lattice.scale(scale).start as usize;
            let rows = over(index / finest.cols, finest.rows, grid.rows);
            let cols = over(index % finest.cols, finest.cols, grid.cols);
            let row = |(row, down): &(usize, f64)| {
                cols.iter().map(|(col, along)| down * along * bits[first + row * grid.cols + col]).sum::<f64>()
            };
            rows.iter().map(row).sum::<f64>()
        });
        scales.sum::<f64>() / lattice.scales().len().max(1) as f64
    };
    (0..finest.len()).map(place).collect()
}

/// A side is cut into `fine` parts, and into `coarse` ones: which of the latter lie over part `index` of the former, and over
/// which share of it.
fn over(index: usize, fine: usize, coarse: usize) -> Vec<(usize, f64)> {
    // In units of which the side has `fine * coarse`.
    let (start, end) = (index * coarse, (index + 1) * coarse);
    let overlap = |part: usize| (end.min((part + 1) * fine) - start.max(part * fine)) as f64 / coarse as f64;
    (start / fine..end.div_ceil(fine)).map(|part| (part, overlap(part))).collect()
}
