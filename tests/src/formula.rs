//! The weights and inputs of the `real_size` goldens: every number follows by a fixed formula from a name and an index,
//! so that models of hundreds of megabytes need no file. The formula is stated in the goldens' README.

use std::borrow::Cow;
use std::path::Path;

use safetensors::{Dtype, View};

/// The names and shapes of a published state dict, from `goldens/keys/keys_{model}.txt` of the repository.
///
/// # Panics
/// If there is no such list.
pub fn published_keys(model: &str) -> Vec<(String, Vec<usize>)> {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("goldens/keys/keys_{model}.txt"));
    let text = std::fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
    let keys = text.lines().map(|line| {
        let [name, _, shape] = line.split('\t').collect::<Vec<_>>()[..] else { panic!("not a key: {line}") };
        let sizes = shape.split(|other: char| !other.is_ascii_digit()).filter(|size| !size.is_empty());
        (name.to_string(), sizes.map(|size| size.parse().expect("a size")).collect())
    });
    keys.collect()
}

/// A safetensors file in f32 with the formula's values for each name and shape.
///
/// # Panics
/// If a name occurs twice.
pub fn weights(keys: &[(String, Vec<usize>)]) -> Vec<u8> {
    let tensors = keys.iter().map(|(name, shape)| (name, Formula { name, shape }));
    safetensors::serialize(tensors, None).expect("each name once")
}

/// The formula's values of one tensor of a state dict.
pub fn values(name: &str, shape: &[usize]) -> impl Iterator<Item = f32> {
    let (amplitude, offset) = amplitude_and_offset(name, shape);
    uniform(name, shape.iter().product()).map(move |u| (offset + amplitude * (2.0 * u - 1.0)) as f32)
}

/// The first `count` numbers in 0..1 that belong to a name.
pub fn uniform(name: &str, count: usize) -> impl Iterator<Item = f64> {
    let hash = fnv_1a(name);
    (1..=count as u64).map(move |index| {
        let z = hash.wrapping_add(index.wrapping_mul(0x9E37_79B9_7F4A_7C15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((z ^ (z >> 31)) >> 40) as f64 / (1u64 << 24) as f64
    })
}

/// The first `count` integers in `0..below` that belong to a name.
pub fn integers(name: &str, count: usize, below: usize) -> Vec<i32> {
    uniform(name, count).map(|u| (u * below as f64) as i32).collect()
}

/// FNV-1a, 64 bits.
fn fnv_1a(name: &str) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// How far the values of a tensor reach, and around what.
fn amplitude_and_offset(name: &str, shape: &[usize]) -> (f64, f64) {
    const TABLES: [&str; 9] = [
        "class_emb.weight",
        "lvl_embed.weight",
        "pos_start",
        "pos_1LC",
        "pos_embed",
        "target_aware_pos_embed",
        "timesteps_embeddings",
        "cls_token",
        "ada_gss",
    ];
    if shape.len() == 1 && name.ends_with(".weight") {
        (0.1, 1.0)
    } else if name.ends_with("bias") {
        (0.05, 0.0)
    } else if name.contains("scale_mul_1H11") {
        (0.5, 4.0f64.ln())
    } else if name.contains("embedding") || TABLES.iter().any(|table| name.ends_with(table)) {
        (0.5, 0.0)
    } else {
        let fan_in: usize = shape[1..].iter().product();
        ((3.0 / fan_in as f64).sqrt(), 0.0)
    }
}

/// A tensor whose values are computed when it is written.
struct Formula<'a> {
    name: &'a str,
    shape: &'a [usize],
}

impl View for Formula<'_> {
    fn dtype(&self) -> Dtype {
        Dtype::F32
    }

    fn shape(&self) -> &[usize] {
        self.shape
    }

    fn data(&self) -> Cow<'_, [u8]> {
        let mut bytes = Vec::with_capacity(self.data_len());
        values(self.name, self.shape).for_each(|value| bytes.extend(value.to_le_bytes()));
        bytes.into()
    }

    fn data_len(&self) -> usize {
        self.shape.iter().product::<usize>() * size_of::<f32>()
    }
}
