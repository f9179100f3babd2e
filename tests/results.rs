//! Results: variations, stopped runs in several passes, the history and its memory, and requests that are run again.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento::command::Command;
use andamento::document::{Document, Track, fresh};
use andamento::editor::Editor;
use andamento::history::History;
use andamento::worker::{Job, Source, Waker, Worker};
use andamento_model::Error;
use andamento_model::device::DeviceChoice;
use andamento_model::frame::Frame;
use andamento_model::lattice::{Site, Token};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::seam::Seam;
use image::{Rgb, RgbImage};
use proptest::prelude::*;

use crate::driven::{self, until};

/// The editor with few steps to make.
fn editor() -> Editor {
    let mut editor = driven::editor();
    editor.apply(Command::Steps(4));
    editor
}

fn finish(editor: &mut Editor) {
    until(editor, "the runs are done", |editor| editor.run.is_none() && editor.variations_left() == 0);
}

fn pixels(editor: &Editor) -> RgbImage {
    editor.document.picture.to_rgb8()
}

#[test]
fn variations_are_made_one_after_the_other_and_chosen_among() {
    let mut editor = editor();
    let before = pixels(&editor);
    editor.apply(Command::Variations(3));
    editor.apply(Command::Generate);
    assert_eq!(editor.variations_left(), 2);
    finish(&mut editor);
    assert_eq!((editor.results.len(), editor.history.depth()), (3, 1), "three results, one entry");
    let seeds: Vec<u64> = editor.results.iter().map(|outcome| seed(&outcome.document)).collect();
    assert!(seeds[0] != seeds[1] && seeds[1] != seeds[2] && seeds[0] != seeds[2], "{seeds:?}");
    let pictures: Vec<RgbImage> = editor.results.iter().map(|outcome| outcome.document.picture.to_rgb8()).collect();
    assert!(pictures[0] != pictures[1] && pictures[1] != pictures[2], "they differ");
    assert!(pixels(&editor) == pictures[2], "the last one is shown");
    assert!(editor.is_choosing() && editor.variations() == [0, 1, 2]);

    editor.apply(Command::PreviousVariation);
    editor.apply(Command::PreviousVariation);
    assert!(pixels(&editor) == pictures[0] && editor.history.depth() == 1);
    editor.apply(Command::PreviousVariation);
    assert!(pixels(&editor) == pictures[0], "there is none before the first");
    editor.apply(Command::NextVariation);
    assert!(pixels(&editor) == pictures[1]);
    editor.apply(Command::DiscardVariation);
    assert!(pixels(&editor) == pictures[2] && editor.results.len() == 2, "the one beside it takes its place");
    editor.apply(Command::PreviousVariation);
    editor.apply(Command::AcceptVariation);
    assert!(!editor.is_choosing());
    editor.apply(Command::NextVariation);
    assert!(pixels(&editor) == pictures[0], "what is accepted stays");
    editor.apply(Command::Undo);
    assert!(pixels(&editor) == before, "all of it is one step");
    editor.apply(Command::Redo);
    assert!(pixels(&editor) == pictures[0]);

    // With the same mask once more: a variation of the same picture, not a picture of the picture.
    editor.apply(Command::Variations(1));
    editor.apply(Command::Generate);
    finish(&mut editor);
    assert_eq!(editor.variations(), [0, 1, 2]);
    editor.apply(Command::DiscardVariation);
    assert_eq!((editor.results.len(), editor.document.picture.to_rgb8() == pictures[2]), (2, true));
}

fn seed(document: &Document) -> u64 {
    document.track.as_ref().expect("a run").request.knobs.seed
}

#[test]
fn a_locked_seed_makes_the_same_variations_again() {
    let seeds = || {
        let mut editor = editor();
        editor.apply(Command::Seed(77));
        editor.apply(Command::LockSeed(true));
        editor.apply(Command::Variations(2));
        editor.apply(Command::Generate);
        finish(&mut editor);
        editor
            .results
            .iter()
            .map(|outcome| (seed(&outcome.document), outcome.document.picture.to_rgb8()))
            .collect::<Vec<_>>()
    };
    assert!(seeds() == seeds());
}

#[test]
fn stopping_ends_the_variations_and_keeps_what_was_made() {
    let mut editor = editor();
    editor.apply(Command::Steps(256));
    editor.apply(Command::SelectAll);
    editor.apply(Command::Variations(4));
    editor.apply(Command::Generate);
    let made = |editor: &Editor| editor.track().map_or(0, |track| track.steps.len());
    until(&mut editor, "some steps arrive", |editor| editor.run.is_some() && made(editor) >= 3);
    editor.apply(Command::Stop);
    until(&mut editor, "it has stopped", |editor| editor.run.is_none());
    assert_eq!((editor.results.len(), editor.variations_left()), (1, 0));
    assert!(editor.history.labels().last().is_some_and(|label| label.starts_with("Stopped")));
}

/// A canvas that is extended by several frames is one run: the timeline runs through all passes, it can be stopped in any of
/// them, goes on to the same picture, and can be looked back at.
#[test]
fn several_passes_stop_go_on_and_are_looked_back_at() {
    let mut editor = editor();
    editor.apply(Command::ClearMask);
    let height = editor.document.picture.height();
    editor.apply(Command::ExtendCanvas([0, 0, 5 * height, 0]));
    editor.apply(Command::Seed(9));
    editor.apply(Command::LockSeed(true));
    editor.apply(Command::Steps(3));
    let aim = editor.aim.clone().expect("the margin is masked");
    assert!(aim.passes.len() > 2, "{} passes", aim.passes.len());
    editor.apply(Command::Generate);
    finish(&mut editor);
    let whole = pixels(&editor);
    let track = editor.document.track.clone().expect("a run");
    assert!(track.is_complete());
    assert_eq!((track.legs.len(), track.outline.tokens), (aim.passes.len(), aim.tokens));
    assert_eq!(editor.history.depth(), 3, "one entry");

    // Looking back into the second pass.
    let second = track.legs[1].plan.first + 1;
    editor.apply(Command::Rewind(second));
    until(&mut editor, "the step is decoded", |editor| {
        editor.preview.as_ref().is_some_and(|preview| preview.steps == second)
    });
    assert_eq!(track.pass(second), 1);
    // Branching there keeps what came before, and only that.
    editor.apply(Command::Temperature(1.7));
    editor.apply(Command::BranchHere);
    finish(&mut editor);
    let branched = editor.document.track.clone().expect("a run");
    assert!(branched.is_complete() && branched.steps[..second] == track.steps[..second]);
    assert!(branched.steps[second..] != track.steps[second..]);

    // The same run once more, stopped in its second pass and gone on with.
    editor.apply(Command::Undo);
    editor.apply(Command::Undo);
    editor.apply(Command::Temperature(track.request.knobs.sampling.temperature));
    editor.apply(Command::Generate);
    until(&mut editor, "the second pass has begun", |editor| {
        editor.run.is_some() && editor.track().is_some_and(|track| track.steps.len() >= second)
    });
    editor.apply(Command::Stop);
    until(&mut editor, "it has stopped", |editor| editor.run.is_none());
    let stopped = editor.document.track.clone().expect("what was made is kept");
    if !stopped.is_complete() {
        editor.apply(Command::PlayOrPause);
        finish(&mut editor);
    }
    let again = editor.document.track.clone().expect("a run");
    let tokens = |track: &Track| -> Vec<(Site, Token)> {
        track.steps.iter().flat_map(|step| step.made.iter().map(|made| (made.site, made.token))).collect()
    };
    assert!(again.is_complete() && tokens(&again) == tokens(&track), "the same tokens");
    assert!(pixels(&editor) == whole, "the same picture");
}

#[test]
fn a_step_of_the_history_runs_again_as_it_was() {
    let mut editor = editor();
    editor.apply(Command::Seam(Seam { feather: 6, blend: 20, ..Seam::default() }));
    editor.apply(Command::Generate);
    finish(&mut editor);
    let (first, asked) = (pixels(&editor), editor.document.track.clone().expect("a run").request.clone());
    assert_eq!(asked.seam.feather, 6);
    // Something else happens, and the panel is changed.
    editor.apply(Command::ExtendCanvas([0, 0, 32, 0]));
    editor.apply(Command::Order("raster"));
    editor.apply(Command::Seam(Seam::PLAIN));
    editor.apply(Command::Seed(1));
    let (depth, extended) = (editor.history.depth(), pixels(&editor));
    assert!(editor.run_of(1).is_some() && editor.run_of(2).is_none() && editor.run_of(0).is_none());

    editor.apply(Command::RunAgain { entry: 1, new_seed: false });
    finish(&mut editor);
    assert!(pixels(&editor) == first, "the same picture");
    assert_eq!(editor.history.depth(), depth + 1);
    editor.apply(Command::Undo);
    assert!(pixels(&editor) == extended, "what was there is one step back");
    editor.apply(Command::RunAgain { entry: 1, new_seed: true });
    finish(&mut editor);
    assert!(pixels(&editor) != first && pixels(&editor).dimensions() == first.dimensions());

    editor.apply(Command::UseSettings(1));
    let settings = editor.settings;
    assert_eq!((settings.order, settings.seam, settings.seed), (asked.order.as_str(), asked.seam, asked.knobs.seed));
    assert!(settings.seed_locked);
    editor.apply(Command::UseSettings(2));
    assert!(editor.notices.iter().any(|notice| notice.bad && notice.about == "history"), "no run led to that step");
}

/// A document of its own colour, with a stroke or a changed square by turns, of which so many fit beside each other.
fn edited(before: &Document, number: u32, parts: u32) -> Document {
    let (width, height) = (before.picture.width(), before.picture.height());
    let at = |prime: u32, size: u32| i64::from(number * prime % size.max(1));
    let mut mask = before.mask.clone();
    if number.is_multiple_of(2) {
        mask.line(
            (at(37, width) as f32, at(53, height) as f32),
            (at(71, width) as f32, at(29, height) as f32),
            20.0,
            0.5,
            false,
        );
        return before.clone().with_mask(mask);
    }
    let side = (width.min(height) / parts).max(8);
    let place = Rect::new(at(131, width), at(197, height), side, side);
    let mut part = Mask::new(width, height);
    part.fill_rect(place, 255);
    let frame = Frame { rect: place, size: [16; 2] };
    let decoded = RgbImage::from_fn(16, 16, |x, y| Rgb([number as u8, (x * y) as u8, (number / 2 + x) as u8]));
    let picture = Seam::PLAIN.join(&before.picture, &part, &part, &frame, &decoded);
    Document { picture, picture_id: fresh(), ..before.clone() }
}

/// Resident memory of this process in MB, where the system tells.
fn resident() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/statm").ok()?;
    Some((text.split_whitespace().nth(1)?.parse::<u64>().ok()? * 4096) >> 20)
}

/// Two hundred strokes and as many generations, with `megapixels` million pixels of 16 bit and noise as of a camera; the
/// memory they take in MB.
fn remember(megapixels: u32, parts: u32) -> (History, u64) {
    let (width, height) = (2000, 500 * megapixels);
    let mut state = 1_u64;
    let mut noise = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 54) as u16
    };
    let mut pixel = |x: u32, y: u32| [x as u16 * 30, y as u16 * 5, 20_000].map(|level| level.saturating_add(noise()));
    let pixels =
        (0..height).flat_map(|y| (0..width).map(move |x| (x, y))).flat_map(move |(x, y)| pixel(x, y)).collect();
    let picture: image::ImageBuffer<Rgb<u16>, _> =
        image::ImageBuffer::from_raw(width, height, pixels).expect("it is full");
    let picture = Picture::new(picture.into());
    let mut document = Document::new(picture, "large", None);
    let mut history = History::new(&document);
    let before = resident().unwrap_or_default();
    for number in 0..400 {
        document = edited(&document, number, parts);
        history.push(format!("Change {number}"), &document);
    }
    // What is far from the present becomes smaller in good time.
    sleep(Duration::from_secs(u64::from(megapixels) / 5));
    let after = resident().unwrap_or_default();
    (history, after.saturating_sub(before))
}

#[test]
fn a_long_history_takes_little_memory() {
    let (mut history, taken) = remember(3, 4);
    println!("200 strokes and 200 generations on 3 megapixels: {taken} MB");
    assert_eq!(history.entries().len(), 401);
    // Two hundred pictures of 18 MB would be 3600; other tests run beside this one.
    assert!(taken < 1300, "{taken} MB");
    assert!(history.entries().iter().all(|entry| entry.thumbnail.width().max(entry.thumbnail.height()) == 64));
    let last = history.go_to(400).expect("an entry");
    assert!(history.go_to(0).expect("the first").picture != last.picture);
}

#[test]
#[ignore = "takes a while: the measurement on 24 megapixels"]
fn a_long_history_of_a_large_photograph() {
    let (mut history, taken) = remember(24, 2);
    println!("200 strokes and 200 generations of a megapixel each on 24 megapixels of 16 bit: {taken} MB");
    let start = Instant::now();
    let first = history.go_to(150).expect("an entry");
    assert!(first.picture.image().width() > 0);
    println!("going to any step takes {:.0?}", start.elapsed());
    // Beyond the picture itself, which has 144 MB.
    assert!(taken < 3000, "{taken} MB");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    /// Undo, redo and jumps bring back the very pixels and masks, in any sequence; a change after undo forgets what was
    /// taken back.
    #[test]
    fn the_history_brings_back_every_bit(walk in prop::collection::vec((0..5u8, any::<u32>()), 1..60)) {
        let picture = Picture::new(RgbImage::from_fn(60, 44, |x, y| Rgb([x as u8 * 3, y as u8 * 5, 7])).into());
        let mut now = Document::new(picture, "small", None);
        let mut history = History::new(&now);
        // What the history should be: pictures and masks, and where one is.
        let mut expected = vec![(now.picture.to_rgb8(), now.mask.clone())];
        let mut at = 0;
        for (kind, number) in walk {
            let gone = match kind {
                0 => history.undo().inspect(|_| at -= 1),
                1 => history.redo().inspect(|_| at += 1),
                2 => history.go_to(number as usize % expected.len()).inspect(|_| at = number as usize % expected.len()),
                _ => {
                    let changed = edited(&now, number % 1000, 4);
                    history.push("Change", &changed);
                    at += 1;
                    expected.truncate(at);
                    expected.push((changed.picture.to_rgb8(), changed.mask.clone()));
                    Some(changed)
                }
            };
            match gone {
                Some(document) => now = document,
                None => prop_assert!((kind == 0 && at == 0) || (kind == 1 && at + 1 == expected.len())),
            }
            prop_assert_eq!((history.depth(), history.entries().len()), (at, expected.len()));
            prop_assert!(now.picture.to_rgb8() == expected[at].0, "the picture at {}", at);
            prop_assert!(now.mask == expected[at].1, "the mask at {}", at);
        }
    }
}

/// A graphics driver may crash that is torn down while somebody computes with it.
#[test]
fn closing_waits_for_the_thread_that_computes() {
    let wake: Waker = Arc::new(|| ());
    let slow: Source = Box::new(|_, _, _| {
        sleep(Duration::from_millis(200));
        Err(Error::control("model", "there is none", "None is needed"))
    });
    let worker = Worker::start(slow, wake.clone());
    worker.send(Job::Load { model: "any".into(), device: DeviceChoice::Cpu }).expect("it is taken");
    while Arc::strong_count(&wake) == 1 {
        sleep(Duration::from_millis(1));
    }
    drop(worker);
    assert_eq!(Arc::strong_count(&wake), 1, "the thread is still there");
}
