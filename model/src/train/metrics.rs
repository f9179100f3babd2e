//! The figures of a run: a table that grows by a row per step, and a plot of it.

use std::fmt::Write as _;
use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::run::write;
use crate::{Error, Result};

/// The table, `metrics.csv`, and its plot, `metrics.svg`, in a run's folder.
pub struct Metrics {
    path: PathBuf,
    plot: PathBuf,
    file: File,
    names: Vec<String>,
}

impl Metrics {
    /// Goes on with the table of a run that is at `step`; rows of later steps, which a killed run had not kept, are dropped.
    ///
    /// # Errors
    /// If the table cannot be read or written.
    pub fn open(folder: &Path, step: usize) -> Result<Self> {
        let path = folder.join("metrics.csv");
        let failed = |error: std::io::Error| Error::file(&path, error, "Choose a folder you can write to");
        let text = if path.exists() { fs::read_to_string(&path).map_err(failed)? } else { String::new() };
        let mut lines = text.split_inclusive('\n').filter(|line| line.ends_with('\n'));
        let header = lines.next().unwrap_or_default();
        let kept = lines.filter(|line| step_of(line).is_some_and(|of| of <= step));
        let kept: String = std::iter::once(header).chain(kept).collect();
        if kept != text {
            write(&path, kept.as_bytes())?;
        }
        let names = header.trim_end().split(',').skip(1).map(str::to_string).collect();
        let file = OpenOptions::new().create(true).append(true).open(&path).map_err(failed)?;
        Ok(Self { plot: folder.join("metrics.svg"), path, file, names })
    }

    /// Adds the row of a step.
    ///
    /// # Errors
    /// If the disk is full.
    pub fn add(&mut self, step: usize, figures: &[(&'static str, f64)]) -> Result<()> {
        let mut row = String::new();
        if self.names.is_empty() {
            self.names = figures.iter().map(|(name, _)| name.to_string()).collect();
            row = format!("step,{}\n", self.names.join(","));
        }
        row += &step.to_string();
        for name in &self.names {
            let figure = figures.iter().find(|(of, _)| of == name).map(|(_, value)| value.to_string());
            row += ",";
            row += &figure.unwrap_or_default();
        }
        row += "\n";
        let written = self.file.write_all(row.as_bytes());
        written.map_err(|error| Error::file(&self.path, error, "Free some space and run the command again"))
    }

    /// Draws all figures over the steps.
    ///
    /// # Errors
    /// If a file cannot be read or written.
    pub fn plot(&self, title: &str) -> Result<()> {
        let failed = |error: std::io::Error| Error::file(&self.path, error, "Remove it and run the command again");
        let table = Table::of(&fs::read_to_string(&self.path).map_err(failed)?);
        write(&self.plot, table.svg(title).as_bytes())
    }
}

fn step_of(line: &str) -> Option<usize> {
    line.split(',').next()?.parse().ok()
}

/// The columns of a table.
struct Table {
    steps: Vec<f64>,
    columns: Vec<(String, Vec<f64>)>,
}

/// Size of one plot in pixels, the free space around it, and the most points that are drawn.
const WIDTH: f64 = 640.0;
const HEIGHT: f64 = 160.0;
const MARGIN: f64 = 56.0;
const POINTS: usize = 600;

impl Table {
    fn of(csv: &str) -> Self {
        let mut lines = csv.lines();
        let names = lines.next().unwrap_or_default().split(',').skip(1);
        let mut columns: Vec<_> = names.map(|name| (name.to_string(), Vec::new())).collect();
        let mut steps = Vec::new();
        for line in lines {
            let mut values = line.split(',').map(|value| value.parse().unwrap_or(f64::NAN));
            steps.extend(values.next());
            columns.iter_mut().for_each(|(_, column)| column.push(values.next().unwrap_or(f64::NAN)));
        }
        Self { steps, columns }
    }

    /// One plot per column, below each other.
    fn svg(&self, title: &str) -> String {
        let drawn: Vec<_> = self.columns.iter().filter(|(_, values)| values.iter().any(|v| v.is_finite())).collect();
        let [wide, high] = [WIDTH + 2.0 * MARGIN, 24.0 + drawn.len() as f64 * (HEIGHT + MARGIN)];
        let mut svg = format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {wide} {high}\" font-family=\"sans-serif\" \
             font-size=\"11\" fill=\"#333\">\n<rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
             <text x=\"{MARGIN}\" y=\"18\" font-size=\"14\">{}</text>\n",
            escaped(title)
        );
        for (index, (name, values)) in drawn.iter().enumerate() {
            let top = 48.0 + index as f64 * (HEIGHT + MARGIN);
            self.panel(&mut svg, top, name, values);
        }
        svg + "</svg>\n"
    }

    fn panel(&self, svg: &mut String, top: f64, name: &str, values: &[f64]) {
        let points = averaged(&self.steps, values);
        let (low, high) = points
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| (low.min(*value), high.max(*value)));
        let high = if high > low { high } else { low + low.abs().max(1e-9) };
        let [first, last] = [self.steps.first(), self.steps.last()].map(|step| step.copied().unwrap_or_default());
        let x = |step: f64| MARGIN + (step - first) / (last - first).max(1.0) * WIDTH;
        let y = |value: f64| top + HEIGHT - (value - low) / (high - low) * HEIGHT;
        let path: Vec<_> = points.iter().map(|(step, value)| format!("{:.1},{:.1}", x(*step), y(*value))).collect();
        let (right, bottom) = (MARGIN + WIDTH, top + HEIGHT);
        let now = points.last().map_or(f64::NAN, |(_, value)| *value);
        // Writing into a string cannot fail.
        let _ = write!(
            svg,
            "<text x=\"{MARGIN}\" y=\"{:.0}\">{} · {}</text>\n\
             <rect x=\"{MARGIN}\" y=\"{top}\" width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"none\" stroke=\"#ccc\"/>\n\
             <text x=\"{:.0}\" y=\"{:.0}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{:.0}\" y=\"{bottom}\" text-anchor=\"end\">{}</text>\n\
             <text x=\"{MARGIN}\" y=\"{:.0}\">{first}</text>\n\
             <text x=\"{right}\" y=\"{:.0}\" text-anchor=\"end\">{last}</text>\n\
             <polyline points=\"{}\" fill=\"none\" stroke=\"#2a6f97\" stroke-width=\"1.5\"/>\n",
            top - 6.0,
            escaped(name),
            short(now),
            MARGIN - 4.0,
            top + 10.0,
            short(high),
            MARGIN - 4.0,
            short(low),
            bottom + 14.0,
            bottom + 14.0,
            path.join(" ")
        );
    }
}

/// At most [`POINTS`] points, each the mean of as many steps.
fn averaged(steps: &[f64], values: &[f64]) -> Vec<(f64, f64)> {
    let all: Vec<_> =
        steps.iter().copied().zip(values.iter().copied()).filter(|(_, value)| value.is_finite()).collect();
    let each = all.len().div_ceil(POINTS).max(1);
    let mean = |part: &[(f64, f64)]| {
        let (steps, values) = part.iter().fold((0.0, 0.0), |(s, v), (step, value)| (s + step, v + value));
        (steps / part.len() as f64, values / part.len() as f64)
    };
    all.chunks(each).map(mean).collect()
}

fn short(value: f64) -> String {
    if value != 0.0 && (value.abs() < 1e-3 || value.abs() >= 1e5) {
        format!("{value:.1e}")
    } else {
        format!("{value:.4}")
    }
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}
