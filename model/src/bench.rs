//! What `andamento bench` measures against: the bytes and operations of a step, and what the device does at its best in the
//! same run.

use std::time::Instant;

use andamento_shaders::Projection;
use burn::prelude::*;
use burn::tensor::Distribution;

use crate::device::ChosenDevice;
use crate::{Error, Result};

/// Bytes of one number.
const F32: f64 = 4.0;

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

/// What one step of a transformer does.
pub(crate) struct Work {
    /// Parameters of all blocks that are read once per step.
    pub blocks: usize,
    /// Parameters of the head.
    pub head: usize,
    /// Number of blocks.
    pub layers: usize,
    /// Width of keys and values of one slot.
    pub width: usize,
    /// Slots that are fed.
    pub fed: usize,
    /// Slots whose logits are asked for.
    pub asked: usize,
    /// Slots that can be seen.
    pub visible: usize,
    /// Sequences side by side.
    pub streams: usize,
}

impl Work {
    /// Bytes and operations: weights are read once, keys and values of every visible slot by every stream.
    pub(crate) fn cost(&self) -> Cost {
        let [blocks, head, layers, width, fed, asked, visible, streams] =
            [self.blocks, self.head, self.layers, self.width, self.fed, self.asked, self.visible, self.streams]
                .map(|count| count as f64);
        let cached = 2.0 * layers * streams * visible * width;
        let attention = 4.0 * layers * streams * fed * visible * width;
        Cost {
            bytes: F32 * (blocks + head + cached),
            operations: 2.0 * streams * (blocks * fed + head * asked) + attention,
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

/// How fast weights are read that few rows are multiplied with, in bytes per second.
#[derive(Debug, Clone, Copy)]
pub struct FewRows {
    /// Rows.
    pub rows: usize,
    /// By our own kernel.
    pub own: f64,
    /// By burn's product.
    pub burn: f64,
}

/// Products of 2 rows, as models in raster order have them under guidance, and of 32, about a step of RandAR, with the fused
/// projection of RandAR-XL.
///
/// # Errors
/// If the device fails.
pub fn few_rows(device: &Device) -> Result<Vec<FewRows>> {
    const INPUTS: usize = 1280;
    const OUTPUTS: usize = 3840;
    // 80 MB in turn: more than most caches hold.
    const MATRICES: usize = 4;
    let random = |shape: [usize; 2]| Tensor::<2>::random(shape, Distribution::Default, device);
    let weights: Vec<_> = (0..MATRICES).map(|_| random([INPUTS, OUTPUTS])).collect();
    let measured = |rows: usize, product: &dyn Fn(Tensor<2>, Tensor<2>)| {
        let x = random([rows, INPUTS]);
        let seconds = best_of(3, || {
            weights.iter().for_each(|weight| product(x.clone(), weight.clone()));
            synchronise(device)
        })?;
        Ok(F32 * (MATRICES * INPUTS * OUTPUTS) as f64 / seconds)
    };
    let both = |rows| {
        let own = measured(rows, &|x, weight| drop(Projection::new(weight, None).of(x.unsqueeze())))?;
        let burn = measured(rows, &|x, weight| drop(x.matmul(weight)))?;
        Ok(FewRows { rows, own, burn })
    };
    [2, 32].into_iter().map(both).collect()
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
