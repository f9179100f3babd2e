//! Every intent of a person, named once: menu, keys, panel, canvas and tests all send these.

use std::path::PathBuf;

use andamento_model::frame::Extent;
use andamento_model::picture::{Combine, Rect};
use andamento_model::seam::Seam;
use andamento_model::surprise::Threshold;
use andamento_model::turn::Choice;
use serde::{Deserialize, Serialize};

use crate::keymap::{Chord, Preset};
use crate::preferences::{Appearance, Hint};

/// What the pointer does on the canvas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tool {
    /// Paints what may change.
    Brush,
    /// Takes it back.
    Eraser,
    /// Selects what a line is drawn around, or a polygon of clicks.
    Lasso,
    /// Selects a rectangle.
    Rectangle,
    /// Selects what resembles the colour under the pointer.
    Wand,
    /// Paints the path along which tokens are made.
    Order,
    /// Paints how boldly tokens are drawn.
    Boldness,
    /// Shows what else a token could have been.
    Picker,
    /// Grows the canvas at its edges.
    Extend,
    /// Moves the view.
    Hand,
}

/// A number per token, shown as colour.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heat {
    /// When it was made.
    Order,
    /// How unsure the model was, in bits.
    Uncertainty,
    /// How likely the chosen code was.
    Likelihood,
    /// How unlikely the model finds the token in the picture, in bits, whoever made it.
    Surprise,
}

/// A part of the canvas that is selected, to change the mask by.
#[derive(Debug, Clone, PartialEq)]
pub enum Selection {
    /// Whole pixels.
    Rectangle(Rect),
    /// The inside of a polygon of canvas points.
    Polygon(Vec<(f32, f32)>),
    /// What resembles the pixel at a canvas point, as the wand is set.
    Similar((f32, f32)),
    /// The most surprising tokens.
    Surprising(Threshold),
}

/// What is done to the edges of the mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Adjustment {
    /// Moved outwards.
    Grow,
    /// Moved inwards.
    Shrink,
    /// Softened.
    Feather,
}

/// How the mask is shown; the mask itself stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Overlay {
    /// Red, green and blue.
    pub colour: [u8; 3],
    /// From 0, nothing, to 1, which hides the picture.
    pub opacity: f32,
    /// Whether it is hatched.
    pub hatch: bool,
}

/// A window that asks or tells something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Dialog {
    /// Asks which picture to open.
    Open,
    /// Asks where to save.
    Save,
    /// Asks which checkpoints to import.
    Import,
    /// Asks which weights to take of checkpoints that have those of the last step and averaged ones.
    Weights(Vec<PathBuf>),
    /// Asks which mask to load.
    ImportMask,
    /// Asks where to write the mask.
    ExportMask,
    /// Asks by how much the canvas is extended on each side.
    Extend,
    /// Asks how far the edges of the mask are moved or softened.
    Adjust(Adjustment),
    /// Shows the keys.
    Keys,
    /// Searches everything that can be asked for.
    Palette,
    /// Asks for what the person prefers.
    Settings,
    /// Says what this program is.
    About,
    /// Asks what to do with a picture that is in no file.
    Leave,
    /// Asks as what to export, and where.
    Export,
    /// Offers what other windows left behind when they did not end in the ordinary way.
    Recover,
    /// Asks whether a grey picture is meant as a mask.
    MaskOrPicture(PathBuf),
}

/// Where the canvas is looked at.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct View {
    /// Screen points per canvas pixel.
    pub zoom: f32,
    /// The canvas point in the middle of the view.
    pub centre: (f32, f32),
    /// Whether the whole canvas is kept in sight.
    pub fit: bool,
}

/// An intent.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// Asks for something in a dialog.
    Ask(Dialog),
    /// Closes the dialog.
    CloseDialog,
    /// Opens a picture or a project.
    Open(PathBuf),
    /// Saves the project that the document is in, or else a new result under the next free name beside the source.
    Save,
    /// Saves under this name, which says as what: a project or a picture.
    SaveAs(PathBuf),
    /// The same with or without metadata, as was chosen.
    Export(PathBuf),
    /// Quality of exported JPEGs, from 1 to 100.
    JpegQuality(u8),
    /// Whether exported pictures say how they were made, and keep what the camera wrote.
    Metadata(bool),
    /// Takes in files that were dropped onto the window, the picture among them as a mask if asked.
    DropFiles {
        /// The files.
        paths: Vec<PathBuf>,
        /// Whether it shall be a mask.
        as_mask: bool,
    },
    /// Copies the picture to the clipboard.
    Copy,
    /// Opens what is on the clipboard: a picture, or the name of a file.
    Paste,
    /// Takes subject, order, knobs and mask from the record in the picture's file.
    RestoreRequest,
    /// Goes on with what another window left in this folder.
    Recover(PathBuf),
    /// Removes it.
    DiscardRecovery(PathBuf),
    /// Empties the list of recent files.
    ForgetRecent,
    /// Leaves the program, after asking if a picture is in no file.
    Quit,
    /// Saves, and leaves once that is done.
    SaveAndQuit,
    /// Leaves without asking.
    QuitUnsaved,
    /// Takes back the last change.
    Undo,
    /// Makes it again.
    Redo,
    /// Goes to an entry of the history, 0 being the oldest.
    GoTo(usize),
    /// Carries out the request of an entry of the history again.
    RunAgain {
        /// Which entry.
        entry: usize,
        /// With another seed, instead of its own, which makes the same tokens.
        new_seed: bool,
    },
    /// Sets the panel as it was for an entry of the history.
    UseSettings(usize),
    /// Takes up a tool.
    Choose(Tool),
    /// Brush diameter in canvas pixels.
    BrushSize(f32),
    /// Edge of the brush: 0 soft, 1 hard.
    BrushHardness(f32),
    /// Swaps brush and eraser; of the order brush, painting and taking out; of the boldness brush, painting and neutral.
    SwapErase,
    /// Starts a stroke at a canvas point.
    BeginStroke {
        /// Where.
        at: (f32, f32),
        /// Whether it erases.
        erase: bool,
    },
    /// Goes on with it.
    ExtendStroke((f32, f32)),
    /// Ends it: one entry in the history.
    EndStroke,
    /// Takes it back unfinished.
    CancelStroke,
    /// The pen presses this hard from here on, 0 to 1: the brush is so much of its size. 1 without a pen.
    Pressure(f32),
    /// Changes the mask by a selection.
    Select(Selection, Combine),
    /// How selections change the mask when no key says otherwise.
    CombineBy(Combine),
    /// How much the colours that the wand selects differ, in levels of 0 to 255.
    Tolerance(u8),
    /// Whether the wand selects only what is joined to where it was clicked.
    Contiguous(bool),
    /// Moves or softens the edges of the mask by so many canvas pixels.
    AdjustMask(Adjustment, u32),
    /// Takes the mask from a grey picture file of the canvas's size: white changes.
    ImportMask(PathBuf),
    /// Writes the mask as a grey PNG: white changes.
    ExportMask(PathBuf),
    /// How the mask is shown.
    Overlay(Overlay),
    /// Whether the order brush takes tokens out of the path.
    EraseOrder(bool),
    /// Forgets the painted order.
    ClearOrder,
    /// The factor on the temperature that the boldness brush paints.
    Boldness(f32),
    /// Whether the boldness brush takes back to neutral.
    EraseBoldness(bool),
    /// Boldness is neutral everywhere.
    ClearBoldness,
    /// Nothing may change.
    ClearMask,
    /// Swaps what may change and what is kept.
    InvertMask,
    /// Everything may change.
    SelectAll,
    /// Grows the canvas by so many pixels on the left, top, right and bottom; the new area is masked.
    ExtendCanvas([u32; 4]),
    /// Extends the canvas by whole tokens, or by pixels.
    SnapToTokens(bool),
    /// Has the model look at this square of the canvas.
    PlaceFrame(Rect),
    /// Makes the square at which the model looks so many times as large.
    ScaleFrame(f32),
    /// Places the square around the mask by itself again.
    FrameAutomatic,
    /// Takes another model, by its id.
    ChooseModel(String),
    /// Imports checkpoints into the library.
    ImportModels(Vec<PathBuf>),
    /// What to paint, by class.
    Subject(u32),
    /// The generation order, by name.
    Order(&'static str),
    /// On how many tokens the model works. A refined picture takes the order that it demands.
    Extent(Extent),
    /// Steps for a whole picture.
    Steps(usize),
    /// Guidance scale.
    Guidance(f32),
    /// Scale of spatial contextual guidance; 1 is off.
    Context(f32),
    /// Temperature.
    Temperature(f32),
    /// Only so many of the likeliest codes; 0 is all.
    TopK(usize),
    /// Only the likeliest codes that reach this probability together; 1 is all.
    TopP(f32),
    /// Mixes codes instead of choosing one, or does not.
    Smooth(bool),
    /// Where the randomness starts.
    Seed(u64),
    /// Another seed.
    RollSeed,
    /// Keeps the seed, or takes a new one for every run.
    LockSeed(bool),
    /// How many variations are made, one after the other.
    Variations(usize),
    /// How the mask's edge is treated.
    Seam(Seam),
    /// Repaints what the mask covers.
    Generate,
    /// Ends the run and keeps what was decoded.
    Stop,
    /// Pauses or resumes the run; goes on with a stopped one; plays back a finished one.
    PlayOrPause,
    /// Looks at the run after so many of its steps.
    Rewind(usize),
    /// Goes on from the step that is looked at, with what the panel says now.
    BranchHere,
    /// Shows what else the token that was made last at a canvas point could have been.
    PickToken((f32, f32)),
    /// The same of the last token that was made.
    PickLast,
    /// The same of the token that was made after the one that is looked at, or with `false` before it.
    PickNext(bool),
    /// Closes it.
    ClosePicker,
    /// Takes another code for a token of a run by hand.
    Swap {
        /// The run, by its number.
        run: u64,
        /// Which token, and which code.
        choice: Choice,
        /// Makes everything anew that was made after it; otherwise that stays.
        redo: bool,
    },
    /// Takes a result from the strip, by its number.
    TakeResult(usize),
    /// Shows the variation before the present one.
    PreviousVariation,
    /// Shows the variation after it.
    NextVariation,
    /// Keeps the variation that is shown, and makes no more of them.
    AcceptVariation,
    /// Takes the variation that is shown out of the strip, and shows the one beside it, or the picture as it was.
    DiscardVariation,
    /// Looks elsewhere.
    Look(View),
    /// The whole canvas in sight.
    ZoomFit,
    /// One screen pixel per canvas pixel.
    Zoom100,
    /// Closer or further away, around the middle.
    ZoomBy(f32),
    /// Shows or hides the picture.
    ShowImage(bool),
    /// Shows or hides the token grid.
    ShowTokens(bool),
    /// Shows or hides the mask.
    ShowMask(bool),
    /// Shows or hides the boldness.
    ShowBoldness(bool),
    /// Shows or hides lines between pixels when one looks from near.
    ShowPixelGrid(bool),
    /// Colours the tokens.
    ShowHeat(Option<Heat>),
    /// Reads the picture anew: how surprising its tokens are.
    MeasureSurprise,
    /// Begins to choose how surprising tokens must be to be selected, or leaves it.
    ChooseSurprising(bool),
    /// How surprising they must be.
    Threshold(Threshold),
    /// Opens or closes the controls that are seldom needed.
    ShowMore(bool),
    /// Opens or closes the history.
    ShowHistory(bool),
    /// Shows the picture as it was opened, while held.
    ShowOriginal(bool),
    /// Puts away a notice, by its number.
    Dismiss(u64),
    /// Leaves what is going on: dialog, alternatives, stroke, rewinding, run, in this order.
    Escape,
    /// Imports checkpoints, with averaged weights (EMA) where a file has them beside those of the last step, or without.
    ImportWeights(Vec<PathBuf>, bool),
    /// Light or dark.
    Appear(Appearance),
    /// Starts from other keys; what was changed is forgotten.
    StartFromKeys(Preset),
    /// Binds a key to an action, by its id, and to it alone; none leaves the action without keys.
    BindKey(&'static str, Option<Chord>),
    /// Gives an action, by its id, its first keys back.
    ResetKey(&'static str),
    /// Puts away a hint for ever.
    CloseHint(Hint),
    /// Shows all hints again.
    ShowHints,
}
