//! What the person prefers: changing it, keeping it, and the hints that go with the first minutes.

use super::*;
use crate::actions::by_id;
use crate::keymap::Chord;
use crate::preferences::Preferences;

impl Editor {
    /// What the person prefers.
    pub fn preferences(&self) -> &Preferences {
        &self.kept.now
    }

    /// Takes preferences that were read from a file, and says what was wrong with it.
    pub fn take_preferences(&mut self, kept: Kept) {
        if let Some(damage) = &kept.damage {
            self.complain(damage);
        }
        self.kept = kept;
    }

    /// The hint that is due.
    pub fn hint(&self) -> Option<Hint> {
        let due = |hint: &Hint| match hint {
            Hint::Generate => self.run.is_none() && matches!(self.engine, Engine::Ready { .. }),
            Hint::Order | Hint::Extend | Hint::Open => self.run.is_none() && self.generated,
            Hint::Rewind => self.run.is_none() && self.track().is_some(),
        };
        Hint::ALL.into_iter().filter(|hint| !self.kept.now.hints_done.contains(hint)).find(due)
    }

    pub(super) fn close_hints(&mut self, hints: impl IntoIterator<Item = Hint>) {
        for hint in hints {
            if !self.kept.now.hints_done.contains(&hint) {
                self.prefer(|now| {
                    now.hints_done.insert(hint);
                });
            }
        }
    }

    pub(super) fn prefer(&mut self, change: impl FnOnce(&mut Preferences)) {
        change(&mut self.kept.now);
        self.unkept = self.kept.file.is_some();
    }

    pub(super) fn bind_key(&mut self, id: &'static str, chord: Option<Chord>) -> Result<()> {
        let Some(action) = by_id(id) else { return Ok(()) };
        if let Some((chord, what)) = chord.and_then(|chord| Some((chord, chord.reserved()?))) {
            return Err(Error::control(chord, format!("it is kept for {what}"), "Press another key"));
        }
        self.prefer(|now| now.keys.bind(action, chord));
        Ok(())
    }

    pub(super) fn reset_key(&mut self, id: &'static str) {
        if let Some(action) = by_id(id) {
            self.prefer(|now| now.keys.reset(action));
        }
    }

    /// Writes changed preferences beside the window, one state after the other.
    pub(super) fn keep_preferences(&mut self) {
        if let Some(file) = self.kept.file.clone().filter(|_| self.unkept && !self.keeping) {
            (self.unkept, self.keeping) = (false, true);
            self.errands.keep_preferences(self.kept.now.clone(), file);
        }
    }

    pub(super) fn preferences_kept(&mut self, result: Result<()>) {
        self.keeping = false;
        if let Err(error) = result {
            self.complain(&error);
        }
    }

    /// Writes what is not written yet, before the window closes.
    pub(crate) fn keep_preferences_now(&mut self) {
        if let Some(file) = self.kept.file.clone().filter(|_| self.unkept || self.keeping)
            && let Err(error) = self.kept.now.write(&file)
        {
            eprintln!("andamento: {error}");
        }
        self.unkept = false;
    }
}
