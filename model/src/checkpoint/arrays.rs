//! Single tensors of a foreign file, for networks that are used in training and never become a model of the library.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::DType;
use safetensors::Dtype;

use super::gate::{self, shown};
use super::import::strange;
use super::manifest::{Manifest, Source};
use crate::{Error, Result};

/// A PyTorch or safetensors file that passed the gate.
pub(crate) struct Arrays {
    path: PathBuf,
    source: Source,
    manifest: Manifest,
}

impl Arrays {
    /// Opens a file.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let source = Source::open(path, gate::check(path)?)?;
        let manifest = source.manifest();
        Ok(Self { path: path.into(), source, manifest })
    }

    /// A tensor of this shape, in f32; other entries of the file do not matter.
    pub(crate) fn get<const D: usize>(&self, name: &str, shape: [usize; D], device: &Device) -> Result<Tensor<D>> {
        let refused = |cause: String| {
            let cause = format!("entry `{}`: {cause}", shown(name));
            Error::file(&self.path, cause, "Use the file as it was published")
        };
        let entry = self.manifest.tensors.get(name).ok_or_else(|| refused("it is missing".into()))?;
        if entry.shape != shape {
            return Err(refused(format!("it has the shape {:?} instead of {shape:?}", entry.shape)));
        }
        let dtype = match entry.dtype {
            Dtype::F32 => DType::F32,
            Dtype::F16 => DType::F16,
            Dtype::BF16 => DType::BF16,
            other => return Err(refused(format!("it is of type {other:?} instead of F32"))),
        };
        let bytes = self.source.read(name)?;
        if bytes.len() as u64 != entry.bytes() {
            return Err(refused("it is of another length than declared".into()));
        }
        if strange(&bytes, entry.dtype) > 0 {
            return Err(refused("some of its values are not numbers or infinite".into()));
        }
        let data = TensorData::from_bytes_vec(bytes, shape.to_vec(), dtype).convert_dtype(DType::F32);
        Ok(Tensor::from_data(data, (device, DType::F32)))
    }
}
