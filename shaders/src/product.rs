//! A product of few rows with a weight matrix, and what a transformer does before and behind it.
//!
//! While a picture is decoded, a few rows at a time go through large matrices: what counts is how fast weights can be read,
//! and how many launches a step needs. One launch here reads the weights once for up to 16 rows and takes the norm in front
//! and the activation, gate and residual behind along.

use burn::backend::Cube;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl::prelude::KernelId;
use burn_cubecl::cubecl::zspace::{Strides, metadata::Metadata};
use burn_wgpu::{CubeTensor, KernelSource, SourceTemplate};

use crate::launch::{self, Binding, MAX_WORKGROUPS, in_buffer, kernel_id, vector_stride, with_vector_rows};

/// Invocations per workgroup: what every adapter allows.
const THREADS: usize = 256;
/// The fewest rows that a workgroup takes: a second one costs nothing, as weights come more slowly than arithmetic goes, and
/// saves a kernel for one row alone.
const MIN_TILE: usize = 2;
/// The most rows that a workgroup takes: each needs four registers for its sums, or eight where two matrices are read.
const MAX_TILE: usize = 16;
/// The most rows that the kernel takes. Each tile reads the weights again, through the cache: with more than four of them
/// arithmetic takes longer than memory, and burn's own product, which shares out its inputs in workgroup memory, is due.
pub const MAX_ROWS: usize = 4 * MAX_TILE;
/// Workgroups that fill a large GPU. With fewer, workgroups are narrower, down to one line of the cache.
const ENOUGH_WORKGROUPS: usize = 256;
/// The columns that a workgroup can take, in vectors of four.
const LANES: [usize; 3] = [32, 16, 8];

/// What is done to a row before it is multiplied.
#[derive(Debug, Clone)]
#[expect(clippy::large_enum_variant, reason = "one at a time; a box would only add an indirection")]
pub(crate) enum Norm {
    Rms { gamma: Tensor<1>, epsilon: f64 },
    Layer { affine: Option<[Tensor<1>; 2]>, epsilon: f64, scale: Tensor<3>, shift: Tensor<3> },
}

/// What is done to each number of a product.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activation {
    /// The exact GELU, `x · Φ(x)`.
    Gelu,
    /// GELU by its approximation with tanh.
    GeluTanh,
}

/// A projection of rows by a weight matrix, with all that goes along in the same launch:
///
/// ```text
/// x ↦ residual + gate ∘ activation(norm(x) · W + bias)     or     residual + gate ∘ (silu(norm(x) · W) ∘ (norm(x) · U))
/// ```
///
/// On wgpu this is one kernel for up to [`MAX_ROWS`] rows, with sums in f32. It takes f32 and f16, the weights also as f16
/// where the rest is f32, and sides that are multiples of 4. Anything else, and any other device, is computed by
/// [`reference`](crate::reference), including tensors under autodiff.
///
/// No weight is too large to be bound: burn's tensors lie in one buffer each, of which wgpu makes none larger than a
/// binding may be.
#[derive(Debug, Clone)]
pub struct Projection {
    pub(crate) weight: Tensor<2>,
    pub(crate) bias: Option<Tensor<1>>,
    pub(crate) up: Option<Tensor<2>>,
    pub(crate) norm: Option<Norm>,
    pub(crate) activation: Option<Activation>,
    pub(crate) gate: Option<Tensor<3>>,
    pub(crate) residual: Option<Tensor<3>>,
}

impl Projection {
    /// By a matrix, `[inputs, outputs]`, and a bias, `[outputs]`.
    pub fn new(weight: Tensor<2>, bias: Option<Tensor<1>>) -> Self {
        Self { weight, bias, up: None, norm: None, activation: None, gate: None, residual: None }
    }

    /// Of rows after their root mean square norm, with gains `[inputs]`.
    #[must_use]
    pub fn rms_normed(self, gamma: Tensor<1>, epsilon: f64) -> Self {
        Self { norm: Some(Norm::Rms { gamma, epsilon }), ..self }
    }

    /// Of rows after an adaptive layer norm: one with gains and biases, `[inputs]` each, or none, then times `1 + scale`,
    /// plus `shift`, `[batch or 1, slots or 1, inputs]` each.
    #[must_use]
    pub fn layer_normed(self, affine: Option<[Tensor<1>; 2]>, epsilon: f64, [scale, shift]: [Tensor<3>; 2]) -> Self {
        Self { norm: Some(Norm::Layer { affine, epsilon, scale, shift }), ..self }
    }

    /// SwiGLU: this is the gate of another product, by `up`, `[inputs, outputs]`. Neither has a bias.
    #[must_use]
    pub fn swiglu(self, up: Tensor<2>) -> Self {
        Self { up: Some(up), ..self }
    }

    /// Then a function of each number.
    #[must_use]
    pub fn activated(self, activation: Activation) -> Self {
        Self { activation: Some(activation), ..self }
    }

    /// Then times a gate, `[batch or 1, slots or 1, outputs]`.
    #[must_use]
    pub fn gated(self, gate: Tensor<3>) -> Self {
        Self { gate: Some(gate), ..self }
    }

    /// And in the end plus `residual`, `[batch, slots, outputs]`.
    #[must_use]
    pub fn onto(self, residual: Tensor<3>) -> Self {
        Self { residual: Some(residual), ..self }
    }

    /// Of `x`, `[batch, slots, inputs]`: `[batch, slots, outputs]`.
    ///
    /// # Panics
    /// If the shapes do not agree, or SwiGLU is asked for with a bias or an activation.
    pub fn of(self, x: Tensor<3>) -> Tensor<3> {
        self.check(&x);
        match self.launch(&x) {
            Some(result) => Tensor::from_primitive::<Cube>(result),
            None => crate::reference::projection(self, x),
        }
    }

    fn check(&self, x: &Tensor<3>) {
        let ([batch, slots, width], [inputs, outputs]) = (x.dims(), self.weight.dims());
        assert!(width == inputs, "rows of {width} numbers do not fit a matrix of {inputs} inputs");
        let fits = |of: &Option<Tensor<1>>| of.as_ref().is_none_or(|of| of.dims() == [outputs]);
        assert!(fits(&self.bias), "the bias does not fit {outputs} outputs");
        let alone = self.bias.is_none() && self.activation.is_none();
        let up = self.up.as_ref().is_none_or(|up| alone && up.dims() == [inputs, outputs]);
        assert!(up, "SwiGLU takes two matrices of the same shape, and nothing else");
        let spread = |of: &Tensor<3>, last: usize| {
            let [a, b, c] = of.dims();
            (a == batch || a == 1) && (b == slots || b == 1) && c == last
        };
        match &self.norm {
            Some(Norm::Rms { gamma, .. }) => assert!(gamma.dims() == [inputs], "the gains do not fit {inputs} inputs"),
            Some(Norm::Layer { affine, scale, shift, .. }) => {
                let fits = affine.iter().flatten().all(|of| of.dims() == [inputs]);
                assert!(fits, "gains or biases of the norm do not fit {inputs} inputs");
                assert!(spread(scale, inputs) && spread(shift, inputs), "scale or shift do not fit the rows");
            }
            None => {}
        }
        assert!(self.gate.as_ref().is_none_or(|gate| spread(gate, outputs)), "the gate does not fit the rows");
        let residual = self.residual.as_ref().is_none_or(|residual| residual.dims() == [batch, slots, outputs]);
        assert!(residual, "the residual does not fit the rows");
    }

    /// Launches the kernel, unless it is not for these tensors.
    fn launch(&self, x: &Tensor<3>) -> Option<CubeTensor> {
        let ([batch, slots, inputs], [_, outputs]) = (x.dims(), self.weight.dims());
        let rows = batch * slots;
        if !(1..=MAX_ROWS).contains(&rows) || !inputs.is_multiple_of(4) || !outputs.is_multiple_of(4) {
            return None;
        }
        let mut operands = Operands { kind: x.dtype(), tensors: Vec::new() };
        operands.rows("x", x)?;
        operands.matrix("weight", &self.weight)?;
        if let Some(up) = &self.up {
            operands.matrix("up", up)?;
        }
        if let Some(bias) = &self.bias {
            operands.vector("bias", bias)?;
        }
        let epsilon = match &self.norm {
            Some(Norm::Rms { gamma, epsilon }) => {
                operands.vector("gamma", gamma)?;
                *epsilon
            }
            Some(Norm::Layer { affine, epsilon, scale, shift }) => {
                if let Some([gamma, beta]) = affine {
                    operands.vector("gamma", gamma)?;
                    operands.vector("beta", beta)?;
                }
                operands.rows("scale", scale)?;
                operands.rows("shift", shift)?;
                *epsilon
            }
            None => 0.0,
        };
        if let Some(gate) = &self.gate {
            operands.rows("gate", gate)?;
        }
        if let Some(residual) = &self.residual {
            operands.rows("residual", residual)?;
        }

        let client = operands.tensors[0].1.client.clone();
        // One more for the result; the words of the call have a binding of their own.
        if operands.tensors.len() + 2 > client.properties().hardware.max_bindings as usize {
            return None;
        }
        let mut call = vec![rows, slots, inputs / 4, outputs / 4].into_iter().map(|n| n as u32).collect::<Vec<_>>();
        call.push((epsilon as f32).to_bits());
        for name in ["x", "scale", "shift", "gate", "residual"] {
            call.extend(operands.strides(name));
        }

        let shape = Shape::new([batch, slots, outputs]);
        let layout = Metadata::new(shape.clone(), Strides::new(&[slots * outputs, outputs, 1]));
        let out = client.empty(shape.num_elements() * x.dtype().size());
        let out = CubeTensor::new(client.clone(), out, layout, operands.tensors[0].1.device.clone(), x.dtype());
        operands.tensors.push((operands.binding("result", x.dtype())?, out.clone()));

        let largest = if self.up.is_some() { MAX_TILE / 2 } else { MAX_TILE };
        let tile = rows.next_power_of_two().clamp(MIN_TILE, largest);
        let (tiles, columns) = (rows.div_ceil(tile), outputs / 4);
        let enough = |lanes: &usize| tiles * columns.div_ceil(*lanes) >= ENOUGH_WORKGROUPS;
        let lanes = LANES.into_iter().find(enough).unwrap_or(LANES[LANES.len() - 1]);
        let count = [tiles, columns.div_ceil(lanes), 1];
        if count[1] > MAX_WORKGROUPS {
            return None;
        }
        let (tensors, buffers) = operands.tensors.into_iter().map(|(name, tensor)| (name, tensor.handle)).unzip();
        let kernel = Kernel { tensors, activation: self.activation, tile, lanes };
        launch::launch(&client, kernel, THREADS, count, buffers, &call);
        Some(out)
    }
}

/// The tensors that a launch reads, in the order of their bindings.
struct Operands {
    /// The type of all numbers but those of the matrices.
    kind: DType,
    tensors: Vec<(Binding, CubeTensor)>,
}

impl Operands {
    fn binding(&self, name: &'static str, kind: DType) -> Option<Binding> {
        Some(Binding { name, elem: launch::elem(kind)?, in_fours: true })
    }

    /// A tensor whose vectors lie anywhere: `[batch or 1, slots or 1, width]`.
    fn rows(&mut self, name: &'static str, tensor: &Tensor<3>) -> Option<()> {
        let binding = self.binding(name, tensor.dtype()).filter(|_| tensor.dtype() == self.kind)?;
        self.tensors.push((binding, with_vector_rows(in_buffer(tensor)?)));
        Some(())
    }

    /// One vector.
    fn vector(&mut self, name: &'static str, tensor: &Tensor<1>) -> Option<()> {
        let binding = self.binding(name, tensor.dtype()).filter(|_| tensor.dtype() == self.kind)?;
        self.tensors.push((binding, with_vector_rows(in_buffer(tensor)?)));
        Some(())
    }

    /// A matrix row by row; one that lies in memory otherwise is not for the kernel, as a copy would cost more than it saves.
    fn matrix(&mut self, name: &'static str, tensor: &Tensor<2>) -> Option<()> {
        let binding = self.binding(name, tensor.dtype());
        let binding = binding.filter(|_| tensor.dtype() == self.kind || tensor.dtype() == DType::F16)?;
        let matrix = in_buffer(tensor).filter(CubeTensor::is_contiguous)?;
        self.tensors.push((binding, matrix));
        Some(())
    }

    /// The strides of batch and slots of a tensor, if it is there.
    fn strides(&self, name: &str) -> [u32; 2] {
        let tensor = self.tensors.iter().find(|(binding, _)| binding.name == name);
        tensor.map_or([0; 2], |(_, tensor)| [0, 1].map(|axis| vector_stride(tensor, axis) as u32))
    }
}

/// The kernel for one choice of tensors and their types, for a tile of rows and of columns.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Kernel {
    tensors: Vec<Binding>,
    activation: Option<Activation>,
    tile: usize,
    lanes: usize,
}

impl Kernel {
    fn has(&self, name: &str) -> bool {
        self.tensors.iter().any(|tensor| tensor.name == name)
    }

    /// The names of the sums that are kept for each row: of the one matrix, or of both.
    fn sums(&self) -> &'static [[&'static str; 2]] {
        if self.has("up") { &[["sum", "w"], ["up_sum", "u"]] } else { &[["sum", "w"]] }
    }

    /// A text for each row of the tile, in which `#` stands for its number.
    fn for_rows(&self, text: &str) -> String {
        (0..self.tile).map(|row| text.replace('#', &row.to_string())).collect()
    }

    /// Where each row begins, and its sums, which start at zero.
    fn clear(&self) -> String {
        let start = "    let start_# = place(min(first + #u, last), call.x);\n";
        let sums = self.sums().iter().map(|[sum, _]| format!("    var {sum}_# = vec4<f32>(0.0);\n"));
        self.for_rows(&std::iter::once(start.to_string()).chain(sums).collect::<String>())
    }

    /// Four rows of each matrix, in one column.
    fn weights(&self) -> String {
        let matrices = self.sums().iter().zip(["weight", "up"]);
        let read = |([_, weights], matrix): (&[&str; 2], &str)| {
            let vectors = ["x", "y", "z", "w"].into_iter().enumerate().map(|(row, axis)| {
                format!(
                    "            let {weights}_{axis} = gain.{axis} * vec4<f32>({matrix}[at + {row}u * call.outputs]);\n"
                )
            });
            vectors.collect::<String>()
        };
        matrices.map(read).collect()
    }

    /// Adds what four inputs contribute to the sums of every row.
    fn accumulate(&self) -> String {
        let input = "            let x_# = taken(#u, start_#, k);\n";
        let added = |[sum, weights]: &[&str; 2]| {
            let axes = ["x", "y", "z", "w"].into_iter();
            axes.map(|axis| format!("            {sum}_# += x_#.{axis} * {weights}_{axis};\n")).collect::<String>()
        };
        self.for_rows(&std::iter::once(input.to_string()).chain(self.sums().iter().map(added)).collect::<String>())
    }

    /// Puts the sums of two rows, or both of one row, into workgroup memory: a case for each first row.
    fn cases(&self) -> String {
        let gated = self.has("up");
        let case = |row: usize| {
            let second = if gated { format!("up_sum_{row}") } else { format!("sum_{}", row + 1) };
            format!("            case {row}u: {{ sums[thread] = sum_{row}; sums[THREADS + thread] = {second}; }}\n")
        };
        (0..self.tile).step_by(if gated { 1 } else { 2 }).map(case).collect()
    }

    /// What becomes of a joined sum.
    fn finish(&self) -> String {
        let mut text = if self.has("up") {
            "    var value = activated(scaled(tile_row, total(0u, thread))) * scaled(tile_row, total(1u, thread));\n"
        } else {
            "    var value = scaled(tile_row, total(thread / LANES, thread % LANES));\n"
        }
        .to_string();
        let steps = [
            (self.has("bias"), "    value += vec4<f32>(bias[column]);\n"),
            (self.activation.is_some(), "    value = activated(value);\n"),
            (self.has("gate"), "    value *= vec4<f32>(gate[place(row, call.gate) + column]);\n"),
            (self.has("residual"), "    value += vec4<f32>(residual[place(row, call.residual) + column]);\n"),
        ];
        steps.iter().filter(|(wanted, _)| *wanted).for_each(|(_, step)| text += step);
        text
    }
}

impl KernelSource for Kernel {
    fn source(&self) -> SourceTemplate {
        let template = SourceTemplate::new(include_str!("../wgsl/product/product.wgsl"));
        let template = if self.has("shift") {
            template
                .add_template(include_str!("../wgsl/product/row_sums.wgsl"))
                .add_template(include_str!("../wgsl/product/layer_norm.wgsl"))
        } else if self.has("gamma") {
            template
                .add_template(include_str!("../wgsl/product/row_sums.wgsl"))
                .add_template(include_str!("../wgsl/product/rms_norm.wgsl"))
        } else {
            template.add_template(include_str!("../wgsl/product/plain.wgsl"))
        };
        let template = match self.activation {
            Some(Activation::Gelu) => template.add_template(include_str!("../wgsl/product/gelu.wgsl")),
            Some(Activation::GeluTanh) => template.add_template(include_str!("../wgsl/product/gelu_tanh.wgsl")),
            None if self.has("up") => template.add_template(include_str!("../wgsl/product/silu.wgsl")),
            None => template,
        };
        let affine = "(normal * vec4<f32>(gamma[k]) + vec4<f32>(beta[k]))";
        let of_result = self.tensors.last().map_or("f32", |result| result.elem);
        template
            .register("enable", launch::enable(&self.tensors))
            .register("bindings", launch::bindings(&self.tensors))
            .register("elem", of_result)
            .register("threads", THREADS.to_string())
            .register("rows", self.tile.to_string())
            .register("lanes", self.lanes.to_string())
            .register("joined", if self.has("up") { "1" } else { "2" })
            .register("affine", if self.has("beta") { affine } else { "normal" })
            .register("clear", self.clear())
            .register("weights", self.weights())
            .register("accumulate", self.accumulate())
            .register("cases", self.cases())
            .register("finish", self.finish())
    }

    fn id(&self) -> KernelId {
        kernel_id::<Self, _>(THREADS, self.clone())
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}
