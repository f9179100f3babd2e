//! Projects, exports, the autosave and its recovery, recent files, the clipboard: what stands around the document.

use super::*;

use crate::errands::{Loaded, Order};
use crate::files::autosave::{Autosave, Orphan, orphans};
use crate::files::export::Format;
use crate::files::folders::Folders;
use crate::files::project::Snapshot;
use crate::files::recent::Recent;
use crate::files::record::Record;
use crate::history::State;

/// How checkpoints are commonly named; what they are is told by their content.
pub(crate) const CHECKPOINTS: [&str; 5] = ["safetensors", "pt", "pth", "bin", "ckpt"];

/// A stroke that goes on for longer than this is kept unfinished.
const LONG_STROKE: Duration = Duration::from_secs(2);

/// What stands around the document.
pub struct Desk {
    /// The project that the document is in.
    pub project: Option<PathBuf>,
    /// Quality of JPEGs, from 1 to 100.
    pub quality: u8,
    /// Whether exported pictures say how they were made, and keep what the camera wrote.
    pub metadata: bool,
    /// Recently opened and saved files, the last one first.
    pub recent: Vec<PathBuf>,
    /// What other windows left behind.
    pub orphans: Vec<Orphan>,
    /// So many files are being opened or written.
    pub busy: usize,
    list: Recent,
    autosave: Autosave,
    /// The state that the autosave knows of.
    kept: State,
    /// The lineage of the project, and its state when it was saved.
    saved: Option<(u64, State)>,
    /// When the stroke that goes on was kept last.
    stroke_kept: Instant,
    stroke_mask: u64,
}

impl Desk {
    pub(super) fn new(folders: &Folders, history: &History, errands: &Errands) -> Self {
        let (list, habits) = (Recent::in_folder(folders.state()), Habits::default());
        Self {
            project: None,
            quality: habits.jpeg_quality,
            metadata: habits.metadata,
            recent: list.list(),
            orphans: orphans(folders.state()),
            busy: 0,
            list,
            autosave: Autosave::start(folders.state(), errands.complainer()),
            kept: history.state(),
            saved: None,
            stroke_kept: Instant::now(),
            stroke_mask: 0,
        }
    }
}

impl Editor {
    /// Everything there is, results included.
    pub fn snapshot(&self) -> Snapshot {
        self.history.snapshot(self.results.iter().map(|result| result.document.clone()).collect())
    }

    /// Whether something is in no file: the picture, or a mask, path or boldness that was changed since the picture was saved;
    /// of a project anything.
    pub fn is_unsaved(&self) -> bool {
        match self.desk.saved {
            Some((lineage, state)) if lineage == self.document.original_id => state != self.history.state(),
            _ => self.document.ids().iter().any(|id| self.history.is_edited(*id)),
        }
    }

    /// The project that the document is in.
    pub fn project(&self) -> Option<&Path> {
        let own = self.desk.saved.is_some_and(|(lineage, _)| lineage == self.document.original_id);
        self.desk.project.as_deref().filter(|_| own)
    }

    /// What an export under this name would lose, in words.
    pub fn losses(&self, path: &Path) -> Vec<&'static str> {
        match Format::of(path, self.desk.quality) {
            Ok(Format::Picture(kind)) => self.document.picture.losses(kind),
            _ => Vec::new(),
        }
    }

    /// Hands over to the autosave what changed. Called in every frame.
    pub(super) fn keep(&mut self) {
        let state = self.history.state();
        let desk = &mut self.desk;
        let outcome = if state != desk.kept {
            desk.kept = state;
            let safe = desk.saved.filter(|(_, saved)| *saved == state).map(|(lineage, _)| lineage);
            if self.history.has_changes(safe) { self.keep_all() } else { self.desk.autosave.forget() }
        } else if self.stroke.is_some() && desk.stroke_kept.elapsed() > LONG_STROKE {
            desk.stroke_kept = Instant::now();
            if std::mem::replace(&mut desk.stroke_mask, self.document.mask_id) == self.document.mask_id {
                return;
            }
            let mut history = self.snapshot();
            history.entries.truncate(history.at + 1);
            history.entries.push(crate::history::Entry::new("Brush stroke", &self.document));
            history.at += 1;
            self.desk.autosave.keep(history)
        } else {
            return;
        };
        if let Err(error) = outcome {
            self.complain(&error);
        }
    }

    fn keep_all(&self) -> Result<()> {
        self.desk.autosave.keep(self.snapshot())
    }

    /// The window closes in the ordinary way: nothing is left behind.
    pub fn close(&mut self) {
        self.desk.autosave.finish();
    }

    pub(super) fn load(&mut self, path: PathBuf) {
        self.dialog = None;
        self.desk.busy += 1;
        self.errands.open(path);
    }

    /// Files that were dropped onto the window: checkpoints are imported, a mask is taken as one, anything else is opened.
    pub(super) fn drop_files(&mut self, paths: Vec<PathBuf>, as_mask: bool) {
        let is_model = |path: &PathBuf| {
            let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
            CHECKPOINTS.contains(&ending.as_str()) || folder::meant(path).is_some()
        };
        let (models, others): (Vec<_>, Vec<_>) = paths.into_iter().partition(is_model);
        if !models.is_empty() {
            self.apply(Command::ImportModels(models));
        }
        match others.into_iter().next() {
            Some(path) if as_mask => self.apply(Command::ImportMask(path)),
            Some(path) => {
                self.dialog = None;
                self.desk.busy += 1;
                let size = (self.document.picture.width(), self.document.picture.height());
                self.errands.open_dropped(path, size);
            }
            None => {}
        }
    }

    pub(super) fn loaded(&mut self, loaded: Loaded) {
        match loaded {
            Loaded::Picture { document, remarks } => {
                let (name, path) = (document.name.clone(), document.path.clone());
                self.open(*document);
                self.remember(path.as_deref());
                if !remarks.is_empty() {
                    self.notify(false, name, remarks.join(" "), String::new());
                } else if self.document.record.is_some() {
                    let cause = "it was made with Andamento, and says how";
                    self.notify(
                        false,
                        name,
                        cause.into(),
                        "Edit ▸ Restore its request takes subject, order and mask".into(),
                    );
                }
            }
            Loaded::Project { path, snapshot } => {
                let lineage = self.take_over(*snapshot, &path);
                self.desk.saved = Some((lineage, self.history.state()));
                self.remember(Some(&path));
                self.desk.project = Some(path);
            }
            // A grey picture of the canvas's own size may be meant as a mask.
            Loaded::PerhapsMask(path) => self.dialog = Some(Dialog::MaskOrPicture(path)),
        }
    }

    /// Goes on with what a project holds. Returns its lineage.
    fn take_over(&mut self, mut snapshot: Snapshot, file: &Path) -> u64 {
        self.end_stroke();
        self.preview = None;
        self.view.fit = true;
        let results = std::mem::take(&mut snapshot.results);
        let outcomes = results.into_iter().map(|document| {
            let thumbnail = RgbaImage::clone(&document.picture.glance());
            Outcome { document, thumbnail, accepted: false }
        });
        self.results.extend(outcomes);
        let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let first = snapshot.entries.first_mut();
        first.into_iter().for_each(|entry| entry.label = format!("Open {name}"));
        let document = self.history.append(snapshot);
        let lineage = document.original_id;
        self.go_to(Some(document));
        self.size_brushes();
        lineage
    }

    /// Goes on with what another window left behind.
    pub(super) fn recover(&mut self, folder: &Path) -> Result<()> {
        let Some(orphan) = self.desk.orphans.iter().find(|orphan| orphan.folder == folder).cloned() else {
            return Ok(());
        };
        self.desk.busy += 1;
        self.errands.recover(orphan);
        Ok(())
    }

    pub(super) fn recovered(&mut self, orphan: Orphan, snapshot: Snapshot) -> Result<()> {
        self.desk.orphans.retain(|other| other.folder != orphan.folder);
        if self.desk.orphans.is_empty() {
            self.dialog = None;
        }
        let name = PathBuf::from(&orphan.name);
        self.take_over(snapshot, &name);
        // It is in no file, whatever the history says.
        self.desk.kept = self.history.state();
        self.desk.autosave.adopt(orphan)?;
        self.keep_all()
    }

    pub(super) fn discard_recovery(&mut self, folder: &Path) -> Result<()> {
        let place = self.desk.orphans.iter().position(|orphan| orphan.folder == folder);
        let Some(orphan) = place.map(|place| self.desk.orphans.remove(place)) else { return Ok(()) };
        if self.desk.orphans.is_empty() {
            self.dialog = None;
        }
        orphan.discard()
    }

    /// Writes the document under a name that says as what.
    pub(super) fn write(&mut self, path: PathBuf, metadata: bool) -> Result<()> {
        if self.document.is_source(&path) {
            let cause = "this is the picture that was opened";
            return Err(Error::file(&path, cause, "Choose another name: sources stay as they are"));
        }
        let format = Format::of(&path, self.desk.quality)?;
        self.end_stroke();
        self.dialog = None;
        self.desk.busy += 1;
        let (snapshot, shelf) = (self.snapshot(), self.shelf.clone());
        let (lineage, state) = (self.document.original_id, self.history.state());
        self.errands.write(Order { path, format, metadata, snapshot, shelf, lineage, state });
        Ok(())
    }

    pub(super) fn written(&mut self, order: &Order) {
        let [picture, mask, path, boldness, ..] = order.state;
        [picture, mask, path, boldness].into_iter().for_each(|id| self.history.mark_saved(id));
        if order.format == Format::Project {
            self.desk.project = Some(order.path.clone());
            self.desk.saved = Some((order.lineage, order.state));
            if order.state == self.history.state() && !self.history.has_changes(Some(order.lineage)) {
                let forgotten = self.desk.autosave.forget();
                forgotten.unwrap_or_else(|error| self.complain(&error));
            }
        }
        self.remember(Some(&order.path));
    }

    /// Puts a file at the top of those that were used last.
    fn remember(&mut self, path: Option<&Path>) {
        let Some(path) = path else { return };
        // A list that cannot be written is no reason to bother anybody.
        let _unwritten = self.desk.list.add(path);
        self.desk.recent = self.desk.list.list();
    }

    pub(super) fn forget_recent(&mut self) -> Result<()> {
        self.desk.list.clear()?;
        self.desk.recent.clear();
        Ok(())
    }

    /// Takes subject, order, knobs and mask from the record in the picture's file.
    pub(super) fn restore_request(&mut self) -> Result<()> {
        let missing = || {
            let cause = "the picture's file does not say how it was made";
            Error::control("Restore its request", cause, "Open a PNG that Andamento wrote with metadata")
        };
        let record = Record::from_json(&self.document.record.clone().ok_or_else(missing)?)?;
        let ledger = record.last_run().ok_or_else(missing)?.clone();
        let mask = ledger.mask()?;
        let same_model = ledger.model == self.card.id;
        if same_model {
            let knobs = ledger.knobs;
            self.settings.subject = knobs.class.min(self.card.subjects.len() as u32);
            self.settings.sampling = knobs.sampling;
            self.settings.guidance = knobs.guidance.strength();
            self.settings.seed = knobs.seed;
            self.settings.seed_locked = true;
            if let Schedule::Cosine { steps } = ledger.schedule {
                self.settings.steps = steps.clamp(1, self.sites());
            }
            self.apply(Command::Extent(ledger.extent));
            self.apply(Command::Order(order::by_name(&ledger.order)?.name));
        } else {
            let cause = format!("it was made with {}, which is not the chosen model", ledger.model);
            self.notify(
                true,
                self.document.name.clone(),
                cause,
                "Choose that model, and restore the request again".into(),
            );
        }
        let size = (self.document.picture.width(), self.document.picture.height());
        if (mask.width(), mask.height()) == size {
            ledger.boldness.check(size.0, size.1)?;
            let restored = self.document.clone().with_mask(mask).with_path(ledger.path);
            self.change("Restore mask", restored.with_boldness(ledger.boldness));
        }
        Ok(())
    }

    /// Copies the picture to the clipboard.
    pub(super) fn copy(&mut self) {
        self.errands.copy(self.document.picture.clone());
    }

    /// Opens what is on the clipboard as a document.
    pub(super) fn paste(&mut self) {
        self.desk.busy += 1;
        self.errands.paste();
    }
}
