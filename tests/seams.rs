//! The mask's edge: it is not seen, and nothing beyond it changes.

use std::sync::{Arc, LazyLock};

use andamento_model::boldness::Boldness;
use andamento_model::decode::{Knobs, Step};
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::frame::{Extent, Frame};
use andamento_model::lattice::{Site, Token};
use andamento_model::ledger::{Ledger, Source};
use andamento_model::library::{MODELS, Model};
use andamento_model::paint::{Event, Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::train::{HELD_OUT, scenes};
use andamento_tests::run_through;
use image::{ColorType, DynamicImage, Rgb, RgbImage};
use proptest::prelude::*;
use std::sync::Mutex;

use crate::pixels::TYPES;

/// The bundled model, loaded once.
static MODEL: LazyLock<Mutex<Model>> =
    LazyLock::new(|| Mutex::new(MODELS[0].load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads")));

fn model() -> std::sync::MutexGuard<'static, Model> {
    MODEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn request(picture: Picture, mask: Mask, class: u32, steps: usize, seam: Seam) -> Request {
    let knobs = Knobs { class, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed: 5 };
    Request {
        picture,
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam,
        order: "random".into(),
        order_seed: 5,
        path: Arc::default(),
        boldness: Boldness::default(),
        schedule: Schedule::Cosine { steps },
        knobs,
    }
}

/// A picture with fine structure, light and shade, and noise, as a camera makes them.
fn photograph(seed: u64, width: u32, height: u32) -> RgbImage {
    let wave = |x: f32, y: f32, k: f32| ((x * k + seed as f32).sin() + (y * k * 0.8 + 2.0 * seed as f32).cos()) / 2.0;
    RgbImage::from_fn(width, height, |x, y| {
        let (u, v) = (x as f32 / width as f32 * 6.0, y as f32 / height as f32 * 6.0);
        let mut level = 0.0;
        for octave in 0..5 {
            let k = 2f32.powi(octave);
            level += wave(u + wave(v, u, k), v - wave(u, v, 1.3 * k), k) / k.powf(1.1);
        }
        let hash = (u64::from(x) * 0x9E37_79B9)
            ^ (u64::from(y) * 0x85EB_CA6B)
            ^ (seed * 0xC2B2_AE35).wrapping_mul(0xD6E8_FEB8_6659_FD93);
        let noise = ((hash >> 40) as f32 / (1u64 << 24) as f32 - 0.5) * 7.0;
        let shade = 110.0 + 48.0 * level + 24.0 * (v - 3.0) / 3.0;
        Rgb([shade * 1.12 + noise, shade + 0.6 * noise, shade * 0.8 + 22.0 - noise]
            .map(|level| level.clamp(0.0, 255.0) as u8))
    })
}

fn disc(width: u32, height: u32, (x, y): (f32, f32), radius: f32) -> Mask {
    let inside = |at: u32| {
        let (dx, dy) = ((at % width) as f32 + 0.5 - x * width as f32, (at / width) as f32 + 0.5 - y * height as f32);
        if dx.hypot(dy) < radius * height as f32 { 255 } else { 0 }
    };
    Mask::from_bytes(width, height, (0..width * height).map(inside).collect()).expect("a byte for each pixel")
}

/// The mean step from a pixel outside of the mask to the one beside it inside.
fn step(picture: &RgbImage, mask: &Mask) -> (f64, usize) {
    let (mut sum, mut count) = (0.0, 0);
    let mut pair = |a: (u32, u32), b: (u32, u32)| {
        if (mask.get(a.0, a.1) > 0) != (mask.get(b.0, b.1) > 0) {
            let (a, b) = (picture.get_pixel(a.0, a.1).0, picture.get_pixel(b.0, b.1).0);
            sum += a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>() / 3.0;
            count += 1;
        }
    };
    for (x, y) in (1..picture.height()).flat_map(|y| (1..picture.width()).map(move |x| (x, y))) {
        pair((x - 1, y), (x, y));
        pair((x, y - 1), (x, y));
    }
    (sum, count)
}

/// Scenes and pictures like photographs, at the model's size and larger, with round and straight edges: over all of them the
/// step over the mask's edge is at most 1.2 times that of the same edge before. Without the correction it is not.
#[test]
fn the_edge_of_the_mask_is_not_seen() {
    let mut model = model();
    let mut cases = Vec::new();
    for number in 0..6 {
        let class = number * 5 % scenes::CLASSES;
        let side = if number % 2 == 0 { 128 } else { 256 };
        cases.push((class, scenes::scene(class, HELD_OUT + number as u64, side)));
        cases.push((class, photograph(number as u64, 200 + 40 * number as u32, 180)));
    }
    let mut means = [0.0; 3];
    for (number, (class, picture)) in cases.iter().enumerate() {
        let (width, height) = picture.dimensions();
        let mask = if number % 3 == 2 {
            let mut mask = Mask::new(width, height);
            mask.fill_rect(Rect::new(i64::from(width / 4), i64::from(height / 3), width / 3, height / 3), 255);
            mask
        } else {
            disc(width, height, (0.55, 0.5), 0.24)
        };
        let mut means_here = [step(picture, &mask).0; 3];
        for (index, seam) in [(1, Seam::default()), (2, Seam::PLAIN)] {
            let asked = request(Picture::new(picture.clone().into()), mask.clone(), *class as u32, 12, seam);
            let result = run_through(&mut paint(&mut model, &asked, &[]).expect("starts"));
            means_here[index] = step(&result.to_rgb8(), &mask).0;
        }
        let count = step(picture, &mask).1 as f64;
        let here = means_here.map(|sum| sum / count);
        println!("{number}: {:.2} before, {:.2} matched, {:.2} plain", here[0], here[1], here[2]);
        means.iter_mut().zip(here).for_each(|(mean, here)| *mean += here / cases.len() as f64);
    }
    let [before, matched, plain] = means;
    println!("step over the edge: {before:.2} levels before, {matched:.2} matched, {plain:.2} plain");
    assert!(matched <= 1.2 * before, "{matched:.2} against {before:.2}");
    assert!(plain > matched, "the correction does nothing: {plain:.2} against {matched:.2}");
}

/// Noise of any type.
fn noise(kind: ColorType, width: u32, height: u32, seed: u64) -> Picture {
    let mut state = seed | 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 48) as u16
    };
    let rgba = image::ImageBuffer::from_fn(width, height, |_, _| image::Rgba([next(), next(), next(), next()]));
    let all = DynamicImage::ImageRgba16(rgba);
    Picture::new(match kind {
        ColorType::L8 => all.to_luma8().into(),
        ColorType::La8 => all.to_luma_alpha8().into(),
        ColorType::Rgb8 => all.to_rgb8().into(),
        ColorType::Rgba8 => all.to_rgba8().into(),
        ColorType::L16 => all.to_luma16().into(),
        ColorType::La16 => all.to_luma_alpha16().into(),
        ColorType::Rgb16 => all.to_rgb16().into(),
        _ => all,
    })
}

fn sample(picture: &Picture, x: u32, y: u32) -> &[u8] {
    let size = usize::from(picture.image().color().bytes_per_pixel());
    &picture.image().as_bytes()[(y as usize * picture.width() as usize + x as usize) * size..][..size]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    /// After several edits with any masks, frames, seams and depths, every sample outside of all masks is the same; and a
    /// packed picture is put together again to the last bit.
    #[test]
    fn outside_of_the_masks_every_sample_stays(
        kind in 0..TYPES.len(),
        (width, height) in (1..90u32, 1..90u32),
        edits in prop::collection::vec(
            ((0..90i64, 0..90i64), (1..50u32, 1..50u32), 1..=255u8, (-20..60i64, -20..60i64, 1..100u32), 1..24u32,
             (0..12u32, 0..20u32, 0..20u32, any::<bool>())),
            1..6,
        ),
        seed in any::<u64>(),
    ) {
        let before = noise(TYPES[kind], width, height, seed);
        let mut touched = Mask::new(width, height);
        let mut now = before.clone();
        for ((x, y), (w, h), value, (left, top, side), size, (grow, feather, blend, matched)) in edits {
            let mut mask = Mask::new(width, height);
            mask.fill_rect(Rect::new(x, y, w, h), value);
            touched.fill_rect(Rect::new(x, y, w, h), 255);
            let seam = Seam { grow, feather, blend, matched, overlap: 0 };
            let frame = Frame { rect: Rect::new(left, top, side, side), size: [size; 2] };
            let decoded = photograph(seed % 97, size, size);
            now = seam.join(&now, &seam.shares(&mask), &seam.made(&mask), &frame, &decoded).packed();
        }
        let (whole, now) = (now.image().clone(), now.packed());
        now.shrink();
        prop_assert!(now.packed().image() == &whole, "kept as a PNG it is another picture");
        prop_assert_eq!((now.width(), now.height(), now.image().color()), (width, height, TYPES[kind]));
        for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
            if touched.get(x, y) == 0 {
                prop_assert_eq!(sample(&before, x, y), sample(&now, x, y), "{:?} at {}, {}", TYPES[kind], x, y);
            }
        }
    }

    /// A feathered mask never reaches beyond the mask, and one that is wide enough keeps its middle.
    #[test]
    fn feathering_goes_inwards(x in 0..40i64, y in 0..40i64, w in 1..60u32, h in 1..60u32, feather in 0..40u32) {
        let mut mask = Mask::new(100, 100);
        mask.fill_rect(Rect::new(x, y, w, h), 255);
        let shares = Seam { feather, ..Seam::default() }.shares(&mask);
        let all = || (0..100).flat_map(|y| (0..100).map(move |x| (x, y)));
        prop_assert!(all().all(|(x, y)| shares.get(x, y) <= mask.get(x, y)));
        prop_assert!(!shares.is_empty(), "it keeps its middle");
        if x > 0 && y > 0 && w.min(h) > 2 * feather + 2 {
            prop_assert_eq!(shares.get((x + i64::from(w / 2)) as u32, (y + i64::from(h / 2)) as u32), 255);
        }
    }
}

/// At the edge the result is as the picture is just outside, whatever was decoded; deep inside, with a short blend, it is
/// what was decoded.
#[test]
fn colours_are_matched_at_the_edge_and_let_go_inside() {
    let picture = Picture::new(RgbImage::from_pixel(120, 120, Rgb([100, 120, 140])).into());
    let frame = Frame { rect: Rect::new(0, 0, 120, 120), size: [120; 2] };
    let decoded = RgbImage::from_pixel(120, 120, Rgb([130, 100, 150]));
    let mut mask = Mask::new(120, 120);
    mask.fill_rect(Rect::new(30, 30, 60, 60), 255);
    let joined = |seam: Seam| seam.join(&picture, &seam.shares(&mask), &seam.made(&mask), &frame, &decoded).to_rgb8();
    let near = |got: &Rgb<u8>, want: [u8; 3]| got.0.iter().zip(want).all(|(got, want)| got.abs_diff(want) <= 2);
    let all = joined(Seam::default());
    assert!(all.pixels().all(|pixel| near(pixel, [100, 120, 140])), "a constant error is taken away everywhere");
    let short = joined(Seam { blend: 10, ..Seam::default() });
    assert!(near(short.get_pixel(60, 60), [130, 100, 150]), "{:?}", short.get_pixel(60, 60));
    assert!(near(short.get_pixel(30, 60), [100, 120, 140]), "{:?}", short.get_pixel(30, 60));
    let plain = joined(Seam::PLAIN);
    assert_eq!(plain.get_pixel(30, 60).0, [130, 100, 150]);
}

/// The tokens that were made; their probabilities depend on how many are read at once in the last digits.
fn tokens(steps: &[Step]) -> Vec<(usize, Site, Token)> {
    steps.iter().flat_map(|step| step.made.iter().map(|made| (step.index, made.site, made.token))).collect()
}

/// A mask that is larger than one frame is made in several passes: each sees what the one before made, given tokens stay,
/// everything is covered, a stopped run goes on to the same picture, and the ledger holds all of it.
#[test]
fn several_passes_are_one_run() {
    let mut model = model();
    // A strip that is much longer than the model sees, once to be extended on the right.
    let scene = scenes::scene(2, HELD_OUT, 128);
    let picture = Picture::new(scene.clone().into()).extended(0, 0, 500, 0).expect("it grows");
    let mask = Mask::new(128, 128).extended(0, 0, 500, 0, 255).expect("it grows");
    let asked = request(picture.clone(), mask.clone(), 2, 6, Seam { feather: 4, ..Seam::default() });
    let (passes, _) = asked.passes(&model.lattice(), model.card.stride()).expect("passes");
    assert!(passes.len() > 2, "{} passes", passes.len());
    let seen = passes.iter().fold(Rect::default(), |seen, pass| seen.union(pass.frame.rect));
    assert!(seen.contains(mask.bounds().expect("a mask")));
    for pair in passes.windows(2) {
        assert!(!pair[0].frame.rect.intersect(pair[1].frame.rect).is_empty(), "each sees what the one before made");
    }

    let mut painting = paint(&mut model, &asked, &[]).expect("starts");
    let (outline, mut planned) = (painting.outline(), 0);
    assert_eq!(outline.passes, passes.len());
    let mut finished = None;
    while let Some(event) = painting.next() {
        match event.expect("goes on") {
            Event::Planned { pass, .. } => {
                assert_eq!(pass, planned);
                planned += 1;
            }
            Event::Step(step) => assert_eq!(step.index + 1, painting.steps().len(), "steps are counted through"),
            Event::Done(picture) => finished = Some(picture),
        }
    }
    let finished = finished.expect("it ends");
    let steps = painting.steps().to_vec();
    assert_eq!((planned, steps.len()), (outline.passes, outline.steps));
    assert_eq!(steps.iter().map(|step| step.made.len()).sum::<usize>(), outline.tokens);
    for leg in painting.legs() {
        let given = leg.plan.given_tokens();
        assert!(given.into_iter().all(|(site, token)| leg.tokens[site.index()] == token), "given tokens stay");
    }
    let source = Source::Blank { width: 628, height: 128 };
    let ledger = painting.ledger("scenes-randar", "hash", source).expect("a ledger");
    drop(painting);
    let again = Ledger::from_json(&ledger.to_json().expect("writes"), "ledger.json").expect("reads");
    assert_eq!(again.parts().count(), outline.passes);
    assert!(again.replay(&mut model, &picture).expect("replays") == finished, "the replay is another picture");
    let request_again = again.request(picture.clone()).expect("a request");
    assert!(
        run_through(&mut paint(&mut model, &request_again, &[]).expect("starts")) == finished,
        "made again, it is another one"
    );
    let cut = ledger.to_json().expect("writes").replace(&format!("\"passes\": {}", outline.passes), "\"passes\": 99");
    assert!(Ledger::from_json(&cut, "ledger.json").is_err(), "frames are missing");

    // Everything in the mask is new, nothing outside is.
    let (old, new) = (picture.to_rgb8(), finished.to_rgb8());
    assert!((0..128).all(|y| (0..128).all(|x| old.get_pixel(x, y) == new.get_pixel(x, y))));
    let changed = (0..128)
        .flat_map(|y| (128..628).map(move |x| (x, y)))
        .filter(|(x, y)| old.get_pixel(*x, *y) != new.get_pixel(*x, *y));
    assert!(changed.count() > 500 * 128 * 9 / 10, "most of what was added was made");

    // Gone on with after any number of steps, it comes to the same.
    for so_far in [1, outline.steps / 2, outline.steps - 1] {
        let mut painting = paint(&mut model, &asked, &steps[..so_far]).expect("goes on");
        assert_eq!(painting.steps(), &steps[..so_far]);
        let kept = painting.kept().expect("what was made").to_rgb8();
        let result = run_through(&mut painting);
        assert!(tokens(painting.steps()) == tokens(&steps), "after {so_far} steps: other tokens");
        assert!(result == finished, "after {so_far} steps");
        assert!(kept != old, "a stopped run keeps what was made");
    }
    let mut foreign = steps[..3].to_vec();
    foreign[1].made.pop();
    assert!(paint(&mut model, &asked, &foreign).is_err(), "steps of another run");
}

/// How much larger the steps from pixel to pixel are over the upright lines where passes meet than elsewhere in what was
/// made; the first column of what was added tells nothing of passes.
fn join(picture: &RgbImage, lines: &[u32], made: std::ops::Range<u32>) -> f64 {
    let step = |x: u32| {
        let pairs = (0..picture.height()).map(|y| (picture.get_pixel(x - 1, y).0, picture.get_pixel(x, y).0));
        let pairs = pairs.map(|(a, b)| a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(b))).sum::<f64>() / 3.0);
        pairs.sum::<f64>() / f64::from(picture.height())
    };
    let mean = |columns: &mut dyn Iterator<Item = u32>| {
        let (sum, count) = columns.fold((0.0, 0), |(sum, count), x| (sum + step(x), count + 1));
        sum / f64::from(count)
    };
    let beside = |x: u32| (x - 1)..=(x + 1);
    let at_lines = mean(&mut lines.iter().flat_map(|x| beside(*x)));
    let elsewhere =
        mean(&mut (made.start + 2..made.end).filter(|x| !lines.iter().any(|line| beside(*line).contains(x))));
    at_lines / elsewhere
}

/// Where the passes of a long strip meet.
fn lines(passes: &[andamento_model::frame::Pass]) -> Vec<u32> {
    passes.iter().skip(1).map(|pass| pass.mask.bounds().expect("a part").x as u32).collect()
}

/// Over several pictures the line at which passes meet is not seen: it is less of a step with a rim that is made again.
#[test]
fn passes_meet_where_both_have_seen_what_is_there() {
    let mut model = model();
    let mut means = [0.0; 2];
    let classes = [0, 6, 11];
    for class in classes {
        let scene = scenes::scene(class, HELD_OUT + 7, 256);
        let picture = Picture::new(scene.into()).extended(0, 0, 400, 0).expect("it grows");
        let mask = Mask::new(256, 256).extended(0, 0, 400, 0, 255).expect("it grows");
        let mut here = [0.0; 2];
        for (index, overlap) in [0, Seam::default().overlap].into_iter().enumerate() {
            let asked = request(picture.clone(), mask.clone(), class as u32, 6, Seam { overlap, ..Seam::default() });
            let (passes, _) = asked.passes(&model.lattice(), model.card.stride()).expect("passes");
            let lines = lines(&passes);
            assert!(lines.len() > 1);
            let result = run_through(&mut paint(&mut model, &asked, &[]).expect("starts")).to_rgb8();
            if let Some(folder) = std::env::var_os("ANDAMENTO_JOINS") {
                let name = format!("{class}-{overlap}.png");
                result.save(std::path::Path::new(&folder).join(name)).expect("a file");
            }
            here[index] = join(&result, &lines, 256..656);
            println!("{class} overlapped by {overlap}: {:.2} times the usual step at {lines:?}", here[index]);
        }
        means.iter_mut().zip(here).for_each(|(mean, here)| *mean += here / classes.len() as f64);
    }
    println!("steps where passes meet, by those elsewhere: {:.2} without a rim, {:.2} with one", means[0], means[1]);
    assert!(means[1] <= 1.5 && 2.0 * means[1] < means[0], "{means:?}");
}

/// Growing makes tokens anew around the mask, and leaves the pixels there.
#[test]
fn growing_makes_more_tokens_and_changes_no_more_pixels() {
    let mut model = model();
    let scene = scenes::scene(8, HELD_OUT, 128);
    let mask = disc(128, 128, (0.5, 0.5), 0.1);
    let masked = |grow: u32, model: &mut Model| {
        let asked = request(Picture::new(scene.clone().into()), mask.clone(), 8, 4, Seam { grow, ..Seam::default() });
        let mut painting = paint(model, &asked, &[]).expect("starts");
        let masked = painting.plan().masked();
        let new = run_through(&mut painting).to_rgb8();
        let same = |x: u32, y: u32| mask.get(x, y) > 0 || scene.get_pixel(x, y) == new.get_pixel(x, y);
        assert!((0..128).all(|y| (0..128).all(|x| same(x, y))), "grown by {grow}");
        masked
    };
    let counts = [0, 8, 24].map(|grow| masked(grow, &mut model));
    assert!(counts[0] < counts[1] && counts[1] < counts[2], "{counts:?}");
    let asked = request(Picture::new(scene.into()), mask, 8, 4, Seam { grow: 5000, ..Seam::default() });
    assert!(paint(&mut model, &asked, &[]).is_err(), "too far");
}
