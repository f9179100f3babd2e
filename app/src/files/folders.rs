//! Where the program keeps what is its own.

use std::path::{Path, PathBuf};

use andamento_model::{Error, Result};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};

/// The program's own folders.
#[derive(Debug, Clone)]
pub struct Folders {
    state: PathBuf,
}

impl Folders {
    /// Within `given` or `ANDAMENTO_HOME`, or where the system keeps such things.
    ///
    /// # Errors
    /// If the system names no such place.
    pub fn open(given: Option<&Path>) -> Result<Self> {
        let chosen = given.map(Path::to_path_buf).or_else(|| std::env::var_os("ANDAMENTO_HOME").map(PathBuf::from));
        let state = match chosen {
            Some(home) => home.join("state"),
            None => {
                let home = |error| Error::control("--data-dir", error, "Say where to keep things with --data-dir");
                let system = choose_native_strategy().map_err(home)?;
                system.state_dir().unwrap_or_else(|| system.data_dir()).join("andamento")
            }
        };
        Ok(Self { state })
    }

    /// What shall outlive the program, and is no matter of other machines: the autosave, recent files.
    pub fn state(&self) -> &Path {
        &self.state
    }
}
