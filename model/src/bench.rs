//! What `andamento bench` measures against: sizes with random weights, the bytes and operations of a step, and what the
//! device does at its best in the same run.

use std::time::Instant;

use burn::prelude::*;
use burn::tensor::Distribution;

use crate::device::ChosenDevice;
use crate::lattice::Grid;
use crate::library::MODELS;
use crate::network::Network;
use crate::networks::llamagen::TransformerConfig;
use crate::networks::randar::{PRESETS, RandAr, RandArNetwork};
use crate::plan::Plan;
use crate::tokenizer::Tokenizer;
use crate::tokenizers::llamagen_vq::{LlamaGenVq, VqConfig, VqModel};
use crate::{Error, Result};

/// Bytes of one number.
const F32: f64 = 4.0;

/// A family and size to measure.
pub struct Preset {
    network: TransformerConfig,
    tokenizer: VqConfig,
    grid: Grid,
}

/// What must move and be computed.
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    /// Bytes read: weights once per step, keys and values of every visible slot.
    pub bytes: f64,
    /// Floating-point operations, a multiplication and an addition counted apart.
    pub operations: f64,
}

impl Cost {
    /// Adds another step.
    pub fn add(&mut self, other: Self) {
        self.bytes += other.bytes;
        self.operations += other.operations;
    }
}

impl Preset {
    /// Finds a size by name; `bundled` is the bundled model's.
    ///
    /// # Errors
    /// Names what there is.
    pub fn find(family: &str, size: &str) -> Result<Self> {
        if !family.eq_ignore_ascii_case("randar") {
            return Err(Error::control("--family", format!("there is no “{family}”"), "Choose randar"));
        }
        let grid = Grid::new(16, 16);
        if size.eq_ignore_ascii_case("bundled") {
            let (network, tokenizer) = MODELS[0].card()?.sizes();
            return Ok(Self { network, tokenizer, grid });
        }
        let published = PRESETS.iter().find(|(name, _)| name.eq_ignore_ascii_case(size));
        let Some((_, network)) = published else {
            let names: Vec<_> = PRESETS.iter().map(|(name, _)| *name).collect();
            let remedy = format!("Choose bundled, {}", names.join(", "));
            return Err(Error::control("--size", format!("there is no “{size}”"), remedy));
        };
        Ok(Self { network: network.clone(), tokenizer: VqConfig::vq_16(), grid })
    }

    /// The network with random weights.
    ///
    /// # Errors
    /// If the sizes are refused.
    pub fn network(&self, device: &Device) -> Result<Box<dyn Network>> {
        self.network.check()?;
        let mut weights = RandAr::new(&self.network, device);
        // The published head starts at zero, which would make every token equally likely: give it random weights too.
        let shape = [self.network.dim, self.network.vocab_size];
        let head = Tensor::random(shape, Distribution::Normal(0.0, 0.02), device);
        weights.trunk.output.weight = burn::module::Param::from_tensor(head);
        Ok(Box::new(RandArNetwork::new(weights, self.network.clone(), self.grid, device)))
    }

    /// Its tokenizer with random weights.
    ///
    /// # Errors
    /// If the sizes are refused.
    pub fn tokenizer(&self, device: &Device) -> Result<Box<dyn Tokenizer>> {
        self.tokenizer.check()?;
        Ok(Box::new(LlamaGenVq::new(VqModel::new(&self.tokenizer, device), self.tokenizer.clone(), device)))
    }

    /// The cost of a step of a plan without given tokens.
    pub fn step_cost(&self, plan: &Plan, step: usize, streams: usize) -> Cost {
        let sizes = &self.network;
        let before: usize = plan.visits[..step].iter().map(Vec::len).sum();
        let asked = plan.visits[step].len();
        // The tokens of the visit before are fed again, interleaved with all but the first of their instructions.
        let fed = match step.checked_sub(1) {
            None => 1 + asked,
            Some(last) => 2 * plan.visits[last].len() - 1 + asked,
        };
        let (dim, streams) = (sizes.dim as f64, streams as f64);
        let visible = (1 + 2 * before + asked) as f64;
        let block = 4.0 * dim * dim + 3.0 * dim * sizes.hidden_dim() as f64;
        let (blocks, head) = (sizes.n_layer as f64 * block, dim * sizes.vocab_size as f64);
        let cached = 2.0 * sizes.n_layer as f64 * streams * visible * dim;
        let attention = 4.0 * sizes.n_layer as f64 * streams * fed as f64 * visible * dim;
        Cost {
            bytes: F32 * (blocks + head + cached),
            operations: 2.0 * streams * (blocks * fed as f64 + head * asked as f64) + attention,
        }
    }
}

/// Bytes per second of a large copy on the device, read and written bytes counted together.
///
/// On the processor every thread copies its share: burn's own copy runs on one thread, which is not what memory can do.
///
/// # Errors
/// If the device fails.
pub fn copy_bytes_per_second(chosen: &ChosenDevice) -> Result<f64> {
    // 64 MiB: far beyond any cache, and within the binding size that every adapter offers.
    const NUMBERS: usize = 16 << 20;
    let seconds = if chosen.gpu {
        let source = Tensor::<1>::ones([NUMBERS], &chosen.device);
        best_of(5, || {
            let _copy = source.clone() + 1.0;
            synchronise(&chosen.device)
        })?
    } else {
        let (source, mut target) = (vec![1.0f32; NUMBERS], vec![0.0f32; NUMBERS]);
        let share = NUMBERS.div_ceil(std::thread::available_parallelism().map_or(1, usize::from));
        best_of(5, || {
            std::thread::scope(|scope| {
                for (from, to) in source.chunks(share).zip(target.chunks_mut(share)) {
                    scope.spawn(|| to.copy_from_slice(from));
                }
            });
            Ok(())
        })?
    };
    Ok(2.0 * F32 * NUMBERS as f64 / seconds)
}

/// Floating-point operations per second of a large matrix product on the device.
///
/// # Errors
/// If the device fails.
pub fn operations_per_second(device: &Device) -> Result<f64> {
    const SIDE: usize = 1024;
    let random = || Tensor::<2>::random([SIDE, SIDE], Distribution::Default, device);
    let (a, b) = (random(), random());
    let seconds = best_of(5, || {
        let _product = a.clone().matmul(b.clone());
        synchronise(device)
    })?;
    Ok(2.0 * (SIDE as f64).powi(3) / seconds)
}

fn synchronise(device: &Device) -> Result<()> {
    device.sync().map_err(|error| Error::device("benchmark", error, "Try --device cpu"))
}

/// The shortest of some runs after one that warms up, in seconds.
fn best_of(runs: usize, mut work: impl FnMut() -> Result<()>) -> Result<f64> {
    let mut best = f64::INFINITY;
    for run in 0..=runs {
        let started = Instant::now();
        work()?;
        if run > 0 {
            best = best.min(started.elapsed().as_secs_f64());
        }
    }
    Ok(best)
}
