//! A foreign checkpoint is imported once; afterwards only our own file is loaded.
//!
//! Gate, read, hold names, shapes and types against the family, look for values that are not numbers, write our own
//! safetensors with the published keys and the numbers as they were stored, and a record beside it. A folder appears in
//! the library whole or not at all.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::path::Path;

use safetensors::Dtype;
use safetensors::tensor::{Metadata, TensorInfo, TensorView};
use sha2::{Digest, Sha256};

use super::gate;
use super::manifest::{Entry, Manifest, Source, StateDict, state_dicts};
use super::recognise::{Recognised, recognise};
use super::summary;
use crate::library::hex;
use crate::library::imported::{Origin, Record, Shelf};
use crate::{Error, OUR_MISTAKE, Result};

/// How an import is done.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Take the averaged weights of training, and refuse a file that has none.
    pub averaged: bool,
    /// The day, as the record shall say it.
    pub date: String,
}

/// How far an import is.
#[derive(Debug, Clone, Copy)]
pub struct Progress<'a> {
    /// What is being done.
    pub what: &'a str,
    /// Bytes done.
    pub done: u64,
    /// Bytes in all.
    pub total: u64,
}

/// The bytes that are read or written between two reports.
const CHUNK: usize = 1 << 20;
/// Bytes taken from a file for each byte it has: averaged weights may share storages, a model's own tensors do not.
const MAX_TAKEN: u64 = 2;

/// Imports every model of a file into the library; their records.
///
/// # Errors
/// Names the file, the entry and the reason.
pub fn import(
    file: &Path,
    shelf: &Shelf,
    options: &Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Vec<Record>> {
    let refused = |cause: String, remedy: &str| Error::file(file, cause, remedy);
    let source = Source::open(file, gate::check(file)?)?;
    let all = source.manifest();
    let found = models(&source, &all, options)?;
    if found.is_empty() {
        let names: Vec<String> = all.tensors.keys().map(|name| gate::shown(name)).collect();
        let cause = format!("no family that Andamento runs has such tensors ({})", summary("it holds", &names));
        return Err(refused(
            cause,
            "Import a checkpoint of LlamaGen, RandAR, RAR, VAR, Open-MAGVIT2, TensorAR or their tokenizers",
        ));
    }
    let length = file.metadata().map_or(0, |about| about.len());
    let (whole, partial): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|(dict, known)| differences(dict, known).is_none());
    if let (true, Some((dict, known))) = (whole.is_empty(), partial.first()) {
        let cause = differences(dict, known).unwrap_or_default();
        let cause = format!("it looks like {} {}, but {cause}", known.family, known.size);
        return Err(refused(cause, "Use the file as it was published"));
    }
    if options.averaged && !whole.iter().any(|(dict, _)| dict.is_averaged()) {
        return Err(refused("it has no averaged weights".into(), "Import it without --averaged"));
    }
    let taken: u64 = whole.iter().flat_map(|(dict, _)| dict.manifest.tensors.values()).map(|entry| entry.bytes()).sum();
    if taken > length.saturating_mul(MAX_TAKEN) {
        let cause = format!("its tensors take {taken} bytes, over {MAX_TAKEN} times the file's {length}");
        return Err(refused(cause, "Use the file as it was published"));
    }
    let sha256 = hash(file, length, progress)?;
    let records = whole.into_iter().map(|(dict, known)| {
        let (file, date) = (source.name(), options.date.clone());
        let (root, averaged) = (dict.root.clone(), dict.is_averaged());
        let origin = Origin { file, sha256: sha256.clone(), root, averaged, date };
        Writer { source: &source, dict: &dict, known: &known, shelf }.write(origin, progress)
    });
    records.collect()
}

/// Whether a file has averaged weights of training (EMA) beside those of the last step, so that one can choose.
///
/// # Errors
/// Names the file, the entry and the reason.
pub fn has_both_weights(file: &Path) -> Result<bool> {
    let source = Source::open(file, gate::check(file)?)?;
    let all = source.manifest();
    let has = |averaged: bool| {
        let found = models(&source, &all, &Options { averaged, ..Options::default() })?;
        let whole = |(dict, known): &(StateDict, Recognised)| differences(dict, known).is_none();
        Ok::<_, Error>(found.iter().filter(|one| whole(one)).any(|(dict, _)| dict.is_averaged() == averaged))
    };
    Ok(has(true)? && has(false)?)
}

/// The tensors of a foreign file, of whatever model, as a safetensors file in memory: past the gate, and all of them
/// numbers. What is no floating-point number is left out.
///
/// # Errors
/// Names the file, the entry and the reason.
pub fn foreign(file: &Path) -> Result<Vec<u8>> {
    let source = Source::open(file, gate::check(file)?)?;
    let mut tensors = Vec::new();
    for (name, entry) in source.manifest().tensors {
        if is_float(entry.dtype) {
            let numbers = numbers(&source, &name, &entry)?;
            tensors.push((name, entry, numbers));
        }
    }
    let refused = |cause: String| Error::file(file, cause, "Use a file that its authors published");
    let views = tensors.iter().map(|(name, entry, numbers)| {
        let view = TensorView::new(entry.dtype, entry.shape.clone(), numbers);
        Ok((name, view.map_err(|error| refused(error.to_string()))?))
    });
    let views = views.collect::<Result<Vec<_>>>()?;
    safetensors::serialize(views, None).map_err(|error| refused(error.to_string()))
}

/// The models of the first group of state dicts that holds any.
fn models(source: &Source, all: &Manifest, options: &Options) -> Result<Vec<(StateDict, Recognised)>> {
    for group in state_dicts(all, options.averaged) {
        let mut found = Vec::new();
        for mut dict in group {
            dict.manifest.levels = levels(source, &dict)?;
            if let Some(known) = recognise(&dict.manifest) {
                dict.manifest.tensors.retain(|name, _| !known.leftovers.iter().any(|left| name.contains(left)));
                found.push((dict, known));
            }
        }
        if !found.is_empty() {
            return Ok(found);
        }
    }
    Ok(Vec::new())
}

/// The scale of every position, where a state dict says it (VAR).
fn levels(source: &Source, dict: &StateDict) -> Result<Option<Vec<i64>>> {
    const NAME: &str = "lvl_1L";
    const MOST: u64 = 1 << 16;
    match dict.manifest.tensors.get(NAME) {
        Some(entry) if entry.dtype == Dtype::I64 && entry.bytes() <= 8 * MOST => {
            let bytes = source.read(dict.whole(NAME))?;
            Ok(Some(bytes.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect()))
        }
        _ => Ok(None),
    }
}

/// How a state dict differs from what its family has, as a clause; none if it does not.
fn differences(dict: &StateDict, known: &Recognised) -> Option<String> {
    let (has, wants) = (&dict.manifest.tensors, &known.layout.0);
    let missing: Vec<String> = wants.keys().filter(|name| !has.contains_key(*name)).cloned().collect();
    let unexpected: Vec<String> =
        has.keys().filter(|name| !wants.contains_key(*name)).map(|name| gate::shown(name)).collect();
    let both = || has.iter().filter_map(|(name, entry)| Some((name, entry, wants.get(name)?)));
    let unfit = both().filter(|(_, entry, wanted)| entry.shape != **wanted);
    let unfit =
        unfit.map(|(name, entry, wanted)| format!("{name} ({:?} instead of {wanted:?})", entry.shape)).collect();
    let untyped = both().filter(|(_, entry, _)| !is_float(entry.dtype));
    let untyped = untyped.map(|(name, entry, _)| format!("{name} ({:?})", entry.dtype)).collect();
    let lists =
        [("missing", missing), ("unexpected", unexpected), ("of another shape", unfit), ("of another type", untyped)];
    let clauses: Vec<String> =
        lists.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| summary(what, list)).collect();
    (!clauses.is_empty()).then(|| clauses.join("; "))
}

/// The types that weights have.
fn is_float(dtype: Dtype) -> bool {
    matches!(dtype, Dtype::F32 | Dtype::F16 | Dtype::BF16)
}

/// The SHA-256 of a file.
pub(crate) fn hash(file: &Path, total: u64, progress: &mut dyn FnMut(Progress)) -> Result<String> {
    let failed = |error: io::Error| Error::file(file, error, "Check that it can be read");
    let mut open = File::open(file).map_err(failed)?;
    let mut digest = Sha256::new();
    let mut chunk = vec![0; CHUNK];
    let mut done = 0;
    loop {
        let read = open.read(&mut chunk).map_err(failed)?;
        if read == 0 {
            return Ok(hex(&digest.finalize()));
        }
        digest.update(&chunk[..read]);
        done += read as u64;
        progress(Progress { what: "hashing", done, total });
    }
}

/// Tensors with their names.
type Named<'a> = Vec<(&'a String, &'a Entry)>;

/// Writes a model into the library.
struct Writer<'a> {
    source: &'a Source,
    dict: &'a StateDict,
    known: &'a Recognised,
    shelf: &'a Shelf,
}

impl Writer<'_> {
    fn write(&self, origin: Origin, progress: &mut dyn FnMut(Progress)) -> Result<Record> {
        let folder = self.shelf.workshop()?;
        let failed = |error: io::Error| {
            let cause = format!("the library cannot be written ({error})");
            Error::file(folder.path(), cause, "Free some space, or choose another folder with --data-dir")
        };
        let file = File::create(folder.path().join(Record::WEIGHTS)).map_err(failed)?;
        let mut out = Hashing { out: BufWriter::with_capacity(CHUNK, file), digest: Sha256::new() };
        let (tensors, header) = self.header()?;
        out.write_all(&header).map_err(failed)?;
        let (mut done, total) = (0, self.dict.manifest.tensors.values().map(|entry| entry.bytes()).sum());
        for (name, entry) in tensors {
            let numbers = numbers(self.source, self.dict.whole(name), entry)?;
            out.write_all(&numbers).map_err(failed)?;
            done += numbers.len() as u64;
            progress(Progress { what: "importing", done, total });
        }
        let sha256 = hex(&out.digest.finalize());
        out.out.into_inner().map_err(|error| failed(error.into_error()))?.sync_all().map_err(failed)?;
        let record = Record {
            id: String::new(),
            family: self.known.family.into(),
            size: self.known.size.clone(),
            role: self.known.role.clone(),
            config: self.known.config.clone(),
            parameters: self.known.layout.parameters(),
            bytes: total + header.len() as u64,
            sha256,
            origin,
            licence: self.known.licence.into(),
        };
        self.shelf.place(folder, record)
    }

    /// The order in which tensors are written, and the header that says so: widest numbers first, so that all are aligned.
    fn header(&self) -> Result<(Named<'_>, Vec<u8>)> {
        let mut tensors: Vec<_> = self.dict.manifest.tensors.iter().collect();
        tensors.sort_by_key(|(name, entry)| (std::cmp::Reverse(entry.dtype.bitsize()), *name));
        let mut at = 0;
        let infos = tensors.iter().map(|(name, entry)| {
            let data_offsets = (at, at + entry.bytes() as usize);
            at = data_offsets.1;
            ((*name).clone(), TensorInfo { dtype: entry.dtype, shape: entry.shape.clone(), data_offsets })
        });
        let failed = |error: String| Error::file("weights.safetensors", error, OUR_MISTAKE);
        let metadata = Metadata::new(None, infos.collect()).map_err(|error| failed(error.to_string()))?;
        let mut text = serde_json::to_vec(&metadata).map_err(|error| failed(error.to_string()))?;
        text.resize(text.len().next_multiple_of(8), b' ');
        let mut header = (text.len() as u64).to_le_bytes().to_vec();
        header.append(&mut text);
        Ok((tensors, header))
    }
}

/// A tensor's numbers, all of which are numbers; `name` is its whole name.
fn numbers(source: &Source, name: &str, entry: &Entry) -> Result<Vec<u8>> {
    let numbers = source.read(name)?;
    let refused = |cause: String| {
        let cause = format!("entry `{}`: {cause}", gate::shown(name));
        Error::file(source.path(), cause, "Download it again, or use another checkpoint of the training")
    };
    if entry.bytes() != numbers.len() as u64 {
        return Err(refused("it is of another length than declared".into()));
    }
    match strange(&numbers, entry.dtype) {
        0 => Ok(numbers),
        count => Err(refused(format!("{count} of its values are not numbers or infinite"))),
    }
}

/// How many values are infinite or not numbers: those whose exponent is all ones.
pub(super) fn strange(numbers: &[u8], dtype: Dtype) -> usize {
    let halves = |exponent: u16| {
        let numbers = numbers.as_chunks::<2>().0.iter().map(|bytes| u16::from_le_bytes(*bytes));
        numbers.filter(|bits| bits & exponent == exponent).count()
    };
    match dtype {
        Dtype::F16 => halves(0x7c00),
        Dtype::BF16 => halves(0x7f80),
        _ => {
            let numbers = numbers.as_chunks::<4>().0.iter().map(|bytes| u32::from_le_bytes(*bytes));
            numbers.filter(|bits| bits & 0x7f80_0000 == 0x7f80_0000).count()
        }
    }
}

/// Hashes what passes.
struct Hashing<W> {
    out: W,
    digest: Sha256,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(&bytes[..written]);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
