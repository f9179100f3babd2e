//! One paper, one file.

pub mod llamagen;
pub mod randar;
pub mod var;
