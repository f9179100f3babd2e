//! How a picture was made, as text in its file: `parameters` in the form that other programs read, and a record that is
//! enough to make it again.

use std::fs;
use std::sync::Arc;

use andamento_model::ledger::{Ledger, Source};
use andamento_model::library::imported::Shelf;
use andamento_model::library::{self, Card};
use andamento_model::order::OrderPath;
use andamento_model::picture::{DigitalSource, Notes};
use andamento_model::{Error, OUR_MISTAKE, Result};
use serde::{Deserialize, Serialize};

use super::project::Snapshot;
use crate::document::{Document, Track};
use crate::history::Entry;

/// The record's version.
const VERSION: u32 = 1;

/// From the source to the picture, change by change.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Record {
    /// The record's version.
    andamento: u32,
    /// The program's own version.
    program: String,
    /// What came after each other.
    pub changes: Vec<Change>,
}

/// One change of the canvas.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Change {
    /// It grew by so many pixels on the left, top, right and bottom.
    Extend([u32; 4]),
    /// A run repainted what its mask covered.
    Run(Box<Ledger>),
}

impl Record {
    /// A record of one run.
    pub fn of_run(ledger: Ledger) -> Self {
        Self::new(vec![Change::Run(Box::new(ledger))])
    }

    fn new(changes: Vec<Change>) -> Self {
        Self { andamento: VERSION, program: env!("CARGO_PKG_VERSION").into(), changes }
    }

    /// As JSON.
    ///
    /// # Errors
    /// If a number cannot be written, such as NaN.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(|error| Error::control("record", error, OUR_MISTAKE))
    }

    /// From JSON.
    ///
    /// # Errors
    /// If it is damaged, or of a newer version.
    pub fn from_json(json: &str) -> Result<Self> {
        let refuse =
            |cause: String| Error::control("record of the picture", cause, "Set subject, order and mask by hand");
        let record: Self =
            serde_json::from_str(json).map_err(|error| refuse(format!("it cannot be read ({error})")))?;
        if record.andamento != VERSION {
            return Err(refuse(format!("its version is {}, this program reads {VERSION}", record.andamento)));
        }
        Ok(record)
    }

    /// The run that came last.
    pub fn last_run(&self) -> Option<&Ledger> {
        self.changes.iter().rev().find_map(|change| match change {
            Change::Run(ledger) => Some(&**ledger),
            Change::Extend(_) => None,
        })
    }
}

/// What is written about the present document of a snapshot.
///
/// # Errors
/// If the record cannot be written down.
pub fn notes(snapshot: &Snapshot, shelf: &Shelf) -> Result<Notes> {
    let entry = &snapshot.entries[snapshot.at];
    let document = &entry.document;
    if !document.generated {
        return Ok(Notes::default());
    }
    let Some(track) = last_run(snapshot) else {
        return Ok(Notes { source: Some(DigitalSource::Composite), ..Notes::default() });
    };
    let known = library::find(&track.model, shelf);
    let hash = known.as_ref().map(|entry| entry.hash()).unwrap_or_default();
    let card = known.and_then(|entry| entry.card()).ok();
    let changes = changes(snapshot, shelf)?;
    let whole = track.request.mask.bytes().iter().all(|byte| *byte == 255);
    Ok(Notes {
        none: false,
        parameters: Some(parameters(track, card.as_ref(), &hash, document)),
        record: Some(Record::new(changes).to_json()?),
        source: Some(if whole { DigitalSource::Generated } else { DigitalSource::Composite }),
    })
}

/// What the command line writes about a run.
///
/// # Errors
/// If the record cannot be written down.
pub fn notes_of_run(mut ledger: Ledger, card: &Card, (width, height): (u32, u32)) -> Result<Notes> {
    if let Source::File { path, .. } = &mut ledger.source {
        *path = file_name(path);
    }
    let whole = matches!(ledger.source, Source::Blank { .. });
    let steps = ledger.steps().count();
    let line = Line {
        subject: subject(Some(card), ledger.knobs.class),
        order: sampler(&ledger.order, &ledger.path),
        painted: !ledger.boldness.is_neutral(),
        steps,
        knobs: &ledger.knobs,
        size: (width, height),
        model: &ledger.model,
        hash: &ledger.model_hash,
    };
    let parameters = Some(line.text());
    Ok(Notes {
        none: false,
        parameters,
        record: Some(Record::of_run(ledger).to_json()?),
        source: Some(if whole { DigitalSource::Generated } else { DigitalSource::Composite }),
    })
}

/// The name alone: where a person keeps pictures is nobody else's business.
fn file_name(path: &str) -> String {
    let name = |path: &str| path.rsplit(['/', '\\']).next().map(str::to_owned);
    name(path).unwrap_or_default()
}

fn subject(card: Option<&Card>, class: u32) -> String {
    card.and_then(|card| card.subjects.get(class as usize)).cloned().unwrap_or_default()
}

/// The order in words: a painted one comes before the named one.
fn sampler(order: &str, path: &OrderPath) -> String {
    if path.is_empty() { order.into() } else { format!("painted path + {order}") }
}

/// What goes into `parameters`.
struct Line<'a> {
    subject: String,
    order: String,
    /// Whether the temperature was painted.
    painted: bool,
    steps: usize,
    knobs: &'a andamento_model::decode::Knobs,
    size: (u32, u32),
    model: &'a str,
    hash: &'a str,
}

impl Line<'_> {
    /// In the form of AUTOMATIC1111's web UI: the prompt, and a line of names and values.
    fn text(&self) -> String {
        let Self { subject, order, steps, knobs, size: (width, height), model, hash, .. } = self;
        let painted = if self.painted { ", Boldness: painted" } else { "" };
        let (sampling, guidance) = (&knobs.sampling, knobs.guidance.strength());
        let version = env!("CARGO_PKG_VERSION");
        format!(
            "{subject}\nSteps: {steps}, Sampler: {order}, CFG scale: {guidance}, Seed: {}, Size: {width}x{height}, Model \
             hash: {hash}, Model: {model}, Temperature: {}{painted}, Top K: {}, Top P: {}, Version: Andamento {version}",
            knobs.seed, sampling.temperature, sampling.top_k, sampling.top_p,
        )
    }
}

fn parameters(track: &Track, card: Option<&Card>, hash: &str, document: &Document) -> String {
    Line {
        subject: subject(card, track.request.knobs.class),
        order: sampler(&track.request.order, &track.request.path),
        painted: !track.request.boldness.is_neutral(),
        steps: track.steps.len(),
        knobs: &track.request.knobs,
        size: (document.picture.width(), document.picture.height()),
        model: &track.model,
        hash,
    }
    .text()
}

/// The entry before another one, in which its picture had not been made yet.
fn before<'a>(snapshot: &'a Snapshot, entry: &Entry) -> Option<&'a Entry> {
    let document = &entry.document;
    let at = snapshot.entries.iter().position(|other| other.document.picture_id == document.picture_id)?;
    let first = &snapshot.entries[at].document;
    match &first.track {
        Some(track) if track.before != first.picture_id => {
            snapshot.entries[..at].iter().rfind(|other| other.document.picture_id == track.before)
        }
        _ => snapshot.entries[..at].last().filter(|other| other.document.original_id == document.original_id),
    }
}

/// The present entry and those whose pictures it was made from, the last one first.
fn chain(snapshot: &Snapshot) -> impl Iterator<Item = &Entry> {
    std::iter::successors(Some(&snapshot.entries[snapshot.at]), |entry| before(snapshot, entry))
}

fn last_run(snapshot: &Snapshot) -> Option<&Arc<Track>> {
    chain(snapshot).find_map(|entry| entry.document.track.as_ref())
}

/// The runs and extensions that made the present picture.
fn changes(snapshot: &Snapshot, shelf: &Shelf) -> Result<Vec<Change>> {
    let document = &snapshot.entries[snapshot.at].document;
    let source = source(document)?;
    let entries: Vec<_> = chain(snapshot).collect();
    let mut changes = Vec::new();
    for (entry, earlier) in entries.iter().zip(entries.iter().skip(1).map(Some).chain([None])) {
        let document = &entry.document;
        match (&document.track, earlier) {
            (Some(track), _) if track.before != document.picture_id => {
                let hash = library::find(&track.model, shelf).map(|entry| entry.hash()).unwrap_or_default();
                let passes = track.legs.iter().map(|leg| (leg.frame, &*leg.plan));
                let (model, request, outline) = ((&*track.model, &*hash), &track.request, track.outline);
                let ledger = Ledger::of_passes(model, source.clone(), request, outline, passes, &track.steps)?;
                let ledger = ledger.with_turns(track.turns.clone());
                changes.push(Change::Run(Box::new(ledger)));
            }
            (_, Some(earlier)) => {
                let (now, then) = (document.original_at, earlier.document.original_at);
                let (width, height) = (earlier.document.picture.width(), earlier.document.picture.height());
                let (left, top) = ((now.x - then.x).max(0) as u32, (now.y - then.y).max(0) as u32);
                let right = document.picture.width().saturating_sub(width + left);
                let bottom = document.picture.height().saturating_sub(height + top);
                if [left, top, right, bottom] != [0; 4] {
                    changes.push(Change::Extend([left, top, right, bottom]));
                }
            }
            _ => {}
        }
    }
    changes.reverse();
    Ok(changes)
}

/// What was opened: the file by its name and content, or else the pixels.
fn source(document: &Document) -> Result<Source> {
    let bytes = match document.path.as_deref().map(fs::read) {
        Some(Ok(bytes)) => bytes,
        _ => document.original.png_bytes()?,
    };
    Ok(Source::File { path: file_name(&document.name), sha256: library::sha256(&bytes), extended: [0; 4] })
}
