//! A project: pictures, masks, runs and the whole history, as a `.andamento` file (a ZIP) or, for the autosave, as a folder.
//!
//! Every picture, mask and run is a part of its own that never changes, so that an autosave writes only what is new. A
//! picture that a run made is kept as the part that differs from the one before. `project.json` says how they belong
//! together.

use std::collections::{BTreeMap, HashMap};
use std::fs::{self, File};
use std::io::{self, BufReader, Cursor, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use andamento_model::boldness::Boldness;
use andamento_model::order::OrderPath;
use andamento_model::picture::{Kind, Mask, Notes, Picture, Rect};
use andamento_model::{Error, OUR_MISTAKE, Result};
use serde::{Deserialize, Serialize};
use zip::write::SimpleFileOptions;
use zip::{CompressionMethod, ZipArchive, ZipWriter};

use super::run::Run;
use super::save::{save_atomically, save_with};
use crate::document::{Document, Track, fresh};
use crate::history::Entry;

/// The kind of a project's content, which its first entry says plainly.
const MIME: &str = "application/x-andamento";
/// The format's version. Projects of version 2 have no painted boldness; those of version 1 no painted orders either, and no
/// tokens chosen by hand.
const VERSION: u32 = 3;
const OLDEST: u32 = 1;
/// The part that says how the others belong together.
const MANIFEST: &str = "project.json";
/// The longest manifest, run or path that is read, in bytes,
const LONGEST_TEXT: u64 = 64 << 20;
/// the longest mask as runs of equal bytes, beyond which it is a PNG,
const LONGEST_RUNS: usize = 32 << 20;
/// and the longest picture.
const LONGEST_PICTURE: u64 = 2 << 30;
/// All pictures together, as they are kept in memory, in bytes.
const MOST: u64 = 16 << 30;
/// More pixels than any mask has.
const MOST_PIXELS: u64 = 1 << 30;
/// A change of more than this share of the picture is no part of it any more.
const PART: f64 = 0.8;

/// The editor's whole work at one moment. A clone is cheap.
#[derive(Clone)]
pub struct Snapshot {
    /// What can be taken back and made again, oldest first.
    pub entries: Vec<Entry>,
    /// The entry that is the present document.
    pub at: usize,
    /// The results in the strip.
    pub results: Vec<Document>,
}

impl Snapshot {
    /// The present document's own part of the history: what was opened before it belongs to other files.
    pub fn of_present(mut self) -> Self {
        let lineage = self.entries[self.at].document.original_id;
        let own = |entry: &&Entry| entry.document.original_id == lineage;
        let before = self.entries[..self.at].iter().rev().take_while(|entry| own(entry)).count();
        let after = self.entries[self.at..].iter().take_while(|entry| own(entry)).count();
        self.entries = self.entries[self.at - before..self.at + after].to_vec();
        self.at = before;
        self.results.retain(|result| result.original_id == lineage);
        self
    }
}

/// How the parts belong together.
#[derive(Serialize, Deserialize)]
struct Manifest {
    format: String,
    version: u32,
    /// The program's own version.
    program: String,
    at: usize,
    entries: Vec<Item>,
    results: Vec<Item>,
    pictures: BTreeMap<u64, Part>,
    /// Masks, and layers of boldness, which are kept in the same way.
    masks: BTreeMap<u64, Size>,
    runs: Vec<u64>,
    #[serde(default)]
    paths: Vec<u64>,
}

/// A document.
#[derive(Serialize, Deserialize)]
struct Item {
    label: String,
    name: String,
    path: Option<PathBuf>,
    picture: u64,
    mask: u64,
    /// Its painted order, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    order_path: Option<u64>,
    /// Its layer of boldness, if anything was painted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    boldness: Option<u64>,
    original: u64,
    original_at: Rect,
    content: Rect,
    run: Option<u64>,
    generated: bool,
}

/// A picture.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Part {
    /// The picture that it is laid over, if it is not a whole one, and where.
    over: Option<(u64, u32, u32)>,
}

/// A mask.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Size {
    width: u32,
    height: u32,
    /// Whether it is a PNG and no list of runs.
    png: bool,
}

/// Remembers what was written, so that it is not written again.
#[derive(Default)]
pub struct Written {
    pictures: HashMap<u64, Part>,
    masks: HashMap<u64, Size>,
    runs: Vec<u64>,
    paths: Vec<u64>,
}

/// Everything that a snapshot refers to, by number.
#[derive(Default)]
struct Content<'a> {
    pictures: BTreeMap<u64, &'a Picture>,
    /// From which picture another one was made.
    before: HashMap<u64, u64>,
    masks: BTreeMap<u64, &'a Mask>,
    runs: BTreeMap<u64, &'a Track>,
    paths: BTreeMap<u64, &'a OrderPath>,
}

impl<'a> Content<'a> {
    fn of(snapshot: &'a Snapshot) -> Self {
        let mut content = Self::default();
        let entries = snapshot.entries.iter().map(|entry| &entry.document);
        snapshot.results.iter().chain(entries).for_each(|document| content.add(document));
        content
    }

    fn add(&mut self, document: &'a Document) {
        self.pictures.insert(document.picture_id, &document.picture);
        self.pictures.insert(document.original_id, &document.original);
        self.masks.insert(document.mask_id, &document.mask);
        if !document.order_path.is_empty() {
            self.paths.insert(document.path_id, &document.order_path);
        }
        if let Some(layer) = document.boldness.layer() {
            self.masks.insert(document.boldness_id, layer);
        }
        let Some(track) = &document.track else { return };
        self.pictures.insert(track.before, &track.request.picture);
        self.masks.insert(track.mask_id, &track.request.mask);
        if track.before < document.picture_id {
            self.before.entry(document.picture_id).or_insert(track.before);
        }
        self.runs.insert(track.number, track);
    }

    /// The pictures that are referred to, and those that they are laid over, which may have left the history.
    fn needed(&self, written: &Written) -> BTreeMap<u64, Part> {
        let mut needed = BTreeMap::new();
        let mut wanted: Vec<u64> = self.pictures.keys().copied().collect();
        while let Some(id) = wanted.pop() {
            if let Some(part) = written.pictures.get(&id)
                && needed.insert(id, *part).is_none()
            {
                wanted.extend(part.over.map(|(base, ..)| base));
            }
        }
        needed
    }

    /// Writes the parts that were not written yet, and then the manifest.
    fn write(
        &self,
        snapshot: &Snapshot,
        written: &mut Written,
        mut part: impl FnMut(&str, &[u8]) -> Result<()>,
    ) -> Result<()> {
        for (id, picture) in &self.pictures {
            if written.pictures.contains_key(id) {
                continue;
            }
            // Put together here alone: all pictures of a long history at once would fill the memory.
            let picture = picture.packed();
            let before = self.before.get(id).and_then(|before| Some((before, self.pictures.get(before)?.packed())));
            let over = before.and_then(|(before, old)| {
                let changed = picture.difference(&old);
                let share = area(changed) / area(picture.rect()).max(1.0);
                // A picture that has not changed at all still needs a pixel.
                let changed = if changed.is_empty() { Rect::new(0, 0, 1, 1) } else { changed };
                (share < PART).then_some((*before, changed))
            });
            let bytes = match over {
                Some((_, changed)) => picture.part(changed).png_bytes()?,
                None => picture.png_bytes()?,
            };
            part(&picture_name(*id), &bytes)?;
            let over = over.map(|(before, changed)| (before, changed.x as u32, changed.y as u32));
            written.pictures.insert(*id, Part { over });
        }
        for (id, mask) in &self.masks {
            if written.masks.contains_key(id) {
                continue;
            }
            let runs = pack(mask);
            let size = Size { width: mask.width(), height: mask.height(), png: runs.len() > LONGEST_RUNS };
            let bytes = if size.png { mask.png_bytes()? } else { runs };
            part(&mask_name(*id, &size), &bytes)?;
            written.masks.insert(*id, size);
        }
        for (number, track) in &self.runs {
            if !written.runs.contains(number) {
                part(&run_name(*number), &json(&Run::of(track))?)?;
                written.runs.push(*number);
            }
        }
        for (id, path) in &self.paths {
            if !written.paths.contains(id) {
                part(&path_name(*id), &json(path)?)?;
                written.paths.push(*id);
            }
        }
        let item = |label: &str, document: &Document| Item {
            label: label.into(),
            name: document.name.clone(),
            path: document.path.clone(),
            picture: document.picture_id,
            mask: document.mask_id,
            order_path: (!document.order_path.is_empty()).then_some(document.path_id),
            boldness: document.boldness.layer().map(|_| document.boldness_id),
            original: document.original_id,
            original_at: document.original_at,
            content: document.content,
            run: document.track.as_ref().map(|track| track.number),
            generated: document.generated,
        };
        let manifest = Manifest {
            format: MIME.into(),
            version: VERSION,
            program: env!("CARGO_PKG_VERSION").into(),
            at: snapshot.at,
            entries: snapshot.entries.iter().map(|entry| item(&entry.label, &entry.document)).collect(),
            results: snapshot.results.iter().map(|result| item("", result)).collect(),
            pictures: self.needed(written),
            masks: self.masks.keys().filter_map(|id| Some((*id, *written.masks.get(id)?))).collect(),
            runs: self.runs.keys().copied().collect(),
            paths: self.paths.keys().copied().collect(),
        };
        part(MANIFEST, &json(&manifest)?)
    }
}

fn area(rect: Rect) -> f64 {
    f64::from(rect.width) * f64::from(rect.height)
}

fn picture_name(id: u64) -> String {
    format!("pictures/{id}.png")
}

fn mask_name(id: u64, size: &Size) -> String {
    format!("masks/{id}.{}", if size.png { "png" } else { "runs" })
}

fn run_name(number: u64) -> String {
    format!("runs/{number}.json")
}

fn path_name(id: u64) -> String {
    format!("paths/{id}.json")
}

fn json(value: &impl Serialize) -> Result<Vec<u8>> {
    serde_json::to_vec(value).map_err(|error| Error::control("project", error, OUR_MISTAKE))
}

/// Saves a project file. Beside what the program reads there are `picture.png`, `mask.png` and a small `thumbnail.png`, for
/// whoever unpacks it.
///
/// # Errors
/// As [`save_with`].
pub fn save(path: &Path, snapshot: &Snapshot) -> Result<()> {
    let snapshot = snapshot.clone().of_present();
    let present = &snapshot.entries[snapshot.at];
    let mut refused = None;
    save_with(path, |file| {
        let mut zip = ZipWriter::new(file);
        let stored = SimpleFileOptions::default().compression_method(CompressionMethod::Stored).large_file(true);
        let packed = SimpleFileOptions::default().compression_method(CompressionMethod::Deflated);
        zip.start_file("mimetype", SimpleFileOptions::default().compression_method(CompressionMethod::Stored))?;
        zip.write_all(MIME.as_bytes())?;
        let mut part = |name: &str, bytes: &[u8]| {
            let options = if name.ends_with(".png") { stored } else { packed };
            let written = zip.start_file(name, options).map_err(io::Error::from).and_then(|()| zip.write_all(bytes));
            written.map_err(|error| {
                refused = Some(error);
                Error::file(path, "a part could not be written", "Choose another disk")
            })
        };
        let write = |part: &mut dyn FnMut(&str, &[u8]) -> Result<()>| {
            part("picture.png", &present.document.picture.png_bytes()?)?;
            part("mask.png", &present.document.mask.png_bytes()?)?;
            part("thumbnail.png", &thumbnail(&present.document.picture)?)?;
            Content::of(&snapshot).write(&snapshot, &mut Written::default(), part)
        };
        let outcome = write(&mut part);
        match (refused.take(), outcome) {
            (Some(error), _) => return Err(error),
            (None, Err(error)) => return Err(io::Error::other(error)),
            (None, Ok(())) => {}
        }
        zip.finish()?;
        Ok(())
    })
}

/// A picture of at most 256 pixels, as a PNG in 8 bit.
pub(super) fn thumbnail(picture: &Picture) -> Result<Vec<u8>> {
    let small = picture.image().thumbnail(256, 256).to_rgba8();
    let mut bytes = Cursor::new(Vec::new());
    Picture::new(small.into())
        .write(&mut bytes, Kind::Png, &Notes::default())
        .map_err(|error| Error::control("thumbnail", error, "Open a picture that has pixels"))?;
    Ok(bytes.into_inner())
}

/// Writes what is new of a snapshot into a folder, the manifest last, and removes what is not needed any more.
///
/// # Errors
/// As [`save_with`]; what was there before stays readable.
pub fn save_into(folder: &Path, snapshot: &Snapshot, written: &mut Written) -> Result<()> {
    for name in ["pictures", "masks", "runs", "paths"] {
        let inner = folder.join(name);
        fs::create_dir_all(&inner).map_err(|error| super::save::refusal(&inner, &error))?;
    }
    let content = Content::of(snapshot);
    content.write(snapshot, written, |name, bytes| save_atomically(&folder.join(name), bytes))?;
    let needed = content.needed(written);
    // A file more does no harm, so nothing is made of a failure here.
    let remove = |name: String| drop(fs::remove_file(folder.join(name)));
    written.pictures.retain(|id, _| {
        needed.contains_key(id) || {
            remove(picture_name(*id));
            false
        }
    });
    written.masks.retain(|id, size| {
        content.masks.contains_key(id) || {
            remove(mask_name(*id, size));
            false
        }
    });
    written.runs.retain(|number| {
        content.runs.contains_key(number) || {
            remove(run_name(*number));
            false
        }
    });
    written.paths.retain(|id| {
        content.paths.contains_key(id) || {
            remove(path_name(*id));
            false
        }
    });
    Ok(())
}

/// Where parts are read from.
trait Parts {
    fn part(&mut self, name: &str, longest: u64) -> io::Result<Vec<u8>>;
}

impl<R: Read + Seek> Parts for ZipArchive<R> {
    fn part(&mut self, name: &str, longest: u64) -> io::Result<Vec<u8>> {
        read(&mut self.by_name(name)?, longest)
    }
}

impl Parts for &Path {
    fn part(&mut self, name: &str, longest: u64) -> io::Result<Vec<u8>> {
        read(&mut File::open(self.join(name))?, longest)
    }
}

fn read(file: &mut impl Read, longest: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(longest + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > longest {
        Err(io::Error::other(format!("it is longer than {longest} bytes")))
    } else {
        Ok(bytes)
    }
}

/// Whether a file is an archive, by its first bytes: what projects are, and no picture is.
pub fn is_archive(path: &Path) -> bool {
    let mut start = [0; 4];
    File::open(path).and_then(|mut file| file.read_exact(&mut start)).is_ok() && start == *b"PK\x03\x04"
}

/// Opens a project file.
///
/// # Errors
/// If it is not one, or damaged: with the part and the reason.
pub fn open(path: &Path) -> Result<Snapshot> {
    let fetch = "Copy it again, or use a backup of it";
    let file = File::open(path).map_err(|error| Error::file(path, error, "Check the name, or choose another one"))?;
    let mut zip = ZipArchive::new(BufReader::new(file)).map_err(|error| Error::file(path, error, fetch))?;
    if zip.by_name(MANIFEST).is_err() {
        return Err(Error::file(
            path,
            "this archive is no project of Andamento",
            "Unpack it, and open a picture in it",
        ));
    }
    read_all(&mut zip).map_err(|cause| Error::file(path, format!("this project is damaged: {cause}"), fetch))
}

/// Opens what [`save_into`] wrote.
///
/// # Errors
/// If it is damaged: with the part and the reason.
pub fn open_folder(folder: &Path) -> Result<Snapshot> {
    let mut parts = folder;
    read_all(&mut parts).map_err(|cause| {
        let cause = format!("what was kept there cannot be read: {cause}");
        Error::file(folder, cause, "Look into the folder: its pictures are ordinary PNGs")
    })
}

/// What a folder of [`save_into`] says it holds: the name of the document.
pub(super) fn name_in(folder: &Path) -> Option<String> {
    let mut parts = folder;
    let manifest: Manifest = serde_json::from_slice(&parts.part(MANIFEST, LONGEST_TEXT).ok()?).ok()?;
    Some(manifest.entries.into_iter().nth(manifest.at)?.name)
}

fn read_all(parts: &mut impl Parts) -> std::result::Result<Snapshot, String> {
    let manifest = parts.part(MANIFEST, LONGEST_TEXT).map_err(|error| format!("{MANIFEST}: {error}"))?;
    let manifest: Manifest = serde_json::from_slice(&manifest).map_err(|error| format!("{MANIFEST}: {error}"))?;
    if manifest.format != MIME || !(OLDEST..=VERSION).contains(&manifest.version) {
        return Err(format!(
            "its version is {} of {}, this program reads {VERSION} of {MIME}",
            manifest.version, manifest.format
        ));
    }
    if manifest.at >= manifest.entries.len() {
        return Err(format!("{MANIFEST}: it names no present document"));
    }
    let mut pictures: HashMap<u64, (u64, Picture)> = HashMap::new();
    let mut total = 0;
    // Whatever a picture is laid over has a smaller number.
    for (id, Part { over }) in &manifest.pictures {
        let name = picture_name(*id);
        let bytes = parts.part(&name, LONGEST_PICTURE).map_err(|error| format!("{name}: {error}"))?;
        let picture = Picture::decode(&name, &bytes).map_err(|error| error.to_string())?.picture;
        let picture = match over {
            None => picture,
            Some((base, x, y)) => {
                let base = pictures.get(base).filter(|_| base < id).ok_or(format!("{name}: its base is missing"))?;
                base.1.patched(&picture, *x, *y).map_err(|error| format!("{name}: {error}"))?
            }
        };
        total += picture.own_bytes() as u64;
        if total > MOST {
            return Err(format!("its pictures take more than {} GiB", MOST >> 30));
        }
        pictures.insert(*id, (fresh(), picture.packed()));
    }
    let mut masks: HashMap<u64, (u64, Mask)> = HashMap::new();
    for (id, size) in &manifest.masks {
        let name = mask_name(*id, size);
        let longest = if size.png { LONGEST_PICTURE } else { LONGEST_RUNS as u64 };
        let bytes = parts.part(&name, longest).map_err(|error| format!("{name}: {error}"))?;
        let mask = if size.png {
            let picture = Picture::decode(&name, &bytes).map_err(|error| error.to_string())?.picture;
            let grey = picture.image().to_luma8();
            Mask::from_bytes(grey.width(), grey.height(), grey.into_raw()).map_err(|error| error.to_string())?
        } else {
            unpack(*size, &bytes).ok_or(format!("{name}: it does not fill its size"))?
        };
        masks.insert(*id, (fresh(), mask));
    }
    let mut runs: HashMap<u64, Arc<Track>> = HashMap::new();
    for number in &manifest.runs {
        let name = run_name(*number);
        let failed = |cause: String| format!("{name}: {cause}");
        let run: Run = parts
            .part(&name, LONGEST_TEXT)
            .and_then(|bytes| serde_json::from_slice(&bytes).map_err(io::Error::other))
            .map_err(|error| failed(error.to_string()))?;
        let before = pictures.get(&run.before).cloned().ok_or_else(|| failed("its picture is missing".into()))?;
        let mask = masks.get(&run.mask).cloned().ok_or_else(|| failed("its mask is missing".into()))?;
        let track = run.track(before, mask).map_err(|cause| failed(cause.into()))?;
        runs.insert(*number, Arc::new(track));
    }
    let mut paths: HashMap<u64, (u64, Arc<OrderPath>)> = HashMap::new();
    for id in &manifest.paths {
        let name = path_name(*id);
        let failed = |cause: String| format!("{name}: {cause}");
        let bytes = parts.part(&name, LONGEST_TEXT).map_err(|error| failed(error.to_string()))?;
        let path: OrderPath = serde_json::from_slice(&bytes).map_err(|error| failed(error.to_string()))?;
        path.check().map_err(|error| failed(error.to_string()))?;
        paths.insert(*id, (fresh(), Arc::new(path)));
    }
    let (nothing, neutral) = ((fresh(), Arc::default()), (fresh(), Boldness::default()));
    let document = |item: &Item| {
        let missing = |what: &str| format!("{}: its {what} is missing", item.label);
        let (picture_id, picture) = pictures.get(&item.picture).cloned().ok_or_else(|| missing("picture"))?;
        let (original_id, original) = pictures.get(&item.original).cloned().ok_or_else(|| missing("original"))?;
        let (mask_id, mask) = masks.get(&item.mask).cloned().ok_or_else(|| missing("mask"))?;
        let path = item.order_path.map_or(Some(&nothing), |id| paths.get(&id));
        let (path_id, order_path) = path.cloned().ok_or_else(|| missing("painted order"))?;
        let boldness = match item.boldness {
            Some(id) => masks.get(&id).map(|(id, layer)| (*id, Boldness::new(layer.clone()))),
            None => Some(neutral.clone()),
        };
        let (boldness_id, boldness) = boldness.ok_or_else(|| missing("boldness"))?;
        let track = match item.run {
            Some(number) => Some(runs.get(&number).cloned().ok_or_else(|| missing("run"))?),
            None => None,
        };
        let at = item.original_at;
        if (mask.width(), mask.height()) != (picture.width(), picture.height())
            || (at.width, at.height) != (original.width(), original.height())
            || !picture.rect().contains(at)
            || boldness.check(picture.width(), picture.height()).is_err()
        {
            return Err(format!("{}: picture, original, mask and boldness do not fit each other", item.label));
        }
        Ok(Document {
            name: item.name.clone(),
            path: item.path.clone(),
            content: item.content.intersect(picture.rect()),
            picture,
            picture_id,
            mask,
            mask_id,
            order_path,
            path_id,
            boldness,
            boldness_id,
            original,
            original_id,
            original_at: at,
            track,
            generated: item.generated,
            record: None,
        })
    };
    let entries = manifest.entries.iter();
    let entries = entries.map(|item| Ok(Entry::new(item.label.clone(), &document(item)?)));
    let mut entries: Vec<Entry> = entries.collect::<std::result::Result<_, String>>()?;
    let present = &mut entries[manifest.at].document.picture;
    *present = present.unpacked();
    let results = manifest.results.iter().map(document).collect::<std::result::Result<_, String>>()?;
    Ok(Snapshot { entries, at: manifest.at, results })
}

/// A mask as runs of equal bytes, which masks nearly are everywhere: a value, and how often it comes, in 32 bits with the
/// lowest first.
fn pack(mask: &Mask) -> Vec<u8> {
    let bytes = mask.bytes();
    let runs = bytes.chunk_by(|a, b| a == b).flat_map(|run| {
        let [a, b, c, d] = (run.len() as u32).to_le_bytes();
        [run[0], a, b, c, d]
    });
    runs.collect()
}

/// The mask of this size from its runs; none if they do not fill it.
fn unpack(Size { width, height, .. }: Size, bytes: &[u8]) -> Option<Mask> {
    let (runs, rest) = bytes.as_chunks::<5>();
    let runs = runs.iter().map(|[byte, a, b, c, d]| (*byte, u32::from_le_bytes([*a, *b, *c, *d])));
    let filled: u64 = runs.clone().map(|(_, count)| u64::from(count)).sum();
    if !rest.is_empty() || filled > MOST_PIXELS || filled != u64::from(width) * u64::from(height) {
        return None;
    }
    let bytes: Vec<u8> = runs.flat_map(|(byte, count)| std::iter::repeat_n(byte, count as usize)).collect();
    Mask::from_bytes(width, height, bytes).ok()
}
