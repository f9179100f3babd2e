//! Size and hardness of the brush, in a small bar on the canvas.

use egui::{Area, Context, DragValue, Frame, Id, Margin, Order, Rect, RichText, Stroke, Ui, vec2};

use super::theme;
use super::widgets::slider;
use crate::command::{Command, Tool};
use crate::editor::{Editor, MAX_BRUSH};

/// Shows the bar below the canvas while a brush is in hand.
pub(super) fn show(ctx: &Context, editor: &Editor, canvas: Rect, commands: &mut Vec<Command>) {
    if !matches!(editor.brush.tool, Tool::Brush | Tool::Eraser) {
        return;
    }
    let corner = canvas.left_bottom() + vec2(12.0, -12.0);
    let area = Area::new(Id::unique("brush options")).order(Order::Middle).pivot(egui::Align2::LEFT_BOTTOM);
    area.fixed_pos(corner).constrain_to(canvas).show(ctx, |ui| {
        let frame = Frame::new().fill(theme::PANEL).stroke(Stroke::new(1.0, theme::EDGE)).corner_radius(theme::RADIUS);
        frame.inner_margin(Margin::symmetric(12, 3)).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.set_height(26.0);
                size(ui, editor.brush.size, commands);
                ui.add_space(10.0);
                hardness(ui, editor.brush.hardness, commands);
            });
        });
    });
}

fn size(ui: &mut Ui, size: f32, commands: &mut Vec<Command>) {
    ui.label(RichText::new("Size").size(13.0).color(theme::DIM));
    ui.spacing_mut().slider_width = 90.0;
    // The rail is logarithmic: a brush of 8 and one of 800 are both near at hand.
    let mut exponent = f64::from(size).ln();
    let response = slider(ui, &mut exponent, 0.0, f64::from(MAX_BRUSH).ln(), "Brush size");
    let slid = response.changed();
    response.on_hover_text("Diameter of the brush in picture pixels ([ and ])");
    let mut pixels = f64::from(size.round());
    let drag = DragValue::new(&mut pixels).range(1.0..=f64::from(MAX_BRUSH)).speed(1.0).suffix(" px");
    let typed = ui.add(drag.min_size(vec2(62.0, 22.0))).accessible_name("Brush size (pixels)").changed();
    if typed {
        commands.push(Command::BrushSize(pixels as f32));
    } else if slid {
        commands.push(Command::BrushSize((exponent.exp() as f32).round()));
    }
}

fn hardness(ui: &mut Ui, hardness: f32, commands: &mut Vec<Command>) {
    ui.label(RichText::new("Hardness").size(13.0).color(theme::DIM));
    ui.spacing_mut().slider_width = 70.0;
    let mut share = f64::from(hardness);
    let response = slider(ui, &mut share, 0.0, 1.0, "Brush hardness");
    response.on_hover_text("Edge of the brush: 0 % soft, 100 % hard (Shift+[ and Shift+])");
    let mut percent = f64::from((hardness * 100.0).round());
    let drag = DragValue::new(&mut percent).range(0.0..=100.0).speed(1.0).suffix(" %");
    let typed = ui.add(drag.min_size(vec2(50.0, 22.0))).accessible_name("Brush hardness (percent)").changed();
    if typed {
        commands.push(Command::BrushHardness((percent / 100.0) as f32));
    } else if (share - f64::from(hardness)).abs() > 1e-6 {
        commands.push(Command::BrushHardness(share as f32));
    }
}
