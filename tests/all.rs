//! Every test of Andamento, in one program.

mod canvas;
mod checkpoints;
mod decoding;
mod gpu;
mod masks;
mod parity;
mod pixels;
mod results;
mod scenes;
mod seams;
mod window;
