//! Weights in files: safetensors in the published layout (PyTorch's names and orientation), so that a file of ours opens
//! in the published code and the other way round.

pub(crate) mod arrays;
pub mod gate;
pub mod import;
pub mod manifest;
mod pickle;
pub mod recognise;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use burn::module::{Module, ModuleVisitor, Param};
use burn::store::burn_pack::Tensor as Packed;
use burn::store::{
    BurnToPyTorchAdapter, FloatCastAdapter, ModuleAdapter, ModuleContext, ModuleSnapshot, PyTorchToBurnAdapter,
    SafetensorsStore,
};
use burn::tensor::{DType, Tensor};

pub use import::foreign;

use crate::{Error, Result};

/// How a module's field names become the published keys, as regular expressions: `(published, ours)`.
#[derive(Debug, Clone, Copy)]
pub struct KeyMap {
    /// Applied to the file's keys when loading.
    pub to_ours: Option<(&'static str, &'static str)>,
    /// Applied to our keys when saving.
    pub to_published: Option<(&'static str, &'static str)>,
    /// Keys that published files may carry without being weights.
    pub leftovers: &'static [&'static str],
}

/// RandAR's keys: the trunk's have no prefix. Caches appear when a state dict was saved after generation.
pub const RANDAR_KEYS: KeyMap = KeyMap {
    to_ours: Some((r"^(cls_embedding|tok_embeddings|layers|norm|output)\.", "trunk.${1}.")),
    to_published: Some((r"^trunk\.", "")),
    leftovers: &["kv_cache", "freqs_cis"],
};

/// LlamaGen's keys, ours without exception.
pub const LLAMAGEN_KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: RANDAR_KEYS.leftovers };

/// The keys of Open-MAGVIT2 and of its tokenizer, ours without exception. The tokenizer's file also holds its averaged
/// weights and what the losses of training had learned.
pub const OPEN_MAGVIT2_KEYS: KeyMap =
    KeyMap { to_ours: None, to_published: None, leftovers: &["model_ema.", "loss.", "kv_cache", "freqs_cis"] };

/// RAR's keys; `0` of `adaLN_modulation` is an activation. Some copies hold the mask of training.
pub const RAR_KEYS: KeyMap = KeyMap {
    to_ours: Some((r"adaLN_modulation\.1\.", "ada_ln_modulation.")),
    to_published: Some((r"ada_ln_modulation\.", "adaLN_modulation.1.")),
    leftovers: &["attn_mask"],
};

/// TensorAR's keys: a base model's published ones behind `base.`, the others ours.
pub const TENSORAR_KEYS: KeyMap = RAR_KEYS;

/// The keys of MaskGIT's tokenizer.
pub const MASKGIT_KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: &[] };

/// The LlamaGen tokenizer's keys; `codebook_used` is a usage counter of training.
pub const VQ_KEYS: KeyMap = KeyMap { to_ours: None, to_published: None, leftovers: &["codebook_used"] };

/// Where a module's weights come from.
#[derive(Debug, Clone)]
pub enum Weights {
    /// Fresh ones, as at the start of training: for measuring and for tests.
    Fresh,
    /// A file that comes with the program.
    Bundled {
        /// What messages call it.
        name: &'static str,
        /// Its bytes.
        bytes: &'static [u8],
    },
    /// An imported file, mapped into memory while it is read.
    Imported {
        /// Where it lies.
        path: PathBuf,
        /// Told how much of it was read.
        report: Report,
    },
}

/// Told how many bytes of weights were read so far.
#[derive(Clone)]
pub struct Report {
    done: Arc<AtomicU64>,
    tell: Arc<dyn Fn(u64) + Send + Sync>,
}

impl Report {
    /// One that passes it on.
    pub fn new(tell: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Self { done: Arc::default(), tell: Arc::new(tell) }
    }
}

impl fmt::Debug for Report {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        out.debug_struct("Report").field("done", &self.done).finish_non_exhaustive()
    }
}

/// An adapter that changes nothing and counts what passes.
impl ModuleAdapter for Report {
    fn adapt(&self, tensor: Packed, _place: ModuleContext<'_>) -> Packed {
        let bytes = tensor.byte_len() as u64;
        (self.tell)(self.done.fetch_add(bytes, Ordering::Relaxed) + bytes);
        tensor
    }

    fn clone_box(&self) -> Box<dyn ModuleAdapter> {
        Box::new(self.clone())
    }
}

impl Weights {
    /// Fills a module that was made fresh.
    ///
    /// # Errors
    /// Names the file and the missing, unexpected or ill-shaped tensors.
    pub fn fill<M: Module>(&self, module: M, keys: &KeyMap) -> Result<M> {
        match self {
            Self::Fresh => Ok(drawn(module)),
            Self::Bundled { name, bytes } => load(module, bytes.to_vec(), keys, name),
            Self::Imported { path, report } => {
                let store = SafetensorsStore::from_file(path).with_from_adapter(report.clone().chain(published()));
                fill(module, store, keys, path)
            }
        }
    }
}

/// A module whose random weights are drawn now.
pub(crate) fn drawn<M: Module>(module: M) -> M {
    module.visit(&mut Drawn);
    module
}

/// Draws random weights now; burn draws each at its first use, which would be taken for the work of the first step.
struct Drawn;

impl ModuleVisitor for Drawn {
    fn visit_float<const D: usize>(&mut self, param: &Param<Tensor<D>>) {
        param.val();
    }
}

/// Fills a module with the weights of a safetensors file, in f32 whatever the file holds.
///
/// # Errors
/// Names `file` and the missing, unexpected or ill-shaped tensors.
pub fn load<M: Module>(module: M, bytes: Vec<u8>, keys: &KeyMap, file: impl AsRef<Path>) -> Result<M> {
    fill(module, SafetensorsStore::from_bytes(Some(bytes)).with_from_adapter(published()), keys, file.as_ref())
}

/// From the published orientation and any type to ours and f32.
fn published() -> impl ModuleAdapter {
    PyTorchToBurnAdapter.chain(FloatCastAdapter::to(DType::F32))
}

fn fill<M: Module>(mut module: M, store: SafetensorsStore, keys: &KeyMap, file: &Path) -> Result<M> {
    let refuse = |cause: String| Error::file(file, cause, "Use a file of this family and size");
    let mut store = store.validate(false).allow_partial(true).skip_enum_variants(true);
    if let Some((published, ours)) = keys.to_ours {
        store = store.with_key_remapping(published, ours);
    }
    let applied = module.load_from(&mut store).map_err(|error| refuse(error.to_string()))?;
    let unexpected = applied.unused.iter().filter(|key| !keys.leftovers.iter().any(|left| key.contains(left)));
    let complaints = [
        ("missing", applied.missing.iter().map(|(key, _)| key.clone()).collect::<Vec<_>>()),
        ("unexpected", unexpected.cloned().collect()),
        ("unfit", applied.errors.iter().map(ToString::to_string).collect()),
    ];
    let complaints: Vec<String> =
        complaints.iter().filter(|(_, list)| !list.is_empty()).map(|(what, list)| summary(what, list)).collect();
    if complaints.is_empty() { Ok(module) } else { Err(refuse(complaints.join("; "))) }
}

/// At most three of a list, and how many there are.
fn summary(what: &str, list: &[String]) -> String {
    let shown = list.iter().take(3).cloned().collect::<Vec<_>>().join(", ");
    let more = if list.len() > 3 { format!(" and {} more", list.len() - 3) } else { String::new() };
    format!("{what} {shown}{more}")
}

/// A module as a safetensors file in f16, with the published keys.
///
/// # Errors
/// If the weights cannot be read back from the device.
pub fn export<M: Module>(module: &M, keys: &KeyMap) -> Result<Vec<u8>> {
    let mut store = SafetensorsStore::from_bytes(None)
        .with_to_adapter(BurnToPyTorchAdapter.chain(FloatCastAdapter::to(DType::F16)))
        .skip_enum_variants(true)
        .clear_metadata();
    if let Some((ours, published)) = keys.to_published {
        store = store.with_key_remapping(ours, published);
    }
    let failed = |error: String| Error::device("weights", error, "Try again with `--device cpu`");
    module.save_into(&mut store).map_err(|error| failed(error.to_string()))?;
    store.get_bytes().map_err(|error| failed(error.to_string()))
}
