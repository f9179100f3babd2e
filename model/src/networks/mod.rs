//! One paper, one file, and the registry of all.

pub mod llamagen;
pub mod open_magvit2;
pub mod randar;
pub mod rar;
pub mod tensorar;
pub mod var;

use burn::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::bench::Cost;
use crate::checkpoint::Weights;
use crate::checkpoint::manifest::Manifest;
use crate::checkpoint::recognise::Recognised;
use crate::lattice::Grid;
use crate::network::{Abilities, Network};
use crate::plan::Plan;
use crate::sample::{Guidance, Sampling};
use crate::{Error, Result};

/// A paper's family of networks: all that the program knows of it.
pub struct Family {
    /// The family, as people know it; cards and the command line call it so.
    pub name: &'static str,
    /// Where it is published.
    pub paper: &'static str,
    /// What a network of this configuration can be asked to do, known before its weights are loaded.
    pub abilities: fn(&Value) -> Result<Abilities>,
    /// Makes a network.
    pub build: fn(&Parts) -> Result<Box<dyn Network>>,
    /// The published sizes.
    pub presets: fn() -> Vec<Preset>,
    /// What a step of a plan costs a network of this configuration, with so many streams.
    pub cost: fn(&Value, &Plan, usize, usize) -> Result<Cost>,
    /// Knows a network of this family, and its sizes, by the names and shapes of its tensors.
    pub recognise: fn(&Manifest) -> Option<Recognised>,
}

/// What a network is made of.
pub struct Parts<'a> {
    /// Its configuration.
    pub config: &'a Value,
    /// Its weights.
    pub weights: &'a Weights,
    /// The tokens of a picture of the trained size, at the finest scale.
    pub grid: Grid,
    /// The configuration of its tokenizer.
    pub tokenizer: &'a Value,
    /// The weights of its tokenizer: VAR embeds what that decodes.
    pub tokenizer_weights: &'a Weights,
    /// Where it computes.
    pub device: &'a Device,
}

/// A published size.
pub struct Preset {
    /// Its name in the paper.
    pub name: &'static str,
    /// The configuration.
    pub config: Value,
    /// Tokens along each side of the trained picture, at the finest scale.
    pub grid: usize,
    /// The side of the trained picture in pixels.
    pub side: u32,
    /// The kind of its tokenizer, and which of the published sizes.
    pub tokenizer: (&'static str, &'static str),
    /// Steps for a whole picture, where the family leaves the choice.
    pub steps: usize,
    /// Guidance as published for this size.
    pub guidance: Guidance,
    /// Sampling as published for this size.
    pub sampling: Sampling,
}

/// Every family.
pub const FAMILIES: &[Family] =
    &[randar::FAMILY, llamagen::FAMILY, rar::FAMILY, var::FAMILY, open_magvit2::FAMILY, tensorar::FAMILY];

/// Finds a family by its name, in upper or lower case.
///
/// # Errors
/// Names the families that exist.
pub fn by_name(name: &str) -> Result<&'static Family> {
    FAMILIES.iter().find(|family| family.name.eq_ignore_ascii_case(name)).ok_or_else(|| {
        let names: Vec<_> = FAMILIES.iter().map(|family| family.name).collect();
        let remedy = format!("Choose one of {}", names.join(", "));
        Error::control("family", format!("there is no “{name}”"), remedy)
    })
}

/// A family's own configuration, from a card or a training recipe.
///
/// # Errors
/// Names the field that is missing or unknown.
pub(crate) fn configuration<T: DeserializeOwned>(config: &Value) -> Result<T> {
    T::deserialize(config)
        .map_err(|error| Error::control("model configuration", error, "Correct the sizes in the configuration"))
}

/// The reverse of [`configuration`]: sizes are numbers, lists and names, which JSON can always hold.
pub(crate) fn to_value(config: &impl Serialize) -> Value {
    serde_json::to_value(config).unwrap_or(Value::Null)
}
