//! The alternatives of a token: small pictures to choose from, beside the token on the canvas.

use andamento_model::picture::Rect;
use egui::{
    Align2, Area, Button, Color32, Context, CornerRadius, CursorIcon, Frame, Id, Margin, Order, Painter, Pos2,
    Response, RichText, Role, Sense, Stroke, StrokeKind, TextureHandle, TextureOptions, Ui, WidgetInfo, pos2, vec2,
};

use super::screen::Screen;
use super::widgets::{focus_ring, icon_button};
use super::{icons, theme};
use crate::command::Command;
use crate::editor::{Alternative, Editor, Picker};

/// Side of a small picture, in screen points.
const SIDE: f32 = 76.0;
/// So many of them beside each other.
const PER_ROW: usize = 4;

/// What the popover keeps between frames.
#[derive(Default)]
pub(super) struct Picks {
    /// The picker that this belongs to.
    number: u64,
    /// The place of the code that would be taken.
    at: usize,
    pictures: Vec<Option<TextureHandle>>,
    /// Whether the keyboard was handed to it.
    focused: bool,
    /// The corner that it hangs at, and what it covered in the last frame.
    place: Option<(Align2, Pos2, egui::Rect)>,
}

impl Picks {
    /// Shows the popover, if a token is looked at.
    pub(super) fn show(&mut self, ctx: &Context, editor: &Editor, screen: &Screen, commands: &mut Vec<Command>) {
        let Some(picker) = &editor.picker else {
            *self = Self::default();
            return;
        };
        self.sync(ctx, picker);
        let token = screen.rect(picker.rect());
        // From token to token it stays where it is, so that its buttons do too, unless it would hide the token.
        let (pivot, corner) = match self.place {
            Some((pivot, corner, covered)) if !covered.intersects(token) => (pivot, corner),
            _ if token.center().x < screen.viewport.center().x => {
                (Align2::LEFT_TOP, token.right_top() + vec2(14.0, 0.0))
            }
            _ => (Align2::RIGHT_TOP, token.left_top() - vec2(14.0, 0.0)),
        };
        let area = Area::new(Id::unique("token picker")).order(Order::Foreground).pivot(pivot).fixed_pos(corner);
        let area = area.constrain_to(screen.viewport.shrink(6.0)).show(ctx, |ui| {
            let frame = Frame::new().fill(theme::panel()).stroke(Stroke::new(1.0, theme::edge()));
            frame.corner_radius(CornerRadius::same(8)).inner_margin(Margin::same(12)).show(ui, |ui| {
                ui.set_width(PER_ROW as f32 * (SIDE + 6.0) - 6.0);
                heading(ui, picker, commands);
                self.choices(ui, picker, commands);
                self.buttons(ui, picker, commands);
            });
        });
        self.place = Some((pivot, corner, area.response.rect));
    }

    fn sync(&mut self, ctx: &Context, picker: &Picker) {
        if self.number != picker.number {
            let at = picker.alternatives.iter().position(|other| other.token == picker.made.token).unwrap_or(0);
            let pictures = vec![None; picker.alternatives.len()];
            *self = Self { number: picker.number, at, pictures, focused: false, place: self.place };
        }
        for (texture, alternative) in self.pictures.iter_mut().zip(&picker.alternatives) {
            if texture.is_none()
                && let Some(picture) = &alternative.picture
            {
                let size = [picture.width() as usize, picture.height() as usize];
                let image = egui::ColorImage::from_rgba_unmultiplied(size, picture.as_raw());
                *texture = Some(ctx.load_texture("alternative", image, TextureOptions::LINEAR));
            }
        }
    }

    fn choices(&mut self, ui: &mut Ui, picker: &Picker, commands: &mut Vec<Command>) {
        ui.spacing_mut().item_spacing = vec2(6.0, 6.0);
        for (row, alternatives) in picker.alternatives.chunks(PER_ROW).enumerate() {
            ui.horizontal(|ui| {
                for (col, alternative) in alternatives.iter().enumerate() {
                    let place = row * PER_ROW + col;
                    let now = alternative.token == picker.made.token;
                    let response =
                        choice(ui, self.pictures[place].as_ref(), (place, alternative), place == self.at, now);
                    if response.clicked() || response.gained_focus() {
                        self.at = place;
                    }
                    if response.double_clicked() && !now {
                        commands.push(picker.swap(alternative.token, false));
                    }
                    // The canvas keeps the keyboard while a button is held on it.
                    if place == self.at && !self.focused && !ui.input(|input| input.pointer.any_down()) {
                        response.request_focus();
                        self.focused = true;
                    }
                }
            });
        }
    }

    fn buttons(&self, ui: &mut Ui, picker: &Picker, commands: &mut Vec<Command>) {
        let Some(chosen) = picker.alternatives.get(self.at) else { return };
        let other = chosen.token != picker.made.token;
        ui.add_space(2.0);
        ui.horizontal(|ui| {
            let mut button = |text: &str, enabled: bool, tip: &str, missing: &str| {
                let button = Button::new(RichText::new(text).size(13.0)).min_size(vec2(0.0, 28.0));
                let response = ui.add_enabled(enabled, button);
                response.on_hover_text(tip).on_disabled_hover_text(missing).clicked()
            };
            let same = "Choose another code first: this is the token as it is";
            if button("Swap", other, "Takes this code for this token only; everything else stays", same) {
                commands.push(picker.swap(chosen.token, false));
            }
            let missing = if other { "Nothing was made after this token" } else { same };
            let tip = "Takes this code, and makes everything anew that was made after it, with the same settings";
            if button("Swap and redo later ones", other && picker.has_later(), tip, missing) {
                commands.push(picker.swap(chosen.token, true));
            }
        });
    }
}

/// Which token it is, and the way to its neighbours in the order.
fn heading(ui: &mut Ui, picker: &Picker, commands: &mut Vec<Command>) {
    let size = vec2(24.0, 24.0);
    ui.horizontal(|ui| {
        let by_hand = if picker.made.by_hand { " · by hand" } else { "" };
        let text = format!("Token {} · step {}{by_hand}", picker.made.site.0, picker.step + 1);
        ui.label(RichText::new(text).size(13.0).color(theme::text()));
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if icon_button(ui, size, icons::CLOSE, "Close alternatives", "Close (Esc)", true).clicked() {
                commands.push(Command::ClosePicker);
            }
            let forward = "The token that was made after this one";
            if icon_button(ui, size, icons::FORWARD, "Next token", forward, true).clicked() {
                commands.push(Command::PickNext(true));
            }
            let back = "The token that was made before this one";
            if icon_button(ui, size, icons::BACK, "Previous token", back, true).clicked() {
                commands.push(Command::PickNext(false));
            }
        });
    });
    let about = format!("Its likeliest codes as the model saw them then ({:.1} bits)", picker.made.bits);
    ui.label(RichText::new(about).size(theme::SMALL).color(theme::dim()));
}

/// One code: the surroundings with it in place, and how likely it was.
fn choice(
    ui: &mut Ui,
    picture: Option<&TextureHandle>,
    (place, alternative): (usize, &Alternative),
    chosen: bool,
    now: bool,
) -> Response {
    let (rect, response) = ui.allocate_exact_size(vec2(SIDE, SIDE + 18.0), Sense::click());
    let likely = percent(alternative.probability);
    let state = if now { ", as it is" } else { "" };
    let name = format!("Alternative {}: code {}, {likely}{state}", place + 1, alternative.token);
    response.widget_info(|| WidgetInfo::selected(Role::RadioButton, true, chosen, &name));
    let square = egui::Rect::from_min_size(rect.min, vec2(SIDE, SIDE));
    let painter = ui.painter();
    painter.rect_filled(square, CornerRadius::same(4), theme::well());
    match picture {
        Some(texture) => {
            let whole = egui::Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
            painter.image(texture.id(), square, whole, Color32::WHITE);
        }
        None => {
            let at = square.center();
            painter.text(at, Align2::CENTER_CENTER, "…", theme::font(16.0), theme::dim());
        }
    }
    if chosen {
        painter.rect_stroke(square, CornerRadius::same(4), Stroke::new(2.0, theme::ring()), StrokeKind::Outside);
    }
    focus_ring(ui, &response, square.expand(1.0), 5);
    let (text, colour) = if now { (format!("{likely} · now"), theme::accent_text()) } else { (likely, theme::text()) };
    let painter = ui.painter();
    painter.text(rect.center_bottom(), Align2::CENTER_BOTTOM, text, theme::font(theme::SMALL), colour);
    let tip = format!("Code {}{}", alternative.token, if now { ": the token as it is" } else { "" });
    response.on_hover_cursor(CursorIcon::PointingHand).on_hover_text(tip)
}

fn percent(probability: f32) -> String {
    match probability * 100.0 {
        share if share < 0.1 => "< 0.1 %".into(),
        share if share < 10.0 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

/// Draws the outline of the token that is looked at, and of the one under the pointer that could be.
pub(super) fn outline(painter: &Painter, screen: &Screen, editor: &Editor, at: Option<Pos2>) {
    let frame = |rect: Rect, colour: Color32| {
        let rect = screen.rect(rect);
        painter.rect_stroke(rect, 0.0, Stroke::new(3.5, Color32::from_black_alpha(140)), StrokeKind::Outside);
        painter.rect_stroke(rect, 0.0, Stroke::new(1.8, colour), StrokeKind::Outside);
    };
    if let Some(picker) = &editor.picker {
        frame(picker.rect(), theme::GLOW);
    }
    let pointed = at.and_then(|at| editor.made_at(screen.canvas(at)));
    if let (Some((step, site)), Some(track)) = (pointed, editor.track()) {
        frame(track.rect(step, site), Color32::WHITE);
    }
}
