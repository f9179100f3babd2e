//! The state of the editor, which commands change and time moves. Nothing here draws, and nothing here waits.

mod again;
mod boldness;
mod closeups;
mod commands;
mod desk;
mod files;
mod mask;
mod models;
mod notices;
mod opening;
mod path;
mod picker;
mod preferences;
mod runs;
mod surprise;
mod timeline;
mod variations;

pub use boldness::BoldnessBrush;
pub use closeups::{Closeups, Spot};
pub use desk::Desk;
pub use mask::{Aim, Brush, Wand};
pub use models::{Engine, Offer};
pub use notices::Notice;
pub use path::OrderBrush;
pub use picker::{Alternative, Picker};
pub use runs::{Phase, Run};
pub use surprise::{Reading, Surprise};
pub use timeline::{Preview, Timeline};
pub use variations::{MOST_VARIATIONS, Outcome};

pub(crate) use desk::CHECKPOINTS;
pub(crate) use notices::cause;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use andamento_model::device::{DeviceChoice, Place};
use andamento_model::frame::Extent;
use andamento_model::lattice::Token;
use andamento_model::library::fit::Memory;
use andamento_model::library::imported::Shelf;
use andamento_model::library::{self, Card, MODELS, folder};
use andamento_model::network::Abilities;
use andamento_model::order;
use andamento_model::paint::Request;
use andamento_model::picture::{Combine, Mask, Picture, Rect};
use andamento_model::sample::{Guidance, Sampling};
use andamento_model::schedule::Schedule;
use andamento_model::seam::Seam;
use andamento_model::{Error, Result};
use image::RgbaImage;

use crate::command::{Command, Dialog, Heat, Overlay, Tool, View};
use crate::document::{Document, Track, fresh};
use crate::errands::Errands;
use crate::files::folders::Folders;
use crate::history::History;
use crate::preferences::{Habits, Hint, Kept};
use crate::worker::{self, Job, Source, Waker, Worker};
use mask::Stroke;
use opening::Opening;
use variations::Batch;

/// The largest brush, in canvas pixels across.
pub const MAX_BRUSH: f32 = 2000.0;
/// The limits of the zoom, in screen points per canvas pixel.
pub const ZOOMS: (f32, f32) = (0.02, 40.0);
/// The strongest spatial contextual guidance.
pub const MOST_CONTEXT: f32 = 5.0;
/// The least probability that the codes to choose from reach together.
pub const LEAST_TOP_P: f32 = 0.01;

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
    /// Pictures that are being put together.
    opening: Opening,
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
    /// How surprising the tokens of the picture are.
    pub surprise: Surprise,
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
            opening: Opening::default(),
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
            surprise: Surprise::default(),
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

    /// Takes in what worker and files reported, and moves what moves by itself. Returns whether more will move soon.
    pub fn tick(&mut self, elapsed: Duration) -> bool {
        let events: Vec<_> = self.worker.events().collect();
        events.into_iter().for_each(|event| self.take_in(event));
        let done: Vec<_> = self.errands.done().collect();
        done.into_iter().for_each(|errand| self.finish(errand));
        self.forget_old_news();
        // After a rest the first frame would otherwise leap.
        self.play(elapsed.min(Duration::from_millis(100)));
        self.open_missing();
        self.ask_for_redraw();
        self.ask_for_glimpse();
        self.check_reading();
        self.keep_preferences();
        self.keep();
        self.timeline.playing || self.is_decoding() || self.is_opening() || self.unkept.is_some()
    }
}
