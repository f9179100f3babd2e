//! The top bar: name, menus, the file, zoom and device.

use std::path::Path;

use egui::{Align, Button, Color32, CornerRadius, Layout, MenuBar, RichText, Role, Sense, Ui, WidgetInfo, vec2};

use super::widgets::{focus_ring, line as cut};
use super::{icons, theme};
use crate::actions::{ACTIONS, Menu, with_keys};
use crate::command::Command;
use crate::editor::{Editor, Engine};
use crate::keymap::Chord;

/// The widest text of a chip.
const CHIP: f32 = 210.0;

/// Shows the bar.
pub(super) fn show(ui: &mut Ui, editor: &Editor, zoom: f32, commands: &mut Vec<Command>) {
    MenuBar::new().ui(ui, |ui| {
        ui.add_space(8.0);
        ui.label(RichText::new("ANDAMENTO").size(15.0).extra_letter_spacing(1.4).color(theme::accent_text()));
        ui.add_space(8.0);
        for (place, name) in Menu::BAR {
            menu(ui, editor, place, name, commands);
        }
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(8.0);
            device(ui, editor);
            if editor.desk.busy > 0 {
                chip(ui, "files…", "Files", "A file is being read or written", Some(theme::busy()));
            }
            if let Some(how_far) = &editor.importing {
                chip(ui, how_far, "Import", "Checkpoints are being imported", Some(theme::busy()));
            }
            if chip(
                ui,
                &format!("{:.0} %", zoom * 100.0),
                "Zoom",
                &with_keys(editor, "Zoom: screen pixels per picture pixel. Click for 100 %", "zoom-100"),
                None,
            ) {
                commands.push(Command::Zoom100);
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add_space(24.0);
                let document = &editor.document;
                let (width, height) = (document.picture.width(), document.picture.height());
                let edited = if editor.is_unsaved() { ", edited" } else { "" };
                // A long name gives way to the size.
                let (all, rest) = (ui.available_width(), format!("— {width} × {height}{edited}"));
                let rest = cut(ui, &rest, all, theme::BODY, theme::dim());
                let room = all - rest.size().x - 2.0 * ui.spacing().item_spacing.x;
                ui.label(cut(ui, &document.name, room.max(0.0), theme::BODY, theme::text()));
                ui.label(rest);
            });
        });
    });
}

/// A file's name with its folder's, which is enough to know it again.
fn short(file: &Path) -> String {
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy();
    let text = format!("{name} — {folder}");
    if text.chars().count() <= 44 { text } else { text.chars().take(43).chain(['…']).collect() }
}

/// One menu, as the table of actions says; above the actions on models, the models at hand.
fn menu(ui: &mut Ui, editor: &Editor, place: Menu, name: &str, commands: &mut Vec<Command>) {
    let title = RichText::new(name).color(theme::mix(theme::text(), theme::dim(), 0.25));
    let shown = ui.menu_button(title, |ui| {
        ui.set_min_width(230.0);
        if place == Menu::Model {
            for offer in &editor.offers {
                let ticked = Some(offer.card.id == editor.card.id);
                if line(ui, &offer.card.title, &offer.card.family, ticked, None) {
                    commands.push(Command::ChooseModel(offer.card.id.clone()));
                }
            }
        }
        for action in ACTIONS.iter().filter(|action| action.menu == place) {
            if action.apart {
                ui.separator();
            }
            if action.id == "forget-recent" {
                for file in &editor.desk.recent {
                    if line(ui, &short(file), "", None, None) {
                        commands.push(Command::Open(file.clone()));
                    }
                }
            }
            let keys = editor.preferences().keys.chords(action).first().map(Chord::to_string).unwrap_or_default();
            let refusal = action.refusal(editor);
            if line(ui, &action.title(editor), &keys, action.is_ticked(editor), refusal.as_deref()) {
                commands.push(action.command(editor));
            }
        }
    });
    focus_ring(ui, &shown.response, shown.response.rect, 4);
    shown.response.accessible_name(format!("{name} menu"));
}

/// One line of a menu; grey with the reason where it cannot be had. Returns whether it was chosen.
fn line(ui: &mut Ui, name: &str, keys: &str, ticked: Option<bool>, refusal: Option<&str>) -> bool {
    let tick = if ticked == Some(true) { icons::CHECK } else { "" };
    let button = Button::new((name, theme::icon(tick, 14.0).color(theme::accent_text()))).shortcut_text(keys);
    let response = ui.add_enabled(refusal.is_none(), button.selected(false).frame_when_inactive(false));
    let role = if ticked.is_some() { Role::MenuItemCheckBox } else { Role::MenuItem };
    response.widget_info(|| WidgetInfo { selected: ticked, ..WidgetInfo::labeled(role, refusal.is_none(), name) });
    focus_ring(ui, &response, response.rect.shrink(1.0), 4);
    let clicked = response.clicked();
    if let Some(refusal) = refusal {
        response.on_disabled_hover_text(format!("Not available: {refusal}"));
    }
    if clicked {
        ui.close();
    }
    clicked
}

fn device(ui: &mut Ui, editor: &Editor) {
    let (colour, text, tip) = match &editor.engine {
        Engine::Loading(bytes) => {
            let read = if *bytes < 1 << 20 { String::new() } else { format!(", {} MB", bytes >> 20) };
            (theme::busy(), format!("loading {}{read}", editor.card.title), "The model is being loaded".to_owned())
        }
        Engine::Ready { device, reason } => {
            (theme::good(), device.clone(), format!("The model computes on this device: {reason}"))
        }
        Engine::Failed(cause) => (theme::bad(), "no model".into(), cause.clone()),
    };
    chip(ui, &text, "Device", &tip, Some(colour));
}

/// A rounded label, with a dot before it when a colour is given.
fn chip(ui: &mut Ui, text: &str, name: &str, tip: &str, dot: Option<Color32>) -> bool {
    let galley = cut(ui, text, CHIP, 13.0, theme::text());
    let lead = if dot.is_some() { 16.0 } else { 0.0 };
    let sense = if dot.is_some() { Sense::hover() } else { Sense::click() };
    let (rect, response) = ui.allocate_exact_size(galley.size() + vec2(22.0 + lead, 6.0), sense);
    let role = if dot.is_some() { Role::Label } else { Role::Button };
    response.widget_info(|| WidgetInfo::labeled(role, true, format!("{name}: {text}")));
    let fill = if response.hovered() { theme::control_hovered() } else { theme::control() };
    ui.painter().rect_filled(rect, CornerRadius::same(12), fill);
    focus_ring(ui, &response, rect, 12);
    if let Some(colour) = dot {
        ui.painter().circle_filled(rect.left_center() + vec2(14.0, 0.0), 3.5, colour);
    }
    ui.painter().galley(rect.min + vec2(11.0 + lead, 3.0), galley, theme::text());
    let clicked = response.clicked();
    response.on_hover_text(tip);
    clicked
}
