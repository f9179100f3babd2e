//! The painted order on the canvas: the path with its direction, and the tokens on it in their sequence.

use andamento_model::frame::Extent;
use andamento_model::order::Course;
use andamento_model::picture::Rect;
use andamento_model::seam::Seam;
use egui::{Align2, Color32, Mesh, Painter, Pos2, Shape, Stroke, Vec2, vec2};

use super::screen::Screen;
use super::theme;
use super::widgets::{tag, white};
use crate::command::Tool;
use crate::editor::{Editor, cause};

/// How strongly a token's colour covers the picture.
const COVER: f32 = 0.5;
/// From so many screen points per token on its number is written.
const NUMBERED: f32 = 22.0;
/// An arrow head comes every so many screen points, of this length.
const ARROWS: f32 = 64.0;
const ARROW: f32 = 9.0;
/// Points nearer to each other, in screen points, are drawn as one.
const FINEST: f32 = 2.0;

/// What the present looks were worked out from.
#[derive(Clone, PartialEq)]
struct Key {
    ids: [u64; 3],
    points: Option<usize>,
    settings: (&'static str, u64, Extent, Seam),
    frame: Option<Rect>,
    model: String,
}

/// A token on the path.
struct Tile {
    rect: Rect,
    /// Its number among all tokens of the run, from 1.
    number: usize,
    /// Its place on the path, 0 the first and 1 the last.
    share: f32,
}

/// How the painted order looks.
#[derive(Default)]
pub(super) struct PathLooks {
    key: Option<Key>,
    lines: Vec<Vec<(f32, f32)>>,
    tiles: Vec<Tile>,
}

impl PathLooks {
    /// Takes in what changed.
    pub(super) fn sync(&mut self, editor: &Editor) {
        let settings = &editor.settings;
        let [picture, mask, path, _] = editor.document.ids();
        let key = Key {
            ids: [picture, mask, path],
            points: editor.painted_points(),
            settings: (settings.order, settings.seed, settings.extent, settings.seam),
            frame: editor.frame,
            model: editor.card.id.clone(),
        };
        if self.key.as_ref() != Some(&key) {
            let path = editor.painted_order();
            self.lines = path.lines();
            self.tiles = if path.is_empty() { Vec::new() } else { tiles(editor) };
            self.key = Some(key);
        }
    }

    /// Draws the path: with the order brush in hand, and otherwise where it will be followed.
    pub(super) fn show(&self, painter: &Painter, screen: &Screen, editor: &Editor) {
        let at_rest = editor.run.is_none() && editor.timeline.head.is_none() && !editor.is_fulfilled();
        if self.lines.is_empty() && self.tiles.is_empty() || !(at_rest || editor.brush.tool == Tool::Order) {
            return;
        }
        let refusal = editor.abilities.check_path().err();
        let canvas = editor.document.picture.rect();
        let shown = self.tiles.iter().filter(|_| refusal.is_none());
        let shown = shown.map(|tile| (tile, screen.rect(tile.rect.intersect(canvas))));
        let shown: Vec<_> = shown.filter(|(_, rect)| rect.intersects(painter.clip_rect())).collect();
        let mut mesh = Mesh::default();
        for (tile, rect) in &shown {
            mesh.add_colored_rect(rect.shrink(0.5), theme::rank(tile.share).gamma_multiply(COVER));
        }
        painter.add(Shape::mesh(mesh));
        for line in &self.lines {
            draw(painter, screen, line, refusal.is_none());
        }
        for (tile, rect) in shown.iter().filter(|(_, rect)| rect.width().min(rect.height()) >= NUMBERED) {
            number(painter, rect.center(), tile);
        }
        if let (Some(error), Some((x, y))) = (refusal, self.lines.first().and_then(|line| line.first())) {
            let text = format!("not followed: {}", cause(error));
            tag(painter, screen.point(*x, *y) + vec2(12.0, 12.0), Align2::LEFT_TOP, &text, screen.viewport);
        }
    }
}

/// The tokens on the path, in the sequence in which they are made.
fn tiles(editor: &Editor) -> Vec<Tile> {
    let (Some(aim), Ok(lattice)) = (&editor.aim, editor.lattice()) else { return Vec::new() };
    let (path, grid) = (editor.painted_order(), lattice.finest());
    let course = Course { order: editor.settings.order, seed: editor.settings.seed, path: &path };
    let mut tiles = Vec::new();
    let mut before = 0;
    for pass in &aim.passes {
        let masked = pass.frame.masked_sites(&pass.mask, grid.rows, grid.cols);
        let Ok((sites, led)) = course.arrange(&pass.frame, &lattice, &masked) else { continue };
        let mut on = vec![false; masked.len()];
        led.iter().for_each(|site| on[*site as usize] = true);
        let made = sites.into_iter().map(|site| site as usize).filter(|site| masked[*site]);
        for (number, site) in made.enumerate().filter(|(_, site)| on[*site]) {
            let rect = pass.frame.site_rect(site / grid.cols, site % grid.cols, grid.rows, grid.cols);
            tiles.push(Tile { rect, number: before + number + 1, share: 0.0 });
        }
        before += masked.iter().filter(|masked| **masked).count();
    }
    let last = tiles.len().saturating_sub(1).max(1) as f32;
    tiles.iter_mut().enumerate().for_each(|(place, tile)| tile.share = place as f32 / last);
    tiles
}

/// A line with its direction: a dot where it begins, and arrow heads.
fn draw(painter: &Painter, screen: &Screen, line: &[(f32, f32)], followed: bool) {
    let mut points: Vec<Pos2> = Vec::with_capacity(line.len());
    for (x, y) in line {
        let at = screen.point(*x, *y);
        if points.last().is_none_or(|last| last.distance(at) >= FINEST) {
            points.push(at);
        }
    }
    let Some(first) = points.first().copied() else { return };
    let light = if followed { white(235) } else { white(90) };
    painter.add(Shape::line(points.clone(), Stroke::new(4.0, Color32::from_black_alpha(120))));
    painter.add(Shape::line(points.clone(), Stroke::new(2.0, light)));
    painter.circle(first, 4.0, light, Stroke::new(1.0, Color32::from_black_alpha(160)));
    let (mut gone, mut next) = (0.0, ARROWS / 2.0);
    for (from, to) in points.iter().zip(points.iter().skip(1)) {
        let length = from.distance(*to);
        while gone + length >= next {
            arrow(painter, from.lerp(*to, (next - gone) / length), (*to - *from) / length, light);
            next += ARROWS;
        }
        gone += length;
    }
    // A short line has one at its end.
    if let [.., from, to] = points[..]
        && gone < ARROWS / 2.0
    {
        arrow(painter, to, (to - from).normalized(), light);
    }
}

fn arrow(painter: &Painter, tip: Pos2, along: Vec2, colour: Color32) {
    let (back, aside) = (tip - along * ARROW, along.rot90() * (ARROW * 0.55));
    let points = vec![tip + along * (ARROW * 0.3), back + aside, back - aside];
    painter.add(Shape::convex_polygon(points, colour, Stroke::new(1.0, Color32::from_black_alpha(160))));
}

/// When a token is made, on a disc of its colour.
fn number(painter: &Painter, at: Pos2, tile: &Tile) {
    let colour = theme::rank(tile.share);
    let text = if theme::is_light(colour) { Color32::BLACK } else { Color32::WHITE };
    let galley = painter.layout_no_wrap(tile.number.to_string(), theme::font(11.0), text);
    let disc = egui::Rect::from_center_size(at, galley.size() + vec2(6.0, 1.0));
    painter.rect_filled(disc, 6.0, colour);
    painter.galley(at - galley.size() / 2.0, galley, text);
}
