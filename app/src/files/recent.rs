//! The files that were opened and saved last.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use andamento_model::Result;

use super::save::{refusal, save_atomically};

/// So many are kept.
const COUNT: usize = 12;

/// The list, in a file that all windows share.
#[derive(Debug, Clone)]
pub struct Recent {
    file: PathBuf,
}

impl Recent {
    /// The list in the folder for state.
    pub fn in_folder(state: &Path) -> Self {
        Self { file: state.join("recent.json") }
    }

    /// The files, the last one first, as far as they are still there.
    pub fn list(&self) -> Vec<PathBuf> {
        let text = fs::read(&self.file).unwrap_or_default();
        let files: Vec<PathBuf> = serde_json::from_slice(&text).unwrap_or_default();
        files.into_iter().filter(|file| file.is_file()).take(COUNT).collect()
    }

    /// Puts a file at the top. Windows that do so at the same time wait for each other.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn add(&self, file: &Path) -> Result<()> {
        let file = std::path::absolute(file).unwrap_or_else(|_| file.into());
        self.change(|files| {
            files.retain(|other| *other != file);
            files.insert(0, file);
        })
    }

    /// Empties the list.
    ///
    /// # Errors
    /// If the folder cannot be written.
    pub fn clear(&self) -> Result<()> {
        self.change(Vec::clear)
    }

    fn change(&self, change: impl FnOnce(&mut Vec<PathBuf>)) -> Result<()> {
        let lock = self.file.with_extension("lock");
        let opened = || {
            fs::create_dir_all(super::save::folder_of(&lock))?;
            let lock = File::create(&lock)?;
            lock.lock()?;
            Ok(lock)
        };
        let _held = opened().map_err(|error| refusal(&lock, &error))?;
        let mut files = self.list();
        change(&mut files);
        files.truncate(COUNT);
        save_atomically(&self.file, serde_json::to_string_pretty(&files).unwrap_or_default().as_bytes())
    }
}
