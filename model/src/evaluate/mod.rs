//! `andamento evaluate`: how good a model is, in figures, on pictures that training never saw.
//!
//! Tokenizers: PSNR, SSIM and the use of their codes. Generators, over the features of a network that tells classes apart:
//! the Fréchet distance, the Inception score, precision and recall, density and coverage, and the share of samples that are
//! recognised as their class; then how well a hole of a quarter of the picture is filled, and the bits that true tokens
//! take in every order that the model can follow. Beside the figures of samples stand those that as many real held-out
//! pictures get.
//!
//! Three sets are compared, none of which shares a picture with another: samples, as many held-out pictures (also as the
//! tokenizer gives them back), and a larger reference of held-out pictures. Everything is decided by the seed.

pub mod card;
pub mod features;
pub mod frechet;
pub mod held_out;
pub mod inception;
pub mod likelihood;
pub mod precision_recall;
pub mod similarity;

use std::sync::Arc;

use image::RgbImage;
use serde::Serialize;

use self::features::{Extractor, Reading, features, score};
use self::frechet::Gaussian;
use self::held_out::HeldOut;
use self::precision_recall::Manifolds;
use crate::boldness::Boldness;
use crate::decode::{Decoding, Knobs};
use crate::frame::Extent;
use crate::lattice::{Lattice, Token};
use crate::library::{Card, Model};
use crate::order::{self, ORDERS};
use crate::paint::{Request, paint};
use crate::picture::{Mask, Picture, Rect};
use crate::plan::Plan;
use crate::schedule::Schedule;
use crate::seam::Seam;
use crate::tokenizer::{Tokenizer, to_picture, to_samples};
use crate::train::scenes;
use crate::{Error, Result};

/// Samples, and held-out pictures beside them, where nobody says how many: a few minutes for a bundled model on two cores.
pub const PICTURES: usize = 96;
/// Pictures of the reference, where nobody says how many.
pub const REFERENCE: usize = 1000;
/// Pictures with a hole, and pictures whose likelihood is taken: one of every class of scenes.
const LOOKED_AT: usize = scenes::CLASSES;

/// How an evaluation is done.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Number of samples, and of held-out pictures beside them.
    pub pictures: usize,
    /// Number of other held-out pictures that both are held against; of a folder all that are left.
    pub reference: usize,
    /// Decides pictures and draws.
    pub seed: u64,
    /// The order that samples and holes are made in, where it is not the model's own.
    pub order: Option<&'static str>,
}

/// How far an evaluation is.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done.
    pub task: &'static str,
    /// Pictures done.
    pub done: usize,
    /// Pictures in all.
    pub of: usize,
}

/// What a figure counts in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Unit {
    /// A number.
    Plain,
    /// A share, 0 to 1.
    Share,
    /// Decibels.
    Decibels,
    /// Bits per token.
    Bits,
}

/// One figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What it measures.
    pub name: String,
    /// What it counts in.
    pub unit: Unit,
    /// The model's.
    pub value: f64,
    /// What as many real held-out pictures get, where that says something.
    pub held_out: Option<f64>,
}

impl Figure {
    fn new(name: impl Into<String>, unit: Unit, value: f64) -> Self {
        Self { name: name.into(), unit, value, held_out: None }
    }

    fn beside(self, held_out: f64) -> Self {
        Self { held_out: Some(held_out), ..self }
    }
}

/// The figures of a model.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// What was evaluated.
    pub model: String,
    /// The pictures it was held against.
    pub data: String,
    /// What read the pictures, where anything did.
    pub features: Option<String>,
    /// What computed.
    pub device: String,
    /// Number of samples, and of held-out pictures beside them.
    pub pictures: usize,
    /// Number of pictures of the reference.
    pub reference: usize,
    /// The seed.
    pub seed: u64,
    /// The tokenizer's figures.
    pub tokenizer: Vec<Figure>,
    /// The generator's figures; none of a tokenizer alone.
    pub generator: Vec<Figure>,
    /// What it was compared with.
    pub against: Vec<Against>,
}

/// Another model, or the same in another order, under the same conditions.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Against {
    /// What it is.
    pub model: String,
    /// What the paper says of the two, where it compares such.
    pub claim: Option<&'static str>,
    /// Its figures.
    pub generator: Vec<Figure>,
}

/// A line of a table: a figure, and its values of the model and of all that it was compared with.
pub struct Row<'a> {
    /// The figure, of the model or of the first that has it.
    pub figure: &'a Figure,
    /// The values, none where a model has no such figure.
    pub values: Vec<Option<f64>>,
}

/// The figure that a paper's claim is held against.
pub const FRECHET: &str = "Fréchet distance";

impl Report {
    /// The generators' figures side by side.
    pub fn rows(&self) -> Vec<Row<'_>> {
        let columns: Vec<&[Figure]> = std::iter::once(&self.generator)
            .chain(self.against.iter().map(|other| &other.generator))
            .map(Vec::as_slice)
            .collect();
        let value = |column: &[Figure], name: &str| column.iter().find(|of| of.name == name).map(|of| of.value);
        let mut rows: Vec<Row> = Vec::new();
        for figure in columns.iter().copied().flatten() {
            if rows.iter().all(|row| row.figure.name != figure.name) {
                let values = columns.iter().map(|column| value(column, &figure.name)).collect();
                rows.push(Row { figure, values });
            }
        }
        rows
    }

    /// Sets a report of `other`, or of the same model in another `order`, beside this one, which is of `card`.
    pub fn compare(&mut self, card: &Card, other: &Card, order: Option<&str>, report: Self) {
        let model = order.map_or(report.model.clone(), |order| format!("{}@{order}", report.model));
        self.against.push(Against { model, claim: claim(card, other, order), generator: report.generator });
    }

    /// The report of a tokenizer alone.
    pub fn of_tokenizer(model: &str, data: &HeldOut, device: &str, settings: &Settings, figures: Vec<Figure>) -> Self {
        Self {
            model: model.into(),
            data: data.describe(),
            features: None,
            device: device.into(),
            pictures: settings.pictures,
            reference: 0,
            seed: settings.seed,
            tokenizer: figures,
            generator: Vec::new(),
            against: Vec::new(),
        }
    }
}

/// What a paper says of a model beside another, or beside itself in another `order`.
fn claim(ours: &Card, other: &Card, order: Option<&str>) -> Option<&'static str> {
    match (ours.family.as_str(), other.family.as_str(), order) {
        ("RandAR", "RandAR", Some("raster")) => {
            Some("The paper has random orders ahead of raster order (RandAR, table 3)")
        }
        ("RAR", "RAR", None) => Some("The paper has annealed orders ahead of raster order alone (RAR, table 2)"),
        ("TensorAR", base, None) if ours.network["base"]["family"] == base => Some(
            "The paper has TensorAR ahead of its base model, also of one trained as long (TensorAR, table 3, figure 6)",
        ),
        _ => None,
    }
}

/// A held-out picture, and how the tokenizer gives it back.
struct Reconstruction {
    picture: RgbImage,
    class: Option<u32>,
    tokens: Vec<Token>,
    again: RgbImage,
}

/// Evaluates a tokenizer on pictures of `side` pixels along each side.
///
/// # Errors
/// If the side does not fit, there are not enough pictures, one cannot be read, or the device fails.
pub fn tokenizer(
    tokenizer: &dyn Tokenizer,
    side: u32,
    data: &HeldOut,
    settings: &Settings,
    report: &mut dyn FnMut(&Progress),
) -> Result<Vec<Figure>> {
    let lattice = tokenizer.lattice(side as usize)?;
    reconstruct(tokenizer, &lattice, side, data, settings, report, &mut |_| Ok(()))
}

/// Sends pictures through a tokenizer and hands on each; the tokenizer's figures.
fn reconstruct(
    tokenizer: &dyn Tokenizer,
    lattice: &Lattice,
    side: u32,
    data: &HeldOut,
    settings: &Settings,
    report: &mut dyn FnMut(&Progress),
    each: &mut dyn FnMut(Reconstruction) -> Result<()>,
) -> Result<Vec<Figure>> {
    let count = settings.pictures;
    check_pictures(count, 1)?;
    let (mut decibels, mut alike) = (0.0, 0.0);
    let mut used = vec![0usize; tokenizer.codes()];
    for index in 0..count {
        report(&Progress { task: "held-out pictures", done: index, of: count });
        let (picture, class) = data.picture(index, side)?;
        let tokens = tokenizer.encode(to_samples(&picture, tokenizer.device()))?;
        let again = tokenizer.decode(lattice, &tokens).and_then(to_picture)?;
        decibels += similarity::psnr(&picture, &again);
        alike += similarity::ssim(&picture, &again).ok_or_else(|| too_small(side))?;
        tokens.iter().for_each(|token| used[*token as usize] += 1);
        each(Reconstruction { picture, class, tokens, again })?;
    }
    let in_use = used.iter().filter(|times| **times > 0).count() as f64 / used.len() as f64;
    Ok(vec![
        Figure::new("PSNR", Unit::Decibels, decibels / count as f64),
        Figure::new("SSIM", Unit::Plain, alike / count as f64),
        Figure::new("codes in use", Unit::Share, in_use),
        Figure::new("perplexity of the codes", Unit::Plain, perplexity(&used)),
    ])
}

/// As how many equally frequent codes the codes are used: 2 to the power of their entropy in bits.
pub fn perplexity(used: &[usize]) -> f64 {
    let total: usize = used.iter().sum();
    let shares = used.iter().filter(|times| **times > 0).map(|times| *times as f64 / total as f64);
    (-shares.map(|share| share * share.ln()).sum::<f64>()).exp()
}

fn too_small(side: u32) -> Error {
    Error::control("picture size", format!("SSIM has no window in {side} × {side} pixels"), "Use 11 or more")
}

fn check_pictures(pictures: usize, fewest: usize) -> Result<()> {
    if pictures >= fewest {
        return Ok(());
    }
    Err(Error::control("--pictures", format!("{pictures} are too few"), format!("Use {fewest} or more")))
}

/// Evaluates a generator and its tokenizer.
///
/// # Errors
/// If there are too few pictures for the covariance of the features, one cannot be read, or the device fails.
pub fn model(
    model: &mut Model,
    data: &HeldOut,
    extractor: &dyn Extractor,
    settings: &Settings,
    report: &mut dyn FnMut(&Progress),
) -> Result<Report> {
    let (count, side, lattice) = (settings.pictures, model.card.side, model.lattice());
    // Before anything is computed: what would be refused after minutes.
    check_pictures(count, Manifolds::FEWEST)?;
    course(model, settings.order)?;
    frechet::check(count, extractor.width(), "--pictures")?;
    data.check(count)?;
    let wanted = data.reference(count, settings.reference);
    frechet::check(wanted, extractor.width(), "--reference")?;
    let of_scenes = model.card.subjects.iter().cloned().eq((0..scenes::CLASSES).map(scenes::class_name));
    if matches!(data, HeldOut::Scenes { .. }) && !of_scenes {
        let cause = format!("{} does not paint the bundled scenes", model.card.title);
        return Err(Error::control("--data", cause, "Name a folder of pictures it was not trained on"));
    }

    let (mut real, mut again) = (Vec::new(), Vec::new());
    let mut looked_at: Vec<Reconstruction> = Vec::new();
    let mut each = |picture: Reconstruction| {
        real.push(extractor.read(&picture.picture)?);
        again.push(extractor.read(&picture.again)?);
        if looked_at.len() < LOOKED_AT {
            looked_at.push(picture);
        }
        Ok(())
    };
    let of_tokenizer = reconstruct(model.tokenizer.as_ref(), &lattice, side, data, settings, report, &mut each)?;

    let mut reference = Vec::with_capacity(wanted);
    for index in 0..wanted {
        report(&Progress { task: "reference", done: index, of: wanted });
        reference.push(extractor.read(&data.picture(count + index, side)?.0)?);
    }

    let (mut samples, mut recognised) = (Vec::with_capacity(count), 0);
    for index in 0..count {
        report(&Progress { task: "samples", done: index, of: count });
        let class = index % model.card.subjects.len();
        let sample = sample(model, class as u32, settings.order, draws(settings.seed, index))?;
        let reading = extractor.read(&sample)?;
        recognised += usize::from(reading.class() == class);
        samples.push(reading);
    }

    let mut figures = compared(&reference, &real, &again, &samples)?;
    if of_scenes && extractor.knows_scenes() {
        let right = |(index, reading): &(usize, &Reading)| reading.class() == index % scenes::CLASSES;
        let of_real = real.iter().enumerate().filter(right).count() as f64 / count as f64;
        let share = Figure::new("recognised as their class", Unit::Share, recognised as f64 / count as f64);
        figures.push(if matches!(data, HeldOut::Scenes { .. }) { share.beside(of_real) } else { share });
    }
    figures.push(holes(model, &looked_at, settings, report)?);
    figures.extend(likelihoods(model, &looked_at, settings, report)?);
    Ok(Report {
        model: model.card.id.clone(),
        data: data.describe(),
        features: Some(extractor.name()),
        device: model.device.name.clone(),
        pictures: count,
        reference: wanted,
        seed: settings.seed,
        tokenizer: of_tokenizer,
        generator: figures,
        against: Vec::new(),
    })
}

/// What features say of the samples, and of real pictures beside them.
fn compared(reference: &[Reading], real: &[Reading], again: &[Reading], samples: &[Reading]) -> Result<Vec<Figure>> {
    let gaussian = |readings: &[Reading]| Gaussian::of(&features(readings));
    let whole = gaussian(reference)?;
    let distance = |readings: &[Reading]| Ok(gaussian(readings)?.distance(&whole));
    let (of_samples, of_real, of_again) = (distance(samples)?, distance(real)?, distance(again)?);
    // Both held against the same real pictures; what these get themselves is measured on the first of the reference.
    let (real_features, others) = (features(real), features(&reference[..real.len().min(reference.len())]));
    let made = Manifolds::of(&real_features, &features(samples));
    let true_ones = Manifolds::of(&real_features, &others);
    let figure = |name: &str, unit, value, held_out| Figure::new(name, unit, value).beside(held_out);
    Ok(vec![
        figure(FRECHET, Unit::Plain, of_samples, of_real),
        figure("Fréchet distance of the tokenizer's reconstructions", Unit::Plain, of_again, of_real),
        Figure::new("Fréchet distance, in that of the reconstructions", Unit::Plain, of_samples / of_again),
        figure("Inception score", Unit::Plain, score(samples), score(real)),
        figure("precision", Unit::Share, made.precision, true_ones.precision),
        figure("recall", Unit::Share, made.recall, true_ones.recall),
        figure("density", Unit::Plain, made.density, true_ones.density),
        figure("coverage", Unit::Share, made.coverage, true_ones.coverage),
    ])
}

/// The seed of a picture's draws.
fn draws(seed: u64, index: usize) -> u64 {
    (seed << 32).wrapping_add(index as u64)
}

/// The order that a model works in, its own or another, and how the sites are shared out among steps: as the model does
/// best, but one by one in another order that is fixed (RandAR, table 3).
fn course(model: &Model, order: Option<&'static str>) -> Result<(&'static str, Schedule)> {
    let (abilities, steps) = (model.network.spec().abilities, Some(model.card.defaults.steps));
    let own = abilities.orders.native();
    let name = order.unwrap_or(own);
    let steps = steps.filter(|_| name == own || order::by_name(name).is_ok_and(|order| order.random));
    let schedule = abilities.schedule(steps);
    abilities.check_course(name, schedule)?;
    Ok((name, schedule))
}

/// A whole new picture of a class, in the model's own order or another, with the settings that the model does best with.
///
/// # Errors
/// If the class does not exist, the model cannot follow the order, or the device fails.
pub fn sample(model: &mut Model, class: u32, order: Option<&'static str>, seed: u64) -> Result<RgbImage> {
    let (lattice, defaults) = (model.lattice(), model.card.defaults);
    let abilities = model.network.spec().abilities;
    let (name, schedule) = course(model, order)?;
    let sequence = order::arrange(name, &lattice, seed)?;
    let nothing = vec![None; lattice.len()];
    let plan = Plan::new(lattice, &sequence, &nothing, schedule, abilities.orders.given(name))?;
    let plan = Arc::new(match defaults.guidance.dropped() {
        Some(share) => plan.dropping(share, seed),
        None => plan,
    });
    let knobs = Knobs { class, guidance: defaults.guidance, sampling: defaults.sampling, seed };
    let mut tokens: Vec<Token> = nothing.iter().map(|_| 0).collect();
    let mut decoding = Decoding::start(model.network.as_mut(), plan.clone(), knobs, &[])?;
    for step in decoding.by_ref() {
        step?.made.iter().for_each(|made| tokens[made.site.index()] = made.token);
    }
    match decoding.features() {
        Some(features) => to_picture(model.tokenizer.decode_features(features)?),
        None => to_picture(model.tokenizer.decode(&plan.lattice, &tokens)?),
    }
}

/// Fills a hole of a quarter of the picture in the middle of each; the squared error within all holes, in that of the mean
/// colour of each picture's surroundings.
fn holes(
    model: &mut Model,
    pictures: &[Reconstruction],
    settings: &Settings,
    report: &mut dyn FnMut(&Progress),
) -> Result<Figure> {
    let (mut ours, mut flat) = (0.0, 0.0);
    for (index, Reconstruction { picture, class, .. }) in pictures.iter().enumerate() {
        report(&Progress { task: "holes", done: index, of: pictures.len() });
        let class = class.unwrap_or(model.card.subjects.len() as u32);
        let [filled, mean] = hole(model, picture, class, settings.order, draws(settings.seed, index))?;
        (ours, flat) = (ours + filled, flat + mean);
    }
    Ok(Figure::new("squared error in a hole, in that of the surroundings' mean colour", Unit::Plain, ours / flat))
}

/// Fills a hole in the middle of a picture of the model's own size, half as wide and half as high, with the settings that
/// the model does best with, in its own order or another. The sum of squared errors within, in levels of 8 bits: what the
/// model makes of it, and what the mean colour of the surroundings would.
///
/// # Errors
/// If the class does not exist, the model cannot follow the order, or the device fails.
pub fn hole(
    model: &mut Model,
    truth: &RgbImage,
    class: u32,
    order: Option<&'static str>,
    seed: u64,
) -> Result<[f64; 2]> {
    let (width, height) = truth.dimensions();
    let hole = Rect::new(i64::from(width / 4), i64::from(height / 4), width / 2, height / 2);
    let mut mask = Mask::new(width, height);
    mask.fill_rect(hole, 255);
    let ((order, schedule), defaults) = (course(model, order)?, model.card.defaults);
    let request = Request {
        picture: Picture::new(truth.clone().into()),
        mask: mask.clone(),
        frames: Vec::new(),
        extent: Extent::Trained,
        seam: Seam::PLAIN,
        order: order.into(),
        order_seed: seed,
        path: Arc::default(),
        boldness: Boldness::default(),
        schedule,
        knobs: Knobs { class, guidance: defaults.guidance, sampling: defaults.sampling, seed },
    };
    let filled = paint(model, &request, &[])?.finish()?.to_rgb8();
    let (inside, outside): (Vec<_>, Vec<_>) = truth.enumerate_pixels().partition(|(x, y, _)| mask.get(*x, *y) > 0);
    let mean = |channel: usize| {
        outside.iter().map(|(_, _, pixel)| f64::from(pixel.0[channel])).sum::<f64>() / outside.len() as f64
    };
    let mean = [0, 1, 2].map(mean);
    let mut errors = [0.0; 2];
    for (x, y, truth) in inside {
        let made = filled.get_pixel(x, y);
        for (channel, mean) in mean.iter().enumerate() {
            let truth = f64::from(truth.0[channel]);
            errors[0] += (f64::from(made.0[channel]) - truth).powi(2);
            errors[1] += (mean - truth).powi(2);
        }
    }
    Ok(errors)
}

/// The mean bits per token in every order that the model can follow, its own first; of several scales also scale by scale.
fn likelihoods(
    model: &mut Model,
    pictures: &[Reconstruction],
    settings: &Settings,
    report: &mut dyn FnMut(&Progress),
) -> Result<Vec<Figure>> {
    let abilities = model.network.spec().abilities;
    let (native, lattice) = (abilities.orders.native(), model.lattice());
    let one_grid = lattice.scales().len() == 1;
    let mut orders: Vec<_> = ORDERS.iter().filter(|order| abilities.orders.allow(order.name).is_ok()).collect();
    orders.sort_by_key(|order| order.name != native);
    let (mut figures, of) = (Vec::new(), orders.len() * pictures.len());
    for (place, order) in orders.iter().enumerate() {
        let mut total = vec![0.0; lattice.len()];
        for (index, Reconstruction { class, tokens, .. }) in pictures.iter().enumerate() {
            report(&Progress { task: "likelihood", done: place * pictures.len() + index, of });
            let class = class.unwrap_or(model.card.subjects.len() as u32);
            let seed = draws(settings.seed, index);
            let bits = likelihood::bits(model.network.as_mut(), class, order.name, tokens, seed)?;
            total.iter_mut().zip(bits).for_each(|(total, bits)| *total += bits);
        }
        let mean = |bits: &[f64]| bits.iter().sum::<f64>() / (bits.len() * pictures.len()) as f64;
        let note = match abilities.schedule(None) {
            Schedule::Windows { width } if width > 1 => ", final revision, at most",
            _ if abilities.orders.experimental(order.name).is_some() => ", not trained for",
            _ => "",
        };
        figures.push(Figure::new(format!("bits per token, {}{note}", order.name), Unit::Bits, mean(&total)));
        if !one_grid {
            for (scale, grid) in lattice.scales().iter().enumerate() {
                let sites = lattice.scale(scale);
                let name = format!("bits per token, scale {} × {}", grid.rows, grid.cols);
                figures.push(Figure::new(name, Unit::Bits, mean(&total[sites.start as usize..sites.end as usize])));
            }
        }
    }
    Ok(figures)
}
