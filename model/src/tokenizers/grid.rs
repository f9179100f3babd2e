//! Tokenizers of one grid behind the seam: LlamaGen's, MaskGIT's and Open-MAGVIT2's differ in their networks alone.

use burn::prelude::*;
use burn::tensor::Int;

use crate::lattice::{Grid, Lattice, Token};
use crate::tokenizer::{Tokenizer, to_codes, to_tokens};
use crate::{Error, Result};

/// A network that turns pictures with samples in -1..1 into codes on one grid, and back.
pub trait GridCodes: Send {
    /// Codes of pictures: `[batch, 3, height, width]` to `[batch, rows * cols]` in raster order.
    fn codes_of(&self, pixels: Tensor<4>) -> Tensor<2, Int>;

    /// Pictures of codes: `[batch, rows * cols]` to `[batch, 3, height, width]`, samples about -1..1.
    fn pixels_of(&self, codes: Tensor<2, Int>, grid: Grid) -> Tensor<4>;

    /// Why pictures of this grid cannot be decoded, if they cannot.
    ///
    /// # Errors
    /// The cause.
    fn check(&self, grid: Grid) -> std::result::Result<(), &'static str> {
        let _ = grid;
        Ok(())
    }
}

/// Such a network behind the seam.
pub struct GridTokenizer<M> {
    weights: M,
    stride: usize,
    codes: usize,
    device: Device,
}

impl<M: GridCodes> GridTokenizer<M> {
    /// Wraps weights that turn `stride` × `stride` pixels into one of so many codes.
    pub fn new(weights: M, stride: usize, codes: usize, device: &Device) -> Self {
        Self { weights, stride, codes, device: device.clone() }
    }
}

impl<M: GridCodes> Tokenizer for GridTokenizer<M> {
    fn stride(&self) -> usize {
        self.stride
    }

    fn codes(&self) -> usize {
        self.codes
    }

    fn encode_batch(&self, pixels: Tensor<4>) -> Result<Vec<Token>> {
        let ([_, _, height, width], stride) = (pixels.dims(), self.stride);
        if !height.is_multiple_of(stride) || !width.is_multiple_of(stride) || height * width == 0 {
            let cause = format!("{width} × {height} pixels cannot be cut into tokens of {stride} × {stride}");
            return Err(Error::control("picture size", cause, format!("Use multiples of {stride}")));
        }
        to_tokens(self.weights.codes_of(pixels))
    }

    fn decode(&self, lattice: &Lattice, tokens: &[Token]) -> Result<Tensor<3>> {
        let grid = lattice.finest();
        let known = tokens.iter().all(|token| (*token as usize) < self.codes);
        if tokens.len() != grid.len() || tokens.is_empty() || !known {
            let cause = "they do not fill the grid with codes of this tokenizer";
            return Err(Error::control("tokens", cause, "Use the tokenizer they were made with"));
        }
        if let Err(cause) = self.weights.check(grid) {
            let remedy = format!("Use more than {} pixels", grid.rows.max(grid.cols) * self.stride);
            return Err(Error::control("picture size", cause, remedy));
        }
        Ok(self.weights.pixels_of(to_codes(tokens, &self.device), grid).squeeze_dim(0))
    }

    fn device(&self) -> &Device {
        &self.device
    }
}
