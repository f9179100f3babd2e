//! Boldness: temperature painted per token.
//!
//! A layer over the canvas says how boldly tokens are drawn where: each token's temperature is multiplied by a factor
//! between [`CALM`] and [`BOLD`], on a logarithmic scale. Guidance and everything else stay as they are, and so does the
//! number that decides a draw: a layer that is neutral everywhere changes no token.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};

use crate::frame::Frame;
use crate::lattice::{Grid, Lattice};
use crate::picture::{Mask, Picture, Rect};
use crate::{Error, Result};

/// The factor of black, the calmest.
pub const CALM: f32 = 0.25;
/// The factor of white, the boldest.
pub const BOLD: f32 = 4.0;
/// From neutral to either end, in factors of two.
const OCTAVES: f64 = 2.0;
/// From neutral to either end, in levels of grey. Of 256 levels there are two in the middle, and both are neutral.
const LEVELS: i32 = 127;
/// The level of what was not painted.
const NEUTRAL: u8 = 128;

/// How far a level lies from neutral: -127 the calmest, 127 the boldest.
fn signed(level: u8) -> i32 {
    let level = i32::from(level);
    if level > LEVELS { level - LEVELS - 1 } else { level - LEVELS }
}

/// The factor at so much of the way from neutral, -1 to 1.
fn factor_at(share: f64) -> f64 {
    (OCTAVES * share).exp2()
}

/// The factor on the temperature that a level of grey means: black [`CALM`], the two levels in the middle exactly 1, white
/// [`BOLD`], and equal ratios between neighbours.
pub fn factor_of(level: u8) -> f32 {
    factor_at(f64::from(signed(level)) / f64::from(LEVELS)) as f32
}

/// The level of grey that comes nearest to a factor.
pub fn level_of(factor: f32) -> u8 {
    let share = (f64::from(factor).log2() / OCTAVES).clamp(-1.0, 1.0);
    let steps = (share * f64::from(LEVELS)).round() as i32;
    (if steps < 0 { steps + LEVELS } else { steps + LEVELS + 1 }) as u8
}

/// A layer of boldness over a canvas. A clone is cheap. In JSON it is a grey PNG in base64.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Boldness {
    /// A level for every canvas pixel; none where all are neutral.
    layer: Option<Mask>,
}

impl Boldness {
    /// A layer of levels, one for each canvas pixel.
    pub fn new(layer: Mask) -> Self {
        let neutral = layer.is_all(|level| signed(level) == 0);
        Self { layer: (!neutral).then_some(layer) }
    }

    /// Reads a grey picture for a canvas of this size: black is calm, white is bold, 50 % neutral.
    ///
    /// # Errors
    /// As [`Picture::open`], and if it is of another size than the canvas.
    pub fn open_for(path: impl AsRef<Path>, width: u32, height: u32) -> Result<Self> {
        let layer = Mask::open(&path)?;
        if (layer.width(), layer.height()) == (width, height) {
            return Ok(Self::new(layer));
        }
        let (has, wants) = (format!("{} × {}", layer.width(), layer.height()), format!("{width} × {height}"));
        let cause = format!("the boldness is {has} pixels, and the picture {wants}");
        Err(Error::file(path, cause, "Give a grey picture of the picture's size: 50 % is neutral"))
    }

    /// Whether it changes nothing.
    pub fn is_neutral(&self) -> bool {
        self.layer.is_none()
    }

    /// The levels; none where all are neutral.
    pub fn layer(&self) -> Option<&Mask> {
        self.layer.as_ref()
    }

    /// Refuses a layer for another canvas.
    ///
    /// # Errors
    /// Names both sizes.
    pub fn check(&self, width: u32, height: u32) -> Result<()> {
        match &self.layer {
            Some(layer) if (layer.width(), layer.height()) != (width, height) => {
                let cause = format!("it is {} × {}, the picture {width} × {height}", layer.width(), layer.height());
                Err(Error::control("boldness", cause, "Clear it, or paint it again"))
            }
            _ => Ok(()),
        }
    }

    /// The same on a canvas that has grown by so many pixels on the left, top, right and bottom: neutral there.
    ///
    /// # Errors
    /// As [`Picture::extended`].
    pub fn extended(&self, [left, top, right, bottom]: [u32; 4]) -> Result<Self> {
        let grown = self.layer.as_ref().map(|layer| layer.extended(left, top, right, bottom, NEUTRAL));
        Ok(Self { layer: grown.transpose()? })
    }

    /// The factors on the temperature, site by site, of what a model sees of the canvas; empty where all are 1.
    ///
    /// A token of the finest grid has the mean, on the logarithmic scale, of the canvas pixels that it touches; what lies
    /// outside of the canvas plays no part. A token of a coarser scale (VAR) has the mean of the finest tokens that it
    /// covers, each by the share of it that is covered.
    pub fn factors(&self, frame: &Frame, lattice: &Lattice) -> Vec<f32> {
        let Some(layer) = &self.layer else { return Vec::new() };
        let grid = lattice.finest();
        let sites = (0..grid.rows).flat_map(|row| (0..grid.cols).map(move |col| (row, col)));
        let finest: Vec<f64> =
            sites.map(|(row, col)| mean(layer, frame.site_rect(row, col, grid.rows, grid.cols))).collect();
        if finest.iter().all(|share| *share == 0.0) {
            return Vec::new();
        }
        let scales = lattice.scales().iter().flat_map(|scale| covered(&finest, grid, *scale));
        scales.map(|share| factor_at(share) as f32).collect()
    }
}

/// The factor on the temperature of a token that touches these canvas pixels of a layer.
pub fn mean_factor(layer: &Mask, rect: Rect) -> f32 {
    factor_at(mean(layer, rect)) as f32
}

/// The mean of what lies in a rectangle, -1 to 1; neutral outside of the canvas.
fn mean(layer: &Mask, rect: Rect) -> f64 {
    let rect = rect.intersect(layer.rect());
    if rect.is_empty() {
        return 0.0;
    }
    let (sum, count) = match layer.flat(rect) {
        Some(level) => (i64::from(signed(level)), 1.0),
        None => {
            let levels = layer.copied(rect);
            (levels.iter().map(|level| i64::from(signed(*level))).sum(), levels.len() as f64)
        }
    };
    sum as f64 / (count * f64::from(LEVELS))
}

/// For every site of a coarser grid over the same picture the mean of the finest values that it covers.
fn covered(finest: &[f64], grid: Grid, scale: Grid) -> Vec<f64> {
    if scale == grid {
        return finest.to_vec();
    }
    // Which finest rows or columns lie in one of the scale, and how much of each, in parts of `coarse`.
    let along = |index: usize, coarse: usize, fine: usize| {
        let (from, to) = (index * fine, (index + 1) * fine);
        let share = move |at: usize| ((at + 1) * coarse).min(to) - (at * coarse).max(from);
        (from / coarse..to.div_ceil(coarse)).map(move |at| (at, share(at) as f64))
    };
    let sites = (0..scale.rows).flat_map(|row| (0..scale.cols).map(move |col| (row, col)));
    let value = |(row, col)| {
        let (mut sum, mut area) = (0.0, 0.0);
        for (y, high) in along(row, scale.rows, grid.rows) {
            for (x, wide) in along(col, scale.cols, grid.cols) {
                sum += high * wide * finest[y * grid.cols + x];
                area += high * wide;
            }
        }
        sum / area
    };
    sites.map(value).collect()
}

/// A stroke of the boldness brush, as far as it has come. Where it crosses itself it covers no more than once.
#[derive(Debug, Clone)]
pub struct BoldStroke {
    before: Mask,
    cover: Mask,
    layer: Mask,
    level: u8,
}

impl BoldStroke {
    /// Begins a stroke over what is there, on a canvas of this size in pixels, that brings what it covers to a factor; 1
    /// takes back to neutral.
    pub fn new(before: &Boldness, (width, height): (u32, u32), factor: f32) -> Self {
        let neutral = || {
            let mut layer = Mask::new(width, height);
            layer.fill_rect(layer.rect(), NEUTRAL);
            layer
        };
        let before = before.layer.clone().unwrap_or_else(neutral);
        Self { cover: Mask::new(width, height), layer: before.clone(), before, level: level_of(factor) }
    }

    /// Goes on along a line, as [`Mask::taper`] does. Returns the pixels that it may have changed.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), radii: (f32, f32), hardness: f32) -> Rect {
        let touched = self.cover.taper(from, to, radii, hardness, false);
        self.layer.lay(touched, &self.before, &self.cover, self.level)
    }

    /// The layer as it is now.
    pub fn layer(&self) -> &Mask {
        &self.layer
    }

    /// Whether it has changed nothing.
    pub fn is_idle(&self) -> bool {
        self.layer == self.before
    }

    /// Ends it: what has come of the layer.
    pub fn end(self) -> Boldness {
        Boldness::new(self.layer)
    }
}

impl Serialize for Boldness {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        let png = self.layer.as_ref().map(Mask::png_bytes).transpose().map_err(ser::Error::custom)?;
        serializer.serialize_str(&STANDARD.encode(png.unwrap_or_default()))
    }
}

impl<'de> Deserialize<'de> for Boldness {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        if text.is_empty() {
            return Ok(Self::default());
        }
        let png = STANDARD.decode(text).map_err(de::Error::custom)?;
        let grey = Picture::decode("boldness", &png).map_err(de::Error::custom)?.picture.image().to_luma8();
        let layer = Mask::from_bytes(grey.width(), grey.height(), grey.into_raw());
        layer.map(Self::new).map_err(de::Error::custom)
    }
}
