//! Which keys mean which action: two presets, and what the person has bound otherwise.

use std::collections::BTreeMap;
use std::fmt;

use egui::{Key, Modifiers};
use serde::{Deserialize, Serialize};

use crate::actions::{ACTIONS, Action};

/// A key with those that are held beside it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Chord {
    /// Ctrl, or Cmd where that is the custom.
    pub command: bool,
    /// Alt.
    pub alt: bool,
    /// Shift.
    pub shift: bool,
    /// The key.
    pub key: Key,
}

impl Chord {
    /// What was pressed. Signs that need Shift on some keyboards and not on others are the same with and without it.
    pub fn pressed(key: Key, modifiers: Modifiers) -> Self {
        let Modifiers { command, alt, shift, .. } = modifiers;
        let (key, shift) = match key {
            Key::OpenCurlyBracket => (Key::OpenBracket, true),
            Key::CloseCurlyBracket => (Key::CloseBracket, true),
            Key::Plus | Key::Questionmark | Key::Exclamationmark | Key::Colon | Key::Pipe => (key, false),
            _ => (key, shift),
        };
        Self { command, alt, shift, key }
    }

    /// From its written form, such as `Ctrl+Shift+Z`.
    pub fn parse(text: &str) -> Option<Self> {
        let mut chord = Self { command: false, alt: false, shift: false, key: Key::Space };
        let mut rest = text;
        loop {
            let held = [("Ctrl+", &mut chord.command), ("Alt+", &mut chord.alt), ("Shift+", &mut chord.shift)];
            let Some((after, held)) = held.into_iter().find_map(|(name, held)| Some((rest.strip_prefix(name)?, held)))
            else {
                break;
            };
            *held = true;
            rest = after;
        }
        chord.key = Key::from_name(rest)?;
        Some(chord)
    }

    /// Whether a text field would take it as a letter.
    pub fn is_bare(self) -> bool {
        !self.command && !self.alt
    }

    /// What always means the same, and can be bound to nothing else: for what?
    pub fn reserved(self) -> Option<&'static str> {
        match self.key {
            Key::Escape => Some("leaving what is going on"),
            Key::Tab => Some("going from control to control, and the original"),
            Key::F6 => Some("handing the keyboard to canvas or controls"),
            Key::Space if !self.command => Some("moving the view, and pressing controls"),
            _ => None,
        }
    }
}

impl fmt::Display for Chord {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = [(self.command, if cfg!(target_os = "macos") { "Cmd+" } else { "Ctrl+" })];
        let held = held.into_iter().chain([(self.alt, "Alt+"), (self.shift, "Shift+")]);
        held.filter(|(on, _)| *on).try_for_each(|(_, name)| out.write_str(name))?;
        out.write_str(match self.key {
            Key::Plus => "+",
            Key::Minus => "-",
            key if key.symbol_or_name().is_ascii() => key.symbol_or_name(),
            key => key.name(),
        })
    }
}

impl From<Chord> for String {
    fn from(chord: Chord) -> Self {
        chord.to_string().replace("Cmd+", "Ctrl+")
    }
}

impl TryFrom<String> for Chord {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text).ok_or_else(|| format!("“{text}” is no key"))
    }
}

/// Whose keys are the starting point.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// As in Photoshop, for the most part.
    #[default]
    Photoshop,
    /// As in Krita, for the most part.
    Krita,
}

impl Preset {
    /// Both, with their names.
    pub const ALL: [(Self, &'static str); 2] = [(Self::Photoshop, "Photoshop-like"), (Self::Krita, "Krita-like")];
}

/// A preset, and what was changed in it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Keymap {
    preset: Preset,
    own: BTreeMap<String, Vec<Chord>>,
}

impl Keymap {
    /// The starting point.
    pub fn preset(&self) -> Preset {
        self.preset
    }

    /// Another starting point; what was changed is forgotten.
    pub fn start_from(&mut self, preset: Preset) {
        *self = Self { preset, own: BTreeMap::new() };
    }

    /// The keys of an action.
    pub fn chords(&self, action: &Action) -> Vec<Chord> {
        match self.own.get(action.id) {
            Some(chords) => chords.clone(),
            None => action.keys(self.preset).split_whitespace().filter_map(Chord::parse).collect(),
        }
    }

    /// The keys of an action in words; nothing if it has none.
    pub fn text(&self, action: &Action) -> String {
        self.chords(action).iter().map(Chord::to_string).collect::<Vec<_>>().join(", ")
    }

    /// What a key means.
    pub fn find(&self, chord: Chord) -> Option<&'static Action> {
        ACTIONS.iter().find(|action| self.chords(action).contains(&chord))
    }

    /// Binds a key to an action, and to it alone. `None` leaves the action without keys.
    pub fn bind(&mut self, action: &'static Action, chord: Option<Chord>) {
        if let Some(other) = chord.and_then(|chord| self.find(chord)) {
            let rest = self.chords(other).into_iter().filter(|other| Some(*other) != chord).collect();
            self.own.insert(other.id.into(), rest);
        }
        self.own.insert(action.id.into(), chord.into_iter().collect());
    }

    /// Gives an action the keys of the preset back, taking them from what has them now.
    pub fn reset(&mut self, action: &'static Action) {
        self.own.remove(action.id);
        for chord in self.chords(action) {
            for other in ACTIONS.iter().filter(|other| other.id != action.id) {
                let chords = self.chords(other);
                if chords.contains(&chord) {
                    self.own.insert(other.id.into(), chords.into_iter().filter(|other| *other != chord).collect());
                }
            }
        }
    }

    /// Whether the keys of an action are not those of the preset.
    pub fn is_changed(&self, action: &Action) -> bool {
        self.own.contains_key(action.id)
    }
}
