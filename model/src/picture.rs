//! Pictures and masks on the canvas: opened within bounds, kept at the source's own depth, cheap to clone.

mod about;
mod beside;
mod brush;
mod colour;
mod edge;
mod exif;
mod grey_alpha;
mod grow;
mod mask;
mod open;
mod pixels;
mod rect;
mod save;
mod select;

pub use about::{About, DigitalSource};
pub(crate) use colour::luma;
pub use edge::MOST as MOST_EDGE;
pub use mask::{Combine, Mask};
pub use open::Opened;
pub use pixels::Parts;
pub use rect::Rect;
pub use save::{Kind, Notes};

use crate::{Error, Result};
use colour::Colour;
use image::{ColorType, DynamicImage, ImageBuffer, Pixel, Primitive, RgbImage, RgbaImage};
use pixels::Pixels;
use std::io::Cursor;
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

/// Where the pixels come from: what their file said, and how its colours become sRGB where they are others.
#[derive(Default)]
struct Origin {
    about: About,
    colour: Option<Colour>,
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.about == other.about
    }
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

    /// The same with what a file says beside the pixels; also why its colour profile cannot be used, if it cannot.
    fn about_what(image: DynamicImage, about: About) -> (Self, Option<String>) {
        let (colour, complaint) = match &about.profile[..] {
            [] => (None, None),
            profile => Colour::of(profile).map_or_else(|cause| (None, Some(cause)), |colour| (colour, None)),
        };
        (Self { origin: Arc::new(Origin { about, colour }), ..Self::new(image) }, complaint)
    }

    /// Opens a PNG, JPEG, WebP, TIFF, BMP or GIF (its first picture), known by its content and not by its name, upright
    /// as its EXIF says.
    ///
    /// # Errors
    /// When the file is missing, not a regular file, not a picture, incomplete, damaged, or too large: more than 200
    /// megapixels or 2 GiB as decoded, or unfolding to far more than a file of its size can hold.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Ok(Self::read(path)?.picture)
    }

    /// The same, with what the person should know about how the file was read.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn read(path: impl AsRef<Path>) -> Result<Opened> {
        open::open(path.as_ref())
    }

    /// Reads the bytes of such a file; `name` is what errors call it.
    ///
    /// # Errors
    /// As [`open`](Self::open).
    pub fn decode(name: impl AsRef<Path>, bytes: &[u8]) -> Result<Opened> {
        open::decode(name.as_ref(), bytes.len() as u64, Cursor::new(bytes))
    }

    /// The picture as a PNG at its own depth and colour type, with all that its file said; the same bytes for the same
    /// picture.
    ///
    /// # Errors
    /// When the picture has no pixels.
    pub fn png_bytes(&self) -> Result<Vec<u8>> {
        let mut bytes = Cursor::new(Vec::new());
        self.write(&mut bytes, Kind::Png, &Notes::default())
            .map_err(|error| Error::control("picture", error, "Open or make a picture that has pixels"))?;
        Ok(bytes.into_inner())
    }

    /// What its file said beside the pixels.
    pub fn about(&self) -> &About {
        &self.origin.about
    }

    /// A part of it as a picture of its own, and the same for whole ones; the part must lie in the picture.
    pub fn part(&self, part: Rect) -> Self {
        let part = part.intersect(self.rect());
        self.with_pixels(self.pixels.crop_imm(part.x as u32, part.y as u32, part.width, part.height))
    }

    /// The same with a `patch` of the same colour type laid over it, its corner at a column and a row; what would lie
    /// outside is cut off. It is put together when its pixels are asked for.
    ///
    /// # Errors
    /// When the colour types differ.
    pub fn patched(&self, patch: &Self, x: u32, y: u32) -> Result<Self> {
        if self.pixels.color() != patch.pixels.color() {
            let cause = format!("{:?} does not fit {:?}", patch.pixels.color(), self.pixels.color());
            return Err(Error::control("picture", cause, "Open the file that it was made from"));
        }
        Ok(Self { pixels: self.pixels.patched(&patch.pixels, (x, y)), origin: self.origin.clone() })
    }

    /// The smallest rectangle around all pixels in which another picture of the same size and colour type differs; the
    /// whole picture if it has another size, type or origin.
    pub fn difference(&self, other: &Self) -> Rect {
        let same = (self.width(), self.height(), self.pixels.color(), self.about())
            == (other.width(), other.height(), other.pixels.color(), other.about());
        if !same {
            return self.rect();
        }
        let size = usize::from(self.pixels.color().bytes_per_pixel());
        let row = self.width() as usize * size;
        let rows =
            || self.pixels.as_bytes().chunks_exact(row.max(1)).zip(other.pixels.as_bytes().chunks_exact(row.max(1)));
        let mut different = rows().enumerate().filter(|(_, (a, b))| a != b).map(|(y, _)| y);
        let Some(top) = different.next() else { return Rect::default() };
        let bottom = different.next_back().unwrap_or(top) + 1;
        let (mut left, mut right) = (row / size, 0);
        for (a, b) in rows().skip(top).take(bottom - top) {
            let mut pixels = a.chunks_exact(size).zip(b.chunks_exact(size)).map(|(a, b)| a != b);
            left = pixels.clone().take(left).position(|differs| differs).unwrap_or(left);
            let count = row / size;
            right = pixels.rposition(|differs| differs).map_or(right, |last| right.max(last + 1)).min(count);
        }
        Rect::new(left as i64, top as i64, (right - left) as u32, (bottom - top) as u32)
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
    /// pixels are transparent where there is alpha, and otherwise continue the nearest edge, smoother with distance. They
    /// are made when they are asked for.
    ///
    /// # Errors
    /// When the canvas would have more than 200 megapixels.
    pub fn extended(&self, left: u32, top: u32, right: u32, bottom: u32) -> Result<Self> {
        let (width, height) = grow::grown_size((self.width(), self.height()), [left, top, right, bottom])?;
        Ok(Self { pixels: self.pixels.grown((left, top), (width, height)), origin: self.origin.clone() })
    }

    /// The same picture, kept as small as can be: where it came of another by a change within a rectangle, as that change.
    /// Its pixels are put together when they are asked for.
    pub fn packed(&self) -> Self {
        Self { pixels: self.pixels.packed(), origin: self.origin.clone() }
    }

    /// The same picture with its pixels put together now, by all threads: [`is_at_hand`](Self::is_at_hand) is true of it.
    pub fn unpacked(&self) -> Self {
        Self { pixels: self.pixels.unpacked(), origin: self.origin.clone() }
    }

    /// Whether its pixels can be looked at without a wait: they are there, or it [is small](Self::is_small). Those of others
    /// are put together when they are asked for, on the thread that asks.
    pub fn is_at_hand(&self) -> bool {
        self.pixels.are_at_hand()
    }

    /// Whether all that it is put together from is ready, as far as it is not in `seen`, which takes it in: it is at hand
    /// after hardly more than a copy.
    pub fn is_open(&self, seen: &mut Parts) -> bool {
        self.pixels.are_open(seen)
    }

    /// Whether it has so few pixels that what is done with all of them takes less than a frame.
    pub fn is_small(&self) -> bool {
        self.pixels.are_small()
    }

    /// Whether it is another picture on a canvas that [has grown](Self::extended).
    pub fn has_grown_from(&self, other: &Self) -> bool {
        self.pixels.have_grown_from(&other.pixels)
    }

    /// The bytes that it takes beside those that it was made of, as long as it is [`packed`](Self::packed).
    pub fn own_bytes(&self) -> usize {
        self.pixels.own_bytes()
    }

    /// A small picture of it in 8 bit, in its own colours. Of a [`packed`](Self::packed) picture it is there at once.
    pub fn glance(&self) -> Arc<RgbaImage> {
        self.pixels.glance()
    }

    /// Depth and colour type.
    pub fn color(&self) -> ColorType {
        self.pixels.color()
    }

    /// Keeps a [`packed`](Self::packed) picture that is seldom looked at in less memory still: what it is put together from
    /// becomes PNGs. Nothing else about it changes.
    pub fn shrink(&self) {
        self.pixels.shrink();
    }

    /// The same in good time, beside what this thread does, with all that it is put together from and is not in `needed`,
    /// which takes in the rest of it.
    pub fn shrink_in_time(&self, needed: &mut Parts) {
        self.pixels.shrink_in_time(needed);
    }

    /// The picture with other pixels within a rectangle; `image` is all of it.
    pub(crate) fn changed(&self, image: DynamicImage, at: Rect) -> Self {
        Self { pixels: self.pixels.changed(image, at), origin: self.origin.clone() }
    }

    /// Another picture of the same origin.
    pub(crate) fn with_pixels(&self, image: DynamicImage) -> Self {
        Self { origin: self.origin.clone(), ..Self::new(image) }
    }

    /// The levels of a stretch of row `y`, which must lie in the picture, into `row`: in sRGB, as models see it.
    pub(crate) fn read_row(&self, y: u32, columns: Range<u32>, row: &mut Vec<[f32; 4]>) {
        self.read_own_row(y, columns, row);
        if let Some(colour) = &self.origin.colour {
            colour.to_srgb(row);
        }
    }

    /// The same in the picture's own colours.
    pub(crate) fn read_own_row(&self, y: u32, columns: Range<u32>, row: &mut Vec<[f32; 4]>) {
        on_pixels!(&*self.pixels, buffer => read_row(buffer, y, columns, row));
    }

    /// Levels of sRGB, as models make them, become levels of the picture's own colours.
    pub(crate) fn take_srgb(&self, levels: &mut [[f32; 3]]) {
        if let Some(colour) = &self.origin.colour {
            colour.take_srgb(levels);
        }
    }

    /// An sRGB picture as its pixels are in this one's colours: what to show beside it.
    pub fn matched(&self, srgb: &RgbImage) -> RgbImage {
        let mut levels: Vec<[f32; 3]> = srgb.pixels().map(|pixel| pixel.0.map(f32::from)).collect();
        self.take_srgb(&mut levels);
        let bytes = levels.into_iter().flatten().map(Sample::nearest).collect();
        RgbImage::from_raw(srgb.width(), srgb.height(), bytes).unwrap_or_default()
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
