//! One tokenizer, one file.

mod layers;
pub mod llamagen_vq;
