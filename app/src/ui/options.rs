//! The options of the tool in hand, in a small bar on the canvas.

use andamento_model::picture::Combine;
use egui::{
    Area, Color32, Context, CornerRadius, CursorIcon, DragValue, Frame, Id, Margin, Order, Rect, RichText, Role, Sense,
    Stroke, StrokeKind, Ui, WidgetInfo, vec2,
};

use super::widgets::{focus_ring, pill, slider};
use super::{boldness, icons, theme};
use crate::actions::with_keys;
use crate::command::{Command, Overlay, Tool};
use crate::editor::{Editor, MAX_BRUSH, Wand};

/// The colours that are offered for the mask.
const COLOURS: [(&str, [u8; 3]); 6] = [
    ("Amber", [0xf2, 0xa6, 0x3b]),
    ("Red", [0xe8, 0x3f, 0x3f]),
    ("Green", [0x3f, 0xd1, 0x6a]),
    ("Blue", [0x3f, 0x8c, 0xf2]),
    ("Magenta", [0xe0, 0x4f, 0xd8]),
    ("White", [0xff, 0xff, 0xff]),
];

/// Shows the bar below the canvas, unless the tool has no options.
pub(super) fn show(ctx: &Context, editor: &Editor, canvas: Rect, commands: &mut Vec<Command>) {
    if matches!(editor.brush.tool, Tool::Hand | Tool::Picker) {
        return;
    }
    let corner = canvas.left_bottom() + vec2(12.0, -12.0);
    let area = Area::new(Id::unique("tool options")).order(Order::Middle).pivot(egui::Align2::LEFT_BOTTOM);
    area.fixed_pos(corner).constrain_to(canvas).show(ctx, |ui| {
        let frame =
            Frame::new().fill(theme::panel()).stroke(Stroke::new(1.0, theme::edge())).corner_radius(theme::RADIUS);
        frame.inner_margin(Margin::symmetric(12, 3)).show(ui, |ui| {
            ui.horizontal(|ui| {
                ui.set_height(26.0);
                match editor.brush.tool {
                    Tool::Brush | Tool::Eraser => {
                        size(ui, editor, commands);
                        ui.add_space(10.0);
                        hardness(ui, editor, commands);
                    }
                    Tool::Lasso | Tool::Rectangle => modes(ui, editor.combine, commands),
                    Tool::Wand => {
                        modes(ui, editor.combine, commands);
                        ui.add_space(10.0);
                        wand(ui, editor.wand, commands);
                    }
                    Tool::Boldness => {
                        size(ui, editor, commands);
                        ui.add_space(10.0);
                        hardness(ui, editor, commands);
                    }
                    Tool::Order => {
                        size(ui, editor, commands);
                        ui.add_space(10.0);
                        order(ui, editor, commands);
                    }
                    Tool::Extend => snap(ui, editor.snap, commands),
                    Tool::Hand | Tool::Picker => {}
                }
                if !matches!(editor.brush.tool, Tool::Extend | Tool::Order | Tool::Boldness) {
                    ui.add_space(10.0);
                    overlay(ui, editor.show.overlay, commands);
                }
            });
            if editor.brush.tool == Tool::Boldness {
                ui.horizontal(|ui| {
                    ui.set_height(26.0);
                    boldness::options(ui, editor, commands);
                });
                if let Some(why) = editor.feels_no_boldness() {
                    let text = format!("No effect now: {why}, so the likeliest token is always taken");
                    ui.label(RichText::new(text).size(13.0).color(theme::text()));
                }
            }
        });
    });
}

fn size(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let size = editor.brush.size;
    ui.label(RichText::new("Size").size(13.0).color(theme::dim()));
    ui.spacing_mut().slider_width = 90.0;
    // The rail is logarithmic: a brush of 8 and one of 800 are both near at hand.
    let mut exponent = f64::from(size).ln();
    let response = slider(ui, &mut exponent, 0.0, f64::from(MAX_BRUSH).ln(), "Brush size");
    let slid = response.changed();
    let keys = with_keys(
        editor,
        &with_keys(editor, "Diameter of the brush in picture pixels; a pen presses it smaller", "brush-smaller"),
        "brush-larger",
    );
    response.on_hover_text(keys);
    let mut pixels = f64::from(size.round());
    let drag = DragValue::new(&mut pixels).range(1.0..=f64::from(MAX_BRUSH)).speed(1.0).suffix(" px");
    let typed = ui.add(drag.min_size(vec2(62.0, 22.0))).accessible_name("Brush size (pixels)").changed();
    if typed {
        commands.push(Command::BrushSize(pixels as f32));
    } else if slid {
        commands.push(Command::BrushSize((exponent.exp() as f32).round()));
    }
}

fn hardness(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let hardness = editor.brush.hardness;
    ui.label(RichText::new("Hardness").size(13.0).color(theme::dim()));
    ui.spacing_mut().slider_width = 70.0;
    let mut share = f64::from(hardness);
    let response = slider(ui, &mut share, 0.0, 1.0, "Brush hardness");
    let keys = with_keys(
        editor,
        &with_keys(editor, "Edge of the brush: 0 % soft, 100 % hard", "brush-softer"),
        "brush-harder",
    );
    response.on_hover_text(keys);
    let mut percent = f64::from((hardness * 100.0).round());
    let drag = DragValue::new(&mut percent).range(0.0..=100.0).speed(1.0).suffix(" %");
    let typed = ui.add(drag.min_size(vec2(50.0, 22.0))).accessible_name("Brush hardness (percent)").changed();
    if typed {
        commands.push(Command::BrushHardness((percent / 100.0) as f32));
    } else if (share - f64::from(hardness)).abs() > 1e-6 {
        commands.push(Command::BrushHardness(share as f32));
    }
}

/// How a selection changes the mask.
pub(super) fn modes(ui: &mut Ui, chosen: Combine, commands: &mut Vec<Command>) {
    let modes = [
        (Combine::Replace, icons::REPLACE, "Replace mask", "A selection takes the mask's place"),
        (Combine::Add, icons::ADD, "Add to mask", "A selection is added to the mask (Shift)"),
        (Combine::Subtract, icons::SUBTRACT, "Subtract from mask", "A selection is taken away (Alt, or right-drag)"),
        (
            Combine::Intersect,
            icons::INTERSECT,
            "Intersect with mask",
            "Only what both have in common stays (Shift+Alt)",
        ),
    ];
    ui.spacing_mut().item_spacing.x = 3.0;
    for (mode, icon, name, tip) in modes {
        let on = mode == chosen;
        let (rect, response) = ui.allocate_exact_size(vec2(26.0, 24.0), Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, on, name));
        let fill = match (on, response.hovered()) {
            (true, _) => theme::control_hovered(),
            (false, true) => theme::control(),
            (false, false) => Color32::TRANSPARENT,
        };
        ui.painter().rect_filled(rect, CornerRadius::same(5), fill);
        let colour = if on { theme::accent_text() } else { theme::text() };
        ui.painter().text(rect.center(), egui::Align2::CENTER_CENTER, icon, theme::icon_font(16.0), colour);
        focus_ring(ui, &response, rect, 5);
        if response.clicked() {
            commands.push(Command::CombineBy(mode));
        }
        response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip);
    }
    ui.spacing_mut().item_spacing.x = 6.0;
}

fn wand(ui: &mut Ui, wand: Wand, commands: &mut Vec<Command>) {
    ui.label(RichText::new("Tolerance").size(13.0).color(theme::dim()));
    ui.spacing_mut().slider_width = 80.0;
    let mut levels = f64::from(wand.tolerance);
    let response = slider(ui, &mut levels, 0.0, 255.0, "Tolerance");
    response.on_hover_text("By how much colours may differ in each channel, in levels of 0 to 255");
    let mut typed = wand.tolerance;
    let drag = DragValue::new(&mut typed).range(0..=255).speed(1.0);
    let changed = ui.add(drag.min_size(vec2(40.0, 22.0))).accessible_name("Tolerance (levels)").changed();
    let levels = if changed { typed } else { levels.round() as u8 };
    if levels != wand.tolerance {
        commands.push(Command::Tolerance(levels));
    }
    ui.add_space(6.0);
    if pill(ui, wand.contiguous, "Contiguous", "Only what is joined to where you click; otherwise the whole picture") {
        commands.push(Command::Contiguous(!wand.contiguous));
    }
}

/// What the order brush does, and forgetting what it did.
fn order(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let erase = editor.order_brush.erase;
    let tip = with_keys(
        editor,
        "Takes tokens out of the path instead of adding them; right-drag does it as well",
        "swap-erase",
    );
    if pill(ui, erase, "Take out", &tip) {
        commands.push(Command::EraseOrder(!erase));
    }
    ui.add_space(6.0);
    let clear = egui::Button::new(RichText::new("Clear path").size(13.0)).min_size(vec2(0.0, 24.0));
    let response = ui.add_enabled(!editor.document.order_path.is_empty(), clear);
    if response.on_hover_text("Forgets the painted order").on_disabled_hover_text("No order was painted").clicked() {
        commands.push(Command::ClearOrder);
    }
    if let Some(label) = editor.abilities.experimental_path() {
        ui.add_space(6.0);
        ui.label(RichText::new("experimental").size(13.0).color(theme::dim())).on_hover_text(label);
    }
}

fn snap(ui: &mut Ui, on: bool, commands: &mut Vec<Command>) {
    if pill(ui, on, "Snap to tokens", "The canvas is extended by whole tokens; Ctrl while dragging turns it around") {
        commands.push(Command::SnapToTokens(!on));
    }
}

/// How the mask is shown: a small square of its colour, which opens what there is to choose.
fn overlay(ui: &mut Ui, overlay: Overlay, commands: &mut Vec<Command>) {
    let [red, green, blue] = overlay.colour;
    let (rect, button) = ui.allocate_exact_size(vec2(26.0, 24.0), Sense::click());
    button.widget_info(|| WidgetInfo::labeled(Role::Button, true, "Mask overlay"));
    let fill = if button.hovered() { theme::control_hovered() } else { theme::control() };
    ui.painter().rect_filled(rect, CornerRadius::same(5), fill);
    ui.painter().rect_filled(rect.shrink(6.0), CornerRadius::same(2), Color32::from_rgb(red, green, blue));
    focus_ring(ui, &button, rect, 5);
    let button = button.on_hover_text("How the mask is shown; the mask itself stays as it is");
    let popup = egui::Popup::menu(&button).close_behavior(egui::PopupCloseBehavior::CloseOnClickOutside);
    popup.show(|ui| {
        ui.set_min_width(190.0);
        ui.horizontal(|ui| {
            for (name, colour) in COLOURS {
                if swatch(ui, name, colour, overlay.colour == colour) {
                    commands.push(Command::Overlay(Overlay { colour, ..overlay }));
                }
            }
        });
        ui.horizontal(|ui| {
            ui.label(RichText::new("Opacity").size(13.0).color(theme::dim()));
            ui.spacing_mut().slider_width = 100.0;
            let mut opacity = f64::from(overlay.opacity);
            if slider(ui, &mut opacity, 0.05, 1.0, "Mask opacity").changed() {
                commands.push(Command::Overlay(Overlay { opacity: opacity as f32, ..overlay }));
            }
        });
        if pill(ui, overlay.hatch, "Hatched", "Slanted lines leave more of the picture to be seen") {
            commands.push(Command::Overlay(Overlay { hatch: !overlay.hatch, ..overlay }));
        }
    });
}

fn swatch(ui: &mut Ui, name: &str, [red, green, blue]: [u8; 3], chosen: bool) -> bool {
    let (rect, response) = ui.allocate_exact_size(vec2(22.0, 22.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, chosen, format!("Mask colour: {name}")));
    ui.painter().rect_filled(rect.shrink(2.0), CornerRadius::same(4), Color32::from_rgb(red, green, blue));
    if chosen {
        let stroke = Stroke::new(1.5, theme::text());
        ui.painter().rect_stroke(rect, CornerRadius::same(5), stroke, StrokeKind::Inside);
    }
    focus_ring(ui, &response, rect, 5);
    let clicked = response.clicked();
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(name);
    clicked
}
