//! Every test of Andamento, in one program.

mod annealing;
mod boldness;
mod canvas;
mod checkpoints;
mod decoding;
mod driven;
mod evaluate;
mod feeling;
mod files;
mod folder;
mod gpu;
mod kernels;
mod masks;
mod opening;
mod painted_order;
mod parity;
mod perceptual;
mod picker;
mod pixels;
mod recipes;
mod results;
mod scenes;
mod seams;
mod surprise;
mod training;
mod window;
