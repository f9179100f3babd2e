//! The optimiser: AdamW with decay groups, and the curves of learning rate and weight decay.

use std::str::FromStr;

use burn::module::{Module, ModuleMapper, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, GradientsParams, LearningRate, ModuleOptimizer, Optimizer, RecordState, StateSink,
    StateSource,
};
use burn::prelude::*;
use serde::Deserialize;

/// AdamW (Adam where nothing decays), its learning rate over the steps, and the limits put on gradients.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimiser {
    /// Highest learning rate.
    pub learning_rate: f64,
    /// How the learning rate runs after the warm-up.
    #[serde(default)]
    pub curve: Curve,
    /// Share of the highest learning rate that is left at the end.
    #[serde(default)]
    pub final_share: f64,
    /// Share of the steps after the warm-up during which [`Curve::Linear`] holds the highest rate before it falls.
    #[serde(default)]
    pub hold: f64,
    /// Steps until the highest learning rate is reached.
    #[serde(default)]
    pub warm_up: f64,
    /// Share of the highest learning rate that the warm-up starts from.
    #[serde(default)]
    pub warm_up_from: f64,
    /// Decay rates of the two moments.
    #[serde(default = "betas")]
    pub betas: (f32, f32),
    /// Keeps the division by the second moment finite.
    #[serde(default = "epsilon")]
    pub epsilon: f32,
    /// Decoupled weight decay, on the parameters that the method decays.
    #[serde(default)]
    pub weight_decay: f64,
    /// What the weight decay becomes along half a cosine (VAR); without it, it stays.
    pub final_weight_decay: Option<f64>,
    /// Largest global norm of the gradients; without it they are not clipped.
    pub clip: Option<f64>,
    /// A step is left out when, after clipping, the norms of the parameters' gradients sum to so much (RandAR: 10).
    pub skip: Option<f64>,
    /// The steps from the start that are never left out (RandAR: 100).
    #[serde(default = "skip_from")]
    pub skip_from: usize,
}

fn betas() -> (f32, f32) {
    (0.9, 0.95)
}

fn epsilon() -> f32 {
    1e-8
}

fn skip_from() -> usize {
    100
}

/// How the learning rate runs from its highest value to its final share.
#[derive(Debug, Clone, Copy, PartialEq, Default, Deserialize)]
#[serde(try_from = "String")]
pub enum Curve {
    /// It stays (LlamaGen).
    #[default]
    Constant,
    /// Half a cosine over the steps after the warm-up (RandAR's code, RAR).
    Cosine,
    /// A straight line, after the share [`Optimiser::hold`] (RandAR's paper: held for 250 of 300 epochs; TensorAR: none).
    Linear,
    /// VAR's half cosine, which reaches its end at the last step (`lr_control.py`).
    Cos,
    /// VAR's `lin` (0.15) and `lin0` (0.05), its default: held for that share, then a straight line, which starts above 1.
    Held(f64),
    /// VAR's `lin00`: a straight line.
    Straight,
    /// VAR's `lin` with a number, such as `lin0.8`: two straight lines that meet at that share.
    Bent(f64),
    /// VAR's `exp`: held for a share of 0.15, then exponential.
    Exponential,
}

impl TryFrom<String> for Curve {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl FromStr for Curve {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let bent = || text.strip_prefix("lin")?.parse().ok().filter(|share| (0.0..1.0).contains(share) && *share > 0.0);
        match text {
            "constant" => Ok(Self::Constant),
            "cosine" => Ok(Self::Cosine),
            "linear" => Ok(Self::Linear),
            "cos" => Ok(Self::Cos),
            "lin" => Ok(Self::Held(0.15)),
            "lin0" => Ok(Self::Held(0.05)),
            "lin00" => Ok(Self::Straight),
            "exp" => Ok(Self::Exponential),
            _ => bent().map(Self::Bent).ok_or_else(|| {
                let known = "constant, cosine, linear, or of VAR cos, lin, lin0, lin00, lin0.8, exp";
                format!("there is no curve “{text}”; there are {known}")
            }),
        }
    }
}

impl Optimiser {
    /// Adam at a constant learning rate, without decay or limits.
    pub fn adam(learning_rate: f64) -> Self {
        Self {
            learning_rate,
            curve: Curve::Constant,
            final_share: 0.0,
            hold: 0.0,
            warm_up: 0.0,
            warm_up_from: 0.0,
            betas: betas(),
            epsilon: epsilon(),
            weight_decay: 0.0,
            final_weight_decay: None,
            clip: None,
            skip: None,
            skip_from: skip_from(),
        }
    }

    /// Why these settings mean nothing, if they do not.
    ///
    /// # Errors
    /// Names the setting.
    pub fn check(&self) -> Result<(), String> {
        let shares = [("final_share", self.final_share), ("hold", self.hold), ("warm_up_from", self.warm_up_from)];
        if let Some((name, value)) = shares.iter().find(|(_, share)| !(0.0..=1.0).contains(share)) {
            return Err(format!("{name} = {value} is a share, from 0 to 1"));
        }
        if !(self.learning_rate.is_finite() && self.learning_rate > 0.0) {
            return Err("learning_rate must be above 0".into());
        }
        if self.curve == Curve::Exponential && self.final_share == 0.0 {
            return Err("curve = \"exp\" needs a final_share above 0".into());
        }
        let (one, two) = self.betas;
        if ![one, two].iter().all(|beta| (0.0..1.0).contains(beta)) {
            return Err("betas are from 0 to below 1".into());
        }
        if [self.clip, self.skip].into_iter().flatten().any(|limit| limit.is_nan() || limit <= 0.0) {
            return Err("clip and skip are above 0; leave them out for none".into());
        }
        Ok(())
    }

    /// The learning rate of a step, counted from 0, of `steps`.
    pub fn rate(&self, step: usize, steps: usize) -> f64 {
        let (step, steps, warm_up, end) = (step as f64, steps as f64, self.warm_up.round(), self.final_share);
        if step < warm_up {
            return self.learning_rate * (self.warm_up_from + (1.0 - self.warm_up_from) * step / warm_up);
        }
        // VAR reaches the end at the last step, the others would one step later.
        let passed = (step - warm_up) / (steps - warm_up).max(1.0);
        let through = (step - warm_up) / (steps - 1.0 - warm_up).max(1.0);
        let rest = 1.0 - through;
        let cosine = |share: f64| 0.5 + 0.5 * (std::f64::consts::PI * share).cos();
        let fall = |share: f64| end + (1.0 - end) * share;
        let share = match self.curve {
            Curve::Constant => 1.0,
            Curve::Cosine => fall(cosine(passed)),
            Curve::Linear if passed < self.hold => 1.0,
            Curve::Linear => fall((1.0 - passed) / (1.0 - self.hold).max(1e-9)),
            Curve::Cos => fall(cosine(through)),
            Curve::Held(held) if through < held => 1.0,
            Curve::Held(held) => fall(rest / (1.0 - held)),
            Curve::Straight => fall(rest),
            Curve::Bent(bend) => {
                let middle = (1.0 + fall(1.0 - bend)) / 2.0;
                if through < bend {
                    1.0 + (middle - 1.0) * through / bend
                } else {
                    end + (middle - end) * rest / (1.0 - bend)
                }
            }
            Curve::Exponential if through < 0.15 => 1.0,
            Curve::Exponential => ((through - 0.15) / 0.85 * end.ln()).exp(),
        };
        self.learning_rate * share
    }

    /// The weight decay of a step, counted from 0, of `steps` (`lr_control.py`).
    pub fn decay(&self, step: usize, steps: usize) -> f64 {
        let Some(end) = self.final_weight_decay else { return self.weight_decay };
        let passed = step as f64 / (steps as f64 - 1.0).max(1.0);
        end + (self.weight_decay - end) * (0.5 + 0.5 * (std::f64::consts::PI * passed).cos())
    }

    /// The optimiser of a module, its moments still empty.
    pub(super) fn build(&self, groups: &Groups) -> ModuleOptimizer {
        let (beta_1, beta_2) = self.betas;
        let config = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(self.epsilon);
        // Decay runs on a curve of its own, see `Groups::decayed`.
        let adam = config.with_weight_decay(0.0).build();
        let mut optimiser = ModuleOptimizer::from(Scaled { adam: adam.clone(), rate: 1.0 });
        for (rate, ids) in &groups.rates {
            let scaled = Scaled { adam: adam.clone(), rate: *rate };
            optimiser = optimiser.with_group(ParamGroup::from_ids(ids.clone()), scaled, None);
        }
        optimiser
    }
}

/// How a parameter is updated.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Group {
    /// Whether weight decay applies.
    pub decay: bool,
    /// Its learning rate as a share of the run's.
    pub rate: f64,
}

impl Group {
    /// The usual rule: matrices and larger decay, vectors do not.
    pub fn by_dims(dims: usize) -> Self {
        Self { decay: dims >= 2, rate: 1.0 }
    }
}

/// Adam with a share of the learning rate.
#[derive(Clone)]
struct Scaled {
    adam: AdamW,
    rate: f64,
}

/// Adam's moments. burn would read them back onto its default device, which not every machine has; they move to that of
/// their parameter at the next step.
#[derive(Clone)]
struct Moments<const D: usize>(AdamWState<D>);

impl<const D: usize> RecordState for Moments<D> {
    fn state_flatten(&self, prefix: &str, out: &mut StateSink) {
        self.0.state_flatten(prefix, out);
    }

    fn state_unflatten(prefix: &str, source: &mut StateSource, _default: &Device) -> Option<Self> {
        AdamWState::state_unflatten(prefix, source, &Device::flex()).map(Self)
    }
}

impl Optimizer for Scaled {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        tensor: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let (tensor, state) = self.adam.step(rate * self.rate, tensor, grad, state.map(|moments| moments.0));
        (tensor, state.map(Moments))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        Moments(AdamW::to_device(state.0, device))
    }
}

/// The groups of a module's parameters.
#[derive(Debug, Default)]
pub(super) struct Groups {
    /// Those that decay, each with its share of the learning rate.
    decayed: Vec<(ParamId, f64)>,
    /// Those with another learning rate, by its share.
    rates: Vec<(f64, Vec<ParamId>)>,
}

impl Groups {
    /// Sorts the parameters of a module; `group` is told a parameter's path, such as `layers.0.attention.wo.weight`, and its
    /// number of dimensions.
    pub(super) fn of<M: Module>(module: &M, group: &dyn Fn(&str, usize) -> Group) -> Self {
        let mut sorter = Sorter { groups: Self::default(), group, path: Vec::new() };
        module.visit(&mut sorter);
        sorter.groups
    }

    /// The module after decay: the parameters that have gradients, times `1 - rate * decay`.
    pub(super) fn decayed<M: Module>(&self, module: M, grads: &GradientsParams, rate: f64, decay: f64) -> M {
        if decay == 0.0 { module } else { module.map(&mut Decay { groups: self, grads, by: rate * decay }) }
    }
}

struct Sorter<'a> {
    groups: Groups,
    group: &'a dyn Fn(&str, usize) -> Group,
    path: Vec<String>,
}

impl ModuleVisitor for Sorter<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let Group { decay, rate } = (self.group)(&self.path.join("."), D);
        if decay {
            self.groups.decayed.push((param.id, rate));
        }
        if rate != 1.0 {
            match self.groups.rates.iter_mut().find(|(of, _)| *of == rate) {
                Some((_, ids)) => ids.push(param.id),
                None => self.groups.rates.push((rate, vec![param.id])),
            }
        }
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}

struct Decay<'a> {
    groups: &'a Groups,
    grads: &'a GradientsParams,
    by: f64,
}

impl ModuleMapper for Decay<'_> {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<D>>) -> Param<Tensor<D>> {
        let found = self.groups.decayed.iter().find(|(id, _)| *id == param.id);
        match found {
            Some((id, rate)) if self.grads.get::<D>(*id).is_some() => {
                param.map(|tensor| Tensor::from_inner(tensor.inner() * (1.0 - self.by * rate)).require_grad())
            }
            _ => param,
        }
    }
}
