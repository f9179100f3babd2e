//! The surprise map: how unlikely every token of the picture is under the model, and selecting by it.

use andamento_model::frame::Frame;
use andamento_model::surprise::{self, Query, SurpriseMap, Threshold};

use super::*;
use crate::actions;

/// What a map is of.
#[derive(Debug, Clone, PartialEq)]
struct Subject {
    picture_id: u64,
    model: String,
    class: u32,
    frame: Frame,
}

/// A picture that is being read.
pub struct Reading {
    number: u64,
    subject: Subject,
    /// Tokens read, over all passes.
    pub done: usize,
    /// Tokens to read; 0 until that is known.
    pub of: usize,
    /// Whether it was told to stop.
    pub stopping: bool,
}

/// The map, and what is being done with it.
pub struct Surprise {
    map: Option<(Subject, Arc<SurpriseMap>)>,
    /// The picture that is being read.
    pub reading: Option<Reading>,
    /// Which tokens are selected.
    pub threshold: Threshold,
    /// While a threshold is being chosen: what was shown before.
    before: Option<Option<Heat>>,
}

impl Default for Surprise {
    fn default() -> Self {
        Self { map: None, reading: None, threshold: Threshold::Share(0.1), before: None }
    }
}

impl Editor {
    /// The map of the picture as it is, by the present model.
    pub fn surprise_map(&self) -> Option<&Arc<SurpriseMap>> {
        let fits = |of: &Subject| (of.picture_id, &of.model) == (self.document.picture_id, &self.card.id);
        self.surprise.map.as_ref().filter(|(of, _)| fits(of)).map(|(_, map)| map)
    }

    /// The subject that the map is of.
    pub fn surprise_subject(&self) -> Option<&str> {
        let (of, _) = self.surprise.map.as_ref()?;
        self.card.subjects.get(of.class as usize).map(String::as_str)
    }

    /// Whether the map is of what would be read now: the same picture, model, subject and frame.
    pub fn surprise_is_current(&self) -> bool {
        self.surprise_map().is_some() && self.surprise.map.as_ref().is_some_and(|(of, _)| *of == self.read_now())
    }

    /// Whether a threshold is being chosen.
    pub fn is_selecting_by_surprise(&self) -> bool {
        self.surprise.before.is_some()
    }

    /// Why the picture cannot be read, if it cannot.
    pub fn cannot_read(&self) -> Option<String> {
        match &self.engine {
            Engine::Failed(cause) => Some(format!("The model could not be loaded: {cause}")),
            _ if self.run.is_some() => Some(actions::with_keys(self, "A run is on: stop it first", "stop")),
            _ => None,
        }
    }

    /// Why the map can neither be shown nor made, if so.
    pub fn cannot_show_surprise(&self) -> Option<String> {
        self.cannot_read().filter(|_| self.surprise_map().is_none() || self.looks_back())
    }

    /// The frame that the editor places, or the whole picture where nothing is masked, at the size that the model was trained
    /// on: tokens beyond those of training are none of a picture it knows.
    fn read_now(&self) -> Subject {
        let side = self.card.side;
        let aimed = self.aim.as_ref().filter(|aim| aim.passes.len() == 1).map(|aim| aim.frame.rect);
        let chosen = self.frame.or(aimed).filter(|rect| rect.width == rect.height);
        let frame = chosen.map(|rect| Frame { rect, size: [side; 2] });
        Subject {
            picture_id: self.document.picture_id,
            model: self.card.id.clone(),
            class: self.settings.subject,
            frame: frame.unwrap_or_else(|| surprise::frame(&self.document.mask, side)),
        }
    }

    /// Reads the picture, unless that is going on already.
    pub(super) fn measure_surprise(&mut self) -> Result<()> {
        if let Some(cause) = self.cannot_read() {
            return Err(Error::control("Surprise", cause, "Try again then"));
        }
        let (number, subject) = (fresh(), self.read_now());
        if self.surprise.reading.as_ref().is_some_and(|reading| reading.subject == subject && !reading.stopping) {
            return Ok(());
        }
        self.stop_reading()?;
        let query = Query {
            picture: self.document.picture.clone(),
            frame: subject.frame,
            area: self.document.content,
            class: subject.class,
            order: None,
            seed: 0,
        };
        self.worker.send(Job::Surprise { number, query: Box::new(query) })?;
        self.surprise.reading = Some(Reading { number, subject, done: 0, of: 0, stopping: false });
        Ok(())
    }

    /// Colours the tokens, or does not. A surprise map that is not there yet is made.
    pub(super) fn show_heat(&mut self, heat: Option<Heat>) -> Result<()> {
        let surprise = heat == Some(Heat::Surprise);
        if surprise && self.surprise_map().is_none() {
            self.measure_surprise()?;
        }
        if !surprise {
            self.surprise.before = None;
        }
        self.show.heat = heat;
        Ok(())
    }

    /// Begins to choose a threshold, or leaves it without a selection.
    pub(super) fn choose_surprising(&mut self, on: bool) -> Result<()> {
        match (on, self.surprise.before) {
            (true, None) => {
                let before = self.show.heat;
                self.show_heat(Some(Heat::Surprise))?;
                self.surprise.before = Some(before);
                Ok(())
            }
            (false, Some(before)) => {
                self.surprise.before = None;
                self.show.heat = before;
                Ok(())
            }
            _ => Ok(()),
        }
    }

    pub(super) fn take_threshold(&mut self, threshold: Threshold) {
        self.surprise.threshold = match threshold {
            Threshold::Share(share) => Threshold::Share(share.clamp(0.0, 1.0)),
            Threshold::Bits(bits) => Threshold::Bits(bits.max(0.0)),
        };
    }

    /// Changes the mask by the most surprising tokens.
    pub(super) fn select_surprising(&mut self, threshold: Threshold, how: Combine) -> Result<()> {
        let refuse = |cause: &str, remedy: &str| Err(Error::control("Select by surprise", cause, remedy));
        let Some(map) = self.surprise_map().cloned() else {
            return refuse("the picture was not read yet", "Wait until the surprise map is there");
        };
        let (width, height) = (self.document.picture.width(), self.document.picture.height());
        let selection = map.mask(threshold, width, height);
        if selection.is_empty() {
            return refuse("no token is so surprising", "Take a larger share, or fewer bits");
        }
        self.choose_surprising(false)?;
        self.combine("Select by surprise", &selection, how)
    }

    /// Has the worker stop reading. Returns whether it was.
    pub(super) fn stop_reading(&mut self) -> Result<bool> {
        let Some(reading) = self.surprise.reading.as_mut().filter(|reading| !reading.stopping) else {
            return Ok(false);
        };
        self.worker.send(Job::Stop)?;
        reading.stopping = true;
        Ok(true)
    }

    /// Stops reading a picture that is not there any more.
    pub(super) fn check_reading(&mut self) {
        let now = (self.document.picture_id, &self.card.id);
        let of = self.surprise.reading.as_ref().map(|reading| (reading.subject.picture_id, &reading.subject.model));
        if of.is_some_and(|of| of != now)
            && let Err(error) = self.stop_reading()
        {
            self.complain(&error);
        }
    }

    /// The worker has read so far. Returns the number's reading, if it is the one that is going on.
    pub(super) fn read_so_far(&mut self, number: u64, (done, of): (usize, usize), map: Option<SurpriseMap>) {
        let Some(reading) = self.surprise.reading.as_mut().filter(|reading| reading.number == number) else { return };
        (reading.done, reading.of) = (done, of);
        if let Some(map) = map {
            self.surprise.map = Some((reading.subject.clone(), Arc::new(map)));
        }
    }

    /// The worker has read the picture, was stopped, or failed.
    pub(super) fn reading_done(&mut self, number: u64) {
        self.surprise.reading.take_if(|reading| reading.number == number);
    }
}
