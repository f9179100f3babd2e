//! The keyboard: what was pressed, as commands.

use egui::{Context, Event, Key};

use crate::command::Command;
use crate::editor::Editor;
use crate::keymap::Chord;

/// What the keys of this frame ask for. Nothing, while a text field or a dialog has them.
pub(super) fn read(ctx: &Context, editor: &Editor, commands: &mut Vec<Command>) {
    let typing = ctx.text_edit_focused();
    let events = ctx.input(|input| input.events.clone());
    for event in events {
        let Event::Key { key, pressed: true, modifiers, .. } = event else { continue };
        if editor.dialog.is_some() {
            // The dialogs take Escape themselves.
            continue;
        }
        let chord = Chord::pressed(key, modifiers);
        let elsewhere = typing || (chord.is_bare() && ctx.any_popup_open());
        if elsewhere {
            continue;
        }
        commands.extend(match key {
            Key::Escape => Some(Command::Escape),
            _ => editor.preferences().keys.find(chord).map(|action| action.command(editor)),
        });
    }
}
