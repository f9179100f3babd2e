//! The state of the editor, and what every command does to it. Nothing here draws, and nothing here waits.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use andamento_model::decode::{Knobs, Step};
use andamento_model::device::DeviceChoice;
use andamento_model::frame::Frame;
use andamento_model::lattice::Token;
use andamento_model::library::{Card, MODELS};
use andamento_model::network::Abilities;
use andamento_model::order;
use andamento_model::paint::Request;
use andamento_model::picture::{Picture, Rect};
use andamento_model::plan::Plan;
use andamento_model::sample::Sampling;
use andamento_model::schedule::Schedule;
use andamento_model::{Error, Result};
use image::RgbaImage;

use crate::command::{Command, Dialog, Heat, Tool, View};
use crate::document::{Document, Track, fresh};
use crate::errands::{Errand, Errands};
use crate::history::History;
use crate::worker::{self, Job, Source, Waker, Worker};

/// The largest brush, in canvas pixels across.
pub const MAX_BRUSH: f32 = 2000.0;
/// The brush for a picture that was just opened, as a share of its longer side.
const BRUSH: f32 = 0.125;
/// The limits of the zoom, in screen points per canvas pixel.
pub const ZOOMS: (f32, f32) = (0.02, 40.0);
/// The largest seed that is drawn by itself: short enough to read out.
const SEEDS: u64 = 100_000;
/// How many results the strip keeps,
const RESULTS: usize = 60;
/// and of how many bytes about.
const RESULT_BYTES: usize = 2 << 30;
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

/// What the panel says.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Settings {
    /// What to paint.
    pub subject: u32,
    /// The name of the order.
    pub order: &'static str,
    /// Steps for a whole picture.
    pub steps: usize,
    /// Guidance scale.
    pub guidance: f32,
    /// Temperature.
    pub temperature: f32,
    /// Where the randomness starts.
    pub seed: u64,
    /// Whether the next run takes the same seed.
    pub seed_locked: bool,
}

/// What is shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Show {
    /// The picture.
    pub image: bool,
    /// The token grid.
    pub tokens: bool,
    /// The mask.
    pub mask: bool,
    /// A number per token.
    pub heat: Option<Heat>,
    /// The picture as it was opened.
    pub original: bool,
}

/// Whether a model is ready.
#[derive(Debug, Clone, PartialEq)]
pub enum Engine {
    /// It is being loaded.
    Loading,
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
    pub before: u64,
    mask_id: u64,
    /// What it is doing.
    pub phase: Phase,
    /// How it goes, once planned.
    pub track: Option<Track>,
    /// What was made when it began.
    pub earlier: Vec<Step>,
    /// When decoding began.
    pub since: Instant,
    guess: Option<Arc<Vec<Token>>>,
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
}

/// A result in the strip.
pub struct Outcome {
    /// The document.
    pub document: Document,
    /// A small picture of it.
    pub thumbnail: RgbaImage,
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
    last: (f32, f32),
    erase: bool,
}

/// Where the model will look, and which of its tokens will be made anew.
#[derive(Debug, Clone, PartialEq)]
pub struct Aim {
    /// The square.
    pub frame: Frame,
    /// For every site whether it will be made.
    pub masked: Vec<bool>,
}

/// Everything.
pub struct Editor {
    /// What is edited.
    pub document: Document,
    /// What can be taken back.
    pub history: History,
    /// The brush.
    pub brush: Brush,
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
    /// Whether it is ready.
    pub engine: Engine,
    /// Where it will look; none when nothing may change.
    pub aim: Option<Aim>,
    /// The run that is being carried out.
    pub run: Option<Run>,
    /// The last preview of a run.
    pub preview: Option<Preview>,
    /// Where on the timeline one looks.
    pub timeline: Timeline,
    /// The strip of results.
    pub results: Vec<Outcome>,
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
    worker: Worker,
    errands: Errands,
}

impl Editor {
    /// The editor on the bundled sample, with a model being loaded.
    ///
    /// # Errors
    /// If there is no such model, or a bundled file is damaged.
    pub fn new(model: Option<&str>, device: DeviceChoice, source: Source, wake: Waker) -> Result<Self> {
        let bundled = match model {
            Some(id) => andamento_model::library::bundled(id)?,
            None => &MODELS[0],
        };
        let card = bundled.card()?;
        let abilities = card.abilities()?;
        let document = Document::sample()?;
        let worker = Worker::start(source, wake.clone());
        worker.send(Job::Load { model: card.id.clone(), device })?;
        let dusk = |subject: &String| {
            document.name.starts_with("lake") && subject.contains("lake") && subject.contains("dusk")
        };
        let settings = Settings {
            subject: card.subjects.iter().position(dusk).unwrap_or(0) as u32,
            order: abilities.orders.native(),
            steps: card.defaults.steps,
            guidance: card.defaults.guidance.strength(),
            temperature: card.defaults.sampling.temperature,
            seed: 20_411,
            seed_locked: false,
        };
        let mut editor = Self {
            history: History::new(&document),
            brush: Brush { tool: Tool::Brush, size: 64.0, hardness: 0.7 },
            settings,
            view: View { zoom: 1.0, centre: (0.0, 0.0), fit: true },
            pixels_per_point: 1.0,
            show: Show { image: true, tokens: true, mask: true, heat: None, original: false },
            card,
            abilities,
            engine: Engine::Loading,
            aim: None,
            run: None,
            preview: None,
            timeline: Timeline::default(),
            results: Vec::new(),
            notices: Vec::new(),
            dialog: None,
            generated: false,
            quitting: false,
            touched: (document.mask_id, Rect::default()),
            stroke: None,
            used_seed: None,
            quit_once_saved: false,
            after_stop: None,
            worker,
            errands: Errands::new(wake),
            document,
        };
        editor.aim();
        Ok(editor)
    }

    /// Carries out an intent. What goes wrong becomes a notice.
    pub fn apply(&mut self, command: Command) {
        if let Err(error) = self.carry_out(command) {
            self.complain(&error);
        }
    }

    fn carry_out(&mut self, command: Command) -> Result<()> {
        if self.run.is_some() && changes_the_picture(&command) {
            self.after_stop = Some(command);
            return self.stop();
        }
        match command {
            Command::Ask(dialog) => self.dialog = Some(dialog),
            Command::CloseDialog => self.dialog = None,
            Command::Open(path) => {
                self.dialog = None;
                self.errands.open(path);
            }
            Command::Save => self.save(),
            Command::SaveAs(path) => return self.save_as(path),
            Command::Quit if self.history.is_edited(self.document.picture_id) => self.dialog = Some(Dialog::Leave),
            Command::Quit | Command::QuitUnsaved => self.quitting = true,
            Command::SaveAndQuit => {
                self.dialog = None;
                self.quit_once_saved = true;
                self.save();
            }
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
            Command::Choose(tool) => {
                self.end_stroke();
                self.brush.tool = tool;
            }
            Command::BrushSize(size) => self.brush.size = size.clamp(1.0, MAX_BRUSH),
            Command::BrushHardness(hardness) => self.brush.hardness = hardness.clamp(0.0, 1.0),
            Command::SwapErase => {
                self.brush.tool = if self.brush.tool == Tool::Eraser { Tool::Brush } else { Tool::Eraser };
            }
            Command::BeginStroke { at, erase } => self.begin_stroke(at, erase),
            Command::ExtendStroke(to) => self.extend_stroke(to),
            Command::EndStroke => self.end_stroke(),
            Command::CancelStroke => {
                let stroke = self.stroke.take();
                self.go_to(stroke.map(|stroke| stroke.before));
            }
            Command::ClearMask => self.change_mask("Clear mask", |_| 0),
            Command::InvertMask => self.change_mask("Invert mask", |byte| 255 - byte),
            Command::SelectAll => self.change_mask("Select all", |_| 255),
            Command::ExtendCanvas(by) => return self.extend_canvas(by),
            Command::Subject(class) if (class as usize) < self.card.subjects.len() => self.settings.subject = class,
            Command::Subject(_) => {}
            Command::Order(name) => {
                let name = order::by_name(name)?.name;
                self.abilities.check_course(name, self.abilities.schedule(None))?;
                self.settings.order = name;
            }
            Command::Steps(steps) => self.settings.steps = steps.clamp(1, self.sites()),
            Command::Guidance(scale) => self.settings.guidance = scale.clamp(1.0, 20.0),
            Command::Temperature(temperature) => self.settings.temperature = temperature.clamp(0.0, 2.0),
            Command::Seed(seed) => self.settings.seed = seed,
            Command::RollSeed => self.settings.seed = roll(),
            Command::LockSeed(locked) => self.settings.seed_locked = locked,
            Command::Generate => return self.generate(),
            Command::Stop => return self.stop(),
            Command::PlayOrPause => return self.play_or_pause(),
            Command::Rewind(steps) => {
                self.timeline.playing = false;
                self.rewind(steps);
            }
            Command::BranchHere => return self.branch(),
            Command::TakeResult(number) => self.take_result(number),
            Command::Look(view) => self.view = View { zoom: view.zoom.clamp(ZOOMS.0, ZOOMS.1), ..view },
            Command::ZoomFit => self.view.fit = true,
            Command::Zoom100 => self.zoom(1.0 / self.pixels_per_point),
            Command::ZoomBy(factor) => self.zoom(self.view.zoom * factor),
            Command::ShowImage(on) => self.show.image = on,
            Command::ShowTokens(on) => self.show.tokens = on,
            Command::ShowMask(on) => self.show.mask = on,
            Command::ShowHeat(heat) => self.show.heat = heat,
            Command::ShowOriginal(on) => self.show.original = on,
            Command::Dismiss(number) => self.notices.retain(|notice| notice.number != number),
            Command::Escape => return self.escape(),
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
        self.timeline.playing || self.is_decoding()
    }

    /// The run that is shown: the one being carried out, or else the one that made the picture.
    pub fn track(&self) -> Option<&Track> {
        match &self.run {
            Some(run) => run.track.as_ref(),
            None => self.document.track.as_deref(),
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

    /// Whether a stroke is being drawn.
    pub fn is_stroking(&self) -> bool {
        self.stroke.is_some()
    }

    /// Why Generate cannot be pressed, if it cannot.
    pub fn cannot_generate(&self) -> Option<String> {
        match (&self.engine, &self.run) {
            (Engine::Failed(cause), _) => Some(format!("The model could not be loaded: {cause}")),
            (_, Some(_)) => Some("A run is on: stop it first (Shift+X)".into()),
            _ if self.aim.is_none() => Some("Nothing may change yet: paint over what should change".into()),
            _ => None,
        }
    }

    /// Whether there is a run that can go on from the head.
    pub fn can_branch(&self) -> bool {
        let shown = self.document.track.as_ref();
        self.run.is_none() && shown.is_some_and(|track| self.head() > 0 && self.head() < track.plan.visits.len())
    }

    /// Tokens of a whole picture.
    pub fn sites(&self) -> usize {
        self.card.grid * self.card.grid
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

    // The document.

    fn go_to(&mut self, document: Option<Document>) {
        let Some(document) = document else { return };
        self.document = document;
        self.timeline = Timeline::default();
        self.touched = (self.document.mask_id, Rect::default());
        self.aim();
    }

    fn change(&mut self, label: &str, document: Document) {
        self.history.push(label, &document);
        self.go_to(Some(document));
    }

    fn open(&mut self, document: Document) {
        self.end_stroke();
        self.history.mark_saved(document.picture_id);
        self.preview = None;
        self.view.fit = true;
        let longer = document.picture.width().max(document.picture.height()) as f32;
        self.brush.size = (longer * BRUSH).round().clamp(1.0, MAX_BRUSH);
        self.change(&format!("Open {}", document.name), document);
    }

    fn save(&mut self) {
        if self.history.is_edited(self.document.picture_id) {
            self.errands.save(&self.document, self.document.next_name());
        } else {
            let (name, cause) = (self.document.name.clone(), "nothing has changed since it was opened or saved");
            self.notify(false, name, cause.into(), String::new());
        }
    }

    fn save_as(&mut self, path: PathBuf) -> Result<()> {
        let path = if path.extension().is_none() { path.with_extension("png") } else { path };
        if self.document.is_source(&path) {
            return Err(Error::file(
                &path,
                "this is the picture that was opened",
                "Choose another name: sources stay as they are",
            ));
        }
        if !path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("png")) {
            return Err(Error::file(&path, "pictures are saved as PNG", "Choose a name that ends in .png"));
        }
        self.dialog = None;
        self.errands.save(&self.document, path);
        Ok(())
    }

    fn finish(&mut self, errand: Errand) {
        match errand {
            Errand::Opened(result) => match *result {
                Ok(document) => self.open(document),
                Err(error) => self.complain(&error),
            },
            Errand::Saved { path, picture_id, result: Ok(()) } => {
                self.history.mark_saved(picture_id);
                let name = |path: &Path| path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
                self.notify(false, name(&path), format!("saved in {}", folder.display()), String::new());
                self.quitting = self.quit_once_saved;
            }
            Errand::Saved { result: Err(error), .. } => {
                self.quit_once_saved = false;
                self.complain(&error);
            }
        }
    }

    // The mask.

    fn aim(&mut self) {
        let (width, height) = (self.document.picture.width(), self.document.picture.height());
        self.aim = self.document.mask.bounds().map(|bounds| {
            let frame = Frame::around(bounds, width, height, self.card.side);
            Aim { frame, masked: frame.masked_sites(&self.document.mask, self.card.grid, self.card.grid) }
        });
    }

    fn change_mask(&mut self, label: &str, change: impl Fn(u8) -> u8) {
        self.end_stroke();
        let mask = &self.document.mask;
        let bytes = mask.bytes().iter().map(|byte| change(*byte)).collect();
        if let Ok(mask) = andamento_model::picture::Mask::from_bytes(mask.width(), mask.height(), bytes)
            && mask != self.document.mask
        {
            self.change(label, self.document.clone().with_mask(mask));
        }
    }

    fn begin_stroke(&mut self, at: (f32, f32), erase: bool) {
        self.end_stroke();
        self.timeline.playing = false;
        self.stroke = Some(Stroke { before: self.document.clone(), last: at, erase });
        self.extend_stroke(at);
    }

    fn extend_stroke(&mut self, to: (f32, f32)) {
        let Some(stroke) = &mut self.stroke else { return };
        let Brush { size, hardness, .. } = self.brush;
        let touched = self.document.mask.line(stroke.last, to, size / 2.0, hardness, stroke.erase);
        stroke.last = to;
        self.touched.1 = self.touched.1.union(touched);
        self.document.mask_id = fresh();
    }

    fn end_stroke(&mut self) {
        let Some(stroke) = self.stroke.take() else { return };
        if stroke.before.mask == self.document.mask {
            self.document.mask_id = stroke.before.mask_id;
            self.touched = (self.document.mask_id, Rect::default());
            return;
        }
        self.history.push(if stroke.erase { "Eraser stroke" } else { "Brush stroke" }, &self.document);
        self.aim();
    }

    fn extend_canvas(&mut self, by: [u32; 4]) -> Result<()> {
        if by.iter().all(|pixels| *pixels == 0) {
            return Ok(());
        }
        self.end_stroke();
        let document = self.document.extended(by)?;
        self.view.fit = true;
        self.change("Extend canvas", document);
        Ok(())
    }

    // Runs.

    fn generate(&mut self) -> Result<()> {
        self.end_stroke();
        if let Some(cause) = self.cannot_generate() {
            return Err(Error::control("Generate", cause, "The tooltip of Generate says what is missing"));
        }
        if !self.settings.seed_locked && self.used_seed == Some(self.settings.seed) {
            self.settings.seed = roll();
        }
        let request = Request {
            picture: self.document.picture.clone(),
            mask: self.document.mask.clone(),
            frame: None,
            order: self.settings.order.into(),
            order_seed: self.settings.seed,
            schedule: self.abilities.schedule(Some(self.settings.steps)),
            knobs: self.knobs(self.settings.seed),
        };
        let ids = (self.document.picture_id, self.document.mask_id);
        self.start(request, ids, Vec::new(), None)
    }

    /// Goes on from the head of the run that made the picture. Mask, order and schedule stay those of the run: its steps
    /// belong to them. A seed that is not locked is drawn anew.
    fn branch(&mut self) -> Result<()> {
        let Some(track) = self.document.track.clone().filter(|_| self.can_branch()) else {
            return Err(Error::control("Branch here", "there is no step to go on from", "Generate first, then rewind"));
        };
        let mut request = Request::clone(&track.request);
        if !self.settings.seed_locked && self.timeline.head.is_some() {
            self.settings.seed = roll();
        }
        request.knobs = self.knobs(self.settings.seed);
        if self.head() < track.steps.len() && request.knobs == track.request.knobs {
            let remedy = "Unlock the seed, or change subject, guidance or temperature first";
            return Err(Error::control("Branch here", "the same settings would make the same tokens again", remedy));
        }
        let earlier = track.steps[..self.head()].to_vec();
        let shown = self.preview.take().filter(|preview| preview.run == track.number && preview.steps == earlier.len());
        let guess = Some(track.guess.clone());
        self.start(request, (track.before, track.mask_id), earlier.clone(), guess)?;
        // Until it is planned, the run looks as the other one did at this step.
        if let Some(run) = &mut self.run {
            let number = run.number;
            self.preview = shown.map(|preview| Preview { run: number, ..preview });
            run.track = Some(Track { number, request: run.request.clone(), steps: earlier, ..Track::clone(&track) });
        }
        Ok(())
    }

    /// Steps for a whole picture, where the model leaves no choice.
    pub fn fixed_steps(&self) -> usize {
        match self.abilities.schedule(None) {
            Schedule::Scales => self.card.scales(),
            Schedule::OneByOne | Schedule::Cosine { .. } | Schedule::Windows { .. } => self.sites(),
        }
    }

    fn knobs(&self, seed: u64) -> Knobs {
        let usual = self.card.defaults;
        let sampling = Sampling { temperature: self.settings.temperature, ..usual.sampling };
        let guidance = usual.guidance.with_strength(self.settings.guidance);
        Knobs { class: self.settings.subject, guidance, sampling, seed }
    }

    fn start(
        &mut self,
        request: Request,
        (before, mask_id): (u64, u64),
        earlier: Vec<Step>,
        guess: Option<Arc<Vec<Token>>>,
    ) -> Result<()> {
        let (number, request) = (fresh(), Arc::new(request));
        self.used_seed = Some(request.knobs.seed);
        self.worker.send(Job::Paint { run: number, request: request.clone(), earlier: earlier.clone() })?;
        self.timeline = Timeline::default();
        self.preview = None;
        self.generated = true;
        let (phase, since) = (Phase::Preparing, Instant::now());
        self.run = Some(Run { number, request, before, mask_id, phase, track: None, earlier, since, guess });
        Ok(())
    }

    fn stop(&mut self) -> Result<()> {
        if let Some(run) = &mut self.run
            && run.phase != Phase::Stopping
        {
            self.worker.send(Job::Stop)?;
            run.phase = Phase::Stopping;
        }
        Ok(())
    }

    fn play_or_pause(&mut self) -> Result<()> {
        if let Some(run) = &mut self.run {
            match run.phase {
                Phase::Decoding => {
                    self.worker.send(Job::Pause)?;
                    run.phase = Phase::Paused;
                }
                Phase::Paused => {
                    self.worker.send(Job::Resume)?;
                    run.phase = Phase::Decoding;
                    self.timeline.head = None;
                }
                Phase::Preparing | Phase::Stopping => {}
            }
            return Ok(());
        }
        let Some(track) = &self.document.track else { return Ok(()) };
        if !track.is_complete() && self.timeline.head.is_none() {
            return self.branch();
        }
        self.timeline.playing = !self.timeline.playing;
        let head = if self.head() >= track.steps.len() { 0 } else { self.head() };
        self.timeline.position = head as f32;
        Ok(())
    }

    fn play(&mut self, elapsed: Duration) {
        let Some(steps) = self.track().map(|track| track.steps.len()).filter(|_| self.timeline.playing) else { return };
        self.timeline.position += steps as f32 * elapsed.as_secs_f32() / PLAYBACK.as_secs_f32();
        let head = self.timeline.position as usize;
        self.timeline.playing = head < steps;
        self.rewind(head);
    }

    fn rewind(&mut self, steps: usize) {
        let made = self.track().map_or(0, |track| track.steps.len());
        self.timeline.head = (steps < made).then_some(steps);
    }

    /// Asks for a full decode of the step that is looked at, one at a time.
    fn ask_for_redraw(&mut self) {
        let Some(track) = self.document.track.clone().filter(|_| self.run.is_none()) else { return };
        let Some(steps) = self.timeline.head.filter(|_| self.timeline.asked.is_none()) else { return };
        let here = self.preview.as_ref().is_some_and(|preview| (preview.run, preview.steps) == (track.number, steps));
        if !here
            && matches!(self.engine, Engine::Ready { .. })
            && self.worker.send(Job::Redraw { track, steps }).is_ok()
        {
            self.timeline.asked = Some(steps);
        }
    }

    fn take_in(&mut self, event: worker::Event) {
        match event {
            worker::Event::Loaded { card, abilities, device, reason } => {
                self.abilities = abilities;
                self.card = *card;
                self.engine = Engine::Ready { device, reason };
                self.aim();
            }
            worker::Event::Planned { run, plan, frame, guess } => self.planned(run, plan, frame, guess),
            worker::Event::Step { run, step } => {
                if let Some(track) = self.running(run).and_then(|run| run.track.as_mut()) {
                    track.steps.push(step);
                }
            }
            worker::Event::Preview { run, steps, picture } => {
                self.timeline.asked = None;
                if self.track().is_some_and(|track| track.number == run) {
                    self.preview = Some(Preview { run, steps, id: fresh(), picture });
                }
            }
            worker::Event::Done { run, result } => self.done(run, result),
            worker::Event::Failed { run, error } => self.failed(run, &error),
        }
    }

    fn running(&mut self, number: u64) -> Option<&mut Run> {
        self.run.as_mut().filter(|run| run.number == number)
    }

    fn planned(&mut self, number: u64, plan: Arc<Plan>, frame: Frame, guess: Arc<Vec<Token>>) {
        let Some(run) = self.running(number) else { return };
        if run.phase == Phase::Preparing {
            run.phase = Phase::Decoding;
        }
        run.since = Instant::now();
        let guess = run.guess.clone().unwrap_or(guess);
        let (request, before, mask_id, steps) = (run.request.clone(), run.before, run.mask_id, run.earlier.clone());
        run.track = Some(Track { number, request, before, mask_id, plan, frame, guess, steps });
    }

    fn done(&mut self, number: u64, result: Option<(Picture, RgbaImage)>) {
        if self.running(number).is_none() {
            return;
        }
        let track = self.run.take().and_then(|run| run.track);
        if let (Some(track), Some((picture, thumbnail))) = (track, result) {
            let subject = self.card.subjects.get(track.request.knobs.class as usize).cloned().unwrap_or_default();
            let label = if track.is_complete() { format!("Generate {subject}") } else { format!("Stopped: {subject}") };
            let looked_at = self.timeline.head;
            self.take_result_in(&label, picture, Arc::new(track));
            self.timeline.head = looked_at;
            let bytes: usize = self.document.picture.image().as_bytes().len() + self.document.mask.bytes().len();
            self.results.push(Outcome { document: self.document.clone(), thumbnail });
            let excess = self.results.len().saturating_sub(RESULTS.min(RESULT_BYTES / bytes.max(1)).max(4));
            self.results.drain(..excess);
        }
        if let Some(command) = self.after_stop.take() {
            self.apply(command);
        }
    }

    /// A result is one entry in the history. A stroke that is being drawn goes on on top of it.
    fn take_result_in(&mut self, label: &str, picture: Picture, track: Arc<Track>) {
        let Some(mut stroke) = self.stroke.take() else {
            return self.change(label, self.document.clone().with_result(picture, track));
        };
        let drawn = self.document.clone();
        self.change(label, stroke.before.with_result(picture, track));
        stroke.before = self.document.clone();
        self.document.mask = drawn.mask;
        self.document.mask_id = fresh();
        self.stroke = Some(stroke);
    }

    fn failed(&mut self, number: Option<u64>, error: &Error) {
        self.timeline.asked = None;
        match number {
            Some(number) if self.running(number).is_some() => self.run = None,
            None if self.engine == Engine::Loading => {
                self.engine = Engine::Failed(error.to_string());
            }
            _ => {}
        }
        self.complain(error);
        if let Some(command) = self.after_stop.take().filter(|_| self.run.is_none()) {
            self.apply(command);
        }
    }

    fn take_result(&mut self, number: usize) {
        let Some(outcome) = self.results.get(number) else { return };
        let same = self.document.picture_id == outcome.document.picture_id;
        let document = outcome.document.clone();
        if !same {
            self.end_stroke();
            self.change(&format!("Result {}", number + 1), document);
        }
    }

    fn escape(&mut self) -> Result<()> {
        if self.dialog.is_some() {
            self.dialog = None;
        } else if self.stroke.is_some() {
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
        Command::Open(_) | Command::Undo | Command::Redo | Command::ExtendCanvas(_) | Command::TakeResult(_)
    )
}

/// A seed that nobody chose.
fn roll() -> u64 {
    RandomState::new().build_hasher().finish() % SEEDS
}
