//! Autoregressive image generators: networks, tokenizers, orders, decoding and training.
//!
//! Everything without a window or a thread; only [`bench`] looks at a clock. [`paint`](paint::paint) is the whole path on
//! one screen.

pub mod bench;
pub mod boldness;
pub mod checkpoint;
pub mod closeup;
pub mod composite;
pub mod decode;
pub mod device;
mod error;
pub mod evaluate;
pub mod frame;
pub mod kernels;
pub mod lattice;
pub mod ledger;
pub mod library;
mod membrane;
pub mod network;
pub mod networks;
pub mod order;
pub mod paint;
pub mod picture;
pub mod plan;
pub mod sample;
pub mod schedule;
pub mod seam;
pub mod self_test;
pub mod surprise;
pub mod tokenizer;
pub mod tokenizers;
pub mod train;
pub mod turn;

pub use error::{Error, OUR_MISTAKE, Result};
