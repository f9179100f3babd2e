//! Pixels that pictures share. A picture that came of another by a change within a rectangle can be kept as that rectangle
//! alone: a long history of edits of a large picture takes little more memory than what was changed. What is not looked at for
//! long becomes a PNG in memory.

use std::io::Cursor;
use std::ops::Deref;
use std::sync::{Arc, OnceLock, PoisonError, RwLock};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageFormat, ImageReader, ImageResult, imageops};

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
    Whole(Stored),
    Changed {
        before: Arc<Kept>,
        at: Rect,
        pixels: Stored,
        /// Bytes of all changes since the last picture that is kept whole, and their number.
        since: (usize, usize),
    },
}

impl Pixels {
    pub(super) fn new(image: DynamicImage) -> Self {
        let whole = Arc::new(image);
        Self { kept: Arc::new(Kept::Whole(Stored::new(whole.clone()))), whole: whole.into() }
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
        let pixels = Stored::new(Arc::new(pixels));
        let kept = Arc::new(Kept::Changed { before: self.kept.clone(), at, pixels, since });
        Self { whole: Arc::new(image).into(), kept }
    }

    /// The same pixels, put together only when they are looked at.
    pub(super) fn packed(&self) -> Self {
        Self { whole: OnceLock::new(), kept: self.kept.clone() }
    }

    /// Keeps what tells these pixels from those before as a PNG, if that is worth it.
    pub(super) fn shrink(&self) {
        match &*self.kept {
            Kept::Whole(stored) | Kept::Changed { pixels: stored, .. } => stored.shrink(),
        }
    }

    /// The same beside what this thread does.
    pub(super) fn shrink_in_time(&self) {
        let (Kept::Whole(stored) | Kept::Changed { pixels: stored, .. }) = &*self.kept;
        if stored.is_plain() {
            let packed = self.packed();
            rayon::spawn(move || packed.shrink());
        }
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
                Self::Whole(image) => break image.pixels(),
                Self::Changed { before, at, pixels, .. } => {
                    changes.push((*at, pixels.pixels()));
                    kept = before;
                }
            }
        };
        if changes.is_empty() {
            return whole;
        }
        let mut image = DynamicImage::clone(&whole);
        drop(whole);
        changes.into_iter().rev().for_each(|(at, pixels)| put(&mut image, at, &pixels));
        Arc::new(image)
    }
}

/// Pixels as they are, or as a PNG.
struct Stored(RwLock<Form>);

enum Form {
    Plain(Arc<DynamicImage>),
    /// A PNG would not be much smaller.
    Dense(Arc<DynamicImage>),
    Png(Arc<[u8]>),
}

impl Stored {
    fn new(pixels: Arc<DynamicImage>) -> Self {
        Self(RwLock::new(Form::Plain(pixels)))
    }

    fn pixels(&self) -> Arc<DynamicImage> {
        let png = match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Form::Plain(pixels) | Form::Dense(pixels) => return pixels.clone(),
            Form::Png(png) => png.clone(),
        };
        Arc::new(read(&png).unwrap_or_else(|_| unreachable!("it was read when it was written")))
    }

    /// Whether they could be kept in less memory. Those that others look at would be in memory all the same.
    fn is_plain(&self) -> bool {
        let form = self.0.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*form, Form::Plain(pixels) if Arc::strong_count(pixels) == 1)
    }

    fn shrink(&self) {
        if !self.is_plain() {
            return;
        }
        let pixels = self.pixels();
        let worth = |png: &Vec<u8>| png.len() < pixels.as_bytes().len() / 8 * 7;
        let png = written(&pixels).ok().filter(worth);
        let png = png.filter(|png| read(png).is_ok_and(|again| again == *pixels));
        let form = png.map_or(Form::Dense(pixels), |png| Form::Png(png.into()));
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = form;
    }
}

fn written(pixels: &DynamicImage) -> ImageResult<Vec<u8>> {
    let mut png = Vec::new();
    pixels.write_with_encoder(PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive))?;
    Ok(png)
}

fn read(png: &[u8]) -> ImageResult<DynamicImage> {
    let mut reader = ImageReader::with_format(Cursor::new(png), ImageFormat::Png);
    reader.no_limits();
    reader.decode()
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
