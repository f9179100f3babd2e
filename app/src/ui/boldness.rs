//! Boldness on the canvas and in the options of its brush: blue where tokens are drawn calmly, red where boldly.

use andamento_model::boldness::{BOLD, CALM, factor_of, mean_factor};
use egui::{
    Align2, Color32, Context, DragValue, Mesh, Painter, Rect, RichText, Shape, Stroke, StrokeKind, Ui, pos2, vec2,
};

use super::screen::Screen;
use super::textures::{Budget, MaskTexture};
use super::theme;
use super::tokens::times;
use super::widgets::{pill, slider_on};
use crate::actions::with_keys;
use crate::command::{Command, Tool};
use crate::editor::Editor;

/// How strongly the calmest and the boldest cover the picture.
const COVER: f32 = 0.8;
/// Where the brush is not in hand, so much less,
const ASIDE: f32 = 0.7;
/// and over what a run makes or has made.
const OVER_RESULT: f32 = 0.4;
/// With the brush in hand the picture steps back behind a grey, so that blue and red stand out on any picture.
const VEIL: Color32 = Color32::from_rgba_premultiplied(0x15, 0x16, 0x18, 0x78);
/// From so many screen points per token on its factor is written.
const NUMBERED: f32 = 30.0;
/// So close to neutral, in natural logarithms, it is not worth a number.
const NEARLY: f32 = 0.04;
/// A gradient is drawn in so many parts.
const PARTS: usize = 24;

/// How the layer of boldness looks.
#[derive(Default)]
pub(super) struct BoldnessLooks {
    texture: MaskTexture,
}

impl BoldnessLooks {
    /// Uploads what changed. Returns the number of the layer that is on the card now, if there is one.
    pub(super) fn sync(&mut self, cost: (&Context, &mut Budget), editor: &Editor, screen: &Screen) -> Option<u64> {
        let painted = editor.painted_boldness().filter(|_| is_shown(editor))?;
        self.texture.sync(cost, painted, screen, editor.boldness_brush.touched, ink);
        Some(painted.0)
    }

    /// Draws the layer: with the boldness brush in hand, whose options say what the colours mean, and otherwise where it will
    /// be felt, with a legend.
    pub(super) fn show(&mut self, painter: &Painter, screen: &Screen, editor: &Editor) {
        if !is_shown(editor) {
            return;
        }
        let (in_hand, at_work) = (editor.brush.tool == Tool::Boldness, is_at_work(editor));
        if in_hand && at_work {
            painter.rect_filled(screen.rect(editor.document.picture.rect()), 0.0, VEIL);
        }
        if editor.painted_boldness().is_some() {
            let strength = match (in_hand, at_work) {
                (true, true) => 1.0,
                (true, false) => OVER_RESULT,
                (false, _) => ASIDE,
            };
            self.texture.paint(painter, screen, Color32::WHITE.gamma_multiply(strength));
            match in_hand {
                true if at_work => factors(painter, screen, editor),
                true => {}
                false => legend(painter, screen.viewport, editor),
            }
        }
    }
}

/// Whether what is painted is still to be felt: there is no run, nor the result of one, to be looked at.
fn is_at_work(editor: &Editor) -> bool {
    let at_rest = editor.run.is_none() && editor.timeline.head.is_none() && !editor.is_fulfilled();
    at_rest || editor.boldness_brush.is_painting()
}

/// Whether the layer is looked at.
fn is_shown(editor: &Editor) -> bool {
    let looked_at = editor.show.boldness && (editor.brush.tool == Tool::Boldness || is_at_work(editor));
    looked_at || editor.boldness_brush.is_painting()
}

/// From -1, calm, to 1, bold.
fn share(factor: f32) -> f32 {
    factor.ln() / BOLD.ln()
}

/// The colour of a level of grey: nothing where it is neutral.
fn ink(level: u8) -> Color32 {
    let share = share(factor_of(level));
    // What is close to neutral is seen as well.
    theme::boldness(share.signum()).gamma_multiply(COVER * share.abs().sqrt())
}

/// The factor of every token that will be made, where there is room for it.
fn factors(painter: &Painter, screen: &Screen, editor: &Editor) {
    let (Some(aim), Some((_, layer))) = (&editor.aim, editor.painted_boldness()) else { return };
    let (grid, canvas) = (aim.grid, editor.document.picture.rect());
    for pass in &aim.passes {
        let side = screen.zoom * pass.frame.rect.width as f32 / grid.cols.max(1) as f32;
        if side < NUMBERED || !screen.rect(pass.frame.rect).intersects(painter.clip_rect()) {
            continue;
        }
        for (row, col) in (0..grid.rows).flat_map(|row| (0..grid.cols).map(move |col| (row, col))) {
            let rect = pass.frame.site_rect(row, col, grid.rows, grid.cols);
            let at = screen.rect(rect.intersect(canvas));
            if !at.intersects(painter.clip_rect()) || !pass.mask.touches(rect) {
                continue;
            }
            let factor = mean_factor(layer, rect);
            if factor.ln().abs() > NEARLY {
                for (by, colour) in [(vec2(0.8, 0.8), Color32::from_black_alpha(200)), (vec2(0.0, 0.0), Color32::WHITE)]
                {
                    painter.text(at.center() + by, Align2::CENTER_CENTER, times(factor), theme::font(11.0), colour);
                }
            }
        }
    }
}

/// What the colours mean, above the options of the tool in hand; and why they mean nothing, where that is so.
fn legend(painter: &Painter, viewport: Rect, editor: &Editor) {
    let words = |text: String| painter.layout_no_wrap(text, theme::font(12.5), theme::text());
    let (calm, bold) = (words(format!("calm {}", times(CALM))), words(format!("bold {}", times(BOLD))));
    let note = editor.feels_no_boldness().map(|why| words(format!("no effect: {why}")));
    let (gap, rail) = (8.0, vec2(96.0, 8.0));
    let line = calm.size().x + bold.size().x + rail.x + 2.0 * gap;
    let height = calm.size().y;
    let size = match &note {
        Some(note) => vec2(line.max(note.size().x), 2.0 * height + 4.0),
        None => vec2(line, height),
    };
    let size = size + vec2(20.0, 10.0);
    let place = Rect::from_min_size(viewport.left_bottom() + vec2(12.0, -56.0 - size.y), size);
    painter.rect(place, theme::RADIUS, theme::panel(), Stroke::new(1.0, theme::edge()), StrokeKind::Inside);
    let at = place.min + vec2(10.0, 5.0);
    let across = at + vec2(calm.size().x + gap, (height - rail.y) / 2.0);
    painter.galley(at + vec2(calm.size().x + rail.x + 2.0 * gap, 0.0), bold, theme::text());
    painter.galley(at, calm, theme::text());
    gradient(painter, Rect::from_min_size(across, rail));
    if let Some(note) = note {
        painter.galley(at + vec2(0.0, height + 4.0), note, theme::text());
    }
}

/// All colours from calm to bold.
fn gradient(painter: &Painter, rail: Rect) {
    let mut mesh = Mesh::default();
    for part in 0..=PARTS {
        let along = part as f32 / PARTS as f32;
        let x = rail.min.x + rail.width() * along;
        let colour = theme::boldness(2.0 * along - 1.0);
        mesh.colored_vertex(pos2(x, rail.min.y), colour);
        mesh.colored_vertex(pos2(x, rail.max.y), colour);
        if let Some(before) = (2 * part as u32).checked_sub(2) {
            mesh.add_triangle(before, before + 1, before + 2);
            mesh.add_triangle(before + 1, before + 2, before + 3);
        }
    }
    painter.add(Shape::mesh(mesh));
}

/// What the brush paints, on a rail that is the legend, taking back, and forgetting all of it.
pub(super) fn options(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let brush = &editor.boldness_brush;
    let word = |ui: &mut Ui, text: &str| _ = ui.label(RichText::new(text).size(13.0).color(theme::dim()));
    word(ui, "Calm");
    ui.spacing_mut().slider_width = 150.0;
    let ends = (f64::from(CALM).ln(), f64::from(BOLD).ln());
    let mut exponent = f64::from(brush.factor).ln();
    let response =
        slider_on(ui, &mut exponent, ends, "Boldness of the brush", |painter, rail, _| gradient(painter, rail));
    let slid = response.changed();
    response.on_hover_text(
        "What the brush paints: a factor on the temperature at which a token is drawn, from calm to bold. 1× is neutral",
    );
    word(ui, "Bold");
    let mut factor = f64::from((brush.factor * 100.0).round() / 100.0);
    let drag = DragValue::new(&mut factor).range(CALM..=BOLD).speed(0.02).fixed_decimals(2).suffix("×");
    let typed = ui.add(drag.min_size(vec2(50.0, 22.0))).accessible_name("Boldness of the brush (factor)").changed();
    if typed {
        commands.push(Command::Boldness(factor as f32));
    } else if slid {
        commands.push(Command::Boldness(exponent.exp() as f32));
    }
    ui.add_space(6.0);
    let tip = with_keys(editor, "Takes back to neutral instead; right-drag does it as well", "swap-erase");
    if pill(ui, brush.erase, "Neutral", &tip) {
        commands.push(Command::EraseBoldness(!brush.erase));
    }
    let clear = egui::Button::new(RichText::new("Clear").size(13.0)).min_size(vec2(0.0, 24.0));
    let response = ui.add_enabled(!editor.document.boldness.is_neutral(), clear);
    let response = response.on_hover_text("Makes boldness neutral everywhere");
    if response.on_disabled_hover_text("No boldness was painted").clicked() {
        commands.push(Command::ClearBoldness);
    }
}
