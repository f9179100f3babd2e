//! The keyboard: which key means which command.

use egui::{Context, Event, Key, Modifiers};

use crate::command::{Command, Dialog, Tool};
use crate::editor::{Brush, Editor};

/// Brush sizes go up and down by this factor.
const SIZE: f32 = 1.2;
/// Hardness goes up and down by this much.
const HARDNESS: f32 = 0.1;

/// What the keys of this frame ask for. `canvas` tells whether the canvas has the keyboard.
pub(super) fn read(ctx: &Context, editor: &Editor, canvas: bool, commands: &mut Vec<Command>) {
    let typing = ctx.text_edit_focused();
    let events = ctx.input(|input| input.events.clone());
    for event in events {
        if let Event::Key { key, pressed: true, modifiers, .. } = event {
            let command = if editor.dialog.is_some() {
                (key == Key::Escape).then_some(Command::CloseDialog)
            } else if typing {
                None
            } else if modifiers.command {
                with_control(key, modifiers)
            } else {
                alone(key, modifiers, editor, canvas).filter(|_| !ctx.any_popup_open())
            };
            commands.extend(command);
        } else if !typing && editor.dialog.is_none() {
            // The window system hands these two out as what they mean.
            match event {
                Event::Copy => commands.push(Command::Copy),
                Event::Paste(_) | Event::PasteImage(_) => commands.push(Command::Paste),
                _ => {}
            }
        }
    }
}

fn with_control(key: Key, modifiers: Modifiers) -> Option<Command> {
    Some(match (key, modifiers.shift) {
        (Key::Z, false) => Command::Undo,
        (Key::Z, true) | (Key::Y, _) => Command::Redo,
        (Key::I, true) => Command::InvertMask,
        (Key::D, false) => Command::ClearMask,
        (Key::A, false) => Command::SelectAll,
        (Key::O, false) => Command::Ask(Dialog::Open),
        (Key::S, false) => Command::Save,
        (Key::S, true) => Command::Ask(Dialog::Save),
        (Key::E, true) => Command::Ask(Dialog::Export),
        (Key::Q, false) => Command::Quit,
        (Key::Enter, _) => Command::Generate,
        (Key::Num0, false) => Command::ZoomFit,
        (Key::Num1, false) => Command::Zoom100,
        (Key::Plus | Key::Equals, _) => Command::ZoomBy(1.25),
        (Key::Minus, _) => Command::ZoomBy(0.8),
        _ => return None,
    })
}

fn alone(key: Key, modifiers: Modifiers, editor: &Editor, canvas: bool) -> Option<Command> {
    let Brush { size, hardness, .. } = editor.brush;
    Some(match (key, modifiers.shift) {
        (Key::B, false) => Command::Choose(Tool::Brush),
        (Key::E, false) => Command::Choose(Tool::Eraser),
        (Key::L, false) => Command::Choose(Tool::Lasso),
        (Key::M, false) => Command::Choose(Tool::Rectangle),
        (Key::W, false) => Command::Choose(Tool::Wand),
        (Key::C, false) => Command::Choose(Tool::Extend),
        (Key::H, false) => Command::Choose(Tool::Hand),
        (Key::OpenBracket, false) => Command::BrushSize((size / SIZE).min(size - 1.0)),
        (Key::CloseBracket, false) => Command::BrushSize((size * SIZE).max(size + 1.0)),
        (Key::OpenBracket | Key::OpenCurlyBracket, _) => Command::BrushHardness(hardness - HARDNESS),
        (Key::CloseBracket | Key::CloseCurlyBracket, _) => Command::BrushHardness(hardness + HARDNESS),
        (Key::X, false) => Command::SwapErase,
        (Key::X, true) => Command::Stop,
        (Key::Escape, _) => Command::Escape,
        (Key::K, false) => Command::PlayOrPause,
        (Key::G, false) => Command::ShowTokens(!editor.show.tokens),
        (Key::ArrowLeft, false) if canvas => Command::PreviousVariation,
        (Key::ArrowRight, false) if canvas => Command::NextVariation,
        (Key::Enter, false) if canvas => Command::AcceptVariation,
        (Key::Delete, false) if canvas && editor.is_choosing() => Command::DiscardVariation,
        (Key::Comma, false) => Command::Rewind(editor.head().saturating_sub(1)),
        (Key::Period, false) => Command::Rewind(editor.head() + 1),
        (Key::Home, _) => Command::Rewind(0),
        (Key::End, _) => Command::Rewind(usize::MAX),
        (Key::Questionmark, _) | (Key::Slash, true) => Command::Ask(Dialog::Keys),
        _ => return None,
    })
}

/// The keys, for the dialog that shows them.
pub(super) const KEYS: [(&str, &str); 23] = [
    ("B  E  L  M  W", "brush, eraser, lasso, rectangle, wand"),
    ("C  H", "extend canvas, hand"),
    ("Shift, Alt, both", "a selection is added, taken away, or only what is common stays"),
    ("[  ]", "brush size; with Shift hardness; Alt+right-drag for both"),
    ("X", "swap brush and eraser; right-drag erases for a moment"),
    ("Space-drag, middle-drag", "move the view"),
    ("Wheel", "zoom at the pointer"),
    ("Ctrl+0, Ctrl+1", "fit, 100 %"),
    ("Ctrl+Z, Ctrl+Shift+Z or Ctrl+Y", "undo, redo"),
    ("Ctrl+A, Ctrl+D, Ctrl+Shift+I", "select all, clear mask, invert mask"),
    ("Ctrl+Enter", "generate"),
    ("Shift+X, Esc", "stop; Esc leaves the gesture first"),
    ("Left  Right  Enter  Delete", "previous, next, accept, discard a variation, while the canvas has the keyboard"),
    ("K", "play or pause decoding"),
    (",  .  Home  End", "one step back, forward; first, last"),
    ("G", "token grid"),
    ("Tab", "hold to see the original, while the canvas has the keyboard"),
    ("F6", "give the keyboard to the canvas, or to the controls, where Tab goes on"),
    ("Ctrl+O", "open"),
    ("Ctrl+S, Ctrl+Shift+S", "save the project or a new result, save as"),
    ("Ctrl+Shift+E", "export"),
    ("Ctrl+C, Ctrl+V", "copy the picture, paste one as a new document"),
    ("?", "these keys"),
];
