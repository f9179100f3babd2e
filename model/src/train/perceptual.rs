//! What a tokenizer's reconstruction is compared by beside its pixels, always as the configuration names it.
//!
//! The published recipes use LPIPS, whose weights are other people's. Without them a run says which of the terms below
//! takes its place.

use std::path::{Path, PathBuf};

use burn::prelude::*;
use burn::tensor::s;
use serde::Deserialize;

use super::lpips::Lpips;
use crate::Result;

/// The perceptual term and its weight, `[perceptual]` of a configuration.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Perceptual {
    /// LPIPS, as published (`perceptual_weight`, published 1).
    Lpips {
        /// Its weight.
        weight: f64,
        /// torchvision's VGG-16, relative to the configuration file.
        vgg: PathBuf,
        /// LPIPS's linear layers, likewise.
        linear: PathBuf,
    },
    /// 1 - SSIM ([`ssim`]).
    Structure {
        /// Its weight.
        weight: f64,
    },
    /// The mean absolute error of the differences between neighbouring pixels.
    Edges {
        /// Its weight.
        weight: f64,
    },
    /// Nothing: pixels alone.
    None,
}

/// LPIPS as published, with both files under their published names beside the configuration.
impl Default for Perceptual {
    fn default() -> Self {
        Self::Lpips { weight: 1.0, vgg: "vgg16-397923af.pth".into(), linear: "vgg.pth".into() }
    }
}

/// A perceptual term that is ready for use.
pub(crate) enum Term {
    Lpips(f64, Box<Lpips>),
    Structure(f64),
    Edges(f64),
    None,
}

impl Perceptual {
    /// The least side in pixels of the pictures it compares.
    pub(crate) fn least_side(&self) -> usize {
        match self {
            Self::Lpips { .. } => 16,
            Self::Structure { .. } => WINDOW,
            Self::Edges { .. } => 2,
            Self::None => 1,
        }
    }

    /// Reads the weights it needs; `base` is the folder of the configuration file.
    pub(crate) fn open(&self, base: &Path, device: &Device) -> Result<Term> {
        Ok(match self {
            Self::Lpips { weight, vgg, linear } => {
                Term::Lpips(*weight, Box::new(Lpips::read(&base.join(vgg), &base.join(linear), device)?))
            }
            Self::Structure { weight } => Term::Structure(*weight),
            Self::Edges { weight } => Term::Edges(*weight),
            Self::None => Term::None,
        })
    }
}

impl Term {
    /// The weighted term; `[batch, 3, height, width]` twice, samples about -1..1, to `[1]`.
    pub(crate) fn loss(&self, made: Tensor<4>, pixels: Tensor<4>) -> Option<Tensor<1>> {
        match self {
            Self::Lpips(weight, lpips) => Some(lpips.forward(pixels, made) * *weight),
            Self::Structure(weight) => Some((1.0 - ssim(made, pixels)) * *weight),
            Self::Edges(weight) => Some(edge_error(made - pixels) * *weight),
            Self::None => None,
        }
    }
}

/// Mean absolute error of horizontal and vertical differences; `error` is `[batch, 3, height, width]`.
pub fn edge_error(error: Tensor<4>) -> Tensor<1> {
    let [_, _, height, width] = error.dims();
    let right = error.clone().slice(s![.., .., .., 1..]) - error.clone().slice(s![.., .., .., ..width - 1]);
    let below = error.clone().slice(s![.., .., 1.., ..]) - error.slice(s![.., .., ..height - 1, ..]);
    right.abs().mean() + below.abs().mean()
}

/// The structural similarity of Wang et al. (2004), a mean over channels and windows: `[batch, channels, height, width]`
/// twice, samples in -1..1 and sides of at least 11, to `[1]`.
///
/// Its window is the published Gaussian of 11 × 11 pixels and a deviation of 1.5, wherever it fits as a whole.
pub fn ssim(a: Tensor<4>, b: Tensor<4>) -> Tensor<1> {
    const RANGE: f64 = 2.0;
    const C1: f64 = (0.01 * RANGE) * (0.01 * RANGE);
    const C2: f64 = (0.03 * RANGE) * (0.03 * RANGE);
    let [_, _, height, width] = a.dims();
    let (down, along) = (window(height, &a.device()).swap_dims(2, 3), window(width, &a.device()));
    let blurred = |x: Tensor<4>| down.clone().matmul(x.matmul(along.clone()));
    let (mean_a, mean_b) = (blurred(a.clone()), blurred(b.clone()));
    let (squared_a, squared_b) = (mean_a.clone().square(), mean_b.clone().square());
    let product = mean_a * mean_b;
    let variances = blurred(a.clone().square() + b.clone().square()) - squared_a.clone() - squared_b.clone();
    let covariance = blurred(a * b) - product.clone();
    let similar = (product * 2.0 + C1) * (covariance * 2.0 + C2);
    (similar / ((squared_a + squared_b + C1) * (variances + C2))).mean()
}

/// The window's sides in pixels.
const WINDOW: usize = 11;

/// The Gaussian window at every place where it fits on a side: `[1, 1, side, side - 10]`.
fn window(side: usize, device: &Device) -> Tensor<4> {
    const DEVIATION: f32 = 1.5;
    let weight = |tap: usize| (-((tap as f32 - (WINDOW / 2) as f32) / DEVIATION).powi(2) / 2.0).exp();
    let sum: f32 = (0..WINDOW).map(weight).sum();
    let places = side - (WINDOW - 1);
    let mut matrix = vec![0.0; side * places];
    for place in 0..places {
        (0..WINDOW).for_each(|tap| matrix[(place + tap) * places + place] = weight(tap) / sum);
    }
    Tensor::from_data(TensorData::new(matrix, [1, 1, side, places]), device)
}
