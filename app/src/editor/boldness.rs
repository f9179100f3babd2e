//! The boldness brush: painting how boldly tokens are drawn where.

use andamento_model::boldness::{BoldStroke, Boldness};

use super::*;

/// The factor that the brush paints at the start.
const FIRST: f32 = 2.0;

/// The boldness brush.
#[derive(Debug, Clone)]
pub struct BoldnessBrush {
    /// The factor on the temperature that it paints.
    pub factor: f32,
    /// Whether it takes back to neutral.
    pub erase: bool,
    /// The part of the layer that changed since the layer with the first number.
    pub touched: (u64, Rect),
    stroke: Option<InHand>,
}

/// A stroke in progress.
#[derive(Debug, Clone)]
struct InHand {
    stroke: BoldStroke,
    /// The number of the layer as it is now, see [`fresh`].
    id: u64,
    /// Where it was last, and how hard the pen pressed there.
    last: ((f32, f32), f32),
    erase: bool,
}

impl BoldnessBrush {
    pub(super) fn new() -> Self {
        Self { factor: FIRST, erase: false, touched: (0, Rect::default()), stroke: None }
    }

    /// Whether a stroke is being painted.
    pub fn is_painting(&self) -> bool {
        self.stroke.is_some()
    }
}

impl Editor {
    pub(super) fn begin_boldness(&mut self, at: (f32, f32), erase: bool) {
        self.end_stroke();
        let size = (self.document.picture.width(), self.document.picture.height());
        let factor = if erase { 1.0 } else { self.boldness_brush.factor };
        let stroke = BoldStroke::new(&self.document.boldness, size, factor);
        let id = self.document.boldness_id;
        self.boldness_brush.touched = (id, Rect::default());
        self.boldness_brush.stroke = Some(InHand { stroke, id, last: (at, self.pressure), erase });
        self.extend_boldness(at);
    }

    pub(super) fn extend_boldness(&mut self, to: (f32, f32)) {
        let Some(InHand { stroke, id, last, .. }) = &mut self.boldness_brush.stroke else { return };
        let (from, before) = std::mem::replace(last, (to, self.pressure));
        let Brush { size, hardness, .. } = self.brush;
        let radii = (size / 2.0 * before, size / 2.0 * self.pressure);
        let touched = stroke.line(from, to, radii, hardness);
        *id = fresh();
        self.boldness_brush.touched.1 = self.boldness_brush.touched.1.union(touched);
    }

    /// The stroke that is being painted becomes one entry of the history, unless it changes nothing.
    pub(super) fn end_boldness(&mut self) {
        let Some(InHand { stroke, id, erase, .. }) = self.boldness_brush.stroke.take() else { return };
        if stroke.is_idle() {
            return;
        }
        let label = if erase { "Back to neutral boldness" } else { "Boldness stroke" };
        // The layer is on the card under its number already.
        let document = Document { boldness: stroke.end(), boldness_id: id, ..self.document.clone() };
        self.change_boldness(label, document);
    }

    /// Leaves the stroke that is being painted. Returns whether there was one.
    pub(super) fn cancel_boldness(&mut self) -> bool {
        self.boldness_brush.touched = (self.document.boldness_id, Rect::default());
        self.boldness_brush.stroke.take().is_some()
    }

    pub(super) fn clear_boldness(&mut self) {
        self.end_stroke();
        if !self.document.boldness.is_neutral() {
            self.change_boldness("Clear boldness", self.document.clone().with_boldness(Boldness::default()));
        }
    }

    fn change_boldness(&mut self, label: &str, document: Document) {
        self.document = document;
        self.history.push(label, &self.document);
    }

    /// The painted boldness with the stroke that is being painted, and its number; none where all is neutral.
    pub fn painted_boldness(&self) -> Option<(u64, &Mask)> {
        match &self.boldness_brush.stroke {
            Some(InHand { stroke, id, .. }) => Some((*id, stroke.layer())),
            None => Some((self.document.boldness_id, self.document.boldness.layer()?)),
        }
    }

    /// Why boldness changes nothing now, if it does not.
    pub fn feels_no_boldness(&self) -> Option<&'static str> {
        let sampling = &self.settings.sampling;
        let why = if sampling.top_k == 1 { "top-k is 1" } else { "the temperature is 0" };
        sampling.is_greedy().then_some(why)
    }

    /// The boldness that a run has; none where the likeliest token is always taken.
    pub(super) fn felt_boldness(&self) -> Boldness {
        if self.feels_no_boldness().is_some() { Boldness::default() } else { self.document.boldness.clone() }
    }
}
