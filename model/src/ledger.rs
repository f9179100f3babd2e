//! What was made: every token with its site, probability, step and origin, and all that is needed to make it again.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use crate::boldness::Boldness;
use crate::decode::{Knobs, Step};
use crate::frame::{Extent, Frame};
use crate::lattice::{Lattice, Site, Token};
use crate::library::Model;
use crate::order::OrderPath;
use crate::paint::{Outline, Painting, Request, paint};
use crate::picture::{Combine, Mask, Picture};
use crate::plan::Plan;
use crate::sample::Made;
use crate::schedule::Schedule;
use crate::seam::Seam;
use crate::tokenizer::to_picture;
use crate::turn::Turns;
use crate::{Error, OUR_MISTAKE, Result};

/// The format's version. Ledgers of version 4 have no painted boldness; those of version 3 no painted order either, and
/// nothing chosen by hand; those of version 2 have one frame as well, and plain seams.
const VERSION: u32 = 5;
const OLDEST: u32 = 2;

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

/// What was made in one frame.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Part {
    /// The part of the canvas that the model saw.
    pub frame: Frame,
    /// The lattice.
    pub lattice: Lattice,
    /// Tokens taken from the picture.
    pub given: Vec<(Site, Token)>,
    /// What was made, step by step.
    pub steps: Vec<Step>,
}

impl Part {
    /// Refuses what does not fill the lattice, each site once.
    fn check(&self, revises: bool) -> std::result::Result<(), String> {
        let sites = self.lattice.len();
        let written = self.given.len() + self.steps.iter().map(|step| step.made.len()).sum::<usize>();
        if sites > written {
            return Err(format!("of {sites} tokens it has {written}: the run was not finished"));
        }
        let mut seen = vec![false; sites];
        let given = self.given.iter().map(|(site, _)| (*site, false));
        let made = self.steps.iter().flat_map(|step| &step.made).map(|made| (made.site, revises));
        for (site, again) in given.chain(made) {
            match seen.get_mut(site.index()) {
                Some(seen) if !*seen || again => *seen = true,
                _ => return Err(format!("token {} is out of place", site.0)),
            }
        }
        match seen.iter().position(|seen| !seen) {
            Some(site) => Err(format!("token {site} is missing: the run was not finished")),
            None => Ok(()),
        }
    }

    /// The token of every site.
    fn tokens(&self) -> Vec<Token> {
        let mut tokens = vec![0; self.lattice.len()];
        self.given.iter().for_each(|(site, token)| tokens[site.index()] = *token);
        self.steps.iter().flat_map(|step| &step.made).for_each(|made| tokens[made.site.index()] = made.token);
        tokens
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
    /// The name of the order.
    pub order: String,
    /// Where a random order started.
    pub order_seed: u64,
    /// What was made before all others, as it was painted.
    #[serde(default, skip_serializing_if = "OrderPath::is_empty")]
    pub path: OrderPath,
    /// How boldly tokens were drawn where, as it was painted; what came of it for a token stands beside the token.
    #[serde(default, skip_serializing_if = "Boldness::is_neutral")]
    pub boldness: Boldness,
    /// How tokens were shared out among steps.
    pub schedule: Schedule,
    /// Class, guidance, sampling, seed.
    pub knobs: Knobs,
    /// What a person changed on the way; `knobs` are those that held in the end.
    #[serde(default, skip_serializing_if = "Turns::is_empty")]
    pub turns: Turns,
    /// On how many tokens the model worked.
    #[serde(default)]
    pub extent: Extent,
    /// How the mask's edge was treated.
    #[serde(default = "plain")]
    pub seam: Seam,
    /// How many frames there are, one after the other.
    #[serde(default = "one")]
    passes: usize,
    /// What was made in the first one,
    #[serde(flatten)]
    first: Part,
    /// and in those after it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    later: Vec<Part>,
}

fn plain() -> Seam {
    Seam::PLAIN
}

fn one() -> usize {
    1
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
        painting: &Painting<'_>,
    ) -> Result<Self> {
        let legs = painting.legs().iter().map(|leg| (leg.pass.frame, &*leg.plan));
        Self::of_passes((model, model_hash), source, request, painting.outline(), legs, painting.steps())
    }

    /// The ledger of a run by its begun passes, each the part of the canvas that the model saw and its plan, and all its
    /// steps. The model is given by its id and the hash of its weights.
    ///
    /// # Errors
    /// If no pass was begun, or the mask cannot be written down.
    pub fn of_passes<'a>(
        (model, model_hash): (&str, &str),
        source: Source,
        request: &Request,
        outline: Outline,
        passes: impl IntoIterator<Item = (Frame, &'a Plan)>,
        steps: &[Step],
    ) -> Result<Self> {
        let mut parts = passes.into_iter().map(|(frame, plan)| Part {
            frame,
            lattice: plan.lattice.clone(),
            given: plan.given_tokens().collect(),
            steps: steps.iter().skip(plan.first).take(plan.visits.len()).map(written).collect(),
        });
        let nothing = || Error::control("ledger", "no pass was begun", OUR_MISTAKE);
        Ok(Self {
            version: VERSION,
            model: model.into(),
            model_hash: model_hash.into(),
            source,
            mask: STANDARD.encode(request.mask.png_bytes()?),
            order: request.order.clone(),
            order_seed: request.order_seed,
            path: OrderPath::clone(&request.path),
            boldness: request.boldness.clone(),
            schedule: request.schedule,
            knobs: request.knobs,
            turns: Turns::default(),
            extent: request.extent,
            seam: request.seam,
            passes: outline.passes,
            first: parts.next().ok_or_else(nothing)?,
            later: parts.collect(),
        })
    }

    /// The same with what a person changed on the way.
    #[must_use]
    pub fn with_turns(self, turns: Turns) -> Self {
        Self { turns, ..self }
    }

    /// What every step makes when all of it is carried out again, changes by hand included.
    ///
    /// # Errors
    /// As [`paint`].
    pub fn retrace(&self, model: &mut Model, picture: &Picture) -> Result<Vec<Step>> {
        self.turns.retrace(model, &self.request(picture.clone())?)
    }

    /// What was made in every frame, in sequence.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        std::iter::once(&self.first).chain(&self.later)
    }

    /// What was made in all frames, step by step.
    pub fn steps(&self) -> impl Iterator<Item = &Step> {
        self.parts().flat_map(|part| &part.steps)
    }

    /// As JSON.
    ///
    /// # Errors
    /// If a number cannot be written, such as NaN.
    pub fn to_json(&self) -> Result<String> {
        serde_json::to_string_pretty(self).map_err(|error| Error::control("ledger", error, OUR_MISTAKE))
    }

    /// From JSON; `file` is named when it is not a ledger.
    ///
    /// # Errors
    /// If it is not a ledger of a known version, or does not fill its lattice.
    pub fn from_json(json: &str, file: impl AsRef<Path>) -> Result<Self> {
        let refuse = |cause: String| Error::file(&file, cause, "Use a file that `--ledger` wrote");
        let ledger: Self = serde_json::from_str(json).map_err(|error| refuse(format!("not a ledger: {error}")))?;
        if !(OLDEST..=VERSION).contains(&ledger.version) {
            return Err(refuse(format!("its version is {}, this program reads {VERSION}", ledger.version)));
        }
        ledger.turns.check().map_err(|error| refuse(error.to_string()))?;
        ledger.path.check().map_err(|error| refuse(error.to_string()))?;
        let (passes, begun) = (ledger.passes, ledger.parts().count());
        if passes != begun {
            return Err(refuse(format!("of {passes} frames it has {begun}: the run was not finished")));
        }
        for part in ledger.parts() {
            part.check(ledger.schedule.revises()).map_err(refuse)?;
        }
        Ok(ledger)
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
            frames: self.parts().map(|part| part.frame).collect(),
            extent: self.extent,
            seam: self.seam,
            order: self.order.clone(),
            order_seed: self.order_seed,
            path: Arc::new(self.path.clone()),
            boldness: self.boldness.clone(),
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
            let steps: Vec<Step> = self.steps().cloned().collect();
            return paint(model, &request, &steps)?.so_far();
        }
        let (passes, _) = request.passes(&model.lattice(), model.card.stride())?;
        if passes.len() != self.passes {
            let cause = format!("its mask is seen in {} of its {} frames", passes.len(), self.passes);
            return Err(Error::control("ledger", cause, "Make it again"));
        }
        let shares = request.seam.shares(&request.mask);
        let mut canvas = picture.clone();
        for (part, pass) in self.parts().zip(passes) {
            let decoded = to_picture(model.tokenizer.decode(&part.lattice, &part.tokens())?)?;
            let shares = shares.combined(&pass.mask, Combine::Intersect)?;
            canvas = request.seam.join(&canvas, &shares, &pass.mask, &part.frame, &decoded);
        }
        Ok(canvas)
    }
}

/// A step as it is written down: what else its tokens could have been would make a ledger more than twice as long.
fn written(step: &Step) -> Step {
    let made = step.made.iter().map(|made| Made { likeliest: None, ..*made });
    Step { index: step.index, made: made.collect() }
}

/// How the token of a site came to be: what the steps that visited it made there, with their numbers, the final token last.
/// Only sliding windows visit a site more than once.
pub fn revisions(steps: &[Step], site: Site) -> Vec<(usize, Made)> {
    let here = |step: &Step| Some((step.index, *step.made.iter().find(|made| made.site == site)?));
    steps.iter().filter_map(here).collect()
}
