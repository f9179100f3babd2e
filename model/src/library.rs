//! The models that can be used: the bundled ones, and how weights become a model on a device.

pub mod fit;
pub mod folder;
pub mod imported;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::checkpoint::recognise::Role;
use crate::checkpoint::{Report, Weights};
use crate::device::ChosenDevice;
use crate::lattice::{Grid, Lattice};
use crate::library::fit::Needs;
use crate::library::folder::Trained;
use crate::library::imported::{Record, Shelf};
use crate::network::{Abilities, Network};
use crate::networks::{self, Parts, Preset};
use crate::sample::{Guidance, Sampling};
use crate::tokenizer::Tokenizer;
use crate::tokenizers;
use crate::{Error, OUR_MISTAKE, Result};

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
        self.network.spec().lattice.clone()
    }
}

/// What a person needs to know of a model before it is loaded; `config.json` beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Card {
    /// What files and the command line call it.
    pub id: String,
    /// What the window calls it.
    pub title: String,
    /// The paper's family, see [`networks::FAMILIES`].
    pub family: String,
    /// The side of the square picture it was trained on, in pixels.
    pub side: u32,
    /// Tokens along each side of that picture, at the finest scale.
    pub grid: usize,
    /// Number of parameters of the generator.
    pub parameters: usize,
    /// What it can paint, by class.
    pub subjects: Vec<String>,
    /// The settings it does best with.
    pub defaults: Defaults,
    /// The family's own configuration of the generator.
    pub network: Value,
    /// The tokenizer.
    pub tokenizer: TokenizerCard,
}

/// Which tokenizer a model stands on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenizerCard {
    /// Its kind, see [`tokenizers::TOKENIZERS`].
    pub kind: String,
    /// The kind's own configuration.
    pub config: Value,
    /// The file of its weights, relative to the card's folder, where it is not the usual one (see [`folder::Trained`]).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub weights: Option<PathBuf>,
}

/// The settings a model does best with.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// Steps for a whole picture, where the family leaves the choice.
    pub steps: usize,
    /// Guidance.
    pub guidance: Guidance,
    /// Temperature, top-k, top-p.
    #[serde(default)]
    pub sampling: Sampling,
}

impl Card {
    /// What the model can be asked to do.
    ///
    /// # Errors
    /// If its family does not exist or its configuration is refused.
    pub fn abilities(&self) -> Result<Abilities> {
        (networks::by_name(&self.family)?.abilities)(&self.network)
    }

    /// The card of a published size, for measuring speed with fresh weights.
    ///
    /// # Errors
    /// Names the families and sizes that exist.
    pub fn published(family: &str, size: &str) -> Result<Self> {
        let family = networks::by_name(family)?;
        let presets = (family.presets)();
        let Some(preset) = presets.iter().find(|preset| preset.name.eq_ignore_ascii_case(size)) else {
            let names: Vec<_> = presets.iter().map(|preset| preset.name).collect();
            let cause = format!("{} has no “{size}”", family.name);
            return Err(Error::control("--size", cause, format!("Choose one of {}", names.join(", "))));
        };
        let Preset { name, config, grid, side, tokenizer: (kind, of_kind), steps, guidance, sampling } = preset;
        let found = (tokenizers::by_name(kind)?.presets)().into_iter().find(|(name, _)| name == of_kind);
        let Some((_, tokenizer)) = found else {
            return Err(Error::control("tokenizer", format!("{kind} has no “{of_kind}”"), OUR_MISTAKE));
        };
        Ok(Self {
            id: format!("{}-{name}", family.name).to_lowercase(),
            title: format!("{} {name}", family.name),
            family: family.name.into(),
            side: *side,
            grid: *grid,
            parameters: 0,
            subjects: IMAGENET.lines().map(str::to_string).collect(),
            defaults: Defaults { steps: *steps, guidance: *guidance, sampling: *sampling },
            network: config.clone(),
            tokenizer: TokenizerCard { kind: (*kind).into(), config: tokenizer, weights: None },
        })
    }

    /// The side of a token in the model's own pixels.
    pub fn stride(&self) -> u32 {
        self.side / (self.grid as u32).max(1)
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

/// A model of `assets/models` and the weights of its tokenizer.
macro_rules! bundled {
    ($id:literal, $tokenizer:expr) => {
        Bundled {
            config: include_str!(concat!("../../assets/models/", $id, "/config.json")),
            weights: include_bytes!(concat!("../../assets/models/", $id, "/weights.safetensors")),
            tokenizer_weights: $tokenizer,
        }
    };
}

/// The weights of the bundled tokenizers: LlamaGen's, and VAR's of several scales.
const VQ: &[u8] = include_bytes!("../../assets/models/scenes-vq/weights.safetensors");
const MULTI_SCALE_VQ: &[u8] = include_bytes!("../../assets/models/scenes-msvq/weights.safetensors");

/// Every bundled model; the first is the one a newcomer meets.
pub static MODELS: [Bundled; 5] = [
    bundled!("scenes-randar", VQ),
    bundled!("scenes-rar", VQ),
    bundled!("scenes-tensorar", VQ),
    bundled!("scenes-var", MULTI_SCALE_VQ),
    bundled!("scenes-llamagen", VQ),
];

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
        let weights = Weights::Bundled { name: "weights.safetensors", bytes: self.weights };
        let tokenizer = Weights::Bundled { name: "tokenizer/weights.safetensors", bytes: self.tokenizer_weights };
        assemble(self.card()?, device, &weights, &tokenizer)
    }
}

/// Puts a model together.
pub(crate) fn assemble(card: Card, device: ChosenDevice, weights: &Weights, tokenizer: &Weights) -> Result<Model> {
    let on = &device.device;
    let parts = Parts {
        config: &card.network,
        weights,
        grid: Grid::new(card.grid, card.grid),
        tokenizer: &card.tokenizer.config,
        tokenizer_weights: tokenizer,
        device: on,
    };
    let network = (networks::by_name(&card.family)?.build)(&parts)?;
    let tokenizer = (tokenizers::by_name(&card.tokenizer.kind)?.build)(&card.tokenizer.config, tokenizer, on)?;
    on.sync().map_err(|error| Error::device(&device.name, error, "Try --device cpu"))?;
    Ok(Model { card, network, tokenizer, device })
}

/// The licence of the bundled models: the program's own.
const LICENCE: &str = "MIT OR Apache-2.0";

/// A model that can be painted with.
pub enum Entry {
    /// One that comes with the program.
    Bundled(&'static Bundled),
    /// One that a person imported.
    Imported(Box<Imported>),
    /// One in a folder of its own, as training writes it.
    Trained(Box<Trained>),
}

/// An imported generator and its tokenizer.
pub struct Imported {
    card: Card,
    generator: Record,
    tokenizer: Record,
    files: [PathBuf; 2],
}

/// Finds a model by its id, a bundled one or an imported one with its tokenizer, or by its folder, as training writes it.
///
/// # Errors
/// Names the models there are, or the tokenizer's file that is missing.
pub fn find(id: &str, shelf: &Shelf) -> Result<Entry> {
    if Path::new(id).join(Trained::CARD).is_file() {
        let mut trained = Trained::open(Path::new(id))?;
        // What finds it again.
        trained.card.id = id.into();
        return Ok(Entry::Trained(Box::new(trained)));
    }
    if let Ok(bundled) = bundled(id) {
        return Ok(Entry::Bundled(bundled));
    }
    if let Some(generator) = shelf.records()?.into_iter().find(|record| record.id == id) {
        return Imported::new(generator, shelf).map(|imported| Entry::Imported(Box::new(imported)));
    }
    let ids: Vec<_> = all(shelf)?.iter().map(|entry| Ok(entry.card()?.id)).collect::<Result<_>>()?;
    let remedy = format!("Choose one of {}, or name a folder that training wrote", ids.join(", "));
    Err(Error::control("model", format!("there is no “{id}”"), remedy))
}

/// Every model that can be painted with: the bundled ones, and the imported generators whose tokenizers are there.
///
/// # Errors
/// If the library cannot be read.
pub fn all(shelf: &Shelf) -> Result<Vec<Entry>> {
    let bundled = MODELS.iter().map(Entry::Bundled);
    let generators = shelf.records()?.into_iter().filter_map(|record| Imported::new(record, shelf).ok());
    Ok(bundled.chain(generators.map(|imported| Entry::Imported(Box::new(imported)))).collect())
}

impl Entry {
    /// What it is, without loading it.
    ///
    /// # Errors
    /// If its configuration is damaged.
    pub fn card(&self) -> Result<Card> {
        match self {
            Self::Bundled(bundled) => bundled.card(),
            Self::Imported(imported) => Ok(imported.card.clone()),
            Self::Trained(trained) => Ok(trained.card.clone()),
        }
    }

    /// The licences under which generator and tokenizer were published.
    pub fn licence(&self) -> String {
        match self {
            Self::Bundled(_) => LICENCE.into(),
            Self::Trained(_) => "your own".into(),
            Self::Imported(imported) if imported.generator.licence == imported.tokenizer.licence => {
                imported.generator.licence.clone()
            }
            Self::Imported(imported) => {
                format!("{}; its tokenizer {}", imported.generator.licence, imported.tokenizer.licence)
            }
        }
    }

    /// The hash of generator and tokenizer, which names the weights in a ledger: 16 hexadecimal digits.
    pub fn hash(&self) -> String {
        match self {
            Self::Bundled(bundled) => bundled.hash(),
            Self::Imported(imported) => {
                let both = format!("{}{}", imported.generator.sha256, imported.tokenizer.sha256);
                sha256(both.as_bytes())[..16].into()
            }
            Self::Trained(trained) => trained.hash.clone(),
        }
    }

    /// What it needs to run with one stream beside another, as guidance has it; nothing worth asking for bundled ones.
    pub fn needs(&self) -> Option<Needs> {
        match self {
            Self::Bundled(_) | Self::Trained(_) => None,
            Self::Imported(imported) => Some(Needs::of(&imported.generator, &imported.tokenizer)),
        }
    }

    /// Loads it onto a device; `report` is told how many bytes were read.
    ///
    /// # Errors
    /// If its files are damaged or of no family that this version knows.
    pub fn load(&self, device: ChosenDevice, report: Report) -> Result<Model> {
        match self {
            Self::Bundled(bundled) => bundled.load(device),
            Self::Imported(imported) => {
                let [weights, tokenizer] =
                    imported.files.clone().map(|path| Weights::Imported { path, report: report.clone() });
                assemble(imported.card.clone(), device, &weights, &tokenizer)
            }
            Self::Trained(trained) => trained.load(device, report),
        }
    }
}

/// The names of ImageNet's classes, by number.
const IMAGENET: &str = include_str!("../../assets/classes/imagenet.txt");

impl Imported {
    fn new(generator: Record, shelf: &Shelf) -> Result<Self> {
        let tokenizer = shelf.tokenizer(&generator)?;
        let files = [shelf.weights(&generator), shelf.weights(&tokenizer)];
        let card = card(&generator, &tokenizer)?;
        Ok(Self { card, generator, tokenizer, files })
    }
}

/// What a person needs to know of an imported pair, with the settings that were published for its size or, for other
/// sizes, for the family's first.
fn card(generator: &Record, tokenizer: &Record) -> Result<Card> {
    let (Role::Generator { classes, grid, .. }, Role::Tokenizer { stride, .. }) = (&generator.role, &tokenizer.role)
    else {
        return Err(Error::control("model", format!("{} is no generator", generator.id), "Choose another"));
    };
    let presets = (networks::by_name(&generator.family)?.presets)();
    let preset = presets.iter().find(|preset| preset.name == generator.size).or(presets.first());
    let Some(Preset { steps, guidance, sampling, .. }) = preset else {
        return Err(Error::control("model", format!("{} has no published size", generator.family), OUR_MISTAKE));
    };
    let names: Vec<_> = IMAGENET.lines().map(str::to_string).collect();
    let numbered = || (0..*classes).map(|class| format!("class {class}")).collect();
    let subjects = if *classes == names.len() { names } else { numbered() };
    let mut config = tokenizer.config.clone();
    // A tokenizer of scales works in those of its generator.
    if let (Some(own), Some(scales)) = (config.get_mut("v_patch_nums"), generator.config.get("patch_nums")) {
        own.clone_from(scales);
    }
    Ok(Card {
        id: generator.id.clone(),
        title: format!("{} {}", generator.family, generator.size),
        family: generator.family.clone(),
        side: (grid * stride) as u32,
        grid: *grid,
        parameters: generator.parameters as usize,
        subjects,
        defaults: Defaults { steps: *steps, guidance: *guidance, sampling: *sampling },
        network: generator.config.clone(),
        tokenizer: TokenizerCard { kind: tokenizer.family.clone(), config, weights: None },
    })
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

pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A model of a card's sizes with fresh random weights: for tests and for measuring speed.
///
/// # Errors
/// If the sizes are refused.
pub fn random(card: Card, device: ChosenDevice) -> Result<Model> {
    assemble(card, device, &Weights::Fresh, &Weights::Fresh)
}
