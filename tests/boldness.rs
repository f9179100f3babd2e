//! Boldness: what a painted layer means for every token, that sampling follows it with every family and nothing else does, and
//! the brush that paints it.

use std::sync::{Arc, LazyLock, Mutex};

use andamento::command::{Command, Tool};
use andamento::files::project;
use andamento::ui::App;
use andamento_model::boldness::{BOLD, BoldStroke, Boldness, CALM, factor_of, level_of, mean_factor};
use andamento_model::decode::{Decoding, Knobs, Step};
use andamento_model::device::{DeviceChoice, choose};
use andamento_model::frame::{Extent, Frame};
use andamento_model::lattice::{Grid, Lattice, Site, Token};
use andamento_model::ledger::{Ledger, Source};
use andamento_model::library::{MODELS, Model};
use andamento_model::order::arrange;
use andamento_model::paint::{Request, paint};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::plan::Plan;
use andamento_model::sample::{Draw, Guidance, Made, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::turn::Turns;
use andamento_tests::run_through;
use egui::{Key, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};
use proptest::prelude::*;

use crate::driven::{self, Opening, on_screen, press, until, until_ready};
use crate::folder::Folder;

/// A frame of four by four tokens, each of ten canvas pixels, away from the canvas's corner.
const FRAME: Frame = Frame { rect: Rect::new(100, 50, 40, 40), size: [64, 64] };

/// A layer of one level, and others in some places.
fn layer(width: u32, height: u32, level: u8, parts: &[(Rect, u8)]) -> Mask {
    let mut layer = Mask::new(width, height);
    layer.fill_rect(Rect::new(0, 0, width, height), level);
    parts.iter().for_each(|(rect, level)| _ = layer.fill_rect(*rect, *level));
    layer
}

#[test]
fn grey_means_a_factor_and_the_middle_is_exactly_neutral() {
    assert_eq!([0, 127, 128, 255].map(factor_of), [CALM, 1.0, 1.0, BOLD]);
    assert!((0..255).all(|level| factor_of(level) <= factor_of(level + 1)));
    assert!((0..=255).all(|level| (factor_of(level) * factor_of(255 - level) - 1.0).abs() < 1e-6), "both ways alike");
    for level in (0..=255).filter(|level| *level != 127) {
        assert_eq!(level_of(factor_of(level)), level);
    }
    assert_eq!([0.0, 0.01, 9.0, f32::INFINITY].map(level_of), [0, 0, 255, 255]);
}

#[test]
fn a_layer_that_is_neutral_is_none() {
    for level in [127, 128] {
        let mixed = layer(300, 40, level, &[(Rect::new(3, 3, 7, 200), 255 - level)]);
        assert!(Boldness::new(mixed).is_neutral(), "{level}");
    }
    assert!(!Boldness::new(layer(300, 40, 128, &[(Rect::new(299, 39, 1, 1), 129)])).is_neutral());
    assert_eq!(Boldness::default().factors(&FRAME, &Lattice::grid(4, 4)), Vec::<f32>::new());
    let elsewhere = Boldness::new(layer(200, 200, 128, &[(Rect::new(0, 0, 100, 200), 255)]));
    assert!(elsewhere.factors(&FRAME, &Lattice::grid(4, 4)).is_empty(), "nothing of it is seen");
}

#[test]
fn a_token_has_the_mean_of_its_pixels_and_a_coarser_one_of_its_tokens() {
    // The second row bold, half of the first token calm.
    let parts = [(Rect::new(100, 60, 40, 10), 255), (Rect::new(100, 50, 5, 10), 0)];
    let painted = Boldness::new(layer(200, 200, 128, &parts));
    let scales = Lattice::of_scales(vec![Grid::new(1, 1), Grid::new(2, 2), Grid::new(3, 3), Grid::new(4, 4)]);
    let factors = painted.factors(&FRAME, &scales);
    let (coarse, finest) = factors.split_at(1 + 4 + 9);
    let row = |row: usize| &finest[4 * row..4 * row + 4];
    assert_eq!((row(0), row(1)), (&[0.5, 1.0, 1.0, 1.0][..], &[4.0; 4][..]), "half of the pixels: half of the octaves");
    assert_eq!((row(2), row(3)), (&[1.0; 4][..], &[1.0; 4][..]));
    let two_to = |octaves: f32| octaves.exp2();
    let close = |a: f32, b: f32| (a - b).abs() < 1e-6;
    // All sixteen tokens: one of -1 octave, four of 2.
    assert!(close(coarse[0], two_to(7.0 / 16.0)), "{coarse:?}");
    assert!(close(coarse[1], two_to(3.0 / 4.0)) && close(coarse[2], 2.0) && close(coarse[3], 1.0));
    // A third is one token and a third: 9 of 16 parts are the first token, 3 each of its neighbours, 1 of the one across.
    assert!(close(coarse[5], two_to((-9.0 + 3.0 * 2.0 + 2.0) / 16.0)), "{coarse:?}");
    assert_eq!(painted.factors(&FRAME, &Lattice::grid(4, 4)), finest, "with one grid the same");
    // What lies outside of the canvas plays no part.
    let beyond = Frame { rect: Rect::new(-20, -20, 40, 40), size: [64, 64] };
    let corner =
        Boldness::new(layer(200, 200, 128, &[(Rect::new(0, 0, 9, 9), 0)])).factors(&beyond, &Lattice::grid(2, 2));
    assert_eq!((corner[0], corner[1], corner[2]), (1.0, 1.0, 1.0));
    let expected = factor_of(0).powf(81.0 / 400.0);
    assert!((corner[3] - expected).abs() < 1e-6, "{corner:?}, {expected}");
}

#[test]
fn a_layer_follows_the_canvas_and_is_written_as_a_picture() {
    let painted = Boldness::new(layer(60, 40, 128, &[(Rect::new(10, 5, 20, 20), 200)]));
    let grown = painted.extended([7, 3, 2, 1]).expect("it grows");
    let levels = grown.layer().expect("it is painted");
    assert_eq!((levels.width(), levels.height(), levels.get(0, 0), levels.get(68, 43)), (69, 44, 128, 128));
    assert_eq!((levels.get(16, 8), levels.get(17, 8), levels.get(36, 27), levels.get(37, 27)), (128, 200, 200, 128));
    assert!(painted.check(60, 40).is_ok() && painted.check(69, 44).is_err() && Boldness::default().check(1, 1).is_ok());
    for written in [painted, grown, Boldness::default()] {
        let text = serde_json::to_string(&written).expect("writes");
        assert_eq!(serde_json::from_str::<Boldness>(&text).expect("reads"), written);
    }
    for bad in ["\"no base64!\"", "\"AAAA\"", "7"] {
        assert!(serde_json::from_str::<Boldness>(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_stroke_covers_once_and_the_eraser_leaves_nothing() {
    let mut stroke = BoldStroke::new(&Boldness::default(), (100, 60), 2.0);
    assert!(stroke.is_idle());
    // Soft, there and back: no more than once over.
    for (from, to) in [((20.0, 30.0), (80.0, 30.0)), ((80.0, 30.0), (20.0, 30.0))] {
        let touched = stroke.line(from, to, (12.0, 12.0), 0.2);
        assert!(touched.contains(Rect::new(10, 20, 80, 20)) && !touched.contains(Rect::new(0, 0, 100, 60)));
    }
    let painted = stroke.end();
    let levels = painted.layer().expect("it is painted");
    let column: Vec<u8> = (15..=30).map(|y| levels.get(50, y)).collect();
    assert!(column.is_sorted() && column[0] == 128 && column[15] == level_of(2.0), "{column:?}");
    assert!(column.iter().any(|level| (135..180).contains(level)), "soft: {column:?}");
    // Half as bold over it.
    let mut over = BoldStroke::new(&painted, (100, 60), 0.5);
    over.line((50.0, 30.0), (50.0, 30.0), (6.0, 6.0), 1.0);
    let over = over.end();
    let levels = over.layer().expect("it is painted");
    assert_eq!((levels.get(50, 30), levels.get(70, 30)), (level_of(0.5), level_of(2.0)));
    let mut eraser = BoldStroke::new(&over, (100, 60), 1.0);
    eraser.line((0.0, 30.0), (100.0, 30.0), (60.0, 60.0), 1.0);
    assert!(!eraser.is_idle() && eraser.end().is_neutral());
    let mut nothing = BoldStroke::new(&Boldness::default(), (100, 60), 1.0);
    nothing.line((0.0, 30.0), (100.0, 30.0), (20.0, 20.0), 0.5);
    assert!(nothing.is_idle(), "back to neutral what is neutral");
}

fn frames() -> impl Strategy<Value = Frame> {
    let rect = (-30..60_i64, -30..40_i64, 1..120_u32);
    rect.prop_map(|(x, y, side)| Frame { rect: Rect::new(x, y, side, side), size: [64, 64] })
}

fn lattices() -> impl Strategy<Value = Lattice> {
    let scales = |sides: &[usize]| Lattice::of_scales(sides.iter().map(|side| Grid::new(*side, *side)).collect());
    prop_oneof![
        Just(Lattice::grid(16, 16)),
        Just(Lattice::grid(3, 5)),
        Just(Lattice::refined(Grid::new(4, 4), 2)),
        Just(scales(&[1, 2, 3, 4, 5, 6, 8, 10, 13, 16])),
        Just(scales(&[1, 2, 3, 7])),
    ]
}

proptest! {
    /// One level everywhere means one factor everywhere, at any place of the frame and on every scale.
    #[test]
    fn a_uniform_layer_is_felt_alike_by_all_tokens(frame in frames(), lattice in lattices(), level in 0..=255_u8) {
        let rect = Rect::new(0, 0, 90, 70);
        let factors = Boldness::new(layer(90, 70, level, &[])).factors(&frame, &lattice);
        let (grid, factor) = (lattice.finest(), factor_of(level));
        if factors.is_empty() {
            let seen = !frame.rect.intersect(rect).is_empty();
            prop_assert!(factor == 1.0 || !seen, "{factor}");
        } else {
            prop_assert_eq!(factors.len(), lattice.len());
            let finest = &factors[lattice.len() - grid.len()..];
            for (site, felt) in finest.iter().enumerate() {
                let place = frame.site_rect(site / grid.cols, site % grid.cols, grid.rows, grid.cols);
                let on_canvas = !place.intersect(rect).is_empty();
                prop_assert_eq!(*felt, if on_canvas { factor } else { 1.0 });
            }
            if rect.contains(frame.rect) {
                prop_assert!(factors.iter().all(|felt| (felt / factor - 1.0).abs() < 1e-6), "coarser ones too");
            }
        }
    }

    /// Every scale has the same mean of octaves, and no token is bolder or calmer than what it covers.
    #[test]
    fn scales_share_one_mean(
        lattice in lattices(),
        parts in prop::collection::vec((0..90_i64, 0..70_i64, 1..60_u32, 1..60_u32, any::<u8>()), 1..6),
    ) {
        let parts: Vec<_> = parts.into_iter().map(|(x, y, w, h, level)| (Rect::new(x, y, w, h), level)).collect();
        let layer = layer(90, 70, 128, &parts);
        let frame = Frame { rect: Rect::new(5, 3, 64, 64), size: [64, 64] };
        let factors = Boldness::new(layer.clone()).factors(&frame, &lattice);
        prop_assume!(!factors.is_empty());
        let octaves = |range: std::ops::Range<u32>| -> Vec<f64> {
            factors[range.start as usize..range.end as usize].iter().map(|factor| f64::from(*factor).log2()).collect()
        };
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len() as f64;
        let last = lattice.scales().len() - 1;
        let finest = octaves(lattice.scale(last));
        let bounds = finest.iter().fold((2.0_f64, -2.0_f64), |(low, high), value| (low.min(*value), high.max(*value)));
        for scale in 0..last {
            let scale = octaves(lattice.scale(scale));
            prop_assert!((mean(&scale) - mean(&finest)).abs() < 1e-5);
            prop_assert!(scale.iter().all(|value| (bounds.0 - 1e-5..=bounds.1 + 1e-5).contains(value)));
        }
        let grid = lattice.finest();
        let first = frame.site_rect(0, 0, grid.rows, grid.cols);
        prop_assert!((f64::from(mean_factor(&layer, first).log2()) - finest[0]).abs() < 1e-6);
    }

    /// A factor acts on the temperature alone, and 1 on nothing; what decides a draw stays.
    #[test]
    fn a_factor_is_on_the_temperature(
        logits in prop::collection::vec(-6.0..6.0_f32, 2..40),
        (temperature, factor) in (0.05..2.0_f32, 0.25..4.0_f32),
        (top_k, top_p, second) in (0..9_usize, 0.3..1.0_f32, prop::option::of(0.1..2.0_f32)),
        (seed, step, site, part) in (any::<u64>(), 0..50_usize, 0..300_u32, 0..2_usize),
    ) {
        let of = Draw { seed, step, site: Site(site), factor: part };
        let sampling = Sampling { temperature, top_k, top_p, second_temperature: second, smooth: false };
        let scaled = Sampling {
            temperature: temperature * factor,
            second_temperature: second.map(|temperature| temperature * factor),
            ..sampling
        };
        prop_assert_eq!(sampling.bolder(1.0), sampling);
        prop_assert_eq!(sampling.bolder(factor), scaled);
        let draw = |sampling: Sampling| sampling.draw(&logits, &of).expect("numbers");
        prop_assert_eq!(draw(sampling.bolder(factor)), draw(scaled));
        prop_assert_eq!(draw(sampling.bolder(1.0)), draw(sampling));
        // Ever calmer, it is the likeliest.
        prop_assert_eq!(draw(sampling.bolder(1e-9)).rank, 0);
        prop_assert!(!sampling.is_greedy() || top_k == 1);
    }
}

#[test]
fn greedy_sampling_knows_that_it_is() {
    let sampling = Sampling::default();
    for (greedy, sampling) in [
        (false, sampling),
        (false, Sampling { temperature: 0.01, ..sampling }),
        (false, Sampling { temperature: 0.0, second_temperature: Some(1.0), ..sampling }),
        (true, Sampling { temperature: 0.0, ..sampling }),
        (true, Sampling { temperature: 0.0, second_temperature: Some(0.0), ..sampling }),
        (true, Sampling { top_k: 1, ..sampling }),
    ] {
        assert_eq!(sampling.is_greedy(), greedy, "{sampling:?}");
    }
}

/// The bundled model, loaded once.
static MODEL: LazyLock<Mutex<Model>> =
    LazyLock::new(|| Mutex::new(MODELS[0].load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads")));

fn tokens(steps: &[Step]) -> Vec<(Site, Token)> {
    steps.iter().flat_map(|step| step.made.iter().map(|made| (made.site, made.token))).collect()
}

/// With every family: neutral factors change nothing, not a bit; where it is very calm the likeliest codes are taken, and they
/// are those of a greedy run as long as that has seen nothing else; bold is bolder; the same again is the same.
#[test]
fn every_family_draws_as_boldly_as_is_painted() {
    for bundled in &MODELS {
        let mut model = bundled.load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads");
        let (lattice, id) = (model.lattice(), model.card.id.clone());
        let abilities = model.network.spec().abilities;
        let grid = lattice.finest();
        let in_part = |rows: std::ops::Range<usize>, site: usize| {
            rows.contains(&(site / grid.cols)) && (4..12).contains(&(site % grid.cols))
        };
        let masked = lattice.masked(&(0..grid.len()).map(|site| in_part(4..8, site)).collect::<Vec<_>>());
        let given: Vec<Option<Token>> =
            masked.iter().enumerate().map(|(site, masked)| (!masked).then_some(site as u32 % 97)).collect();
        let native = if abilities.orders.native() == "scales" { "scales" } else { "raster" };
        let order = arrange(native, &lattice, 0).expect("an order");
        let schedule = abilities.schedule(Some(96));
        let plan =
            Plan::new(lattice.clone(), &order, &given, schedule, abilities.orders.given(native)).expect("a plan");
        let defaults = model.card.defaults;
        let sampling = Sampling { temperature: 1.0, top_k: 0, top_p: 1.0, ..defaults.sampling };
        let mut run = |boldness: Vec<f32>, temperature: f32| -> Vec<Step> {
            let sampling = Sampling { temperature, ..sampling };
            let knobs = Knobs { class: 2, guidance: defaults.guidance, sampling, seed: 5 };
            let plan = Arc::new(plan.clone().painted(boldness));
            let decoding = Decoding::start(model.network.as_mut(), plan, knobs, &[]).expect("starts");
            decoding.map(|step| step.expect("goes on")).collect()
        };
        let plain = run(Vec::new(), 1.0);
        assert_eq!(run(vec![1.0; lattice.len()], 1.0), plain, "{id}: neutral factors");

        // The upper half, which comes first, is as calm as can be, and so are all coarser scales.
        let coarser = lattice.len() - grid.len();
        let is_calm = |site: usize| site < coarser || in_part(4..6, site - coarser);
        let calm: Vec<f32> = (0..lattice.len()).map(|site| if is_calm(site) { 1e-6 } else { 1.0 }).collect();
        let (greedy, drawn) = (run(Vec::new(), 0.0), run(calm.clone(), 1.0));
        let made = drawn.iter().flat_map(|step| &step.made);
        let (quiet, loud): (Vec<&Made>, Vec<&Made>) = made.partition(|made| is_calm(made.site.index()));
        assert!(quiet.len() >= 16 && quiet.iter().all(|made| made.rank == 0 && made.boldness == 1e-6), "{id}");
        assert!(loud.len() >= 16 && loud.iter().any(|made| made.rank > 0), "{id}: the others are drawn as before");
        assert!(loud.iter().all(|made| made.boldness == 1.0));
        let of_calm = |steps: &[Step]| -> Vec<(Site, Token)> {
            tokens(steps).into_iter().filter(|(site, _)| is_calm(site.index())).collect()
        };
        if schedule.revises() {
            // A window reads drafts of what comes later, which are drawn as boldly as their own sites.
            let first = greedy
                .iter()
                .zip(&drawn)
                .take_while(|(_, drawn)| drawn.made.iter().all(|made| is_calm(made.site.index())));
            let first: Vec<_> = first.collect();
            assert!(
                first.len() > 4
                    && first.iter().all(|(greedy, drawn)| greedy
                        .made
                        .iter()
                        .zip(&drawn.made)
                        .all(|(a, b)| a.token == b.token)),
                "{id}"
            );
        } else {
            assert_eq!(of_calm(&drawn), of_calm(&greedy), "{id}: as greedy there");
        }
        assert_eq!(run(calm, 1.0), drawn, "{id}: the same again");

        // Four times as bold: less sure of everything that is drawn so. Coarser scales stay, so that they are comparable.
        let bold = |factor: f32| (0..lattice.len()).map(|site| if site < coarser { 1.0 } else { factor }).collect();
        let bits = |steps: Vec<Step>| -> f32 {
            steps.iter().flat_map(|step| &step.made).filter(|made| made.site.index() >= coarser).map(|m| m.bits).sum()
        };
        let [less, as_usual, more] = [bits(run(bold(CALM), 1.0)), bits(plain), bits(run(bold(BOLD), 1.0))];
        assert!(less < as_usual && as_usual < more, "{id}: {less} {as_usual} {more}");
    }
}

fn request(width: u32, height: u32, boldness: Boldness) -> Request {
    let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb([x as u8, y as u8, 90]));
    let mut mask = Mask::new(width, height);
    mask.fill_rect(Rect::new(0, 0, width, height), 255);
    mask.fill_rect(Rect::new(0, 0, 64, 64), 0);
    Request {
        picture: Picture::new(picture.into()),
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::PLAIN,
        order: "random".into(),
        order_seed: 3,
        path: Arc::default(),
        boldness,
        schedule: Schedule::Cosine { steps: 6 },
        knobs: Knobs { class: 2, guidance: Guidance::linear(2.0), sampling: Sampling::default(), seed: 3 },
    }
}

/// Several frames, each with its part of the layer. What was made can be written down, read, shown and made again, and gone on
/// with; with another layer from the middle on as well.
#[test]
fn a_layer_is_felt_through_several_frames_and_written_down() {
    let mut model = MODEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let side = model.card.side;
    let (width, height) = (2 * side, side);
    let halves = [(Rect::new(0, 0, side, side), 20), (Rect::new(i64::from(side), 0, side, side), 230)];
    let painted = Boldness::new(layer(width, height, 128, &halves));
    let asked = request(width, height, painted);
    let mut painting = paint(&mut model, &asked, &[]).expect("starts");
    let picture = run_through(&mut painting);
    assert!(painting.legs().len() > 1, "several frames");
    let levels = asked.boldness.layer().expect("it is painted");
    let (mut calm, mut bold) = (0, 0);
    for leg in painting.legs() {
        let Plan { lattice, first, visits, .. } = &*leg.plan;
        for made in painting.steps()[*first..][..visits.len()].iter().flat_map(|step| &step.made) {
            let rect = leg.pass.frame.rect_of(lattice, made.site).expect("a site");
            assert_eq!(made.boldness, mean_factor(levels, rect), "token {:?}", made.site);
            calm += usize::from(made.boldness == factor_of(20));
            bold += usize::from(made.boldness == factor_of(230));
        }
    }
    assert!(calm > 100 && bold > 100, "{calm} calm, {bold} bold");
    let (steps, source) = (painting.steps().to_vec(), Source::Blank { width, height });
    let ledger = painting.ledger("scenes-randar", "hash", source.clone()).expect("a ledger");
    drop(painting);

    let again = Ledger::from_json(&ledger.to_json().expect("writes"), "ledger.json").expect("reads");
    assert_eq!(again.boldness, asked.boldness);
    let written: Vec<f32> = again.steps().flat_map(|step| &step.made).map(|made| made.boldness).collect();
    let made: Vec<f32> = steps.iter().flat_map(|step| &step.made).map(|made| made.boldness).collect();
    assert_eq!(written, made, "beside every token");
    assert!(again.replay(&mut model, &asked.picture).expect("replays") == picture, "the replay is another picture");
    assert_eq!(
        again.retrace(&mut model, &asked.picture).expect("is retraced"),
        steps,
        "the same request, other tokens"
    );
    let mut painting = paint(&mut model, &asked, &steps[..steps.len() / 2]).expect("starts");
    assert!(run_through(&mut painting) == picture, "gone on with in the middle");
    drop(painting);

    // Cleared after three steps: a turn says with which layer these were made.
    let cleared = Request { boldness: Boldness::default(), ..asked.clone() };
    let mut painting = paint(&mut model, &cleared, &steps[..3]).expect("starts");
    run_through(&mut painting);
    let branched = painting.steps().to_vec();
    assert_eq!(tokens(&branched[..3]), tokens(&steps[..3]));
    assert!(branched[3..].iter().flat_map(|step| &step.made).all(|made| made.boldness == 1.0));
    let mut turns = Turns::default();
    turns.take(3, [], (asked.knobs, &asked.boldness));
    let ledger = painting.ledger("scenes-randar", "hash", source).expect("a ledger").with_turns(turns);
    drop(painting);
    let again = Ledger::from_json(&ledger.to_json().expect("writes"), "ledger.json").expect("reads");
    assert_eq!(again.retrace(&mut model, &asked.picture).expect("is retraced"), branched);

    let small = Request { boldness: Boldness::new(layer(9, 9, 0, &[])), ..asked };
    let refused = paint(&mut model, &small, &[]).err().expect("it is of another size").to_string();
    assert!(refused.contains("boldness") && refused.contains("9 × 9"), "{refused}");
}

/// Nothing else depends on a layer that is neutral where the model looks.
#[test]
fn beside_the_frame_it_changes_nothing() {
    let mut model = MODEL.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let side = model.card.side;
    let mut plain = request(3 * side, side, Boldness::default());
    plain.mask = Mask::new(3 * side, side);
    plain.mask.fill_rect(Rect::new(8, 8, 40, 40), 255);
    let mut painting = paint(&mut model, &plain, &[]).expect("starts");
    let (picture, steps) = (run_through(&mut painting), painting.steps().to_vec());
    let seen = painting.frame().rect;
    drop(painting);
    let beside = Rect::new(seen.right(), 0, 3 * side - seen.right() as u32, side);
    let level = layer(3 * side, side, 127, &[(Rect::new(0, 0, 30, side), 128), (beside, 255)]);
    let painted = Request { boldness: Boldness::new(level), ..plain };
    assert!(!painted.boldness.is_neutral());
    let mut painting = paint(&mut model, &painted, &[]).expect("starts");
    assert!(run_through(&mut painting) == picture && painting.steps() == steps);
}

/// VAR mixes codes in its smooth mode, which are not written down: a replay mixes them again, as boldly as before.
#[test]
fn mixtures_are_as_bold_as_is_painted() {
    let bundled = MODELS.iter().find(|bundled| bundled.card().is_ok_and(|card| card.id == "scenes-var"));
    let mut model =
        bundled.expect("it is bundled").load(choose(DeviceChoice::Cpu).expect("a processor")).expect("loads");
    let side = model.card.side;
    let asked = |boldness: Boldness| Request {
        order: "scales".into(),
        schedule: Schedule::Scales,
        knobs: Knobs {
            class: 2,
            guidance: Guidance::Scales { scale: 1.0 },
            sampling: Sampling { smooth: true, ..Sampling::default() },
            seed: 3,
        },
        ..request(side, side, boldness)
    };
    let half = Boldness::new(layer(side, side, 128, &[(Rect::new(0, 0, side / 2, side), 0)]));
    let mut pictures = Vec::new();
    for request in [asked(Boldness::default()), asked(half)] {
        let mut painting = paint(&mut model, &request, &[]).expect("starts");
        let picture = run_through(&mut painting);
        let source = Source::Blank { width: side, height: side };
        let ledger = painting.ledger("scenes-var", "hash", source).expect("a ledger");
        drop(painting);
        let again = Ledger::from_json(&ledger.to_json().expect("writes"), "ledger.json").expect("reads");
        assert!(again.replay(&mut model, &request.picture).expect("replays") == picture);
        pictures.push(picture);
    }
    assert!(pictures[0] != pictures[1], "the layer is felt");
}

/// Drags between two points of the canvas, and may hold on.
fn drag(window: &mut Harness<'_, App>, button: PointerButton, from: (f32, f32), to: (f32, f32), let_go: bool) {
    let [from, to] = [from, to].map(|(x, y)| on_screen(window, x, y));
    if let_go { driven::drag(window, button, from, to) } else { driven::draw(window, button, from, to) }
}

fn painted(window: &Harness<'_, App>) -> Boldness {
    window.state().editor.document.boldness.clone()
}

#[test]
fn the_boldness_brush_paints_takes_back_and_is_felt() {
    let mut window = Opening::default().window();
    until_ready(&mut window);
    let apply = |window: &mut Harness<'_, App>, command: Command| {
        window.state_mut().editor.apply(command);
        window.run_steps(2);
    };
    let before = window.state().editor.document.mask.clone();
    window.key_press(Key::D);
    window.run_steps(2);
    assert_eq!(window.state().editor.brush.tool, Tool::Boldness);
    apply(&mut window, Command::BrushHardness(1.0));
    let (width, height) = (before.width() as f32, before.height() as f32);
    let (left, right) = ((0.5 * width, 0.45 * height), (0.7 * width, 0.45 * height));
    drag(&mut window, PointerButton::Primary, left, right, true);
    let first = painted(&window);
    let at = |boldness: &Boldness, (x, y): (f32, f32)| boldness.layer().map(|layer| layer.get(x as u32, y as u32));
    assert_eq!((at(&first, left), at(&first, (2.0, 2.0))), (Some(level_of(2.0)), Some(128)), "twice as bold at first");
    let label = |window: &Harness<'_, App>| window.state().editor.history.undo_label().map(str::to_owned);
    let depth = |window: &Harness<'_, App>| window.state().editor.history.depth();
    assert_eq!((depth(&window), label(&window).as_deref()), (1, Some("Boldness stroke")));
    assert!(window.state().editor.document.mask == before, "the mask stays as it is");
    assert!(window.state().editor.is_unsaved(), "it is in no file");

    // Escape leaves a stroke.
    drag(&mut window, PointerButton::Primary, (9.0, 9.0), (40.0, 40.0), false);
    assert!(window.state().editor.boldness_brush.is_painting());
    assert!(window.state().editor.painted_boldness().is_some_and(|(_, layer)| layer.get(20, 20) == level_of(2.0)));
    window.key_press(Key::Escape);
    window.run_steps(2);
    assert!(!window.state().editor.boldness_brush.is_painting());
    window.event(press(Pos2::new(500.0, 400.0), PointerButton::Primary, false, Modifiers::NONE));
    window.run_steps(2);
    assert!(painted(&window) == first && depth(&window) == 1);

    // What takes nothing back is no change; the right button and X take back.
    drag(&mut window, PointerButton::Secondary, (0.1 * width, 0.95 * height), (0.2 * width, 0.95 * height), true);
    assert_eq!(depth(&window), 1);
    drag(&mut window, PointerButton::Secondary, left, left, true);
    assert_eq!((at(&painted(&window), left), at(&painted(&window), right)), (Some(128), Some(level_of(2.0))));
    assert_eq!(label(&window).as_deref(), Some("Back to neutral boldness"));
    window.key_press(Key::X);
    window.run_steps(2);
    assert!(window.state().editor.boldness_brush.erase && window.state().editor.brush.tool == Tool::Boldness);
    // Larger, so that nothing is left of the smooth edge.
    let size = window.state().editor.brush.size;
    apply(&mut window, Command::BrushSize(size + 8.0));
    drag(&mut window, PointerButton::Primary, left, right, true);
    apply(&mut window, Command::BrushSize(size));
    assert!(painted(&window).is_neutral(), "nothing is left");
    apply(&mut window, Command::Undo);
    apply(&mut window, Command::Undo);
    assert_eq!(painted(&window), first);
    window.get_by_label("Neutral").click();
    window.run_steps(2);
    assert!(!window.state().editor.boldness_brush.erase);
    window.get_by_label("Clear").click();
    window.run_steps(2);
    assert!(painted(&window).is_neutral() && label(&window).as_deref() == Some("Clear boldness"));
    apply(&mut window, Command::Undo);

    // Calm below: what the slider says is painted.
    let slider = window.get_by_label("Boldness of the brush").rect();
    let end = slider.left_center() + vec2(1.0, 0.0);
    window.hover_at(end);
    window.step();
    for pressed in [true, false] {
        window.event(press(end, PointerButton::Primary, pressed, Modifiers::NONE));
        window.step();
    }
    assert_eq!(window.state().editor.boldness_brush.factor, CALM);
    let low = (0.6 * width, 0.6 * height);
    drag(&mut window, PointerButton::Primary, low, low, true);
    let both = painted(&window);
    assert_eq!((at(&both, left), at(&both, low)), (Some(level_of(2.0)), Some(0)));

    // A run feels it, and says beside every token what it felt.
    for command in [Command::Steps(24), Command::LockSeed(true), Command::Generate] {
        window.state_mut().editor.apply(command);
    }
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    let track = window.state().editor.document.track.clone().expect("a run");
    assert_eq!(track.request.boldness, both);
    let leg = &track.legs[0];
    assert_eq!(leg.plan.boldness, both.factors(&leg.frame, &leg.plan.lattice));
    let felt: Vec<f32> = track.steps.iter().flat_map(|step| &step.made).map(|made| made.boldness).collect();
    assert!(felt.iter().any(|factor| *factor < 0.5) && felt.iter().any(|factor| *factor > 1.5) && felt.contains(&1.0));

    // Back to step 3, cleared, and on from there: the steps before were bold, those after are not.
    apply(&mut window, Command::Rewind(3));
    apply(&mut window, Command::BranchHere);
    assert!(window.state().editor.run.is_none(), "the same again would make the same tokens");
    apply(&mut window, Command::ClearBoldness);
    apply(&mut window, Command::BranchHere);
    until(&mut window, "the branch is done", |editor| editor.run.is_none());
    let branch = window.state().editor.document.track.clone().expect("a run");
    assert_eq!(branch.steps[..3], track.steps[..3]);
    assert!(branch.steps[3..].iter().flat_map(|step| &step.made).all(|made| made.boldness == 1.0));
    let turn = branch.turns.iter().next().expect("a turn").clone();
    assert_eq!((turn.kept, turn.boldness), (3, both.clone()));

    // It goes with the canvas when that grows, and into a project and back.
    let back = window.state().editor.history.entries().iter().position(|entry| entry.document.boldness == both);
    apply(&mut window, Command::GoTo(back.expect("it was painted")));
    apply(&mut window, Command::ExtendCanvas([32, 0, 0, 16]));
    let grown = painted(&window);
    assert_eq!((at(&grown, (left.0 + 32.0, left.1)), at(&grown, (3.0, 3.0))), (Some(level_of(2.0)), Some(128)));
    window.state_mut().editor.apply(Command::Generate);
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    let folder = Folder::new("boldness");
    let file = folder.0.join("bold.andamento");
    project::save(&file, &window.state().editor.snapshot()).expect("it is saved");
    let read = project::open(&file).expect("it is read");
    let document = &read.entries[read.at].document;
    assert_eq!(document.boldness, grown);
    let (now, then) = (window.state().editor.document.track.clone().expect("a run"), document.track.clone());
    let then = then.expect("its run");
    assert_eq!((&then.request.boldness, &then.steps), (&now.request.boldness, &now.steps));
    assert_eq!(then.legs[0].plan, now.legs[0].plan);

    // Where the likeliest is always taken it says that nothing comes of it, and a run is not told of it.
    assert_eq!(window.state().editor.feels_no_boldness(), None);
    let told = |window: &Harness<'_, App>| window.query_by_label_contains("No effect now").is_some();
    assert!(!told(&window));
    apply(&mut window, Command::Temperature(0.0));
    assert!(told(&window));
    assert_eq!(window.state().editor.feels_no_boldness(), Some("the temperature is 0"));
    window.state_mut().editor.apply(Command::Generate);
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    assert!(window.state().editor.document.track.as_ref().is_some_and(|track| track.request.boldness.is_neutral()));
    assert_eq!(painted(&window), grown, "it is kept");
    apply(&mut window, Command::Temperature(1.0));
    apply(&mut window, Command::TopK(1));
    assert_eq!(window.state().editor.feels_no_boldness(), Some("top-k is 1"));
}

#[test]
fn the_keyboard_paints_boldness_too() {
    let mut window = Opening::default().window();
    window.get_by_label("Boldness brush").click();
    window.run_steps(2);
    assert!(!window.get_by_label("Boldness brush").accesskit_node().is_disabled());
    window.state_mut().editor.apply(Command::Boldness(99.0));
    assert_eq!(window.state().editor.boldness_brush.factor, BOLD, "no bolder than can be painted");
    window.get_by_label("Canvas").focus();
    window.run_steps(2);
    for key in [Key::ArrowRight, Key::Space, Key::ArrowDown, Key::Space] {
        window.key_press(key);
        window.run_steps(2);
    }
    assert_eq!(window.state().editor.history.undo_label(), Some("Boldness stroke"));
    assert!(painted(&window).layer().is_some_and(|layer| layer.bytes().contains(&255)));
}
