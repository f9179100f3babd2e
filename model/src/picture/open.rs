//! Opening a picture file: it is known by its content, and hostile until its size is known to be sane.

use super::about::About;
use super::beside::Beside;
use super::colour::profile_of;
use super::grey_alpha::GreyAlpha;
use super::{MAX_PIXELS, Picture};
use crate::{Error, Result};
use image::metadata::Orientation;
use image::{ColorType, DynamicImage, ExtendedColorType, ImageDecoder, ImageError, ImageFormat, ImageReader};
use image::{ImageResult, Limits};
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The largest picture that is opened, in bytes as decoded, and the largest file: [`MAX_PIXELS`] of RGBA at 16 bit are
/// 1.5 GiB.
const MAX_BYTES: u64 = 2 << 30;

/// A small file may unfold to this many bytes whatever its size, so that a blank sheet of a sensible size opens...
const FREE_BYTES: u64 = 512 << 20;

/// ...and beyond that to this many times its own size. Real pictures stay below a tenth of it (photographs as WebP) and
/// flat drawings below the whole, while DEFLATE reaches 1032 and the run lengths of other formats far more: without
/// this bound a file of a few kilobytes takes all of [`MAX_BYTES`].
const MAX_RATIO: u64 = 400;

/// What a decoder may allocate besides the picture: colour profile, EXIF, rows.
const MAX_EXTRA_BYTES: u64 = 64 << 20;

/// The remedy for damaged files.
const FETCH_AGAIN: &str = "Copy or download it again, or open another picture";

/// The remedy for sizes beyond the bounds.
const SCALE_DOWN: &str = "Scale it down or cut out a part of it in another program, and open that";

/// A picture, and what the person should know about how it was read.
pub struct Opened {
    /// The picture.
    pub picture: Picture,
    /// What could not be taken as it stands in the file, in whole sentences.
    pub remarks: Vec<String>,
    /// The record that Andamento leaves in its PNGs, as JSON: how the picture was made.
    pub record: Option<String>,
}

/// See [`Picture::read`].
pub(super) fn open(path: &Path) -> Result<Opened> {
    let file_bytes = regular_file_bytes(path)?;
    let file = File::open(path).map_err(|error| unreadable(path, &error))?;
    decode(path, file_bytes, BufReader::new(file))
}

/// See [`Picture::decode`].
pub(super) fn decode(path: &Path, file_bytes: u64, mut file: impl BufRead + Seek) -> Result<Opened> {
    let failed = |error: io::Error| unreadable(path, &error);
    let format = recognised(path, file_bytes, &mut file)?;
    file.rewind().map_err(failed)?;
    let mut remarks = Vec::new();
    let beside = Beside::read(format, &mut file).map_err(failed)?;
    remarks.extend(beside.remarks.iter().cloned());
    file.rewind().map_err(failed)?;

    let mut reader = ImageReader::with_format(file, format);
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(MAX_EXTRA_BYTES); // while only headers are read
    reader.limits(limits);
    let decoder: ImageResult<Box<dyn ImageDecoder + '_>> = if beside.is_grey_alpha {
        GreyAlpha::new(reader.into_inner()).map(|decoder| Box::new(decoder) as _)
    } else {
        reader.into_decoder().map(|decoder| Box::new(decoder) as _)
    };
    let mut decoder = decoder.map_err(|error| undecodable(path, error))?;
    check_size(path, file_bytes, &decoder)?;
    let mut about = about(&mut decoder, &beside, &mut remarks);
    if about.profile.is_empty() && !beside.is_srgb {
        let grey = !decoder.color_type().has_color();
        about.profile = beside.gamma.map(|gamma| profile_of(gamma, beside.chromaticities, grey)).unwrap_or_default();
    }
    let orientation = decoder.orientation().unwrap_or(Orientation::NoTransforms);
    about.turned_upright();
    if matches!(decoder.color_type(), ColorType::Rgb32F | ColorType::Rgba32F) {
        remarks.push("Its 32-bit floating point samples became 16-bit integers.".into());
    }
    let cmyk = matches!(decoder.original_color_type(), ExtendedColorType::Cmyk8 | ExtendedColorType::Cmyk16);
    if cmyk || beside.is_cmyk {
        remarks.push("Its colours for print (CMYK) became RGB, without their profile.".into());
    }
    let mut limits = Limits::no_limits();
    // Some decoders count the packed strips and the unpacked picture against the same limit.
    limits.max_alloc = Some(2 * decoder.total_bytes() + MAX_EXTRA_BYTES);
    let decoded = decoder.set_limits(limits).and_then(|()| DynamicImage::from_decoder(decoder));
    let mut image = decoded.map_err(|error| undecodable(path, error))?;
    image.apply_orientation(orientation);
    let (picture, complaint) = Picture::about_what(image, about);
    remarks.extend(
        complaint.map(|cause| format!("Its colours are taken as sRGB: the colour profile is damaged ({cause}).")),
    );
    Ok(Opened { picture, remarks, record: beside.record })
}

/// Takes what the file says; damage here costs the block and not the picture.
fn about(decoder: &mut impl ImageDecoder, beside: &Beside, remarks: &mut Vec<String>) -> About {
    let or_else = |block: &Vec<u8>, read: ImageResult<Option<Vec<u8>>>| {
        if block.is_empty() { read.ok().flatten().unwrap_or_default() } else { block.clone() }
    };
    // A decoder that has turned CMYK into RGB still hands out the profile for CMYK, which would now be wrong.
    let space: &[u8] = if decoder.color_type().has_color() { b"RGB " } else { b"GRAY" };
    let profile = or_else(&beside.profile, decoder.icc_profile());
    let fits = profile.get(16..20) == Some(space);
    if !fits && !profile.is_empty() && profile.get(16..20) != Some(b"CMYK") {
        remarks.push("Its colour profile is for another kind of picture, and was left out.".into());
    }
    About {
        profile: if fits { profile } else { Vec::new() },
        exif: or_else(&beside.exif, decoder.exif_metadata()),
        xmp: or_else(&beside.xmp, decoder.xmp_metadata()),
        resolution: beside.resolution,
    }
}

/// The size of a file in bytes, if it is one that can be read from end to end.
fn regular_file_bytes(path: &Path) -> Result<u64> {
    let about = fs::metadata(path).map_err(|error| unreadable(path, &error))?;
    match about.len() {
        _ if about.is_dir() => Err(Error::file(path, "this is a folder", "Choose a picture in it")),
        _ if !about.is_file() => Err(Error::file(path, "this is not an ordinary file", "Choose a picture file")),
        0 => Err(Error::file(path, "the file is empty", FETCH_AGAIN)),
        bytes if bytes > MAX_BYTES => Err(Error::file(path, "the file is larger than 2 GiB", SCALE_DOWN)),
        bytes => Ok(bytes),
    }
}

/// The format, from the first bytes of the file.
fn recognised(path: &Path, file_bytes: u64, file: &mut (impl BufRead + Seek)) -> Result<ImageFormat> {
    let failed = |error: io::Error| unreadable(path, &error);
    let mut start = Vec::new();
    file.by_ref().take(512).read_to_end(&mut start).map_err(failed)?;
    match image::guess_format(&start).ok() {
        Some(ImageFormat::Jpeg) if !jpeg_is_complete(file).map_err(failed)? => Err(truncated(path)),
        Some(ImageFormat::WebP) if !webp_is_complete(file, file_bytes).map_err(failed)? => Err(truncated(path)),
        Some(format) if format.reading_enabled() => Ok(format),
        Some(format) => Err(unknown(path, &format!("pictures of the kind {format:?} are not read here"))),
        None if is_text(&start) => Err(unknown(path, "this is a text file and not a picture")),
        None => Err(unknown(path, "this is not a picture of a known kind")),
    }
}

/// Refuses a size out of bounds, before anything of that size is allocated.
fn check_size(path: &Path, file_bytes: u64, decoder: &impl ImageDecoder) -> Result<()> {
    let (width, height) = decoder.dimensions();
    let pixels = u64::from(width) * u64::from(height);
    let bytes = decoder.total_bytes();
    let megapixels = pixels.div_ceil(1_000_000);
    let size = format!("{width} × {height} pixels ({megapixels} megapixels)");
    let too_large = |cause: String| Err(Error::file(path, cause, SCALE_DOWN));
    if pixels == 0 {
        return Err(Error::file(path, format!("{width} × {height} pixels are no picture"), FETCH_AGAIN));
    }
    if pixels > MAX_PIXELS {
        return too_large(format!("{size} are more than the {} megapixels that can be opened", MAX_PIXELS / 1_000_000));
    }
    if bytes > MAX_BYTES {
        return too_large(format!("{size} would take {} GiB, more than 2", bytes.div_ceil(1 << 30)));
    }
    if bytes > FREE_BYTES.max(file_bytes.saturating_mul(MAX_RATIO)) {
        return too_large(format!("a file of {} kB claims to hold {size}", file_bytes.div_ceil(1000)));
    }
    Ok(())
}

/// Whether a JPEG goes on to its end marker. The decoder itself fills what is missing with grey in silence.
fn jpeg_is_complete(file: &mut (impl BufRead + Seek)) -> io::Result<bool> {
    file.rewind()?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    let mut rest = bytes.get(2..).unwrap_or_default();
    // Segments give their length. In the coded data between them 0xFF is always followed by one of the four below.
    while let Some(start) = rest.windows(2).position(|at| at[0] == 0xFF && !matches!(at[1], 0 | 1 | 0xD0..=0xD7 | 0xFF))
    {
        match rest[start + 1..] {
            [0xD9, ..] => return Ok(true),
            [_, high, low, ..] => {
                let end = start + 2 + usize::from(u16::from_be_bytes([high, low]));
                rest = rest.get(end..).unwrap_or_default();
            }
            _ => break,
        }
    }
    Ok(false)
}

/// Whether every part of a WebP lies in the file. The decoder itself allocates what a part's header claims.
fn webp_is_complete(file: &mut (impl BufRead + Seek), file_bytes: u64) -> io::Result<bool> {
    let mut start = file.seek(SeekFrom::Start(12))?;
    while start + 8 <= file_bytes {
        let mut header = [0; 8];
        file.read_exact(&mut header)?;
        let [a, b, c, d, size @ ..] = header;
        let size = i64::from(u32::from_le_bytes(size));
        let end = start + 8 + size as u64;
        // Names of parts are four printable characters; anything else is rubbish behind the picture.
        if end > file_bytes && [a, b, c, d].iter().all(|byte| matches!(byte, b' '..=b'~')) {
            return Ok(false);
        }
        start = end + end % 2;
        file.seek_relative(size + size % 2)?;
    }
    Ok(true)
}

/// Whether a file that begins so is text: no control characters besides white space, in UTF-8 or an 8-bit code.
fn is_text(start: &[u8]) -> bool {
    !start.iter().any(|byte| byte.is_ascii_control() && !byte.is_ascii_whitespace())
}

/// A file that the system does not hand out.
fn unreadable(path: &Path, error: &io::Error) -> Error {
    match error.kind() {
        io::ErrorKind::NotFound => Error::file(path, "there is no such file", "Check the name, or choose another one"),
        io::ErrorKind::PermissionDenied => {
            Error::file(path, "you may not read this file", "Change its permissions, or choose another one")
        }
        _ => Error::file(path, format!("it cannot be read ({error})"), "Check the disk, or choose another file"),
    }
}

/// A file of another kind.
fn unknown(path: &Path, cause: &str) -> Error {
    Error::file(path, cause, "Open a PNG, JPEG, WebP, TIFF, BMP or GIF, or save it as one of them first")
}

/// A file that ends within the picture.
fn truncated(path: &Path) -> Error {
    Error::file(path, "the file ends before the picture does", FETCH_AGAIN)
}

/// A file that began like a picture and does not go on like one.
fn undecodable(path: &Path, error: ImageError) -> Error {
    match error {
        ImageError::IoError(error) if error.kind() == io::ErrorKind::UnexpectedEof => truncated(path),
        ImageError::IoError(error) => unreadable(path, &error),
        ImageError::Limits(_) => Error::file(path, "it asks for more memory than its size explains", FETCH_AGAIN),
        ImageError::Unsupported(error) => unknown(path, &error.to_string()),
        error => Error::file(path, format!("the file is damaged ({error})"), FETCH_AGAIN),
    }
}
