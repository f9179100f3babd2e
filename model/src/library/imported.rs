//! The models that a person imported: folders on disk, each with our own safetensors and a record of what it is.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::checkpoint::gate;
use crate::checkpoint::import::{Progress, hash};
use crate::checkpoint::recognise::Role;
use crate::tokenizers;
use crate::{Error, Result};

/// What is known of an imported model; `record.json` beside its weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Record {
    /// What files and the command line call it; its folder's name.
    pub id: String,
    /// Its family's name in the registries.
    pub family: String,
    /// The published size's name, or the sizes themselves.
    pub size: String,
    /// Whether it generates or tokenizes.
    pub role: Role,
    /// The family's own configuration.
    pub config: Value,
    /// Number of parameters.
    pub parameters: u64,
    /// Length of the weights' file.
    pub bytes: u64,
    /// SHA-256 of the weights' file.
    pub sha256: String,
    /// Where it came from.
    pub origin: Origin,
    /// The licence under which its authors published such weights.
    pub licence: String,
}

/// Where an imported model came from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Origin {
    /// The file's name.
    pub file: String,
    /// SHA-256 of the file.
    pub sha256: String,
    /// What stood before the names of its tensors in that file.
    pub root: String,
    /// The day of the import, as year, month and day.
    pub date: String,
}

impl Record {
    /// The weights' file in a model's folder.
    pub const WEIGHTS: &'static str = "weights.safetensors";
    /// The record's.
    const RECORD: &'static str = "record.json";
    /// The longest record that is read, in bytes.
    const LONGEST: u64 = 1 << 20;

    /// How well another model serves this generator as its tokenizer: 0 is best, none not at all. It has to have as many
    /// codes.
    fn served_by(&self, other: &Self) -> Option<usize> {
        match (&self.role, &other.role) {
            (Role::Generator { tokenizers, codes, .. }, Role::Tokenizer { codes: of, .. }) if codes == of => {
                tokenizers.iter().position(|family| *family == other.family)
            }
            _ => None,
        }
    }
}

/// The folder of imported models.
#[derive(Debug, Clone)]
pub struct Shelf {
    folder: PathBuf,
}

impl Shelf {
    /// The person's own: `given`, or `ANDAMENTO_HOME`, or where the system keeps a program's data.
    ///
    /// # Errors
    /// If the system names no such place.
    pub fn open(given: Option<&Path>) -> Result<Self> {
        let chosen = given.map(Path::to_path_buf).or_else(|| std::env::var_os("ANDAMENTO_HOME").map(PathBuf::from));
        let data = match chosen {
            Some(folder) => folder,
            None => {
                use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
                let home = |error| Error::control("--data-dir", error, "Say where the library is with --data-dir");
                choose_native_strategy().map_err(home)?.data_dir().join("andamento")
            }
        };
        Ok(Self { folder: data.join("models") })
    }

    /// Where it is.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// Every model in it, by id.
    ///
    /// # Errors
    /// If the folder cannot be read, or a record in it is damaged.
    pub fn records(&self) -> Result<Vec<Record>> {
        let failed = |error: io::Error| Error::file(&self.folder, error, "Choose another folder with --data-dir");
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(error) => return Err(failed(error)),
        };
        let mut records = Vec::new();
        for entry in entries {
            let file = entry.map_err(failed)?.path().join(Record::RECORD);
            let name = file.parent().and_then(Path::file_name);
            let hidden = name.is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
            if !hidden && file.is_file() {
                records.push(read(&file)?);
            }
        }
        records.sort_by(|a, b| a.id.cmp(&b.id));
        Ok(records)
    }

    /// A model by its id.
    ///
    /// # Errors
    /// Names the models there are.
    pub fn find(&self, id: &str) -> Result<Record> {
        let records = self.records()?;
        let ids: Vec<_> = records.iter().map(|record| record.id.clone()).collect();
        records.into_iter().find(|record| record.id == id).ok_or_else(|| {
            let remedy =
                if ids.is_empty() { "Import one first".into() } else { format!("Choose one of {}", ids.join(", ")) };
            Error::control("model", format!("there is no “{id}” among the imported ones"), remedy)
        })
    }

    /// The tokenizer of a generator.
    ///
    /// # Errors
    /// Says which file is missing.
    pub fn tokenizer(&self, of: &Record) -> Result<Record> {
        let Role::Generator { tokenizers, codes, .. } = &of.role else {
            return Err(Error::control("model", format!("{} is a tokenizer", of.id), "Choose a generator"));
        };
        let fitting = self.records()?.into_iter().filter_map(|record| Some((of.served_by(&record)?, record)));
        fitting.min_by_key(|(rank, _)| *rank).map(|(_, record)| record).ok_or_else(|| {
            let family = tokenizers.join(" or ");
            let cause = format!("it needs its tokenizer, a {family} with {codes} codes, which is not imported");
            let file =
                tokenizers.first().and_then(|family| tokenizers::by_name(family).ok()).map(|kind| kind.published_in);
            let file = file.unwrap_or("it");
            Error::file(&of.id, cause, format!("Import {file} with `andamento models import`"))
        })
    }

    /// A model's weights.
    pub fn weights(&self, record: &Record) -> PathBuf {
        self.folder.join(&record.id).join(Record::WEIGHTS)
    }

    /// Holds a model's weights against their record.
    ///
    /// # Errors
    /// If they are damaged or were changed.
    pub fn verify(&self, record: &Record, progress: &mut dyn FnMut(Progress)) -> Result<()> {
        let file = self.weights(record);
        gate::check(&file)?;
        if hash(&file, record.bytes, progress)? == record.sha256 {
            return Ok(());
        }
        let remedy = format!("Remove it and import {} again", record.origin.file);
        Err(Error::file(&file, "its SHA-256 is not the one that was written at import", remedy))
    }

    /// Removes a model.
    ///
    /// # Errors
    /// If there is none of that id, or its folder cannot be removed.
    pub fn remove(&self, id: &str) -> Result<Record> {
        let record = self.find(id)?;
        // A name that the shelf passes over first, so that a model is there whole or not at all.
        let (folder, away) = (self.folder.join(&record.id), self.folder.join(format!(".removed-{}", record.id)));
        let removed = fs::rename(&folder, &away).and_then(|()| fs::remove_dir_all(&away));
        removed.map_err(|error| Error::file(folder, error, "Remove the folder by hand"))?;
        Ok(record)
    }

    /// A folder to put a model together in, beside the others and passed over by [`Shelf::records`].
    pub(crate) fn workshop(&self) -> Result<Workshop> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        self.sweep();
        let path = self.folder.join(format!(".import-{}-{number}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| Error::file(&path, error, "Choose another folder with --data-dir, or free some space"))?;
        Ok(Workshop { path })
    }

    /// Removes what imports left that were cut off, once they are a day old and nobody can be at work there.
    fn sweep(&self) {
        const DAY: Duration = Duration::from_secs(86_400);
        for entry in fs::read_dir(&self.folder).into_iter().flatten().flatten() {
            let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
            let age = entry.metadata().and_then(|about| about.modified()).ok().and_then(|at| at.elapsed().ok());
            if hidden && age.is_some_and(|age| age > DAY) {
                // What cannot be removed is tried again at the next import.
                let _ = fs::remove_dir_all(entry.path());
            }
        }
    }

    /// Gives a model that lies whole in its workshop its place and its id. One that is there already keeps its own.
    pub(crate) fn place(&self, workshop: Workshop, mut record: Record) -> Result<Record> {
        let there = self.records()?;
        if let Some(known) = there.iter().find(|known| known.sha256 == record.sha256 && known.config == record.config) {
            return Ok(known.clone());
        }
        let slug = format!("{}-{}", record.family, record.size).to_lowercase().replace(' ', "-");
        let taken = |id: &String| there.iter().any(|known| known.id == *id);
        record.id = slug.clone();
        if taken(&record.id) {
            record.id = format!("{slug}-{}", &record.sha256[..8]);
        }
        let failed = |error: io::Error| Error::file(&workshop.path, error, "Free some space, or choose another folder");
        let text = serde_json::to_string_pretty(&record).map_err(|error| failed(error.into()))?;
        let mut file = File::create(workshop.path.join(Record::RECORD)).map_err(failed)?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)?;
        sync(&workshop.path).map_err(failed)?;
        fs::rename(&workshop.path, self.folder.join(&record.id)).map_err(failed)?;
        sync(&self.folder).map_err(failed)?;
        Ok(record)
    }
}

/// A folder that is gone afterwards, unless it was given its place.
pub(crate) struct Workshop {
    path: PathBuf,
}

impl Workshop {
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Workshop {
    fn drop(&mut self) {
        // After `place` there is none; what cannot be removed is passed over.
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Makes a folder's entries outlive a loss of power, where folders can be synced.
fn sync(folder: &Path) -> io::Result<()> {
    if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
}

fn read(file: &Path) -> Result<Record> {
    let damaged = |error: String| Error::file(file, error, "Remove its folder and import the model again");
    let length = file.metadata().map_or(0, |about| about.len());
    if length > Record::LONGEST {
        return Err(damaged(format!("a record of {length} bytes is none of ours")));
    }
    let text = fs::read_to_string(file).map_err(|error| damaged(error.to_string()))?;
    let record: Record = serde_json::from_str(&text).map_err(|error| damaged(error.to_string()))?;
    let own = file.parent().and_then(Path::file_name).is_some_and(|name| name == record.id.as_str());
    if own { Ok(record) } else { Err(damaged(format!("it says that it is “{}”", gate::shown(&record.id)))) }
}
