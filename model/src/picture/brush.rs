//! The round brush that paints a mask.

use super::mask::Tile;
use super::{Mask, Rect};

impl Mask {
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
        self.taper(from, to, (radius, radius), hardness, erase)
    }

    /// The same with a radius that goes from one to another along the line, as a pen does that is pressed harder or less.
    pub fn taper(&mut self, from: (f32, f32), to: (f32, f32), radii: (f32, f32), hardness: f32, erase: bool) -> Rect {
        let Some(brush) = Brush::new(from, to, radii, hardness) else { return Rect::default() };
        let done = if erase { 0 } else { 255 };
        self.edit(brush.bounds(), |tile, place, part| {
            if tile.flat() == Some(done) {
                return;
            }
            if brush.covers(place) {
                *tile = Tile::Flat(done);
                return;
            }
            tile.change(place, part, |x, y, row| brush.paint(x as f32 + 0.5, y as f32 + 0.5, row, erase));
        })
    }

    /// Lays a value over what was there `before`, as far as `cover` covers it; both are of this mask's size. Returns the
    /// part of the rectangle that lies in the mask.
    pub(crate) fn lay(&mut self, rect: Rect, before: &Self, cover: &Self, value: u8) -> Rect {
        let (mut under, mut share) = (Vec::new(), Vec::new());
        self.edit(rect, |tile, place, part| match cover.flat(part) {
            Some(0) => {}
            Some(255) if part == place => *tile = Tile::Flat(value),
            _ => tile.change(place, part, |x, y, row| {
                under.resize(row.len(), 0);
                share.resize(row.len(), 0);
                before.read(y as u32, x as u32, &mut under);
                cover.read(y as u32, x as u32, &mut share);
                for ((byte, under), share) in row.iter_mut().zip(&under).zip(&share) {
                    let (under, share) = (u32::from(*under), u32::from(*share));
                    *byte = ((under * (255 - share) + u32::from(value) * share + 127) / 255) as u8;
                }
            }),
        })
    }
}

/// A round brush drawn along a straight line: everything depends on the nearest point of the line.
struct Brush {
    from: (f32, f32),
    /// From the start of the line to its end.
    along: (f32, f32),
    /// One by the square of the line's length; 0 for a point.
    share: f32,
    /// Up to this distance the brush covers a pixel wholly: at the start, and how much more at the end.
    full: (f32, f32),
    /// From this distance on it does not cover it at all.
    reach: (f32, f32),
}

impl Brush {
    fn new(from: (f32, f32), to: (f32, f32), radii: (f32, f32), hardness: f32) -> Option<Self> {
        let finite = [from.0, from.1, to.0, to.1, radii.0, radii.1, hardness].iter().all(|value| value.is_finite());
        // The crispest edge is one pixel wide: half of it on either side of the radius.
        let full = |radius: f32| (radius * hardness.clamp(0.0, 1.0)).min(radius - 0.5);
        let reach = |radius: f32| radius + 0.5;
        let slope = |at: &dyn Fn(f32) -> f32| (at(radii.0), at(radii.1) - at(radii.0));
        let along = (to.0 - from.0, to.1 - from.1);
        let square = along.0 * along.0 + along.1 * along.1;
        let share = if square > 0.0 { 1.0 / square } else { 0.0 };
        let share = if share.is_finite() { share } else { 0.0 };
        (finite && radii.0.min(radii.1) > 0.0).then(|| Self {
            from,
            along,
            share,
            full: slope(&full),
            reach: slope(&reach),
        })
    }

    /// The pixels that it may touch.
    fn bounds(&self) -> Rect {
        let reach = self.reach.0.max(self.reach.0 + self.reach.1);
        let range = |from: f32, along: f32| {
            let (low, high) = (from.min(from + along), from.max(from + along));
            ((low - reach).floor() as i64, (high + reach).ceil() as i64)
        };
        let (left, right) = range(self.from.0, self.along.0);
        let (top, bottom) = range(self.from.1, self.along.1);
        Rect::between(left, top, right, bottom)
    }

    /// Whether it covers every pixel of a rectangle wholly: what it covers so bulges outwards everywhere, so that the corners
    /// decide.
    fn covers(&self, rect: Rect) -> bool {
        let (left, top) = (rect.x as f32, rect.y as f32);
        let (right, bottom) = (rect.right() as f32, rect.bottom() as f32);
        let corners = [(left, top), (right, top), (left, bottom), (right, bottom)];
        corners.into_iter().all(|(x, y)| {
            let (t, distance) = self.nearest(x, y);
            distance <= self.full.0 + t * self.full.1
        })
    }

    /// Where on the line a point is nearest, 0 to 1, and how far away that is.
    fn nearest(&self, x: f32, y: f32) -> (f32, f32) {
        let ((x, y), (dx, dy)) = ((x - self.from.0, y - self.from.1), self.along);
        let t = ((x * dx + y * dy) * self.share).clamp(0.0, 1.0);
        let (x, y) = (x - t * dx, y - t * dy);
        (t, (x * x + y * y).sqrt())
    }

    /// Paints a stretch of a row whose first pixel has this centre. Nothing here branches, so that the compiler makes it wide.
    fn paint(&self, x: f32, y: f32, row: &mut [u8], erase: bool) {
        let invert = if erase { 255 } else { 0 };
        for (column, byte) in row.iter_mut().enumerate() {
            let cover = self.cover(x + column as i32 as f32, y);
            // Erasing is painting on what is kept.
            *byte = (*byte ^ invert).max(cover) ^ invert;
        }
    }

    /// How much of the pixel with this centre it covers, 0 to 255.
    fn cover(&self, x: f32, y: f32) -> u8 {
        let (t, distance) = self.nearest(x, y);
        let (full, reach) = (self.full.0 + t * self.full.1, self.reach.0 + t * self.reach.1);
        let inside = ((reach - distance) / (reach - full)).clamp(0.0, 1.0);
        (inside * inside * (3.0 - 2.0 * inside) * 255.0 + 0.5) as i32 as u8
    }
}
