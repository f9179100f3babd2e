//! `andamento evaluate`: figures of a model, on the screen, as JSON, and in its card.

use std::path::{Path, PathBuf};
use std::time::Duration;

use andamento_model::device::{self, DeviceChoice};
use andamento_model::evaluate::features::{Classifier, Extractor};
use andamento_model::evaluate::held_out::HeldOut;
use andamento_model::evaluate::inception::Inception;
use andamento_model::evaluate::{self, Figure, PICTURES, Progress, REFERENCE, Report, Settings, card};
use andamento_model::library::imported::Shelf;
use andamento_model::library::{self, Entry, Model, TokenizerCard};
use andamento_model::order;
use andamento_model::train::config::TokenizerSource;
use andamento_model::{Error, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::{describe, load};
use crate::document::save_atomically;

/// Measure how good a model is, on pictures it was not trained on.
///
/// Tokenizers: PSNR, SSIM (11 × 11 Gaussian window, mean of the colour channels) and code use. Generators, by the features
/// of a classifier of the bundled scenes or of an Inception: Fréchet distance, Inception score, precision, recall, density,
/// coverage, recognised samples; inpainting against the surroundings' mean colour; bits per token in every order. With
/// --against the same of other generators stands beside it, and whether what the papers say of the two holds.
#[derive(Debug, Args)]
pub struct Options {
    /// The model (see `andamento models`), or the folder of a trained one. With a generator goes its tokenizer.
    #[arg(value_name = "MODEL|DIR")]
    model: String,
    /// Samples, and held-out pictures beside them; more than the network that reads them has features.
    #[arg(long, default_value_t = PICTURES, value_name = "N")]
    pictures: usize,
    /// Other held-out pictures that both are held against; of a folder all that are left.
    #[arg(long, default_value_t = REFERENCE, value_name = "N")]
    reference: usize,
    /// Held-out pictures of your own: a folder with one subfolder per class, or without any. By default the bundled scenes.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Pixels along each side of a picture, for a tokenizer alone; a generator knows its own.
    #[arg(long, default_value_t = 256, value_name = "N")]
    side: u32,
    /// The Inception of the FID, `pt_inception-2015-12-05-6726825d.pth` as pytorch-fid publishes it.
    #[arg(long, value_name = "FILE")]
    inception: Option<PathBuf>,
    /// Decides pictures and draws.
    #[arg(long, default_value_t = 0, value_name = "N")]
    seed: u64,
    /// Another generator to measure beside it under the same conditions, or the same in another order
    /// (`scenes-randar@raster`); may be given several times.
    #[arg(long, value_name = "MODEL|DIR[@ORDER]")]
    against: Vec<String>,
    /// Write the figures into the model's card.md, with the command that makes them again.
    #[arg(long)]
    write_card: bool,
}

/// Evaluates, prints the figures, and writes them into the card where that was asked for.
///
/// # Errors
/// Names the model, the file or the option, and the reason.
pub fn run(options: &Options, choice: DeviceChoice, shelf: &Shelf, as_json: bool) -> Result<()> {
    let (pictures, reference, seed) = (options.pictures, options.reference, options.seed);
    let settings = Settings { pictures, reference, seed, order: None };
    let card = options.write_card.then(|| options.card()).transpose()?;
    let bar = Bar::default();
    let report = &mut |progress: &Progress| bar.show(progress);
    let found = if is_tokenizer(Path::new(&options.model)) {
        if !options.against.is_empty() {
            return Err(Error::control("--against", "it compares generators", "Measure each tokenizer on its own"));
        }
        let device = device::choose(choice)?;
        eprintln!("{}", describe(&device));
        let source = TokenizerSource { folder: options.model.clone().into(), copy: false };
        let tokenizer = source.load(Path::new(""), &device.device)?.tokenizer;
        let data = options.data(&[])?;
        let figures = evaluate::tokenizer(tokenizer.as_ref(), options.side, &data, &settings, report)?;
        Report::of_tokenizer(&options.model, &data, &device.name, &settings, figures)
    } else {
        // Before minutes are spent: whether all that is to be compared is there.
        let others =
            options.against.iter().map(|name| Ok((name, contender(name, shelf)?))).collect::<Result<Vec<_>>>()?;
        let mut model = load(&library::find(&options.model, shelf)?, choice)?;
        let data = options.data(&model.card.subjects)?;
        let extractor = options.extractor(&model)?;
        let mut found = evaluate::model(&mut model, &data, extractor.as_ref(), &settings, report)?;
        for (name, (entry, order)) in others {
            let settings = Settings { order, ..settings };
            eprintln!("against {name}");
            let mut other = load(&entry, choice)?;
            let figures = evaluate::model(&mut other, &data, extractor.as_ref(), &settings, report)?;
            found.compare(&model.card, &other.card, order, figures);
        }
        found
    };
    bar.end();
    if let Some(file) = card {
        let old = match std::fs::read_to_string(&file) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => format!("# {}\n", found.model),
            Err(error) => return Err(Error::file(&file, error, "Check that it can be read")),
        };
        save_atomically(&file, card::with_figures(&old, &found, &options.command(choice)).as_bytes())?;
        eprintln!("{}: figures written", file.display());
    }
    if as_json {
        println!("{:#}", serde_json::json!(found));
    } else {
        print(&found);
    }
    Ok(())
}

impl Options {
    fn data(&self, subjects: &[String]) -> Result<HeldOut> {
        match &self.data {
            Some(folder) => HeldOut::folder(folder, subjects, self.seed),
            None => Ok(HeldOut::Scenes { seed: self.seed }),
        }
    }

    fn extractor(&self, model: &Model) -> Result<Box<dyn Extractor>> {
        let device = &model.device.device;
        Ok(match &self.inception {
            Some(file) => Box::new(Inception::open(file, device)?),
            None => Box::new(Classifier::bundled(device)?),
        })
    }

    /// The card beside the model: in its folder, or in the sources of the program for a bundled one.
    fn card(&self) -> Result<PathBuf> {
        let folder = Path::new(&self.model);
        let bundled = Path::new("assets/models").join(&self.model);
        let found = [folder, &bundled].into_iter().find(|folder| folder.join("config.json").is_file());
        found.map(|folder| folder.join("card.md")).ok_or_else(|| {
            let cause = format!("there is no folder {} with its card", bundled.display());
            Error::control(
                "--write-card",
                cause,
                "Run it in the folder of Andamento's sources, or name a model's folder",
            )
        })
    }

    /// The command line that gives the same figures again.
    fn command(&self, device: DeviceChoice) -> String {
        let mut words = vec!["andamento evaluate".to_string(), quoted(&self.model)];
        words.push(format!("--pictures {} --reference {} --seed {}", self.pictures, self.reference, self.seed));
        for (name, path) in [("--data", &self.data), ("--inception", &self.inception)] {
            words.extend(path.as_ref().map(|path| format!("{name} {}", quoted(&path.display().to_string()))));
        }
        words.extend(self.against.iter().map(|other| format!("--against {}", quoted(other))));
        if self.side != 256 {
            words.push(format!("--side {}", self.side));
        }
        if device != DeviceChoice::Auto {
            words.push(format!("--device {device}"));
        }
        words.join(" ")
    }
}

/// What a generator is compared with: another, or an order of it, `MODEL@ORDER`.
fn contender(name: &str, shelf: &Shelf) -> Result<(Entry, Option<&'static str>)> {
    let order = name.rsplit_once('@').and_then(|(model, order)| Some((model, order::by_name(order).ok()?.name)));
    let (id, order) = order.map_or((name, None), |(id, order)| (id, Some(order)));
    let entry = library::find(id, shelf)?;
    if let Some(order) = order {
        let allowed = entry.card()?.abilities()?.orders.allow(order);
        allowed.map_err(|reason| Error::control("--against", reason, format!("Leave out @{order}")))?;
    }
    Ok((entry, order))
}

/// Whether a folder holds a tokenizer, by its `config.json`.
fn is_tokenizer(folder: &Path) -> bool {
    let config = std::fs::read(folder.join("config.json")).unwrap_or_default();
    serde_json::from_slice::<TokenizerCard>(&config).is_ok()
}

/// A word as a shell takes it.
fn quoted(word: &str) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_./:".contains(letter);
    if word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn print(report: &Report) {
    println!("{}: {} {}, seed {}", report.model, report.pictures, report.data, report.seed);
    if let Some(features) = &report.features {
        println!("features: {features}; reference: {} others", report.reference);
    }
    let head = |title: &str, columns: &[&str]| {
        println!("\n{title:<66}{}", columns.iter().map(|of| format!(" {of:>WIDTH$}")).collect::<String>());
    };
    let line = |of: &Figure, values: &[Option<f64>]| {
        let cells =
            values.iter().chain([&of.held_out]).map(|value| format!(" {:>WIDTH$}", card::cell(*value, of.unit)));
        println!("{:<66}{}", of.name, cells.collect::<String>());
    };
    let rows = report.rows();
    if !rows.is_empty() {
        let others = report.against.iter().map(|other| other.model.as_str());
        head("generator", &["model"].into_iter().chain(others).chain(["held-out"]).collect::<Vec<_>>());
        rows.iter().for_each(|row| line(row.figure, &row.values));
    }
    if !report.tokenizer.is_empty() {
        head("tokenizer", &["model", "held-out"]);
        report.tokenizer.iter().for_each(|figure| line(figure, &[Some(figure.value)]));
    }
    card::verdicts(report).iter().for_each(|verdict| println!("\n{verdict}"));
}

/// Letters of a column.
const WIDTH: usize = 20;

/// A progress bar that begins anew with every task; where there is no terminal, a line for each.
#[derive(Default)]
struct Bar(std::cell::RefCell<Option<(&'static str, ProgressBar)>>);

impl Bar {
    fn show(&self, progress: &Progress) {
        let mut shown = self.0.borrow_mut();
        if let Some((task, bar)) = shown.as_ref()
            && *task == progress.task
        {
            bar.set_position(progress.done as u64);
            return;
        }
        if let Some((_, bar)) = shown.take() {
            bar.finish_and_clear();
        }
        let style = ProgressStyle::with_template("{msg:<18} {wide_bar} {pos} / {len} · {per_sec} · {eta} left");
        let bar = ProgressBar::new(progress.of as u64).with_message(progress.task);
        // The template is fixed; a style that could not be read would leave the plain bar.
        let bar = style.map(|style| bar.clone().with_style(style)).unwrap_or(bar);
        if bar.is_hidden() {
            eprintln!("{}: {} to do", progress.task, progress.of);
        }
        bar.enable_steady_tick(Duration::from_millis(500));
        *shown = Some((progress.task, bar));
    }

    fn end(&self) {
        if let Some((_, bar)) = self.0.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
