//! The token grid: what is still to come, what was just made, and numbers per token as colours.

use andamento_model::lattice::{Grid, Site};
use andamento_model::picture::Rect;
use andamento_model::sample::Made;
use egui::{Mesh, Painter, Shape, Stroke, StrokeKind};

use super::screen::Screen;
use super::theme;
use super::widgets::white;
use crate::command::Heat;
use crate::document::{Leg, Track};
use crate::editor::Editor;

/// How many of the last steps glow, the last one most.
const GLOWING: usize = 3;
/// How strongly heat covers the picture.
pub(super) const HEAT: f32 = 0.72;

/// Draws the tokens of a run after its first `head` steps.
pub(super) fn show(painter: &Painter, screen: &Screen, editor: &Editor, track: &Track, head: usize) {
    let (canvas, live) = (editor.document.picture.rect(), editor.run.is_some());
    let Some(leg) = track.leg(head) else { return };
    let (mut dark, mut lines) = (Mesh::default(), Vec::new());
    for site in to_come(track, leg, head) {
        let rect = screen.rect(leg.rect(site).intersect(canvas));
        if rect.is_positive() {
            // Without soft edges, which would let the picture shine through between neighbours.
            if leg.plan.lattice.scales().len() == 1 {
                dark.add_colored_rect(rect, theme::PENDING.gamma_multiply(0.95));
            }
            lines.push(Shape::rect_stroke(rect, 0.0, line(0.9), StrokeKind::Inside));
        }
    }
    painter.add(Shape::mesh(dark));
    painter.extend(lines);
    let finished = head == track.outline.steps && !live;
    for (index, step) in track.steps.iter().take(head).enumerate() {
        let age = head - 1 - index;
        for made in &step.made {
            let rect = screen.rect(track.rect(index, made.site).intersect(canvas));
            if !rect.is_positive() {
                continue;
            }
            if age < GLOWING && !finished && editor.show.heat.is_none() {
                let strength = 1.0 - age as f32 / GLOWING as f32;
                let fill = theme::accent().gamma_multiply(0.62 * strength);
                let stroke = Stroke::new(1.5, theme::GLOW.gamma_multiply(0.35 + 0.65 * strength));
                painter.rect(rect, 0.0, fill, stroke, StrokeKind::Inside);
            } else if !finished {
                painter.rect_stroke(rect, 0.0, line(0.35), StrokeKind::Inside);
            }
        }
    }
}

/// The sites of a pass that nothing was made for in the first `head` steps of the run. Where tokens come in scales, those of
/// the next one: every scale covers the whole picture.
fn to_come(track: &Track, leg: &Leg, head: usize) -> Vec<Site> {
    if leg.plan.lattice.scales().len() > 1 {
        return leg.plan.made_by(head - leg.plan.first).collect();
    }
    leg.plan.waiting(&track.steps[leg.plan.first.min(head)..head])
}

/// Draws the tokens that would be made if Generate were pressed.
pub(super) fn show_aim(painter: &Painter, screen: &Screen, editor: &Editor) {
    let Some(aim) = &editor.aim else { return };
    let (Grid { rows, cols }, canvas) = (aim.grid, editor.document.picture.rect());
    for site in (0..aim.masked.len()).filter(|site| aim.masked[*site]) {
        let rect = aim.frame.site_rect(site / cols, site % cols, rows, cols).intersect(canvas);
        painter.rect_stroke(screen.rect(rect), 0.0, line(0.3), StrokeKind::Inside);
    }
}

/// Colours the tokens by a number of each.
pub(super) fn show_heat(painter: &Painter, screen: &Screen, editor: &Editor, track: &Track, head: usize, heat: Heat) {
    let canvas = editor.document.picture.rect();
    let total = track.outline.tokens.max(2) as f32 - 1.0;
    let most = track.steps.iter().flat_map(|step| &step.made).map(|made| made.bits).fold(1.0, f32::max);
    let mut number = 0.0;
    let made = track.steps.iter().take(head).enumerate();
    for (step, made) in made.flat_map(|(index, step)| step.made.iter().map(move |made| (index, made))) {
        let colour = match heat {
            Heat::Order => theme::rank(number / total),
            Heat::Uncertainty => theme::heat(made.bits / most),
            Heat::Likelihood => theme::heat(made.probability),
            Heat::Surprise => return,
        };
        number += 1.0;
        let rect = screen.rect(track.rect(step, made.site).intersect(canvas));
        painter.rect_filled(rect.shrink(0.5), 0.0, colour.gamma_multiply(HEAT));
    }
}

/// The token under the pointer: the last one that was made there in the first `head` steps, with its step, or else the first
/// one that will be.
pub(super) fn find<'a>(
    screen: &Screen,
    track: &'a Track,
    head: usize,
    at: egui::Pos2,
) -> Option<(usize, Site, Option<&'a Made>)> {
    let (x, y) = screen.canvas(at);
    let here = |step: usize, site: Site| {
        let rect: Rect = track.rect(step, site);
        rect.contains_pixel(x.floor() as i64, y.floor() as i64)
    };
    let made =
        track.steps.iter().take(head).rev().flat_map(|step| step.made.iter().map(move |made| (step.index, made)));
    let made =
        made.filter(|(step, made)| here(*step, made.site)).map(|(step, made)| (step, made.site, Some(made))).next();
    let leg = track.leg(head)?;
    let (first, steps) = (leg.plan.first, head - leg.plan.first..leg.plan.visits.len());
    let later = || steps.flat_map(|step| leg.plan.made_by(step).map(move |site| (first + step, site, None)));
    made.or_else(|| later().find(|(step, site, _)| here(*step, *site)))
}

/// What is known of a token.
pub(super) fn in_words(step: usize, site: Site, made: Option<&Made>) -> String {
    match made {
        Some(made) => {
            let likelier = if made.rank == 0 { "the likeliest".into() } else { format!("{} likelier", made.rank) };
            let first = format!("token {} · {} · {:.1} bits", site.0, probability(made.probability), made.bits);
            let likelier = if made.by_hand { "chosen by hand".into() } else { likelier };
            let second = format!("step {} · code {} · {likelier}", step + 1, made.token);
            match made.boldness {
                1.0 => format!("{first}\n{second}"),
                factor => format!("{first}\n{second}\ndrawn at {} the temperature", times(factor)),
            }
        }
        None => format!("token {} · to be made in step {}", site.0, step + 1),
    }
}

/// A factor on the temperature.
pub(super) fn times(factor: f32) -> String {
    if factor < 1.0 { format!("{factor:.2}×") } else { format!("{factor:.1}×") }
}

/// A probability in as many digits as mean something.
pub(super) fn probability(probability: f32) -> String {
    match probability {
        p if p < 0.001 => "p < 0.001".into(),
        p if p < 0.1 => format!("p = {p:.3}"),
        p => format!("p = {p:.2}"),
    }
}

fn line(strength: f32) -> Stroke {
    let colour = if strength > 0.5 { white(16) } else { white((strength * 110.0) as u8) };
    Stroke::new(1.0, colour)
}
