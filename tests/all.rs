//! Every test of Andamento, in one program.

mod annealing;
mod checkpoints;
mod decoding;
mod evaluate;
mod files;
mod gpu;
mod kernels;
mod parity;
mod perceptual;
mod pixels;
mod scenes;
mod training;
mod window;
