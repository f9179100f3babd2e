//! The token picker: the likeliest alternatives of a token that was made, and taking one of them.

use andamento_model::lattice::Site;
use andamento_model::sample::Made;
use andamento_model::turn::Choice;

use super::*;
use crate::worker::Glimpse;

/// A token that is looked at.
pub struct Picker {
    /// Its own number, see [`fresh`].
    pub number: u64,
    /// The run that made it, as far as it was made then.
    pub track: Arc<Track>,
    /// So many of the run's steps are shown.
    head: usize,
    /// The step that made it, from 0.
    pub step: usize,
    /// What was made.
    pub made: Made,
    /// What there is to choose from, the likeliest first; the present token among them.
    pub alternatives: Vec<Alternative>,
    /// Whether a picture was asked for, and is not here yet.
    asked: bool,
}

/// A code that the token could have.
pub struct Alternative {
    /// The code.
    pub token: Token,
    /// How likely the model found it when the token was made, 0 to 1.
    pub probability: f32,
    /// The surroundings with it in place, decoded; none until that is here.
    pub picture: Option<RgbaImage>,
}

impl Picker {
    fn new(track: Arc<Track>, head: usize, (step, made): (usize, Made)) -> Self {
        let likeliest = made.likeliest.map(|likeliest| likeliest.codes().to_vec()).unwrap_or_default();
        let missing = likeliest.iter().all(|(token, _)| *token != made.token);
        let all = likeliest.into_iter().chain(missing.then_some((made.token, made.probability)));
        let alternatives = all.map(|(token, probability)| Alternative { token, probability, picture: None }).collect();
        Self { number: fresh(), track, head, step, made, alternatives, asked: false }
    }

    /// The rectangle of canvas pixels that the token covers.
    pub fn rect(&self) -> Rect {
        self.track.rect(self.step, self.made.site)
    }

    /// The command that takes one of the codes, for this token only or with all that comes after it made anew.
    pub fn swap(&self, token: Token, redo: bool) -> Command {
        let choice = Choice { step: self.step, site: self.made.site, token };
        Command::Swap { run: self.track.number, choice, redo }
    }

    /// Whether anything was made after it.
    pub fn has_later(&self) -> bool {
        self.track.steps.len() > self.step + 1 || !self.track.is_complete()
    }
}

/// Why tokens of a run cannot be swapped, if they cannot.
fn refusal(track: &Track) -> Option<&'static str> {
    if track.request.knobs.sampling.smooth {
        return Some("its codes were mixed, and mixtures are not kept");
    }
    match track.request.schedule {
        Schedule::Scales => Some("its tokens lie in scales above each other, each of which answers to those below"),
        Schedule::Windows { width } if width > 1 => Some("each of its tokens was revised by several steps"),
        _ => None,
    }
}

/// What was made in the first steps of a run, with the steps that made it.
fn made_until(track: &Track, head: usize) -> impl DoubleEndedIterator<Item = (usize, &Made)> {
    let steps = track.steps[..head.min(track.steps.len())].iter().enumerate();
    steps.flat_map(|(index, step)| step.made.iter().map(move |made| (index, made)))
}

impl Editor {
    /// The run that one can pick from: one that is paused, or the one that made the picture.
    fn picked_from(&self) -> Result<Arc<Track>> {
        let refuse = |cause: &str, remedy: &str| Err(Error::control("Token picker", cause, remedy));
        self.abilities.check_choice()?;
        let track = match &self.run {
            Some(Run { phase: Phase::Paused, track: Some(track), .. }) => Arc::new(track.clone()),
            Some(_) => return refuse("tokens are being made", "Pause the run, or wait until it is done"),
            None => match self.document.track.clone().filter(|track| track.model == self.card.id) {
                Some(track) => track,
                None => return refuse("no run of this model made the picture", "Generate first"),
            },
        };
        match refusal(&track) {
            Some(cause) => refuse(cause, "Take a run of RandAR, RAR or LlamaGen"),
            None => Ok(track),
        }
    }

    /// Opens the alternatives of the token that was made last at a canvas point.
    pub(super) fn pick_at(&mut self, (x, y): (f32, f32)) -> Result<()> {
        let (track, head) = (self.picked_from()?, self.head());
        let here = |(step, made): &(usize, &Made)| {
            track.rect(*step, made.site).contains_pixel(x.floor() as i64, y.floor() as i64)
        };
        let found = made_until(&track, head).rev().find(here).map(|(step, made)| (step, *made));
        let Some(found) = found else {
            self.picker = None;
            let cause = "no token was made here: it was given by the picture, or is still to come";
            return Err(Error::control("Token picker", cause, "Click a token that the run has made"));
        };
        self.pick(track, found)
    }

    /// Opens the alternatives of the last token that was made.
    pub(super) fn pick_last(&mut self) -> Result<()> {
        let (track, head) = (self.picked_from()?, self.head());
        let nothing = || Error::control("Token picker", "nothing was made yet", "Go forward on the timeline first");
        let last = made_until(&track, head).next_back().map(|(step, made)| (step, *made)).ok_or_else(nothing)?;
        self.pick(track, last)
    }

    /// Goes to the token that was made after the one that is looked at, or before it.
    pub(super) fn pick_next(&mut self, forward: bool) -> Result<()> {
        let Some(picker) = &self.picker else { return self.pick_last() };
        let (track, at) = (picker.track.clone(), (picker.step, picker.made.site));
        let all: Vec<(usize, Made)> = made_until(&track, picker.head).map(|(step, made)| (step, *made)).collect();
        let place = all.iter().position(|(step, made)| (*step, made.site) == at).unwrap_or(0);
        let next = if forward { place + 1 } else { place.wrapping_sub(1) };
        all.get(next).map_or(Ok(()), |found| self.pick(track.clone(), *found))
    }

    fn pick(&mut self, track: Arc<Track>, found: (usize, Made)) -> Result<()> {
        if found.1.likeliest.is_none() {
            self.picker = None;
            let cause = "what else it could have been was not kept: it has two factors, or an earlier version made it";
            return Err(Error::control("Token picker", cause, "Generate again, with a model of single codes"));
        }
        self.picker = Some(Picker::new(track, self.head(), found));
        self.ask_for_glimpse();
        Ok(())
    }

    /// Takes a code for a token by hand. All that was made later is made anew, or stays as it is.
    pub(super) fn swap(&mut self, run: u64, choice: Choice, redo: bool) -> Result<()> {
        let track = self.picked_from()?;
        if track.number != run {
            return Err(Error::control("Token picker", "that run did not make this picture", "Pick the token again"));
        }
        let steps = track.steps.len();
        let kept = if redo { (choice.step + 1).min(steps) } else { steps };
        let mut earlier = Track::clone(&track);
        earlier.steps.truncate(kept);
        let before = made_until(&earlier, kept).find(|(step, made)| (*step, made.site) == (choice.step, choice.site));
        let before = before.map(|(_, made)| made.token);
        choice.apply(&mut earlier.steps)?;
        if before == Some(choice.token) {
            return Err(Error::control("Token picker", "it is this code already", "Choose another one"));
        }
        earlier.turns.take(kept, [choice], (track.request.knobs, &track.request.boldness));
        self.batch = Batch::default();
        self.start(Request::clone(&track.request), (track.before, track.mask_id), Some(earlier))?;
        if let Some(run) = &mut self.run {
            run.label = Some(format!("Swap token {}", choice.site.0));
        }
        // A stopped run stays as far as it is.
        if redo || track.is_complete() { Ok(()) } else { self.stop() }
    }

    /// Asks for the next picture of the alternatives, one at a time.
    pub(super) fn ask_for_glimpse(&mut self) {
        let waits = self.run.as_ref().is_none_or(|run| run.phase == Phase::Paused);
        let Some(picker) = self.picker.as_mut().filter(|picker| waits && !picker.asked) else { return };
        let Some(next) = picker.alternatives.iter().find(|alternative| alternative.picture.is_none()) else { return };
        let glimpse = Glimpse {
            number: picker.number,
            track: picker.track.clone(),
            steps: picker.head,
            step: picker.step,
            site: picker.made.site,
            token: next.token,
        };
        if matches!(self.engine, Engine::Ready { .. }) {
            picker.asked = self.worker.send(Job::Glimpse(Box::new(glimpse))).is_ok();
        }
    }

    pub(super) fn take_glimpse(&mut self, number: u64, token: Token, picture: RgbaImage) {
        let Some(picker) = self.picker.as_mut().filter(|picker| picker.number == number) else { return };
        picker.asked = false;
        if let Some(alternative) = picker.alternatives.iter_mut().find(|alternative| alternative.token == token) {
            alternative.picture = Some(picture);
        }
    }

    /// Why the token picker cannot be taken up, if it cannot.
    pub fn cannot_pick(&self) -> Option<String> {
        self.abilities.check_choice().err().map(cause)
    }

    /// The token that was made last at a canvas point, and the step that made it.
    pub fn made_at(&self, (x, y): (f32, f32)) -> Option<(usize, Site)> {
        let track = self.track()?;
        let here = |step: usize, site: Site| track.rect(step, site).contains_pixel(x.floor() as i64, y.floor() as i64);
        let found = made_until(track, self.head()).rev().find(|(step, made)| here(*step, made.site));
        found.map(|(step, made)| (step, made.site))
    }
}
