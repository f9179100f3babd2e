//! Looking back: the steps of a run one by one, as it went or played again, and what is decoded of them.

use super::*;

/// A finished run is played back in about this time.
const PLAYBACK: Duration = Duration::from_secs(4);

/// A decoded frame, transparent where the mask keeps the picture.
pub struct Preview {
    /// The run.
    pub run: u64,
    /// So many steps are in it.
    pub steps: usize,
    /// Its own number, see [`fresh`].
    pub id: u64,
    /// The pixels.
    pub picture: RgbaImage,
}

/// Where on the timeline one looks.
#[derive(Default)]
pub struct Timeline {
    /// After so many steps; none is the end.
    pub head: Option<usize>,
    /// Whether a finished run is being played back.
    pub playing: bool,
    /// The head with its fraction, while playing.
    position: f32,
    /// A full decode for the head was asked for, and is not here yet.
    pub(super) asked: Option<usize>,
    /// The canvas as the run found it, ready to be looked at.
    before: Option<(u64, Picture)>,
}

impl Editor {
    /// The run that is shown: the one being carried out, or else the one that made the picture, if the present model did.
    pub fn track(&self) -> Option<&Track> {
        match &self.run {
            Some(run) => run.track.as_ref(),
            None => self.document.track.as_deref().filter(|track| track.model == self.card.id),
        }
    }

    /// After how many of the shown run's steps one looks.
    pub fn head(&self) -> usize {
        let made = self.track().map_or(0, |track| track.steps.len());
        self.timeline.head.map_or(made, |head| head.min(made))
    }

    /// Whether one looks at a run on the picture that it was asked for.
    pub fn looks_back(&self) -> bool {
        self.run.is_some() || self.timeline.head.is_some()
    }

    /// The canvas beneath what is shown of a run, with its number.
    pub fn before(&mut self) -> Option<(u64, Picture)> {
        if let Some(run) = &self.run {
            return Some(run.canvas.clone());
        }
        let track = self.document.track.as_ref().filter(|_| self.timeline.head.is_some())?;
        if self.timeline.before.as_ref().is_none_or(|(number, _)| *number != track.before) {
            self.timeline.before = Some((track.before, track.request.picture.clone()));
        }
        self.timeline.before.clone()
    }

    pub(super) fn play_or_pause(&mut self) -> Result<()> {
        if let Some(run) = &mut self.run {
            match run.phase {
                Phase::Decoding => {
                    self.worker.send(Job::Pause)?;
                    run.phase = Phase::Paused;
                }
                Phase::Paused => {
                    self.worker.send(Job::Resume)?;
                    run.phase = Phase::Decoding;
                    self.timeline.head = None;
                    self.picker = None;
                }
                Phase::Preparing | Phase::Stopping => {}
            }
            return Ok(());
        }
        let Some(track) = &self.document.track else { return Ok(()) };
        if !track.is_complete() && self.timeline.head.is_none() {
            return self.branch();
        }
        self.timeline.playing = !self.timeline.playing;
        let head = if self.head() >= track.steps.len() { 0 } else { self.head() };
        self.timeline.position = head as f32;
        Ok(())
    }

    pub(super) fn play(&mut self, elapsed: Duration) {
        let Some(steps) = self.track().map(|track| track.steps.len()).filter(|_| self.timeline.playing) else { return };
        self.timeline.position += steps as f32 * elapsed.as_secs_f32() / PLAYBACK.as_secs_f32();
        let head = self.timeline.position as usize;
        self.timeline.playing = head < steps;
        self.rewind(head);
    }

    pub(super) fn rewind(&mut self, steps: usize) {
        self.picker = None;
        let made = self.track().map_or(0, |track| track.steps.len());
        self.timeline.head = (steps < made).then_some(steps);
    }

    /// Asks for a full decode of the step that is looked at, one at a time.
    pub(super) fn ask_for_redraw(&mut self) {
        let Some(track) = self.document.track.clone().filter(|track| self.run.is_none() && track.model == self.card.id)
        else {
            return;
        };
        let Some(steps) = self.timeline.head.filter(|_| self.timeline.asked.is_none()) else { return };
        let here = self.preview.as_ref().is_some_and(|preview| (preview.run, preview.steps) == (track.number, steps));
        if !here
            && matches!(self.engine, Engine::Ready { .. })
            && self.worker.send(Job::Redraw { track, steps }).is_ok()
        {
            self.timeline.asked = Some(steps);
        }
    }
}
