//! Queries, keys and values on their way from a fused projection into the cache, in `andamento-shaders`, against plain tensor
//! operations on the CPU, on whatever adapter wgpu finds.

use andamento_shaders::{Heads, cache_heads};
use burn::prelude::*;
use burn::tensor::{DType, FloatDType, TensorData};

use crate::gpu::device;
use crate::projections::Numbers;

#[derive(Debug, Clone, Copy)]
enum How {
    /// With the same angles for the whole batch or not.
    Rotary(bool),
    LayerNorm,
    Unit,
    Scaled,
}

#[derive(Debug, Clone, Copy)]
struct Case {
    how: How,
    batch: usize,
    slots: usize,
    heads: usize,
    head_dim: usize,
    first_slot: usize,
    capacity: usize,
}

impl Case {
    /// Queries and both caches, in which numbers stand that must stay where nothing is written.
    fn run(&self, device: &Device, storage: FloatDType, shared: bool) -> [TensorData; 3] {
        let Self { how, batch, slots, heads, head_dim, first_slot, capacity } = *self;
        let mut numbers = Numbers::new((batch * slots * heads * head_dim) as u64);
        let on = (device, DType::from(storage));
        let mut vector = || Tensor::<1>::from_data(numbers.data([head_dim], 1.0), on);
        let how = match how {
            How::LayerNorm => {
                Heads::LayerNorm { query: [vector(), vector()], key: [vector(), vector()], epsilon: 1e-6 }
            }
            How::Unit => {
                let temperature = Tensor::from_data(numbers.data([1, heads, 1, 1], 3.0), on);
                Heads::Unit { temperature, epsilon: 1e-12 }
            }
            How::Scaled => Heads::Scaled { factor: 0.25 },
            How::Rotary(same) => {
                let shape = [if same { 1 } else { batch }, 1, slots, head_dim];
                let [cos, sin] = [0; 2].map(|_| Tensor::from_data(numbers.data(shape, 1.0), on));
                let turn = |at: usize| match (at / head_dim, at % head_dim) {
                    (from, to) if from == to + 1 && to % 2 == 0 => -1.0f32,
                    (from, to) if to == from + 1 && from % 2 == 0 => 1.0,
                    _ => 0.0,
                };
                let turn =
                    TensorData::new((0..head_dim * head_dim).map(turn).collect::<Vec<_>>(), [head_dim, head_dim]);
                Heads::Rotary { cos, sin, quarter_turn: Tensor::from_data(turn, (device, DType::F32)) }
            }
        };
        let qkv = Tensor::<3>::from_data(numbers.data([batch, slots, 3 * heads * head_dim], 1.0), on);
        let mut cache = || Tensor::<4>::from_data(numbers.data([batch, heads, capacity, head_dim], 1.0), on);
        let (mut keys, mut values) = (cache(), cache());
        let before = [&keys, &values].map(|cache| cache.to_data());
        let held = shared.then(|| [keys.clone(), values.clone()]);
        let queries = cache_heads(qkv, &how, first_slot, &mut keys, &mut values);
        for (held, before) in held.into_iter().flatten().zip(before) {
            held.into_data().assert_eq(&before, true);
        }
        [queries, keys, values].map(Tensor::into_data)
    }

    fn check(&self, device: &Device, storage: FloatDType, shared: bool) {
        let tolerance = if storage == FloatDType::F16 { 1e-2 } else { 1e-5 };
        let (got, want) = (self.run(device, storage, shared), self.run(&Device::flex(), FloatDType::F32, false));
        for (what, (got, want)) in ["queries", "keys", "values"].into_iter().zip(got.into_iter().zip(want)) {
            assert_eq!(got.shape(), want.shape(), "{self:?}: {what}");
            let pairs = got.convert::<f32>().iter::<f32>().zip(want.iter::<f32>()).collect::<Vec<_>>();
            for (i, (got, want)) in pairs.into_iter().enumerate() {
                let close = (got - want).abs() <= tolerance * (1.0 + want.abs());
                assert!(close, "{self:?}, {storage:?}: {what} {got} instead of {want} at {i}");
            }
        }
    }
}

fn cases() -> Vec<Case> {
    let case = |how, [batch, slots, heads, head_dim, first_slot, capacity]: [usize; 6]| Case {
        how,
        batch,
        slots,
        heads,
        head_dim,
        first_slot,
        capacity,
    };
    vec![
        case(How::Rotary(true), [2, 5, 3, 64, 7, 16]),
        case(How::Rotary(false), [2, 3, 1, 48, 0, 3]),
        case(How::Rotary(true), [1, 1, 4, 4, 5, 9]),
        case(How::LayerNorm, [2, 1, 3, 64, 4, 8]),
        case(How::LayerNorm, [1, 6, 2, 100, 1, 8]),
        case(How::Unit, [2, 9, 3, 64, 3, 40]),
        case(How::Unit, [1, 1, 5, 128, 0, 1]),
        case(How::Scaled, [2, 4, 2, 24, 2, 6]),
    ]
}

#[test]
fn heads_reach_the_cache() {
    let device = device();
    for case in cases() {
        case.check(&device, FloatDType::F32, false);
    }
}

#[test]
fn heads_reach_the_cache_in_f16() {
    let device = device();
    if device.supports_dtype(DType::F16) {
        for case in cases().into_iter().step_by(2) {
            case.check(&device, FloatDType::F16, false);
        }
    }
}

#[test]
fn a_cache_that_is_held_elsewhere_is_copied_first() {
    for case in cases().into_iter().step_by(3) {
        case.check(&device(), FloatDType::F32, true);
    }
}

#[test]
fn heads_that_no_kernel_takes() {
    for (how, head_dim) in [(How::Scaled, 6), (How::LayerNorm, 132), (How::Unit, 10)] {
        let case = Case { how, batch: 2, slots: 2, heads: 2, head_dim, first_slot: 1, capacity: 4 };
        case.check(&device(), FloatDType::F32, false);
    }
}

#[test]
fn heads_beyond_the_cache_are_refused() {
    let case = Case { how: How::Scaled, batch: 1, slots: 3, heads: 2, head_dim: 8, first_slot: 2, capacity: 4 };
    assert!(std::panic::catch_unwind(|| case.run(&Device::flex(), FloatDType::F32, false)).is_err());
}
