//! What was made: every token with its site, probability, step and origin, and all that is needed to make it again.

use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::composite::composite;
use crate::decode::{Knobs, Step};
use crate::frame::{Extent, Frame};
use crate::lattice::{Lattice, Site, Token};
use crate::library::Model;
use crate::paint::{Request, paint};
use crate::picture::{Mask, Picture};
use crate::plan::Plan;
use crate::sample::Made;
use crate::schedule::Schedule;
use crate::tokenizer::to_picture;
use crate::{Error, Result};

/// The format's version.
const VERSION: u32 = 2;

/// Where the canvas came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "kind")]
pub enum Source {
    /// An empty canvas, grey.
    Blank {
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// A picture file, extended by some pixels on each side.
    File {
        /// Where it was.
        path: String,
        /// SHA-256 of the file's bytes.
        sha256: String,
        /// Pixels added on the left, top, right and bottom.
        extended: [u32; 4],
    },
}

impl Source {
    /// The picture's file, where there is one.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Blank { .. } => None,
            Self::File { path, .. } => Some(Path::new(path)),
        }
    }
}

/// A finished or stopped run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Ledger {
    version: u32,
    /// The model's id.
    pub model: String,
    /// The hash of its weights.
    pub model_hash: String,
    /// The canvas.
    pub source: Source,
    /// The mask as a PNG in base64.
    mask: String,
    /// The square that the model saw.
    pub frame: Frame,
    /// The name of the order.
    pub order: String,
    /// Where a random order started.
    pub order_seed: u64,
    /// How tokens were shared out among steps.
    pub schedule: Schedule,
    /// Class, guidance, sampling, seed.
    pub knobs: Knobs,
    /// On how many tokens the model worked.
    #[serde(default)]
    pub extent: Extent,
    /// The lattice.
    pub lattice: Lattice,
    /// Tokens taken from the picture.
    pub given: Vec<(Site, Token)>,
    /// What was made, step by step.
    pub steps: Vec<Step>,
}

impl Ledger {
    /// A ledger of a run, finished or not.
    ///
    /// # Errors
    /// If the mask cannot be written down.
    pub fn new(
        model: &str,
        model_hash: &str,
        source: Source,
        request: &Request,
        frame: Frame,
        plan: &Plan,
        steps: &[Step],
    ) -> Result<Self> {
        Ok(Self {
            version: VERSION,
            model: model.into(),
            model_hash: model_hash.into(),
            source,
            mask: STANDARD.encode(request.mask.png_bytes()?),
            frame,
            order: request.order.clone(),
            order_seed: request.order_seed,
            schedule: request.schedule,
            knobs: request.knobs,
            extent: request.extent,
            lattice: plan.lattice.clone(),
            given: plan.given_tokens().collect(),
            steps: steps.to_vec(),
        })
    }

    /// As JSON.
    ///
    /// # Errors
    /// If a number cannot be written, such as NaN.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self)
            .map_err(|error| Error::control("ledger", error, "Report this: a ledger must always be writable"))
    }

    /// From JSON; `file` is named when it is not a ledger.
    ///
    /// # Errors
    /// If it is not a ledger of a known version, or does not fill its lattice.
    pub fn from_json(json: &str, file: impl AsRef<Path>) -> Result<Self> {
        let refuse = |cause: String| Error::file(&file, cause, "Use a file that `--ledger` wrote");
        let ledger: Self = serde_json::from_str(json).map_err(|error| refuse(format!("not a ledger: {error}")))?;
        if ledger.version != VERSION {
            return Err(refuse(format!("its version is {}, this program reads {VERSION}", ledger.version)));
        }
        let sites = ledger.lattice.len();
        let written = ledger.given.len() + ledger.steps.iter().map(|step| step.made.len()).sum::<usize>();
        if sites > written {
            return Err(refuse(format!("of {sites} tokens it has {written}: the run was not finished")));
        }
        let mut seen = vec![false; sites];
        let given = ledger.given.iter().map(|(site, _)| (*site, false));
        let made = ledger.steps.iter().flat_map(|step| &step.made).map(|made| (made.site, ledger.schedule.revises()));
        for (site, again) in given.chain(made) {
            match seen.get_mut(site.index()) {
                Some(seen) if !*seen || again => *seen = true,
                _ => return Err(refuse(format!("token {} is out of place", site.0))),
            }
        }
        match seen.iter().position(|seen| !seen) {
            Some(site) => Err(refuse(format!("token {site} is missing: the run was not finished"))),
            None => Ok(ledger),
        }
    }

    /// What was made at a site, see [`revisions`].
    pub fn revisions(&self, site: Site) -> Vec<(usize, Made)> {
        revisions(&self.steps, site)
    }

    /// The mask.
    ///
    /// # Errors
    /// If it is damaged.
    pub fn mask(&self) -> Result<Mask> {
        let refuse = |cause: String| Error::control("ledger", format!("its mask is damaged: {cause}"), "Make it again");
        let png = STANDARD.decode(&self.mask).map_err(|error| refuse(error.to_string()))?;
        let mask = image::load_from_memory(&png).map_err(|error| refuse(error.to_string()))?.into_luma8();
        Mask::from_bytes(mask.width(), mask.height(), mask.into_raw())
    }

    /// The request that makes the same tokens again.
    ///
    /// # Errors
    /// If the mask is damaged.
    pub fn request(&self, picture: Picture) -> Result<Request> {
        Ok(Request {
            picture,
            mask: self.mask()?,
            frame: Some(self.frame),
            extent: self.extent,
            order: self.order.clone(),
            order_seed: self.order_seed,
            schedule: self.schedule,
            knobs: self.knobs,
        })
    }

    /// The same picture again from the tokens alone, without the generator; that has to run where codes were mixed, as
    /// mixtures are not recorded. `picture` is the canvas it was made on.
    ///
    /// # Errors
    /// If the canvas has another size, or the tokens are not this model's.
    pub fn replay(&self, model: &mut Model, picture: &Picture) -> Result<Picture> {
        let request = self.request(picture.clone())?;
        if request.knobs.sampling.smooth {
            return paint(model, &request, &self.steps)?.so_far();
        }
        request.frame(&model.lattice(), model.card.stride())?;
        let mut tokens = vec![0; self.lattice.len()];
        self.given.iter().for_each(|(site, token)| tokens[site.index()] = *token);
        self.steps.iter().flat_map(|step| &step.made).for_each(|made| tokens[made.site.index()] = made.token);
        let decoded = to_picture(model.tokenizer.decode(&self.lattice, &tokens)?)?;
        Ok(composite(picture, &request.mask, &self.frame, &decoded))
    }
}

/// How the token of a site came to be: what the steps that visited it made there, with their numbers, the final token last.
/// Only sliding windows visit a site more than once.
pub fn revisions(steps: &[Step], site: Site) -> Vec<(usize, Made)> {
    let here = |step: &Step| Some((step.index, *step.made.iter().find(|made| made.site == site)?));
    steps.iter().filter_map(here).collect()
}
