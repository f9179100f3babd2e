//! Whether a model fits into memory, said before it is loaded.

use std::fmt;
use std::path::Path;
use std::process::{Command, Stdio};

use sysinfo::{CGroupLimits, System};

use super::imported::Record;
use crate::checkpoint::recognise::Role;
use crate::device::{ChosenDevice, Place};
use crate::{Error, Result};

/// Bytes of one number: everything is computed in f32.
const F32: u64 = 4;
/// Guidance runs a second stream beside the first.
const STREAMS: u64 = 2;

/// The memory of this computer, or of the container that it is, or of a graphics card, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Memory {
    /// All of it.
    pub all: u64,
    /// What is free.
    pub free: u64,
}

impl Memory {
    /// As it is now.
    pub fn now() -> Self {
        let mut system = System::new();
        system.refresh_memory();
        // What a container allows, where one does.
        let limits = system.cgroup_limits();
        let all = limits.as_ref().map_or(u64::MAX, |limits| limits.total_memory).min(system.total_memory());
        // Not `free_memory`: that counts files in the cache as used, which give way.
        let left = |limits: &CGroupLimits| limits.total_memory.saturating_sub(limits.rss);
        let free = limits.as_ref().map_or(u64::MAX, left).min(system.available_memory());
        Self { all, free }
    }

    /// That in which a device computes, as it is now; none where nobody tells: neither wgpu nor the card's driver.
    pub fn of(place: &Place) -> Option<Self> {
        match place {
            Place::Computer => Some(Self::now()),
            Place::Card(address) => told_by_kernel(address).or_else(|| told_by_nvidia(address)),
        }
    }

    /// Whether so many bytes fit.
    pub fn fits(&self, bytes: u64) -> Fit {
        match bytes {
            _ if self.all > 0 && bytes > self.all => Fit::TooLarge,
            _ if bytes > self.free => Fit::Tight,
            _ => Fit::Fits,
        }
    }
}

/// Whether a model fits into memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fit {
    /// It does.
    Fits,
    /// It does once other programs give way.
    Tight,
    /// It does not.
    TooLarge,
}

/// What a model needs while it makes a picture of the trained size, in bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Needs {
    /// The parameters of generator and tokenizer.
    pub weights: u64,
    /// Keys and values of all positions and streams.
    pub cache: u64,
    /// The largest intermediate results, of a step or of the tokenizer.
    pub activations: u64,
}

impl Needs {
    /// Those of a generator and its tokenizer.
    pub fn of(generator: &Record, tokenizer: &Record) -> Self {
        let weights = F32 * (generator.parameters + tokenizer.parameters);
        let (cache, step, side) = match generator.role {
            Role::Generator { cache, activations, grid, .. } => (cache, activations, grid as u64),
            Role::Tokenizer { .. } => (0, 0, 0),
        };
        let picture = match tokenizer.role {
            Role::Tokenizer { per_pixel, stride, .. } => per_pixel * (side * stride as u64).pow(2),
            Role::Generator { .. } => 0,
        };
        Self { weights, cache: F32 * STREAMS * cache, activations: F32 * (STREAMS * step).max(picture) }
    }

    /// All of it.
    pub fn total(&self) -> u64 {
        self.weights + self.cache + self.activations
    }

    /// One sentence on whether it fits a device.
    ///
    /// # Errors
    /// If it needs more than the computer has.
    pub fn on(&self, device: &ChosenDevice) -> Result<String> {
        let Some(Memory { all, free }) = Memory::of(&device.place) else {
            return Ok(format!("It needs {self}; how much memory {} has is not known", device.name));
        };
        if all > 0 && self.total() > all {
            let whose = if device.place == Place::Computer { "this computer" } else { &device.name };
            let cause = format!("the model needs {self}, and {whose} has {}", gigabytes(all));
            return Err(Error::device(&device.name, cause, "Choose a smaller one"));
        }
        let fits = if self.total() <= free { "it fits" } else { "it will be slow, or fail: close other programs" };
        Ok(format!("It needs {self}; {} are free, so {fits}", gigabytes(free)))
    }
}

impl fmt::Display for Needs {
    fn fmt(&self, out: &mut fmt::Formatter) -> fmt::Result {
        let Self { weights, cache, activations } = self;
        let parts = [*weights, *cache, *activations].map(gigabytes);
        let total = gigabytes(self.total());
        write!(out, "{total} of memory ({} weights, {} cache, {} intermediate results)", parts[0], parts[1], parts[2])
    }
}

/// What the kernel says of a card, which it does where AMD's driver runs it (Linux, `amdgpu`).
fn told_by_kernel(address: &str) -> Option<Memory> {
    let device = Path::new("/sys/bus/pci/devices").join(address);
    let number = |file: &str| std::fs::read_to_string(device.join(file)).ok()?.trim().parse::<u64>().ok();
    let (all, used) = (number("mem_info_vram_total")?, number("mem_info_vram_used")?);
    (!address.is_empty()).then(|| Memory { all, free: all.saturating_sub(used) })
}

/// What NVIDIA's driver says of a card, through the program that comes with it.
fn told_by_nvidia(address: &str) -> Option<Memory> {
    let asked = ["--query-gpu=pci.bus_id,memory.total,memory.free", "--format=csv,noheader,nounits"];
    let told = Command::new("nvidia-smi").args(asked).stdin(Stdio::null()).output().ok()?;
    of_nvidia(&String::from_utf8_lossy(&told.stdout), address)
}

/// Finds a card in a table of bus addresses, all memory and what is free of it, in MiB. The driver writes addresses with a
/// longer domain than wgpu. A card alone needs no address.
pub fn of_nvidia(table: &str, address: &str) -> Option<Memory> {
    let cards: Vec<(&str, Memory)> = table
        .lines()
        .filter_map(|line| {
            let mut cells = line.split(',').map(str::trim);
            let (bus, all, free) =
                (cells.next()?, cells.next()?.parse::<u64>().ok()?, cells.next()?.parse::<u64>().ok()?);
            Some((bus, Memory { all: all << 20, free: free << 20 }))
        })
        .collect();
    let bus = |address: &str| address.split_once(':').map(|(_, bus)| bus.to_ascii_lowercase());
    let same = |card: &&(&str, Memory)| bus(address).is_some() && bus(card.0) == bus(address);
    match cards.as_slice() {
        [(_, memory)] if address.is_empty() => Some(*memory),
        cards => cards.iter().find(same).map(|(_, memory)| *memory),
    }
}

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
