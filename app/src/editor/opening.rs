//! Pictures that are not at hand: a step of the history that is far away takes seconds to be put together.
//!
//! Whoever goes there is there at once: the document is the one of that step, with its mask, and can be edited, saved and
//! taken back. Its pixels alone follow, put together beside the window, one picture at a time. Who goes on before they are
//! here goes on from there, and what is put together next is what is looked at by then.

use super::*;

/// What is being put together.
#[derive(Default)]
pub(super) struct Opening {
    /// Whether a picture is.
    busy: bool,
    /// Since when one waits for the document's own.
    since: Option<Instant>,
}

impl Editor {
    /// Whether the picture's pixels are not here yet. Everything else about the document is.
    pub fn is_opening(&self) -> bool {
        !self.document.picture.is_at_hand()
    }

    /// For how long one has waited for the picture's pixels; none if they are here.
    pub fn opening_for(&self) -> Option<Duration> {
        self.opening.since.filter(|_| self.is_opening()).map(|since| since.elapsed())
    }

    /// Notes since when one waits.
    pub(super) fn look_whether_opening(&mut self) {
        self.opening.since = self.is_opening().then(|| self.opening.since.unwrap_or_else(Instant::now));
    }

    /// Has the next missing picture put together: the one that is looked at, then those beside it, and then what is near them.
    pub(super) fn open_missing(&mut self) {
        self.look_whether_opening();
        if self.opening.busy {
            return;
        }
        let beneath = match &self.run {
            Some(run) => Some(&run.canvas),
            None => self.timeline.before.as_ref(),
        };
        let document = &self.document;
        let original = Some((document.original_id, &document.original)).filter(|_| self.show.original);
        let looked_at = [(document.picture_id, &document.picture)].into_iter().chain(original);
        let looked_at = looked_at.chain(beneath.map(|(id, picture)| (*id, picture)));
        let missing = looked_at.filter(|(_, picture)| !picture.is_at_hand()).map(|(id, picture)| (id, picture.clone()));
        // While a model works nobody goes anywhere, and it has better use for the processor.
        let rests = self.run.is_none();
        let next = missing.chain(self.history.missing().filter(|_| rests)).next();
        match next {
            Some((id, picture)) => match self.at_hand(id) {
                Some(picture) => self.take_unpacked(id, &picture),
                None => self.opening.busy = self.errands.unpack(id, picture),
            },
            None => {
                let closed = self.history.closed().filter(|_| rests);
                self.opening.busy = closed.is_some_and(|(id, picture)| self.errands.unpack(id, picture));
            }
        }
    }

    /// The picture with this number, if it is at hand somewhere.
    fn at_hand(&self, id: u64) -> Option<Picture> {
        let documents = self.history.entries().iter().map(|entry| &entry.document).chain([&self.document]);
        let pictures = documents.flat_map(|it| [(it.picture_id, &it.picture), (it.original_id, &it.original)]);
        pictures.filter(|(number, _)| *number == id).map(|(_, picture)| picture).find(|it| it.is_at_hand()).cloned()
    }

    /// Takes in a picture that was put together, wherever it is still wanted.
    pub(super) fn take_unpacked(&mut self, id: u64, picture: &Picture) {
        self.opening.busy = false;
        let beneath = self.run.as_mut().map(|run| &mut run.canvas).into_iter().chain(&mut self.timeline.before);
        let same = beneath.filter(|(number, _)| *number == id).map(|(_, picture)| picture);
        let Document { picture: own, picture_id, original, original_id, .. } = &mut self.document;
        let own = [(picture_id, own), (original_id, original)].into_iter().filter(|(number, _)| **number == id);
        same.chain(own.map(|(_, picture)| picture)).for_each(|place| *place = picture.clone());
        self.history.take(id, picture);
    }
}
