//! Whether a model fits into memory, said before it is loaded.

use std::fmt;

use sysinfo::{CGroupLimits, System};

use super::imported::Record;
use crate::checkpoint::recognise::Role;
use crate::device::ChosenDevice;
use crate::{Error, Result};

/// Bytes of one number: everything is computed in f32.
const F32: u64 = 4;
/// Guidance runs a second stream beside the first.
const STREAMS: u64 = 2;

/// The memory of this computer, or of the container that it is, in bytes.
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
        if device.gpu {
            return Ok(format!("It needs {self}; {} does not say how much of its memory is free", device.name));
        }
        let Memory { all, free } = Memory::now();
        if all > 0 && self.total() > all {
            let cause = format!("the model needs {self}, and this computer has {}", gigabytes(all));
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

fn gigabytes(bytes: u64) -> String {
    format!("{:.2} GB", bytes as f64 / 1e9)
}
