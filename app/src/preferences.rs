//! What the person prefers, kept from one start to the next.

use std::collections::BTreeSet;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use andamento_model::picture::Combine;
use andamento_model::{Error, Result};
use etcetera::base_strategy::{BaseStrategy, choose_native_strategy};
use serde::{Deserialize, Serialize};

use crate::command::{Command, Overlay, Tool};
use crate::document::save_atomically;
use crate::editor::Wand;
use crate::files::export::QUALITY;
use crate::keymap::Keymap;

/// The file's name.
const FILE: &str = "settings.json";
/// The longest file that is read, in bytes.
const LONGEST: u64 = 1 << 20;
/// The largest brush, as a share of a picture's longer side.
const MOST_BRUSH: f32 = 16.0;

/// Light or dark.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Appearance {
    /// As the system says.
    System,
    /// Dark text on light panels.
    Light,
    /// Light text on dark panels, which leaves the picture in the foreground.
    #[default]
    Dark,
}

impl Appearance {
    /// All, with their names.
    pub const ALL: [(Self, &'static str); 3] =
        [(Self::Dark, "Dark"), (Self::Light, "Light"), (Self::System, "As the system")];
}

/// Something worth knowing in the first minutes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Hint {
    /// Generate repaints the mask.
    Generate,
    /// The order can be chosen.
    Order,
    /// An edge can be dragged.
    Extend,
    /// The run can be rewound.
    Rewind,
    /// Any picture can be opened.
    Open,
    /// Temperature can be painted.
    Boldness,
}

impl Hint {
    /// All, in the sequence in which they come.
    pub const ALL: [Self; 6] = [Self::Generate, Self::Order, Self::Extend, Self::Rewind, Self::Boldness, Self::Open];

    /// What a command shows that the person knows.
    pub fn known_by(command: &Command) -> Option<Self> {
        match command {
            Command::Generate => Some(Self::Generate),
            Command::Order(_) | Command::Choose(Tool::Order) => Some(Self::Order),
            Command::ExtendCanvas(_) => Some(Self::Extend),
            Command::Rewind(_) => Some(Self::Rewind),
            Command::Open(_) => Some(Self::Open),
            Command::Choose(Tool::Boldness) => Some(Self::Boldness),
            _ => None,
        }
    }

    /// What it says.
    pub fn text(self) -> &'static str {
        match self {
            Self::Generate => "Press Generate: the masked part of the picture is painted anew, token by token.",
            Self::Order => {
                "Tokens can be made in any order: paint it with the order brush (O), or choose one on the right."
            }
            Self::Extend => "Drag an edge of the picture outwards: what is added is painted too.",
            Self::Rewind => "Drag the head of the timeline back: the run can go on from any step, another way.",
            Self::Boldness => {
                "Where shall the model keep to what is likely, and where be daring? Paint it with the boldness brush (D)."
            }
            Self::Open => "Open a picture of your own: from the File menu, or by dropping it here.",
        }
    }
}

/// How the person works: what was set last is found so at the next start.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Habits {
    /// How the mask is shown.
    pub overlay: Overlay,
    /// The brush's diameter as a share of the picture's longer side: every picture is opened with one that suits it.
    pub brush: f32,
    /// The edge of the brush: 0 soft, 1 hard.
    pub hardness: f32,
    /// How selections change the mask when no key says otherwise.
    pub combine: Combine,
    /// How the wand selects.
    pub wand: Wand,
    /// Whether the canvas is extended by whole tokens.
    pub snap: bool,
    /// Quality of JPEGs, from 1 to 100.
    pub jpeg_quality: u8,
    /// Whether exported pictures say how they were made, and keep what the camera wrote.
    pub metadata: bool,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            overlay: Overlay { colour: [0xf2, 0xa6, 0x3b], opacity: 0.26, hatch: false },
            brush: 0.125,
            hardness: 0.7,
            combine: Combine::Add,
            wand: Wand { tolerance: 24, contiguous: true },
            snap: true,
            jpeg_quality: QUALITY,
            metadata: true,
        }
    }
}

impl Habits {
    /// The same within the limits of the controls: files can be written by hand.
    fn within_limits(self) -> Self {
        Self {
            overlay: Overlay { opacity: self.overlay.opacity.clamp(0.05, 1.0), ..self.overlay },
            brush: self.brush.clamp(1e-4, MOST_BRUSH),
            hardness: self.hardness.clamp(0.0, 1.0),
            jpeg_quality: self.jpeg_quality.clamp(1, 100),
            ..self
        }
    }
}

/// What the person prefers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Preferences {
    /// Light or dark.
    pub appearance: Appearance,
    /// The keys.
    pub keys: Keymap,
    /// Hints that are known or were closed.
    pub hints_done: BTreeSet<Hint>,
    /// How tools and export are set.
    pub habits: Habits,
}

/// Preferences and the file in which they are kept, if in one.
#[derive(Debug, Clone, Default)]
pub struct Kept {
    /// The preferences.
    pub now: Preferences,
    /// Where.
    pub file: Option<PathBuf>,
    /// What was wrong with the file.
    pub damage: Option<Error>,
}

impl Kept {
    /// Those of the person: in the folder that was given, or in `ANDAMENTO_HOME`, or where the system keeps settings. A
    /// file that cannot be read is set aside, and the usual preferences are taken.
    pub fn open(given: Option<&Path>) -> Self {
        let chosen = given.map(Path::to_path_buf).or_else(|| std::env::var_os("ANDAMENTO_HOME").map(PathBuf::from));
        let native = || Some(choose_native_strategy().ok()?.config_dir().join("andamento"));
        let Some(folder) = chosen.or_else(native) else {
            let remedy = "Say where with --data-dir; until then settings last as long as the window";
            let damage = Some(Error::control("Settings", "the system names no folder for settings", remedy));
            return Self { damage, ..Self::default() };
        };
        Self::read(folder.join(FILE))
    }

    fn read(file: PathBuf) -> Self {
        let text = std::fs::metadata(&file).and_then(|about| match about.len() {
            0..=LONGEST => std::fs::read_to_string(&file),
            bytes => Err(std::io::Error::other(format!("{bytes} bytes are too many for settings"))),
        });
        let read = match text {
            Ok(text) => serde_json::from_str(&text).map_err(|error| error.to_string()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Preferences::default()),
            Err(error) => Err(error.to_string()),
        };
        match read {
            Ok(now) => {
                let now = Preferences { habits: now.habits.within_limits(), ..now };
                Self { now, file: Some(file), damage: None }
            }
            Err(cause) => Self { damage: Some(set_aside(&file, &cause)), file: Some(file), ..Self::default() },
        }
    }
}

/// Moves a damaged file out of the way, and says so.
fn set_aside(file: &Path, cause: &str) -> Error {
    let name = |number: u32| file.with_file_name(format!("{FILE}.damaged-{number}"));
    let aside = (1..1000).map(name).find(|aside| !aside.exists()).unwrap_or_else(|| name(0));
    match std::fs::rename(file, &aside) {
        Ok(()) => {
            let aside = aside.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let remedy = format!("The usual settings are taken. The file is kept beside it as {aside}");
            Error::file(file, format!("the settings cannot be read ({cause})"), remedy)
        }
        Err(error) => {
            let cause = format!("the settings cannot be read ({cause}), nor set aside ({error})");
            Error::file(file, cause, "The usual settings are taken. Remove the file to keep new ones")
        }
    }
}

impl Preferences {
    /// Writes them to a file, whole or not at all.
    ///
    /// # Errors
    /// Names the file when it cannot be written.
    pub fn write(&self, file: &Path) -> Result<()> {
        let failed = |error: &dyn std::fmt::Display| Error::file(file, error, "Choose another folder with --data-dir");
        if let Some(folder) = file.parent() {
            std::fs::create_dir_all(folder).map_err(|error| failed(&error))?;
        }
        let text = serde_json::to_string_pretty(self).map_err(|error| failed(&error))?;
        save_atomically(file, text.as_bytes())
    }
}
