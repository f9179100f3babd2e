//! Helpers shared by the tests.

pub mod formula;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use andamento_model::paint::{Event, Painting};
use andamento_model::picture::Picture;
use safetensors::{Dtype, SafeTensors};

/// The folder of a family's goldens: in the repository, or under `ANDAMENTO_GOLDENS`.
pub fn goldens(family: &str) -> PathBuf {
    let root = match std::env::var_os("ANDAMENTO_GOLDENS") {
        Some(root) => PathBuf::from(root),
        None => Path::new(env!("CARGO_MANIFEST_DIR")).join("goldens"),
    };
    let folder = root.join(family);
    if folder.is_dir() { folder } else { root }
}

/// A JSON file of a golden folder.
///
/// # Panics
/// If it is missing or not JSON.
pub fn json(path: &Path) -> serde_json::Value {
    let text = std::fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// Runs to the end, and returns the picture.
///
/// # Panics
/// If it fails.
pub fn run_through(painting: &mut Painting<'_>) -> Picture {
    let last = painting.map(|event| event.expect("goes on")).last();
    let Some(Event::Done(picture)) = last else { panic!("it ends with the picture") };
    picture
}

/// One array of a golden file, as f32 whatever its type.
#[derive(Debug, Clone)]
pub struct Array {
    /// Its shape.
    pub shape: Vec<usize>,
    /// Its values, row-major.
    pub values: Vec<f32>,
}

impl Array {
    /// The values as integers.
    pub fn ints(&self) -> Vec<i32> {
        self.values.iter().map(|value| *value as i32).collect()
    }

    /// The part at `index` of the first axis.
    pub fn at(&self, index: usize) -> Self {
        let length: usize = self.shape[1..].iter().product();
        Self { shape: self.shape[1..].to_vec(), values: self.values[index * length..(index + 1) * length].to_vec() }
    }

    /// Fails unless `got` has the same values within `tolerance`.
    ///
    /// # Panics
    /// If it does not.
    #[track_caller]
    pub fn assert_close(&self, got: &[f32], tolerance: f32, what: &str) {
        assert_eq!(got.len(), self.values.len(), "{what}: another number of values");
        let worst = got.iter().zip(&self.values).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        assert!(got.iter().all(|value| value.is_finite()), "{what}: values that are not numbers");
        assert!(worst <= tolerance, "{what}: off by {worst:e}, tolerance {tolerance:e}");
    }
}

/// Little-endian numbers of `N` bytes each.
fn numbers<const N: usize>(data: &[u8], number: impl Fn([u8; N]) -> f32) -> Vec<f32> {
    data.as_chunks::<N>().0.iter().copied().map(number).collect()
}

/// The arrays of a golden safetensors file.
#[derive(Debug)]
pub struct Golden(BTreeMap<String, Array>);

impl Golden {
    /// Reads a file.
    ///
    /// # Panics
    /// If it is missing or damaged.
    pub fn read(path: &Path) -> Self {
        let bytes = std::fs::read(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        Self::from_bytes(&bytes, &path.display().to_string())
    }

    /// Reads the bytes of a file; `what` is named if they are damaged.
    ///
    /// # Panics
    /// If they are damaged.
    pub fn from_bytes(bytes: &[u8], what: &str) -> Self {
        let file = SafeTensors::deserialize(bytes).unwrap_or_else(|error| panic!("{what}: {error}"));
        let arrays = file.iter().filter_map(|(name, view)| {
            let data = view.data();
            let values = match view.dtype() {
                Dtype::F32 => numbers(data, f32::from_le_bytes),
                Dtype::F64 => numbers(data, |bytes| f64::from_le_bytes(bytes) as f32),
                Dtype::I32 => numbers(data, |bytes| i32::from_le_bytes(bytes) as f32),
                Dtype::I64 => numbers(data, |bytes| i64::from_le_bytes(bytes) as f32),
                Dtype::U8 | Dtype::BOOL => numbers(data, |[byte]: [u8; 1]| f32::from(byte)),
                _ => return None,
            };
            Some((name.to_string(), Array { shape: view.shape().to_vec(), values }))
        });
        Self(arrays.collect())
    }

    /// An array.
    ///
    /// # Panics
    /// If the file has none of that name.
    #[track_caller]
    pub fn get(&self, name: &str) -> &Array {
        self.0.get(name).unwrap_or_else(|| panic!("the golden file has no {name}"))
    }

    /// The names of all arrays.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }
}
