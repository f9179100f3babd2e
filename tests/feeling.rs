//! How the window feels: its keys, its words, its looks, and that nothing one does to it breaks it.

mod keyboard;
mod keys;
mod legible;
mod models;
mod monkey;
mod notices;

use std::path::PathBuf;

use andamento::preferences::Kept;
use andamento::ui::App;
use andamento_model::picture::Picture;
use egui_kittest::Harness;

use crate::driven::Opening;
use crate::folder::Folder;

/// The window as somebody finds it who prefers this.
fn window(kept: Kept, size: [f32; 2]) -> Harness<'static, App> {
    Opening { size, preferences: Some(kept), ..Opening::default() }.window()
}

impl Folder {
    /// A small picture in it.
    fn picture(&self, name: &str) -> PathBuf {
        let image = image::RgbImage::from_fn(160, 120, |x, y| image::Rgb([x as u8, y as u8, 120]));
        self.write(name, Picture::new(image.into()).png_bytes().expect("a picture"))
    }
}
