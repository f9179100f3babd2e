//! The document as a whole: changing it, opening and saving files.

use super::*;
use crate::errands::Errand;

impl Editor {
    pub(super) fn go_to(&mut self, document: Option<Document>) {
        let Some(mut document) = document else { return };
        if document.picture_id == self.document.picture_id {
            // It is at hand already, or about to be.
            document.picture = self.document.picture.clone();
        }
        // A frame that the person has placed stays where it is in the picture.
        let (before, now) = (self.document.original_at, document.original_at);
        let same = document.original_id == self.document.original_id;
        self.frame = self.frame.filter(|_| same).map(|frame| Rect {
            x: frame.x + now.x - before.x,
            y: frame.y + now.y - before.y,
            ..frame
        });
        self.document = document;
        self.look_whether_opening();
        self.timeline = Timeline::default();
        self.picker = None;
        self.touched = (self.document.mask_id, Rect::default());
        self.boldness_brush.touched = (self.document.boldness_id, Rect::default());
        self.aim();
    }

    pub(super) fn change(&mut self, label: &str, document: Document) {
        self.history.push(label, &document);
        self.go_to(Some(document));
    }

    /// Puts another outcome of the last change in its place.
    pub(super) fn amend(&mut self, label: &str, document: Document) {
        self.history.amend(label, &document);
        self.go_to(Some(document));
    }

    pub(super) fn open(&mut self, document: Document) {
        self.end_stroke();
        document.ids().into_iter().for_each(|id| self.history.mark_saved(id));
        self.preview = None;
        self.view.fit = true;
        self.change(&format!("Open {}", document.name), document);
        self.size_brushes();
    }

    /// Saves the project that the document is in, or else a new result beside the source. A mask alone needs a project,
    /// which asks for its name.
    pub(super) fn save(&mut self) -> Result<()> {
        if !self.is_unsaved() {
            let (name, cause) = (self.document.name.clone(), "nothing has changed since it was opened or saved");
            self.notify(false, name, cause.into(), String::new());
            return Ok(());
        }
        match self.project().map(Path::to_path_buf) {
            Some(project) => self.write(project, true),
            None if self.history.is_edited(self.document.picture_id) => self.write(self.document.next_name(), true),
            None => {
                self.dialog = Some(Dialog::Save);
                Ok(())
            }
        }
    }

    pub(super) fn finish(&mut self, errand: Errand) {
        match errand {
            Errand::Opened(result) => {
                self.desk.busy -= 1;
                match result {
                    Ok(loaded) => self.loaded(loaded),
                    Err(error) => self.complain(&error),
                }
            }
            Errand::Recovered(result) => {
                self.desk.busy -= 1;
                let outcome = result.and_then(|(orphan, snapshot)| self.recovered(orphan, *snapshot));
                outcome.unwrap_or_else(|error| self.complain(&error));
            }
            Errand::MaskRead(Ok(mask)) => self.change_mask("Import mask", mask),
            Errand::MaskWritten { path, result: Ok(()) } => self.tell_where(&path, "the mask is written to"),
            Errand::Copied(Ok(())) => {
                let cause = "the picture is on the clipboard, in 8 bit";
                self.notify(false, self.document.name.clone(), cause.into(), String::new());
            }
            Errand::MaskRead(Err(error))
            | Errand::MaskWritten { result: Err(error), .. }
            | Errand::Copied(Err(error))
            // It is not tried again: it would break off again, in every frame.
            | Errand::Unpacked { picture: Err(error), .. }
            | Errand::Complaint(error) => self.complain(&error),
            Errand::Selected { label, original_id, selection, how } => {
                self.waiting -= 1;
                let is_same = original_id == self.document.original_id;
                let outcome = selection.and_then(|it| if is_same { self.combine(label, &it, how) } else { Ok(()) });
                outcome.unwrap_or_else(|error| self.complain(&error));
            }
            Errand::Adjusted { adjustment, radius, mask_id, mask } => {
                self.waiting -= 1;
                match mask {
                    Ok(mask) => self.adjusted(adjustment, radius, mask_id, mask),
                    Err(error) => self.complain(&error),
                }
            }
            Errand::Unpacked { id, picture: Ok(picture) } => self.take_unpacked(id, &picture),
            Errand::PreferencesKept(result) => self.preferences_kept(result),
            Errand::BothWeights(files) => {
                self.importing = None;
                self.dialog = Some(Dialog::Weights(files));
            }
            Errand::Importing(how_far) => self.importing = Some(how_far),
            Errand::Imported { ids, refused } => {
                if let Err(error) = self.imported(&ids, &refused) {
                    self.complain(&error);
                }
            }
            Errand::Saved { order, result: Ok(()) } => {
                self.desk.busy -= 1;
                self.tell_where(&order.path, "saved in");
                self.written(&order);
                self.quitting = self.quit_once_saved;
            }
            Errand::Saved { result: Err(error), .. } => {
                self.desk.busy -= 1;
                self.quit_once_saved = false;
                self.complain(&error);
            }
        }
    }

    /// Tells where a file is now.
    fn tell_where(&mut self, path: &Path, what: &str) {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        self.notify(false, name, format!("{what} {}", folder.display()), String::new());
    }

    /// Writes the mask as a PNG, never over the source.
    pub(super) fn export_mask(&mut self, path: PathBuf) -> Result<()> {
        let path = or_ending(path, "png");
        if self.document.is_source(&path) {
            let cause = "this is the picture that was opened";
            return Err(Error::file(&path, cause, "Choose another name: sources stay as they are"));
        }
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            return Err(Error::file(&path, "masks are written as PNG", "Choose a name that ends in .png"));
        }
        self.dialog = None;
        self.errands.write_mask(self.document.mask.clone(), path);
        Ok(())
    }
}

/// A name with this ending, if it has none.
pub(super) fn or_ending(path: PathBuf, ending: &str) -> PathBuf {
    if path.extension().is_none() { path.with_extension(ending) } else { path }
}
