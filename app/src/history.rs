//! Undo and redo of whole documents, one history across strokes and generations.

use std::collections::HashSet;
use std::sync::Arc;

use image::RgbaImage;

use crate::document::Document;
use crate::thumbnail::thumbnail;

/// So many changes can be taken back.
const LIMIT: usize = 500;

/// So many entries on either side of the present one are ready to be shown; others are put together first.
const READY: usize = 1;

/// A document as it was, and the change that led to it. Documents share the pixels and the parts of the mask that a change
/// left alone.
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
    fn new(label: impl Into<String>, document: &Document) -> Self {
        let thumbnail = Arc::new(thumbnail(document));
        Self { label: label.into(), document: document.clone(), thumbnail, number: crate::document::fresh() }
    }
}

/// Everything that can be taken back or made again.
pub struct History {
    entries: Vec<Entry>,
    /// The entry that is the present document.
    at: usize,
    /// Pictures that are in a file.
    saved: HashSet<u64>,
}

impl History {
    /// A history that starts with this document.
    pub fn new(document: &Document) -> Self {
        let entry = Entry::new("Open", document);
        Self { saved: HashSet::from([document.picture_id]), entries: vec![entry], at: 0 }
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

    /// The document after the change with this index, 0 being the oldest; none where there is none.
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

    /// Writes down that a picture is in a file.
    pub fn mark_saved(&mut self, picture_id: u64) {
        self.saved.insert(picture_id);
    }

    /// Whether this picture is in no file.
    pub fn is_edited(&self, picture_id: u64) -> bool {
        !self.saved.contains(&picture_id)
    }

    /// Packs what is not near the present.
    fn pack(&mut self) {
        let at = self.at;
        let far = self.entries.iter_mut().enumerate().filter(|(index, _)| index.abs_diff(at) > READY);
        far.for_each(|(_, entry)| entry.document = entry.document.packed());
    }
}
