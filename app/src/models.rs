//! `andamento models`: what can be painted with, and importing more.

use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use andamento_model::checkpoint::import::{Options as ImportOptions, Progress, import};
use andamento_model::checkpoint::recognise::Role;
use andamento_model::library::imported::{Record, Shelf};
use andamento_model::library::{Card, MODELS};
use andamento_model::{Error, Result};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use crate::progress::Line;

/// List the models, or import, verify and remove them.
#[derive(Debug, Args)]
pub struct Options {
    #[command(subcommand)]
    command: Option<Command>,
}

/// What can be done with models; without a command they are listed.
#[derive(Debug, Subcommand)]
enum Command {
    /// List the models and what they can paint.
    List,
    /// Import published checkpoints: safetensors, or PyTorch's .pt, .pth, .bin and .ckpt. Generators and tokenizers are
    /// recognised by what is in them.
    Import(Import),
    /// Hold every imported model, or one, against the hash that was written at its import.
    Verify {
        /// The model; see `andamento models`.
        id: Option<String>,
    },
    /// Remove an imported model.
    Remove {
        /// The model; see `andamento models`.
        id: String,
    },
}

/// Import checkpoints.
#[derive(Debug, Args)]
struct Import {
    /// The files, in any order.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Take the averaged weights (EMA) of training instead.
    #[arg(long)]
    averaged: bool,
}

/// Carries out a command.
///
/// # Errors
/// Names the file, the entry and the reason.
pub fn run(options: &Options, shelf: &Shelf, as_json: bool) -> Result<()> {
    match &options.command {
        None | Some(Command::List) => list(shelf, as_json),
        Some(Command::Import(options)) => options.import(shelf, as_json),
        Some(Command::Verify { id }) => verify(shelf, id.as_deref(), as_json),
        Some(Command::Remove { id }) => remove(shelf, id, as_json),
    }
}

impl Import {
    /// Imports one file after the other; what is wrong with one does not keep the others away.
    fn import(&self, shelf: &Shelf, as_json: bool) -> Result<()> {
        let options = ImportOptions { averaged: self.averaged, date: today() };
        let mut line = Line::new();
        let (mut records, mut refused) = (Vec::new(), Vec::new());
        for file in &self.files {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let outcome = import(file, shelf, &options, &mut |progress| line.update(&percent(&name, progress)));
            line.end();
            match outcome {
                Ok(of_file) => records.extend(of_file),
                Err(error) => refused.push(error),
            }
        }
        let lacking = lacking(&records, shelf);
        if as_json {
            let lacking: Vec<_> = lacking.iter().map(ToString::to_string).collect();
            let refused: Vec<_> = refused.iter().map(ToString::to_string).collect();
            println!("{:#}", json!({ "imported": records, "lacking": lacking, "refused": refused }));
        } else {
            records.iter().for_each(|record| println!("imported {}", describe(record)));
            lacking.iter().for_each(|error| println!("{error}"));
        }
        let Some(last) = refused.pop() else { return Ok(()) };
        refused.iter().for_each(|error| eprintln!("andamento: {error}"));
        Err(last)
    }
}

fn percent(name: &str, Progress { what, done, total }: Progress) -> String {
    let share = if total > 0 { done as f64 / total as f64 * 100.0 } else { 100.0 };
    format!("{name}: {what}, {share:.0} % of {}", megabytes(total))
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}

fn describe(record: &Record) -> String {
    let parameters = record.parameters as f64 / 1e6;
    let kind = match &record.role {
        Role::Generator { classes, codes, grid, .. } => {
            format!("generator, {classes} classes, {codes} codes, {grid} × {grid} tokens")
        }
        Role::Tokenizer { codes, stride, .. } => format!("tokenizer, {codes} codes, {stride} px per token"),
    };
    let Record { id, family, size, bytes, origin, licence, .. } = record;
    let bytes = megabytes(*bytes);
    format!("{id}: {family} {size}, {kind}, {parameters:.1} M parameters, {bytes}, from {}, {licence}", origin.file)
}

fn list(shelf: &Shelf, as_json: bool) -> Result<()> {
    let mut list: Vec<Value> = Vec::new();
    for model in &MODELS {
        let card = model.card()?;
        if !as_json {
            println!("{}", title(&card));
            card.subjects.iter().enumerate().for_each(|(class, subject)| println!("  {class:>4}  {subject}"));
        }
        list.push(json!({
            "id": card.id, "title": card.title, "family": card.family, "side": card.side, "grid": card.grid,
            "parameters": card.parameters, "subjects": card.subjects, "hash": model.hash(),
        }));
    }
    let records = shelf.records()?;
    if as_json {
        list.extend(records.iter().map(|record| json!(record)));
        println!("{:#}", json!(list));
    } else {
        records.iter().for_each(|record| println!("{}", describe(record)));
        lacking(&records, shelf).iter().for_each(|error| println!("{error}"));
    }
    Ok(())
}

/// What keeps some of these generators from being painted with.
fn lacking(records: &[Record], shelf: &Shelf) -> Vec<Error> {
    let generators = records.iter().filter(|record| matches!(record.role, Role::Generator { .. }));
    generators.filter_map(|record| shelf.tokenizer(record).err()).collect()
}

fn title(card: &Card) -> String {
    let Card { id, title, grid, side, .. } = card;
    let parameters = card.parameters as f64 / 1e6;
    format!("{id}: {title}, {parameters:.1} M parameters, {grid} × {grid} tokens on {side} px, bundled")
}

fn verify(shelf: &Shelf, id: Option<&str>, as_json: bool) -> Result<()> {
    let records = match id {
        Some(id) => vec![shelf.find(id)?],
        None => shelf.records()?,
    };
    let mut line = Line::new();
    let mut damaged = Vec::new();
    for record in &records {
        let outcome = shelf.verify(record, &mut |progress| line.update(&percent(&record.id, progress)));
        line.end();
        match outcome {
            Ok(()) if !as_json => println!("{}: whole, SHA-256 {}", record.id, record.sha256),
            Ok(()) => {}
            Err(error) => damaged.push(error),
        }
    }
    if as_json {
        let damaged: Vec<_> = damaged.iter().map(ToString::to_string).collect();
        let ids: Vec<_> = records.iter().map(|record| &record.id).collect();
        println!("{:#}", json!({ "verified": ids, "damaged": damaged }));
    }
    let Some(last) = damaged.pop() else { return Ok(()) };
    damaged.iter().for_each(|error| eprintln!("andamento: {error}"));
    Err(last)
}

fn remove(shelf: &Shelf, id: &str, as_json: bool) -> Result<()> {
    let complete = |record: &Record| shelf.tokenizer(record).is_ok();
    let before: Vec<_> = shelf.records()?.into_iter().filter(complete).collect();
    let record = shelf.remove(id)?;
    let lacking: Vec<_> =
        before.iter().filter(|other| other.id != record.id && !complete(other)).map(|other| other.id.clone()).collect();
    if as_json {
        println!("{:#}", json!({ "removed": record.id, "lacking": lacking }));
    } else {
        println!("{}: removed", record.id);
        lacking.iter().for_each(|other| println!("{other} now lacks its tokenizer"));
    }
    Ok(())
}

/// The day in UTC, as year, month and day.
pub(crate) fn today() -> String {
    let days = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs() / 86_400;
    // Years that begin in March have their leap day at the end; 400 of them have 146 097 days.
    let days = days as i64 + 719_468;
    let (era, day) = (days.div_euclid(146_097), days.rem_euclid(146_097));
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let (year, day) = (year + era * 400, day - (153 * month + 2) / 5 + 1);
    let (year, month) = if month < 10 { (year, month + 3) } else { (year + 1, month - 9) };
    format!("{year:04}-{month:02}-{day:02}")
}
