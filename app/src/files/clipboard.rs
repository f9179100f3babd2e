//! Pictures on the system's clipboard.

use std::path::PathBuf;
use std::sync::Mutex;

use andamento_model::picture::Picture;
use andamento_model::{Error, Result};
use arboard::{Clipboard, ImageData};
use image::{DynamicImage, RgbaImage};

/// What was on the clipboard.
pub enum Pasted {
    /// A picture.
    Picture(Picture),
    /// The name of a file.
    File(PathBuf),
}

/// On some systems what was copied is there only as long as the program that copied it holds on to it.
static HELD: Mutex<Option<Clipboard>> = Mutex::new(None);

fn with_clipboard<T>(work: impl FnOnce(&mut Clipboard) -> std::result::Result<T, arboard::Error>) -> Result<T> {
    let failed = |error: arboard::Error| Error::control("clipboard", error, "Use a file instead: Open and Export");
    let mut held = HELD.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let clipboard = match &mut *held {
        Some(clipboard) => clipboard,
        none => none.insert(Clipboard::new().map_err(failed)?),
    };
    work(clipboard).map_err(failed)
}

/// Copies a picture, in 8 bit.
///
/// # Errors
/// If the system has no clipboard, or does not take the picture.
pub fn copy(picture: &Picture) -> Result<()> {
    let image = picture.image().to_rgba8();
    let (width, height) = (image.width() as usize, image.height() as usize);
    with_clipboard(|clipboard| clipboard.set_image(ImageData { width, height, bytes: image.into_raw().into() }))
}

/// What is there: a picture, or the name of a file.
///
/// # Errors
/// If the system has no clipboard, or there is neither on it.
pub fn paste() -> Result<Pasted> {
    let nothing =
        || Error::control("clipboard", "there is no picture on it", "Copy one first, or the name of a picture file");
    let image = with_clipboard(|clipboard| match clipboard.get_image() {
        Ok(image) => Ok(Some(image)),
        Err(arboard::Error::ContentNotAvailable | arboard::Error::ConversionFailure) => Ok(None),
        Err(error) => Err(error),
    })?;
    if let Some(ImageData { width, height, bytes }) = image {
        let size = (u32::try_from(width).ok(), u32::try_from(height).ok());
        let (Some(width), Some(height)) = size else { return Err(nothing()) };
        let image = RgbaImage::from_raw(width, height, bytes.into_owned()).ok_or_else(nothing)?;
        // Nearly all are opaque, and an alpha channel that says nothing would only be in the way.
        let opaque = image.pixels().all(|pixel| pixel.0[3] == 255);
        let image = DynamicImage::ImageRgba8(image);
        return Ok(Pasted::Picture(Picture::new(if opaque { image.to_rgb8().into() } else { image })));
    }
    let text = with_clipboard(|clipboard| match clipboard.get_text() {
        Ok(text) => Ok(text),
        Err(arboard::Error::ContentNotAvailable | arboard::Error::ConversionFailure) => Ok(String::new()),
        Err(error) => Err(error),
    })?;
    let path = PathBuf::from(text.trim().trim_start_matches("file://"));
    if path.is_file() { Ok(Pasted::File(path)) } else { Err(nothing()) }
}
