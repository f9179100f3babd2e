//! What is seen of a picture whose pixels are not here yet: first the one before it, then a small picture of it, enlarged.

use std::time::Duration;

use andamento_model::picture::Rect;
use egui::{Color32, ColorImage, Context, Painter, TextureHandle, TextureOptions, pos2};

use super::screen::Screen;
use super::textures::PictureTexture;
use crate::document::Document;
use crate::editor::Editor;

/// Nothing is said of pixels that come within this time.
const SOON: Duration = Duration::from_millis(120);

/// Whether the pixels of the picture take so long that it should be told.
pub(super) fn is_long(editor: &Editor) -> bool {
    editor.opening_for().is_some_and(|time| time > SOON)
}

/// What the canvas keeps for the time until they are here.
#[derive(Default)]
pub(super) struct Waiting {
    /// What is on the card, packed.
    shown: Option<Document>,
    /// The small picture of the document with this picture.
    small: Option<(u64, TextureHandle)>,
}

impl Waiting {
    /// Where the corner of what is on the card lies on a document's canvas, if both came of the same picture.
    pub(super) fn shift(&self, document: &Document) -> Option<(i64, i64)> {
        let shown = self.shown.as_ref().filter(|shown| shown.original_id == document.original_id)?;
        let (before, now) = (shown.original_at, document.original_at);
        Some((now.x - before.x, now.y - before.y))
    }

    /// Takes the small picture where it is time for it, and puts it away once `texture` has all that is in sight.
    pub(super) fn sync(&mut self, ctx: &Context, editor: &Editor, texture: &PictureTexture) {
        let document = &editor.document;
        self.small.take_if(|(id, _)| *id != document.picture_id || texture.is_settled());
        if !editor.is_opening() {
            if self.shown.as_ref().is_none_or(|shown| shown.picture_id != document.picture_id) {
                self.shown = Some(document.packed());
            }
            return;
        }
        // A canvas that has grown shows nothing new but its margins, which are empty.
        let grown = self.shown.as_ref().is_some_and(|shown| document.picture.has_grown_from(&shown.picture));
        if self.small.is_none() && (texture.is_blank() || is_long(editor) && !grown) {
            let glance = document.picture.glance();
            let size = [glance.width() as usize, glance.height() as usize];
            let image = ColorImage::from_rgba_unmultiplied(size, glance.as_raw());
            let texture = ctx.load_texture("glance", image, TextureOptions::LINEAR);
            self.small = Some((document.picture_id, texture));
        }
    }

    /// Draws the small picture, if it is time for it. Returns whether it is.
    pub(super) fn paint(&self, painter: &Painter, screen: &Screen, canvas: Rect) -> bool {
        let Some((_, texture)) = &self.small else { return false };
        let whole = egui::Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        painter.image(texture.id(), screen.rect(canvas), whole, Color32::WHITE);
        true
    }
}
