//! Writing a picture as a file: PNG, JPEG, WebP or TIFF, at its own depth as far as the format goes.

use std::io::{self, Seek, Write};
use std::path::Path;

use image::codecs::jpeg::{JpegEncoder, PixelDensity, PixelDensityUnit};
use image::{DynamicImage, ImageEncoder, ImageError, Rgb, RgbImage};
use png::text_metadata::{ITXtChunk, TEXtChunk};
use tiff::encoder::compression::DeflateLevel;
use tiff::encoder::{Compression, DirectoryEncoder, Rational, TiffEncoder, TiffKindStandard, colortype};
use tiff::tags::{ExtraSamples, Predictor, ResolutionUnit, Type};

use super::about::{About, DigitalSource};
use super::exif::{self, Exif, Tag};
use super::{Picture, Sample};

/// The longest EXIF block or XMP packet that fits into a segment of a JPEG, in bytes.
const SEGMENT: usize = 65_500;
/// What stands before an XMP packet in a JPEG.
const XMP_IN_JPEG: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
/// The key of an XMP packet in a PNG.
const XMP_IN_PNG: &str = "XML:com.adobe.xmp";
/// The key of our own record in a PNG.
pub(super) const RECORD_IN_PNG: &str = "andamento";
/// The longest side of a WebP, in pixels.
const LONGEST_WEBP: u32 = 16_383;
/// Metres per inch.
const INCH: f64 = 0.0254;

/// A kind of file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Lossless, at every depth.
    Png,
    /// 8 bit without transparency, lossy.
    Jpeg {
        /// From 1 to 100.
        quality: u8,
    },
    /// 8 bit, lossless.
    WebP,
    /// Lossless, at every depth.
    Tiff,
}

impl Kind {
    /// The kind that a file's name asks for; JPEGs of this quality.
    pub fn of(path: &Path, quality: u8) -> Option<Self> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "png" => Self::Png,
            "jpg" | "jpeg" => Self::Jpeg { quality },
            "webp" => Self::WebP,
            "tif" | "tiff" => Self::Tiff,
            _ => return None,
        })
    }
}

/// What is written beside the pixels. Colour profile and resolution always are: without them the pixels mean something
/// else.
#[derive(Debug, Clone, Default)]
pub struct Notes {
    /// Leaves out everything: EXIF, XMP, and how the picture was made.
    pub none: bool,
    /// How it was made, as the `parameters` that others read; in a PNG.
    pub parameters: Option<String>,
    /// How it was made, as JSON that is enough to make it again; in a PNG.
    pub record: Option<String>,
    /// The IPTC's digital source type, in the XMP packet.
    pub source: Option<DigitalSource>,
}

impl Picture {
    /// Writes the picture. The same picture and notes give the same bytes.
    ///
    /// # Errors
    /// When the file cannot be written, or the format has no room for such a picture.
    pub fn write(&self, file: &mut (impl Write + Seek), kind: Kind, notes: &Notes) -> io::Result<()> {
        let mut about = self.about().clone();
        if notes.none {
            (about.exif, about.xmp) = (Vec::new(), Vec::new());
        } else if let Some(source) = notes.source {
            about.xmp = about.xmp_of(source);
        }
        match kind {
            Kind::Png => self.write_png(file, &about, notes),
            Kind::Jpeg { quality } => self.write_jpeg(file, &about, quality),
            Kind::WebP => self.write_webp(file, about),
            Kind::Tiff => self.write_tiff(file, &about),
        }
    }

    /// What a kind of file would lose of this picture, in words.
    pub fn losses(&self, kind: Kind) -> Vec<&'static str> {
        let (colour, about) = (self.color(), self.about());
        let mut losses = Vec::new();
        let deep = colour.bytes_per_pixel() / colour.channel_count() == 2;
        if deep && matches!(kind, Kind::Jpeg { .. } | Kind::WebP) {
            losses.push("16 bits become 8");
        }
        if kind == Kind::WebP && !colour.has_color() && !about.profile.is_empty() {
            losses.push("the grey profile becomes sRGB");
        }
        if let Kind::Jpeg { .. } = kind {
            losses.push("JPEG changes every pixel a little");
            if colour.has_alpha() {
                losses.push("what is transparent becomes white");
            }
            if about.exif.len().max(about.xmp.len()) > SEGMENT {
                losses.push("camera data of more than 64 kB are left out");
            }
        }
        losses
    }

    fn write_png(&self, file: &mut impl Write, about: &About, notes: &Notes) -> io::Result<()> {
        let image = self.image();
        let (colour, deep) = (image.color(), image.color().bytes_per_pixel() > image.color().channel_count());
        let mut info = png::Info::with_size(image.width(), image.height());
        info.color_type = match (colour.has_color(), colour.has_alpha()) {
            (false, false) => png::ColorType::Grayscale,
            (false, true) => png::ColorType::GrayscaleAlpha,
            (true, false) => png::ColorType::Rgb,
            (true, true) => png::ColorType::Rgba,
        };
        info.bit_depth = if deep { png::BitDepth::Sixteen } else { png::BitDepth::Eight };
        let block = |bytes: &[u8]| (!bytes.is_empty()).then(|| bytes.to_vec().into());
        (info.icc_profile, info.exif_metadata) = (block(&about.profile), block(&about.exif));
        info.pixel_dims = about.resolution.map(|[across, down]| png::PixelDimensions {
            xppu: (across / INCH).round() as u32,
            yppu: (down / INCH).round() as u32,
            unit: png::Unit::Meter,
        });
        let mut encoder = png::Encoder::with_info(file, info).map_err(png_failed)?;
        // 24 megapixels in a fifth of a second, where the next better compression takes two: autosave passes here.
        encoder.set_compression(png::Compression::Fast);
        encoder.set_filter(png::Filter::Adaptive);
        let mut writer = encoder.write_header().map_err(png_failed)?;
        if let Ok(xmp) = str::from_utf8(&about.xmp)
            && !xmp.is_empty()
        {
            writer.write_text_chunk(&ITXtChunk::new(XMP_IN_PNG, xmp)).map_err(png_failed)?;
        }
        if !notes.none {
            if let Some(parameters) = &notes.parameters {
                // Others look for the plain kind of text, which knows Latin letters only.
                let latin = parameters.chars().all(|letter| u32::from(letter) < 256);
                let written = if latin {
                    writer.write_text_chunk(&TEXtChunk::new("parameters", parameters))
                } else {
                    writer.write_text_chunk(&ITXtChunk::new("parameters", parameters))
                };
                written.map_err(png_failed)?;
            }
            if let Some(record) = &notes.record {
                let mut chunk = ITXtChunk::new(RECORD_IN_PNG, record);
                chunk.compress_text().map_err(png_failed)?;
                writer.write_text_chunk(&chunk).map_err(png_failed)?;
            }
        }
        let written = if deep {
            let samples = image.as_bytes().chunks_exact(2).map(|pair| u16::from_ne_bytes([pair[0], pair[1]]));
            let bytes: Vec<u8> = samples.flat_map(u16::to_be_bytes).collect();
            writer.write_image_data(&bytes)
        } else {
            writer.write_image_data(image.as_bytes())
        };
        written.and_then(|()| writer.finish()).map_err(png_failed)
    }

    fn write_jpeg(&self, file: &mut impl Write, about: &About, quality: u8) -> io::Result<()> {
        let mut bytes = Vec::new();
        let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality.clamp(1, 100));
        if let Some([across, down]) = about.resolution {
            let density = [across, down].map(|value| value.round().clamp(1.0, 65_535.0) as u16);
            let density = PixelDensity { density: density.into(), unit: PixelDensityUnit::Inches };
            encoder.set_pixel_density(density);
        }
        if !about.profile.is_empty() {
            encoder.set_icc_profile(about.profile.clone()).map_err(io::Error::other)?;
        }
        if !about.exif.is_empty() && about.exif.len() <= SEGMENT {
            encoder.set_exif_metadata(about.exif.clone()).map_err(io::Error::other)?;
        }
        let image = match self.image() {
            image if image.color().has_alpha() => DynamicImage::ImageRgb8(over_white(image)),
            image if image.color().has_color() => DynamicImage::ImageRgb8(image.to_rgb8()),
            image => DynamicImage::ImageLuma8(image.to_luma8()),
        };
        image.write_with_encoder(encoder).map_err(image_failed)?;
        // It belongs behind the first segment, which readers expect at the start.
        let at = 4 + usize::from(u16::from_be_bytes([bytes[4], bytes[5]]));
        file.write_all(&bytes[..at])?;
        if !about.xmp.is_empty() && about.xmp.len() <= SEGMENT {
            let length = (2 + XMP_IN_JPEG.len() + about.xmp.len()) as u16;
            file.write_all(&[0xFF, 0xE1])?;
            file.write_all(&length.to_be_bytes())?;
            file.write_all(XMP_IN_JPEG)?;
            file.write_all(&about.xmp)?;
        }
        file.write_all(&bytes[at..])
    }

    /// A grey picture in 8 bit as it is in sRGB; none if it has colours.
    fn srgb_grey(&self) -> Option<DynamicImage> {
        let (width, height, colour) = (self.width(), self.height(), self.image().color());
        let channels = usize::from(colour.channel_count());
        let (mut bytes, mut row) = (Vec::with_capacity(width as usize * height as usize * channels), Vec::new());
        for y in 0..if colour.has_color() { 0 } else { height } {
            self.read_row(y, 0..width, &mut row);
            bytes.extend(row.iter().flat_map(|[level, _, _, alpha]| [*level, *alpha]).map(u8::nearest));
        }
        match channels {
            1 => {
                let levels = bytes.into_iter().step_by(2).collect();
                image::ImageBuffer::from_raw(width, height, levels).map(DynamicImage::ImageLuma8)
            }
            2 => image::ImageBuffer::from_raw(width, height, bytes).map(DynamicImage::ImageLumaA8),
            _ => None,
        }
    }

    fn write_webp(&self, file: &mut impl Write, about: About) -> io::Result<()> {
        let image = self.image();
        if image.width().max(image.height()) > LONGEST_WEBP {
            let size = format!("{} × {} pixels are more than WebP has room for", image.width(), image.height());
            return Err(io::Error::other(size));
        }
        // It knows no grey: a grey profile would be none of its own.
        let grey = self.srgb_grey().filter(|_| !about.profile.is_empty());
        let about = if grey.is_some() { About { profile: Vec::new(), ..about } } else { about };
        let image = grey.as_ref().unwrap_or(image);
        let mut encoder = image_webp::WebPEncoder::new(file);
        for (block, set) in [
            (about.profile, image_webp::WebPEncoder::set_icc_profile as fn(&mut _, _)),
            (about.exif, image_webp::WebPEncoder::set_exif_metadata),
            (about.xmp, image_webp::WebPEncoder::set_xmp_metadata),
        ] {
            if !block.is_empty() {
                set(&mut encoder, block);
            }
        }
        let (bytes, kind) = match (image.color().has_color(), image.color().has_alpha()) {
            (false, false) => (image.to_luma8().into_raw(), image_webp::ColorType::L8),
            (false, true) => (image.to_luma_alpha8().into_raw(), image_webp::ColorType::La8),
            (true, false) => (image.to_rgb8().into_raw(), image_webp::ColorType::Rgb8),
            (true, true) => (image.to_rgba8().into_raw(), image_webp::ColorType::Rgba8),
        };
        encoder.encode(&bytes, image.width(), image.height(), kind).map_err(|error| match error {
            image_webp::EncodingError::IoError(error) => error,
            error => io::Error::other(error),
        })
    }

    fn write_tiff(&self, file: &mut (impl Write + Seek), about: &About) -> io::Result<()> {
        let alpha = self.image().color().has_alpha();
        // The encoder's predictor does not know of extra samples.
        let predictor = if alpha { Predictor::None } else { Predictor::Horizontal };
        let mut tiff = TiffEncoder::new(file)
            .map_err(tiff_failed)?
            .with_compression(Compression::Deflate(DeflateLevel::Fast))
            .with_predictor(predictor);
        let exif = Exif::read(&mut io::Cursor::new(&about.exif)).unwrap_or_default().descriptive();
        let mut pointers = Vec::new();
        for (number, tags) in [(exif::EXIF, &exif.camera), (exif::GPS, &exif.place)] {
            if !tags.is_empty() {
                let mut directory = tiff.extra_directory().map_err(tiff_failed)?;
                tags.iter().try_for_each(|tag| write_tag(&mut directory, tag))?;
                let offset = directory.finish_with_offsets().map_err(tiff_failed)?.offset;
                pointers.push(Tag { number, kind: 4, data: offset.to_ne_bytes().to_vec() });
            }
        }
        let mut tags: Vec<Tag> = exif.main.into_iter().chain(pointers).collect();
        let blocks = [(exif::PROFILE, 7, &about.profile), (exif::XMP, 1, &about.xmp)];
        let blocks = blocks.into_iter().filter(|(_, _, data)| !data.is_empty());
        tags.extend(blocks.map(|(number, kind, data)| Tag { number, kind, data: data.clone() }));
        let (tags, resolution) = (&tags[..], about.resolution);
        match self.image() {
            DynamicImage::ImageLuma8(_) | DynamicImage::ImageLumaA8(_) => {
                strips::<_, colortype::Gray8>(&mut tiff, self, self.image().as_bytes(), alpha, tags, resolution)
            }
            DynamicImage::ImageRgb8(_) | DynamicImage::ImageRgba8(_) => {
                strips::<_, colortype::RGB8>(&mut tiff, self, self.image().as_bytes(), alpha, tags, resolution)
            }
            DynamicImage::ImageLuma16(image) => {
                strips::<_, colortype::Gray16>(&mut tiff, self, image.as_raw(), alpha, tags, resolution)
            }
            DynamicImage::ImageLumaA16(image) => {
                strips::<_, colortype::Gray16>(&mut tiff, self, image.as_raw(), alpha, tags, resolution)
            }
            DynamicImage::ImageRgb16(image) => {
                strips::<_, colortype::RGB16>(&mut tiff, self, image.as_raw(), alpha, tags, resolution)
            }
            DynamicImage::ImageRgba16(image) => {
                strips::<_, colortype::RGB16>(&mut tiff, self, image.as_raw(), alpha, tags, resolution)
            }
            _ => unreachable!("`Picture::new` lets only integers of 8 or 16 bit in"),
        }
    }
}

/// Writes the pixels, strip by strip, and then what is known of them.
fn strips<W: Write + Seek, C>(
    tiff: &mut TiffEncoder<W>,
    picture: &Picture,
    samples: &[C::Inner],
    alpha: bool,
    tags: &[Tag],
    resolution: Option<[f64; 2]>,
) -> io::Result<()>
where
    C: colortype::ColorType,
    [C::Inner]: tiff::encoder::TiffValue,
{
    let mut image = tiff.new_image::<C>(picture.width(), picture.height()).map_err(tiff_failed)?;
    if alpha {
        image.extra_samples(&[ExtraSamples::UnassociatedAlpha]).map_err(tiff_failed)?;
    }
    if let Some([across, down]) = resolution {
        let fraction = |value: f64| Rational { n: (value * 1000.0).round().min(4e9) as u32, d: 1000 };
        image.resolution_unit(ResolutionUnit::Inch);
        image.x_resolution(fraction(across));
        image.y_resolution(fraction(down));
    }
    tags.iter().try_for_each(|tag| write_tag(image.encoder(), tag))?;
    image.write_data(samples).map_err(tiff_failed)
}

fn write_tag<W: Write + Seek>(directory: &mut DirectoryEncoder<'_, W, TiffKindStandard>, tag: &Tag) -> io::Result<()> {
    let Some(kind) = Type::from_u16(tag.kind) else { return Ok(()) };
    let entry = directory.write_entry_bytes(kind, &tag.data).map_err(tiff_failed)?;
    let mut with = tiff::Directory::empty();
    with.extend([(tiff::tags::Tag::from_u16_exhaustive(tag.number), entry)]);
    directory.extend_from(&with);
    Ok(())
}

/// The colours as they are seen on a white sheet.
fn over_white(image: &DynamicImage) -> RgbImage {
    let mut sheet = RgbImage::new(image.width(), image.height());
    for (to, from) in sheet.pixels_mut().zip(image.to_rgba8().pixels()) {
        let [red, green, blue, alpha] = from.0.map(u32::from);
        *to = Rgb([red, green, blue].map(|level| ((level * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
    }
    sheet
}

/// Whatever goes wrong on the way to the disk keeps its kind: whether it is full is for the caller to say.
fn png_failed(error: png::EncodingError) -> io::Error {
    match error {
        png::EncodingError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

fn image_failed(error: ImageError) -> io::Error {
    match error {
        ImageError::IoError(error) => error,
        error => io::Error::other(error),
    }
}

fn tiff_failed(error: tiff::TiffError) -> io::Error {
    match error {
        tiff::TiffError::IoError(error) => error,
        error => io::Error::other(error),
    }
}
