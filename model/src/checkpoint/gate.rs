//! The gate in front of every reader: a file from the web is hostile until checked.
//!
//! It knows a file by its first bytes, never by its name, and holds it against bounds while it streams past: what a
//! pickle asks for and how large it is inflated, how much an archive unfolds to, how much memory the declared tensors
//! would take. Nothing is allocated by a length that a file merely claims, and nothing is extracted: entries are read by
//! name. Only then does a reader see the file. Genuine files of every published layout stay far below the bounds.

use std::collections::HashSet;
use std::fmt;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

use safetensors::tensor::Metadata;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use zip::{CompressionMethod, ZipArchive};

use super::pickle::{MAX_BYTES, MAX_RANK, Outcome, Refused, Walk};
use crate::{Error, Result};

/// The header of a safetensors file, in bytes.
const MAX_HEADER: u64 = 16 << 20;
/// Entries of an archive; a published file has one per storage and six more.
const MAX_ENTRIES: u64 = 65_536;
/// How many times longer an entry may be than it is stored; `torch.save` does not compress.
const MAX_RATIO: u64 = 100;
/// How many bytes the tensors may declare for each stored byte: averaged weights often share storages with the model's.
const MAX_DECLARED: u64 = 2;

/// A file that passed, and how it is laid out.
#[derive(Debug)]
pub enum Passed {
    /// A safetensors file.
    Safetensors {
        /// Its header.
        metadata: Box<Metadata>,
        /// Where the tensors' bytes begin.
        start: u64,
    },
    /// A pickle with storages, in an archive or (before PyTorch 1.6) one after the other.
    Pickle {
        /// How many tensors it names.
        tensors: u64,
    },
}

/// Checks a file against every bound.
///
/// # Errors
/// Names the file, the entry and the reason.
pub fn check(path: &Path) -> Result<Passed> {
    let remedy = "Download it again from where its authors publish it, or use another file";
    let refused = |cause: String| Error::file(path, cause, remedy);
    let unopened = |error: io::Error| Error::file(path, error, "Check that it exists and can be read");
    // Before it is opened: a pipe would wait for a writer.
    let about = path.metadata().map_err(unopened)?;
    if !about.is_file() {
        return Err(refused("it is no file".into()));
    }
    let (file, length) = (File::open(path).map_err(unopened)?, about.len());
    let mut first = Vec::new();
    (&file).take(512).read_to_end(&mut first).map_err(|error| refused(error.to_string()))?;
    let outcome = match known_by(&first) {
        Known::Zip => archive(&file, length).map(|tensors| Passed::Pickle { tensors }),
        Known::Safetensors => header(&file, length),
        Known::Pickle => legacy(&file, length).map(|tensors| Passed::Pickle { tensors }),
        Known::Other(what) => Err(what.to_string()),
    };
    outcome.map_err(refused)
}

/// What the first bytes say.
enum Known {
    Zip,
    Safetensors,
    Pickle,
    Other(&'static str),
}

fn known_by(first: &[u8]) -> Known {
    let starts = |with: &[u8]| first.starts_with(with);
    let text = first.trim_ascii_start().to_ascii_lowercase();
    if first.is_empty() {
        Known::Other("it is empty")
    } else if starts(b"PK\x03\x04") {
        Known::Zip
    } else if starts(b"PK\x05\x06") {
        Known::Other("it is an empty archive")
    } else if first.get(8) == Some(&b'{') {
        Known::Safetensors
    } else if starts(b"\x89PNG") || starts(b"\xff\xd8\xff") || starts(b"GIF8") || starts(b"RIFF") {
        Known::Other("it is a picture, not a checkpoint")
    } else if starts(b"\x1f\x8b") || starts(b"7z\xbc\xaf") || starts(b"\xfd7zXZ") || starts(b"BZh") {
        Known::Other("it is compressed; unpack it first")
    } else if starts(b"version https://git-lfs") {
        Known::Other("it is Git LFS's note of where the file lies, not the file itself")
    } else if text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        Known::Other("it is a web page, not a checkpoint; the download was answered with an error")
    } else if first.get(257..262) == Some(b"ustar") {
        Known::Other("it is a tar archive; PyTorch wrote checkpoints so before version 0.1.10 only")
    } else if starts(b"\x80") || matches!(first, [b'(' | b']' | b'}' | b'c' | b'L' | b'd' | b'l', ..]) {
        Known::Pickle
    } else {
        Known::Other("it is no checkpoint: neither safetensors nor an archive nor a pickle")
    }
}

// Safetensors.

/// The header's keys, each of which may stand once.
struct Keys;

impl<'de> Deserialize<'de> for Keys {
    fn deserialize<D: Deserializer<'de>>(from: D) -> std::result::Result<Self, D::Error> {
        struct Once;
        impl<'de> Visitor<'de> for Once {
            type Value = Keys;
            fn expecting(&self, out: &mut fmt::Formatter) -> fmt::Result {
                write!(out, "a table of tensors")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<Keys, A::Error> {
                let mut seen = HashSet::new();
                while let Some(key) = map.next_key::<String>()? {
                    map.next_value::<IgnoredAny>()?;
                    if seen.contains(&key) {
                        return Err(serde::de::Error::custom(format!("`{}` stands there twice", shown(&key))));
                    }
                    seen.insert(key);
                }
                Ok(Keys)
            }
        }
        from.deserialize_map(Once)
    }
}

fn header(mut file: &File, length: u64) -> Refused<Passed> {
    let mut claim = [0; 8];
    file.seek(SeekFrom::Start(0)).and_then(|_| file.read_exact(&mut claim)).map_err(unreadable)?;
    let claim = u64::from_le_bytes(claim);
    let start = claim.checked_add(8).filter(|start| *start <= length);
    let start = start.ok_or_else(|| format!("the header claims {claim} bytes and the file has {length}"))?;
    if claim > MAX_HEADER {
        return Err(format!("the header has {claim} bytes, more than the {MAX_HEADER} that any model needs"));
    }
    let mut header = vec![0; claim as usize];
    file.read_exact(&mut header).map_err(unreadable)?;
    let _once: Keys = serde_json::from_slice(&header).map_err(|error| format!("the header: {}", quoted(&error)))?;
    // Shapes, types and offsets are checked against one another, without gaps and without overflow.
    let metadata: Metadata =
        serde_json::from_slice(&header).map_err(|error| format!("the header: {}", quoted(&error)))?;
    let (data, holds) = (metadata.data_len() as u64, length - start);
    if data != holds {
        return Err(format!("the header declares {data} bytes of tensors and the file holds {holds}"));
    }
    let tensors = metadata.tensors();
    if tensors.is_empty() {
        return Err("it holds no tensors".into());
    }
    if let Some((name, info)) = tensors.iter().find(|(_, info)| info.shape.len() > MAX_RANK) {
        return Err(format!("entry `{}`: a tensor has {} axes", shown(name), info.shape.len()));
    }
    Ok(Passed::Safetensors { metadata: Box::new(metadata), start })
}

// Archives.

fn archive(file: &File, length: u64) -> Refused<u64> {
    directory(file, length)?;
    let mut archive =
        ZipArchive::new(BufReader::new(file)).map_err(|error| format!("the archive: {}", quoted(&error)))?;
    if archive.has_duplicate_names() {
        return Err("two entries of the archive have the same name".into());
    }
    if archive.has_overlapping_files().map_err(|error| format!("the archive: {}", quoted(&error)))? {
        return Err("entries of the archive overlap".into());
    }
    entries(&mut archive)?;
    let name = pickle_name(&archive)?;
    let (mut walk, tensors) = {
        let entry = archive.by_name(&name).map_err(|error| format!("entry `{}`: {}", shown(&name), quoted(&error)))?;
        if entry.size() > MAX_BYTES {
            let inflated = entry.size();
            return Err(format!("entry `{}`: a pickle of {inflated} bytes, more than {MAX_BYTES}", shown(&name)));
        }
        let mut walk = Walk::new();
        let mut entry = BufReader::new(entry);
        let outcome = walk.pickle(&mut entry).map_err(|cause| format!("entry `{}`: {cause}", shown(&name)))?;
        (walk, outcome.tensors())
    };
    let mut stored = 0;
    for (key, storage) in std::mem::take(&mut walk.storages) {
        let name = format!("{}data/{key}", name.strip_suffix("data.pkl").unwrap_or_default());
        let entry = archive.index_for_name(&name).and_then(|index| archive.by_index_raw(index).ok());
        let entry = entry.ok_or_else(|| format!("entry `{}` is missing", shown(&name)))?;
        let holds = entry.size();
        stored += entry.compressed_size();
        if holds < storage.bytes {
            let declared = storage.bytes;
            return Err(format!("entry `{}` holds {holds} bytes and {declared} are declared", shown(&name)));
        }
    }
    proportion(&walk, stored).map_err(|cause| format!("entry `{}`: {cause}", shown(&name)))?;
    Ok(tensors)
}

/// The end of the archive, where its directory is announced, before anyone allocates by what is said there: the record
/// is the file's last 22 bytes, as `torch.save` writes it, and the directory lies right before it.
fn directory(mut file: &File, length: u64) -> Refused<()> {
    const END: u64 = 22;
    const LOCATOR: u64 = 20;
    const END64: u64 = 56;
    let damaged = || "the archive's directory is damaged or cut off".to_string();
    let mut read = |at: u64, bytes: &mut [u8]| -> Refused<()> {
        file.seek(SeekFrom::Start(at)).and_then(|_| file.read_exact(bytes)).map_err(|_| damaged())
    };
    let mut end = [0; END as usize];
    let at = length.checked_sub(END).ok_or_else(damaged)?;
    read(at, &mut end)?;
    if !end.starts_with(b"PK\x05\x06") || end[20..] != [0, 0] {
        return Err(damaged());
    }
    let (mut count, mut size, mut start, mut ends_at) =
        (number(&end[10..12]), number(&end[12..16]), number(&end[16..20]), at);
    let mut locator = [0; LOCATOR as usize];
    if at >= LOCATOR + END64 {
        read(at - LOCATOR, &mut locator)?;
    }
    if locator.starts_with(b"PK\x06\x07") {
        let mut end = [0; END64 as usize];
        ends_at = at - LOCATOR - END64;
        read(ends_at, &mut end)?;
        if !end.starts_with(b"PK\x06\x06") || number(&locator[8..16]) != ends_at {
            return Err(damaged());
        }
        (count, size, start) = (number(&end[32..40]), number(&end[40..48]), number(&end[48..56]));
    }
    if count > MAX_ENTRIES {
        return Err(format!("the archive claims {count} entries, more than {MAX_ENTRIES}"));
    }
    // The shortest entry of a directory takes 46 bytes.
    if start.checked_add(size) != Some(ends_at) || count * 46 > size {
        return Err(damaged());
    }
    Ok(())
}

/// A little-endian number of up to 8 bytes.
fn number(bytes: &[u8]) -> u64 {
    bytes.iter().rev().fold(0, |number, byte| number << 8 | u64::from(*byte))
}

/// Looks at every entry.
fn entries(archive: &mut ZipArchive<BufReader<&File>>) -> Refused<()> {
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| format!("entry {index}: {}", quoted(&error)))?;
        let (size, packed) = (entry.size(), entry.compressed_size());
        let cause = match entry.compression() {
            _ if entry.encrypted() => "it is encrypted".into(),
            CompressionMethod::Stored if size == packed => continue,
            CompressionMethod::Stored => format!("it claims {size} bytes and stores {packed}"),
            CompressionMethod::Deflated if size / MAX_RATIO <= packed => continue,
            CompressionMethod::Deflated => format!("it unfolds to {size} bytes, over {MAX_RATIO} times its {packed}"),
            _ => "it is compressed in a way that PyTorch never uses".into(),
        };
        return Err(format!("entry `{}`: {cause}", shown(&String::from_utf8_lossy(entry.name_raw()))));
    }
    Ok(())
}

/// The one entry that describes the tensors.
fn pickle_name(archive: &ZipArchive<BufReader<&File>>) -> Refused<String> {
    let mut pickles = Vec::new();
    for name in archive.file_names() {
        let name = name.map_err(|error| format!("the archive: {}", quoted(&error)))?;
        if name.ends_with("/constants.pkl") || name.contains("/code/") {
            return Err(format!("entry `{}`: a TorchScript program contains code; not run", shown(&name)));
        }
        if name == "data.pkl" || name.ends_with("/data.pkl") {
            pickles.push(name.into_owned());
        }
    }
    match pickles.len() {
        1 => Ok(pickles.remove(0)),
        0 => Err("it is an archive without `data.pkl`, so no PyTorch checkpoint".into()),
        count => Err(format!("the archive has {count} entries `data.pkl`")),
    }
}

// Pickles one after the other, then the storages.

fn legacy(mut file: &File, length: u64) -> Refused<u64> {
    file.seek(SeekFrom::Start(0)).map_err(unreadable)?;
    let mut reader = BufReader::new(file);
    let mut walk = Walk::new();
    if walk.pickle(&mut reader)? != Outcome::Magic {
        return Err("it is a pickle that is not PyTorch's and holds no tensors".into());
    }
    if walk.pickle(&mut reader)? != Outcome::Number(1001) {
        return Err("it is of a version of PyTorch's format that is unknown".into());
    }
    // What the machine was, the object, and the storages' keys in their order.
    walk.pickle(&mut reader)?;
    let tensors = walk.pickle(&mut reader)?.tensors();
    walk.pickle(&mut reader)?;
    let start = reader.stream_position().map_err(unreadable)?;
    let stored = length - start.min(length);
    // Each storage is its count and its numbers.
    let needs = walk.storages.values().try_fold(0u64, |sum, storage| sum.checked_add(storage.bytes)?.checked_add(8));
    if needs.is_none_or(|needs| needs > stored) {
        return Err(format!("the storages need more than the {stored} bytes that follow the pickle"));
    }
    proportion(&walk, stored)?;
    Ok(tensors)
}

/// Holds what the tensors declare against what the file stores.
fn proportion(walk: &Walk, stored: u64) -> Refused<()> {
    if !walk.holds_tensors() {
        return Err("it holds no tensors".into());
    }
    if walk.declared > stored.saturating_mul(MAX_DECLARED) {
        let declared = walk.declared;
        return Err(format!("its tensors declare {declared} bytes, over {MAX_DECLARED} times the {stored} stored"));
    }
    Ok(())
}

/// A name from a file, as it can be shown in a sentence.
pub(crate) fn shown(name: &str) -> String {
    const LONGEST: usize = 160;
    let clean: String = name.chars().map(|c| if c.is_control() { '·' } else { c }).take(LONGEST).collect();
    if name.chars().nth(LONGEST).is_some() { format!("{clean}…") } else { clean }
}

/// What another crate says of a file, which may quote any length of it.
pub(super) fn quoted(error: &impl fmt::Display) -> String {
    shown(&error.to_string())
}

fn unreadable(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "it ends in the middle".into(),
        _ => format!("it cannot be read ({error})"),
    }
}
