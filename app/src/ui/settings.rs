//! What the person prefers: the theme, the keys, the hints.

use egui::{Align, Button, Context, Event, Key, Label, Layout, RichText, ScrollArea, TextEdit, Ui, vec2};

use super::keys::pressed;
use super::widgets::{icon_button, pill, section};
use super::{icons, theme};
use crate::actions::{ACTIONS, Action};
use crate::command::Command;
use crate::editor::Editor;
use crate::fuzzy::Search;
use crate::keymap::{Chord, Preset};
use crate::preferences::Appearance;

/// Which part of the settings is shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Page {
    #[default]
    General,
    Keys,
}

/// A key that was pressed for an action, and the action that has it already.
struct Conflict {
    action: &'static Action,
    chord: Chord,
    other: &'static Action,
}

/// The settings.
#[derive(Default)]
pub(super) struct Settings {
    page: Page,
    wanted: String,
    search: Search,
    /// The action that waits for its key.
    waiting: Option<&'static Action>,
    conflict: Option<Conflict>,
}

impl Settings {
    /// Starts anew.
    pub(super) fn clear(&mut self) {
        *self = Self { page: self.page, ..Self::default() };
    }

    /// Whether the next key is meant for an action: no other key means anything then.
    pub(super) fn takes_keys(&self) -> bool {
        self.waiting.is_some()
    }

    /// Shows the page.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let room = ui.ctx().content_rect();
        ui.set_width(620.0_f32.min(room.width() - 80.0));
        ui.horizontal(|ui| {
            ui.label(RichText::new("Settings").size(18.0).color(theme::text()));
            ui.add_space(16.0);
            let pages = [(Page::General, "General", "Theme and hints"), (Page::Keys, "Keys", "Which key does what")];
            for (page, name, about) in pages {
                if pill(ui, self.page == page, name, about) {
                    *self = Self { page, ..Self::default() };
                }
            }
        });
        ui.add_space(10.0);
        match self.page {
            Page::General => general(ui, editor, commands),
            Page::Keys => self.keys(ui, editor, (room.height() - 330.0).clamp(160.0, 400.0), commands),
        }
    }

    fn keys(&mut self, ui: &mut Ui, editor: &Editor, height: f32, commands: &mut Vec<Command>) {
        let keys = &editor.preferences().keys;
        ui.horizontal(|ui| {
            for (preset, name) in Preset::ALL {
                let tip = "Starts from these keys; what you have changed is forgotten";
                if pill(ui, keys.preset() == preset, name, tip) {
                    commands.push(Command::StartFromKeys(preset));
                }
            }
            let field = TextEdit::singleline(&mut self.wanted).hint_text("Search actions or keys");
            ui.add(field.desired_width(f32::INFINITY)).accessible_name("Search actions or keys");
        });
        ui.add_space(4.0);
        self.capture(ui.ctx(), editor, commands);
        self.ask(ui, commands);
        let names: Vec<String> =
            ACTIONS.iter().map(|action| format!("{} {}", action.name, keys.text(action))).collect();
        let found = self.search.places(&self.wanted, names.iter().map(String::as_str));
        ScrollArea::vertical().max_height(height).auto_shrink([false, false]).show(ui, |ui| {
            for action in found.into_iter().map(|place| &ACTIONS[place]) {
                self.line(ui, editor, action, commands);
            }
        });
    }

    /// Takes the key that is pressed for the action that waits.
    fn capture(&mut self, ctx: &Context, editor: &Editor, commands: &mut Vec<Command>) {
        let Some(action) = self.waiting else { return };
        let pressed = ctx.input(|input| input.events.iter().find_map(pressed));
        let Some(chord) = pressed else { return };
        self.waiting = None;
        // Or else Space and Enter would press what has the keyboard.
        ctx.input_mut(|input| input.events.retain(|event| !matches!(event, Event::Key { .. } | Event::Text(_))));
        if chord.key == Key::Escape {
            return;
        }
        match editor.preferences().keys.find(chord).filter(|other| other.id != action.id) {
            Some(other) => self.conflict = Some(Conflict { action, chord, other }),
            None => commands.push(Command::BindKey(action.id, Some(chord))),
        }
    }

    /// Names the action that has a key already, and asks.
    fn ask(&mut self, ui: &mut Ui, commands: &mut Vec<Command>) {
        let Some(Conflict { action, chord, other }) = &self.conflict else { return };
        let text = format!("{chord} already means “{}”. Take it for “{}”?", other.name, action.name);
        let (mut take, mut leave) = (false, false);
        ui.horizontal_wrapped(|ui| {
            ui.label(RichText::new(text).color(theme::accent_text()));
            take = ui.button("Take it").clicked();
            leave = ui.button("Leave it").clicked();
        });
        if take {
            commands.push(Command::BindKey(action.id, Some(*chord)));
        }
        if take || leave {
            self.conflict = None;
        }
    }

    fn line(&mut self, ui: &mut Ui, editor: &Editor, action: &'static Action, commands: &mut Vec<Command>) {
        let keys = &editor.preferences().keys;
        let row = vec2(ui.available_width(), 28.0);
        ui.allocate_ui_with_layout(row, Layout::right_to_left(Align::Center), |ui| {
            ui.add_space(10.0);
            let small = vec2(26.0, 24.0);
            let (text, changed) = (keys.text(action), keys.is_changed(action));
            let name = format!("First keys of {} again", action.name);
            if icon_button(ui, small, icons::BACK, &name, "As in the preset", changed).clicked() {
                commands.push(Command::ResetKey(action.id));
            }
            let name = format!("No key for {}", action.name);
            if icon_button(ui, small, icons::CLOSE, &name, "No key", !text.is_empty()).clicked() {
                commands.push(Command::BindKey(action.id, None));
            }
            let waits = self.waiting.is_some_and(|waiting| waiting.id == action.id);
            let shown = if waits {
                "press a key…"
            } else if text.is_empty() {
                "none"
            } else {
                &text
            };
            let colour = if waits || changed { theme::accent_text() } else { theme::text() };
            let button = Button::new(RichText::new(shown).size(13.0).color(colour)).min_size(vec2(150.0, 24.0));
            let button = ui.add(button).accessible_name(format!("Key for {}", action.name));
            if button.on_hover_text("Click, then press the new key; Esc leaves it").clicked() {
                self.conflict = None;
                self.waiting = Some(action);
            }
            ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
                ui.add(Label::new(RichText::new(action.name).color(theme::text())).truncate());
                let menu = RichText::new(action.menu.name()).size(theme::SMALL).color(theme::dim());
                ui.add(Label::new(menu).truncate());
            });
        });
    }
}

fn general(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    section(ui, "Theme");
    ui.horizontal(|ui| {
        for (appearance, name) in Appearance::ALL {
            if pill(
                ui,
                editor.preferences().appearance == appearance,
                name,
                "Light or dark panels; the picture stays as it is",
            ) {
                commands.push(Command::Appear(appearance));
            }
        }
    });
    ui.add_space(10.0);
    section(ui, "Hints");
    let (closed, all) = (editor.preferences().hints_done.len(), crate::preferences::Hint::ALL.len());
    ui.horizontal(|ui| {
        if ui.add_enabled(closed > 0, Button::new("Show hints again")).clicked() {
            commands.push(Command::ShowHints);
        }
        let known = format!("{closed} of {all} are known or were closed");
        ui.label(RichText::new(known).size(13.0).color(theme::dim()));
    });
}
