//! How near one picture is to another: PSNR, and SSIM (Wang et al., "Image Quality Assessment: From Error Visibility to
//! Structural Similarity", IEEE TIP 13(4), 2004).
//!
//! Both on samples in 0..1 of pictures of 8 bits. SSIM is the standard one: windows of 11 × 11 weighted by a Gaussian of
//! σ = 1.5, `K₁ = 0.01`, `K₂ = 0.03`, over all windows that lie in the picture; each colour channel for itself, and the
//! mean of the three.

use image::RgbImage;

/// Pixels along each side of a window.
const WINDOW: usize = 11;
/// The spread of the window's weights, in pixels.
const SIGMA: f64 = 1.5;
/// `(K₁ L)²` for samples in 0..1.
const C1: f64 = 0.01 * 0.01;
/// `(K₂ L)²` for samples in 0..1.
const C2: f64 = 0.03 * 0.03;

/// The mean squared difference of all samples, in 0..1; of pictures of the same size.
pub fn squared_error(a: &RgbImage, b: &RgbImage) -> f64 {
    let differences = a.as_raw().iter().zip(b.as_raw()).map(|(a, b)| (f64::from(*a) - f64::from(*b)) / 255.0);
    differences.map(|difference| difference * difference).sum::<f64>() / a.as_raw().len().max(1) as f64
}

/// Peak signal-to-noise ratio of two pictures of the same size, in decibels; infinite for the same picture.
pub fn psnr(a: &RgbImage, b: &RgbImage) -> f64 {
    -10.0 * squared_error(a, b).log10()
}

/// Structural similarity of two pictures of the same size, at most 1, which only the same picture reaches. None where no
/// window fits in.
pub fn ssim(a: &RgbImage, b: &RgbImage) -> Option<f64> {
    let (width, height) = (a.width() as usize, a.height() as usize);
    if (a.width(), a.height()) != (b.width(), b.height()) || width.min(height) < WINDOW {
        return None;
    }
    let channel = |picture: &RgbImage, channel: usize| -> Vec<f64> {
        picture.pixels().map(|pixel| f64::from(pixel.0[channel]) / 255.0).collect()
    };
    let of_channel = |index: usize| {
        let (a, b) = (channel(a, index), channel(b, index));
        let product = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<_>>();
        let local = |samples: &[f64]| local_means(samples, width);
        let (mean_a, mean_b) = (local(&a), local(&b));
        let (square_a, square_b, both) = (local(&product(&a, &a)), local(&product(&b, &b)), local(&product(&a, &b)));
        let windows = (0..mean_a.len()).map(|at| {
            let (a, b) = (mean_a[at], mean_b[at]);
            let (variance_a, variance_b) = (square_a[at] - a * a, square_b[at] - b * b);
            let covariance = both[at] - a * b;
            (2.0 * a * b + C1) * (2.0 * covariance + C2) / ((a * a + b * b + C1) * (variance_a + variance_b + C2))
        });
        windows.sum::<f64>() / mean_a.len() as f64
    };
    Some((0..3).map(of_channel).sum::<f64>() / 3.0)
}

/// The weighted mean of every window within a picture of one channel, row by row.
fn local_means(samples: &[f64], width: usize) -> Vec<f64> {
    let weights = gaussian();
    let along = |row: &[f64]| -> Vec<f64> {
        row.windows(WINDOW)
            .map(|part| part.iter().zip(&weights).map(|(sample, weight)| sample * weight).sum())
            .collect()
    };
    let rows: Vec<Vec<f64>> = samples.chunks_exact(width).map(along).collect();
    let down = |part: &[Vec<f64>]| -> Vec<f64> {
        let at = |x: usize| part.iter().zip(&weights).map(|(row, weight)| row[x] * weight).sum();
        (0..=width - WINDOW).map(at).collect()
    };
    rows.windows(WINDOW).flat_map(down).collect()
}

/// The window's weights along one side; their sum is 1.
fn gaussian() -> [f64; WINDOW] {
    let middle = (WINDOW / 2) as f64;
    let weights: [f64; WINDOW] =
        std::array::from_fn(|at| (-(at as f64 - middle).powi(2) / (2.0 * SIGMA * SIGMA)).exp());
    let sum: f64 = weights.iter().sum();
    weights.map(|weight| weight / sum)
}
