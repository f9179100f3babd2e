//! What the person prefers: changing it, keeping it, and the hints that go with the first minutes.

use super::*;
use crate::actions::by_id;
use crate::keymap::Chord;
use crate::preferences::Preferences;

/// Preferences are written once they have stayed the same for so long: a slider is many changes.
const SETTLED: Duration = Duration::from_millis(300);

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
        let Habits { overlay, hardness, combine, wand, snap, jpeg_quality, metadata, .. } = kept.now.habits;
        self.show.overlay = overlay;
        self.brush.hardness = hardness;
        (self.combine, self.wand, self.snap) = (combine, wand, snap);
        (self.desk.quality, self.desk.metadata) = (jpeg_quality, metadata);
        self.kept = kept;
        self.size_brushes();
    }

    /// How the person works now.
    fn habits(&self) -> Habits {
        Habits {
            overlay: self.show.overlay,
            brush: self.kept.now.habits.brush,
            hardness: self.brush.hardness,
            combine: self.combine,
            wand: self.wand,
            snap: self.snap,
            jpeg_quality: self.desk.quality,
            metadata: self.desk.metadata,
        }
    }

    /// Takes another brush; with other pictures it is of a size to match.
    pub(super) fn take_brush_size(&mut self, size: f32) {
        self.brush.size = size.clamp(1.0, MAX_BRUSH);
        let share = self.brush.size / longer_side(&self.document);
        if self.brush.tool != Tool::Order {
            self.prefer(|now| now.habits.brush = share);
        }
    }

    /// The hint that is due.
    pub fn hint(&self) -> Option<Hint> {
        let due = |hint: &Hint| match hint {
            Hint::Generate => self.run.is_none() && matches!(self.engine, Engine::Ready { .. }),
            Hint::Order => self.run.is_none() && self.generated && self.abilities.check_path().is_ok(),
            Hint::Extend | Hint::Boldness | Hint::Open => self.run.is_none() && self.generated,
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
        self.unkept = self.kept.file.is_some().then(Instant::now);
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

    /// Takes down how the person works now.
    fn take_down_habits(&mut self) {
        let habits = self.habits();
        if habits != self.kept.now.habits {
            self.prefer(|now| now.habits = habits);
        }
    }

    /// Writes changed preferences beside the window once they have settled, one state after the other.
    pub(super) fn keep_preferences(&mut self) {
        self.take_down_habits();
        let settled = self.unkept.is_some_and(|since| since.elapsed() >= SETTLED) && !self.keeping;
        if let Some(file) = self.kept.file.clone().filter(|_| settled) {
            (self.unkept, self.keeping) = (None, true);
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
        self.take_down_habits();
        if let Some(file) = self.kept.file.clone().filter(|_| self.unkept.is_some() || self.keeping)
            && let Err(error) = self.kept.now.write(&file)
        {
            eprintln!("andamento: {error}");
        }
        self.unkept = None;
    }
}

/// The longer side of a picture, in pixels.
pub(super) fn longer_side(document: &Document) -> f32 {
    document.picture.width().max(document.picture.height()).max(1) as f32
}
