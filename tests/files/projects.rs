//! A project holds everything: what is saved and opened again is the same, whatever it holds, and no file does harm.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::path::Path;
use std::sync::Arc;

use andamento::document::{Document, Leg, Track, fresh};
use andamento::files::export::{self, Format};
use andamento::files::project::{self, Snapshot, Written};
use andamento::files::record::{Change, Record};
use andamento::history::History;
use andamento_model::boldness::BoldStroke;
use andamento_model::composite::composite;
use andamento_model::decode::{Knobs, Step};
use andamento_model::frame::{Extent, Frame};
use andamento_model::lattice::Lattice;
use andamento_model::library::imported::Shelf;
use andamento_model::paint::{Outline, Request};
use andamento_model::picture::{Kind, Mask, Notes, Picture, Rect};
use andamento_model::plan::{Given, Plan};
use andamento_model::sample::{Guidance, Made, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::turn::Turns;
use image::{DynamicImage, ImageBuffer, RgbImage};
use proptest::prelude::*;
use zip::{ZipArchive, ZipWriter};

use crate::folder::Folder;

/// A picture of any of the eight types, from a seed.
fn picture(kind: usize, width: u32, height: u32, seed: u64) -> Picture {
    let channels = [1, 2, 3, 4][kind % 4];
    let mut state = seed | 1;
    let mut roll = || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 40) as u16
    };
    let count = (width * height) as usize * channels;
    let image = if kind < 4 {
        let bytes: Vec<u8> = (0..count).map(|_| roll() as u8).collect();
        match channels {
            1 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLuma8),
            2 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8),
            3 => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgb8),
            _ => ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageRgba8),
        }
    } else {
        let words: Vec<u16> = (0..count).map(|_| roll()).collect();
        match channels {
            1 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLuma16),
            2 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageLumaA16),
            3 => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgb16),
            _ => ImageBuffer::from_raw(width, height, words).map(DynamicImage::ImageRgba16),
        }
    };
    Picture::new(image.expect("the samples fill the picture"))
}

/// What a run without a model makes of a document: every token of the mask, and grey where it paints.
fn run(document: &Document, steps: usize, level: u8) -> Document {
    let (picture, mask) = (&document.picture, &document.mask);
    let lattice = Lattice::grid(4, 4);
    let bounds = mask.bounds().expect("something is masked");
    let frame = Frame::around(bounds, picture.width(), picture.height(), 16);
    let masked = frame.masked_sites(mask, 4, 4);
    let boldness = document.boldness.factors(&frame, &lattice);
    let given: Vec<Option<u32>> = masked.iter().map(|masked| (!masked).then_some(7)).collect();
    let order: Vec<u32> = (0..16).collect();
    let plan = Plan::new(lattice, &order, &given, Schedule::OneByOne, Given::First);
    let plan = plan.expect("a plan").painted(boldness);
    let made = |(index, visit): (usize, &andamento_model::plan::Visit)| {
        let made = visit.sites.iter().map(|site| Made {
            site: *site,
            token: 3,
            probability: 0.1,
            rank: 2,
            bits: 7.3,
            likeliest: None,
            by_hand: false,
            boldness: plan.boldness(*site),
        });
        Step { index, made: made.collect() }
    };
    let steps: Vec<Step> = plan.visits.iter().take(steps).enumerate().map(made).collect();
    let knobs =
        Knobs { class: 3, guidance: Guidance::linear(4.0), sampling: Sampling::default(), seed: u64::from(level) };
    let request = Request {
        picture: picture.clone(),
        mask: mask.clone(),
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::PLAIN,
        order: "raster".into(),
        order_seed: 5,
        path: Arc::default(),
        boldness: document.boldness.clone(),
        schedule: Schedule::OneByOne,
        knobs,
    };
    let decoded = RgbImage::from_pixel(16, 16, image::Rgb([level; 3]));
    let result = composite(picture, mask, &frame, &decoded);
    let outline = Outline {
        passes: 1,
        tokens: plan.visits.iter().map(|visit| visit.sites.len()).sum(),
        steps: plan.visits.len(),
    };
    let made = mask.within(frame.rect);
    let leg = Leg { plan: Arc::new(plan), frame, mask: made, guess: Arc::new(vec![1; 16]) };
    let track = Track {
        number: fresh(),
        model: "scenes-randar".into(),
        request: Arc::new(request),
        before: document.picture_id,
        mask_id: document.mask_id,
        outline,
        legs: vec![leg],
        steps,
        turns: Turns::default(),
    };
    document.clone().with_result(result, Arc::new(track))
}

/// A change that a person makes.
#[derive(Debug, Clone)]
enum Edit {
    Stroke(f32, f32, f32, bool),
    Bold(f32, f32, f32, f32),
    Extend([u32; 4]),
    Run(usize, u8),
    Undo,
}

fn edits() -> impl Strategy<Value = Vec<Edit>> {
    let edit = prop_oneof![
        4 => (0.0..50.0_f32, 0.0..40.0_f32, 1.0..12.0_f32, any::<bool>())
            .prop_map(|(x, y, radius, erase)| Edit::Stroke(x, y, radius, erase)),
        2 => (0.0..50.0_f32, 0.0..40.0_f32, 1.0..20.0_f32, prop_oneof![Just(1.0), 0.2..5.0_f32])
            .prop_map(|(x, y, radius, factor)| Edit::Bold(x, y, radius, factor)),
        1 => proptest::array::uniform4(0..6_u32).prop_map(Edit::Extend),
        2 => (0..17_usize, any::<u8>()).prop_map(|(steps, level)| Edit::Run(steps, level)),
        1 => Just(Edit::Undo),
    ];
    proptest::collection::vec(edit, 1..12)
}

/// Carries out edits; the history, its present document, and results that were taken.
fn history(start: Document, edits: &[Edit]) -> (History, Document, Vec<Document>) {
    let (mut history, mut document, mut results) = (History::new(&start), start, Vec::new());
    for edit in edits {
        let next = match edit {
            Edit::Stroke(x, y, radius, erase) => {
                let mut mask = document.mask.clone();
                mask.stamp(*x, *y, *radius, 0.5, *erase);
                document.clone().with_mask(mask)
            }
            Edit::Bold(x, y, radius, factor) => {
                let size = (document.picture.width(), document.picture.height());
                let mut stroke = BoldStroke::new(&document.boldness, size, *factor);
                stroke.line((*x, *y), (*y, *x), (*radius, *radius), 0.5);
                document.clone().with_boldness(stroke.end())
            }
            Edit::Extend(by) => document.extended(*by).expect("it is small"),
            Edit::Run(..) if document.mask.is_empty() => continue,
            Edit::Run(steps, level) => {
                let result = run(&document, *steps, *level);
                results.push(result.clone());
                result
            }
            Edit::Undo => {
                document = history.undo().unwrap_or(document);
                continue;
            }
        };
        history.push(format!("{edit:?}"), &next);
        document = next;
    }
    (history, document, results)
}

#[track_caller]
fn assert_same(a: &Document, b: &Document) {
    assert!(a.picture == b.picture && a.original == b.original && a.mask == b.mask && a.boldness == b.boldness);
    assert_eq!((&a.name, &a.path, a.original_at, a.content), (&b.name, &b.path, b.original_at, b.content));
    assert_eq!((a.generated, a.is_fulfilled()), (b.generated, b.is_fulfilled()));
    match (&a.track, &b.track) {
        (Some(a), Some(b)) => {
            assert_eq!((&a.model, a.outline, &a.steps), (&b.model, b.outline, &b.steps));
            assert_eq!(a.legs.len(), b.legs.len());
            for (a, b) in a.legs.iter().zip(&b.legs) {
                assert_eq!((&a.plan, a.frame, &a.guess), (&b.plan, b.frame, &b.guess));
                assert!(a.mask == b.mask);
            }
            assert_eq!((&a.request.frames, a.request.seam), (&b.request.frames, b.request.seam));
            assert!(a.request.picture == b.request.picture && a.request.mask == b.request.mask);
            assert!(a.request.boldness == b.request.boldness);
            assert_eq!((a.request.knobs, a.request.order_seed), (b.request.knobs, b.request.order_seed));
        }
        (None, None) => {}
        _ => panic!("one has a run, the other none"),
    }
}

#[track_caller]
fn assert_same_work(a: &Snapshot, b: &Snapshot) {
    assert_eq!((a.entries.len(), a.at, a.results.len()), (b.entries.len(), b.at, b.results.len()));
    for (a, b) in a.entries.iter().zip(&b.entries) {
        assert_eq!(a.label, b.label);
        assert_same(&a.document, &b.document);
    }
    a.results.iter().zip(&b.results).for_each(|(a, b)| assert_same(a, b));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    /// save ∘ load is the identity: of a file, and of what the autosave writes piece by piece.
    #[test]
    fn a_project_is_the_same_when_it_is_opened_again(
        kind in 0..8_usize, width in 17..50_u32, height in 17..40_u32, seed in any::<u64>(), edits in edits(),
    ) {
        let folder = Folder::new("project");
        let start = Document::new(picture(kind, width, height, seed), "Größe & <co>.png", Some("/a/Größe.png".into()));
        let (history, document, results) = history(start, &edits);
        let snapshot = history.snapshot(results);
        let file = folder.0.join("a.andamento");
        project::save(&file, &snapshot).expect("it can be written");
        let opened = project::open(&file).expect("it was just written");
        assert_same_work(&opened, &snapshot);
        assert_same(&opened.entries[opened.at].document, &document);
        // Once more, and it is still the same.
        project::save(&file, &opened).expect("it can be written");
        assert_same_work(&project::open(&file).expect("it was just written"), &snapshot);

        // The autosave writes the same work change by change.
        let (place, mut written) = (folder.0.join("kept"), Written::default());
        for at in 0..snapshot.entries.len() {
            let part = Snapshot { entries: snapshot.entries[..=at].to_vec(), at, results: Vec::new() };
            project::save_into(&place, &part, &mut written).expect("it can be written");
            assert_same_work(&project::open_folder(&place).expect("it was just written"), &part);
        }
        // What has left the history is removed, and what others are laid over is not.
        let last = snapshot.entries.len() - 1;
        let part = Snapshot { entries: snapshot.entries[last..].to_vec(), at: 0, results: Vec::new() };
        project::save_into(&place, &part, &mut written).expect("it can be written");
        assert_same_work(&project::open_folder(&place).expect("it was just written"), &part);
    }

    /// After any number of edits every sample outside of all masks is what it was, at the source's own depth, and still is
    /// when the result comes back from a project, a PNG or a TIFF.
    #[test]
    fn outside_of_the_mask_every_sample_stays_at_every_depth(
        kind in 0..8_usize, width in 17..50_u32, height in 17..40_u32, seed in any::<u64>(), edits in edits(),
    ) {
        let folder = Folder::new("exact");
        let source = picture(kind, width, height, seed);
        let png = folder.write("source.png", source.png_bytes().expect("it has pixels"));
        let (start, remarks) = Document::open(&png).expect("it was just written");
        assert!(remarks.is_empty() && start.picture == source);
        let (mut history, document, _) = history(start, &edits);
        let mut touched = Mask::new(document.picture.width(), document.picture.height());
        let at = document.original_at;
        let snapshot = history.snapshot(Vec::new());
        for entry in &snapshot.entries[..=snapshot.at] {
            let Some(track) = &entry.document.track else { continue };
            let lies = entry.document.original_at;
            for y in 0..track.request.mask.height() {
                for x in (0..track.request.mask.width()).filter(|x| track.request.mask.get(*x, y) > 0) {
                    let (x, y) = (i64::from(x) - lies.x + at.x, i64::from(y) - lies.y + at.y);
                    touched.fill_rect(Rect::new(x, y, 1, 1), 255);
                }
            }
        }
        let file = folder.0.join("a.andamento");
        project::save(&file, &snapshot).expect("it can be written");
        let from_project = project::open(&file).expect("it was just written");
        let mut pictures = vec![from_project.entries[from_project.at].document.picture.clone()];
        for name in ["a.png", "a.tif"] {
            let path = folder.0.join(name);
            let kind = Kind::of(&path, 90).expect("a kind of file");
            export::write_picture(&path, &document.picture, kind, &Notes::default()).expect("it can be written");
            pictures.push(Picture::open(&path).expect("it was just written"));
        }
        let size = usize::from(source.image().color().bytes_per_pixel());
        let pixel = |picture: &Picture, x: u32, y: u32| -> Vec<u8> {
            picture.image().as_bytes()[(y * picture.width() + x) as usize * size..][..size].to_vec()
        };
        for picture in &pictures {
            assert_eq!(picture.image().color(), source.image().color());
            assert!(picture == &document.picture);
            for (x, y) in (0..height).flat_map(|y| (0..width).map(move |x| (x, y))) {
                let (cx, cy) = (x + at.x as u32, y + at.y as u32);
                assert!(touched.get(cx, cy) > 0 || pixel(picture, cx, cy) == pixel(&source, x, y), "{x}, {y}");
            }
        }
        // undo ∘ redo is an identity, too.
        let depth = history.depth();
        let undone = (0..depth).filter_map(|_| history.undo()).last();
        assert!(undone.is_none_or(|first| first.picture == source));
        let redone = (0..depth).filter_map(|_| history.redo()).last();
        assert!(redone.is_none_or(|last| last.picture == document.picture && last.mask == document.mask));
    }

    /// A file that somebody has changed is opened or refused, and nothing breaks.
    #[test]
    fn a_damaged_project_is_refused_and_never_breaks(at in any::<prop::sample::Index>(), flip in 1..=255_u8, cut in any::<bool>()) {
        let folder = Folder::new("damaged");
        let file = folder.0.join("a.andamento");
        project::save(&file, &example()).expect("it can be written");
        let mut bytes = fs::read(&file).expect("it was just written");
        let at = at.index(bytes.len());
        if cut { bytes.truncate(at) } else { bytes[at] ^= flip }
        let damaged = folder.write("b.andamento", &bytes);
        if let Err(error) = project::open(&damaged) {
            assert!(error.to_string().contains("b.andamento"), "{error}");
        }
    }
}

/// Two strokes, a run, a longer canvas.
fn example() -> Snapshot {
    let start = Document::new(picture(2, 40, 30, 9), "lake.png", None);
    let edits =
        [Edit::Stroke(20.0, 12.0, 6.0, false), Edit::Run(99, 128), Edit::Extend([1, 2, 3, 4]), Edit::Run(99, 30)];
    let (history, _, results) = history(start, &edits);
    history.snapshot(results)
}

/// A project whose parts of this name have another text in place of one.
fn rewritten(file: &Path, part: &str, old: &str, new: &str) -> Vec<u8> {
    let mut zip = ZipArchive::new(File::open(file).expect("it is there")).expect("a ZIP");
    let mut copy = ZipWriter::new(Cursor::new(Vec::new()));
    let mut found = false;
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).expect("an entry");
        let name = entry.name().expect("text").into_owned();
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("it can be read");
        if name.starts_with(part) {
            let text = String::from_utf8(bytes).expect("text");
            found |= text.contains(old);
            bytes = text.replacen(old, new, 1).into_bytes();
        }
        copy.start_file(name, zip::write::SimpleFileOptions::default()).expect("memory");
        copy.write_all(&bytes).expect("memory");
    }
    assert!(found, "{part} has no {old}");
    copy.finish().expect("memory").into_inner()
}

/// Projects of earlier versions are read: without a painted order or boldness nothing but the number was another one.
#[test]
fn earlier_projects_are_read() {
    let folder = Folder::new("earlier");
    let (file, snapshot) = (folder.0.join("a.andamento"), example());
    project::save(&file, &snapshot).expect("it can be written");
    let mut zip = ZipArchive::new(File::open(&file).expect("it is there")).expect("a ZIP");
    for index in 0..zip.len() {
        let mut entry = zip.by_index(index).expect("an entry");
        let mut bytes = Vec::new();
        entry.read_to_end(&mut bytes).expect("it can be read");
        assert!(!String::from_utf8_lossy(&bytes).contains("boldness"), "{:?}", entry.name());
    }
    for version in [1, 2] {
        let bytes = rewritten(&file, "project.json", "\"version\":3", &format!("\"version\":{version}"));
        let opened = project::open(&folder.write("old.andamento", &bytes)).expect("it is read");
        assert_same_work(&opened, &snapshot);
        assert!(opened.entries.iter().all(|entry| entry.document.boldness.is_neutral()));
    }
}

/// The manifest of a project, changed by hand: every part of it is checked before it is believed.
#[test]
fn a_project_that_does_not_hold_together_is_refused_with_the_reason() {
    let folder = Folder::new("hostile");
    let file = folder.0.join("a.andamento");
    let refused = |snapshot: &Snapshot, part: &str, old: &str, new: &str| {
        project::save(&file, snapshot).expect("it can be written");
        let bytes = rewritten(&file, part, old, new);
        let refused = project::open(&folder.write("b.andamento", &bytes)).map(|_| ()).expect_err(new).to_string();
        assert!(refused.contains("b.andamento"), "{refused}");
        refused
    };
    let changed = |part: &str, old: &str, new: &str| refused(&example(), part, old, new);
    assert!(changed("project.json", "\"version\":3", "\"version\":9").contains("version"));
    assert!(changed("project.json", "\"at\":4", "\"at\":400").contains("present"));
    assert!(changed("project.json", "\"height\":30,\"png\"", "\"height\":31,\"png\"").contains("size"));
    assert!(changed("project.json", "\"original_at\":{\"x\":0", "\"original_at\":{\"x\":-7").contains("fit"));
    assert!(changed("runs/", "\"site\":", "\"site\":9").contains("steps"));
    assert!(changed("runs/", "\"rows\":4", "\"rows\":4000000000").contains("lattice"));
    assert!(changed("runs/", "\"guess\":[", "\"guess\":[1,").contains("plan"));
    let start = Document::new(picture(2, 40, 30, 9), "lake.png", None);
    let edits = [Edit::Bold(20.0, 12.0, 6.0, 3.0), Edit::Stroke(20.0, 12.0, 6.0, false), Edit::Run(99, 128)];
    let bold = history(start, &edits).0.snapshot(Vec::new());
    let changed = |part: &str, old: &str, new: &str| refused(&bold, part, old, new);
    assert!(changed("project.json", "\"boldness\":", "\"boldness\":9").contains("boldness is missing"));
    assert!(changed("runs/", "\"boldness\":[", "\"boldness\":[1.0,").contains("boldness"));
    assert!(changed("runs/", "\"boldness\":[", "\"boldness\":[-").contains("boldness"));
    assert!(changed("runs/", "\"boldness\":\"", "\"boldness\":\"AA").contains("runs/"));
    let text = folder.write("c.andamento", b"PK\x03\x04 and nothing else");
    assert!(project::open(&text).is_err());
}

#[test]
fn a_project_begins_with_its_kind_and_others_can_read_its_layers() {
    let folder = Folder::new("layers");
    let (file, snapshot) = (folder.0.join("a.andamento"), example());
    project::save(&file, &snapshot).expect("it can be written");
    let bytes = fs::read(&file).expect("it is there");
    assert_eq!(bytes[30..38], *b"mimetype");
    assert_eq!(bytes[38..63], *b"application/x-andamento\x50\x4b");
    let mut zip = ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    let present = &snapshot.entries[snapshot.at].document;
    let mut part = |name: &str| {
        let mut bytes = Vec::new();
        zip.by_name(name).expect(name).read_to_end(&mut bytes).expect("it can be read");
        Picture::decode(name, &bytes).expect("a PNG").picture
    };
    assert!(part("picture.png") == present.picture);
    assert_eq!(part("mask.png").to_rgb8().get_pixel(20, 12).0[0], present.mask.get(20, 12));
    assert!(part("thumbnail.png").width() <= 256);
}

#[test]
fn openraster_has_the_layers_in_their_places() {
    let folder = Folder::new("ora");
    let (file, snapshot) = (folder.0.join("a.ora"), example());
    let shelf = Shelf::open(Some(&folder.0)).expect("a folder");
    export::write(&file, &snapshot, Format::OpenRaster, true, &shelf).expect("it can be written");
    let bytes = fs::read(&file).expect("it is there");
    assert_eq!(bytes[30..54], *b"mimetypeimage/openraster");
    let mut zip = ZipArchive::new(Cursor::new(bytes)).expect("a ZIP");
    let mut part = |name: &str| {
        let mut bytes = Vec::new();
        zip.by_name(name).expect(name).read_to_end(&mut bytes).expect("it can be read");
        bytes
    };
    let stack = String::from_utf8(part("stack.xml")).expect("text");
    let document = &snapshot.entries[snapshot.at].document;
    let at = document.original_at;
    assert!(stack.contains(&format!("w=\"{}\" h=\"{}\"", document.picture.width(), document.picture.height())));
    assert!(stack.contains(&format!("src=\"data/original.png\" x=\"{}\" y=\"{}\"", at.x, at.y)), "{stack}");
    let decode = |bytes: Vec<u8>| Picture::decode("part.png", &bytes).expect("a PNG").picture;
    let pixels = |picture: &Picture| picture.image().as_bytes().to_vec();
    assert_eq!(pixels(&decode(part("data/result.png"))), pixels(&document.picture));
    assert_eq!(pixels(&decode(part("mergedimage.png"))), pixels(&document.picture));
    assert_eq!(pixels(&decode(part("data/original.png"))), pixels(&document.original));
    assert!(decode(part("Thumbnails/thumbnail.png")).width() <= 256);
    assert_eq!(decode(part("data/mask.png")).rect(), document.picture.rect());
}

#[test]
fn a_png_says_how_it_was_made_and_nothing_if_asked() {
    let folder = Folder::new("record");
    let snapshot = example();
    let shelf = Shelf::open(Some(&folder.0)).expect("a folder");
    let write = |name: &str, metadata: bool| {
        let path = folder.0.join(name);
        let format = Format::of(&path, 90).expect("a kind of file");
        export::write(&path, &snapshot, format, metadata, &shelf).expect("it can be written");
        path
    };
    let told = write("told.png", true);
    let decoder = png::Decoder::new(std::io::BufReader::new(File::open(&told).expect("it is there")));
    let reader = decoder.read_info().expect("a PNG");
    let texts = &reader.info().uncompressed_latin1_text;
    let parameters = &texts.iter().find(|text| text.keyword == "parameters").expect("it has parameters").text;
    for part in
        ["Steps: ", "Sampler: raster", "CFG scale: ", "Seed: 30", "Size: 44x36", "Model: scenes-randar", "Version: "]
    {
        assert!(parameters.contains(part), "{parameters} has no {part}");
    }
    let hash = parameters.split("Model hash: ").nth(1).and_then(|rest| rest.split(',').next()).unwrap_or_default();
    assert_eq!(hash.len(), 16, "{parameters}");
    let xmp = String::from_utf8(Picture::open(&told).expect("a PNG").about().xmp.clone()).expect("text");
    assert!(xmp.contains("digitalsourcetype/compositeWithTrainedAlgorithmicMedia"), "{xmp}");

    // The record is enough to make it again: what came after what, with masks and tokens.
    let opened = Picture::read(&told).expect("a PNG");
    let record = Record::from_json(&opened.record.expect("it has a record")).expect("it was just written");
    let names: Vec<_> = record
        .changes
        .iter()
        .map(|change| match change {
            Change::Run(ledger) => format!("run {}", ledger.knobs.seed),
            Change::Extend(by) => format!("extend {by:?}"),
        })
        .collect();
    assert_eq!(names, ["run 128", "extend [1, 2, 3, 4]", "run 30"]);
    let last = record.last_run().expect("a run");
    let document = &snapshot.entries[snapshot.at].document;
    assert!(last.mask().expect("a mask") == document.track.as_ref().expect("a run").request.mask);
    assert!(last.steps().eq(&document.track.as_ref().expect("a run").steps));

    let untold = write("untold.png", false);
    let bytes = fs::read(&untold).expect("it is there");
    for name in [b"tEXt", b"iTXt", b"zTXt", b"eXIf"] {
        assert!(!bytes.windows(4).any(|window| window == name), "{}", String::from_utf8_lossy(name));
    }
    assert!(Picture::open(&untold).expect("a PNG").image().as_bytes() == document.picture.image().as_bytes());
    // What no model touched says nothing of one.
    let plain = Snapshot { entries: snapshot.entries[..1].to_vec(), at: 0, results: Vec::new() };
    let path = folder.0.join("plain.png");
    export::write(&path, &plain, Format::Picture(Kind::Png), true, &shelf).expect("it can be written");
    assert!(!fs::read(&path).expect("it is there").windows(4).any(|window| window == b"tEXt" || window == b"iTXt"));
}
