//! The keyboard: what was pressed, as commands.

use egui::{Context, Event, Key, Modifiers};

use crate::command::Command;
use crate::editor::Editor;
use crate::keymap::Chord;

/// What the keys of this frame ask for. Nothing, while a text field or a dialog has them. `canvas` tells whether the canvas
/// has the keyboard; elsewhere arrows, Enter and Delete belong to the control that has it.
pub(super) fn read(ctx: &Context, editor: &Editor, canvas: bool, commands: &mut Vec<Command>) {
    // The dialogs take Escape themselves.
    if editor.dialog.is_some() || ctx.text_edit_focused() {
        return;
    }
    let events = ctx.input(|input| input.events.clone());
    for chord in events.iter().filter_map(pressed) {
        let others = matches!(chord.key, Key::ArrowLeft | Key::ArrowRight | Key::Enter | Key::Delete) && !canvas;
        if chord.is_bare() && (others || ctx.any_popup_open()) {
            continue;
        }
        commands.extend(match chord.key {
            Key::Escape => Some(Command::Escape),
            _ => editor.preferences().keys.find(chord).map(|action| action.command(editor)),
        });
    }
}

/// The key of an event. The window system hands out three of them as what they commonly mean.
pub(super) fn pressed(event: &Event) -> Option<Chord> {
    match event {
        Event::Key { key, pressed: true, modifiers, .. } => Some(Chord::pressed(*key, *modifiers)),
        Event::Copy => Some(Chord::pressed(Key::C, Modifiers::COMMAND)),
        Event::Cut => Some(Chord::pressed(Key::X, Modifiers::COMMAND)),
        Event::Paste(_) | Event::PasteImage(_) => Some(Chord::pressed(Key::V, Modifiers::COMMAND)),
        _ => None,
    }
}
