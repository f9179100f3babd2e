//! Andamento's own WGSL kernels, launched on burn's tensors, and the same operations in plain tensor operations.
//!
//! Most are what a step of decoding consists of, a few new rows at a time, where burn's own kernels are slow and many:
//!
//! - [`Projection`]: a product of few rows with a weight matrix, with the norm in front and activation, gate and residual
//!   behind in the same launch.
//! - [`cache_heads`]: a fused projection taken apart into queries, keys and values, turned or normed, the latter two
//!   written to their cache.
//! - [`cached_attention`]: the attention of a few new queries against a long key-value cache.
//!
//! So a block of a transformer takes six launches. [`train`] has what training repeats thousands of times a step, with
//! gradients. The sources lie in `wgsl/`, a folder per operation; a kernel's text is put together from the parts that it needs.

pub mod attention;
pub mod heads;
mod launch;
pub mod product;
pub mod reference;
pub mod train;

pub use attention::cached_attention;
pub use heads::{Heads, cache_heads};
pub use product::{Activation, Projection};
