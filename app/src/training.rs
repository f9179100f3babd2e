//! `andamento train`: runs a recipe and shows a line of progress.

use std::path::PathBuf;
use std::time::Instant;

use andamento_model::device::{self, DeviceChoice};
use andamento_model::train;
use andamento_model::{Error, Result};
use clap::Args;

use crate::cli::describe;
use crate::progress::Line;

/// Train a model.
#[derive(Debug, Args)]
pub struct Options {
    /// The configuration, such as assets/models/scenes-vq/train.toml. Run it again to go on where it stopped.
    config: PathBuf,
    /// The folder of checkpoints; by default `andamento-run` beside the configuration.
    #[arg(long, value_name = "DIR")]
    run: Option<PathBuf>,
}

/// Trains.
///
/// # Errors
/// If the configuration, a folder or a checkpoint is refused.
pub fn run(options: &Options, choice: DeviceChoice) -> Result<()> {
    let folder = options.config.parent().map(|parent| parent.join("andamento-run"));
    let run = options.run.clone().or(folder).ok_or_else(|| Error::control("--run", "no folder", "Name one"))?;
    let device = device::choose(choice)?;
    eprintln!("{}", describe(&device));
    let mut line = Line::new();
    let (mut task, mut started, mut pictures, mut first) = ("", Instant::now(), 0, 0);
    train::train(&options.config, &run, &device.device, &mut |progress| {
        if task != progress.task {
            line.end();
            (task, started, pictures, first) = (progress.task, Instant::now(), 0, progress.step - 1);
        }
        pictures += progress.pictures;
        let seconds = started.elapsed().as_secs_f64().max(1e-3);
        let left = seconds / (progress.step - first) as f64 * (progress.steps - progress.step) as f64;
        let figures: String = progress.figures.iter().map(|(name, value)| format!(" · {name} {value:.3}")).collect();
        line.update(&format!(
            "{task} {} / {}{figures} · {:.1} pictures/s · {:.0} min left",
            progress.step,
            progress.steps,
            pictures as f64 / seconds,
            left / 60.0,
        ));
    })?;
    line.end();
    println!("trained; checkpoints are in {}", run.display());
    Ok(())
}
