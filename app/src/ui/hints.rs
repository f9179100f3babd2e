//! What is worth knowing in the first minutes, one thing at a time.

use egui::{Align2, Area, Context, Frame, Id, Margin, Order, Rect, RichText, Stroke, vec2};

use super::widgets::icon_button;
use super::{icons, theme};
use crate::command::{Command, Tool};
use crate::editor::Editor;

/// On a canvas less wide than this the options of a tool leave no room for a hint.
const BESIDE: f32 = 900.0;

/// Shows the hint that is due in the lower right corner of the canvas.
pub(super) fn show(ctx: &Context, editor: &Editor, canvas: Rect, commands: &mut Vec<Command>) {
    let Some(hint) = editor.hint().filter(|_| editor.dialog.is_none()) else { return };
    // Beside the options of the tool, or above them where there is no room.
    let lines = if editor.brush.tool == Tool::Boldness { 90.0 } else { 56.0 };
    let lift = if canvas.width() < BESIDE { lines } else { 12.0 };
    let corner = canvas.right_bottom() - vec2(12.0, lift);
    let area = Area::new(Id::unique("hint")).order(Order::Middle).pivot(Align2::RIGHT_BOTTOM).fixed_pos(corner);
    area.constrain_to(canvas).show(ctx, |ui| {
        let frame =
            Frame::new().fill(theme::panel()).stroke(Stroke::new(1.0, theme::accent())).corner_radius(theme::RADIUS);
        frame.inner_margin(Margin::symmetric(12, 6)).show(ui, |ui| {
            ui.set_width(250.0);
            ui.horizontal(|ui| {
                ui.vertical(|ui| {
                    ui.set_width(ui.available_width() - 34.0);
                    ui.label(RichText::new(hint.text()).size(13.0).color(theme::text()));
                });
                if icon_button(ui, vec2(24.0, 24.0), icons::CLOSE, "Close hint", "Never show this again", true)
                    .clicked()
                {
                    commands.push(Command::CloseHint(hint));
                }
            });
        });
    });
}
