//! Files beside the window: saving so that nothing is ever lost, projects, exports, the autosave, recent files, the
//! clipboard.

pub mod autosave;
pub mod clipboard;
pub mod export;
pub mod folders;
pub(crate) mod openraster;
pub mod project;
pub mod recent;
pub mod record;
mod run;
pub mod save;
