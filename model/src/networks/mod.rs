//! One paper, one file.

pub mod llamagen;
pub mod open_magvit2;
pub mod randar;
