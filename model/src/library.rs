//! The models that can be used: the bundled ones, and how weights become a model on a device.

use serde::Deserialize;
use sha2::{Digest, Sha256};

use crate::checkpoint::{RANDAR_KEYS, VQ_KEYS, load};
use crate::device::ChosenDevice;
use crate::lattice::{Grid, Lattice};
use crate::network::Network;
use crate::networks::llamagen::TransformerConfig;
use crate::networks::randar::{RandAr, RandArNetwork};
use crate::tokenizer::Tokenizer;
use crate::tokenizers::llamagen_vq::{LlamaGenVq, VqConfig, VqModel};
use crate::{Error, Result};

/// A generator and the tokenizer it stands on, on a device.
pub struct Model {
    /// Which entry of [`MODELS`] it is, and what it can do.
    pub card: Card,
    /// The generator.
    pub network: Box<dyn Network>,
    /// The tokenizer.
    pub tokenizer: Box<dyn Tokenizer>,
    /// Where it computes.
    pub device: ChosenDevice,
}

impl Model {
    /// The lattice of a picture of the trained size.
    pub fn lattice(&self) -> Lattice {
        let Grid { rows, cols } = self.network.spec().grid;
        Lattice::grid(rows, cols)
    }
}

/// What a person needs to know of a model before it is loaded; `config.json` beside its weights.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What files and the command line call it.
    pub id: String,
    /// What the window calls it.
    pub title: String,
    /// The paper's family, as people know it.
    pub family: String,
    /// The side of the square picture it was trained on, in pixels.
    pub side: u32,
    /// Tokens along each side of that picture.
    pub grid: usize,
    /// Number of parameters of the generator.
    pub parameters: usize,
    /// What it can paint, by class.
    pub subjects: Vec<String>,
    /// The settings it does best with.
    pub defaults: Defaults,
    network: TransformerConfig,
    tokenizer: VqConfig,
}

/// The settings a model does best with.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Steps for a whole picture.
    pub steps: usize,
    /// Guidance scale reached at the end.
    pub guidance: f32,
    /// Temperature.
    pub temperature: f32,
}

impl Card {
    /// The sizes of generator and tokenizer.
    pub fn sizes(&self) -> (TransformerConfig, VqConfig) {
        (self.network.clone(), self.tokenizer.clone())
    }

    /// The class that a person means by a name or a number.
    ///
    /// # Errors
    /// Names some of the subjects there are.
    pub fn subject(&self, text: &str) -> Result<u32> {
        let wanted = text.trim().to_lowercase();
        let by_name = self.subjects.iter().position(|subject| subject.to_lowercase() == wanted);
        let by_number = wanted.parse::<usize>().ok().filter(|class| *class < self.subjects.len());
        if let Some(class) = by_name.or(by_number) {
            return Ok(class as u32);
        }
        let like: Vec<_> = self.subjects.iter().filter(|subject| subject.to_lowercase().contains(&wanted)).collect();
        let shown = if like.is_empty() { self.subjects.iter().collect() } else { like };
        let shown: Vec<_> = shown.into_iter().take(4).map(|subject| format!("“{subject}”")).collect();
        let cause = format!("{} knows no “{text}”", self.title);
        let last = self.subjects.len().saturating_sub(1);
        Err(Error::control("class", cause, format!("Try {}, or a number from 0 to {last}", shown.join(", "))))
    }
}

/// A model that comes with the program.
pub struct Bundled {
    config: &'static str,
    weights: &'static [u8],
    tokenizer_weights: &'static [u8],
}

/// Every bundled model; the first is the one a newcomer meets.
pub const MODELS: [Bundled; 1] = [Bundled {
    config: include_str!("../../assets/models/scenes-randar/config.json"),
    weights: include_bytes!("../../assets/models/scenes-randar/weights.safetensors"),
    tokenizer_weights: include_bytes!("../../assets/models/scenes-vq/weights.safetensors"),
}];

impl Bundled {
    /// What it is, without loading it.
    ///
    /// # Errors
    /// If its configuration is damaged, which the tests exclude.
    pub fn card(&self) -> Result<Card> {
        serde_json::from_str(self.config)
            .map_err(|error| Error::file("config.json", error, "Install Andamento again: a bundled file is damaged"))
    }

    /// The hash of generator and tokenizer, which names the weights in a ledger: 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        hex(&Sha256::new().chain_update(self.weights).chain_update(self.tokenizer_weights).finalize()[..8])
    }

    /// Loads it onto a device.
    ///
    /// # Errors
    /// If its files are damaged, which the tests exclude.
    pub fn load(&self, device: ChosenDevice) -> Result<Model> {
        let card = self.card()?;
        let file = format!("{}/weights.safetensors", card.id);
        assemble(
            card,
            device,
            |network| load(network, self.weights.to_vec(), &RANDAR_KEYS, &file),
            |tokenizer| load(tokenizer, self.tokenizer_weights.to_vec(), &VQ_KEYS, "tokenizer/weights.safetensors"),
        )
    }
}

/// Puts a model together; `network` and `tokenizer` fill the fresh modules.
fn assemble(
    card: Card,
    device: ChosenDevice,
    network: impl FnOnce(RandAr) -> Result<RandAr>,
    tokenizer: impl FnOnce(VqModel) -> Result<VqModel>,
) -> Result<Model> {
    card.network.check()?;
    card.tokenizer.check()?;
    let on = &device.device;
    let network = network(RandAr::new(&card.network, on))?;
    let network = RandArNetwork::new(network, card.network.clone(), Grid::new(card.grid, card.grid), on);
    let tokenizer = tokenizer(VqModel::new(&card.tokenizer, on))?;
    let tokenizer = LlamaGenVq::new(tokenizer, card.tokenizer.clone(), on);
    on.sync().map_err(|error| Error::device(&device.name, error, "Try --device cpu"))?;
    Ok(Model { card, network: Box::new(network), tokenizer: Box::new(tokenizer), device })
}

/// Finds a bundled model by its id.
///
/// # Errors
/// Names the models there are.
pub fn bundled(id: &str) -> Result<&'static Bundled> {
    let mut ids = Vec::new();
    for model in &MODELS {
        let card = model.card()?;
        if card.id == id {
            return Ok(model);
        }
        ids.push(card.id);
    }
    Err(Error::control("model", format!("there is no “{id}”"), format!("Choose one of {}", ids.join(", "))))
}

/// The SHA-256 of some bytes as hexadecimal digits: names a picture by its content.
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A model of a bundled card's sizes with fresh random weights: for tests and for measuring speed.
///
/// # Errors
/// If the sizes are refused.
pub fn random(card: Card, device: ChosenDevice) -> Result<Model> {
    assemble(card, device, Ok, Ok)
}
