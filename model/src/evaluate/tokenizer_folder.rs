//! A trained tokenizer in a folder of its own: `config.json` with its kind and sizes, and `weights.safetensors`.

use std::fs;
use std::path::Path;

use burn::prelude::*;
use serde_json::Value;

use crate::checkpoint::{Report, Weights};
use crate::lattice::{Grid, Lattice};
use crate::library::TokenizerCard;
use crate::tokenizer::Tokenizer;
use crate::{Error, Result, tokenizers};

/// Pixels along each side of a picture, where the tokenizer's sizes leave it open.
const SIDE: u32 = 256;

/// A tokenizer, and the pictures it is held against.
pub struct TokenizerFolder {
    /// The tokenizer.
    pub tokenizer: Box<dyn Tokenizer>,
    /// The tokens of a picture.
    pub lattice: Lattice,
    /// The side of a picture in pixels.
    pub side: u32,
}

impl TokenizerFolder {
    /// Whether the `config.json` of a folder is a tokenizer's; a generator's holds one among other things.
    ///
    /// # Errors
    /// If it cannot be read or is not JSON.
    pub fn is_one(folder: &Path) -> Result<bool> {
        let config = config(folder)?;
        Ok(config.get("kind").is_some() && config.get("network").is_none())
    }

    /// Loads a tokenizer; its pictures have 256 pixels along each side, or as many as its scales cover.
    ///
    /// # Errors
    /// Names the file that is missing or does not fit.
    pub fn open(folder: &Path, device: &Device) -> Result<Self> {
        let file = folder.join("config.json");
        let refused = |error: serde_json::Error| Error::file(&file, error, "Name a folder that `andamento train` wrote");
        let card: TokenizerCard = serde_json::from_value(config(folder)?).map_err(refused)?;
        let weights = Weights::Imported { path: folder.join("weights.safetensors"), report: Report::new(|_| ()) };
        let tokenizer = (tokenizers::by_name(&card.kind)?.build)(&card.config, &weights, device)?;
        let stride = tokenizer.stride();
        // A tokenizer of scales says which (VAR).
        let scales = card.config.get("v_patch_nums").and_then(Value::as_array);
        let sides = scales.map(|sides| sides.iter().filter_map(Value::as_u64).map(|side| side as usize).collect::<Vec<_>>());
        let sides = sides.unwrap_or_else(|| vec![SIDE as usize / stride]);
        let side = (sides.last().copied().unwrap_or(0) * stride) as u32;
        let lattice = match &sides[..] {
            [side] => Lattice::grid(*side, *side),
            sides => Lattice::of_scales(sides.iter().map(|side| Grid::new(*side, *side)).collect()),
        };
        Ok(Self { tokenizer, lattice, side })
    }
}

fn config(folder: &Path) -> Result<Value> {
    let file = folder.join("config.json");
    let remedy = "Name a model, or a folder that `andamento train` wrote";
    let bytes = fs::read(&file).map_err(|error| Error::file(&file, error, remedy))?;
    serde_json::from_slice(&bytes).map_err(|error| Error::file(&file, error, remedy))
}
