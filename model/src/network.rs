//! The seam between decoding and the papers: every network *predicts* tokens at some sites and is *told* what was
//! chosen.

use burn::prelude::*;

use crate::lattice::{Grid, Lattice, Site, Token};
use crate::{Error, Result};

/// What a network is, for whoever drives it: the decode loop, the window, the command line.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The paper's family, as people know it.
    pub family: &'static str,
    /// Number of classes; the null class of guidance is not counted.
    pub classes: usize,
    /// Number of codes.
    pub vocab: usize,
    /// The grid it was trained on.
    pub grid: Grid,
    /// Number of parameters.
    pub parameters: usize,
    /// Whether it can make tokens in any order; otherwise the reason why not, for the greyed-out control.
    pub any_order: std::result::Result<(), &'static str>,
    /// Whether one step may make several tokens; otherwise the reason why not.
    pub parallel: std::result::Result<(), &'static str>,
}

/// What a network is asked to make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Prompt {
    /// The class: below [`Spec::classes`], or that number itself for no class, the null class of guidance.
    pub class: u32,
    /// Whether a second stream without the class is run beside the first, for classifier-free guidance.
    pub guided: bool,
}

/// A network that guesses tokens at sites and remembers what it is told.
pub trait Network: Send {
    /// What it is.
    fn spec(&self) -> &Spec;

    /// Forgets everything and starts on an empty lattice.
    ///
    /// # Errors
    /// If the class or the lattice is not one it can make.
    fn begin(&mut self, prompt: &Prompt, lattice: &Lattice) -> Result<()>;

    /// Logits for the sites of a visit, `[streams, visit, vocab]` on the device; stream 0 has the class, stream 1
    /// (when guided) has not.
    ///
    /// # Errors
    /// If [`Network::begin`] did not come first, or the sites are not on the lattice.
    fn predict(&mut self, visit: &[Site]) -> Result<Tensor<3>>;

    /// Spatial contextual guidance: one more stream, the last, in which the image tokens of these sites are hidden. Comes
    /// between [`Network::begin`] and the first [`Network::predict`].
    ///
    /// # Errors
    /// If the family has no such stream, or a site is not on the lattice.
    fn drop_context(&mut self, sites: &[Site]) -> Result<()> {
        let _ = sites;
        let cause = format!("{} has no spatial contextual guidance", self.spec().family);
        Err(Error::control("guidance", cause, "Choose RandAR, or another guidance"))
    }

    /// What was chosen. After a `predict` the visit is the same; without one this is the prefill of given tokens.
    ///
    /// # Errors
    /// If [`Network::begin`] did not come first, or the visit is not the one that was predicted.
    fn tell(&mut self, visit: &[Site], tokens: &[Token]) -> Result<()>;
}

/// Refuses a class that the network does not have.
pub(crate) fn check_class(class: u32, spec: &Spec) -> Result<()> {
    if class as usize <= spec.classes {
        return Ok(());
    }
    Err(Error::control(
        "subject",
        format!("class {class} does not exist; this model has the classes 0 to {}", spec.classes - 1),
        "Choose one of them",
    ))
}
