//! Where the canvas lies on the screen.

use andamento_model::picture::Rect;
use egui::{Pos2, Vec2, pos2, vec2};

use crate::command::View;
use crate::editor::ZOOMS;

/// Room around the canvas when the whole of it is in sight: for labels and handles.
const MARGIN: Vec2 = vec2(64.0, 62.0);

/// The way from canvas pixels to screen points and back.
#[derive(Debug, Clone, Copy)]
pub(super) struct Screen {
    /// The part of the window in which the canvas is seen.
    pub(super) viewport: egui::Rect,
    /// Screen points per canvas pixel.
    pub(super) zoom: f32,
    /// Where the canvas's upper left corner lies.
    pub(super) origin: Pos2,
}

impl Screen {
    /// Places a canvas of `width` × `height` pixels in a viewport.
    pub(super) fn new(view: View, viewport: egui::Rect, width: u32, height: u32) -> Self {
        let view = if view.fit { fitted(viewport, width, height) } else { view };
        let centre = vec2(view.centre.0, view.centre.1);
        Self { viewport, zoom: view.zoom, origin: viewport.center() - centre * view.zoom }
    }

    /// The same as a view.
    pub(super) fn view(&self) -> View {
        let centre = (self.viewport.center() - self.origin) / self.zoom;
        View { zoom: self.zoom, centre: (centre.x, centre.y), fit: false }
    }

    /// A canvas point on the screen.
    pub(super) fn point(&self, x: f32, y: f32) -> Pos2 {
        self.origin + vec2(x, y) * self.zoom
    }

    /// A rectangle of canvas pixels on the screen.
    pub(super) fn rect(&self, rect: Rect) -> egui::Rect {
        let min = self.point(rect.x as f32, rect.y as f32);
        egui::Rect::from_min_max(min, self.point(rect.right() as f32, rect.bottom() as f32))
    }

    /// A screen point on the canvas.
    pub(super) fn canvas(&self, at: Pos2) -> (f32, f32) {
        let at = (at - self.origin) / self.zoom;
        (at.x, at.y)
    }

    /// The canvas pixels that lie in the viewport, those that are cut off included; they may reach outside of the canvas.
    pub(super) fn seen(&self) -> Rect {
        let (min, max) = (self.canvas(self.viewport.min), self.canvas(self.viewport.max));
        let (left, top) = (min.0.floor() as i64, min.1.floor() as i64);
        let side = |from: i64, to: f32| (to.ceil() as i64 - from).clamp(0, i64::from(u32::MAX)) as u32;
        Rect::new(left, top, side(left, max.0), side(top, max.1))
    }

    /// Moved by so many screen points.
    pub(super) fn moved(&self, by: Vec2) -> View {
        Self { origin: self.origin + by, ..*self }.view()
    }

    /// Closer or further away, the point under the pointer staying where it is.
    pub(super) fn zoomed(&self, factor: f32, at: Pos2) -> View {
        let zoom = (self.zoom * factor).clamp(ZOOMS.0, ZOOMS.1);
        Self { zoom, origin: at + (self.origin - at) * (zoom / self.zoom), ..*self }.view()
    }
}

fn fitted(viewport: egui::Rect, width: u32, height: u32) -> View {
    let (width, height) = (width.max(1) as f32, height.max(1) as f32);
    let room = (viewport.size() - 2.0 * MARGIN).max(vec2(40.0, 40.0));
    let zoom = (room.x / width).min(room.y / height).clamp(ZOOMS.0, 8.0);
    View { zoom, centre: (pos2(width, height) / 2.0).into(), fit: true }
}
