//! Every test of Andamento, in one program.

mod checkpoints;
mod decoding;
mod gpu;
mod kernels;
mod parity;
mod pixels;
mod scenes;
mod window;
