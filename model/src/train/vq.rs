//! LlamaGen's VQ tokenizer (Sun et al., arXiv 2406.06525, §2.1; `tokenizer/tokenizer_image/vq_train.py`, `vq_loss.py`).
//!
//! A VQGAN whose codes have length 1. As published: the squared error, LPIPS, the codebook term, the commitment term at a
//! quarter, the entropy term at 0, and a PatchGAN from step 20 000 on; Adam at a constant 1e-4 for both, gradients clipped
//! at 1. What stands in for LPIPS where its weights are missing, and restarts of idle codes, are named by the
//! configuration.

use std::path::Path;

use burn::nn::Embedding;
use burn::prelude::*;
use burn::tensor::FloatDType::{self, F32};
use serde::Deserialize;

use super::config::{Config, sizes};
use super::run::cast;
use super::vqgan::{self, Forward, Method, Usage, Vqgan};
use super::{Outcome, Run};
use crate::Result;
use crate::checkpoint::{KeyMap, VQ_KEYS, export};
use crate::kernels::Conv2d;
use crate::library::TokenizerCard;
use crate::networks::to_value;
use crate::tokenizers::llamagen_vq::{FAMILY, VqConfig, VqModel};

/// LlamaGen's options, `[method]` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Weight of the commitment term (`commit_loss_beta`).
    pub commitment: f64,
    /// Weight of the entropy term (`entropy_loss_ratio`).
    pub entropy: f64,
    /// Everything that is not the quantiser's.
    pub vqgan: Vqgan,
}

impl Default for Options {
    fn default() -> Self {
        Self { commitment: 0.25, entropy: 0.0, vqgan: Vqgan::default() }
    }
}

/// Trains, or goes on training.
///
/// # Errors
/// If the configuration, the data or a checkpoint is refused, a folder cannot be written, or the device fails.
pub fn train(path: &Path, run: &mut Run) -> Result<Outcome> {
    vqgan::train::<Vq>(path, run)
}

/// LlamaGen's tokenizer as it is trained.
struct Vq {
    sizes: VqConfig,
    options: Options,
}

impl Method for Vq {
    type Options = Options;
    type Model = VqModel;

    const TASK: &'static str = FAMILY.name;
    const KEYS: KeyMap = VQ_KEYS;

    fn new(config: &Config<Options>) -> Result<Self> {
        let sizes: VqConfig = sizes(&config.model, &[])?;
        sizes.check()?;
        Ok(Self { sizes, options: config.options() })
    }

    fn vqgan(&self) -> &Vqgan {
        &self.options.vqgan
    }

    fn most_skipped(&self) -> usize {
        self.sizes.most_skipped()
    }

    fn stride(&self) -> usize {
        self.sizes.stride()
    }

    fn codes(&self) -> (usize, usize) {
        (self.sizes.codebook_size, 1)
    }

    fn decoder_alone(model: VqModel) -> VqModel {
        let VqModel { encoder, decoder, quantize, quant_conv, post_quant_conv } = model;
        let (encoder, quantize, quant_conv) = (encoder.no_grad(), quantize.no_grad(), quant_conv.no_grad());
        VqModel { encoder, decoder, quantize, quant_conv, post_quant_conv }
    }

    fn fresh(&self, skipped: usize, device: &Device) -> VqModel {
        let mut model = VqModel::new(&self.sizes, device);
        model.pass_finest(skipped);
        model
    }

    fn forward(&self, model: &VqModel, skipped: usize, pixels: Tensor<4>) -> Forward {
        let precision: FloatDType = pixels.dtype().into();
        let (z, grid) = model.encode_without(skipped, pixels);
        let (z, quantize) = (z.cast(F32), cast(model.quantize.clone(), F32));
        let quantised = quantize.straight_through(z.clone());
        let mut loss = quantised.codebook + quantised.commitment * self.options.commitment;
        if self.options.entropy != 0.0 {
            loss = loss + quantize.entropy(z.clone()) * self.options.entropy;
        }
        let features = model.features(quantised.codes.cast(precision), grid);
        Forward {
            features: model.decoder.before_last(skipped, features),
            quantiser: loss,
            taken: vec![quantised.nearest],
            looked_up: z.detach(),
        }
    }

    fn codebook(model: &mut VqModel) -> &mut Embedding {
        &mut model.quantize.embedding
    }

    fn last(model: &VqModel) -> &Conv2d {
        model.decoder.last()
    }

    fn reconstruct(&self, model: &VqModel, pixels: Tensor<4>) -> Tensor<4> {
        let [_, _, height, width] = pixels.dims();
        let stride = self.sizes.stride();
        model.decode(model.encode(pixels), height / stride, width / stride)
    }

    fn export(&self, model: &VqModel, _usage: &Usage) -> Result<Vec<u8>> {
        export(model, &Self::KEYS)
    }

    fn card(&self) -> TokenizerCard {
        TokenizerCard { kind: FAMILY.name.into(), config: to_value(&self.sizes), weights: None }
    }
}
