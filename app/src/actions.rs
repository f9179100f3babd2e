//! Everything that a person can ask for by name: the one table of which menus, keys, palette and the sheet of keys are made.

use andamento_model::picture::{Combine, Rect};

use crate::command::{Adjustment, Command, Dialog, Heat, Tool};
use crate::editor::{Editor, cause};
use crate::preferences::Hint;

/// The brush's size goes up and down by this factor.
const SIZE: f32 = 1.2;
/// Its hardness goes up and down by this much.
const HARDNESS: f32 = 0.1;
/// The zoom goes up and down by this factor.
const ZOOM: f32 = 1.25;
/// So does the frame.
const FRAME: f32 = 1.25;

/// Where an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Menu {
    /// Files.
    File,
    /// History and settings.
    Edit,
    /// The mask.
    Select,
    /// Runs.
    Generate,
    /// Models.
    Model,
    /// What is shown.
    View,
    /// Keys, hints.
    Help,
    /// In no menu, as the tool strip has it.
    Tools,
}

impl Menu {
    /// The menus of the top bar, with their names.
    pub const BAR: [(Self, &'static str); 7] = [
        (Self::File, "File"),
        (Self::Edit, "Edit"),
        (Self::Select, "Select"),
        (Self::Generate, "Generate"),
        (Self::Model, "Model"),
        (Self::View, "View"),
        (Self::Help, "Help"),
    ];

    /// Its name.
    pub fn name(self) -> &'static str {
        Self::BAR.iter().find(|(menu, _)| *menu == self).map_or("Tools", |(_, name)| name)
    }
}

/// Something that can be asked for.
#[derive(Clone, Copy)]
pub struct Action {
    /// What the settings file calls it.
    pub id: &'static str,
    /// What the window calls it.
    pub name: &'static str,
    /// Where it stands.
    pub menu: Menu,
    /// Whether a line is drawn above it in the menu.
    pub apart: bool,
    photoshop: &'static str,
    krita: Option<&'static str>,
    command: fn(&Editor) -> Command,
    refusal: fn(&Editor) -> Option<String>,
    ticked: Option<fn(&Editor) -> bool>,
    title: Option<fn(&Editor) -> String>,
}

impl Action {
    const fn new(menu: Menu, id: &'static str, name: &'static str, command: fn(&Editor) -> Command) -> Self {
        let refusal = |_: &Editor| None;
        let (photoshop, krita, ticked, title) = ("", None, None, None);
        Self { id, name, menu, apart: false, photoshop, krita, command, refusal, ticked, title }
    }

    /// Keys of both presets, apart by spaces.
    const fn keys_are(self, photoshop: &'static str) -> Self {
        Self { photoshop, ..self }
    }

    /// Keys of the preset “Krita-like”, where they differ.
    const fn krita(self, krita: &'static str) -> Self {
        Self { krita: Some(krita), ..self }
    }

    const fn apart(self) -> Self {
        Self { apart: true, ..self }
    }

    const fn unless(self, refusal: fn(&Editor) -> Option<String>) -> Self {
        Self { refusal, ..self }
    }

    const fn ticked(self, ticked: fn(&Editor) -> bool) -> Self {
        Self { ticked: Some(ticked), ..self }
    }

    const fn titled(self, title: fn(&Editor) -> String) -> Self {
        Self { title: Some(title), ..self }
    }

    /// What it sends.
    pub fn command(&self, editor: &Editor) -> Command {
        (self.command)(editor)
    }

    /// Why it cannot be done now, if it cannot.
    pub fn refusal(&self, editor: &Editor) -> Option<String> {
        (self.refusal)(editor)
    }

    /// Whether it is on, if it is a switch.
    pub fn is_ticked(&self, editor: &Editor) -> Option<bool> {
        self.ticked.map(|ticked| ticked(editor))
    }

    /// What the menu calls it now.
    pub fn title(&self, editor: &Editor) -> String {
        self.title.map_or_else(|| self.name.into(), |title| title(editor))
    }

    /// The keys of a preset, apart by spaces.
    pub(crate) fn keys(&self, preset: crate::keymap::Preset) -> &'static str {
        match preset {
            crate::keymap::Preset::Photoshop => self.photoshop,
            crate::keymap::Preset::Krita => self.krita.unwrap_or(self.photoshop),
        }
    }
}

/// An action by its id.
pub fn by_id(id: &str) -> Option<&'static Action> {
    ACTIONS.iter().find(|action| action.id == id)
}

/// A tooltip with the keys of an action behind it.
pub fn with_keys(editor: &Editor, text: &str, id: &str) -> String {
    let keys = by_id(id).map(|action| editor.preferences().keys.text(action)).unwrap_or_default();
    if keys.is_empty() { text.into() } else { format!("{text} ({keys})") }
}

/// A tool's action.
pub fn of_tool(tool: Tool) -> &'static str {
    match tool {
        Tool::Brush => "brush",
        Tool::Eraser => "eraser",
        Tool::Lasso => "lasso",
        Tool::Rectangle => "rectangle",
        Tool::Wand => "wand",
        Tool::Order => "order-brush",
        Tool::Boldness => "boldness-brush",
        Tool::Picker => "token-picker",
        Tool::Extend => "extend",
        Tool::Hand => "hand",
    }
}

fn is_empty(editor: &Editor) -> Option<String> {
    editor.document.mask.is_empty().then(|| "Nothing is masked".into())
}

fn is_running(editor: &Editor) -> Option<String> {
    editor.run.is_some().then(|| "A run is on: stop it first".into())
}

fn is_at_rest(editor: &Editor) -> Option<String> {
    (editor.run.is_none() && editor.surprise.reading.is_none()).then(|| "Nothing runs".into())
}

fn has_no_track(editor: &Editor) -> Option<String> {
    editor.track().is_none().then(|| "There is no run yet: generate first".into())
}

fn has_no_aim(editor: &Editor) -> Option<String> {
    editor.aim.is_none().then(|| "There is no frame yet: paint over what should change".into())
}

fn has_no_choice(editor: &Editor) -> Option<String> {
    (!editor.is_choosing()).then(|| "Generate variations first, and look at one of them".into())
}

fn has_no_run_of_its_own(editor: &Editor) -> Option<String> {
    editor.document.track.is_none().then(|| "No run made this picture".into())
}

fn has_no_path(editor: &Editor) -> Option<String> {
    editor.document.order_path.is_empty().then(|| "No order was painted".into())
}

fn is_neutral(editor: &Editor) -> Option<String> {
    editor.document.boldness.is_neutral().then(|| "No boldness was painted".into())
}

fn follows_no_path(editor: &Editor) -> Option<String> {
    editor.abilities.check_path().err().map(cause)
}

/// The frame, moved by so many of its tokens.
fn move_frame(editor: &Editor, right: i64, down: i64) -> Command {
    let Some(aim) = &editor.aim else { return Command::FrameAutomatic };
    let rect = aim.frame.rect;
    let token = (i64::from(rect.width) / aim.grid.cols.max(1) as i64).max(1);
    Command::PlaceFrame(Rect { x: rect.x + right * token, y: rect.y + down * token, ..rect })
}

fn heat(editor: &Editor, heat: Heat) -> Command {
    Command::ShowHeat((editor.show.heat != Some(heat)).then_some(heat))
}

/// Everything that can be asked for by name.
pub static ACTIONS: &[Action] = &[
    // Files.
    Action::new(Menu::File, "open", "Open…", |_| Command::Ask(Dialog::Open)).keys_are("Ctrl+O"),
    Action::new(Menu::File, "recover", "Recover…", |_| Command::Ask(Dialog::Recover))
        .unless(|editor| editor.desk.orphans.is_empty().then(|| "Nothing was left behind".into())),
    Action::new(Menu::File, "save", "Save", |_| Command::Save)
        .keys_are("Ctrl+S")
        .titled(|editor| if editor.project().is_some() { "Save" } else { "Save a new result" }.into())
        .unless(is_running)
        .apart(),
    Action::new(Menu::File, "save-as", "Save as…", |_| Command::Ask(Dialog::Save))
        .keys_are("Ctrl+Shift+S")
        .unless(is_running),
    Action::new(Menu::File, "export", "Export…", |_| Command::Ask(Dialog::Export))
        .keys_are("Ctrl+Shift+E")
        .unless(is_running),
    Action::new(Menu::File, "forget-recent", "Forget recent files", |_| Command::ForgetRecent)
        .unless(|editor| editor.desk.recent.is_empty().then(|| "There are none".into()))
        .apart(),
    Action::new(Menu::File, "quit", "Quit", |_| Command::Quit).keys_are("Ctrl+Q").apart(),
    // History and settings.
    Action::new(Menu::Edit, "undo", "Undo", |_| Command::Undo)
        .keys_are("Ctrl+Z")
        .titled(|editor| editor.history.undo_label().map_or("Undo".into(), |label| format!("Undo {label}")))
        .unless(|editor| {
            let nothing = editor.history.undo_label().is_none() && editor.run.is_none();
            nothing.then(|| "Nothing has changed yet".into())
        }),
    Action::new(Menu::Edit, "redo", "Redo", |_| Command::Redo)
        .keys_are("Ctrl+Shift+Z Ctrl+Y")
        .krita("Ctrl+Shift+Z")
        .titled(|editor| editor.history.redo_label().map_or("Redo".into(), |label| format!("Redo {label}")))
        .unless(|editor| editor.history.redo_label().is_none().then(|| "Nothing was taken back".into())),
    Action::new(Menu::Edit, "copy", "Copy picture", |_| Command::Copy).keys_are("Ctrl+C").apart(),
    Action::new(Menu::Edit, "paste", "Paste as a new document", |_| Command::Paste).keys_are("Ctrl+V"),
    Action::new(Menu::Edit, "restore-request", "Restore its request", |_| Command::RestoreRequest)
        .unless(|editor| editor.document.record.is_none().then(|| "The file does not say how it was made".into())),
    Action::new(Menu::Edit, "extend-canvas", "Extend canvas…", |_| Command::Ask(Dialog::Extend)).apart(),
    Action::new(Menu::Edit, "history", "History", |editor| Command::ShowHistory(!editor.show.history))
        .ticked(|editor| editor.show.history)
        .apart(),
    Action::new(Menu::Edit, "settings", "Settings…", |_| Command::Ask(Dialog::Settings)).keys_are("Ctrl+,").apart(),
    // The mask.
    Action::new(Menu::Select, "select-all", "Select all", |_| Command::SelectAll).keys_are("Ctrl+A"),
    Action::new(Menu::Select, "clear-mask", "Clear mask", |_| Command::ClearMask)
        .keys_are("Ctrl+D")
        .krita("Ctrl+Shift+A")
        .unless(is_empty),
    Action::new(Menu::Select, "invert-mask", "Invert mask", |_| Command::InvertMask).keys_are("Ctrl+Shift+I"),
    Action::new(Menu::Select, "grow-mask", "Grow mask…", |_| Command::Ask(Dialog::Adjust(Adjustment::Grow)))
        .unless(is_empty)
        .apart(),
    Action::new(Menu::Select, "shrink-mask", "Shrink mask…", |_| Command::Ask(Dialog::Adjust(Adjustment::Shrink)))
        .unless(is_empty),
    Action::new(Menu::Select, "feather-mask", "Feather mask…", |_| Command::Ask(Dialog::Adjust(Adjustment::Feather)))
        .unless(is_empty),
    Action::new(Menu::Select, "select-surprising", "Select by surprise…", |editor| {
        Command::ChooseSurprising(!editor.is_selecting_by_surprise())
    })
    .keys_are("Shift+S")
    .unless(|editor| editor.cannot_show_surprise().filter(|_| !editor.is_selecting_by_surprise()))
    .apart(),
    Action::new(Menu::Select, "import-mask", "Import mask…", |_| Command::Ask(Dialog::ImportMask)).apart(),
    Action::new(Menu::Select, "export-mask", "Export mask…", |_| Command::Ask(Dialog::ExportMask)).unless(is_empty),
    Action::new(Menu::Select, "clear-order", "Clear painted order", |_| Command::ClearOrder)
        .unless(has_no_path)
        .apart(),
    Action::new(Menu::Select, "clear-boldness", "Clear boldness", |_| Command::ClearBoldness).unless(is_neutral),
    // Runs.
    Action::new(Menu::Generate, "generate", "Generate", |_| Command::Generate)
        .keys_are("Ctrl+Enter")
        .krita("Shift+Enter")
        .unless(Editor::cannot_generate),
    Action::new(Menu::Generate, "stop", "Stop", |_| Command::Stop).keys_are("Shift+X").unless(is_at_rest),
    Action::new(Menu::Generate, "play", "Play or pause", |_| Command::PlayOrPause)
        .keys_are("K")
        .unless(has_no_track)
        .apart(),
    Action::new(Menu::Generate, "step-back", "One step back", |editor| {
        Command::Rewind(editor.head().saturating_sub(1))
    })
    .keys_are(",")
    .unless(has_no_track),
    Action::new(Menu::Generate, "step-forward", "One step forward", |editor| Command::Rewind(editor.head() + 1))
        .keys_are(".")
        .unless(has_no_track),
    Action::new(Menu::Generate, "first-step", "First step", |_| Command::Rewind(0))
        .keys_are("Home")
        .unless(has_no_track),
    Action::new(Menu::Generate, "last-step", "Last step", |_| Command::Rewind(usize::MAX))
        .keys_are("End")
        .unless(has_no_track),
    Action::new(Menu::Generate, "branch", "Branch here", |_| Command::BranchHere)
        .unless(|editor| (!editor.can_branch()).then(|| "Rewind a finished run first".into())),
    Action::new(Menu::Generate, "pick-token", "Alternatives of the last token", |_| Command::PickLast)
        .unless(|editor| editor.cannot_pick().or_else(|| has_no_track(editor))),
    Action::new(Menu::Generate, "previous-variation", "Previous variation", |_| Command::PreviousVariation)
        .keys_are("ArrowLeft")
        .unless(has_no_choice)
        .apart(),
    Action::new(Menu::Generate, "next-variation", "Next variation", |_| Command::NextVariation)
        .keys_are("ArrowRight")
        .unless(has_no_choice),
    Action::new(Menu::Generate, "accept-variation", "Accept variation", |_| Command::AcceptVariation)
        .keys_are("Enter")
        .unless(has_no_choice),
    Action::new(Menu::Generate, "discard-variation", "Discard variation", |_| Command::DiscardVariation)
        .keys_are("Delete")
        .unless(has_no_choice),
    Action::new(Menu::Generate, "run-again", "Run again", |editor| Command::RunAgain {
        entry: editor.history.depth(),
        new_seed: false,
    })
    .unless(has_no_run_of_its_own)
    .apart(),
    Action::new(Menu::Generate, "run-again-anew", "Run again with a new seed", |editor| Command::RunAgain {
        entry: editor.history.depth(),
        new_seed: true,
    })
    .unless(has_no_run_of_its_own),
    Action::new(Menu::Generate, "use-settings", "Use its settings", |editor| {
        Command::UseSettings(editor.history.depth())
    })
    .unless(has_no_run_of_its_own),
    Action::new(Menu::Generate, "smaller-frame", "Smaller frame", |_| Command::ScaleFrame(1.0 / FRAME))
        .keys_are("Alt+-")
        .unless(has_no_aim)
        .apart(),
    Action::new(Menu::Generate, "larger-frame", "Larger frame", |_| Command::ScaleFrame(FRAME))
        .keys_are("Alt+= Alt++")
        .unless(has_no_aim),
    Action::new(Menu::Generate, "frame-automatic", "Place frame by itself", |_| Command::FrameAutomatic)
        .unless(|editor| editor.frame.is_none().then(|| "It is placed by itself already".into())),
    Action::new(Menu::Tools, "frame-left", "Move frame left", |editor| move_frame(editor, -1, 0))
        .keys_are("Alt+ArrowLeft")
        .unless(has_no_aim),
    Action::new(Menu::Tools, "frame-right", "Move frame right", |editor| move_frame(editor, 1, 0))
        .keys_are("Alt+ArrowRight")
        .unless(has_no_aim),
    Action::new(Menu::Tools, "frame-up", "Move frame up", |editor| move_frame(editor, 0, -1))
        .keys_are("Alt+ArrowUp")
        .unless(has_no_aim),
    Action::new(Menu::Tools, "frame-down", "Move frame down", |editor| move_frame(editor, 0, 1))
        .keys_are("Alt+ArrowDown")
        .unless(has_no_aim),
    Action::new(Menu::Generate, "new-seed", "New seed", |_| Command::RollSeed).apart(),
    Action::new(Menu::Generate, "lock-seed", "Lock seed", |editor| Command::LockSeed(!editor.settings.seed_locked))
        .ticked(|editor| editor.settings.seed_locked),
    // Models; those at hand are listed above.
    Action::new(Menu::Model, "import-models", "Import checkpoints…", |_| Command::Ask(Dialog::Import))
        .unless(|editor| editor.importing.is_some().then(|| "An import is on already".into()))
        .apart(),
    // What is shown.
    Action::new(Menu::View, "zoom-fit", "Fit", |_| Command::ZoomFit).keys_are("Ctrl+0").krita("2 Ctrl+0"),
    Action::new(Menu::View, "zoom-100", "100 %", |_| Command::Zoom100).keys_are("Ctrl+1").krita("1 Ctrl+1"),
    Action::new(Menu::View, "zoom-in", "Zoom in", |_| Command::ZoomBy(ZOOM)).keys_are("Ctrl++ Ctrl+="),
    Action::new(Menu::View, "zoom-out", "Zoom out", |_| Command::ZoomBy(1.0 / ZOOM)).keys_are("Ctrl+-"),
    Action::new(Menu::View, "show-picture", "Picture", |editor| Command::ShowImage(!editor.show.image))
        .ticked(|editor| editor.show.image)
        .apart(),
    Action::new(Menu::View, "show-mask", "Mask", |editor| Command::ShowMask(!editor.show.mask))
        .keys_are("Q")
        .krita("Ctrl+H")
        .ticked(|editor| editor.show.mask),
    Action::new(Menu::View, "show-tokens", "Token grid", |editor| Command::ShowTokens(!editor.show.tokens))
        .keys_are("G")
        .ticked(|editor| editor.show.tokens),
    Action::new(Menu::View, "show-boldness", "Boldness", |editor| Command::ShowBoldness(!editor.show.boldness))
        .ticked(|editor| editor.show.boldness),
    Action::new(Menu::View, "show-pixels", "Pixel grid", |editor| Command::ShowPixelGrid(!editor.show.pixel_grid))
        .ticked(|editor| editor.show.pixel_grid),
    Action::new(Menu::View, "heat-order", "Order of tokens", |editor| heat(editor, Heat::Order))
        .ticked(|editor| editor.show.heat == Some(Heat::Order))
        .apart(),
    Action::new(Menu::View, "heat-uncertainty", "Uncertainty", |editor| heat(editor, Heat::Uncertainty))
        .keys_are("Shift+G")
        .ticked(|editor| editor.show.heat == Some(Heat::Uncertainty)),
    Action::new(Menu::View, "heat-likelihood", "Likelihood", |editor| heat(editor, Heat::Likelihood))
        .ticked(|editor| editor.show.heat == Some(Heat::Likelihood)),
    Action::new(Menu::View, "heat-surprise", "Surprise", |editor| heat(editor, Heat::Surprise))
        .keys_are("S")
        .ticked(|editor| editor.show.heat == Some(Heat::Surprise))
        .unless(|editor| editor.cannot_show_surprise().filter(|_| editor.show.heat != Some(Heat::Surprise))),
    Action::new(Menu::View, "show-more", "Controls seldom needed", |editor| Command::ShowMore(!editor.show.more))
        .ticked(|editor| editor.show.more)
        .apart(),
    // Help.
    Action::new(Menu::Help, "palette", "Search commands…", |_| Command::Ask(Dialog::Palette))
        .keys_are("Ctrl+K")
        .krita("Ctrl+K Ctrl+Enter"),
    Action::new(Menu::Help, "keys", "Keys…", |_| Command::Ask(Dialog::Keys)).keys_are("?"),
    Action::new(Menu::Help, "show-hints", "Show hints again", |_| Command::ShowHints).unless(|editor| {
        let all = Hint::ALL.iter().all(|hint| !editor.preferences().hints_done.contains(hint));
        all.then(|| "None was closed yet".into())
    }),
    Action::new(Menu::Help, "about", "About Andamento", |_| Command::Ask(Dialog::About)).apart(),
    // Tools.
    Action::new(Menu::Tools, "brush", "Brush", |_| Command::Choose(Tool::Brush)).keys_are("B"),
    Action::new(Menu::Tools, "eraser", "Eraser", |_| Command::Choose(Tool::Eraser)).keys_are("E"),
    Action::new(Menu::Tools, "lasso", "Lasso", |_| Command::Choose(Tool::Lasso)).keys_are("L"),
    Action::new(Menu::Tools, "rectangle", "Rectangle", |_| Command::Choose(Tool::Rectangle))
        .keys_are("M")
        .krita("Ctrl+R M"),
    Action::new(Menu::Tools, "wand", "Wand", |_| Command::Choose(Tool::Wand)).keys_are("W"),
    Action::new(Menu::Tools, "order-brush", "Order brush", |_| Command::Choose(Tool::Order))
        .keys_are("O")
        .unless(follows_no_path),
    Action::new(Menu::Tools, "boldness-brush", "Boldness brush", |_| Command::Choose(Tool::Boldness)).keys_are("D"),
    Action::new(Menu::Tools, "token-picker", "Token picker", |_| Command::Choose(Tool::Picker))
        .keys_are("T")
        .unless(Editor::cannot_pick),
    Action::new(Menu::Tools, "extend", "Extend canvas", |_| Command::Choose(Tool::Extend)).keys_are("C"),
    Action::new(Menu::Tools, "hand", "Hand", |_| Command::Choose(Tool::Hand)).keys_are("H"),
    Action::new(Menu::Tools, "swap-erase", "Swap brush and eraser", |_| Command::SwapErase).keys_are("X"),
    Action::new(Menu::Tools, "brush-smaller", "Smaller brush", |editor| {
        let size = editor.brush.size;
        Command::BrushSize((size / SIZE).min(size - 1.0))
    })
    .keys_are("["),
    Action::new(Menu::Tools, "brush-larger", "Larger brush", |editor| {
        let size = editor.brush.size;
        Command::BrushSize((size * SIZE).max(size + 1.0))
    })
    .keys_are("]"),
    Action::new(Menu::Tools, "brush-softer", "Softer brush", |editor| {
        Command::BrushHardness(editor.brush.hardness - HARDNESS)
    })
    .keys_are("Shift+["),
    Action::new(Menu::Tools, "brush-harder", "Harder brush", |editor| {
        Command::BrushHardness(editor.brush.hardness + HARDNESS)
    })
    .keys_are("Shift+]"),
    Action::new(Menu::Tools, "replace-mask", "Selections replace the mask", |_| Command::CombineBy(Combine::Replace))
        .ticked(|editor| editor.combine == Combine::Replace),
    Action::new(Menu::Tools, "add-to-mask", "Selections are added", |_| Command::CombineBy(Combine::Add))
        .ticked(|editor| editor.combine == Combine::Add),
    Action::new(Menu::Tools, "subtract-from-mask", "Selections are taken away", |_| {
        Command::CombineBy(Combine::Subtract)
    })
    .ticked(|editor| editor.combine == Combine::Subtract),
    Action::new(Menu::Tools, "intersect-mask", "Only what is common stays", |_| Command::CombineBy(Combine::Intersect))
        .ticked(|editor| editor.combine == Combine::Intersect),
    Action::new(Menu::Tools, "erase-order", "Order brush: take out", |editor| {
        Command::EraseOrder(!editor.order_brush.erase)
    })
    .ticked(|editor| editor.order_brush.erase),
    Action::new(Menu::Tools, "measure-surprise", "Surprise: read the picture again", |_| Command::MeasureSurprise)
        .unless(Editor::cannot_read),
    Action::new(Menu::Tools, "erase-boldness", "Boldness brush: back to neutral", |editor| {
        Command::EraseBoldness(!editor.boldness_brush.erase)
    })
    .ticked(|editor| editor.boldness_brush.erase),
    Action::new(Menu::Tools, "snap", "Snap to tokens", |editor| Command::SnapToTokens(!editor.snap))
        .ticked(|editor| editor.snap),
    Action::new(Menu::Tools, "contiguous", "Wand: contiguous", |editor| Command::Contiguous(!editor.wand.contiguous))
        .ticked(|editor| editor.wand.contiguous),
];

/// What the pointer and held keys do, for the sheet of keys: they are what they are.
pub const HELD: [(&str, &str); 11] = [
    ("Arrows, Space, Enter", "a cross on the canvas: paint, select, extend; Shift goes further"),
    ("Shift, Alt, both", "a selection is added, taken away, or only what is common stays"),
    ("Alt+right-drag", "brush size and hardness"),
    (
        "Right-drag",
        "erase for a moment; with the order brush, take tokens out; with the boldness brush, back to neutral",
    ),
    ("Space-drag, middle-drag", "move the view"),
    ("Wheel", "zoom at the pointer"),
    ("Ctrl while extending", "turns snapping around"),
    ("Enter, Backspace", "close a polygon; take back its last point"),
    ("Tab", "hold to see the original, while the canvas has the keyboard"),
    ("F6", "keyboard to the canvas, or to the controls, where Tab goes on"),
    ("Esc", "leave the alternatives, the gesture, selecting by surprise, then the past, then stop the run"),
];
