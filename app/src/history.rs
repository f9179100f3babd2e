//! Undo and redo of whole documents, one history across strokes and generations.

use std::collections::HashSet;
use std::sync::Arc;

use andamento_model::picture::{Parts, Picture};
use image::RgbaImage;

use crate::document::Document;
use crate::files::project::Snapshot;
use crate::thumbnail::thumbnail;

/// So many changes can be taken back.
const LIMIT: usize = 500;

/// So many entries on either side of the present one are ready to be shown; others are put together first.
const READY: usize = 1;

/// Entries further away than this are kept as small as can be: it takes a while to put them together. What nearer ones are
/// put together from is kept as it is.
const FAR: usize = 24;

/// What tells a state of the history from all others.
pub type State = [u64; 6];

/// A document as it was, and the change that led to it. Documents share the pixels and the parts of the mask that a change
/// left alone.
#[derive(Clone)]
pub struct Entry {
    /// What was done.
    pub label: String,
    /// What came of it, packed.
    pub document: Document,
    /// A small picture of it, with what the mask covers coloured.
    pub thumbnail: Arc<RgbaImage>,
    /// Its own number.
    pub number: u64,
}

impl Entry {
    /// A document as a change left it.
    pub(crate) fn new(label: impl Into<String>, document: &Document) -> Self {
        let (thumbnail, number) = (thumbnail(document), crate::document::fresh());
        Self { label: label.into(), document: document.clone(), thumbnail, number }
    }
}

/// Everything that can be taken back or made again.
pub struct History {
    entries: Vec<Entry>,
    /// The entry that is the present document.
    at: usize,
    /// The numbers of pictures that are in a file, and of masks, paths and layers of boldness that need none.
    saved: HashSet<u64>,
}

impl History {
    /// A history that starts with this document.
    pub fn new(document: &Document) -> Self {
        let entry = Entry::new("Open", document);
        Self { saved: HashSet::from(document.ids()), entries: vec![entry], at: 0 }
    }

    /// Writes down a change that led to this document. What had been taken back is forgotten.
    pub fn push(&mut self, label: impl Into<String>, document: &Document) {
        self.entries.truncate(self.at + 1);
        self.entries.push(Entry::new(label, document));
        let excess = self.entries.len().saturating_sub(LIMIT + 1);
        self.entries.drain(..excess);
        self.at = self.entries.len() - 1;
        self.pack();
    }

    /// Puts another outcome of the last change in its place. What had been taken back is forgotten.
    pub fn amend(&mut self, label: impl Into<String>, document: &Document) {
        self.entries.truncate(self.at.max(1));
        self.at = self.entries.len() - 1;
        self.push(label, document);
    }

    /// The document before the last change.
    pub fn undo(&mut self) -> Option<Document> {
        self.go_to(self.at.checked_sub(1)?)
    }

    /// The document after the change that was last taken back.
    pub fn redo(&mut self) -> Option<Document> {
        self.go_to(self.at + 1)
    }

    /// The document after the change with this index, 0 being the oldest; none where there is none. Whether its picture
    /// [is at hand](Picture::is_at_hand) is another question, and takes no time here.
    pub fn go_to(&mut self, index: usize) -> Option<Document> {
        let document = self.entries.get(index)?.document.clone();
        self.at = index;
        self.pack();
        Some(document)
    }

    /// What [`undo`](Self::undo) would take back.
    pub fn undo_label(&self) -> Option<&str> {
        (self.at > 0).then(|| self.entries[self.at].label.as_str())
    }

    /// What [`redo`](Self::redo) would make again.
    pub fn redo_label(&self) -> Option<&str> {
        self.entries.get(self.at + 1).map(|entry| entry.label.as_str())
    }

    /// How many changes can be taken back: the index of the present entry.
    pub fn depth(&self) -> usize {
        self.at
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The labels of all entries, oldest first.
    pub fn labels(&self) -> impl Iterator<Item = &str> {
        self.entries.iter().map(|entry| entry.label.as_str())
    }

    /// Writes down that the picture, mask, path or boldness with this number needs no saving.
    pub fn mark_saved(&mut self, id: u64) {
        self.saved.insert(id);
    }

    /// Whether the picture, mask, path or boldness with this number is in no file.
    pub fn is_edited(&self, id: u64) -> bool {
        !self.saved.contains(&id)
    }

    /// Everything, for a project or the autosave.
    pub fn snapshot(&self, results: Vec<Document>) -> Snapshot {
        Snapshot { entries: self.entries.clone(), at: self.at, results }
    }

    /// Goes on with the history of a project: what is here stays, and can be gone back to. Returns its present document.
    pub fn append(&mut self, snapshot: Snapshot) -> Document {
        self.entries.truncate(self.at + 1);
        let first = self.entries.len();
        let opened = snapshot.entries.iter().map(|entry| &entry.document);
        self.saved.extend(opened.filter(|it| it.picture_id == it.original_id).map(|it| it.picture_id));
        self.entries.extend(snapshot.entries);
        let excess = self.entries.len().saturating_sub(LIMIT + 1).min(first);
        self.entries.drain(..excess);
        self.at = first + snapshot.at - excess;
        let present = self.entries[self.at].document.clone();
        self.pack();
        present
    }

    /// Whether documents were changed since they were opened; `kept` is one that is in a project.
    pub fn has_changes(&self, kept: Option<u64>) -> bool {
        let changed = self.entries.windows(2).filter(|pair| {
            let [before, after] = [&pair[0].document, &pair[1].document];
            before.original_id == after.original_id && Some(after.original_id) != kept
        });
        changed.count() > 0
    }

    /// What tells this state from all others: the numbers of picture, mask, path and boldness, how far it can be taken back,
    /// and how many changes there are.
    pub fn state(&self) -> State {
        let [picture, mask, path, boldness] = self.entries[self.at].document.ids();
        [picture, mask, path, boldness, self.at as u64, self.entries.len() as u64]
    }

    /// A picture beside the present one that is not at hand, with its number.
    pub fn missing(&self) -> Option<(u64, Picture)> {
        self.near(READY).find(|document| !document.picture.is_at_hand()).map(|it| (it.picture_id, it.picture.clone()))
    }

    /// A picture near the present one, with its number, that takes more than a copy to be at hand.
    pub fn closed(&self) -> Option<(u64, Picture)> {
        let mut seen = Parts::default();
        let closed = self.near(FAR).find(|it| !it.picture.is_small() && !it.picture.is_open(&mut seen));
        closed.map(|document| (document.picture_id, document.picture.packed()))
    }

    /// The present document and those around it, the nearest first.
    fn near(&self, most: usize) -> impl Iterator<Item = &Document> {
        let places = (0..=most).flat_map(|away| [self.at.checked_sub(away), self.at.checked_add(away)]);
        places.filter_map(|at| Some(&self.entries.get(at?)?.document))
    }

    /// Takes in the picture with this number, which is at hand now.
    pub fn take(&mut self, id: u64, picture: &Picture) {
        let beside = self.entries.iter_mut().take(self.at + READY + 1).skip(self.at.saturating_sub(READY));
        let same = beside.map(|entry| &mut entry.document).filter(|document| document.picture_id == id);
        same.for_each(|document| document.picture = picture.clone());
        self.pack();
    }

    /// Packs what is not near the present.
    fn pack(&mut self) {
        let (at, mut needed) = (self.at, Parts::default());
        for (index, Entry { document, .. }) in self.entries.iter_mut().enumerate() {
            if index.abs_diff(at) > READY {
                *document = document.packed();
            }
            if index.abs_diff(at) <= FAR {
                needed.add(&document.picture);
            }
        }
        let far = self.entries.iter().enumerate().filter(|(index, _)| index.abs_diff(at) > FAR);
        far.for_each(|(_, entry)| entry.document.picture.shrink_in_time(&mut needed));
    }
}
