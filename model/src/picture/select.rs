//! Selections: a polygon, and everything that resembles a colour.

use super::{Mask, Picture, Rect, Sample, on_pixels};
use image::{DynamicImage, ImageBuffer, Pixel};
use rayon::prelude::*;
use tiny_skia::{FillRule, PathBuilder, Transform};

/// A polygon is drawn in squares of this side.
const BLOCK: u32 = 2048;

impl Mask {
    /// What lies within a polygon, with a smooth edge; its points are canvas pixels. Lines that cross leave no hole.
    pub fn polygon(width: u32, height: u32, points: &[(f32, f32)]) -> Self {
        let mut mask = Self::new(width, height);
        let mut points = points.iter().copied().filter(|(x, y)| x.is_finite() && y.is_finite());
        let mut path = PathBuilder::new();
        if let Some((x, y)) = points.next() {
            path.move_to(x, y);
        }
        points.for_each(|(x, y)| path.line_to(x, y));
        path.close();
        // Without an area there is no path.
        let Some(path) = path.finish() else { return mask };
        let around = path.bounds();
        let (left, top) = (around.left().floor() as i64, around.top().floor() as i64);
        let (right, bottom) = (around.right().ceil() as i64, around.bottom().ceil() as i64);
        let area = mask.clip(Rect::between(left, top, right, bottom));
        for y in (area.y..area.bottom()).step_by(BLOCK as usize) {
            for x in (area.x..area.right()).step_by(BLOCK as usize) {
                let block = Rect::new(x, y, BLOCK, BLOCK).intersect(area);
                let Some(mut drawn) = tiny_skia::Mask::new(block.width, block.height) else { continue };
                let place = Transform::from_translate(-(x as f32), -(y as f32));
                drawn.fill_path(&path, FillRule::Winding, true, place);
                mask.paste(block, drawn.data());
            }
        }
        mask
    }
}

impl Picture {
    /// The pixels whose colour is within a tolerance of the one at a place: no channel, alpha included, differs by more
    /// levels (0 to 255, whatever the depth). `contiguous` leaves out what is not joined to the place by edges of pixels.
    /// Nothing outside of the picture.
    pub fn similar(&self, x: u32, y: u32, tolerance: u8, contiguous: bool) -> Mask {
        let (width, height) = (self.width(), self.height());
        let mut mask = Mask::new(width, height);
        if x < width && y < height {
            let mut resembling = on_pixels!(self.image(), buffer => resembling(buffer, (x, y), f32::from(tolerance)));
            if contiguous {
                resembling = joined(resembling, width as usize, (x as usize, y as usize));
            }
            mask.paste(mask.rect(), &resembling);
        }
        mask
    }
}

/// 255 for every pixel that resembles the one at a place.
fn resembling<P>(buffer: &ImageBuffer<P, Vec<P::Subpixel>>, (x, y): (u32, u32), tolerance: f32) -> Vec<u8>
where
    P: Pixel<Subpixel: Sample + Sync> + Sync,
{
    let (channels, width) = (usize::from(P::CHANNEL_COUNT), buffer.width() as usize);
    let wanted = buffer.get_pixel(x, y).channels();
    // The least and the largest sample of every channel that is near enough: pixels are compared at their own depth.
    let near = |sample: P::Subpixel| {
        let level = sample.level();
        (level - tolerance - 1e-3, level + tolerance + 1e-3)
    };
    let ranges: Vec<(f32, f32)> = wanted.iter().map(|sample| near(*sample)).collect();
    let resembles = |pixel: &[P::Subpixel]| {
        pixel.iter().zip(&ranges).all(|(sample, (least, most))| (*least..=*most).contains(&sample.level()))
    };
    let mut found = vec![0; width * buffer.height() as usize];
    let rows = found.par_chunks_exact_mut(width).zip(buffer.as_raw().par_chunks_exact(width * channels));
    rows.for_each(|(found, row)| {
        for (byte, pixel) in found.iter_mut().zip(row.chunks_exact(channels)) {
            *byte = if resembles(pixel) { 255 } else { 0 };
        }
    });
    found
}

/// The part of what was found that is joined to a place by edges of pixels: filled row by row, a stretch at a time.
fn joined(mut found: Vec<u8>, width: usize, place: (usize, usize)) -> Vec<u8> {
    const TAKEN: u8 = 1;
    let height = found.len() / width;
    let mut waiting = vec![place];
    while let Some((x, y)) = waiting.pop() {
        let row = &mut found[y * width..][..width];
        if row[x] != 255 {
            continue;
        }
        let left = row[..x].iter().rposition(|byte| *byte != 255).map_or(0, |last| last + 1);
        let right = row[x..].iter().position(|byte| *byte != 255).map_or(width, |first| x + first);
        row[left..right].fill(TAKEN);
        for other in [y.checked_sub(1), Some(y + 1).filter(|y| *y < height)].into_iter().flatten() {
            let neighbours = &found[other * width..][left..right];
            let starts =
                neighbours.chunk_by(|one, other| (*one == 255) == (*other == 255)).scan(left, |at, stretch| {
                    let start = *at;
                    *at += stretch.len();
                    Some((start, stretch[0] == 255))
                });
            waiting.extend(starts.filter(|(_, open)| *open).map(|(start, _)| (start, other)));
        }
    }
    found.iter_mut().for_each(|byte| *byte = if *byte == TAKEN { 255 } else { 0 });
    found
}
