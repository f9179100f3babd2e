//! Small pictures of documents, cheap enough to be made after every stroke.

use std::sync::Arc;

use image::{Rgba, RgbaImage};

use crate::document::Document;

/// The mask is looked at in so many places along each side of a pixel.
const TAPS: u32 = 2;
/// The colour of what the mask covers, and how much of it is seen.
const MASK: [f32; 3] = [242.0, 166.0, 59.0];
const COVER: f32 = 0.55;

/// A small picture of a document, with what the mask covers coloured where nothing was made of it yet.
pub fn thumbnail(document: &Document) -> Arc<RgbaImage> {
    let (mut small, mask) = (document.picture.glance(), &document.mask);
    if document.is_fulfilled() || mask.is_empty() {
        return small;
    }
    let (wide, high) = small.dimensions();
    for (x, y, Rgba(pixel)) in Arc::make_mut(&mut small).enumerate_pixels_mut() {
        let mut covered = 0;
        for (right, down) in (0..TAPS).flat_map(|right| (0..TAPS).map(move |down| (right, down))) {
            let place = |at: u32, tap: u32, count: u32, length: u32| {
                let part = u64::from(at * TAPS + tap) * 2 + 1;
                (part * u64::from(length) / u64::from(2 * count * TAPS)) as u32
            };
            covered += u32::from(mask.get(place(x, right, wide, mask.width()), place(y, down, high, mask.height())));
        }
        let share = COVER * covered as f32 / (255 * TAPS * TAPS) as f32;
        let [red, green, blue, alpha] = *pixel;
        let tint = |level: u8, mask: f32| (f32::from(level) * (1.0 - share) + mask * share).round() as u8;
        let opaque = alpha.max((255.0 * share) as u8);
        *pixel = [tint(red, MASK[0]), tint(green, MASK[1]), tint(blue, MASK[2]), opaque];
    }
    small
}
