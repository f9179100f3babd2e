//! Windows that ask or tell something. Files are asked for with the system's own dialog where there is one, and with a
//! field for the path where there is none.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use andamento_model::picture::MOST_EDGE;
use crossbeam_channel::{Receiver, bounded};
use egui::{
    Align2, Context, DragValue, Frame, Id, Key, Label, Margin, Modal, RichText, ScrollArea, Stroke, TextEdit, Ui, vec2,
};
use rfd::{AsyncFileDialog, FileHandle};

use super::extend::Extend;
use super::palette::Palette;
use super::settings::Settings;
use super::theme;
use super::widgets::{section, slider};
use crate::actions::{ACTIONS, HELD, Menu};
use crate::command::{Adjustment, Command, Dialog};
use crate::editor::{CHECKPOINTS, Editor};

/// A system dialog that is gone so soon was never there.
const ABSENT: Duration = Duration::from_millis(700);
/// What can be opened: a project or a picture.
const KINDS: [&str; 9] = ["andamento", "png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif"];

/// What can be exported: a name and a file's ending.
const FORMATS: [(&str, &str); 6] = [
    ("PNG", "png"),
    ("JPEG", "jpg"),
    ("WebP", "webp"),
    ("TIFF", "tif"),
    ("OpenRaster", "ora"),
    ("Project", "andamento"),
];

/// The dialog that is open.
#[derive(Default)]
pub(super) struct Dialogs {
    shown: Option<Dialog>,
    path: String,
    system: Option<System>,
    radius: Option<u32>,
    palette: Palette,
    extend: Extend,
    settings: Settings,
}

/// The system's own dialog.
struct System {
    answer: Receiver<Option<Vec<PathBuf>>>,
    since: Instant,
}

impl Dialogs {
    /// Shows the dialog that is open, if one.
    pub(super) fn show(&mut self, ctx: &Context, editor: &Editor, commands: &mut Vec<Command>) {
        if self.shown != editor.dialog {
            self.shown.clone_from(&editor.dialog);
            self.opened(ctx, editor);
        }
        let Some(dialog) = self.shown.clone() else { return };
        if let Some(system) = &self.system {
            match system.answer.try_recv() {
                Ok(Some(paths)) => {
                    commands.extend(answered(&dialog, paths));
                    commands.push(Command::CloseDialog);
                }
                Ok(None) if system.since.elapsed() > ABSENT => commands.push(Command::CloseDialog),
                Ok(None) => {}
                Err(error) if error.is_empty() => {
                    let left = ctx.input(|input| input.key_pressed(Key::Escape));
                    commands.extend(left.then_some(Command::CloseDialog));
                    return;
                }
                Err(_) => {}
            }
            self.system = None;
            if !commands.is_empty() {
                return;
            }
        }
        if dialog == Dialog::Palette {
            self.show_palette(ctx, editor, commands);
            return;
        }
        let taken = self.settings.takes_keys();
        let frame = Frame::window(&ctx.global_style()).inner_margin(Margin::same(18));
        let modal = Modal::new(Id::unique("dialog")).frame(frame).show(ctx, |ui| match dialog {
            Dialog::Open => self.ask(ui, editor, "Open a picture or a project", "Open", commands),
            Dialog::Save => self.ask(ui, editor, "Save as", "Save", commands),
            Dialog::Export => self.export(ui, editor, commands),
            Dialog::Recover => recover(ui, editor, commands),
            Dialog::MaskOrPicture(path) => mask_or_picture(ui, &path, commands),
            Dialog::Import => self.ask(ui, editor, "Import checkpoints", "Import", commands),
            Dialog::ImportMask => self.ask(ui, editor, "Import a mask", "Import", commands),
            Dialog::ExportMask => self.ask(ui, editor, "Export the mask", "Export", commands),
            Dialog::Extend => self.extend.show(ui, editor, commands),
            Dialog::Adjust(adjustment) => adjust(ui, &mut self.radius, adjustment, commands),
            Dialog::Weights(files) => weights(ui, files, commands),
            Dialog::Keys => keys(ui, editor, commands),
            Dialog::Palette => {}
            Dialog::Settings => {
                self.settings.show(ui, editor, commands);
                close(ui, commands);
            }
            Dialog::About => about(ui, editor, commands),
            Dialog::Leave => leave(ui, editor, commands),
        });
        if modal.should_close() && !taken {
            commands.push(Command::CloseDialog);
        }
    }

    /// The palette lies near the upper edge.
    fn show_palette(&mut self, ctx: &Context, editor: &Editor, commands: &mut Vec<Command>) {
        let frame = Frame::window(&ctx.global_style()).inner_margin(Margin::same(12));
        let top = vec2(0.0, 64.0);
        let area = Modal::default_area(Id::unique("palette")).anchor(Align2::CENTER_TOP, top);
        let modal = Modal::new(Id::unique("palette")).area(area).frame(frame);
        let modal = modal.show(ctx, |ui| self.palette.show(ui, editor, commands));
        if modal.should_close() {
            commands.push(Command::CloseDialog);
        }
    }

    /// Asks the system first.
    fn opened(&mut self, ctx: &Context, editor: &Editor) {
        self.system = None;
        self.palette.clear();
        self.extend.clear();
        self.settings.clear();
        let name = editor.document.next_name();
        let folder = editor.document.path.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
        match editor.dialog {
            Some(Dialog::Open) => {
                self.path =
                    if folder.as_os_str().is_empty() { String::new() } else { format!("{}/", folder.display()) };
                let dialog = AsyncFileDialog::new().set_title("Open a picture or a project");
                let dialog = dialog.add_filter("Pictures and projects", &KINDS);
                let answer = dialog.set_directory(folder).pick_file();
                self.ask_for_one(ctx, answer);
            }
            Some(Dialog::Import) => {
                self.path = String::new();
                let dialog = AsyncFileDialog::new().set_title("Import checkpoints: a generator, and its tokenizer");
                let answer =
                    dialog.add_filter("Checkpoints", &CHECKPOINTS).add_filter("All files", &["*"]).pick_files();
                let paths =
                    async move { answer.await.map(|files| files.iter().map(|file| file.path().into()).collect()) };
                self.ask_system(ctx, paths);
            }
            Some(Dialog::Save) => {
                let name = editor.project().map_or_else(|| name.with_extension("andamento"), Path::to_path_buf);
                self.path = name.display().to_string();
                self.ask_where(ctx, "Save as", &name, &["andamento", "png", "jpg", "webp", "tif", "ora"]);
            }
            Some(Dialog::ImportMask) => {
                self.path = editor.document.mask_name().display().to_string();
                let dialog = AsyncFileDialog::new().set_title("Import a mask").add_filter("Pictures", &KINDS);
                let answer = dialog.set_directory(folder).pick_file();
                self.ask_for_one(ctx, answer);
            }
            Some(Dialog::ExportMask) => {
                let name = editor.document.mask_name();
                self.path = name.display().to_string();
                self.ask_where(ctx, "Export the mask", &name, &["png"]);
            }
            Some(Dialog::Export) => self.path = name.display().to_string(),
            Some(
                Dialog::Adjust(_)
                | Dialog::Extend
                | Dialog::Weights(_)
                | Dialog::Keys
                | Dialog::Palette
                | Dialog::Settings
                | Dialog::About
                | Dialog::Leave
                | Dialog::Recover
                | Dialog::MaskOrPicture(_),
            )
            | None => {}
        }
    }

    /// Asks the system where to save.
    fn ask_where(&mut self, ctx: &Context, title: &str, name: &Path, endings: &[&str]) {
        let file = name.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let mut dialog = AsyncFileDialog::new().set_title(title).set_file_name(file);
        for ending in endings {
            dialog = dialog.add_filter(*ending, &[ending]);
        }
        let answer = dialog.set_directory(name.parent().unwrap_or(Path::new("."))).save_file();
        self.ask_for_one(ctx, answer);
    }

    /// As what to export, and where.
    fn export(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        ui.set_width(560.0_f32.min(ui.ctx().content_rect().width() - 80.0));
        heading(ui, "Export");
        let mut path = PathBuf::from(self.path.trim());
        ui.horizontal(|ui| {
            for (name, ending) in FORMATS {
                let chosen = path.extension().is_some_and(|other| same_kind(other, ending));
                if ui.selectable_label(chosen, name).clicked() && !chosen {
                    path.set_extension(ending);
                    self.path = path.display().to_string();
                }
            }
        });
        ui.add_space(4.0);
        if path.extension().is_some_and(|ending| same_kind(ending, "jpg")) {
            let mut quality = editor.desk.quality;
            let slider = ui.add(egui::Slider::new(&mut quality, 1..=100).text("JPEG quality"));
            slider.clone().on_hover_text("Of the JPEG: 92 is as good as the eye sees, 100 is four times as long");
            if slider.changed() {
                commands.push(Command::JpegQuality(quality));
            }
        }
        let mut metadata = editor.desk.metadata;
        let tip = "Subject, order, seed and tokens, so that the picture can be made again; that a model made it (IPTC); and \
                   what the camera wrote (EXIF, XMP). Off leaves all of it out; the colour profile always stays.";
        if ui.checkbox(&mut metadata, "Metadata").on_hover_text(tip).changed() {
            commands.push(Command::Metadata(metadata));
        }
        let label = ui.label(RichText::new("Path of the file").size(13.0).color(theme::dim()));
        let entered = ui
            .horizontal(|ui| {
                let width = ui.available_width() - 100.0;
                let field = TextEdit::singleline(&mut self.path).desired_width(width).margin(Margin::symmetric(10, 8));
                let field = ui.add(field).labelled_by(label.id);
                if ui.add(egui::Button::new("Browse…").min_size(vec2(90.0, 32.0))).clicked() {
                    let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
                    self.ask_where(ui.ctx(), "Export", &path, &[&ending]);
                }
                field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter))
            })
            .inner;
        let losses = editor.losses(&path);
        let hint = match (editor.document.is_source(&path), path.is_file()) {
            (true, _) => "This is the picture that was opened: sources are never written to.".to_owned(),
            (_, true) => format!("There is such a file already: it will be replaced. {}", sentence(&losses)),
            _ if losses.is_empty() => "Everything is kept: every pixel, its depth, the colour profile.".to_owned(),
            _ => sentence(&losses),
        };
        ui.label(RichText::new(hint).size(13.0).color(theme::dim()));
        ui.add_space(8.0);
        let ready = !self.path.trim().is_empty();
        if buttons(ui, commands, |ui| main_button(ui, "Export", ready).clicked() || entered) {
            commands.push(Command::Export(PathBuf::from(self.path.trim())));
        }
    }

    fn ask_for_one(&mut self, ctx: &Context, answer: impl Future<Output = Option<FileHandle>> + Send + 'static) {
        self.ask_system(ctx, async move { answer.await.map(|file| vec![file.path().to_owned()]) });
    }

    fn ask_system(&mut self, ctx: &Context, answer: impl Future<Output = Option<Vec<PathBuf>>> + Send + 'static) {
        let (outbox, inbox) = bounded(1);
        let ctx = ctx.clone();
        let thread = thread::Builder::new().name("andamento-dialog".into()).spawn(move || {
            let _gone = outbox.send(pollster::block_on(answer));
            ctx.request_repaint();
        });
        // Without a thread the channel is closed, and the field for the path appears.
        drop(thread);
        self.system = Some(System { answer: inbox, since: Instant::now() });
    }

    /// A field for a path.
    fn ask(&mut self, ui: &mut Ui, editor: &Editor, title: &str, verb: &str, commands: &mut Vec<Command>) {
        ui.set_width(520.0_f32.min(ui.ctx().content_rect().width() - 80.0));
        heading(ui, title);
        let label = ui.label(RichText::new("Path of the file").size(13.0).color(theme::dim()));
        let field = TextEdit::singleline(&mut self.path).desired_width(f32::INFINITY).margin(Margin::symmetric(10, 8));
        let field = ui.add(field.hint_text("/home/you/Pictures/lake.png")).labelled_by(label.id);
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        if ui.memory(|memory| memory.focused().is_none()) {
            field.request_focus();
        }
        let path = PathBuf::from(self.path.trim());
        let saving = matches!(self.shown, Some(Dialog::Save | Dialog::ExportMask));
        let (importing, masks) = (self.shown == Some(Dialog::Import), self.shown == Some(Dialog::ImportMask));
        let (verb, hint) = match (saving, path.is_file()) {
            _ if importing => (
                verb,
                "A checkpoint as its authors published it. Nothing in it is executed, and the file stays as it is.",
            ),
            (true, true) if editor.document.is_source(&path) => {
                (verb, "This is the picture that was opened: sources are never written to.")
            }
            (true, true) => ("Replace", "There is such a file already: it will be replaced."),
            (true, false) if self.shown == Some(Dialog::ExportMask) => (verb, "An 8-bit grey PNG: white changes."),
            (true, false) => (
                verb,
                "A project (.andamento) keeps everything: masks, runs and history. Or a picture: .png, .jpg, .webp, .tif, .ora.",
            ),
            (false, _) if masks => (verb, "A grey picture of the same size as the one that is open: white changes."),
            (false, _) => {
                (verb, "A project, PNG, JPEG, WebP, TIFF, BMP or GIF. You can also drop a file onto the window.")
            }
        };
        ui.label(RichText::new(hint).size(13.0).color(theme::dim()));
        ui.add_space(8.0);
        buttons(ui, commands, |ui| main_button(ui, verb, !self.path.trim().is_empty()).clicked() || entered).then(
            || {
                commands.extend(self.shown.as_ref().and_then(|dialog| answered(dialog, vec![path])));
            },
        );
    }
}

/// Whether two endings mean the same kind of file.
fn same_kind(ending: &std::ffi::OsStr, other: &str) -> bool {
    let ending = ending.to_string_lossy().to_ascii_lowercase();
    let plain = match ending.as_str() {
        "jpeg" => "jpg",
        "tiff" => "tif",
        ending => ending,
    };
    plain == other
}

/// Some remarks as a sentence; nothing of none.
fn sentence(parts: &[&str]) -> String {
    let text = parts.join("; ");
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}

/// What a dialog's answer means.
fn answered(dialog: &Dialog, mut paths: Vec<PathBuf>) -> Option<Command> {
    match dialog {
        Dialog::Open => paths.pop().map(Command::Open),
        Dialog::Save => paths.pop().map(Command::SaveAs),
        Dialog::Export => paths.pop().map(Command::Export),
        Dialog::Import => (!paths.is_empty()).then_some(Command::ImportModels(paths)),
        Dialog::ImportMask => paths.pop().map(Command::ImportMask),
        Dialog::ExportMask => paths.pop().map(Command::ExportMask),
        Dialog::Adjust(_)
        | Dialog::Extend
        | Dialog::Weights(_)
        | Dialog::Keys
        | Dialog::Palette
        | Dialog::Settings
        | Dialog::About
        | Dialog::Leave
        | Dialog::Recover
        | Dialog::MaskOrPicture(_) => None,
    }
}

/// How far the edges of the mask are moved or softened; what was said last is said again.
fn adjust(ui: &mut Ui, last: &mut Option<u32>, adjustment: Adjustment, commands: &mut Vec<Command>) {
    ui.set_width(380.0);
    let (verb, about) = match adjustment {
        Adjustment::Grow => ("Grow", "Every edge of the mask is moved outwards; soft edges stay as soft as they are."),
        Adjustment::Shrink => {
            ("Shrink", "Every edge of the mask is moved inwards; soft edges stay as soft as they are.")
        }
        Adjustment::Feather => ("Feather", "Every edge of the mask is softened so far to either side."),
    };
    heading(ui, &format!("{verb} the mask"));
    ui.label(RichText::new(about).size(13.0).color(theme::dim()));
    ui.add_space(8.0);
    let radius = last.get_or_insert(8);
    ui.horizontal(|ui| {
        let mut exponent = f64::from(*radius).ln();
        if slider(ui, &mut exponent, 0.0, f64::from(MOST_EDGE).ln(), "Radius").changed() {
            *radius = exponent.exp().round() as u32;
        }
        let drag = DragValue::new(radius).range(1..=MOST_EDGE).suffix(" px");
        let field = ui.add(drag.min_size(vec2(72.0, 24.0))).accessible_name("Radius (pixels)");
        if ui.memory(|memory| memory.focused().is_none()) {
            field.request_focus();
        }
    });
    ui.add_space(8.0);
    let entered = ui.input(|input| input.key_pressed(Key::Enter));
    if buttons(ui, commands, |ui| main_button(ui, verb, true).clicked()) || entered {
        commands.push(Command::AdjustMask(adjustment, *radius));
    }
}

pub(super) fn heading(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).size(18.0).color(theme::text()));
    ui.add_space(6.0);
}

/// Cancel on the left of what `main` shows, both at the right. Returns what `main` returned.
pub(super) fn buttons<R>(ui: &mut Ui, commands: &mut Vec<Command>, main: impl FnOnce(&mut Ui) -> R) -> R {
    let layout = egui::Layout::right_to_left(egui::Align::Center);
    let size = vec2(ui.available_width(), 34.0);
    let row = ui.allocate_ui_with_layout(size, layout, |ui| {
        let pressed = main(ui);
        if ui.add(egui::Button::new("Cancel").min_size(vec2(90.0, 32.0))).clicked() {
            commands.push(Command::CloseDialog);
        }
        pressed
    });
    row.inner
}

pub(super) fn main_button(ui: &mut Ui, text: &str, enabled: bool) -> egui::Response {
    let text = RichText::new(text).color(theme::on_accent());
    ui.add_enabled(enabled, egui::Button::new(text).fill(theme::accent()).min_size(vec2(100.0, 32.0)))
}

/// Every key, by menus, and what the pointer does.
fn keys(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let room = ui.ctx().content_rect();
    ui.set_width(880.0_f32.min(room.width() - 80.0));
    heading(ui, "Keys");
    let keys = &editor.preferences().keys;
    let menus = Menu::BAR.iter().map(|(menu, _)| *menu).chain([Menu::Tools]);
    let bound = |menu: Menu| ACTIONS.iter().filter(move |action| action.menu == menu && !keys.text(action).is_empty());
    let row = |ui: &mut Ui, keys: &str, about: &str| {
        ui.horizontal(|ui| {
            let cell = |ui: &mut Ui, text: RichText, width: f32| {
                let layout = egui::Layout::left_to_right(egui::Align::Center);
                let label = Label::new(text.size(13.0)).truncate();
                ui.allocate_ui_with_layout(vec2(width, 18.0), layout, |ui| {
                    ui.set_width(width);
                    ui.add(label);
                });
            };
            cell(ui, RichText::new(keys).color(theme::accent_text()), 132.0);
            cell(ui, RichText::new(about), ui.available_width());
        });
    };
    ScrollArea::vertical().max_height(room.height() - 252.0).show(ui, |ui| {
        ui.columns(3, |columns| {
            for menu in menus.filter(|menu| bound(*menu).next().is_some()) {
                let ui = &mut columns[match menu {
                    Menu::File | Menu::Edit | Menu::Select | Menu::Help => 0,
                    Menu::Generate | Menu::View | Menu::Model => 1,
                    Menu::Tools => 2,
                }];
                ui.spacing_mut().item_spacing.y = 2.0;
                section(ui, menu.name());
                bound(menu).for_each(|action| row(ui, &keys.text(action), action.name));
                ui.add_space(8.0);
            }
        });
        section(ui, "Pointer and held keys");
        ui.spacing_mut().item_spacing.y = 2.0;
        HELD.iter().for_each(|(held, about)| row(ui, held, about));
    });
    close(ui, commands);
}

/// Which weights to take where checkpoints have two kinds.
fn weights(ui: &mut Ui, files: Vec<PathBuf>, commands: &mut Vec<Command>) {
    ui.set_width(480.0_f32.min(ui.ctx().content_rect().width() - 80.0));
    heading(ui, "Averaged weights?");
    ui.label(
        "This checkpoint holds two kinds of weights: those of training's last step, and their moving average (EMA), which \
         usually paints better.",
    );
    ui.add_space(10.0);
    let (averaged, last) = buttons(ui, commands, |ui| {
        let averaged = main_button(ui, "Take the average", true).clicked();
        (averaged, ui.add(egui::Button::new("Take the last step").min_size(vec2(0.0, 32.0))).clicked())
    });
    if averaged || last {
        commands.push(Command::ImportWeights(files, averaged));
    }
}

fn about(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.set_width(440.0);
    heading(ui, "Andamento");
    let version = format!("Version {}", env!("CARGO_PKG_VERSION"));
    ui.label(RichText::new(version).color(theme::dim()));
    ui.label(
        "Repaints pictures with autoregressive generators, token by token, on this machine alone: nothing is sent \
         anywhere.",
    );
    ui.label(format!("Model: {}, in the manner of {}.", editor.card.title, editor.card.family));
    ui.label(RichText::new("MIT or Apache-2.0. Icons: Phosphor Icons, MIT.").size(13.0).color(theme::dim()));
    close(ui, commands);
}

fn leave(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.set_width(460.0);
    heading(ui, "Leave without saving?");
    let file = editor.project().map_or_else(|| editor.document.next_name(), Path::to_path_buf);
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    ui.label(if editor.project().is_some() {
        format!("The last changes are not in {name} yet.")
    } else {
        format!("This picture is in no file yet. It can be saved as {name}; the source stays as it is.")
    });
    ui.add_space(10.0);
    let save = buttons(ui, commands, |ui| {
        let save = main_button(ui, "Save and leave", true).clicked();
        let leave = ui.add(egui::Button::new("Leave without saving").min_size(vec2(0.0, 32.0))).clicked();
        (save, leave)
    });
    match save {
        (true, _) => commands.push(Command::SaveAndQuit),
        (_, true) => commands.push(Command::QuitUnsaved),
        _ => {}
    }
}

/// What other windows left behind.
fn recover(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.set_width(520.0);
    heading(ui, "Andamento did not end in the ordinary way");
    ui.label("What had not been saved was kept. It opens with its mask and its whole history:");
    ui.add_space(8.0);
    for orphan in &editor.desk.orphans {
        ui.horizontal(|ui| {
            ui.vertical(|ui| {
                ui.set_width(ui.available_width() - 210.0);
                ui.add(egui::Label::new(RichText::new(&orphan.name).color(theme::text())).truncate());
                ui.label(RichText::new(orphan.age()).size(13.0).color(theme::dim()));
            });
            let named = |button: egui::Response, verb: &str| {
                let name = format!("{verb} {}", orphan.name);
                button.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, &name));
                button.clicked()
            };
            let discard = ui.add(egui::Button::new("Discard").min_size(vec2(90.0, 32.0)));
            if named(discard, "Discard") {
                commands.push(Command::DiscardRecovery(orphan.folder.clone()));
            }
            let restore = main_button(ui, "Restore", editor.desk.busy == 0);
            if named(restore, "Restore") {
                commands.push(Command::Recover(orphan.folder.clone()));
            }
        });
    }
    ui.add_space(4.0);
    ui.label(RichText::new("What is neither restored nor discarded is offered again.").size(13.0).color(theme::dim()));
    close(ui, commands);
}

fn mask_or_picture(ui: &mut Ui, path: &Path, commands: &mut Vec<Command>) {
    ui.set_width(460.0);
    heading(ui, "A mask, or another picture?");
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    ui.label(format!("{name} is grey and as large as the canvas. As a mask, what is white in it may change."));
    ui.add_space(10.0);
    let (mask, picture) = buttons(ui, commands, |ui| {
        let mask = main_button(ui, "Use as mask", true).clicked();
        let picture = ui.add(egui::Button::new("Open as picture").min_size(vec2(0.0, 32.0))).clicked();
        (mask, picture)
    });
    match (mask, picture) {
        (true, _) => commands.push(Command::ImportMask(path.into())),
        (_, true) => commands.push(Command::Open(path.into())),
        _ => {}
    }
}

fn close(ui: &mut Ui, commands: &mut Vec<Command>) {
    ui.add_space(10.0);
    ui.separator();
    // As high as the button, not all that is left: the dialog would never shrink with the window.
    let row = vec2(ui.available_width(), 32.0);
    ui.allocate_ui_with_layout(row, egui::Layout::right_to_left(egui::Align::Center), |ui| {
        let button = egui::Button::new("Close").min_size(vec2(90.0, 32.0)).stroke(Stroke::NONE);
        if ui.add(button).clicked() {
            commands.push(Command::CloseDialog);
        }
    });
}
