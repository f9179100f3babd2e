//! What the launches share.

use burn::backend::Cube;
use burn::tensor::{DType, Tensor};
use burn_cubecl::cubecl::client::Client;
use burn_cubecl::cubecl::ir::settings::Dim3;
use burn_cubecl::cubecl::prelude::{CubeCount, ExecutionMode, KernelId};
use burn_cubecl::cubecl::server::{Handle, KernelArguments, MetadataBindingInfo};
use burn_wgpu::{CubeDim, CubeTensor, KernelSource, SourceKernel, into_contiguous};

/// wgpu's limit on workgroups in one dimension.
pub(crate) const MAX_WORKGROUPS: usize = 65_535;

/// A tensor in a buffer of wgpu's; none under autodiff or on any other device.
pub(crate) fn in_buffer<const D: usize>(tensor: &Tensor<D>) -> Option<CubeTensor> {
    tensor.clone().try_into_primitive::<Cube>().ok()
}

/// What WGSL calls the numbers of a tensor, where the kernels take them.
pub(crate) fn elem(kind: DType) -> Option<&'static str> {
    match kind {
        DType::F32 => Some("f32"),
        DType::F16 => Some("f16"),
        _ => None,
    }
}

/// The tensor itself where its rows can be read four elements at a time, a contiguous copy otherwise.
pub(crate) fn with_vector_rows(tensor: CubeTensor) -> CubeTensor {
    let axes = tensor.meta.shape().iter().zip(tensor.meta.strides().iter()).rev();
    let fits = axes.enumerate().all(|(from_last, (&length, &stride))| match from_last {
        0 => stride == 1,
        _ => length == 1 || stride.is_multiple_of(4),
    });
    if fits { tensor } else { into_contiguous(tensor) }
}

/// The stride of an axis in vectors of four; 0 where the axis has one entry, which then stands for all.
pub(crate) fn vector_stride(tensor: &CubeTensor, axis: usize) -> usize {
    if tensor.meta.shape()[axis] == 1 { 0 } else { tensor.meta.strides()[axis] / 4 }
}

/// The key of the pipeline cache for a kernel of `threads` invocations whose text depends on `text` alone. Every loop ends,
/// so no bounds on them are added.
pub(crate) fn kernel_id<K, T>(threads: usize, text: T) -> KernelId
where
    K: 'static,
    T: 'static + Eq + std::hash::Hash + std::fmt::Debug + Send + Sync,
{
    let threads = Dim3::from(CubeDim::new_1d(threads as u32));
    KernelId::new::<K>().mode(ExecutionMode::Unchecked).cube_dim(threads).info(text)
}

/// Launches a kernel on some buffers, in the order of their bindings, with the words of its `Call` behind them.
pub(crate) fn launch<K: KernelSource + 'static>(
    client: &Client,
    kernel: K,
    threads: usize,
    count: [usize; 3],
    buffers: Vec<Handle>,
    call: &[u32],
) {
    let words = call.chunks(2).map(|pair| pair.iter().rev().fold(0, |high, &low| high << 32 | u64::from(low)));
    let info = MetadataBindingInfo::custom(words.collect());
    let buffers = buffers.into_iter().map(Handle::binding).collect();
    let [x, y, z] = count.map(|count| count as u32);
    client.launch(
        Box::new(SourceKernel::new(kernel, CubeDim::new_1d(threads as u32))),
        CubeCount::Static(x, y, z),
        KernelArguments::new().with_buffers(buffers).with_info(info),
    );
}

/// A binding for each of the `tensors` and one for the `Call`, named as given, with the type of their elements.
pub(crate) fn bindings(tensors: &[Binding]) -> String {
    let declared = tensors.iter().enumerate().map(|(index, Binding { name, elem, in_fours })| {
        let numbers = if *in_fours { format!("vec4<{elem}>") } else { elem.to_string() };
        format!("@group(0) @binding({index}) var<storage, read_write> {name}: array<{numbers}>;\n")
    });
    let call = format!("@group(0) @binding({}) var<storage, read_write> call: Call;\n", tensors.len());
    declared.chain([call]).collect()
}

/// A tensor as a kernel's text knows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Binding {
    pub(crate) name: &'static str,
    pub(crate) elem: &'static str,
    /// Whether it is read four numbers at a time.
    pub(crate) in_fours: bool,
}

/// What stands in front of a text that uses such elements.
pub(crate) fn enable(tensors: &[Binding]) -> &'static str {
    if tensors.iter().any(|tensor| tensor.elem == "f16") { "enable f16;" } else { "" }
}
