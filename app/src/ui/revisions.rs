//! The revisions of a token: models that draft a token and overwrite it (TensorAR) show what they thought on the way.

use andamento_model::lattice::Site;
use andamento_model::ledger::revisions;
use andamento_model::sample::Made;
use egui::{
    Align2, Color32, Context, Painter, Pos2, Rect, Stroke, StrokeKind, TextureHandle, TextureOptions, pos2, vec2,
};

use super::screen::Screen;
use super::theme;
use super::tokens::probability;
use super::widgets::shifted_into;
use crate::document::Track;
use crate::editor::{Editor, Spot};

/// The side of a small picture, and the room for one with what is said of it, in points.
const SIDE: f32 = 52.0;
const COLUMN: f32 = 74.0;
const MARGIN: f32 = 10.0;
/// A line of text.
const LINE: f32 = 15.0;

/// The small pictures on the graphics card.
#[derive(Default)]
pub(super) struct Revisions {
    pictures: Option<(Spot, Vec<TextureHandle>)>,
}

impl Revisions {
    /// What a token was in each step that made it, final token last: with step, code and probability, at a place.
    /// Returns the token, whose pictures are to be asked for, and all of it in words.
    pub(super) fn show(
        &mut self,
        painter: &Painter,
        screen: &Screen,
        editor: &Editor,
        (track, step, site): (&Track, usize, Site),
        place: Pos2,
    ) -> Option<(Spot, String)> {
        let (head, leg) = (editor.head(), track.leg(step)?);
        let first = leg.plan.first;
        let steps = track.steps.get(first..head.min(first + leg.plan.visits.len()))?;
        let made = revisions(steps, site);
        let spot = Spot { run: track.number, steps: head, first, site };
        self.upload(painter.ctx(), editor, spot);
        let title = match made.len() {
            1 => format!("token {} · made once", site.0),
            count => format!("token {} · {count} revisions", site.0),
        };
        let height = MARGIN * 2.0 + LINE * 4.0 + SIDE + 10.0;
        let width = (COLUMN * made.len() as f32).max(170.0) + 2.0 * MARGIN;
        let area = Rect::from_min_size(place, vec2(width, height));
        let area = shifted_into(area, screen.viewport.shrink(4.0));
        painter.rect(area, theme::RADIUS, theme::panel(), Stroke::new(1.0, theme::edge()), StrokeKind::Inside);
        let corner = area.min + vec2(MARGIN, MARGIN);
        painter.text(corner, Align2::LEFT_TOP, &title, theme::font(12.5), theme::text());
        for (index, (step, revision)) in made.iter().enumerate() {
            let corner = corner + vec2(COLUMN * index as f32, LINE + 6.0);
            let last = index + 1 == made.len();
            let same = index > 0 && made[index - 1].1.token == revision.token;
            self.column(painter, corner, (index, *step, revision), last, same);
        }
        let words = made.iter().map(|(step, made)| in_words(*step, made)).collect::<Vec<_>>().join("; ");
        Some((spot, format!("{title}: {words}")))
    }

    fn column(
        &self,
        painter: &Painter,
        corner: Pos2,
        (index, step, made): (usize, usize, &Made),
        last: bool,
        same: bool,
    ) {
        let picture = Rect::from_min_size(corner, vec2(SIDE, SIDE));
        match self.pictures.as_ref().and_then(|(_, pictures)| pictures.get(index)) {
            Some(texture) => {
                let size = texture.size_vec2();
                let place = Rect::from_center_size(picture.center(), size * (SIDE / size.max_elem().max(1.0)));
                let all = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
                painter.image(texture.id(), place, all, Color32::WHITE);
            }
            None => {
                painter.rect_filled(picture, 2.0, theme::well());
            }
        }
        let stroke = if last { Stroke::new(1.5, theme::accent()) } else { Stroke::new(1.0, theme::edge()) };
        painter.rect_stroke(picture, 2.0, stroke, StrokeKind::Outside);
        let colour = if same { theme::dim() } else { theme::text() };
        let what = format!("step {}", step + 1);
        let lines = [what, format!("code {}", made.token), probability(made.probability)];
        for (line, text) in lines.into_iter().enumerate() {
            let at = corner + vec2(0.0, SIDE + 5.0 + LINE * line as f32);
            painter.text(at, Align2::LEFT_TOP, text, theme::font(11.5), if line == 1 { colour } else { theme::dim() });
        }
    }

    /// Takes the pictures of this token as far as they are here.
    fn upload(&mut self, ctx: &Context, editor: &Editor, spot: Spot) {
        if self.pictures.as_ref().is_some_and(|(of, _)| *of == spot) {
            return;
        }
        let shown = editor.closeups.shown.as_ref().filter(|(of, _)| *of == spot);
        self.pictures = shown.map(|(_, pictures)| {
            let texture = |picture: &image::RgbImage| {
                let size = [picture.width() as usize, picture.height() as usize];
                let image = egui::ColorImage::from_rgb(size, picture.as_raw());
                ctx.load_texture("revision", image, TextureOptions::LINEAR)
            };
            (spot, pictures.iter().map(texture).collect())
        });
    }
}

fn in_words(step: usize, made: &Made) -> String {
    format!("step {} code {} {}", step + 1, made.token, probability(made.probability))
}
