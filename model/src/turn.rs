//! What a person changed in a run: tokens that were chosen by hand, and steps from which on other knobs or another layer of
//! boldness held.

use serde::{Deserialize, Serialize};

use crate::boldness::Boldness;
use crate::decode::{Knobs, Step};
use crate::lattice::{Site, Token};
use crate::library::Model;
use crate::paint::{Request, paint};
use crate::{Error, Result};

/// A token that was chosen by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// The step that had made another one, counted from 0 through all frames.
    pub step: usize,
    /// Where.
    pub site: Site,
    /// What was chosen.
    pub token: Token,
}

impl Choice {
    /// Puts the token in the place of the one that the step has made.
    ///
    /// # Errors
    /// If the step made nothing there.
    pub fn apply(&self, steps: &mut [Step]) -> Result<()> {
        let step = steps.get_mut(self.step);
        let made = step.and_then(|step| step.made.iter_mut().find(|made| made.site == self.site));
        let made = made.ok_or_else(|| {
            let cause = format!("step {} made no token {}", self.step + 1, self.site.0);
            Error::control("token picker", cause, "Choose one that was made")
        })?;
        *made = made.chosen(self.token);
        Ok(())
    }
}

/// One turn that a run took.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Turn {
    /// So many steps were kept,
    pub kept: usize,
    /// which had been made with these knobs since the turn before,
    pub knobs: Knobs,
    /// this boldness,
    #[serde(default, skip_serializing_if = "Boldness::is_neutral")]
    pub boldness: Boldness,
    /// and in which these tokens were put then. What follows was made after them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub chosen: Vec<Choice>,
}

/// The turns of a run, in their sequence: each keeps more steps than the one before.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Turns(Vec<Turn>);

impl Turns {
    /// Whether nothing was changed.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The turns.
    pub fn iter(&self) -> impl Iterator<Item = &Turn> {
        self.0.iter()
    }

    /// Writes down one more: of a run that was being made with `knobs` and `boldness`, `kept` steps stay, with these tokens in
    /// them. Turns in what is not kept are forgotten.
    pub fn take(
        &mut self,
        kept: usize,
        chosen: impl IntoIterator<Item = Choice>,
        (knobs, boldness): (Knobs, &Boldness),
    ) {
        let undone = self.0.split_off(self.0.partition_point(|turn| turn.kept < kept));
        let (knobs, boldness) = undone.first().map_or((knobs, boldness), |turn| (turn.knobs, &turn.boldness));
        let boldness = boldness.clone();
        let earlier = undone.into_iter().flat_map(|turn| turn.chosen).filter(|choice| choice.step < kept);
        let chosen = earlier.chain(chosen).collect();
        self.0.push(Turn { kept, knobs, boldness, chosen });
    }

    /// Refuses turns that do not follow each other.
    ///
    /// # Errors
    /// Says so.
    pub fn check(&self) -> Result<()> {
        let inside = |turn: &Turn| turn.chosen.iter().all(|choice| choice.step < turn.kept);
        if self.0.is_sorted_by(|a, b| a.kept < b.kept) && self.0.iter().all(inside) {
            return Ok(());
        }
        Err(Error::control("ledger", "what was changed by hand does not fit its steps", "Make it again"))
    }

    /// Carries out a request from its beginning, with all that was changed on the way; what every step made.
    ///
    /// # Errors
    /// As [`paint`], or if there are no such steps.
    pub fn retrace(&self, model: &mut Model, request: &Request) -> Result<Vec<Step>> {
        let mut steps = Vec::new();
        for turn in &self.0 {
            let before = Request { knobs: turn.knobs, boldness: turn.boldness.clone(), ..request.clone() };
            let mut painting = paint(model, &before, &steps)?;
            while painting.steps().len() < turn.kept {
                let too_few = || Error::control("ledger", "it keeps more steps than there are", "Make it again");
                painting.next().ok_or_else(too_few)??;
            }
            steps = painting.steps().to_vec();
            turn.chosen.iter().try_for_each(|choice| choice.apply(&mut steps))?;
        }
        let mut painting = paint(model, request, &steps)?;
        painting.by_ref().try_for_each(|event| event.map(|_| ()))?;
        Ok(painting.steps().to_vec())
    }
}
