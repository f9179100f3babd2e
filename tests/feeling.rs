//! How the window feels: its keys, its words, its looks, and that nothing one does to it breaks it.

mod keyboard;
mod keys;
mod legible;
mod models;
mod monkey;
mod notices;

use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento::document::fresh;
use andamento::editor::{Editor, Engine};
use andamento::files::folders::Folders;
use andamento::preferences::Kept;
use andamento::ui::{App, StartOptions};
use andamento::worker;
use andamento_model::device::{self, DeviceChoice};
use andamento_model::library;
use andamento_model::library::imported::Shelf;
use andamento_model::picture::Picture;
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

/// The longest that anything may take on a slow, busy machine.
const PATIENCE: Duration = Duration::from_secs(120);

/// The real window with the bundled model, or one of its sizes with random weights.
fn window(kept: Kept, size: [f32; 2]) -> Harness<'static, App> {
    window_in(kept, size, &std::env::temp_dir().join("andamento-feeling-without-library"))
}

/// The same with a library of imported models in a folder.
fn window_in(kept: Kept, size: [f32; 2], library: &Path) -> Harness<'static, App> {
    let shelf = Shelf::open(Some(library)).expect("a folder");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("feeling-{}-{}", std::process::id(), fresh()));
    let folders = Folders::open(Some(&home)).expect("a folder");
    let start = StartOptions { device: DeviceChoice::Cpu, picture: None, model: None, shelf: shelf.clone(), folders };
    let mut loads = worker::from_library(shelf);
    let source = Box::new(move |id: &str, choice, report| {
        let random = || library::random(library::bundled(id)?.card()?, device::choose(choice)?);
        loads(id, choice, report).or_else(|_| random())
    });
    let builder = Harness::builder().with_size(size).with_max_steps(40);
    let mut window = builder.build_eframe(|context| {
        App::with_source(&context.egui_ctx, start, source).expect("it opens").with_preferences(kept)
    });
    window.run_steps(3);
    window
}

/// Draws frames until something is the case.
fn until(window: &mut Harness<'_, App>, what: &str, mut done: impl FnMut(&Editor) -> bool) {
    let start = Instant::now();
    while !done(&window.state().editor) {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        window.step();
        sleep(Duration::from_millis(4));
    }
    window.step();
}

fn until_ready(window: &mut Harness<'_, App>) {
    until(window, "the model is ready", |editor| matches!(editor.engine, Engine::Ready { .. }));
}

/// Draws frames until something with this label is there: dialogs ask the system first.
fn until_shown(window: &mut Harness<'_, App>, label: &str) {
    let start = Instant::now();
    while window.query_by_label(label).is_none() {
        assert!(start.elapsed() < PATIENCE, "“{label}” does not appear");
        window.step();
        sleep(Duration::from_millis(4));
    }
    window.run_steps(2);
}

/// An empty folder of one's own, removed when it is dropped.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let folder = std::env::temp_dir().join(format!("andamento-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&folder);
        std::fs::create_dir_all(&folder).expect("a folder to write to");
        Self(folder)
    }

    /// A small picture in it.
    fn picture(&self, name: &str) -> PathBuf {
        let file = self.0.join(name);
        let image = image::RgbImage::from_fn(160, 120, |x, y| image::Rgb([x as u8, y as u8, 120]));
        std::fs::write(&file, Picture::new(image.into()).png_bytes().expect("a picture")).expect("a file");
        file
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _gone = std::fs::remove_dir_all(&self.0);
    }
}

impl AsRef<Path> for Folder {
    fn as_ref(&self) -> &Path {
        &self.0
    }
}
