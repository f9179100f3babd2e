//! Every test of Andamento, in one program.

mod canvas;
mod checkpoints;
mod decoding;
mod feeling;
mod gpu;
mod masks;
mod parity;
mod pixels;
mod scenes;
mod window;
