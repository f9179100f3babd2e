//! Files: what is opened keeps what it says, what is saved is never lost.

mod autosave;
mod pictures;
mod projects;
#[cfg(unix)]
mod saving;
