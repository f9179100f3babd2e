//! The history: every step with a small picture, to go to, and to run again.

use std::collections::HashMap;

use egui::{
    Align2, Color32, ColorImage, CornerRadius, CursorIcon, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind,
    TextureHandle, TextureOptions, Ui, UiBuilder, Vec2, WidgetInfo, pos2, vec2,
};

use super::widgets::{focus_ring, line, section};
use super::{icons, theme, waiting};
use crate::command::Command;
use crate::editor::Editor;
use crate::history::Entry;

/// The height of an entry, and the side of its picture.
const ROW: f32 = 50.0;
const PICTURE: f32 = 40.0;
/// The side of its buttons.
const BUTTON: f32 = 22.0;

/// What the panel keeps between frames.
#[derive(Default)]
pub(super) struct Past {
    pictures: HashMap<u64, TextureHandle>,
    /// The entry that was last brought into sight.
    seen: u64,
}

impl Past {
    /// Shows the history, the newest step first.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        section(ui, "History");
        ui.add_space(4.0);
        let entries = editor.history.entries();
        let present = editor.history.depth();
        let moved = entries.get(present).map(|entry| entry.number).filter(|number| *number != self.seen);
        let mut shown = Vec::new();
        ui.spacing_mut().item_spacing.y = 2.0;
        let area = ScrollArea::vertical().auto_shrink(false);
        let area = match moved {
            Some(number) => {
                self.seen = number;
                let from_top = (entries.len() - 1 - present) as f32 * (ROW + 2.0);
                area.vertical_scroll_offset((from_top - ui.available_height() / 2.0).max(0.0))
            }
            None => area,
        };
        area.show_rows(ui, ROW, entries.len(), |ui, rows| {
            for row in rows {
                let index = entries.len() - 1 - row;
                shown.push(entries[index].number);
                self.entry(ui, editor, index, &entries[index], commands);
            }
        });
        self.pictures.retain(|number, _| shown.contains(number));
    }

    fn entry(&mut self, ui: &mut Ui, editor: &Editor, index: usize, entry: &Entry, commands: &mut Vec<Command>) {
        let present = editor.history.depth();
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ROW), Sense::click());
        let opening = index == present && waiting::is_long(editor);
        let name = format!("Step {index}: {}{}", entry.label, if opening { ", opening" } else { "" });
        response.widget_info(|| WidgetInfo::selected(Role::ListItem, true, index == present, &name));
        let fill = match (index == present, response.hovered()) {
            (true, _) => theme::mix(theme::panel(), theme::accent(), 0.14),
            (false, true) => theme::control(),
            (false, false) => Color32::TRANSPARENT,
        };
        ui.painter().rect_filled(rect, CornerRadius::same(5), fill);
        if index == present {
            ui.painter().rect_stroke(rect, 5.0, Stroke::new(1.0, theme::accent()), StrokeKind::Inside);
        }
        focus_ring(ui, &response, rect, 5);
        let picture = self.pictures.entry(entry.number).or_insert_with(|| {
            let size = [entry.thumbnail.width() as usize, entry.thumbnail.height() as usize];
            let image = ColorImage::from_rgba_unmultiplied(size, entry.thumbnail.as_raw());
            ui.ctx().load_texture("history", image, TextureOptions::LINEAR)
        });
        let [width, height] = picture.size().map(|side| side as f32);
        let size = vec2(width, height) * (PICTURE / width.max(height));
        let middle = pos2(rect.min.x + 5.0 + PICTURE / 2.0, rect.center().y);
        // What was taken back is faint.
        let tint = if index > present { Color32::from_gray(110) } else { Color32::WHITE };
        egui::Image::new(&*picture).tint(tint).corner_radius(3).paint_at(ui, Rect::from_center_size(middle, size));
        if opening {
            let place = Rect::from_center_size(middle, Vec2::splat(PICTURE));
            ui.painter().rect_filled(place, CornerRadius::same(3), Color32::from_black_alpha(130));
            egui::Spinner::new().color(theme::text()).paint_at(ui, place.shrink(PICTURE / 4.0));
        }
        let run = editor.run_of(index);
        let left = rect.min.x + PICTURE + 14.0;
        let colour = if index > present { theme::faint() } else { theme::text() };
        let words = Rect::from_min_max(pos2(left, rect.min.y), pos2(rect.max.x - 4.0, rect.max.y));
        let at = if run.is_some() { words.center().y - 11.0 } else { words.center().y };
        let label = line(ui, &entry.label, words.width(), 12.5, colour);
        ui.painter().galley(pos2(left, at - label.size().y / 2.0), label, colour);
        if response.clicked() {
            commands.push(Command::GoTo(index));
        }
        let tip = match run {
            Some(track) => {
                let knobs = track.request.knobs;
                let order = &track.request.order;
                format!("{}\n{order} order, {} steps, seed {}", entry.label, track.outline.steps, knobs.seed)
            }
            None => entry.label.clone(),
        };
        response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(format!("{tip}\nClick to go there"));
        if run.is_some() {
            let place = Rect::from_min_size(pos2(left - 3.0, rect.center().y - 1.0), Vec2::splat(BUTTON));
            again(ui, place, index, commands);
        }
    }
}

/// The buttons of a step that a model made.
fn again(ui: &mut Ui, first: Rect, entry: usize, commands: &mut Vec<Command>) {
    let buttons = [
        (icons::AGAIN, "Run again", "Run again: the same request with the same seed, on the picture as it was then", {
            Command::RunAgain { entry, new_seed: false }
        }),
        (icons::DICE, "Run again with a new seed", "Run again with a new seed", {
            Command::RunAgain { entry, new_seed: true }
        }),
        (
            icons::SETTINGS,
            "Use these settings",
            "Use these settings: subject, order, sampling and seed, in the panel",
            { Command::UseSettings(entry) },
        ),
    ];
    let mut place = first;
    for (icon, name, tip, command) in buttons {
        let mut child = ui.new_child(UiBuilder::new().max_rect(place));
        let (_, response) = child.allocate_exact_size(place.size(), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("{name}: step {entry}")));
        let colour = if response.hovered() { theme::accent_hovered() } else { theme::dim() };
        if response.hovered() {
            ui.painter().rect_filled(place, 4.0, theme::control_hovered());
        }
        ui.painter().text(place.center(), Align2::CENTER_CENTER, icon, theme::icon_font(14.0), colour);
        focus_ring(ui, &response, place, 4);
        if response.clicked() {
            commands.push(command);
        }
        response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip);
        place = place.translate(vec2(BUTTON + 3.0, 0.0));
    }
}
