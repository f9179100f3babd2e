//! What the pointer does on the canvas, from button to button: strokes, selections, moving the view, shaping the brush.

use andamento_model::picture::{Combine, Rect};
use egui::{
    Align2, Color32, CursorIcon, Event, Key, Modifiers, Painter, PointerButton, Pos2, Response, Stroke, TouchPhase, Ui,
    Vec2, vec2,
};

use super::overlay::{knot, marquee};
use super::screen::Screen;
use super::theme;
use super::widgets::{tag, white};
use crate::command::{Command, Selection, Tool};
use crate::editor::{Brush, Editor};

/// A drag shorter than this, in screen points, is a click.
const CLICK: f32 = 4.0;
/// A click so near to a polygon's first point closes it, in screen points.
const CLOSE: f32 = 9.0;
/// Points of a lasso are at least so far from each other, in screen points.
const APART: f32 = 1.5;
/// So many screen points upwards or downwards are the whole of hardness.
const HARDNESS: f32 = 200.0;

/// What the pointer is doing.
#[derive(Debug, Clone, PartialEq)]
enum Gesture {
    /// Drawing.
    Stroke(PointerButton),
    /// Moving the view; where the pointer was last.
    Pan { button: PointerButton, at: Pos2 },
    /// Alt and the right button: sideways the size, upwards the hardness of the brush. Where it began, and was last.
    Shape { from: Pos2, at: Pos2 },
    /// Drawing around something, in canvas points; where the button was pressed on the screen.
    Lasso { button: PointerButton, press: Pos2, points: Vec<(f32, f32)>, how: Combine },
    /// Drawing up a rectangle, between two canvas points.
    Rectangle { button: PointerButton, from: (f32, f32), to: (f32, f32), how: Combine },
}

/// Keys that are held while a button is pressed.
#[derive(Debug, Clone, Copy)]
struct Held {
    space: bool,
    modifiers: Modifiers,
}

/// What the pointer is doing, and the polygon that its clicks have begun.
#[derive(Default)]
pub(super) struct Gestures {
    gesture: Option<Gesture>,
    polygon: Option<(Vec<(f32, f32)>, Combine)>,
}

impl Gestures {
    /// Whether nothing is going on.
    pub(super) fn are_idle(&self) -> bool {
        self.gesture.is_none()
    }

    /// Keys that belong to what is being drawn: Enter closes a polygon, Backspace takes back its last point, Escape leaves
    /// it. They mean nothing else then.
    pub(super) fn take_keys(&mut self, ctx: &egui::Context, editor: &mut Editor) {
        let pressed = |key: Key| ctx.input_mut(|input| input.consume_key(Modifiers::NONE, key));
        let selecting = matches!(self.gesture, Some(Gesture::Lasso { .. } | Gesture::Rectangle { .. }));
        if (self.polygon.is_some() || selecting) && pressed(Key::Escape) {
            self.polygon = None;
            self.gesture = None;
        }
        if editor.brush.tool != Tool::Lasso {
            self.polygon = None;
        }
        if self.polygon.is_some() && pressed(Key::Enter) {
            self.close(editor);
        }
        if let Some((points, _)) = &mut self.polygon
            && pressed(Key::Backspace)
        {
            points.pop();
            if points.is_empty() {
                self.polygon = None;
            }
        }
    }

    /// Takes what happened in its own sequence: a slow frame can hold a whole stroke, and many moves of the pointer.
    pub(super) fn take(&mut self, ui: &Ui, response: &Response, screen: &Screen, editor: &mut Editor) {
        let buttons = [PointerButton::Primary, PointerButton::Secondary, PointerButton::Middle];
        let clicked = buttons.into_iter().any(|button| response.clicked_by(button));
        let mine = response.is_pointer_button_down_on() || clicked || response.drag_stopped();
        let space = ui.input(|input| input.key_down(Key::Space));
        for event in ui.input(|input| input.events.clone()) {
            match event {
                // A pen tells how hard it presses just before it tells where it is.
                Event::Touch { phase: TouchPhase::Start | TouchPhase::Move, force, .. } => {
                    editor.apply(Command::Pressure(force.unwrap_or(1.0)));
                }
                Event::PointerButton { pos, button, pressed: true, modifiers } if mine && self.gesture.is_none() => {
                    self.begin(pos, button, Held { space, modifiers }, screen, editor);
                }
                Event::PointerButton { pos, button, pressed: false, .. } if self.holds(button) => {
                    self.go_on(pos, screen, editor);
                    self.end(screen, editor);
                }
                Event::Touch { phase: TouchPhase::End | TouchPhase::Cancel, .. } => {
                    editor.apply(Command::Pressure(1.0));
                }
                Event::PointerMoved(at) => self.go_on(at, screen, editor),
                _ => {}
            }
        }
        if !ui.input(|input| buttons.into_iter().any(|button| self.holds(button) && input.pointer.button_down(button)))
        {
            self.end(screen, editor);
        }
        if response.double_clicked_by(PointerButton::Primary) {
            self.close(editor);
        }
    }

    fn holds(&self, held: PointerButton) -> bool {
        match self.gesture {
            Some(
                Gesture::Stroke(button)
                | Gesture::Pan { button, .. }
                | Gesture::Lasso { button, .. }
                | Gesture::Rectangle { button, .. },
            ) => button == held,
            Some(Gesture::Shape { .. }) => held == PointerButton::Secondary,
            None => false,
        }
    }

    fn begin(&mut self, at: Pos2, button: PointerButton, held: Held, screen: &Screen, editor: &mut Editor) {
        let tool = editor.brush.tool;
        let drawn = matches!(button, PointerButton::Primary | PointerButton::Secondary);
        let paints = matches!(tool, Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness);
        let (point, how) = (screen.canvas(at), how(editor.combine, button, held.modifiers));
        self.gesture = match (button, tool) {
            (PointerButton::Middle, _) => Some(Gesture::Pan { button, at }),
            (PointerButton::Primary, Tool::Hand | Tool::Extend) => Some(Gesture::Pan { button, at }),
            (PointerButton::Primary, _) if held.space => Some(Gesture::Pan { button, at }),
            (PointerButton::Secondary, _) if held.modifiers.alt && paints => Some(Gesture::Shape { from: at, at }),
            (_, Tool::Hand | Tool::Extend) => None,
            _ if editor.show.original || !drawn => None,
            (_, Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness) => {
                let erase = button == PointerButton::Secondary || editor.erases();
                editor.apply(Command::BeginStroke { at: point, erase });
                Some(Gesture::Stroke(button))
            }
            (_, Tool::Lasso) => Some(Gesture::Lasso { button, press: at, points: vec![point], how }),
            (_, Tool::Rectangle) => Some(Gesture::Rectangle { button, from: point, to: point, how }),
            (PointerButton::Primary, Tool::Picker) => {
                editor.apply(Command::PickToken(point));
                None
            }
            (_, Tool::Picker) => None,
            (_, Tool::Wand) => {
                editor.apply(Command::Select(Selection::Similar(point), how));
                None
            }
        };
    }

    fn go_on(&mut self, at: Pos2, screen: &Screen, editor: &mut Editor) {
        match &mut self.gesture {
            Some(Gesture::Stroke(_)) => editor.apply(Command::ExtendStroke(screen.canvas(at))),
            Some(Gesture::Pan { at: last, .. }) => {
                let size = (editor.document.picture.width(), editor.document.picture.height());
                let now = Screen::new(editor.view, screen.viewport, size.0, size.1);
                editor.apply(Command::Look(now.moved(at - *last)));
                *last = at;
            }
            Some(Gesture::Shape { at: last, .. }) => {
                let moved = at - *last;
                let Brush { size, hardness, .. } = editor.brush;
                editor.apply(Command::BrushSize(size + 2.0 * moved.x / screen.zoom));
                editor.apply(Command::BrushHardness(hardness - moved.y / HARDNESS));
                *last = at;
            }
            Some(Gesture::Lasso { points, .. }) => {
                let apart = points.last().is_none_or(|last| screen.point(last.0, last.1).distance(at) >= APART);
                if apart {
                    points.push(screen.canvas(at));
                }
            }
            Some(Gesture::Rectangle { to, .. }) => *to = screen.canvas(at),
            None => {}
        }
    }

    fn end(&mut self, screen: &Screen, editor: &mut Editor) {
        match self.gesture.take() {
            Some(Gesture::Stroke(_)) => editor.apply(Command::EndStroke),
            Some(Gesture::Rectangle { from, to, how, .. }) => {
                let rect = rectangle(from, to);
                if !rect.is_empty() && screen.rect(rect).size().max_elem() >= CLICK {
                    editor.apply(Command::Select(Selection::Rectangle(rect), how));
                }
            }
            Some(Gesture::Lasso { press, points, how, .. }) => self.lasso(press, points, how, screen, editor),
            Some(Gesture::Pan { .. } | Gesture::Shape { .. }) | None => {}
        }
    }

    /// A lasso's button was let go: what was drawn is closed, or goes on a polygon; a click is a point of one.
    fn lasso(&mut self, press: Pos2, points: Vec<(f32, f32)>, how: Combine, screen: &Screen, editor: &mut Editor) {
        let drawn = points.iter().any(|(x, y)| screen.point(*x, *y).distance(press) >= CLICK);
        match &mut self.polygon {
            None if drawn => editor.apply(Command::Select(Selection::Polygon(points), how)),
            None => self.polygon = Some((points.into_iter().take(1).collect(), how)),
            Some((polygon, _)) if drawn => polygon.extend(points),
            Some((polygon, _)) => {
                let first = polygon.first().map(|(x, y)| screen.point(*x, *y));
                if polygon.len() > 2 && first.is_some_and(|first| first.distance(press) < CLOSE) {
                    return self.close(editor);
                }
                polygon.extend(points.first());
            }
        }
    }

    /// Sets a corner of a polygon, which the first one begins.
    pub(super) fn corner(&mut self, at: (f32, f32), how: Combine) {
        self.polygon.get_or_insert_with(|| (Vec::new(), how)).0.push(at);
    }

    /// The corner of the polygon that was set last.
    pub(super) fn polygon_end(&self) -> Option<(f32, f32)> {
        self.polygon.as_ref().and_then(|(points, _)| points.last().copied())
    }

    /// Closes the polygon.
    fn close(&mut self, editor: &mut Editor) {
        if let Some((points, how)) = self.polygon.take().filter(|(points, _)| points.len() > 2) {
            editor.apply(Command::Select(Selection::Polygon(points), how));
        }
    }

    /// Draws what is going on, and the tool in hand at the pointer.
    pub(super) fn paint(&self, ui: &Ui, painter: &Painter, screen: &Screen, editor: &Editor, at: Option<Pos2>) {
        let on_screen = |points: &[(f32, f32)]| points.iter().map(|(x, y)| screen.point(*x, *y)).collect::<Vec<_>>();
        match &self.gesture {
            Some(Gesture::Lasso { points, .. }) => marquee(painter, &on_screen(points)),
            Some(Gesture::Rectangle { from, to, .. }) => {
                let rect = rectangle(*from, *to);
                let (area, size) = (screen.rect(rect), format!("{} × {}", rect.width, rect.height));
                let corners = [area.left_top(), area.right_top(), area.right_bottom(), area.left_bottom()];
                marquee(painter, &[corners[0], corners[1], corners[2], corners[3], corners[0]]);
                let corner = screen.point(to.0, to.1) + vec2(14.0, 14.0);
                tag(painter, corner, Align2::LEFT_TOP, &size, screen.viewport);
            }
            _ => {}
        }
        if let Some((points, _)) = &self.polygon {
            let mut line = on_screen(points);
            let first = line.first().copied();
            line.extend(at.filter(|_| self.gesture.is_none()));
            marquee(painter, &line);
            if let Some(first) = first {
                let near = at.is_some_and(|at| points.len() > 2 && first.distance(at) < CLOSE);
                knot(painter, first, if near { theme::accent() } else { Color32::WHITE });
            }
        }
        if let Some(at) = at {
            self.cursor(ui, painter, screen, editor, at);
        }
    }

    fn cursor(&self, ui: &Ui, painter: &Painter, screen: &Screen, editor: &Editor, at: Pos2) {
        let (space, modifiers) = ui.input(|input| (input.key_down(Key::Space), input.modifiers));
        let panning = matches!(self.gesture, Some(Gesture::Pan { .. }));
        let icon = match editor.brush.tool {
            _ if panning => CursorIcon::Grabbing,
            Tool::Hand | Tool::Extend => CursorIcon::Grab,
            _ if space => CursorIcon::Grab,
            Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness => {
                // While it is being shaped the brush stays where that began.
                let at = if let Some(Gesture::Shape { from, .. }) = &self.gesture { *from } else { at };
                let hardness = if editor.brush.tool == Tool::Order { 1.0 } else { editor.brush.hardness };
                let brush = Brush { hardness, ..editor.brush };
                draw_brush(painter, screen, brush, at, matches!(self.gesture, Some(Gesture::Shape { .. })));
                CursorIcon::None
            }
            Tool::Picker => CursorIcon::Crosshair,
            Tool::Lasso | Tool::Rectangle | Tool::Wand => {
                let now = match &self.gesture {
                    Some(Gesture::Lasso { how, .. } | Gesture::Rectangle { how, .. }) => *how,
                    _ => how(editor.combine, PointerButton::Primary, modifiers),
                };
                let sign = match now {
                    Combine::Replace => "",
                    Combine::Add => "+",
                    Combine::Subtract => "−",
                    Combine::Intersect => "×",
                };
                for (by, colour) in [(1.0, Color32::from_black_alpha(200)), (0.0, Color32::WHITE)] {
                    let place = at + vec2(11.0 + by, -6.0 + by);
                    painter.text(place, Align2::LEFT_BOTTOM, sign, theme::font(16.0), colour);
                }
                CursorIcon::Crosshair
            }
        };
        ui.ctx().set_cursor_icon(icon);
    }
}

/// How a selection changes the mask: the right button takes away, keys say otherwise than the buttons.
fn how(chosen: Combine, button: PointerButton, modifiers: Modifiers) -> Combine {
    match (button, modifiers.shift, modifiers.alt) {
        (PointerButton::Secondary, ..) => Combine::Subtract,
        (_, true, true) => Combine::Intersect,
        (_, true, false) => Combine::Add,
        (_, false, true) => Combine::Subtract,
        (_, false, false) => chosen,
    }
}

/// Whole pixels between two canvas points.
pub(super) fn rectangle(from: (f32, f32), to: (f32, f32)) -> Rect {
    let span = |from: f32, to: f32| {
        let (low, high) = (from.min(to).round() as i64, from.max(to).round() as i64);
        (low, (high - low) as u32)
    };
    let ((x, width), (y, height)) = (span(from.0, to.0), span(from.1, to.1));
    Rect::new(x, y, width, height)
}

/// The brush as a ring; while it is being shaped with its hardness, and in words.
pub(super) fn draw_brush(painter: &Painter, screen: &Screen, brush: Brush, at: Pos2, shaping: bool) {
    let radius = (brush.size / 2.0 * screen.zoom).max(1.5);
    if shaping {
        // Rings of the same strength on top of each other fall off as the brush does.
        const RINGS: u8 = 12;
        for ring in 0..RINGS {
            let share = brush.hardness + (1.0 - brush.hardness) * f32::from(ring + 1) / f32::from(RINGS);
            painter.circle_filled(at, radius * share, theme::accent().gamma_multiply(0.05));
        }
        let text = format!("{:.0} px · {:.0} % hard", brush.size, brush.hardness * 100.0);
        tag(painter, at + vec2(0.0, radius + 12.0), Align2::CENTER_TOP, &text, screen.viewport);
    }
    painter.circle_stroke(at, radius + 1.0, Stroke::new(1.0, Color32::from_black_alpha(150)));
    painter.circle_stroke(at, radius, Stroke::new(1.2, white(230)));
    if brush.hardness < 0.98 && radius > 8.0 {
        painter.circle_stroke(at, radius * brush.hardness, Stroke::new(1.0, white(70)));
    }
    let arm = 3.0;
    painter.line_segment([at - Vec2::X * arm, at + Vec2::X * arm], Stroke::new(1.0, white(200)));
    if brush.tool != Tool::Eraser {
        painter.line_segment([at - Vec2::Y * arm, at + Vec2::Y * arm], Stroke::new(1.0, white(200)));
    }
}
