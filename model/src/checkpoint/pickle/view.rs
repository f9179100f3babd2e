//! Storages and the tensors that are views of them, with checked arithmetic.

use std::rc::Rc;

use burn::store::pytorch_reader::DType;

use super::{MAX_RANK, Refused};

/// A storage that a pickle declares: its numbers lie elsewhere in the file.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in super::super) struct Storage {
    /// Length in bytes.
    pub(in super::super) bytes: u64,
    /// The type of its numbers, where it has one.
    pub(super) dtype: Option<DType>,
}

/// A tensor as a view of a storage: offset, shape and strides in numbers. Views that repeat are one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct View {
    pub(super) storage: Rc<str>,
    pub(super) dtype: DType,
    pub(super) offset: u64,
    pub(super) shape: Vec<u64>,
    pub(super) strides: Vec<u64>,
}

impl View {
    /// The tensor's size in bytes, once the view is known to lie in its storage and to repeat nothing.
    pub(super) fn check(&self, storage: u64) -> Refused<u64> {
        let Self { shape, strides, .. } = self;
        let shown = || format!("a tensor of shape {shape:?} and strides {strides:?} in storage `{}`", self.storage);
        if shape.len() > MAX_RANK || strides.len() != shape.len() {
            return Err(format!("a tensor has {} axes and {} strides", shape.len(), strides.len()));
        }
        let repeats = shape.iter().zip(strides).any(|(length, stride)| *length > 1 && *stride == 0);
        if repeats {
            return Err(format!("{} repeats its numbers (a stride of zero)", shown()));
        }
        let product = |numbers: &[u64]| numbers.iter().try_fold(1u64, |all, next| all.checked_mul(*next));
        let bytes = product(shape).and_then(|numbers| numbers.checked_mul(size(Some(self.dtype))));
        let bytes = bytes.ok_or_else(|| format!("{} is larger than any memory", shown()))?;
        let steps = shape.iter().zip(strides).map(|(length, stride)| length.saturating_sub(1).checked_mul(*stride));
        let mut steps = steps;
        let last = steps.try_fold(self.offset, |sum, step| sum.checked_add(step?));
        let end = last.and_then(|last| last.checked_add(1)?.checked_mul(size(Some(self.dtype))));
        match end {
            Some(end) if end <= storage || bytes == 0 => Ok(bytes),
            _ => Err(format!("{} reaches beyond the storage's {storage} bytes", shown())),
        }
    }
}

/// Bytes of a number; an untyped storage counts bytes.
pub(super) fn size(dtype: Option<DType>) -> u64 {
    dtype.map_or(1, |dtype| dtype.size() as u64)
}
