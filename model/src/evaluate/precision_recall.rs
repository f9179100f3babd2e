//! Fidelity and diversity apart, over features: improved precision and recall (Kynkäänniemi et al., arXiv 1904.06991),
//! density and coverage (Naeem et al., arXiv 2002.09797).
//!
//! Around every picture lies a ball that reaches to its k-th nearest neighbour of the same set; a set's balls together
//! are its manifold.

/// The neighbour that a ball reaches to for precision and recall, as published.
const NEAREST: usize = 3;
/// The same for density and coverage, as published.
const NEAREST_OF_DENSITY: usize = 5;

/// The four figures. Precision, recall and coverage are shares; density has no upper bound, and 1 is its mean over real
/// pictures.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Manifolds {
    /// The share of made pictures within the manifold of the real ones.
    pub precision: f64,
    /// The share of real pictures within the manifold of the made ones.
    pub recall: f64,
    /// In how many real pictures' balls a made one lies, over how many there should be.
    pub density: f64,
    /// The share of real pictures with a made one in their ball.
    pub coverage: f64,
}

impl Manifolds {
    /// The fewest pictures of a set that have balls.
    pub const FEWEST: usize = NEAREST_OF_DENSITY + 1;

    /// Of two sets of features, `[pictures][dim]`, each of [`Manifolds::FEWEST`] or more.
    pub fn of(real: &[Vec<f64>], made: &[Vec<f64>]) -> Self {
        let (of_real, of_made) = (radii(real, NEAREST), radii(made, NEAREST));
        let of_density = radii(real, NEAREST_OF_DENSITY);
        let within = |picture: &Vec<f64>, centres: &[Vec<f64>], radii: &[f64]| {
            centres.iter().zip(radii).filter(|(centre, radius)| squared_distance(picture, centre) <= **radius).count()
        };
        let share = |pictures: &[Vec<f64>], centres: &[Vec<f64>], radii: &[f64]| {
            let inside = pictures.iter().filter(|picture| within(picture, centres, radii) > 0).count();
            inside as f64 / pictures.len() as f64
        };
        let balls: usize = made.iter().map(|picture| within(picture, real, &of_density)).sum();
        let covered = real
            .iter()
            .zip(&of_density)
            .filter(|(centre, radius)| made.iter().any(|picture| squared_distance(picture, centre) <= **radius));
        Self {
            precision: share(made, real, &of_real),
            recall: share(real, made, &of_made),
            density: balls as f64 / (NEAREST_OF_DENSITY * made.len()) as f64,
            coverage: covered.count() as f64 / real.len() as f64,
        }
    }
}

/// The squared distance from each picture to its k-th nearest neighbour among the others.
fn radii(pictures: &[Vec<f64>], k: usize) -> Vec<f64> {
    let radius = |(own, centre): (usize, &Vec<f64>)| {
        let others = pictures.iter().enumerate().filter(|(index, _)| *index != own);
        let mut distances: Vec<f64> = others.map(|(_, other)| squared_distance(centre, other)).collect();
        distances.sort_by(f64::total_cmp);
        distances.get(k - 1).copied().unwrap_or(0.0)
    };
    pictures.iter().enumerate().map(radius).collect()
}

fn squared_distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum()
}
