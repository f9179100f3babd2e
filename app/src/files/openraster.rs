//! OpenRaster (<https://www.openraster.org/baseline/file-layout-spec.html>): result, original and mask as layers.

use std::io::{self, Cursor, Seek, Write};

use andamento_model::picture::{Kind, Notes, Picture};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipWriter};

use super::project::thumbnail;
use crate::document::Document;

/// Writes the document: the result on top of the picture as it was opened, and above both the mask, hidden.
pub(crate) fn write(file: &mut (impl Write + Seek), document: &Document, notes: &Notes) -> io::Result<()> {
    let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    let mut zip = ZipWriter::new(file);
    let mut part = |name: &str, bytes: &[u8]| {
        zip.start_file(name, stored)?;
        zip.write_all(bytes)
    };
    let (width, height) = (document.picture.width(), document.picture.height());
    let at = document.original_at;
    part("mimetype", b"image/openraster")?;
    let stack = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<image version=\"0.0.5\" w=\"{width}\" h=\"{height}\">\n  <stack>\n    \
         <layer name=\"Mask\" src=\"data/mask.png\" x=\"0\" y=\"0\" visibility=\"hidden\"/>\n    \
         <layer name=\"Result\" src=\"data/result.png\" x=\"0\" y=\"0\"/>\n    \
         <layer name=\"Original\" src=\"data/original.png\" x=\"{}\" y=\"{}\"/>\n  </stack>\n</image>\n",
        at.x, at.y
    );
    part("stack.xml", stack.as_bytes())?;
    let png = |picture: &Picture, notes: &Notes| {
        let mut bytes = Cursor::new(Vec::new());
        picture.write(&mut bytes, Kind::Png, notes).map(|()| bytes.into_inner())
    };
    let result = png(&document.picture, notes)?;
    part("data/result.png", &result)?;
    part("data/original.png", &png(&document.original, &Notes { none: notes.none, ..Notes::default() })?)?;
    part("data/mask.png", &document.mask.png_bytes().map_err(io::Error::other)?)?;
    part("mergedimage.png", &result)?;
    part("Thumbnails/thumbnail.png", &thumbnail(&document.picture).map_err(io::Error::other)?)?;
    zip.finish()?;
    Ok(())
}
