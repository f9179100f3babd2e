//! TIFFs of grey with transparency, which `image` does not read.

use std::io::{self, BufRead, Seek};

use image::error::{
    DecodingError, ImageFormatHint, LimitError, LimitErrorKind, UnsupportedError, UnsupportedErrorKind,
};
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, ImageFormat, ImageResult};
use tiff::TiffError;
use tiff::decoder::{Decoder, DecodingResult, Limits};
use tiff::tags::Tag;

/// What the decoder may allocate beside the picture, in bytes: lists of strips.
const EXTRA: usize = 64 << 20;

/// Reads the first picture of such a file.
pub(super) struct GreyAlpha<R: BufRead + Seek> {
    decoder: Decoder<R>,
    size: (u32, u32),
    colour: ColorType,
}

impl<R: BufRead + Seek> GreyAlpha<R> {
    pub(super) fn new(file: R) -> ImageResult<Self> {
        let mut decoder = Decoder::new(file).map_err(failed)?;
        let size = decoder.dimensions().map_err(failed)?;
        let colour = match decoder.colortype().map_err(failed)? {
            tiff::ColorType::Multiband { bit_depth: 8, num_samples: 2 } => ColorType::La8,
            tiff::ColorType::Multiband { bit_depth: 16, num_samples: 2 } => ColorType::La16,
            other => return Err(unsupported(format!("{other:?}"))),
        };
        Ok(Self { decoder, size, colour })
    }
}

impl<R: BufRead + Seek> ImageDecoder for GreyAlpha<R> {
    fn dimensions(&self) -> (u32, u32) {
        self.size
    }

    fn color_type(&self) -> ColorType {
        self.colour
    }

    fn orientation(&mut self) -> ImageResult<Orientation> {
        let value = self.decoder.find_tag_unsigned::<u8>(Tag::Orientation).ok().flatten();
        Ok(value.and_then(Orientation::from_exif).unwrap_or(Orientation::NoTransforms))
    }

    fn set_limits(&mut self, _: image::Limits) -> ImageResult<()> {
        Ok(()) // the buffer is bounded when it is read
    }

    fn read_image(self, buffer: &mut [u8]) -> ImageResult<()> {
        let mut limits = Limits::default();
        limits.decoding_buffer_size = buffer.len() + EXTRA;
        limits.intermediate_buffer_size = buffer.len() + EXTRA;
        let mut decoder = self.decoder.with_limits(limits);
        let samples = match decoder.read_image().map_err(failed)? {
            DecodingResult::U8(bytes) => bytes,
            DecodingResult::U16(words) => words.into_iter().flat_map(u16::to_ne_bytes).collect(),
            _ => return Err(unsupported("its samples are no whole numbers".into())),
        };
        if samples.len() != buffer.len() {
            return Err(unsupported("its samples lie in planes".into()));
        }
        buffer.copy_from_slice(&samples);
        Ok(())
    }

    fn read_image_boxed(self: Box<Self>, buffer: &mut [u8]) -> ImageResult<()> {
        (*self).read_image(buffer)
    }
}

fn unsupported(what: String) -> ImageError {
    let kind = UnsupportedErrorKind::GenericFeature(what);
    ImageError::Unsupported(UnsupportedError::from_format_and_kind(ImageFormat::Tiff.into(), kind))
}

fn failed(error: TiffError) -> ImageError {
    match error {
        TiffError::IoError(error) => ImageError::IoError(error),
        TiffError::LimitsExceeded => ImageError::Limits(LimitError::from_kind(LimitErrorKind::InsufficientMemory)),
        TiffError::UnsupportedError(error) => unsupported(error.to_string()),
        error => {
            ImageError::Decoding(DecodingError::new(ImageFormatHint::Exact(ImageFormat::Tiff), io::Error::other(error)))
        }
    }
}
