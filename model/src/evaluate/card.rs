//! The figures in a model's card: a table between two markers, with the command that makes it again.

use std::fmt::Write;

use super::{Figure, Report, Unit};

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
    for (title, figures) in [("Generator", &report.generator), ("Tokenizer", &report.tokenizer)] {
        if figures.is_empty() {
            continue;
        }
        let _ = writeln!(text, "\n| {title} | model | real held-out pictures |\n|---|---|---|");
        for Figure { name, unit, value, held_out } in figures {
            let held_out = held_out.map_or("–".into(), |value| number(value, *unit));
            let _ = writeln!(text, "| {name} | {} | {held_out} |", number(*value, *unit));
        }
    }
    text
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
