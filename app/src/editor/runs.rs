//! Runs: starting, stopping and going on, and what the worker reports.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};

use andamento_model::decode::{Knobs, Step};
use andamento_model::paint::Outline;
use andamento_model::turn::Turns;

use super::variations::{Batch, RESULTS};
use super::*;
use crate::actions;
use crate::document::Leg;

/// The largest seed that is drawn by itself: short enough to read out.
const SEEDS: u64 = 100_000;

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the model, or reading the picture.
    Preparing,
    /// Making tokens.
    Decoding,
    /// Waiting for the person.
    Paused,
    /// Told to stop, which it does after the present step.
    Stopping,
}

/// A run that is being carried out.
pub struct Run {
    /// Its number.
    pub number: u64,
    /// What was asked for.
    pub request: Arc<Request>,
    /// The number of the picture it was asked for.
    before: u64,
    /// The canvas as the present pass found it, with its number.
    pub canvas: (u64, Picture),
    mask_id: u64,
    /// What it is doing.
    pub phase: Phase,
    /// How it goes, once planned.
    pub track: Option<Track>,
    /// What was made when it began.
    pub earlier: Vec<Step>,
    /// When decoding began.
    pub since: Instant,
    /// Of the passes of a run that is gone on with, the guesses for tokens that were not made.
    guesses: Vec<Arc<Vec<Token>>>,
    /// How many passes were begun.
    begun: usize,
    /// What the history calls its result, where that is not its subject.
    pub(super) label: Option<String>,
    /// The document to go back to if nothing comes of it.
    pub(super) instead_of: Option<Box<Document>>,
}

impl Editor {
    /// Whether tokens are being made right now.
    pub fn is_decoding(&self) -> bool {
        self.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Decoding | Phase::Stopping))
    }

    /// Why Generate cannot be pressed, if it cannot.
    pub fn cannot_generate(&self) -> Option<String> {
        match (&self.engine, &self.run) {
            (Engine::Failed(cause), _) => Some(format!("The model could not be loaded: {cause}")),
            (_, Some(_)) => Some(actions::with_keys(self, "A run is on: stop it first", "stop")),
            _ if self.document.mask.is_empty() => Some("Nothing may change yet: paint over what should change".into()),
            _ => self.lattice().err().map(cause),
        }
    }

    pub(super) fn generate(&mut self) -> Result<()> {
        self.end_stroke();
        if let Some(cause) = self.cannot_generate() {
            return Err(Error::control("Generate", cause, "The tooltip of Generate says what is missing"));
        }
        if !self.settings.seed_locked && self.used_seed == Some(self.settings.seed) {
            self.settings.seed = roll();
        }
        // Once more with the same mask: from the picture as it was, so that its edge is not blended twice.
        let again = self.document.track.clone().filter(|track| track.mask_id == self.document.mask_id);
        let (picture, before) = match &again {
            Some(track) => (track.request.picture.clone(), track.before),
            None => (self.document.picture.clone(), self.document.picture_id),
        };
        let request = Request {
            picture,
            mask: self.document.mask.clone(),
            frames: self.aim.iter().flat_map(|aim| &aim.passes).map(|pass| pass.frame).collect(),
            extent: self.settings.extent,
            seam: self.settings.seam,
            order: self.settings.order.into(),
            order_seed: self.settings.seed,
            path: self.followed_path(),
            boldness: self.felt_boldness(),
            schedule: self.abilities.schedule(Some(self.settings.steps)),
            knobs: self.knobs(self.settings.extent)?,
        };
        let ids = (before, self.document.mask_id);
        self.batch = Batch::new(&request, ids, self.settings.variations, self.settings.seed_locked);
        self.start(request, ids, None)
    }

    /// Whether there is a run that can go on from the head.
    pub fn can_branch(&self) -> bool {
        let shown = self.document.track.as_ref().filter(|track| track.model == self.card.id);
        let possible = |track: &Arc<Track>| {
            let made_of_mixtures = track.request.knobs.sampling.smooth && self.timeline.head.is_some();
            !made_of_mixtures && self.head() > 0 && self.head() < track.outline.steps
        };
        self.run.is_none() && shown.is_some_and(possible)
    }

    /// Goes on from the head of the run that made the picture, with the panel's knobs and the boldness as it is painted now.
    /// Mask, order and schedule stay those of the run: its steps belong to them. A seed that is not locked is drawn anew.
    pub(super) fn branch(&mut self) -> Result<()> {
        let Some(track) = self.document.track.clone().filter(|_| self.can_branch()) else {
            return Err(Error::control("Branch here", "there is no step to go on from", "Generate first, then rewind"));
        };
        let mut request = Request::clone(&track.request);
        if !self.settings.seed_locked && self.timeline.head.is_some() {
            self.settings.seed = roll();
        }
        // Mixtures of the smooth mode are not kept: they come out the same again with the same knobs and boldness only.
        if !request.knobs.sampling.smooth {
            request.knobs = self.knobs(request.extent)?;
            request.knobs.sampling.smooth = false;
            request.boldness = self.felt_boldness();
        }
        let as_before = (request.knobs, &request.boldness) == (track.request.knobs, &track.request.boldness);
        if self.head() < track.steps.len() && as_before {
            let remedy = "Unlock the seed, or change subject, guidance, temperature or boldness first";
            return Err(Error::control("Branch here", "the same settings would make the same tokens again", remedy));
        }
        let shown = self.preview.take();
        let shown = shown.filter(|preview| preview.run == track.number && preview.steps == self.head());
        let ids = (track.before, track.mask_id);
        let mut earlier = Track::clone(&track);
        earlier.steps.truncate(self.head());
        if !as_before {
            earlier.turns.take(self.head(), [], (track.request.knobs, &track.request.boldness));
        }
        self.batch = Batch::default();
        self.start(request, ids, Some(earlier))?;
        // Until it is planned, the run looks as the other one did at this step.
        if let Some(run) = &self.run {
            let number = run.number;
            self.preview = shown.map(|preview| Preview { run: number, ..preview });
        }
        Ok(())
    }

    /// Steps for a whole picture, where the model leaves no choice.
    pub fn fixed_steps(&self) -> usize {
        match self.abilities.schedule(None) {
            Schedule::Scales => self.abilities.scales,
            Schedule::OneByOne | Schedule::Cosine { .. } | Schedule::Windows { .. } => self.sites(),
        }
    }

    /// Guidance by the class, as the panel says.
    pub(super) fn guidance(&self) -> Guidance {
        self.card.defaults.guidance.with_strength(self.settings.guidance)
    }

    /// All that the panel says of how tokens are drawn.
    fn knobs(&self, extent: Extent) -> Result<Knobs> {
        let Settings { subject, context, sampling, seed, .. } = self.settings;
        let mut guidance = self.guidance();
        if context.max(guidance.context()) > 1.0 {
            guidance = guidance.with_context(context, extent.dropped())?;
        }
        Ok(Knobs { class: subject, guidance, sampling, seed })
    }

    /// Hands a request to the worker, to be gone on with after what another run made if there is one.
    pub(super) fn start(
        &mut self,
        request: Request,
        (before, mask_id): (u64, u64),
        earlier: Option<Track>,
    ) -> Result<()> {
        let (number, request) = (fresh(), Arc::new(request));
        self.used_seed = Some(request.knobs.seed);
        let steps = earlier.as_ref().map_or_else(Vec::new, |track| track.steps.clone());
        self.choose_surprising(false)?;
        self.stop_reading()?;
        self.worker.send(Job::Paint { run: number, request: request.clone(), earlier: steps.clone() })?;
        self.timeline = Timeline::default();
        self.picker = None;
        self.preview = None;
        self.closeups = Closeups::default();
        self.generated = true;
        // As long as the passes are the same ones, looking back shows the same guesses.
        let same = |leg: &&Leg| leg.plan.first <= steps.len();
        let guesses = earlier.iter().flat_map(|track| &track.legs).take_while(same).map(|leg| leg.guess.clone());
        let guesses = guesses.collect();
        let track = earlier.map(|track| Track { number, request: request.clone(), ..track });
        self.run = Some(Run {
            number,
            before,
            canvas: (before, request.picture.clone()),
            request,
            mask_id,
            phase: Phase::Preparing,
            track,
            earlier: steps,
            since: Instant::now(),
            guesses,
            begun: 0,
            label: None,
            instead_of: None,
        });
        Ok(())
    }

    pub(super) fn stop(&mut self) -> Result<()> {
        self.batch.stop();
        self.stop_reading()?;
        if let Some(run) = &mut self.run
            && run.phase != Phase::Stopping
        {
            self.worker.send(Job::Stop)?;
            run.phase = Phase::Stopping;
        }
        Ok(())
    }

    pub(super) fn take_in(&mut self, event: worker::Event) {
        match event {
            worker::Event::Loading(bytes) => {
                if let Engine::Loading(read) = &mut self.engine {
                    *read = bytes;
                }
            }
            // Another one was chosen meanwhile, and is on its way.
            worker::Event::Loaded { card, .. } if card.id != self.card.id => {}
            worker::Event::Loaded { card, abilities, device, reason, memory } => {
                self.memory = Some(memory);
                self.abilities = abilities;
                self.card = *card;
                self.engine = Engine::Ready { device, reason };
                self.check_tool();
                self.aim();
            }
            worker::Event::Planned { run, leg, outline, canvas } => self.planned(run, leg, outline, canvas),
            worker::Event::Step { run, step } => {
                if let Some(track) = self.running(run).and_then(|run| run.track.as_mut()) {
                    track.steps.push(step);
                }
            }
            worker::Event::Preview { run, steps, picture } => {
                self.timeline.asked = None;
                if self.track().is_some_and(|track| track.number == run) {
                    self.preview = Some(Preview { run, steps, id: fresh(), picture });
                }
            }
            worker::Event::Glimpse { number, token, picture } => self.take_glimpse(number, token, picture),
            worker::Event::Closeups { spot, pictures } => self.closeups.shown = Some((spot, pictures)),
            worker::Event::Reading { number, done, of, map } => {
                self.read_so_far(number, (done, of), map.map(|map| *map));
            }
            worker::Event::Read { number } => self.reading_done(number),
            worker::Event::Done { run, result } => self.done(run, result),
            worker::Event::Failed { run, error } => self.failed(run, &error),
        }
    }

    pub(super) fn running(&mut self, number: u64) -> Option<&mut Run> {
        self.run.as_mut().filter(|run| run.number == number)
    }

    fn planned(&mut self, number: u64, leg: Leg, outline: Outline, canvas: Option<Picture>) {
        let model = self.card.id.clone();
        let Some(run) = self.running(number) else { return };
        if run.phase == Phase::Preparing {
            run.phase = Phase::Decoding;
        }
        if run.begun == 0 {
            run.since = Instant::now();
        }
        if let Some(canvas) = canvas {
            run.canvas = (fresh(), canvas);
        }
        let guess = run.guesses.get(run.begun).cloned().unwrap_or_else(|| leg.guess.clone());
        let leg = Leg { guess, ..leg };
        let (request, before, mask_id, steps) = (run.request.clone(), run.before, run.mask_id, run.earlier.clone());
        let begun = run.begun;
        let new = || Track {
            number,
            model,
            request,
            before,
            mask_id,
            outline,
            legs: Vec::new(),
            steps,
            turns: Turns::default(),
        };
        let track = run.track.get_or_insert_with(new);
        track.outline = outline;
        track.legs.truncate(begun);
        track.legs.push(leg);
        run.begun += 1;
    }

    fn done(&mut self, number: u64, result: Option<(Picture, RgbaImage)>) {
        let Some(run) = self.run.take_if(|run| run.number == number) else { return };
        match (run.track, result) {
            (Some(track), Some((picture, thumbnail))) => self.take_in_result(track, run.label, picture, thumbnail),
            // It was stopped before anything was made.
            _ => self.go_to(run.instead_of.map(|document| *document)),
        }
        match self.after_stop.take() {
            Some(command) => self.apply(command),
            None => self.next_variation(),
        }
    }

    /// What a run made becomes the document, an entry of the history, and a picture in the strip.
    fn take_in_result(&mut self, track: Track, label: Option<String>, picture: Picture, thumbnail: RgbaImage) {
        let subject = self.card.subjects.get(track.request.knobs.class as usize).cloned().unwrap_or_default();
        let usual = if track.is_complete() { format!("Generate {subject}") } else { format!("Stopped: {subject}") };
        let label = label.unwrap_or(usual);
        // What is kept of it for long takes little memory.
        let request = Request { picture: track.request.picture.packed(), ..Request::clone(&track.request) };
        let track = Arc::new(Track { request: Arc::new(request), ..track });
        let looked_at = self.timeline.head;
        self.take_result_in(&label, picture, track);
        self.timeline.head = looked_at;
        self.results.push(Outcome { document: self.document.packed(), thumbnail, accepted: false });
        self.batch.count();
        let excess = self.results.len().saturating_sub(RESULTS);
        self.results.drain(..excess);
    }

    /// A result is one entry in the history. A stroke that is being drawn goes on on top of it.
    pub(super) fn take_result_in(&mut self, label: &str, picture: Picture, track: Arc<Track>) {
        let Some(mut stroke) = self.stroke.take() else {
            let document = self.document.clone().with_result(picture, track);
            return if self.batch.has_entry() { self.amend(label, document) } else { self.change(label, document) };
        };
        let drawn = self.document.clone();
        self.change(label, stroke.before.with_result(picture, track));
        stroke.before = self.document.clone();
        self.document.mask = drawn.mask;
        self.document.mask_id = fresh();
        self.stroke = Some(stroke);
    }

    pub(super) fn failed(&mut self, number: Option<u64>, error: &Error) {
        self.timeline.asked = None;
        self.picker = None;
        number.into_iter().for_each(|number| self.reading_done(number));
        match number {
            Some(number) if self.running(number).is_some() => {
                self.batch = Batch::default();
                let back = self.run.take().and_then(|run| run.instead_of);
                self.go_to(back.map(|document| *document));
            }
            None if matches!(self.engine, Engine::Loading(_)) => {
                self.engine = Engine::Failed(error.to_string());
            }
            _ => {}
        }
        self.complain(error);
        if let Some(command) = self.after_stop.take().filter(|_| self.run.is_none()) {
            self.apply(command);
        }
    }
}

/// A seed that nobody chose.
pub(super) fn roll() -> u64 {
    RandomState::new().build_hasher().finish() % SEEDS
}
