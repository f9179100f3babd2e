//! Convolution in two dimensions as sums of shifted planes, which need no copy per tap of the kernel.
//!
//! A picture is laid out with its padding, so that a tap of the kernel reads the same plane from another place on. Results
//! are computed for whole padded rows in one go; what falls between two rows is thrown away. With a stride of `s` a padded
//! picture is split into `s · s` planes, of every `s`-th row and column each, in which all taps have stride 1.

use andamento_shaders::train as gpu;
use burn::backend::Flex;
use burn::backend::autodiff::ops::NodeGuard;
use burn::backend::flex::FlexTensor;
use burn::module::{Module, Param};
use burn::nn::conv::Conv2dConfig;
use burn::tensor::module::conv2d as burn_conv2d;
use burn::tensor::ops::ConvOptions;
use burn::tensor::{Device, Slice, Tensor};
use pulp::{Simd, WithSimd};
use rayon::prelude::*;

use super::{differentiable, differentiable_on_gpu, dispatch, nothing, primitive, tensor};
use super::{tracked, tracked_on_gpu, untracked};

/// Output channels that are computed side by side.
const CHANNELS: usize = 8;
/// Pairs of channels in each direction whose products are summed side by side for the gradient of the weights.
const SQUARE: usize = 4;
/// Plane lengths are multiples of this: three of the widest vectors.
const TILE: usize = 48;
/// Numbers of a plane that are worked on before the next channels: a multiple of [`TILE`].
const STRIP: usize = 10 * TILE;

/// burn's convolution, without groups and dilation, computed here where it can be.
#[derive(Module, Debug)]
pub struct Conv2d {
    /// `[outputs, inputs, rows, columns]`
    pub weight: Param<Tensor<4>>,
    /// `[outputs]`
    pub bias: Option<Param<Tensor<1>>>,
    /// Pixels from one place to the next.
    pub stride: usize,
    /// Zeros at the top, left, bottom and right.
    #[module(skip)]
    padding: [usize; 4],
}

impl Conv2d {
    /// Fresh weights as burn draws them. `padding` is zeros at the top, left, bottom and right.
    pub fn new(channels: [usize; 2], side: usize, stride: usize, padding: [usize; 4], device: &Device) -> Self {
        let burn::nn::conv::Conv2d { weight, bias, .. } = Conv2dConfig::new(channels, [side; 2]).init(device);
        Self { weight, bias, stride, padding }
    }

    /// The same without a bias.
    pub fn without_bias(self) -> Self {
        Self { bias: None, ..self }
    }

    /// `[batch, inputs, height, width]` to `[batch, outputs, …]`.
    pub fn forward(&self, x: Tensor<4>) -> Tensor<4> {
        let out = conv2d(x, self.weight.val(), self.stride, self.padding);
        match &self.bias {
            Some(bias) => out + bias.val().reshape([1, -1, 1, 1]),
            None => out,
        }
    }
}

/// The convolution of `x`, `[batch, inputs, height, width]`, with `weight`, `[outputs, inputs, rows, columns]`:
/// `[batch, outputs, …]`. `padding` is zeros at the top, left, bottom and right.
pub fn conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: [usize; 4]) -> Tensor<4> {
    let sizes = || Geometry::new(x.dims(), weight.dims(), stride, padding);
    if let (Some((x, from_x)), Some((weight, from_weight))) = (tracked(&x), tracked(&weight)) {
        let (geometry, x, weight) = (sizes(), x.to_contiguous(), weight.to_contiguous());
        let out = forward(&geometry, &x, &weight);
        return differentiable([from_x, from_weight], out, move |grad, wanted| {
            let grad = geometry.out_planes(grad.storage());
            let of_x = if wanted[0] { grad_x(&geometry, &grad, &weight) } else { nothing() };
            let of_weight = if wanted[1] { grad_weight(&geometry, &grad, &x) } else { nothing() };
            [of_x, of_weight]
        });
    }
    match (untracked(&x), untracked(&weight)) {
        (Some(x), Some(weight)) => Tensor::from_primitive::<Flex>(forward(&sizes(), &x, &weight)),
        _ if x.is_autodiff() => {
            let sizes = sizes();
            match tracked_on_gpu(&x) {
                Some(x) => multiplied_conv2d(x, weight, &sizes),
                None => unfolded_conv2d(x, weight, stride, padding),
            }
        }
        _ => plain_conv2d(x, weight, stride, padding),
    }
}

/// The same as one product of matrices, what is read at each place being laid out by one kernel.
fn multiplied_conv2d((x, node): (Tensor<4>, NodeGuard), weight: Tensor<4>, sizes: &Geometry) -> Tensor<4> {
    let Geometry { batch, inputs, outputs, output: [height, width], .. } = *sizes;
    let reads = gpu::Reads {
        input: [batch, inputs, sizes.input[0], sizes.input[1]],
        kernel: sizes.kernel,
        stride: sizes.stride,
        padding: sizes.padding,
        output: sizes.output,
        strips: strips(height, width),
    };
    let matrix = gpu::unfold(x, &reads);
    let matrix = differentiable_on_gpu([node], matrix, move |grad| [primitive(gpu::fold(grad, &reads))]);
    let weight = weight.reshape([1, 1, outputs as i64, -1]);
    weight.matmul(matrix).swap_dims(1, 2).reshape([batch, outputs, height, width])
}

/// The gradient of the weights sums over all places: strips of them keep all of a GPU busy.
fn strips(height: usize, width: usize) -> usize {
    let strips = (1..=height).filter(|strips| height.is_multiple_of(*strips));
    strips.take_while(|strips| height * width / strips >= STRIP_PLACES).last().unwrap_or(1)
}

/// The same as one product of matrices, for training on a GPU: burn's gradients there are convolutions whose kernel is a whole
/// picture, unless it can use matrix units, which WGSL does not reach.
pub fn unfolded_conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: [usize; 4]) -> Tensor<4> {
    let Geometry { batch, inputs, outputs, output: [height, width], kernel: [rows, columns], .. } =
        Geometry::new(x.dims(), weight.dims(), stride, padding);
    let [top, left, bottom, right] = padding;
    let x = if padding == [0; 4] { x } else { x.pad([(top, bottom), (left, right)], 0.0) };
    // What a row, or a column, of the kernel reads of the picture, one beside the other: `[batch, rows · columns · inputs, …]`.
    let reads = |from: usize, count: usize| {
        Slice::with_step(from as isize, Some((from + (count - 1) * stride + 1) as isize), stride as isize)
    };
    let of_columns = (0..columns).map(|column| x.clone().slice_dim(3, reads(column, width))).collect();
    let x = Tensor::cat(of_columns, 1);
    let strips = strips(height, width);
    let strip = height * width / strips;
    let of_rows = (0..rows).map(|row| {
        let x = x.clone().slice_dim(2, reads(row, height));
        x.reshape([batch, columns * inputs, strips, strip]).swap_dims(1, 2)
    });
    let x = Tensor::cat(of_rows.collect(), 2);
    let weight = weight.permute([0, 2, 3, 1]).reshape([1, 1, outputs as i64, -1]);
    weight.matmul(x).swap_dims(1, 2).reshape([batch, outputs, height, width])
}

/// At least so many places are in a strip.
const STRIP_PLACES: usize = 2048;

/// The same by burn.
pub fn plain_conv2d(x: Tensor<4>, weight: Tensor<4>, stride: usize, padding: [usize; 4]) -> Tensor<4> {
    let [top, left, bottom, right] = padding;
    let padding = [(top, bottom), (left, right)];
    burn_conv2d(x, weight, None, ConvOptions::new_with_padding([stride; 2], padding, [1, 1], 1))
}

/// The sizes of a convolution, and where its planes lie.
#[derive(Debug, Clone)]
struct Geometry {
    batch: usize,
    inputs: usize,
    outputs: usize,
    /// Rows and columns of the input, the kernel and the output.
    input: [usize; 2],
    kernel: [usize; 2],
    output: [usize; 2],
    stride: usize,
    /// Zeros above and on the left.
    padding: [usize; 2],
    /// Rows and columns of a plane.
    plane: [usize; 2],
}

/// A tap of the kernel: from which plane it reads, and how far on.
#[derive(Debug, Clone, Copy)]
struct Tap {
    plane: usize,
    shift: usize,
}

impl Geometry {
    fn new(
        [batch, inputs, height, width]: [usize; 4],
        [outputs, weight_inputs, rows, columns]: [usize; 4],
        stride: usize,
        [top, left, bottom, right]: [usize; 4],
    ) -> Self {
        assert!(inputs == weight_inputs, "{inputs} channels for weights of {weight_inputs}");
        assert!(rows <= height + top + bottom && columns <= width + left + right, "the kernel exceeds the picture");
        let output = [(height + top + bottom - rows) / stride + 1, (width + left + right - columns) / stride + 1];
        let plane = [output[0] + (rows - 1) / stride, output[1] + (columns - 1) / stride];
        let (input, kernel, padding) = ([height, width], [rows, columns], [top, left]);
        Self { batch, inputs, outputs, input, kernel, output, stride, padding, plane }
    }

    /// The taps in the order of the weights.
    fn taps(&self) -> Vec<Tap> {
        let [rows, columns] = self.kernel;
        let tap = |row: usize, column: usize| Tap {
            plane: (row % self.stride) * self.stride + column % self.stride,
            shift: (row / self.stride) * self.plane[1] + column / self.stride,
        };
        (0..rows * columns).map(|at| tap(at / columns, at % columns)).collect()
    }

    /// Planes per channel of the input.
    fn planes(&self) -> usize {
        self.stride * self.stride
    }

    /// The largest shift of a tap.
    fn reach(&self) -> usize {
        ((self.kernel[0] - 1) / self.stride) * self.plane[1] + (self.kernel[1] - 1) / self.stride
    }

    /// Numbers of an output's padded rows, in whole tiles.
    fn out_length(&self) -> usize {
        (self.output[0] * self.plane[1]).next_multiple_of(TILE)
    }

    /// Numbers of a plane of the input, in whole tiles.
    fn plane_length(&self) -> usize {
        (self.plane[0] * self.plane[1]).next_multiple_of(TILE)
    }

    /// Room for a plane of the input and what taps read beyond it.
    fn in_room(&self) -> usize {
        self.out_length() + self.reach()
    }

    /// Room for the gradient of an output and the zeros that taps read before it.
    fn grad_room(&self) -> usize {
        self.reach() + self.plane_length().max(self.out_length())
    }

    /// The rows of a plane's numbers that lie in the picture: for each its first number in the plane, and its pixels.
    fn rows_of(&self, plane: usize) -> impl Iterator<Item = (usize, usize, std::iter::StepBy<std::ops::Range<usize>>)> {
        let (stride, [height, width], [top, left]) = (self.stride, self.input, self.padding);
        let (down, right) = (plane / stride, plane % stride);
        let columns = self.plane[1];
        // The first column of the plane that lies in the picture, and the pixel there.
        let skipped = left.saturating_sub(right).div_ceil(stride);
        let first = skipped * stride + right - left;
        let end = width.min(first + (columns - skipped) * stride);
        (0..self.plane[0]).filter_map(move |row| {
            let y = (row * stride + down).checked_sub(top).filter(|y| *y < height)?;
            (first < end).then(|| (row * columns + skipped, y * width, (first..end).step_by(stride)))
        })
    }

    /// The planes of one picture, `[inputs, planes, in_room]`, with as many planes of zeros more as fill a [`SQUARE`].
    fn in_planes(&self, picture: &[f32]) -> Vec<f32> {
        let room = self.in_room();
        let mut planes = vec![0.0; self.inputs.next_multiple_of(SQUARE) * self.planes() * room];
        let pixels = picture.chunks_exact(self.input[0] * self.input[1]);
        for (planes, pixels) in planes.chunks_exact_mut(self.planes() * room).zip(pixels) {
            for (index, plane) in planes.chunks_exact_mut(room).enumerate() {
                for (at, row, columns) in self.rows_of(index) {
                    if self.stride == 1 {
                        let first = columns.clone().next().unwrap_or(0);
                        let pixels = &pixels[row + first..][..columns.len()];
                        plane[at..at + pixels.len()].copy_from_slice(pixels);
                    } else {
                        let pixels = columns.map(|column| pixels[row + column]);
                        plane[at..].iter_mut().zip(pixels).for_each(|(to, pixel)| *to = pixel);
                    }
                }
            }
        }
        planes
    }

    /// The gradient of the result with its rows where those of the planes are: `[batch, outputs, grad_room]`, with as many
    /// planes of zeros more for each picture as fill a [`SQUARE`].
    fn out_planes(&self, grad: &[f32]) -> Vec<f32> {
        let ([rows, columns], room, reach) = (self.output, self.grad_room(), self.reach());
        let outputs = self.outputs.next_multiple_of(SQUARE);
        let mut planes = vec![0.0; self.batch * outputs * room];
        let pictures = planes.par_chunks_mut(outputs * room).zip(grad.par_chunks(self.outputs * rows * columns));
        pictures.for_each(|(planes, grads)| {
            for (plane, grads) in planes.chunks_exact_mut(room).zip(grads.chunks_exact(rows * columns)) {
                let rows = plane[reach..].chunks_mut(self.plane[1]).zip(grads.chunks_exact(columns));
                rows.for_each(|(row, grads)| row[..columns].copy_from_slice(grads));
            }
        });
        planes
    }
}

fn forward(geometry: &Geometry, x: &FlexTensor, weight: &FlexTensor) -> FlexTensor {
    let (x, weight) = (x.to_contiguous(), weight.to_contiguous());
    let (x, weight): (&[f32], &[f32]) = (x.storage(), weight.storage());
    let &Geometry { batch, inputs, outputs, output: [rows, columns], .. } = geometry;
    let (taps, room, length) = (geometry.taps(), geometry.in_room(), geometry.out_length());
    let shifts: Vec<usize> = taps.iter().map(|tap| tap.plane * room + tap.shift).collect();
    let count = taps.len();
    let weights =
        Weights::new(outputs, inputs, count, |output, input, tap| weight[(output * inputs + input) * count + tap]);
    let mut out = vec![0.0; batch * outputs * rows * columns];
    let pictures = out.par_chunks_mut(outputs * rows * columns).zip(x.par_chunks(x.len() / batch));
    pictures.for_each(|(out, picture)| {
        let planes = geometry.in_planes(picture);
        let block = out.par_chunks_mut(CHANNELS * rows * columns).enumerate();
        block.for_each_init(
            || vec![0.0; CHANNELS * length],
            |sums, (index, out)| {
                weights.sum(index, &planes, geometry.planes() * room, &shifts, sums);
                for (out, sums) in out.chunks_exact_mut(rows * columns).zip(sums.chunks_exact(length)) {
                    let rows = out.chunks_exact_mut(columns).zip(sums.chunks_exact(geometry.plane[1]));
                    rows.for_each(|(out, sums)| out.copy_from_slice(&sums[..columns]));
                }
            },
        );
    });
    tensor(out, [batch, outputs, rows, columns])
}

fn grad_x(geometry: &Geometry, grad: &[f32], weight: &FlexTensor) -> FlexTensor {
    let weight: &[f32] = weight.storage();
    let &Geometry { batch, inputs, outputs, input: [height, width], .. } = geometry;
    let (taps, room, length) = (geometry.taps(), geometry.grad_room(), geometry.plane_length());
    // What a tap read from further on, its gradient gives to further on: it reads from further back.
    let planes = (0..geometry.planes()).map(|plane| {
        let of_plane: Vec<usize> = (0..taps.len()).filter(|tap| taps[*tap].plane == plane).collect();
        let shifts: Vec<usize> = of_plane.iter().map(|tap| geometry.reach() - taps[*tap].shift).collect();
        let weights = Weights::new(inputs, outputs, shifts.len(), |input, output, tap| {
            weight[(output * inputs + input) * taps.len() + of_plane[tap]]
        });
        (weights, shifts)
    });
    let planes: Vec<_> = planes.collect();
    let mut grad_x = vec![0.0; batch * inputs * height * width];
    let pictures = grad_x.par_chunks_mut(inputs * height * width).zip(grad.par_chunks(grad.len() / batch));
    pictures.for_each(|(grad_x, grads)| {
        let block = grad_x.par_chunks_mut(CHANNELS * height * width).enumerate();
        block.for_each_init(
            || vec![0.0; CHANNELS * length],
            |sums, (index, grad_x)| {
                for (plane, (weights, shifts)) in planes.iter().enumerate() {
                    weights.sum(index, grads, room, shifts, sums);
                    for (grad_x, sums) in grad_x.chunks_exact_mut(height * width).zip(sums.chunks_exact(length)) {
                        for (at, row, columns) in geometry.rows_of(plane) {
                            columns.zip(&sums[at..]).for_each(|(column, sum)| grad_x[row + column] = *sum);
                        }
                    }
                }
            },
        );
    });
    tensor(grad_x, [batch, inputs, height, width])
}

fn grad_weight(geometry: &Geometry, grad: &[f32], x: &FlexTensor) -> FlexTensor {
    let x: &[f32] = x.storage();
    let &Geometry { batch, inputs, outputs, kernel: [rows, columns], .. } = geometry;
    let pictures: Vec<Vec<f32>> = x.par_chunks(x.len() / batch).map(|picture| geometry.in_planes(picture)).collect();
    let taps = geometry.taps();
    let mut out = vec![0.0; outputs * inputs * taps.len()];
    out.par_chunks_mut(SQUARE * inputs * taps.len()).enumerate().for_each(|(index, out)| {
        let sums = dispatch(Correlation { geometry, taps: &taps, grad, pictures: &pictures, block: index * SQUARE });
        // `[inputs / SQUARE, taps, SQUARE outputs, SQUARE inputs]`
        for (at, out) in out.iter_mut().enumerate() {
            let (output, input, tap) = (at / taps.len() / inputs, at / taps.len() % inputs, at % taps.len());
            *out = sums[(((input / SQUARE) * taps.len() + tap) * SQUARE + output) * SQUARE + input % SQUARE];
        }
    });
    tensor(out, [outputs, inputs, rows, columns])
}

/// Weights in the order in which they are used: `[outputs / CHANNELS, inputs, taps, CHANNELS]`.
struct Weights {
    values: Vec<f32>,
    /// Numbers per block of [`CHANNELS`].
    block: usize,
}

impl Weights {
    fn new(outputs: usize, inputs: usize, taps: usize, weight: impl Fn(usize, usize, usize) -> f32) -> Self {
        let block = inputs * taps * CHANNELS;
        let mut values = vec![0.0; outputs.div_ceil(CHANNELS) * block];
        for (index, values) in values.chunks_mut(block.max(1)).enumerate() {
            let outputs = index * CHANNELS..outputs.min((index + 1) * CHANNELS);
            for (input, values) in values.chunks_exact_mut(taps * CHANNELS).enumerate() {
                for (tap, values) in values.chunks_exact_mut(CHANNELS).enumerate() {
                    values
                        .iter_mut()
                        .zip(outputs.clone())
                        .for_each(|(value, output)| *value = weight(output, input, tap));
                }
            }
        }
        Self { values, block }
    }

    /// The sums of a block of outputs over all inputs, whose planes are `step` apart, and taps: `[CHANNELS, length]`.
    fn sum(&self, block: usize, planes: &[f32], step: usize, shifts: &[usize], out: &mut [f32]) {
        if shifts.is_empty() {
            out.fill(0.0);
        } else {
            let weights = &self.values[block * self.block..(block + 1) * self.block];
            let length = out.len() / CHANNELS;
            dispatch(ShiftedSum { weights, planes, step, shifts, out, length });
        }
    }
}

/// `out[m][p] = Σ weights[c][t][m] · planes[c · step + shifts[t] + p]` over channels `c` and taps `t`.
struct ShiftedSum<'a> {
    weights: &'a [f32],
    planes: &'a [f32],
    step: usize,
    shifts: &'a [usize],
    out: &'a mut [f32],
    length: usize,
}

impl WithSimd for ShiftedSum<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::F32_LANES >= 16 {
            self.tiles::<S, CHANNELS, 3>(simd);
        } else {
            self.tiles::<S, 4, 3>(simd);
        }
    }
}

impl ShiftedSum<'_> {
    /// Tiles of `M` outputs by `N` vectors, whose sums stay in registers.
    #[inline(always)]
    fn tiles<S: Simd, const M: usize, const N: usize>(self, simd: S) {
        let Self { weights, planes, step, shifts, out, length } = self;
        let width = N * S::F32_LANES;
        for first in (0..length).step_by(width) {
            for part in 0..CHANNELS / M {
                let mut sums = [[simd.splat_f32s(0.0); N]; M];
                for (plane, weights) in planes.chunks(step).zip(weights.chunks_exact(shifts.len() * CHANNELS)) {
                    for (shift, weights) in shifts.iter().zip(weights.as_chunks::<CHANNELS>().0) {
                        let x = S::as_simd_f32s(&plane[shift + first..shift + first + width]).0;
                        let x: [S::f32s; N] = std::array::from_fn(|at| x[at]);
                        for (sums, weight) in sums.iter_mut().zip(&weights[part * M..]) {
                            let weight = simd.splat_f32s(*weight);
                            for (sum, x) in sums.iter_mut().zip(x) {
                                *sum = simd.mul_add_e_f32s(weight, x, *sum);
                            }
                        }
                    }
                }
                for (m, sums) in sums.iter().enumerate() {
                    let at = (part * M + m) * length + first;
                    S::as_mut_simd_f32s(&mut out[at..at + width]).0.copy_from_slice(sums);
                }
            }
        }
    }
}

/// The gradients of the weights of [`SQUARE`] outputs from `block` on: `[inputs / SQUARE, taps, SQUARE, SQUARE]`.
struct Correlation<'a> {
    geometry: &'a Geometry,
    taps: &'a [Tap],
    grad: &'a [f32],
    pictures: &'a [Vec<f32>],
    block: usize,
}

impl WithSimd for Correlation<'_> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) -> Vec<f32> {
        let Self { geometry, taps, grad, pictures, block } = self;
        let squares = geometry.inputs.div_ceil(SQUARE) * taps.len();
        let mut sums = vec![[[simd.splat_f32s(0.0); SQUARE]; SQUARE]; squares];
        let (room, length) = (geometry.in_room(), geometry.out_length());
        let grad_of_picture = grad.len() / geometry.batch;
        for (picture, grad) in pictures.iter().zip(grad.chunks_exact(grad_of_picture)) {
            let grads = grad[block * geometry.grad_room()..].chunks_exact(geometry.grad_room());
            let mut grads = grads.map(|plane| &plane[geometry.reach()..]);
            let grads: [&[f32]; SQUARE] = std::array::from_fn(|_| grads.next().unwrap_or_default());
            for first in (0..length).step_by(STRIP) {
                let strip = STRIP.min(length - first);
                let grads = grads.map(|plane| S::as_simd_f32s(&plane[first..first + strip]).0);
                for (at, sums) in sums.iter_mut().enumerate() {
                    let (input, tap) = (at / taps.len() * SQUARE, taps[at % taps.len()]);
                    let planes: [&[S::f32s]; SQUARE] = std::array::from_fn(|c| {
                        let from = ((input + c) * geometry.planes() + tap.plane) * room + tap.shift + first;
                        S::as_simd_f32s(&picture[from..from + strip]).0
                    });
                    add_products(simd, sums, grads, planes);
                }
            }
        }
        // Loops: what an iterator's closure calls would not be compiled for the vector instructions.
        let mut out = Vec::with_capacity(squares * SQUARE * SQUARE);
        for square in &sums {
            for row in square {
                for sum in row {
                    out.push(simd.reduce_sum_f32s(*sum));
                }
            }
        }
        out
    }
}

/// Adds the products of every row of one with every row of the other.
#[inline(always)]
fn add_products<S: Simd>(
    simd: S,
    sums: &mut [[S::f32s; SQUARE]; SQUARE],
    a: [&[S::f32s]; SQUARE],
    b: [&[S::f32s]; SQUARE],
) {
    let length = a[0].len();
    let (a, b) = (a.map(|row| &row[..length]), b.map(|row| &row[..length]));
    let mut local = *sums;
    for at in 0..length {
        let (x, y): ([S::f32s; SQUARE], [S::f32s; SQUARE]) = (a.map(|row| row[at]), b.map(|row| row[at]));
        for (sums, x) in local.iter_mut().zip(x) {
            for (sum, y) in sums.iter_mut().zip(y) {
                *sum = simd.mul_add_e_f32s(x, y, *sum);
            }
        }
    }
    *sums = local;
}
