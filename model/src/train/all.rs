//! Several configurations in sequence: finished ones are skipped, an interrupted one goes on, and what remains is said.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::run::Folder;
use super::{Event, Outcome, Run, config, train, usual_folder};
use crate::{Error, Result};

/// The configuration `recipe = "all"`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct All {
    /// The name of this recipe.
    pub recipe: String,
    /// The configurations, relative to this one; a generator's comes after its tokenizer's.
    pub runs: Vec<PathBuf>,
}

/// What of a configuration says how long it is.
#[derive(Deserialize)]
struct Length {
    steps: usize,
}

/// Carries out every configuration, each in a run's folder of its own: the usual one beside it, or under the one that was
/// asked for, by the name of the configuration or, where that is `train.toml`, of its folder.
///
/// # Errors
/// As those of the configurations.
pub fn run(path: &Path, run: &mut Run) -> Result<Outcome> {
    let all: All = toml::from_str(&config::text(path)?)
        .map_err(|error| Error::file(path, error.to_string().trim_end(), "Correct the configuration"))?;
    let base = path.parent().unwrap_or(Path::new("."));
    let asked = Some(run.folder.as_path()).filter(|folder| *folder != usual_folder(path));
    let parts = all.runs.iter().map(|part| Part::of(&base.join(part), asked)).collect::<Result<Vec<_>>>()?;
    for (index, part) in parts.iter().enumerate() {
        if part.finished()? {
            (run.report)(Event::Note(format!("{}: finished", part.name)));
            continue;
        }
        if (run.enough)() {
            return remaining(&parts[index..]);
        }
        (run.report)(Event::Note(format!("{}: {} of {} steps done", part.name, part.done()?, part.steps)));
        let mut one = Run {
            folder: part.folder.clone(),
            tokens: run.tokens.clone(),
            device: run.device.clone(),
            report: &mut *run.report,
            enough: run.enough,
        };
        if let Outcome::Paused(_) = train(&part.config, &mut one)? {
            return remaining(&parts[index..]);
        }
    }
    Ok(Outcome::Finished)
}

/// A configuration and where its run is.
struct Part {
    name: String,
    config: PathBuf,
    folder: PathBuf,
    steps: usize,
}

impl Part {
    fn of(config: &Path, asked: Option<&Path>) -> Result<Self> {
        let length: Length = toml::from_str(&config::text(config)?)
            .map_err(|error| Error::file(config, error.to_string().trim_end(), "Correct the configuration"))?;
        let (stem, parent) = (config.file_stem(), config.parent().and_then(Path::file_name));
        let named = stem.filter(|stem| *stem != "train").or(parent).or(stem).unwrap_or_default();
        let name = named.to_string_lossy().into_owned();
        let folder = asked.map_or_else(|| usual_folder(config), |folder| folder.join(&name));
        Ok(Self { folder, name, config: config.into(), steps: length.steps })
    }

    fn done(&self) -> Result<usize> {
        Folder::step(&self.folder)
    }

    fn finished(&self) -> Result<bool> {
        Ok(self.done()? >= self.steps)
    }
}

fn remaining(parts: &[Part]) -> Result<Outcome> {
    let mut left = Vec::new();
    for part in parts {
        left.push(match part.done()? {
            0 => format!("{} (not begun)", part.name),
            done => format!("{} (step {done} of {})", part.name, part.steps),
        });
    }
    Ok(Outcome::Paused(format!("what remains: {}", left.join(", "))))
}
