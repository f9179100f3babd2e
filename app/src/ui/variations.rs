//! The strip of results, and choosing among the variations of one request.

use std::collections::HashMap;

use egui::RichText;
use egui::{
    Align, Color32, ColorImage, CornerRadius, CursorIcon, Layout, Rect, Role, ScrollArea, Sense, Stroke, StrokeKind,
    TextureHandle, TextureOptions, Ui, Vec2, WidgetInfo, pos2, vec2,
};

use super::panel::grouped;
use super::widgets::{focus_ring, icon_button, section};
use super::{icons, theme};
use crate::command::Command;
use crate::editor::{Editor, Outcome};

/// The heading, and the buttons for the variation that is shown.
pub(super) fn heading(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.set_height(20.0);
        section(ui, "Variations");
        if !editor.is_choosing() {
            return;
        }
        let all = editor.variations();
        let place = editor.shown_result().and_then(|shown| all.iter().position(|index| *index == shown)).unwrap_or(0);
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 3.0;
            let mut button = |icon, name, tip, enabled, command| {
                if icon_button(ui, vec2(24.0, 20.0), icon, name, tip, enabled).clicked() {
                    commands.push(command);
                }
            };
            button(
                icons::DISCARD,
                "Discard variation",
                "Take it out of the strip (Delete)",
                true,
                Command::DiscardVariation,
            );
            button(icons::CHECK, "Accept variation", "Keep this one (Enter)", true, Command::AcceptVariation);
            let (next, previous) = (place + 1 < all.len(), place > 0);
            button(icons::FORWARD, "Next variation", "The next one (Right)", next, Command::NextVariation);
            button(icons::BACK, "Previous variation", "The one before (Left)", previous, Command::PreviousVariation);
            let text = format!("{} of {}", place + 1, all.len());
            ui.label(RichText::new(text).size(theme::SMALL).color(theme::dim()));
        });
    });
}

/// What the strip keeps between frames.
#[derive(Default)]
pub(super) struct Strip {
    thumbnails: HashMap<u64, TextureHandle>,
    /// The picture that was last brought into sight.
    seen: u64,
}

impl Strip {
    /// Shows the results of this session, the newest last, and empty places for variations still to come.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, side: f32, commands: &mut Vec<Command>) {
        if editor.results.is_empty() && editor.variations_left() == 0 {
            ui.label(RichText::new("What you generate is collected here").size(theme::SMALL).color(theme::dim()));
            return;
        }
        self.thumbnails.retain(|id, _| editor.results.iter().any(|outcome| outcome.document.picture_id == *id));
        ScrollArea::horizontal().id_salt("results").auto_shrink([false, true]).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.spacing_mut().item_spacing.x = 8.0;
                for (number, outcome) in editor.results.iter().enumerate() {
                    self.result(ui, editor, (number, outcome), side, commands);
                }
                let to_come = editor.variations_left() + usize::from(editor.run.is_some());
                for _ in 0..to_come.min(if editor.variations_left() > 0 { to_come } else { 0 }) {
                    let (rect, _) = ui.allocate_exact_size(Vec2::splat(side), Sense::hover());
                    ui.painter().rect_filled(rect.shrink(2.0), CornerRadius::same(5), theme::well());
                }
            });
        });
    }

    fn result(
        &mut self,
        ui: &mut Ui,
        editor: &Editor,
        (number, outcome): (usize, &Outcome),
        side: f32,
        commands: &mut Vec<Command>,
    ) {
        let id = outcome.document.picture_id;
        let texture = self.thumbnails.entry(id).or_insert_with(|| {
            let size = [outcome.thumbnail.width() as usize, outcome.thumbnail.height() as usize];
            let image = ColorImage::from_rgba_unmultiplied(size, outcome.thumbnail.as_raw());
            ui.ctx().load_texture("result", image, TextureOptions::LINEAR)
        });
        let (rect, response) = ui.allocate_exact_size(Vec2::splat(side), Sense::click());
        let present = editor.document.picture_id == id;
        if present && std::mem::replace(&mut self.seen, id) != id {
            response.scroll_to_me(None);
        }
        let name = format!("Result {}", number + 1);
        response.widget_info(|| WidgetInfo::selected(Role::Button, true, present, &name));
        let [width, height] = texture.size().map(|side| side as f32);
        // The middle square of the picture.
        let (across, down) = (0.5 * (height / width).min(1.0), 0.5 * (width / height).min(1.0));
        let uv = Rect::from_min_max(pos2(0.5 - across, 0.5 - down), pos2(0.5 + across, 0.5 + down));
        let tint = if present || response.hovered() { Color32::WHITE } else { Color32::from_gray(185) };
        egui::Image::new(&*texture).uv(uv).tint(tint).corner_radius(5).paint_at(ui, rect.shrink(2.0));
        if present {
            ui.painter().rect_stroke(rect, theme::RADIUS, Stroke::new(2.0, theme::accent()), StrokeKind::Inside);
        }
        if outcome.accepted {
            let at = rect.right_bottom() - vec2(11.0, 11.0);
            ui.painter().circle_filled(at, 7.0, theme::accent());
            let font = theme::icon_font(9.0);
            ui.painter().text(at, egui::Align2::CENTER_CENTER, icons::CHECK, font, theme::on_accent());
        }
        focus_ring(ui, &response, rect, 6);
        if response.clicked() {
            commands.push(Command::TakeResult(number));
        }
        let track = outcome.document.track.as_ref();
        let tip = track.map_or(name.clone(), |track| {
            let knobs = track.request.knobs;
            let subject = editor.card.subjects.get(knobs.class as usize).map_or("", String::as_str);
            let (made, all) = (track.steps.len(), track.outline.steps);
            format!(
                "{name}: {subject}\n{} order, step {made} of {all}, seed {}",
                track.request.order,
                grouped(knobs.seed)
            )
        });
        response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip);
    }
}
