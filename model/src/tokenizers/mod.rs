//! One tokenizer, one file.

pub(crate) mod layers;
pub mod llamagen_vq;
pub mod var_vqvae;
