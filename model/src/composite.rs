//! What the model made goes back into the picture: masked pixels only, at the picture's own depth.

use crate::frame::{Frame, taps};
use crate::picture::{Mask, Picture, Rect, Sample, luma, on_pixels};
use image::{DynamicImage, ImageBuffer, Pixel, RgbImage};

/// Puts a decoded frame back into the picture, blended by the mask.
///
/// `decoded` is what the model made of the frame, normally `frame.size` pixels square. It is resampled to the frame's
/// side with an anti-aliased Catmull-Rom kernel at full precision, goes from sRGB into the picture's own colours, and
/// becomes grey by its Rec. 709 luma where the picture is grey. Where the picture is transparent the result grows more opaque by the mask. Size, depth and colour
/// type stay, and pixels where the mask is zero, or beyond the frame, stay identical to the last bit.
pub fn composite(picture: &Picture, mask: &Mask, frame: &Frame, decoded: &RgbImage) -> Picture {
    let bounds = mask.bounds().unwrap_or_default();
    let window = frame.rect.intersect(picture.rect()).intersect(bounds);
    if window.is_empty() || decoded.is_empty() {
        return picture.clone();
    }
    let mut image = picture.image().clone();
    let mut levels: Vec<[f32; 3]> = decoded.pixels().map(|pixel| pixel.0.map(f32::from)).collect();
    picture.take_srgb(&mut levels);
    let decoded = (decoded.dimensions(), &levels[..]);
    on_pixels!(&mut image, buffer => blend_window(buffer, mask, frame, window, decoded));
    picture.with_pixels(image)
}

/// Blends the pixels of `window`, which lies in the canvas, the mask and the frame.
fn blend_window<P>(
    buffer: &mut ImageBuffer<P, Vec<P::Subpixel>>,
    mask: &Mask,
    frame: &Frame,
    window: Rect,
    ((width, height), decoded): ((u32, u32), &[[f32; 3]]),
) where
    P: Pixel<Subpixel: Sample>,
{
    let (left, top) = ((window.x - frame.rect.x) as u32, (window.y - frame.rect.y) as u32);
    let columns = taps(width, frame.rect.width, left..left + window.width);
    let rows = taps(height, frame.rect.height, top..top + window.height);
    let mut line = vec![[0.0; 3]; width as usize];
    for (y, row) in (window.y as u32..).zip(&rows) {
        line.fill([0.0; 3]);
        row.add(decoded, &mut line);
        for (x, column) in (window.x as u32..).zip(&columns) {
            let share = mask.get(x, y);
            if share > 0 {
                let made = column.sum(&line).map(|level| level.clamp(0.0, 255.0));
                blend(buffer.get_pixel_mut(x, y).channels_mut(), made, f32::from(share) / 255.0);
            }
        }
    }
}

/// Lays an opaque colour over a pixel, with this share of its area.
fn blend<S: Sample>(pixel: &mut [S], [red, green, blue]: [f32; 3], share: f32) {
    let grey = pixel.len() < 3;
    let (colour, alpha) = pixel.split_at_mut(if grey { 1 } else { 3 });
    let made = if grey { [luma([red, green, blue]); 3] } else { [red, green, blue] };
    let transparent = alpha.first().map_or(0.0, |alpha| 1.0 - alpha.level() / 255.0);
    let opaque = 1.0 - transparent * (1.0 - share);
    // What the pixel shows comes from `made` by this part: wholly where nothing was before.
    let part = share / opaque;
    for (sample, made) in colour.iter_mut().zip(made) {
        *sample = S::nearest(sample.level() * (1.0 - part) + made * part);
    }
    for alpha in alpha {
        *alpha = S::nearest(255.0 * opaque);
    }
}
