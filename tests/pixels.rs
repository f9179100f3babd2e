//! Pictures, masks, frames and compositing: what lies outside of the mask never changes, and no file does harm.

use andamento_model::composite::composite;
use andamento_model::frame::{Extent, Frame};
use andamento_model::lattice::{Grid, Lattice};
use andamento_model::picture::{Mask, Picture, Rect};
use image::codecs::jpeg::JpegEncoder;
use image::{ColorType, DynamicImage, ImageEncoder, ImageFormat, Rgb, RgbImage, Rgba};
use std::io::Cursor;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::folder::Folder;

/// Every type that a picture may have.
pub(crate) const TYPES: [ColorType; 8] = [
    ColorType::L8,
    ColorType::La8,
    ColorType::Rgb8,
    ColorType::Rgba8,
    ColorType::L16,
    ColorType::La16,
    ColorType::Rgb16,
    ColorType::Rgba16,
];

/// What is kept as a PNG while nobody looks at it comes back to the last bit, whatever its type: here smooth pictures, for
/// which it is worth it, with a changed part on top.
#[test]
fn pictures_that_are_kept_small_stay_the_same() {
    for kind in TYPES {
        let size = usize::from(kind.bytes_per_pixel());
        let bytes: Vec<u8> = (0..200 * 90 * size).map(|at| (at / size / 200) as u8).collect();
        let before = picture(200, 90, kind, &bytes);
        let mut mask = Mask::new(200, 90);
        mask.fill_rect(Rect::new(20, 10, 100, 60), 255);
        let frame = Frame { rect: Rect::new(20, 10, 100, 100), size: [10; 2] };
        let after = composite(&before, &mask, &frame, &RgbImage::from_pixel(10, 10, Rgb([9, 200, 77])));
        let expected = [before.image().as_bytes().to_vec(), after.image().as_bytes().to_vec()];
        let kept = [before.packed(), after.packed()];
        drop((before, after));
        kept.iter().for_each(Picture::shrink);
        for (kept, expected) in kept.iter().zip(&expected) {
            assert!(kept.image().color() == kind && kept.image().as_bytes() == &expected[..], "{kind:?}");
        }
    }
}

/// Knuth's linear congruential generator: the same numbers on every machine.
struct Dice(u64);

impl Dice {
    /// A number from 0 to `below`, exclusive.
    fn roll(&mut self, below: u32) -> u32 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (((self.0 >> 32) * u64::from(below)) >> 32) as u32
    }

    fn unit(&mut self) -> f32 {
        self.roll(1 << 24) as f32 / (1 << 24) as f32
    }

    fn picture(&mut self, width: u32, height: u32, kind: ColorType) -> Picture {
        let mut bytes = vec![0; width as usize * height as usize * usize::from(kind.bytes_per_pixel())];
        bytes.iter_mut().for_each(|byte| *byte = self.roll(256) as u8);
        picture(width, height, kind, &bytes)
    }

    fn rgb(&mut self, side: u32) -> RgbImage {
        RgbImage::from_fn(side, side, |_, _| Rgb([self.roll(256) as u8, self.roll(256) as u8, self.roll(256) as u8]))
    }

    /// A few soft strokes, a rectangle, and some single pixels.
    fn mask(&mut self, width: u32, height: u32) -> Mask {
        let mut mask = Mask::new(width, height);
        for _ in 0..self.roll(3) {
            let mut point = || (self.unit() * width as f32, self.unit() * height as f32);
            let (from, to) = (point(), point());
            mask.line(from, to, self.unit() * 9.0, self.unit(), self.roll(4) == 0);
        }
        let (x, y) = (self.roll(width), self.roll(height));
        mask.fill_rect(Rect::new(x.into(), y.into(), self.roll(20), self.roll(20)), self.roll(256) as u8);
        for _ in 0..self.roll(4) {
            mask.fill_rect(Rect::new(self.roll(width).into(), self.roll(height).into(), 1, 1), 1);
        }
        mask
    }
}

/// A picture of any type from raw bytes in the machine's order.
fn picture(width: u32, height: u32, kind: ColorType, bytes: &[u8]) -> Picture {
    let samples = || bytes.chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]])).collect::<Vec<_>>();
    let bytes = bytes.to_vec();
    let image = match kind {
        ColorType::L8 => image::ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
        ColorType::La8 => image::ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8),
        ColorType::Rgb8 => image::ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
        ColorType::Rgba8 => image::ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        ColorType::L16 => image::ImageBuffer::from_raw(width, height, samples()).map(DynamicImage::ImageLuma16),
        ColorType::La16 => image::ImageBuffer::from_raw(width, height, samples()).map(DynamicImage::ImageLumaA16),
        ColorType::Rgb16 => image::ImageBuffer::from_raw(width, height, samples()).map(DynamicImage::ImageRgb16),
        ColorType::Rgba16 => image::ImageBuffer::from_raw(width, height, samples()).map(DynamicImage::ImageRgba16),
        _ => None,
    };
    Picture::new(image.expect("the bytes fill the picture"))
}

/// The bytes of one pixel, at the picture's own depth.
fn pixel(picture: &Picture, x: u32, y: u32) -> &[u8] {
    let size = usize::from(picture.image().color().bytes_per_pixel());
    &picture.image().as_bytes()[(y as usize * picture.width() as usize + x as usize) * size..][..size]
}

fn pixels(rect: Rect) -> impl Iterator<Item = (u32, u32)> {
    let (x, y) = (rect.x as u32..rect.right() as u32, rect.y as u32..rect.bottom() as u32);
    y.flat_map(move |y| x.clone().map(move |x| (x, y)))
}

fn grey(width: u32, height: u32, level: u8) -> Picture {
    Picture::new(DynamicImage::ImageRgb8(RgbImage::from_pixel(width, height, Rgb([level; 3]))))
}

/// The refusal, which must name the file.
fn refusal(path: &PathBuf) -> String {
    let error = Picture::open(path).expect_err("it must be refused").to_string();
    assert!(error.starts_with(&path.display().to_string()), "{error}");
    error
}

// --- compositing ---------------------------------------------------------------------------------------------------

#[test]
fn outside_of_the_mask_every_bit_stays() {
    let mut dice = Dice(1);
    for round in 0..160 {
        let kind = TYPES[round % TYPES.len()];
        let (width, height) = (1 + dice.roll(90), 1 + dice.roll(90));
        let before = dice.picture(width, height, kind);
        let mask = dice.mask(width, height);
        let size = 1 + dice.roll(64);
        let frame = match mask.bounds() {
            Some(bounds) if dice.roll(2) == 0 => Frame::around(bounds, width, height, size),
            _ => {
                let (x, y) = (i64::from(dice.roll(120)) - 60, i64::from(dice.roll(120)) - 60);
                let side = 1 + dice.roll(99);
                Frame { rect: Rect::new(x, y, side, side), size: [size; 2] }
            }
        };
        let after = composite(&before, &mask, &frame, &dice.rgb(size));
        assert_eq!((after.width(), after.height(), after.image().color()), (width, height, kind));
        for (x, y) in pixels(before.rect()) {
            if mask.get(x, y) == 0 || !frame.rect.contains_pixel(x.into(), y.into()) {
                assert_eq!(pixel(&before, x, y), pixel(&after, x, y), "{kind:?} at {x}, {y}");
            }
        }
    }
}

#[test]
fn inside_of_the_mask_the_decoded_pixels_arrive_at_the_pictures_own_depth() {
    let frame = Frame { rect: Rect::new(2, 1, 8, 8), size: [8; 2] };
    let decoded = Dice(2).rgb(8);
    let mut mask = Mask::new(12, 10);
    mask.fill_rect(Rect::new(0, 0, 12, 10), 255);
    for kind in TYPES {
        let after = composite(&Dice(3).picture(12, 10, kind), &mask, &frame, &decoded);
        for (x, y) in pixels(frame.rect) {
            let [red, green, blue] = decoded.get_pixel(x - 2, y - 1).0.map(f64::from);
            let luma = 0.2126 * red + 0.7152 * green + 0.0722 * blue;
            let colour = if kind.has_color() { vec![red, green, blue] } else { vec![luma] };
            let alpha = if kind.has_alpha() { vec![255.0] } else { vec![] };
            let wide = kind.bytes_per_pixel() / kind.channel_count() == 2;
            let expected: Vec<u8> = if wide {
                colour.iter().chain(&alpha).flat_map(|level| ((level * 257.0).round() as u16).to_ne_bytes()).collect()
            } else {
                colour.iter().chain(&alpha).map(|level| level.round() as u8).collect()
            };
            assert_eq!(pixel(&after, x, y), expected, "{kind:?} at {x}, {y}");
        }
    }
}

#[test]
fn a_soft_mask_blends_and_makes_transparent_pixels_more_opaque() {
    let frame = Frame { rect: Rect::new(0, 0, 1, 1), size: [1; 2] };
    let decoded = RgbImage::from_pixel(1, 1, Rgb([200, 100, 0]));
    let mut dice = Dice(4);
    for _ in 0..2000 {
        let share = 1 + dice.roll(255) as u8;
        let old: [u16; 4] = std::array::from_fn(|_| dice.roll(65536) as u16);
        let before = Picture::new(DynamicImage::ImageRgba16(image::ImageBuffer::from_pixel(1, 1, Rgba(old))));
        let mask = Mask::from_bytes(1, 1, vec![share]).expect("one byte for one pixel");
        let after = composite(&before, &mask, &frame, &decoded).image().to_rgba16().get_pixel(0, 0).0;

        let (alpha, share) = (f64::from(old[3]) / 65535.0, f64::from(share) / 255.0);
        let opaque = alpha + (1.0 - alpha) * share;
        for (channel, made) in [200.0, 100.0, 0.0].into_iter().enumerate() {
            let mixed = (257.0 * made * share + f64::from(old[channel]) * alpha * (1.0 - share)) / opaque;
            assert!((f64::from(after[channel]) - mixed).abs() <= 0.51, "{old:?} {share} {after:?}");
        }
        assert!((f64::from(after[3]) - 65535.0 * opaque).abs() <= 0.51);
    }
}

#[test]
fn a_decoded_frame_of_one_colour_keeps_it_at_any_scale() {
    let mut mask = Mask::new(300, 200);
    mask.invert();
    for (side, size) in [(64, 64), (200, 16), (37, 128), (300, 7), (500, 33)] {
        let frame = Frame { rect: Rect::new(-20, -9, side, side), size: [size; 2] };
        let after = composite(&grey(300, 200, 9), &mask, &frame, &RgbImage::from_pixel(size, size, Rgb([1, 128, 255])));
        for (x, y) in pixels(after.rect()) {
            let inside = frame.rect.contains_pixel(x.into(), y.into());
            assert_eq!(pixel(&after, x, y), if inside { [1, 128, 255] } else { [9; 3] }, "{side} seen at {size}");
        }
    }
}

// --- frames --------------------------------------------------------------------------------------------------------

#[test]
fn a_frame_holds_the_mask_and_stays_on_the_canvas_where_it_can() {
    let mut dice = Dice(5);
    for _ in 0..20_000 {
        let (width, height) = (1 + dice.roll(3000), 1 + dice.roll(3000));
        let (x, y) = (dice.roll(width), dice.roll(height));
        let bounds = Rect::new(x.into(), y.into(), 1 + dice.roll(width - x), 1 + dice.roll(height - y));
        let size = [64, 128, 256, 384][dice.roll(4) as usize];
        let frame = Frame::around(bounds, width, height, size);
        let (side, shorter, longer) = (frame.rect.width, width.min(height), width.max(height));
        let case = format!("{bounds:?} on {width} × {height} seen at {size}: {frame:?}");
        assert_eq!(frame.rect.width, frame.rect.height, "{case}");
        assert_eq!(frame.size, [size; 2]);
        assert!(frame.rect.contains(bounds), "{case}");
        assert!(side <= longer, "{case}");
        let canvas = Rect::canvas(width, height);
        if side <= shorter {
            assert!(canvas.contains(frame.rect), "{case}");
            assert!(side >= size.min(shorter), "{case}");
        } else {
            // The canvas's shorter direction is covered, and the rest of the square is even on both sides of it.
            assert!(frame.rect.intersect(canvas).width.min(frame.rect.intersect(canvas).height) == shorter, "{case}");
            let (before, after) = if width < height {
                (-frame.rect.x, frame.rect.right() - i64::from(width))
            } else {
                (-frame.rect.y, frame.rect.bottom() - i64::from(height))
            };
            assert!((before - after).abs() <= 1, "{case}");
            let along = if width >= height { bounds.width } else { bounds.height };
            let whole = longer <= 4 * size && f64::from(longer) <= 1.35 * f64::from(shorter);
            assert!(longer <= size || whole || 5 * along + 5 > 4 * shorter, "{case}");
        }
    }
}

#[test]
fn the_usual_frames() {
    let around = |x, y, w, h, width, height| Frame::around(Rect::new(x, y, w, h), width, height, 256);
    // A scene that the model can see whole, wholly.
    assert_eq!(around(10, 10, 20, 20, 512, 480).rect, Rect::new(0, -16, 512, 512));
    assert_eq!(around(10, 10, 20, 20, 100, 60).rect, Rect::new(0, -20, 100, 100));
    // A detail of a photograph: never closer than the model's own size, then half of the frame.
    assert_eq!(around(3000, 2000, 100, 50, 6000, 4000).rect, Rect::new(2922, 1897, 256, 256));
    assert_eq!(around(3000, 2000, 306, 200, 6000, 4000).rect, Rect::new(2847, 1794, 612, 612));
    assert_eq!(around(3000, 2000, 306, 200, 6000, 4000).describe(), "612 px seen at 256");
    assert_eq!(around(0, 3990, 306, 10, 6000, 4000).rect, Rect::new(0, 3388, 612, 612));
    // A strip added to the right: the frame is as high as the canvas.
    assert_eq!(around(1000, 0, 200, 600, 1200, 600).rect, Rect::new(600, 0, 600, 600));
    // A mask longer than the canvas is high: some of the canvas on both sides of it.
    assert_eq!(around(1000, 0, 800, 500, 3000, 500).rect, Rect::new(900, -250, 1000, 1000));
    assert_eq!(Frame { rect: Rect::new(0, 0, 384, 384), size: [256; 2] }.scale(), 1.5);
}

#[test]
fn masked_sites_are_exactly_those_that_the_mask_touches() {
    let mut dice = Dice(6);
    for _ in 0..150 {
        let (width, height) = (1 + dice.roll(80), 1 + dice.roll(80));
        let mask = dice.mask(width, height);
        let (x, y) = (i64::from(dice.roll(100)) - 50, i64::from(dice.roll(100)) - 50);
        let side = 1 + dice.roll(120);
        let frame = Frame { rect: Rect::new(x, y, side, side), size: [16; 2] };
        let (rows, cols) = (1 + dice.roll(16) as usize, 1 + dice.roll(16) as usize);
        // A pixel from `at` to `at + 1` and a site from `side * index / count` on overlap: compared without division.
        let overlap = |at: i64, index: usize, count: usize| {
            let (side, index, count) = (i64::from(side), index as i64, count as i64);
            at * count < side * (index + 1) && (at + 1) * count > side * index
        };
        let mut expected = vec![false; rows * cols];
        for (px, py) in pixels(Rect::canvas(width, height)).filter(|&(x, y)| mask.get(x, y) > 0) {
            for (index, masked) in expected.iter_mut().enumerate() {
                let (down, across) = (i64::from(py) - y, i64::from(px) - x);
                *masked |= overlap(down, index / cols, rows) && overlap(across, index % cols, cols);
            }
        }
        assert_eq!(frame.masked_sites(&mask, rows, cols), expected, "{frame:?} {rows} × {cols}");
    }
}

#[test]
fn a_frame_may_be_the_whole_canvas() {
    let trained = Lattice::grid(4, 4);
    for (width, height, grid) in [(64, 16, (4, 16)), (16, 64, (16, 4)), (100, 100, (4, 4)), (101, 40, (4, 11))] {
        let lattice = Extent::Canvas.lattice(&trained, width, height).expect("a lattice");
        let finest = lattice.finest();
        assert_eq!((finest.rows, finest.cols), grid, "{width} × {height}");
        let frame = Frame::whole(width, height, finest, 4);
        assert_eq!(frame.size, [4 * finest.cols as u32, 4 * finest.rows as u32]);
        let canvas = Rect::canvas(width, height);
        assert_eq!(frame.rect.intersect(canvas), canvas, "{width} × {height}: the frame holds the canvas");
        assert!(frame.rect.width <= width + 10 && frame.rect.height <= height + 10, "and little else");
    }
    let refined = Extent::Refined(3).lattice(&trained, 7, 5).expect("a lattice");
    assert_eq!((refined.finest(), refined.refinement()), (Grid::new(12, 12), 3));
    assert!(Extent::Canvas.lattice(&trained, 1600, 100).is_ok(), "16 times the trained tokens");
    let refusal = Extent::Canvas.lattice(&trained, 1, 100_000).expect_err("a canvas like a thread").to_string();
    assert!(refusal.contains("canvas") && refusal.contains("1 × 100000"), "{refusal}");

    // At its own size and with nothing masked, the model sees the picture itself; what is masked is filled in.
    let image = RgbImage::from_fn(64, 16, |x, y| Rgb([x as u8 * 3, y as u8 * 9, 77]));
    let frame = Frame::whole(64, 16, Grid::new(4, 16), 4);
    let picture = Picture::new(image.clone().into());
    assert_eq!(frame.view(&picture, &Mask::new(64, 16)), image);
    assert_eq!(frame.describe(), "64 × 16 px seen at 64 × 16");
    let mut mask = Mask::new(64, 16);
    mask.fill_rect(Rect::new(32, 0, 32, 16), 255);
    let filled = frame.view(&picture, &mask);
    assert!(filled.enumerate_pixels().all(|(x, y, pixel)| x >= 30 || pixel == image.get_pixel(x, y)));
    assert!(filled.pixels().all(|pixel| pixel[2].abs_diff(77) <= 1), "no colour but what is known");
}

#[test]
fn sites_tile_the_frame() {
    let frame = Frame { rect: Rect::new(-3, 5, 100, 100), size: [16; 2] };
    let mut all = Rect::default();
    for (row, col) in (0..16).flat_map(|row| (0..16).map(move |col| (row, col))) {
        let site = frame.site_rect(row, col, 16, 16);
        assert!((7..=8).contains(&site.width) && (7..=8).contains(&site.height), "{site:?}");
        all = all.union(site);
    }
    assert_eq!(all, frame.rect);
    let even = Frame { rect: Rect::new(0, 0, 256, 256), size: [256; 2] };
    assert_eq!(even.site_rect(2, 3, 16, 16), Rect::new(48, 32, 16, 16));
}

#[test]
fn the_view_shows_no_trace_of_what_is_masked() {
    let mut dice = Dice(7);
    for round in 0..64 {
        let (width, height) = (1 + dice.roll(90), 1 + dice.roll(90));
        let one = dice.picture(width, height, TYPES[round % TYPES.len()]);
        let mask = dice.mask(width, height);
        let mut bytes = one.image().as_bytes().to_vec();
        let size = usize::from(one.image().color().bytes_per_pixel());
        for (at, masked) in mask.bytes().iter().enumerate().filter(|(_, masked)| **masked > 0) {
            bytes[at * size..][..size].fill(masked ^ 0x5A);
        }
        let other = picture(width, height, one.image().color(), &bytes);
        let frame = match mask.bounds() {
            Some(bounds) if round % 2 == 0 => Frame::around(bounds, width, height, 32),
            _ => Frame { rect: Rect::new(-30, -20, 130, 130), size: [1 + dice.roll(64); 2] },
        };
        assert!(frame.view(&one, &mask) == frame.view(&other, &mask), "{frame:?} on {width} × {height}");
    }
}

#[test]
fn the_view_at_its_own_size_is_the_picture_itself() {
    let mut dice = Dice(8);
    let frame = Frame { rect: Rect::new(5, 7, 32, 32), size: [32; 2] };
    for kind in [ColorType::Rgb8, ColorType::Rgb16] {
        let picture = dice.picture(50, 60, kind);
        let view = frame.view(&picture, &Mask::new(50, 60));
        let eight = picture.to_rgb8();
        assert!(view.enumerate_pixels().all(|(x, y, pixel)| pixel == eight.get_pixel(x + 5, y + 7)), "{kind:?}");
    }
    // Beyond the edges it is mirrored.
    let picture = dice.picture(20, 10, ColorType::Rgb8);
    let view = Frame { rect: Rect::new(-4, -8, 32, 32), size: [32; 2] }.view(&picture, &Mask::new(20, 10));
    let eight = picture.to_rgb8();
    assert_eq!(view.get_pixel(3, 7), eight.get_pixel(0, 0));
    assert_eq!(view.get_pixel(0, 6), eight.get_pixel(3, 1));
    assert_eq!(view.get_pixel(25, 19), eight.get_pixel(18, 8));
}

#[test]
fn the_fill_is_smooth_and_within_what_surrounds_it() {
    // A ramp with a hole: the fill stays within the ramp's range, and rises on the whole.
    let ramp = RgbImage::from_fn(128, 128, |x, _| Rgb([40 + x as u8; 3]));
    let mut mask = Mask::new(128, 128);
    mask.fill_rect(Rect::new(30, 40, 60, 50), 255);
    let frame = Frame { rect: Rect::new(0, 0, 128, 128), size: [128; 2] };
    let view = frame.view(&Picture::new(ramp.into()), &mask);
    let at = |x: u32| i32::from(view.get_pixel(x, 65).0[0]);
    assert!((30..90).all(|x| (69..=131).contains(&at(x)) && (at(x + 1) - at(x)).abs() <= 6));
    assert!(at(40) < at(60) && at(60) < at(80));
    // One colour all round is that colour, and nothing around is mid grey.
    assert!(frame.view(&grey(128, 128, 77), &mask).pixels().all(|pixel| pixel.0 == [77; 3]));
    mask.fill_rect(Rect::new(0, 0, 128, 128), 1);
    assert!(frame.view(&grey(128, 128, 77), &mask).pixels().all(|pixel| pixel.0 == [128; 3]));
    // What is transparent is seen over mid grey.
    let clear = Picture::new(DynamicImage::new_rgba8(128, 128));
    assert!(frame.view(&clear, &Mask::new(128, 128)).pixels().all(|pixel| pixel.0 == [128; 3]));
}

// --- masks ---------------------------------------------------------------------------------------------------------

#[test]
fn a_line_is_the_union_of_its_dabs() {
    let mut dice = Dice(9);
    for _ in 0..25 {
        let mut point = || (dice.unit() * 120.0 - 20.0, dice.unit() * 100.0 - 20.0);
        let (from, to) = (point(), point());
        let (radius, hardness, erase) = (0.3 + dice.unit() * 20.0, dice.unit(), dice.roll(2) == 0);
        let start = if erase { 255 } else { 0 };
        let mut line = Mask::new(80, 60);
        line.fill_rect(Rect::new(0, 0, 80, 60), start);
        let mut dabs = line.clone();
        let touched = line.line(from, to, radius, hardness, erase);
        let steps = 24 * (to.0 - from.0).hypot(to.1 - from.1).ceil() as u32 + 1;
        for step in 0..=steps {
            let part = step as f32 / steps as f32;
            dabs.stamp(from.0 + part * (to.0 - from.0), from.1 + part * (to.1 - from.1), radius, hardness, erase);
        }
        for (x, y) in pixels(Rect::canvas(80, 60)) {
            let (a, b) = (line.get(x, y), dabs.get(x, y));
            assert!(a.abs_diff(b) <= 2, "{a} and {b} at {x}, {y}, radius {radius}, hardness {hardness}");
            assert!(touched.contains_pixel(x.into(), y.into()) || a == start);
        }
    }
}

#[test]
fn a_dab_has_the_area_of_its_circle_and_a_soft_one_less() {
    for radius in [2.0, 5.5, 17.3_f32] {
        let area = |hardness| {
            let mut mask = Mask::new(64, 64);
            mask.stamp(31.3, 32.8, radius, hardness, false);
            mask.bytes().iter().map(|&byte| f32::from(byte)).sum::<f32>() / 255.0
        };
        let circle = std::f32::consts::PI * radius * radius;
        assert!((area(1.0) / circle - 1.0).abs() < 0.02, "{} for {circle}", area(1.0));
        assert!(area(0.0) < area(0.5) && area(0.5) < area(1.0));
    }
}

#[test]
fn strokes_beyond_the_canvas_or_reason_do_no_harm() {
    let mut mask = Mask::new(10, 10);
    let mut nothing = |from, to, radius| mask.line(from, to, radius, 1.0, false).is_empty();
    assert!(nothing((-50.0, 3.0), (-20.0, 3.0), 4.0));
    assert!(nothing((1e30, 1e30), (1e30, 2e30), 4.0));
    assert!(nothing((f32::NAN, 3.0), (5.0, 3.0), 4.0));
    assert!(nothing((5.0, 3.0), (5.0, 3.0), 0.0) && nothing((5.0, 3.0), (5.0, 3.0), f32::INFINITY));
    assert!(mask.is_empty());
    assert_eq!(mask.stamp(5.0, 5.0, 1e9, 1.0, false), Rect::canvas(10, 10));
    assert!(mask.bytes().iter().all(|&byte| byte == 255));
}

#[test]
fn a_mask_knows_its_bounds_and_a_clone_keeps_its_own() {
    let mut dice = Dice(10);
    for _ in 0..100 {
        let (width, height) = (1 + dice.roll(50), 1 + dice.roll(50));
        let mask = dice.mask(width, height);
        let set = pixels(Rect::canvas(width, height)).filter(|&(x, y)| mask.get(x, y) > 0);
        let around = set.fold(Rect::default(), |all, (x, y)| all.union(Rect::new(x.into(), y.into(), 1, 1)));
        assert_eq!(mask.bounds(), (!around.is_empty()).then_some(around));
        assert_eq!(mask.is_empty(), around.is_empty());

        let mut other = mask.clone();
        other.invert();
        assert!(pixels(Rect::canvas(width, height)).all(|(x, y)| other.get(x, y) == 255 - mask.get(x, y)));
        other.invert();
        assert_eq!(other, mask);

        let [left, top, right, bottom] = std::array::from_fn(|_| dice.roll(9));
        let grown = mask.extended(left, top, right, bottom, 255).expect("it is small");
        let inner = Rect::new(left.into(), top.into(), width, height);
        assert_eq!((grown.width(), grown.height()), (width + left + right, height + top + bottom));
        assert!(pixels(Rect::canvas(grown.width(), grown.height())).all(|(x, y)| {
            grown.get(x, y) == if inner.contains_pixel(x.into(), y.into()) { mask.get(x - left, y - top) } else { 255 }
        }));
    }
    assert_eq!(Mask::new(4, 4).get(4, 0), 0);
    assert!(Mask::from_bytes(4, 4, vec![0; 15]).is_err());
}

#[test]
fn a_mask_survives_its_file() {
    let folder = Folder::new("mask");
    let mask = Dice(11).mask(40, 30);
    let path = folder.write("mask.png", mask.png_bytes().expect("it has pixels"));
    assert_eq!(Mask::open(&path).expect("it was just written"), mask);
    assert_eq!(Picture::open(&path).expect("it was just written").image().color(), ColorType::L8);
    assert!(Mask::new(0, 0).png_bytes().is_err());
}

// --- files ---------------------------------------------------------------------------------------------------------

#[test]
fn a_picture_survives_its_file_at_its_own_depth() {
    let folder = Folder::new("round-trip");
    for kind in TYPES {
        let picture = Dice(12).picture(33, 21, kind);
        let bytes = picture.png_bytes().expect("it has pixels");
        assert_eq!(bytes, picture.png_bytes().expect("it has pixels"), "the same picture is the same file");
        // The name says something else, and the content counts.
        let opened = Picture::open(folder.write("picture.jpg", &bytes)).expect("it was just written");
        assert_eq!(opened.image().color(), kind);
        assert!(opened == picture, "{kind:?}");
    }
}

#[test]
fn other_formats_open_and_floating_point_becomes_16_bit() {
    let folder = Folder::new("formats");
    let picture = Dice(13).picture(20, 10, ColorType::Rgb8);
    for format in [ImageFormat::Tiff, ImageFormat::Bmp, ImageFormat::WebP] {
        let mut bytes = Cursor::new(Vec::new());
        picture.image().write_to(&mut bytes, format).expect("the format is built in");
        let opened = Picture::open(folder.write("no extension", bytes.get_ref())).expect("it was just written");
        assert_eq!(opened.to_rgb8(), picture.to_rgb8(), "{format:?}");
    }
    let mut bytes = Cursor::new(Vec::new());
    let gif = DynamicImage::ImageRgba8(picture.image().to_rgba8());
    gif.write_to(&mut bytes, ImageFormat::Gif).expect("the format is built in");
    assert_eq!(
        Picture::open(folder.write("a.gif", bytes.get_ref())).expect("it was just written").rect(),
        picture.rect()
    );
    let mut bytes = Cursor::new(Vec::new());
    let float = DynamicImage::ImageRgb32F(image::ImageBuffer::from_pixel(2, 2, Rgb([0.5, -1.0, f32::NAN])));
    float.write_to(&mut bytes, ImageFormat::Tiff).expect("the format is built in");
    let opened = Picture::open(folder.write("float.tiff", bytes.get_ref())).expect("it was just written");
    assert_eq!(opened.image().color(), ColorType::Rgb16);
    assert_eq!(opened.image().to_rgb16().get_pixel(1, 1).0[..2], [32768, 0]);
}

#[test]
fn what_is_no_picture_is_refused_with_its_reason() {
    let folder = Folder::new("refusals");
    assert!(refusal(&folder.0.join("nothing.png")).contains("no such file"));
    assert!(refusal(&folder.0).contains("folder"));
    assert!(refusal(&folder.write("empty.png", b"")).contains("empty"));
    assert!(refusal(&folder.write("letter.png", "Sehr geehrte Frau Müller,\n".as_bytes())).contains("text file"));
    assert!(refusal(&folder.write("noise.png", [0, 1, 2, 3, 200, 7, 0, 0])).contains("not a picture"));
    assert!(refusal(&folder.write("other.png", b"qoif\0\0\0\x01\0\0\0\x01\x03\0")).contains("Qoi"));
    let picture = Dice(14).picture(60, 60, ColorType::Rgb8);
    for format in [ImageFormat::Png, ImageFormat::Jpeg, ImageFormat::Bmp, ImageFormat::WebP, ImageFormat::Tiff] {
        let mut bytes = Cursor::new(Vec::new());
        picture.image().write_to(&mut bytes, format).expect("the format is built in");
        let bytes = bytes.into_inner();
        assert!(Picture::open(folder.write("whole", &bytes)).is_ok(), "{format:?}");
        for length in [bytes.len() / 3, bytes.len() / 2, bytes.len() * 9 / 10] {
            let refusal = refusal(&folder.write("truncated", &bytes[..length]));
            assert!(refusal.contains("ends before") || refusal.contains("damaged"), "{format:?}: {refusal}");
        }
    }
}

/// The start of a PNG as a decompression bomb has it: all that is read before it is refused. Colour 0 is grey, 4 is
/// grey with alpha.
fn png_header(width: u32, height: u32, bits: u8, colour: u8) -> Vec<u8> {
    let mut file = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |name: &[u8], data: &[u8]| {
        let body = [name, data].concat();
        let crc = !body.iter().fold(u32::MAX, |crc, &byte| {
            (0..8).fold(crc ^ u32::from(byte), |crc, _| (crc >> 1) ^ (0xEDB8_8320 * (crc & 1)))
        });
        file.extend([&(data.len() as u32).to_be_bytes()[..], &body, &crc.to_be_bytes()].concat());
    };
    chunk(b"IHDR", &[&width.to_be_bytes()[..], &height.to_be_bytes(), &[bits, colour, 0, 0, 0]].concat());
    chunk(b"IDAT", &[0; 58_000]);
    chunk(b"IEND", &[]);
    file
}

#[test]
fn bombs_are_refused_at_once_with_their_size() {
    let folder = Folder::new("bombs");
    let start = Instant::now();
    assert!(refusal(&folder.write("bomb.png", png_header(22_000, 22_000, 8, 0))).contains("22000 × 22000 pixels"));
    assert!(refusal(&folder.write("bits.png", png_header(22_000, 22_000, 1, 0))).contains("22000 × 22000 pixels"));
    assert!(refusal(&folder.write("deep.png", png_header(13_000, 13_000, 16, 4))).contains("13000 × 13000 pixels"));
    assert!(refusal(&folder.write("long.png", png_header(2_000_000_000, 2, 8, 0))).contains("memory"));
    let parts: [&[u8]; 6] =
        [b"RIFF\x1e\0\0\0WEBP", b"VP8X\x0a\0\0\0", &[0x20, 0, 0, 0, 9, 0, 0, 9, 0, 0], b"ICCP", &[255; 4], &[0; 9]];
    assert!(refusal(&folder.write("part.webp", parts.concat())).contains("ends before"));
    assert!(start.elapsed() < Duration::from_secs(1));
    let huge = grey(10, 10, 1).extended(0, 0, u32::MAX, u32::MAX).expect_err("it must be refused").to_string();
    assert!(huge.contains("4294967305 × 4294967305 pixels"), "{huge}");
    assert!(Mask::new(10, 10).extended(0, 100_000, 0, 100_000_000, 0).is_err());
}

#[test]
fn a_photograph_stands_upright_and_keeps_its_profile() {
    // Little endian, one directory with one entry: the orientation.
    let exif = |orientation: u8| {
        let mut block = b"II\x2a\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0".to_vec();
        block.extend([orientation, 0, 0, 0, 0, 0, 0, 0]);
        block
    };
    let mut profile = vec![0; 128];
    profile[16..20].copy_from_slice(b"RGB ");
    let folder = Folder::new("exif");
    // Dark with a light corner at the top left, which orientation 6 turns to the top right.
    let stored = RgbImage::from_fn(48, 32, |x, y| Rgb([if x < 16 && y < 16 { 230 } else { 20 }; 3]));
    let mut bytes = Vec::new();
    let mut encoder = JpegEncoder::new_with_quality(&mut bytes, 95);
    encoder.set_exif_metadata(exif(6)).expect("JPEG has EXIF");
    encoder.set_icc_profile(profile.clone()).expect("JPEG has profiles");
    encoder.encode_image(&stored).expect("memory can be written");
    let upright = Picture::open(folder.write("photo.jpg", &bytes)).expect("it was just written");
    assert_eq!((upright.width(), upright.height()), (32, 48));
    let light = |x, y| upright.to_rgb8().get_pixel(x, y).0[0] > 128;
    assert!(light(24, 8) && !light(8, 8) && !light(8, 40) && !light(24, 40));
    // An edit keeps both, and what is opened again is not turned a second time.
    let mut mask = Mask::new(32, 48);
    mask.invert();
    let frame = Frame::around(Rect::canvas(32, 48), 32, 48, 64);
    let edited = composite(&upright, &mask, &frame, &RgbImage::new(64, 64)).extended(1, 2, 3, 4).expect("it is small");
    let bytes = edited.png_bytes().expect("it has pixels");
    assert!(bytes.windows(4).any(|name| name == b"iCCP") && bytes.windows(4).any(|name| name == b"eXIf"));
    assert!(bytes.windows(26).any(|block| block == exif(1)));
    let again = Picture::open(folder.write("edited.png", &bytes)).expect("it was just written");
    assert!(again == edited);
}

#[test]
fn a_jpeg_with_something_behind_it_still_opens() {
    let folder = Folder::new("trailer");
    let mut bytes = Cursor::new(Vec::new());
    Dice(15).picture(40, 40, ColorType::Rgb8).image().write_to(&mut bytes, ImageFormat::Jpeg).expect("built in");
    let mut bytes = bytes.into_inner();
    bytes.extend([0xFF, 0xDA, 0, 1, 2, 3]); // as the films behind some telephones' photographs
    assert!(Picture::open(folder.write("motion.jpg", &bytes)).is_ok());
}

#[test]
fn a_grown_canvas_keeps_the_picture_and_continues_its_edges() {
    let mut dice = Dice(16);
    for round in 0..40 {
        let kind = TYPES[round % TYPES.len()];
        let before = dice.picture(1 + dice.0 as u32 % 30, 1 + dice.0 as u32 % 23, kind);
        let [left, top, right, bottom] = std::array::from_fn(|_| dice.roll(12));
        let after = before.extended(left, top, right, bottom).expect("it is small");
        assert_eq!(after.image().color(), kind);
        assert_eq!((after.width(), after.height()), (before.width() + left + right, before.height() + top + bottom));
        let inner = Rect::new(left.into(), top.into(), before.width(), before.height());
        for (x, y) in pixels(after.rect()) {
            if inner.contains_pixel(x.into(), y.into()) {
                assert_eq!(pixel(&after, x, y), pixel(&before, x - left, y - top));
            } else if kind.has_alpha() {
                assert!(pixel(&after, x, y).iter().all(|&byte| byte == 0));
            } else if x + 1 == left && (top..top + before.height()).contains(&y) {
                assert_eq!(pixel(&after, x, y), pixel(&before, 0, y - top), "the first new column is the edge itself");
            }
        }
    }
    let plain = grey(9, 5, 200).extended(30, 20, 10, 40).expect("it is small");
    assert!(plain.to_rgb8().pixels().all(|pixel| pixel.0 == [200; 3]));
}
