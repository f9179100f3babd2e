//! Reading and writing files, changing large masks and putting pictures together beside the window, which goes on meanwhile.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::thread;

use andamento_model::checkpoint::import::{Options, Progress, has_both_weights, import};
use andamento_model::library::imported::Shelf;
use andamento_model::picture::{Combine, Mask, Picture};
use andamento_model::{Error, Result};
use crossbeam_channel::{Receiver, Sender, unbounded};

use crate::command::Adjustment;
use crate::document::{Document, save_atomically};
use crate::files::autosave::Orphan;
use crate::files::clipboard::{self, Pasted};
use crate::files::export::{self, Format};
use crate::files::project::{self, Snapshot};
use crate::history::State;
use crate::models::today;
use crate::preferences::Preferences;
use crate::worker::{Waker, broken};

/// What was opened.
pub enum Loaded {
    /// A picture.
    Picture {
        /// The document.
        document: Box<Document>,
        /// What could not be taken as it stands in the file.
        remarks: Vec<String>,
    },
    /// A project.
    Project {
        /// Its file.
        path: PathBuf,
        /// What it holds.
        snapshot: Box<Snapshot>,
    },
    /// A grey picture of the canvas's own size, which may be meant as a mask: nothing was opened yet.
    PerhapsMask(PathBuf),
}

/// What shall be written, and how.
pub struct Order {
    /// The name.
    pub path: PathBuf,
    /// As what.
    pub format: Format,
    /// Whether it shall say how it was made.
    pub metadata: bool,
    /// Everything there is.
    pub snapshot: Snapshot,
    /// Where models are known.
    pub shelf: Shelf,
    /// The number of the picture as it was opened.
    pub lineage: u64,
    /// The state of the history.
    pub state: State,
}

/// An errand that is done.
pub enum Errand {
    /// A file was opened, or not.
    Opened(Result<Loaded>),
    /// A file was written, or not.
    Saved {
        /// What was asked for.
        order: Box<Order>,
        /// Whether it worked.
        result: Result<()>,
    },
    /// What another window left behind was read, or not.
    Recovered(Result<(Orphan, Box<Snapshot>)>),
    /// The picture was copied to the clipboard, or not.
    Copied(Result<()>),
    /// Something went wrong that nobody waits for.
    Complaint(Error),
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
        /// What was selected, or why that cannot be told.
        selection: Result<Mask>,
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
        /// The mask after, or why there is none.
        mask: Result<Mask>,
    },
    /// The picture with this number was put together, or not.
    Unpacked {
        /// The number.
        id: u64,
        /// The picture, at hand.
        picture: Result<Picture>,
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

    /// Opens a picture or a project.
    pub fn open(&self, path: PathBuf) {
        self.run(move || Errand::Opened(caught(|| load(path))));
    }

    /// The same, but asks first if it may be a mask for a canvas of this size.
    pub fn open_dropped(&self, path: PathBuf, size: (u32, u32)) {
        self.run(move || {
            let loaded = caught(|| load(path.clone()));
            let mask = matches!(&loaded, Ok(Loaded::Picture { document, .. })
                if !document.picture.color().has_color()
                    && (document.picture.width(), document.picture.height()) == size);
            Errand::Opened(if mask { Ok(Loaded::PerhapsMask(path)) } else { loaded })
        });
    }

    /// Writes the document.
    pub fn write(&self, order: Order) {
        self.run(move || {
            let Order { path, snapshot, format, metadata, shelf, .. } = &order;
            let result = caught(|| export::write(path, snapshot, *format, *metadata, shelf));
            Errand::Saved { order: Box::new(order), result }
        });
    }

    /// Reads what another window left behind.
    pub fn recover(&self, orphan: Orphan) {
        self.run(move || {
            let snapshot = caught(|| project::open_folder(&orphan.folder));
            Errand::Recovered(snapshot.map(|snapshot| (orphan, Box::new(snapshot))))
        });
    }

    /// Copies a picture to the clipboard.
    pub fn copy(&self, picture: Picture) {
        self.run(move || Errand::Copied(caught(|| clipboard::copy(&picture.unpacked()))));
    }

    /// Opens what is on the clipboard.
    pub fn paste(&self) {
        self.run(|| {
            Errand::Opened(caught(|| match clipboard::paste()? {
                Pasted::Picture(picture) => {
                    let document = Box::new(Document::new(picture, "clipboard.png", None));
                    Ok(Loaded::Picture { document, remarks: Vec::new() })
                }
                Pasted::File(path) => load(path),
            }))
        });
    }

    /// A way to tell of what goes wrong elsewhere.
    pub fn complainer(&self) -> impl Fn(Error) + Send + 'static {
        let (outbox, wake) = (self.outbox.clone(), self.wake.clone());
        move |error| {
            let _gone = outbox.send(Errand::Complaint(error));
            wake();
        }
    }

    /// Reads a mask file for a canvas of this size.
    pub fn read_mask(&self, path: PathBuf, (width, height): (u32, u32)) {
        self.run(move || Errand::MaskRead(caught(|| Mask::open_for(&path, width, height))));
    }

    /// Writes the mask.
    pub fn write_mask(&self, mask: Mask, path: PathBuf) {
        self.run(move || {
            let result = caught(|| save_atomically(&path, &mask.png_bytes()?));
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
        self.run(move || {
            let selection = caught(|| Ok(selection(&picture.unpacked())));
            Errand::Selected { label, original_id, selection, how }
        });
    }

    /// Moves or softens the edges of the document's mask.
    pub fn adjust(&self, document: &Document, adjustment: Adjustment, radius: u32) {
        let (mask, mask_id) = (document.mask.clone(), document.mask_id);
        self.run(move || {
            let mask = caught(|| {
                Ok(match adjustment {
                    Adjustment::Grow => mask.grown(radius),
                    Adjustment::Shrink => mask.shrunk(radius),
                    Adjustment::Feather => mask.feathered(radius),
                })
            });
            Errand::Adjusted { adjustment, radius, mask_id, mask }
        });
    }

    /// Puts the picture with this number together. Returns whether that has begun.
    pub fn unpack(&self, id: u64, picture: Picture) -> bool {
        self.run(move || Errand::Unpacked { id, picture: caught(|| Ok(picture.unpacked())) })
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
                let mut tell = |progress: Progress<'_>| {
                    let share = (progress.done * 100).checked_div(progress.total).unwrap_or(100);
                    if told != Some((progress.what.to_owned(), share)) {
                        told = Some((progress.what.to_owned(), share));
                        let _gone = outbox.send(Errand::Importing(format!("{name}: {}, {share} %", progress.what)));
                        wake();
                    }
                };
                let options = Options { averaged, date: today() };
                match caught(|| import(&file, &shelf, &options, &mut tell)) {
                    Ok(records) => ids.extend(records.into_iter().map(|record| record.id)),
                    Err(error) => refused.push(error),
                }
            }
            Errand::Imported { ids, refused }
        });
    }

    /// Writes the preferences.
    pub fn keep_preferences(&self, preferences: Preferences, file: PathBuf) {
        self.run(move || Errand::PreferencesKept(caught(|| preferences.write(&file))));
    }

    /// What was done since the last call.
    pub fn done(&self) -> impl Iterator<Item = Errand> {
        self.inbox.try_iter()
    }

    fn run(&self, errand: impl FnOnce() -> Errand + Send + 'static) -> bool {
        let (outbox, wake) = (self.outbox.clone(), self.wake.clone());
        let thread = thread::Builder::new().name("andamento-files".into());
        let started = thread.spawn(move || {
            let _gone = outbox.send(caught(|| Ok(errand())).unwrap_or_else(Errand::Complaint));
            wake();
        });
        started
            .map_err(|error| Error::device("computer", error, "Close other programs and try again"))
            .map_err(|error| self.outbox.send(Errand::Complaint(error)))
            .is_ok()
    }
}

/// What was worked out; a panic becomes an error, so that nobody waits for ever.
fn caught<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let remedy = "Try again; if it happens again, save what you have under another name and start Andamento again";
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(broken("files", panic.as_ref(), remedy)))
}

fn load(path: PathBuf) -> Result<Loaded> {
    if project::is_archive(&path) {
        let snapshot = Box::new(project::open(&path)?);
        return Ok(Loaded::Project { path, snapshot });
    }
    let (document, remarks) = Document::open(&path)?;
    Ok(Loaded::Picture { document: Box::new(document), remarks })
}
