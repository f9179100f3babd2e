//! The history: going to any entry, and running what led to it again.

use super::runs::roll;
use super::*;

impl Editor {
    /// Goes to an entry of the history, 0 being the oldest.
    pub(super) fn go_to_entry(&mut self, index: usize) {
        self.end_stroke();
        let document = self.history.go_to(index);
        self.go_to(document);
    }

    /// The run that an entry of the history came of; none for strokes and the like.
    pub fn run_of(&self, index: usize) -> Option<&Arc<Track>> {
        let entries = self.history.entries();
        let (entry, before) = (entries.get(index)?, entries.get(index.checked_sub(1)?)?);
        entry.document.track.as_ref().filter(|_| entry.document.picture_id != before.document.picture_id)
    }

    fn asked_in(&self, index: usize) -> Result<Arc<Track>> {
        let missing = || Error::control("history", "this step was not made by a model", "Choose a result");
        let track = self.run_of(index).cloned().ok_or_else(missing)?;
        if track.model == self.card.id {
            return Ok(track);
        }
        let title = self.offers.iter().find(|offer| offer.card.id == track.model).map(|offer| offer.card.title.clone());
        let cause = format!("it was made with {}", title.as_ref().unwrap_or(&track.model));
        Err(Error::control("history", cause, "Choose that model first"))
    }

    /// Carries out the request of an entry once more, on the picture that it was made for: with its own seed, which makes
    /// the same tokens, or another one.
    pub(super) fn run_again(&mut self, index: usize, new_seed: bool) -> Result<()> {
        self.end_stroke();
        if let Engine::Failed(cause) = &self.engine {
            return Err(Error::control("model", cause, "Choose another one"));
        }
        let track = self.asked_in(index)?;
        let mut request = Request::clone(&track.request);
        if !track.turns.is_empty() {
            let cause = "what was changed on its way, by hand or by branching, is left out";
            self.notify(false, "Run again".into(), cause.into(), String::new());
        }
        if new_seed {
            let seed = roll();
            (request.knobs.seed, request.order_seed) = (seed, seed);
        }
        let entries = self.history.entries();
        let mut base = entries[index - 1].document.clone();
        if base.picture_id != track.before {
            base = Document { track: None, ..entries[index].document.clone() };
        }
        (base.picture, base.picture_id) = (request.picture.clone(), track.before);
        (base.mask, base.mask_id) = (request.mask.clone(), track.mask_id);
        let shown = self.document.clone();
        self.go_to(Some(base));
        self.batch = Batch::default();
        let started = self.start(request, (track.before, track.mask_id), None);
        match &mut self.run {
            Some(run) if started.is_ok() => run.instead_of = Some(Box::new(shown)),
            _ => self.go_to(Some(shown)),
        }
        started
    }

    /// Sets the panel as it was for an entry, its seed locked.
    pub(super) fn use_settings(&mut self, index: usize) -> Result<()> {
        let request = self.asked_in(index)?.request.clone();
        let order = order::by_name(&request.order)?.name;
        self.check_extent(request.extent)?;
        let steps = match request.schedule {
            Schedule::Cosine { steps } => steps,
            Schedule::Scales | Schedule::OneByOne | Schedule::Windows { .. } => self.settings.steps,
        };
        let knobs = request.knobs;
        self.settings = Settings {
            subject: knobs.class,
            order,
            steps,
            extent: request.extent,
            guidance: knobs.guidance.strength(),
            context: knobs.guidance.context(),
            sampling: knobs.sampling,
            seed: knobs.seed,
            seed_locked: true,
            // The rim where passes meet is nothing that the panel says.
            seam: Seam { overlap: Seam::default().overlap, ..request.seam },
            ..self.settings
        };
        self.aim();
        Ok(())
    }
}
