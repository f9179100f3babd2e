//! The terms that stand in for LPIPS.

use andamento_model::tokenizer::to_samples;
use andamento_model::train::perceptual::{edge_error, ssim};
use andamento_model::train::scenes::scene;
use burn::prelude::*;

/// SSIM as Wang et al. state it, window by window, in f64: `[channels, height, width]` twice.
fn by_windows(a: &[f32], b: &[f32], [channels, height, width]: [usize; 3]) -> f64 {
    let weight = |tap: usize| (-((tap as f64 - 5.0) / 1.5).powi(2) / 2.0).exp();
    let sum: f64 = (0..11).map(weight).sum();
    let (c1, c2) = ((0.01f64 * 2.0).powi(2), (0.03f64 * 2.0).powi(2));
    let mut all = Vec::new();
    for channel in 0..channels {
        for top in 0..=height - 11 {
            for left in 0..=width - 11 {
                let mean = |of: &dyn Fn(usize) -> f64| -> f64 {
                    let taps = (0..121).map(|tap| {
                        let (row, col) = (tap / 11, tap % 11);
                        let index = (channel * height + top + row) * width + left + col;
                        weight(row) * weight(col) / (sum * sum) * of(index)
                    });
                    taps.sum()
                };
                let (x, y) = (|i: usize| f64::from(a[i]), |i: usize| f64::from(b[i]));
                let (mx, my) = (mean(&x), mean(&y));
                let (vx, vy) = (mean(&|i| (x(i) - mx).powi(2)), mean(&|i| (y(i) - my).powi(2)));
                let both = mean(&|i| (x(i) - mx) * (y(i) - my));
                all.push((2.0 * mx * my + c1) * (2.0 * both + c2) / ((mx * mx + my * my + c1) * (vx + vy + c2)));
            }
        }
    }
    all.iter().sum::<f64>() / all.len() as f64
}

#[test]
fn structural_similarity_is_that_of_its_windows() {
    let device = Device::flex();
    let [a, b] = [3, 4].map(|seed| to_samples(&scene(5, seed, 24), &device).slice([0..3, 0..24, 2..20]));
    let values = |of: &Tensor<3>| of.to_data().try_to_vec::<f32>().expect("f32");
    let want = by_windows(&values(&a), &values(&b), [3, 24, 18]);
    let got = f64::from(ssim(a.clone().unsqueeze(), b.unsqueeze()).into_scalar::<f32>());
    assert!((got - want).abs() < 1e-4, "{got} instead of {want}");
    assert!(want < 0.9, "two scenes look alike");
    let same = f64::from(ssim(a.clone().unsqueeze(), a.unsqueeze()).into_scalar::<f32>());
    assert!((same - 1.0).abs() < 1e-5, "{same} of a picture with itself");
}

#[test]
fn edges_are_differences_of_neighbours() {
    let device = Device::flex();
    let error = Tensor::<4>::from_data([[[[0.0, 1.0, 1.0], [0.0, 3.0, 1.0]]]], &device);
    // Along: 1, 0, 3, 2; down: 0, 2, 0.
    let got = edge_error(error).into_scalar::<f32>();
    assert!((got - (6.0 / 4.0 + 2.0 / 3.0)).abs() < 1e-6, "{got}");
}
