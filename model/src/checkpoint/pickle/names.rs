//! The names that a tensor checkpoint needs. There is no list of dangerous ones: whatever is not here is code.

use burn::store::pytorch_reader::DType;

/// What a pickle may name (`GLOBAL`, `STACK_GLOBAL`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Name {
    /// The type of a storage's numbers; untyped ones hold bytes.
    Storage(Option<DType>),
    /// The type of a tensor's numbers.
    Dtype(DType),
    /// `_rebuild_tensor` and its successors: storage, offset, size, stride and more.
    Tensor,
    /// `_rebuild_parameter`: the tensor and settings of training.
    Parameter,
    /// `_rebuild_from_type_v2`: a function, a type, and the function's arguments.
    FromType,
    /// `OrderedDict`, empty or of a list of pairs.
    Dict,
    /// `set` and `frozenset`, of a list.
    Set,
    /// Settings that lie beside the weights. They stay unread: nothing is made of them, only their size is counted.
    Inert,
}

/// The whole of what a checkpoint may name. Everything else is code.
pub(super) fn name(module: &str, name: &str) -> Option<Name> {
    use Name::*;
    Some(match (module, name) {
        ("torch._utils", "_rebuild_tensor" | "_rebuild_tensor_v2" | "_rebuild_tensor_v3") => Tensor,
        ("torch._utils", "_rebuild_parameter" | "_rebuild_parameter_with_state") => Parameter,
        ("torch._tensor", "_rebuild_from_type_v2") => FromType,
        ("torch", "FloatStorage") => Storage(Some(DType::F32)),
        ("torch", "DoubleStorage") => Storage(Some(DType::F64)),
        ("torch", "HalfStorage") => Storage(Some(DType::F16)),
        ("torch", "BFloat16Storage") => Storage(Some(DType::BF16)),
        ("torch", "LongStorage") => Storage(Some(DType::I64)),
        ("torch", "IntStorage") => Storage(Some(DType::I32)),
        ("torch", "ShortStorage") => Storage(Some(DType::I16)),
        ("torch", "CharStorage") => Storage(Some(DType::I8)),
        ("torch", "ByteStorage") => Storage(Some(DType::U8)),
        ("torch", "BoolStorage") => Storage(Some(DType::Bool)),
        ("torch.storage" | "torch", "UntypedStorage") => Storage(None),
        ("torch", "float32") => Dtype(DType::F32),
        ("torch", "float64") => Dtype(DType::F64),
        ("torch", "float16") => Dtype(DType::F16),
        ("torch", "bfloat16") => Dtype(DType::BF16),
        ("torch", "int64") => Dtype(DType::I64),
        ("torch", "int32") => Dtype(DType::I32),
        ("torch", "int16") => Dtype(DType::I16),
        ("torch", "int8") => Dtype(DType::I8),
        ("torch", "uint8") => Dtype(DType::U8),
        ("torch", "uint16") => Dtype(DType::U16),
        ("torch", "uint32") => Dtype(DType::U32),
        ("torch", "uint64") => Dtype(DType::U64),
        ("torch", "bool") => Dtype(DType::Bool),
        ("collections", "OrderedDict") => Dict,
        ("builtins" | "__builtin__", "set" | "frozenset") => Set,
        // PyTorch's own harmless values.
        ("torch", "Size" | "device" | "Tensor") => Inert,
        ("torch.nn.parameter", "Parameter" | "Buffer") => Inert,
        // Python's: an optimiser's defaults, a scheduler's milestones, the arguments that LlamaGen's files carry.
        ("collections", "defaultdict" | "Counter") => Inert,
        ("builtins" | "__builtin__", "dict" | "list" | "tuple" | "int" | "float" | "str" | "bool" | "complex") => Inert,
        ("argparse", "Namespace") => Inert,
        ("pathlib" | "pathlib._local", "PosixPath" | "PurePosixPath" | "WindowsPath" | "PureWindowsPath") => Inert,
        ("typing", "Any") => Inert,
        ("_codecs", "encode") => Inert,
        // Numbers of a log, as NumPy writes them.
        ("numpy.core.multiarray" | "numpy._core.multiarray", "scalar" | "_reconstruct") => Inert,
        ("numpy", "dtype" | "ndarray") => Inert,
        // What Lightning, OmegaConf and DeepSpeed save beside the weights.
        ("omegaconf.dictconfig", "DictConfig") => Inert,
        ("omegaconf.listconfig", "ListConfig") => Inert,
        ("omegaconf.base", "ContainerMetadata" | "Metadata") => Inert,
        ("omegaconf.nodes", "AnyNode") => Inert,
        ("pytorch_lightning.callbacks.model_checkpoint", "ModelCheckpoint") => Inert,
        ("lightning.pytorch.callbacks.model_checkpoint", "ModelCheckpoint") => Inert,
        ("pytorch_lightning.utilities.parsing" | "lightning_fabric.utilities.data", "AttributeDict") => Inert,
        ("lightning.fabric.utilities.data", "AttributeDict") => Inert,
        ("deepspeed.runtime.fp16.loss_scaler", "LossScaler" | "DynamicLossScaler") => Inert,
        _ => return None,
    })
}
