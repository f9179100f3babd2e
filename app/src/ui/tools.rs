//! The tool strip on the left.

use egui::{Align2, CornerRadius, CursorIcon, Role, Sense, Ui, WidgetInfo, vec2};

use super::widgets::focus_ring;
use super::{icons, theme};
use crate::actions::{by_id, of_tool, with_keys};
use crate::command::{Command, Tool};
use crate::editor::Editor;

/// A tool as the strip shows it.
struct Entry {
    tool: Tool,
    icon: &'static str,
    name: &'static str,
    about: &'static str,
}

const TOOLS: [Entry; 10] = [
    Entry {
        tool: Tool::Brush,
        icon: icons::BRUSH,
        name: "Brush",
        about: "Paint over what may change (the mask: white = change). Right-drag erases",
    },
    Entry {
        tool: Tool::Eraser,
        icon: icons::ERASER,
        name: "Eraser",
        about: "Take back what may change. X swaps brush and eraser",
    },
    Entry {
        tool: Tool::Lasso,
        icon: icons::LASSO,
        name: "Lasso",
        about: "Draw around what may change, or click the corners of a polygon: a double-click or Enter closes it. Shift \
                adds, Alt takes away, both keep what is common",
    },
    Entry {
        tool: Tool::Rectangle,
        icon: icons::RECTANGLE,
        name: "Rectangle",
        about: "Draw up a rectangle that may change. Shift adds, Alt takes away, both keep what is common",
    },
    Entry {
        tool: Tool::Wand,
        icon: icons::WAND,
        name: "Wand",
        about: "Click a colour: what resembles it may change. Shift adds, Alt takes away, both keep what is common",
    },
    Entry {
        tool: Tool::Order,
        icon: icons::PATH,
        name: "Order brush",
        about: "Paint the path along which tokens are made: those that it touches come first, in its sequence, then the \
                others in the generation order. Right-drag takes tokens out",
    },
    Entry {
        tool: Tool::Boldness,
        icon: icons::THERMOMETER,
        name: "Boldness brush",
        about: "Paint how boldly tokens are drawn: the temperature is multiplied by what is painted, blue calm, red bold. \
                Right-drag takes back to neutral",
    },
    Entry {
        tool: Tool::Picker,
        icon: icons::PICKER,
        name: "Token picker",
        about: "Click a token that was made: its likeliest alternatives appear as small pictures, to swap it for one of them",
    },
    Entry {
        tool: Tool::Extend,
        icon: icons::EXTEND,
        name: "Extend canvas",
        about: "Drag an edge or a corner outwards; the added area is masked (outpainting)",
    },
    Entry {
        tool: Tool::Hand,
        icon: icons::HAND,
        name: "Hand",
        about: "Move the view. Space-drag and middle-drag do it with any tool",
    },
];

/// Shows the strip.
pub(super) fn show(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.spacing_mut().item_spacing.y = 6.0;
    for entry in &TOOLS {
        let action = by_id(of_tool(entry.tool));
        let key = action.map(|action| editor.preferences().keys.text(action)).unwrap_or_default();
        let chosen = editor.brush.tool == entry.tool;
        let refusal = action.and_then(|action| action.refusal(editor));
        let sense = if refusal.is_none() { Sense::click() } else { Sense::hover() };
        let (rect, response) = ui.allocate_exact_size(vec2(36.0, 36.0), sense);
        response.widget_info(|| WidgetInfo::selected(Role::RadioButton, refusal.is_none(), chosen, entry.name));
        let fill = match (chosen, response.hovered() && refusal.is_none()) {
            (true, _) => theme::accent(),
            (false, true) => theme::control_hovered(),
            (false, false) => egui::Color32::TRANSPARENT,
        };
        let colour = match (chosen, &refusal) {
            (true, _) => theme::on_accent(),
            (false, None) => theme::text(),
            (false, Some(_)) => theme::faint(),
        };
        let painter = ui.painter();
        painter.rect_filled(rect, CornerRadius::same(7), fill);
        painter.text(rect.center() - vec2(1.0, 1.0), Align2::CENTER_CENTER, entry.icon, theme::icon_font(19.0), colour);
        let letter = if chosen { colour } else { theme::dim() };
        painter.text(rect.max - vec2(4.0, 2.0), Align2::RIGHT_BOTTOM, letter_of(&key), theme::font(9.0), letter);
        focus_ring(ui, &response, rect, 7);
        if response.clicked() {
            commands.push(Command::Choose(entry.tool));
        }
        let note = match (&refusal, entry.tool) {
            (Some(cause), _) => format!("\nNot available: {cause}"),
            (None, Tool::Order) => {
                let label = editor.abilities.experimental_path();
                label.map_or_else(String::new, |label| format!("\nExperimental: {label}"))
            }
            (None, Tool::Boldness) => {
                let why = editor.feels_no_boldness();
                why.map_or_else(String::new, |why| {
                    format!("\nNo effect now: {why}, so the likeliest token is always taken")
                })
            }
            (None, _) => String::new(),
        };
        let tip = format!("{}\n{}{note}", with_keys(editor, entry.name, of_tool(entry.tool)), entry.about);
        let cursor = if refusal.is_none() { CursorIcon::PointingHand } else { CursorIcon::NotAllowed };
        response.on_hover_cursor(cursor).on_hover_text(tip);
    }
}

/// The first of a tool's keys that is a single letter: others have no room.
fn letter_of(keys: &str) -> &str {
    keys.split(", ").find(|key| key.chars().count() == 1).unwrap_or_default()
}
