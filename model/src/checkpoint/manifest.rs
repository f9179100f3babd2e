//! What a file holds, by name, before anything is read; and the state dicts of models among it.

use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use burn::store::pytorch_reader::{DType, PytorchReader, Tensor};
use safetensors::Dtype;
use safetensors::tensor::Metadata;

use super::gate::{Passed, quoted, shown};
use crate::{Error, Result};

/// The longest axis of a tensor: sixteen times the longest that any published model has.
const MAX_AXIS: usize = 1 << 22;

/// The names, types and shapes of tensors.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Manifest {
    /// The file's name, which published files use to say what their tensors do not.
    pub file: String,
    /// Every tensor by its name.
    pub tensors: BTreeMap<String, Entry>,
    /// `lvl_1L`, the scale of every position, where a file holds it: the one buffer that says what no shape does.
    pub levels: Option<Vec<i64>>,
}

/// A tensor's type and shape.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// The type of its numbers.
    pub dtype: Dtype,
    /// Its axes, outermost first.
    pub shape: Vec<usize>,
}

impl Entry {
    /// Its size in bytes. The gate has checked that it is a number.
    pub fn bytes(&self) -> u64 {
        self.shape.iter().product::<usize>() as u64 * self.dtype.bitsize() as u64 / 8
    }
}

impl Manifest {
    /// A tensor's shape, if its axes are such as a model can have: sizes may then be multiplied without care.
    pub fn shape(&self, name: &str) -> Option<&[usize]> {
        let shape = &*self.tensors.get(name)?.shape;
        shape.iter().all(|axis| (1..=MAX_AXIS).contains(axis)).then_some(shape)
    }

    /// The length of a tensor's axis.
    pub fn axis(&self, name: &str, axis: usize) -> Option<usize> {
        self.shape(name)?.get(axis).copied()
    }

    /// How many numbers, from 0 on, stand right after `before` in names: `layers.` counts layers.
    pub fn count(&self, before: &str) -> usize {
        let stands = |index: &usize| {
            let start = format!("{before}{index}.");
            self.tensors.range(start.clone()..).next().is_some_and(|(name, _)| name.starts_with(&start))
        };
        (0..).take_while(stands).count()
    }
}

/// A file that passed the gate, open for reading by name.
pub(super) struct Source {
    path: PathBuf,
    tensors: Tensors,
}

/// Where tensors come from.
enum Tensors {
    /// burn-store's reader of pickles, which reads a tensor when it is asked for.
    Pickle(HashMap<String, Tensor>),
    /// The safetensors crate's header. Its tensors lie in one piece each, so that reading them needs no store; burn's
    /// would parse the header anew for every tensor.
    Safetensors { file: File, metadata: Box<Metadata>, start: u64 },
}

impl Source {
    /// Opens a file that the gate has let pass.
    pub(super) fn open(path: &Path, passed: Passed) -> Result<Self> {
        let refused = |cause: String| Error::file(path, cause, "Use a file that its authors published");
        let tensors = match passed {
            Passed::Pickle { tensors } => {
                let reader = PytorchReader::new(path).map_err(|error| refused(quoted(&error)))?;
                // Two tensors of one path would leave it to chance which one is read.
                if reader.len() as u64 != tensors {
                    return Err(refused(format!("it has {tensors} tensors under {} names", reader.len())));
                }
                Tensors::Pickle(reader.into_tensors())
            }
            Passed::Safetensors { metadata, start } => {
                let file = File::open(path).map_err(|error| refused(error.to_string()))?;
                Tensors::Safetensors { file, metadata, start }
            }
        };
        Ok(Self { path: path.into(), tensors })
    }

    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// The file's name.
    pub(super) fn name(&self) -> String {
        self.path.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned())
    }

    /// Everything in it.
    pub(super) fn manifest(&self) -> Manifest {
        let tensors = match &self.tensors {
            Tensors::Pickle(tensors) => tensors
                .iter()
                .map(|(name, tensor)| {
                    (name.clone(), Entry { dtype: dtype(tensor.dtype()), shape: tensor.shape().to_vec() })
                })
                .collect(),
            Tensors::Safetensors { metadata, .. } => metadata
                .tensors()
                .into_iter()
                .map(|(name, info)| (name, Entry { dtype: info.dtype, shape: info.shape.clone() }))
                .collect(),
        };
        Manifest { file: self.name(), tensors, levels: None }
    }

    /// A tensor's numbers in row-major order, little-endian.
    pub(super) fn read(&self, name: &str) -> Result<Vec<u8>> {
        let refused =
            |cause: String| Error::file(&self.path, format!("entry `{}`: {cause}", shown(name)), "Download it again");
        match &self.tensors {
            Tensors::Pickle(tensors) => {
                let tensor = tensors.get(name).ok_or_else(|| refused("it is missing".into()))?;
                tensor.read().map_err(|error| refused(quoted(&error)))
            }
            Tensors::Safetensors { file, metadata, start } => {
                let info = metadata.info(name).ok_or_else(|| refused("it is missing".into()))?;
                let (from, to) = info.data_offsets;
                let mut bytes = vec![0; to - from];
                let mut file = file;
                file.seek(SeekFrom::Start(start + from as u64))
                    .and_then(|_| file.read_exact(&mut bytes))
                    .map_err(|error| refused(error.to_string()))?;
                Ok(bytes)
            }
        }
    }
}

fn dtype(dtype: DType) -> Dtype {
    match dtype {
        DType::F64 => Dtype::F64,
        DType::F32 => Dtype::F32,
        DType::F16 => Dtype::F16,
        DType::BF16 => Dtype::BF16,
        DType::I64 => Dtype::I64,
        DType::I32 => Dtype::I32,
        DType::I16 => Dtype::I16,
        DType::I8 => Dtype::I8,
        DType::U64 => Dtype::U64,
        DType::U32 => Dtype::U32,
        DType::U16 => Dtype::U16,
        DType::U8 => Dtype::U8,
        DType::Bool => Dtype::BOOL,
    }
}

/// One model's tensors under their own names.
#[derive(Debug)]
pub(super) struct StateDict {
    /// What stood before the names.
    pub(super) root: String,
    /// The tensors under their own names.
    pub(super) manifest: Manifest,
    /// The whole name of each.
    names: BTreeMap<String, String>,
}

/// Where published files keep their state dicts, first to last; the groups' members lie beside one another in a file.
/// `model`, `module`, `state_dict` and no key at all are what LlamaGen's sampler tries (`sample_c2i.py`), Lightning's
/// `state_dict` of Open-MAGVIT2 nests two models, and VAR's training checkpoints have them below `trainer`.
const ROOTS: [&[&str]; 6] = [
    &["model."],
    &["module."],
    &["state_dict.transformer.", "state_dict.first_stage_model.", "state_dict."],
    &["transformer.", "first_stage_model."],
    &["trainer.var_wo_ddp.", "trainer.vae_local."],
    &[""],
];

/// Where averaged weights lie (`ema` of LlamaGen's training).
const AVERAGED: [&[&str]; 1] = [&["ema."]];

/// The state dicts that a file may hold, in groups that belong together.
pub(super) fn state_dicts(all: &Manifest, averaged: bool) -> impl Iterator<Item = Vec<StateDict>> {
    let (first, last): (&[&[&str]], &[&[&str]]) = if averaged { (&AVERAGED, &ROOTS) } else { (&ROOTS, &AVERAGED) };
    first
        .iter()
        .chain(last)
        .map(move |group| group.iter().filter_map(|root| StateDict::below(all, root, averaged)).collect())
}

impl StateDict {
    fn below(all: &Manifest, root: &str, averaged: bool) -> Option<Self> {
        let below = || {
            let named = all.tensors.range(root.to_string()..);
            named.map_while(|(whole, _)| Some((whole.strip_prefix(root)?, whole)))
        };
        // What wrappers of training put into names: `module.` of data parallelism, `_orig_mod.` of compilation.
        let parallel = below().all(|(name, _)| name.starts_with("module."));
        let own = |name: &str| {
            let name = if parallel { name.strip_prefix("module.").unwrap_or(name) } else { name };
            name.replace("_orig_mod.", "")
        };
        let mut names: BTreeMap<String, String> = below().map(|(name, whole)| (own(name), whole.clone())).collect();
        if averaged {
            // Open-MAGVIT2 keeps averaged weights beside the others, under their names without the dots (`ema.py`).
            for (name, whole) in &mut names {
                let mean = format!("{root}model_ema.{}", name.replace('.', ""));
                if all.tensors.contains_key(&mean) {
                    *whole = mean;
                }
            }
        }
        let tensors = names.iter().filter_map(|(name, whole)| Some((name.clone(), all.tensors.get(whole)?.clone())));
        let manifest = Manifest { file: all.file.clone(), tensors: tensors.collect(), levels: None };
        (!names.is_empty()).then(|| Self { root: root.into(), manifest, names })
    }

    /// A tensor's whole name.
    pub(super) fn whole<'a>(&'a self, name: &'a str) -> &'a str {
        self.names.get(name).map_or(name, String::as_str)
    }
}
