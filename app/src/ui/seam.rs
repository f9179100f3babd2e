//! The controls of the mask's edge: grow, feather, blend, and the correction of colours.

use andamento_model::Error;
use andamento_model::picture::MOST_EDGE;
use andamento_model::seam::Seam;
use egui::Ui;

use super::panel::{Knob, NAME, name};
use super::widgets::toggle;
use crate::command::Command;
use crate::editor::Editor;

/// Shows them.
pub(super) fn show(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    ui.spacing_mut().item_spacing.y = 2.0;
    let seam = editor.settings.seam;
    let knob = |name, tip| Knob::new(name, 0.0, f64::from(MOST_EDGE), 0, tip);
    let tip = "Makes tokens anew up to so many pixels beyond the mask as well, so that what is drawn runs on beneath its \
               edge. Pixels beyond the mask stay as they are (Grow mask, in the menu Select, lets them change)";
    if let Some(value) = knob("Grow", tip).at_rest(0.0, "off").show(ui, f64::from(seam.grow)) {
        commands.push(Command::Seam(Seam { grow: value as u32, ..seam }));
    }
    let tip = "Brings new pixels in gradually, over so many pixels from the mask's edge inwards";
    if let Some(value) = knob("Feather", tip).at_rest(0.0, "off").show(ui, f64::from(seam.feather)) {
        commands.push(Command::Seam(Seam { feather: value as u32, ..seam }));
    }
    let unmatched = || Error::control("blend", "colours are not matched", "Turn “Match colours” on");
    let tip = "How many pixels the colours of the mask's edge are carried into it";
    let knob = knob("Blend", tip).at_rest(0.0, "all").refused((!seam.matched).then(unmatched));
    if let Some(value) = knob.show(ui, f64::from(seam.blend)) {
        commands.push(Command::Seam(Seam { blend: value as u32, ..seam }));
    }
    ui.horizontal(|ui| {
        ui.set_height(22.0);
        let tip = "Corrects the error that the tokenizer makes in colours: the difference between the picture and its \
                   reconstruction at the mask's edge is carried into the mask (a membrane, Laplace's equation)";
        name(ui, "Match colours", NAME + 20.0).on_hover_text(tip);
        if toggle(ui, seam.matched, "Match colours", tip) {
            commands.push(Command::Seam(Seam { matched: !seam.matched, ..seam }));
        }
    });
}
