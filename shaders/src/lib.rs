//! Andamento's own WGSL kernels, launched on burn's tensors, and the same operations in plain tensor operations.
//!
//! [`cached_attention`] is the attention of a few new queries against a long key-value cache, which burn's own kernels serve
//! poorly; [`train`] has what training repeats thousands of times a step. Their sources lie in `wgsl/`, one file per kernel;
//! the shared parts are put in front when the text is made.

pub mod attention;
pub mod reference;
pub mod train;

pub use attention::cached_attention;
