//! Every test of Andamento, in one program.

mod checkpoints;
mod decoding;
mod files;
mod gpu;
mod parity;
mod pixels;
mod scenes;
mod window;
