//! The panel on the right: model, subject, order, sampling, Generate, results.

use std::borrow::Cow;

use andamento_model::Error;
use andamento_model::frame::Extent;
use andamento_model::lattice::Grid;
use andamento_model::network::Pace;
use andamento_model::order::{ORDERS, Order};
use andamento_model::sample::{Guidance, Sampling};
use egui::{
    Align, Align2, Color32, CornerRadius, CursorIcon, DragValue, Id, Layout, Mesh, Popup, PopupCloseBehavior, Rect,
    Response, RichText, Role, ScrollArea, Sense, Stroke, StrokeKind, TextEdit, Ui, UiBuilder, Vec2, WidgetInfo, pos2,
    vec2,
};

use super::widgets::{browse, choice, focus_ring, icon_button, key, section, segment, slider, toggle};
use super::{icons, models, seam, theme, variations};
use crate::actions::{by_id, with_keys};
use crate::command::Command;
use crate::editor::{Editor, Engine, LEAST_TOP_P, MOST_CONTEXT, MOST_VARIATIONS, Settings, cause};
use crate::fuzzy::Search;
use crate::keymap::Chord;
use crate::preferences::Hint;

/// Small pictures of orders beside each other.
const ORDERS_PER_ROW: usize = 6;
/// Tokens along each side of the small pictures of the orders.
const SMALL_GRID: usize = 6;
/// How long Generate pulses at the start, in seconds.
const PULSE: f32 = 2.4;
/// What stays in sight below what can be scrolled beside the results: Generate and a heading.
const TAIL: f32 = 96.0;
/// A panel less high than this has smaller pictures of orders and results.
const SHORT: f32 = 600.0;
/// The side of a result,
const RESULT: f32 = 62.0;
/// and in a short panel.
const SMALL_RESULT: f32 = 42.0;
/// Over so many points what can be scrolled fades out where it goes on.
const FADE: f32 = 22.0;
/// Width of the names of the controls.
pub(super) const NAME: f32 = 92.0;
/// The most codes that top-k offers, unless the model has more of its own: the most that papers used.
const MOST_CODES: f64 = 2000.0;

/// How much of the canvas the model sees, and how finely: what is meant, its name, and its tooltip.
pub(super) const DETAILS: [(Extent, &str, &str); 3] = [
    (
        Extent::Trained,
        "one frame",
        "A square of the canvas around the mask, on as many tokens as the model was trained with",
    ),
    (
        Extent::Refined(2),
        "2× finer",
        "The same square on four times as many tokens: finer, and four times the work. How well that goes depends on the \
         model, which learned from coarser pictures (resolution extrapolation). Takes the order Layout first: finer \
         tokens follow once the coarse ones are made",
    ),
    (
        Extent::Canvas,
        "whole canvas",
        "The whole canvas at once, however long it is; its shorter side has as many tokens as in training \
         (outpainting: extrapolated RoPE with full attention)",
    ),
];

/// Height of the keys at the end, if there is room.
const KEYS: f32 = 44.0;

/// What the panel keeps between frames.
#[derive(Default)]
pub(super) struct Panel {
    /// What is searched for among the subjects, and the place in the list that Enter takes.
    wanted: String,
    at: usize,
    search: Search,
    chooser: models::Chooser,
    strip: variations::Strip,
    pulse: Option<f32>,
    /// The controls that are seldom needed were just opened, and may lie out of sight.
    opened: bool,
}

impl Panel {
    /// Shows the panel.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        // Seen at rest as well, so that what lies below is not overlooked, and beside the controls.
        let scroll = &mut ui.spacing_mut().scroll;
        (scroll.dormant_handle_opacity, scroll.bar_outer_margin, scroll.bar_width) = (0.3, -8.0, 5.0);
        let short = ui.available_height() < SHORT;
        let side = if short { SMALL_RESULT } else { RESULT };
        let results = if editor.results.is_empty() { 8.0 } else { side };
        let room = (ui.available_height() - TAIL - results).max(120.0);
        let scrolled = ScrollArea::vertical().max_height(room).auto_shrink([false, true]).show(ui, |ui| {
            section(ui, "Model");
            self.chooser.show(ui, editor, commands);
            ui.add_space(5.0);
            section(ui, "Subject");
            self.subject(ui, editor, commands);
            ui.add_space(5.0);
            orders(ui, editor, short, commands);
            ui.add_space(5.0);
            section(ui, "Sampling");
            sampling(ui, editor, commands);
            self.more(ui, editor, commands);
            ui.add_space(5.0);
            section(ui, "Edge of the mask");
            seam::show(ui, editor, commands);
        });
        fade(ui, scrolled.inner_rect, scrolled.state.clamped_offset().y, scrolled.content_size.y);
        ui.add_space(6.0);
        self.generate(ui, editor, commands);
        ui.add_space(6.0);
        variations::heading(ui, editor, commands);
        self.strip.show(ui, editor, side, commands);
        let rest = ui.available_rect_before_wrap();
        if rest.height() > KEYS + 16.0 {
            let place = Rect::from_min_max(pos2(rest.min.x, rest.max.y - KEYS), rest.max);
            ui.scope_builder(UiBuilder::new().max_rect(place), |ui| keys_needed_most(ui, editor));
        }
    }

    /// The subject, and a list that can be searched.
    fn subject(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let subjects = &editor.card.subjects;
        let chosen = subjects.get(editor.settings.subject as usize).map_or("", String::as_str);
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 36.0), Sense::click());
        response.widget_info(|| WidgetInfo::labeled(Role::ComboBox, true, format!("Subject: {chosen}")));
        well(ui, &response, rect);
        let painter = ui.painter();
        painter.text(
            rect.left_center() + vec2(11.0, 0.0),
            Align2::LEFT_CENTER,
            chosen,
            theme::font(theme::BODY),
            theme::text(),
        );
        let count = format!("{} classes", subjects.len());
        let right = rect.right_center() - vec2(11.0, 0.0);
        let text = painter.text(right, Align2::RIGHT_CENTER, count, theme::font(13.0), theme::dim());
        painter.text(
            text.left_center() - vec2(5.0, 0.0),
            Align2::RIGHT_CENTER,
            icons::SEARCH,
            theme::icon_font(14.0),
            theme::dim(),
        );
        if response.clicked() {
            self.wanted.clear();
            self.at = 0;
        }
        let popup = Popup::menu(&response).close_behavior(PopupCloseBehavior::CloseOnClickOutside).width(rect.width());
        popup.show(|ui| {
            ui.set_width(rect.width() - 14.0);
            let field =
                TextEdit::singleline(&mut self.wanted).hint_text("Search the subjects").desired_width(f32::INFINITY);
            let field = ui.add(field.id(Id::unique("subject search")));
            if !field.has_focus() && !field.lost_focus() {
                field.request_focus();
            }
            if field.changed() {
                self.at = 0;
            }
            let found = self.search.places(&self.wanted, subjects.iter().map(String::as_str));
            let moved = browse(ui, &mut self.at, found.len());
            let entered = field.lost_focus() && ui.input(|input| input.key_pressed(egui::Key::Enter));
            if let Some(class) = found.get(self.at).filter(|_| entered) {
                commands.push(Command::Subject(*class as u32));
                ui.close();
            }
            if found.is_empty() {
                ui.label(RichText::new("This model knows no such subject").size(13.0).color(theme::dim()));
            }
            ScrollArea::vertical().max_height(260.0).show(ui, |ui| {
                for (place, class) in found.into_iter().enumerate() {
                    let at = (place == self.at, moved);
                    if choice(ui, &subjects[class], class as u32 == editor.settings.subject, at) {
                        commands.push(Command::Subject(class as u32));
                        ui.close();
                    }
                }
            });
        });
        response
            .on_hover_cursor(CursorIcon::PointingHand)
            .on_hover_text("What shall be painted (the class that conditions the model)");
    }

    /// The controls that are seldom needed, behind their heading.
    fn more(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let open = editor.show.more;
        let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width(), 22.0), Sense::click());
        response.widget_info(|| WidgetInfo::selected(Role::DisclosureTriangle, true, open, "More"));
        let colour = if response.hovered() { theme::text() } else { theme::dim() };
        let icon = if open { icons::DOWN } else { icons::FORWARD };
        let left = rect.left_center();
        let painter = ui.painter();
        painter.text(left, Align2::LEFT_CENTER, icon, theme::icon_font(12.0), colour);
        painter.text(left + vec2(17.0, 0.0), Align2::LEFT_CENTER, "More", theme::font(13.0), colour);
        if !open && is_unusual(editor) {
            painter.text(rect.right_center(), Align2::RIGHT_CENTER, "changed", theme::font(13.0), theme::accent_text());
        }
        focus_ring(ui, &response, rect, 4);
        if response.clicked() {
            commands.push(Command::ShowMore(!open));
            self.opened = !open;
        }
        response
            .on_hover_cursor(CursorIcon::PointingHand)
            .on_hover_text("Context, choices, coverage, smooth: seldom needed, as each model has its own values");
        if open {
            seldom(ui, editor, commands);
            if std::mem::take(&mut self.opened) {
                ui.scroll_to_cursor(Some(Align::BOTTOM));
            }
        }
    }

    fn generate(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        let refusal = editor.cannot_generate();
        let enabled = refusal.is_none();
        ui.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 8.0;
            let size = vec2(ui.available_width() - 50.0, 40.0);
            let (rect, response) = ui.allocate_exact_size(size, if enabled { Sense::click() } else { Sense::hover() });
            response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, "Generate"));
            let fill = match (enabled, response.hovered(), response.is_pointer_button_down_on()) {
                (false, ..) => theme::mix(theme::panel(), theme::accent(), 0.35),
                (true, _, true) => theme::mix(theme::accent(), Color32::BLACK, 0.12),
                (true, true, false) => theme::accent_hovered(),
                (true, false, false) => theme::accent(),
            };
            let painter = ui.painter();
            painter.rect_filled(rect, theme::RADIUS, fill);
            let name = painter.layout_no_wrap("Generate".into(), theme::font(16.0), theme::on_accent());
            // Enter has its own sign.
            let bound = by_id("generate").map(|action| editor.preferences().keys.chords(action)).unwrap_or_default();
            let bound = bound.first().map(Chord::to_string).unwrap_or_default();
            let (held, enters) = match bound.strip_suffix("+Enter") {
                Some(held) => (held.to_owned(), true),
                None => (bound, false),
            };
            let faded = theme::mix(theme::on_accent(), fill, 0.2);
            let keys = painter.layout_no_wrap(held, theme::font(13.0), faded);
            let width = name.size().x + 16.0 + keys.size().x + if enters { 18.0 } else { 0.0 };
            let left = rect.center() - vec2(width / 2.0, 0.0);
            painter.galley(left - vec2(0.0, name.size().y / 2.0), name.clone(), theme::on_accent());
            // Twice, a little apart: the bundled fonts have no bold.
            painter.galley(left - vec2(-0.4, name.size().y / 2.0), name.clone(), theme::on_accent());
            let at = left + vec2(name.size().x + 16.0, 0.0);
            painter.galley(at - vec2(0.0, keys.size().y / 2.0), keys.clone(), theme::on_accent());
            if enters {
                let enter = at + vec2(keys.size().x + 4.0, 0.5);
                painter.text(enter, Align2::LEFT_CENTER, icons::ENTER, theme::icon_font(14.0), faded);
            }
            self.pulse(ui, editor, rect);
            focus_ring(ui, &response, rect, 6);
            if response.clicked() && enabled {
                commands.push(Command::Generate);
            }
            let tip = refusal.unwrap_or_else(|| with_keys(editor, "Repaint what the mask covers", "generate"));
            response.on_hover_text(&tip).on_disabled_hover_text(tip);
            let (tip, running) = (
                with_keys(editor, "Stop, and keep what was decoded", "stop"),
                editor.run.is_some() || editor.surprise.reading.is_some(),
            );
            let stop = icon_button(ui, vec2(42.0, 40.0), "", "Stop", &tip, running);
            let colour = if running { theme::text() } else { theme::faint() };
            ui.painter().rect_filled(Rect::from_center_size(stop.rect.center(), vec2(11.0, 11.0)), 1.5, colour);
            if stop.clicked() {
                commands.push(Command::Stop);
            }
        });
    }

    /// Generate pulses once, when the model is ready for the first time.
    fn pulse(&mut self, ui: &Ui, editor: &Editor, rect: Rect) {
        let known = editor.generated || editor.preferences().hints_done.contains(&Hint::Generate);
        if known || !matches!(editor.engine, Engine::Ready { .. }) {
            return;
        }
        let age = self.pulse.get_or_insert(0.0);
        if *age < PULSE {
            *age += ui.input(|input| input.stable_dt).min(0.1);
            let share = *age / PULSE;
            let strength = (share * std::f32::consts::PI).sin().max(0.0);
            let glow = theme::GLOW.gamma_multiply(0.8 * strength);
            let rect = rect.expand(1.0 + 3.0 * share);
            ui.painter().rect_stroke(rect, CornerRadius::same(8), Stroke::new(2.0, glow), StrokeKind::Outside);
            ui.ctx().request_repaint();
        }
    }
}

/// A small picture of every order; without room, smaller ones in one row, and the title of the chosen one alone.
fn orders(ui: &mut Ui, editor: &Editor, short: bool, commands: &mut Vec<Command>) {
    let heading = section(ui, "Generation order").rect;
    let chosen = ORDERS.iter().find(|order| short && order.name == editor.settings.order);
    let beside = match (chosen, editor.follows_path()) {
        (Some(chosen), false) => chosen.title.into(),
        (Some(chosen), true) => format!("path + {}", chosen.title),
        (None, true) => "after the painted path".into(),
        (None, false) => String::new(),
    };
    let at = pos2(ui.max_rect().max.x, heading.center().y);
    ui.painter().text(at, Align2::RIGHT_CENTER, beside, theme::font(theme::SMALL), theme::text());
    let per_row = if short { ORDERS.len() } else { ORDERS_PER_ROW };
    let width = (ui.available_width() - 2.0 * (per_row - 1) as f32) / per_row as f32;
    ui.spacing_mut().item_spacing = vec2(2.0, 4.0);
    for row in ORDERS.chunks(per_row) {
        ui.horizontal(|ui| {
            for order in row {
                if order_picture(ui, order, editor, width, short) {
                    commands.push(Command::Order(order.name));
                }
            }
        });
    }
}

fn order_picture(ui: &mut Ui, order: &Order, editor: &Editor, width: f32, short: bool) -> bool {
    let (settings, orders) = (editor.settings, editor.abilities.orders);
    let refusal = editor.check_order(order.name).err();
    let sense = if refusal.is_none() { Sense::click() } else { Sense::hover() };
    let (height, cell) = if short { (28.0, 3.6) } else { (68.0, 6.6) };
    let (rect, response) = ui.allocate_exact_size(vec2(width, height), sense);
    let chosen = settings.order == order.name;
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, refusal.is_none(), chosen, order.title));
    let painter = ui.painter();
    if chosen {
        painter.rect(
            rect,
            theme::RADIUS,
            theme::mix(theme::panel(), theme::accent(), 0.10),
            Stroke::new(1.0, theme::accent()),
            StrokeKind::Inside,
        );
    } else if response.hovered() && refusal.is_none() {
        painter.rect_filled(rect, theme::RADIUS, theme::control());
    }
    let fade = if refusal.is_none() { 1.0 } else { 0.22 };
    let sites = order.arrange(Grid::new(SMALL_GRID, SMALL_GRID), settings.seed);
    let corner = rect.center_top() + vec2(-cell * SMALL_GRID as f32 / 2.0, if short { 3.2 } else { 5.0 });
    for (rank, site) in sites.iter().enumerate() {
        let (row, col) = (*site as usize / SMALL_GRID, *site as usize % SMALL_GRID);
        let at = corner + vec2(col as f32, row as f32) * cell;
        let colour = theme::rank(rank as f32 / (sites.len() - 1) as f32);
        painter.rect_filled(Rect::from_min_size(at, Vec2::splat(0.86 * cell)), 1.0, colour.gamma_multiply(fade));
    }
    let colour = match (chosen, &refusal) {
        (true, _) => theme::text(),
        (false, None) => theme::mix(theme::dim(), theme::text(), 0.3),
        (false, Some(_)) => theme::faint(),
    };
    // Titles of two words take two lines.
    for (line, word) in order.title.split(' ').enumerate().filter(|_| !short) {
        let at = rect.center_top() + vec2(0.0, 47.0 + 9.0 * line as f32);
        painter.text(at, Align2::CENTER_TOP, word, theme::font(9.5), colour);
    }
    focus_ring(ui, &response, rect, 6);
    let clicked = response.clicked() && refusal.is_none();
    let cursor = if refusal.is_none() { CursorIcon::PointingHand } else { CursorIcon::NotAllowed };
    let note = match (refusal, orders.experimental(order.name)) {
        (Some(error), _) => format!("\n{}", not_now(error)),
        (None, Some(label)) => format!("\nExperimental: {label}"),
        (None, None) => String::new(),
    };
    response.on_hover_cursor(cursor).on_hover_text(format!("{}\n{}{note}", order.title, order.about));
    clicked
}

fn sampling(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let Settings { steps, guidance, sampling, seed, seed_locked, .. } = editor.settings;
    ui.spacing_mut().item_spacing.y = 2.0;
    detail(ui, editor, commands);
    let limit = editor.sites() as f64;
    let tip = "Runs of the model for a whole picture; a masked part takes its share. Few are fast, many are careful (parallel decoding along a cosine)";
    match editor.abilities.pace {
        Pace::Free => {
            if let Some(value) = Knob::new("Steps", 1.0, limit, 0, tip).show(ui, steps as f64) {
                commands.push(Command::Steps(value as usize));
            }
        }
        Pace::Fixed { reason, .. } => {
            let knob = Knob::new("Steps", 1.0, limit, 0, reason);
            ui.add_enabled_ui(false, |ui| knob.show(ui, editor.fixed_steps() as f64));
        }
    }
    let (least, most, tip) = match editor.card.defaults.guidance {
        Guidance::Linear { .. } | Guidance::Spatial { .. } => (1.0, 10.0, "from 1 rising to this; 1 is off"),
        Guidance::Constant { .. } | Guidance::Factors { .. } => (1.0, 10.0, "the same throughout; 1 is off"),
        Guidance::PowerCosine { .. } => (1.0, 20.0, "from 1 rising to this, late and steep; 1 is off"),
        Guidance::Scales { .. } => (0.0, 10.0, "added to 1, growing with the scales; 0 is off"),
    };
    let tip = format!("How strongly the subject pulls (classifier-free guidance scale, {tip})");
    if let Some(value) = Knob::new("Guidance", least, most, 1, &tip).show(ui, f64::from(guidance)) {
        commands.push(Command::Guidance(value as f32));
    }
    let tip = "Below 1 cautious, above 1 bold (divides the logits); at 0 the likeliest token is always taken";
    let temperature = f64::from(sampling.temperature);
    if let Some(value) = Knob::new("Temperature", 0.0, 2.0, 2, tip).show(ui, temperature) {
        commands.push(Command::Temperature(value as f32));
    }
    count(ui, editor, commands);
    ui.horizontal(|ui| {
        ui.set_height(24.0);
        name(ui, "Seed", NAME);
        let size = vec2(26.0, 22.0);
        let (icon, action, tip) = if seed_locked {
            (icons::LOCKED, "Unlock seed", "Locked: every run takes this seed. Click to take a new one for each run")
        } else {
            (icons::UNLOCKED, "Lock seed", "A new seed for each run. Click to keep this one")
        };
        if icon_button(ui, size, icon, action, tip, true).clicked() {
            commands.push(Command::LockSeed(!seed_locked));
        }
        if icon_button(ui, size, icons::DICE, "New seed", "Roll another seed", true).clicked() {
            commands.push(Command::RollSeed);
        }
        let word = if seed_locked { "locked" } else { "varies" };
        ui.label(RichText::new(word).size(13.0).color(theme::dim()));
        ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
            let mut value = seed;
            let drag = DragValue::new(&mut value).speed(1.0).range(0..=u64::from(u32::MAX));
            let drag = drag.custom_formatter(|value, _| grouped(value as u64)).custom_parser(parse_grouped);
            let response = bare(ui, |ui| ui.add(drag)).accessible_name("Seed");
            if response
                .on_hover_text("Where the randomness starts: the same seed and settings make the same tokens")
                .changed()
            {
                commands.push(Command::Seed(value));
            }
        });
    });
}

/// How many variations one press of Generate makes.
fn count(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let tip = "So many results, one after the other, each with another seed. Left and Right go through them";
    let knob = Knob::new("Variations", 1.0, MOST_VARIATIONS as f64, 0, tip);
    if let Some(value) = knob.show(ui, editor.settings.variations as f64) {
        commands.push(Command::Variations(value as usize));
    }
}

/// How much of the canvas the model sees, and how finely.
fn detail(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.horizontal(|ui| {
        ui.set_height(28.0);
        ui.spacing_mut().item_spacing.x = 0.0;
        let font = theme::font(12.5);
        let widths = DETAILS
            .map(|(_, title, _)| ui.painter().layout_no_wrap(title.into(), font.clone(), theme::text()).size().x);
        // As far as the names leave room, the well begins where the sliders do.
        let room = ui.available_width();
        let wide = (room - NAME - 6.0).max(widths.iter().sum::<f32>() + 40.0);
        name(ui, "Detail", room - wide).on_hover_text("How much of the canvas the model sees at once, and how finely");
        let (rect, _) = ui.allocate_exact_size(vec2(wide, 28.0), Sense::hover());
        ui.painter().rect_filled(rect, theme::RADIUS, theme::well());
        let rect = rect.shrink(2.0);
        let spare = (rect.width() - widths.iter().sum::<f32>()) / DETAILS.len() as f32;
        let mut left = rect.min.x;
        for ((extent, title, about), width) in DETAILS.iter().zip(widths) {
            let right = left + width + spare;
            let place = Rect::from_min_max(pos2(left, rect.min.y), pos2(right, rect.max.y)).shrink2(vec2(1.0, 0.5));
            left = right;
            let (refusal, chosen) = (editor.check_extent(*extent).err(), editor.settings.extent == *extent);
            let response = segment(ui, place, title, &format!("Detail: {title}"), (refusal.is_none(), chosen));
            if response.clicked() && !chosen {
                commands.push(Command::Extent(*extent));
            }
            let note = refusal.map_or(String::new(), |error| format!("\n{}", not_now(error)));
            response.on_hover_text(format!("{about}{note}"));
        }
    });
}

/// The controls that are seldom needed.
fn seldom(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let Settings { context, sampling, .. } = editor.settings;
    let tip = "How strongly the surroundings pull: all tokens against a part of them (spatial contextual guidance, SCG; \
               from 1 rising to this)";
    let refusal = editor.check_context().err();
    let knob = Knob::new("Context", 1.0, f64::from(MOST_CONTEXT), 1, tip).at_rest(1.0, "off");
    if let Some(value) = knob.refused(refusal).show(ui, f64::from(context)) {
        commands.push(Command::Context(value as f32));
    }
    let tip = "From how many of the likeliest codes each token is drawn (top-k)";
    let most = MOST_CODES.max(sampling.top_k as f64);
    let knob = Knob::new("Choices", 0.0, most, 0, tip).at_rest(0.0, "all");
    if let Some(value) = knob.show(ui, sampling.top_k as f64) {
        commands.push(Command::TopK(value as usize));
    }
    let tip = "Draws from the likeliest codes that reach this probability together (top-p, nucleus sampling)";
    let knob = Knob::new("Coverage", f64::from(LEAST_TOP_P), 1.0, 2, tip).at_rest(1.0, "all");
    if let Some(value) = knob.show(ui, f64::from(sampling.top_p)) {
        commands.push(Command::TopP(value as f32));
    }
    let refusal = editor.abilities.check(&Sampling { smooth: true, ..sampling }).err();
    ui.add_enabled_ui(refusal.is_none(), |ui| {
        let tip = "Mixes codes instead of choosing one: softer pictures (VAR's smooth mode, Gumbel softmax)";
        let tip = refusal.map_or(tip.into(), |error| format!("{tip}\n{}", not_now(error)));
        ui.horizontal(|ui| {
            ui.set_height(22.0);
            name(ui, "Smooth", NAME).on_hover_text(&tip).on_disabled_hover_text(&tip);
            if toggle(ui, sampling.smooth, "Smooth", &tip) {
                commands.push(Command::Smooth(!sampling.smooth));
            }
        });
    });
}

/// Whether a control that is seldom needed says something else than the model's own values.
fn is_unusual(editor: &Editor) -> bool {
    let (settings, usual) = (editor.settings, editor.card.defaults);
    let usual_temperature = Sampling { temperature: settings.sampling.temperature, ..usual.sampling };
    settings.sampling != usual_temperature || (settings.context - usual.guidance.context()).abs() > f32::EPSILON
}

/// Why a control is grey, for its tooltip.
fn not_now(error: Error) -> String {
    format!("Not available: {}", cause(error))
}

/// A slider with its name on the left and its number on the right.
pub(super) struct Knob<'a> {
    label: &'static str,
    range: (f64, f64),
    decimals: usize,
    /// The value at which it does nothing, and the word for that.
    rest: Option<(f64, &'static str)>,
    enabled: bool,
    tip: Cow<'a, str>,
}

impl<'a> Knob<'a> {
    pub(super) fn new(label: &'static str, least: f64, most: f64, decimals: usize, tip: &'a str) -> Self {
        Self { label, range: (least, most), decimals, rest: None, enabled: true, tip: tip.into() }
    }

    pub(super) fn at_rest(self, value: f64, word: &'static str) -> Self {
        Self { rest: Some((value, word)), ..self }
    }

    /// Greyed out, with the reason, where there is one.
    pub(super) fn refused(self, refusal: Option<Error>) -> Self {
        let Some(error) = refusal else { return self };
        let tip = format!("{}\n{}", self.tip, not_now(error)).into();
        Self { enabled: false, tip, ..self }
    }

    /// Shows it, and returns what it was set to.
    pub(super) fn show(&self, ui: &mut Ui, value: f64) -> Option<f64> {
        let (least, most) = self.range;
        let (mut slid, mut typed) = (value, value);
        let told = |response: Response| response.on_hover_text(&*self.tip).on_disabled_hover_text(&*self.tip);
        let row = |ui: &mut Ui| {
            ui.set_height(22.0);
            told(name(ui, self.label, NAME));
            ui.spacing_mut().slider_width = ui.available_width() - 62.0;
            told(slider(ui, &mut slid, least, most, self.label));
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| {
                let drag = DragValue::new(&mut typed).range(least..=most).speed((most - least) / 300.0);
                let drag = drag.custom_formatter(|value, _| self.text(value)).max_decimals(self.decimals);
                told(bare(ui, |ui| ui.add(drag)).accessible_name(format!("{} (number)", self.label)));
            });
        };
        ui.add_enabled_ui(self.enabled, |ui| ui.horizontal(row));
        let unit = 10f64.powi(self.decimals as i32);
        let rounded = |value: f64| ((value * unit).round() / unit).clamp(least, most);
        [slid, typed].into_iter().find(|new| (new - value).abs() > 1e-9).map(rounded)
    }

    fn text(&self, value: f64) -> String {
        match self.rest {
            Some((rest, word)) if (value - rest).abs() < 1e-9 => word.into(),
            _ => format!("{value:.*}", self.decimals),
        }
    }
}

pub(super) fn name(ui: &mut Ui, text: &str, width: f32) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(width, 20.0), Sense::hover());
    ui.painter().text(rect.left_center(), Align2::LEFT_CENTER, text, theme::font(theme::BODY), theme::text());
    response
}

/// A number without a frame.
fn bare<R>(ui: &mut Ui, show: impl FnOnce(&mut Ui) -> R) -> R {
    ui.scope(|ui| {
        ui.spacing_mut().button_padding = vec2(2.0, 2.0);
        ui.spacing_mut().interact_size.x = 16.0;
        ui.visuals_mut().widgets.inactive.weak_bg_fill = Color32::TRANSPARENT;
        show(ui)
    })
    .inner
}

pub(super) fn well(ui: &Ui, response: &Response, rect: Rect) {
    let fill = if response.hovered() { theme::control_hovered() } else { theme::control() };
    ui.painter().rect_filled(rect, theme::RADIUS, fill);
    focus_ring(ui, response, rect, 6);
}

/// Fades out what can be scrolled where it goes on beyond its rectangle.
fn fade(ui: &Ui, rect: Rect, offset: f32, height: f32) {
    let shade = |edge: f32, inner: f32| {
        let mut mesh = Mesh::default();
        for (y, colour) in [(edge, theme::panel()), (inner, Color32::TRANSPARENT)] {
            mesh.colored_vertex(pos2(rect.min.x, y), colour);
            mesh.colored_vertex(pos2(rect.max.x, y), colour);
        }
        mesh.add_triangle(0, 1, 2);
        mesh.add_triangle(1, 2, 3);
        ui.painter().add(mesh);
    };
    if offset > 0.5 {
        shade(rect.min.y, rect.min.y + FADE);
    }
    if offset + rect.height() < height - 0.5 {
        shade(rect.max.y, rect.max.y - FADE);
    }
}

/// The keys that are needed most.
fn keys_needed_most(ui: &mut Ui, editor: &Editor) {
    ui.horizontal_wrapped(|ui| {
        ui.spacing_mut().item_spacing = vec2(5.0, 4.0);
        let word = |ui: &mut Ui, text: &str| {
            ui.label(RichText::new(text).size(13.0).color(theme::dim()));
        };
        let bound = |ui: &mut Ui, id: &str| {
            let chords = by_id(id).map(|action| editor.preferences().keys.chords(action)).unwrap_or_default();
            chords.iter().take(1).for_each(|chord| key(ui, &chord.to_string()));
        };
        bound(ui, "brush-smaller");
        bound(ui, "brush-larger");
        word(ui, "brush size ·");
        bound(ui, "swap-erase");
        word(ui, "erase ·");
        key(ui, "Space");
        word(ui, "pan ·");
        bound(ui, "palette");
        word(ui, "commands ·");
        bound(ui, "keys");
        word(ui, "all keys");
    });
}

/// A number with its thousands apart.
pub(super) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(' ');
        }
        text.push(digit);
    }
    text
}

fn parse_grouped(text: &str) -> Option<f64> {
    text.chars().filter(|letter| !letter.is_whitespace()).collect::<String>().parse::<u32>().ok().map(f64::from)
}
