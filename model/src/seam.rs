//! Where what was made meets what was there: how far tokens are made anew, how soft the edge is, and the correction of
//! colours at it. None of this changes a pixel outside of the mask.

use serde::{Deserialize, Serialize};

use crate::composite::{self, Resampled};
use crate::frame::Frame;
use crate::membrane::Membrane;
use crate::picture::{Combine, MOST_EDGE, Mask, Picture, Rect};
use crate::{Error, Result};
use image::RgbImage;

/// A pixel less opaque than this (of 255) says nothing about the colours at the edge.
const OPAQUE: f32 = 128.0;

/// Over so many of the model's pixels from the edge inwards new detail comes in gradually: the outermost ones are the smooth
/// continuation of what is outside, so that no line that was drawn ends or begins at the edge.
const DETAIL: f32 = 2.0;

/// How the edge of the mask is treated. Lengths are in canvas pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Seam {
    /// Tokens up to so far beyond the mask are made anew as well, so that what is drawn runs on beneath the edge. The
    /// pixels there stay.
    pub grow: u32,
    /// Over so many pixels from the mask's edge inwards the new pixels come in gradually.
    pub feather: u32,
    /// So far into the mask the colours of the edge are carried; 0 is all through.
    pub blend: u32,
    /// Whether colours are corrected at the edge: the difference between the picture and what the tokenizer makes of it
    /// just outside of the mask is carried into it by a membrane, the smoothest surface with those values at the edge.
    pub matched: bool,
    /// Where several passes meet, so many of the model's own pixels at the rim of a pass are made again by the next one, which
    /// sees what lies on both sides of them (see [`shared`](crate::frame::shared)). Runs that were written down before this
    /// was known have none.
    #[serde(default)]
    pub overlap: u32,
}

/// As many pixels as the tokenizers' strides: one token.
const OVERLAP: u32 = 16;

impl Default for Seam {
    fn default() -> Self {
        Self { grow: 0, feather: 0, blend: 0, matched: true, overlap: OVERLAP }
    }
}

impl Seam {
    /// Nothing is done to the edge.
    pub const PLAIN: Self = Self { grow: 0, feather: 0, blend: 0, matched: false, overlap: 0 };

    /// Refuses lengths that are too large.
    ///
    /// # Errors
    /// Names the control.
    pub fn check(&self) -> Result<()> {
        let lengths =
            [("grow", self.grow), ("feather", self.feather), ("blend", self.blend), ("overlap", self.overlap)];
        for (control, length) in lengths {
            if length > MOST_EDGE {
                let cause = format!("{length} pixels are more than {MOST_EDGE}");
                return Err(Error::control(control, cause, format!("Use 0 to {MOST_EDGE}")));
            }
        }
        Ok(())
    }

    /// What is made anew: the mask, grown.
    pub fn made(&self, mask: &Mask) -> Mask {
        mask.grown(self.grow)
    }

    /// The share of the new pixels: the mask, feathered inwards.
    pub fn shares(&self, mask: &Mask) -> Mask {
        inwards(mask, self.feather)
    }

    /// What a preview shows of a pass: the part of the mask that it makes, without what it grew by.
    ///
    /// # Errors
    /// If the masks are not of one size.
    pub fn shown(mask: &Mask, made: &Mask) -> Result<Mask> {
        mask.combined(made, Combine::Intersect)
    }

    /// Puts a decoded frame back into the picture. `shares` says how much of each new pixel comes in, `open` what the frame
    /// was made without knowing: outside of it the frame shows the picture itself, from which the error of its colours is
    /// measured.
    pub fn join(&self, picture: &Picture, shares: &Mask, open: &Mask, frame: &Frame, decoded: &RgbImage) -> Picture {
        if !self.matched {
            return composite::composite(picture, shares, frame, decoded);
        }
        let area = open.bounds().unwrap_or_default();
        let area = Rect::new(area.x - 1, area.y - 1, area.width + 2, area.height + 2);
        let area = area.intersect(frame.rect).intersect(picture.rect());
        if area.is_empty() || decoded.is_empty() {
            return picture.clone();
        }
        let (mut error, mut there) = self.stretched(picture, open, frame, decoded, area);
        if !error.is_held() {
            return composite::composite(picture, shares, frame, decoded);
        }
        let depths = error.depths();
        error.settle();
        there.settle();
        if self.blend > 0 {
            error.scale(|index| 1.0 - (depths[index] as f32 / self.blend as f32).min(1.0));
        }
        let reach = (DETAIL * frame.scale()).max(DETAIL) + 1.0;
        let smooth = |index: usize| (1.0 - depths[index] as f32 / reach).max(0.0);
        let correct = |x: u32, y: u32, made: [f32; 3]| {
            let Some(index) = error.index(x, y) else { return made };
            let (error, there, smooth) = (error.level(index), there.level(index), smooth(index));
            [0, 1, 2].map(|channel| {
                let corrected = made[channel] + error[channel];
                (smooth * there[channel] + (1.0 - smooth) * corrected).clamp(0.0, 255.0)
            })
        };
        composite::corrected(picture, shares, frame, decoded, correct)
    }

    /// Two membranes over the open part of `area`, fixed at the pixels just outside: of the error of the decoded frame's
    /// colours, and of the picture's own colours.
    fn stretched(
        &self,
        picture: &Picture,
        open: &Mask,
        frame: &Frame,
        decoded: &RgbImage,
        area: Rect,
    ) -> (Membrane, Membrane) {
        let (width, height) = (area.width as usize, area.height as usize);
        let bytes = open.copied(area);
        let is_open = |x: usize, y: usize| bytes[y * width + x] > 0;
        let beside_open = |x: usize, y: usize| {
            let (rows, columns) = (y.saturating_sub(1)..height.min(y + 2), x.saturating_sub(1)..width.min(x + 2));
            rows.into_iter().any(|y| columns.clone().any(|x| is_open(x, y)))
        };
        let (mut error, mut colours) = (Membrane::new(area), Membrane::new(area));
        let resampled = Resampled::new(picture, frame, decoded, area);
        let (mut made, mut there) = (Vec::new(), Vec::new());
        for y in 0..height {
            resampled.row(y, &mut made);
            picture.read_own_row(area.y as u32 + y as u32, area.x as u32..area.right() as u32, &mut there);
            for (x, (made, there)) in made.iter().zip(&there).enumerate() {
                let index = y * width + x;
                if is_open(x, y) {
                    error.free(index);
                    colours.free(index);
                } else if there[3] >= OPAQUE && beside_open(x, y) {
                    error.fix(index, [0, 1, 2].map(|channel| there[channel] - made[channel]));
                    colours.fix(index, [there[0], there[1], there[2]]);
                }
            }
        }
        (error, colours)
    }
}

/// The mask softened from its edge inwards over so many pixels: nothing beyond it changes. A mask that is too narrow for that
/// keeps its middle.
fn inwards(mask: &Mask, radius: u32) -> Mask {
    let mut half = radius.min(MOST_EDGE).div_ceil(2);
    let mut inner = mask.shrunk(half);
    while half > 0 && inner.is_empty() {
        half /= 2;
        inner = mask.shrunk(half);
    }
    // Both are of one size.
    inner.feathered(half).combined(mask, Combine::Intersect).unwrap_or(inner)
}
