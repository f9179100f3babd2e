//! The handles on the four edges, which extend the canvas.

use egui::{
    Align2, CornerRadius, CursorIcon, Key, Painter, Rect, Role, Sense, Shape, Stroke, Ui, Vec2, WidgetInfo, vec2,
};

use super::screen::Screen;
use super::theme;
use super::widgets::{focus_ring, tag};
use crate::command::{Command, Tool};
use crate::editor::Editor;

/// The longest an edge is drawn out in one go, in screens of the canvas.
const REACH: f32 = 4.0;

/// One edge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Edge {
    Left,
    Top,
    Right,
    Bottom,
}

const EDGES: [Edge; 4] = [Edge::Left, Edge::Top, Edge::Right, Edge::Bottom];

impl Edge {
    fn name(self) -> &'static str {
        match self {
            Self::Left => "Extend left edge",
            Self::Top => "Extend top edge",
            Self::Right => "Extend right edge",
            Self::Bottom => "Extend bottom edge",
        }
    }

    /// Outwards.
    fn direction(self) -> Vec2 {
        match self {
            Self::Left => vec2(-1.0, 0.0),
            Self::Top => vec2(0.0, -1.0),
            Self::Right => vec2(1.0, 0.0),
            Self::Bottom => vec2(0.0, 1.0),
        }
    }

    fn is_upright(self) -> bool {
        matches!(self, Self::Left | Self::Right)
    }

    /// The middle of the edge.
    fn middle(self, canvas: Rect) -> egui::Pos2 {
        match self {
            Self::Left => canvas.left_center(),
            Self::Top => canvas.center_top(),
            Self::Right => canvas.right_center(),
            Self::Bottom => canvas.center_bottom(),
        }
    }

    fn margins(self, pixels: u32) -> [u32; 4] {
        EDGES.map(|edge| if edge == self { pixels } else { 0 })
    }
}

/// An edge that is being drawn out.
#[derive(Default)]
pub(super) struct Handles {
    drawn: Option<(Edge, f32)>,
}

impl Handles {
    /// Shows the handles and the area being added. Returns whether the pointer is on one of them.
    pub(super) fn show(
        &mut self,
        ui: &Ui,
        painter: &Painter,
        screen: &Screen,
        editor: &Editor,
        commands: &mut Vec<Command>,
    ) -> bool {
        let canvas = screen.rect(editor.document.picture.rect());
        let mut taken = false;
        for edge in EDGES {
            taken |= self.edge(ui, painter, screen, editor, edge, canvas, commands);
        }
        taken
    }

    #[expect(clippy::too_many_arguments, reason = "one edge of the four, in one place")]
    fn edge(
        &mut self,
        ui: &Ui,
        painter: &Painter,
        screen: &Screen,
        editor: &Editor,
        edge: Edge,
        canvas: Rect,
        commands: &mut Vec<Command>,
    ) -> bool {
        let cell = cell(editor);
        let chosen = editor.brush.tool == Tool::Extend;
        let added = self.drawn.filter(|(drawn, _)| *drawn == edge).map_or(0, |(_, drawn)| snapped(drawn, cell));
        let out = edge.direction() * added as f32 * screen.zoom;
        let length = if chosen { 96.0 } else { 56.0 };
        let bar = if edge.is_upright() { vec2(6.0, length) } else { vec2(length, 6.0) };
        let (bar, reach) = (Rect::from_center_size(edge.middle(canvas) + out, bar), if chosen { 10.0 } else { 6.0 });
        let id = ui.scope_id().with(edge.name());
        let response = ui.interact(bar.expand(reach).intersect(screen.viewport), id, Sense::click_and_drag());
        response.widget_info(|| WidgetInfo::labeled(Role::Button, true, edge.name()));
        if response.dragged() {
            let furthest = editor.document.picture.width().max(editor.document.picture.height()) as f32 * REACH;
            let moved = (response.drag_delta() * edge.direction()).dot(Vec2::splat(1.0)) / screen.zoom;
            let drawn = self.drawn.filter(|(drawn, _)| *drawn == edge).map_or(0.0, |(_, drawn)| drawn);
            self.drawn = Some((edge, (drawn + moved).min(furthest)));
        }
        if self.drawn.is_some() && ui.input(|input| input.key_pressed(Key::Escape)) {
            self.drawn = None;
            ui.ctx().stop_dragging();
        }
        if response.drag_stopped() && self.drawn.take().is_some() && added > 0 {
            commands.push(Command::ExtendCanvas(edge.margins(added)));
        }
        if response.clicked() && !ui.input(|input| input.pointer.any_released()) {
            commands.push(Command::ExtendCanvas(edge.margins(cell)));
        }
        let hot = response.hovered() || response.dragged() || response.has_focus();
        let resting = if chosen { theme::ACCENT } else { theme::mix(theme::EDGE, theme::DIM, 0.4) };
        let colour = if hot { theme::ACCENT } else { resting };
        painter.rect_filled(bar, CornerRadius::same(3), colour);
        focus_ring(ui, &response, bar, 4);
        if added > 0 {
            ghost(painter, screen, edge, canvas, out, added, cell);
        }
        let cursor = if edge.is_upright() { CursorIcon::ResizeHorizontal } else { CursorIcon::ResizeVertical };
        let hovered = response.hovered() || response.dragged();
        let tip = format!("{}\nDrag outwards: the added area is masked. Enter adds one row of tokens", edge.name());
        response.on_hover_and_drag_cursor(cursor).on_hover_text(tip);
        hovered
    }
}

/// The area being added.
fn ghost(painter: &Painter, screen: &Screen, edge: Edge, canvas: Rect, out: Vec2, added: u32, cell: u32) {
    let area = match edge {
        Edge::Left => Rect::from_min_max(canvas.left_top() + out, canvas.left_bottom()),
        Edge::Top => Rect::from_min_max(canvas.left_top() + out, canvas.right_top()),
        Edge::Right => Rect::from_min_max(canvas.right_top(), canvas.right_bottom() + out),
        Edge::Bottom => Rect::from_min_max(canvas.left_bottom(), canvas.right_bottom() + out),
    };
    checkers(painter, area);
    dashes(painter, area);
    let what = if edge.is_upright() { "column" } else { "row" };
    let count = added / cell.max(1);
    let text = format!("+{added} px · {count} {what}{} of tokens", if count == 1 { "" } else { "s" });
    tag(painter, area.center_bottom() + vec2(0.0, 10.0), Align2::CENTER_TOP, &text, screen.viewport);
}

/// A dark chequered area: nothing is there yet.
pub(super) fn checkers(painter: &Painter, area: Rect) {
    const SIDE: f32 = 10.0;
    painter.rect_filled(area, 0.0, theme::WELL);
    let seen = area.intersect(painter.clip_rect());
    if !seen.is_positive() {
        return;
    }
    let mut mesh = egui::Mesh::default();
    let first = ((seen.min - area.min) / SIDE).floor();
    let last = ((seen.max - area.min) / SIDE).ceil();
    for row in first.y as i32..last.y as i32 {
        for col in (first.x as i32..last.x as i32).filter(|col| (col + row) % 2 == 0) {
            let min = area.min + vec2(col as f32, row as f32) * SIDE;
            mesh.add_colored_rect(Rect::from_min_size(min, Vec2::splat(SIDE)).intersect(area), theme::PANEL);
        }
    }
    painter.add(Shape::mesh(mesh));
}

/// A dashed amber edge.
pub(super) fn dashes(painter: &Painter, area: Rect) {
    let corners = [area.left_top(), area.right_top(), area.right_bottom(), area.left_bottom(), area.left_top()];
    painter.extend(Shape::dashed_line(&corners, Stroke::new(1.0, theme::ACCENT), 4.0, 3.0));
}

/// Canvas pixels along a side of a token, as the frame lies now.
fn cell(editor: &Editor) -> u32 {
    let (width, height) = (editor.document.picture.width(), editor.document.picture.height());
    let (side, tokens) = match (&editor.aim, editor.lattice()) {
        (Some(aim), _) => (aim.frame.rect.width, aim.grid.cols),
        (None, Ok(lattice)) => (width.max(height), lattice.finest().cols.max(lattice.finest().rows)),
        (None, Err(_)) => (width.max(height), editor.card.grid),
    };
    (side / tokens.max(1) as u32).max(1)
}

/// Whole tokens.
fn snapped(drawn: f32, cell: u32) -> u32 {
    (drawn / cell as f32).round().max(0.0) as u32 * cell
}
