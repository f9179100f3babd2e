//! Several configurations: finished ones are skipped, an interrupted one goes on, and what remains is said. They follow one
//! another, but those of a list within the list do not need each other: they may be carried out at the same time, which
//! keeps a GPU busy that none of them fills.

use std::path::{Path, PathBuf};
use std::process::Child;

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
    pub runs: Vec<Stage>,
}

/// What comes before all that follows it.
#[derive(Debug, Clone, Deserialize)]
#[serde(untagged)]
pub enum Stage {
    /// A configuration.
    One(PathBuf),
    /// Configurations that do not need each other.
    Several(Vec<PathBuf>),
}

impl Stage {
    fn configs(&self) -> &[PathBuf] {
        match self {
            Self::One(config) => std::slice::from_ref(config),
            Self::Several(configs) => configs,
        }
    }
}

/// Starts a configuration in a process of its own: its name, its file, and the folders of its run and of tokens.
pub type Aside<'a> = dyn Fn(&str, &Path, &Path, &Path) -> std::io::Result<Child> + 'a;

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
    let stage = |stage: &Stage| stage.configs().iter().map(|part| Part::of(&base.join(part), asked)).collect();
    let stages = all.runs.iter().map(stage).collect::<Result<Vec<Vec<Part>>>>()?;
    for (index, stage) in stages.iter().enumerate() {
        let mut pending = Vec::new();
        for part in stage {
            if part.finished()? {
                (run.report)(Event::Note(format!("{}: finished", part.name)));
            } else {
                pending.push(part);
            }
        }
        let done = match run.aside {
            Some(aside) if pending.len() > 1 && !(run.enough)() => together(&pending, aside, run)?,
            _ => in_sequence(&pending, run)?,
        };
        if !done {
            return remaining(stages[index..].iter().flatten());
        }
    }
    Ok(Outcome::Finished)
}

/// One after the other, as long as it is not enough; whether all came to their end.
fn in_sequence(parts: &[&Part], run: &mut Run) -> Result<bool> {
    for part in parts {
        if (run.enough)() {
            return Ok(false);
        }
        (run.report)(Event::Note(part.begins()?));
        let mut one = Run {
            folder: part.folder.clone(),
            tokens: run.tokens.clone(),
            device: run.device.clone(),
            report: &mut *run.report,
            enough: run.enough,
            aside: None,
        };
        if let Outcome::Paused(_) = train(&part.config, &mut one)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// All at the same time, each in a process of its own; whether all came to their end.
fn together(parts: &[&Part], aside: &Aside<'_>, run: &mut Run) -> Result<bool> {
    let mut children = Vec::new();
    let mut outcome = Ok(true);
    for part in parts {
        (run.report)(Event::Note(part.begins()?));
        match aside(&part.name, &part.config, &part.folder, &run.tokens) {
            Ok(child) => children.push((part, child)),
            Err(error) => {
                outcome = Err(Error::file(&part.config, error, "List the runs one by one, not within a list"));
                break;
            }
        }
    }
    // The others go on where one fails: what they have done is kept.
    for (part, mut child) in children {
        let succeeded = child.wait().is_ok_and(|status| status.success());
        if outcome.is_ok() {
            outcome = match succeeded {
                true => part.finished().map(|finished| finished && outcome.unwrap_or(false)),
                false => {
                    Err(Error::file(&part.config, "its run failed, as it says above", "Mend that and start again"))
                }
            };
        }
    }
    outcome
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

    /// What is said where it begins.
    fn begins(&self) -> Result<String> {
        Ok(format!("{}: {} of {} steps done", self.name, self.done()?, self.steps))
    }

    fn finished(&self) -> Result<bool> {
        Ok(self.done()? >= self.steps)
    }
}

fn remaining<'a>(parts: impl Iterator<Item = &'a Part>) -> Result<Outcome> {
    let mut left = Vec::new();
    for part in parts {
        match part.done()? {
            0 => left.push(format!("{} (not begun)", part.name)),
            done if done < part.steps => left.push(format!("{} (step {done} of {})", part.name, part.steps)),
            _ => {}
        }
    }
    Ok(Outcome::Paused(format!("what remains: {}", left.join(", "))))
}
