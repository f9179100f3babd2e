//! What is edited: a picture, what may change in it, and the run that made it.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use andamento_model::boldness::Boldness;
use andamento_model::decode::Step;
use andamento_model::frame::Frame;
use andamento_model::lattice::{Site, Token};
use andamento_model::order::OrderPath;
use andamento_model::paint::{Outline, Request};
use andamento_model::picture::{Mask, Picture, Rect};
use andamento_model::plan::Plan;
use andamento_model::sample::Made;
use andamento_model::turn::Turns;
use andamento_model::{Error, Result};
use image::DynamicImage;

pub use crate::files::save::save_atomically;

/// The picture that is open when the program starts.
const SAMPLE: &[u8] = include_bytes!("../../assets/samples/lake-at-dusk.png");
/// What the sample is called.
const SAMPLE_NAME: &str = "lake-at-dusk.png";
/// How soft the edge of the sample's mask is, as a share of its radius.
const SAMPLE_EDGE: f32 = 0.03;

/// A number that no other picture or mask has: the window uploads what has a new one.
pub fn fresh() -> u64 {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// A pass of a run: the part of the canvas that the model saw at once.
#[derive(Debug, Clone)]
pub struct Leg {
    /// Given tokens and visits.
    pub plan: Arc<Plan>,
    /// The square that the model saw.
    pub frame: Frame,
    /// What was made there.
    pub mask: Mask,
    /// A token for every site: given ones, and guesses where none was made yet.
    pub guess: Arc<Vec<Token>>,
}

impl Leg {
    /// The rectangle of canvas pixels that a token covers.
    pub fn rect(&self, site: Site) -> Rect {
        self.frame.rect_of(&self.plan.lattice, site).unwrap_or_default()
    }
}

/// A run: what was asked, planned and made.
#[derive(Debug, Clone)]
pub struct Track {
    /// The run's own number.
    pub number: u64,
    /// The id of the model that made it.
    pub model: String,
    /// What was asked for. Its picture is kept packed: clone the picture before looking at it.
    pub request: Arc<Request>,
    /// The number of the picture it was asked for.
    pub before: u64,
    /// The number of the mask it was asked for.
    pub mask_id: u64,
    /// What all passes come to.
    pub outline: Outline,
    /// The passes that were begun.
    pub legs: Vec<Leg>,
    /// What was made in all passes.
    pub steps: Vec<Step>,
    /// What a person changed on the way.
    pub turns: Turns,
}

impl Track {
    /// The pass in which a step is made.
    pub fn leg(&self, step: usize) -> Option<&Leg> {
        self.legs.iter().rfind(|leg| leg.plan.first <= step)
    }

    /// The number of that pass, from 0.
    pub fn pass(&self, step: usize) -> usize {
        self.legs.iter().rposition(|leg| leg.plan.first <= step).unwrap_or(0)
    }

    /// The rectangle of canvas pixels that a token of a step covers.
    pub fn rect(&self, step: usize, site: Site) -> Rect {
        self.leg(step).map(|leg| leg.rect(site)).unwrap_or_default()
    }

    /// What was made in the first `steps` steps, as far as it belongs to a pass.
    pub fn made_in<'a>(&'a self, leg: &Leg, steps: usize) -> impl Iterator<Item = &'a Made> + use<'a> {
        let (first, count) = (leg.plan.first, leg.plan.visits.len());
        self.steps.iter().take(steps).skip(first).take(count).flat_map(|step| &step.made)
    }

    /// The tokens of a pass after the first `steps` steps of the run, guesses included.
    pub fn tokens(&self, leg: &Leg, steps: usize) -> Vec<Token> {
        let mut tokens = leg.guess.to_vec();
        self.made_in(leg, steps).for_each(|made| tokens[made.site.index()] = made.token);
        tokens
    }

    /// Whether every planned step was made.
    pub fn is_complete(&self) -> bool {
        self.steps.len() == self.outline.steps
    }

    /// The part of the canvas that it may have changed.
    pub fn changed(&self) -> Rect {
        self.legs.iter().fold(Rect::default(), |all, leg| all.union(leg.frame.rect))
    }
}

/// What is edited. A clone is cheap, and nothing changes in place.
#[derive(Debug, Clone)]
pub struct Document {
    /// What the title calls it.
    pub name: String,
    /// The file it was opened from.
    pub path: Option<PathBuf>,
    /// The canvas.
    pub picture: Picture,
    /// Its number, see [`fresh`].
    pub picture_id: u64,
    /// What may change.
    pub mask: Mask,
    /// Its number, see [`fresh`].
    pub mask_id: u64,
    /// Along which tokens are made first.
    pub order_path: Arc<OrderPath>,
    /// Its number, see [`fresh`].
    pub path_id: u64,
    /// How boldly tokens are drawn where.
    pub boldness: Boldness,
    /// Its number, see [`fresh`].
    pub boldness_id: u64,
    /// The picture as it was opened.
    pub original: Picture,
    /// Its number, see [`fresh`].
    pub original_id: u64,
    /// Where the original lies on the canvas.
    pub original_at: Rect,
    /// The part of the canvas that holds more than the emptiness of an added margin.
    pub content: Rect,
    /// The run that made the picture.
    pub track: Option<Arc<Track>>,
    /// Whether a model made any part of it.
    pub generated: bool,
    /// The record that was in its file: how another picture of Andamento was made.
    pub record: Option<Arc<str>>,
}

impl Document {
    /// A picture as it was opened, with nothing masked.
    pub fn new(picture: Picture, name: impl Into<String>, path: Option<PathBuf>) -> Self {
        let id = fresh();
        Self {
            name: name.into(),
            path,
            mask: Mask::new(picture.width(), picture.height()),
            mask_id: fresh(),
            order_path: Arc::default(),
            path_id: fresh(),
            boldness: Boldness::default(),
            boldness_id: fresh(),
            original: picture.clone(),
            original_id: id,
            original_at: picture.rect(),
            content: picture.rect(),
            picture,
            picture_id: id,
            track: None,
            generated: false,
            record: None,
        }
    }

    /// The bundled sample, with a soft ellipse in the middle masked.
    ///
    /// # Errors
    /// If the bundled picture is damaged, which the tests exclude.
    pub fn sample() -> Result<Self> {
        let damaged = |error| Error::file(SAMPLE_NAME, error, "Install Andamento again: a bundled file is damaged");
        let picture =
            Picture::new(DynamicImage::ImageRgb8(image::load_from_memory(SAMPLE).map_err(damaged)?.to_rgb8()));
        let mask = ellipse(picture.width(), picture.height())?;
        Ok(Self::new(picture, SAMPLE_NAME, None).with_mask(mask))
    }

    /// Opens a picture file. Returns also what the person should know about how it was read.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open(path: &Path) -> Result<(Self, Vec<String>)> {
        let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
        let opened = Picture::read(path)?;
        let generated = opened.record.is_some();
        let record = opened.record.map(Arc::from);
        Ok((Self { record, generated, ..Self::new(opened.picture, name, Some(path.into())) }, opened.remarks))
    }

    /// The numbers of picture, mask, path and boldness.
    pub fn ids(&self) -> [u64; 4] {
        [self.picture_id, self.mask_id, self.path_id, self.boldness_id]
    }

    /// The same with another mask.
    pub fn with_mask(mut self, mask: Mask) -> Self {
        self.mask = mask;
        self.mask_id = fresh();
        self
    }

    /// The same with another path along which tokens are made.
    pub fn with_path(mut self, path: OrderPath) -> Self {
        self.order_path = Arc::new(path);
        self.path_id = fresh();
        self
    }

    /// The same with another layer of boldness.
    pub fn with_boldness(mut self, boldness: Boldness) -> Self {
        self.boldness = boldness;
        self.boldness_id = fresh();
        self
    }

    /// The same with a picture that a run made of it.
    pub fn with_result(mut self, picture: Picture, track: Arc<Track>) -> Self {
        if track.is_complete() {
            self.content = self.content.union(track.changed().intersect(picture.rect()));
        }
        self.picture = picture;
        self.picture_id = fresh();
        self.generated |= !track.steps.is_empty();
        self.track = Some(track);
        self
    }

    /// The same on a canvas that has grown by so many pixels on the left, top, right and bottom. What was added is masked
    /// beside what already was; a mask that a run has fulfilled is put away.
    ///
    /// # Errors
    /// As [`Picture::extended`].
    pub fn extended(&self, [left, top, right, bottom]: [u32; 4]) -> Result<Self> {
        let picture = self.picture.extended(left, top, right, bottom)?;
        let mask = self.extended_mask([left, top, right, bottom])?;
        let path = self.order_path.shifted(left, top);
        let boldness = self.boldness.extended([left, top, right, bottom])?;
        let shift = |rect: Rect| Rect::new(rect.x + i64::from(left), rect.y + i64::from(top), rect.width, rect.height);
        Ok(Self {
            picture,
            picture_id: fresh(),
            mask,
            mask_id: fresh(),
            order_path: Arc::new(path),
            path_id: fresh(),
            boldness,
            boldness_id: fresh(),
            original_at: shift(self.original_at),
            content: shift(self.content),
            track: None,
            ..self.clone()
        })
    }

    /// The mask of [`extended`](Self::extended).
    ///
    /// # Errors
    /// As [`Picture::extended`].
    pub fn extended_mask(&self, [left, top, right, bottom]: [u32; 4]) -> Result<Mask> {
        let kept =
            if self.is_fulfilled() { Mask::new(self.mask.width(), self.mask.height()) } else { self.mask.clone() };
        kept.extended(left, top, right, bottom, 255)
    }

    /// The same, taking little memory: pictures are put together when they are looked at.
    pub fn packed(&self) -> Self {
        Self { picture: self.picture.packed(), ..self.clone() }
    }

    /// Whether the picture was made with the mask as it is now: nothing is left to ask for.
    pub fn is_fulfilled(&self) -> bool {
        self.track.as_ref().is_some_and(|track| track.mask_id == self.mask_id)
    }

    /// The next free name for a result: `{stem}-andamento-{nnn}.png` beside the source, or among the person's pictures.
    pub fn next_name(&self) -> PathBuf {
        next_free_name(&self.path.clone().unwrap_or_else(|| pictures_folder().join(&self.name)))
    }

    /// Where its mask is written unless the person says otherwise: `{stem}-mask.png` beside the source.
    pub fn mask_name(&self) -> PathBuf {
        let source = self.path.clone().unwrap_or_else(|| pictures_folder().join(&self.name));
        let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        source.with_file_name(format!("{stem}-mask.png"))
    }

    /// Whether a path is the file it was opened from, which is never written to.
    pub fn is_source(&self, path: &Path) -> bool {
        let real = |path: &Path| path.canonicalize().unwrap_or_else(|_| path.into());
        self.path.as_deref().is_some_and(|source| real(source) == real(path))
    }
}

/// The first name `{stem}-andamento-{nnn}.png` beside `source` that no file has.
pub fn next_free_name(source: &Path) -> PathBuf {
    let stem = source.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let name = |number: u32| source.with_file_name(format!("{stem}-andamento-{number:03}.png"));
    (1..).map(name).find(|path| !path.exists()).unwrap_or_else(|| name(0))
}

/// A soft ellipse in the middle.
fn ellipse(width: u32, height: u32) -> Result<Mask> {
    let byte = |index: u32| {
        let (x, y) = ((index % width) as f32 + 0.5, (index / width) as f32 + 0.5);
        let (x, y) = (x / width as f32 - 0.61, y / height as f32 - 0.48);
        let distance = (x / 0.295).hypot(y / 0.27);
        (((1.0 - distance) / SAMPLE_EDGE + 0.5).clamp(0.0, 1.0) * 255.0).round() as u8
    };
    Mask::from_bytes(width, height, (0..width * height).map(byte).collect())
}

/// Where people keep pictures.
fn pictures_folder() -> PathBuf {
    let home = std::env::home_dir().filter(|home| home.is_dir());
    let pictures = home.as_ref().map(|home| home.join("Pictures")).filter(|pictures| pictures.is_dir());
    pictures.or(home).or_else(|| std::env::current_dir().ok()).unwrap_or_default()
}
