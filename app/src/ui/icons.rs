//! The icons that are used, as codepoints of Phosphor Icons.

/// Brush.
pub(super) const BRUSH: &str = "\u{E6F0}";
/// Eraser.
pub(super) const ERASER: &str = "\u{E21E}";
/// Lasso.
pub(super) const LASSO: &str = "\u{EDC6}";
/// Rectangle.
pub(super) const RECTANGLE: &str = "\u{E3F0}";
/// Wand.
pub(super) const WAND: &str = "\u{E6B6}";
/// Order brush.
pub(super) const PATH: &str = "\u{E39C}";
/// Boldness brush.
pub(super) const THERMOMETER: &str = "\u{E5C6}";
/// Token picker.
pub(super) const PICKER: &str = "\u{E568}";
/// A selection takes the mask's place.
pub(super) const REPLACE: &str = "\u{E45E}";
/// It is added.
pub(super) const ADD: &str = "\u{E878}";
/// It is taken away.
pub(super) const SUBTRACT: &str = "\u{EBD4}";
/// What both have in common.
pub(super) const INTERSECT: &str = "\u{E87A}";
/// Hand.
pub(super) const HAND: &str = "\u{E298}";
/// Extend the canvas.
pub(super) const EXTEND: &str = "\u{E626}";
/// Play.
pub(super) const PLAY: &str = "\u{E3D0}";
/// Pause.
pub(super) const PAUSE: &str = "\u{E39E}";
/// One back.
pub(super) const BACK: &str = "\u{E138}";
/// One forward.
pub(super) const FORWARD: &str = "\u{E13A}";
/// Opens a list.
pub(super) const DOWN: &str = "\u{E136}";
/// Branch.
pub(super) const BRANCH: &str = "\u{E278}";
/// Locked.
pub(super) const LOCKED: &str = "\u{E308}";
/// Unlocked.
pub(super) const UNLOCKED: &str = "\u{E30A}";
/// Roll the dice.
pub(super) const DICE: &str = "\u{E1EE}";
/// Close.
pub(super) const CLOSE: &str = "\u{E4F6}";
/// Search.
pub(super) const SEARCH: &str = "\u{E30C}";
/// Something is wrong.
pub(super) const WARNING: &str = "\u{E4E0}";
/// Done.
pub(super) const CHECK: &str = "\u{E182}";
/// The Enter key.
pub(super) const ENTER: &str = "\u{E044}";
/// Once more.
pub(super) const AGAIN: &str = "\u{E036}";
/// Into the bin.
pub(super) const DISCARD: &str = "\u{E4A6}";
/// Settings.
pub(super) const SETTINGS: &str = "\u{E434}";
