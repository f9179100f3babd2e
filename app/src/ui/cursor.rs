//! The pointer of those who use the keyboard: arrow keys move a cross on the canvas, Space and Enter do there what a button
//! of the pointer does.

use egui::{Align2, Color32, Context, Event, Id, Key, Modifiers, Painter, Pos2, Stroke, Ui, Vec2, vec2};

use super::gestures::{Gestures, draw_brush, rectangle};
use super::handles::Handles;
use super::overlay::marquee;
use super::screen::Screen;
use super::widgets::{tag, white};
use crate::command::{Command, Selection, Tool};
use crate::editor::Editor;
use crate::keymap::Chord;

/// With Shift an arrow key goes so many steps.
const COARSE: f32 = 16.0;
/// The view follows the cross when it comes so near to its edge, in screen points.
const NEAR: f32 = 24.0;
/// An arrow key moves the view by so many screen points, with the hand in hand.
const PAN: f32 = 24.0;
/// Half the cross, and the gap in its middle, in screen points.
const ARM: f32 = 14.0;
const GAP: f32 = 3.0;

/// What was begun at the cross.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Work {
    Stroke,
    Rectangle((f32, f32)),
}

/// The cross.
#[derive(Default)]
pub(super) struct Cursor {
    shown: bool,
    /// Where it is, or was, in canvas points; nowhere before it was wanted.
    at: Option<(f32, f32)>,
    /// What was begun, and with which tool.
    work: Option<(Work, Tool)>,
    /// How the canvas lay on the screen in the last frame.
    screen: Option<Screen>,
}

impl Cursor {
    /// Takes arrow keys, and while the cross is shown Space, Enter and Escape, before they mean anything else. `focused` tells
    /// whether the canvas has the keyboard.
    pub(super) fn take_keys(
        &mut self,
        ctx: &Context,
        editor: &mut Editor,
        (gestures, handles): (&mut Gestures, &mut Handles),
        focused: bool,
    ) {
        self.look_around(ctx, editor, gestures, focused);
        let tool = editor.brush.tool;
        if tool != Tool::Extend || !focused {
            handles.put_back();
        }
        let Some(screen) = self.screen.filter(|_| focused && gestures.are_idle() && !ctx.any_popup_open()) else {
            return;
        };
        let mut active = self.shown || handles.is_keyed();
        let mut mine = |key: Key, modifiers: Modifiers| {
            let arrow = matches!(key, Key::ArrowLeft | Key::ArrowRight | Key::ArrowUp | Key::ArrowDown);
            let taken = !modifiers.command
                && !modifiers.alt
                && match key {
                    _ if arrow => active || is_free(editor, key, modifiers),
                    Key::Space | Key::Enter | Key::Escape => active && modifiers.is_none(),
                    _ => false,
                };
            active |= taken && arrow && tool != Tool::Hand;
            taken
        };
        let mut pressed = Vec::new();
        ctx.input_mut(|input| {
            input.events.retain(|event| match event {
                Event::Key { key, pressed: true, modifiers, .. } if mine(*key, *modifiers) => {
                    pressed.push((*key, modifiers.shift));
                    false
                }
                _ => true,
            });
        });
        for (key, coarse) in pressed {
            match tool {
                Tool::Hand => {
                    let by = direction(key) * PAN * if coarse { COARSE / 2.0 } else { 1.0 };
                    editor.apply(Command::Look(screen.moved(-by)));
                }
                Tool::Extend if editor.run.is_none() => handles.press(key, coarse, editor),
                Tool::Extend => {}
                _ => self.press(key, coarse, &screen, editor, gestures),
            }
        }
    }

    /// Puts the cross away where the pointer or another control is used instead, and drops what others have ended.
    fn look_around(&mut self, ctx: &Context, editor: &mut Editor, gestures: &Gestures, focused: bool) {
        let ended = |(work, tool): (Work, Tool)| match work {
            Work::Stroke => !editor.is_painting() || !gestures.are_idle(),
            Work::Rectangle(_) => tool != editor.brush.tool || !gestures.are_idle(),
        };
        self.work = self.work.filter(|work| !ended(*work));
        let pointed = ctx.input(|input| input.pointer.delta() != Vec2::ZERO) && self.work.is_none();
        let draws = !matches!(editor.brush.tool, Tool::Hand | Tool::Extend);
        if !focused || !draws || pointed || !gestures.are_idle() {
            self.shown = false;
            if let Some((Work::Stroke, _)) = self.work.take() {
                editor.apply(Command::EndStroke);
            }
        }
    }

    fn press(&mut self, key: Key, coarse: bool, screen: &Screen, editor: &mut Editor, gestures: &mut Gestures) {
        match key {
            Key::Escape => match self.work.take() {
                Some((Work::Stroke, _)) => editor.apply(Command::CancelStroke),
                Some(_) => {}
                None => self.shown = false,
            },
            Key::Space | Key::Enter => self.act(editor, gestures),
            arrow => self.go(direction(arrow) * if coarse { COARSE } else { 1.0 }, screen, editor),
        }
    }

    /// Moves the cross by so many steps; the first one shows it, where it was or in the middle of what is seen.
    fn go(&mut self, steps: Vec2, screen: &Screen, editor: &mut Editor) {
        let canvas = editor.document.picture.rect();
        let seen = screen.seen().intersect(canvas);
        let known = self.at.filter(|(x, y)| self.shown || seen.contains_pixel(*x as i64, *y as i64));
        let middle = ((seen.x + i64::from(seen.width / 2)) as f32, (seen.y + i64::from(seen.height / 2)) as f32);
        let from = known.unwrap_or(middle);
        // A pixel, or where those are small as many as can be told apart.
        let by = steps * (1.0 / screen.zoom).round().max(1.0);
        let along = |at: f32, by: f32, side: u32| (at + by).round().clamp(0.0, side as f32);
        let to = (along(from.0, by.x, canvas.width), along(from.1, by.y, canvas.height));
        (self.shown, self.at) = (true, Some(to));
        let (at, view) = (screen.point(to.0, to.1), screen.viewport.shrink(NEAR));
        let back = view.clamp(at) - at;
        if back != Vec2::ZERO {
            let moved = screen.moved(back);
            editor.apply(Command::Look(moved));
            self.screen = Some(Screen::new(moved, screen.viewport, canvas.width, canvas.height));
        }
        if let Some((Work::Stroke, _)) = self.work {
            editor.apply(Command::ExtendStroke(to));
        }
    }

    /// What a button of the pointer does.
    fn act(&mut self, editor: &mut Editor, gestures: &mut Gestures) {
        let (tool, how) = (editor.brush.tool, editor.combine);
        let Some(at) = self.at.filter(|_| !editor.show.original) else { return };
        match (tool, self.work.take()) {
            (Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness, Some(_)) => editor.apply(Command::EndStroke),
            (Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness, None) => {
                editor.apply(Command::BeginStroke { at, erase: editor.erases() });
                self.work = Some((Work::Stroke, tool));
            }
            (Tool::Rectangle, Some((Work::Rectangle(from), _))) => {
                let rect = rectangle(from, at);
                if !rect.is_empty() {
                    editor.apply(Command::Select(Selection::Rectangle(rect), how));
                }
            }
            (Tool::Rectangle, _) => self.work = Some((Work::Rectangle(at), tool)),
            (Tool::Wand, _) => {
                // The cross can lie on the far edge, beyond the last pixel.
                let last = (editor.document.picture.width() - 1, editor.document.picture.height() - 1);
                let pixel = (at.0.min(last.0 as f32), at.1.min(last.1 as f32));
                editor.apply(Command::Select(Selection::Similar(pixel), how));
            }
            (Tool::Lasso, _) => gestures.corner(at, how),
            (Tool::Picker, _) => editor.apply(Command::PickToken(at)),
            _ => {}
        }
    }

    /// Where the cross is on the screen, if it is shown.
    pub(super) fn at(&self, screen: &Screen) -> Option<Pos2> {
        self.at.filter(|_| self.shown).map(|(x, y)| screen.point(x, y))
    }

    /// Draws the cross and what was begun at it, and tells both to programs that read the window aloud.
    pub(super) fn paint(
        &mut self,
        ui: &Ui,
        painter: &Painter,
        screen: &Screen,
        editor: &Editor,
        gestures: &Gestures,
        id: Id,
    ) {
        self.screen = Some(*screen);
        let Some(here) = self.at.filter(|_| self.shown) else { return };
        let at = screen.point(here.0, here.1);
        let mut text = format!("{:.0}, {:.0}", here.0, here.1);
        let polygon = gestures.polygon_end();
        let next = match (editor.brush.tool, self.work) {
            (Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness, Some(_)) => "Space lifts it",
            (Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness, None) => "Space puts it down",
            (Tool::Rectangle, Some((Work::Rectangle(from), _))) => {
                let rect = rectangle(from, here);
                let area = screen.rect(rect);
                let corners = [area.left_top(), area.right_top(), area.right_bottom(), area.left_bottom()];
                marquee(painter, &[corners[0], corners[1], corners[2], corners[3], corners[0]]);
                text = format!("{text} · {} × {}", rect.width, rect.height);
                "Enter selects, Esc leaves"
            }
            (Tool::Rectangle, _) => "Space begins",
            (Tool::Lasso, _) if polygon.is_some() => "Space: a corner, Enter closes",
            (Tool::Lasso, _) => "Space begins",
            _ => "Space selects",
        };
        if let Some((x, y)) = polygon {
            marquee(painter, &[screen.point(x, y), at]);
        }
        if matches!(editor.brush.tool, Tool::Brush | Tool::Eraser | Tool::Order | Tool::Boldness) {
            draw_brush(painter, screen, editor.brush, at, false);
        }
        for (width, colour) in [(3.0, Color32::from_black_alpha(150)), (1.2, white(245))] {
            for side in [Vec2::X, Vec2::Y, -Vec2::X, -Vec2::Y] {
                painter.line_segment([at + side * GAP, at + side * ARM], Stroke::new(width, colour));
            }
        }
        let place = at + vec2(ARM, ARM);
        tag(painter, place, Align2::LEFT_TOP, &format!("{text} · {next}"), screen.viewport);
        ui.ctx().accesskit_node_builder(id, |node| node.set_value(format!("{text}. {next}")));
    }
}

/// Whether a key means nothing else now.
fn is_free(editor: &Editor, key: Key, modifiers: Modifiers) -> bool {
    let action = editor.preferences().keys.find(Chord::pressed(key, modifiers));
    action.is_none_or(|action| action.refusal(editor).is_some())
}

/// Which way an arrow key points; nowhere for others.
pub(super) fn direction(key: Key) -> Vec2 {
    match key {
        Key::ArrowLeft => -Vec2::X,
        Key::ArrowRight => Vec2::X,
        Key::ArrowUp => -Vec2::Y,
        Key::ArrowDown => Vec2::Y,
        _ => Vec2::ZERO,
    }
}
