//! Pictures and masks on the canvas: opened within bounds, kept at the source's own depth, cheap to clone.

mod brush;
mod edge;
mod grow;
mod mask;
mod open;
mod pixels;
mod rect;
mod select;

pub use edge::MOST as MOST_EDGE;
pub use mask::{Combine, Mask};
pub use rect::Rect;

use crate::{Error, Result};
use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{DynamicImage, ImageBuffer, ImageEncoder, ImageError, ImageResult, Pixel, Primitive, RgbImage};
use pixels::Pixels;
use std::{fmt, ops::Range, path::Path, sync::Arc};

/// The largest picture that is opened or made, in pixels. Medium-format cameras make 150 megapixels.
const MAX_PIXELS: u64 = 200_000_000;

/// Runs one generic expression on the pixel buffer of a picture, whatever its depth and colour type.
macro_rules! on_pixels {
    ($image:expr, $buffer:ident => $work:expr) => {
        match $image {
            DynamicImage::ImageLuma8($buffer) => $work,
            DynamicImage::ImageLumaA8($buffer) => $work,
            DynamicImage::ImageRgb8($buffer) => $work,
            DynamicImage::ImageRgba8($buffer) => $work,
            DynamicImage::ImageLuma16($buffer) => $work,
            DynamicImage::ImageLumaA16($buffer) => $work,
            DynamicImage::ImageRgb16($buffer) => $work,
            DynamicImage::ImageRgba16($buffer) => $work,
            _ => unreachable!("`Picture::new` lets only integers of 8 or 16 bit in"),
        }
    };
}
pub(crate) use on_pixels;

/// A depth: 8 or 16 bit. Levels are the common scale, 0 to 255 with fractions.
pub(crate) trait Sample: Primitive {
    /// The sample as a level.
    fn level(self) -> f32;
    /// The sample nearest to a level; those beyond either end are clamped.
    fn nearest(level: f32) -> Self;
}

impl Sample for u8 {
    fn level(self) -> f32 {
        f32::from(self)
    }
    fn nearest(level: f32) -> Self {
        (level + 0.5) as Self // casts from floats saturate
    }
}

impl Sample for u16 {
    fn level(self) -> f32 {
        f32::from(self) / 257.0
    }
    fn nearest(level: f32) -> Self {
        (level * 257.0 + 0.5) as Self
    }
}

/// The red, green, blue and straight alpha of a pixel of any colour type, as levels.
fn levels<S: Sample>(pixel: &[S]) -> [f32; 4] {
    match *pixel {
        [grey] => [grey.level(), grey.level(), grey.level(), 255.0],
        [grey, alpha] => [grey.level(), grey.level(), grey.level(), alpha.level()],
        [red, green, blue] => [red.level(), green.level(), blue.level(), 255.0],
        [red, green, blue, alpha, ..] => [red.level(), green.level(), blue.level(), alpha.level()],
        [] => [0.0; 4],
    }
}

/// A picture at the source's own depth (8 or 16 bit) and colour type (grey or RGB, with or without alpha).
///
/// A clone is cheap, and pixels never change in place: what is edited is another picture.
#[derive(Clone)]
pub struct Picture {
    pixels: Pixels,
    origin: Arc<Origin>,
}

/// What the file said about its pixels, handed on to what is made from them; empty when it said nothing.
#[derive(Default, PartialEq)]
struct Origin {
    /// The ICC colour profile.
    profile: Vec<u8>,
    /// The EXIF block, its orientation already applied and set to 1.
    exif: Vec<u8>,
}

impl Picture {
    /// A picture from pixels in memory; samples of 32-bit floating point (0 to 1) become 16-bit integers.
    pub fn new(image: DynamicImage) -> Self {
        let image = match image {
            DynamicImage::ImageRgb32F(_) => DynamicImage::ImageRgb16(image.to_rgb16()),
            DynamicImage::ImageRgba32F(_) => DynamicImage::ImageRgba16(image.to_rgba16()),
            integers => integers,
        };
        Self { pixels: Pixels::new(image), origin: Arc::default() }
    }

    /// Opens a PNG, JPEG, WebP, TIFF, BMP or GIF (its first picture), known by its content and not by its name, upright
    /// as its EXIF says.
    ///
    /// # Errors
    /// When the file is missing, not a regular file, not a picture, incomplete, damaged, or too large: more than 200
    /// megapixels or 2 GiB as decoded, or unfolding to far more than a file of its size can hold.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        open::open(path.as_ref())
    }

    /// The picture as a PNG at its own depth and colour type, with the source's colour profile and EXIF; the same bytes
    /// for the same picture.
    ///
    /// # Errors
    /// When the picture has no pixels.
    pub fn png_bytes(&self) -> Result<Vec<u8>> {
        self.encode_png().map_err(|error| Error::control("picture", error, "Open or make a picture that has pixels"))
    }

    fn encode_png(&self) -> ImageResult<Vec<u8>> {
        let mut bytes = Vec::new();
        // 24 megapixels in a fifth of a second, where the next better compression takes two: autosave passes here.
        let mut encoder = PngEncoder::new_with_quality(&mut bytes, CompressionType::Fast, FilterType::Adaptive);
        encoder.set_icc_profile(self.origin.profile.clone()).map_err(ImageError::Unsupported)?;
        encoder.set_exif_metadata(self.origin.exif.clone()).map_err(ImageError::Unsupported)?;
        self.pixels.write_with_encoder(encoder)?;
        Ok(bytes)
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.pixels.width()
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.pixels.height()
    }

    /// The whole picture as a rectangle.
    pub fn rect(&self) -> Rect {
        Rect::canvas(self.width(), self.height())
    }

    /// The pixels: always one of the eight integer variants.
    pub fn image(&self) -> &DynamicImage {
        &self.pixels
    }

    /// The pixels as 8-bit RGB, rounded, without alpha.
    pub fn to_rgb8(&self) -> RgbImage {
        self.pixels.to_rgb8()
    }

    /// The picture on a canvas that has grown by so many pixels on each side, at the same depth and colour type. New
    /// pixels are transparent where there is alpha, and otherwise continue the nearest edge, smoother with distance.
    ///
    /// # Errors
    /// When the canvas would have more than 200 megapixels.
    pub fn extended(&self, left: u32, top: u32, right: u32, bottom: u32) -> Result<Self> {
        let (width, height) = grow::grown_size((self.width(), self.height()), [left, top, right, bottom])?;
        let grown = on_pixels!(&*self.pixels, buffer => grow::grow(buffer, left, top, width, height).into());
        Ok(self.with_pixels(grown))
    }

    /// The same picture, kept as small as can be: where it came of another by a change within a rectangle, as that change.
    /// Its pixels are put together when they are asked for.
    pub fn packed(&self) -> Self {
        Self { pixels: self.pixels.packed(), origin: self.origin.clone() }
    }

    /// The picture with other pixels within a rectangle; `image` is all of it.
    pub(crate) fn changed(&self, image: DynamicImage, at: Rect) -> Self {
        Self { pixels: self.pixels.changed(image, at), origin: self.origin.clone() }
    }

    /// Another picture of the same origin.
    pub(crate) fn with_pixels(&self, image: DynamicImage) -> Self {
        Self { origin: self.origin.clone(), ..Self::new(image) }
    }

    /// The levels of a stretch of row `y`, which must lie in the picture, into `row`.
    pub(crate) fn read_row(&self, y: u32, columns: Range<u32>, row: &mut Vec<[f32; 4]>) {
        on_pixels!(&*self.pixels, buffer => read_row(buffer, y, columns, row));
    }
}

impl PartialEq for Picture {
    fn eq(&self, other: &Self) -> bool {
        self.image() == other.image() && self.origin == other.origin
    }
}

impl fmt::Debug for Picture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Picture({} × {}, {:?})", self.width(), self.height(), self.pixels.color())
    }
}

/// See [`Picture::read_row`].
fn read_row<P>(buffer: &ImageBuffer<P, Vec<P::Subpixel>>, y: u32, columns: Range<u32>, row: &mut Vec<[f32; 4]>)
where
    P: Pixel<Subpixel: Sample>,
{
    let channels = usize::from(P::CHANNEL_COUNT);
    let start = y as usize * buffer.width() as usize;
    let samples = (start + columns.start as usize) * channels..(start + columns.end as usize) * channels;
    row.clear();
    row.extend(buffer.as_raw()[samples].chunks_exact(channels).map(levels));
}
