//! The document as a whole: changing it, opening and saving files.

use super::*;

impl Editor {
    pub(super) fn go_to(&mut self, document: Option<Document>) {
        let Some(document) = document else { return };
        self.document = document;
        self.timeline = Timeline::default();
        self.touched = (self.document.mask_id, Rect::default());
        self.aim();
    }

    pub(super) fn change(&mut self, label: &str, document: Document) {
        self.history.push(label, &document);
        self.go_to(Some(document));
    }

    pub(super) fn open(&mut self, document: Document) {
        self.end_stroke();
        [document.picture_id, document.mask_id].into_iter().for_each(|id| self.history.mark_saved(id));
        self.preview = None;
        self.view.fit = true;
        let longer = document.picture.width().max(document.picture.height()) as f32;
        self.brush.size = (longer * BRUSH).round().clamp(1.0, MAX_BRUSH);
        self.change(&format!("Open {}", document.name), document);
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
            Errand::MaskRead(Ok(mask)) => self.change("Import mask", self.document.clone().with_mask(mask)),
            Errand::Copied(Ok(())) => {
                let cause = "the picture is on the clipboard, in 8 bit";
                self.notify(false, self.document.name.clone(), cause.into(), String::new());
            }
            Errand::MaskRead(Err(error)) | Errand::Copied(Err(error)) | Errand::Complaint(error) => {
                self.complain(&error)
            }
            Errand::Importing(how_far) => self.importing = Some(how_far),
            Errand::Imported { ids, refused } => {
                if let Err(error) = self.imported(&ids, &refused) {
                    self.complain(&error);
                }
            }
            Errand::Saved { order, result: Ok(()) } => {
                self.desk.busy -= 1;
                let path = &order.path;
                let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                self.notify(false, name(path), format!("saved in {}", folder.display()), String::new());
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
}
