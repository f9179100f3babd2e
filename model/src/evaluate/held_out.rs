//! Pictures that training never saw: the bundled scenes from a seed on that training keeps away from, or a person's own
//! folder.

use std::fs;
use std::path::{Path, PathBuf};

use image::RgbImage;
use image::imageops::{self, FilterType};

use crate::order::{random, shuffle};
use crate::picture::Picture;
use crate::train::{HELD_OUT, scenes};
use crate::{Error, Result};

/// Seeds of the scenes of one evaluation; those of the next begin behind them.
const SCENES: u64 = 1 << 20;

/// Where pictures come from.
#[derive(Debug, Clone)]
pub enum HeldOut {
    /// The bundled scenes, all classes in turn.
    Scenes {
        /// The evaluation's seed.
        seed: u64,
    },
    /// Files in a folder and its subfolders.
    Folder {
        /// The folder.
        folder: PathBuf,
        /// The files with their classes, shuffled by the evaluation's seed.
        files: Vec<(PathBuf, Option<u32>)>,
    },
}

impl HeldOut {
    /// The pictures of a folder: those in a subfolder belong to the class that its name says among `subjects`; where no
    /// subfolder's name does, and there are as many as subjects, to the one of the same place in the alphabet. Others
    /// belong to none.
    ///
    /// # Errors
    /// If the folder cannot be read or holds no pictures.
    pub fn folder(folder: &Path, subjects: &[String], seed: u64) -> Result<Self> {
        let (mut files, folders) = list(folder)?;
        let named = |folder: &PathBuf| {
            let name = folder.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
            subjects.iter().position(|subject| subject.to_lowercase() == name)
        };
        let by_place = folders.len() == subjects.len() && folders.iter().all(|folder| named(folder).is_none());
        for (place, subfolder) in folders.iter().enumerate() {
            let class = if by_place { Some(place) } else { named(subfolder) };
            let (of_class, _) = list(subfolder)?;
            files.extend(of_class.into_iter().map(|(file, _)| (file, class.map(|class| class as u32))));
        }
        if files.is_empty() {
            let cause = "it holds no pictures, and no subfolders with any";
            return Err(Error::file(folder, cause, "Name a folder with one subfolder per class"));
        }
        shuffle(&mut files, &mut random(seed, 0));
        Ok(Self::Folder { folder: folder.into(), files })
    }

    /// What reports call it.
    pub fn describe(&self) -> String {
        match self {
            Self::Scenes { .. } => "held-out scenes".into(),
            Self::Folder { folder, files } => format!("{} pictures in {}", files.len(), folder.display()),
        }
    }

    /// Refuses a number of pictures to look at that leaves too few of a folder to compare with.
    ///
    /// # Errors
    /// Names the folder.
    pub fn check(&self, pictures: usize) -> Result<()> {
        match self {
            Self::Folder { folder, files } if files.len() < 2 * pictures => {
                let cause = format!("it has {} pictures, and two sets of {pictures} are compared", files.len());
                let remedy = format!("Add pictures, or use --pictures {}", files.len() / 2);
                Err(Error::file(folder, cause, remedy))
            }
            _ => Ok(()),
        }
    }

    /// How many pictures there are to compare with beside `pictures` others: all of a folder, of scenes as many as asked.
    pub fn reference(&self, pictures: usize, wanted: usize) -> usize {
        match self {
            Self::Scenes { .. } => wanted,
            Self::Folder { files, .. } => files.len().saturating_sub(pictures),
        }
    }

    /// A picture, a square of `side` pixels, and its class. Files are cut to a square around their middle and resized.
    ///
    /// # Errors
    /// Names the file that cannot be read, or the folder that has no more.
    pub fn picture(&self, index: usize, side: u32) -> Result<(RgbImage, Option<u32>)> {
        match self {
            Self::Scenes { seed } => {
                let class = index % scenes::CLASSES;
                let seed = HELD_OUT + seed.wrapping_mul(SCENES) % HELD_OUT + index as u64;
                Ok((scenes::scene(class, seed, side), Some(class as u32)))
            }
            Self::Folder { folder, files } => {
                let missing = || Error::file(folder, format!("it has no {index} pictures"), "Add pictures");
                let (file, class) = files.get(index).ok_or_else(missing)?;
                let picture = Picture::open(file)?.to_rgb8();
                let short = picture.width().min(picture.height());
                let (left, top) = ((picture.width() - short) / 2, (picture.height() - short) / 2);
                let square = imageops::crop_imm(&picture, left, top, short, short).to_image();
                let resized = || imageops::resize(&square, side, side, FilterType::CatmullRom);
                Ok((if short == side { square } else { resized() }, *class))
            }
        }
    }
}

/// Files with their classes, where they have one.
type Labelled = Vec<(PathBuf, Option<u32>)>;

/// Files of a folder that may be pictures, none of a class, and its subfolders; both by name.
fn list(folder: &Path) -> Result<(Labelled, Vec<PathBuf>)> {
    const ENDINGS: [&str; 8] = ["png", "jpg", "jpeg", "webp", "tif", "tiff", "bmp", "gif"];
    let failed = |error: std::io::Error| Error::file(folder, error, "Name a folder of pictures that can be read");
    let entries = fs::read_dir(folder).map_err(failed)?.collect::<std::io::Result<Vec<_>>>().map_err(failed)?;
    let mut paths: Vec<PathBuf> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    let (folders, files): (Vec<_>, Vec<_>) = paths.into_iter().partition(|path| path.is_dir());
    let pictures = files.into_iter().filter(|file| {
        let ending = file.extension().unwrap_or_default().to_string_lossy().to_lowercase();
        ENDINGS.contains(&ending.as_str())
    });
    Ok((pictures.map(|file| (file, None)).collect(), folders))
}
