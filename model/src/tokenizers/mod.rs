//! One tokenizer, one file, and the registry of all.

pub mod grid;
pub(crate) mod layers;
pub mod llamagen_vq;
pub mod maskgit_vqgan;
pub mod open_magvit2_lfq;
pub mod var_vqvae;

use burn::prelude::*;
use serde_json::Value;

use crate::checkpoint::Weights;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::Recognised;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result};

/// A kind of tokenizer.
pub struct TokenizerFamily {
    /// What configurations call it.
    pub name: &'static str,
    /// Makes one from its configuration and weights.
    pub build: fn(&Value, &Weights, &Device) -> Result<Box<dyn Tokenizer>>,
    /// The published sizes with their configurations.
    pub presets: fn() -> Vec<(&'static str, Value)>,
    /// Knows a tokenizer of this kind, and its sizes, by the names and shapes of its tensors.
    pub recognise: fn(&Manifest) -> Option<Recognised>,
    /// The file that it was published in.
    pub published_in: &'static str,
}

/// Every kind of tokenizer.
pub const TOKENIZERS: &[TokenizerFamily] =
    &[llamagen_vq::FAMILY, maskgit_vqgan::FAMILY, var_vqvae::FAMILY, open_magvit2_lfq::FAMILY];

/// Finds a kind of tokenizer by its name.
///
/// # Errors
/// Names the kinds that exist.
pub fn by_name(name: &str) -> Result<&'static TokenizerFamily> {
    TOKENIZERS.iter().find(|family| family.name == name).ok_or_else(|| {
        let names: Vec<_> = TOKENIZERS.iter().map(|family| family.name).collect();
        let remedy = format!("Use one of {}", names.join(", "));
        Error::control("tokenizer", format!("there is no kind “{name}”"), remedy)
    })
}
