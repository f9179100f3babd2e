//! The figures in a model's card: a table between two markers, with the command that makes it again.

use std::fmt::Write;

use super::{Against, FRECHET, Figure, Report, Unit};

/// Where the figures begin and end in a card.
const MARKERS: [&str; 2] =
    ["<!-- figures, written by `andamento evaluate --write-card` -->", "<!-- end of figures -->"];

/// A card with the figures of a report in the place of those it had, or at its end.
pub fn with_figures(card: &str, report: &Report, command: &str) -> String {
    let [begin, end] = MARKERS;
    let section = format!("{begin}\n{}{end}", section(report, command));
    let place = card.find(begin).and_then(|from| Some((from, from + card[from..].find(end)? + end.len())));
    match place {
        Some((from, to)) => format!("{}{section}{}", &card[..from], &card[to..]),
        None => format!("{}\n\n{section}\n", card.trim_end()),
    }
}

/// The tables of a report and how they came about, in Markdown.
pub fn section(report: &Report, command: &str) -> String {
    let Report { data, pictures, reference, seed, device, .. } = report;
    let mut text = format!("Measured by `{command}` on {device}: {pictures} {data}, seed {seed}");
    if let Some(features) = &report.features {
        let held_against = format!("held against {reference} others by the features of the {features}");
        let _ = write!(text, ", and as many samples; both {held_against}");
    }
    text.push_str(".\n");
    let others: String = report.against.iter().map(|other| format!(" {} |", other.model)).collect();
    let rules = "---|".repeat(report.against.len());
    let table = |title: &str, others: &str, rules: &str| {
        format!("\n| {title} | model |{others} real held-out pictures |\n|---|---|{rules}---|\n")
    };
    let line = |of: &Figure, values: &[Option<f64>]| {
        let cells = values.iter().chain([&of.held_out]).map(|value| format!(" {} |", cell(*value, of.unit)));
        format!("| {} |{}\n", of.name, cells.collect::<String>())
    };
    let rows = report.rows();
    if !rows.is_empty() {
        text += &table("Generator", &others, &rules);
        rows.iter().for_each(|row| text += &line(row.figure, &row.values));
    }
    if !report.tokenizer.is_empty() {
        text += &table("Tokenizer", "", "");
        report.tokenizer.iter().for_each(|figure| text += &line(figure, &[Some(figure.value)]));
    }
    verdicts(report).iter().for_each(|verdict| {
        let _ = writeln!(text, "\n{verdict}");
    });
    text
}

/// Whether what the papers say of the models that were compared holds of these, a sentence for each.
pub fn verdicts(report: &Report) -> Vec<String> {
    let distance = |figures: &[Figure]| figures.iter().find(|figure| figure.name == FRECHET).map(|figure| figure.value);
    let verdict = |other: &Against| {
        let (ours, theirs) = (distance(&report.generator)?, distance(&other.generator)?);
        let holds = if ours < theirs { "holds" } else { "does not hold" };
        let [ours, theirs] = [ours, theirs].map(|value| number(value, Unit::Plain));
        let of = format!("a {FRECHET} of {ours} against {theirs} of {}", other.model);
        Some(format!("{}. At this size that {holds}: {of}.", other.claim?))
    };
    report.against.iter().filter_map(verdict).collect()
}

/// A figure of a table, which may be missing.
pub fn cell(value: Option<f64>, unit: Unit) -> String {
    value.map_or("–".into(), |value| number(value, unit))
}

/// A figure as people read it.
pub fn number(value: f64, unit: Unit) -> String {
    match unit {
        Unit::Share => format!("{:.1} %", 100.0 * value),
        Unit::Decibels => format!("{value:.2} dB"),
        Unit::Bits => format!("{value:.3} bits"),
        Unit::Plain => format!("{value:.3}"),
    }
}
