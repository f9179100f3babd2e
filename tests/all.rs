//! Every test of Andamento, in one program.

mod decoding;
mod gpu;
mod parity;
mod pixels;
mod window;
