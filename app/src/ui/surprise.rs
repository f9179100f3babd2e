//! The surprise map: its switch, its colours on the canvas, and the bar in which a threshold is chosen to select by.

use andamento_model::surprise::{Cell, SurpriseMap, Threshold, meaning};
use egui::{
    Align2, Area, Button, Color32, Context, DragValue, Frame, Id, Key, Margin, Order, Painter, Pos2, Rect, RichText,
    Stroke, Ui, vec2,
};

use super::screen::Screen;
use super::widgets::{icon_button, slider};
use super::{icons, legend, options, theme, tokens, widgets};
use crate::actions::with_keys;
use crate::command::{Command, Heat, Selection};
use crate::editor::Editor;

/// On a canvas less wide than this the bar has two lines.
const ONE_LINE: f32 = 700.0;
/// How strongly the colours of tokens that are not selected cover the picture while a threshold is chosen.
const OTHERS: f32 = 0.3;

/// The switch beside those of the other heat maps.
pub(super) fn pill(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let on = editor.show.heat == Some(Heat::Surprise);
    let refusal = editor.cannot_show_surprise().filter(|_| !on);
    let tip = format!(
        "How surprising each token of the picture is to the model: its negative log-likelihood, in bits; bright = surprising. \
         Each {}",
        meaning(&editor.abilities)
    );
    let tip = with_keys(editor, &tip, "heat-surprise");
    let tip = refusal.as_ref().map_or(tip.clone(), |refusal| format!("{tip}.\nNot available: {refusal}"));
    let clicked = ui.add_enabled_ui(refusal.is_none(), |ui| widgets::pill(ui, on, "Surprise", &tip)).inner;
    if clicked {
        commands.push(Command::ShowHeat((!on).then_some(Heat::Surprise)));
    }
}

/// The line below the switches: the scale, and what can be done with the map.
pub(super) fn legend(ui: &mut Ui, editor: &Editor, commands: &mut Vec<Command>) {
    let reading = editor.surprise.reading.is_some();
    match editor.surprise_map() {
        Some(map) => {
            let mark = editor.is_selecting_by_surprise().then(|| map.scale()(least(map, editor)));
            let (least, most) = map.range();
            let ends = (&*format!("{least:.1}"), &*format!("{most:.1} bits"));
            let scale = legend::scale(ui, theme::heat, ends, mark);
            let (subject, mean) = (editor.surprise_subject().unwrap_or_default(), map.mean());
            scale.on_hover_text(format!("As “{subject}”, {}: {mean:.1} bits per token", map.frame.describe()));
        }
        None if editor.run.is_some() => return legend::words(ui, "of the picture once the run is done"),
        None if reading => return legend::words(ui, "the picture is being read…"),
        None => legend::words(ui, "this picture was not read yet"),
    }
    let button = |ui: &mut Ui, text: &str, tip: &str, refusal: Option<String>| {
        let button = Button::new(RichText::new(text).size(theme::SMALL)).min_size(vec2(0.0, 22.0));
        let response = ui.add_enabled(refusal.is_none(), button);
        let why = format!("{tip}.\nNot available: {}", refusal.unwrap_or_default());
        response.on_hover_text(tip).on_disabled_hover_text(why).clicked()
    };
    if editor.surprise_map().is_some() && !editor.is_selecting_by_surprise() {
        let tip = with_keys(editor, "Makes the mask of the most surprising tokens", "select-surprising");
        if button(ui, "Select…", &tip, editor.cannot_show_surprise()) {
            commands.push(Command::ChooseSurprising(true));
        }
    }
    if !editor.surprise_is_current() && !reading {
        let (text, tip) = match editor.surprise_map() {
            Some(_) => ("Again", "Subject or frame are others now: reads the picture again with them"),
            None => ("Read it", "Reads the picture with the model: how surprising its tokens are"),
        };
        if button(ui, text, tip, editor.cannot_read()) {
            commands.push(Command::MeasureSurprise);
        }
    }
}

/// Colours the tokens of the picture, those that are not selected faintly while a threshold is chosen.
pub(super) fn show(painter: &Painter, screen: &Screen, editor: &Editor) {
    let Some(map) = editor.surprise_map().filter(|_| !editor.looks_back()) else { return };
    let selected = editor.is_selecting_by_surprise().then(|| map.selected(editor.surprise.threshold));
    let scale = map.scale();
    for (index, cell) in map.cells.iter().enumerate() {
        let on = selected.as_ref().is_none_or(|selected| selected[index]);
        let colour = theme::heat(scale(cell.bits)).gamma_multiply(if on { tokens::HEAT } else { OTHERS });
        painter.rect_filled(place(screen, editor, map, cell).shrink(0.5), 0.0, colour);
    }
    if let Some(selected) = selected {
        outline(painter, screen, editor, map, &selected);
    }
}

/// Where a token lies on the screen: not what it touches, which it may share with others, but its own part of the frame.
fn place(screen: &Screen, editor: &Editor, map: &SurpriseMap, cell: &Cell) -> Rect {
    let (frame, grid) = (map.frame.rect, map.lattice.finest());
    let point = |row: usize, col: usize| {
        let share = |at: usize, of: usize| at as f32 / of.max(1) as f32;
        let x = frame.x as f32 + frame.width as f32 * share(col, grid.cols);
        screen.point(x, frame.y as f32 + frame.height as f32 * share(row, grid.rows))
    };
    let whole = Rect::from_min_max(point(cell.row, cell.col), point(cell.row + 1, cell.col + 1));
    whole.intersect(screen.rect(editor.document.picture.rect()))
}

/// A line around selected tokens, light on dark so that it shows on any colour.
fn outline(painter: &Painter, screen: &Screen, editor: &Editor, map: &SurpriseMap, selected: &[bool]) {
    let grid = map.lattice.finest();
    let mut on = vec![false; grid.len()];
    map.cells.iter().zip(selected).for_each(|(cell, selected)| on[cell.row * grid.cols + cell.col] = *selected);
    let is_on = |row: Option<usize>, col: Option<usize>| {
        let (Some(row), Some(col)) = (row.filter(|row| *row < grid.rows), col.filter(|col| *col < grid.cols)) else {
            return false;
        };
        on[row * grid.cols + col]
    };
    let mut lines: Vec<[Pos2; 2]> = Vec::new();
    for (cell, _) in map.cells.iter().zip(selected).filter(|(_, selected)| **selected) {
        let (row, col, rect) = (cell.row, cell.col, place(screen, editor, map, cell));
        let beside = [
            (is_on(row.checked_sub(1), Some(col)), [rect.left_top(), rect.right_top()]),
            (is_on(Some(row + 1), Some(col)), [rect.left_bottom(), rect.right_bottom()]),
            (is_on(Some(row), col.checked_sub(1)), [rect.left_top(), rect.left_bottom()]),
            (is_on(Some(row), Some(col + 1)), [rect.right_top(), rect.right_bottom()]),
        ];
        lines.extend(beside.into_iter().filter(|(joined, _)| !joined).map(|(_, line)| line));
    }
    for stroke in [Stroke::new(4.0, Color32::from_black_alpha(150)), Stroke::new(1.8, Color32::WHITE)] {
        lines.iter().for_each(|line| {
            painter.line_segment(*line, stroke);
        });
    }
}

/// What is known of the token at a canvas point, in words.
pub(super) fn explained(editor: &Editor, (x, y): (f32, f32)) -> Option<String> {
    let shown = editor.show.heat == Some(Heat::Surprise) && !editor.looks_back();
    let map = editor.surprise_map().filter(|_| shown)?;
    let cell = map.at(x.floor() as i64, y.floor() as i64)?;
    let less = map.cells.iter().filter(|other| other.bits < cell.bits).count();
    let share = 100.0 * less as f64 / map.cells.len() as f64;
    let code = map.tokens.get(cell.site.index()).copied().unwrap_or_default();
    let first = format!("token {} · code {code} · {:.1} bits", cell.site.0, cell.bits);
    Some(format!("{first}\nmore surprising than {share:.0} % of the tokens"))
}

/// The bits of the least surprising token that is selected; of none, the most that one could have.
fn least(map: &SurpriseMap, editor: &Editor) -> f64 {
    if let Threshold::Bits(bits) = editor.surprise.threshold {
        return bits;
    }
    let selected = map.selected(editor.surprise.threshold);
    let bits = map.cells.iter().zip(selected).filter(|(_, selected)| *selected).map(|(cell, _)| cell.bits);
    bits.fold(map.range().1, f64::min)
}

/// The bar in which a threshold is chosen.
#[derive(Default)]
pub(super) struct Bar {
    /// Whether the keyboard was handed to it.
    focused: bool,
}

impl Bar {
    /// Shows the bar in the place of the tool's options.
    pub(super) fn show(&mut self, ctx: &Context, editor: &Editor, canvas: Rect, commands: &mut Vec<Command>) {
        let corner = canvas.left_bottom() + vec2(12.0, -12.0);
        let area = Area::new(Id::unique("select by surprise")).order(Order::Middle).pivot(Align2::LEFT_BOTTOM);
        area.fixed_pos(corner).constrain_to(canvas).show(ctx, |ui| {
            let frame = Frame::new().fill(theme::panel()).stroke(Stroke::new(1.0, theme::accent()));
            frame.corner_radius(theme::RADIUS).inner_margin(Margin::symmetric(12, 3)).show(ui, |ui| {
                let line = |ui: &mut Ui, show: &mut dyn FnMut(&mut Ui)| {
                    ui.horizontal(|ui| {
                        ui.set_height(26.0);
                        show(ui);
                    });
                };
                let Some(map) = editor.surprise_map() else {
                    let reading = editor.surprise.reading.is_some();
                    let text = if reading {
                        "The picture is being read…"
                    } else {
                        "This picture was not read yet: see Show"
                    };
                    return line(ui, &mut |ui| {
                        dim(ui, text);
                        close(ui, commands);
                    });
                };
                if canvas.width() < ONE_LINE {
                    line(ui, &mut |ui| self.threshold(ui, editor, map, commands));
                    line(ui, &mut |ui| select(ui, editor, map, commands));
                } else {
                    line(ui, &mut |ui| {
                        self.threshold(ui, editor, map, commands);
                        select(ui, editor, map, commands);
                    });
                }
            });
        });
    }

    /// How surprising tokens must be.
    fn threshold(&mut self, ui: &mut Ui, editor: &Editor, map: &SurpriseMap, commands: &mut Vec<Command>) {
        let share = match editor.surprise.threshold {
            Threshold::Share(share) => share,
            Threshold::Bits(_) => count(map, editor) as f64 / map.cells.len().max(1) as f64,
        };
        dim(ui, "Most surprising");
        ui.spacing_mut().slider_width = 90.0;
        // The rail is quadratic: small shares are told apart more finely.
        let mut root = share.sqrt();
        let response = slider(ui, &mut root, 0.0, 1.0, "Share of tokens");
        // The canvas keeps the keyboard while a button is held on it.
        if !self.focused && !ui.input(|input| input.pointer.any_down()) {
            response.request_focus();
            self.focused = true;
        }
        if response.has_focus() && ui.input(|input| input.key_pressed(Key::Enter)) && count(map, editor) > 0 {
            commands.push(selection(editor));
        }
        if response.changed() {
            commands.push(Command::Threshold(Threshold::Share(root * root)));
        }
        response.on_hover_text("The share of tokens that are selected, the most surprising first (Enter selects them)");
        let mut percent = 100.0 * share;
        let drag = DragValue::new(&mut percent).range(0.0..=100.0).speed(0.2).fixed_decimals(1).suffix(" %");
        let drag = ui.add(drag.min_size(vec2(56.0, 22.0))).accessible_name("Share of tokens (percent)");
        if drag.changed() {
            commands.push(Command::Threshold(Threshold::Share(percent / 100.0)));
        }
        let mut bits = least(map, editor);
        let drag = DragValue::new(&mut bits).range(0.0..=f64::INFINITY).speed(0.05).fixed_decimals(1);
        let drag = drag.prefix("from ").suffix(" bits");
        let drag = ui.add(drag.min_size(vec2(98.0, 22.0))).accessible_name("Least surprise (bits)");
        if drag.changed() {
            commands.push(Command::Threshold(Threshold::Bits(bits)));
        }
        drag.on_hover_text("How surprising a token must be: the negative binary logarithm of its probability");
    }
}

/// Changing the mask by what is selected, and leaving.
fn select(ui: &mut Ui, editor: &Editor, map: &SurpriseMap, commands: &mut Vec<Command>) {
    options::modes(ui, editor.combine, commands);
    let count = count(map, editor);
    let tokens = if count == 1 { "1 token".into() } else { format!("{count} tokens") };
    let button = Button::new(RichText::new(format!("Select {tokens}")).size(13.0)).min_size(vec2(112.0, 24.0));
    let response = ui.add_enabled(count > 0, button).accessible_name("Select the most surprising tokens");
    let response = response.on_hover_text("Changes the mask by these tokens, as one step that can be undone");
    if response.on_disabled_hover_text("No token is so surprising").clicked() {
        commands.push(selection(editor));
    }
    close(ui, commands);
}

fn close(ui: &mut Ui, commands: &mut Vec<Command>) {
    let tip = "Leave without selecting (Esc)";
    if icon_button(ui, vec2(24.0, 24.0), icons::CLOSE, "Close select by surprise", tip, true).clicked() {
        commands.push(Command::ChooseSurprising(false));
    }
}

/// How many tokens are selected.
fn count(map: &SurpriseMap, editor: &Editor) -> usize {
    map.selected(editor.surprise.threshold).into_iter().filter(|selected| *selected).count()
}

/// The command that takes them.
fn selection(editor: &Editor) -> Command {
    Command::Select(Selection::Surprising(editor.surprise.threshold), editor.combine)
}

fn dim(ui: &mut Ui, text: &str) {
    ui.label(RichText::new(text).size(13.0).color(theme::dim()));
}
