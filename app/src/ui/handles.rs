//! The handles on the edges and corners, which extend the canvas.

use egui::{
    Align2, CornerRadius, CursorIcon, Key, Painter, Pos2, Rect, Response, Role, Sense, Shape, Stroke, Ui, Vec2,
    WidgetInfo, vec2,
};

use super::cursor::direction;
use super::screen::Screen;
use super::widgets::{focus_ring, tag};
use super::{frames, theme};
use crate::command::{Command, Tool};
use crate::editor::{Aim, Editor};

/// The furthest a handle is drawn out in one go, in longer sides of the canvas.
const REACH: f32 = 4.0;

/// So many steps at once.
const FAR: i64 = 4;

/// One handle, and which way is out.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Handle {
    name: &'static str,
    out: Vec2,
}

const HANDLES: [Handle; 8] = [
    Handle { name: "Extend left edge", out: vec2(-1.0, 0.0) },
    Handle { name: "Extend top edge", out: vec2(0.0, -1.0) },
    Handle { name: "Extend right edge", out: vec2(1.0, 0.0) },
    Handle { name: "Extend bottom edge", out: vec2(0.0, 1.0) },
    Handle { name: "Extend top left corner", out: vec2(-1.0, -1.0) },
    Handle { name: "Extend top right corner", out: vec2(1.0, -1.0) },
    Handle { name: "Extend bottom right corner", out: vec2(1.0, 1.0) },
    Handle { name: "Extend bottom left corner", out: vec2(-1.0, 1.0) },
];

impl Handle {
    fn is_corner(self) -> bool {
        self.out.x != 0.0 && self.out.y != 0.0
    }

    /// The bar that is grasped, when the canvas lies there.
    fn bar(self, canvas: Rect, chosen: bool) -> Rect {
        let at = canvas.center() + self.out * canvas.size() / 2.0;
        let length = if chosen { 96.0 } else { 56.0 };
        match (self.is_corner(), self.out.y == 0.0) {
            (true, _) => Rect::from_center_size(at + self.out * 3.0, Vec2::splat(if chosen { 12.0 } else { 8.0 })),
            (false, true) => Rect::from_center_size(at, vec2(6.0, length)),
            (false, false) => Rect::from_center_size(at, vec2(length, 6.0)),
        }
    }

    fn cursor(self) -> CursorIcon {
        match (self.is_corner(), self.out.x * self.out.y > 0.0, self.out.y == 0.0) {
            (true, true, _) => CursorIcon::ResizeNwSe,
            (true, false, _) => CursorIcon::ResizeNeSw,
            (false, _, true) => CursorIcon::ResizeHorizontal,
            (false, _, false) => CursorIcon::ResizeVertical,
        }
    }

    /// Pixels on the left, top, right and bottom, when it is drawn out by so many.
    fn margins(self, [x, y]: [u32; 2]) -> [u32; 4] {
        let side = |out: f32, towards: f32, pixels: u32| if out == towards { pixels } else { 0 };
        let Vec2 { x: across, y: down } = self.out;
        [side(across, -1.0, x), side(down, -1.0, y), side(across, 1.0, x), side(down, 1.0, y)]
    }
}

/// A handle that is being drawn out, and what would come of it.
#[derive(Default)]
pub(super) struct Handles {
    /// Which, and how far in canvas pixels.
    drawn: Option<(Handle, Vec2)>,
    /// How far the keyboard has drawn out the canvas, in pixels to the right and downwards; to the left and upwards below 0.
    keyed: [i64; 2],
    /// What would be made with these margins and this mask.
    forecast: Option<([u32; 4], u64, Option<Aim>)>,
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
        let cell = cell(editor);
        let snap = if editor.snap != ui.input(|input| input.modifiers.command) { cell } else { 1 };
        let added = self.drawn.map_or([0, 0], |(_, by)| [snapped(by.x, snap), snapped(by.y, snap)]);
        let margins = self.drawn.map_or(self.keyed_margins(), |(handle, _)| handle.margins(added));
        let grown = grown(canvas, margins, screen.zoom);
        if margins != [0; 4] {
            self.ghost(painter, screen, editor, margins, cell);
        }
        let mut taken = false;
        for handle in HANDLES {
            let response = interact(ui, screen, editor, handle, if margins == [0; 4] { canvas } else { grown });
            taken |= response.hovered() || response.dragged();
            self.take(ui, screen, editor, handle, &response, margins, commands);
            let chosen = editor.brush.tool == Tool::Extend;
            draw(ui, painter, handle.bar(grown, chosen), chosen, &response);
            response.on_hover_and_drag_cursor(handle.cursor()).on_hover_text(format!(
                "{}\nDrag outwards: the added area is masked. Ctrl: {} tokens. Enter adds one row of tokens",
                handle.name,
                if editor.snap { "not by whole" } else { "by whole" },
            ));
        }
        taken
    }

    /// Whether the keyboard has drawn something out.
    pub(super) fn is_keyed(&self) -> bool {
        self.keyed != [0; 2]
    }

    /// Leaves what the keyboard has drawn out.
    pub(super) fn put_back(&mut self) {
        self.keyed = [0; 2];
    }

    /// An arrow key draws out the edge to which it points by a row of tokens, with `far` by four of them, or takes back what
    /// was drawn out on the other side; Enter and Space extend the canvas, Escape leaves it.
    pub(super) fn press(&mut self, key: Key, far: bool, editor: &mut Editor) {
        let step = i64::from(if editor.snap { cell(editor) } else { 1 }) * if far { FAR } else { 1 };
        let (width, height) = (editor.document.picture.width(), editor.document.picture.height());
        let furthest = (width.max(height) as f32 * REACH) as i64;
        let by = direction(key);
        match key {
            Key::Escape => self.put_back(),
            Key::Enter | Key::Space => {
                let margins = self.keyed_margins();
                self.put_back();
                editor.apply(Command::ExtendCanvas(margins));
            }
            _ => {
                self.keyed[0] = (self.keyed[0] + by.x as i64 * step).clamp(-furthest, furthest);
                self.keyed[1] = (self.keyed[1] + by.y as i64 * step).clamp(-furthest, furthest);
            }
        }
    }

    fn keyed_margins(&self) -> [u32; 4] {
        let [x, y] = self.keyed;
        [-x, -y, x, y].map(|pixels| pixels.max(0) as u32)
    }

    /// Escape leaves a handle where it was, and means nothing else then.
    pub(super) fn take_keys(&mut self, ctx: &egui::Context) {
        if self.drawn.is_some() && ctx.input_mut(|input| input.consume_key(egui::Modifiers::NONE, Key::Escape)) {
            self.drawn = None;
            ctx.stop_dragging();
        }
    }

    #[expect(clippy::too_many_arguments, reason = "one handle of the eight, in one place")]
    fn take(
        &mut self,
        ui: &Ui,
        screen: &Screen,
        editor: &Editor,
        handle: Handle,
        response: &Response,
        margins: [u32; 4],
        commands: &mut Vec<Command>,
    ) {
        if response.drag_started() {
            self.drawn = Some((handle, Vec2::ZERO));
        }
        let mine = self.drawn.is_some_and(|(drawn, _)| drawn == handle);
        if mine
            && response.dragged()
            && let (Some(at), Some(start)) =
                (response.interact_pointer_pos(), ui.input(|input| input.pointer.press_origin()))
        {
            let furthest = editor.document.picture.width().max(editor.document.picture.height()) as f32 * REACH;
            let by = ((at - start) * handle.out / screen.zoom).clamp(Vec2::ZERO, Vec2::splat(furthest));
            if self.drawn.replace((handle, by)) != Some((handle, by)) {
                ui.ctx().request_repaint();
            }
        }
        if mine && response.drag_stopped() && self.drawn.take().is_some() && margins != [0; 4] {
            commands.push(Command::ExtendCanvas(margins));
        }
        if response.clicked() && !ui.input(|input| input.pointer.any_released()) {
            commands.push(Command::ExtendCanvas(handle.margins([cell(editor); 2])));
        }
    }

    /// The area being added, what would be made there, and in how many passes.
    fn ghost(&mut self, painter: &Painter, screen: &Screen, editor: &Editor, margins: [u32; 4], cell: u32) {
        let canvas = screen.rect(editor.document.picture.rect());
        let grown = grown(canvas, margins, screen.zoom);
        let parts = [
            Rect::from_min_max(grown.min, Pos2::new(grown.max.x, canvas.min.y)),
            Rect::from_min_max(Pos2::new(grown.min.x, canvas.max.y), grown.max),
            Rect::from_min_max(Pos2::new(grown.min.x, canvas.min.y), Pos2::new(canvas.min.x, canvas.max.y)),
            Rect::from_min_max(Pos2::new(canvas.max.x, canvas.min.y), Pos2::new(grown.max.x, canvas.max.y)),
        ];
        parts
            .into_iter()
            .filter(|part| part.width() > 0.5 && part.height() > 0.5)
            .for_each(|part| checkers(painter, part));
        dashes(painter, grown);
        let key = (margins, editor.document.mask_id);
        if self.forecast.as_ref().is_none_or(|(margins, mask_id, _)| (*margins, *mask_id) != key) {
            self.forecast = Some((margins, editor.document.mask_id, editor.aim_when_extended(margins)));
        }
        let aim = self.forecast.as_ref().and_then(|(.., aim)| aim.as_ref());
        if let Some(aim) = aim {
            let shift = vec2(margins[0] as f32, margins[1] as f32) * screen.zoom;
            let shifted = Screen { origin: screen.origin - shift, ..*screen };
            let passes: Vec<_> = aim.passes.iter().map(|pass| pass.frame).collect();
            let after = editor.document.picture.rect();
            let after = andamento_model::picture::Rect {
                width: after.width + margins[0] + margins[2],
                height: after.height + margins[1] + margins[3],
                ..after
            };
            frames::sequence(painter, &shifted, &passes, after);
        }
        let mut text = added_text(margins, cell, aim);
        if self.is_keyed() {
            text += " · Enter extends, Esc leaves";
        }
        tag(painter, grown.center_bottom() + vec2(0.0, 14.0), Align2::CENTER_TOP, &text, screen.viewport);
    }
}

/// What is added, in words: pixels, tokens, passes.
pub(super) fn added_text(margins: [u32; 4], cell: u32, aim: Option<&Aim>) -> String {
    let (across, down) = (margins[0] + margins[2], margins[1] + margins[3]);
    let plural = |count: u32, what: &str| format!("{count} {what}{}", if count == 1 { "" } else { "s" });
    let tokens =
        |pixels: u32, what: &str| (pixels > 0 && pixels.is_multiple_of(cell)).then(|| plural(pixels / cell, what));
    let pixels = match (across, down) {
        (across, 0) => format!("+{across} px"),
        (0, down) => format!("+{down} px"),
        (across, down) => format!("+{across} × {down} px"),
    };
    let rows = [tokens(across, "column"), tokens(down, "row")].into_iter().flatten().collect::<Vec<_>>().join(", ");
    let rows = if rows.is_empty() { String::new() } else { format!(" · {rows} of tokens") };
    let made = aim.map(|aim| {
        let tokens = if aim.tokens == 1 { "1 token".into() } else { format!("{} tokens", aim.tokens) };
        let passes = aim.passes.len();
        format!(" · {tokens} in {passes} pass{}", if passes == 1 { "" } else { "es" })
    });
    format!("{pixels}{rows}{}", made.unwrap_or_default())
}

fn interact(ui: &Ui, screen: &Screen, editor: &Editor, handle: Handle, canvas: Rect) -> Response {
    let chosen = editor.brush.tool == Tool::Extend;
    let (bar, reach) = (handle.bar(canvas, chosen), if chosen { 10.0 } else { 6.0 });
    // A corner is grasped from outside: within may be a corner of the frame.
    let grasp = if handle.is_corner() {
        bar.translate(handle.out * reach / 2.0).expand(reach / 2.0)
    } else {
        bar.expand(reach)
    };
    let response =
        ui.interact(grasp.intersect(screen.viewport), ui.scope_id().with(handle.name), Sense::click_and_drag());
    response.widget_info(|| WidgetInfo::labeled(Role::Button, true, handle.name));
    response
}

fn draw(ui: &Ui, painter: &Painter, bar: Rect, chosen: bool, response: &Response) {
    let hot = response.hovered() || response.dragged() || response.has_focus();
    let resting = if chosen { theme::accent() } else { theme::mix(theme::edge(), theme::dim(), 0.4) };
    painter.rect_filled(bar, CornerRadius::same(3), if hot { theme::accent() } else { resting });
    focus_ring(ui, response, bar, 4);
}

/// The canvas on the screen with margins around it.
fn grown(canvas: Rect, margins: [u32; 4], zoom: f32) -> Rect {
    let [left, top, right, bottom] = margins.map(|pixels| pixels as f32 * zoom);
    Rect::from_min_max(canvas.min - vec2(left, top), canvas.max + vec2(right, bottom))
}

/// A dark chequered area: nothing is there yet.
pub(super) fn checkers(painter: &Painter, area: Rect) {
    const SIDE: f32 = 10.0;
    painter.rect_filled(area, 0.0, theme::well());
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
            mesh.add_colored_rect(Rect::from_min_size(min, Vec2::splat(SIDE)).intersect(area), theme::panel());
        }
    }
    painter.add(Shape::mesh(mesh));
}

/// A dashed amber edge.
pub(super) fn dashes(painter: &Painter, area: Rect) {
    let corners = [area.left_top(), area.right_top(), area.right_bottom(), area.left_bottom(), area.left_top()];
    painter.extend(Shape::dashed_line(&corners, Stroke::new(1.0, theme::accent()), 4.0, 3.0));
}

/// Canvas pixels along a side of a token, as the frame lies now.
pub(super) fn cell(editor: &Editor) -> u32 {
    let (width, height) = (editor.document.picture.width(), editor.document.picture.height());
    let (side, tokens) = match (&editor.aim, editor.lattice()) {
        (Some(aim), _) => (aim.frame.rect.width, aim.grid.cols),
        (None, Ok(lattice)) => (width.max(height), lattice.finest().cols.max(lattice.finest().rows)),
        (None, Err(_)) => (width.max(height), editor.card.grid),
    };
    (side / tokens.max(1) as u32).max(1)
}

/// Whole tokens, or whole pixels.
fn snapped(drawn: f32, cell: u32) -> u32 {
    (drawn / cell as f32).round().max(0.0) as u32 * cell
}
