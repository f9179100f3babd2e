//! The palette: everything that can be asked for, found by a few letters.

use andamento_model::order::ORDERS;
use egui::{Align, Button, Key, Label, Layout, RichText, Role, ScrollArea, TextEdit, Ui, WidgetInfo, vec2};

use super::panel::DETAILS;
use super::theme;
use super::widgets::{browse, place_in_list};
use crate::actions::{ACTIONS, Menu};
use crate::command::Command;
use crate::editor::{Editor, cause};
use crate::fuzzy::Search;
use crate::preferences::Appearance;

/// Height of a line.
const LINE: f32 = 30.0;

/// The palette.
#[derive(Default)]
pub(super) struct Palette {
    wanted: String,
    at: usize,
    search: Search,
}

/// Something to choose: what it is called, where it stands, its keys, and why it cannot be had now.
struct Entry {
    name: String,
    about: &'static str,
    keys: String,
    refusal: Option<String>,
    command: Command,
}

impl Palette {
    /// Empties the field.
    pub(super) fn clear(&mut self) {
        self.wanted.clear();
        self.at = 0;
    }

    /// Shows the field and what was found.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let room = ui.ctx().content_rect();
        ui.set_width(560.0_f32.min(room.width() - 80.0));
        let field = TextEdit::singleline(&mut self.wanted).desired_width(f32::INFINITY).margin(vec2(10.0, 8.0));
        let field =
            ui.add(field.hint_text("Search commands, models, subjects and orders")).accessible_name("Search commands");
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        if !field.has_focus() && !entered {
            field.request_focus();
        }
        if field.changed() {
            self.at = 0;
        }
        let entries = entries(editor, !self.wanted.trim().is_empty());
        // The menu's name counts, after the own.
        let names: Vec<String> = entries.iter().map(|entry| format!("{} {}", entry.name, entry.about)).collect();
        let found = self.search.places(&self.wanted, names.iter().map(String::as_str));
        let moved = browse(ui, &mut self.at, found.len());
        ui.add_space(4.0);
        if found.is_empty() {
            ui.label(RichText::new("Nothing is called so").color(theme::dim()));
        }
        let (mut chosen, height) = (None, (room.height() - 220.0).clamp(120.0, 420.0));
        ScrollArea::vertical().max_height(height).auto_shrink([false, true]).show(ui, |ui| {
            ui.spacing_mut().item_spacing.y = 2.0;
            for (place, entry) in found.iter().map(|place| &entries[*place]).enumerate() {
                if line(ui, entry, (place == self.at, moved)) {
                    chosen = Some(place);
                }
            }
        });
        let chosen = chosen.or(Some(self.at).filter(|_| entered));
        if let Some(entry) = chosen.and_then(|place| entries.get(*found.get(place)?)).filter(|e| e.refusal.is_none()) {
            commands.push(Command::CloseDialog);
            commands.push(entry.command.clone());
        }
    }
}

/// Everything; what is chosen from lists elsewhere only when something is searched for.
fn entries(editor: &Editor, searching: bool) -> Vec<Entry> {
    let keys = &editor.preferences().keys;
    let actions = ACTIONS.iter().filter(|action| action.id != "palette").map(|action| Entry {
        name: action.title(editor),
        about: action.menu.name(),
        keys: keys.text(action),
        refusal: action.refusal(editor),
        command: action.command(editor),
    });
    let plain = |name: String, about, command| Entry { name, about, keys: String::new(), refusal: None, command };
    let offers = editor.offers.iter().map(|offer| {
        let name = format!("Use {}", offer.card.title);
        plain(name, Menu::Model.name(), Command::ChooseModel(offer.card.id.clone()))
    });
    let orders = ORDERS.iter().map(|order| Entry {
        refusal: editor.check_order(order.name).err().map(cause),
        ..plain(format!("Order: {}", order.title), "Generation order", Command::Order(order.name))
    });
    let details = DETAILS.iter().map(|(extent, name, _)| Entry {
        refusal: editor.check_extent(*extent).err().map(cause),
        ..plain(format!("Detail: {name}"), "Sampling", Command::Extent(*extent))
    });
    let themes =
        Appearance::ALL.map(|(theme, name)| plain(format!("Theme: {name}"), "Settings", Command::Appear(theme)));
    let subjects = editor.card.subjects.iter().enumerate();
    let subjects =
        subjects.map(|(class, name)| plain(format!("Paint {name}"), "Subject", Command::Subject(class as u32)));
    let chosen = orders.chain(details).chain(themes).chain(offers).chain(subjects);
    actions.chain(chosen.filter(|_| searching)).collect()
}

/// One line. Returns whether it was clicked.
fn line(ui: &mut Ui, entry: &Entry, at: (bool, bool)) -> bool {
    let enabled = entry.refusal.is_none();
    let size = vec2(ui.available_width(), LINE);
    let button = Button::new("").frame_when_inactive(false).min_size(size);
    let response = ui.add_enabled(enabled, button);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, &entry.name));
    place_in_list(ui, &response, at);
    let inside = response.rect.shrink2(vec2(10.0, 0.0));
    let mut ui = ui.new_child(egui::UiBuilder::new().max_rect(inside).layout(Layout::right_to_left(Align::Center)));
    let text = |text: &str, colour| Label::new(RichText::new(text).size(13.0).color(colour)).truncate();
    ui.add(text(&entry.keys, theme::accent_text()));
    let colour = if enabled { theme::text() } else { theme::faint() };
    ui.with_layout(Layout::left_to_right(Align::Center), |ui| {
        ui.add(Label::new(RichText::new(&entry.name).color(colour)).truncate());
        ui.add(text(entry.refusal.as_deref().unwrap_or(entry.about), theme::dim()));
    });
    response.clicked()
}
