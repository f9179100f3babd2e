//! The orders in which tokens can be made: RandAR's table 3 (arXiv 2412.01827) and figure A.
//!
//! Six fixed orders come from VQGAN (`taming-transformers`, `taming/modules/transformer/permuter.py`), four draw at
//! random within an idea of what should come first. All are defined here for any grid; on the published square grids of
//! even side they are the published ones. One more runs over the scales of VAR (arXiv 2404.02905).

mod path;

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

use crate::lattice::{Grid, Lattice};
use crate::{Error, Result};

pub use path::{Course, OrderPath, Stroke};

/// A generation order.
pub struct Order {
    /// What the command line and files call it.
    pub name: &'static str,
    /// What the window calls it.
    pub title: &'static str,
    /// One sentence for the tooltip.
    pub about: &'static str,
    /// Whether the seed changes it.
    pub random: bool,
    arrange: fn(Grid, &mut ChaCha8Rng) -> Vec<u32>,
}

impl Order {
    /// The raster indices of a grid's sites in generation order: a permutation of `0..grid.len()`.
    pub fn arrange(&self, grid: Grid, seed: u64) -> Vec<u32> {
        (self.arrange)(grid, &mut random(seed, ORDER_STREAM))
    }
}

/// Arranges all sites of a lattice: a permutation of `0..lattice.len()`. Lattices of several scales know one order.
///
/// # Errors
/// If the order does not exist, or cannot be followed over several scales.
pub fn arrange(name: &str, lattice: &Lattice, seed: u64) -> Result<Vec<u32>> {
    let order = by_name(name)?;
    if let [grid] = lattice.scales() {
        return Ok(order.arrange(*grid, seed));
    }
    if name != SCALES {
        let cause = format!("{} works within one grid of tokens, this model has several scales", order.title);
        return Err(Error::control("order", cause, format!("Choose {SCALES}")));
    }
    Ok((0..lattice.len() as u32).collect())
}

/// The name of the order from coarse to fine, VAR's own.
pub const SCALES: &str = "scales";

/// Finds an order by its name.
///
/// # Errors
/// Names the orders that exist.
pub fn by_name(name: &str) -> Result<&'static Order> {
    ORDERS.iter().find(|order| order.name == name).ok_or_else(|| {
        let names: Vec<_> = ORDERS.iter().map(|order| order.name).collect();
        Error::control("order", format!("there is no order “{name}”"), format!("Choose one of {}", names.join(", ")))
    })
}

/// Every order: the ten of RandAR's table 3, its default first, and VAR's.
pub const ORDERS: [Order; 11] = [
    Order {
        name: "random",
        title: "Random",
        about: "Every token anywhere: RandAR's default, best with few steps",
        random: true,
        arrange: |grid, random| shuffled((0..grid.len() as u32).collect(), random),
    },
    Order {
        name: "hierarchical",
        title: "Layout first",
        about: "Hierarchical: every other token of every other row first, for the layout; then the rest",
        random: true,
        arrange: |grid, random| {
            let coarse = |row: usize, col: usize| row.is_multiple_of(2) && col.is_multiple_of(2);
            those_first(grid, random, coarse)
        },
    },
    Order {
        name: "center-first",
        title: "Centre first",
        about: "The middle half of the picture first, then its surroundings",
        random: true,
        arrange: |grid, random| those_first(grid, random, |row, col| central(grid, row, col)),
    },
    Order {
        name: "border-first",
        title: "Border first",
        about: "The surroundings first, then the middle half of the picture",
        random: true,
        arrange: |grid, random| those_first(grid, random, |row, col| !central(grid, row, col)),
    },
    Order {
        name: "raster",
        title: "Raster",
        about: "Row by row from the top left, as most generators do",
        random: false,
        arrange: |grid, _| (0..grid.len() as u32).collect(),
    },
    Order {
        name: "spiral-in",
        title: "Spiral in",
        about: "Around the border and inwards",
        random: false,
        arrange: |grid, _| spiral_in(grid),
    },
    Order {
        name: "spiral-out",
        title: "Spiral out",
        about: "From the middle outwards",
        random: false,
        arrange: |grid, _| spiral_in(grid).into_iter().rev().collect(),
    },
    Order {
        name: "z-curve",
        title: "Z-curve",
        about: "Along Morton's curve: quarter by quarter, each again by quarters",
        random: false,
        arrange: |grid, _| sorted(grid, |row, col| interleave(row, col, |bit| bit)),
    },
    Order {
        name: "subsample",
        title: "Subsample",
        about: "Ever finer: every token comes as far as possible from those before it",
        random: false,
        arrange: |grid, _| sorted(grid, |row, col| interleave(row, col, |bit| 31 - bit)),
    },
    Order {
        name: "alternate",
        title: "Alternate",
        about: "Row by row, every second row backwards",
        random: false,
        arrange: |grid, _| {
            sorted(grid, |row, col| {
                let along = if row.is_multiple_of(2) { col } else { grid.cols - 1 - col };
                (row * grid.cols + along) as u64
            })
        },
    },
    Order {
        name: SCALES,
        title: "Scales",
        about: "The whole picture at once, ever finer, as next-scale prediction does",
        random: false,
        arrange: |grid, _| (0..grid.len() as u32).collect(),
    },
];

/// Shuffles by Fisher and Yates' method. Written out so that a seed means the same order in every version.
pub(crate) fn shuffle<T>(items: &mut [T], random: &mut ChaCha8Rng) {
    for last in (1..items.len()).rev() {
        let other = (u64::from(random.next_u32()) * (last as u64 + 1)) >> 32;
        items.swap(last, other as usize);
    }
}

/// The generator of what is drawn before the first step, on a stream of its own.
pub(crate) fn random(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut random = ChaCha8Rng::seed_from_u64(seed);
    random.set_stream(stream);
    random
}

/// A number in 0..1.
pub(crate) fn uniform(random: &mut ChaCha8Rng) -> f32 {
    (random.next_u32() >> 8) as f32 / (1 << 24) as f32
}

/// Keeps the choice of dropped tokens apart from orders and sampling.
pub(crate) const DROP_STREAM: u64 = u64::MAX - 1;

/// Keeps the order's randomness apart from that of sampling, whose streams are `step << 32 | site`.
const ORDER_STREAM: u64 = u64::MAX;

fn shuffled(mut sites: Vec<u32>, random: &mut ChaCha8Rng) -> Vec<u32> {
    shuffle(&mut sites, random);
    sites
}

/// The chosen sites in random order, then the others in random order (`resolution_extrapolation.py`).
fn those_first(grid: Grid, random: &mut ChaCha8Rng, chosen: impl Fn(usize, usize) -> bool) -> Vec<u32> {
    let (first, rest): (Vec<u32>, Vec<u32>) =
        (0..grid.len() as u32).partition(|site| chosen(*site as usize / grid.cols, *site as usize % grid.cols));
    [shuffled(first, random), shuffled(rest, random)].concat()
}

/// Whether a site lies in the middle half of both axes: from a quarter to three quarters.
fn central(grid: Grid, row: usize, col: usize) -> bool {
    let middle = |at: usize, of: usize| (of / 4..of - of / 4).contains(&at);
    middle(row, grid.rows) && middle(col, grid.cols)
}

fn sorted(grid: Grid, key: impl Fn(usize, usize) -> u64) -> Vec<u32> {
    let mut sites: Vec<u32> = (0..grid.len() as u32).collect();
    sites.sort_by_key(|site| key(*site as usize / grid.cols, *site as usize % grid.cols));
    sites
}

/// A key of alternating bits, the row's above the column's, with bit `b` of each at height `place(b)`.
fn interleave(row: usize, col: usize, place: impl Fn(u32) -> u32) -> u64 {
    (0..32).fold(0, |key, bit| {
        let pair = ((row as u64 >> bit & 1) << 1) | (col as u64 >> bit & 1);
        key | pair << (2 * place(bit))
    })
}

/// From the lower right corner up, left along the top, down and back, and so on inwards.
fn spiral_in(grid: Grid) -> Vec<u32> {
    let mut sites = Vec::with_capacity(grid.len());
    let (mut top, mut bottom, mut left, mut right) = (0, grid.rows, 0, grid.cols);
    let mut push = |row: usize, col: usize| sites.push((row * grid.cols + col) as u32);
    while top < bottom && left < right {
        (top..bottom).rev().for_each(|row| push(row, right - 1));
        right -= 1;
        (left..right).rev().for_each(|col| push(top, col));
        top += 1;
        if left < right {
            (top..bottom).for_each(|row| push(row, left));
            left += 1;
        }
        if top < bottom {
            (left..right).for_each(|col| push(bottom - 1, col));
            bottom -= 1;
        }
    }
    sites
}
