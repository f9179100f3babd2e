//! Small pictures of documents, cheap enough to be made after every stroke.

use image::{GenericImageView, Rgba, RgbaImage};

use crate::document::Document;

/// The longer side, in pixels.
const SIDE: u32 = 64;
/// Each pixel is the mean of so many samples along each direction.
const TAPS: u32 = 3;
/// The colour of what the mask covers, and how much of it is seen.
const MASK: [f32; 3] = [242.0, 166.0, 59.0];
const COVER: f32 = 0.55;

/// A small picture of a document, with what the mask covers coloured where nothing was made of it yet.
pub fn thumbnail(document: &Document) -> RgbaImage {
    let (picture, mask) = (document.picture.image(), &document.mask);
    let (width, height) = (picture.width().max(1), picture.height().max(1));
    let longer = width.max(height);
    let side = |length: u32| (u64::from(length) * u64::from(SIDE)).div_ceil(u64::from(longer)).max(1) as u32;
    let (wide, high) = (side(width), side(height));
    let cover = if document.is_fulfilled() { 0.0 } else { COVER };
    RgbaImage::from_fn(wide, high, |x, y| {
        let mut sum = [0.0; 4];
        for (right, down) in (0..TAPS).flat_map(|right| (0..TAPS).map(move |down| (right, down))) {
            let place = |at: u32, tap: u32, count: u32, length: u32| {
                let part = u64::from(at * TAPS + tap) * 2 + 1;
                (part * u64::from(length) / u64::from(2 * count * TAPS)) as u32
            };
            let (x, y) = (place(x, right, wide, width), place(y, down, high, height));
            if picture.in_bounds(x, y) {
                let share = cover * f32::from(mask.get(x, y)) / 255.0;
                let Rgba([red, green, blue, alpha]) = picture.get_pixel(x, y);
                let tinted = [red, green, blue].map(f32::from);
                let tinted = [0, 1, 2].map(|channel| tinted[channel] * (1.0 - share) + MASK[channel] * share);
                let [red, green, blue] = tinted;
                let pixel = [red, green, blue, f32::from(alpha).max(255.0 * share)];
                sum.iter_mut().zip(pixel).for_each(|(sum, level)| *sum += level);
            }
        }
        Rgba(sum.map(|sum| (sum / (TAPS * TAPS) as f32).round() as u8))
    })
}
