//! What may change: one byte per canvas pixel, and the round brush that paints it.

use super::{Picture, Rect, grow::grown_size};
use crate::{Error, Result};
use image::{DynamicImage, GrayImage};
use std::{fmt, ops::Range, path::Path, sync::Arc};

/// One byte per canvas pixel: 255 = change, 0 = keep, between = a soft edge, the share of the new pixel.
///
/// A clone is cheap; the bytes are copied by the first change after it.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    width: u32,
    height: u32,
    bytes: Arc<Vec<u8>>,
}

impl Mask {
    /// A mask of this size in pixels that keeps everything.
    pub fn new(width: u32, height: u32) -> Self {
        Self { width, height, bytes: Arc::new(vec![0; width as usize * height as usize]) }
    }

    /// A mask from its bytes, row by row from the top.
    ///
    /// # Errors
    /// When there are not `width × height` bytes.
    pub fn from_bytes(width: u32, height: u32, bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() as u64 != u64::from(width) * u64::from(height) {
            let cause = format!("{} bytes do not fill {width} × {height} pixels", bytes.len());
            return Err(Error::control("mask", cause, "Give one byte for each pixel of the picture"));
        }
        Ok(Self { width, height, bytes: Arc::new(bytes) })
    }

    /// Reads a mask from a picture file: white = change, black = keep, colours by their Rec. 709 luma, 16 bit rounded
    /// to 8. Transparency plays no part, so that a mask means what an opaque viewer shows.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let grey = Picture::open(path)?.image().to_luma8();
        Ok(Self { width: grey.width(), height: grey.height(), bytes: Arc::new(grey.into_raw()) })
    }

    /// The mask as an 8-bit grey PNG, the same bytes for the same mask.
    ///
    /// # Errors
    /// When the mask has no pixels.
    pub fn png_bytes(&self) -> Result<Vec<u8>> {
        // The bytes always fill the size, so the fallback, an empty picture, is refused with its reason below.
        let grey = GrayImage::from_raw(self.width, self.height, self.bytes.to_vec()).unwrap_or_default();
        Picture::new(DynamicImage::ImageLuma8(grey)).png_bytes()
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// All bytes, row by row from the top.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The byte at column `x` and row `y`; 0 outside of the mask.
    pub fn get(&self, x: u32, y: u32) -> u8 {
        if x < self.width && y < self.height { self.row(y)[x as usize] } else { 0 }
    }

    /// The bytes of row `y`, which must lie in the mask.
    pub(crate) fn row(&self, y: u32) -> &[u8] {
        let width = self.width as usize;
        &self.bytes[y as usize * width..][..width]
    }

    /// Whether nothing may change.
    pub fn is_empty(&self) -> bool {
        !any(&self.bytes)
    }

    /// Whether something may change within `rect`; what lies outside of the mask does not count.
    pub fn touches(&self, rect: Rect) -> bool {
        let rect = self.clip(rect);
        let columns = rect.x as usize..rect.right() as usize;
        (rect.y..rect.bottom()).any(|y| any(&self.row(y as u32)[columns.clone()]))
    }

    /// The smallest rectangle around everything that may change; `None` when nothing may.
    pub fn bounds(&self) -> Option<Rect> {
        let mut rows = (0..self.height).filter(|&y| any(self.row(y)));
        let top = rows.next()?;
        let bottom = rows.next_back().unwrap_or(top) + 1;
        let (mut left, mut right) = (self.width as usize, 0);
        for row in (top..bottom).map(|y| self.row(y)) {
            left = row[..left].iter().position(|&byte| byte > 0).unwrap_or(left);
            right = row[right..].iter().rposition(|&byte| byte > 0).map_or(right, |last| right + last + 1);
        }
        Some(Rect::between(left as i64, i64::from(top), right as i64, i64::from(bottom)))
    }

    /// Paints one dab of a round brush, or erases with it: [`line`](Self::line) from a point to itself.
    pub fn stamp(&mut self, x: f32, y: f32, radius: f32, hardness: f32, erase: bool) -> Rect {
        self.line((x, y), (x, y), radius, hardness, erase)
    }

    /// Draws a round brush along a straight line, and returns the rectangle of pixels that it may have changed.
    ///
    /// All lengths are canvas pixels; a pixel's centre is at its index plus a half. `hardness` 1 is a crisp,
    /// anti-aliased edge, 0 falls off from the centre. Painting keeps the larger, erasing the smaller byte, so that
    /// overlapping strokes leave no seam. A radius that is not above zero, or a number that is not finite, paints
    /// nothing.
    pub fn line(&mut self, from: (f32, f32), to: (f32, f32), radius: f32, hardness: f32, erase: bool) -> Rect {
        let Some(brush) = Brush::new(from, to, radius, hardness) else { return Rect::default() };
        let touched = self.clip(brush.bounds());
        if touched.is_empty() {
            return touched;
        }
        let width = self.width as usize;
        let bytes = Arc::make_mut(&mut self.bytes);
        for y in touched.y..touched.bottom() {
            let row = &mut bytes[y as usize * width..][..width];
            let columns = brush.columns(y as f32 + 0.5, touched.x as usize..touched.right() as usize);
            for (byte, x) in row[columns.clone()].iter_mut().zip(columns) {
                let cover = brush.cover(x as f32 + 0.5, y as f32 + 0.5);
                *byte = if erase { (*byte).min(255 - cover) } else { (*byte).max(cover) };
            }
        }
        touched
    }

    /// Sets every byte within `rect`, and returns the part of it that lies in the mask.
    pub fn fill_rect(&mut self, rect: Rect, value: u8) -> Rect {
        let touched = self.clip(rect);
        if touched.is_empty() {
            return touched;
        }
        let width = self.width as usize;
        let bytes = Arc::make_mut(&mut self.bytes);
        for y in touched.y..touched.bottom() {
            bytes[y as usize * width..][touched.x as usize..touched.right() as usize].fill(value);
        }
        touched
    }

    /// Swaps what may change and what is kept.
    pub fn invert(&mut self) {
        Arc::make_mut(&mut self.bytes).iter_mut().for_each(|byte| *byte = 255 - *byte);
    }

    /// The mask of a canvas that has grown by so many pixels on each side; the new ones are `fill`.
    ///
    /// # Errors
    /// As [`Picture::extended`].
    pub fn extended(&self, left: u32, top: u32, right: u32, bottom: u32, fill: u8) -> Result<Self> {
        let (width, height) = grown_size((self.width, self.height), [left, top, right, bottom])?;
        let mut bytes = vec![fill; width as usize * height as usize];
        for y in 0..self.height {
            let start = (top + y) as usize * width as usize + left as usize;
            bytes[start..][..self.width as usize].copy_from_slice(self.row(y));
        }
        Ok(Self { width, height, bytes: Arc::new(bytes) })
    }

    /// The part of `rect` that lies in the mask.
    fn clip(&self, rect: Rect) -> Rect {
        rect.intersect(Rect::canvas(self.width, self.height))
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} × {})", self.width, self.height)
    }
}

/// Whether any byte is above zero; without an early exit, so that the compiler makes it wide.
fn any(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, &byte| seen | byte) > 0
}

/// A round brush drawn along a straight line: everything depends on the distance to the line alone.
struct Brush {
    from: (f32, f32),
    /// From the start of the line to its end.
    along: (f32, f32),
    /// Up to this distance the brush covers a pixel wholly.
    full: f32,
    /// From this distance on it does not cover it at all.
    reach: f32,
}

impl Brush {
    fn new(from: (f32, f32), to: (f32, f32), radius: f32, hardness: f32) -> Option<Self> {
        let finite = [from.0, from.1, to.0, to.1, radius, hardness].iter().all(|value| value.is_finite());
        // The crispest edge is one pixel wide: half of it on either side of the radius.
        let full = (radius * hardness.clamp(0.0, 1.0)).min(radius - 0.5);
        let along = (to.0 - from.0, to.1 - from.1);
        (finite && radius > 0.0).then_some(Self { from, along, full, reach: radius + 0.5 })
    }

    /// The pixels that it may touch.
    fn bounds(&self) -> Rect {
        let range = |from: f32, along: f32| {
            let (low, high) = (from.min(from + along), from.max(from + along));
            ((low - self.reach).floor() as i64, (high + self.reach).ceil() as i64)
        };
        let (left, right) = range(self.from.0, self.along.0);
        let (top, bottom) = range(self.from.1, self.along.1);
        Rect::between(left, top, right, bottom)
    }

    /// The part of `columns` that it may touch in the row whose centres are at `y`: a long slanted line visits only
    /// the pixels beside it, and not all of its bounds.
    fn columns(&self, y: f32, columns: Range<usize>) -> Range<usize> {
        let ((x0, y0), (dx, dy)) = (self.from, self.along);
        let (mut first, mut last) = (0.0, 1.0);
        if dy != 0.0 {
            let (a, b) = ((y - self.reach - y0) / dy, (y + self.reach - y0) / dy);
            (first, last) = (a.min(b).clamp(0.0, 1.0), a.max(b).clamp(0.0, 1.0));
        }
        let (a, b) = (x0 + first * dx, x0 + last * dx);
        let left = ((a.min(b) - self.reach).floor() as usize).clamp(columns.start, columns.end);
        let right = ((a.max(b) + self.reach).ceil() as usize).clamp(left, columns.end);
        left..right
    }

    /// How much of the pixel with this centre it covers, 0 to 255.
    fn cover(&self, x: f32, y: f32) -> u8 {
        let ((x, y), (dx, dy)) = ((x - self.from.0, y - self.from.1), self.along);
        let length = dx * dx + dy * dy;
        let nearest = if length > 0.0 { ((x * dx + y * dy) / length).clamp(0.0, 1.0) } else { 0.0 };
        let distance = (x - nearest * dx).hypot(y - nearest * dy);
        let inside = ((self.reach - distance) / (self.reach - self.full)).clamp(0.0, 1.0);
        (inside * inside * (3.0 - 2.0 * inside) * 255.0).round() as u8
    }
}
