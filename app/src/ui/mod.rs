//! The window: reads the editor's state, shows it, and collects commands, which are carried out at the end of the frame.

mod boldness;
mod canvas;
mod cursor;
mod dialogs;
mod extend;
mod frames;
mod gestures;
mod handles;
mod hints;
mod history;
mod icons;
mod keys;
mod legend;
mod menu;
mod models;
mod notices;
mod options;
mod outline;
mod overlay;
mod pace;
mod palette;
mod panel;
mod path;
mod picker;
mod revisions;
mod screen;
mod seam;
mod settings;
mod surprise;
mod textures;
mod theme;
mod timeline;
mod tokens;
mod tools;
mod variations;
mod waiting;
mod widgets;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use andamento_model::Result;
use andamento_model::device::DeviceChoice;
use andamento_model::library::imported::Shelf;
use eframe::egui_wgpu::{WgpuConfiguration, WgpuSetup, WgpuSetupCreateNew};
use egui::{CentralPanel, Context, Frame, IconData, Key, Margin, Panel as Bar, Ui, ViewportBuilder, ViewportCommand};

use crate::command::Command;
use crate::editor::Editor;
use crate::files::folders::Folders;
use crate::frames::Stopwatch;
use crate::preferences::Kept;
use crate::worker::{Source, from_library};

/// How often the window is drawn while tokens are made and nothing else asks for it.
const FRAME: Duration = Duration::from_micros(16_600);

/// How the window starts.
#[derive(Debug, Clone)]
pub struct StartOptions {
    /// Where the model computes.
    pub device: DeviceChoice,
    /// The picture to open instead of the sample.
    pub picture: Option<PathBuf>,
    /// The id or the folder of the model to load instead of the first.
    pub model: Option<String>,
    /// Where imported models are kept.
    pub shelf: Shelf,
    /// Where the autosave and the list of recent files are kept.
    pub folders: Folders,
}

/// Opens the window and returns when it is closed.
///
/// # Errors
/// If no window can be opened, or a bundled file is damaged.
pub fn run(start: StartOptions, preferences: Kept) -> eframe::Result {
    if !has_display() {
        return Err(eframe::Error::AppCreation(
            "there is no display: neither WAYLAND_DISPLAY nor DISPLAY is set".into(),
        ));
    }
    let viewport = ViewportBuilder::default().with_title("Andamento").with_app_id("andamento");
    let viewport = viewport.with_inner_size([1440.0, 900.0]).with_min_inner_size([1024.0, 700.0]).with_icon(icon());
    let wgpu_options = graphics();
    // Dithering would show other pixels than the picture's own.
    let options =
        eframe::NativeOptions { viewport, wgpu_options, dithering: false, ..eframe::NativeOptions::default() };
    let create = move |context: &eframe::CreationContext<'_>| {
        let app = App::new(&context.egui_ctx, start)?.with_preferences(preferences);
        Ok(Box::new(app) as Box<dyn eframe::App>)
    };
    eframe::run_native("Andamento", options, Box::new(create))
}

/// How the graphics card is taken.
pub(crate) fn graphics() -> WgpuConfiguration {
    let setup = WgpuSetup::CreateNew(WgpuSetupCreateNew {
        // The window is light work: it leaves the strong device to the model, and takes a software one if need be.
        power_preference: eframe::wgpu::PowerPreference::LowPower,
        ..WgpuSetupCreateNew::without_display_handle()
    });
    WgpuConfiguration { wgpu_setup: setup, ..eframe::NativeOptions::default().wgpu_options }
}

/// The colour of a pixel under a token of so much heat, 0 to 1, as the canvas shows it.
pub(crate) fn heated(pixel: [u8; 3], share: f32) -> [u8; 3] {
    let [red, green, blue] = pixel;
    let colour = theme::mix(egui::Color32::from_rgb(red, green, blue), theme::heat(share), tokens::HEAT);
    [colour.r(), colour.g(), colour.b()]
}

/// The program's icon; none, if it cannot be read.
fn icon() -> IconData {
    let image = image::load_from_memory(include_bytes!("../../../assets/icon.png")).unwrap_or_default().into_rgba8();
    IconData { width: image.width(), height: image.height(), rgba: image.into_raw() }
}

/// Whether there is a display at all; asking for one where there is none can end the program.
fn has_display() -> bool {
    let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !cfg!(all(unix, not(target_os = "macos"))) || set("WAYLAND_DISPLAY") || set("WAYLAND_SOCKET") || set("DISPLAY")
}

/// The window.
pub struct App {
    /// The state that is shown.
    pub editor: Editor,
    canvas: canvas::Canvas,
    panel: panel::Panel,
    dialogs: dialogs::Dialogs,
    history: history::Past,
    picks: picker::Picks,
    surprise: surprise::Bar,
    pace: pace::Pace,
    last: Instant,
    zoom: f32,
    theme: Option<egui::Theme>,
}

impl App {
    /// The window's contents, with a bundled model being loaded.
    ///
    /// # Errors
    /// If there is no such model, or a bundled file is damaged.
    pub fn new(ctx: &Context, start: StartOptions) -> Result<Self> {
        let source = from_library(start.shelf.clone());
        Self::with_source(ctx, start, source)
    }

    /// The same with another way to load models.
    ///
    /// # Errors
    /// If there is no such model, or a bundled file is damaged.
    pub fn with_source(ctx: &Context, start: StartOptions, source: Source) -> Result<Self> {
        theme::apply(ctx);
        let waker = ctx.clone();
        let wake = Arc::new(move || waker.request_repaint());
        let mut editor =
            Editor::new(start.model.as_deref(), start.device, (start.shelf, &start.folders), source, wake)?;
        if let Some(picture) = start.picture {
            editor.apply(Command::Open(picture));
        }
        Ok(Self {
            editor,
            canvas: canvas::Canvas::default(),
            panel: panel::Panel::default(),
            dialogs: dialogs::Dialogs::default(),
            history: history::Past::default(),
            picks: picker::Picks::default(),
            surprise: surprise::Bar::default(),
            pace: pace::Pace::new(),
            last: Instant::now(),
            zoom: 1.0,
            theme: None,
        })
    }

    /// The same with what the person prefers.
    #[must_use]
    pub fn with_preferences(mut self, kept: Kept) -> Self {
        self.editor.take_preferences(kept);
        self
    }

    fn layout(&mut self, ui: &mut Ui, commands: &mut Vec<Command>) {
        let bar = |margin: Margin| Frame::new().fill(theme::panel()).inner_margin(margin);
        Bar::top("menu").exact_size(theme::TOP).resizable(false).frame(bar(Margin::symmetric(4, 4))).show(ui, |ui| {
            menu::show(ui, &self.editor, self.zoom, commands);
        });
        Bar::bottom("timeline")
            .exact_size(theme::BOTTOM)
            .resizable(false)
            .frame(bar(Margin::symmetric(16, 12)))
            .show(ui, |ui| timeline::show(ui, &self.editor, commands));
        Bar::left("tools").exact_size(theme::STRIP).resizable(false).frame(bar(Margin::symmetric(6, 8))).show(
            ui,
            |ui| {
                tools::show(ui, &self.editor, commands);
            },
        );
        Bar::right("panel").exact_size(theme::SIDE).resizable(false).frame(bar(Margin::symmetric(14, 12))).show(
            ui,
            |ui| {
                self.panel.show(ui, &self.editor, commands);
            },
        );
        if self.editor.show.history {
            let frame = bar(Margin::symmetric(10, 12));
            Bar::left("history").exact_size(theme::PAST).resizable(false).frame(frame).show(ui, |ui| {
                self.history.show(ui, &self.editor, commands);
            });
        }
        // No fill: what is behind is cleared in that colour.
        CentralPanel::no_frame().show(ui, |ui| {
            let screen = self.canvas.show(ui, &mut self.editor, commands);
            self.editor.pixels_per_point = ui.ctx().pixels_per_point();
            self.zoom = screen.zoom * self.editor.pixels_per_point;
            if self.editor.is_selecting_by_surprise() {
                self.surprise.show(ui.ctx(), &self.editor, screen.viewport, commands);
            } else {
                self.surprise = surprise::Bar::default();
                options::show(ui.ctx(), &self.editor, screen.viewport, commands);
                hints::show(ui.ctx(), &self.editor, screen.viewport, commands);
            }
            self.picks.show(ui.ctx(), &self.editor, &screen, commands);
            notices::show(ui.ctx(), &self.editor, screen.viewport, commands);
            if self.editor.view.fit {
                // What zooms from here starts where the eye is.
                let view = crate::command::View { fit: true, ..screen.view() };
                self.editor.apply(Command::Look(view));
            }
        });
    }

    /// Closes the window, or keeps it open to ask first.
    fn leave(&mut self, ctx: &Context) {
        if self.editor.quitting {
            self.editor.keep_preferences_now();
            ctx.send_viewport_cmd(ViewportCommand::Close);
        } else if ctx.input(|input| input.viewport().close_requested()) {
            self.editor.apply(Command::Quit);
            if !self.editor.quitting {
                ctx.send_viewport_cmd(ViewportCommand::CancelClose);
            }
        }
    }

    /// Files that were dropped onto the window, and the original while Tab is held.
    fn gestures(&self, ctx: &Context, commands: &mut Vec<Command>) {
        let (paths, as_mask, tab) = ctx.input(|input| {
            let paths: Vec<PathBuf> = input.raw.dropped_files.iter().map(|file| file.path().to_owned()).collect();
            (paths, input.modifiers.shift, input.key_down(Key::Tab))
        });
        if !paths.is_empty() {
            commands.push(Command::DropFiles { paths, as_mask });
        }
        let original = tab && !ctx.text_edit_focused() && self.canvas.has_focus(ctx);
        if original != self.editor.show.original {
            commands.push(Command::ShowOriginal(original));
        }
    }
}

impl App {
    /// Takes in what was reported since the last frame. Returns whether more will move soon.
    pub fn advance(&mut self) -> bool {
        let elapsed = self.last.elapsed();
        self.last = Instant::now();
        self.editor.tick(elapsed)
    }

    /// Shows everything once, and carries out what was asked for.
    pub fn frame(&mut self, ui: &mut Ui) {
        let start = Stopwatch::start();
        let ctx = ui.ctx().clone();
        self.theme = Some(theme::wear(&ctx, self.editor.preferences().appearance, self.theme));
        let mut commands = Vec::new();
        self.canvas.take_keys(&ctx, &mut self.editor);
        keys::read(&ctx, &self.editor, self.canvas.has_focus(&ctx), &mut commands);
        self.gestures(&ctx, &mut commands);
        self.layout(ui, &mut commands);
        self.dialogs.show(&ctx, &self.editor, &mut commands);
        if !commands.is_empty() {
            ctx.request_repaint();
        }
        commands.into_iter().for_each(|command| self.editor.apply(command));
        self.leave(&ctx);
        self.pace.frame(start.elapsed(), self.editor.is_decoding());
    }
}

impl eframe::App for App {
    fn logic(&mut self, ctx: &Context, _: &mut eframe::Frame) {
        if self.advance() {
            ctx.request_repaint_after(FRAME);
        }
    }

    fn ui(&mut self, ui: &mut Ui, _: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn on_exit(&mut self) {
        self.editor.close();
    }

    fn clear_color(&self, _: &egui::Visuals) -> [f32; 4] {
        theme::background().to_normalized_gamma_f32()
    }
}
