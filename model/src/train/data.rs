//! What is trained on: procedural scenes, or a folder with one subfolder per class.

pub mod crops;
pub mod pictures;
pub mod prefetch;
pub mod tokens;

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

/// Where pictures come from and how they are cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Data {
    /// Scenes, or a folder.
    pub source: Source,
    /// For `source = "folder"`: the folder, relative to the configuration, with one subfolder per class.
    pub folder: Option<PathBuf>,
    /// Side of a picture in pixels, as the network sees it.
    pub side: u32,
    /// Number of pictures: as many scenes, or at most so many of a folder; without it endless scenes, or all of a folder.
    pub pictures: Option<usize>,
    /// How pictures are cut and mirrored.
    #[serde(default)]
    pub augment: Augment,
    /// Shorter sides before cutting, as multiples of `side`: for ten-crop each of them (1.1), for random-crop the range they
    /// are drawn from. By default as published.
    pub enlarge: Option<Vec<f64>>,
    /// For random-crop: whether half of the cuts are mirrored.
    #[serde(default = "yes")]
    pub mirror: bool,
    /// For random-crop and pre-tokenised data: cuts per picture.
    #[serde(default = "one")]
    pub views: usize,
}

fn yes() -> bool {
    true
}

fn one() -> usize {
    1
}

/// Where pictures come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Source {
    /// The procedural scenes.
    Scenes,
    /// A folder with one subfolder per class.
    Folder,
}

/// How pictures are cut and mirrored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Augment {
    /// The centre (ADM's crop).
    None,
    /// The centre, and its mirror image (RandAR's code, `adm`).
    #[default]
    Flip,
    /// Four corners and the centre of the enlarged centre, and their mirror images (`TenCrop`; RandAR's paper, LlamaGen, RAR).
    TenCrop,
    /// A random place of the picture at a random size (LlamaGen's tokenizer: 1 to 1.25; VAR: 1.125).
    RandomCrop,
}

impl Data {
    /// Why these settings mean nothing, if they do not.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), String> {
        match (self.source, &self.folder) {
            (Source::Folder, None) => return Err("source = \"folder\" needs folder = \"…\"".into()),
            (Source::Scenes, Some(_)) => return Err("folder belongs to source = \"folder\"".into()),
            _ => {}
        }
        if self.side == 0 || self.side > 4096 {
            return Err(format!("side = {} is not between 1 and 4096", self.side));
        }
        if self.pictures == Some(0) || self.views == 0 {
            return Err("pictures and views are above 0".into());
        }
        let sizes = self.sizes();
        if sizes.is_empty() || sizes.iter().any(|size| !(1.0..=4.0).contains(size)) {
            return Err("enlarge holds numbers from 1 to 4, such as [1.1]".into());
        }
        Ok(())
    }

    /// The sizes before cutting, as multiples of the side.
    pub fn sizes(&self) -> Vec<f64> {
        self.enlarge.clone().unwrap_or_else(|| match self.augment {
            Augment::None | Augment::Flip => vec![1.0],
            Augment::TenCrop => vec![1.1],
            Augment::RandomCrop => vec![1.0, 1.25],
        })
    }
}
