//! A line of progress on standard error: rewritten in place on a terminal, now and then elsewhere.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

/// How often a line is written where it cannot be rewritten.
const ELSEWHERE: Duration = Duration::from_secs(5);

/// The line.
pub struct Line {
    terminal: bool,
    written: Option<Instant>,
}

impl Line {
    /// A fresh line.
    pub fn new() -> Self {
        Self { terminal: std::io::stderr().is_terminal(), written: None }
    }

    /// Writes a line that stays.
    pub fn say(&mut self, text: &str) {
        self.end();
        eprintln!("{text}");
    }

    /// Replaces the line.
    pub fn update(&mut self, text: &str) {
        if self.terminal {
            eprint!("\r\x1b[2K{text}");
            // A lost progress line loses nothing.
            let _ = std::io::stderr().flush();
            self.written = Some(Instant::now());
        } else if self.written.is_none_or(|written| written.elapsed() >= ELSEWHERE) {
            eprintln!("{text}");
            self.written = Some(Instant::now());
        }
    }

    /// Ends the line.
    pub fn end(&mut self) {
        if self.terminal && self.written.is_some() {
            eprintln!();
        }
        self.written = None;
    }
}

impl Default for Line {
    fn default() -> Self {
        Self::new()
    }
}
