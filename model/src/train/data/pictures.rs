//! The pictures themselves, by number.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use burn::prelude::*;
use image::RgbImage;
use sha2::{Digest, Sha256};

use super::{Data, Source};
use crate::library::hex;
use crate::order::{random, shuffle};
use crate::picture::Picture;
use crate::train::{below, scenes};
use crate::{Error, Result};

/// Pictures that are read or rendered when they are asked for, from any thread.
pub struct Pictures {
    data: Data,
    /// The names of the classes.
    pub classes: Vec<String>,
    /// Files with their classes; none for scenes.
    files: Option<Labelled>,
    /// Files that could not be read, with the reason.
    broken: Mutex<BTreeMap<PathBuf, String>>,
    /// The seed and the epoch whose sequence was asked for last.
    epoch: Mutex<Option<Epoch>>,
}

/// A seed, the number of an epoch, and its sequence of pictures.
type Epoch = ([u64; 2], Arc<Vec<u32>>);

/// Files with their classes.
type Labelled = Vec<(PathBuf, usize)>;

/// What the names of picture files end with.
const PICTURES: [&str; 9] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif", "jfif"];

impl Pictures {
    /// The pictures that a configuration names; folders are relative to `base`.
    ///
    /// # Errors
    /// If the folder cannot be read, or holds no subfolders with pictures.
    pub fn open(data: &Data, base: &Path) -> Result<Self> {
        let (classes, files) = match (data.source, &data.folder) {
            (Source::Folder, Some(folder)) => {
                let (classes, mut files) = list(&base.join(folder))?;
                thin(&mut files, data.pictures);
                (classes, Some(files))
            }
            _ => ((0..scenes::CLASSES).map(scenes::class_name).collect(), None),
        };
        Ok(Self { data: data.clone(), classes, files, broken: Mutex::default(), epoch: Mutex::default() })
    }

    /// How many there are; none where there is no end to them.
    pub fn count(&self) -> Option<usize> {
        self.files.as_ref().map(Vec::len).or(self.data.pictures)
    }

    /// A picture, uncut, and its class; none for a file that cannot be read, which is noted.
    pub fn read(&self, index: usize) -> Option<(RgbImage, usize)> {
        let Some(files) = &self.files else {
            let class = index % scenes::CLASSES;
            let largest = self.data.sizes().iter().copied().fold(1.0, f64::max);
            let side = (f64::from(self.data.side) * largest).ceil() as u32;
            return Some((scenes::scene(class, index as u64, side), class));
        };
        let (path, class) = &files[index % files.len()];
        match Picture::open(path) {
            Ok(picture) => Some((picture.to_rgb8(), *class)),
            Err(error) => {
                let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
                broken.insert(path.clone(), error.to_string());
                None
            }
        }
    }

    /// The class of a picture.
    pub fn class(&self, index: usize) -> usize {
        self.files.as_ref().map_or(index % scenes::CLASSES, |files| files[index % files.len()].1)
    }

    /// Files that could not be read since the last call, in words.
    pub fn take_broken(&self) -> Vec<String> {
        let mut broken = self.broken.lock().unwrap_or_else(PoisonError::into_inner);
        let told = broken.iter_mut().filter(|(_, cause)| !cause.is_empty());
        // The entry stays, empty, so that a file is told of once.
        told.map(|(_, cause)| format!("skipped {}", std::mem::take(cause))).collect()
    }

    /// The number of the picture that comes `n`-th in training: each once per epoch, in a fresh sequence.
    pub fn nth(&self, seed: u64, n: u64) -> usize {
        // Scenes without end: every one is new.
        self.count().map_or_else(|| mixed(seed, n as usize), |count| self.in_epochs(seed, n, count))
    }

    fn in_epochs(&self, seed: u64, n: u64, count: usize) -> usize {
        let (epoch, place) = (n / count as u64, (n % count as u64) as usize);
        let mut held = self.epoch.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((of, sequence)) = held.as_ref()
            && *of == [seed, epoch]
        {
            return sequence[place] as usize;
        }
        let sequence = Arc::new(epoch_sequence(seed, epoch, count));
        *held = Some(([seed, epoch], sequence.clone()));
        sequence[place] as usize
    }

    /// A batch for a tokenizer: the `n`-th of the training, cut as the configuration says; then, where `crop` is less than the
    /// side, a random square of that many pixels.
    pub fn batch(&self, seed: u64, n: usize, batch: usize, crop: u32) -> Pixels {
        let mut pixels = Pixels { samples: Vec::new(), classes: Vec::with_capacity(batch), side: crop as usize };
        for place in 0..batch {
            let number = (n * batch + place) as u64;
            let mut random = random(seed ^ PIXELS, number);
            // A broken file is replaced by the next that can be read.
            let first = self.nth(seed, number);
            let tries = self.files.as_ref().map_or(1, Vec::len);
            let Some((picture, class)) = (first..first + tries).find_map(|index| self.read(index)) else { continue };
            let view = self.data.draw(picture, &mut random);
            let free = (view.width() - crop.min(view.width())) as usize;
            let [x, y] = [0; 2].map(|_| below(&mut random, free + 1) as u32);
            pixels.classes.push(class);
            pixels.add(&view, x, y);
        }
        pixels
    }

    /// What the pictures are, as a hash: of the settings, and of the files' names and lengths.
    pub fn fingerprint(&self) -> String {
        let mut hash = Sha256::new();
        // Settings that are only numbers and names always have a JSON form.
        hash.update(serde_json::to_vec(&self.data).unwrap_or_default());
        for (path, class) in self.files.iter().flatten() {
            let (name, length) = (path.file_name().unwrap_or_default(), fs::metadata(path).map_or(0, |of| of.len()));
            hash.update(format!("{}/{}: {length}\n", self.classes[*class], name.display()));
        }
        hex(&hash.finalize())
    }
}

/// The `n`-th of the scenes without end, others for every seed: each class once in a round of all, such that neighbours have
/// another place and another light. In the sequence of the classes a batch of four would be one place alone, and each step a
/// step towards it.
fn mixed(seed: u64, n: usize) -> usize {
    // Prime to the number of classes, and to that of the lights of a place.
    const STRIDE: usize = 7;
    // Seeds of scenes stay below those that are held out.
    const SEEDS: u64 = 1000;
    const ROUNDS: usize = 100_000;
    let first = (seed % SEEDS) as usize * ROUNDS * scenes::CLASSES;
    let place = n % scenes::CLASSES;
    first + n - place + place * STRIDE % scenes::CLASSES
}

/// Keeps the draws of pixels apart from the sequence of pictures.
const PIXELS: u64 = 0x7069_7865_6c73;

/// The sequence of pictures in one epoch.
pub(super) fn epoch_sequence(seed: u64, epoch: u64, count: usize) -> Vec<u32> {
    let mut sequence: Vec<u32> = (0..count as u32).collect();
    shuffle(&mut sequence, &mut random(seed ^ EPOCHS, epoch));
    sequence
}

const EPOCHS: u64 = 0x6570_6f63_6873;

/// The picture files of a folder's subfolders, by class.
fn list(folder: &Path) -> Result<(Vec<String>, Labelled)> {
    let failed = |path: &Path, error: std::io::Error| Error::file(path, error, "Name a folder that you can read");
    let entries = |path: &Path| -> Result<Vec<PathBuf>> {
        let entries = fs::read_dir(path).map_err(|error| failed(path, error))?;
        let entry = |entry: std::io::Result<fs::DirEntry>| entry.map_err(|error| failed(path, error));
        let mut paths = entries.map(|found| Ok(entry(found)?.path())).collect::<Result<Vec<_>>>()?;
        paths.sort();
        Ok(paths)
    };
    let (mut classes, mut files) = (Vec::new(), Vec::new());
    for subfolder in entries(folder)?.into_iter().filter(|path| path.is_dir()) {
        let pictures: Vec<_> = entries(&subfolder)?.into_iter().filter(|path| is_picture(path)).collect();
        if !pictures.is_empty() {
            files.extend(pictures.into_iter().map(|path| (path, classes.len())));
            classes.push(subfolder.file_name().unwrap_or_default().to_string_lossy().into_owned());
        }
    }
    if files.is_empty() {
        let remedy = "Give it one subfolder per class, such as cats/1.jpg and dogs/1.jpg";
        return Err(Error::file(folder, "it has no subfolder with pictures", remedy));
    }
    Ok((classes, files))
}

fn is_picture(path: &Path) -> bool {
    let ending = path.extension().unwrap_or_default().to_string_lossy().to_lowercase();
    path.is_file() && PICTURES.contains(&ending.as_str())
}

/// Keeps `most` of the files, evenly spread so that all classes stay.
fn thin(files: &mut Vec<(PathBuf, usize)>, most: Option<usize>) {
    let (have, want) = (files.len(), most.unwrap_or(usize::MAX));
    if want < have {
        *files = (0..want).map(|index| files[index * have / want].clone()).collect();
    }
}

/// A batch of pictures on the host.
#[derive(Debug, Clone, PartialEq)]
pub struct Pixels {
    /// Samples in -1..1, `[batch, 3, side, side]`.
    samples: Vec<f32>,
    /// The class of each.
    pub classes: Vec<usize>,
    /// Side in pixels.
    pub side: usize,
}

impl Pixels {
    fn add(&mut self, picture: &RgbImage, x: u32, y: u32) {
        let side = self.side as u32;
        for channel in 0..3 {
            for row in y..y + side {
                self.samples.extend((x..x + side).map(|column| sample(picture.get_pixel(column, row).0[channel])));
            }
        }
    }

    /// Whole pictures of one size as a batch.
    pub fn of(pictures: &[RgbImage], side: usize) -> Self {
        let mut pixels = Self { samples: Vec::new(), classes: vec![0; pictures.len()], side };
        pictures.iter().for_each(|picture| pixels.add(picture, 0, 0));
        pixels
    }

    /// The samples on a device, `[batch, 3, side, side]` in -1..1.
    pub fn tensor(&self, device: &Device) -> Tensor<4> {
        let shape = [self.classes.len(), 3, self.side, self.side];
        Tensor::from_data(TensorData::new(self.samples.clone(), shape), device)
    }
}

fn sample(byte: u8) -> f32 {
    f32::from(byte) / 127.5 - 1.0
}
