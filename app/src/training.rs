//! `andamento train`: carries out recipes and shows how far they are.

use std::io::{self, BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use andamento_model::device::{self, DeviceChoice};
use andamento_model::train::all::Aside;
use andamento_model::train::{self, Event, Outcome, Progress, Run};
use andamento_model::{Error, Result};
use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use crate::cli::describe;

/// Train a model.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration, such as assets/models/scenes-vq/train.toml. Run it again to go on where it stopped.
    config: PathBuf,
    /// The folder of checkpoints and figures; by default `andamento-run` beside the configuration.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
    /// The folder of tokens, which several runs can share; by default that of the run.
    #[arg(long, value_name = "DIR")]
    tokens: Option<PathBuf>,
    /// Stop after so many minutes; the same command goes on later.
    #[arg(long, value_name = "N")]
    minutes: Option<f64>,
    /// Carry out at the same time what the configuration allows, each run in a process of its own; on a GPU that is usual.
    #[arg(long)]
    at_once: bool,
}

/// Trains.
///
/// # Errors
/// If the configuration, a folder or a checkpoint is refused.
pub fn run(options: &Options, choice: DeviceChoice) -> Result<()> {
    let minutes = options.minutes.unwrap_or(f64::INFINITY);
    if minutes.is_nan() || minutes <= 0.0 {
        return Err(Error::control("--minutes", "it is above 0", "Leave it out for no end"));
    }
    let folder = options.run.clone().unwrap_or_else(|| train::usual_folder(&options.config));
    let device = device::choose(choice)?;
    eprintln!("{}", describe(&device));
    let started = Instant::now();
    let enough = move || started.elapsed().as_secs_f64() >= minutes * 60.0;
    let mut bar = Bar::default();
    let mut report = |event: Event| match event {
        Event::Step(progress) => bar.step(progress),
        Event::Note(text) => bar.say(&text),
    };
    let aside = |name: &str, config: &Path, folder: &Path, tokens: &Path| {
        let left = (minutes - started.elapsed().as_secs_f64() / 60.0).max(1e-3);
        start(name, choice, left, [config, folder, tokens])
    };
    let at_once = options.at_once || device.gpu;
    let mut run = Run {
        folder: folder.clone(),
        tokens: options.tokens.clone().unwrap_or_else(|| folder.clone()),
        device,
        report: &mut report,
        enough: &enough,
        aside: at_once.then_some(&aside as &Aside),
    };
    let outcome = train::train(&options.config, &mut run);
    bar.end();
    match outcome? {
        Outcome::Finished => println!("trained; checkpoints and figures are in {}", folder.display()),
        Outcome::Paused(what) => println!("paused: {what}; run the same command again to go on"),
    }
    Ok(())
}

/// Starts a run in a process of its own, for so many minutes, which tells what it does under its name.
fn start(name: &str, choice: DeviceChoice, minutes: f64, [config, run, tokens]: [&Path; 3]) -> io::Result<Child> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(["--device", &choice.to_string(), "train"])
        .arg(config)
        .arg("--run")
        .arg(run)
        .arg("--tokens")
        .arg(tokens);
    if minutes.is_finite() {
        command.args(["--minutes", &minutes.to_string()]);
    }
    let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn()?;
    if let Some(told) = child.stderr.take() {
        let name = name.to_string();
        std::thread::spawn(move || {
            BufReader::new(told).lines().map_while(io::Result::ok).for_each(|line| eprintln!("{name}: {line}"))
        });
    }
    Ok(child)
}

/// How often a line is written where there is no terminal.
const ELSEWHERE: Duration = Duration::from_secs(10);

/// A bar on a terminal, a line now and then elsewhere.
#[derive(Default)]
struct Bar {
    bar: Option<ProgressBar>,
    task: &'static str,
    started: Option<Instant>,
    first: usize,
    pictures: usize,
    written: Option<Instant>,
}

impl Bar {
    fn step(&mut self, progress: &Progress) {
        if self.task != progress.task || self.bar.is_none() {
            self.end();
            *self =
                Self { task: progress.task, started: Some(Instant::now()), first: progress.step, ..Self::default() };
            let bar = ProgressBar::new(progress.steps as u64);
            // The template is tested by being shown; indicatif's own serves otherwise.
            let style = ProgressStyle::with_template("{prefix} {wide_bar} {pos} / {len} · {msg}");
            bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()).progress_chars("█▉ "));
            bar.set_prefix(progress.task);
            self.bar = Some(bar);
        }
        self.pictures += progress.pictures;
        let text = self.text(progress);
        let Some(bar) = &self.bar else { return };
        bar.set_position(progress.step as u64);
        bar.set_message(text.clone());
        let due = self.written.is_none_or(|written| written.elapsed() >= ELSEWHERE);
        if bar.is_hidden() && (due || progress.step == progress.steps) {
            eprintln!("{} {} / {} · {text}", progress.task, progress.step, progress.steps);
            self.written = Some(Instant::now());
        }
    }

    /// The first figures, which are the losses, the rate and the time left.
    fn text(&self, progress: &Progress) -> String {
        let seconds = self.started.map_or(0.0, |started| started.elapsed().as_secs_f64()).max(1e-3);
        let done = progress.step - self.first;
        let figures: String =
            progress.figures.iter().take(3).map(|(name, value)| format!("{name} {} · ", short(*value))).collect();
        // The first step also makes what the device computes with.
        if done == 0 {
            return format!("{figures}…");
        }
        let left = seconds / done as f64 * (progress.steps - progress.step) as f64;
        format!("{figures}{:.1} pictures/s · {} left", self.pictures as f64 / seconds, time(left))
    }

    fn say(&self, text: &str) {
        match self.bar.as_ref().filter(|bar| !bar.is_hidden()) {
            Some(bar) => bar.println(text),
            None => eprintln!("{text}"),
        }
    }

    fn end(&mut self) {
        if let Some(bar) = self.bar.take() {
            bar.abandon();
        }
    }
}

fn short(value: f64) -> String {
    if value != 0.0 && value.abs() < 1e-3 { format!("{value:.1e}") } else { format!("{value:.3}") }
}

fn time(seconds: f64) -> String {
    match seconds {
        ..90.0 => format!("{seconds:.0} s"),
        90.0..5400.0 => format!("{:.0} min", seconds / 60.0),
        _ => format!("{:.1} h", seconds / 3600.0),
    }
}
