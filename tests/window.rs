//! The window, driven through its accessible names: the mask, the controls, a whole run, the history.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento::command::{Command, Dialog, Selection, Tool};
use andamento::document::Document;
use andamento::editor::Editor;
use andamento::history::History;
use andamento::ui::App;
use andamento::worker::{Event, Job, Worker};
use andamento_model::checkpoint::{TENSORAR_KEYS, export};
use andamento_model::device::DeviceChoice;
use andamento_model::frame::Extent;
use andamento_model::lattice::{Grid, Site};
use andamento_model::ledger::revisions;
use andamento_model::library::{Card, Defaults, MODELS, TokenizerCard};
use andamento_model::network::Pace;
use andamento_model::networks::FAMILIES;
use andamento_model::networks::llamagen::{TransformerConfig, Trunk};
use andamento_model::networks::tensorar::base::BaseConfig;
use andamento_model::networks::tensorar::noise::Noise;
use andamento_model::networks::tensorar::{TensorAr, TensorArConfig};
use andamento_model::order;
use andamento_model::paint::Request;
use andamento_model::picture::{Combine, Mask, Picture, Rect};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_tests::goldens;
use egui::accesskit::Role;
use egui::{Key, Modifiers, PointerButton, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use crate::driven::{Opening, PATIENCE, drag, on_screen, until, until_ready, until_shown};
use crate::folder::Folder;

fn window(picture: Option<PathBuf>) -> Harness<'static, App> {
    Opening { picture, ..Opening::default() }.window()
}

fn click(window: &mut Harness<'_, App>, label: &str) {
    window.get_by_label(label).click();
    window.step();
    window.step();
}

fn bytes(picture: &Picture) -> Vec<u8> {
    picture.image().as_bytes().to_vec()
}

/// On all cores, what a model computes gives way to the window.
#[test]
#[cfg(target_os = "linux")]
fn the_worker_gives_way_to_the_window() {
    let _window = window(None);
    let niceness = |task: fs::DirEntry| {
        let read = |what| fs::read_to_string(task.path().join(what)).ok();
        let is_worker = read("comm")?.trim() == "andamento-worke";
        // After the name, which ends with a bracket, it is the seventeenth field.
        let stat = read("stat").filter(|_| is_worker)?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse::<i32>().ok()
    };
    let deadline = Instant::now() + PATIENCE;
    let gives_way = || {
        let tasks = fs::read_dir("/proc/self/task").expect("threads").flatten();
        let workers: Vec<i32> = tasks.filter_map(niceness).collect();
        !workers.is_empty() && workers.iter().all(|niceness| *niceness > 0)
    };
    while !gives_way() {
        assert!(Instant::now() < deadline, "a worker is as urgent as the window");
        sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_stroke_a_run_and_the_history() {
    let mut window = window(None);
    let depth = |window: &Harness<'_, App>| window.state().editor.history.depth();
    assert!(!window.state().editor.document.mask.is_empty(), "the sample starts with a mask");

    // A stroke paints the mask, in the frame in which the pointer moved, and is one entry.
    let painted = window.state().editor.document.mask.clone();
    let (from, to) = (on_screen(&window, 60.0, 440.0), on_screen(&window, 160.0, 450.0));
    drag(&mut window, PointerButton::Primary, from, to);
    let mask = window.state().editor.document.mask.clone();
    assert!(mask.get(100, 445) > 0 && painted.get(100, 445) == 0, "the stroke is in the mask");
    assert_eq!(depth(&window), 1);
    // The right button erases for a moment.
    drag(&mut window, PointerButton::Secondary, from, to);
    assert_eq!(window.state().editor.document.mask.get(100, 445), 0);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.step();
    assert_eq!(window.state().editor.document.mask, mask, "undo brings the stroke back");

    // The controls.
    click(&mut window, "Raster");
    assert_eq!(window.state().editor.settings.order, "raster");
    click(&mut window, "Layout first");
    assert_eq!(window.state().editor.settings.order, "hierarchical");

    // A run.
    let before = window.state().editor.document.clone();
    click(&mut window, "Generate");
    let (mut seen, mut frames) = (0, Vec::new());
    until(&mut window, "a step arrives", |editor| {
        seen = seen.max(editor.run.as_ref().and_then(|run| run.track.as_ref()).map_or(0, |track| track.steps.len()));
        seen > 0 || editor.run.is_none()
    });
    assert!(seen > 0, "steps are seen while the run is on");
    while window.state().editor.run.is_some() {
        assert!(frames.len() < 100_000);
        let start = Instant::now();
        window.step();
        // What eframe does on the same thread before the graphics card takes over.
        let shapes = window.output().shapes.clone();
        assert!(!window.ctx.tessellate(shapes, 1.0).is_empty());
        frames.push(start.elapsed());
        sleep(Duration::from_millis(4));
    }
    frames.sort_unstable();
    let slow = frames[frames.len() * 95 / 100];
    println!("{} frames while decoding: 95 of 100 within {slow:.1?} on the window's thread", frames.len());
    let after = window.state().editor.document.clone();
    assert_eq!(depth(&window), 2, "the run is one entry");
    assert_eq!(window.state().editor.results.len(), 1);
    assert_eq!(after.mask, mask, "the mask stays");
    assert!(after.track.as_ref().is_some_and(|track| track.is_complete()));
    let (old, new) = (before.picture.to_rgb8(), after.picture.to_rgb8());
    let same = |x: u32, y: u32| old.get_pixel(x, y) == new.get_pixel(x, y);
    let pixels = || (0..old.height()).flat_map(|y| (0..old.width()).map(move |x| (x, y)));
    assert!(pixels().all(|(x, y)| mask.get(x, y) > 0 || same(x, y)), "nothing outside of the mask changes");
    assert!(pixels().any(|(x, y)| !same(x, y)), "something inside changes");

    // Rewinding, and the result as it was.
    for _ in 0..3 {
        window.key_press(Key::Comma);
        window.step();
    }
    let steps = after.track.as_ref().map_or(0, |track| track.steps.len());
    click(&mut window, "One step back");
    assert_eq!(window.state().editor.head(), steps - 4);
    click(&mut window, "One step forward");
    assert_eq!(window.state().editor.head(), steps - 3);
    until(&mut window, "the step is decoded", |editor| {
        editor.preview.as_ref().is_some_and(|preview| preview.steps == steps - 3)
    });
    window.key_press(Key::End);
    window.step();
    assert_eq!(window.state().editor.head(), steps);

    // Undo and redo bring back the very bytes.
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.step();
    assert_eq!(bytes(&window.state().editor.document.picture), bytes(&before.picture));
    window.key_press_modifiers(Modifiers::COMMAND, Key::Y);
    window.step();
    assert_eq!(bytes(&window.state().editor.document.picture), bytes(&after.picture));
}

#[test]
fn stopping_keeps_what_was_decoded_and_goes_on() {
    let mut window = window(None);
    window.state_mut().editor.apply(Command::Steps(256));
    window.state_mut().editor.apply(Command::SelectAll);
    let before = window.state().editor.document.picture.clone();
    click(&mut window, "Generate");
    let made =
        |editor: &Editor| editor.run.as_ref().and_then(|run| run.track.as_ref()).map_or(0, |track| track.steps.len());
    until(&mut window, "some steps arrive", |editor| made(editor) >= 8);
    click(&mut window, "Stop");
    until(&mut window, "the run has stopped", |editor| editor.run.is_none());
    let document = window.state().editor.document.clone();
    let track = document.track.clone().expect("what was made is kept");
    assert!(!track.is_complete() && track.steps.len() >= 8);
    assert_eq!(window.state().editor.history.labels().last().map(|label| label.starts_with("Stopped")), Some(true));
    let (old, new) = (before.to_rgb8(), document.picture.to_rgb8());
    let mut kept = Mask::new(old.width(), old.height());
    track.steps.iter().for_each(|step| {
        for made in &step.made {
            kept.fill_rect(track.rect(step.index, made.site), 255);
        }
    });
    let mut changed = 0;
    for (x, y) in (0..old.height()).flat_map(|y| (0..old.width()).map(move |x| (x, y))) {
        let same = old.get_pixel(x, y) == new.get_pixel(x, y);
        assert!(same || kept.get(x, y) > 0, "({x}, {y}) changed without a token");
        changed += usize::from(!same);
    }
    assert!(changed > 0);
    // K goes on from there.
    window.key_press(Key::K);
    until(&mut window, "more steps arrive", |editor| made(editor) > track.steps.len());
    let run = window.state().editor.run.as_ref().and_then(|run| run.track.clone()).expect("it is on");
    assert_eq!(run.steps[..track.steps.len()], track.steps[..]);
    window.key_press_modifiers(Modifiers::SHIFT, Key::X);
    until(&mut window, "the run has stopped again", |editor| editor.run.is_none());
}

#[test]
fn an_edge_that_is_drawn_out_masks_what_it_adds() {
    let mut window = window(None);
    window.key_press_modifiers(Modifiers::COMMAND, Key::D);
    window.step();
    assert!(window.state().editor.document.mask.is_empty());
    let (zoom, old) = (window.state().editor.view.zoom, window.state().editor.document.picture.clone());
    let handle = window.get_by_label("Extend right edge").rect().center();
    drag(&mut window, PointerButton::Primary, handle, handle + vec2(128.0 * zoom, 0.0));
    let document = &window.state().editor.document;
    let (width, height) = (old.width(), old.height());
    let added = document.picture.width() - width;
    assert_eq!(added, 128, "whole tokens");
    assert_eq!(document.picture.height(), height);
    let all = (0..height).flat_map(|y| (0..width + added).map(move |x| (x, y)));
    assert!(all.into_iter().all(|(x, y)| document.mask.get(x, y) == if x < width { 0 } else { 255 }));
    let (old, new) = (old.to_rgb8(), document.picture.to_rgb8());
    assert!(old.enumerate_pixels().all(|(x, y, pixel)| new.get_pixel(x, y) == pixel));
    assert_eq!(window.state().editor.history.undo_label(), Some("Extend canvas"));
    window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
    window.step();
    assert_eq!(window.state().editor.document.picture.width(), width);
}

#[test]
fn a_file_that_is_no_picture_is_refused_by_name() {
    let mut window = window(None);
    let text = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("window.rs");
    window.key_press_modifiers(Modifiers::COMMAND, Key::O);
    window.step();
    assert_eq!(window.state().editor.dialog, Some(Dialog::Open));
    until_shown(&mut window, "Path of the file");
    window.state_mut().editor.apply(Command::Open(text));
    until(&mut window, "the notice appears", |editor| !editor.notices.is_empty());
    let notice = window.state().editor.notices[0].clone();
    assert!(notice.bad && notice.about.contains("window.rs") && !notice.remedy.is_empty(), "{notice:?}");
    assert_eq!(window.state().editor.document.name, "lake-at-dusk.png");
    window.step();
    let dismiss = format!("Dismiss: {}", notice.about);
    click(&mut window, &dismiss);
    assert!(window.state().editor.notices.is_empty());
}

#[test]
fn results_are_saved_beside_the_source_and_never_over_it() {
    let folder = Folder::new("window");
    let picture = Picture::new(image::DynamicImage::new_rgb16(300, 200));
    let source = folder.write("lake.png", picture.png_bytes().expect("a picture"));
    let bytes_before = std::fs::read(&source).expect("the source");

    let mut window = window(Some(source.clone()));
    until(&mut window, "the picture is open", |editor| editor.document.name == "lake.png");
    assert!(window.state().editor.document.mask.is_empty());
    // Nothing to save yet: it says so.
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    until(&mut window, "the notice appears", |editor| editor.notices.iter().any(|notice| !notice.bad));
    window.state_mut().editor.apply(Command::ExtendCanvas([0, 0, 20, 0]));
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    let result = folder.0.join("lake-andamento-001.png");
    until(&mut window, "the result is saved", |editor| {
        editor.notices.iter().any(|notice| notice.about == "lake-andamento-001.png")
    });
    let saved = Picture::open(&result).expect("the result opens");
    assert_eq!((saved.width(), saved.height()), (320, 200));
    assert_eq!(saved.image().color(), image::ColorType::Rgb16, "at the source's depth");
    window.state_mut().editor.apply(Command::SaveAs(source.clone()));
    assert!(window.state().editor.notices.iter().any(|notice| notice.bad && notice.about.contains("lake.png")));
    assert_eq!(std::fs::read(&source).expect("the source"), bytes_before);
}

#[test]
fn exporting_and_dropping_by_the_names_of_things() {
    let folder = Folder::new("export");
    let picture = Picture::new(image::DynamicImage::new_rgb16(300, 200));
    let source = folder.write("lake.png", picture.png_bytes().expect("a picture"));
    let mut window = window(Some(source.clone()));
    until(&mut window, "the picture is open", |editor| editor.document.name == "lake.png");
    assert_eq!(window.state().editor.desk.recent, [source]);

    window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::E);
    window.step();
    assert_eq!(window.state().editor.dialog, Some(Dialog::Export));
    window.run_steps(3);
    for name in ["PNG", "JPEG", "WebP", "TIFF", "OpenRaster", "Project", "Metadata", "Browse…", "Path of the file"] {
        assert!(window.query_by_label(name).is_some(), "{name}");
    }
    assert!(window.unnamed_widgets().is_empty(), "{:#?}", window.unnamed_widgets());
    click(&mut window, "JPEG");
    assert!(window.query_all_by_label("JPEG quality").count() > 0);
    assert!(window.query_by_label_contains("16 bits become 8").is_some(), "what is lost is said before");
    click(&mut window, "TIFF");
    window.get_by_role_and_label(Role::Button, "Export").click();
    let written = folder.0.join("lake-andamento-001.tif");
    until(&mut window, "it is written", |editor| editor.desk.busy == 0 && editor.dialog.is_none());
    assert!(Picture::open(&written).expect("it opens") == picture);

    // A grey picture of the canvas's size may be a mask, which is asked.
    let mut mask = Mask::new(300, 200);
    mask.fill_rect(Rect::new(10, 20, 30, 40), 255);
    let file = folder.0.join("mask.png");
    std::fs::write(&file, mask.png_bytes().expect("a mask")).expect("a file");
    let drop = |window: &mut Harness<'_, App>, as_mask: bool| {
        window.state_mut().editor.apply(Command::DropFiles { paths: vec![file.clone()], as_mask });
    };
    drop(&mut window, false);
    until(&mut window, "it asks", |editor| editor.dialog.is_some());
    window.run_steps(2);
    click(&mut window, "Use as mask");
    until(&mut window, "the mask is there", |editor| editor.document.mask == mask);
    assert_eq!(window.state().editor.dialog, None);
    window.state_mut().editor.apply(Command::Undo);
    drop(&mut window, true);
    until(&mut window, "with Shift it is taken at once", |editor| editor.document.mask == mask);

    // A mask alone is saved as a project.
    window.key_press_modifiers(Modifiers::COMMAND, Key::S);
    window.step();
    assert_eq!(window.state().editor.dialog, Some(Dialog::Save));
    let project = folder.0.join("lake.andamento");
    window.state_mut().editor.apply(Command::SaveAs(project.clone()));
    until(&mut window, "it is saved", |editor| editor.project().is_some());
    window.state_mut().editor.apply(Command::ClearMask);
    window.state_mut().editor.apply(Command::Open(project));
    until(&mut window, "it is open", |editor| editor.desk.busy == 0);
    assert_eq!(window.state().editor.document.mask, mask);
    assert!(!window.state().editor.is_unsaved());
}

#[test]
fn letters_in_a_text_field_are_no_commands() {
    let mut window = window(None);
    window.key_press(Key::E);
    window.step();
    assert_eq!(window.state().editor.brush.tool, Tool::Eraser);
    click(&mut window, "Subject: alpine lake, dusk");
    window.step();
    let id = egui::Id::unique("subject search");
    assert!(window.ctx.memory(|memory| memory.has_focus(id)), "the search field has the keyboard");
    for (key, letter) in [(Key::B, "b"), (Key::H, "h"), (Key::C, "c"), (Key::X, "x")] {
        window.key_down(key);
        window.event(egui::Event::Text(letter.into()));
        window.key_up(key);
        window.step();
    }
    assert_eq!(window.state().editor.brush.tool, Tool::Eraser);
}

#[test]
fn everything_that_can_be_pressed_has_a_name() {
    let mut window = window(None);
    click(&mut window, "More");
    let unnamed = window.unnamed_widgets();
    assert!(unnamed.is_empty(), "{unnamed:#?}");
    for name in
        ["Brush", "Eraser", "Extend canvas", "Hand", "Generate", "Stop", "Timeline", "Seed", "Steps", "Guidance"]
            .into_iter()
            .chain(["Detail: one frame", "Context", "Choices", "Coverage", "Smooth", "More"])
    {
        assert!(window.query_by_label(name).is_some(), "{name}");
    }
    let named =
        |node: &egui_kittest::Node<'_>| node.accesskit_node().label().is_some_and(|label| !label.trim().is_empty());
    for node in window.root().children_recursive() {
        let role = node.accesskit_node().role();
        let pressed =
            matches!(role, Role::Button | Role::CheckBox | Role::RadioButton | Role::Slider | Role::SpinButton);
        assert!(!pressed || named(&node), "{role:?} at {:?}", node.rect());
    }
}

#[test]
fn a_panic_in_the_worker_is_told_and_it_goes_on() {
    let worker = Worker::start(Box::new(|_, _, _| panic!("no luck today")), Arc::new(|| {}));
    for _ in 0..2 {
        let load = Job::Load { model: "any".into(), device: DeviceChoice::Cpu };
        worker.send(load).expect("the worker takes jobs");
        let start = Instant::now();
        let told = loop {
            assert!(start.elapsed() < PATIENCE, "waited too long");
            if let Some(event) = worker.events().next() {
                break event;
            }
            sleep(Duration::from_millis(2));
        };
        assert!(matches!(told, Event::Failed { run: None, error } if error.to_string().contains("no luck today")));
    }
}

#[test]
fn two_hundred_strokes_can_be_taken_back() {
    let mut document = Document::new(Picture::new(image::DynamicImage::new_rgb8(64, 64)), "grey", None);
    let mut history = History::new(&document);
    let mut masks = vec![document.mask.clone()];
    for stroke in 0..220_u32 {
        let mut mask = document.mask.clone();
        mask.stamp((stroke % 60) as f32, (stroke / 4) as f32, 3.0, 0.4, stroke % 7 == 6);
        mask.fill_rect(Rect::new(i64::from(stroke % 64), 63, 1, 1), (stroke % 255) as u8 + 1);
        document = document.with_mask(mask);
        history.push("Brush stroke", &document);
        masks.push(document.mask.clone());
    }
    for mask in masks.iter().rev().skip(1) {
        assert_eq!(history.undo().map(|document| document.mask).as_ref(), Some(mask));
    }
    assert!(history.undo().is_none());
    for mask in masks.iter().skip(1) {
        assert_eq!(history.redo().map(|document| document.mask).as_ref(), Some(mask));
    }
}

/// Whatever the command line offers for a run can be set by name in the window, and is in the request of the run.
#[test]
fn every_control_is_in_the_request_of_a_run() {
    let mut window = window(None);
    assert!(window.query_by_label("Context").is_none(), "what is seldom needed is closed at first");
    click(&mut window, "More");
    window.run_steps(20);
    let (grid, steps) = (window.state().editor.card.grid, 12);
    window.state_mut().editor.apply(Command::Steps(steps));
    for slider in ["Context", "Choices", "Coverage"] {
        click(&mut window, slider);
    }
    window.state_mut().editor.apply(Command::LockSeed(true));
    window.state_mut().editor.apply(Command::Temperature(0.9));

    // Twice as fine: the aim follows, and the order that it demands is the only one.
    click(&mut window, "Detail: 2× finer");
    let editor = &window.state().editor;
    let aim = editor.aim.clone().expect("the sample has a mask");
    assert_eq!((editor.settings.extent, editor.settings.order), (Extent::Refined(2), "hierarchical"));
    assert_eq!(aim.grid, Grid::new(2 * grid, 2 * grid));
    assert_eq!(aim.masked.len(), 4 * grid * grid);
    assert_eq!(aim.frame.size, [2 * editor.card.side; 2], "seen at twice the size");
    assert!(editor.notices.iter().any(|notice| notice.cause.contains("Layout first")), "{:?}", editor.notices);
    for order in &order::ORDERS {
        let disabled = window.get_by_label(order.title).accesskit_node().is_disabled();
        assert_eq!(disabled, order.name != "hierarchical", "{}", order.title);
    }
    refused(&mut window, Command::Order("raster"), "order");

    let settings = window.state().editor.settings;
    assert!((settings.context - 3.0).abs() < 0.2 && settings.sampling.top_k > 500, "{settings:?}");
    assert!((settings.sampling.top_p - 0.5).abs() < 0.1, "{settings:?}");
    let request = run(&mut window);
    assert_eq!((request.extent, request.order.as_str()), (Extent::Refined(2), "hierarchical"));
    assert_eq!(request.schedule, Schedule::Cosine { steps });
    let Guidance::Spatial { class, context, dropped } = request.knobs.guidance else {
        panic!("{:?} has no context", request.knobs.guidance)
    };
    assert_eq!((class[1], context, dropped), (settings.guidance, [1.0, settings.context], 0.5));
    assert_eq!(request.knobs.sampling, settings.sampling);
    assert_eq!((request.knobs.sampling.temperature, request.knobs.seed), (0.9, settings.seed));
    let track = window.state().editor.document.track.clone().expect("a run");
    assert_eq!(track.legs[0].plan.lattice.finest(), aim.grid);
    assert!(!track.legs[0].plan.dropped.is_empty());

    // The whole canvas: as many tokens as it has room for. What is off is not asked for.
    window.state_mut().editor.apply(Command::Context(1.0));
    let (side, rest) = (window.state().editor.document.picture.height(), 0.5);
    window.state_mut().editor.apply(Command::ExtendCanvas([0, 0, (side as f32 * rest) as u32, 0]));
    click(&mut window, "Detail: whole canvas");
    let aim = window.state().editor.aim.clone().expect("what was added is masked");
    assert_eq!(aim.grid, Grid::new(grid, grid + grid / 2));
    assert_eq!(aim.frame.rect, window.state().editor.document.picture.rect());
    let request = run(&mut window);
    assert_eq!((request.extent, request.knobs.guidance.dropped()), (Extent::Canvas, None));

    // What cannot be honoured is grey, and refused with the reason.
    assert!(window.get_by_label("Smooth").accesskit_node().is_disabled());
    refused(&mut window, Command::Smooth(true), "smooth");
    window.state_mut().editor.apply(Command::Guidance(1.0));
    window.step();
    assert!(window.get_by_label("Context").accesskit_node().is_disabled(), "it stands beside guidance");
    refused(&mut window, Command::Context(2.0), "context");
    window.state_mut().editor.apply(Command::ExtendCanvas([0, 0, 16 * side, 0]));
    window.step();
    assert!(window.get_by_label("Detail: whole canvas").accesskit_node().is_disabled(), "it is too oblong");
    assert!(window.state().editor.cannot_generate().is_some_and(|reason| reason.contains("tokens at once")));
    click(&mut window, "Detail: one frame");
    assert_eq!(window.state().editor.cannot_generate(), None);
}

/// Presses Generate, waits, and returns what was asked for.
fn run(window: &mut Harness<'_, App>) -> Request {
    click(window, "Generate");
    until(window, "the run is done", |editor| editor.run.is_none());
    let bad: Vec<_> = window.state().editor.notices.iter().filter(|notice| notice.bad).collect();
    assert!(bad.is_empty(), "{bad:?}");
    let track = window.state().editor.document.track.clone().expect("a run");
    assert!(track.is_complete());
    // The strip of results takes its place.
    window.run_steps(4);
    Request::clone(&track.request)
}

/// Asks for something that cannot be honoured, and reads why.
fn refused(window: &mut Harness<'_, App>, command: Command, about: &str) {
    let before = window.state().editor.settings;
    window.state_mut().editor.apply(command);
    let told = window.state().editor.notices.last().cloned().expect("a notice");
    assert!(told.bad && told.about == about && !told.cause.is_empty(), "{told:?}");
    assert_eq!(window.state().editor.settings, before, "nothing was set");
    window.state_mut().editor.apply(Command::Dismiss(told.number));
}

/// A window on a small grey picture, with a library of imported models, both in a folder.
fn grey(folder: &Folder) -> Harness<'static, App> {
    let grey = Picture::new(image::RgbImage::from_pixel(96, 96, image::Rgb([90, 120, 150])).into());
    let picture = folder.write("grey.png", grey.png_bytes().expect("a picture"));
    let mut window = Opening { picture: Some(picture), library: Some(folder.0.clone()), ..Opening::default() }.window();
    until(&mut window, "the picture is open", |editor| editor.document.name == "grey.png");
    window
}

/// A whole picture, a hole and more canvas, by every bundled model.
#[test]
fn every_bundled_model_paints_in_the_window() {
    let folder = Folder::new("bundled");
    let mut window = grey(&folder);
    let start = window.state().editor.document.clone();
    for model in &MODELS {
        let card = model.card().expect("a card");
        let title = &card.title;
        window.state_mut().editor.apply(Command::ChooseModel(card.id.clone()));
        until_ready(&mut window);
        if matches!(window.state().editor.abilities.pace, Pace::Free) {
            window.state_mut().editor.apply(Command::Steps(6));
        }
        let commands = [
            vec![Command::SelectAll],
            vec![
                Command::ClearMask,
                Command::Select(Selection::Rectangle(Rect::new(32, 32, 24, 24)), Combine::Replace),
            ],
            vec![Command::ClearMask, Command::ExtendCanvas([0, 0, 32, 0])],
        ];
        for commands in commands {
            commands.into_iter().for_each(|command| window.state_mut().editor.apply(command));
            let before = window.state().editor.document.clone();
            let request = run(&mut window);
            assert_eq!(request.order, card.abilities().expect("abilities").orders.native(), "{title}");
            let after = &window.state().editor.document;
            let (old, new) = (before.picture.to_rgb8(), after.picture.to_rgb8());
            let same = |(x, y, pixel): &(u32, u32, &image::Rgb<u8>)| old.get_pixel(*x, *y) == *pixel;
            let (masked, rest): (Vec<_>, Vec<_>) =
                new.enumerate_pixels().partition(|(x, y, _)| before.mask.get(*x, *y) > 0);
            assert!(!masked.iter().all(same), "{title}: something changed");
            assert!(rest.iter().all(same), "{title}: pixels outside of the mask");
        }
        while window.state().editor.document.picture.width() > start.picture.width() {
            window.state_mut().editor.apply(Command::Undo);
        }
    }
}

/// TensorAR with fresh weights around the golden LlamaGen's sizes, as nobody has published any: its configuration and its
/// file.
fn fresh_tensorar() -> (TensorArConfig, Vec<u8>) {
    let base: TransformerConfig = serde_json::from_value(serde_json::json!({
        "dim": 48, "n_layer": 2, "n_head": 4, "vocab_size": 64, "num_classes": 10, "multiple_of": 32,
    }))
    .expect("sizes");
    let config = TensorArConfig { base: BaseConfig::LlamaGen(base.clone()), k: 4, depth: 1, noise: Noise::default() };
    let device = burn::prelude::Device::flex();
    let model = TensorAr::new(Trunk::new(&base, &device), &config, &device);
    let file = export(&model, &TENSORAR_KEYS).expect("exports");
    (config, file)
}

/// A folder as training writes it opens at the start, through the import and as itself, and every revision of its tokens
/// is kept.
#[test]
fn a_trained_model_opens_from_its_folder() {
    let home = Folder::new("trained");
    let folder = home.0.join("my-tensorar");
    let (config, weights) = fresh_tensorar();
    let card = Card {
        id: "my-tensorar".into(),
        title: "My TensorAR".into(),
        family: "TensorAR".into(),
        side: 64,
        grid: 4,
        parameters: 1,
        subjects: (0..10).map(|class| format!("subject {class}")).collect(),
        defaults: Defaults { steps: 16, guidance: Guidance::constant(2.0), sampling: Sampling::default() },
        network: serde_json::to_value(&config).expect("sizes"),
        tokenizer: TokenizerCard {
            kind: "LlamaGen VQ".into(),
            config: serde_json::json!({
                "ch": 32, "encoder_ch_mult": [1, 1, 1, 1, 2], "decoder_ch_mult": [1, 1, 1, 1, 1], "num_res_blocks": 2,
                "z_channels": 32, "codebook_size": 64, "codebook_embed_dim": 8,
            }),
            weights: None,
        },
    };
    let json = serde_json::to_vec(&card).expect("a card");
    home.write("my-tensorar/config.json", json);
    home.write("my-tensorar/weights.safetensors", weights);
    let tokenizer = goldens("randar").join("vq_tiny_f16.safetensors");
    std::fs::copy(tokenizer, folder.join("tokenizer.safetensors")).expect("a file");

    let id = folder.to_string_lossy().into_owned();
    let mut window = Opening { model: Some(id.clone()), library: Some(home.0.clone()), ..Opening::default() }.window();
    let painted = |window: &mut Harness<'_, App>| {
        until_ready(window);
        let editor = &window.state().editor;
        assert_eq!((editor.card.family.as_str(), &editor.card.title, &editor.card.id), ("TensorAR", &card.title, &id));
        assert_eq!(editor.offers.iter().filter(|offer| offer.card.id == id).count(), 1);
        window.state_mut().editor.apply(Command::SelectAll);
        let request = run(window);
        assert_eq!(request.schedule, Schedule::Windows { width: 4 });
        let track = window.state().editor.document.track.clone().expect("a run");
        assert_eq!(track.model, id);
        // The token of the first pass's fourth site was drafted three times before it was final.
        let first = &track.steps[..track.legs[0].plan.visits.len()];
        assert_eq!(revisions(first, Site(3)).len(), 4);
        assert_eq!(revisions(first, Site(0)).len(), 1);
    };
    painted(&mut window);
    look_at_revisions(&mut window);
    let first = window.state().editor.offers[0].card.id.clone();
    for way in [folder.clone(), folder.join("config.json"), folder.join("weights.safetensors")] {
        window.state_mut().editor.apply(Command::ChooseModel(first.clone()));
        window.state_mut().editor.apply(Command::ImportModels(vec![way]));
        assert!(window.state().editor.notices.iter().all(|notice| !notice.bad));
        assert_eq!(window.state().editor.card.id, id);
    }
    painted(&mut window);
}

/// The pointer rests on a token that was drafted three times: each draft is told with its step, code and probability, and
/// shown as a small picture, the final one last.
fn look_at_revisions(window: &mut Harness<'_, App>) {
    let track = window.state().editor.document.track.clone().expect("a run");
    // In the last pass, whose tokens no other covers.
    let leg = track.legs.last().expect("a pass");
    let steps = &track.steps[leg.plan.first..];
    let site =
        leg.plan.lattice.sites().find(|site| revisions(steps, *site).len() == 4).expect("a token of four drafts");
    let drafts = revisions(steps, site);
    let rect = leg.rect(site).intersect(window.state().editor.document.picture.rect());
    let at = on_screen(window, rect.x as f32 + rect.width as f32 / 2.0, rect.y as f32 + rect.height as f32 / 2.0);
    window.hover_at(at);
    until(window, "the drafts are decoded", |editor| editor.closeups.shown.is_some());
    window.run_steps(2);
    let (spot, pictures) = window.state().editor.closeups.shown.clone().expect("pictures");
    assert_eq!((spot.site, spot.run, pictures.len()), (site, track.number, drafts.len()));
    let different = drafts.windows(2).position(|pair| pair[0].1.token != pair[1].1.token).expect("they were revised");
    assert!(pictures[different] != pictures[different + 1], "another code looks another way");
    // Three by three tokens of 16 pixels, or fewer at an edge.
    assert!(pictures.iter().all(|picture| [32, 48].contains(&picture.width()) && [32, 48].contains(&picture.height())));
    let told = window.get_by_label("Canvas").accesskit_node().description().unwrap_or_default();
    assert!(told.contains(&format!("token {} · 4 revisions", site.0)), "{told}");
    for (step, made) in drafts {
        assert!(told.contains(&format!("step {} code {}", step + 1, made.token)), "{told}");
    }
    window.event(egui::Event::PointerGone);
    window.step();
}

/// Every family is imported, chosen and painted with, in its own way; the window knows none of them by name.
#[test]
fn every_family_paints_from_the_registry_alone() {
    let folder = Folder::new("families");
    let mut window = grey(&folder);

    let files = [
        "randar/randar_tiny.safetensors",
        "randar/llamagen_tiny_ddp.pt",
        "randar/vq_tiny_f16.safetensors",
        "rar/rar.bin",
        "maskgit_vqgan/maskgit-vqgan.bin",
        "var/var.pth",
        "var/vae.pth",
        "open_magvit2/AR_tiny.ckpt",
    ];
    let files = files.map(|file| {
        goldens(file.split('/').next().expect("a folder")).join(file.split('/').next_back().expect("a name"))
    });
    let tensorar = folder.write("tensorar_tiny.safetensors", fresh_tensorar().1);
    let files = [files.to_vec(), vec![tensorar]].concat();
    let bundled = window.state().editor.offers.len();
    window.state_mut().editor.apply(Command::ImportModels(files));
    until(&mut window, "the checkpoints are imported", |editor| editor.importing.is_none());
    let complaints: Vec<_> = window.state().editor.notices.iter().filter(|notice| notice.bad).cloned().collect();
    assert!(complaints.is_empty(), "{complaints:?}");

    let offers = window.state().editor.offers.clone();
    for family in FAMILIES {
        assert!(offers[bundled..].iter().any(|offer| offer.card.family == family.name), "no {}", family.name);
    }
    click(&mut window, "More");
    window.run_steps(20);
    let mut smooth = Vec::new();
    for offer in &offers[bundled..] {
        let title = &offer.card.title;
        window.state_mut().editor.apply(Command::ChooseModel(offer.card.id.clone()));
        until_ready(&mut window);
        window.state_mut().editor.apply(Command::SelectAll);
        let middle = Rect::new(20, 20, 40, 40);
        window.state_mut().editor.apply(Command::ClearMask);
        let (from, to) = (on_screen(&window, 30.0, 30.0), on_screen(&window, 50.0, 50.0));
        drag(&mut window, PointerButton::Primary, from, to);
        let before = window.state().editor.document.clone();
        assert!(before.mask.touches(middle), "{title}: the stroke is in the mask");
        window.state_mut().editor.apply(Command::Generate);
        until(&mut window, &format!("{title} has painted"), |editor| {
            assert!(!editor.notices.iter().any(|notice| notice.bad), "{title}: {:?}", editor.notices);
            editor.run.is_none()
        });
        let after = window.state().editor.document.clone();
        let track = after.track.as_ref().expect("a run");
        assert_eq!(track.model, offer.card.id);
        assert!(track.is_complete(), "{title}: every step was made");
        let changed = |x: u32, y: u32| {
            bytes(&before.picture)[3 * (y * 96 + x) as usize..][..3]
                != bytes(&after.picture)[3 * (y * 96 + x) as usize..][..3]
        };
        assert!((0..96 * 96).any(|at| changed(at % 96, at / 96)), "{title}: something changed");
        let outside = |at: &u32| before.mask.get(at % 96, at / 96) == 0;
        assert!(
            !(0..96 * 96).filter(outside).any(|at| changed(at % 96, at / 96)),
            "{title}: pixels outside of the mask"
        );

        // What the family cannot honour is greyed out, and refused with the reason when it is asked for all the same.
        let orders = window.state().editor.abilities.orders;
        for order in &order::ORDERS {
            window.step();
            let node = window.get_by_label(order.title);
            assert_eq!(
                node.accesskit_node().is_disabled(),
                orders.allow(order.name).is_err(),
                "{title}: {}",
                order.title
            );
        }
        if let Some(other) = order::ORDERS.iter().find(|order| orders.allow(order.name).is_err()) {
            refused(&mut window, Command::Order(other.name), "order");
        }
        let abilities = window.state().editor.abilities;
        let disabled = |window: &Harness<'_, App>, name: &str| window.get_by_label(name).accesskit_node().is_disabled();
        for (extent, name) in [(Extent::Refined(2), "Detail: 2× finer"), (Extent::Canvas, "Detail: whole canvas")] {
            let refusal = abilities.check_extent(extent);
            assert_eq!(disabled(&window, name), refusal.is_err(), "{title}: {name}");
            if refusal.is_err() {
                refused(&mut window, Command::Extent(extent), "canvas");
            }
        }
        assert_eq!(disabled(&window, "Context"), abilities.check_context().is_err(), "{title}: Context");
        assert_eq!(disabled(&window, "Smooth"), abilities.smooth.is_err(), "{title}: Smooth");
        if abilities.smooth.is_ok() {
            // It may have been scrolled out of sight.
            window.get_by_label("Smooth").click_accesskit();
            window.run_steps(2);
            assert!(run(&mut window).knobs.sampling.smooth, "{title}: mixtures were asked for");
            window.state_mut().editor.apply(Command::Rewind(1));
            assert!(!window.state().editor.can_branch(), "{title}: mixtures are not kept");
            let mixed = window.state().editor.document.picture.clone();
            assert_ne!(bytes(&mixed), bytes(&after.picture), "{title}: and they look different");
            smooth.push(offer.card.family.clone());
        } else {
            refused(&mut window, Command::Smooth(true), "smooth");
        }
    }
    assert_eq!(smooth, ["VAR"]);
}
