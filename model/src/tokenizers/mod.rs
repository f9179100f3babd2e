//! One tokenizer, one file.

mod layers;
pub mod llamagen_vq;
pub mod open_magvit2_lfq;
