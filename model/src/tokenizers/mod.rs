//! One tokenizer, one file.

pub mod llamagen_vq;
pub mod maskgit_vqgan;
