//! `andamento surprise`: how surprising the tokens of a picture are to a model, as a picture, a mask, and in figures.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use andamento_model::device::DeviceChoice;
use andamento_model::library;
use andamento_model::library::imported::Shelf;
use andamento_model::order;
use andamento_model::picture::{Kind, Mask, Notes, Picture};
use andamento_model::surprise::{self, Progress, Query, SurpriseMap, Threshold};
use andamento_model::{Error, Result};
use clap::Args;
use image::{DynamicImage, RgbImage};
use serde_json::json;

use crate::cli::{check_folder, check_output, load, same_file};
use crate::document::{next_free_name, save_atomically};
use crate::files::export::{QUALITY, write_picture};
use crate::progress::Line;
use crate::ui::heated;

/// Measure how surprising every token of a picture is.
#[derive(Debug, Args)]
pub struct Options {
    /// The picture: PNG, JPEG, WebP, TIFF or BMP of any size. It is seen as a whole.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// The model; see `andamento models`.
    #[arg(long, default_value = "scenes-randar", value_name = "ID")]
    model: String,
    /// What the picture shows: a name or a number; see `andamento models`. Without one nothing in particular.
    #[arg(long, value_name = "NAME|ID", allow_negative_numbers = true)]
    class: Option<String>,
    /// Predict each token from those before it in this order; see `andamento orders`. By default RandAR takes the mean of eight
    /// random orders, other models their own, VAR the coarser scales.
    #[arg(long, value_name = "NAME")]
    order: Option<String>,
    /// Decides random orders.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// The picture to write, the source in grey under its tokens' colours from dark blue, the least bits, to pale yellow, the
    /// most: .png, .tif, .webp or .jpg. By default a PNG with a new name after the source's.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Write a mask of the most surprising tokens as well, for `inpaint`: an 8-bit grey PNG.
    #[arg(long, value_name = "FILE")]
    mask: Option<PathBuf>,
    /// How many tokens the mask covers, in percent.
    #[arg(long, default_value_t = 10.0, value_name = "PERCENT", requires = "mask", allow_negative_numbers = true)]
    share: f64,
}

/// Measures, writes the map and the mask, and prints the figures.
///
/// # Errors
/// Names the model, the file or the option, and the reason.
pub fn run(options: &Options, choice: DeviceChoice, shelf: &Shelf, as_json: bool) -> Result<()> {
    let picture = Picture::open(&options.image)?;
    let output = options.output(&options.image)?;
    let kind = Kind::of(&output, QUALITY).ok_or_else(|| {
        let cause = "it has no layers to write";
        Error::control("--output", cause, "Give it the ending .png, .tif, .webp or .jpg")
    })?;
    let entry = library::find(&options.model, shelf)?;
    let card = entry.card()?;
    let class = match &options.class {
        Some(subject) => card.subject(subject)?,
        None => card.subjects.len() as u32,
    };
    let order = options.order.as_deref().map(|name| Ok(order::by_name(name)?.name)).transpose()?;
    let abilities = card.abilities()?;
    if let Some(order) = order {
        abilities.check_course(order, abilities.schedule(None))?;
    }
    if let Some(note) = order.and_then(|order| abilities.orders.experimental(order)) {
        eprintln!("order: {note}");
    }
    let mut model = load(&entry, choice)?;
    let (frame, area) = (surprise::frame(&Mask::new(picture.width(), picture.height()), card.side), picture.rect());
    let query = Query { picture: picture.clone(), frame, area, class, order, seed: options.seed };
    let mut line = Line::new();
    let map = surprise::measure(&mut model, &query, &mut |progress: Progress| {
        line.update(&format!("{} of {} tokens read", progress.done, progress.of));
        ControlFlow::Continue(())
    })?;
    line.end();
    let map = map.ok_or_else(|| Error::device(&model.device.name, "the reading ended early", "Try --device cpu"))?;
    let notes = Notes { none: true, ..Notes::default() };
    write_picture(&output, &Picture::new(coloured(&picture, &map).into()), kind, &notes)?;
    let threshold = Threshold::Share(options.share / 100.0);
    if let Some(file) = &options.mask {
        save_atomically(file, &map.mask(threshold, picture.width(), picture.height()).png_bytes()?)?;
    }
    let selected = map.selected(threshold).into_iter().filter(|selected| *selected).count();
    let (least, most) = map.range();
    if as_json {
        let tokens = map.cells.iter().map(
            |cell| json!({ "row": cell.row, "col": cell.col, "code": map.tokens[cell.site.index()], "bits": cell.bits }),
        );
        let report = json!({
            "output": output, "mask": options.mask, "model": options.model, "device": model.device.name,
            "frame": frame.rect, "seen_at": frame.size, "order": order, "bits": map.total(),
            "bits_per_token": map.total() / map.bits.len() as f64, "bits_per_token_by_scale": map.scales(),
            "least": least, "most": most, "selected": options.mask.as_ref().map(|_| selected), "tokens": tokens.collect::<Vec<_>>(),
        });
        println!("{report:#}");
    } else {
        let mean = map.mean();
        println!("{}: {mean:.2} bits per token, from {least:.1} to {most:.1}, {}", output.display(), frame.describe());
        if let Some(file) = &options.mask {
            println!("{}: {selected} of {} tokens", file.display(), map.cells.len());
        }
    }
    Ok(())
}

impl Options {
    /// The file to write; refuses beforehand what cannot be written, or is read.
    fn output(&self, source: &Path) -> Result<PathBuf> {
        if !(0.0..=100.0).contains(&self.share) {
            let cause = format!("{} is no share of the tokens", self.share);
            return Err(Error::control("--share", cause, "Use 0 to 100 percent"));
        }
        if let Some(mask) = &self.mask {
            if same_file(mask, source) || self.output.as_ref() == Some(mask) {
                let cause = format!("{} is a picture of this run", mask.display());
                return Err(Error::control("--mask", cause, "Choose another name, such as mask.png"));
            }
            check_folder(mask)?;
        }
        let Some(output) = &self.output else {
            let stem = source.file_stem().unwrap_or_default().to_string_lossy();
            return Ok(next_free_name(&source.with_file_name(format!("{stem}-surprise.png"))));
        };
        check_output(output, Some(source))?;
        check_folder(output)?;
        Ok(output.clone())
    }
}

/// The source in grey with its tokens coloured, in 8 bit.
fn coloured(picture: &Picture, map: &SurpriseMap) -> RgbImage {
    let scale = map.scale();
    let grey = DynamicImage::from(picture.to_rgb8()).into_luma8();
    let mut image = DynamicImage::from(grey.clone()).into_rgb8();
    for cell in &map.cells {
        let rect = cell.rect.intersect(picture.rect());
        let pixels = (rect.y..rect.bottom()).flat_map(|y| (rect.x..rect.right()).map(move |x| (x as u32, y as u32)));
        for (x, y) in pixels {
            image.get_pixel_mut(x, y).0 = heated([grey.get_pixel(x, y).0[0]; 3], scale(cell.bits));
        }
    }
    image
}
