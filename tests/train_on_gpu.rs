//! What training does on a GPU in few launches, against the same on the processor. On whatever adapter wgpu finds.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::thread::{self, ThreadId};

use andamento_model::kernels;
use andamento_model::train::optimiser::{Group, Optimiser};
use andamento_model::train::run::{Settings, Trainer};
use burn::module::Param;
use burn::nn::{GroupNormConfig, Linear, RmsNormConfig};
use burn::prelude::*;
use burn::tensor::{Distribution, FloatDType, TensorData};
use burn_cubecl::cubecl::logging::{LaunchObservation, LaunchObserver};
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::folder::Folder;
use crate::gpu;

fn processor() -> Device {
    Device::flex().autodiff()
}

/// Numbers of variance 1, the same on every device and whatever else runs: burn has one generator for all threads.
fn uniform(count: usize, seed: u64) -> Tensor<1> {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    let bound = 3f32.sqrt();
    let numbers: Vec<f32> =
        (0..count).map(|_| bound * ((random.next_u32() >> 8) as f32 / (1 << 23) as f32 - 1.0)).collect();
    Tensor::from_data(numbers.as_slice(), &Device::flex())
}

fn values<const D: usize>(tensor: Tensor<D>) -> Vec<f32> {
    tensor.cast(FloatDType::F32).into_data().try_to_vec().expect("f32")
}

/// Fails unless both are the same to a share of the largest number.
fn close(what: &str, got: &[f32], want: &[f32], share: f32) {
    assert_eq!(got.len(), want.len(), "{what}: length");
    let largest = want.iter().fold(1e-3f32, |largest, x| largest.max(x.abs()));
    let error = got.iter().zip(want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
    assert!(error <= share * largest, "{what}: an error of {error} where the largest number is {largest}");
}

/// Runs the same on the adapter and on the processor: the results and the gradients of the inputs, which are of so many
/// numbers, must agree. In f16 the inputs are rounded to it first.
fn compare<const D: usize>(what: &str, sizes: &[usize], kind: FloatDType, run: &dyn Fn(&[Tensor<1>]) -> Tensor<D>) {
    let data: Vec<_> = sizes.iter().zip(1..).map(|(size, seed)| uniform(*size, seed).cast(FloatDType::F32)).collect();
    let on = |device: &Device, kind: FloatDType| {
        let place = |x: &Tensor<1>| Tensor::<1>::from_data(x.to_data(), device).require_grad();
        let inputs: Vec<_> = data.iter().map(place).collect();
        let rounded: Vec<_> = inputs.iter().map(|x| x.clone().cast(kind)).collect();
        let out = run(&rounded).cast(FloatDType::F32);
        let weights = uniform(out.shape().num_elements(), 99).reshape(out.dims());
        let weights = Tensor::<D>::from_data(weights.into_data(), device);
        let grads = (out.clone() * weights).sum().backward();
        let grads = inputs.iter().map(|input| values(input.grad(&grads).expect("a gradient")));
        [values(out.inner())].into_iter().chain(grads).collect::<Vec<_>>()
    };
    let adapter = gpu::device();
    if kind == FloatDType::F16 && !adapter.supports_dtype(FloatDType::F16) {
        return;
    }
    let (got, want) = (on(&adapter.autodiff(), kind), on(&processor(), FloatDType::F32));
    let share = if kind == FloatDType::F16 { 6e-3 } else { 2e-4 };
    for (index, (got, want)) in got.iter().zip(&want).enumerate() {
        close(&format!("{what}, {kind:?}, {index}"), got, want, share);
    }
}

const KINDS: [FloatDType; 2] = [FloatDType::F32, FloatDType::F16];

#[test]
fn convolutions() {
    for (batch, inputs, outputs, height, width, side, stride, padding) in [
        (2, 3, 5, 7, 9, 3, 1, [1; 4]),
        (2, 8, 8, 16, 12, 3, 2, [0, 0, 1, 1]),
        (1, 3, 2, 14, 14, 5, 3, [2; 4]),
        // Its places lie in several strips.
        (2, 2, 3, 72, 64, 3, 1, [1; 4]),
    ] {
        let what = format!("{batch} × {inputs} → {outputs}, {height} × {width}, {side}² / {stride}, {padding:?}");
        let sizes = [batch * inputs * height * width, outputs * inputs * side * side];
        // One of them in f16 too: the kernels compile anew for each type.
        for kind in KINDS.into_iter().take(if stride == 2 { 2 } else { 1 }) {
            compare(&what, &sizes, kind, &|given| {
                let x = given[0].clone().reshape([batch, inputs, height, width]);
                let weight = given[1].clone().reshape([outputs, inputs, side, side]);
                kernels::conv2d(x, weight, stride, padding)
            });
        }
    }
}

#[test]
fn norms() {
    // The last two are summed in several parts.
    for (batch, channels, groups, side) in [(2, 6, 3, 5), (1, 32, 32, 8), (2, 4, 2, 80), (1, 2, 1, 100)] {
        let what = format!("{channels} channels in {groups} groups of {side}²");
        for (kind, silu) in KINDS.into_iter().flat_map(|kind| [(kind, true), (kind, false)]) {
            compare(&what, &[batch * channels * side * side, channels, channels], kind, &|given| {
                let [x, gamma, beta] = [0, 1, 2].map(|index| given[index].clone());
                let mut norm = GroupNormConfig::new(groups, channels).with_epsilon(1e-6).init(&x.device());
                norm.gamma = Some(Param::from_mapped_value(norm.gamma.expect("one").id, gamma, Default::default()));
                norm.beta = Some(Param::from_mapped_value(norm.beta.expect("one").id, beta, Default::default()));
                let x = x.reshape([batch, channels, side, side]) + 0.5;
                if silu { kernels::group_norm_silu(&norm, x) } else { kernels::group_normed(&norm, x) }
            });
        }
    }
    let (rows, width) = (150, 300);
    for kind in KINDS {
        let wide = |x: &Tensor<1>| x.clone().reshape([2, rows / 2, width]) + 0.5;
        compare("layer norm", &[rows * width, width, width], kind, &|given| {
            kernels::layer_normed(wide(&given[0]), given[1].clone(), Some(given[2].clone()), 1e-6)
        });
        compare("layer norm without a shift", &[rows * width, width], kind, &|given| {
            kernels::layer_normed(wide(&given[0]), given[1].clone(), None, 1e-6)
        });
        compare("root mean square norm", &[rows * width, width], kind, &|given| {
            let mut norm = RmsNormConfig::new(width).with_epsilon(1e-5).init(&given[0].device());
            norm.gamma = Param::from_mapped_value(norm.gamma.id, given[1].clone(), Default::default());
            kernels::rms_normed(&norm, wide(&given[0]))
        });
    }
}

#[test]
fn transformers() {
    let (batch, heads, slots, head_dim) = (2, 3, 270, 8);
    let count = batch * heads * slots * head_dim;
    let angles = |of: usize, seed: u64, device: &Device| {
        let each = uniform(of * slots * head_dim / 2, seed).reshape([of, 1, slots, head_dim / 2, 1]).repeat_dim(4, 2);
        let each: Tensor<4> = each.reshape([of, 1, slots, head_dim]);
        Tensor::<4>::from_data(each.into_data(), device)
    };
    let turn = |device: &Device| {
        let turn = |at: usize| match (at / head_dim, at % head_dim) {
            (from, to) if from % 2 == 1 && to + 1 == from => -1.0f32,
            (from, to) if from % 2 == 0 && to == from + 1 => 1.0,
            _ => 0.0,
        };
        let turn = (0..head_dim * head_dim).map(turn).collect::<Vec<_>>();
        Tensor::<2>::from_data(TensorData::new(turn, [head_dim, head_dim]), device)
    };
    let mask = |device: &Device| {
        let hidden = (0..slots * slots).map(|at| if at % slots > at / slots { -1e30f32 } else { 0.0 });
        Tensor::<4>::from_data(TensorData::new(hidden.collect::<Vec<_>>(), [1, 1, slots, slots]), device)
    };
    for kind in KINDS {
        for of in [1, batch] {
            compare("rotary embeddings", &[count], kind, &|given| {
                let device = given[0].device();
                // A view, as the heads of a product are.
                let x: Tensor<4> = given[0].clone().reshape([batch, slots, heads, head_dim]).swap_dims(1, 2);
                let (cos, sin) = (angles(of, 7, &device), angles(of, 8, &device));
                kernels::rotated(x, [&cos, &sin], &turn(&device))
            });
        }
        compare("swiglu", &[count, count], kind, &|given| {
            let [gate, x] = [0, 1].map(|index| given[index].clone().reshape([batch, slots, heads * head_dim]));
            kernels::swiglu(gate, x)
        });
        let shaped =
            |given: &[Tensor<1>]| [0, 1, 2].map(|index| given[index].clone().reshape([batch, heads, slots, head_dim]));
        compare("attention", &[count; 3], kind, &|given| {
            kernels::attention(shaped(given), &mask(&given[0].device()), 0.0)
        });
        compare("softmax", &[count], kind, &|given| {
            kernels::softmax(given[0].clone().reshape([batch, heads, head_dim, slots]))
        });
    }
    // More rows than there can be workgroups in one dimension.
    let rows = 66_000;
    compare("many rows", &[3 * rows], FloatDType::F32, &|given| {
        kernels::softmax(given[0].clone().reshape([1, 1, rows, 3]))
    });
    compare("many rows", &[3 * rows, 3], FloatDType::F32, &|given| {
        kernels::layer_normed(given[0].clone().reshape([rows, 3]), given[1].clone(), None, 1e-6)
    });
}

/// More tensors than one launch sums the squares of, of several shapes.
fn layers(device: &Device) -> Vec<Linear> {
    let layer = |width: usize| {
        let numbers = (uniform((width + 1) * 40, width as u64) * 0.3).into_data();
        let numbers = Tensor::<1>::from_data(numbers, device).reshape([width + 1, 40]);
        let weight = Param::from_tensor(numbers.clone().narrow(0, 0, width));
        let bias = Param::from_tensor(numbers.narrow(0, width, 1).flatten(0, 1));
        Linear { weight, bias: Some(bias) }
    };
    (3..8).map(layer).collect()
}

/// Something to learn that all layers take part in.
fn loss(model: &[Linear], device: &Device, step: usize) -> Tensor<1> {
    let each = model.iter().zip(1..).map(|(layer, number)| {
        let width = layer.weight.dims()[0];
        let x = Tensor::<2>::from_data(
            uniform(6 * width, 10 * number + step as u64).reshape([6, width]).into_data(),
            device,
        );
        (layer.forward(x) - 0.3).square().mean() * number as f32
    });
    each.reduce(|sum, part| sum + part).expect("layers")
}

fn numbers(model: &[Linear]) -> Vec<f32> {
    let each = model.iter().flat_map(|layer| {
        let bias = layer.bias.as_ref().expect("a bias").val();
        [values(layer.weight.val()), values(bias)]
    });
    each.flatten().collect()
}

fn settings() -> Settings {
    let optimiser = Optimiser { weight_decay: 0.1, clip: Some(0.7), ..Optimiser::adam(0.01) };
    Settings { ema: Some(0.8), ..Settings::new(&optimiser, 20) }
}

fn group(path: &str, dims: usize) -> Group {
    Group { decay: dims >= 2, rate: if path.starts_with('1') { 0.5 } else { 1.0 } }
}

fn start(device: &Device) -> Trainer<Vec<Linear>> {
    Trainer::start(layers(device), settings(), &group)
}

fn steps(trainer: &mut Trainer<Vec<Linear>>, device: &Device, count: usize) {
    for _ in 0..count {
        let step = trainer.step();
        trainer.gather(loss(&trainer.working(), device, step));
        trainer.update().expect("a step");
    }
}

/// Weight decay, groups, clipping and the average, in one launch for each tensor or in burn's own operations.
#[test]
fn updates_are_the_same_as_on_the_processor() {
    let (gpu, cpu) = (gpu::device().autodiff(), processor());
    let (mut on_gpu, mut on_cpu) = (start(&gpu), start(&cpu));
    let before = numbers(&on_cpu.model);
    close("weights", &numbers(&on_gpu.model), &before, 0.0);
    for step in 0..6 {
        on_gpu.gather(loss(&on_gpu.working(), &gpu, step));
        on_cpu.gather(loss(&on_cpu.working(), &cpu, step));
        let [got, want] = [on_gpu.update(), on_cpu.update()].map(|updated| updated.expect("a step"));
        assert!(want.norm > 0.7, "a norm of {} is not clipped", want.norm);
        assert!((got.norm - want.norm).abs() < 1e-5 * want.norm, "norms of {} and {}", got.norm, want.norm);
        assert!((got.norms - want.norms).abs() < 1e-5 * want.norms, "norms of {} and {}", got.norms, want.norms);
    }
    let after = numbers(&on_cpu.model);
    close("weights", &numbers(&on_gpu.model), &after, 1e-5);
    close("averages", &numbers(&on_gpu.result()), &numbers(&on_cpu.result()), 1e-5);
    let moved = before.iter().zip(&after).filter(|(before, after)| (*before - *after).abs() > 0.01).count();
    assert!(moved > before.len() / 2, "only {moved} of {} weights moved", before.len());
}

/// An average that someone else still holds is not written over.
#[test]
fn an_average_that_was_handed_out_stays() {
    let device = gpu::device().autodiff();
    let mut trainer = start(&device);
    steps(&mut trainer, &device, 2);
    let held = trainer.result();
    let before = numbers(&held);
    steps(&mut trainer, &device, 2);
    assert_eq!(numbers(&held), before);
    assert_ne!(numbers(&trainer.result()), before);
}

#[test]
fn a_run_goes_on_where_it_was_on_any_device() {
    let place = Folder::new("on-gpu");
    let (gpu, cpu) = (gpu::device().autodiff(), processor());
    let mut first = start(&gpu);
    steps(&mut first, &gpu, 3);
    first.save(&place.0, "gpu").expect("saved");
    let mut again = start(&gpu);
    again.load(&place.0, "gpu", &group).expect("loaded");
    let mut moved = start(&cpu);
    moved.load(&place.0, "gpu", &group).expect("loaded");
    moved.save(&place.0, "cpu").expect("saved");
    let mut back = start(&gpu);
    back.load(&place.0, "cpu", &group).expect("loaded");
    steps(&mut first, &gpu, 3);
    steps(&mut again, &gpu, 3);
    steps(&mut moved, &cpu, 3);
    steps(&mut back, &gpu, 3);
    assert_eq!(numbers(&first.model), numbers(&again.model));
    assert_eq!(numbers(&first.result()), numbers(&again.result()));
    assert_eq!(numbers(&first.model), numbers(&back.model));
    close("on the processor", &numbers(&moved.model), &numbers(&first.model), 1e-5);
}

/// Counts the launches of one thread.
struct Launches {
    of: ThreadId,
    each: Mutex<BTreeMap<&'static str, usize>>,
}

impl LaunchObserver for Launches {
    fn launched(&self, kernel: &'static str) {
        if thread::current().id() == self.of {
            *self.each.lock().expect("counts").entry(kernel).or_default() += 1;
        }
    }
}

/// How many launches something takes.
fn launches(run: impl FnOnce()) -> usize {
    let counts = Arc::new(Launches { of: thread::current().id(), each: Mutex::default() });
    let watching = LaunchObservation::new(counts.clone());
    run();
    drop(watching);
    let each = counts.each.lock().expect("counts");
    each.values().sum()
}

/// A launch costs more than what it computes: see `andamento_shaders::train`.
#[test]
fn a_step_takes_few_launches() {
    let device = gpu::device().autodiff();
    let mut trainer = start(&device);
    steps(&mut trainer, &device, 1);
    trainer.gather(loss(&trainer.working(), &device, 1));
    let tensors = 10;
    let update = launches(|| {
        trainer.update().expect("a step");
    });
    // Adam and the average for each tensor, and the squares of six tensors at a time.
    assert_eq!(update, 2 * tensors + 2, "launches of an update of {tensors} tensors");

    let norm = GroupNormConfig::new(2, 8).init(&device);
    let conv = kernels::Conv2d::new([8, 8], 3, 1, [1; 4], &device);
    let x = Tensor::<4>::random([1, 8, 16, 16], Distribution::Default, &device).require_grad();
    let through = || conv.forward(kernels::group_norm_silu(&norm, x.clone()));
    // The first use draws the weights.
    drop(through());
    let mut out = None;
    let forward = launches(|| out = Some(through()));
    let loss = out.expect("a result").sum();
    let backward = launches(|| drop(loss.backward()));
    assert!(forward <= 5, "{forward} launches for a norm and a convolution");
    assert!(backward <= 14, "{backward} launches for the gradients of a norm and a convolution");
}
