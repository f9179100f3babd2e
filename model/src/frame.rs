//! The part of the canvas that the model sees: where it lies, what it shows, and which sites the mask re-samples.

use crate::lattice::{Grid, Lattice, Site};
use crate::picture::{Mask, Picture, Rect};
use crate::{Error, Result};
use image::{Rgb, RgbImage};
use std::ops::Range;

mod sequence;

pub use sequence::{Pass, sequence, shared};

/// A canvas up to this much longer than wide (or wider than long) may be seen whole...
const SQUARISH: f64 = 1.35;

/// ...when its longer side is at most so many times the model's own.
const WHOLE_SCALE: u32 = 4;

/// The frame is at least this much longer than the mask along the canvas's longer side: an eighth of the mask on
/// either side is the least from which a model can tell what goes on.
const LEAST_CONTEXT: f64 = 1.25;

/// What stands in when nothing is known, and behind what is transparent.
const MID_GREY: f32 = 127.5;

/// The most tokens that a canvas may need, as a multiple of those in training; RandAR's largest have four times as many.
const MOST_EXTENDED: usize = 16;

/// On how many tokens a model works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Extent {
    /// As many as in training, for a square of the canvas.
    #[default]
    Trained,
    /// So many times as many along each axis, for the same square: RandAR's resolution extrapolation.
    Refined(usize),
    /// As many as the whole canvas has room for, when its shorter side is the trained one: RandAR's outpainting.
    Canvas,
}

impl Extent {
    /// The lattice for a canvas of so many pixels, given the trained one.
    ///
    /// # Errors
    /// If a canvas is so oblong that it needs more than 16 times the trained number of tokens.
    pub fn lattice(&self, trained: &Lattice, width: u32, height: u32) -> Result<Lattice> {
        let Grid { rows, cols } = trained.finest();
        // Where the longer side does not divide evenly, the last token reaches beyond the canvas.
        let along = |tokens: usize| {
            let (shorter, longer) = (u64::from(width.min(height)).max(1), u64::from(width.max(height)));
            (longer * tokens as u64).div_ceil(shorter) as usize
        };
        let lattice = match self {
            Self::Trained => trained.clone(),
            Self::Refined(factor) => Lattice::refined(trained.finest(), *factor),
            Self::Canvas if width >= height => Lattice::grid(rows, along(cols)),
            Self::Canvas => Lattice::grid(along(rows), cols),
        };
        let most = MOST_EXTENDED * trained.len();
        if lattice.len() > most {
            let cause = format!("{width} × {height} needs {} tokens at once, more than {most}", lattice.len());
            return Err(Error::control("canvas", cause, "Choose a less oblong one, or a square of it"));
        }
        Ok(lattice)
    }

    /// Where a model looks on a canvas of so many pixels whose mask lies within `bounds`, and the tokens it works on there,
    /// given those of its own picture and their stride.
    ///
    /// # Errors
    /// If the canvas is too oblong to be seen at once.
    pub fn frame(
        &self,
        bounds: Rect,
        (width, height): (u32, u32),
        trained: &Lattice,
        stride: u32,
    ) -> Result<(Frame, Lattice)> {
        let lattice = self.lattice(trained, width, height)?;
        let grid = lattice.finest();
        let frame = match self {
            Self::Canvas => Frame::whole(width, height, grid, stride),
            Self::Trained | Self::Refined(_) => Frame::around(bounds, width, height, stride * grid.rows as u32),
        };
        Ok((frame, lattice))
    }

    /// The only order in which it can be worked on, where there is one: a refined picture starts with its coarse tokens.
    pub fn order(&self) -> Option<&'static str> {
        match self {
            Self::Refined(_) => Some("hierarchical"),
            Self::Trained | Self::Canvas => None,
        }
    }

    /// The share of tokens that spatial contextual guidance drops: that of the published code where the resolution is
    /// extrapolated, that of the paper elsewhere.
    pub fn dropped(&self) -> f32 {
        match self {
            Self::Refined(_) => 0.5,
            Self::Trained | Self::Canvas => 0.25,
        }
    }
}

/// A part of the canvas, and the size at which the model sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Frame {
    /// The part, in canvas pixels. It may reach outside of the canvas; what it shows there is mirrored.
    pub rect: Rect,
    /// Width and height of what the model sees, in its own pixels.
    pub size: [u32; 2],
}

impl Frame {
    /// Places a frame around what the mask touches, all in canvas pixels except `model_size`, the model's own side.
    ///
    /// 1. A canvas smaller than the model's size is seen whole. So is one that is nearly square and not more than four times
    ///    that size: the models were trained on whole scenes. The square has the canvas's longer side.
    /// 2. Otherwise the mask fills about half of the square's side, but the square is not smaller than the model's
    ///    size, where a closer look would only blur, and no larger than the canvas.
    /// 3. It is never smaller than the mask, nor without some of the canvas on either side of a long mask. Only that,
    ///    and rule 1, make it reach outside of the canvas, evenly on both sides of the shorter direction.
    ///
    /// The square is centred on the mask as far as the canvas's edges allow.
    pub fn around(bounds: Rect, width: u32, height: u32, model_size: u32) -> Self {
        let side = side_around(bounds, width, height, model_size);
        let x = place(bounds.x, bounds.width, side, width);
        let y = place(bounds.y, bounds.height, side, height);
        Self { rect: Rect::new(x, y, side, side), size: [model_size; 2] }
    }

    /// The whole canvas as a model sees it whose tokens, `stride` of its own pixels wide, fill the canvas's shorter side.
    /// The longer side is centred where it does not divide evenly.
    pub fn whole(width: u32, height: u32, grid: Grid, stride: u32) -> Self {
        let side = |tokens: usize, other: u32, others: usize| {
            (u64::from(other) * tokens as u64).div_ceil(others.max(1) as u64) as u32
        };
        let (wide, high) = if width >= height {
            (side(grid.cols, height, grid.rows), height)
        } else {
            (width, side(grid.rows, width, grid.cols))
        };
        let rect = Rect::new(place(0, width, wide, width), place(0, height, high, height), wide, high);
        Self { rect, size: [stride * grid.cols as u32, stride * grid.rows as u32] }
    }

    /// Canvas pixels per model pixel.
    pub fn scale(&self) -> f32 {
        self.rect.width as f32 / self.size[0].max(1) as f32
    }

    /// The scale in words: `612 px seen at 256`, or `900 × 300 px seen at 768 × 256`.
    pub fn describe(&self) -> String {
        match self.size {
            [width, height] if width == height => format!("{} px seen at {width}", self.rect.width),
            [width, height] => format!("{} × {} px seen at {width} × {height}", self.rect.width, self.rect.height),
        }
    }

    /// The canvas pixels that a site of a grid of tokens touches. Where the frame does not divide evenly, neighbours
    /// share the pixels that lie in both.
    pub fn site_rect(&self, row: usize, col: usize, rows: usize, cols: usize) -> Rect {
        let (left, right) = part(self.rect.width, col, cols);
        let (top, bottom) = part(self.rect.height, row, rows);
        let (x, y) = (self.rect.x, self.rect.y);
        Rect::between(x + left, y + top, x + right, y + bottom)
    }

    /// The canvas pixels that a site of a lattice touches; none if it is not on the lattice.
    pub fn rect_of(&self, lattice: &Lattice, site: Site) -> Option<Rect> {
        let (grid, row, col) = lattice.cell(site)?;
        Some(self.site_rect(row, col, grid.rows, grid.cols))
    }

    /// The sites to be sampled again, row by row: those with any pixel of the mask above zero. All others are given,
    /// among them those that lie wholly outside of the canvas.
    pub fn masked_sites(&self, mask: &Mask, rows: usize, cols: usize) -> Vec<bool> {
        let sites = (0..rows).flat_map(|row| (0..cols).map(move |col| (row, col)));
        sites.map(|(row, col)| mask.touches(self.site_rect(row, col, rows, cols))).collect()
    }

    /// What the model sees: of [`Frame::size`], 8-bit RGB, resampled with an anti-aliased Catmull-Rom kernel on the
    /// encoded values, as the models' training pictures were.
    ///
    /// - What lies outside of the canvas is its mirror image.
    /// - What is transparent lies over mid grey, which keeps the shape of a cut-out figure.
    /// - What the mask touches is filled in smoothly from its surroundings, so that neither the old content nor the
    ///   emptiness of an added margin reaches the tokens of the neighbours; mid grey when nothing else is in sight.
    pub fn view(&self, picture: &Picture, mask: &Mask) -> RgbImage {
        let [width, height] = self.size.map(|side| side as usize);
        let seen = if picture.rect().is_empty() { vec![[0.0; 4]; width * height] } else { self.known(picture, mask) };
        let filled = fill_in(seen, width, height);
        RgbImage::from_fn(self.size[0], self.size[1], |x, y| {
            let [red, green, blue] = filled[y as usize * width + x as usize];
            Rgb([red, green, blue].map(|level| (level + 0.5) as u8))
        })
    }

    /// The view with its holes: red, green, blue and 1 where most of what a pixel is made of is known, all zero
    /// elsewhere.
    fn known(&self, picture: &Picture, mask: &Mask) -> Vec<[f32; 4]> {
        let [width, height] = self.size;
        let narrowed = self.narrowed(picture, mask);
        let mut seen = vec![[0.0; 4]; width as usize * height as usize];
        for (row, taps) in seen.chunks_exact_mut(width.max(1) as usize).zip(taps(self.rect.height, height, 0..height)) {
            taps.add(&narrowed, row);
            row.iter_mut().for_each(|pixel| *pixel = settled(*pixel));
        }
        seen
    }

    /// The frame resampled in width only: a line of the view's width for each of its rows, colour times known share.
    fn narrowed(&self, picture: &Picture, mask: &Mask) -> Vec<[f32; 4]> {
        let columns = taps(self.rect.width, self.size[0], 0..self.size[0]);
        let within = !self.rect.is_empty() && picture.rect().contains(Rect { y: 0, height: 1, ..self.rect });
        let read = if within { self.rect.x as u32..self.rect.right() as u32 } else { 0..picture.width() };
        let sources: Vec<u32> = (self.rect.x..self.rect.right()).map(|x| mirror(x, picture.width())).collect();
        let mut narrowed = Vec::with_capacity(columns.len() * self.rect.height as usize);
        let (mut pixels, mut line) = (Vec::new(), Vec::new());
        for y in self.rect.y..self.rect.bottom() {
            let y = mirror(y, picture.height());
            picture.read_row(y, read.clone(), &mut pixels);
            line.clear();
            line.extend(
                sources
                    .iter()
                    .map(|&x| if mask.get(x, y) > 0 { [0.0; 4] } else { over_grey(pixels[(x - read.start) as usize]) }),
            );
            narrowed.extend(columns.iter().map(|taps| taps.sum(&line)));
        }
        narrowed
    }
}

/// The side of [`Frame::around`], in canvas pixels.
fn side_around(bounds: Rect, width: u32, height: u32, model_size: u32) -> u32 {
    let (shorter, longer) = (width.min(height), width.max(height));
    if is_seen_whole(width, height, model_size) {
        return longer.max(1);
    }
    let (along, across) = if width >= height { (bounds.width, bounds.height) } else { (bounds.height, bounds.width) };
    let wanted = along.max(across).saturating_mul(2).max(model_size).min(shorter);
    let least = ((f64::from(along) * LEAST_CONTEXT).ceil() as u32).min(longer).max(across);
    wanted.max(least).max(1)
}

/// Whether a canvas is shown to the model as a whole, whatever the mask.
fn is_seen_whole(width: u32, height: u32, model_size: u32) -> bool {
    let (shorter, longer) = (width.min(height), width.max(height));
    let squarish = f64::from(longer) <= SQUARISH * f64::from(shorter);
    longer <= model_size || (squarish && longer <= model_size.saturating_mul(WHOLE_SCALE))
}

/// Where a square of this side begins in one direction: centred on the mask within the canvas, or on the canvas when
/// it is larger.
fn place(start: i64, length: u32, side: u32, canvas: u32) -> i64 {
    let room = i64::from(canvas) - i64::from(side);
    if room < 0 { room.div_euclid(2) } else { (start + (i64::from(length) - i64::from(side)) / 2).clamp(0, room) }
}

/// The pixels that part `index` of `count` of a side touches, from the side's start, the end exclusive.
fn part(side: u32, index: usize, count: usize) -> (i64, i64) {
    let (side, index, count) = (u64::from(side), index as u64, count.max(1) as u64);
    ((side * index / count) as i64, (side * (index + 1)).div_ceil(count) as i64)
}

/// The pixel of a row or column of `length` that is seen at `position` when it is mirrored at both ends for ever.
fn mirror(position: i64, length: u32) -> u32 {
    let length = i64::from(length);
    let folded = position.rem_euclid(2 * length);
    folded.min(2 * length - 1 - folded) as u32
}

/// A pixel over mid grey, wholly known.
fn over_grey([red, green, blue, alpha]: [f32; 4]) -> [f32; 4] {
    let over = |level: f32| MID_GREY + (level - MID_GREY) * (alpha / 255.0);
    [over(red), over(green), over(blue), 1.0]
}

/// A resampled pixel from its known part, when that is at least half of it; otherwise unknown.
fn settled([red, green, blue, known]: [f32; 4]) -> [f32; 4] {
    let level = |sum: f32| (sum / known).clamp(0.0, 255.0);
    if known < 0.5 { [0.0; 4] } else { [level(red), level(green), level(blue), 1.0] }
}

/// Fills the unknown pixels of a view from the known ones: what a view of half the size knows, itself filled in the same
/// way, is spread smoothly below what is known here. Pixels are colour times known share, and that share.
fn fill_in(pixels: Vec<[f32; 4]>, width: usize, height: usize) -> Vec<[f32; 3]> {
    if width.max(height) <= 1 || pixels.iter().all(|pixel| pixel[3] >= 1.0) {
        let plain = |[red, green, blue, known]: [f32; 4]| {
            if known > 0.0 { [red, green, blue].map(|sum| sum / known) } else { [MID_GREY; 3] }
        };
        return pixels.into_iter().map(plain).collect();
    }
    let half = [width.div_ceil(2), height.div_ceil(2)];
    let coarse = fill_in(halved(&pixels, width, height), half[0], half[1]);
    let blended = pixels.iter().enumerate().map(|(index, pixel)| {
        let below = doubled(&coarse, half, index % width, index / width);
        std::array::from_fn(|channel| pixel[channel] + (1.0 - pixel[3]) * below[channel])
    });
    blended.collect()
}

/// A view at half its size: each pixel the mean of what is known of up to four, wholly known once they add up to one.
fn halved(pixels: &[[f32; 4]], width: usize, height: usize) -> Vec<[f32; 4]> {
    let half = width.div_ceil(2);
    let pixel = |index: usize| {
        let (x, y) = (index % half * 2, index / half * 2);
        let mut sum = [0.0; 4];
        for y in y..(y + 2).min(height) {
            for pixel in &pixels[y * width..][x..(x + 2).min(width)] {
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
            }
        }
        let share = sum[3].max(1.0);
        sum.map(|value| value / share)
    };
    (0..half * height.div_ceil(2)).map(pixel).collect()
}

/// The colour of a view of the size `half` at a pixel of the view of twice its size, interpolated linearly.
fn doubled(coarse: &[[f32; 3]], half: [usize; 2], x: usize, y: usize) -> [f32; 3] {
    let near = |position: usize, half: usize| {
        let other = if position.is_multiple_of(2) { (position / 2).saturating_sub(1) } else { position / 2 + 1 };
        (position / 2, other.min(half - 1))
    };
    let ((x0, x1), (y0, y1)) = (near(x, half[0]), near(y, half[1]));
    let at = |x: usize, y: usize| coarse[y * half[0] + x];
    let (a, b, c, d) = (at(x0, y0), at(x1, y0), at(x0, y1), at(x1, y1));
    std::array::from_fn(|i| 0.5625 * a[i] + 0.1875 * (b[i] + c[i]) + 0.0625 * d[i])
}

/// How one pixel of a resampled line is made: neighbours in the source, and their weights, which add up to one.
pub(crate) struct Taps {
    first: usize,
    weights: Vec<f32>,
}

impl Taps {
    /// The weighted sum of pixels of a line.
    pub(crate) fn sum<const N: usize>(&self, line: &[[f32; N]]) -> [f32; N] {
        let mut sum = [0.0; N];
        for (pixel, weight) in line[self.first..].iter().zip(&self.weights) {
            sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * value);
        }
        sum
    }

    /// Adds the weighted sum of whole lines, each as long as `sum`, of which `lines` is made.
    pub(crate) fn add<const N: usize>(&self, lines: &[[f32; N]], sum: &mut [[f32; N]]) {
        for (line, weight) in lines.chunks_exact(sum.len()).skip(self.first).zip(&self.weights) {
            for (sum, pixel) in sum.iter_mut().zip(line) {
                sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * value);
            }
        }
    }
}

/// How the pixels `range` of a line of `target` pixels are made from one of `source`: interpolated by a Catmull-Rom
/// kernel, which is widened for shrinking so that every source pixel counts, and cut off at the ends of the line.
pub(crate) fn taps(source: u32, target: u32, range: Range<u32>) -> Vec<Taps> {
    let step = f64::from(source) / f64::from(target);
    let widened = step.max(1.0);
    let pixel = |position: u32| {
        let centre = (f64::from(position) + 0.5) * step - 0.5;
        let first = (centre - 2.0 * widened).ceil().max(0.0) as u32;
        let last = ((centre + 2.0 * widened).floor() as u32).min(source.saturating_sub(1));
        let weight = |index: u32| catmull_rom((f64::from(index) - centre) / widened);
        let total: f64 = (first..=last).map(weight).sum();
        let weights = (first..=last).map(|index| (weight(index) / total) as f32).collect();
        Taps { first: first as usize, weights }
    };
    range.map(pixel).collect()
}

/// The Catmull-Rom spline, the "bicubic" kernel of the common imaging libraries; zero from two on.
fn catmull_rom(distance: f64) -> f64 {
    match distance.abs() {
        x if x < 1.0 => (1.5 * x - 2.5) * x * x + 1.0,
        x if x < 2.0 => ((2.5 - 0.5 * x) * x - 4.0) * x + 2.0,
        _ => 0.0,
    }
}
