//! Pixels that pictures share. A picture that came of another by a change within a rectangle can be kept as that rectangle
//! alone: a long history of edits of a large picture takes little more memory than what was changed.

use std::ops::Deref;
use std::sync::{Arc, OnceLock};

use image::{DynamicImage, imageops};

use super::Rect;

/// So many changes may lie between a picture and the last one that is kept whole.
const MOST_CHANGES: usize = 256;

/// The pixels of a picture; a clone shares them.
#[derive(Clone)]
pub(super) struct Pixels {
    whole: OnceLock<Arc<DynamicImage>>,
    kept: Arc<Kept>,
}

/// How pixels are kept.
enum Kept {
    Whole(Arc<DynamicImage>),
    Changed {
        before: Arc<Kept>,
        at: Rect,
        pixels: DynamicImage,
        /// Bytes of all changes since the last picture that is kept whole, and their number.
        since: (usize, usize),
    },
}

impl Pixels {
    pub(super) fn new(image: DynamicImage) -> Self {
        let whole = Arc::new(image);
        Self { kept: Arc::new(Kept::Whole(whole.clone())), whole: whole.into() }
    }

    /// The pixels `image`, which differ from these within a rectangle only, and are of the same size and type.
    pub(super) fn changed(&self, image: DynamicImage, at: Rect) -> Self {
        let (bytes, changes) = match &*self.kept {
            Kept::Whole(_) => (0, 0),
            Kept::Changed { since, .. } => *since,
        };
        let at = at.intersect(Rect::canvas(image.width(), image.height()));
        let size = at.width as usize * at.height as usize * usize::from(image.color().bytes_per_pixel());
        let since = (bytes + size, changes + 1);
        if since.0 > image.as_bytes().len() || since.1 > MOST_CHANGES {
            return Self::new(image);
        }
        let pixels = image.crop_imm(at.x as u32, at.y as u32, at.width, at.height);
        let kept = Arc::new(Kept::Changed { before: self.kept.clone(), at, pixels, since });
        Self { whole: Arc::new(image).into(), kept }
    }

    /// The same pixels, put together only when they are looked at.
    pub(super) fn packed(&self) -> Self {
        Self { whole: OnceLock::new(), kept: self.kept.clone() }
    }
}

impl Deref for Pixels {
    type Target = DynamicImage;

    fn deref(&self) -> &DynamicImage {
        self.whole.get_or_init(|| self.kept.whole())
    }
}

impl Kept {
    /// Puts the picture together: the last whole one, with every change since.
    fn whole(&self) -> Arc<DynamicImage> {
        let (mut kept, mut changes) = (self, Vec::new());
        let whole = loop {
            match kept {
                Self::Whole(image) => break image,
                Self::Changed { before, at, pixels, .. } => {
                    changes.push((*at, pixels));
                    kept = before;
                }
            }
        };
        if changes.is_empty() {
            return whole.clone();
        }
        let mut image = DynamicImage::clone(whole);
        changes.into_iter().rev().for_each(|(at, pixels)| put(&mut image, at, pixels));
        Arc::new(image)
    }
}

/// Puts pixels of the same type in their place, sample by sample.
fn put(image: &mut DynamicImage, at: Rect, pixels: &DynamicImage) {
    macro_rules! put {
        ($($kind:ident),*) => {
            match (image, pixels) {
                $((DynamicImage::$kind(image), DynamicImage::$kind(pixels)) => {
                    imageops::replace(image, pixels, at.x, at.y);
                })*
                _ => unreachable!("a changed picture keeps its type"),
            }
        };
    }
    put!(ImageLuma8, ImageLumaA8, ImageRgb8, ImageRgba8, ImageLuma16, ImageLumaA16, ImageRgb16, ImageRgba16);
}
