//! That everything can be read, in every main state, at every size and scale, dark and light: no text is cut off, no two
//! texts lie on each other, and every text stands out from what is behind it (WCAG 2.2, 1.4.3).
//!
//! The frames are checked by their shapes, not by their pixels: those differ between drivers and fonts' rasterisers, while
//! the shapes say exactly which text lies where, in which colour, on what.

use andamento::actions::Menu;
use andamento::command::{Adjustment, Command, Dialog, Heat, Tool, View};
use andamento::preferences::{Appearance, Kept};
use andamento::ui::App;
use egui::epaint::{RectShape, Shape, TextShape};
use egui::{Color32, Key, Modifiers, Rect, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use super::window;
use crate::driven::{until, until_ready, until_shown};

const SIZES: [[f32; 2]; 2] = [[1024.0, 700.0], [1600.0, 1000.0]];
const SCALES: [f32; 3] = [1.0, 1.5, 2.0];
/// The least contrast of text.
const CONTRAST: f32 = 4.5;

/// No label on the canvas is higher.
const LABEL: f32 = 30.0;

/// A text or a filled rectangle, in the sequence in which they are painted.
enum Piece {
    Text { text: String, rect: Rect, clip: Rect, colour: Color32 },
    Fill { rect: Rect, colour: Color32 },
}

fn pieces(window: &Harness<'_, App>) -> Vec<Piece> {
    fn open(shape: &Shape, clip: Rect, pieces: &mut Vec<Piece>) {
        match shape {
            Shape::Vec(shapes) => shapes.iter().for_each(|shape| open(shape, clip, pieces)),
            Shape::Rect(RectShape { rect, fill, brush: None, .. }) if fill.a() > 0 => {
                pieces.push(Piece::Fill { rect: rect.intersect(clip), colour: *fill });
            }
            Shape::Text(text) if !text.galley.text().trim().is_empty() => pieces.push(piece(text, clip)),
            _ => {}
        }
    }
    let mut pieces = Vec::new();
    window.output().shapes.iter().for_each(|clipped| open(&clipped.shape, clipped.clip_rect, &mut pieces));
    pieces
}

fn piece(text: &TextShape, clip: Rect) -> Piece {
    let galley = &text.galley;
    let section = galley.job.sections.first().map_or(Color32::PLACEHOLDER, |section| section.format.color);
    let own = if section == Color32::PLACEHOLDER { text.fallback_color } else { section };
    let colour = text.override_text_color.unwrap_or(own).gamma_multiply(text.opacity_factor);
    let rect = galley.mesh_bounds.translate(text.pos.to_vec2());
    Piece::Text { text: galley.text().into(), rect, clip, colour }
}

fn light(colour: Color32) -> f32 {
    let part = |part: u8| {
        let share = f32::from(part) / 255.0;
        if share <= 0.04045 { share / 12.92 } else { ((share + 0.055) / 1.055).powf(2.4) }
    };
    0.2126 * part(colour.r()) + 0.7152 * part(colour.g()) + 0.0722 * part(colour.b())
}

fn contrast(a: Color32, b: Color32) -> f32 {
    let (a, b) = (light(a), light(b));
    (a.max(b) + 0.05) / (a.min(b) + 0.05)
}

/// What is wrong with the texts of a frame.
fn faults(window: &Harness<'_, App>) -> Vec<String> {
    let pieces = pieces(window);
    let screen = Rect::from_min_size(egui::Pos2::ZERO, window.ctx.content_rect().size());
    let disabled: Vec<Rect> = window
        .root()
        .children_recursive()
        .filter(|node| node.accesskit_node().is_disabled())
        .map(|node| node.rect().expand(2.0))
        .collect();
    let scrolls = |clip: &Rect| clip.height() < screen.height() - 1.0;
    let mut faults = Vec::new();
    let mut seen: Vec<(usize, &str, Rect)> = Vec::new();
    for (at, piece) in pieces.iter().enumerate() {
        let Piece::Text { text, rect, clip, colour } = piece else { continue };
        let shown = rect.intersect(*clip);
        if !shown.is_positive() || colour.a() == 0 {
            continue;
        }
        let hidden = |from: usize, part: &Rect| {
            pieces[from + 1..].iter().any(|piece| {
                matches!(piece, Piece::Fill { rect, colour } if colour.a() == 255 && rect.expand(0.5).contains_rect(*part))
            })
        };
        if hidden(at, &shown) {
            continue;
        }
        // Cut off at a side, or at the window's edge; what scrolls may be cut off above and below.
        let sideways = rect.min.x < clip.min.x - 1.0 || rect.max.x > clip.max.x + 1.0;
        let outside =
            !screen.expand(1.0).contains_rect(shown) || (!scrolls(clip) && !clip.expand(1.0).contains_rect(*rect));
        if sideways || outside {
            faults.push(format!("“{text}” at {rect:?} is cut off by {clip:?}"));
        }
        for (other, words, place) in &seen {
            let common = place.intersect(shown);
            // A text painted twice, a little apart, is bold.
            let bold = *words == text && place.min.distance(shown.min) < 1.0;
            if common.width() > 1.0 && common.height() > 1.0 && !bold {
                // A dialog or a menu may cover a part of a text, another label may not.
                let covered = pieces[*other + 1..at].iter().any(|piece| {
                    matches!(piece, Piece::Fill { rect, colour }
                        if colour.a() == 255 && rect.height() > LABEL && rect.expand(0.5).contains_rect(common))
                });
                if !covered {
                    faults.push(format!("“{text}” at {shown:?} lies on “{words}” at {place:?}"));
                }
            }
        }
        seen.push((at, text, shown));
        if disabled.iter().any(|rect| rect.contains(shown.center())) || colour.a() < 200 {
            continue;
        }
        if let Some(behind) = behind(&pieces[..at], &shown) {
            let ratio = contrast(*colour, behind);
            if ratio < CONTRAST {
                faults.push(format!("“{text}” {colour:?} on {behind:?} has a contrast of {ratio:.2}"));
            }
        }
    }
    faults
}

/// The colour behind a text: the last opaque fill below it, and the others on that; none over the picture.
fn behind(pieces: &[Piece], shown: &Rect) -> Option<Color32> {
    let mut colour = None;
    for piece in pieces {
        if let Piece::Fill { rect, colour: fill } = piece
            && rect.contains(shown.center())
        {
            colour = match (fill.a(), colour) {
                (255, _) => Some(*fill),
                (_, Some(below)) => Some(Color32::blend(below, *fill)),
                (_, None) => None,
            };
        }
    }
    colour
}

/// Checks the frame at every size and scale, dark and light, and that everything has a name.
fn check(window: &mut Harness<'_, App>, state: &str) {
    let mut told = Vec::new();
    for (appearance, look) in Appearance::ALL.into_iter().filter(|(appearance, _)| *appearance != Appearance::System) {
        window.state_mut().editor.apply(Command::Appear(appearance));
        for size in SIZES {
            for scale in SCALES {
                window.set_pixels_per_point(scale);
                // Another scale takes effect in the next frame, and changes the size in points.
                window.step();
                window.set_size(vec2(size[0], size[1]));
                window.run_steps(3);
                assert_eq!(window.ctx.content_rect().size(), vec2(size[0], size[1]));
                let here = format!("{state}, {look}, {size:?} at {scale}×");
                told.extend(faults(window).into_iter().map(|fault| format!("{here}: {fault}")));
                told.extend(window.unnamed_widgets().into_iter().map(|node| format!("{here}: no name: {node}")));
            }
        }
    }
    let all = told.len();
    told.truncate(12);
    assert!(told.is_empty(), "{all} faults, among them\n{}", told.join("\n"));
}

#[test]
fn the_start_a_run_and_its_result() {
    let mut window = window(Kept::default(), SIZES[0]);
    until_ready(&mut window);
    check(&mut window, "start");
    let (right, far) = ((534.0, 256.0), window.state().editor.view);
    window.state_mut().editor.apply(Command::Look(View { zoom: 4.0, centre: right, fit: false }));
    check(&mut window, "its right edge from near");
    window.state_mut().editor.apply(Command::Look(far));
    window.state_mut().editor.apply(Command::ShowMore(true));
    check(&mut window, "start with more");
    window.state_mut().editor.apply(Command::ShowMore(false));
    window.state_mut().editor.apply(Command::Choose(Tool::Rectangle));
    for (modifiers, key) in
        [(Modifiers::NONE, Key::ArrowUp), (Modifiers::NONE, Key::Space), (Modifiers::SHIFT, Key::ArrowRight)]
    {
        window.key_press_modifiers(modifiers, key);
        window.run_steps(2);
    }
    check(&mut window, "a rectangle by the keyboard");
    window.state_mut().editor.apply(Command::Choose(Tool::Extend));
    window.key_press(Key::ArrowRight);
    window.run_steps(2);
    check(&mut window, "an extension by the keyboard");
    window.key_press(Key::Escape);
    window.state_mut().editor.apply(Command::Choose(Tool::Brush));
    window.run_steps(2);
    window.state_mut().editor.apply(Command::Steps(12));
    window.state_mut().editor.apply(Command::Generate);
    until(&mut window, "it decodes", |editor| editor.run.as_ref().is_some_and(|run| run.track.is_some()));
    window.state_mut().editor.apply(Command::PlayOrPause);
    check(&mut window, "decoding");
    window.state_mut().editor.apply(Command::PlayOrPause);
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    check(&mut window, "result");
    window.state_mut().editor.apply(Command::ShowHeat(Some(Heat::Uncertainty)));
    check(&mut window, "uncertainty");
    window.state_mut().editor.apply(Command::ShowHeat(Some(Heat::Surprise)));
    until(&mut window, "the picture is read", |editor| editor.surprise_is_current());
    check(&mut window, "surprise");
    window.state_mut().editor.apply(Command::Subject(0));
    check(&mut window, "surprise, and another subject");
    window.state_mut().editor.apply(Command::ChooseSurprising(true));
    check(&mut window, "select by surprise");
    window.state_mut().editor.apply(Command::ChooseSurprising(false));
    window.state_mut().editor.apply(Command::ShowHeat(None));
    window.state_mut().editor.apply(Command::Rewind(3));
    check(&mut window, "rewound");
    window.state_mut().editor.apply(Command::Order("none such"));
    window.state_mut().editor.apply(Command::ClearMask);
    window.state_mut().editor.apply(Command::Generate);
    assert!(window.state().editor.notices.len() >= 2);
    window.state_mut().editor.document.name = "a very long name of a picture ".repeat(8);
    window.state_mut().editor.importing = Some(format!("{}: writing, 34 %", "a-long-checkpoint".repeat(6)));
    check(&mut window, "notices, an import and long names");
}

#[test]
fn dialogs_settings_and_palette() {
    let mut window = window(Kept::default(), SIZES[0]);
    until_ready(&mut window);
    let dialogs = [
        (Dialog::Palette, "palette"),
        (Dialog::Settings, "settings"),
        (Dialog::Keys, "sheet of keys"),
        (Dialog::About, "about"),
        (Dialog::Leave, "leave"),
        (Dialog::Extend, "extend"),
        (Dialog::Adjust(Adjustment::Grow), "grow"),
        (Dialog::Weights(vec!["some.ckpt".into()]), "weights"),
        (Dialog::MaskOrPicture("some.png".into()), "mask or picture"),
        (Dialog::Export, "export"),
    ];
    for (dialog, name) in dialogs {
        window.state_mut().editor.apply(Command::Ask(dialog));
        window.run_steps(2);
        check(&mut window, name);
    }
    window.state_mut().editor.apply(Command::Ask(Dialog::Settings));
    window.run_steps(3);
    window.get_by_label("Keys").click();
    window.run_steps(3);
    check(&mut window, "settings of keys");
    window.state_mut().editor.apply(Command::CloseDialog);
    window.run_steps(2);
    for dialog in [Dialog::Open, Dialog::Save, Dialog::Import] {
        window.state_mut().editor.apply(Command::Ask(dialog.clone()));
        until_shown(&mut window, "Path of the file");
        check(&mut window, &format!("{dialog:?}"));
    }
}

#[test]
fn menus_and_choosers() {
    let mut window = window(Kept::default(), SIZES[0]);
    until_ready(&mut window);
    let menus = Menu::BAR.map(|(_, name)| format!("{name} menu"));
    let subject = window.state().editor.card.subjects[window.state().editor.settings.subject as usize].clone();
    let choosers = [format!("Model: {}", window.state().editor.card.title), format!("Subject: {subject}")];
    for name in menus.into_iter().chain(choosers) {
        window.get_by_label(&name).click();
        window.run_steps(3);
        check(&mut window, &name);
        window.key_press(egui::Key::Escape);
        window.run_steps(3);
    }
}
