//! From pictures to tokens and back.

use burn::prelude::*;
use burn::tensor::Int;
use image::RgbImage;

use crate::lattice::{Lattice, Token};
use crate::{Error, Result};

/// Turns pictures into tokens on a lattice and back.
pub trait Tokenizer: Send {
    /// Pixels along each side of a token.
    fn stride(&self) -> usize;

    /// Number of codes.
    fn codes(&self) -> usize;

    /// The lattice of a square picture of `side` pixels.
    ///
    /// # Errors
    /// If such a picture cannot be cut into whole tokens.
    fn lattice(&self, side: usize) -> Result<Lattice> {
        let (stride, count) = (self.stride(), side / self.stride());
        if side.is_multiple_of(stride) && side > 0 {
            return Ok(Lattice::grid(count, count));
        }
        let cause = format!("{side} pixels cannot be cut into tokens of {stride} pixels");
        Err(Error::control("side", cause, format!("Use a multiple of {stride}")))
    }

    /// Tokens of a picture, `[3, height, width]` with samples in -1..1 and sides that are multiples of the stride; in
    /// the lattice's site order.
    ///
    /// # Errors
    /// If the sides do not fit, or the device fails.
    fn encode(&self, pixels: Tensor<3>) -> Result<Vec<Token>> {
        self.encode_batch(pixels.unsqueeze())
    }

    /// Tokens of several pictures of one size, `[batch, 3, height, width]`: those of each, one after the other.
    ///
    /// # Errors
    /// As [`Tokenizer::encode`].
    fn encode_batch(&self, pixels: Tensor<4>) -> Result<Vec<Token>>;

    /// The picture of a full lattice: `[3, height, width]`, samples about -1..1.
    ///
    /// # Errors
    /// If the tokens do not fill the lattice, or the device fails.
    fn decode(&self, lattice: &Lattice, tokens: &[Token]) -> Result<Tensor<3>>;

    /// The picture as it stands when only the first `scales` of the lattice's scales are made: for tokenizers of several
    /// scales, without what the later ones would add.
    ///
    /// # Errors
    /// If the tokens do not fill the lattice, or the device fails.
    fn decode_scales(&self, lattice: &Lattice, tokens: &[Token], scales: usize) -> Result<Tensor<3>> {
        let _ = scales;
        self.decode(lattice, tokens)
    }

    /// The picture of accumulated features in place of tokens, `[1, channels, rows, cols]` to `[3, height, width]`: what a
    /// network's smooth mode makes.
    ///
    /// # Errors
    /// If the tokenizer does not work on features, or the device fails.
    fn decode_features(&self, features: Tensor<4>) -> Result<Tensor<3>> {
        let _ = features;
        Err(Error::control("smooth", "this tokenizer decodes tokens only", "Turn it off"))
    }

    /// The device its weights live on.
    fn device(&self) -> &Device;
}

/// A picture as samples in -1..1: `[3, height, width]`.
pub fn to_samples(picture: &RgbImage, device: &Device) -> Tensor<3> {
    let (width, height) = (picture.width() as usize, picture.height() as usize);
    let channel = |index: usize| picture.pixels().map(move |pixel| f32::from(pixel.0[index]) / 127.5 - 1.0);
    let samples: Vec<f32> = (0..3).flat_map(channel).collect();
    Tensor::from_data(TensorData::new(samples, [3, height, width]), device)
}

/// Samples as a picture, by the published rule: `127.5 x + 128`, clamped and cut off (`RandAR/model/tokenizer.py`,
/// `decode_codes_to_img`).
///
/// # Errors
/// If the device fails.
pub fn to_picture(samples: Tensor<3>) -> Result<RgbImage> {
    let [_, height, width] = samples.dims();
    let samples = samples.permute([1, 2, 0]).try_into_vec_as::<f32>();
    let samples = samples.map_err(|error| Error::device("tokenizer", error, "Try --device cpu"))?;
    let bytes = samples.into_iter().map(|sample| (127.5 * sample + 128.0).clamp(0.0, 255.0) as u8).collect();
    RgbImage::from_raw(width as u32, height as u32, bytes)
        .ok_or_else(|| Error::device("tokenizer", "it returned a picture of another size", "Try --device cpu"))
}

/// Codes from the device as tokens, in the same sequence.
pub(crate) fn to_tokens(codes: Tensor<2, Int>) -> Result<Vec<Token>> {
    let codes = codes.try_into_vec_as::<i32>();
    let codes = codes.map_err(|error| Error::device("tokenizer", error, "Try another device"))?;
    Ok(codes.into_iter().map(|code| code as Token).collect())
}

/// Tokens as codes on the device: `[1, tokens]`.
pub(crate) fn to_codes(tokens: &[Token], device: &Device) -> Tensor<2, Int> {
    let codes: Vec<i32> = tokens.iter().map(|token| *token as i32).collect();
    Tensor::<1, Int>::from_data(codes.as_slice(), device).unsqueeze()
}
