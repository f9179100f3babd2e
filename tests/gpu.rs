//! The kernels of `andamento-shaders` against plain tensor operations on the CPU. They run on whatever adapter wgpu finds:
//! where there is no GPU, on software Vulkan.

use andamento_shaders::{cached_attention, reference};
use burn::prelude::*;
use burn::tensor::{DType, DeviceType, FloatDType, TensorData};

/// The adapter to test on.
pub(crate) fn device() -> Device {
    assert!(
        !Device::enumerate(DeviceType::Wgpu).into_vec().is_empty(),
        "no graphics adapter; install software Vulkan with: apt-get install mesa-vulkan-drivers libvulkan1"
    );
    Device::wgpu(DeviceKind::DefaultDevice)
}

/// One call: its shapes and its data, drawn from a fixed sequence. Values are uniform with variance 1.
#[derive(Clone)]
struct Case {
    batch: usize,
    heads: usize,
    queries: usize,
    capacity: usize,
    head_dim: usize,
    visible: Vec<u32>,
    /// Factor on the queries and keys.
    amplitude: f32,
    /// From this row on, keys and values are NaN. Only queries that see none of them are compared.
    stale_from: usize,
}

impl Case {
    /// All queries see all of `keys` rows, in a cache with a few stale rows more.
    fn new(batch: usize, heads: usize, queries: usize, keys: usize, head_dim: usize) -> Self {
        let visible = vec![keys as u32; queries];
        Self { batch, heads, queries, capacity: keys + 3, head_dim, visible, amplitude: 1.0, stale_from: keys }
    }

    /// Each query sees one row more than the one before; the last sees all.
    fn increasing(self) -> Self {
        let base = self.stale_from - self.queries;
        let visible = (1..=self.queries).map(|i| (base + i) as u32).collect();
        Self { visible, ..self }
    }

    /// Queries see arbitrary lengths between one row and all.
    fn scattered(self) -> Self {
        let visible = (0..self.queries).map(|i| 1 + (i * 7919 % self.stale_from) as u32).collect();
        Self { visible, ..self }
    }

    fn data(&self) -> [TensorData; 3] {
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            3.0_f32.sqrt() * ((state >> 40) as f32 / (1 << 23) as f32 - 1.0)
        };
        let mut draw = |rows: usize, factor: f32| {
            let shape = [self.batch, self.heads, rows, self.head_dim];
            let values = (0..shape.iter().product()).map(|_| factor * next());
            TensorData::new(values.collect::<Vec<f32>>(), shape)
        };
        [draw(self.queries, self.amplitude), draw(self.capacity, self.amplitude), draw(self.capacity, 1.0)]
    }

    /// The data with NaN where it is stale.
    fn stale_data(&self) -> [TensorData; 3] {
        let [q, k, v] = self.data();
        let stale = |data: TensorData| {
            let shape = data.shape().clone();
            let fresh = |i: usize| i / self.head_dim % self.capacity < self.stale_from;
            let values = data.iter::<f32>().enumerate().map(|(i, x)| if fresh(i) { x } else { f32::NAN });
            TensorData::new(values.collect::<Vec<_>>(), shape)
        };
        [q, stale(k), stale(v)]
    }

    /// Fails unless `got` is what plain operations on the CPU make of the fresh data, in f32 from inputs rounded to
    /// `storage`, for each query that sees no stale row.
    fn check(&self, what: &str, got: Tensor<4>, storage: FloatDType, tolerance: f32) {
        let [q, k, v] =
            self.data().map(|data| Tensor::<4>::from_data(data, &Device::flex()).cast(storage).cast(FloatDType::F32));
        let want = reference::cached_attention(q, k, v, &self.visible).into_data();
        assert_eq!(got.dtype(), DType::from(storage), "{what}: storage type");
        assert_eq!(got.dims(), [self.batch, self.heads, self.queries, self.head_dim], "{what}: shape");
        let got = got.into_data().convert::<f32>();
        let rounding = if storage == FloatDType::F16 { 5e-4 } else { 1e-6 };
        for (i, (got, want)) in got.iter::<f32>().zip(want.iter::<f32>()).enumerate() {
            let query = i / self.head_dim % self.queries;
            if self.visible[query] as usize <= self.stale_from {
                let close = (got - want).abs() <= tolerance + rounding * want.abs();
                assert!(close, "{what}: {got} instead of {want} at {i} (query {query})");
            }
        }
    }

    /// Runs the kernel on the stale data and checks the result.
    fn run(&self, device: &Device, storage: FloatDType, tolerance: f32) {
        let [q, k, v] = self.stale_data().map(|data| Tensor::<4>::from_data(data, (device, DType::from(storage))));
        let Self { batch, heads, queries, stale_from: keys, head_dim, .. } = self;
        let what = format!("{batch} × {heads} heads × {queries} queries × {keys} keys × {head_dim}, {storage:?}");
        self.check(&what, cached_attention(q, k, v, &self.visible), storage, tolerance);
    }
}

/// Shapes that between them take every path: one to eight rows a tile, whole and broken tiles and blocks, one part and
/// many, and heads that divide a workgroup and that do not.
fn sweep() -> Vec<Case> {
    vec![
        Case::new(1, 1, 1, 1, 64),
        Case::new(2, 3, 1, 7, 8),
        Case::new(1, 6, 1, 333, 48),
        Case::new(2, 6, 1, 700, 64),
        Case::new(1, 2, 1, 2200, 128),
        Case::new(3, 2, 2, 64, 32),
        Case::new(2, 4, 2, 700, 64).increasing(),
        Case::new(1, 3, 2, 2200, 100).scattered(),
        Case::new(3, 1, 5, 7, 12).increasing(),
        Case::new(2, 2, 5, 333, 80).scattered(),
        Case::new(2, 16, 1, 257, 88),
        Case::new(1, 5, 3, 129, 96).increasing(),
        Case::new(1, 2, 26, 64, 16).increasing(),
        Case::new(2, 3, 26, 700, 64).increasing(),
        Case::new(1, 1, 26, 2200, 128).scattered(),
        Case::new(1, 2, 64, 64, 48).increasing(),
        Case::new(2, 2, 64, 333, 32).scattered(),
        Case::new(1, 2, 300, 300, 64).increasing(),
    ]
}

#[test]
fn attention_in_f32() {
    let device = device();
    for case in sweep() {
        case.run(&device, FloatDType::F32, 1e-5);
    }
}

#[test]
fn attention_in_f16() {
    let device = device();
    if device.supports_dtype(DType::F16) {
        for case in sweep().into_iter().step_by(2) {
            case.run(&device, FloatDType::F16, 1e-5);
        }
    }
}

#[test]
fn attention_ignores_rows_beyond_each_query() {
    let device = device();
    // The stale rows begin where the first query's sight ends, and the others see some of them.
    for (queries, keys, head_dim) in [(5, 40, 64), (8, 200, 48), (3, 700, 100)] {
        let case = Case::new(1, 2, queries, keys, head_dim).increasing();
        Case { stale_from: keys - queries + 1, ..case }.run(&device, FloatDType::F32, 1e-5);
    }
}

#[test]
fn attention_survives_large_scores() {
    let device = device();
    // Scores with a deviation of 400: nearly all weight on one key, and maxima that grow from block to block.
    let cases = [
        Case::new(1, 2, 3, 700, 64),
        Case::new(1, 2, 26, 300, 64).increasing(),
        Case::new(1, 2, 9, 100, 64).scattered(),
    ];
    for case in cases {
        Case { amplitude: 20.0, ..case }.run(&device, FloatDType::F32, 2e-3);
    }
}

#[test]
fn attention_reads_views() {
    let device = device();
    let case = Case::new(2, 3, 5, 150, 64).increasing();
    let [q, k, v] = case.stale_data().map(|data| Tensor::<4>::from_data(data, &Device::flex()));
    let upload = |t: Tensor<4>| Tensor::<4>::from_data(t.into_data(), &device);
    // As a projection leaves them: [batch, rows, heads, head_dim].
    let by_row = |t: &Tensor<4>| upload(t.clone().swap_dims(1, 2)).swap_dims(1, 2);
    // Elements of a row far apart, which no kernel reads directly.
    let transposed = |t: &Tensor<4>| upload(t.clone().swap_dims(2, 3)).swap_dims(2, 3);
    // A part of a larger cache.
    let part = |t: &Tensor<4>| {
        let [batch, heads, rows, head_dim] = t.dims();
        let larger = Tensor::full([batch + 1, heads + 1, rows + 8, head_dim], f32::NAN, &Device::flex());
        let larger = larger.slice_assign(s![1.., 1.., ..rows, ..], t.clone());
        upload(larger).slice(s![1.., 1.., ..rows, ..])
    };
    let run = |q, k, v| cached_attention(q, k, v, &case.visible);
    case.check("rows outside heads", run(by_row(&q), by_row(&k), by_row(&v)), FloatDType::F32, 1e-5);
    case.check("transposed", run(transposed(&q), transposed(&k), transposed(&v)), FloatDType::F32, 1e-5);
    case.check("part of a cache", run(upload(q.clone()), part(&k), part(&v)), FloatDType::F32, 1e-5);

    // Merging the heads again.
    let merge = |t: Tensor<4>| t.swap_dims(1, 2).reshape([2, 5, 3 * 64]).into_data();
    let merged = merge(run(upload(q.clone()), upload(k.clone()), upload(v.clone())));
    let want = merge(run(q, k, v));
    assert!(merged.iter::<f32>().zip(want.iter::<f32>()).all(|(got, want)| (got - want).abs() < 1e-5));
}

#[test]
fn attention_in_tensor_operations_matches_its_definition() {
    let device = Device::flex();
    for case in
        [Case::new(2, 3, 4, 21, 10), Case::new(1, 2, 5, 17, 8).increasing(), Case::new(2, 1, 9, 30, 6).scattered()]
    {
        // As on the GPU, rows that a query does not see are NaN.
        let case = Case { stale_from: case.visible.iter().copied().min().unwrap_or(0) as usize, ..case };
        let [q, k, v] = case.stale_data().map(|data| Tensor::<4>::from_data(data, &device));
        let got = cached_attention(q, k, v, &case.visible).into_data();
        let [q, k, v] = case.data().map(|data| data.iter::<f32>().map(f64::from).collect::<Vec<_>>());
        let width = case.head_dim;
        for (i, got) in got.iter::<f32>().enumerate() {
            let (column, row) = (i % width, i / width);
            let (query, sequence) = (row % case.queries, row / case.queries);
            if case.visible[query] as usize > case.stale_from {
                continue;
            }
            let cache_row = |key: usize| (sequence * case.capacity + key) * width;
            let score = |key: usize| (0..width).map(|c| q[row * width + c] * k[cache_row(key) + c]).sum::<f64>();
            let weights = (0..case.visible[query] as usize).map(|key| (score(key) / (width as f64).sqrt()).exp());
            let weights = weights.collect::<Vec<_>>();
            let sum = weights.iter().enumerate().map(|(key, weight)| weight * v[cache_row(key) + column]).sum::<f64>();
            let want = sum / weights.iter().sum::<f64>();
            assert!((f64::from(got) - want).abs() < 1e-5, "{got} instead of {want} at {i}");
        }
    }
}

#[test]
fn attention_is_differentiable_in_tensor_operations() {
    let device = Device::flex().autodiff();
    let [q, k, v] = Case::new(1, 1, 2, 5, 8).data().map(|data| Tensor::<4>::from_data(data, &device));
    let q = q.require_grad();
    let gradients = cached_attention(q.clone(), k, v, &[4, 5]).sum().backward();
    assert!(q.grad(&gradients).is_some_and(|gradient| gradient.abs().sum().into_scalar::<f32>() > 0.0));
}

#[test]
fn attention_refuses_what_does_not_fit() {
    let refuses = |capacity: usize, visible: &[u32]| {
        let [q, k] = [2, capacity].map(|rows| Tensor::<4>::zeros([1, 2, rows, 8], &Device::flex()));
        std::panic::catch_unwind(|| cached_attention(q, k.clone(), k, visible)).is_err()
    };
    assert!(refuses(4, &[1]), "fewer lengths than queries");
    assert!(refuses(4, &[0, 1]), "a query that sees nothing");
    assert!(refuses(4, &[1, 5]), "a length beyond the capacity");
    assert!(!refuses(4, &[1, 4]));
}
