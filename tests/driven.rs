//! The window and its editor as tests drive them: opened in folders of their own, waited for, and drawn in.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento::document::fresh;
use andamento::editor::{Editor, Engine};
use andamento::files::folders::Folders;
use andamento::preferences::Kept;
use andamento::ui::{App, StartOptions};
use andamento::worker::{Source, from_library};
use andamento_model::device::{self, DeviceChoice};
use andamento_model::library;
use andamento_model::library::imported::Shelf;
use egui::{Event, Modifiers, PointerButton, Pos2, vec2};
use egui_kittest::kittest::Queryable;
use egui_kittest::{Harness, HarnessBuilder};

/// The longest that anything may take on a slow, busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(180);

/// What a window opens with.
pub(crate) struct Opening {
    /// Width and height in points.
    pub(crate) size: [f32; 2],
    pub(crate) picture: Option<PathBuf>,
    pub(crate) model: Option<String>,
    /// Where imported models lie; without a folder there are none.
    pub(crate) library: Option<PathBuf>,
    pub(crate) preferences: Option<Kept>,
}

impl Default for Opening {
    fn default() -> Self {
        Self { size: [1440.0, 900.0], picture: None, model: None, library: None, preferences: None }
    }
}

impl Opening {
    /// The real window with the bundled models; with random weights of their sizes where the bundled ones are missing, which
    /// makes no difference to a window.
    pub(crate) fn window(self) -> Harness<'static, App> {
        let mut loads = from_library(shelf(self.library.as_deref()));
        let source = move |id: &str, choice, report| {
            let random = || library::random(library::bundled(id)?.card()?, device::choose(choice)?);
            loads(id, choice, report).or_else(|_| random())
        };
        self.window_by(Harness::builder(), Box::new(source))
    }

    /// The same, with models of any source.
    pub(crate) fn window_by(self, builder: HarnessBuilder<App>, source: Source) -> Harness<'static, App> {
        let Self { size, picture, model, library, preferences } = self;
        let shelf = shelf(library.as_deref());
        let start = StartOptions { device: DeviceChoice::Cpu, picture, model, shelf, folders: folders() };
        let mut window = builder.with_size(size).with_max_steps(40).build_eframe(|context| {
            let app = App::with_source(&context.egui_ctx, start, source).expect("it opens");
            match preferences {
                Some(kept) => app.with_preferences(kept),
                None => app,
            }
        });
        window.run_steps(3);
        window
    }
}

/// The editor on its sample, without a window, with the bundled model ready.
pub(crate) fn editor() -> Editor {
    let (shelf, folders) = (shelf(None), folders());
    let source = from_library(shelf.clone());
    let mut editor =
        Editor::new(None, DeviceChoice::Cpu, (shelf, &folders), source, Arc::new(|| ())).expect("an editor");
    until_ready(&mut editor);
    editor
}

fn shelf(library: Option<&Path>) -> Shelf {
    let nothing = std::env::temp_dir().join("andamento-without-library");
    Shelf::open(Some(library.unwrap_or(&nothing))).expect("a folder")
}

/// Where a program keeps its own files, away from all others.
fn folders() -> Folders {
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("driven-{}-{}", std::process::id(), fresh()));
    Folders::open(Some(&home)).expect("a folder")
}

/// What goes on only as far as it is driven.
pub(crate) trait Driven {
    fn editor(&self) -> &Editor;

    /// A frame's worth.
    fn advance(&mut self);
}

impl Driven for Harness<'_, App> {
    fn editor(&self) -> &Editor {
        &self.state().editor
    }

    fn advance(&mut self) {
        self.step();
    }
}

/// Without a window nobody would see what goes wrong.
impl Driven for Editor {
    fn editor(&self) -> &Editor {
        self
    }

    #[track_caller]
    fn advance(&mut self) {
        self.tick(Duration::from_millis(4));
        let bad: Vec<_> = self.notices.iter().filter(|notice| notice.bad).collect();
        assert!(bad.is_empty(), "{bad:?}");
    }
}

/// Goes on until something is the case, and for one frame more, which shows it.
#[track_caller]
pub(crate) fn until(driven: &mut impl Driven, what: &str, mut done: impl FnMut(&Editor) -> bool) {
    let start = Instant::now();
    while !done(driven.editor()) {
        assert!(start.elapsed() < PATIENCE, "waited too long until {what}");
        driven.advance();
        sleep(Duration::from_millis(4));
    }
    driven.advance();
}

#[track_caller]
pub(crate) fn until_ready(driven: &mut impl Driven) {
    until(driven, "the model is ready", |editor| matches!(editor.engine, Engine::Ready { .. }));
}

/// Draws frames until something with this label is there: dialogs ask the system first.
#[track_caller]
pub(crate) fn until_shown(window: &mut Harness<'_, App>, label: &str) {
    let start = Instant::now();
    while window.query_by_label(label).is_none() {
        assert!(start.elapsed() < PATIENCE, "“{label}” does not appear");
        window.step();
        sleep(Duration::from_millis(4));
    }
    window.run_steps(2);
}

/// Where a point of the canvas lies on the screen.
pub(crate) fn on_screen(window: &Harness<'_, App>, x: f32, y: f32) -> Pos2 {
    let view = window.state().editor.view;
    let centre = window.get_by_label("Canvas").rect().center();
    centre + vec2(x - view.centre.0, y - view.centre.1) * view.zoom
}

/// A button of the pointer is pressed, or let go.
pub(crate) fn press(pos: Pos2, button: PointerButton, pressed: bool, modifiers: Modifiers) -> Event {
    Event::PointerButton { pos, button, pressed, modifiers }
}

/// Draws with a button from one point of the screen to another, a frame for every move, and holds it.
pub(crate) fn draw(window: &mut Harness<'_, App>, button: PointerButton, from: Pos2, to: Pos2) {
    window.hover_at(from);
    window.step();
    window.event(press(from, button, true, Modifiers::NONE));
    window.step();
    for part in 1..=8 {
        window.hover_at(from.lerp(to, part as f32 / 8.0));
        window.step();
    }
}

/// The same, and lets go of it.
pub(crate) fn drag(window: &mut Harness<'_, App>, button: PointerButton, from: Pos2, to: Pos2) {
    draw(window, button, from, to);
    window.event(press(to, button, false, Modifiers::NONE));
    window.run_steps(2);
}
