//! Which model paints: its family, and the models of that family that are at hand.

use andamento_model::library;
use andamento_model::library::fit::{Fit, Memory};
use andamento_model::networks::FAMILIES;
use egui::{
    Align2, Button, Color32, CursorIcon, Id, Key, Label, Popup, PopupCloseBehavior, Pos2, Rect, Response, RichText,
    Role, ScrollArea, Sense, TextEdit, Ui, WidgetInfo, vec2,
};

use super::panel::well;
use super::widgets::{browse, focus_ring, line, place_in_list, segment};
use super::{icons, theme};
use crate::command::{Command, Dialog};
use crate::editor::{Editor, Offer};
use crate::fuzzy::Search;

/// Families beside each other.
const PER_ROW: usize = 3;
/// Height of a family's switch.
const SWITCH: f32 = 25.0;
/// So many subjects of a model are listed at most.
const SUBJECTS: usize = 20;
/// Height of a model in the list.
const ENTRY: f32 = 42.0;

/// The chooser: what is searched for, the place in the list that Enter takes, and the memory when the list was opened.
#[derive(Default)]
pub(super) struct Chooser {
    wanted: String,
    at: usize,
    search: Search,
    memory: Option<(Option<Memory>, &'static str)>,
}

impl Chooser {
    /// Shows families and models.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        families(ui, editor, commands);
        ui.add_space(2.0);
        self.models(ui, editor, commands);
    }

    /// The model, and a list of all that can be searched by name, family and subject.
    fn models(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let card = &editor.card;
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 50.0), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, format!("Model: {}", card.title)));
        well(ui, &response, rect);
        let left = rect.left_top() + vec2(11.0, 8.0);
        let width = rect.width() - 40.0;
        write(ui, left, width, &card.title, (theme::BODY, theme::text()));
        let about = editor.offers.iter().find(|offer| offer.card.id == card.id).map(about).unwrap_or_default();
        write(ui, left + vec2(0.0, 19.0), width, &about, (theme::SMALL, theme::dim()));
        let corner = rect.right_center() - vec2(12.0, 0.0);
        ui.painter().text(corner, Align2::RIGHT_CENTER, icons::DOWN, theme::icon_font(13.0), theme::dim());
        if response.clicked() {
            self.wanted.clear();
            let own = editor.offers.iter().position(|offer| offer.card.id == card.id);
            (self.at, self.memory) = (own.unwrap_or(0), Some(editor.memory()));
        }
        let popup = Popup::menu(&response).close_behavior(PopupCloseBehavior::CloseOnClickOutside).width(rect.width());
        popup.show(|ui| {
            ui.set_width(rect.width() - 14.0);
            self.list(ui, editor, commands);
        });
        let tip = format!("{}, of the {} family. It sees {2} × {2} pixels", card.title, card.family, card.side);
        response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip);
    }

    fn list(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let field = TextEdit::singleline(&mut self.wanted).hint_text("Search models and subjects");
        let field = ui.add(field.desired_width(f32::INFINITY).id(Id::unique("model search")));
        let field = field.accessible_name("Search models and subjects");
        if !field.has_focus() && !field.lost_focus() {
            field.request_focus();
        }
        if field.changed() {
            self.at = 0;
        }
        let found = self.found(editor);
        let moved = browse(ui, &mut self.at, found.len());
        let entered = field.lost_focus() && ui.input(|input| input.key_pressed(Key::Enter));
        if found.is_empty() {
            ui.label(RichText::new("No model is called so, or paints such a subject").size(13.0).color(theme::dim()));
        }
        let (memory, whose) = *self.memory.get_or_insert_with(|| editor.memory());
        let mut chosen = found.get(self.at).filter(|_| entered).copied();
        ScrollArea::vertical().max_height(300.0).show(ui, |ui| {
            for (place, (offer, subject)) in found.iter().enumerate() {
                let fit = (offer.fit(memory.as_ref()), whose);
                let response = entry(ui, offer, *subject, fit, offer.card.id == editor.card.id);
                place_in_list(ui, &response, (place == self.at, moved));
                if response.clicked() {
                    chosen = Some((*offer, *subject));
                }
            }
        });
        if let Some((offer, subject)) = chosen {
            if subject.is_none() || offer.card.id != editor.card.id {
                commands.push(Command::ChooseModel(offer.card.id.clone()));
            }
            commands.extend(subject.map(|class| Command::Subject(class as u32)));
            ui.close();
        }
        ui.separator();
        let import = Button::new(RichText::new("Import checkpoints…")).min_size(vec2(ui.available_width(), 26.0));
        if ui.add_enabled(editor.importing.is_none(), import).clicked() {
            commands.push(Command::Ask(Dialog::Import));
            ui.close();
        }
        if let Some(how_far) = &editor.importing {
            ui.add(Label::new(RichText::new(how_far).size(theme::SMALL).color(theme::dim())).truncate());
        }
    }

    /// The models that fit what is searched for by name or family, then those that paint a subject that does.
    fn found<'a>(&mut self, editor: &'a Editor) -> Vec<(&'a Offer, Option<usize>)> {
        let offers = &editor.offers;
        let names: Vec<String> =
            offers.iter().map(|offer| format!("{} {}", offer.card.title, offer.card.family)).collect();
        let named = self.search.places(&self.wanted, names.iter().map(String::as_str));
        let mut found: Vec<_> = named.into_iter().map(|place| (&offers[place], None)).collect();
        if !self.wanted.trim().is_empty() {
            for offer in offers {
                let subjects = self.search.places(&self.wanted, offer.card.subjects.iter().map(String::as_str));
                found.extend(subjects.into_iter().take(SUBJECTS).map(|class| (offer, Some(class))));
            }
        }
        found
    }
}

/// A switch for every family. Those that no model is at hand of are grey.
fn families(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let rows = FAMILIES.len().div_ceil(PER_ROW);
    let size = vec2(ui.available_width(), rows as f32 * SWITCH + 6.0);
    let (rect, _) = ui.allocate_exact_size(size, Sense::hover());
    ui.painter().rect_filled(rect, theme::RADIUS, theme::well());
    let width = (rect.width() - 6.0) / PER_ROW as f32;
    for (index, family) in FAMILIES.iter().enumerate() {
        let corner = rect.min + vec2(3.0, 3.0);
        let at = corner + vec2((index % PER_ROW) as f32 * width, (index / PER_ROW) as f32 * SWITCH);
        let place = Rect::from_min_size(at, vec2(width, SWITCH)).shrink(1.0);
        let offer = editor.offers.iter().find(|offer| offer.card.family == family.name);
        let chosen = editor.card.family == family.name;
        let enabled = offer.is_some();
        let response = segment(ui, place, family.name, family.name, (enabled, chosen));
        if response.clicked() && !chosen {
            commands.extend(offer.map(|offer| Command::ChooseModel(offer.card.id.clone())));
        }
        let missing = "\nNo model of this family is here yet: import a checkpoint (Model menu)";
        let tip = format!("{}{}", family.paper, if enabled { "" } else { missing });
        response.on_hover_text(tip);
    }
}

/// One model of the list, or one of its subjects.
fn entry(
    ui: &mut Ui,
    offer: &Offer,
    subject: Option<usize>,
    (fit, whose): (Option<Fit>, &str),
    chosen: bool,
) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), ENTRY), Sense::click());
    let title = match subject.and_then(|class| offer.card.subjects.get(class)) {
        Some(subject) => format!("{subject} — {}", offer.card.title),
        None => offer.card.title.clone(),
    };
    response.widget_info(|| WidgetInfo::selected(Role::MenuItemRadio, true, chosen, &title));
    let fill = match (response.hovered(), chosen) {
        (true, _) => theme::control_hovered(),
        (false, true) => theme::control(),
        (false, false) => Color32::TRANSPARENT,
    };
    ui.painter().rect_filled(rect, theme::RADIUS, fill);
    let unknown = (fit.is_none() && offer.needs.is_some()).then_some(("fit not known", theme::dim()));
    let badge = fit.map(|fit| match fit {
        Fit::Fits => ("fits", theme::good()),
        Fit::Tight => ("tight", theme::busy()),
        Fit::TooLarge => ("too large", theme::bad()),
    });
    let badge = badge.or(unknown);
    let left = rect.left_top() + vec2(9.0, 4.0);
    let right = match badge {
        Some((word, colour)) => {
            let corner = rect.right_top() + vec2(-9.0, 6.0);
            ui.painter().text(corner, Align2::RIGHT_TOP, word, theme::font(theme::SMALL), colour).min.x
        }
        None => rect.max.x,
    };
    write(ui, left, right - 9.0 - left.x, &title, (theme::BODY, theme::text()));
    write(ui, left + vec2(0.0, 18.0), rect.width() - 18.0, &about(offer), (theme::SMALL, theme::dim()));
    focus_ring(ui, &response, rect, 6);
    let fits = match fit {
        None if offer.needs.is_some() => format!("Whether it fits is not known: {whose} does not tell its memory"),
        None | Some(Fit::Fits) => format!("It fits into the memory of {whose}"),
        Some(Fit::Tight) => format!("It needs more memory than {whose} has free: close other programs"),
        Some(Fit::TooLarge) => format!("It needs more memory than {whose} has"),
    };
    let card = &offer.card;
    let about =
        format!("{}, of the {} family\n{fits}\nLicence of the weights: {}", card.title, card.family, offer.licence);
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(about)
}

/// A line of text, as wide as there is room.
fn write(ui: &Ui, at: Pos2, width: f32, text: &str, (size, colour): (f32, Color32)) {
    ui.painter().galley(at, line(ui, text, width, size, colour), colour);
}

fn about(offer: &Offer) -> String {
    let card = &offer.card;
    let size = match card.parameters {
        0 => String::new(),
        count if count < 1_000_000 => format!("{:.0} k · ", count as f32 / 1e3),
        count => format!("{:.1} M · ", count as f32 / 1e6),
    };
    let origin = match offer.needs {
        None if library::bundled(&card.id).is_ok() => "bundled".into(),
        None => "trained".into(),
        Some(bytes) if bytes < 100 << 20 => format!("needs {} MB", (bytes >> 20).max(1)),
        Some(bytes) => format!("needs {:.1} GB", bytes as f64 / (1u64 << 30) as f64),
    };
    format!("{size}{0}×{0} tokens · {origin} · {1}", card.grid, offer.licence)
}
