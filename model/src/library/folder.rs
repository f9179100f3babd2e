//! A model in a folder of its own, as training writes it: `config.json`, `weights.safetensors` and the tokenizer's weights.

use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::{Card, Model, assemble, hex};
use crate::checkpoint::{Report, Weights};
use crate::device::ChosenDevice;
use crate::{Error, Result};

/// A model in a folder.
#[derive(Debug, Clone)]
pub struct Trained {
    /// What it is.
    pub card: Card,
    /// The hash of generator and tokenizer: 16 hexadecimal digits.
    pub hash: String,
    /// The weights of the generator and of the tokenizer.
    files: [PathBuf; 2],
}

/// The folder of a trained model that a person means by it, or by a file in it that makes it one.
pub fn meant(path: &Path) -> Option<PathBuf> {
    let own = [Trained::CARD, Trained::WEIGHTS].map(Some).contains(&path.file_name().and_then(|name| name.to_str()));
    let folder = if own { path.parent()? } else { path };
    let card = fs::read(folder.join(Trained::CARD)).ok()?;
    serde_json::from_slice::<Card>(&card).ok()?;
    std::path::absolute(folder).ok()
}

impl Trained {
    /// The file of the card.
    pub const CARD: &str = "config.json";
    /// The file of the generator's weights.
    pub const WEIGHTS: &str = "weights.safetensors";
    /// The file of the tokenizer's weights, unless the card names another.
    pub const TOKENIZER: &str = "tokenizer.safetensors";

    /// Reads what a folder holds.
    ///
    /// # Errors
    /// Names the file that is missing or is not what training writes.
    pub fn open(folder: &Path) -> Result<Self> {
        let path = folder.join(Self::CARD);
        let remedy = "Name the folder of a generator, as `andamento train` writes it";
        let text = fs::read(&path).map_err(|error| Error::file(&path, error, remedy))?;
        let card: Card = serde_json::from_slice(&text).map_err(|error| Error::file(&path, error, remedy))?;
        let tokenizer = card.tokenizer.weights.as_deref().unwrap_or(Path::new(Self::TOKENIZER));
        let files = [folder.join(Self::WEIGHTS), folder.join(tokenizer)];
        let mut hash = Sha256::new();
        for file in &files {
            hash.update(fs::read(file).map_err(|error| Error::file(file, error, remedy))?);
        }
        Ok(Self { card, hash: hex(&hash.finalize()[..8]), files })
    }

    /// Loads it onto a device; `report` is told how many bytes were read.
    ///
    /// # Errors
    /// If its files are damaged or of no family that this version knows.
    pub fn load(&self, device: ChosenDevice, report: Report) -> Result<Model> {
        let [weights, tokenizer] = self.files.clone().map(|path| Weights::Imported { path, report: report.clone() });
        assemble(self.card.clone(), device, &weights, &tokenizer)
    }
}
