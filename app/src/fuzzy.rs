//! Search that forgives: letters in sequence, best first.

use nucleo_matcher::pattern::{CaseMatching, Normalization, Pattern};
use nucleo_matcher::{Config, Matcher, Utf32Str};

/// A search; keeps its memory from one use to the next.
pub struct Search {
    matcher: Matcher,
    letters: Vec<char>,
}

impl Default for Search {
    fn default() -> Self {
        Self { matcher: Matcher::new(Config::DEFAULT), letters: Vec::new() }
    }
}

impl Search {
    /// The places of the names that fit, best first; all of them, as they stand, if nothing is wanted.
    pub fn places<'a>(&mut self, wanted: &str, names: impl IntoIterator<Item = &'a str>) -> Vec<usize> {
        let pattern = Pattern::parse(wanted.trim(), CaseMatching::Ignore, Normalization::Smart);
        let score = |(place, name): (usize, &str)| {
            Some((pattern.score(Utf32Str::new(name, &mut self.letters), &mut self.matcher)?, place))
        };
        let mut found: Vec<_> = names.into_iter().enumerate().filter_map(score).collect();
        found.sort_by_key(|(score, place)| (std::cmp::Reverse(*score), *place));
        found.into_iter().map(|(_, place)| place).collect()
    }
}
