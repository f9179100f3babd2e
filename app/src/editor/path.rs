//! The order brush: painting the path along which tokens are made.

use andamento_model::order::{OrderPath, Stroke};

use super::preferences::longer_side;
use super::*;

/// The order brush for a picture that was just opened, as a share of its longer side: about a token of a picture that is seen
/// whole.
const SIZE: f32 = 0.04;
/// Points of a stroke lie at least this share of its width apart,
const APART: f32 = 1.0 / 16.0;
/// and at least so many canvas pixels.
const NEAREST: f32 = 0.5;

/// The order brush.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderBrush {
    /// Whether it takes tokens out of the path.
    pub erase: bool,
    /// The stroke that is being painted.
    stroke: Option<Stroke>,
    /// The size of the brush that is not in hand: that of the mask's, or the order brush's.
    other_size: f32,
}

impl OrderBrush {
    pub(super) fn new() -> Self {
        Self { erase: false, stroke: None, other_size: 16.0 }
    }
}

impl Editor {
    /// Takes up a tool. The order brush has a size of its own.
    pub(super) fn take_tool(&mut self, tool: Tool) -> Result<()> {
        match tool {
            Tool::Order => self.abilities.check_path()?,
            Tool::Picker => self.abilities.check_choice()?,
            _ => {}
        }
        self.put_in_hand(tool);
        Ok(())
    }

    fn put_in_hand(&mut self, tool: Tool) {
        self.end_stroke();
        if (tool == Tool::Order) != (self.brush.tool == Tool::Order) {
            std::mem::swap(&mut self.brush.size, &mut self.order_brush.other_size);
        }
        self.brush.tool = tool;
        self.picker = None;
    }

    /// Brushes that fit the picture, which was just opened.
    pub(super) fn size_brushes(&mut self) {
        let longer = longer_side(&self.document);
        let sizes = [self.preferences().habits.brush, SIZE].map(|share| (longer * share).round().clamp(1.0, MAX_BRUSH));
        let [mask, order] = sizes;
        (self.brush.size, self.order_brush.other_size) =
            if self.brush.tool == Tool::Order { (order, mask) } else { (mask, order) };
    }

    /// Puts a tool away that the model gives no use.
    pub(super) fn check_tool(&mut self) {
        let tool = self.brush.tool;
        let (no_path, no_choice) = (self.abilities.check_path().is_err(), self.abilities.check_choice().is_err());
        if tool == Tool::Order && no_path || tool == Tool::Picker && no_choice {
            self.put_in_hand(Tool::Brush);
        }
    }

    pub(super) fn begin_path(&mut self, at: (f32, f32), erase: bool) {
        self.end_stroke();
        self.order_brush.stroke = Some(Stroke { width: self.brush.size, points: vec![rounded(at)], erase });
    }

    pub(super) fn extend_path(&mut self, to: (f32, f32)) {
        let Some(stroke) = &mut self.order_brush.stroke else { return };
        let (to, apart) = (rounded(to), (stroke.width * APART).max(NEAREST));
        if stroke.points.last().is_some_and(|last| (to.0 - last.0).hypot(to.1 - last.1) >= apart) {
            stroke.points.push(to);
        }
    }

    /// The stroke that is being painted becomes one entry of the history, unless it changes nothing.
    pub(super) fn end_path(&mut self) {
        let Some(stroke) = self.order_brush.stroke.take() else { return };
        let (erase, before) = (stroke.erase, self.document.order_path.clone());
        match before.with(stroke) {
            Ok(path) if !erase => self.change_path("Order stroke", path),
            Ok(path) if self.on_path(&path) != self.on_path(&before) || path.lines() != before.lines() => {
                let left = !path.lines().is_empty() || !self.on_path(&path).is_empty();
                self.change_path("Take out of the order", if left { path } else { OrderPath::default() });
            }
            Ok(_) => {}
            Err(error) => self.complain(&error),
        }
    }

    /// Leaves the stroke that is being painted. Returns whether there was one.
    pub(super) fn cancel_path(&mut self) -> bool {
        self.order_brush.stroke.take().is_some()
    }

    pub(super) fn clear_order(&mut self) {
        self.end_stroke();
        if !self.document.order_path.is_empty() {
            self.change_path("Clear painted order", OrderPath::default());
        }
    }

    fn change_path(&mut self, label: &str, path: OrderPath) {
        self.document = self.document.clone().with_path(path);
        self.history.push(label, &self.document);
    }

    /// The sites of all frames that lie on a path.
    fn on_path(&self, path: &OrderPath) -> Vec<Vec<u32>> {
        let Ok(lattice) = self.lattice() else { return Vec::new() };
        let passes = self.aim.iter().flat_map(|aim| &aim.passes);
        passes.map(|pass| path.sites(&pass.frame, &lattice)).filter(|sites| !sites.is_empty()).collect()
    }

    /// The painted order, with the stroke that is being painted.
    pub fn painted_order(&self) -> Arc<OrderPath> {
        let before = &self.document.order_path;
        let with = |stroke: &Stroke| before.with(stroke.clone()).ok().map(Arc::new);
        self.order_brush.stroke.as_ref().and_then(with).unwrap_or_else(|| before.clone())
    }

    /// How many points the stroke has that is being painted; none if there is no stroke.
    pub fn painted_points(&self) -> Option<usize> {
        self.order_brush.stroke.as_ref().map(|stroke| stroke.points.len())
    }

    /// Whether a run would follow a painted order: there is one, and the model can.
    pub fn follows_path(&self) -> bool {
        self.abilities.check_path().is_ok() && !self.document.order_path.is_empty()
    }

    /// The path that a run follows; none with a model that follows its own order alone.
    pub(super) fn followed_path(&self) -> Arc<OrderPath> {
        if self.follows_path() { self.document.order_path.clone() } else { Arc::default() }
    }
}

/// A tenth of a pixel is finer than any hand, and short to write down.
fn rounded((x, y): (f32, f32)) -> (f32, f32) {
    ((x * 10.0).round() / 10.0, (y * 10.0).round() / 10.0)
}
