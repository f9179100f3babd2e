//! Which model paints: its family, and the models of that family that are at hand.

use andamento_model::library;
use andamento_model::networks::FAMILIES;
use egui::{
    Align2, Button, CursorIcon, Popup, Rect, RichText, Role, ScrollArea, Sense, Stroke, StrokeKind, Ui, WidgetInfo,
    vec2,
};

use super::panel::well;
use super::widgets::{focus_ring, segment};
use super::{icons, theme};
use crate::command::{Command, Dialog};
use crate::editor::{Editor, Offer};

/// Families beside each other.
const PER_ROW: usize = 3;
/// Height of a family's switch.
const SWITCH: f32 = 25.0;
/// Height of a model in the list.
const ENTRY: f32 = 42.0;

/// Shows families and models.
pub(super) fn show(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    families(ui, editor, commands);
    ui.add_space(2.0);
    models(ui, editor, commands);
}

/// A switch for every family. Those that no model is at hand of are grey.
fn families(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let rows = FAMILIES.len().div_ceil(PER_ROW);
    let size = vec2(ui.available_width(), rows as f32 * SWITCH + 6.0);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    ui.painter().rect_filled(rect, theme::RADIUS, theme::WELL);
    let width = (rect.width() - 6.0) / PER_ROW as f32;
    for (index, family) in FAMILIES.iter().enumerate() {
        let corner = rect.min + vec2(3.0, 3.0);
        let at = corner + vec2((index % PER_ROW) as f32 * width, (index / PER_ROW) as f32 * SWITCH);
        let place = Rect::from_min_size(at, vec2(width, SWITCH)).shrink(1.0);
        let offer = editor.offers.iter().find(|offer| offer.card.family == family.name);
        let chosen = editor.card.family == family.name;
        let enabled = offer.is_some();
        let response = segment(ui, place, family.name, family.name, (enabled, chosen));
        if response.clicked() && !chosen {
            commands.extend(offer.map(|offer| Command::ChooseModel(offer.card.id.clone())));
        }
        let missing = "\nNo model of this family is here yet: import a checkpoint (Model menu)";
        let tip = format!("{}{}", family.paper, if enabled { "" } else { missing });
        response.on_hover_text(tip);
    }
}

/// The model, and a list of those of its family.
fn models(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let card = &editor.card;
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 50.0), Sense::click());
    response.widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, format!("Model: {}", card.title)));
    well(ui, &response, rect);
    let left = rect.left_top() + vec2(11.0, 8.0);
    ui.painter().text(left, Align2::LEFT_TOP, &card.title, theme::font(theme::BODY), theme::TEXT);
    let about = editor.offers.iter().find(|offer| offer.card.id == card.id).map(about).unwrap_or_default();
    ui.painter().text(left + vec2(0.0, 19.0), Align2::LEFT_TOP, about, theme::font(theme::SMALL), theme::DIM);
    let corner = rect.right_center() - vec2(12.0, 0.0);
    ui.painter().text(corner, Align2::RIGHT_CENTER, icons::DOWN, theme::icon_font(13.0), theme::DIM);
    Popup::menu(&response).width(rect.width()).show(|ui| {
        ui.set_width(rect.width() - 14.0);
        ScrollArea::vertical().max_height(300.0).show(ui, |ui| {
            for offer in editor.offers.iter().filter(|offer| offer.card.family == card.family) {
                if entry(ui, offer, offer.card.id == card.id) {
                    commands.push(Command::ChooseModel(offer.card.id.clone()));
                    ui.close();
                }
            }
        });
        ui.separator();
        let import = Button::new(RichText::new("Import checkpoints…")).min_size(vec2(ui.available_width(), 26.0));
        if ui.add(import).clicked() {
            commands.push(Command::Ask(Dialog::Import));
            ui.close();
        }
    });
    let tip = format!("{}, of the {} family. It sees {2} × {2} pixels", card.title, card.family, card.side);
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip);
}

/// One model of the list. Returns whether it was clicked.
fn entry(ui: &mut Ui, offer: &Offer, chosen: bool) -> bool {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ENTRY), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::MenuItemRadio, true, chosen, &offer.card.title));
    if response.hovered() {
        ui.painter().rect_filled(rect, theme::RADIUS, theme::CONTROL_HOVERED);
    }
    if chosen {
        ui.painter().rect_stroke(rect, theme::RADIUS, Stroke::new(1.0, theme::ACCENT), StrokeKind::Inside);
    }
    let left = rect.left_top() + vec2(9.0, 4.0);
    ui.painter().text(left, Align2::LEFT_TOP, &offer.card.title, theme::font(theme::BODY), theme::TEXT);
    let below = left + vec2(0.0, 18.0);
    ui.painter().text(below, Align2::LEFT_TOP, about(offer), theme::font(theme::SMALL), theme::DIM);
    focus_ring(ui, &response, rect, 6);
    response.clicked()
}

fn about(offer: &Offer) -> String {
    let card = &offer.card;
    let size = match card.parameters {
        0 => String::new(),
        count if count < 1_000_000 => format!("{:.0} k · ", count as f32 / 1e3),
        count => format!("{:.1} M · ", count as f32 / 1e6),
    };
    let origin = match offer.needs {
        None if library::bundled(&card.id).is_ok() => "bundled".into(),
        None => "trained".into(),
        Some(bytes) if bytes < 100 << 20 => format!("needs {} MB", (bytes >> 20).max(1)),
        Some(bytes) => format!("needs {:.1} GB", bytes as f64 / (1u64 << 30) as f64),
    };
    format!("{size}{0}×{0} tokens · {origin}", card.grid)
}
