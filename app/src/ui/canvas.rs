//! The canvas: the picture, the mask, the run as it goes, and what the pointer does on them.

use andamento_model::picture::Rect;
use egui::{
    Align2, Color32, CursorIcon, Event, EventFilter, Key, Painter, PointerButton, Pos2, Response, Role, Sense, Shape,
    Stroke, StrokeKind, Ui, Vec2, WidgetInfo, vec2,
};

use super::handles::{self, Handles};
use super::outline::outline;
use super::screen::Screen;
use super::textures::{MaskTexture, PictureTexture, PreviewTexture};
use super::widgets::{tag, white};
use super::{theme, tokens};
use crate::command::{Command, Tool};
use crate::editor::{Brush, Editor, Engine, Phase, cause};

/// How fast the wheel zooms.
const WHEEL: f32 = 0.0025;
/// After the pointer has rested so long on a token, in seconds, the token is explained.
const REST: f32 = 0.35;

/// What the pointer is doing.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Gesture {
    /// Drawing.
    Stroke(PointerButton),
    /// Moving the view; where the pointer was last.
    Pan { button: PointerButton, at: Pos2 },
    /// Alt and the right button: sideways the size, upwards the hardness of the brush.
    Shape { at: Pos2 },
}

/// Keys that are held while a button is pressed.
#[derive(Debug, Clone, Copy)]
struct Held {
    space: bool,
    alt: bool,
}

/// What the canvas keeps between frames.
#[derive(Default)]
pub(super) struct Canvas {
    gesture: Option<Gesture>,
    handles: Handles,
    picture: PictureTexture,
    before: PictureTexture,
    original: PictureTexture,
    mask: MaskTexture,
    preview: PreviewTexture,
    outline: (u64, Vec<Vec<Pos2>>),
    id: Option<egui::Id>,
}

impl Canvas {
    /// Shows the canvas. Returns where it lies.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &mut Editor, commands: &mut Vec<Command>) -> Screen {
        let (viewport, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, "Canvas"));
        let size = (editor.document.picture.width(), editor.document.picture.height());
        let mut screen = Screen::new(editor.view, viewport, size.0, size.1);
        self.keep_focus(ui, &response);
        if let Some(view) = self.look(ui, &response, &screen) {
            editor.apply(Command::Look(view));
            screen = Screen::new(editor.view, viewport, size.0, size.1);
        }
        // A stroke acts at once, so that its ink is in this very frame.
        self.draw_or_pan(ui, &response, &screen, editor);
        let screen = Screen::new(editor.view, viewport, size.0, size.1);
        self.upload(ui, editor, &screen);
        let painter = ui.painter_at(viewport);
        self.paint(&painter, &screen, editor);
        let on_handle = editor.run.is_none() && self.handles.show(ui, &painter, &screen, editor, commands);
        status(&painter, &screen, editor);
        if ui.input(|input| !input.raw.hovered_files.is_empty()) {
            painter.rect_filled(viewport, 0.0, Color32::from_black_alpha(120));
            tag(&painter, viewport.center(), Align2::CENTER_CENTER, "drop the picture to open it", viewport);
        }
        if let Some(at) = response.hover_pos().filter(|_| !on_handle) {
            self.pointer(ui, &painter, &screen, editor, at);
        }
        screen
    }

    /// Whether the keyboard talks to the canvas.
    pub(super) fn has_focus(&self, ctx: &egui::Context) -> bool {
        self.id.is_some_and(|id| ctx.memory(|memory| memory.has_focus(id)))
    }

    /// The canvas has the keyboard from the start, and keeps Tab to show the original.
    fn keep_focus(&mut self, ui: &Ui, response: &Response) {
        let first = self.id.replace(response.id).is_none() && ui.memory(|memory| memory.focused().is_none());
        let pressed = response.is_pointer_button_down_on() && !response.has_focus();
        let handed_over = ui.input(|input| input.key_pressed(Key::F6));
        if first || pressed || (handed_over && !response.has_focus()) {
            response.request_focus();
        } else if handed_over {
            response.surrender_focus();
        }
        let filter = EventFilter { tab: true, horizontal_arrows: true, vertical_arrows: true, escape: true };
        ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    }

    /// Zoom by wheel or pinch.
    fn look(&self, ui: &Ui, response: &Response, screen: &Screen) -> Option<crate::command::View> {
        let at = response.hover_pos().filter(|_| response.contains_pointer())?;
        let (scroll, pinch) = ui.input(|input| (input.smooth_scroll_delta().y, input.zoom_delta()));
        let factor = pinch * (scroll * WHEEL).exp();
        ((factor - 1.0).abs() > 1e-4).then(|| screen.zoomed(factor, at))
    }

    /// A slow frame can hold a whole stroke: what happened is taken in its own sequence.
    fn draw_or_pan(&mut self, ui: &Ui, response: &Response, screen: &Screen, editor: &mut Editor) {
        let buttons = [PointerButton::Primary, PointerButton::Secondary, PointerButton::Middle];
        let clicked = buttons.into_iter().any(|button| response.clicked_by(button));
        let mine = response.is_pointer_button_down_on() || clicked || response.drag_stopped();
        let held = ui.input(|input| Held { space: input.key_down(Key::Space), alt: input.modifiers.alt });
        for event in ui.input(|input| input.events.clone()) {
            match event {
                Event::PointerButton { pos, button, pressed: true, .. } if mine && self.gesture.is_none() => {
                    self.begin(pos, button, held, screen, editor);
                }
                Event::PointerButton { pos, button, pressed: false, .. } if self.holds(button) => {
                    self.go_on(pos, screen, editor);
                    self.end(editor);
                }
                Event::PointerMoved(at) => self.go_on(at, screen, editor),
                _ => {}
            }
        }
        if !ui.input(|input| buttons.into_iter().any(|button| self.holds(button) && input.pointer.button_down(button)))
        {
            self.end(editor);
        }
    }

    fn holds(&self, held: PointerButton) -> bool {
        match self.gesture {
            Some(Gesture::Stroke(button) | Gesture::Pan { button, .. }) => button == held,
            Some(Gesture::Shape { .. }) => held == PointerButton::Secondary,
            None => false,
        }
    }

    fn begin(&mut self, at: Pos2, button: PointerButton, held: Held, screen: &Screen, editor: &mut Editor) {
        let tool = editor.brush.tool;
        let pan = Some(Gesture::Pan { button, at });
        self.gesture = match button {
            PointerButton::Middle => pan,
            PointerButton::Primary if held.space || matches!(tool, Tool::Hand | Tool::Extend) => pan,
            PointerButton::Secondary if held.alt => Some(Gesture::Shape { at }),
            PointerButton::Secondary if matches!(tool, Tool::Hand | Tool::Extend) => None,
            PointerButton::Primary | PointerButton::Secondary if editor.show.original => None,
            PointerButton::Primary | PointerButton::Secondary => {
                let erase = button == PointerButton::Secondary || tool == Tool::Eraser;
                editor.apply(Command::BeginStroke { at: screen.canvas(at), erase });
                Some(Gesture::Stroke(button))
            }
            _ => None,
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
            Some(Gesture::Shape { at: last }) => {
                let moved = at - *last;
                let Brush { size, hardness, .. } = editor.brush;
                editor.apply(Command::BrushSize(size + moved.x / screen.zoom));
                editor.apply(Command::BrushHardness(hardness - moved.y / 200.0));
                *last = at;
            }
            None => {}
        }
    }

    fn end(&mut self, editor: &mut Editor) {
        if let Some(Gesture::Stroke(_)) = self.gesture.take() {
            editor.apply(Command::EndStroke);
        }
    }

    /// Uploads what changed.
    fn upload(&mut self, ui: &Ui, editor: &mut Editor, screen: &Screen) {
        let ctx = ui.ctx();
        let document = &editor.document;
        let nothing = (0, Rect::default());
        let changed = document.track.as_ref().map_or(nothing, |track| (track.before, track.frame.rect));
        self.picture.sync(ctx, document.picture_id, &document.picture, screen.zoom, changed);
        if let Some(track) = editor.track().filter(|track| track.before != document.picture_id) {
            self.before.sync(ctx, track.before, &track.request.picture, screen.zoom, nothing);
        }
        if editor.show.original && document.original_id != document.picture_id {
            self.original.sync(ctx, document.original_id, &document.original, screen.zoom, nothing);
        }
        if let Some(preview) = &editor.preview {
            self.preview.sync(ctx, preview.id, &preview.picture);
        }
        self.mask.sync(ctx, document.mask_id, &document.mask, editor.touched);
        if self.outline.0 != document.mask_id {
            self.outline = (document.mask_id, outline(&document.mask));
        }
        editor.touched = (editor.document.mask_id, Rect::default());
    }

    fn paint(&self, painter: &Painter, screen: &Screen, editor: &Editor) {
        let document = &editor.document;
        let canvas = document.picture.rect();
        let area = screen.rect(canvas);
        painter.rect_stroke(area, 0.0, Stroke::new(1.0, theme::LINE), StrokeKind::Outside);
        if document.picture.image().color().has_alpha() || !editor.show.image {
            handles::checkers(painter, area);
        }
        if editor.show.original {
            self.paint_original(painter, screen, editor);
            return;
        }
        let (track, head) = (editor.track(), editor.head());
        let rewound = editor.timeline.head.is_some();
        if editor.show.image {
            match track.filter(|_| editor.run.is_some() || rewound) {
                Some(track) => {
                    let before = if track.before == document.picture_id { &self.picture } else { &self.before };
                    before.paint(painter, screen, canvas, Color32::WHITE);
                    self.paint_run(painter, screen, editor, head, rewound);
                }
                None => self.picture.paint(painter, screen, canvas, Color32::WHITE),
            }
        }
        self.paint_emptiness(painter, screen, editor);
        if let Some(heat) = editor.show.heat
            && let Some(track) = track
        {
            tokens::show_heat(painter, screen, editor, track, head, heat);
        }
        let at_rest = editor.run.is_none() && !rewound;
        if editor.show.mask {
            if (at_rest && !editor.is_fulfilled()) || editor.is_stroking() {
                self.mask.paint(painter, screen, theme::ACCENT.gamma_multiply(0.26));
            }
            self.paint_outline(painter, screen);
        }
        if editor.show.tokens {
            match track.filter(|_| !at_rest) {
                Some(track) => tokens::show(painter, screen, editor, track, head),
                None if !editor.is_fulfilled() => tokens::show_aim(painter, screen, editor),
                None => {}
            }
        }
        self.paint_frame(painter, screen, editor, area);
    }

    fn paint_original(&self, painter: &Painter, screen: &Screen, editor: &Editor) {
        let document = &editor.document;
        let original = if document.original_id == document.picture_id { &self.picture } else { &self.original };
        let at = document.original_at;
        let shifted = Screen { origin: screen.point(at.x as f32, at.y as f32), ..*screen };
        original.paint(painter, &shifted, document.original.rect(), Color32::WHITE);
        let corner = screen.rect(at).left_top() + vec2(10.0, 10.0);
        tag(painter, corner, Align2::LEFT_TOP, "as it was opened", screen.viewport);
    }

    /// The tokens of a run, decoded as far as is known: a full decode of this step where there is one, otherwise the
    /// parts of the latest decode, or of the result, where its tokens lie.
    fn paint_run(&self, painter: &Painter, screen: &Screen, editor: &Editor, head: usize, rewound: bool) {
        let Some(track) = editor.track() else { return };
        let preview = editor.preview.as_ref().filter(|preview| preview.run == track.number);
        let exact = preview.is_some_and(|preview| preview.steps == head || (!rewound && editor.run.is_some()));
        if exact {
            self.preview.paint(painter, screen, track.frame.rect, track.frame.rect);
            return;
        }
        let decoded = preview.map_or(0, |preview| preview.steps);
        for (index, step) in track.steps.iter().take(head).enumerate() {
            for made in &step.made {
                let rect = track.rect(made.site);
                if editor.run.is_none() {
                    self.picture.paint(painter, screen, rect, Color32::WHITE);
                } else if index < decoded {
                    self.preview.paint(painter, screen, track.frame.rect, rect);
                }
            }
        }
    }

    /// Chequers where a margin was added and nothing was made yet.
    fn paint_emptiness(&self, painter: &Painter, screen: &Screen, editor: &Editor) {
        let (canvas, content) = (editor.document.picture.rect(), editor.document.content);
        let decoded = editor.run.as_ref().is_some_and(|run| run.track.is_some());
        if canvas == content || decoded {
            return;
        }
        let (outer, inner) = (screen.rect(canvas), screen.rect(content));
        let parts = [
            egui::Rect::from_min_max(outer.min, egui::pos2(outer.max.x, inner.min.y)),
            egui::Rect::from_min_max(egui::pos2(outer.min.x, inner.max.y), outer.max),
            egui::Rect::from_min_max(egui::pos2(outer.min.x, inner.min.y), egui::pos2(inner.min.x, inner.max.y)),
            egui::Rect::from_min_max(egui::pos2(inner.max.x, inner.min.y), egui::pos2(outer.max.x, inner.max.y)),
        ];
        for part in parts.into_iter().filter(|part| part.width() > 0.5 && part.height() > 0.5) {
            handles::checkers(painter, part);
            handles::dashes(painter, part.shrink(0.5));
        }
    }

    fn paint_outline(&self, painter: &Painter, screen: &Screen) {
        for line in &self.outline.1 {
            let points: Vec<Pos2> = line.iter().map(|point| screen.point(point.x, point.y)).collect();
            painter.add(Shape::line(points.clone(), Stroke::new(1.5, Color32::from_black_alpha(70))));
            painter.extend(Shape::dashed_line(&points, Stroke::new(1.5, white(235)), 6.0, 5.0));
        }
    }

    /// The square that the model sees, where it is not the whole canvas.
    fn paint_frame(&self, painter: &Painter, screen: &Screen, editor: &Editor, area: egui::Rect) {
        let frame = match editor.track().filter(|_| editor.run.is_some() || editor.timeline.head.is_some()) {
            Some(track) => Some(track.frame),
            None => editor.aim.as_ref().map(|aim| aim.frame).filter(|_| !editor.is_fulfilled()),
        };
        let Some(frame) = frame else { return };
        let rect = screen.rect(frame.rect);
        if (rect.min - area.min).length() + (rect.max - area.max).length() > 2.0 {
            painter.rect_stroke(rect, 0.0, Stroke::new(1.0, Color32::from_black_alpha(120)), StrokeKind::Outside);
            let corners = [rect.left_top(), rect.right_top(), rect.right_bottom(), rect.left_bottom(), rect.left_top()];
            painter.extend(Shape::dashed_line(&corners, Stroke::new(1.0, theme::GLOW), 8.0, 5.0));
            let at = rect.right_bottom() + vec2(0.0, 8.0);
            tag(painter, at, Align2::RIGHT_TOP, &frame.describe(), screen.viewport);
        }
    }

    /// The brush, and what is known of the token below it.
    fn pointer(&self, ui: &Ui, painter: &Painter, screen: &Screen, editor: &Editor, at: Pos2) {
        let (space, rested) = ui.input(|input| (input.key_down(Key::Space), input.pointer.time_since_last_movement()));
        let panning = matches!(self.gesture, Some(Gesture::Pan { .. }));
        let brush = matches!(editor.brush.tool, Tool::Brush | Tool::Eraser) && !space && !panning;
        if brush {
            ui.ctx().set_cursor_icon(CursorIcon::None);
            draw_brush(painter, screen, editor.brush, at);
        } else {
            ui.ctx().set_cursor_icon(if panning { CursorIcon::Grabbing } else { CursorIcon::Grab });
        }
        let Some(track) = editor.track().filter(|_| editor.show.tokens && self.gesture.is_none()) else { return };
        if rested >= REST {
            tokens::explain(painter, screen, track, editor.head(), at);
        } else {
            ui.ctx().request_repaint_after_secs(REST - rested + 0.01);
        }
    }
}

fn draw_brush(painter: &Painter, screen: &Screen, brush: Brush, at: Pos2) {
    let radius = (brush.size / 2.0 * screen.zoom).max(1.5);
    painter.circle_stroke(at, radius + 1.0, Stroke::new(1.0, Color32::from_black_alpha(150)));
    painter.circle_stroke(at, radius, Stroke::new(1.2, white(230)));
    if brush.hardness < 0.98 && radius > 8.0 {
        painter.circle_stroke(at, radius * brush.hardness, Stroke::new(1.0, white(70)));
    }
    let arm = 3.0;
    painter.line_segment([at - Vec2::X * arm, at + Vec2::X * arm], Stroke::new(1.0, white(200)));
    if brush.tool == Tool::Brush {
        painter.line_segment([at - Vec2::Y * arm, at + Vec2::Y * arm], Stroke::new(1.0, white(200)));
    }
}

/// What goes on, above the picture.
fn status(painter: &Painter, screen: &Screen, editor: &Editor) {
    let Some(text) = status_text(editor) else { return };
    let at = screen.rect(editor.document.picture.rect()).left_top() - vec2(0.0, 14.0);
    tag(painter, at, Align2::LEFT_BOTTOM, &text, screen.viewport);
}

/// What goes on, in words.
fn status_text(editor: &Editor) -> Option<String> {
    let made = |track: &crate::document::Track, head: usize| {
        let tokens: usize = track.steps.iter().take(head).map(|step| step.made.len()).sum();
        (tokens, track.plan.masked(), track.plan.visits.len())
    };
    if let Some(run) = &editor.run {
        let Some(track) = &run.track else {
            let loading = matches!(editor.engine, Engine::Loading(_));
            return Some(if loading { "waiting for the model" } else { "reading the picture into tokens" }.into());
        };
        let ((tokens, masked, steps), done) = (made(track, editor.head()), editor.head());
        let text = format!("step {done} / {steps} · {tokens} of {masked} masked tokens");
        let fresh = track.steps.len().saturating_sub(run.earlier.len());
        let pace = run.since.elapsed().as_secs_f32() / fresh.max(1) as f32;
        return Some(match run.phase {
            Phase::Paused => format!("{text} · paused"),
            Phase::Stopping => format!("{text} · stopping"),
            _ if fresh == 0 || editor.timeline.head.is_some() => text,
            _ => {
                let made: usize = track.steps.iter().skip(run.earlier.len()).map(|step| step.made.len()).sum();
                let speed = made as f32 / run.since.elapsed().as_secs_f32().max(1e-3);
                let left = pace * (steps - track.steps.len()) as f32;
                format!("{text} · {speed:.0} tokens/s · {left:.1} s left")
            }
        });
    }
    if let Some(track) =
        editor.document.track.as_ref().filter(|track| editor.timeline.head.is_some() || !track.is_complete())
    {
        let (tokens, masked, steps) = made(track, editor.head());
        let what = if editor.timeline.head.is_some() { "after step" } else { "stopped after step" };
        return Some(format!("{what} {} / {steps} · {tokens} of {masked} masked tokens", editor.head()));
    }
    if editor.aim.is_none() && !editor.is_stroking() {
        let refusal = editor.lattice().err().filter(|_| !editor.document.mask.is_empty());
        return Some(refusal.map_or("paint over what should change, or drag an edge outwards".into(), cause));
    }
    let aim = editor.aim.as_ref().filter(|_| !editor.is_fulfilled())?;
    let masked = aim.masked.iter().filter(|masked| **masked).count();
    let plan = format!("{masked} of {} tokens will be made", aim.masked.len());
    // A frame that is not the whole canvas wears its own label.
    let whole = aim.frame.rect == editor.document.picture.rect();
    Some(if whole { format!("{} · {plan}", aim.frame.describe()) } else { plan })
}
