//! How the mask looks on the picture: its colour, hatching, and a dashed line around it.

use andamento_model::picture::Rect;
use egui::{Color32, Context, Painter, Pos2, Shape, Stroke, Vec2, vec2};

use super::outline::outline;
use super::screen::Screen;
use super::textures::{Budget, MaskTexture};
use super::widgets::white;
use crate::command::Overlay;
use crate::document::Document;

/// Screen points between two lines of the hatching, along the rows.
const HATCH: f32 = 9.0;
/// Along a line of the hatching the mask is looked at every so many points.
const STRIDE: f32 = 2.0;
/// Screen points between two points of the outline.
const STEP: f32 = 3.0;
/// With more points than this the outline is drawn plainly.
const MANY: usize = 20_000;

/// What is kept of the mask's looks between frames.
#[derive(Default)]
pub(super) struct MaskLooks {
    texture: MaskTexture,
    lines: Vec<Vec<Pos2>>,
    /// What the lines were drawn for: mask, area, step.
    drawn: (u64, Rect, u32),
}

impl MaskLooks {
    /// Uploads what changed, and draws the outline anew where it is needed.
    pub(super) fn sync(
        &mut self,
        cost: (&Context, &mut Budget),
        document: &Document,
        screen: &Screen,
        touched: (u64, Rect),
    ) {
        let mask = (document.mask_id, &document.mask);
        self.texture.sync(cost, mask, screen, touched, Color32::from_white_alpha);
        let step = (STEP / screen.zoom).floor().max(1.0) as u32;
        let seen = screen.seen().intersect(document.mask.rect());
        let (mask_id, area, drawn) = self.drawn;
        let fits = mask_id == document.mask_id && drawn == step && area.intersect(document.mask.rect()).contains(seen);
        if !fits {
            // Some more than is seen, so that a small move does not need another one; not while the mask is painted.
            let part = if mask_id == document.mask_id { 4 } else { u32::MAX };
            let (right, down) = (i64::from(seen.width / part + 2 * step), i64::from(seen.height / part + 2 * step));
            let around =
                Rect::new(seen.x - right, seen.y - down, seen.width + 2 * right as u32, seen.height + 2 * down as u32);
            // Points stay where they are when the view moves.
            let snap = |at: i64| at.max(0) / i64::from(step) * i64::from(step);
            let (left, top) = (snap(around.x), snap(around.y));
            let area =
                Rect::new(left, top, (around.right() - left).max(0) as u32, (around.bottom() - top).max(0) as u32);
            self.lines = outline(&document.mask, area, step);
            self.drawn = (document.mask_id, area, step);
        }
    }

    /// Fills the mask with its colour, and hatches it.
    pub(super) fn fill(&mut self, painter: &Painter, screen: &Screen, document: &Document, overlay: Overlay) {
        let [red, green, blue] = overlay.colour;
        let colour = Color32::from_rgb(red, green, blue);
        if overlay.hatch {
            self.texture.paint(painter, screen, colour.gamma_multiply(overlay.opacity * 0.4));
            hatch(painter, screen, document, colour.gamma_multiply((overlay.opacity * 2.0).min(1.0)));
        } else {
            self.texture.paint(painter, screen, colour.gamma_multiply(overlay.opacity));
        }
    }

    /// Draws the line around the mask.
    pub(super) fn outline(&self, painter: &Painter, screen: &Screen) {
        let many = self.lines.iter().map(Vec::len).sum::<usize>() > MANY;
        for line in &self.lines {
            let points: Vec<Pos2> = line.iter().map(|point| screen.point(point.x, point.y)).collect();
            if many {
                painter.add(Shape::line(points, Stroke::new(1.0, white(200))));
                continue;
            }
            painter.add(Shape::line(points.clone(), Stroke::new(1.5, Color32::from_black_alpha(70))));
            painter.extend(Shape::dashed_line(&points, Stroke::new(1.5, white(235)), 6.0, 5.0));
        }
    }
}

/// Slanted lines where the mask is more than half on. They stay on the picture when the view moves.
fn hatch(painter: &Painter, screen: &Screen, document: &Document, colour: Color32) {
    let area = screen.rect(screen.seen().intersect(document.mask.rect())).intersect(painter.clip_rect());
    if !area.is_positive() {
        return;
    }
    let (size, from) = (area.size(), area.min - screen.origin);
    // Lines run to the right and up: along each, x + y is the same.
    let first = ((from.x + from.y) / HATCH).floor() as i32;
    let last = ((from.x + from.y + size.x + size.y) / HATCH).ceil() as i32;
    for line in first..=last {
        let sum = line as f32 * HATCH - from.x - from.y;
        let (start, end) = ((sum - size.y).max(0.0), sum.min(size.x));
        let point = |x: f32| area.min + vec2(x, sum - x);
        let on = |x: f32| {
            let (x, y) = screen.canvas(point(x));
            x >= 0.0 && y >= 0.0 && document.mask.get(x as u32, y as u32) > 127
        };
        let mut began = None;
        let mut x = start;
        while x <= end {
            match (on(x), began) {
                (true, None) => began = Some(x),
                (false, Some(from)) => {
                    painter.line_segment([point(from), point(x)], Stroke::new(1.2, colour));
                    began = None;
                }
                _ => {}
            }
            x += STRIDE;
        }
        if let Some(from) = began {
            painter.line_segment([point(from), point(end)], Stroke::new(1.2, colour));
        }
    }
}

/// Lines between pixels, where one looks from so near that they are seen as squares.
pub(super) fn pixel_grid(painter: &Painter, screen: &Screen, canvas: Rect) {
    /// From so many screen points per pixel on.
    const NEAR: f32 = 8.0;
    if screen.zoom < NEAR {
        return;
    }
    let seen = screen.seen().intersect(canvas);
    let area = screen.rect(seen);
    // Fainter where the lines are close to each other.
    let stroke = Stroke::new(1.0, Color32::from_black_alpha((40.0 + 2.0 * (screen.zoom - NEAR)).min(90.0) as u8));
    let crisp = |at: f32| painter.round_to_pixel_center(at);
    for x in seen.x..=seen.right() {
        painter.vline(crisp(screen.origin.x + x as f32 * screen.zoom), area.y_range(), stroke);
    }
    for y in seen.y..=seen.bottom() {
        painter.hline(area.x_range(), crisp(screen.origin.y + y as f32 * screen.zoom), stroke);
    }
}

/// A line that is being drawn around something, light on dark so that it shows on any picture.
pub(super) fn marquee(painter: &Painter, points: &[Pos2]) {
    painter.add(Shape::line(points.to_vec(), Stroke::new(2.0, Color32::from_black_alpha(130))));
    painter.extend(Shape::dashed_line(points, Stroke::new(1.3, white(240)), 5.0, 4.0));
}

/// A small square at a corner.
pub(super) fn knot(painter: &Painter, at: Pos2, colour: Color32) {
    let square = egui::Rect::from_center_size(at, Vec2::splat(7.0));
    painter.rect(square, 1.0, colour, Stroke::new(1.0, Color32::from_black_alpha(150)), egui::StrokeKind::Outside);
}
