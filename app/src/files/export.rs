//! Writing the document as a picture, with layers, or as a project: the name says which.

use std::path::Path;

use andamento_model::library::imported::Shelf;
use andamento_model::picture::{Kind, Notes, Picture};
use andamento_model::{Error, Result};

use super::project::{self, Snapshot};
use super::save::save_with;
use super::{openraster, record};

/// The quality of a JPEG where nothing else was chosen.
pub const QUALITY: u8 = 92;

/// What can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A picture.
    Picture(Kind),
    /// Result, original and mask as layers, for other editors.
    OpenRaster,
    /// Everything, for this one.
    Project,
}

impl Format {
    /// What a file's name asks for.
    ///
    /// # Errors
    /// If its ending is none of those that are written.
    pub fn of(path: &Path, quality: u8) -> Result<Self> {
        if let Some(kind) = Kind::of(path, quality) {
            return Ok(Self::Picture(kind));
        }
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            "ora" => Ok(Self::OpenRaster),
            "andamento" => Ok(Self::Project),
            _ => Err(Error::file(
                path,
                format!("files of the kind “.{ending}” are not written here"),
                "Choose a name that ends in .png, .jpg, .webp, .tif, .ora or .andamento",
            )),
        }
    }
}

/// Writes the present document of a snapshot.
///
/// # Errors
/// As [`save_with`].
pub fn write(path: &Path, snapshot: &Snapshot, format: Format, metadata: bool, shelf: &Shelf) -> Result<()> {
    if format == Format::Project {
        return project::save(path, snapshot);
    }
    let notes = if metadata { record::notes(snapshot, shelf)? } else { Notes { none: true, ..Notes::default() } };
    let entry = &snapshot.entries[snapshot.at];
    match format {
        Format::Picture(kind) => write_picture(path, &entry.document.picture, kind, &notes),
        _ => save_with(path, |file| openraster::write(file, &entry.document, &notes)),
    }
}

/// Writes a picture.
///
/// # Errors
/// As [`save_with`].
pub fn write_picture(path: &Path, picture: &Picture, kind: Kind, notes: &Notes) -> Result<()> {
    save_with(path, |file| picture.write(file, kind, notes))
}
