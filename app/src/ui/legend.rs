//! What the colours of tokens mean: a scale from the least to the most, with its unit.

use egui::{Color32, Mesh, Response, Role, Sense, Ui, Vec2, WidgetInfo, pos2, vec2};

use super::{surprise, theme};
use crate::command::{Command, Heat};
use crate::editor::Editor;

/// The size of the scale.
const SCALE: Vec2 = vec2(84.0, 10.0);
/// Height of the line.
const LINE: f32 = 24.0;

/// Shows the scale of the heat map that is on.
pub(super) fn show(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let Some(heat) = editor.show.heat else { return };
    ui.horizontal(|ui| {
        ui.set_height(LINE);
        ui.spacing_mut().item_spacing.x = 6.0;
        let made = || editor.track().into_iter().flat_map(|track| &track.steps).flat_map(|step| &step.made);
        match heat {
            Heat::Surprise => surprise::legend(ui, editor, commands),
            _ if made().next().is_none() => words(ui, "of a run: there is none yet"),
            Heat::Order => {
                scale(ui, theme::rank, ("first", "last"), None);
            }
            Heat::Uncertainty => {
                let most = made().map(|made| made.bits).fold(1.0, f32::max);
                scale(ui, theme::heat, ("0", &format!("{most:.1} bits")), None);
            }
            Heat::Likelihood => {
                scale(ui, theme::heat, ("0", "1"), None);
            }
        }
    });
}

/// A scale of colours between two words, with a mark at a share of it.
pub(super) fn scale(
    ui: &mut Ui,
    colour: fn(f32) -> Color32,
    (least, most): (&str, &str),
    mark: Option<f32>,
) -> Response {
    words(ui, least);
    let (rect, response) = ui.allocate_exact_size(SCALE, Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Label, true, format!("Colours from {least} to {most}")));
    let (mut mesh, parts) = (Mesh::default(), 24);
    for part in 0..=parts {
        let share = part as f32 / parts as f32;
        let x = rect.min.x + share * rect.width();
        mesh.colored_vertex(pos2(x, rect.min.y), colour(share));
        mesh.colored_vertex(pos2(x, rect.max.y), colour(share));
        if part > 0 {
            let at = 2 * part as u32;
            mesh.add_triangle(at - 2, at - 1, at);
            mesh.add_triangle(at - 1, at, at + 1);
        }
    }
    ui.painter().add(mesh);
    if let Some(share) = mark {
        let x = rect.min.x + share.clamp(0.0, 1.0) * rect.width();
        ui.painter().vline(x, rect.expand(3.0).y_range(), egui::Stroke::new(2.0, theme::head()));
    }
    words(ui, most);
    response
}

/// A few words in the line.
pub(super) fn words(ui: &mut Ui, text: &str) {
    ui.label(egui::RichText::new(text).size(theme::SMALL).color(theme::dim()));
}
