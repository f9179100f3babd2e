//! Undo and redo of whole documents, one history across strokes and generations.

use crate::document::Document;
use std::collections::HashSet;

/// So many changes can be taken back.
const LIMIT: usize = 500;

/// A document as it was, and the change that led to it. Documents share the pixels and the parts of the mask that a change
/// left alone.
struct Entry {
    label: String,
    document: Document,
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
        let entry = Entry { label: "Open".into(), document: document.clone() };
        Self { saved: HashSet::from([document.picture_id]), entries: vec![entry], at: 0 }
    }

    /// Writes down a change that led to this document. What had been taken back is forgotten.
    pub fn push(&mut self, label: impl Into<String>, document: &Document) {
        self.entries.truncate(self.at + 1);
        self.entries.push(Entry { label: label.into(), document: document.clone() });
        let excess = self.entries.len().saturating_sub(LIMIT + 1);
        self.entries.drain(..excess);
        self.at = self.entries.len() - 1;
    }

    /// The document before the last change.
    pub fn undo(&mut self) -> Option<Document> {
        self.at = self.at.checked_sub(1)?;
        Some(self.present())
    }

    /// The document after the change that was last taken back.
    pub fn redo(&mut self) -> Option<Document> {
        if self.at + 1 >= self.entries.len() {
            return None;
        }
        self.at += 1;
        Some(self.present())
    }

    /// What [`undo`](Self::undo) would take back.
    pub fn undo_label(&self) -> Option<&str> {
        (self.at > 0).then(|| self.entries[self.at].label.as_str())
    }

    /// What [`redo`](Self::redo) would make again.
    pub fn redo_label(&self) -> Option<&str> {
        self.entries.get(self.at + 1).map(|entry| entry.label.as_str())
    }

    /// How many changes can be taken back.
    pub fn depth(&self) -> usize {
        self.at
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

    fn present(&self) -> Document {
        self.entries[self.at].document.clone()
    }
}
