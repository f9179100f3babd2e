//! The canvas: the picture, the mask, the run as it goes, and what the pointer does on them.

use andamento_model::picture::Rect;
use egui::{
    Align2, Color32, EventFilter, Key, Painter, Pos2, Response, Role, Sense, Stroke, StrokeKind, Ui, WidgetInfo, vec2,
};

use super::boldness::BoldnessLooks;
use super::cursor::Cursor;
use super::frames::Frames;
use super::gestures::Gestures;
use super::handles::{self, Handles};
use super::overlay::{MaskLooks, pixel_grid};
use super::path::PathLooks;
use super::revisions::Revisions;
use super::screen::Screen;
use super::textures::{Budget, PictureTexture, PreviewTexture};
use super::waiting::{self, Waiting};
use super::widgets::{tag, tag_rect};
use super::{picker, surprise, theme, tokens};
use crate::command::{Command, Heat, Tool};
use crate::document::Document;
use crate::editor::{Editor, Engine, Phase, Preview, cause};

/// How fast the wheel zooms.
const WHEEL: f32 = 0.0025;
/// After the pointer has rested so long on a token, in seconds, the token is explained.
const REST: f32 = 0.35;

/// What the canvas keeps between frames.
#[derive(Default)]
pub(super) struct Canvas {
    gestures: Gestures,
    cursor: Cursor,
    handles: Handles,
    frames: Frames,
    picture: PictureTexture,
    before: PictureTexture,
    /// Whether another picture than the document's lies beneath a run.
    beneath: bool,
    original: PictureTexture,
    waiting: Waiting,
    mask: MaskLooks,
    path: PathLooks,
    boldness: BoldnessLooks,
    preview: PreviewTexture,
    revisions: Revisions,
    /// Whether the canvas had the keyboard in the last frame, and whether a dialog has it from there.
    had_focus: bool,
    lent: bool,
    id: Option<egui::Id>,
}

impl Canvas {
    /// Shows the canvas. Returns where it lies.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &mut Editor, commands: &mut Vec<Command>) -> Screen {
        let (viewport, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Canvas, true, "Canvas"));
        let size = (editor.document.picture.width(), editor.document.picture.height());
        let mut screen = Screen::new(editor.view, viewport, size.0, size.1);
        self.keep_focus(ui, &response, editor.dialog.is_some());
        if let Some(view) = self.look(ui, &response, &screen) {
            editor.apply(Command::Look(view));
            screen = Screen::new(editor.view, viewport, size.0, size.1);
        }
        // A stroke acts at once, so that its ink is in this very frame.
        self.gestures.take(ui, &response, &screen, editor);
        let screen = Screen::new(editor.view, viewport, size.0, size.1);
        self.upload(ui, editor, &screen);
        let painter = ui.painter_at(viewport);
        self.paint(&painter, &screen, editor);
        let mut on_handle = self.frames.show(ui, &painter, &screen, editor, commands);
        on_handle |= editor.run.is_none() && self.handles.show(ui, &painter, &screen, editor, commands);
        status(&painter, &screen, editor, self.frames.label);
        if ui.input(|input| !input.raw.hovered_files.is_empty()) {
            painter.rect_filled(viewport, 0.0, Color32::from_black_alpha(120));
            tag(&painter, viewport.center(), Align2::CENTER_CENTER, "drop the picture to open it", viewport);
        }
        let keyed = self.cursor.at(&screen);
        let at = response.hover_pos().filter(|_| keyed.is_none() && (!on_handle || !self.gestures.are_idle()));
        self.gestures.paint(ui, &painter, &screen, editor, at);
        picker::outline(&painter, &screen, editor, at.filter(|_| editor.brush.tool == Tool::Picker));
        self.cursor.paint(ui, &painter, &screen, editor, &self.gestures, response.id);
        // Below the pointer, or what is said at the cross.
        let below = if keyed.is_some() { 44.0 } else { 16.0 };
        if let Some(at) = at.or(keyed) {
            self.explain(ui, &painter, &screen, editor, (at, at + vec2(14.0, below)));
        }
        screen
    }

    /// Keys that belong to what is being drawn on the canvas, before anything else reads them.
    pub(super) fn take_keys(&mut self, ctx: &egui::Context, editor: &mut Editor) {
        if !ctx.text_edit_focused() && editor.dialog.is_none() {
            self.gestures.take_keys(ctx, editor);
            self.handles.take_keys(ctx);
            let focused = self.has_focus(ctx);
            self.cursor.take_keys(ctx, editor, (&mut self.gestures, &mut self.handles), focused);
        }
    }

    /// Whether the keyboard talks to the canvas.
    pub(super) fn has_focus(&self, ctx: &egui::Context) -> bool {
        self.id.is_some_and(|id| ctx.memory(|memory| memory.has_focus(id)))
    }

    /// The canvas has the keyboard from the start and again after a dialog, and keeps Tab to show the original.
    fn keep_focus(&mut self, ui: &Ui, response: &Response, asked: bool) {
        let first = self.id.replace(response.id).is_none() && ui.memory(|memory| memory.focused().is_none());
        let pressed = response.is_pointer_button_down_on() && !response.has_focus();
        let handed_over = ui.input(|input| input.key_pressed(Key::F6));
        let back = self.lent && !asked;
        self.lent = asked && (self.lent || self.had_focus);
        self.had_focus = response.has_focus();
        if first || pressed || back || (handed_over && !response.has_focus()) {
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

    /// Uploads what changed.
    fn upload(&mut self, ui: &Ui, editor: &mut Editor, screen: &Screen) {
        let ctx = ui.ctx();
        let beneath = editor.before();
        let document = &editor.document;
        let nothing = (0, Rect::default());
        let budget = &mut Budget::start();
        let changed = document.track.as_ref().map_or(nothing, |track| (track.before, track.changed()));
        let shift = self.waiting.shift(document);
        self.picture.sync((ctx, budget), document.picture_id, &document.picture, screen, changed, shift);
        self.waiting.sync(ctx, editor, &self.picture);
        let other = beneath.filter(|(number, _)| *number != document.picture_id);
        self.beneath = other.as_ref().is_some_and(|(_, picture)| picture.is_at_hand());
        match other {
            Some((number, picture)) => self.before.sync((ctx, budget), number, &picture, screen, nothing, None),
            None => self.before = PictureTexture::default(),
        }
        if editor.show.original && document.original_id != document.picture_id {
            let shifted = from_original(screen, document);
            self.original.sync((ctx, budget), document.original_id, &document.original, &shifted, nothing, None);
        } else {
            self.original = PictureTexture::default();
        }
        if let Some(preview) = &editor.preview {
            self.preview.sync(ctx, preview.id, &preview.picture);
        }
        self.mask.sync((ctx, budget), document, screen, editor.touched);
        self.path.sync(editor);
        editor.touched = (editor.document.mask_id, Rect::default());
        if let Some(id) = self.boldness.sync((ctx, budget), editor, screen) {
            editor.boldness_brush.touched = (id, Rect::default());
        }
    }

    fn paint(&mut self, painter: &Painter, screen: &Screen, editor: &Editor) {
        let document = &editor.document;
        let canvas = document.picture.rect();
        let area = screen.rect(canvas);
        painter.rect_stroke(area, 0.0, Stroke::new(1.0, theme::line()), StrokeKind::Outside);
        if document.picture.color().has_alpha() || !editor.show.image {
            handles::checkers(painter, area);
        }
        if editor.show.original && document.original.is_at_hand() {
            self.paint_original(painter, screen, editor);
            return;
        }
        let (track, head) = (editor.track(), editor.head());
        let rewound = editor.timeline.head.is_some();
        if editor.show.image {
            match track.filter(|_| editor.run.is_some() || rewound) {
                Some(_) => {
                    if self.beneath {
                        self.before.paint(painter, screen, canvas, Color32::WHITE);
                    } else {
                        self.paint_picture(painter, screen, canvas);
                    }
                    self.paint_run(painter, screen, editor, head, rewound);
                }
                None => self.paint_picture(painter, screen, canvas),
            }
        }
        self.paint_emptiness(painter, screen, editor);
        match (editor.show.heat, track) {
            (Some(Heat::Surprise), _) => surprise::show(painter, screen, editor),
            (Some(heat), Some(track)) => tokens::show_heat(painter, screen, editor, track, head, heat),
            _ => {}
        }
        if editor.show.pixel_grid {
            pixel_grid(painter, screen, canvas);
        }
        let at_rest = editor.run.is_none() && !rewound;
        // Two colours over each other would be none: with the boldness brush in hand the line around the mask must do.
        let filled = at_rest && !editor.is_fulfilled() && editor.brush.tool != Tool::Boldness;
        if editor.show.mask && (filled || editor.is_stroking()) {
            self.mask.fill(painter, screen, document, editor.show.overlay);
        }
        self.boldness.show(painter, screen, editor);
        if editor.show.mask {
            self.mask.outline(painter, screen);
        }
        if editor.show.tokens {
            match track.filter(|_| !at_rest) {
                Some(track) => tokens::show(painter, screen, editor, track, head),
                None if !editor.is_fulfilled() => tokens::show_aim(painter, screen, editor),
                None => {}
            }
        }
        self.path.show(painter, screen, editor);
    }

    fn paint_picture(&mut self, painter: &Painter, screen: &Screen, canvas: Rect) {
        if !self.waiting.paint(painter, screen, canvas) {
            self.picture.paint(painter, screen, canvas, Color32::WHITE);
        }
    }

    fn paint_original(&mut self, painter: &Painter, screen: &Screen, editor: &Editor) {
        let document = &editor.document;
        let same = document.original_id == document.picture_id;
        let original = if same { &mut self.picture } else { &mut self.original };
        original.paint(painter, &from_original(screen, document), document.original.rect(), Color32::WHITE);
        let corner = screen.rect(document.original_at).left_top() + vec2(10.0, 10.0);
        tag(painter, corner, Align2::LEFT_TOP, "as it was opened", screen.viewport);
    }

    /// The tokens of a run, decoded as far as is known: a full decode of this step where there is one, otherwise the
    /// parts of the latest decode, or of the result, where its tokens lie.
    fn paint_run(&mut self, painter: &Painter, screen: &Screen, editor: &Editor, head: usize, rewound: bool) {
        let Some(track) = editor.track() else { return };
        let Some(leg) = track.leg(head) else { return };
        let preview = editor.preview.as_ref().filter(|preview| preview.run == track.number);
        let in_leg = |preview: &&Preview| preview.steps >= leg.plan.first;
        let exact = |preview: &&Preview| preview.steps == head || (!rewound && editor.run.is_some());
        let exact = preview.filter(in_leg).is_some_and(|preview| exact(&preview));
        let decoded = preview.filter(in_leg).map_or(0, |preview| preview.steps);
        // What earlier passes made is in the canvas of a run that is on.
        let from = if editor.run.is_some() || exact { leg.plan.first } else { 0 };
        let to = if exact && editor.run.is_none() { 0..leg.plan.first } else { from..head };
        for (index, step) in track.steps.iter().enumerate().take(to.end).skip(to.start) {
            for made in &step.made {
                let rect = track.rect(index, made.site);
                if editor.run.is_none() {
                    self.picture.paint(painter, screen, rect, Color32::WHITE);
                } else if index < decoded && !exact {
                    self.preview.paint(painter, screen, leg.frame.rect, rect);
                }
            }
        }
        if exact {
            self.preview.paint(painter, screen, leg.frame.rect, leg.frame.rect);
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

    /// Explains the token on which the pointer rests, to programs that read the window aloud too.
    fn explain(&mut self, ui: &Ui, painter: &Painter, screen: &Screen, editor: &mut Editor, (at, place): (Pos2, Pos2)) {
        let rested = ui.input(|input| input.pointer.time_since_last_movement());
        if let Some(text) = surprise::explained(editor, screen.canvas(at)).filter(|_| self.gestures.are_idle()) {
            match rested < REST {
                true => ui.ctx().request_repaint_after_secs(REST - rested + 0.01),
                false => self.tell(ui, painter, screen, place, text),
            }
            return;
        }
        let Some(track) = editor.track().filter(|_| editor.show.tokens && self.gestures.are_idle()) else { return };
        if rested < REST {
            ui.ctx().request_repaint_after_secs(REST - rested + 0.01);
            return;
        }
        let Some((step, site, made)) = tokens::find(screen, track, editor.head(), at) else { return };
        let revised = made.filter(|_| track.request.schedule.revises());
        let revised = revised.and_then(|_| self.revisions.show(painter, screen, editor, (track, step, site), place));
        match revised {
            Some((spot, text)) => {
                self.describe(ui, text);
                editor.look_closely(spot);
            }
            None => self.tell(ui, painter, screen, place, tokens::in_words(step, site, made)),
        }
    }

    fn tell(&self, ui: &Ui, painter: &Painter, screen: &Screen, place: Pos2, text: String) {
        tag(painter, place, Align2::LEFT_TOP, &text, screen.viewport);
        self.describe(ui, text);
    }

    fn describe(&self, ui: &Ui, text: String) {
        if let Some(id) = self.id {
            ui.ctx().accesskit_node_builder(id, |node| node.set_description(text));
        }
    }
}

/// Where the picture as it was opened lies on the screen.
fn from_original(screen: &Screen, document: &Document) -> Screen {
    let at = document.original_at;
    Screen { origin: screen.point(at.x as f32, at.y as f32), ..*screen }
}

/// What goes on, above the picture and what is there already.
fn status(painter: &Painter, screen: &Screen, editor: &Editor, taken: Option<egui::Rect>) {
    let Some(text) = status_text(editor) else { return };
    let mut at = screen.rect(editor.document.picture.rect()).left_top() - vec2(0.0, 14.0);
    let place = tag_rect(painter, at, Align2::LEFT_BOTTOM, &text, screen.viewport);
    if let Some(taken) = taken.filter(|taken| taken.expand(4.0).intersects(place)) {
        let above = taken.min.y - 4.0;
        let room = above - place.height() >= screen.viewport.min.y;
        at.y = if room { above } else { taken.max.y + 4.0 + place.height() };
    }
    tag(painter, at, Align2::LEFT_BOTTOM, &text, screen.viewport);
}

/// What goes on, in words.
fn status_text(editor: &Editor) -> Option<String> {
    let made = |track: &crate::document::Track, head: usize| {
        let tokens: usize = track.steps.iter().take(head).map(|step| step.made.len()).sum();
        (tokens, track.outline.tokens, track.outline.steps)
    };
    if waiting::is_long(editor) {
        let history = &editor.history;
        let label = history.labels().nth(history.depth()).unwrap_or_default();
        return Some(format!("opening step {}: {label}", history.depth()));
    }
    if editor.is_selecting() {
        return Some("working on the mask".into());
    }
    if let Some(run) = &editor.run {
        let Some(track) = &run.track else {
            let loading = matches!(editor.engine, Engine::Loading(_));
            return Some(if loading { "waiting for the model" } else { "reading the picture into tokens" }.into());
        };
        let ((tokens, masked, steps), done) = (made(track, editor.head()), editor.head());
        let text = format!("step {done} / {steps} · {tokens} of {masked} masked tokens");
        let text = match track.outline.passes {
            1 => text,
            passes => format!("pass {} of {passes} · {text}", track.pass(done) + 1),
        };
        let text = match editor.variations_left() {
            0 => text,
            left => format!("{text} · {left} more variation{}", if left == 1 { "" } else { "s" }),
        };
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
    if let Some(reading) = &editor.surprise.reading {
        let share = (100 * reading.done).checked_div(reading.of);
        let how_far = share.map_or("reading the picture into tokens".into(), |share| format!("{share} %"));
        let stopping = if reading.stopping { " · stopping" } else { "" };
        return Some(format!("measuring surprise · {how_far}{stopping}"));
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
    Some(match aim.passes.len() {
        1 => format!("{} of {} tokens will be made", aim.tokens, aim.masked.len()),
        passes => format!("{} tokens will be made in {passes} passes", aim.tokens),
    })
}
