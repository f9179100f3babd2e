//! Every test of Andamento, in one program.

mod gpu;
mod parity;
mod pixels;
mod window;
