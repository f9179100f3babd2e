//! The optimiser: AdamW with decay groups, and the curves of learning rate and weight decay.

use std::path::Path;
use std::str::FromStr;
use std::sync::{Arc, Mutex, PoisonError};

use andamento_shaders::train::{self as gpu, AdamStep};
use burn::module::{Module, ModuleVisitor, Param, ParamGroup, ParamId};
use burn::optim::{
    AdamW, AdamWConfig, AdamWState, AdaptiveMomentumState, GradientsParams, LearningRate, ModuleOptimizer, Optimizer,
    RecordState, StateSink, StateSource,
};
use burn::prelude::*;
use burn::store::RecordError;
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

    /// The optimiser of a module, its moments still empty; `group` says how each parameter is updated.
    pub(super) fn build<M: Module>(&self, module: &M, group: &dyn Fn(&str, usize) -> Group) -> Updater {
        let mut sorter = Sorter { groups: Vec::new(), group, path: Vec::new() };
        module.visit(&mut sorter);
        let asked = Arc::default();
        let of = |group| Adam { settings: self.clone(), group, asked: Arc::clone(&asked) };
        let mut optimiser = ModuleOptimizer::from(of(Group { decay: false, rate: 1.0 }));
        for (group, ids) in sorter.groups {
            optimiser = optimiser.with_group(ParamGroup::from_ids(ids), of(group), None);
        }
        Updater { optimiser, asked }
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

/// What a step asks of all parameters alike.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Asked {
    /// The learning rate.
    pub(super) rate: f64,
    /// The weight decay of the parameters that decay.
    pub(super) decay: f64,
    /// The factor on the gradients.
    pub(super) factor: f64,
}

/// A module's optimiser and its state.
pub(super) struct Updater {
    optimiser: ModuleOptimizer,
    /// burn hands a learning rate to the parameters and nothing else.
    asked: Arc<Mutex<Asked>>,
}

impl Updater {
    /// The module after a step along the gradients.
    pub(super) fn step<M: Module>(&mut self, asked: Asked, module: M, grads: GradientsParams) -> M {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner) = asked;
        self.optimiser.step(asked.rate, module, grads)
    }

    /// Writes the moments.
    pub(super) fn save(&self, file: &Path) -> Result<(), RecordError> {
        self.optimiser.save(file)
    }

    /// Takes over the moments that [`Updater::save`] wrote.
    pub(super) fn load(self, file: &Path) -> Result<Self, RecordError> {
        Ok(Self { optimiser: self.optimiser.load(file)?, ..self })
    }
}

/// AdamW for the parameters of a group.
#[derive(Clone)]
struct Adam {
    settings: Optimiser,
    group: Group,
    asked: Arc<Mutex<Asked>>,
}

impl Adam {
    /// The step as one launch on a GPU.
    fn on_gpu<const D: usize>(
        &self,
        weights: Tensor<D>,
        grad: Tensor<D>,
        state: Option<AdaptiveMomentumState<D>>,
        [rate, keep, factor]: [f64; 3],
    ) -> (Tensor<D>, AdaptiveMomentumState<D>) {
        let (step, moments) = match state {
            Some(state) => (state.time + 1, [state.moment_1, state.moment_2]),
            None => (1, [weights.zeros_like(), weights.zeros_like()]),
        };
        let (beta_1, beta_2) = self.settings.betas;
        let [rate, keep, factor] = [rate, keep, factor].map(|number| number as f32);
        let of_step = AdamStep { rate, keep, factor, betas: [beta_1, beta_2], epsilon: self.settings.epsilon, step };
        let (weights, [moment_1, moment_2]) = gpu::adam(weights, grad, moments, &of_step);
        (weights, AdaptiveMomentumState { time: step, moment_1, moment_2, max_moment_2: None })
    }

    /// The step by burn.
    fn plain(&self) -> AdamW {
        let (beta_1, beta_2) = self.settings.betas;
        let config = AdamWConfig::new().with_beta_1(beta_1).with_beta_2(beta_2).with_epsilon(self.settings.epsilon);
        config.with_weight_decay(0.0).build()
    }
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

impl Optimizer for Adam {
    type State<const D: usize> = Moments<D>;

    fn step<const D: usize>(
        &self,
        rate: LearningRate,
        weights: Tensor<D>,
        grad: Tensor<D>,
        state: Option<Self::State<D>>,
    ) -> (Tensor<D>, Option<Self::State<D>>) {
        let Asked { decay, factor, .. } = *self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = if self.group.decay { 1.0 - rate * decay * self.group.rate } else { 1.0 };
        let (rate, state) = (rate * self.group.rate, state.map(|moments| moments.0));
        if gpu::updates(&weights) && gpu::updates(&grad) {
            let momentum = state.map(|state| state.momentum);
            let (weights, momentum) = self.on_gpu(weights, grad, momentum, [rate, keep, factor]);
            return (weights, Some(Moments(AdamWState { momentum })));
        }
        let weights = if keep == 1.0 { weights } else { weights * keep };
        let grad = if factor == 1.0 { grad } else { grad * factor };
        let (weights, state) = self.plain().step(rate, weights, grad, state);
        (weights, state.map(Moments))
    }

    fn to_device<const D: usize>(state: Self::State<D>, device: &Device) -> Self::State<D> {
        Moments(AdamW::to_device(state.0, device))
    }
}

/// Sorts the parameters of a module into groups.
struct Sorter<'a> {
    groups: Vec<(Group, Vec<ParamId>)>,
    /// Told a parameter's path, such as `layers.0.attention.wo.weight`, and its number of dimensions.
    group: &'a dyn Fn(&str, usize) -> Group,
    path: Vec<String>,
}

impl ModuleVisitor for Sorter<'_> {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        let group = (self.group)(&self.path.join("."), D);
        match self.groups.iter_mut().find(|(of, _)| *of == group) {
            Some((_, ids)) => ids.push(param.id),
            None => self.groups.push((group, vec![param.id])),
        }
    }

    fn enter_module(&mut self, name: &str, _container: &str) {
        self.path.push(name.into());
    }

    fn exit_module(&mut self, _name: &str, _container: &str) {
        self.path.pop();
    }
}
