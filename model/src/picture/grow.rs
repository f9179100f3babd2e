//! A canvas that grows: how far it may, and what its new pixels look like until they are painted.

use super::{MAX_PIXELS, Sample};
use crate::{Error, Result};
use image::{ImageBuffer, Pixel};

/// The size of a canvas with these margins (left, top, right, bottom), all in pixels.
pub(super) fn grown_size((width, height): (u32, u32), [left, top, right, bottom]: [u32; 4]) -> Result<(u32, u32)> {
    let sum = |parts: [u32; 3]| parts.into_iter().map(u64::from).sum::<u64>();
    let (width, height) = (sum([left, width, right]), sum([top, height, bottom]));
    match (u32::try_from(width), u32::try_from(height)) {
        (Ok(columns), Ok(rows)) if width * height <= MAX_PIXELS => Ok((columns, rows)),
        _ => {
            let cause = format!("{width} × {height} pixels are more than {} megapixels", MAX_PIXELS / 1_000_000);
            Err(Error::control("extend canvas", cause, "Extend it by less"))
        }
    }
}

/// See [`Picture::extended`].
pub(super) fn grow<P>(
    old: &ImageBuffer<P, Vec<P::Subpixel>>,
    left: u32,
    top: u32,
    width: u32,
    height: u32,
) -> ImageBuffer<P, Vec<P::Subpixel>>
where
    P: Pixel<Subpixel: Sample>,
{
    let mut new = ImageBuffer::<P, _>::new(width, height); // all zero: black, or transparent
    let channels = usize::from(P::CHANNEL_COUNT);
    let old_row = (old.width() as usize * channels).max(1);
    for (y, row) in old.as_raw().chunks_exact(old_row).enumerate() {
        let start = ((top as usize + y) * width as usize + left as usize) * channels;
        new.as_mut()[start..start + row.len()].copy_from_slice(row);
    }
    let has_alpha = channels.is_multiple_of(2);
    if !has_alpha && old.width() > 0 && old.height() > 0 {
        let edges = Edges::of(old);
        for y in 0..height {
            let beside = (top..top + old.height()).contains(&y);
            let first = if beside { 0..left } else { 0..width };
            let second = if beside { left + old.width()..width } else { 0..0 };
            for x in first.chain(second) {
                let level = edges.continued(i64::from(x) - i64::from(left), i64::from(y) - i64::from(top));
                let pixel = new.get_pixel_mut(x, y).channels_mut();
                pixel.iter_mut().zip(level).for_each(|(sample, level)| *sample = Sample::nearest(level));
            }
        }
    }
    new
}

/// The four edges of an opaque picture, ready to be continued outwards.
struct Edges {
    left: Edge,
    top: Edge,
    right: Edge,
    bottom: Edge,
}

impl Edges {
    fn of<P: Pixel<Subpixel: Sample>>(image: &ImageBuffer<P, Vec<P::Subpixel>>) -> Self {
        let (right, bottom) = (image.width() - 1, image.height() - 1);
        let column = |x| Edge::new((0..=bottom).map(|y| image.get_pixel(x, y).channels()));
        let row = |y| Edge::new((0..=right).map(|x| image.get_pixel(x, y).channels()));
        Self { left: column(0), top: row(0), right: column(right), bottom: row(bottom) }
    }

    /// The levels at a point outside, in pixels from the picture's corner: the mean of a stretch of the nearest edge,
    /// as long as the point is far, which spares the eye the streaks of plain replication. Beyond a corner the two
    /// edges share by distance, so that nothing jumps.
    fn continued(&self, x: i64, y: i64) -> [f32; 3] {
        let (width, height) = (self.top.length(), self.left.length());
        let (column, row) = (x.clamp(0, width - 1), y.clamp(0, height - 1));
        let (across, down) = ((x - column).abs(), (y - row).abs());
        let reach = across.max(down) / 2;
        let beside = if x < 0 { &self.left } else { &self.right }.mean(row, reach);
        let above = if y < 0 { &self.top } else { &self.bottom }.mean(column, reach);
        let share = across as f32 / (across + down).max(1) as f32;
        std::array::from_fn(|channel| beside[channel] * share + above[channel] * (1.0 - share))
    }
}

/// Running sums of the levels along one edge: the mean of any stretch takes two look-ups.
struct Edge(Vec<[f64; 3]>);

impl Edge {
    fn new<'a, S: Sample + 'a>(pixels: impl Iterator<Item = &'a [S]>) -> Self {
        let mut total = [0.0; 3];
        let sums = pixels.map(|pixel| {
            // Grey has one channel, and the rest of its levels stay unused.
            total.iter_mut().zip(pixel).for_each(|(total, sample)| *total += f64::from(sample.level()));
            total
        });
        Self(std::iter::once([0.0; 3]).chain(sums).collect())
    }

    /// How many pixels long.
    fn length(&self) -> i64 {
        self.0.len() as i64 - 1
    }

    /// The mean of the pixels up to `reach` away from `centre`.
    fn mean(&self, centre: i64, reach: i64) -> [f32; 3] {
        let from = (centre - reach).max(0) as usize;
        let to = (centre + reach + 1).min(self.length()) as usize;
        std::array::from_fn(|channel| ((self.0[to][channel] - self.0[from][channel]) / (to - from) as f64) as f32)
    }
}
