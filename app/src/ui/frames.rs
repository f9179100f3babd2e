//! The squares at which the model looks: drawn on the canvas, with their scale, moved and sized by dragging.

use andamento_model::frame::{Extent, Frame};
use andamento_model::picture::Rect;
use egui::{
    Align2, Color32, CursorIcon, EventFilter, Key, Painter, Pos2, Response, Role, Sense, Shape, Stroke, StrokeKind, Ui,
    Vec2, WidgetInfo, vec2,
};

use super::cursor::direction;
use super::screen::Screen;
use super::theme;
use super::widgets::{focus_ring, tag};
use crate::command::{Command, Tool};
use crate::editor::Editor;

/// The least side of a frame that is drawn up, in canvas pixels.
const LEAST: u32 = 16;
/// How long the arms of a corner are, in screen points, and around it what can be grasped.
const ARM: f32 = 16.0;
const GRASP: f32 = 11.0;

/// The corners, by name and by where they lie from the middle.
const CORNERS: [(&str, Vec2); 4] = [
    ("Frame, top left corner", vec2(-1.0, -1.0)),
    ("Frame, top right corner", vec2(1.0, -1.0)),
    ("Frame, bottom right corner", vec2(1.0, 1.0)),
    ("Frame, bottom left corner", vec2(-1.0, 1.0)),
];

/// The frames on the canvas.
#[derive(Default)]
pub(super) struct Frames {
    /// The frame as it was when a drag of it began.
    dragged: Option<Rect>,
    /// Where the label of the first one was drawn.
    pub(super) label: Option<egui::Rect>,
}

impl Frames {
    /// Draws the frames of what would be made, or is being made, and lets them be moved. Returns whether the pointer is on a
    /// handle.
    pub(super) fn show(
        &mut self,
        ui: &Ui,
        painter: &Painter,
        screen: &Screen,
        editor: &Editor,
        commands: &mut Vec<Command>,
    ) -> bool {
        self.label = None;
        let canvas = editor.document.picture.rect();
        if let Some(track) = editor.track().filter(|_| editor.looks_back()) {
            let frame = track.leg(editor.head()).map(|leg| leg.frame);
            if let Some(frame) = frame.filter(|frame| frame.rect != canvas) {
                draw(painter, screen, frame.rect, true);
                self.label = Some(label(painter, screen, frame, &frame.describe()));
            }
            return false;
        }
        let Some(aim) = editor.aim.as_ref().filter(|_| !editor.is_fulfilled() && !editor.show.original) else {
            return false;
        };
        let frames: Vec<Frame> = aim.passes.iter().map(|pass| pass.frame).collect();
        sequence(painter, screen, &frames, canvas);
        let text = match frames.len() {
            1 => aim.frame.describe(),
            count => format!("{} · {count} passes", aim.frame.describe()),
        };
        let place = label(painter, screen, aim.frame, &text);
        self.label = Some(place);
        let fixed = editor.settings.extent == Extent::Canvas || editor.run.is_some();
        if fixed {
            return false;
        }
        let mut taken = self.handle_label(ui, screen, place, aim.frame, commands);
        // On a picture that is seen whole the corners would be in the way of the brush.
        let roams = aim.frame.rect != canvas;
        if roams || matches!(editor.brush.tool, Tool::Hand | Tool::Extend) {
            for (name, corner) in CORNERS {
                taken |= self.corner(ui, painter, screen, aim.frame, (name, corner), commands);
            }
        }
        taken
    }

    /// The label moves the frame; from the keyboard too.
    fn handle_label(
        &mut self,
        ui: &Ui,
        screen: &Screen,
        place: egui::Rect,
        frame: Frame,
        commands: &mut Vec<Command>,
    ) -> bool {
        let response = ui.interact(place, ui.scope_id().with("frame"), Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, format!("Frame: {}", frame.describe())));
        focus_ring(ui, &response, place, 6);
        let moved =
            |by: Vec2, rect: Rect| Rect { x: rect.x + by.x.round() as i64, y: rect.y + by.y.round() as i64, ..rect };
        if let Some((from, by)) = self.drag(ui, &response, screen, frame.rect) {
            commands.push(Command::PlaceFrame(moved(by, from)));
        }
        if response.double_clicked() {
            commands.push(Command::FrameAutomatic);
        }
        if let Some(by) = nudged(ui, &response, frame) {
            commands.push(Command::PlaceFrame(moved(by, frame.rect)));
        }
        let hovered = response.hovered() || response.dragged();
        let tip = "The square that the model sees, and its scale.\nDrag to move it, its corners to size it; double-click to \
                   have it placed by itself.\nArrow keys move it by a token";
        response.on_hover_and_drag_cursor(CursorIcon::Move).on_hover_text(tip);
        hovered
    }

    /// A corner sizes the frame; the opposite one stays.
    fn corner(
        &mut self,
        ui: &Ui,
        painter: &Painter,
        screen: &Screen,
        frame: Frame,
        (name, corner): (&str, Vec2),
        commands: &mut Vec<Command>,
    ) -> bool {
        let area = screen.rect(frame.rect);
        let at = area.center() + corner * area.size() / 2.0;
        // What can be grasped lies within: outside there may be a handle of the canvas.
        let grasp = egui::Rect::from_center_size(at - corner * GRASP, Vec2::splat(2.0 * GRASP));
        let response = ui.interact(grasp.intersect(screen.viewport), ui.scope_id().with(name), Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, name));
        let hot = response.hovered() || response.dragged() || response.has_focus();
        bracket(painter, at, corner, if hot { theme::accent_hovered() } else { theme::GLOW });
        if let Some((from, by)) = self.drag(ui, &response, screen, frame.rect) {
            commands.push(Command::PlaceFrame(sized(from, corner, by)));
        }
        if let Some(by) = nudged(ui, &response, frame) {
            commands.push(Command::PlaceFrame(sized(
                frame.rect,
                corner,
                Vec2::splat((by * corner).x + (by * corner).y) * corner,
            )));
        }
        focus_ring(ui, &response, grasp, 4);
        let cursor = if corner.x * corner.y > 0.0 { CursorIcon::ResizeNwSe } else { CursorIcon::ResizeNeSw };
        let hovered = response.hovered() || response.dragged();
        response.on_hover_and_drag_cursor(cursor);
        hovered
    }

    /// The frame as it was when the drag of a handle began, and how far the pointer has gone, in canvas pixels.
    fn drag(&mut self, ui: &Ui, response: &Response, screen: &Screen, frame: Rect) -> Option<(Rect, Vec2)> {
        if response.drag_started() {
            self.dragged = Some(frame);
        }
        let from = self.dragged.filter(|_| response.dragged())?;
        let start = ui.input(|input| input.pointer.press_origin())?;
        Some((from, (response.interact_pointer_pos()? - start) / screen.zoom))
    }
}

/// How far arrow keys push a handle that has the keyboard, in canvas pixels: by sixteenths of the frame's side, as many as
/// there commonly are tokens.
fn nudged(ui: &Ui, response: &Response, frame: Frame) -> Option<Vec2> {
    if !response.has_focus() {
        return None;
    }
    let filter = EventFilter { horizontal_arrows: true, vertical_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let keys = [Key::ArrowLeft, Key::ArrowRight, Key::ArrowUp, Key::ArrowDown];
    let by: Vec2 = ui.input(|input| {
        keys.iter().map(|key| direction(*key) * input.num_presses(*key) as f32).fold(Vec2::ZERO, |sum, by| sum + by)
    });
    (by != Vec2::ZERO).then(|| by * frame.rect.width as f32 / 16.0)
}

/// A square with one corner moved.
fn sized(from: Rect, corner: Vec2, by: Vec2) -> Rect {
    // As far as the pointer has gone along the diagonal.
    let grown = (by * corner).x.max((by * corner).y);
    let side = ((from.width as f32 + grown).round() as i64).max(i64::from(LEAST));
    let shift = i64::from(from.width) - side;
    let moved = |at: i64, corner: f32| if corner < 0.0 { at + shift } else { at };
    Rect::new(moved(from.x, corner.x), moved(from.y, corner.y), side as u32, side as u32)
}

/// Frames one after the other, with their numbers. A single one that is the whole canvas needs no line.
pub(super) fn sequence(painter: &Painter, screen: &Screen, frames: &[Frame], canvas: Rect) {
    for (index, frame) in frames.iter().enumerate().rev() {
        if frame.rect != canvas {
            draw(painter, screen, frame.rect, index == 0);
        }
        if frames.len() > 1 {
            let at = screen.rect(frame.rect).left_top() + vec2(6.0, 6.0);
            let number = (index + 1).to_string();
            if painter.clip_rect().contains(at) {
                tag(painter, at, Align2::LEFT_TOP, &number, screen.viewport);
            }
        }
    }
}

/// A dashed square.
fn draw(painter: &Painter, screen: &Screen, rect: Rect, first: bool) {
    let rect = screen.rect(rect);
    if !rect.intersects(painter.clip_rect()) {
        return;
    }
    painter.rect_stroke(rect, 0.0, Stroke::new(1.0, Color32::from_black_alpha(120)), StrokeKind::Outside);
    let corners = [rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()];
    let colour = if first { theme::GLOW } else { theme::GLOW.gamma_multiply(0.55) };
    painter.extend(Shape::dashed_line(&corners, Stroke::new(1.0, colour), 8.0, 5.0));
}

/// The scale, above the frame on the right.
fn label(painter: &Painter, screen: &Screen, frame: Frame, text: &str) -> egui::Rect {
    let at = screen.rect(frame.rect).right_top() - vec2(0.0, 14.0);
    tag(painter, at, Align2::RIGHT_BOTTOM, text, screen.viewport)
}

fn bracket(painter: &Painter, at: Pos2, corner: Vec2, colour: Color32) {
    let at = at - corner * 1.5;
    let line = vec![at - vec2(corner.x * ARM, 0.0), at, at - vec2(0.0, corner.y * ARM)];
    painter.add(Shape::line(line.clone(), Stroke::new(5.0, Color32::from_black_alpha(110))));
    painter.add(Shape::line(line, Stroke::new(2.5, colour)));
}
