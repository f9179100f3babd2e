//! Several frames, one after the other, for a mask that is larger than what the model sees at once.

use super::{Extent, Frame, WHOLE_SCALE, is_seen_whole, place};
use crate::lattice::Lattice;
use crate::picture::{Mask, Rect};
use crate::{Error, Result};

/// Neighbouring frames share at least one part in so many of their side, and so much of the canvas around the mask is in
/// sight where there is any.
const OVERLAP: u32 = 4;

/// How finely what is known is counted: so many cells along a frame's side.
const CELLS: u32 = 32;

/// The least side of a frame, in canvas pixels.
const LEAST_SIDE: u32 = 16;

/// The rim of a frame that the next pass makes again is at most one part in so many of its side: the rest of what they share
/// is what the next pass goes on from.
const RIM: u32 = 8;

/// One look of the model at the canvas.
#[derive(Debug, Clone, PartialEq)]
pub struct Pass {
    /// What it sees.
    pub frame: Frame,
    /// What it may change: the part of the mask within the frame that no earlier pass has settled.
    pub mask: Mask,
}

/// Plans the passes in which everything that the mask covers is made, each seeing what the former ones made; none when
/// the mask is empty. With them comes the lattice that every one of them works on.
///
/// - Without a chosen frame the model looks as [`Frame::around`] says, if that fits on the canvas and is no larger than four
///   times the model's own size, beyond which the result is a blur, or six times where that is all of the canvas's shorter
///   side; otherwise in several frames of the largest such size.
/// - A chosen frame comes first and gives the size of the others.
/// - The frames lie on the canvas where it is not smaller than them, share at least a quarter of their side with their
///   neighbours beside what both make, and the next is always the one of which most is known: given pixels, or made ones.
/// - Where they meet, `overlap` of the model's own pixels are made twice, see [`shared`].
///
/// `trained` is the lattice of the model's own picture and `stride` its pixels per token.
///
/// # Errors
/// If the canvas is too oblong to be seen at once where that was asked for, or the chosen frame is no square where the model
/// sees squares, or too small or too large to be of use.
pub fn sequence(
    extent: Extent,
    mask: &Mask,
    trained: &Lattice,
    stride: u32,
    overlap: u32,
    chosen: Option<Rect>,
) -> Result<(Vec<Pass>, Lattice)> {
    let canvas = (mask.width(), mask.height());
    let lattice = extent.lattice(trained, canvas.0, canvas.1)?;
    let Some(bounds) = mask.bounds() else { return Ok((Vec::new(), lattice)) };
    let (around, _) = extent.frame(bounds, canvas, trained, stride)?;
    let single = |frame| vec![Pass { frame, mask: mask.clone() }];
    if extent == Extent::Canvas {
        return Ok((single(around), lattice));
    }
    let first = chosen.map(|rect| check(rect, canvas).map(|rect| Frame { rect, ..around })).transpose()?;
    let frame = first.unwrap_or(around);
    let model_size = around.size[0];
    let (shorter, longer) = (canvas.0.min(canvas.1), canvas.0.max(canvas.1));
    let sharp = if shorter <= WHOLE_SCALE * model_size * 3 / 2 { shorter } else { WHOLE_SCALE * model_size };
    let most = sharp.max(model_size).min(longer);
    let fits = first.is_some() || is_seen_whole(canvas.0, canvas.1, model_size) || frame.rect.width <= most;
    if fits && frame.rect.contains(bounds) {
        return Ok((single(frame), lattice));
    }
    let side = if first.is_some() { frame.rect.width } else { most };
    let rim = rim(&Frame { rect: Rect { width: side, ..around.rect }, ..around }, overlap);
    let frames = places(bounds, side, rim, canvas).into_iter().map(|rect| Frame { rect, ..around });
    let frames = in_sequence(mask, first, frames.collect(), bounds);
    Ok((shared(mask, &frames, overlap), lattice))
}

/// Refuses a chosen frame that is of no use.
fn check(rect: Rect, (width, height): (u32, u32)) -> Result<Rect> {
    let most = 4 * width.max(height).max(LEAST_SIDE);
    let refused =
        |cause: String| Err(Error::control("frame", cause, "Drag its corners, or let it be placed by itself"));
    match rect {
        Rect { width, height, .. } if width != height => refused(format!("{width} × {height} pixels are no square")),
        Rect { width: side, .. } if side < LEAST_SIDE => refused(format!("it is smaller than {LEAST_SIDE} pixels")),
        Rect { width: side, .. } if side > most => refused(format!("{side} pixels are far more than the canvas has")),
        rect => Ok(rect),
    }
}

/// Squares of one side that cover `bounds`, and some of the canvas around it.
fn places(bounds: Rect, side: u32, rim: u32, (width, height): (u32, u32)) -> Vec<Rect> {
    let columns = along(bounds.x, bounds.width, side, rim, width);
    let rows = along(bounds.y, bounds.height, side, rim, height);
    let row = |y: i64| columns.iter().map(move |x| Rect::new(*x, y, side, side));
    rows.into_iter().flat_map(row).collect()
}

/// Where squares begin in one direction: as few as reach over all of it with their overlap, evenly spread.
fn along(start: i64, length: u32, side: u32, rim: u32, canvas: u32) -> Vec<i64> {
    let (side, canvas, context) = (i64::from(side), i64::from(canvas), i64::from(side / OVERLAP));
    if side >= canvas {
        return vec![(canvas - side).div_euclid(2)];
    }
    let from = (start - context).max(0);
    let to = (start + i64::from(length) + context).min(canvas);
    let rest = to - from - side;
    if rest <= 0 {
        return vec![place(from, (to - from) as u32, side as u32, canvas as u32)];
    }
    let gaps = (rest as u64).div_ceil((side - context - i64::from(rim)).max(1) as u64) as i64;
    (0..=gaps).map(|index| from + rest * index / gaps).collect()
}

/// Takes the frames one by one, always the one with the smallest part that is unknown, nearest to the mask's middle.
fn in_sequence(mask: &Mask, first: Option<Frame>, mut frames: Vec<Frame>, bounds: Rect) -> Vec<Frame> {
    let side = frames.first().map_or(1, |frame| frame.rect.width);
    let mut unknown = Unknown::new(mask, bounds, (side / CELLS).max(1));
    let mut open: Vec<usize> = frames.iter().map(|frame| unknown.within(frame.rect)).collect();
    let (mut sequence, mut next) = (Vec::new(), first);
    let middle = (2 * bounds.x + i64::from(bounds.width), 2 * bounds.y + i64::from(bounds.height));
    let away = |frame: &Frame| {
        let (x, y) = (2 * frame.rect.x + i64::from(side) - middle.0, 2 * frame.rect.y + i64::from(side) - middle.1);
        x * x + y * y
    };
    loop {
        let frame = match next.take() {
            Some(frame) => frame,
            None => {
                let wanted = (0..frames.len()).filter(|index| open[*index] > 0);
                let Some(best) = wanted.min_by_key(|index| (open[*index], away(&frames[*index]))) else {
                    return sequence;
                };
                open.swap_remove(best);
                frames.swap_remove(best)
            }
        };
        unknown.close(frame.rect);
        for (frame, open) in
            frames.iter().zip(&mut open).filter(|(other, _)| !other.rect.intersect(frame.rect).is_empty())
        {
            *open = unknown.within(frame.rect);
        }
        sequence.push(frame);
    }
}

/// Shares a mask out among frames that follow each other: each makes what lies in it and was not made before, and those with
/// nothing to make are left out.
///
/// A tokenizer is at its weakest at the rim of what it sees. So where a later frame goes on beyond an edge, `overlap` of the
/// model's own pixels along it stay open: they are made, so that the frame is whole, and made again by the later pass, which
/// has what lies on both sides of them in its sight. With 0 frames meet where the earlier one ends.
pub fn shared(mask: &Mask, frames: &[Frame], overlap: u32) -> Vec<Pass> {
    let (mut unmade, mut open, mut passes) = (mask.clone(), mask.clone(), Vec::new());
    for (index, frame) in frames.iter().enumerate() {
        if !unmade.touches(frame.rect) {
            continue;
        }
        let part = open.within(frame.rect);
        unmade.fill_rect(frame.rect, 0);
        open.fill_rect(frame.rect, 0);
        for (inside, outside) in edges(frame.rect, rim(frame, overlap)) {
            let goes_on = |later: &&Frame| unmade.touches(outside.intersect(later.rect));
            for later in frames[index + 1..].iter().filter(goes_on) {
                let strip = inside.intersect(later.rect);
                open.paste(strip, &part.copied(strip));
            }
        }
        passes.push(Pass { frame: *frame, mask: part });
    }
    passes
}

/// The rim of a frame in canvas pixels.
fn rim(frame: &Frame, overlap: u32) -> u32 {
    ((overlap as f32 * frame.scale()).ceil() as u32).min(frame.rect.width / RIM)
}

/// Strips of some width along the four edges of a rectangle: within, and beyond.
fn edges(rect: Rect, width: u32) -> [(Rect, Rect); 4] {
    let by = i64::from(width);
    let upright = |x: i64| Rect { x, width, ..rect };
    let level = |y: i64| Rect { y, height: width, ..rect };
    [
        (upright(rect.x), upright(rect.x - by)),
        (upright(rect.right() - by), upright(rect.right())),
        (level(rect.y), level(rect.y - by)),
        (level(rect.bottom() - by), level(rect.bottom())),
    ]
}

/// Which cells of the canvas hold a pixel that is still to be made.
struct Unknown {
    area: Rect,
    cell: u32,
    cols: usize,
    open: Vec<bool>,
}

impl Unknown {
    fn new(mask: &Mask, area: Rect, cell: u32) -> Self {
        let (cols, rows) = (area.width.div_ceil(cell) as usize, area.height.div_ceil(cell) as usize);
        let mut cells = Self { area, cell, cols, open: Vec::new() };
        cells.open = (0..cols * rows).map(|index| mask.touches(cells.rect(index))).collect();
        cells
    }

    fn rect(&self, index: usize) -> Rect {
        let (col, row) = ((index % self.cols) as i64, (index / self.cols) as i64);
        let cell = i64::from(self.cell);
        Rect::new(self.area.x + col * cell, self.area.y + row * cell, self.cell, self.cell).intersect(self.area)
    }

    /// The cells that a rectangle touches.
    fn touched(&self, rect: Rect) -> impl Iterator<Item = usize> + use<> {
        let (rect, cell, cols) = (rect.intersect(self.area), i64::from(self.cell), self.cols);
        let range = |from: i64, to: i64, start: i64| {
            let empty = rect.is_empty();
            if empty { 0..0 } else { ((from - start) / cell) as usize..((to - start + cell - 1) / cell) as usize }
        };
        let columns = range(rect.x, rect.right(), self.area.x);
        range(rect.y, rect.bottom(), self.area.y).flat_map(move |row| columns.clone().map(move |col| row * cols + col))
    }

    /// How many open cells a rectangle touches.
    fn within(&self, rect: Rect) -> usize {
        self.touched(rect).filter(|index| self.open[*index]).count()
    }

    /// Everything in the rectangle is known now.
    fn close(&mut self, rect: Rect) {
        for index in self.touched(rect) {
            self.open[index] &= !rect.contains(self.rect(index));
        }
    }
}
