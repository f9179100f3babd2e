//! Reading and writing files, and changing large masks, beside the window, which goes on meanwhile.

use std::path::PathBuf;
use std::thread;

use andamento_model::checkpoint::import::{Options, has_both_weights, import};
use andamento_model::library::imported::Shelf;
use andamento_model::picture::{Combine, Mask, Picture};
use andamento_model::{Error, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::command::Adjustment;
use crate::document::{Document, save_atomically};
use crate::models::today;
use crate::preferences::Preferences;
use crate::worker::Waker;

/// An errand that is done.
pub enum Errand {
    /// A picture was opened, or not.
    Opened(Box<Result<Document>>),
    /// A picture was saved, or not.
    Saved {
        /// Under this name.
        path: PathBuf,
        /// The number of the picture.
        picture_id: u64,
        /// Whether it worked.
        result: Result<()>,
    },
    /// A mask file was read, or not.
    MaskRead(Result<Mask>),
    /// The mask was written, or not.
    MaskWritten {
        /// Under this name.
        path: PathBuf,
        /// Whether it worked.
        result: Result<()>,
    },
    /// A selection on the document with this original, ready to change the mask.
    Selected {
        /// What the change is called.
        label: &'static str,
        /// The number of the picture as it was opened.
        original_id: u64,
        /// What was selected.
        selection: Mask,
        /// How it changes the mask.
        how: Combine,
    },
    /// The mask with this number with its edges moved or softened.
    Adjusted {
        /// What was done.
        adjustment: Adjustment,
        /// By so many canvas pixels.
        radius: u32,
        /// The number of the mask before.
        mask_id: u64,
        /// The mask after.
        mask: Mask,
    },
    /// The preferences were written, or not.
    PreferencesKept(Result<()>),
    /// How far an import is, in words.
    Importing(String),
    /// Among these checkpoints some have averaged weights beside those of the last step.
    BothWeights(Vec<PathBuf>),
    /// Checkpoints were imported, or some of them: the ids of the new models, and what was refused.
    Imported {
        /// The ids.
        ids: Vec<String>,
        /// Why others were not.
        refused: Vec<Error>,
    },
}

/// Runs errands, each on a thread of its own.
pub struct Errands {
    outbox: Sender<Errand>,
    inbox: Receiver<Errand>,
    wake: Waker,
}

impl Errands {
    /// No errands yet.
    pub fn new(wake: Waker) -> Self {
        let (outbox, inbox) = unbounded();
        Self { outbox, inbox, wake }
    }

    /// Opens a picture file.
    pub fn open(&self, path: PathBuf) {
        self.run(move || Errand::Opened(Box::new(Document::open(&path))));
    }

    /// Saves the document's picture.
    pub fn save(&self, document: &Document, path: PathBuf) {
        let (picture, picture_id) = (document.picture.clone(), document.picture_id);
        self.run(move || {
            let result = picture.png_bytes().and_then(|bytes| save_atomically(&path, &bytes));
            Errand::Saved { path, picture_id, result }
        });
    }

    /// Reads a mask file for a canvas of this size.
    pub fn read_mask(&self, path: PathBuf, (width, height): (u32, u32)) {
        self.run(move || Errand::MaskRead(Mask::open_for(&path, width, height)));
    }

    /// Writes the mask.
    pub fn write_mask(&self, mask: Mask, path: PathBuf) {
        self.run(move || {
            let result = mask.png_bytes().and_then(|bytes| save_atomically(&path, &bytes));
            Errand::MaskWritten { path, result }
        });
    }

    /// Works out a selection on a document.
    pub fn select(
        &self,
        label: &'static str,
        document: &Document,
        how: Combine,
        selection: impl FnOnce(&Picture) -> Mask + Send + 'static,
    ) {
        let (picture, original_id) = (document.picture.clone(), document.original_id);
        self.run(move || Errand::Selected { label, original_id, selection: selection(&picture), how });
    }

    /// Moves or softens the edges of the document's mask.
    pub fn adjust(&self, document: &Document, adjustment: Adjustment, radius: u32) {
        let (mask, mask_id) = (document.mask.clone(), document.mask_id);
        self.run(move || {
            let mask = match adjustment {
                Adjustment::Grow => mask.grown(radius),
                Adjustment::Shrink => mask.shrunk(radius),
                Adjustment::Feather => mask.feathered(radius),
            };
            Errand::Adjusted { adjustment, radius, mask_id, mask }
        });
    }

    /// Imports checkpoints into the library, one after the other: with averaged weights where a file has both kinds, or
    /// without; until that is chosen, files that have both are only told of.
    pub fn import(&self, files: Vec<PathBuf>, averaged: Option<bool>, shelf: Shelf) {
        let (outbox, wake) = (self.outbox.clone(), self.wake.clone());
        self.run(move || {
            let has_both = |file: &PathBuf| has_both_weights(file).unwrap_or(false);
            if averaged.is_none() && files.iter().any(has_both) {
                return Errand::BothWeights(files);
            }
            let (mut ids, mut refused) = (Vec::new(), Vec::new());
            for file in files {
                let averaged = averaged == Some(true) && has_both(&file);
                let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let mut told = None;
                let outcome = import(&file, &shelf, &Options { averaged, date: today() }, &mut |progress| {
                    let share = (progress.done * 100).checked_div(progress.total).unwrap_or(100);
                    if told != Some((progress.what.to_owned(), share)) {
                        told = Some((progress.what.to_owned(), share));
                        let _gone = outbox.send(Errand::Importing(format!("{name}: {}, {share} %", progress.what)));
                        wake();
                    }
                });
                match outcome {
                    Ok(records) => ids.extend(records.into_iter().map(|record| record.id)),
                    Err(error) => refused.push(error),
                }
            }
            Errand::Imported { ids, refused }
        });
    }

    /// Writes the preferences.
    pub fn keep_preferences(&self, preferences: Preferences, file: PathBuf) {
        self.run(move || Errand::PreferencesKept(preferences.write(&file)));
    }

    /// What was done since the last call.
    pub fn done(&self) -> impl Iterator<Item = Errand> {
        self.inbox.try_iter()
    }

    fn run(&self, errand: impl FnOnce() -> Errand + Send + 'static) {
        let (outbox, wake) = (self.outbox.clone(), self.wake.clone());
        let thread = thread::Builder::new().name("andamento-files".into());
        let started = thread.spawn(move || {
            let _gone = outbox.send(errand());
            wake();
        });
        if let Err(error) = started {
            let error = Error::device("computer", error, "Close other programs and try again");
            let _gone = self.outbox.send(Errand::Opened(Box::new(Err(error))));
        }
    }
}
