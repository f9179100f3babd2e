//! Which model is in use: those at hand, taking another one, and importing more.

use std::path::{Path, PathBuf};

use andamento_model::library::fit::Fit;
use andamento_model::library::{self, Card, Entry};

use super::*;

/// The seed at the start.
const FIRST_SEED: u64 = 20_411;

/// Whether a model is ready.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// It is being loaded; so many bytes were read.
    Loading(u64),
    /// It is ready.
    Ready {
        /// The device's name.
        device: String,
        /// Why that device was taken.
        reason: String,
    },
    /// It could not be loaded.
    Failed(String),
}

/// A model that is at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What it is.
    pub card: Card,
    /// The memory it needs, in bytes; none for bundled and trained ones, which fit where they were trained.
    pub needs: Option<u64>,
    /// The licence of its weights.
    pub licence: String,
}

impl Offer {
    /// Whether it fits into memory as it is now; none where it is not said how much it needs, or how much there is.
    pub fn fit(&self, memory: Option<&Memory>) -> Option<Fit> {
        Some(memory?.fits(self.needs?))
    }

    fn of(entry: &Entry) -> Result<Self> {
        let needs = entry.needs().map(|needs| needs.total());
        Ok(Self { card: entry.card()?, needs, licence: entry.licence() })
    }
}

/// Every model at hand, bundled ones first.
///
/// # Errors
/// If a bundled file is damaged, or the library cannot be read.
pub(super) fn offers(shelf: &Shelf) -> Result<Vec<Offer>> {
    library::all(shelf)?.iter().map(Offer::of).collect()
}

/// Has a model at hand from now on; its card.
///
/// # Errors
/// If it is a damaged bundled file.
pub(super) fn at_hand(offers: &mut Vec<Offer>, entry: &Entry) -> Result<Card> {
    let offer = Offer::of(entry)?;
    let card = offer.card.clone();
    match offers.iter_mut().find(|known| known.card.id == card.id) {
        Some(known) => *known = offer,
        None => offers.push(offer),
    }
    Ok(card)
}

/// What the panel says when a model is taken: its own defaults; the seed, the order, the number of tokens and the subject
/// stay where it knows them.
pub(super) fn usual(card: &Card, abilities: &Abilities, before: Option<(&Settings, &Card)>) -> Settings {
    let named = |name: &String| card.subjects.iter().position(|subject| subject == name);
    let subject = before.and_then(|(settings, card)| named(card.subjects.get(settings.subject as usize)?));
    let orders = abilities.orders;
    let follows = |order: &&str| orders.allow(order).is_ok() && orders.experimental(order).is_none();
    let order = before.map(|(settings, _)| settings.order).filter(follows);
    let allowed = |extent: &Extent| abilities.check_extent(*extent).is_ok();
    let (seed, seed_locked) = before.map_or((FIRST_SEED, false), |(settings, _)| (settings.seed, settings.seed_locked));
    Settings {
        subject: subject.unwrap_or(0) as u32,
        order: order.unwrap_or(orders.native()),
        steps: card.defaults.steps,
        extent: before.map(|(settings, _)| settings.extent).filter(allowed).unwrap_or_default(),
        guidance: card.defaults.guidance.strength(),
        context: card.defaults.guidance.context(),
        sampling: card.defaults.sampling,
        seed,
        seed_locked,
        variations: before.map_or(1, |(settings, _)| settings.variations),
        seam: before.map_or_else(Seam::default, |(settings, _)| settings.seam),
    }
}

impl Editor {
    /// The memory in which models compute, as far as it is known, and what it is called.
    pub fn memory(&self) -> (Option<Memory>, &'static str) {
        match &self.memory {
            None => (None, "the device"),
            Some((Place::Computer, _)) => (Some(Memory::now()), "this computer"),
            Some((Place::Card(_), memory)) => (*memory, "the graphics card"),
        }
    }

    /// Has the models of some folders, as training writes them, at hand, and takes the last.
    pub(super) fn open_trained(&mut self, folders: &[PathBuf]) -> Result<()> {
        let ids: Vec<String> = folders.iter().map(|folder| folder.to_string_lossy().into_owned()).collect();
        for id in &ids {
            at_hand(&mut self.offers, &library::find(id, &self.shelf)?)?;
        }
        ids.last().map_or(Ok(()), |id| self.choose_model(id))
    }

    /// Takes another model and has it loaded. The picture and its history stay; a run that was made with another model
    /// cannot be gone on with.
    pub(super) fn choose_model(&mut self, id: &str) -> Result<()> {
        let Some(offer) = self.offers.iter().find(|offer| offer.card.id == id).cloned() else {
            return Err(Error::control("model", format!("there is no “{id}”"), "Choose one from the list"));
        };
        let abilities = offer.card.abilities()?;
        self.worker.send(Job::Load { model: offer.card.id.clone(), device: self.device })?;
        self.settings = usual(&offer.card, &abilities, Some((&self.settings, &self.card)));
        (self.card, self.abilities, self.engine) = (offer.card, abilities, Engine::Loading(0));
        self.picker = None;
        self.aim();
        self.check_tool();
        Ok(())
    }

    /// Imports checkpoints beside the window; asks first which weights to take where a file has two kinds and none was
    /// chosen.
    pub(super) fn import(&mut self, files: Vec<PathBuf>, averaged: Option<bool>) {
        self.dialog = None;
        if !files.is_empty() {
            self.importing = Some("reading".into());
            self.errands.import(files, averaged, self.shelf.clone());
        }
    }

    /// Checkpoints were imported: the models among them are at hand now, and what was refused is told.
    pub(super) fn imported(&mut self, ids: &[String], refused: &[Error]) -> Result<()> {
        self.importing = None;
        refused.iter().for_each(|error| self.complain(error));
        let before: Vec<String> = self.offers.iter().map(|offer| offer.card.id.clone()).collect();
        let trained = self.offers.iter().filter(|offer| Path::new(&offer.card.id).is_dir()).cloned().collect();
        self.offers = [offers(&self.shelf)?, trained].concat();
        let new: Vec<&Offer> = self.offers.iter().filter(|offer| !before.contains(&offer.card.id)).collect();
        let titles: Vec<&str> = new.iter().map(|offer| offer.card.title.as_str()).collect();
        let remedy = match (titles.as_slice(), ids) {
            (_, []) => return Ok(()),
            ([], _) => "To paint, a generator needs its tokenizer, and the other way round: import both".into(),
            (titles, _) => format!("{} can be chosen now", titles.join(", ")),
        };
        self.notify(false, "Import".into(), format!("{} is in the library", ids.join(", ")), remedy);
        Ok(())
    }
}
