//! What a picture file holds beside its first picture, and the decoders do not hand out: resolution, further pictures,
//! what a PNG says of its colours, the EXIF of a TIFF, our own record. Damage here costs the item and not the picture.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

use image::ImageFormat;

use super::exif::{self, Exif};
use super::save::RECORD_IN_PNG;

/// The longest of our own records that is read, in bytes; also what a PNG's header may take.
const LONGEST: usize = 64 << 20;
/// Inches per metre.
const PER_METRE: f64 = 0.0254;

/// See the module.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) remarks: Vec<String>,
    pub(super) resolution: Option<[f64; 2]>,
    /// Whether a TIFF is grey with transparency.
    pub(super) is_grey_alpha: bool,
    /// The EXIF block, colour profile and XMP packet of a TIFF: the decoder has no room for them where pictures are small.
    pub(super) exif: Vec<u8>,
    pub(super) profile: Vec<u8>,
    pub(super) xmp: Vec<u8>,
    /// Whether a PNG says that it is sRGB.
    pub(super) is_srgb: bool,
    /// The power of a PNG's curve, as a file gives it: about 0.45.
    pub(super) gamma: Option<f32>,
    /// Of white, red, green and blue.
    pub(super) chromaticities: Option<[(f32, f32); 4]>,
    /// Whether a JPEG has four inks.
    pub(super) is_cmyk: bool,
    /// Our own record.
    pub(super) record: Option<String>,
}

impl Beside {
    /// Reads a file from its beginning.
    ///
    /// # Errors
    /// When the disk fails.
    pub(super) fn read(format: ImageFormat, file: &mut (impl BufRead + Seek)) -> io::Result<Self> {
        match format {
            ImageFormat::Png => Ok(Self::png(file)),
            ImageFormat::Jpeg => Self::jpeg(file),
            ImageFormat::Tiff => Ok(Self::tiff(file)),
            ImageFormat::Gif => Self::gif(file),
            ImageFormat::WebP => Self::webp(file),
            ImageFormat::Bmp => Self::bmp(file),
            _ => Ok(Self::default()),
        }
    }

    fn png(file: &mut (impl BufRead + Seek)) -> Self {
        let decoder = png::Decoder::new_with_limits(file, png::Limits { bytes: LONGEST });
        let Ok(reader) = decoder.read_info() else { return Self::default() };
        let info = reader.info();
        let pair = |(x, y): (png::ScaledFloat, png::ScaledFloat)| (x.into_value(), y.into_value());
        let metres = info.pixel_dims.filter(|size| size.unit == png::Unit::Meter);
        let record = info.utf8_text.iter().find(|text| text.keyword == RECORD_IN_PNG).and_then(|text| {
            let mut text = text.clone();
            text.decompress_text_with_limit(LONGEST).ok()?;
            text.get_text().ok()
        });
        let first = "It is animated: this is its first picture.";
        Self {
            remarks: info.animation_control.map(|_| first.to_owned()).into_iter().collect(),
            resolution: metres.map(|size| [size.xppu, size.yppu].map(|value| f64::from(value) * PER_METRE)),
            is_srgb: info.srgb.is_some(),
            gamma: info.gama_chunk.map(png::ScaledFloat::into_value).filter(|gamma| *gamma > 0.0),
            chromaticities: info.chrm_chunk.map(|it| [pair(it.white), pair(it.red), pair(it.green), pair(it.blue)]),
            record,
            ..Self::default()
        }
    }

    /// Walks over the segments up to the one that gives size and inks.
    fn jpeg(file: &mut (impl BufRead + Seek)) -> io::Result<Self> {
        let mut beside = Self::default();
        file.seek(SeekFrom::Start(2))?;
        let mut head = [0; 4];
        while file.read_exact(&mut head).is_ok() && head[0] == 0xFF {
            let length = u64::from(u16::from_be_bytes([head[2], head[3]])).saturating_sub(2);
            let mut segment = Vec::new();
            file.by_ref().take(length).read_to_end(&mut segment)?;
            match (head[1], &segment[..]) {
                (0xE0, [b'J', b'F', b'I', b'F', 0, _, _, unit @ (1 | 2), a, b, c, d, ..]) => {
                    let per_inch = if *unit == 1 { 1.0 } else { 2.54 };
                    let both = [[*a, *b], [*c, *d]].map(|value| f64::from(u16::from_be_bytes(value)) * per_inch);
                    beside.resolution = Some(both).filter(|both| both.iter().all(|value| *value > 0.0));
                }
                (0xE1, [b'E', b'x', b'i', b'f', 0, 0, block @ ..]) if beside.resolution.is_none() => {
                    beside.resolution = Exif::read(&mut io::Cursor::new(block)).and_then(|exif| exif.resolution());
                }
                // Frames of all processes; the other numbers of this range are tables.
                (0xC0..=0xCF, [_, _, _, _, _, inks, ..]) if !matches!(head[1], 0xC4 | 0xC8 | 0xCC) => {
                    beside.is_cmyk = *inks == 4;
                    break;
                }
                (0xDA, _) => break,
                _ => {}
            }
        }
        Ok(beside)
    }

    fn tiff(file: &mut (impl BufRead + Seek)) -> Self {
        let Some(exif) = Exif::read(file) else { return Self::default() };
        let first = "It has several pages: this is the first.";
        let block = |number| exif.main.iter().find(|tag| tag.number == number).map(|tag| tag.data.clone());
        Self {
            profile: block(exif::PROFILE).unwrap_or_default(),
            xmp: block(exif::XMP).unwrap_or_default(),
            remarks: exif.continues.then(|| first.to_owned()).into_iter().collect(),
            resolution: exif.resolution(),
            is_grey_alpha: exif.is_grey_alpha(),
            exif: exif.descriptive().block(),
            ..Self::default()
        }
    }

    /// Walks over the blocks up to a second picture.
    fn gif(file: &mut (impl BufRead + Seek)) -> io::Result<Self> {
        let mut beside = Self::default();
        let mut head = [0; 13];
        file.read_exact(&mut head)?;
        let table = |flags: u8| if flags & 0x80 == 0 { 0 } else { 3 << ((flags & 7) + 1) };
        file.seek_relative(table(head[10]))?;
        let mut pictures = 0;
        loop {
            let mut kind = [0];
            if file.read_exact(&mut kind).is_err() {
                return Ok(beside);
            }
            match kind[0] {
                0x2C => {
                    pictures += 1;
                    if pictures == 2 {
                        beside.remarks.push("It is animated: this is its first picture.".into());
                        return Ok(beside);
                    }
                    let mut frame = [0; 9];
                    if file.read_exact(&mut frame).is_err() {
                        return Ok(beside);
                    }
                    file.seek_relative(table(frame[8]) + 1)?;
                }
                0x21 => file.seek_relative(1)?,
                _ => return Ok(beside),
            }
            // Parts of up to 255 bytes, each with its length before it; one without bytes is the last.
            let mut length = [1];
            while length[0] > 0 && file.read_exact(&mut length).is_ok() {
                file.seek_relative(length[0].into())?;
            }
        }
    }

    fn webp(file: &mut (impl BufRead + Seek)) -> io::Result<Self> {
        let mut head = [0; 21];
        let animated = file.read_exact(&mut head).is_ok() && head[12..16] == *b"VP8X" && head[20] & 2 != 0;
        let first = "It is animated: this is its first picture.";
        Ok(Self { remarks: animated.then(|| first.to_owned()).into_iter().collect(), ..Self::default() })
    }

    fn bmp(file: &mut (impl BufRead + Seek)) -> io::Result<Self> {
        let mut head = [0; 46];
        let whole = file.read_exact(&mut head).is_ok();
        let number = |at: usize| i32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]);
        let both = [number(38), number(42)].map(|value| f64::from(value) * PER_METRE);
        // The oldest header, of 12 bytes, has none.
        let resolution = (whole && number(14) >= 40 && both.iter().all(|value| *value > 0.0)).then_some(both);
        Ok(Self { resolution, ..Self::default() })
    }
}
