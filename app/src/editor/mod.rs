//! The state of the editor, and what every command does to it. Nothing here draws, and nothing here waits.

mod again;
mod boldness;
mod closeups;
mod desk;
mod files;
mod mask;
mod models;
mod path;
mod picker;
mod preferences;
mod runs;
mod variations;

pub use boldness::BoldnessBrush;
pub use closeups::{Closeups, Spot};
pub use desk::Desk;
pub use models::Offer;
pub use path::OrderBrush;
pub use picker::{Alternative, Picker};
pub use variations::MOST_VARIATIONS;

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use andamento_model::boldness::{BOLD, CALM};
use andamento_model::decode::{Knobs, Step};
use andamento_model::device::{DeviceChoice, Place};
use andamento_model::frame::{Extent, Frame, Pass};
use andamento_model::lattice::{Grid, Lattice, Token};
use andamento_model::library::fit::Memory;
use andamento_model::library::imported::Shelf;
use andamento_model::library::{self, Card, MODELS, folder};
use andamento_model::network::Abilities;
use andamento_model::order;
use andamento_model::paint::{Outline, Request};
use andamento_model::picture::{Combine, Mask, Picture, Rect};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::{Error, Result};
use image::RgbaImage;
use serde::{Deserialize, Serialize};

use crate::actions;
use crate::command::{Adjustment, Command, Dialog, Heat, Overlay, Selection, Tool, View};
use crate::document::{Document, Leg, Track, fresh};
use crate::errands::{Errand, Errands};
use crate::files::folders::Folders;
use crate::history::History;
use crate::preferences::{Habits, Hint, Kept};
use crate::worker::{self, Job, Source, Waker, Worker};
use variations::Batch;

/// The largest brush, in canvas pixels across.
pub const MAX_BRUSH: f32 = 2000.0;
/// The limits of the zoom, in screen points per canvas pixel.
pub const ZOOMS: (f32, f32) = (0.02, 40.0);
/// The strongest spatial contextual guidance.
pub const MOST_CONTEXT: f32 = 5.0;
/// The least probability that the codes to choose from reach together.
pub const LEAST_TOP_P: f32 = 0.01;
/// The seed at the start.
const FIRST_SEED: u64 = 20_411;
/// The largest seed that is drawn by itself: short enough to read out.
const SEEDS: u64 = 100_000;
/// How many results the strip keeps.
const RESULTS: usize = 60;
/// A finished run is played back in about this time.
const PLAYBACK: Duration = Duration::from_secs(4);
/// How long good news stay.
const NEWS: Duration = Duration::from_secs(6);

/// The brush, the eraser, and which of them is in hand.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Brush {
    /// What is in hand.
    pub tool: Tool,
    /// Diameter in canvas pixels.
    pub size: f32,
    /// 0 soft, 1 hard.
    pub hardness: f32,
}

/// How the wand selects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wand {
    /// By how much colours differ, in levels of 0 to 255.
    pub tolerance: u8,
    /// Whether only what is joined to where it was clicked.
    pub contiguous: bool,
}

/// What the panel says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What to paint.
    pub subject: u32,
    /// The name of the order.
    pub order: &'static str,
    /// Steps for a whole picture.
    pub steps: usize,
    /// On how many tokens the model works.
    pub extent: Extent,
    /// Guidance scale.
    pub guidance: f32,
    /// Scale of spatial contextual guidance; 1 is off.
    pub context: f32,
    /// Temperature, top-k, top-p and the smooth mode.
    pub sampling: Sampling,
    /// Where the randomness starts.
    pub seed: u64,
    /// Whether the next run takes the same seed.
    pub seed_locked: bool,
    /// How many variations are made, one after the other.
    pub variations: usize,
    /// How the mask's edge is treated.
    pub seam: Seam,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Show {
    /// The picture.
    pub image: bool,
    /// The token grid.
    pub tokens: bool,
    /// The layer of boldness.
    pub boldness: bool,
    /// The mask.
    pub mask: bool,
    /// How the mask is shown.
    pub overlay: Overlay,
    /// Lines between pixels when one looks from near.
    pub pixel_grid: bool,
    /// A number per token.
    pub heat: Option<Heat>,
    /// The controls that are seldom needed.
    pub more: bool,
    /// The history.
    pub history: bool,
    /// The picture as it was opened.
    pub original: bool,
}

/// Whether a model is ready.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// It is being loaded; so many bytes were read.
    Loading(u64),
    /// It is ready.
    Ready {
        /// The device's name.
        device: String,
        /// Why that device was taken.
        reason: String,
    },
    /// It could not be loaded.
    Failed(String),
}

/// What a run is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Waiting for the model, or reading the picture.
    Preparing,
    /// Making tokens.
    Decoding,
    /// Waiting for the person.
    Paused,
    /// Told to stop, which it does after the present step.
    Stopping,
}

/// A run that is being carried out.
pub struct Run {
    /// Its number.
    pub number: u64,
    /// What was asked for.
    pub request: Arc<Request>,
    /// The number of the picture it was asked for.
    before: u64,
    /// The canvas as the present pass found it, with its number.
    pub canvas: (u64, Picture),
    mask_id: u64,
    /// What it is doing.
    pub phase: Phase,
    /// How it goes, once planned.
    pub track: Option<Track>,
    /// What was made when it began.
    pub earlier: Vec<Step>,
    /// When decoding began.
    pub since: Instant,
    /// Of the passes of a run that is gone on with, the guesses for tokens that were not made.
    guesses: Vec<Arc<Vec<Token>>>,
    /// How many passes were begun.
    begun: usize,
    /// What the history calls its result, where that is not its subject.
    label: Option<String>,
    /// The document to go back to if nothing comes of it.
    instead_of: Option<Box<Document>>,
}

/// A decoded frame, transparent where the mask keeps the picture.
pub struct Preview {
    /// The run.
    pub run: u64,
    /// So many steps are in it.
    pub steps: usize,
    /// Its own number, see [`fresh`].
    pub id: u64,
    /// The pixels.
    pub picture: RgbaImage,
}

/// Where on the timeline one looks.
#[derive(Default)]
pub struct Timeline {
    /// After so many steps; none is the end.
    pub head: Option<usize>,
    /// Whether a finished run is being played back.
    pub playing: bool,
    /// The head with its fraction, while playing.
    position: f32,
    /// A full decode for the head was asked for, and is not here yet.
    asked: Option<usize>,
    /// The canvas as the run found it, ready to be looked at.
    before: Option<(u64, Picture)>,
}

/// A result in the strip.
pub struct Outcome {
    /// The document.
    pub document: Document,
    /// A small picture of it.
    pub thumbnail: RgbaImage,
    /// Whether it was accepted among its variations.
    pub accepted: bool,
}

/// Something the person should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its number.
    pub number: u64,
    /// Whether something went wrong.
    pub bad: bool,
    /// What it is about.
    pub about: String,
    /// What happened.
    pub cause: String,
    /// What to do next.
    pub remedy: String,
    since: Instant,
}

/// A stroke in progress.
struct Stroke {
    before: Document,
    /// Where it was last, and how hard the pen pressed there.
    last: ((f32, f32), f32),
    erase: bool,
}

/// Where the model will look, and which of its tokens will be made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// The square that it sees first.
    pub frame: Frame,
    /// The tokens of a square.
    pub grid: Grid,
    /// For every site of the first square whether it will be made.
    pub masked: Vec<bool>,
    /// How many tokens will be made in all squares.
    pub tokens: usize,
    /// All squares in their sequence, each with its part of the mask.
    pub passes: Vec<Pass>,
}

/// Everything.
pub struct Editor {
    /// What is edited.
    pub document: Document,
    /// What can be taken back.
    pub history: History,
    /// The brush.
    pub brush: Brush,
    /// The order brush.
    pub order_brush: OrderBrush,
    /// The boldness brush.
    pub boldness_brush: BoldnessBrush,
    /// How hard the pen presses, 0 to 1.
    pressure: f32,
    /// How selections change the mask when no key says otherwise.
    pub combine: Combine,
    /// How the wand selects.
    pub wand: Wand,
    /// Whether the canvas is extended by whole tokens.
    pub snap: bool,
    /// The square at which the model looks, where the person has placed it.
    pub frame: Option<Rect>,
    /// Changes of the mask that are being worked out.
    waiting: usize,
    /// What the panel says.
    pub settings: Settings,
    /// Where one looks.
    pub view: View,
    /// Screen pixels per screen point.
    pub pixels_per_point: f32,
    /// What is shown.
    pub show: Show,
    /// The model.
    pub card: Card,
    /// What it can be asked to do.
    pub abilities: Abilities,
    /// The models at hand.
    pub offers: Vec<Offer>,
    /// How far an import is, while there is one.
    pub importing: Option<String>,
    shelf: Shelf,
    device: DeviceChoice,
    /// Whose memory models compute in, and how much that was when one was loaded; none before.
    memory: Option<(Place, Option<Memory>)>,
    /// Whether it is ready.
    pub engine: Engine,
    /// Where it will look; none when nothing may change.
    pub aim: Option<Aim>,
    /// The run that is being carried out.
    pub run: Option<Run>,
    /// The last preview of a run.
    pub preview: Option<Preview>,
    /// The revisions of the token that is looked at.
    pub closeups: Closeups,
    /// Where on the timeline one looks.
    pub timeline: Timeline,
    /// The token that is looked at.
    pub picker: Option<Picker>,
    /// The strip of results.
    pub results: Vec<Outcome>,
    batch: Batch,
    /// What the person should know.
    pub notices: Vec<Notice>,
    /// The dialog that is open.
    pub dialog: Option<Dialog>,
    /// Whether Generate was ever pressed.
    pub generated: bool,
    /// Whether the window shall close.
    pub quitting: bool,
    /// The part of the mask that changed since the mask with the first number.
    pub touched: (u64, Rect),
    stroke: Option<Stroke>,
    /// The seed of the last run.
    used_seed: Option<u64>,
    quit_once_saved: bool,
    /// What to do once the run has stopped.
    after_stop: Option<Command>,
    kept: Kept,
    /// When preferences changed that are not written yet,
    unkept: Option<Instant>,
    /// and whether they are being written.
    keeping: bool,
    worker: Worker,
    errands: Errands,
    /// Projects, exports, autosave, recent files.
    pub desk: Desk,
}

impl Editor {
    /// The editor on the bundled sample, with a model being loaded.
    ///
    /// # Errors
    /// If there is no such model, or a bundled file is damaged.
    pub fn new(
        model: Option<&str>,
        device: DeviceChoice,
        (shelf, folders): (Shelf, &Folders),
        source: Source,
        wake: Waker,
    ) -> Result<Self> {
        let mut offers = models::offers(&shelf)?;
        let card = match model {
            Some(id) => models::at_hand(&mut offers, &library::find(id, &shelf)?)?,
            None => MODELS[0].card()?,
        };
        let abilities = card.abilities()?;
        let document = Document::sample()?;
        let worker = Worker::start(source, wake.clone());
        worker.send(Job::Load { model: card.id.clone(), device })?;
        let dusk = |subject: &String| {
            document.name.starts_with("lake") && subject.contains("lake") && subject.contains("dusk")
        };
        let mut settings = models::usual(&card, &abilities, None);
        settings.subject = card.subjects.iter().position(dusk).unwrap_or(0) as u32;
        let (history, errands) = (History::new(&document), Errands::new(wake));
        let desk = Desk::new(folders, &history, &errands);
        let habits = Habits::default();
        let mut editor = Self {
            history,
            brush: Brush { tool: Tool::Brush, size: 64.0, hardness: habits.hardness },
            order_brush: OrderBrush::new(),
            boldness_brush: BoldnessBrush::new(),
            pressure: 1.0,
            combine: habits.combine,
            wand: habits.wand,
            snap: habits.snap,
            frame: None,
            waiting: 0,
            settings,
            view: View { zoom: 1.0, centre: (0.0, 0.0), fit: true },
            pixels_per_point: 1.0,
            show: Show {
                image: true,
                tokens: true,
                boldness: true,
                mask: true,
                overlay: habits.overlay,
                pixel_grid: true,
                heat: None,
                more: false,
                history: false,
                original: false,
            },
            card,
            abilities,
            offers,
            shelf,
            importing: None,
            device,
            memory: None,
            engine: Engine::Loading(0),
            aim: None,
            run: None,
            preview: None,
            closeups: Closeups::default(),
            timeline: Timeline::default(),
            picker: None,
            results: Vec::new(),
            batch: Batch::default(),
            notices: Vec::new(),
            dialog: None,
            generated: false,
            quitting: false,
            touched: (document.mask_id, Rect::default()),
            stroke: None,
            used_seed: None,
            quit_once_saved: false,
            after_stop: None,
            kept: Kept::default(),
            unkept: None,
            keeping: false,
            worker,
            errands,
            desk,
            document,
        };
        if !editor.desk.orphans.is_empty() {
            editor.dialog = Some(Dialog::Recover);
        }
        editor.aim();
        Ok(editor)
    }

    /// Carries out an intent. What goes wrong becomes a notice.
    pub fn apply(&mut self, command: Command) {
        let known = Hint::known_by(&command);
        match self.carry_out(command) {
            Ok(()) => self.close_hints(known),
            Err(error) => self.complain(&error),
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<()> {
        if self.run.is_some() && changes_the_picture(&command) {
            self.after_stop = Some(command);
            return self.stop();
        }
        match command {
            Command::Ask(dialog) => self.dialog = Some(dialog),
            Command::CloseDialog => {
                self.dialog = None;
                // Who turns away from saving does not want to leave any more.
                self.quit_once_saved &= self.desk.busy > 0;
            }
            Command::Open(path) => self.load(path),
            Command::Save => return self.save(),
            Command::SaveAs(path) => return self.write(or_ending(path, "andamento"), true),
            Command::Quit if self.is_unsaved() => self.dialog = Some(Dialog::Leave),
            Command::Quit | Command::QuitUnsaved => self.quitting = true,
            Command::SaveAndQuit => {
                self.dialog = None;
                self.quit_once_saved = true;
                return self.save();
            }
            Command::Export(path) => return self.write(or_ending(path, "png"), self.desk.metadata),
            Command::JpegQuality(quality) => self.desk.quality = quality.clamp(1, 100),
            Command::Metadata(on) => self.desk.metadata = on,
            Command::DropFiles { paths, as_mask } => self.drop_files(paths, as_mask),
            Command::Copy => self.copy(),
            Command::Paste => self.paste(),
            Command::RestoreRequest => return self.restore_request(),
            Command::Recover(folder) => return self.recover(&folder),
            Command::DiscardRecovery(folder) => return self.discard_recovery(&folder),
            Command::ForgetRecent => return self.forget_recent(),
            Command::Undo => {
                self.end_stroke();
                let document = self.history.undo();
                self.go_to(document);
            }
            Command::Redo => {
                self.end_stroke();
                let document = self.history.redo();
                self.go_to(document);
            }
            Command::GoTo(index) => self.go_to_entry(index),
            Command::RunAgain { entry, new_seed } => return self.run_again(entry, new_seed),
            Command::UseSettings(entry) => return self.use_settings(entry),
            Command::Choose(tool) => return self.take_tool(tool),
            Command::BrushSize(size) => self.take_brush_size(size),
            Command::BrushHardness(hardness) => self.brush.hardness = hardness.clamp(0.0, 1.0),
            Command::SwapErase if self.brush.tool == Tool::Order => self.order_brush.erase = !self.order_brush.erase,
            Command::SwapErase if self.brush.tool == Tool::Boldness => {
                self.boldness_brush.erase = !self.boldness_brush.erase;
            }
            Command::SwapErase if self.brush.tool == Tool::Eraser => return self.take_tool(Tool::Brush),
            Command::SwapErase => return self.take_tool(Tool::Eraser),
            Command::EraseOrder(erase) => self.order_brush.erase = erase,
            Command::ClearOrder => self.clear_order(),
            Command::Boldness(factor) => self.boldness_brush.factor = factor.clamp(CALM, BOLD),
            Command::EraseBoldness(erase) => self.boldness_brush.erase = erase,
            Command::ClearBoldness => self.clear_boldness(),
            Command::BeginStroke { at, erase } if self.brush.tool == Tool::Order => self.begin_path(at, erase),
            Command::BeginStroke { at, erase } if self.brush.tool == Tool::Boldness => self.begin_boldness(at, erase),
            Command::BeginStroke { at, erase } => self.begin_stroke(at, erase),
            Command::ExtendStroke(to) => {
                self.extend_path(to);
                self.extend_boldness(to);
                self.extend_stroke(to);
            }
            Command::EndStroke => self.end_stroke(),
            Command::CancelStroke if self.cancel_path() || self.cancel_boldness() => {}
            Command::CancelStroke => {
                let stroke = self.stroke.take();
                self.go_to(stroke.map(|stroke| stroke.before));
            }
            Command::Pressure(pressure) => self.pressure = pressure.clamp(0.02, 1.0),
            Command::Select(selection, how) => return self.select(selection, how),
            Command::CombineBy(how) => self.combine = how,
            Command::Tolerance(levels) => self.wand.tolerance = levels,
            Command::Contiguous(contiguous) => self.wand.contiguous = contiguous,
            Command::AdjustMask(adjustment, radius) => self.adjust_mask(adjustment, radius),
            Command::ImportMask(path) => {
                self.dialog = None;
                self.errands.read_mask(path, (self.document.picture.width(), self.document.picture.height()));
            }
            Command::ExportMask(path) => return self.export_mask(path),
            Command::Overlay(overlay) => {
                self.show.overlay = Overlay { opacity: overlay.opacity.clamp(0.05, 1.0), ..overlay };
            }
            Command::ClearMask => {
                self.change_mask("Clear mask", Mask::new(self.document.mask.width(), self.document.mask.height()));
            }
            Command::InvertMask => self.change_mask("Invert mask", self.document.mask.inverted()),
            Command::SelectAll => {
                let mut all = self.document.mask.clone();
                all.fill_rect(all.rect(), 255);
                self.change_mask("Select all", all);
            }
            Command::SnapToTokens(snap) => self.snap = snap,
            Command::PlaceFrame(rect) => return self.place_frame(rect),
            Command::ScaleFrame(factor) => return self.scale_frame(factor),
            Command::FrameAutomatic => {
                self.frame = None;
                self.aim();
            }
            Command::ExtendCanvas(by) => return self.extend_canvas(by),
            Command::ChooseModel(id) => return self.choose_model(&id),
            Command::ImportModels(files) => {
                let trained: Vec<PathBuf> = files.iter().filter_map(|file| folder::meant(file)).collect();
                self.open_trained(&trained)?;
                self.import(files.into_iter().filter(|file| folder::meant(file).is_none()).collect(), None);
            }
            Command::ImportWeights(files, averaged) => self.import(files, Some(averaged)),
            Command::Subject(class) if (class as usize) < self.card.subjects.len() => self.settings.subject = class,
            Command::Subject(_) => {}
            Command::Order(name) => {
                let name = order::by_name(name)?.name;
                self.check_order(name)?;
                self.settings.order = name;
            }
            Command::Steps(steps) => self.settings.steps = steps.clamp(1, self.sites()),
            Command::Extent(extent) => return self.take_extent(extent),
            Command::Guidance(scale) => self.settings.guidance = scale.clamp(0.0, 30.0),
            Command::Context(scale) => {
                self.check_context()?;
                self.settings.context = scale.clamp(1.0, MOST_CONTEXT);
            }
            Command::Temperature(temperature) => self.settings.sampling.temperature = temperature.clamp(0.0, 2.0),
            Command::TopK(codes) => self.settings.sampling.top_k = codes,
            Command::TopP(share) => self.settings.sampling.top_p = share.clamp(LEAST_TOP_P, 1.0),
            Command::Smooth(smooth) => {
                let sampling = Sampling { smooth, ..self.settings.sampling };
                self.abilities.check(&sampling)?;
                self.settings.sampling = sampling;
            }
            Command::Seed(seed) => self.settings.seed = seed,
            Command::RollSeed => self.settings.seed = roll(),
            Command::LockSeed(locked) => self.settings.seed_locked = locked,
            Command::Variations(count) => self.settings.variations = count.clamp(1, MOST_VARIATIONS),
            Command::Seam(seam) => {
                seam.check()?;
                self.settings.seam = seam;
                self.aim();
            }
            Command::Generate => return self.generate(),
            Command::Stop => return self.stop(),
            Command::PlayOrPause => return self.play_or_pause(),
            Command::Rewind(steps) => {
                self.timeline.playing = false;
                self.rewind(steps);
            }
            Command::BranchHere => return self.branch(),
            Command::PickToken(at) => return self.pick_at(at),
            Command::PickLast => return self.pick_last(),
            Command::PickNext(forward) => return self.pick_next(forward),
            Command::ClosePicker => self.picker = None,
            Command::Swap { run, choice, redo } => return self.swap(run, choice, redo),
            Command::TakeResult(number) => self.take_result(number),
            Command::PreviousVariation => self.step_variation(false),
            Command::NextVariation => self.step_variation(true),
            Command::AcceptVariation => return self.accept_variation(),
            Command::DiscardVariation => self.discard_variation(),
            Command::Look(view) => self.view = View { zoom: view.zoom.clamp(ZOOMS.0, ZOOMS.1), ..view },
            Command::ZoomFit => self.view.fit = true,
            Command::Zoom100 => self.zoom(1.0 / self.pixels_per_point),
            Command::ZoomBy(factor) => self.zoom(self.view.zoom * factor),
            Command::ShowImage(on) => self.show.image = on,
            Command::ShowTokens(on) => self.show.tokens = on,
            Command::ShowMask(on) => self.show.mask = on,
            Command::ShowBoldness(on) => self.show.boldness = on,
            Command::ShowPixelGrid(on) => self.show.pixel_grid = on,
            Command::ShowHeat(heat) => self.show.heat = heat,
            Command::ShowMore(on) => self.show.more = on,
            Command::ShowHistory(on) => self.show.history = on,
            Command::ShowOriginal(on) => self.show.original = on,
            Command::Dismiss(number) => self.notices.retain(|notice| notice.number != number),
            Command::Escape => return self.escape(),
            Command::Appear(appearance) => self.prefer(|now| now.appearance = appearance),
            Command::StartFromKeys(preset) => self.prefer(|now| now.keys.start_from(preset)),
            Command::BindKey(action, chord) => return self.bind_key(action, chord),
            Command::ResetKey(action) => self.reset_key(action),
            Command::CloseHint(hint) => self.close_hints([hint]),
            Command::ShowHints => self.prefer(|now| now.hints_done.clear()),
        }
        Ok(())
    }

    /// Takes in what worker and files reported, and moves what moves by itself. Returns whether more will move soon.
    pub fn tick(&mut self, elapsed: Duration) -> bool {
        let events: Vec<_> = self.worker.events().collect();
        events.into_iter().for_each(|event| self.take_in(event));
        let done: Vec<_> = self.errands.done().collect();
        done.into_iter().for_each(|errand| self.finish(errand));
        self.notices.retain(|notice| notice.bad || notice.since.elapsed() < NEWS);
        // After a rest the first frame would otherwise leap.
        self.play(elapsed.min(Duration::from_millis(100)));
        self.ask_for_redraw();
        self.ask_for_glimpse();
        self.keep_preferences();
        self.keep();
        self.timeline.playing || self.is_decoding() || self.unkept.is_some()
    }

    /// The run that is shown: the one being carried out, or else the one that made the picture, if the present model did.
    pub fn track(&self) -> Option<&Track> {
        match &self.run {
            Some(run) => run.track.as_ref(),
            None => self.document.track.as_deref().filter(|track| track.model == self.card.id),
        }
    }

    /// After how many of the shown run's steps one looks.
    pub fn head(&self) -> usize {
        let made = self.track().map_or(0, |track| track.steps.len());
        self.timeline.head.map_or(made, |head| head.min(made))
    }

    /// Whether tokens are being made right now.
    pub fn is_decoding(&self) -> bool {
        self.run.as_ref().is_some_and(|run| matches!(run.phase, Phase::Decoding | Phase::Stopping))
    }

    /// Whether one looks at a run on the picture that it was asked for.
    pub fn looks_back(&self) -> bool {
        self.run.is_some() || self.timeline.head.is_some()
    }

    /// The canvas beneath what is shown of a run, with its number.
    pub fn before(&mut self) -> Option<(u64, Picture)> {
        if let Some(run) = &self.run {
            return Some(run.canvas.clone());
        }
        let track = self.document.track.as_ref().filter(|_| self.timeline.head.is_some())?;
        if self.timeline.before.as_ref().is_none_or(|(number, _)| *number != track.before) {
            self.timeline.before = Some((track.before, track.request.picture.clone()));
        }
        self.timeline.before.clone()
    }

    /// Whether a stroke is being drawn.
    pub fn is_stroking(&self) -> bool {
        self.stroke.is_some()
    }

    /// Whether any brush is on the canvas.
    pub fn is_painting(&self) -> bool {
        self.stroke.is_some() || self.painted_points().is_some() || self.boldness_brush.is_painting()
    }

    /// Whether the tool in hand takes away what it paints otherwise.
    pub fn erases(&self) -> bool {
        match self.brush.tool {
            Tool::Order => self.order_brush.erase,
            Tool::Boldness => self.boldness_brush.erase,
            tool => tool == Tool::Eraser,
        }
    }

    /// Why Generate cannot be pressed, if it cannot.
    pub fn cannot_generate(&self) -> Option<String> {
        match (&self.engine, &self.run) {
            (Engine::Failed(cause), _) => Some(format!("The model could not be loaded: {cause}")),
            (_, Some(_)) => Some(actions::with_keys(self, "A run is on: stop it first", "stop")),
            _ if self.document.mask.is_empty() => Some("Nothing may change yet: paint over what should change".into()),
            _ => self.lattice().err().map(cause),
        }
    }

    /// Whether there is a run that can go on from the head.
    pub fn can_branch(&self) -> bool {
        let shown = self.document.track.as_ref().filter(|track| track.model == self.card.id);
        let possible = |track: &Arc<Track>| {
            let made_of_mixtures = track.request.knobs.sampling.smooth && self.timeline.head.is_some();
            !made_of_mixtures && self.head() > 0 && self.head() < track.outline.steps
        };
        self.run.is_none() && shown.is_some_and(possible)
    }

    /// Tokens of a whole picture, as many as were chosen.
    pub fn sites(&self) -> usize {
        self.lattice().unwrap_or_else(|_| self.trained()).len()
    }

    fn complain(&mut self, error: &Error) {
        let (about, cause, remedy) = match error {
            Error::File { file, cause, remedy } => (file.display().to_string(), cause, remedy),
            Error::Control { control, cause, remedy } => (control.clone(), cause, remedy),
            Error::Device { device, cause, remedy } => (device.clone(), cause, remedy),
        };
        self.notify(true, about, cause.clone(), remedy.clone());
    }

    fn notify(&mut self, bad: bool, about: String, cause: String, remedy: String) {
        self.notices.retain(|notice| (&notice.about, &notice.cause) != (&about, &cause));
        self.notices.push(Notice { number: fresh(), bad, about, cause, remedy, since: Instant::now() });
        let excess = self.notices.len().saturating_sub(4);
        self.notices.drain(..excess);
    }

    fn escape(&mut self) -> Result<()> {
        if self.dialog.is_some() {
            self.dialog = None;
        } else if self.picker.is_some() {
            self.picker = None;
        } else if self.is_painting() {
            self.apply(Command::CancelStroke);
        } else if self.timeline.head.is_some() {
            self.timeline.playing = false;
            self.timeline.head = None;
        } else {
            return self.stop();
        }
        Ok(())
    }

    fn zoom(&mut self, zoom: f32) {
        self.view = View { zoom: zoom.clamp(ZOOMS.0, ZOOMS.1), fit: false, ..self.view };
    }
}

/// Whether a command needs the picture to stand still: a run that is on is stopped first, and keeps what it made.
fn changes_the_picture(command: &Command) -> bool {
    matches!(
        command,
        Command::Open(_)
            | Command::DropFiles { .. }
            | Command::Paste
            | Command::Recover(_)
            | Command::Undo
            | Command::Redo
            | Command::ExtendCanvas(_)
            | Command::TakeResult(_)
            | Command::GoTo(_)
            | Command::RunAgain { .. }
            | Command::Swap { .. }
            | Command::ChooseModel(_)
    )
}

/// A name with this ending, if it has none.
fn or_ending(path: PathBuf, ending: &str) -> PathBuf {
    if path.extension().is_none() { path.with_extension(ending) } else { path }
}

/// Why something was refused, without what it is about.
pub(crate) fn cause(error: Error) -> String {
    match error {
        Error::File { cause, .. } | Error::Control { cause, .. } | Error::Device { cause, .. } => cause,
    }
}

/// A seed that nobody chose.
fn roll() -> u64 {
    RandomState::new().build_hasher().finish() % SEEDS
}
