//! Pixels that pictures share. A picture that came of another by a change within a rectangle can be kept as that rectangle
//! alone, and one whose canvas has grown as its margins: a long history of edits of a large picture takes little more memory
//! than what was changed. What is not looked at for long becomes PNGs in memory.

use std::collections::{HashSet, VecDeque};
use std::io::Cursor;
use std::iter::successors;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError, RwLock};

use image::codecs::png::{CompressionType, FilterType, PngEncoder};
use image::{ColorType, DynamicImage, GenericImageView, ImageFormat, ImageReader, ImageResult, Rgba, RgbaImage};
use rayon::prelude::*;

use super::{Rect, grow, on_pixels};

/// So many changes may lie between a picture and the last one that is kept whole.
const MOST_CHANGES: usize = 256;
/// Pixels of up to so many bytes are put together well within a frame, however they are kept.
const SMALL: usize = 1 << 20;
/// A PNG holds rows of about so many bytes: all threads can read a large picture.
const STRIP: usize = 4 << 20;
/// The longer side of a glance, in pixels, each of which is the mean of so many samples along each direction.
const GLANCE: u32 = 96;
const TAPS: u32 = 2;

/// The pixels of a picture; a clone shares them.
#[derive(Clone)]
pub(super) struct Pixels {
    whole: OnceLock<Arc<DynamicImage>>,
    kept: Arc<Kept>,
}

/// Pixels as they are kept, with what is known of them at once.
struct Kept {
    size: (u32, u32),
    colour: ColorType,
    /// There is one wherever the pixels are not put together.
    glance: OnceLock<Arc<RgbaImage>>,
    /// Whether it waits to be shrunk.
    unwanted: AtomicBool,
    how: How,
}

/// How pixels are kept.
enum How {
    Whole(Stored),
    Changed {
        before: Arc<Kept>,
        at: Rect,
        pixels: Stored,
        /// Bytes of all changes since the last picture that is kept whole, and their number.
        since: (usize, usize),
    },
    /// The canvas has grown, with so many new pixels on the left and at the top.
    Grown {
        before: Arc<Kept>,
        by: (u32, u32),
        since: (usize, usize),
    },
}

/// What some pictures are put together from.
#[derive(Default)]
pub struct Parts(HashSet<*const ()>);

impl Parts {
    /// Adds what a picture is put together from. It is not shrunk any more if it waits for that.
    pub fn add(&mut self, picture: &super::Picture) {
        let new = picture.pixels.kept().take_while(|kept| self.is_new(kept));
        new.for_each(|kept| kept.unwanted.store(false, Ordering::Relaxed));
    }

    fn is_new(&mut self, kept: &Arc<Kept>) -> bool {
        self.0.insert(Arc::as_ptr(kept).cast())
    }
}

impl Pixels {
    pub(super) fn new(image: DynamicImage) -> Self {
        let whole = Arc::new(image);
        Self::keep(whole.clone(), How::Whole(Stored::new(whole)))
    }

    fn keep(whole: Arc<DynamicImage>, how: How) -> Self {
        let (size, colour) = ((whole.width(), whole.height()), whole.color());
        let kept = Kept { size, colour, glance: OnceLock::new(), unwanted: AtomicBool::new(false), how };
        Self { kept: Arc::new(kept), whole: whole.into() }
    }

    /// The pixels `image`, which differ from these within a rectangle only, and are of the same size and type.
    pub(super) fn changed(&self, image: DynamicImage, at: Rect) -> Self {
        let at = at.intersect(Rect::canvas(image.width(), image.height()));
        let Some(since) = self.since_with(at) else { return Self::new(image) };
        let pixels = image.crop_imm(at.x as u32, at.y as u32, at.width, at.height);
        let pixels = Stored::new(Arc::new(pixels));
        Self::keep(Arc::new(image), How::Changed { before: self.kept.clone(), at, pixels, since })
    }

    /// These with a patch of the same type laid over them, at a column and a row, as far as it lies on the canvas.
    pub(super) fn patched(&self, patch: &Self, (x, y): (u32, u32)) -> Self {
        let at = Rect::new(i64::from(x), i64::from(y), patch.width(), patch.height());
        let at = at.intersect(Rect::canvas(self.width(), self.height()));
        if at.is_empty() {
            return self.clone();
        }
        let part = patch.crop_imm(0, 0, at.width, at.height);
        let Some(since) = self.since_with(at) else {
            let mut image = DynamicImage::clone(self);
            put(&mut image, at, &part);
            return Self::new(image);
        };
        let old = self.glance();
        let glance = glance(self.kept.size, |x, y| match at.contains_pixel(i64::from(x), i64::from(y)) {
            true => part.get_pixel(x - at.x as u32, y - at.y as u32),
            false => self.glanced(&old, x, y),
        });
        let pixels = Stored::new(Arc::new(part));
        self.then(self.kept.size, glance, How::Changed { before: self.kept.clone(), at, pixels, since })
    }

    /// These on a canvas of another size, at a column and a row.
    pub(super) fn grown(&self, by: (u32, u32), size: (u32, u32)) -> Self {
        let Some(since) = self.since_with(Rect::default()) else {
            let grown = on_pixels!(&**self, buffer => grow::grow(buffer, by.0, by.1, size.0, size.1).into());
            return Self::new(grown);
        };
        let old = self.glance();
        let glance = glance(size, |x, y| match (x.checked_sub(by.0), y.checked_sub(by.1)) {
            (Some(x), Some(y)) if x < self.width() && y < self.height() => self.glanced(&old, x, y),
            _ => Rgba([0; 4]),
        });
        self.then(size, glance, How::Grown { before: self.kept.clone(), by, since })
    }

    /// What came of these, to be put together when it is looked at.
    fn then(&self, size: (u32, u32), glance: RgbaImage, how: How) -> Self {
        let (colour, unwanted) = (self.color(), AtomicBool::new(false));
        let kept = Kept { size, colour, glance: Arc::new(glance).into(), unwanted, how };
        Self { whole: OnceLock::new(), kept: Arc::new(kept) }
    }

    /// Bytes and number of the changes since the last picture that is kept whole, with one within a rectangle; none if
    /// another whole one is due.
    fn since_with(&self, at: Rect) -> Option<(usize, usize)> {
        let (bytes, changes) = self.kept.since();
        let changed = at.width as usize * at.height as usize * usize::from(self.color().bytes_per_pixel());
        let since = (bytes + changed, changes + 1);
        (since.0 <= self.bytes() && since.1 <= MOST_CHANGES).then_some(since)
    }

    /// What a glance shows of a pixel.
    fn glanced(&self, glance: &RgbaImage, x: u32, y: u32) -> Rgba<u8> {
        let along = |at: u32, from: u32, to: u32| (u64::from(at) * u64::from(to) / u64::from(from)) as u32;
        *glance.get_pixel(along(x, self.width(), glance.width()), along(y, self.height(), glance.height()))
    }

    /// The same pixels, put together only when they are looked at.
    pub(super) fn packed(&self) -> Self {
        if self.whole.get().is_some() {
            self.glance();
        }
        Self { whole: OnceLock::new(), kept: self.kept.clone() }
    }

    /// The same pixels, put together now, by all threads. What they are put together from is ready from here on.
    pub(super) fn unpacked(&self) -> Self {
        if self.whole.get().is_some() {
            return self.clone();
        }
        let stored: Vec<&Stored> = self.kept().filter_map(|kept| kept.stored()).collect();
        stored.into_par_iter().for_each(Stored::open);
        Self { whole: self.kept.whole().into(), kept: self.kept.clone() }
    }

    /// Whether all that they are put together from is ready, as far as it is not in `seen`, which takes it in.
    pub(super) fn are_open(&self, seen: &mut Parts) -> bool {
        let mut stored = self.kept().take_while(|kept| seen.is_new(kept)).filter_map(|kept| kept.stored());
        stored.all(|stored| stored.plain().is_some())
    }

    /// Whether looking at them takes no time worth speaking of.
    pub(super) fn are_at_hand(&self) -> bool {
        if self.whole.get().is_some() || self.are_small() {
            return true;
        }
        let How::Whole(stored) = &self.kept.how else { return false };
        let Some(pixels) = stored.plain() else { return false };
        // Taken at once: in the next moment they may be PNGs.
        self.whole.get_or_init(|| pixels);
        true
    }

    /// Whether anything that is done with all of them takes no longer than a frame.
    pub(super) fn are_small(&self) -> bool {
        self.bytes() <= SMALL
    }

    /// Whether they are others on a canvas that has grown.
    pub(super) fn have_grown_from(&self, others: &Self) -> bool {
        matches!(&self.kept.how, How::Grown { before, .. } if Arc::ptr_eq(before, &others.kept))
    }

    /// The bytes of what tells these pixels from those before.
    pub(super) fn own_bytes(&self) -> usize {
        let pixel = usize::from(self.color().bytes_per_pixel());
        match &self.kept.how {
            How::Whole(_) => self.bytes(),
            How::Changed { at, .. } => at.width as usize * at.height as usize * pixel,
            How::Grown { .. } => 0,
        }
    }

    /// The bytes of all of them.
    fn bytes(&self) -> usize {
        let (width, height) = self.kept.size;
        width as usize * height as usize * usize::from(self.kept.colour.bytes_per_pixel())
    }

    /// A small picture of them, with the alpha of its samples.
    pub(super) fn glance(&self) -> Arc<RgbaImage> {
        let made = || {
            let image: &DynamicImage = self;
            Arc::new(glance(self.kept.size, |x, y| image.get_pixel(x, y)))
        };
        self.kept.glance.get_or_init(made).clone()
    }

    pub(super) fn width(&self) -> u32 {
        self.kept.size.0
    }

    pub(super) fn height(&self) -> u32 {
        self.kept.size.1
    }

    pub(super) fn color(&self) -> ColorType {
        self.kept.colour
    }

    /// Keeps what tells these pixels from those before as PNGs, if that is worth it.
    pub(super) fn shrink(&self) {
        self.kept.stored().into_iter().for_each(Stored::shrink);
    }

    /// The same with all that they are put together from, beside what this thread does; `needed` is left as it is, and takes
    /// in what is shrunk.
    pub(super) fn shrink_in_time(&self, needed: &mut Parts) {
        for kept in self.kept().take_while(|kept| needed.is_new(kept)) {
            if kept.stored().is_some_and(Stored::can_shrink) && !kept.unwanted.swap(true, Ordering::Relaxed) {
                let mut waiting = UNWANTED.lock().unwrap_or_else(PoisonError::into_inner);
                waiting.push_back(kept.clone());
                if waiting.len() == 1 {
                    rayon::spawn(shrink_next);
                }
            }
        }
    }

    /// All that they are put together from, the last change first.
    fn kept(&self) -> impl Iterator<Item = &Arc<Kept>> {
        successors(Some(&self.kept), |kept| match &kept.how {
            How::Whole(_) => None,
            How::Changed { before, .. } | How::Grown { before, .. } => Some(before),
        })
    }
}

/// What waits to be shrunk, one after the other by one thread: others have something better to do.
static UNWANTED: Mutex<VecDeque<Arc<Kept>>> = Mutex::new(VecDeque::new());

fn shrink_next() {
    let waiting = || UNWANTED.lock().unwrap_or_else(PoisonError::into_inner);
    // It stays in its place meanwhile: who adds another one sees that somebody is at work.
    let next = waiting().front().cloned();
    if let Some(kept) = next.filter(|kept| kept.unwanted.swap(false, Ordering::Relaxed)) {
        kept.stored().into_iter().for_each(Stored::shrink);
    }
    let mut waiting = waiting();
    waiting.pop_front();
    if !waiting.is_empty() {
        rayon::spawn(shrink_next);
    }
}

impl Deref for Pixels {
    type Target = DynamicImage;

    fn deref(&self) -> &DynamicImage {
        self.whole.get_or_init(|| self.kept.whole())
    }
}

impl Kept {
    fn since(&self) -> (usize, usize) {
        match &self.how {
            How::Whole(_) => (0, 0),
            How::Changed { since, .. } | How::Grown { since, .. } => *since,
        }
    }

    fn stored(&self) -> Option<&Stored> {
        match &self.how {
            How::Whole(stored) | How::Changed { pixels: stored, .. } => Some(stored),
            How::Grown { .. } => None,
        }
    }

    /// Puts the picture together: the last whole one, with every change since. On this thread alone: others may wait for it.
    fn whole(&self) -> Arc<DynamicImage> {
        let (mut kept, mut changes) = (self, Vec::new());
        let whole = loop {
            match &kept.how {
                How::Whole(image) => break image.pixels(),
                How::Changed { before, at, pixels, .. } => {
                    changes.push((kept, Some((*at, pixels.pixels()))));
                    kept = before;
                }
                How::Grown { before, .. } => {
                    changes.push((kept, None));
                    kept = before;
                }
            }
        };
        if changes.is_empty() {
            return whole;
        }
        let mut image = None;
        for (kept, change) in changes.into_iter().rev() {
            match (&kept.how, change) {
                (How::Grown { by, .. }, _) => {
                    let (old, (width, height)) = (image.as_ref().unwrap_or(&*whole), kept.size);
                    image = Some(on_pixels!(old, old => grow::grow(old, by.0, by.1, width, height).into()));
                }
                (_, Some((at, pixels))) => {
                    put(image.get_or_insert_with(|| DynamicImage::clone(&whole)), at, &pixels);
                }
                (_, None) => {}
            }
        }
        image.map_or(whole, Arc::new)
    }
}

/// A small picture of one of this size, whose samples `at` gives.
fn glance((width, height): (u32, u32), at: impl Fn(u32, u32) -> Rgba<u8>) -> RgbaImage {
    let longer = width.max(height).max(1);
    let side = |length: u32| (u64::from(length) * u64::from(GLANCE)).div_ceil(u64::from(longer)).max(1) as u32;
    let (wide, high) = (side(width), side(height));
    RgbaImage::from_fn(wide, high, |x, y| {
        let mut sum = [0; 4];
        for (right, down) in (0..TAPS).flat_map(|right| (0..TAPS).map(move |down| (right, down))) {
            let place = |at: u32, tap: u32, count: u32, length: u32| {
                let part = u64::from(at * TAPS + tap) * 2 + 1;
                (part * u64::from(length) / u64::from(2 * count * TAPS)) as u32
            };
            let (x, y) = (place(x, right, wide, width), place(y, down, high, height));
            if x < width && y < height {
                sum.iter_mut().zip(at(x, y).0).for_each(|(sum, level)| *sum += u32::from(level));
            }
        }
        Rgba(sum.map(|sum| ((sum + TAPS * TAPS / 2) / (TAPS * TAPS)) as u8))
    })
}

/// Pixels as they are, or as PNGs.
struct Stored(RwLock<Form>);

enum Form {
    Plain(Arc<DynamicImage>),
    /// PNGs would not be much smaller.
    Dense(Arc<DynamicImage>),
    Png {
        /// So many rows at a time.
        strips: Arc<[Vec<u8>]>,
        /// The pixels too while they are needed.
        open: Option<Arc<DynamicImage>>,
    },
}

impl Stored {
    fn new(pixels: Arc<DynamicImage>) -> Self {
        Self(RwLock::new(Form::Plain(pixels)))
    }

    /// The pixels, or what they are read from.
    fn form(&self) -> Result<Arc<DynamicImage>, Arc<[Vec<u8>]>> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Form::Plain(pixels) | Form::Dense(pixels) | Form::Png { open: Some(pixels), .. } => Ok(pixels.clone()),
            Form::Png { strips, open: None } => Err(strips.clone()),
        }
    }

    /// The pixels, if they need not be read.
    fn plain(&self) -> Option<Arc<DynamicImage>> {
        self.form().ok()
    }

    fn pixels(&self) -> Arc<DynamicImage> {
        self.form().unwrap_or_else(|strips| joined(strips.iter().map(|strip| read(strip)).collect()))
    }

    /// Reads the pixels, by all threads, and has them ready until they are shrunk again.
    fn open(&self) {
        let Err(strips) = self.form() else { return };
        let pixels = joined(strips.par_iter().map(|strip| read(strip)).collect());
        if let Form::Png { open, .. } = &mut *self.0.write().unwrap_or_else(PoisonError::into_inner) {
            open.get_or_insert(pixels);
        }
    }

    /// Whether they could be kept in less memory. Those that others look at would be in memory all the same.
    fn can_shrink(&self) -> bool {
        let form = self.0.read().unwrap_or_else(PoisonError::into_inner);
        matches!(&*form, Form::Plain(pixels) | Form::Png { open: Some(pixels), .. } if Arc::strong_count(pixels) == 1)
    }

    fn shrink(&self) {
        if !self.can_shrink() {
            return;
        }
        let write = || self.0.write().unwrap_or_else(PoisonError::into_inner);
        let closed = match &mut *write() {
            Form::Png { open, .. } => open.take(),
            Form::Plain(_) | Form::Dense(_) => None,
        };
        if closed.is_some() {
            return;
        }
        let pixels = self.pixels();
        let form = match written(&pixels) {
            Some(strips) => Form::Png { strips, open: None },
            None => Form::Dense(pixels.clone()),
        };
        // The last to hold on to the pixels is this thread, without the lock.
        *write() = form;
    }
}

/// The pixels as PNGs from top to bottom, if that is worth it and brings back every bit.
fn written(pixels: &DynamicImage) -> Option<Arc<[Vec<u8>]>> {
    let row = pixels.as_bytes().len() / pixels.height().max(1) as usize;
    let rows = (STRIP / row.max(1)).max(1) as u32;
    let strip = |y: u32| {
        let (mut png, strip) = (Vec::new(), pixels.crop_imm(0, y, pixels.width(), rows));
        let encoder = PngEncoder::new_with_quality(&mut png, CompressionType::Fast, FilterType::Adaptive);
        strip.write_with_encoder(encoder).ok()?;
        decoded(&png).is_ok_and(|again| again == strip).then_some(png)
    };
    let strips: Vec<Vec<u8>> = (0..pixels.height()).step_by(rows as usize).map(strip).collect::<Option<_>>()?;
    let size: usize = strips.iter().map(Vec::len).sum();
    (size < pixels.as_bytes().len() / 8 * 7).then(|| strips.into())
}

fn decoded(png: &[u8]) -> ImageResult<DynamicImage> {
    let mut reader = ImageReader::with_format(Cursor::new(png), ImageFormat::Png);
    reader.no_limits();
    reader.decode()
}

fn read(png: &[u8]) -> DynamicImage {
    decoded(png).unwrap_or_else(|_| unreachable!("it was read when it was written"))
}

/// Strips put below each other.
fn joined(mut strips: Vec<DynamicImage>) -> Arc<DynamicImage> {
    if strips.len() == 1 {
        return Arc::new(strips.remove(0));
    }
    let height = strips.iter().map(DynamicImage::height).sum();
    let (width, colour) = strips.first().map_or((0, ColorType::L8), |strip| (strip.width(), strip.color()));
    let (mut image, mut y) = (DynamicImage::new(width, height, colour), 0);
    for strip in strips {
        put(&mut image, Rect::new(0, y, strip.width(), strip.height()), &strip);
        y += i64::from(strip.height());
    }
    Arc::new(image)
}

/// Puts pixels of the same type in their place, which lies in the image.
fn put(image: &mut DynamicImage, at: Rect, pixels: &DynamicImage) {
    let channels = usize::from(image.color().channel_count());
    let (width, row) = (image.width() as usize * channels, pixels.width() as usize * channels);
    let first = at.y as usize * width + at.x as usize * channels;
    macro_rules! put {
        ($($kind:ident),*) => {
            match (image, pixels) {
                $((DynamicImage::$kind(image), DynamicImage::$kind(pixels)) => {
                    for (y, samples) in pixels.as_raw().chunks_exact(row.max(1)).enumerate() {
                        image.as_mut()[first + y * width..][..row].copy_from_slice(samples);
                    }
                })*
                _ => unreachable!("a changed picture keeps its type"),
            }
        };
    }
    put!(ImageLuma8, ImageLumaA8, ImageRgb8, ImageRgba8, ImageLuma16, ImageLumaA16, ImageRgb16, ImageRgba16);
}
