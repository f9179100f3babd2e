//! What may change: strokes, the whole mask, the canvas's edges, and where the model will look.

use super::*;

impl Editor {
    pub(super) fn aim(&mut self) {
        let (width, height) = (self.document.picture.width(), self.document.picture.height());
        self.aim = self.document.mask.bounds().map(|bounds| {
            let frame = Frame::around(bounds, width, height, self.card.side);
            Aim { frame, masked: frame.masked_sites(&self.document.mask, self.card.grid, self.card.grid) }
        });
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
