//! Masks: their algebra, the brush, selections and edges, and the frames in which a large one is painted; each against the
//! plainest way of saying the same.

use andamento_model::frame::{Extent, Frame, sequence, shared};
use andamento_model::lattice::Lattice;
use andamento_model::picture::{Combine, MOST_EDGE, Mask, Picture, Rect};
use image::{DynamicImage, Luma, Rgb, RgbImage, Rgba, RgbaImage};
use proptest::prelude::*;
use std::time::Instant;

/// What a mask is made of: rectangles of a value and strokes, larger than a tile, flat and soft.
#[derive(Debug, Clone)]
enum Mark {
    Fill(Rect, u8),
    Line([f32; 4], f32, f32, bool),
}

fn mark(side: i64) -> impl Strategy<Value = Mark> {
    let length = 0..side as u32;
    let rect = (-20..side, -20..side, length.clone(), length);
    let reach = side as f32;
    let points = prop::array::uniform4(-10.0..reach);
    prop_oneof![
        (rect, prop_oneof![Just(0), Just(255), any::<u8>()])
            .prop_map(|((x, y, width, height), value)| Mark::Fill(Rect::new(x, y, width, height), value)),
        (points, 0.5..80.0_f32, 0.0..=1.0_f32, any::<bool>())
            .prop_map(|(points, radius, hardness, erase)| Mark::Line(points, radius, hardness, erase)),
    ]
}

fn drawn(width: u32, height: u32, marks: &[Mark]) -> Mask {
    let mut mask = Mask::new(width, height);
    for mark in marks {
        match mark {
            Mark::Fill(rect, value) => mask.fill_rect(*rect, *value),
            Mark::Line([a, b, c, d], radius, hardness, erase) => {
                mask.line((*a, *b), (*c, *d), *radius, *hardness, *erase)
            }
        };
    }
    mask
}

/// So many masks of one size.
fn masks(count: usize) -> impl Strategy<Value = Vec<Mask>> {
    let marks = prop::collection::vec(prop::collection::vec(mark(300), 0..5), count);
    (1..300_u32, 1..300_u32, marks)
        .prop_map(|(width, height, marks)| marks.iter().map(|marks| drawn(width, height, marks)).collect())
}

fn combined(mask: &Mask, other: &Mask, how: Combine) -> Mask {
    mask.combined(other, how).expect("they are of one size")
}

/// The largest byte of every pixel's disc, looked up pixel by pixel.
fn plainly_grown(mask: &Mask, radius: i64) -> Vec<u8> {
    let (width, height) = (i64::from(mask.width()), i64::from(mask.height()));
    let disc: Vec<(i64, i64)> = (-radius..=radius)
        .flat_map(|dy| (-radius..=radius).map(move |dx| (dx, dy)))
        .filter(|(dx, dy)| dx * dx + dy * dy <= radius * radius)
        .collect();
    let bytes = mask.bytes();
    let byte = |x: i64, y: i64| {
        let inside = (0..width).contains(&x) && (0..height).contains(&y);
        if inside { bytes[(y * width + x) as usize] } else { 0 }
    };
    let at = |index: i64| disc.iter().map(|(dx, dy)| byte(index % width + dx, index / width + dy)).max().unwrap_or(0);
    (0..width * height).map(at).collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn adding_and_intersecting_are_a_lattice_and_subtracting_is_intersecting_with_the_rest(masks in masks(3)) {
        use Combine::{Add, Intersect, Replace, Subtract};
        let [a, b, c] = [&masks[0], &masks[1], &masks[2]];
        for how in [Add, Intersect] {
            prop_assert_eq!(combined(a, b, how), combined(b, a, how));
            let (left, right) = (combined(&combined(a, b, how), c, how), combined(a, &combined(b, c, how), how));
            prop_assert_eq!(left, right);
            prop_assert_eq!(&combined(a, a, how), a);
        }
        prop_assert_eq!(&combined(a, &combined(a, b, Intersect), Add), a);
        prop_assert_eq!(&combined(a, &combined(a, b, Add), Intersect), a);
        prop_assert_eq!(combined(a, b, Add).inverted(), combined(&a.inverted(), &b.inverted(), Intersect));
        prop_assert_eq!(combined(a, b, Subtract), combined(a, &b.inverted(), Intersect));
        prop_assert_eq!(&combined(a, b, Replace), b);
        prop_assert_eq!(&a.inverted().inverted(), a);
        // Each byte by itself says the same.
        for (how, byte) in [
            (Add, (|a, b| a.max(b)) as fn(u8, u8) -> u8),
            (Subtract, |a, b| a.min(255 - b)),
            (Intersect, |a, b| a.min(b)),
        ] {
            let plain: Vec<u8> = a.bytes().iter().zip(b.bytes()).map(|(a, b)| byte(*a, b)).collect();
            prop_assert_eq!(combined(a, b, how).bytes(), plain);
        }
    }

    #[test]
    fn tiles_say_what_bytes_say(masks in masks(1), rect in (-40..340_i64, -40..340_i64, 0..200_u32, 0..200_u32), grown in prop::array::uniform4(0..150_u32)) {
        let mask = &masks[0];
        let (width, height, bytes) = (mask.width(), mask.height(), mask.bytes());
        let again = Mask::from_bytes(width, height, bytes.clone()).expect("the bytes fill it");
        prop_assert_eq!(&again, mask);
        prop_assert_eq!(mask.is_empty(), bytes.iter().all(|byte| *byte == 0));
        let rect = Rect::new(rect.0, rect.1, rect.2, rect.3);
        let byte = |x: i64, y: i64| match (u32::try_from(x), u32::try_from(y)) {
            (Ok(x), Ok(y)) if x < width && y < height => bytes[(y * width + x) as usize],
            _ => 0,
        };
        let pixels = || (rect.y..rect.bottom()).flat_map(|y| (rect.x..rect.right()).map(move |x| (x, y)));
        let plain: Vec<u8> = pixels().map(|(x, y)| byte(x, y)).collect();
        prop_assert_eq!(mask.touches(rect), plain.iter().any(|byte| *byte > 0));
        if let Some(flat) = mask.flat(rect) {
            prop_assert!(plain.iter().all(|byte| *byte == flat));
        }
        prop_assert_eq!(mask.copied(rect), plain);
        let within = mask.within(rect);
        for (index, kept) in within.bytes().into_iter().enumerate() {
            let (x, y) = ((index as u32 % width).into(), (index as u32 / width).into());
            prop_assert_eq!(kept, if rect.contains_pixel(x, y) { bytes[index] } else { 0 });
            prop_assert_eq!(mask.get(index as u32 % width, index as u32 / width), bytes[index]);
        }
        let on = (0..bytes.len()).filter(|index| bytes[*index] > 0);
        let bounds = on.map(|index| Rect::new((index as u32 % width).into(), (index as u32 / width).into(), 1, 1));
        prop_assert_eq!(mask.bounds(), bounds.reduce(|one, other| one.union(other)));
        let [left, top, right, bottom] = grown;
        let larger = mask.extended(left, top, right, bottom, 255).expect("it is not too large");
        for (index, byte) in larger.bytes().into_iter().enumerate() {
            let (x, y) = (index as u32 % larger.width(), index as u32 / larger.width());
            let old = Rect::new(left.into(), top.into(), width, height).contains_pixel(x.into(), y.into());
            prop_assert_eq!(byte, if old { mask.get(x - left, y - top) } else { 255 });
        }
    }

    #[test]
    fn erasing_from_everything_leaves_what_painting_on_nothing_does_not_make(
        points in prop::array::uniform4(-40.0..640.0_f32), radii in prop::array::uniform2(0.6..250.0_f32), hardness in 0.0..=1.0_f32,
    ) {
        let (from, to, radii) = ((points[0], points[1]), (points[2], points[3]), (radii[0], radii[1]));
        let (mut nothing, mut everything) = (Mask::new(600, 500), Mask::new(600, 500).inverted());
        let painted = nothing.taper(from, to, radii, hardness, false);
        prop_assert_eq!(everything.taper(from, to, radii, hardness, true), painted);
        prop_assert_eq!(&nothing.inverted(), &everything);
        // Nothing outside of the rectangle that it says it changed, and nothing again when it is done again.
        prop_assert!(nothing.bounds().is_none_or(|bounds| painted.contains(bounds)));
        let once = nothing.clone();
        nothing.taper(from, to, radii, hardness, false);
        prop_assert_eq!(nothing, once);
    }

    #[test]
    fn growing_takes_the_largest_byte_of_a_disc_and_shrinking_is_its_mirror_image(masks in masks(2), radius in 0..9_u32) {
        let [a, b] = [&masks[0], &masks[1]];
        let grown = a.grown(radius);
        prop_assert_eq!(grown.bytes(), plainly_grown(a, radius.into()));
        prop_assert_eq!(a.shrunk(radius), a.inverted().grown(radius).inverted());
        // Closing fills, opening clears, and both leave what they made when they are done again.
        let (closed, opened) = (grown.shrunk(radius), a.shrunk(radius).grown(radius));
        prop_assert_eq!(&combined(&closed, a, Combine::Add), &closed);
        prop_assert_eq!(&combined(&opened, a, Combine::Intersect), &opened);
        prop_assert_eq!(&closed.grown(radius).shrunk(radius), &closed);
        prop_assert_eq!(&opened.shrunk(radius).grown(radius), &opened);
        // What lies within another one still does.
        let both = combined(a, b, Combine::Add).grown(radius);
        prop_assert_eq!(both, combined(&grown, &b.grown(radius), Combine::Add));
    }

    #[test]
    fn feathering_changes_nothing_further_away_than_its_radius(masks in masks(1), radius in 0..24_u32) {
        let mask = &masks[0];
        let feathered = mask.feathered(radius);
        let (width, height) = (mask.width(), mask.height());
        for (x, y) in (0..height).step_by(3).flat_map(|y| (0..width).step_by(3).map(move |x| (x, y))) {
            let around = |at: u32, length: u32| at.saturating_sub(radius)..(at + radius + 1).min(length);
            let near = around(y, height).flat_map(|y| around(x, width).map(move |x| (x, y)));
            let (least, most) = near.map(|(x, y)| mask.get(x, y)).fold((255, 0), |(least, most), byte| (byte.min(least), byte.max(most)));
            prop_assert!((least..=most).contains(&feathered.get(x, y)), "at {}, {}", x, y);
        }
        let whole = Mask::new(width, height).inverted();
        prop_assert_eq!(&whole.feathered(radius), &whole);
        prop_assert_eq!(&mask.feathered(0), mask);
    }

    #[test]
    fn a_mask_comes_back_from_its_file(masks in masks(1)) {
        let mask = &masks[0];
        let path = std::env::temp_dir().join(format!("andamento-mask-{}.png", std::process::id()));
        std::fs::write(&path, mask.png_bytes().expect("it has pixels")).expect("the folder can be written");
        let again = Mask::open_for(&path, mask.width(), mask.height());
        let refused = Mask::open_for(&path, mask.width() + 1, mask.height()).map_err(|error| error.to_string());
        std::fs::remove_file(&path).expect("the file can be removed");
        prop_assert_eq!(&again.expect("it is a mask"), mask);
        let refused = refused.expect_err("it is of another size");
        prop_assert!(refused.contains("andamento-mask") && refused.contains("pixels, and the picture"), "{}", refused);
    }

    #[test]
    fn the_wand_takes_what_a_plain_flood_would(
        width in 1..60_u32, height in 1..60_u32, seed in any::<u64>(), colours in 1..6_u32, tolerance in 0..90_u8,
        contiguous in any::<bool>(), kind in 0..4_u8, place in (0.0..1.0_f32, 0.0..1.0_f32),
    ) {
        // Blotches of few colours with a little noise.
        let noise = |x: u32, y: u32| ((u64::from(x) * 0x9E37_79B9) ^ (u64::from(y) * 0x85EB_CA6B) ^ seed).wrapping_mul(0xD6E8_FEB8_6659_FD93) >> 40;
        let level = |x: u32, y: u32| ((noise(x / 5, y / 5) as u32 % colours * 40) + noise(x, y) as u32 % 20) as u8;
        let picture = Picture::new(match kind {
            0 => DynamicImage::ImageLuma8(image::ImageBuffer::from_fn(width, height, |x, y| Luma([level(x, y)]))),
            1 => DynamicImage::ImageRgb8(RgbImage::from_fn(width, height, |x, y| Rgb([level(x, y), 7, 9]))),
            2 => DynamicImage::ImageRgba8(RgbaImage::from_fn(width, height, |x, y| Rgba([5, 5, 5, level(x, y)]))),
            _ => DynamicImage::ImageRgb16(image::ImageBuffer::from_fn(width, height, |x, y| Rgb([u16::from(level(x, y)) * 257; 3]))),
        });
        let (x, y) = ((place.0 * width as f32) as u32, (place.1 * height as f32) as u32);
        let near = |px: u32, py: u32| level(px, py).abs_diff(level(x, y)) <= tolerance;
        let mut taken = vec![false; (width * height) as usize];
        let mut waiting = vec![(x, y)];
        while let Some((x, y)) = waiting.pop() {
            let at = (y * width + x) as usize;
            if !taken[at] && near(x, y) {
                taken[at] = true;
                let sides = [(x.wrapping_sub(1), y), (x + 1, y), (x, y.wrapping_sub(1)), (x, y + 1)];
                waiting.extend(sides.into_iter().filter(|(x, y)| *x < width && *y < height));
            }
        }
        if !contiguous {
            taken = (0..width * height).map(|at| near(at % width, at / width)).collect();
        }
        let expected: Vec<u8> = taken.into_iter().map(|taken| if taken { 255 } else { 0 }).collect();
        prop_assert_eq!(picture.similar(x, y, tolerance, contiguous).bytes(), expected);
    }

    #[test]
    fn passes_share_out_the_mask_and_go_on_from_what_is_known(
        width in 40..1300_u32, height in 40..1300_u32, given in (0.0..1.0_f32, 0.0..1.0_f32, 0.1..1.0_f32, 0.1..1.0_f32),
        marks in prop::collection::vec(mark(1300), 0..3), outpaint in any::<bool>(),
        overlap in prop_oneof![Just(0_u32), 1..40_u32],
        chosen in prop::option::of((0.0..1.0_f32, 0.0..1.0_f32, 40..700_u32)),
    ) {
        let mut mask = Mask::new(width, height);
        let share = |share: f32, of: u32| (share * of as f32) as u32;
        let content = Rect::new(share(given.0 * (1.0 - given.2), width).into(), share(given.1 * (1.0 - given.3), height).into(), share(given.2, width).max(1), share(given.3, height).max(1));
        if outpaint {
            mask.fill_rect(mask.rect(), 255);
            mask.fill_rect(content, 0);
        } else {
            mask = drawn(width, height, &marks);
        }
        let chosen = chosen.map(|(x, y, side)| Rect::new(share(x, width).into(), share(y, height).into(), side, side));
        let trained = Lattice::grid(8, 8);
        let planned = sequence(Extent::Trained, &mask, &trained, 16, overlap, chosen);
        if chosen.is_some_and(|chosen| chosen.width > 4 * width.max(height)) {
            prop_assert!(planned.expect_err("it is of no use").to_string().contains("far more than the canvas has"));
            return Ok(());
        }
        let (passes, lattice) = planned.expect("it can be planned");
        prop_assert_eq!(&lattice, &trained);
        let (mut unmade, mut made, mut rims) = (mask.clone(), Mask::new(width, height), Mask::new(width, height));
        for (index, pass) in passes.iter().enumerate() {
            let frame = pass.frame.rect;
            prop_assert_eq!((frame.width, pass.frame.size), (frame.height, [128; 2]));
            // Its part of the mask is what lies in its frame and was not made before, byte for byte, and beside it nothing
            // but rims of earlier passes.
            let new = unmade.within(frame);
            prop_assert!(!new.is_empty(), "pass {} makes nothing new", index);
            let part = |of: &Mask| pass.mask.combined(of, Combine::Intersect).expect("of one size");
            prop_assert_eq!(&part(&made.inverted()), &new);
            let again = part(&made);
            let within = |of: &Mask| again.combined(of, Combine::Intersect).expect("of one size") == again;
            prop_assert!(again == again.within(frame) && within(&mask) && within(&rims), "pass {} beyond rims", index);
            let first = index == 0 && chosen.is_some();
            let side = frame.width;
            if passes.len() > 1 && !first && side <= width.min(height) {
                prop_assert!(mask.rect().contains(frame), "{:?} on {} × {}", frame, width, height);
            }
            let sees_given = outpaint && !content.is_empty() && content.width >= side && content.height >= side;
            if passes.len() > 1 && !first && (sees_given || (index > 0 && chosen.is_none())) {
                let seen = frame.intersect(mask.rect());
                let known = pass.mask.copied(seen).iter().filter(|byte| **byte == 0).count();
                prop_assert!(known > 0, "pass {} of {} at {:?} sees nothing that is known", index, passes.len(), frame);
            }
            unmade.fill_rect(frame, 0);
            made.fill_rect(frame, 255);
            let rim = (overlap as f32 * pass.frame.scale()).ceil() as i64;
            let inner = i64::from(frame.width) - 2 * rim;
            let inner = Rect::new(frame.x + rim, frame.y + rim, inner.max(0) as u32, inner.max(0) as u32);
            let mut edge = Mask::new(width, height);
            edge.fill_rect(frame, 255);
            edge.fill_rect(inner, 0);
            rims = rims.combined(&edge, Combine::Add).expect("of one size");
        }
        prop_assert!(unmade.is_empty(), "everything is made");
        if let (Some(chosen), Some(pass)) = (chosen, passes.first()) {
            prop_assert!(!mask.touches(chosen) || pass.frame.rect == chosen, "the chosen frame comes first");
        }
    }
}

/// Where passes meet the earlier one leaves a rim of one token to the later one; where nothing comes after it, none.
#[test]
fn a_rim_is_made_again_by_the_pass_that_sees_both_sides() {
    let frame = |x, y| Frame { rect: Rect::new(x, y, 256, 256), size: [128; 2] };
    let mut mask = Mask::new(600, 256);
    mask.fill_rect(Rect::new(100, 0, 500, 256), 255);
    let bounds = |frames: &[Frame], overlap| {
        shared(&mask, frames, overlap).iter().map(|pass| pass.mask.bounds().expect("a part")).collect::<Vec<_>>()
    };
    let frames = [frame(0, 0), frame(150, 0), frame(344, 0)];
    assert_eq!(
        bounds(&frames, 0),
        [Rect::new(100, 0, 156, 256), Rect::new(256, 0, 150, 256), Rect::new(406, 0, 194, 256)]
    );
    // 16 of the model's pixels are 32 of the canvas's here.
    let parts = [Rect::new(100, 0, 156, 256), Rect::new(224, 0, 182, 256), Rect::new(374, 0, 226, 256)];
    assert_eq!(bounds(&frames, 16), parts);
    assert_eq!(bounds(&frames[..1], 16), parts[..1], "a pass alone has no rim");
    // One that lies within the others makes nothing new, and is left out.
    assert_eq!(bounds(&[frames[0], frames[1], frame(20, 0), frames[2]], 16), parts);
    // Around a corner.
    let mut mask = Mask::new(400, 400);
    mask.fill_rect(mask.rect(), 255);
    let corners = [frame(0, 0), frame(144, 0), frame(0, 144), frame(144, 144)];
    let passes = shared(&mask, &corners, 16);
    let settled = |pass: usize, x: u32, y: u32| passes[pass + 1..].iter().all(|later| later.mask.get(x, y) == 0);
    assert!(settled(0, 223, 223) && !settled(0, 224, 10) && !settled(0, 10, 224) && !settled(0, 255, 255));
    assert!(settled(1, 300, 223) && !settled(1, 300, 224) && settled(1, 399, 0));
    assert!(passes[3].mask.get(399, 399) == 255 && passes[3].mask.get(223, 223) == 0);
}

#[test]
fn the_usual_passes() {
    let trained = Lattice::grid(16, 16);
    let frames = |width, height, masked: Rect, chosen| {
        let mut mask = Mask::new(width, height);
        mask.fill_rect(masked, 255);
        let (passes, _) = sequence(Extent::Trained, &mask, &trained, 16, 0, chosen).expect("it can be planned");
        passes.into_iter().map(|pass| pass.frame.rect).collect::<Vec<_>>()
    };
    assert_eq!(frames(512, 512, Rect::default(), None), []);
    // A picture that is seen whole, and a detail of a large one.
    assert_eq!(frames(512, 480, Rect::new(10, 10, 20, 20), None), [Rect::new(0, -16, 512, 512)]);
    assert_eq!(frames(6000, 4000, Rect::new(3000, 2000, 306, 200), None), [Rect::new(2847, 1794, 612, 612)]);
    // Extended to the right by as much as there was: two squares, the first with more of what is given.
    let passes = frames(1024, 512, Rect::new(512, 0, 512, 512), None);
    assert_eq!(passes, [Rect::new(384, 0, 512, 512), Rect::new(512, 0, 512, 512)]);
    // A part of a photograph that would be a blur in one look.
    let passes = frames(6000, 4000, Rect::new(1000, 1000, 3000, 2000), None);
    assert!(passes.len() > 4 && passes.iter().all(|frame| frame.width == 1024), "{passes:?}");
    // A chosen square comes first, and gives the others their size.
    let chosen = Rect::new(700, 100, 300, 300);
    let passes = frames(2000, 1000, Rect::new(600, 200, 700, 300), Some(chosen));
    assert!(passes[0] == chosen && passes.len() > 2 && passes.iter().all(|frame| frame.width == 300), "{passes:?}");
    // What is of no use is refused by name.
    let mut mask = Mask::new(300, 300);
    mask.fill_rect(Rect::new(0, 0, 50, 50), 255);
    for rect in [Rect::new(0, 0, 4, 4), Rect::new(0, 0, 100, 90), Rect::new(0, 0, 9000, 9000)] {
        let error = sequence(Extent::Trained, &mask, &trained, 16, 0, Some(rect)).expect_err("it is of no use");
        assert!(error.to_string().starts_with("frame: "), "{error}");
    }
}

#[test]
fn a_polygon_covers_its_area_whatever_its_size() {
    // With corners on whole pixels it is a rectangle, beyond the squares in which it is drawn, and beyond the canvas.
    for (left, top, right, bottom) in [(3, 4, 40, 50), (100, 7, 4700, 2300), (-500, -20, 90, 9000)] {
        let corners = [(left, top), (right, top), (right, bottom), (left, bottom)].map(|(x, y)| (x as f32, y as f32));
        let mut expected = Mask::new(5000, 2500);
        expected.fill_rect(Rect::new(left, top, (right - left) as u32, (bottom - top) as u32), 255);
        assert!(Mask::polygon(5000, 2500, &corners) == expected, "{left} {top} {right} {bottom}");
    }
    let triangle = [(10.5, 20.25), (4090.0, 700.0), (900.0, 2400.5)];
    let twice: f32 = (0..3)
        .map(|at| {
            let ((x0, y0), (x1, y1)) = (triangle[at], triangle[(at + 1) % 3]);
            x0 * y1 - x1 * y0
        })
        .sum();
    let covered: f64 = Mask::polygon(5000, 2500, &triangle).bytes().iter().map(|byte| f64::from(*byte) / 255.0).sum();
    assert!((covered / f64::from(twice.abs() / 2.0) - 1.0).abs() < 1e-3, "{covered} of {}", twice / 2.0);
    // Lines that cross leave no hole, and nothing is no error.
    let star: Vec<(f32, f32)> = (0..5)
        .map(|point| (point as f32 * 4.0 * std::f32::consts::PI / 5.0).sin_cos())
        .map(|(x, y)| (100.0 + 90.0 * x, 100.0 + 90.0 * y))
        .collect();
    assert_eq!(Mask::polygon(200, 200, &star).get(100, 100), 255);
    for nothing in [&[][..], &[(3.0, 3.0)], &[(3.0, 3.0), (9.0, 9.0)], &[(f32::NAN, 0.0), (5.0, 5.0), (9.0, 0.0)]] {
        assert!(Mask::polygon(20, 20, nothing).is_empty(), "{nothing:?}");
    }
}

/// How long what is done to a mask of 24 and of 67 megapixels takes, for who wants to know: `--ignored --nocapture`.
#[test]
#[ignore = "a measurement"]
fn times_of_large_masks() {
    for (width, height) in [(6000, 4000), (8192, 8192)] {
        let timed = |what: &str, work: &mut dyn FnMut()| {
            let start = Instant::now();
            work();
            println!("{width} × {height} {what:<28} {:.1?}", start.elapsed());
        };
        let mut mask = Mask::new(width, height);
        let (x, y) = (width as f32 / 2.0, height as f32 / 2.0);
        for turn in 0..40 {
            let at = turn as f32 / 3.0;
            mask.line((x, y), (x + x * at.sin(), y + y * at.cos()), 120.0, 0.3, turn % 5 == 4);
        }
        timed("a first move, 200 px soft", &mut || _ = mask.clone().line((x, y), (x + 20.0, y), 100.0, 0.3, false));
        timed("a first move, 2000 px soft", &mut || _ = mask.clone().line((x, y), (x + 20.0, y), 1000.0, 0.3, false));
        let mut drawn = mask.clone();
        timed("100 moves, 2000 px soft", &mut || {
            (0..100).for_each(|at| {
                _ = drawn.line((x + at as f32 * 9.0, y), (x + at as f32 * 9.0 + 9.0, y), 1000.0, 0.3, false);
            });
        });
        timed("comparing", &mut || assert!(drawn != mask));
        timed("bounds", &mut || _ = mask.bounds());
        timed("inverting", &mut || drop(mask.inverted()));
        timed("adding", &mut || drop(mask.combined(&drawn, Combine::Add)));
        timed("growing by 10", &mut || drop(mask.grown(10)));
        timed("growing by 100", &mut || drop(mask.grown(100)));
        timed("growing by the most", &mut || drop(mask.grown(MOST_EDGE)));
        timed("shrinking by 20", &mut || drop(mask.shrunk(20)));
        timed("feathering by 40", &mut || drop(mask.feathered(40)));
        timed("planning passes", &mut || drop(sequence(Extent::Trained, &mask, &Lattice::grid(16, 16), 16, 16, None)));
        timed("a polygon", &mut || drop(Mask::polygon(width, height, &[(9.0, 9.0), (x, 2.0 * y), (2.0 * x, 5.0)])));
        let picture =
            Picture::new(RgbImage::from_fn(width, height, |x, y| Rgb([(x / 9) as u8, (y / 7) as u8, 90])).into());
        timed("the wand", &mut || drop(picture.similar(5, 5, 60, true)));
        timed("as a PNG", &mut || drop(mask.png_bytes()));
    }
}
