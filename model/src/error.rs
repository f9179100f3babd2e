//! One error type, phrased for the person who reads it: what it concerns, the cause, and the remedy.

use std::path::{Path, PathBuf};

/// What to do about something that no file and no setting can lead to.
pub const OUR_MISTAKE: &str = "This is a mistake in Andamento, not yours: please report it with these words";

/// What went wrong, and what to do next.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Error {
    /// A file could not be read, understood or written.
    #[error("{}: {cause}. {remedy}", file.display())]
    File {
        /// The file as the person named it.
        file: PathBuf,
        /// Why it was refused.
        cause: String,
        /// What to do next.
        remedy: String,
    },
    /// A control, an argument or a configuration value cannot be honoured.
    #[error("{control}: {cause}. {remedy}")]
    Control {
        /// The control's or argument's name as the person sees it.
        control: String,
        /// Why it was refused.
        cause: String,
        /// What to do next.
        remedy: String,
    },
    /// The device that computes failed or is missing.
    #[error("{device}: {cause}. {remedy}")]
    Device {
        /// The device's name.
        device: String,
        /// What it reported.
        cause: String,
        /// What to do next.
        remedy: String,
    },
}

impl Error {
    /// An error about a file.
    pub fn file(file: impl AsRef<Path>, cause: impl ToString, remedy: impl ToString) -> Self {
        Self::File { file: file.as_ref().into(), cause: cause.to_string(), remedy: remedy.to_string() }
    }

    /// An error about a control or an argument.
    pub fn control(control: impl ToString, cause: impl ToString, remedy: impl ToString) -> Self {
        Self::Control { control: control.to_string(), cause: cause.to_string(), remedy: remedy.to_string() }
    }

    /// An error about the device that computes.
    pub fn device(device: impl ToString, cause: impl ToString, remedy: impl ToString) -> Self {
        Self::Device { device: device.to_string(), cause: cause.to_string(), remedy: remedy.to_string() }
    }
}

/// `Result` with this crate's [`Error`].
pub type Result<T> = std::result::Result<T, Error>;
