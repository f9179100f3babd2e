//! Which model a state dict is, from names and shapes alone, and what must be in it.
//!
//! Every family in the registries has a function that looks for a name that no other family has, reads the sizes off the
//! shapes and lists every tensor that a model of these sizes has. What shapes do not say (the heads of LlamaGen's
//! attention, the resolution it was trained on) follows from the published sizes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::manifest::Manifest;
use crate::networks::FAMILIES;
use crate::tokenizers::TOKENIZERS;

/// What a state dict is.
#[derive(Debug, Clone)]
pub struct Recognised {
    /// The family's name in the registries.
    pub family: &'static str,
    /// The published size's name, or the sizes themselves.
    pub size: String,
    /// The sizes, as the family's configuration reads them.
    pub config: Value,
    /// Every tensor of a model of these sizes.
    pub layout: Layout,
    /// What published files carry beside the weights: names that contain one of these are left out.
    pub leftovers: &'static [&'static str],
    /// The licence under which the weights were published.
    pub licence: &'static str,
    /// Whether it generates or tokenizes, and how the two fit.
    pub role: Role,
}

/// A generator's or a tokenizer's side of their common tokens.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase", tag = "kind")]
pub enum Role {
    /// Makes tokens.
    Generator {
        /// The families of tokenizers that it may have been trained with, the likeliest first.
        tokenizers: Vec<String>,
        /// Number of codes.
        codes: usize,
        /// Number of classes, without the null class of guidance.
        classes: usize,
        /// Tokens along each side of a picture, finest scale.
        grid: usize,
        /// Numbers that the cache of keys and values holds for one stream.
        cache: u64,
        /// Numbers of the largest intermediate results of one stream.
        activations: u64,
    },
    /// Turns pictures into tokens and back.
    Tokenizer {
        /// Number of codes.
        codes: usize,
        /// Pixels along each side of a token.
        stride: usize,
        /// Numbers of the largest intermediate results for every pixel.
        per_pixel: u64,
    },
}

/// The names and shapes of a model's tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout(pub BTreeMap<String, Vec<usize>>);

impl Layout {
    pub(crate) fn bare(&mut self, name: impl Into<String>, shape: &[usize]) {
        self.0.insert(name.into(), shape.to_vec());
    }

    pub(crate) fn bias(&mut self, name: &str, width: usize) {
        self.bare(format!("{name}.bias"), &[width]);
    }

    /// A weight without a bias.
    pub(crate) fn weight(&mut self, name: &str, shape: &[usize]) {
        self.bare(format!("{name}.weight"), shape);
    }

    pub(crate) fn linear(&mut self, name: &str, outputs: usize, inputs: usize) {
        self.weight(name, &[outputs, inputs]);
        self.bias(name, outputs);
    }

    pub(crate) fn norm(&mut self, name: &str, width: usize) {
        self.weight(name, &[width]);
        self.bias(name, width);
    }

    pub(crate) fn conv(&mut self, name: &str, outputs: usize, inputs: usize, side: usize) {
        self.weight(name, &[outputs, inputs, side, side]);
        self.bias(name, outputs);
    }

    /// Two norms and two 3 × 3 convolutions.
    pub(crate) fn res_block(&mut self, name: &str, inputs: usize, outputs: usize, bias: bool) {
        self.norm(&format!("{name}.norm1"), inputs);
        self.norm(&format!("{name}.norm2"), outputs);
        for (conv, inputs) in [("conv1", inputs), ("conv2", outputs)] {
            self.weight(&format!("{name}.{conv}"), &[outputs, inputs, 3, 3]);
            if bias {
                self.bias(&format!("{name}.{conv}"), outputs);
            }
        }
    }

    /// Number of parameters.
    pub fn parameters(&self) -> u64 {
        self.0.values().map(|shape| shape.iter().product::<usize>() as u64).sum()
    }
}

/// Which model a state dict is, if it is one that Andamento runs.
pub fn recognise(manifest: &Manifest) -> Option<Recognised> {
    let networks = FAMILIES.iter().map(|family| family.recognise);
    let tokenizers = TOKENIZERS.iter().map(|family| family.recognise);
    networks.chain(tokenizers).find_map(|recognise| recognise(manifest))
}

/// How a convolutional tokenizer's levels read off its shapes: channels of level 0 and the others as multiples of it.
pub(crate) fn levels(manifest: &Manifest, channels: usize, before: &str, within: &str) -> Option<Vec<usize>> {
    let count = Some(manifest.count(before)).filter(|count| (1..=8).contains(count))?;
    let level = |index: usize| {
        let width = manifest.axis(&format!("{before}{index}.{within}.weight"), 0)?;
        (channels > 0 && width.is_multiple_of(channels)).then(|| width / channels)
    };
    (0..count).map(level).collect()
}
