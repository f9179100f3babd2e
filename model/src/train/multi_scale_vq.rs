//! VAR's multi-scale VQVAE (Tian et al., arXiv 2404.02905, §3.2 and equation 5; `models/quant.py`, `models/vqvae.py`).
//!
//! The quantiser's forward pass, its losses and its usage statistics are published; the loop around them is not. The paper
//! trains it as a VQGAN: the squared error, the quantiser's loss, LPIPS and an adversarial loss. Chosen here where it is
//! silent: the terms, weights and schedule of LlamaGen's recipe, which descends from the same VQGAN. Crops have the
//! published scales in proportion to their side, each at least one token. The codebook starts uniform in ±1/size (`eini` of
//! -1), as LlamaGen's does: larger codes would at first hide the features from the finer scales.

use std::path::Path;

use burn::nn::{Embedding, EmbeddingConfig, Initializer};
use burn::prelude::*;
use burn::tensor::FloatDType::{self, F32};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::Deserialize;

use super::config::{Config, sizes};
use super::run::cast;
use super::vqgan::{self, Forward, Method, Usage, Vqgan};
use super::{Outcome, Run};
use crate::checkpoint::{KeyMap, export};
use crate::kernels::Conv2d;
use crate::lattice::Grid;
use crate::library::TokenizerCard;
use crate::networks::to_value;
use crate::tokenizers::var_vqvae::{FAMILY, VQVAE_KEYS, VqVae, VqVaeConfig};
use crate::{Error, OUR_MISTAKE, Result};

/// The options, `[method]` of a configuration.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Options {
    /// Everything that is not the quantiser's.
    pub vqgan: Vqgan,
}

/// Trains, or goes on training.
///
/// # Errors
/// If the configuration, the data or a checkpoint is refused, a folder cannot be written, or the device fails.
pub fn train(path: &Path, run: &mut Run) -> Result<Outcome> {
    vqgan::train::<MultiScaleVq>(path, run)
}

/// VAR's tokenizer as it is trained.
struct MultiScaleVq {
    sizes: VqVaeConfig,
    options: Options,
}

impl MultiScaleVq {
    /// The scales of a map of `side` tokens.
    fn scales(&self, side: usize) -> Vec<Grid> {
        let sides = &self.sizes.v_patch_nums;
        let whole = sides[sides.len() - 1];
        let scale = |of: &usize| (of * side + whole / 2) / whole;
        sides.iter().map(scale).map(|side| Grid::new(side.max(1), side.max(1))).collect()
    }
}

impl Method for MultiScaleVq {
    type Options = Options;
    type Model = VqVae;

    const TASK: &'static str = FAMILY.name;
    const KEYS: KeyMap = VQVAE_KEYS;

    fn new(config: &Config<Options>) -> Result<Self> {
        let sizes: VqVaeConfig = sizes(&config.model, &[])?;
        sizes.check()?;
        let side = sizes.v_patch_nums.last().map_or(0, |last| last * sizes.stride());
        if side != config.data.side as usize {
            let cause = format!("side = {}, but v_patch_nums end with pictures of {side} pixels", config.data.side);
            return Err(Error::control("[data]", cause, format!("Use side = {side}, or other v_patch_nums")));
        }
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
        (self.sizes.vocab_size, self.sizes.v_patch_nums.len())
    }

    fn decoder_alone(model: VqVae) -> VqVae {
        let VqVae { encoder, decoder, quantize, quant_conv, post_quant_conv } = model;
        let (encoder, quantize, quant_conv) = (encoder.no_grad(), quantize.no_grad(), quant_conv.no_grad());
        VqVae { encoder, decoder, quantize, quant_conv, post_quant_conv }
    }

    fn fresh(&self, skipped: usize, device: &Device) -> VqVae {
        let mut model = VqVae::new(&self.sizes, device);
        let bound = 1.0 / self.sizes.vocab_size as f64;
        let codes = EmbeddingConfig::new(self.sizes.vocab_size, self.sizes.z_channels);
        let uniform = Initializer::Uniform { min: -bound, max: bound };
        model.quantize.embedding = codes.with_initializer(uniform).init(device);
        model.pass_finest(skipped);
        model
    }

    fn forward(&self, model: &VqVae, skipped: usize, pixels: Tensor<4>) -> Forward {
        let precision: FloatDType = pixels.dtype().into();
        let features = model.quant_conv.forward(model.encoder.forward_without(skipped, pixels));
        let (features, quantize) = (features.cast(F32), cast(model.quantize.clone(), F32));
        let scales = self.scales(features.dims()[2]);
        let fixed = features.clone().detach();
        let quantised = quantize.straight_through(features, &scales);
        let taken = quantised.tokens.into_iter().map(|tokens| {
            let count = tokens.shape().num_elements();
            tokens.reshape([count])
        });
        let f_hat = model.post_quant_conv.forward(quantised.f_hat.cast(precision));
        Forward {
            features: model.decoder.before_last(skipped, f_hat),
            quantiser: quantised.loss,
            taken: taken.collect(),
            looked_up: quantize.looked_up(fixed, &quantised.sums, &scales),
        }
    }

    fn codebook(model: &mut VqVae) -> &mut Embedding {
        &mut model.quantize.embedding
    }

    fn last(model: &VqVae) -> &Conv2d {
        model.decoder.last()
    }

    fn reconstruct(&self, model: &VqVae, pixels: Tensor<4>) -> Tensor<4> {
        let scales = self.sizes.scales();
        let sums = model.quantize.accumulate(&model.encode(pixels, &scales), &scales);
        model.picture(sums[sums.len() - 1].clone()).clamp(-1.0, 1.0)
    }

    /// With the usage statistics, without which the published code does not load a file.
    fn export(&self, model: &VqVae, usage: &Usage) -> Result<Vec<u8>> {
        let weights = export(model, &Self::KEYS)?;
        let failed = |error: safetensors::SafeTensorError| Error::device("weights", error, OUR_MISTAKE);
        let file = SafeTensors::deserialize(&weights).map_err(failed)?;
        let hits: Vec<u8> = usage.hits().iter().flatten().flat_map(|hits| hits.to_le_bytes()).collect();
        let shape = vec![usage.hits().len(), self.sizes.vocab_size];
        let hits = TensorView::new(Dtype::F32, shape, &hits).map_err(failed)?;
        let tensors = file.iter().map(|(name, view)| (name.to_string(), view));
        let all = tensors.chain([("quantize.ema_vocab_hit_SV".to_string(), hits)]);
        safetensors::serialize(all, None).map_err(failed)
    }

    fn card(&self) -> TokenizerCard {
        TokenizerCard { kind: FAMILY.name.into(), config: to_value(&self.sizes), weights: None }
    }
}
