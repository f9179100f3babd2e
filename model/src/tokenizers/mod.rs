//! One tokenizer, one file.

pub mod llamagen_vq;
