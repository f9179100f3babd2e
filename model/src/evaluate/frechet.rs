//! The Fréchet distance between two sets of features, each taken for a Gaussian (Heusel et al., "GANs Trained by a Two
//! Time-Scale Update Rule", arXiv 1706.08500):
//!
//! ```text
//! |μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½)
//! ```
//!
//! in 64 bits. `(Σ₁ Σ₂)^½` has the trace of `(Σ₁^½ Σ₂ Σ₁^½)^½`, whose argument is symmetric.

use nalgebra::{DMatrix, DVector};

use crate::{Error, Result};

/// Mean and covariance of features.
#[derive(Debug, Clone)]
pub struct Gaussian {
    /// The mean, `[dim]`.
    pub mean: DVector<f64>,
    /// The covariance, `[dim, dim]`, unbiased.
    pub covariance: DMatrix<f64>,
}

impl Gaussian {
    /// Of pictures' features, `[pictures][dim]`.
    ///
    /// # Errors
    /// If there are not more pictures than features, so that the covariance would be singular whatever they show.
    pub fn of(features: &[Vec<f64>]) -> Result<Self> {
        let (count, dim) = (features.len(), features.first().map_or(0, Vec::len));
        check(count, dim, "features")?;
        let rows = DMatrix::from_fn(count, dim, |row, column| features[row][column]);
        let mean = rows.row_mean().transpose();
        let centred = DMatrix::from_fn(count, dim, |row, column| rows[(row, column)] - mean[column]);
        let covariance = centred.tr_mul(&centred) / (count - 1) as f64;
        Ok(Self { mean, covariance })
    }

    /// The distance to another of the same dimension; 0 for the same, in squared units of the features.
    pub fn distance(&self, other: &Self) -> f64 {
        let root = square_root(&self.covariance);
        let product = &root * &other.covariance * &root;
        let cross: f64 = symmetric(&product).symmetric_eigenvalues().iter().map(|value| value.max(0.0).sqrt()).sum();
        let means = (&self.mean - &other.mean).norm_squared();
        // Rounding may carry the distance of equal sets below 0.
        (means + self.covariance.trace() + other.covariance.trace() - 2.0 * cross).max(0.0)
    }
}

/// Refuses so many pictures, which `control` sets, for the covariance of so many features.
///
/// # Errors
/// If there are not more pictures than features.
pub fn check(pictures: usize, features: usize, control: &str) -> Result<()> {
    if features > 0 && pictures > features {
        return Ok(());
    }
    let cause = format!("{pictures} pictures are too few for the covariance of {features} features");
    Err(Error::control(control, cause, format!("Use {} or more", features + 1)))
}

/// The symmetric square root of a covariance; what rounding made negative counts as 0.
fn square_root(covariance: &DMatrix<f64>) -> DMatrix<f64> {
    let eigen = symmetric(covariance).symmetric_eigen();
    let roots = eigen.eigenvalues.map(|value| value.max(0.0).sqrt());
    &eigen.eigenvectors * DMatrix::from_diagonal(&roots) * eigen.eigenvectors.transpose()
}

/// A matrix without the asymmetry of rounding.
fn symmetric(matrix: &DMatrix<f64>) -> DMatrix<f64> {
    (matrix + matrix.transpose()) * 0.5
}
