//! The top bar: name, menus, the file, zoom and device.

use std::path::Path;

use egui::{Align, Button, Color32, CornerRadius, Layout, MenuBar, RichText, Role, Sense, Ui, WidgetInfo, vec2};

use super::{icons, theme};
use crate::command::{Adjustment, Command, Dialog, Heat};
use crate::editor::{Editor, Engine};

/// One line of a menu.
struct Item<'a> {
    name: &'a str,
    keys: &'a str,
    enabled: bool,
    ticked: Option<bool>,
    command: Command,
}

impl<'a> Item<'a> {
    fn new(name: &'a str, keys: &'a str, command: Command) -> Self {
        Self { name, keys, enabled: true, ticked: None, command }
    }

    fn when(self, enabled: bool) -> Self {
        Self { enabled, ..self }
    }

    fn ticked(self, on: bool) -> Self {
        Self { ticked: Some(on), ..self }
    }
}

/// Shows the bar.
pub(super) fn show(ui: &mut Ui, editor: &Editor, zoom: f32, commands: &mut Vec<Command>) {
    MenuBar::new().ui(ui, |ui| {
        ui.add_space(8.0);
        ui.label(RichText::new("ANDAMENTO").size(15.0).extra_letter_spacing(1.4).color(theme::ACCENT));
        ui.add_space(8.0);
        file(ui, editor, commands);
        edit(ui, editor, commands);
        select(ui, editor, commands);
        generate(ui, editor, commands);
        model(ui, editor, commands);
        view(ui, editor, commands);
        menu(ui, "Help", commands, |_| {
            vec![
                Item::new("Keys…", "?", Command::Ask(Dialog::Keys)),
                Item::new("About Andamento", "", Command::Ask(Dialog::About)),
            ]
        });
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(8.0);
            device(ui, editor);
            if editor.desk.busy > 0 {
                chip(ui, "files…", "Files", "A file is being read or written", Some(theme::BUSY));
            }
            if let Some(how_far) = &editor.importing {
                chip(ui, how_far, "Import", "Checkpoints are being imported", Some(theme::BUSY));
            }
            if chip(
                ui,
                &format!("{:.0} %", zoom * 100.0),
                "Zoom",
                "Zoom: screen pixels per picture pixel. Click for 100 % (Ctrl+1)",
                None,
            ) {
                commands.push(Command::Zoom100);
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add_space(24.0);
                let document = &editor.document;
                let (width, height) = (document.picture.width(), document.picture.height());
                let edited = if editor.is_unsaved() { ", edited" } else { "" };
                ui.add(egui::Label::new(RichText::new(&document.name).color(theme::TEXT)).truncate());
                let rest = RichText::new(format!("— {width} × {height}{edited}")).color(theme::DIM);
                ui.add(egui::Label::new(rest).truncate());
            });
        });
    });
}

fn file(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let names: Vec<String> = editor.desk.recent.iter().map(|file| short(file)).collect();
    let save = if editor.project().is_some() { "Save" } else { "Save a new result" };
    menu(ui, "File", commands, |_| {
        let idle = editor.run.is_none();
        let mut items = vec![
            Item::new("Open…", "Ctrl+O", Command::Ask(Dialog::Open)),
            Item::new(save, "Ctrl+S", Command::Save).when(idle),
            Item::new("Save as…", "Ctrl+Shift+S", Command::Ask(Dialog::Save)).when(idle),
            Item::new("Export…", "Ctrl+Shift+E", Command::Ask(Dialog::Export)).when(idle),
            Item::new("Quit", "Ctrl+Q", Command::Quit),
        ];
        if !editor.desk.orphans.is_empty() {
            items.insert(1, Item::new("Recover…", "", Command::Ask(Dialog::Recover)));
        }
        let recent = editor.desk.recent.iter().zip(&names);
        items.extend(recent.map(|(file, name)| Item::new(name, "", Command::Open(file.clone()))));
        if !names.is_empty() {
            items.push(Item::new("Forget recent files", "", Command::ForgetRecent));
        }
        items
    });
}

/// A file's name with its folder's, which is enough to know it again.
fn short(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let text = format!("{name} — {folder}");
    if text.chars().count() <= 44 { text } else { text.chars().take(43).chain(['…']).collect() }
}

fn edit(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let (undo, redo) = (editor.history.undo_label(), editor.history.redo_label());
    let undo_name = undo.map_or("Undo".into(), |label| format!("Undo {label}"));
    let redo_name = redo.map_or("Redo".into(), |label| format!("Redo {label}"));
    menu(ui, "Edit", commands, |_| {
        vec![
            Item::new(&undo_name, "Ctrl+Z", Command::Undo).when(undo.is_some() || editor.run.is_some()),
            Item::new(&redo_name, "Ctrl+Shift+Z", Command::Redo).when(redo.is_some()),
            Item::new("Copy picture", "Ctrl+C", Command::Copy),
            Item::new("Paste as a new document", "Ctrl+V", Command::Paste),
            Item::new("Restore its request", "", Command::RestoreRequest).when(editor.document.record.is_some()),
            Item::new("History", "", Command::ShowHistory(!editor.show.history)).ticked(editor.show.history),
        ]
    });
}

fn select(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let some = !editor.document.mask.is_empty();
    let adjust = |name, adjustment| Item::new(name, "", Command::Ask(Dialog::Adjust(adjustment))).when(some);
    menu(ui, "Select", commands, |_| {
        vec![
            Item::new("Select all", "Ctrl+A", Command::SelectAll),
            Item::new("Clear mask", "Ctrl+D", Command::ClearMask),
            Item::new("Invert mask", "Ctrl+Shift+I", Command::InvertMask),
            adjust("Grow mask…", Adjustment::Grow),
            adjust("Shrink mask…", Adjustment::Shrink),
            adjust("Feather mask…", Adjustment::Feather),
            Item::new("Import mask…", "", Command::Ask(Dialog::ImportMask)),
            Item::new("Export mask…", "", Command::Ask(Dialog::ExportMask)).when(some),
        ]
    });
}

fn generate(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let (locked, choosing) = (editor.settings.seed_locked, editor.is_choosing());
    menu(ui, "Generate", commands, |_| {
        vec![
            Item::new("Generate", "Ctrl+Enter", Command::Generate).when(editor.cannot_generate().is_none()),
            Item::new("Stop", "Shift+X", Command::Stop).when(editor.run.is_some()),
            Item::new("Play or pause", "K", Command::PlayOrPause).when(editor.track().is_some()),
            Item::new("Branch here", "", Command::BranchHere).when(editor.can_branch()),
            Item::new("Previous variation", "Left", Command::PreviousVariation).when(choosing),
            Item::new("Next variation", "Right", Command::NextVariation).when(choosing),
            Item::new("Accept variation", "Enter", Command::AcceptVariation).when(choosing),
            Item::new("Discard variation", "Delete", Command::DiscardVariation).when(choosing),
            Item::new("Smaller frame", "", Command::ScaleFrame(0.8)).when(editor.aim.is_some()),
            Item::new("Larger frame", "", Command::ScaleFrame(1.25)).when(editor.aim.is_some()),
            Item::new("Place frame by itself", "", Command::FrameAutomatic).when(editor.frame.is_some()),
            Item::new("New seed", "", Command::RollSeed),
            Item::new("Lock seed", "", Command::LockSeed(!locked)).ticked(locked),
        ]
    });
}

fn model(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    menu(ui, "Model", commands, |_| {
        let offers = editor.offers.iter().map(|offer| {
            let chosen = offer.card.id == editor.card.id;
            Item::new(&offer.card.title, &offer.card.family, Command::ChooseModel(offer.card.id.clone())).ticked(chosen)
        });
        let mut items: Vec<Item> = offers.collect();
        items.push(Item::new("Import checkpoints…", "", Command::Ask(Dialog::Import)));
        items
    });
}

fn view(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let show = editor.show;
    let heat = |heat: Heat, name: &'static str| {
        let on = show.heat == Some(heat);
        Item::new(name, "", Command::ShowHeat((!on).then_some(heat))).ticked(on)
    };
    menu(ui, "View", commands, |_| {
        vec![
            Item::new("Fit", "Ctrl+0", Command::ZoomFit),
            Item::new("100 %", "Ctrl+1", Command::Zoom100),
            Item::new("Zoom in", "Ctrl++", Command::ZoomBy(1.25)),
            Item::new("Zoom out", "Ctrl+-", Command::ZoomBy(0.8)),
            Item::new("Picture", "", Command::ShowImage(!show.image)).ticked(show.image),
            Item::new("Mask", "", Command::ShowMask(!show.mask)).ticked(show.mask),
            Item::new("Token grid", "G", Command::ShowTokens(!show.tokens)).ticked(show.tokens),
            Item::new("Pixel grid", "", Command::ShowPixelGrid(!show.pixel_grid)).ticked(show.pixel_grid),
            heat(Heat::Order, "Order of tokens"),
            heat(Heat::Uncertainty, "Uncertainty"),
            heat(Heat::Likelihood, "Likelihood"),
        ]
    });
}

fn menu<'a>(ui: &mut Ui, name: &str, commands: &mut Vec<Command>, items: impl FnOnce(&mut Ui) -> Vec<Item<'a>>) {
    let title = RichText::new(name).color(theme::mix(theme::TEXT, theme::DIM, 0.25));
    let shown = ui.menu_button(title, |ui| {
        ui.set_min_width(210.0);
        for item in items(ui) {
            let tick = if item.ticked == Some(true) { icons::CHECK } else { "" };
            let button = Button::new((item.name, theme::icon(tick, 14.0).color(theme::ACCENT)));
            let button = button.shortcut_text(item.keys);
            let button = button.selected(false).frame_when_inactive(false);
            if ui.add_enabled(item.enabled, button).clicked() {
                commands.push(item.command);
                ui.close();
            }
        }
    });
    shown.response.accessible_name(format!("{name} menu"));
}

fn device(ui: &mut Ui, editor: &Editor) {
    let (colour, text, tip) = match &editor.engine {
        Engine::Loading(bytes) => {
            let read = if *bytes < 1 << 20 { String::new() } else { format!(", {} MB", bytes >> 20) };
            (theme::BUSY, format!("loading {}{read}", editor.card.title), "The model is being loaded".to_owned())
        }
        Engine::Ready { device, reason } => {
            (theme::GOOD, device.clone(), format!("The model computes on this device: {reason}"))
        }
        Engine::Failed(cause) => (theme::BAD, "no model".into(), cause.clone()),
    };
    chip(ui, &text, "Device", &tip, Some(colour));
}

/// A rounded label, with a dot before it when a colour is given.
fn chip(ui: &mut Ui, text: &str, name: &str, tip: &str, dot: Option<Color32>) -> bool {
    let galley = ui.painter().layout_no_wrap(text.into(), theme::font(13.0), theme::TEXT);
    let lead = if dot.is_some() { 16.0 } else { 0.0 };
    let sense = if dot.is_some() { Sense::hover() } else { Sense::click() };
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(22.0 + lead, 6.0), sense);
    let role = if dot.is_some() { Role::Label } else { Role::Button };
    response.widget_info(|| WidgetInfo::labeled(role, true, format!("{name}: {text}")));
    let fill = if response.hovered() { theme::CONTROL_HOVERED } else { theme::CONTROL };
    ui.painter().rect_filled(rect, CornerRadius::same(12), fill);
    if let Some(colour) = dot {
        ui.painter().circle_filled(rect.left_center() + vec2(14.0, 0.0), 3.5, colour);
    }
    ui.painter().galley(rect.min + vec2(11.0 + lead, 3.0), galley, theme::TEXT);
    let clicked = response.clicked();
    response.on_hover_text(tip);
    clicked
}
