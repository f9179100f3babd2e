//! The one thread that owns the device, the model and burn. Requests go in, small events and bytes come out.
//!
//! It computes previews by full decodes, seldom enough that they cost a fifth of the time at most. Whatever goes wrong in
//! it, even a panic, becomes an event, and it goes on.

use std::any::Any;
use std::collections::VecDeque;
use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use andamento_model::checkpoint::Report;
use andamento_model::closeup::closeup;
use andamento_model::decode::Step;
use andamento_model::device::{self, DeviceChoice, Place};
use andamento_model::frame::{Frame, Pass};
use andamento_model::lattice::{Site, Token};
use andamento_model::ledger::revisions;
use andamento_model::library::fit::Memory;
use andamento_model::library::imported::Shelf;
use andamento_model::library::{self, Card, Model};
use andamento_model::network::Abilities;
use andamento_model::paint::{self, Outline, Painting, Request};
use andamento_model::picture::{Mask, Picture};
use andamento_model::seam::Seam;
use andamento_model::surprise::{self, Query, SurpriseMap};
use andamento_model::tokenizer::{Tokenizer, to_picture};
use andamento_model::{Error, Result};
use crossbeam_channel::{Receiver, Sender, TryRecvError, bounded};
use image::{RgbImage, Rgba, RgbaImage};
use thread_priority::{ThreadPriority, set_current_thread_priority};

use crate::document::{Leg, Track};
use crate::editor::Spot;

/// A preview is decoded when so many times its own cost has passed since the last one.
const PREVIEW_REST: u32 = 4;

/// So many tokens around a token are shown on each side of it.
const AROUND: u32 = 2;

/// The longer side of a thumbnail, in pixels.
const THUMBNAIL: u32 = 120;

/// Jobs that may wait. Clicking faster than this has no meaning.
const JOBS: usize = 64;

/// So long a closing window waits for the thread to end, which looks up after every step.
const FAREWELL: Duration = Duration::from_secs(3);

/// How urgent it is what a model computes, from 0 to 99, where a thread of the window has 50: on Linux a niceness of 5.
const URGENCY: u8 = 35;

/// Events that may wait; the window takes all of them in every frame.
const EVENTS: usize = 1024;

/// How a model becomes loaded, given its id and the device that was asked for; told of the bytes that were read.
pub type Source = Box<dyn FnMut(&str, DeviceChoice, Report) -> Result<Model> + Send>;

/// Wakes the window.
pub type Waker = Arc<dyn Fn() + Send + Sync>;

/// Loads bundled models, and imported ones that fit into memory.
pub fn from_library(shelf: Shelf) -> Source {
    Box::new(move |id, choice, report| {
        let (entry, device) = (library::find(id, &shelf)?, device::choose(choice)?);
        if let Some(needs) = entry.needs() {
            needs.on(&device)?;
        }
        entry.load(device, report)
    })
}

/// What the worker is asked to do.
pub enum Job {
    /// Makes a model ready.
    Load {
        /// Its id.
        model: String,
        /// Where it shall compute.
        device: DeviceChoice,
    },
    /// Carries out a request, or goes on with one after some steps.
    Paint {
        /// The run's number.
        run: u64,
        /// What is asked for.
        request: Arc<Request>,
        /// What was already made.
        earlier: Vec<Step>,
    },
    /// Decodes a run as it was after some of its steps.
    Redraw {
        /// The run.
        track: Arc<Track>,
        /// So many steps.
        steps: usize,
    },
    /// Decodes the surroundings of a token with another code in its place. Done between two steps of a run that is paused.
    Glimpse(Box<Glimpse>),
    /// Decodes the revisions of a token, each in its surroundings.
    Closeups {
        /// The run.
        track: Arc<Track>,
        /// The token.
        spot: Spot,
    },
    /// Reads a picture: how surprising its tokens are. Given up for a run, or another model.
    Surprise {
        /// The reading's number.
        number: u64,
        /// What is asked.
        query: Box<Query>,
    },
    /// Waits before the next step.
    Pause,
    /// Goes on.
    Resume,
    /// Ends the run and keeps what was decoded.
    Stop,
}

/// A token with another code in its place.
pub struct Glimpse {
    /// The number of what asks for it.
    pub number: u64,
    /// The run.
    pub track: Arc<Track>,
    /// So many of its steps are shown.
    pub steps: usize,
    /// The step that made the token.
    pub step: usize,
    /// Where the token is.
    pub site: Site,
    /// The code.
    pub token: Token,
}

impl Glimpse {
    /// The same, with what went wrong as an event.
    fn reported(&self, tokenizer: &dyn Tokenizer) -> Event {
        self.decode(tokenizer).unwrap_or_else(|error| Event::Failed { run: None, error })
    }

    /// The token and those around it, decoded in the picture of the whole frame.
    fn decode(&self, tokenizer: &dyn Tokenizer) -> Result<Event> {
        let missing = || Error::control("token picker", "that token is not in this run", "Pick another one");
        let leg = self.track.leg(self.step).ok_or_else(missing)?;
        let (grid, row, col) = leg.plan.lattice.cell(self.site).ok_or_else(missing)?;
        let mut tokens = self.track.tokens(leg, self.steps);
        tokens[self.site.index()] = self.token;
        let decoded = to_picture(tokenizer.decode(&leg.plan.lattice, &tokens)?)?;
        let decoded = self.track.request.picture.matched(&decoded);
        let part = |at: usize, count: usize, side: u32| {
            let (count, side) = (count as u32, side / count.max(1) as u32);
            let shown = (2 * AROUND + 1).min(count);
            ((at as u32).saturating_sub(AROUND).min(count - shown) * side, shown * side)
        };
        let (x, width) = part(col, grid.cols, decoded.width());
        let (y, height) = part(row, grid.rows, decoded.height());
        let picture = image::imageops::crop_imm(&decoded, x, y, width, height).to_image();
        let picture = image::DynamicImage::ImageRgb8(picture).into_rgba8();
        Ok(Event::Glimpse { number: self.number, token: self.token, picture })
    }
}

/// What the worker reports.
pub enum Event {
    /// So many bytes of a model were read.
    Loading(u64),
    /// A model is ready.
    Loaded {
        /// What it is.
        card: Box<Card>,
        /// What it can be asked to do.
        abilities: Abilities,
        /// The device's name.
        device: String,
        /// Why that device was taken.
        reason: String,
        /// Whose memory it computes in, and how much that is where somebody tells.
        memory: (Place, Option<Memory>),
    },
    /// The plan of a run's next pass is laid.
    Planned {
        /// The run's number.
        run: u64,
        /// The pass.
        leg: Leg,
        /// What all passes come to.
        outline: Outline,
        /// The canvas as the pass finds it; none for the first, which finds it as it was asked for.
        canvas: Option<Picture>,
    },
    /// Some tokens were made.
    Step {
        /// The run's number.
        run: u64,
        /// The tokens.
        step: Step,
    },
    /// The frame as it stands, at the model's own size, transparent where the mask keeps the picture.
    Preview {
        /// The run's number.
        run: u64,
        /// The steps that it shows.
        steps: usize,
        /// The pixels.
        picture: RgbaImage,
    },
    /// The surroundings of a token with another code in its place.
    Glimpse {
        /// The number of what asked for it.
        number: u64,
        /// The code.
        token: Token,
        /// The pixels.
        picture: RgbaImage,
    },
    /// The revisions of a token as small pictures, the first one first.
    Closeups {
        /// The token.
        spot: Spot,
        /// The pictures.
        pictures: Vec<RgbImage>,
    },
    /// A picture is being read.
    Reading {
        /// The reading's number.
        number: u64,
        /// Tokens read, over all passes.
        done: usize,
        /// Tokens to read.
        of: usize,
        /// What the passes up to now come to, where that is something new.
        map: Option<Box<SurpriseMap>>,
    },
    /// A picture was read, or given up.
    Read {
        /// The reading's number.
        number: u64,
    },
    /// A run is finished, or was stopped and keeps what was decoded.
    Done {
        /// The run's number.
        run: u64,
        /// The result and a small picture of it; none if it was stopped before the first step.
        result: Option<(Picture, RgbaImage)>,
    },
    /// Something failed.
    Failed {
        /// The run or reading that it ended, if one.
        run: Option<u64>,
        /// What, why, and what to do next.
        error: Error,
    },
}

/// The worker, as the window sees it.
pub struct Worker {
    jobs: Sender<Job>,
    events: Receiver<Event>,
}

impl Worker {
    /// Starts the thread.
    pub fn start(source: Source, wake: Waker) -> Self {
        let (jobs, inbox) = bounded(JOBS);
        let (outbox, events) = bounded(EVENTS);
        let report = Outbox { outbox, wake };
        // The threads that compute for this one. Another worker may have started them before.
        let _there = rayon::ThreadPoolBuilder::new().start_handler(|_| give_way()).build_global();
        let thread = thread::Builder::new().name("andamento-worker".into());
        // Without a thread the inbox is dropped, and the first job reports it.
        let _detached = thread.spawn(move || {
            give_way();
            Bench { source, model: None, inbox, later: VecDeque::new(), report }.work();
        });
        Self { jobs, events }
    }

    /// Hands over a job, and returns at once.
    ///
    /// # Errors
    /// If the worker is gone, or buried in jobs.
    pub fn send(&self, job: Job) -> Result<()> {
        self.jobs.try_send(job).map_err(|error| {
            let cause = if error.is_full() { "it is busy with earlier requests" } else { "its thread has ended" };
            Error::device("worker", cause, "Wait a moment, or start Andamento again")
        })
    }

    /// What was reported since the last call.
    pub fn events(&self) -> impl Iterator<Item = Event> {
        self.events.try_iter()
    }
}

/// Lets the window go first where all cores are busy. Where the system refuses, all are alike.
fn give_way() {
    if let Ok(urgency) = URGENCY.try_into() {
        let _refused = set_current_thread_priority(ThreadPriority::Crossplatform(urgency));
    }
}

/// The program ends when the thread has: a graphics driver may crash that is torn down while somebody computes with it.
impl Drop for Worker {
    fn drop(&mut self) {
        drop(std::mem::replace(&mut self.jobs, bounded(0).0));
        let deadline = Instant::now() + FAREWELL;
        while self.events.recv_deadline(deadline).is_ok() {}
    }
}

/// The way out of the thread.
#[derive(Clone)]
struct Outbox {
    outbox: Sender<Event>,
    wake: Waker,
}

impl Outbox {
    fn send(&self, event: Event) {
        // When the window is gone nobody needs to know.
        let _gone = self.outbox.send(event);
        (self.wake)();
    }
}

/// What the thread holds.
struct Bench {
    source: Source,
    model: Option<Model>,
    inbox: Receiver<Job>,
    /// What was asked for while a picture was read.
    later: VecDeque<Job>,
    report: Outbox,
}

impl Bench {
    /// Until the window closes.
    fn work(mut self) {
        while let Some(job) = self.later.pop_front().or_else(|| self.inbox.recv().ok()) {
            let run = match &job {
                Job::Paint { run: number, .. } | Job::Surprise { number, .. } => Some(*number),
                _ => None,
            };
            let result = catch_unwind(AssertUnwindSafe(|| self.carry_out(job)));
            let result = result.unwrap_or_else(|panic| {
                let remedy = "Try again; if it happens again, start with --device cpu";
                Err(broken("worker", panic.as_ref(), remedy))
            });
            if let Err(error) = result {
                self.report.send(Event::Failed { run, error });
            }
        }
    }

    fn carry_out(&mut self, job: Job) -> Result<()> {
        match job {
            Job::Load { model, device } => self.load(&model, device),
            Job::Paint { run, request, earlier } => self.paint(run, &request, &earlier),
            Job::Redraw { track, steps } => self.redraw(&track, steps),
            Job::Glimpse(glimpse) => {
                let event = glimpse.reported(self.model()?.tokenizer.as_ref());
                self.report.send(event);
                Ok(())
            }
            Job::Closeups { track, spot } => self.closeups(&track, spot),
            Job::Surprise { number, query } => self.read(number, &query),
            Job::Pause | Job::Resume | Job::Stop => Ok(()),
        }
    }

    fn load(&mut self, id: &str, device: DeviceChoice) -> Result<()> {
        self.model = None;
        let outbox = self.report.clone();
        let told = Report::new(move |bytes| outbox.send(Event::Loading(bytes)));
        let model = self.model.insert((self.source)(id, device, told)?);
        let (card, device) = (Box::new(model.card.clone()), &model.device);
        let abilities = model.network.spec().abilities;
        let memory = (device.place.clone(), Memory::of(&device.place));
        let (device, reason) = (device.name.clone(), device.reason.clone());
        self.report.send(Event::Loaded { card, abilities, device, reason, memory });
        Ok(())
    }

    fn model(&mut self) -> Result<&mut Model> {
        self.model.as_mut().ok_or_else(not_loaded)
    }

    fn paint(&mut self, run: u64, request: &Request, earlier: &[Step]) -> Result<()> {
        let (inbox, report) = (self.inbox.clone(), self.report.clone());
        let mut painting = paint::paint(self.model()?, request, earlier)?;
        let mut previews = Previews::new(run, earlier.len(), request.picture.clone());
        while let Some(event) = painting.next() {
            let mut begun = true;
            match event? {
                paint::Event::Planned { pass, outline, .. } => {
                    let paint::Leg { pass: Pass { frame, mask }, plan, tokens } = &painting.legs()[pass];
                    let (mask, frame, plan, guess) = (mask.clone(), *frame, plan.clone(), Arc::new(tokens.clone()));
                    let now = pass + 1 == painting.legs().len();
                    begun = now;
                    let canvas = (now && pass > 0).then(|| painting.canvas().clone());
                    previews.veil = veil(&Seam::shown(&request.mask, &mask)?, &frame);
                    report.send(Event::Planned { run, leg: Leg { plan, frame, mask, guess }, outline, canvas });
                    if now {
                        previews.now(&painting, &report)?;
                    }
                }
                paint::Event::Step(step) => {
                    previews.steps = step.index + 1;
                    report.send(Event::Step { run, step });
                    previews.when_due(&painting, &report)?;
                }
                paint::Event::Done(picture) => {
                    report.send(Event::Done { run, result: Some(with_thumbnail(picture)) });
                    break;
                }
            }
            // The passes of earlier steps belong to what is kept.
            if begun && told_to_stop(&inbox, |glimpse| report.send(glimpse.reported(painting.tokenizer()))) {
                let nothing = painting.steps().is_empty();
                let result = if nothing { None } else { Some(with_thumbnail(painting.kept()?)) };
                report.send(Event::Done { run, result });
                break;
            }
        }
        Ok(())
    }

    fn redraw(&mut self, track: &Track, steps: usize) -> Result<()> {
        let report = self.report.clone();
        let model = self.model()?;
        let nothing = || Error::control("timeline", "no pass of this run was begun", "Generate again");
        let leg = track.leg(steps).ok_or_else(nothing)?;
        let scales = leg.plan.scales_after(steps - leg.plan.first);
        let decoded = model.tokenizer.decode_scales(&leg.plan.lattice, &track.tokens(leg, steps), scales);
        let decoded = to_picture(decoded?)?;
        let decoded = track.request.picture.matched(&decoded);
        let picture = veiled(&decoded, &veil(&Seam::shown(&track.request.mask, &leg.mask)?, &leg.frame));
        report.send(Event::Preview { run: track.number, steps, picture });
        Ok(())
    }

    /// Says how far it is after each visit of the model. Whatever else is asked for meanwhile waits, and ends it if it takes the
    /// model.
    fn read(&mut self, number: u64, query: &Query) -> Result<()> {
        let Self { model, inbox, later, report, .. } = self;
        surprise::measure(model.as_mut().ok_or_else(not_loaded)?, query, &mut |progress| {
            let surprise::Progress { done, of, map } = progress;
            report.send(Event::Reading { number, done, of, map: map.map(Box::new) });
            loop {
                match inbox.try_recv() {
                    Ok(Job::Stop) | Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
                    Ok(job) => {
                        let takes_the_model = matches!(job, Job::Load { .. } | Job::Paint { .. });
                        later.push_back(job);
                        if takes_the_model {
                            return ControlFlow::Break(());
                        }
                    }
                    Err(TryRecvError::Empty) => return ControlFlow::Continue(()),
                }
            }
        })?;
        report.send(Event::Read { number });
        Ok(())
    }

    /// Every revision among the tokens as they were when it was made.
    fn closeups(&mut self, track: &Track, spot: Spot) -> Result<()> {
        let report = self.report.clone();
        let model = self.model()?;
        let Some(leg) = track.leg(spot.first) else { return Ok(()) };
        let end = (spot.first + leg.plan.visits.len()).min(spot.steps).min(track.steps.len());
        let steps = track.steps.get(spot.first..end).unwrap_or_default();
        let mut pictures = Vec::new();
        for (step, made) in revisions(steps, spot.site) {
            let tokens = track.tokens(leg, step + 1);
            let picture = closeup(model.tokenizer.as_ref(), &leg.plan.lattice, &tokens, spot.site, made.token)?;
            pictures.push(track.request.picture.matched(&picture));
        }
        report.send(Event::Closeups { spot, pictures });
        Ok(())
    }
}

fn not_loaded() -> Error {
    Error::control("model", "it is not loaded", "See the notice from when it was loaded")
}

/// Between two steps: whether to stop; while paused, waits here.
fn told_to_stop(inbox: &Receiver<Job>, show: impl Fn(&Glimpse)) -> bool {
    let mut paused = false;
    loop {
        let job = if paused { inbox.recv().map_err(|_| TryRecvError::Disconnected) } else { inbox.try_recv() };
        match job {
            Ok(Job::Stop) | Err(TryRecvError::Disconnected) => return true,
            Ok(Job::Pause) => paused = true,
            Ok(Job::Resume) => paused = false,
            Ok(Job::Glimpse(glimpse)) if paused => show(&glimpse),
            // The window asks for nothing else while a run is on; what it asked for before the run began is outdated.
            Ok(
                Job::Load { .. }
                | Job::Paint { .. }
                | Job::Redraw { .. }
                | Job::Closeups { .. }
                | Job::Surprise { .. }
                | Job::Glimpse(_),
            ) => {}
            Err(TryRecvError::Empty) => return false,
        }
    }
}

fn with_thumbnail(picture: Picture) -> (Picture, RgbaImage) {
    let thumbnail = picture.image().thumbnail(THUMBNAIL, THUMBNAIL).to_rgba8();
    (picture, thumbnail)
}

/// When to decode a preview.
struct Previews {
    run: u64,
    steps: usize,
    /// The canvas, in whose colours previews are shown.
    picture: Picture,
    veil: Vec<u8>,
    last: Instant,
    cost: Duration,
}

impl Previews {
    fn new(run: u64, steps: usize, picture: Picture) -> Self {
        Self { run, steps, picture, veil: Vec::new(), last: Instant::now(), cost: Duration::ZERO }
    }

    fn when_due(&mut self, painting: &Painting<'_>, report: &Outbox) -> Result<()> {
        if self.last.elapsed() >= self.cost * PREVIEW_REST { self.now(painting, report) } else { Ok(()) }
    }

    fn now(&mut self, painting: &Painting<'_>, report: &Outbox) -> Result<()> {
        let start = Instant::now();
        let picture = veiled(&self.picture.matched(&painting.preview()?), &self.veil);
        report.send(Event::Preview { run: self.run, steps: self.steps, picture });
        self.last = Instant::now();
        self.cost = self.last - start;
        Ok(())
    }
}

/// How much of each of the model's pixels the mask covers, row by row.
fn veil(mask: &Mask, frame: &Frame) -> Vec<u8> {
    let [width, height] = frame.size.map(i64::from);
    let (wide, high) = (i64::from(frame.rect.width), i64::from(frame.rect.height));
    let byte = |x: i64, y: i64| match (u32::try_from(x), u32::try_from(y)) {
        (Ok(x), Ok(y)) => u32::from(mask.get(x, y)),
        _ => 0,
    };
    let at = |index: i64, part: i64, of: i64, size: i64| (4 * index + part) * of / (4 * size);
    let cover = |index: i64| {
        let (col, row) = (index % width, index / width);
        let tap =
            |x: i64, y: i64| byte(frame.rect.x + at(col, x, wide, width), frame.rect.y + at(row, y, high, height));
        let taps = (0..16).map(|index| tap(index % 4, index / 4));
        (taps.sum::<u32>() / 16) as u8
    };
    (0..width * height).map(cover).collect()
}

fn veiled(picture: &image::RgbImage, veil: &[u8]) -> RgbaImage {
    RgbaImage::from_fn(picture.width(), picture.height(), |x, y| {
        let [red, green, blue] = picture.get_pixel(x, y).0;
        Rgba([red, green, blue, veil.get((y * picture.width() + x) as usize).copied().unwrap_or(0)])
    })
}

/// A panic in words.
pub(crate) fn broken(place: &str, panic: &(dyn Any + Send), remedy: &str) -> Error {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no reason was given".into());
    Error::device(place, format!("a step broke off ({text})"), remedy)
}
