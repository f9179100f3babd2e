//! Small parts that panels share.

use std::sync::Arc;

use egui::accesskit::Action;
use egui::text::{LayoutJob, TextWrapping};
use egui::{
    Align2, Button, Color32, CornerRadius, CursorIcon, EventFilter, Galley, Key, PointerButton, Rect, Response, Role,
    Sense, Stroke, StrokeKind, Ui, UiBuilder, Vec2, WidgetInfo, pos2, vec2,
};

use super::theme;

/// The radius of a slider's knob.
const KNOB: f32 = 6.5;

/// The heading of a section.
pub(super) fn section(ui: &mut Ui, text: &str) -> Response {
    let text = egui::RichText::new(text.to_uppercase()).size(11.0).extra_letter_spacing(1.1).color(theme::dim());
    ui.label(text)
}

/// A button that shows an icon; `name` is its accessible name and, with the key, its tooltip.
pub(super) fn icon_button(ui: &mut Ui, size: Vec2, icon: &str, name: &str, tip: &str, enabled: bool) -> Response {
    let button = Button::new(theme::icon(icon, 16.0)).min_size(size).corner_radius(theme::RADIUS);
    let response = ui.add_enabled(enabled, button);
    response.widget_info(|| WidgetInfo::labeled(Role::Button, enabled, name));
    response.on_hover_text(tip).on_disabled_hover_text(tip)
}

/// A round switch with a word in it.
pub(super) fn pill(ui: &mut Ui, on: bool, text: &str, tip: &str) -> bool {
    let (fill, colour) = if on { (theme::accent(), theme::on_accent()) } else { (theme::control(), theme::text()) };
    let text_size = ui.painter().layout_no_wrap(text.into(), theme::font(13.0), colour).size();
    let (rect, response) = ui.allocate_exact_size(text_size + vec2(20.0, 6.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, ui.is_enabled(), on, text));
    let fill = match (response.hovered(), on) {
        (true, true) => theme::accent_hovered(),
        (true, false) => theme::control_hovered(),
        _ => fill,
    };
    ui.painter().rect_filled(rect, CornerRadius::same(20), fill);
    focus_ring(ui, &response, rect, 20);
    ui.painter().text(rect.center(), Align2::CENTER_CENTER, text, theme::font(13.0), colour);
    let clicked = response.clicked();
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip).on_disabled_hover_text(tip);
    clicked
}

/// One of several choices beside each other, in a well.
pub(super) fn segment(ui: &mut Ui, place: Rect, text: &str, name: &str, (enabled, chosen): (bool, bool)) -> Response {
    let mut child = ui.new_child(UiBuilder::new().max_rect(place));
    let sense = if enabled { Sense::click() } else { Sense::hover() };
    let (_, response) = child.allocate_exact_size(place.size(), sense);
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, enabled, chosen, name));
    let fill = match (chosen, response.hovered() && enabled) {
        (true, _) => theme::control_hovered(),
        (false, true) => theme::control(),
        (false, false) => theme::well(),
    };
    ui.painter().rect_filled(place, CornerRadius::same(5), fill);
    let colour = match (chosen, enabled) {
        (true, _) => theme::text(),
        (false, true) => theme::mix(theme::dim(), theme::text(), 0.4),
        (false, false) => theme::faint(),
    };
    ui.painter().text(place.center(), Align2::CENTER_CENTER, text, theme::font(12.5), colour);
    focus_ring(ui, &response, place, 5);
    response.on_hover_cursor(if enabled { CursorIcon::PointingHand } else { CursorIcon::NotAllowed })
}

/// A switch: a rail with a knob that is left for off and right for on. Returns whether it was clicked.
pub(super) fn toggle(ui: &mut Ui, on: bool, name: &str, tip: &str) -> bool {
    let (rect, response) = ui.allocate_exact_size(vec2(32.0, 18.0), Sense::click());
    response.widget_info(|| WidgetInfo::selected(Role::CheckBox, ui.is_enabled(), on, name));
    let rail = rect.shrink2(vec2(1.0, 1.0));
    let (fill, x) = if on { (theme::accent(), rail.max.x - 8.0) } else { (theme::control_hovered(), rail.min.x + 8.0) };
    ui.painter().rect_filled(rail, CornerRadius::same(8), fill);
    let colour = if response.hovered() { theme::knob_hovered() } else { theme::knob() };
    ui.painter().circle_filled(pos2(x, rail.center().y), KNOB - 0.5, colour);
    focus_ring(ui, &response, rail, 8);
    let clicked = response.clicked();
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip).on_disabled_hover_text(tip);
    clicked
}

/// A slider: a thin rail, amber up to the white knob. As wide as the style says.
pub(super) fn slider(ui: &mut Ui, value: &mut f64, least: f64, most: f64, name: &str) -> Response {
    slider_on(ui, value, (least, most), name, |painter, rail, knob| {
        painter.rect_filled(rail, CornerRadius::same(2), theme::control_hovered());
        let done = Rect::from_min_max(rail.min, pos2(knob, rail.max.y));
        painter.rect_filled(done, CornerRadius::same(2), theme::accent());
    })
}

/// A slider on a rail of one's own, which is told how far to the right the knob is.
pub(super) fn slider_on(
    ui: &mut Ui,
    value: &mut f64,
    (least, most): (f64, f64),
    name: &str,
    draw_rail: impl FnOnce(&egui::Painter, Rect, f32),
) -> Response {
    let (rect, mut response) = ui.allocate_exact_size(vec2(ui.spacing().slider_width, 18.0), Sense::click_and_drag());
    let before = *value;
    let rail = rect.shrink2(vec2(KNOB, 7.0));
    // A click may begin and end within one frame.
    if response.is_pointer_button_down_on() || response.clicked_by(PointerButton::Primary) {
        response.request_focus();
        if let Some(at) = response.interact_pointer_pos() {
            let share = f64::from((at.x - rail.min.x) / rail.width()).clamp(0.0, 1.0);
            *value = least + (most - least) * share;
        }
    }
    *value = (*value + f64::from(nudges(ui, &response)) * (most - least) / 100.0).clamp(least, most);
    if (*value - before).abs() > f64::EPSILON {
        response.mark_changed();
    }
    response.widget_info(|| WidgetInfo::slider(ui.is_enabled(), *value, name));
    let share = ((*value - least) / (most - least)) as f32;
    let knob = pos2(rail.min.x + rail.width() * share, rail.center().y);
    let painter = ui.painter();
    draw_rail(painter, rail, knob.x);
    let colour = if response.hovered() || response.has_focus() { theme::knob_hovered() } else { theme::knob() };
    painter.circle_filled(knob, KNOB, colour);
    if response.has_focus() {
        painter.circle_stroke(knob, KNOB + 2.0, Stroke::new(1.5, theme::ring()));
    }
    response
}

/// How far arrow keys, and programs that read the window aloud, push a slider.
fn nudges(ui: &Ui, response: &Response) -> i32 {
    let filter = EventFilter { horizontal_arrows: true, ..EventFilter::default() };
    ui.memory_mut(|memory| memory.set_focus_lock_filter(response.id, filter));
    let focused = response.has_focus();
    ui.input(|input| {
        let asked = |action: Action| input.num_accesskit_action_requests(response.id, action) as i32;
        let pressed = |key: Key| if focused { input.num_presses(key) as i32 } else { 0 };
        asked(Action::Increment) + pressed(Key::ArrowRight) - asked(Action::Decrement) - pressed(Key::ArrowLeft)
    })
}

/// Shows which control the keyboard talks to.
pub(super) fn focus_ring(ui: &Ui, response: &Response, rect: Rect, radius: u8) {
    if response.has_focus() {
        let stroke = Stroke::new(1.5, theme::ring());
        ui.painter().rect_stroke(rect.expand(1.0), CornerRadius::same(radius), stroke, StrokeKind::Outside);
    }
}

/// A label on the canvas, with its top left corner or centre where `align` says.
pub(super) fn tag(painter: &egui::Painter, at: egui::Pos2, align: Align2, text: &str, within: Rect) -> Rect {
    let rect = tag_rect(painter, at, align, text, within);
    let galley = painter.layout_no_wrap(text.into(), theme::font(12.5), theme::text());
    painter.rect(rect, theme::RADIUS, theme::panel(), Stroke::new(1.0, theme::edge()), StrokeKind::Inside);
    painter.galley(rect.min + vec2(9.0, 4.5), galley, theme::text());
    rect
}

/// Where a label would lie.
pub(super) fn tag_rect(painter: &egui::Painter, at: egui::Pos2, align: Align2, text: &str, within: Rect) -> Rect {
    let galley = painter.layout_no_wrap(text.into(), theme::font(12.5), theme::text());
    shifted_into(align.anchor_size(at, galley.size() + vec2(18.0, 9.0)), within.shrink(4.0))
}

/// One line of text, cut off with an ellipsis where it is too long.
pub(super) fn line(ui: &Ui, text: &str, width: f32, size: f32, colour: Color32) -> Arc<Galley> {
    let mut job = LayoutJob::simple_singleline(text.into(), theme::font(size), colour);
    job.wrap = TextWrapping::truncate_at_width(width);
    ui.painter().layout_job(job)
}

/// Moves a rectangle into another as far as it fits.
pub(super) fn shifted_into(rect: Rect, within: Rect) -> Rect {
    let x = rect.min.x.min(within.max.x - rect.width()).max(within.min.x);
    let y = rect.min.y.min(within.max.y - rect.height()).max(within.min.y);
    Rect::from_min_size(pos2(x, y), rect.size())
}

/// A key as it is printed on the keyboard.
pub(super) fn key(ui: &mut Ui, text: &str) {
    let galley = ui.painter().layout_no_wrap(text.into(), theme::font(11.5), theme::text());
    let (rect, _) = ui.allocate_exact_size(galley.size() + vec2(9.0, 3.0), Sense::hover());
    ui.painter().rect_filled(rect, CornerRadius::same(4), theme::control());
    ui.painter().galley(rect.center() - galley.size() / 2.0, galley, theme::text());
}

/// A number from white to nothing, premultiplied.
pub(super) fn white(alpha: u8) -> Color32 {
    Color32::from_white_alpha(alpha)
}

/// Moves a place in a list of so many by the arrow keys, as a search field does that keeps the keyboard. Returns whether it
/// moved, so that the place can be scrolled into sight.
pub(super) fn browse(ui: &Ui, at: &mut usize, count: usize) -> bool {
    let pressed = |key: Key| ui.input(|input| input.num_presses(key));
    let before = *at;
    *at = (*at + pressed(Key::ArrowDown) + 8 * pressed(Key::PageDown)).min(count.saturating_sub(1));
    *at = at.saturating_sub(pressed(Key::ArrowUp) + 8 * pressed(Key::PageUp));
    *at != before
}

/// A line of a list that can be browsed: `at` says whether Enter takes it, and whether to scroll there. Returns whether it
/// was clicked.
pub(super) fn choice(ui: &mut Ui, text: &str, chosen: bool, at: (bool, bool)) -> bool {
    let colour = if chosen { theme::on_accent() } else { theme::text() };
    let button = Button::selectable(chosen, egui::RichText::new(text).color(colour)).truncate();
    let response = ui.add(button.min_size(vec2(ui.available_width(), 26.0)));
    place_in_list(ui, &response, at);
    response.clicked()
}

/// Shows which line of a list Enter takes.
pub(super) fn place_in_list(ui: &Ui, response: &Response, (here, moved): (bool, bool)) {
    if here {
        let stroke = Stroke::new(1.0, theme::ring());
        ui.painter().rect_stroke(response.rect, theme::RADIUS, stroke, StrokeKind::Inside);
        if moved {
            response.scroll_to_me(None);
        }
    }
}
