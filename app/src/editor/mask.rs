//! What may change: strokes, the whole mask, the canvas's edges, and where the model will look.

use super::*;

impl Editor {
    pub(super) fn aim(&mut self) {
        let size = (self.document.picture.width(), self.document.picture.height());
        self.aim = self.document.mask.bounds().and_then(|bounds| {
            let (frame, lattice) =
                self.settings.extent.frame(bounds, size, &self.trained(), self.card.stride()).ok()?;
            let grid = lattice.finest();
            Some(Aim { frame, grid, masked: frame.masked_sites(&self.document.mask, grid.rows, grid.cols) })
        });
    }

    /// The finest tokens of the size the model was trained on.
    pub(super) fn trained(&self) -> Lattice {
        Lattice::grid(self.card.grid, self.card.grid)
    }

    /// The tokens on which the model would work.
    ///
    /// # Errors
    /// If the canvas is too oblong to be seen at once.
    pub fn lattice(&self) -> Result<Lattice> {
        let (width, height) = (self.document.picture.width(), self.document.picture.height());
        self.settings.extent.lattice(&self.trained(), width, height)
    }

    /// Refuses a number of tokens that model or canvas do not allow.
    ///
    /// # Errors
    /// The reason, for the greyed-out control.
    pub fn check_extent(&self, extent: Extent) -> Result<()> {
        self.abilities.check_extent(extent)?;
        let (width, height) = (self.document.picture.width(), self.document.picture.height());
        extent.lattice(&self.trained(), width, height).map(|_| ())
    }

    /// Takes another number of tokens, and the order that it demands.
    pub(super) fn take_extent(&mut self, extent: Extent) -> Result<()> {
        self.check_extent(extent)?;
        self.settings.extent = extent;
        self.settings.steps = self.settings.steps.min(self.sites());
        self.aim();
        if let Some(order) = extent.order().filter(|order| *order != self.settings.order) {
            let title = order::by_name(order)?.title;
            self.settings.order = order;
            let cause = format!("the order is “{title}” now: finer tokens follow once the coarse ones are made");
            self.notify(false, "Detail".into(), cause, "Any other order needs “one frame” or “whole canvas”".into());
        }
        Ok(())
    }

    /// Refuses an order that the model cannot follow, or not with so many tokens.
    ///
    /// # Errors
    /// The reason, for the greyed-out control.
    pub fn check_order(&self, order: &'static str) -> Result<()> {
        self.abilities.check_course(order, self.abilities.schedule(None))?;
        if self.settings.extent.order().is_some_and(|only| only != order) {
            let cause = "finer tokens follow once the coarse ones are made";
            return Err(Error::control("order", cause, "Choose “one frame” or “whole canvas” as the detail first"));
        }
        Ok(())
    }

    /// Refuses spatial contextual guidance that would do nothing.
    ///
    /// # Errors
    /// The reason, for the greyed-out control.
    pub fn check_context(&self) -> Result<()> {
        self.abilities.check_context()?;
        if self.guidance().is_on() {
            return Ok(());
        }
        Err(Error::control("context", "it stands beside guidance, which is off", "Raise guidance above 1 first"))
    }

    /// Whether the picture was made of the mask and the tokens as they are now.
    pub fn is_fulfilled(&self) -> bool {
        let track = self.document.track.as_ref();
        self.document.is_fulfilled() && track.is_some_and(|track| track.request.extent == self.settings.extent)
    }

    pub(super) fn change_mask(&mut self, label: &str, change: impl Fn(u8) -> u8) {
        self.end_stroke();
        let mask = &self.document.mask;
        let bytes = mask.bytes().iter().map(|byte| change(*byte)).collect();
        if let Ok(mask) = andamento_model::picture::Mask::from_bytes(mask.width(), mask.height(), bytes)
            && mask != self.document.mask
        {
            self.change(label, self.document.clone().with_mask(mask));
        }
    }

    pub(super) fn begin_stroke(&mut self, at: (f32, f32), erase: bool) {
        self.end_stroke();
        self.timeline.playing = false;
        self.stroke = Some(Stroke { before: self.document.clone(), last: at, erase });
        self.extend_stroke(at);
    }

    pub(super) fn extend_stroke(&mut self, to: (f32, f32)) {
        let Some(stroke) = &mut self.stroke else { return };
        let Brush { size, hardness, .. } = self.brush;
        let touched = self.document.mask.line(stroke.last, to, size / 2.0, hardness, stroke.erase);
        stroke.last = to;
        self.touched.1 = self.touched.1.union(touched);
        self.document.mask_id = fresh();
    }

    pub(super) fn end_stroke(&mut self) {
        let Some(stroke) = self.stroke.take() else { return };
        if stroke.before.mask == self.document.mask {
            self.document.mask_id = stroke.before.mask_id;
            self.touched = (self.document.mask_id, Rect::default());
            return;
        }
        self.history.push(if stroke.erase { "Eraser stroke" } else { "Brush stroke" }, &self.document);
        self.aim();
    }

    pub(super) fn extend_canvas(&mut self, by: [u32; 4]) -> Result<()> {
        if by.iter().all(|pixels| *pixels == 0) {
            return Ok(());
        }
        self.end_stroke();
        let document = self.document.extended(by)?;
        self.view.fit = true;
        self.change("Extend canvas", document);
        Ok(())
    }
}
