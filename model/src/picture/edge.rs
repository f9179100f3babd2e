//! Growing, shrinking and feathering a mask.

use super::{Mask, Rect};
use rayon::prelude::*;

/// The furthest that an edge is moved or softened, in canvas pixels.
pub const MOST: u32 = 256;

/// So many rows are worked on at a time.
const BAND: usize = 128;

impl Mask {
    /// The mask with every edge moved outwards by a radius in canvas pixels, at most [`MOST_EDGE`](super::MOST_EDGE): each
    /// pixel takes the largest byte within that distance, so that soft edges stay as soft as they were.
    pub fn grown(&self, radius: u32) -> Self {
        let radius = radius.min(MOST);
        let Some(bounds) = self.bounds().filter(|_| radius > 0) else { return self.clone() };
        let rect = self.clip(expanded(bounds, radius));
        let (width, mut mask) = (rect.width as usize, self.clone());
        mask.paste(rect, &largest(&self.copied(rect), width, radius as usize));
        mask
    }

    /// The mask with every edge moved inwards: [`grown`](Self::grown) of what is kept. The canvas's own edge is none.
    pub fn shrunk(&self, radius: u32) -> Self {
        let radius = radius.min(MOST);
        let Some(bounds) = self.bounds().filter(|_| radius > 0) else { return self.clone() };
        let rect = self.clip(expanded(bounds, radius));
        let (width, mut mask) = (rect.width as usize, self.clone());
        let kept: Vec<u8> = self.copied(rect).iter().map(|byte| 255 - byte).collect();
        let kept = largest(&kept, width, radius as usize);
        mask.paste(rect, &kept.iter().map(|byte| 255 - byte).collect::<Vec<_>>());
        mask
    }

    /// The mask with every edge softened over a radius in canvas pixels, at most [`MOST_EDGE`](super::MOST_EDGE), on either
    /// side of it: nothing changes further away. Three box blurs along each axis, which come close to a Gaussian. Beyond the
    /// canvas the mask goes on as it is at the canvas's edge.
    pub fn feathered(&self, radius: u32) -> Self {
        let radius = radius.min(MOST);
        let Some(bounds) = self.bounds().filter(|_| radius > 0) else { return self.clone() };
        let rect = self.clip(expanded(bounds, radius));
        let width = rect.width as usize;
        let mut levels: Vec<u16> = self.copied(rect).iter().map(|byte| u16::from(*byte) * 257).collect();
        let mut other = vec![0; levels.len()];
        // Three halves of a box that together reach as far as the radius.
        for half in [radius.div_ceil(3), (radius + 1) / 3, radius / 3].map(|half| half as usize) {
            blur_rows(&levels, &mut other, width, half);
            blur_columns(&other, &mut levels, width, half);
        }
        let bytes: Vec<u8> = levels.iter().map(|level| ((u32::from(*level) + 128) / 257) as u8).collect();
        let mut mask = self.clone();
        mask.paste(rect, &bytes);
        mask
    }
}

fn expanded(rect: Rect, by: u32) -> Rect {
    Rect::new(rect.x - i64::from(by), rect.y - i64::from(by), rect.width + 2 * by, rect.height + 2 * by)
}

/// For every pixel the largest byte of a disc around it, as far as it lies in the rectangle.
///
/// A disc is made of its rows. The largest byte of a stretch of a row comes of two overlapping stretches of a power of two,
/// which are looked up in tables made by doubling.
fn largest(bytes: &[u8], width: usize, radius: usize) -> Vec<u8> {
    let height = bytes.len() / width.max(1);
    let halves: Vec<usize> = (0..=radius).map(|dy| (radius * radius - dy * dy).isqrt()).collect();
    let mut result = vec![0; bytes.len()];
    result.par_chunks_mut(BAND * width.max(1)).enumerate().for_each(|(band, rows)| {
        let first = band * BAND;
        let last = first + rows.len() / width;
        let (from, to) = (first.saturating_sub(radius), (last + radius).min(height));
        let tables: Vec<Option<Stretches>> =
            (from..to).map(|y| Stretches::new(&bytes[y * width..][..width], radius)).collect();
        for (y, row) in (first..).zip(rows.chunks_exact_mut(width)) {
            for other in y.saturating_sub(radius)..(y + radius + 1).min(height) {
                if let Some(table) = &tables[other - from] {
                    table.raise(row, halves[other.abs_diff(y)]);
                }
            }
        }
    });
    result
}

/// The largest bytes of all stretches of a row whose length is a power of two, with room for the radius on both sides.
struct Stretches {
    radius: usize,
    /// Of length 1, 2, 4, and so on.
    levels: Vec<Vec<u8>>,
}

impl Stretches {
    /// Nothing for a row without any byte above zero.
    fn new(row: &[u8], radius: usize) -> Option<Self> {
        if row.iter().fold(0, |seen, byte| seen | byte) == 0 {
            return None;
        }
        let mut padded = vec![0; row.len() + 2 * radius];
        padded[radius..radius + row.len()].copy_from_slice(row);
        let mut levels = vec![padded];
        while 1 << levels.len() <= 2 * radius + 1 {
            let (before, shift) = (&levels[levels.len() - 1], 1 << (levels.len() - 1));
            let mut next = before.clone();
            let length = next.len() - shift;
            next[..length].iter_mut().zip(&before[shift..]).for_each(|(byte, other)| *byte = (*byte).max(*other));
            levels.push(next);
        }
        Some(Self { radius, levels })
    }

    /// Raises every byte of a row to the largest one up to `half` columns away from it.
    fn raise(&self, row: &mut [u8], half: usize) {
        let length = 2 * half + 1;
        let level = length.ilog2() as usize;
        let (table, start) = (&self.levels[level], self.radius - half);
        let (left, right) = (&table[start..], &table[start + length - (1 << level)..]);
        for ((byte, left), right) in row.iter_mut().zip(left).zip(right) {
            *byte = (*byte).max(*left).max(*right);
        }
    }
}

/// The mean of up to `half` neighbours on either side of every level along the rows, the ends going on for ever.
fn blur_rows(levels: &[u16], blurred: &mut [u16], width: usize, half: usize) {
    let share = 1.0 / (2 * half + 1) as f32;
    let rows = blurred.par_chunks_exact_mut(width.max(1)).zip(levels.par_chunks_exact(width.max(1)));
    rows.for_each(|(blurred, row)| {
        let at = |index: usize| u32::from(row[index.min(width - 1)]);
        let mut sum = u32::from(row[0]) * half as u32 + (0..=half).map(at).sum::<u32>();
        for (index, level) in blurred.iter_mut().enumerate() {
            *level = (sum as f32 * share + 0.5) as u16;
            sum = sum + at(index + half + 1) - at(index.saturating_sub(half));
        }
    });
}

/// The same along the columns.
fn blur_columns(levels: &[u16], blurred: &mut [u16], width: usize, half: usize) {
    let share = 1.0 / (2 * half + 1) as f32;
    let height = levels.len() / width.max(1);
    blurred.par_chunks_mut(BAND * width.max(1)).enumerate().for_each(|(band, rows)| {
        let row = |y: i64| &levels[y.clamp(0, height as i64 - 1) as usize * width..][..width];
        let (first, half) = ((band * BAND) as i64, half as i64);
        let mut sums = vec![0_u32; width];
        for y in first - half..=first + half {
            sums.iter_mut().zip(row(y)).for_each(|(sum, level)| *sum += u32::from(*level));
        }
        for (y, blurred) in (first..).zip(rows.chunks_exact_mut(width)) {
            let neighbours = row(y - half).iter().zip(row(y + half + 1));
            for ((level, sum), (leaves, enters)) in blurred.iter_mut().zip(&mut sums).zip(neighbours) {
                *level = (*sum as f32 * share + 0.5) as u16;
                *sum = *sum + u32::from(*enters) - u32::from(*leaves);
            }
        }
    });
}
