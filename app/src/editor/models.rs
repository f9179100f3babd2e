//! Which model is in use: those at hand, and taking another one.

use andamento_model::library::{Card, MODELS};

use super::*;

/// A model that is at hand.
#[derive(Debug, Clone, PartialEq)]
pub struct Offer {
    /// What it is.
    pub card: Card,
    /// Whether it comes with the program.
    pub bundled: bool,
}

/// Every model at hand, bundled ones first.
///
/// # Errors
/// If a bundled file is damaged.
pub(super) fn offers() -> Result<Vec<Offer>> {
    MODELS.iter().map(|model| Ok(Offer { card: model.card()?, bundled: true })).collect()
}

/// What the panel says when a model is taken: its own defaults, and the subject of the same name if it has one.
pub(super) fn usual(card: &Card, abilities: &Abilities, before: Option<(&Settings, &Card)>) -> Settings {
    let named = |name: &String| card.subjects.iter().position(|subject| subject == name);
    let subject = before.and_then(|(settings, card)| named(card.subjects.get(settings.subject as usize)?));
    let kept = before.map(|(settings, _)| settings.order).filter(|order| abilities.orders.allow(order).is_ok());
    let (seed, seed_locked) = before.map_or((FIRST_SEED, false), |(settings, _)| (settings.seed, settings.seed_locked));
    Settings {
        subject: subject.unwrap_or(0) as u32,
        order: kept.filter(|order| abilities.orders.experimental(order).is_none()).unwrap_or(abilities.orders.native()),
        steps: card.defaults.steps,
        guidance: card.defaults.guidance.strength(),
        temperature: card.defaults.sampling.temperature,
        seed,
        seed_locked,
    }
}

impl Editor {
    /// Takes another model and has it loaded. The picture and its history stay; a run that was made with another model
    /// cannot be gone on with.
    pub(super) fn choose_model(&mut self, id: &str) -> Result<()> {
        let Some(offer) = self.offers.iter().find(|offer| offer.card.id == id).cloned() else {
            return Err(Error::control("model", format!("there is no “{id}”"), "Choose one from the list"));
        };
        let abilities = offer.card.abilities()?;
        self.worker.send(Job::Load { model: offer.card.id.clone(), device: self.device })?;
        self.settings = usual(&offer.card, &abilities, Some((&self.settings, &self.card)));
        (self.card, self.abilities, self.engine) = (offer.card, abilities, Engine::Loading);
        self.aim();
        Ok(())
    }
}
