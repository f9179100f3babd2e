//! Every test of Andamento, in one program.

mod annealing;
mod checkpoints;
mod decoding;
mod evaluate;
mod gpu;
mod parity;
mod pixels;
mod scenes;
mod training;
mod window;
