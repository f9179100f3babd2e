//! Extending the canvas by numbers: what dragging an edge does, for the keyboard and for those who know how many pixels.

use egui::{DragValue, Ui, vec2};

use super::dialogs::{buttons, heading, main_button};
use super::handles::{added_text, cell};
use super::theme;
use crate::command::Command;
use crate::editor::{Aim, Editor};

/// Of every side its name and the most pixels that are offered.
const SIDES: [&str; 4] = ["Left", "Top", "Right", "Bottom"];
const MOST: u32 = 1 << 15;

/// What was typed.
#[derive(Default)]
pub(super) struct Extend {
    /// Pixels on the left, top, right and bottom.
    margins: [u32; 4],
    /// What would be made with these margins and this mask.
    forecast: Option<([u32; 4], u64, Option<Aim>)>,
}

impl Extend {
    /// Nothing is added yet.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }

    /// Shows four numbers, and what would come of them.
    pub(super) fn show(&mut self, ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
        ui.set_width(420.0);
        heading(ui, "Extend the canvas");
        ui.label(egui::RichText::new("What is added is masked: Generate paints it.").size(13.0).color(theme::dim()));
        ui.add_space(8.0);
        let token = cell(editor);
        let step = if editor.snap { token } else { 1 };
        ui.horizontal(|ui| {
            for (side, pixels) in SIDES.into_iter().zip(&mut self.margins) {
                ui.vertical(|ui| {
                    let label = ui.label(egui::RichText::new(side).size(13.0).color(theme::dim()));
                    let number = DragValue::new(pixels).range(0..=MOST).speed(f64::from(step) / 4.0).suffix(" px");
                    let field = ui.add(number.min_size(vec2(88.0, 26.0))).labelled_by(label.id);
                    if side == SIDES[0] && ui.memory(|memory| memory.focused().is_none()) {
                        field.request_focus();
                    }
                });
            }
        });
        ui.add_space(6.0);
        let key = (self.margins, editor.document.mask_id);
        if self.forecast.as_ref().is_none_or(|(margins, mask_id, _)| (*margins, *mask_id) != key) {
            self.forecast = Some((self.margins, key.1, editor.aim_when_extended(self.margins)));
        }
        let aim = self.forecast.as_ref().and_then(|(.., aim)| aim.as_ref());
        let nothing = self.margins == [0; 4];
        let text = match nothing {
            true => format!("A token is {token} pixels wide here."),
            false => added_text(self.margins, token, aim),
        };
        ui.label(egui::RichText::new(text).size(13.0).color(theme::text()));
        ui.add_space(8.0);
        let entered = !nothing && ui.input(|input| input.key_pressed(egui::Key::Enter));
        if buttons(ui, commands, |ui| main_button(ui, "Extend", !nothing).clicked()) || entered {
            commands.push(Command::ExtendCanvas(self.margins));
            commands.push(Command::CloseDialog);
        }
    }
}
