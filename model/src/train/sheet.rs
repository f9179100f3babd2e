//! Contact sheets: what a generator makes under a fixed seed, or what a tokenizer makes of pictures.

use std::path::Path;
use std::sync::Arc;

use image::{RgbImage, imageops};

use super::run::{make, write};
use crate::Result;
use crate::boldness::Boldness;
use crate::checkpoint::Report;
use crate::decode::Knobs;
use crate::device::ChosenDevice;
use crate::frame::Extent;
use crate::library::Model;
use crate::library::folder::Trained;
use crate::paint::{Request, paint};
use crate::picture::{Mask, Picture};
use crate::seam::Seam;

/// Pictures on a sheet, its columns, and the seed of the first.
const PICTURES: usize = 12;
const COLUMNS: u32 = 4;
const SEED: u64 = 1;

/// Loads the model of an output folder and paints classes that are evenly spread, by the ordinary decode loop.
///
/// # Errors
/// If the model cannot be loaded or the file not be written.
pub fn generated(output: &Path, device: &ChosenDevice, sheet: &Path) -> Result<()> {
    let mut model = Trained::open(output)?.load(device.clone(), Report::new(|_| ()))?;
    let classes = model.card.subjects.len();
    let pictures = (0..PICTURES).map(|index| whole(&mut model, index * classes / PICTURES, SEED + index as u64));
    let pictures = pictures.collect::<Result<Vec<_>>>()?;
    save(&pictures, COLUMNS, sheet)
}

/// A whole new picture of a class, with the settings that the model does best with.
///
/// # Errors
/// If the model refuses its own settings, or the device fails.
pub fn whole(model: &mut Model, class: usize, seed: u64) -> Result<RgbImage> {
    let (side, defaults) = (model.card.side, model.card.defaults);
    let mut mask = Mask::new(side, side);
    mask.invert();
    let abilities = model.network.spec().abilities;
    let request = Request {
        picture: Picture::new(RgbImage::from_pixel(side, side, image::Rgb([128; 3])).into()),
        mask,
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::PLAIN,
        order: abilities.orders.native().into(),
        order_seed: seed,
        path: Arc::default(),
        boldness: Boldness::default(),
        schedule: abilities.schedule(Some(defaults.steps)),
        knobs: Knobs { class: class as u32, guidance: defaults.guidance, sampling: defaults.sampling, seed },
    };
    Ok(paint(model, &request, &[])?.finish()?.to_rgb8())
}

/// Writes pictures of one size as one PNG, row by row.
///
/// # Errors
/// If the file cannot be written.
pub fn save(pictures: &[RgbImage], columns: u32, sheet: &Path) -> Result<()> {
    let Some(first) = pictures.first() else { return Ok(()) };
    let (width, height) = first.dimensions();
    let rows = (pictures.len() as u32).div_ceil(columns);
    let mut all = RgbImage::new(width * columns, height * rows);
    for (index, picture) in pictures.iter().enumerate() {
        let (column, row) = (index as u32 % columns, index as u32 / columns);
        imageops::replace(&mut all, picture, i64::from(column * width), i64::from(row * height));
    }
    make(sheet.parent().unwrap_or(Path::new(".")))?;
    write(sheet, &Picture::new(all.into()).png_bytes()?)
}
