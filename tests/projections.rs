//! The projection of few rows in `andamento-shaders` against plain tensor operations on the CPU, on whatever adapter wgpu
//! finds.

use std::ops::Range;

use andamento_shaders::{Activation, Projection, product, reference};
use burn::prelude::*;
use burn::tensor::{DType, FloatDType, TensorData};

use crate::gpu::device;

/// Numbers from a fixed sequence, uniform with variance 1.
pub(crate) struct Numbers(u64);

impl Numbers {
    pub(crate) fn new(seed: u64) -> Self {
        Self(0x9e37_79b9_7f4a_7c15 ^ seed.wrapping_mul(0x2545_f491_4f6c_dd1d))
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 >> 20
    }

    pub(crate) fn below(&mut self, end: usize) -> usize {
        (self.next() % end as u64) as usize
    }

    /// Of a standard deviation; their mean is a quarter of it.
    pub(crate) fn data<const D: usize>(&mut self, shape: [usize; D], deviation: f32) -> TensorData {
        let mut uniform = || 3.0_f32.sqrt() * ((self.next() & 0xff_ffff) as f32 / (1 << 23) as f32 - 1.0);
        let numbers = (0..shape.iter().product()).map(|_| deviation * (uniform() + 0.25));
        TensorData::new(numbers.collect::<Vec<f32>>(), shape)
    }
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Norm {
    None,
    Rms,
    /// With gains and biases or without, and whether scale and shift are the same for all slots.
    Layer(bool, bool),
}

/// One call.
#[derive(Debug, Clone, Copy)]
struct Case {
    seed: u64,
    batch: usize,
    slots: usize,
    inputs: usize,
    outputs: usize,
    norm: Norm,
    bias: bool,
    swiglu: bool,
    activation: Option<Activation>,
    /// A gate, and whether it is the same for all slots.
    gate: Option<bool>,
    residual: bool,
    /// The storage of weights and of everything else.
    storage: [FloatDType; 2],
}

impl Case {
    fn new(batch: usize, slots: usize, inputs: usize, outputs: usize) -> Self {
        let seed = (batch * 1_000_003 + slots * 10_007 + inputs * 101 + outputs) as u64;
        let norm = Norm::None;
        let storage = [FloatDType::F32; 2];
        let (bias, swiglu, activation, gate, residual) = (false, false, None, None, false);
        Self { seed, batch, slots, inputs, outputs, norm, bias, swiglu, activation, gate, residual, storage }
    }

    /// Any sizes that the kernel takes, and any of what can go along.
    fn any(seed: u64) -> Self {
        let mut numbers = Numbers::new(seed);
        let mut of = |choices: usize| numbers.below(choices);
        let batch = 1 + of(3);
        let slots = 1 + of(product::MAX_ROWS / batch);
        let swiglu = of(4) == 0;
        Self {
            seed,
            norm: [Norm::None, Norm::Rms, Norm::Layer(of(2) == 0, of(2) == 0)][of(3)],
            bias: !swiglu && of(2) == 0,
            swiglu,
            activation: [None, Some(Activation::Gelu), Some(Activation::GeluTanh)][of(3)].filter(|_| !swiglu),
            gate: [None, Some(true), Some(false)][of(3)],
            residual: of(2) == 0,
            ..Self::new(batch, slots, 4 * (1 + of(70)), 4 * (1 + of(70)))
        }
    }

    /// The projection and what it is applied to. On a GPU as much of it as possible is cut out of larger tensors full of NaN.
    fn make(&self, place: &Place) -> (Projection, Tensor<3>) {
        let Self { batch, slots, inputs, outputs, storage: [of_weights, kind], .. } = *self;
        let mut numbers = Numbers::new(self.seed);
        // Rows in the middle of longer ones, as a chunk of a modulation is.
        let rows = |data: TensorData| place.cut(data, kind, [(0, 1), (1, 1), (64, 64)]);
        let vector = |data: TensorData| place.cut::<1>(data, kind, [(64, 64)]);
        let matrix = |data: TensorData| place.cut::<2>(data, of_weights, [(64, 64), (0, 0)]);
        let spread = (inputs as f32).powf(-0.5);
        let x = rows(numbers.data([batch, slots, inputs], 2.0));
        let weight = matrix(numbers.data([inputs, outputs], spread));
        let of = Projection::new(weight, self.bias.then(|| vector(numbers.data([outputs], 1.0))));
        let of = match self.norm {
            Norm::None => of,
            Norm::Rms => of.rms_normed(vector(numbers.data([inputs], 1.0)), 1e-5),
            Norm::Layer(affine, same) => {
                let affine = affine.then(|| [0; 2].map(|_| vector(numbers.data([inputs], 1.0))));
                let slots = if same { 1 } else { slots };
                of.layer_normed(affine, 1e-6, [0; 2].map(|_| rows(numbers.data([batch, slots, inputs], 0.5))))
            }
        };
        let of = if self.swiglu { of.swiglu(matrix(numbers.data([inputs, outputs], spread))) } else { of };
        let of = match self.activation {
            Some(activation) => of.activated(activation),
            None => of,
        };
        let of = match self.gate {
            Some(same) => of.gated(rows(numbers.data([batch, if same { 1 } else { slots }, outputs], 1.0))),
            None => of,
        };
        let of = if self.residual { of.onto(rows(numbers.data([batch, slots, outputs], 1.0))) } else { of };
        (of, x)
    }

    /// Fails unless the kernel does on the poisoned data what plain operations on the CPU do in f32.
    fn run(&self, device: &Device) {
        let (of, x) = self.make(&Place::Among(device));
        let got = of.of(x);
        assert_eq!(got.dims(), [self.batch, self.slots, self.outputs], "{self:?}: shape");
        assert_eq!(got.dtype(), DType::from(self.storage[1]), "{self:?}: storage");
        let (of, x) = self.make(&Place::Cpu);
        let want = reference::projection(of, x).into_data();
        let (absolute, relative) = if self.storage[1] == FloatDType::F16 { (4e-3, 4e-3) } else { (2e-5, 2e-5) };
        let got = got.into_data().convert::<f32>();
        for (i, (got, want)) in got.iter::<f32>().zip(want.iter::<f32>()).enumerate() {
            let close = (got - want).abs() <= absolute + relative * want.abs();
            assert!(close, "{self:?}: {got} instead of {want} at {i}");
        }
    }
}

/// Where data goes.
enum Place<'a> {
    /// On the CPU, in f32 once rounded to its storage.
    Cpu,
    /// On a GPU, in the middle of a larger tensor full of NaN.
    Among(&'a Device),
}

impl Place<'_> {
    /// `around` is how much more there is of each axis, before and behind.
    fn cut<const D: usize>(&self, data: TensorData, kind: FloatDType, around: [(usize, usize); D]) -> Tensor<D> {
        let Self::Among(device) = self else {
            return Tensor::<D>::from_data(data, &Device::flex()).cast(kind).cast(FloatDType::F32);
        };
        let inner = Tensor::<D>::from_data(data, (*device, DType::from(kind)));
        let dims = inner.dims();
        let larger: [usize; D] = std::array::from_fn(|axis| around[axis].0 + dims[axis] + around[axis].1);
        let range: [Range<usize>; D] = std::array::from_fn(|axis| around[axis].0..around[axis].0 + dims[axis]);
        let larger = Tensor::<D>::full(larger, f32::NAN, (*device, DType::from(kind)));
        larger.slice_assign(range.clone(), inner).slice(range)
    }
}

#[test]
fn projections_alone() {
    let device = device();
    // Every tile of rows, whole and broken; tiles of columns of every width, whole and broken; inputs that fill a workgroup,
    // several times or not at all.
    for (batch, slots, inputs, outputs) in [
        (1, 1, 4, 4),
        (1, 1, 256, 768),
        (2, 1, 768, 256),
        (1, 3, 20, 36),
        (2, 2, 1280, 100),
        (5, 1, 132, 40),
        (2, 5, 100, 8),
        (1, 16, 64, 9000),
        (2, 9, 48, 132),
        (2, 13, 260, 5000),
        (2, 26, 96, 384),
        (4, 16, 128, 33000),
    ] {
        Case::new(batch, slots, inputs, outputs).run(&device);
    }
}

#[test]
fn projections_with_what_goes_along() {
    let device = device();
    for seed in 0..40 {
        Case::any(seed).run(&device);
    }
}

#[test]
fn projections_in_f16() {
    let device = device();
    if !device.supports_dtype(DType::F16) {
        return;
    }
    for seed in 100..112 {
        // Weights alone, and everything.
        let rest = if seed % 2 == 0 { FloatDType::F32 } else { FloatDType::F16 };
        Case { storage: [FloatDType::F16, rest], ..Case::any(seed) }.run(&device);
    }
}

#[test]
fn projections_that_no_kernel_takes() {
    let device = device();
    // Too many rows, and sides that are no multiples of 4.
    for (batch, slots, inputs, outputs) in [(5, 13, 16, 16), (1, 2, 6, 8), (2, 1, 8, 10), (1, 1, 3, 3)] {
        let plain = Case::new(batch, slots, inputs, outputs);
        let case = Case { norm: Norm::Rms, bias: true, residual: true, activation: Some(Activation::Gelu), ..plain };
        case.run(&device);
        case.run(&Device::flex());
    }
    // A matrix that lies in memory column by column.
    let mut numbers = Numbers::new(7);
    let [x, weight] = [numbers.data([1, 2, 8], 1.0), numbers.data([12, 8], 1.0)];
    let of = |device: &Device| {
        let weight = Tensor::<2>::from_data(weight.clone(), device).transpose();
        Projection::new(weight, None).of(Tensor::from_data(x.clone(), device)).into_data()
    };
    let (got, want) = (of(&device), of(&Device::flex()));
    assert!(got.iter::<f32>().zip(want.iter::<f32>()).all(|(got, want)| (got - want).abs() < 1e-5));
}

#[test]
fn projections_keep_rows_apart() {
    let device = device();
    // A row that is not a number spoils no other.
    let mut numbers = Numbers::new(11);
    let data = numbers.data([1, 11, 64], 1.0);
    let weight = Tensor::<2>::from_data(numbers.data([64, 72], 1.0), &device);
    let x = Tensor::<3>::from_data(data, &device);
    let spoilt = x.clone().slice_assign(s![.., 4..5, ..], Tensor::full([1, 1, 64], f32::NAN, &device));
    let gains = Tensor::<1>::ones([64], &device);
    let of = |x: Tensor<3>| {
        let of = Projection::new(weight.clone(), None).rms_normed(gains.clone(), 1e-6);
        of.of(x).into_data().iter::<f32>().collect::<Vec<_>>()
    };
    let (whole, spoilt) = (of(x), of(spoilt));
    for (i, (whole, spoilt)) in whole.into_iter().zip(spoilt).enumerate() {
        assert!(if i / 72 == 4 { spoilt.is_nan() } else { spoilt == whole }, "{spoilt} instead of {whole} at {i}");
    }
}

#[test]
fn activations_far_from_zero() {
    let device = device();
    let numbers = [-1e4, -200.0, -30.0, -6.0, -3.0, -1.0, -1e-3, 0.0, 1e-3, 1.0, 3.0, 6.0, 30.0, 200.0, 1e4, 1e18f32];
    let x = |device: &Device| Tensor::<1>::from_data(numbers, device).reshape([1, 4, 4]);
    let same = |device: &Device| Projection::new(Tensor::eye(4, device), None);
    let check = |what: &str, got: Tensor<3>, want: Tensor<3>| {
        let (got, want) = (got.into_data(), want.into_data());
        for ((x, got), want) in numbers.iter().zip(got.iter::<f32>()).zip(want.iter::<f32>()) {
            assert!((got - want).abs() <= 1e-6 * want.abs().max(1.0), "{what} of {x}: {got} instead of {want}");
        }
    };
    let cpu = Device::flex();
    for activation in [Activation::Gelu, Activation::GeluTanh] {
        let of = |device: &Device| same(device).activated(activation).of(x(device));
        check(&format!("{activation:?}"), of(&device), of(&cpu));
    }
    let of = |device: &Device| same(device).swiglu(Tensor::ones([4, 4], device) * 1e-20).of(x(device));
    check("SwiGLU", of(&device), of(&cpu));
}

#[test]
fn projections_are_differentiable_in_tensor_operations() {
    for device in [Device::flex().autodiff(), device().autodiff()] {
        let mut numbers = Numbers::new(3);
        let weight = Tensor::<2>::from_data(numbers.data([8, 8], 1.0), &device).require_grad();
        let x = Tensor::<3>::from_data(numbers.data([1, 2, 8], 1.0), &device);
        let out =
            Projection::new(weight.clone(), None).rms_normed(Tensor::ones([8], &device), 1e-5).onto(x.clone()).of(x);
        let gradients = out.sum().backward();
        assert!(weight.grad(&gradients).is_some_and(|gradient| gradient.abs().sum().into_scalar::<f32>() > 0.0));
    }
}

#[test]
fn projections_refuse_what_does_not_fit() {
    let device = Device::flex();
    let zeros = |shape: [usize; 3]| Tensor::<3>::zeros(shape, &device);
    let of = || Projection::new(Tensor::zeros([8, 12], &device), None);
    let refuses =
        |of: Projection, x: Tensor<3>| std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| of.of(x))).is_err();
    assert!(!refuses(of(), zeros([2, 3, 8])));
    assert!(refuses(of(), zeros([2, 3, 12])), "rows of another width");
    assert!(refuses(
        Projection::new(Tensor::zeros([8, 12], &device), Some(Tensor::zeros([8], &device))),
        zeros([1, 1, 8])
    ));
    assert!(refuses(of().onto(zeros([2, 3, 8])), zeros([2, 3, 8])), "a residual of another width");
    assert!(refuses(of().gated(zeros([2, 2, 12])), zeros([2, 3, 8])), "a gate of other slots");
    assert!(refuses(of().swiglu(Tensor::zeros([8, 8], &device)), zeros([2, 3, 8])), "another matrix");
}
