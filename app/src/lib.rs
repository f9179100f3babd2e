//! Andamento, an image editor that repaints pictures with autoregressive generators, token by token.

pub mod actions;
pub mod bench;
pub mod cli;
pub mod command;
pub mod doctor;
pub mod document;
pub mod editor;
pub mod errands;
pub mod evaluate;
pub mod files;
pub mod frames;
pub mod fuzzy;
pub mod headless;
pub mod history;
pub mod keymap;
pub mod models;
pub mod preferences;
pub mod progress;
pub mod surprise;
pub mod thumbnail;
pub mod training;
pub mod ui;
pub mod worker;
