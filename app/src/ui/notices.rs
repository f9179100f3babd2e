//! What the person should know: what it is about, the cause, and what to do next.

use egui::{Align2, Area, Context, Frame, Id, Margin, Order, Rect, RichText, Stroke, vec2};

use super::widgets::icon_button;
use super::{icons, theme};
use crate::command::Command;
use crate::editor::Editor;

/// The letters of a line.
const LONG: usize = 42;

/// Shows the notices in the upper right corner of the canvas.
pub(super) fn show(ctx: &Context, editor: &Editor, canvas: Rect, commands: &mut Vec<Command>) {
    if editor.notices.is_empty() {
        return;
    }
    let corner = canvas.right_top() + vec2(-12.0, 12.0);
    let area = Area::new(Id::unique("notices")).order(Order::Foreground).pivot(Align2::RIGHT_TOP).fixed_pos(corner);
    area.constrain_to(canvas).show(ctx, |ui| {
        ui.set_width(340.0_f32.min(canvas.width() - 24.0));
        for notice in &editor.notices {
            let (icon, colour) =
                if notice.bad { (icons::WARNING, theme::bad()) } else { (icons::CHECK, theme::good()) };
            let frame =
                Frame::new().fill(theme::panel()).stroke(Stroke::new(1.0, theme::edge())).corner_radius(theme::RADIUS);
            frame.inner_margin(Margin::symmetric(12, 10)).show(ui, |ui| {
                ui.horizontal_top(|ui| {
                    ui.label(theme::icon(icon, 18.0).color(colour));
                    ui.vertical(|ui| {
                        ui.set_width(ui.available_width() - 32.0);
                        let about = ui.label(RichText::new(elided(&notice.about)).color(theme::text()));
                        if elided(&notice.about) != notice.about {
                            about.on_hover_text(notice.about.as_str());
                        }
                        let (cause, remedy) = (shortened(&notice.cause), shortened(&notice.remedy));
                        ui.label(RichText::new(sentence(&cause)).size(13.0).color(theme::dim()));
                        if !notice.remedy.is_empty() {
                            ui.label(RichText::new(sentence(&remedy)).size(13.0).color(theme::text()));
                        }
                    });
                    let name = format!("Dismiss: {}", notice.about);
                    if icon_button(ui, vec2(24.0, 24.0), icons::CLOSE, &name, "Dismiss", true).clicked() {
                        commands.push(Command::Dismiss(notice.number));
                    }
                });
            });
        }
    });
    ctx.request_repaint_after_secs(0.5);
}

/// The same with every long path in it shortened.
fn shortened(text: &str) -> String {
    let is_path = |word: &str| word.contains(['/', '\\']);
    let words = text.split(' ').map(|word| if is_path(word) { elided(word) } else { word.to_owned() });
    words.collect::<Vec<_>>().join(" ")
}

/// What is too long for a line, without its middle: of a path the file's name tells most.
fn elided(text: &str) -> String {
    let letters: Vec<char> = text.chars().collect();
    if letters.len() <= LONG {
        return text.to_owned();
    }
    let (first, last) = (&letters[..LONG / 3], &letters[letters.len() - (LONG - LONG / 3 - 1)..]);
    first.iter().chain(&['…']).chain(last).collect()
}

/// A text as a sentence.
fn sentence(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    let mut letters = text.chars();
    letters.next().map_or(String::new(), |first| format!("{}{}.", first.to_uppercase(), letters.as_str()))
}
