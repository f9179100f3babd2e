//! Going far back in the history of a large picture: the pixels are put together beside the window, and whatever one does
//! meanwhile is neither lost nor done twice.

use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento::command::{Adjustment, Command, Dialog, Selection, Tool, View};
use andamento::document::Document;
use andamento::editor::Editor;
use andamento::errands::{Errand, Errands};
use andamento::files::project::{self, Snapshot};
use andamento::history::History;
use andamento::ui::{App, StartOptions};
use andamento::worker::Source;
use andamento_model::Error;
use andamento_model::device::DeviceChoice;
use andamento_model::picture::{Combine, Mask, Picture, Rect};
use egui::{Pos2, RawInput, vec2};
use image::{Rgb, RgbImage};
use proptest::prelude::*;

use crate::driven::{PATIENCE, folders, shelf};
use crate::folder::Folder;
use crate::results::edited;

/// Strokes and generations by turns on a picture that is too large to be put together within a frame.
static LONG: LazyLock<Snapshot> = LazyLock::new(|| {
    let picture = RgbImage::from_fn(700, 540, |x, y| Rgb([(x / 3) as u8, (y / 2) as u8, (x ^ y) as u8]));
    let mut document = Document::new(Picture::new(picture.into()), "large.png", None);
    let mut history = History::new(&document);
    for number in 0..60 {
        document = edited(&document, number, 5);
        history.push(format!("Change {number}"), &document);
    }
    history.snapshot(Vec::new())
});

/// An editor at the end of that history.
fn editor() -> Editor {
    let places = (shelf(None), &folders());
    let mut editor = Editor::new(None, DeviceChoice::Cpu, places, nothing(), Arc::new(|| ())).expect("an editor");
    take_up(&mut editor);
    editor
}

/// No model: nothing is made here.
fn nothing() -> Source {
    Box::new(|_, _, _| Err(Error::control("model", "there is none", "Do without")))
}

fn take_up(editor: &mut Editor) {
    let first = &LONG.entries[0].document;
    editor.history = History::new(first);
    editor.document = editor.history.append(LONG.clone());
    editor.document.picture = editor.document.picture.unpacked();
    // The one that it began with is not part of it.
    assert_eq!((editor.history.depth(), editor.history.entries().len()), (61, 62));
}

fn until(editor: &mut Editor, what: &str, done: impl Fn(&Editor) -> bool) {
    let start = Instant::now();
    while !done(editor) {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        editor.tick(Duration::from_millis(4));
        sleep(Duration::from_millis(1));
    }
}

fn pixels(picture: &Picture) -> Vec<u8> {
    picture.unpacked().image().as_bytes().to_vec()
}

/// Whatever one does while the pixels of a far step are on their way, this thread puts none together: it would have to, to
/// draw them or to look at them, and they would be at hand from there on.
#[test]
fn nothing_waits_for_the_pixels_of_a_far_step() {
    let (mut editor, folder) = (editor(), Folder::new("opening"));
    assert!(!editor.is_opening());
    editor.apply(Command::GoTo(8));
    let expected = LONG.entries[7].document.clone();
    assert_eq!((editor.history.depth(), editor.document.picture_id), (8, expected.picture_id), "one is there at once");
    assert!(editor.document.mask == expected.mask && editor.is_opening(), "the pixels alone are on their way");
    let at = (300.0, 200.0);
    let doings = [
        Command::Choose(Tool::Brush),
        Command::BeginStroke { at, erase: false },
        Command::ExtendStroke((420.0, 300.0)),
        Command::EndStroke,
        Command::BeginStroke { at, erase: true },
        Command::CancelStroke,
        Command::InvertMask,
        Command::SelectAll,
        Command::AdjustMask(Adjustment::Feather, 5),
        Command::Select(Selection::Rectangle(Rect::new(5, 5, 90, 90)), Combine::Replace),
        Command::Select(Selection::Similar(at), Combine::Add),
        Command::Look(View { zoom: 2.0, centre: at, fit: false }),
        Command::PlaceFrame(Rect::new(0, 0, 256, 256)),
        Command::Ask(Dialog::Export),
        Command::CloseDialog,
        Command::Copy,
        Command::ShowOriginal(true),
        Command::ShowOriginal(false),
        Command::Undo,
        Command::Undo,
        Command::Redo,
        Command::ExtendCanvas([40, 0, 8, 16]),
        Command::GoTo(12),
        Command::GoTo(4),
        Command::Undo,
        Command::SaveAs(folder.0.join("all.andamento")),
        Command::Export(folder.0.join("picture.png")),
        Command::Generate,
    ];
    for doing in doings {
        let told = format!("{doing:?}");
        editor.apply(doing);
        assert!(editor.is_opening(), "{told} put pixels together on this thread");
        assert!(editor.losses(Path::new("a.jpg")).len() == 1 && editor.snapshot().at == editor.history.depth());
    }
    until(&mut editor, "the pixels are here", |editor| !editor.is_opening());
    // The mask that was asked for before has come meanwhile.
    assert!(editor.history.depth() >= 3 && editor.document.picture_id == LONG.entries[2].document.picture_id);
    assert!(pixels(&editor.document.picture) == pixels(&LONG.entries[2].document.picture));
}

/// Drawing the window takes what is there.
#[test]
fn drawing_waits_for_no_pixels() {
    let ctx = egui::Context::default();
    ctx.enable_accesskit();
    let (shelf, folders) = (shelf(None), folders());
    let start = StartOptions { device: DeviceChoice::Cpu, picture: None, model: None, shelf, folders };
    let mut app = App::with_source(&ctx, start, nothing()).expect("it opens");
    take_up(&mut app.editor);
    app.editor.apply(Command::ShowHistory(true));
    let mut time = 0.0;
    // Without taking in what others report: nothing but drawing goes on.
    let mut draw = |app: &mut App| {
        time += 0.1;
        let screen_rect = Some(egui::Rect::from_min_size(Pos2::ZERO, vec2(1440.0, 900.0)));
        let input = RawInput { screen_rect, time: Some(time), max_texture_side: Some(8192), ..RawInput::default() };
        let output = ctx.run_ui(input, |ui| app.frame(ui));
        let update = output.platform_output.accesskit_update;
        let labels = update.into_iter().flat_map(|update| update.nodes);
        labels.filter_map(|(_, node)| node.label().map(str::to_owned)).collect::<Vec<_>>()
    };
    draw(&mut app);
    let mut told = false;
    for command in [
        Command::GoTo(5),
        Command::ShowOriginal(true),
        Command::ShowOriginal(false),
        Command::Look(View { zoom: 1.0, centre: (200.0, 200.0), fit: false }),
        Command::Undo,
        Command::ExtendCanvas([64; 4]),
        Command::Undo,
        Command::GoTo(20),
    ] {
        let what = format!("{command:?}");
        app.editor.apply(command);
        for _ in 0..3 {
            sleep(Duration::from_millis(50));
            told |= draw(&mut app).iter().any(|label| label == "Step 5: Change 3, opening");
        }
        assert!(app.editor.is_opening(), "drawing after {what} put pixels together");
    }
    assert!(told, "it is said what one waits for");
    until(&mut app.editor, "the pixels are here", |editor| !editor.is_opening());
    assert!(!draw(&mut app).iter().any(|label| label.ends_with(", opening")));
}

/// A step away is at hand once what was far away is here, without a wait.
#[test]
fn a_step_beside_the_present_one_is_at_hand() {
    let mut editor = editor();
    for at in [30, 6, 45] {
        editor.apply(Command::GoTo(at));
        for command in [Command::Undo, Command::Undo, Command::Redo, Command::Redo, Command::Redo] {
            until(&mut editor, "all beside it is here", |editor| editor.history.missing().is_none());
            editor.apply(command);
            assert!(!editor.is_opening(), "beside {at}");
        }
    }
}

/// What is saved meanwhile is what one has gone to, with all its pixels.
#[test]
fn a_project_saved_meanwhile_is_whole() {
    let (mut editor, folder) = (editor(), Folder::new("opening"));
    let (file, picture) = (folder.0.join("all.andamento"), folder.0.join("picture.png"));
    editor.apply(Command::GoTo(10));
    editor.apply(Command::SaveAs(file.clone()));
    editor.apply(Command::Export(picture.clone()));
    assert!(editor.is_opening());
    until(&mut editor, "all is written", |editor| editor.desk.busy == 0);
    let again = project::open(&file).expect("a project");
    assert_eq!((again.at, again.entries.len()), (10, 62));
    assert!(again.entries[10].document.picture.is_at_hand(), "what is seen first is put together first");
    for (entry, expected) in again.entries.iter().skip(1).zip(&LONG.entries) {
        assert!(pixels(&entry.document.picture) == pixels(&expected.document.picture), "{}", expected.label);
        assert!(entry.document.mask == expected.document.mask);
    }
    let written = Picture::open(&picture).expect("a picture");
    assert!(pixels(&written) == pixels(&LONG.entries[9].document.picture));
}

/// A large canvas grows at once, and its pixels follow.
#[test]
fn a_large_canvas_grows_beside_the_window() {
    let mut editor = editor();
    let before = editor.document.clone();
    editor.apply(Command::ExtendCanvas([30, 10, 0, 20]));
    assert!(editor.is_opening() && editor.document.picture.width() == 730);
    editor.apply(Command::SelectAll);
    until(&mut editor, "the pixels are here", |editor| !editor.is_opening());
    let whole = Picture::new(before.picture.image().clone()).extended(30, 10, 0, 20).expect("it is small");
    assert!(editor.document.picture == whole);
    editor.apply(Command::Undo);
    until(&mut editor, "the picture before is here", |editor| editor.history.missing().is_none());
    editor.apply(Command::Undo);
    assert!(!editor.is_opening() && editor.document.picture == before.picture);
}

/// What one may do in any sequence.
#[derive(Debug, Clone)]
enum Doing {
    Undo(u8),
    Redo(u8),
    GoTo(usize),
    Stroke(u32),
    Generated(u32),
    Extend,
    Tick(u8),
    Settle,
}

fn doing() -> impl Strategy<Value = Doing> {
    prop_oneof![
        3 => (1..9u8).prop_map(Doing::Undo),
        3 => (1..9u8).prop_map(Doing::Redo),
        4 => any::<usize>().prop_map(Doing::GoTo),
        2 => (0..500u32).prop_map(Doing::Stroke),
        1 => (0..500u32).prop_map(Doing::Generated),
        1 => Just(Doing::Extend),
        4 => (1..12u8).prop_map(Doing::Tick),
        1 => Just(Doing::Settle),
    ]
}

/// What a step of the history should be.
struct Step {
    id: u64,
    size: (u32, u32),
    mask: Mask,
}

impl Step {
    fn of(document: &Document) -> Self {
        let size = (document.picture.width(), document.picture.height());
        Self { id: document.picture_id, size, mask: document.mask.clone() }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 16, failure_persistence: None, ..ProptestConfig::default() })]

    /// Going back and forth and editing in any sequence, while pixels come or not: the last that was wanted is where one is,
    /// every press counts once, and every picture is the one it was.
    #[test]
    fn whatever_one_does_meanwhile_counts_once(doings in prop::collection::vec(doing(), 1..40)) {
        let mut editor = editor();
        let mut steps: Vec<Step> = editor.history.entries().iter().map(|entry| Step::of(&entry.document)).collect();
        let mut at = editor.history.depth();
        let whole: Vec<(u64, Picture)> =
            LONG.entries.iter().map(|entry| (entry.document.picture_id, entry.document.picture.clone())).collect();
        for doing in doings {
            match doing {
                Doing::Undo(times) => (0..times).for_each(|_| {
                    editor.apply(Command::Undo);
                    at = at.saturating_sub(1);
                }),
                Doing::Redo(times) => (0..times).for_each(|_| {
                    editor.apply(Command::Redo);
                    at = (at + 1).min(steps.len() - 1);
                }),
                Doing::GoTo(index) => {
                    at = index % steps.len();
                    editor.apply(Command::GoTo(at));
                }
                Doing::Stroke(place) => {
                    editor.apply(Command::BeginStroke { at: (place as f32, 20.0), erase: false });
                    editor.apply(Command::ExtendStroke((20.0, place as f32)));
                    let (old, new) = (steps[at].mask.clone(), editor.document.mask.clone());
                    editor.apply(Command::EndStroke);
                    if old != new {
                        steps.truncate(at + 1);
                        steps.push(Step { mask: new, ..Step::of(&editor.document) });
                        at += 1;
                    }
                }
                Doing::Generated(number) => {
                    // As the worker does it: from the very picture, wherever its pixels are.
                    let made = edited(&editor.document, number * 2 + 1, 5);
                    editor.history.push("Generate", &made);
                    editor.document = made;
                    steps.truncate(at + 1);
                    steps.push(Step::of(&editor.document));
                    at += 1;
                }
                Doing::Extend if steps[at].size.0 < 760 => {
                    editor.apply(Command::ExtendCanvas([8, 0, 24, 0]));
                    steps.truncate(at + 1);
                    steps.push(Step::of(&editor.document));
                    at += 1;
                }
                Doing::Extend => {}
                Doing::Tick(times) => (0..times).for_each(|_| {
                    editor.tick(Duration::from_millis(16));
                    sleep(Duration::from_millis(1));
                }),
                Doing::Settle => until(&mut editor, "the pixels are here", |editor| !editor.is_opening()),
            }
            let (step, document) = (&steps[at], &editor.document);
            prop_assert_eq!((editor.history.depth(), editor.history.entries().len()), (at, steps.len()));
            let size = (document.picture.width(), document.picture.height());
            prop_assert_eq!((document.picture_id, size), (step.id, step.size));
            prop_assert!(document.mask == step.mask, "the mask at {}", at);
            prop_assert_eq!(editor.history.entries()[at].document.picture_id, step.id);
        }
        until(&mut editor, "the pixels are here", |editor| !editor.is_opening());
        for (entry, step) in editor.history.entries().iter().zip(&steps) {
            prop_assert_eq!(entry.document.picture_id, step.id);
            if let Some((_, whole)) = whole.iter().find(|(id, _)| *id == step.id) {
                prop_assert!(entry.document.picture.packed().image() == whole.image(), "the picture of {}", entry.label);
            }
        }
        prop_assert!(editor.document.picture == editor.history.entries()[at].document.picture);
    }
}

/// Whoever waits for something that broke off is told, instead of waiting for ever.
#[test]
fn what_breaks_off_beside_the_window_is_told() {
    let errands = Errands::new(Arc::new(|| {}));
    let document = Document::new(Picture::new(RgbImage::new(8, 8).into()), "small.png", None);
    errands.select("Wand", &document, Combine::Add, |_| panic!("a mishap"));
    let deadline = Instant::now() + PATIENCE;
    let done = loop {
        if let Some(done) = errands.done().next() {
            break done;
        }
        assert!(Instant::now() < deadline, "nobody tells");
        sleep(Duration::from_millis(5));
    };
    let Errand::Selected { label: "Wand", selection: Err(error), .. } = done else { panic!("another errand") };
    assert!(error.to_string().contains("a mishap"), "{error}");
}
