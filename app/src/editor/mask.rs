//! What may change: strokes, selections, the whole mask, the canvas's edges, and where the model will look.

use andamento_model::frame::{self, Frame, Pass};
use andamento_model::lattice::{Grid, Lattice};
use andamento_model::picture::MOST_EDGE;
use serde::{Deserialize, Serialize};

use super::*;
use crate::command::{Adjustment, Selection};

/// The brush, the eraser, and which of them is in hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// What is in hand.
    pub tool: Tool,
    /// Diameter in canvas pixels.
    pub size: f32,
    /// 0 soft, 1 hard.
    pub hardness: f32,
}

/// How the wand selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wand {
    /// By how much colours differ, in levels of 0 to 255.
    pub tolerance: u8,
    /// Whether only what is joined to where it was clicked.
    pub contiguous: bool,
}

/// A stroke in progress.
pub(super) struct Stroke {
    pub(super) before: Document,
    /// Where it was last, and how hard the pen pressed there.
    last: ((f32, f32), f32),
    erase: bool,
}

/// Where the model will look, and which of its tokens will be made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// The square that it sees first.
    pub frame: Frame,
    /// The tokens of a square.
    pub grid: Grid,
    /// For every site of the first square whether it will be made.
    pub masked: Vec<bool>,
    /// How many tokens will be made in all squares.
    pub tokens: usize,
    /// All squares in their sequence, each with its part of the mask.
    pub passes: Vec<Pass>,
}

impl Editor {
    pub(super) fn aim(&mut self) {
        self.aim = self.aim_at(&self.document.mask, self.frame);
    }

    /// Where the model would look if the canvas were extended by so many pixels on the left, top, right and bottom.
    pub fn aim_when_extended(&self, by: [u32; 4]) -> Option<Aim> {
        let mask = self.document.extended_mask(by).ok()?;
        let shifted = |frame: Rect| Rect { x: frame.x + i64::from(by[0]), y: frame.y + i64::from(by[1]), ..frame };
        self.aim_at(&mask, self.frame.map(shifted))
    }

    /// Where the model looks with this mask; nowhere when nothing may change, or it cannot be seen.
    fn aim_at(&self, mask: &Mask, chosen: Option<Rect>) -> Option<Aim> {
        let (extent, stride) = (self.settings.extent, self.card.stride());
        let seam = self.settings.seam;
        let (passes, lattice) =
            frame::sequence(extent, &seam.made(mask), &self.trained(), stride, seam.overlap, chosen).ok()?;
        let grid = lattice.finest();
        let sites = |pass: &Pass| pass.frame.masked_sites(&pass.mask, grid.rows, grid.cols);
        let first = passes.first()?;
        let (frame, masked) = (first.frame, sites(first));
        let count = |sites: Vec<bool>| sites.into_iter().filter(|masked| *masked).count();
        let tokens = passes.iter().map(|pass| count(sites(pass))).sum();
        Some(Aim { frame, grid, masked, tokens, passes })
    }

    /// Has the model look at a square of the canvas that the person chose.
    pub(super) fn place_frame(&mut self, rect: Rect) -> Result<()> {
        if self.settings.extent == Extent::Canvas {
            let remedy = "Choose “one frame” as the detail first";
            return Err(Error::control("frame", "the model sees the whole canvas", remedy));
        }
        let (mask, lattice) = (&self.document.mask, self.trained());
        let (extent, overlap) = (self.settings.extent, self.settings.seam.overlap);
        frame::sequence(extent, mask, &lattice, self.card.stride(), overlap, Some(rect))?;
        self.frame = Some(rect);
        self.aim();
        Ok(())
    }

    /// Makes the frame so many times as large, around its middle.
    pub(super) fn scale_frame(&mut self, factor: f32) -> Result<()> {
        let Some(frame) = self.aim.as_ref().map(|aim| aim.frame.rect) else {
            return Err(Error::control("frame", "there is none yet", "Paint over what should change first"));
        };
        let side = (frame.width as f32 * factor.clamp(0.1, 10.0)).round() as u32;
        let shift = (i64::from(frame.width) - i64::from(side)) / 2;
        self.place_frame(Rect::new(frame.x + shift, frame.y + shift, side, side))
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

    /// Tokens of a whole picture, as many as were chosen.
    pub fn sites(&self) -> usize {
        self.lattice().unwrap_or_else(|_| self.trained()).len()
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

    pub(super) fn change_mask(&mut self, label: &str, mask: Mask) {
        self.end_stroke();
        if mask != self.document.mask {
            self.change(label, self.document.clone().with_mask(mask));
        }
    }

    /// Changes the mask by a selection. What takes longer than a frame is worked out beside the window.
    pub(super) fn select(&mut self, selection: Selection, how: Combine) -> Result<()> {
        self.end_stroke();
        let (width, height) = (self.document.picture.width(), self.document.picture.height());
        match selection {
            Selection::Rectangle(rect) => {
                let mut selected = Mask::new(width, height);
                selected.fill_rect(rect, 255);
                self.combine("Rectangle", &selected, how)?;
            }
            Selection::Polygon(points) => {
                self.waiting += 1;
                let selected = move |_: &Picture| Mask::polygon(width, height, &points);
                self.errands.select("Lasso", &self.document, how, selected);
            }
            Selection::Similar((x, y)) => {
                if !self.document.picture.rect().contains_pixel(x.floor() as i64, y.floor() as i64) {
                    return Ok(());
                }
                self.waiting += 1;
                let Wand { tolerance, contiguous } = self.wand;
                let selected = move |picture: &Picture| picture.similar(x as u32, y as u32, tolerance, contiguous);
                self.errands.select("Wand", &self.document, how, selected);
            }
            Selection::Surprising(threshold) => self.select_surprising(threshold, how)?,
        }
        Ok(())
    }

    /// Changes the mask by what was selected.
    pub(super) fn combine(&mut self, label: &str, selection: &Mask, how: Combine) -> Result<()> {
        let mask = self.document.mask.combined(selection, how)?;
        self.change_mask(label, mask);
        Ok(())
    }

    /// Moves or softens the edges of the mask, beside the window.
    pub(super) fn adjust_mask(&mut self, adjustment: Adjustment, radius: u32) {
        self.end_stroke();
        self.dialog = None;
        if radius > 0 && !self.document.mask.is_empty() {
            self.waiting += 1;
            self.errands.adjust(&self.document, adjustment, radius.min(MOST_EDGE));
        }
    }

    /// The mask's edges were moved or softened: if it has changed since, its edges are now.
    pub(super) fn adjusted(&mut self, adjustment: Adjustment, radius: u32, mask_id: u64, mask: Mask) {
        if mask_id != self.document.mask_id {
            return self.adjust_mask(adjustment, radius);
        }
        let what = match adjustment {
            Adjustment::Grow => "Grow",
            Adjustment::Shrink => "Shrink",
            Adjustment::Feather => "Feather",
        };
        self.change_mask(&format!("{what} mask by {radius} px"), mask);
    }

    /// Whether a change of the mask is being worked out.
    pub fn is_selecting(&self) -> bool {
        self.waiting > 0
    }

    /// Whether a stroke is being drawn.
    pub fn is_stroking(&self) -> bool {
        self.stroke.is_some()
    }

    /// Whether any brush is on the canvas.
    pub fn is_painting(&self) -> bool {
        self.stroke.is_some() || self.painted_points().is_some() || self.boldness_brush.is_painting()
    }

    /// Whether the tool in hand takes away what it paints otherwise.
    pub fn erases(&self) -> bool {
        match self.brush.tool {
            Tool::Order => self.order_brush.erase,
            Tool::Boldness => self.boldness_brush.erase,
            tool => tool == Tool::Eraser,
        }
    }

    pub(super) fn begin_stroke(&mut self, at: (f32, f32), erase: bool) {
        self.end_stroke();
        self.timeline.playing = false;
        self.stroke = Some(Stroke { before: self.document.clone(), last: (at, self.pressure), erase });
        self.extend_stroke(at);
    }

    pub(super) fn extend_stroke(&mut self, to: (f32, f32)) {
        let Some(stroke) = &mut self.stroke else { return };
        let Brush { size, hardness, .. } = self.brush;
        let (from, before) = std::mem::replace(&mut stroke.last, (to, self.pressure));
        let radii = (size / 2.0 * before, size / 2.0 * self.pressure);
        let touched = self.document.mask.taper(from, to, radii, hardness, stroke.erase);
        self.touched.1 = self.touched.1.union(touched);
        self.document.mask_id = fresh();
    }

    pub(super) fn end_stroke(&mut self) {
        self.end_path();
        self.end_boldness();
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
