//! The command line: the same requests as the window.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use andamento_model::boldness::Boldness;
use andamento_model::checkpoint::Report;
use andamento_model::decode::Knobs;
use andamento_model::device::{self, ChosenDevice, DeviceChoice};
use andamento_model::frame::{Extent, Pass};
use andamento_model::lattice::Lattice;
use andamento_model::ledger::{Ledger, Source};
use andamento_model::library::imported::Shelf;
use andamento_model::library::{self, Card, Entry, Model};
use andamento_model::network::{Abilities, Pace};
use andamento_model::order::{self, ORDERS, OrderPath};
use andamento_model::paint::{Event, Outline, Request, paint};
use andamento_model::picture::{Kind, Mask, Notes, Picture};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::seam::Seam;
use andamento_model::{Error, Result};
use clap::{Args, Parser, Subcommand, ValueEnum};
use serde_json::json;

use crate::document::{Document, save_atomically};
use crate::editor::cause;
use crate::files::export::{Format, QUALITY};
use crate::files::record::notes_of_run;
use crate::files::save::save_with;
use crate::files::{export, openraster};
use crate::progress::Line;
use crate::{bench, doctor, evaluate, frames, models, surprise, training};

/// An image editor that repaints pictures with autoregressive generators, token by token. Without a command it opens the
/// editor.
#[derive(Debug, Parser)]
#[command(name = "andamento", version, max_term_width = 110)]
pub struct Cli {
    /// What to do.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// A picture to open in the editor.
    pub picture: Option<PathBuf>,
    /// The model to begin with in the editor: see `andamento models`, or the folder of a trained one.
    #[arg(long, value_name = "MODEL")]
    pub model: Option<String>,
    /// What computes: auto, cpu, wgpu, or wgpu:N with N from `andamento doctor`.
    #[arg(long, global = true, default_value = "auto", value_name = "DEVICE")]
    pub device: DeviceChoice,
    /// Print the result as JSON.
    #[arg(long, global = true)]
    pub json: bool,
    /// Where imported models and settings lie. By default ANDAMENTO_HOME, or where the system keeps such things.
    #[arg(long, global = true, value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Make a whole picture of a class.
    Generate(Generate),
    /// Repaint the white part of a mask.
    Inpaint(Inpaint),
    /// Extend a picture beyond its edges.
    Outpaint(Outpaint),
    /// Make the picture of a ledger again.
    Replay(Replay),
    /// List the orders in which tokens can be made.
    Orders,
    /// List the models and what they can paint; import, verify and remove them.
    Models(models::Options),
    /// Show the adapters, what was chosen and why, and test it.
    Doctor,
    /// Measure a family and size with random weights.
    Bench(bench::Options),
    /// Train a model by a configuration file.
    Train(training::Options),
    /// Measure how good a model is, on pictures it was not trained on.
    Evaluate(evaluate::Options),
    /// Measure how surprising every token of a picture is: its negative log-likelihood, in bits.
    Surprise(surprise::Options),
}

/// Make a whole picture.
#[derive(Debug, Args)]
pub struct Generate {
    #[command(flatten)]
    run: Run,
}

/// Repaint part of a picture.
#[derive(Debug, Args)]
pub struct Inpaint {
    /// The picture: PNG, JPEG, WebP, TIFF or BMP of any size.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// A grey picture of the same size: white changes, black stays, grey blends.
    #[arg(long, value_name = "FILE")]
    mask: PathBuf,
    #[command(flatten)]
    run: Run,
}

/// Extend a picture.
#[derive(Debug, Args)]
pub struct Outpaint {
    /// The picture: PNG, JPEG, WebP, TIFF or BMP of any size.
    #[arg(long, value_name = "FILE")]
    image: PathBuf,
    /// Pixels to add on the left.
    #[arg(long, default_value_t = 0, value_name = "N")]
    left: u32,
    /// Pixels to add on the right.
    #[arg(long, default_value_t = 0, value_name = "N")]
    right: u32,
    /// Pixels to add above.
    #[arg(long, default_value_t = 0, value_name = "N")]
    top: u32,
    /// Pixels to add below.
    #[arg(long, default_value_t = 0, value_name = "N")]
    bottom: u32,
    #[command(flatten)]
    run: Run,
}

/// Make the picture of a ledger again.
#[derive(Debug, Args)]
pub struct Replay {
    /// A file that `--ledger` wrote.
    ledger: PathBuf,
    /// The source picture, where it has moved since.
    #[arg(long, value_name = "FILE")]
    image: Option<PathBuf>,
    /// Run the generator again and compare every token, instead of drawing the recorded ones.
    #[arg(long)]
    verify: bool,
    /// The picture to write: .png, .tif, .webp or .jpg. By default a PNG with a new name after the ledger's.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Leave out how the picture was made, and what the camera wrote into the source.
    #[arg(long)]
    no_metadata: bool,
}

/// How guidance runs over the steps.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum CfgSchedule {
    /// From 1 up to the scale.
    Linear,
    /// The same scale throughout.
    Constant,
    /// RAR's: late and steep, see --cfg-power.
    PowerCosine,
    /// VAR's: growing with the scales.
    Scales,
}

/// What every run can be told.
#[derive(Debug, Args)]
struct Run {
    /// The model; see `andamento models`.
    #[arg(long, default_value = "scenes-randar", value_name = "ID")]
    model: String,
    /// What to paint: a name or a number; see `andamento models`. Without one the surroundings decide.
    #[arg(long, value_name = "NAME|ID", allow_negative_numbers = true)]
    class: Option<String>,
    /// The order in which tokens are made; see `andamento orders`. By default the one the model does best with.
    #[arg(long, value_name = "NAME")]
    order: Option<String>,
    /// A painted order, for models that can follow one: the tokens that it touches are made first, in its sequence, the
    /// others in the order above. A JSON list of strokes in canvas pixels, such as
    /// [{"width": 24, "points": [[40, 60], [200, 60]]}]; a stroke with "erase": true takes tokens out again.
    #[arg(long, value_name = "FILE")]
    order_path: Option<PathBuf>,
    /// Steps for a whole picture, where the model leaves the choice, as RandAR does; a masked part takes its share. By
    /// default the model's own number for random orders and one token per step for fixed ones.
    #[arg(long, value_name = "N")]
    steps: Option<usize>,
    /// Guidance (CFG): how strongly the class pulls, in the units of the model's paper. 1 is off, for VAR 0.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    cfg: Option<f32>,
    /// How guidance runs over the steps. By default as the model's paper does.
    #[arg(long, value_enum)]
    cfg_schedule: Option<CfgSchedule>,
    /// How late guidance sets in, for the schedule power-cosine; 0 is constant guidance. By default the model's own, for
    /// models that have none RAR-B's 2.75.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    cfg_power: Option<f32>,
    /// Guide no further than this token, counted from the second one of the picture (LlamaGen's cfg_interval); for constant
    /// guidance.
    #[arg(long, value_name = "N")]
    cfg_interval: Option<usize>,
    /// Below 1 cautious, above 1 bold.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    temperature: Option<f32>,
    /// Boldness per token: a grey picture as large as the result. 50 % grey leaves the temperature as it is, black multiplies
    /// it by 0.25 (calm), white by 4 (bold); a token has the mean of its pixels, on a logarithmic scale.
    #[arg(long, value_name = "FILE")]
    boldness: Option<PathBuf>,
    /// Only the likeliest N codes; 0 is all. By default the model's own number.
    #[arg(long, value_name = "N")]
    top_k: Option<usize>,
    /// Only the likeliest codes that reach this probability together; 1 is all. By default the model's own number.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    top_p: Option<f32>,
    /// Spatial contextual guidance (SCG), RandAR's: how strongly all tokens pull against a part of them. 1 is off.
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    scg: Option<f32>,
    /// Work on N times as many tokens along each side, RandAR's resolution extrapolation. A new picture grows with them.
    #[arg(long, value_name = "N", conflicts_with = "whole")]
    refine: Option<usize>,
    /// Work on the whole canvas at once, RandAR's outpainting: as many tokens as it takes when the shorter side has as
    /// many as in training.
    #[arg(long)]
    whole: bool,
    /// Mix codes instead of choosing one: VAR's smooth mode.
    #[arg(long)]
    smooth: bool,
    /// Make tokens anew up to so many pixels beyond the mask as well, so that what is drawn runs on beneath its edge. The
    /// pixels there stay.
    #[arg(long, default_value_t = 0, value_name = "PX")]
    grow: u32,
    /// Soften the mask's edge over so many pixels inwards.
    #[arg(long, default_value_t = 0, value_name = "PX")]
    feather: u32,
    /// Carry the colours of the mask's edge so many pixels into it; 0 is all through.
    #[arg(long, default_value_t = 0, value_name = "PX")]
    blend: u32,
    /// Leave colours at the mask's edge as the tokenizer makes them.
    #[arg(long, conflicts_with = "blend")]
    no_colour_match: bool,
    /// The same number makes the same picture. By default a new one each time.
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The picture to write: .png, .tif, .webp, .jpg or .ora. By default a PNG with a new name after the source's.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Quality of a JPEG, from 1 to 100.
    #[arg(long, value_name = "N", default_value_t = QUALITY, value_parser = clap::value_parser!(u8).range(1..=100))]
    quality: u8,
    /// Leave out how the picture was made, and what the camera wrote into the source.
    #[arg(long)]
    no_metadata: bool,
    /// Write a picture per step into this folder.
    #[arg(long, value_name = "DIR")]
    frames: Option<PathBuf>,
    /// Write what was made, token by token.
    #[arg(long, value_name = "FILE")]
    ledger: Option<PathBuf>,
}

/// What holds for every command.
struct Setting {
    device: DeviceChoice,
    as_json: bool,
    shelf: Shelf,
}

/// Carries out a command.
///
/// # Errors
/// What went wrong, for [`exit_code`].
pub fn run(command: &Command, cli: &Cli) -> Result<()> {
    let (choice, as_json) = (cli.device, cli.json);
    let setting = Setting { device: choice, as_json, shelf: Shelf::open(cli.data_dir.as_deref())? };
    match command {
        Command::Generate(options) => options.run.generate(&setting),
        Command::Inpaint(options) => {
            let picture = Picture::open(&options.image)?;
            let mask = Mask::open(&options.mask)?;
            check_mask(&mask, &picture, &options.mask)?;
            options.run.spare(&options.mask, "the mask")?;
            options.run.on_picture(&options.image, picture, mask, [0; 4], &setting)
        }
        Command::Outpaint(options) => {
            let [left, top, right, bottom] = [options.left, options.top, options.right, options.bottom];
            if [left, top, right, bottom] == [0; 4] {
                let remedy = "Say how many pixels to add with --left, --right, --top or --bottom";
                return Err(Error::control("outpaint", "nothing would be added", remedy));
            }
            let picture = Picture::open(&options.image)?;
            let mask = Mask::new(picture.width(), picture.height()).extended(left, top, right, bottom, 255)?;
            let picture = picture.extended(left, top, right, bottom)?;
            options.run.on_picture(&options.image, picture, mask, [left, top, right, bottom], &setting)
        }
        Command::Replay(options) => options.replay(&setting),
        Command::Orders => {
            list_orders(as_json);
            Ok(())
        }
        Command::Models(options) => models::run(options, &setting.shelf, as_json),
        Command::Doctor => doctor::run(choice, as_json),
        Command::Bench(options) if options.window => frames::run(options.side, choice, setting.shelf.clone(), as_json),
        Command::Bench(options) => bench::run(options, choice, as_json),
        Command::Train(options) => training::run(options, choice),
        Command::Evaluate(options) => evaluate::run(options, choice, &setting.shelf, as_json),
        Command::Surprise(options) => surprise::run(options, choice, &setting.shelf, as_json),
    }
}

/// 2 for arguments that mean nothing, 1 for anything else.
pub fn exit_code(error: &Error) -> u8 {
    match error {
        Error::Control { .. } => 2,
        Error::File { .. } | Error::Device { .. } => 1,
    }
}

fn check_mask(mask: &Mask, picture: &Picture, file: &Path) -> Result<()> {
    let (has, wants) = ((mask.width(), mask.height()), (picture.width(), picture.height()));
    if has != wants {
        let cause = format!("the mask is {} × {}, the picture is {} × {}", has.0, has.1, wants.0, wants.1);
        return Err(Error::file(file, cause, "Give a mask of the picture's size"));
    }
    if mask.is_empty() {
        return Err(Error::file(file, "the mask is empty: nothing may change", "Paint white what should change"));
    }
    Ok(())
}

/// Where a run's canvas came from, and where its result goes.
struct Job {
    request: Request,
    source: Source,
    output: PathBuf,
}

impl Run {
    /// Refuses to write over a file that is read.
    fn spare(&self, read: &Path, what: &str) -> Result<()> {
        for (control, file) in [("--output", &self.output), ("--ledger", &self.ledger)] {
            if file.as_ref().is_some_and(|file| same_file(file, read)) {
                let cause = format!("{} is {what} itself", read.display());
                return Err(Error::control(control, cause, "Choose another name"));
            }
        }
        Ok(())
    }

    fn generate(&self, setting: &Setting) -> Result<()> {
        let entry = library::find(&self.model, &setting.shelf)?;
        let card = entry.card()?;
        self.extent(&card.abilities()?)?;
        let side = card.side * self.refine.unwrap_or(1) as u32;
        let grey = image::RgbImage::from_pixel(side, side, image::Rgb([128; 3]));
        let mut mask = Mask::new(side, side);
        mask.fill_rect(mask_rect(side, side), 255);
        let output = self.output_file(None)?;
        let source = Source::Blank { width: side, height: side };
        let request = self.request(&entry, Picture::new(grey.into()), mask)?;
        self.carry_out(&entry, Job { request, source, output }, setting)
    }

    fn on_picture(
        &self,
        file: &Path,
        picture: Picture,
        mask: Mask,
        extended: [u32; 4],
        setting: &Setting,
    ) -> Result<()> {
        let entry = library::find(&self.model, &setting.shelf)?;
        let output = self.output_file(Some(file))?;
        let bytes = std::fs::read(file).map_err(|error| Error::file(file, error, "Check that it can be read"))?;
        let path = std::path::absolute(file).unwrap_or_else(|_| file.into());
        let path = path.to_string_lossy().into_owned();
        let source = Source::File { path, sha256: library::sha256(&bytes), extended };
        let request = self.request(&entry, picture, mask)?;
        self.carry_out(&entry, Job { request, source, output }, setting)
    }

    fn request(&self, entry: &Entry, picture: Picture, mask: Mask) -> Result<Request> {
        let card = entry.card()?;
        let class = match &self.class {
            Some(subject) => card.subject(subject)?,
            None => card.subjects.len() as u32,
        };
        let abilities = card.abilities()?;
        let extent = self.extent(&abilities)?;
        let native = extent.order().unwrap_or(abilities.orders.native());
        let order = order::by_name(self.order.as_deref().unwrap_or(native))?;
        let schedule = match (self.steps, abilities.pace) {
            (Some(0), _) => return Err(Error::control("--steps", "0 steps make nothing", "Use 1 or more")),
            (Some(_), Pace::Fixed { reason, .. }) => {
                return Err(Error::control("--steps", reason, format!("Leave it out: {} decides", card.family)));
            }
            (Some(steps), Pace::Free) => abilities.schedule(Some(steps)),
            (None, _) => abilities.schedule(order.random.then_some(card.defaults.steps)),
        };
        abilities.check_course(order.name, schedule)?;
        if let Some(note) = abilities.orders.experimental(order.name) {
            eprintln!("order {}: {note}", order.name);
        }
        let path = self.path(&abilities)?;
        let guidance = self.guidance(card.defaults.guidance, &abilities, extent)?;
        let usual = card.defaults.sampling;
        let sampling = Sampling {
            temperature: self.temperature.unwrap_or(usual.temperature),
            top_k: self.top_k.unwrap_or(usual.top_k),
            top_p: self.top_p.unwrap_or(usual.top_p),
            smooth: self.smooth,
            ..usual
        };
        sampling.check()?;
        abilities.check(&sampling)?;
        let boldness = self.boldness(&picture, &sampling)?;
        let knobs = Knobs { class, guidance, sampling, seed: self.seed.unwrap_or_else(fresh_seed) };
        let (order, order_seed) = (order.name.into(), knobs.seed);
        let seam = Seam {
            grow: self.grow,
            feather: self.feather,
            blend: self.blend,
            matched: !self.no_colour_match,
            ..Seam::default()
        };
        seam.check()?;
        let frames = Vec::new();
        Ok(Request { picture, mask, frames, extent, seam, order, order_seed, path, boldness, schedule, knobs })
    }

    /// The boldness of a file.
    fn boldness(&self, picture: &Picture, sampling: &Sampling) -> Result<Boldness> {
        let Some(file) = &self.boldness else { return Ok(Boldness::default()) };
        if sampling.is_greedy() {
            let cause = "the likeliest token is taken everywhere: it would change nothing";
            return Err(Error::control("--boldness", cause, "Give a temperature above 0 and another top-k than 1"));
        }
        self.spare(file, "the boldness")?;
        Boldness::open_for(file, picture.width(), picture.height())
    }

    /// The painted order of a file.
    fn path(&self, abilities: &Abilities) -> Result<Arc<OrderPath>> {
        let Some(file) = &self.order_path else { return Ok(Arc::default()) };
        let refuse = |cause: String| {
            let remedy = r#"Write it as [{"width": 24, "points": [[40, 60], [200, 60]]}]"#;
            Error::file(file, cause, remedy)
        };
        if let Err(error) = abilities.check_path() {
            return Err(Error::control("--order-path", cause(error), "Choose RandAR, or leave it out"));
        }
        if let Some(note) = abilities.experimental_path() {
            eprintln!("painted order: {note}");
        }
        let text = std::fs::read_to_string(file).map_err(|error| refuse(error.to_string()))?;
        let path: OrderPath =
            serde_json::from_str(&text).map_err(|error| refuse(format!("it is no list of strokes: {error}")))?;
        path.check().map_err(|error| refuse(cause(error)))?;
        Ok(Arc::new(path))
    }

    fn extent(&self, abilities: &Abilities) -> Result<Extent> {
        let extent = match (self.refine, self.whole) {
            (Some(factor), _) => Extent::Refined(factor),
            (None, true) => Extent::Canvas,
            (None, false) => Extent::Trained,
        };
        abilities.check_extent(extent)?;
        Ok(extent)
    }

    /// The guidance that was asked for, beginning with the model's own.
    fn guidance(&self, usual: Guidance, abilities: &Abilities, extent: Extent) -> Result<Guidance> {
        let scale = self.cfg.unwrap_or(usual.strength());
        check_range("--cfg", scale, "Use 1 for no guidance")?;
        self.scg.map_or(Ok(()), |context| check_range("--scg", context, "Use 1 for none"))?;
        let guidance = match (self.cfg_schedule, usual) {
            (None, usual) | (Some(CfgSchedule::PowerCosine), usual @ Guidance::PowerCosine { .. }) => {
                usual.with_strength(scale)
            }
            (Some(CfgSchedule::Linear), _) => Guidance::linear(scale),
            (Some(CfgSchedule::Constant), _) => Guidance::constant(scale),
            (Some(CfgSchedule::PowerCosine), _) => Guidance::PowerCosine { scale, power: 2.75 },
            (Some(CfgSchedule::Scales), _) => Guidance::Scales { scale },
        };
        abilities.check_guidance(&guidance)?;
        let guidance = match (guidance, self.cfg_power) {
            (guidance, None) => guidance,
            (Guidance::PowerCosine { scale, .. }, Some(power)) => {
                check_range("--cfg-power", power, "Use 0 for constant guidance")?;
                Guidance::PowerCosine { scale, power }
            }
            (_, Some(_)) => {
                let cause = "only guidance that runs power-cosine has a power";
                return Err(Error::control("--cfg-power", cause, "Add --cfg-schedule power-cosine, or leave it out"));
            }
        };
        let guidance = match (guidance, self.cfg_interval) {
            (guidance, None) => guidance,
            (Guidance::Constant { scale, .. }, until) => Guidance::Constant { scale, until },
            (_, Some(_)) => {
                let cause = "only constant guidance can end at a token";
                return Err(Error::control("--cfg-interval", cause, "Add --cfg-schedule constant, or leave it out"));
            }
        };
        let asked = [self.cfg_schedule.is_some(), self.cfg_power.is_some(), self.cfg_interval.is_some()];
        let asked = asked.contains(&true) || self.scg.is_some();
        if self.class.is_none() && (asked || self.cfg.is_some() && guidance.is_on()) {
            let cause = "guidance pulls towards a class, and none is named";
            return Err(Error::control("--class", cause, "Name one, or leave guidance out"));
        }
        let Some(context) = self.scg else { return Ok(guidance) };
        abilities.check_context()?;
        if !guidance.is_on() {
            let cause = "it stands beside guidance by the class, which is off";
            return Err(Error::control("--scg", cause, "Give --cfg a scale above 1"));
        }
        guidance.with_context(context, extent.dropped())
    }

    /// The file to write: never the source.
    fn output_file(&self, source: Option<&Path>) -> Result<PathBuf> {
        let Some(output) = &self.output else {
            return Ok(crate::document::next_free_name(source.unwrap_or(Path::new("scene.png"))));
        };
        check_output(output, source)?;
        check_folder(output)?;
        Ok(output.clone())
    }

    fn carry_out(&self, entry: &Entry, job: Job, setting: &Setting) -> Result<()> {
        let card = entry.card()?;
        let (passes, lattice) = job.request.passes(&Lattice::grid(card.grid, card.grid), card.stride())?;
        say_passes(&passes, &lattice);
        if let Some(file) = &self.ledger {
            check_ledger(file, &job)?;
        }
        let mut model = load(entry, setting.device)?;
        if let Some(folder) = &self.frames {
            std::fs::create_dir_all(folder)
                .map_err(|error| Error::file(folder, error, "Choose a folder that can be written"))?;
        }
        let started = Instant::now();
        let mut line = Line::new();
        let mut steps = 0;
        let mut made = BTreeSet::new();
        let (mut result, mut shown) = (None, model.device.clone());
        shown.name = model.device.name.clone();
        let mut painting = paint(&mut model, &job.request, &[])?;
        let (outline, mut present) = (painting.outline(), 0);
        while let Some(event) = painting.next() {
            match event? {
                Event::Planned { pass, plan, frame, .. } => {
                    present = pass;
                    let number = if outline.passes == 1 { String::new() } else { format!("pass {}: ", pass + 1) };
                    let (masked, all) = (plan.masked(), plan.lattice.len());
                    line.say(&format!("{number}{}, {masked} of {all} tokens to make", frame.describe()));
                }
                Event::Step(step) => {
                    // Sliding windows make a token several times.
                    made.extend(step.made.iter().map(|made| (present, made.site)));
                    steps += 1;
                    line.update(&progress(steps, made.len(), outline, started));
                    if let Some(folder) = &self.frames {
                        let file = folder.join(format!("{steps:04}.png"));
                        save_atomically(&file, &painting.so_far()?.png_bytes()?)?;
                    }
                }
                Event::Done(picture) => result = Some(picture),
            }
        }
        line.end();
        let picture = result.ok_or_else(|| Error::device(&shown.name, "the run ended early", "Try --device cpu"))?;
        let ledger = painting.ledger(&self.model, &entry.hash(), job.source.clone())?;
        self.write(&job, &picture, ledger.clone(), &card)?;
        if let Some(file) = &self.ledger {
            save_atomically(file, ledger.to_json()?.as_bytes())?;
        }
        let (tokens, seconds) = (made.len(), started.elapsed().as_secs_f64());
        let seed = job.request.knobs.seed;
        if setting.as_json {
            let report = json!({
                "output": job.output, "width": picture.width(), "height": picture.height(), "model": self.model,
                "device": shown.name, "reason": shown.reason, "frame": passes[0].frame.rect,
                "seen_at": passes[0].frame.size, "passes": passes.len(), "tokens": tokens, "steps": steps, "seconds": seconds, "seed": seed,
            });
            println!("{report:#}");
        } else {
            println!("{}: {tokens} tokens in {steps} steps, {seconds:.1} s, seed {seed}", job.output.display());
        }
        Ok(())
    }
}

impl Run {
    /// Writes the result as its name says, by default with how it was made.
    fn write(&self, job: &Job, picture: &Picture, ledger: Ledger, card: &Card) -> Result<()> {
        let notes = if self.no_metadata {
            Notes { none: true, ..Notes::default() }
        } else {
            notes_of_run(ledger, card, (picture.width(), picture.height()))?
        };
        match Format::of(&job.output, self.quality)? {
            Format::Picture(kind) => export::write_picture(&job.output, picture, kind, &notes),
            _ => {
                let before = Document::new(job.request.picture.clone(), "source", None);
                let document = Document { picture: picture.clone(), mask: job.request.mask.clone(), ..before };
                save_with(&job.output, |file| openraster::write(file, &document, &notes))
            }
        }
    }
}

fn progress(steps: usize, tokens: usize, outline: Outline, started: Instant) -> String {
    let Outline { passes, tokens: masked, steps: all } = outline;
    let left = started.elapsed().as_secs_f64() / steps as f64 * (all - steps) as f64;
    let within = if passes == 1 { String::new() } else { format!(" in {passes} passes") };
    format!("step {steps} / {all}{within} · {tokens} of {masked} masked tokens · {left:.1} s left")
}

/// Says beforehand what several passes come to.
fn say_passes(passes: &[Pass], lattice: &Lattice) {
    if passes.len() == 1 {
        return;
    }
    let grid = lattice.finest();
    let masked = |pass: &Pass| {
        let finest = pass.frame.masked_sites(&pass.mask, grid.rows, grid.cols);
        lattice.masked(&finest).into_iter().filter(|masked| *masked).count()
    };
    let tokens: usize = passes.iter().map(masked).sum();
    eprintln!("{} passes, {tokens} tokens to make: the mask is larger than what the model sees at once", passes.len());
}

fn mask_rect(width: u32, height: u32) -> andamento_model::picture::Rect {
    andamento_model::picture::Rect::canvas(width, height)
}

pub(crate) fn check_output(output: &Path, source: Option<&Path>) -> Result<()> {
    match Format::of(output, QUALITY) {
        Ok(Format::Picture(_) | Format::OpenRaster) => {}
        _ => {
            let cause = format!("{} is no kind of picture that is written here", output.display());
            return Err(Error::control("--output", cause, "Give it the ending .png, .tif, .webp, .jpg or .ora"));
        }
    }
    if source.is_some_and(|source| same_file(output, source)) {
        let cause = format!("{} is the source itself", output.display());
        return Err(Error::control("--output", cause, "Choose another name"));
    }
    Ok(())
}

/// Refuses, before anything is computed, a ledger that could not be written or would replace a picture.
fn check_ledger(file: &Path, job: &Job) -> Result<()> {
    if job.source.file().is_some_and(|source| same_file(file, source)) || file == job.output {
        let cause = format!("{} is a picture of this run", file.display());
        return Err(Error::control("--ledger", cause, "Choose another name, such as run.json"));
    }
    check_folder(file)
}

pub(crate) fn check_folder(file: &Path) -> Result<()> {
    match file.parent().filter(|folder| !folder.as_os_str().is_empty() && !folder.is_dir()) {
        Some(folder) => Err(Error::file(folder, "there is no such folder", "Make it, or choose another")),
        None => Ok(()),
    }
}

pub(crate) fn same_file(a: &Path, b: &Path) -> bool {
    matches!((a.canonicalize(), b.canonicalize()), (Ok(a), Ok(b)) if a == b)
}

pub(crate) fn check_range(control: &str, value: f32, remedy: &str) -> Result<()> {
    if (0.0..=100.0).contains(&value) {
        return Ok(());
    }
    Err(Error::control(control, format!("{value} is not between 0 and 100"), remedy))
}

fn fresh_seed() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    // Short enough to be read out and typed again.
    (since.as_nanos() / 1000 % 1_000_000) as u64
}

/// Loads a model, and says on which device and, for imported ones, whether it fits and how far it is.
pub(crate) fn load(entry: &Entry, choice: DeviceChoice) -> Result<Model> {
    let device = device::choose(choice)?;
    eprintln!("{}", describe(&device));
    let Some(needs) = entry.needs() else { return entry.load(device, Report::new(|_| ())) };
    eprintln!("{}", needs.on(&device)?);
    let line = Mutex::new(Line::new());
    let report = Report::new(move |bytes| {
        if let Ok(mut line) = line.lock() {
            line.update(&format!("loading, {:.1} MB", bytes as f64 / 1e6));
        }
    });
    entry.load(device, report)
}

pub(crate) fn describe(device: &ChosenDevice) -> String {
    format!("device: {} ({})", device.name, device.reason)
}

impl Replay {
    fn replay(&self, setting: &Setting) -> Result<()> {
        let text = std::fs::read_to_string(&self.ledger)
            .map_err(|error| Error::file(&self.ledger, error, "Name a file that `--ledger` wrote"))?;
        let ledger = Ledger::from_json(&text, &self.ledger)?;
        let picture = self.canvas(&ledger)?;
        let entry = library::find(&ledger.model, &setting.shelf).map_err(|error| match error {
            Error::Control { .. } => {
                let cause = format!("it was made with {}, which is not here", ledger.model);
                Error::file(&self.ledger, cause, "Import that model with `andamento models import`")
            }
            other => other,
        })?;
        if entry.hash() != ledger.model_hash {
            let cause = format!("it was made with other weights of {}", ledger.model);
            let remedy = "Import those, or use the version of Andamento that made it";
            return Err(Error::file(&self.ledger, cause, remedy));
        }
        let output = match &self.output {
            Some(output) => output.clone(),
            None => crate::document::next_free_name(&self.ledger.with_extension("png")),
        };
        check_output(&output, self.image.as_deref().or(ledger.source.file()))?;
        check_folder(&output)?;
        let mut model = load(&entry, setting.device)?;
        // What the model refuses then is no argument of this call, but stands in the ledger.
        let damaged = |error| match error {
            Error::Control { control, cause, remedy } => {
                Error::file(&self.ledger, format!("{control}: {cause}"), remedy)
            }
            other => other,
        };
        if self.verify {
            self.compare(&mut model, &ledger, &picture).map_err(damaged)?;
        }
        let result = ledger.replay(&mut model, &picture).map_err(damaged)?;
        let kind = Kind::of(&output, QUALITY).ok_or_else(|| {
            let cause = "it has no layers to write";
            Error::control("--output", cause, "Give it the ending .png, .tif, .webp or .jpg")
        })?;
        let notes = if self.no_metadata {
            Notes { none: true, ..Notes::default() }
        } else {
            notes_of_run(ledger, &entry.card()?, (result.width(), result.height()))?
        };
        export::write_picture(&output, &result, kind, &notes)?;
        if setting.as_json {
            println!("{:#}", json!({ "output": output, "verified": self.verify }));
        } else {
            println!("{}: replayed{}", output.display(), if self.verify { ", every token verified" } else { "" });
        }
        Ok(())
    }

    fn canvas(&self, ledger: &Ledger) -> Result<Picture> {
        match &ledger.source {
            Source::Blank { width, height } => {
                let mask = ledger.mask()?;
                if (mask.width(), mask.height()) != (*width, *height) {
                    let cause = format!("its canvas is {width} × {height}, its mask is not");
                    return Err(Error::file(&self.ledger, cause, "Use a file that `--ledger` wrote"));
                }
                Ok(Picture::new(image::RgbImage::from_pixel(*width, *height, image::Rgb([128; 3])).into()))
            }
            Source::File { path, sha256, extended: [left, top, right, bottom] } => {
                let file = self.image.as_deref().unwrap_or(Path::new(path));
                let remedy = "Name the source picture with --image";
                let bytes = std::fs::read(file).map_err(|error| Error::file(file, error, remedy))?;
                if library::sha256(&bytes) != *sha256 {
                    return Err(Error::file(file, "it is not the picture that the ledger was made on", remedy));
                }
                Picture::open(file)?.extended(*left, *top, *right, *bottom)
            }
        }
    }

    fn compare(&self, model: &mut Model, ledger: &Ledger, picture: &Picture) -> Result<()> {
        let recorded = ledger.steps().flat_map(|step| step.made.iter().map(|made| (made.site, made.token)));
        let again = ledger.retrace(model, picture)?;
        let again: Vec<_> =
            again.iter().flat_map(|step| step.made.iter().map(|made| (made.site, made.token))).collect();
        let recorded: Vec<_> = recorded.collect();
        let alike = recorded.iter().zip(&again).filter(|(recorded, again)| recorded == again).count();
        let of = recorded.len().max(again.len());
        if alike < of {
            let cause = format!("{} of {of} tokens came out otherwise on this device", of - alike);
            return Err(Error::file(&self.ledger, cause, "Verify it on the device that made it"));
        }
        Ok(())
    }
}

fn list_orders(as_json: bool) {
    if as_json {
        let orders = ORDERS.iter().map(
            |order| json!({ "name": order.name, "title": order.title, "about": order.about, "random": order.random }),
        );
        println!("{:#}", json!(orders.collect::<Vec<_>>()));
        return;
    }
    for order in &ORDERS {
        println!("{:<14} {}", order.name, order.about);
    }
}
