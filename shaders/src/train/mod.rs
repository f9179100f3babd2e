//! What training does on a GPU, in as few launches as can be: there, a small operation costs more to launch than to carry
//! out.
//!
//! Everything here takes tensors on wgpu, without autodiff ([`runs`]); the gradients that go with it are functions of their
//! own. Tensors of a call have the same storage type; an update takes f32 alone ([`updates`]). Sums are kept in f32. What runs
//! elsewhere is in plain tensor operations, beside the callers.

mod group_norm;
mod row_norm;
mod transformer;
mod unfold;
mod update;

pub use group_norm::{GroupNorm, group_norm, group_norm_gradients};
pub use row_norm::{RowNorm, row_norm, row_norm_gradients};
pub use transformer::{rotate, softmax, softmax_gradient, swiglu, swiglu_gradients};
pub use unfold::{Reads, fold, unfold};
pub use update::{AdamStep, adam, approach, square_sums, updates};

use burn::backend::Cube;
use burn::tensor::{DType, Shape, Tensor};
use burn_cubecl::cubecl::ir::settings::Dim3;
use burn_cubecl::cubecl::prelude::{CubeCount, ExecutionMode, KernelId};
use burn_cubecl::cubecl::server::{BufferBinding, KernelArguments, MetadataBindingInfo};
use burn_wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, SourceTemplate, into_contiguous};

/// Invocations per workgroup.
const THREADS: usize = 256;
/// wgpu's limit on workgroups in one dimension.
const MAX_WORKGROUPS: usize = 65_535;

/// Whether the functions here take this tensor, of f32 or f16.
pub fn runs<const D: usize>(tensor: &Tensor<D>) -> bool {
    matches!(tensor.dtype(), DType::F32 | DType::F16) && tensor.clone().try_into_primitive::<Cube>().is_ok()
}

/// A tensor as it lies in memory.
///
/// # Panics
/// If it is not [one of these](runs).
fn view<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    assert!(matches!(tensor.dtype(), DType::F32 | DType::F16), "{:?} where f32 or f16 is taken", tensor.dtype());
    match tensor.try_into_primitive::<Cube>() {
        Ok(tensor) => tensor,
        Err(error) => panic!("a tensor on wgpu, without autodiff, is taken: {error:?}"),
    }
}

/// A tensor's numbers, one behind the other.
fn numbers<const D: usize>(tensor: Tensor<D>) -> CubeTensor {
    into_contiguous(view(tensor))
}

/// Room for a result, beside `like` and of its storage type.
fn room<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    room_for(like, shape, like.dtype)
}

/// Room for sums in f32, beside `like`.
fn room_for_sums<const D: usize>(like: &CubeTensor, shape: [usize; D]) -> CubeTensor {
    room_for(like, shape, DType::F32)
}

fn room_for<const D: usize>(like: &CubeTensor, shape: [usize; D], dtype: DType) -> CubeTensor {
    let handle = like.client.empty(shape.iter().product::<usize>() * dtype.size());
    CubeTensor::new_contiguous(like.client.clone(), like.device.clone(), Shape::new(shape), handle, dtype)
}

fn tensor<const D: usize>(numbers: CubeTensor) -> Tensor<D> {
    Tensor::from_primitive::<Cube>(numbers)
}

/// The kernels, each the text of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Kernel {
    SquareSum,
    Adam,
    Approach,
    Unfold,
    Fold,
    NormSums,
    NormApply,
    NormGradientSums,
    NormGradient,
    NormAffine,
    RowNorm,
    RowNormGradient,
    RowNormAffineParts,
    RowNormAffine,
    Softmax,
    SoftmaxGradient,
    Rotate,
    Swiglu,
    SwigluGradients,
}

impl Kernel {
    /// Its text, of several files.
    fn text(self) -> Vec<&'static str> {
        macro_rules! text {
            ($($file:literal),*) => { vec![include_str!("../../wgsl/train/common.wgsl"), $(include_str!(concat!("../../wgsl/train/", $file))),*] };
        }
        match self {
            Self::SquareSum => text!("square_sum.wgsl"),
            Self::Adam => text!("adam.wgsl"),
            Self::Approach => text!("approach.wgsl"),
            Self::Unfold => text!("reads.wgsl", "unfold.wgsl"),
            Self::Fold => text!("reads.wgsl", "fold.wgsl"),
            Self::NormSums => text!("norm.wgsl", "norm_sums.wgsl"),
            Self::NormApply => text!("norm.wgsl", "norm_statistics.wgsl", "norm_apply.wgsl"),
            Self::NormGradientSums => text!("norm.wgsl", "norm_statistics.wgsl", "norm_gradient_sums.wgsl"),
            Self::NormGradient => text!("norm.wgsl", "norm_statistics.wgsl", "norm_gradient.wgsl"),
            Self::NormAffine => text!("norm.wgsl", "norm_affine.wgsl"),
            Self::RowNorm => text!("row_norm_call.wgsl", "row_norm.wgsl"),
            Self::RowNormGradient => text!("row_norm_call.wgsl", "row_norm_gradient.wgsl"),
            Self::RowNormAffineParts => text!("row_norm_call.wgsl", "row_norm_affine_parts.wgsl"),
            Self::RowNormAffine => text!("row_norm_call.wgsl", "row_norm_affine.wgsl"),
            Self::Softmax => text!("softmax.wgsl"),
            Self::SoftmaxGradient => text!("softmax_gradient.wgsl"),
            Self::Rotate => text!("rotate.wgsl"),
            Self::Swiglu => text!("swiglu.wgsl"),
            Self::SwigluGradients => text!("swiglu_gradients.wgsl"),
        }
    }
}

/// A kernel for a storage type.
struct Source {
    kernel: Kernel,
    half: bool,
}

impl KernelSource for Source {
    fn source(&self) -> SourceTemplate {
        let text = self.kernel.text().into_iter().fold(SourceTemplate::new(""), SourceTemplate::add_template);
        let (enable, elem) = if self.half { ("enable f16;", "f16") } else { ("", "f32") };
        text.register("enable", enable).register("elem", elem)
    }

    // Every loop ends, so no bounds on them are added.
    fn id(&self) -> KernelId {
        let threads = Dim3::from(CubeDim::new_1d(THREADS as u32));
        KernelId::new::<Self>().mode(ExecutionMode::Unchecked).cube_dim(threads).info((self.kernel, self.half))
    }

    fn lang(&self) -> &'static str {
        "wgsl"
    }
}

/// Launches a kernel on so many workgroups. The first buffer tells the storage type; `call` is the structure `Call`, word by
/// word.
fn launch(kernel: Kernel, workgroups: usize, buffers: &[&CubeTensor], call: &[u32]) {
    let across = workgroups.clamp(1, MAX_WORKGROUPS);
    let bindings = buffers.iter().map(|tensor| tensor.handle.clone().binding()).collect();
    launch_on(kernel, [across, workgroups.div_ceil(across)], buffers[0], bindings, call);
}

/// The same on parts of buffers, and with workgroups across and down.
fn launch_on(kernel: Kernel, workgroups: [usize; 2], on: &CubeTensor, bindings: Vec<BufferBinding>, call: &[u32]) {
    let [across, down] = workgroups.map(|count| count as u32);
    let words = |pair: &[u32]| pair.iter().rev().fold(0, |high, low| high << 32 | u64::from(*low));
    let call = MetadataBindingInfo::custom(call.chunks(2).map(words).collect());
    let arguments = KernelArguments::new().with_buffers(bindings).with_info(call);
    let source = Source { kernel, half: on.dtype == DType::F16 };
    let kernel = SourceKernel::new(source, CubeDim::new_1d(THREADS as u32));
    on.client.launch(Box::new(kernel), CubeCount::Static(across, down, 1), arguments);
}
