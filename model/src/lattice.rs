//! Where tokens live: one grid for VQ tokenizers, several grids from coarse to fine for VAR.

use std::ops::Range;

/// A code of the tokenizer's codebook.
pub type Token = u32;

/// A place for one token: its index in the lattice, scale by scale, each scale in raster order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Site(pub u32);

impl Site {
    /// The site as an index into a slice over the lattice.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// One scale: `rows` by `cols` sites.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Grid {
    /// Number of rows.
    pub rows: usize,
    /// Number of columns.
    pub cols: usize,
}

impl Grid {
    /// A grid of `rows` by `cols` sites.
    pub const fn new(rows: usize, cols: usize) -> Self {
        Self { rows, cols }
    }

    /// Number of sites.
    pub const fn len(&self) -> usize {
        self.rows * self.cols
    }

    /// Whether the grid has no sites.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Scales of up to so many sites are kept whole in editing (`demo_zero_shot_edit.ipynb`: `p * p <= 3`).
const PUBLISHED_ALWAYS_KEPT: usize = 3;

/// Between which two of `source` samples one of `target` lies, and how far towards the second, for bilinear resizing
/// without aligned corners (`torch.nn.functional.interpolate`).
fn between(index: usize, target: usize, source: usize) -> (usize, usize, f32) {
    let position = ((index as f32 + 0.5) * (source as f32 / target as f32) - 0.5).max(0.0);
    let first = (position as usize).min(source - 1);
    (first, (first + 1).min(source - 1), position - first as f32)
}

/// All sites of a picture, as scales from coarse to fine.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct Lattice {
    scales: Vec<Grid>,
    /// How many sites lie along an axis where the coarse grid has one; a file's 0 means 1.
    #[serde(default = "unrefined")]
    refinement: usize,
}

fn unrefined() -> usize {
    1
}

impl Lattice {
    /// A lattice of one grid.
    pub fn grid(rows: usize, cols: usize) -> Self {
        Self { scales: vec![Grid::new(rows, cols)], refinement: 1 }
    }

    /// A grid over the same picture as `coarse`, with `factor` sites along each axis for one: resolution extrapolation.
    pub fn refined(coarse: Grid, factor: usize) -> Self {
        let factor = factor.max(1);
        Self { scales: vec![Grid::new(coarse.rows * factor, coarse.cols * factor)], refinement: factor }
    }

    /// How many sites lie along an axis where the coarse grid has one; 1 unless the lattice is refined.
    pub fn refinement(&self) -> usize {
        self.refinement.max(1)
    }

    /// Of a refined lattice, the grid it refines.
    pub fn coarse(&self) -> Grid {
        let (fine, factor) = (self.finest(), self.refinement());
        Grid::new(fine.rows / factor, fine.cols / factor)
    }

    /// The site of the coarse grid that this site stands for: one at every `refinement`-th row and column.
    pub fn coarse_site(&self, site: Site) -> Option<Site> {
        let (cols, factor) = (self.finest().cols, self.refinement());
        let (row, col) = (site.index() / cols, site.index() % cols);
        let stands = row.is_multiple_of(factor) && col.is_multiple_of(factor);
        stands.then(|| Site((row / factor * self.coarse().cols + col / factor) as u32))
    }

    /// A lattice of several grids, from coarse to fine.
    pub fn of_scales(scales: Vec<Grid>) -> Self {
        Self { scales, refinement: 1 }
    }

    /// The scales from coarse to fine; VQ lattices have one.
    pub fn scales(&self) -> &[Grid] {
        &self.scales
    }

    /// The finest grid, which covers the picture at the tokenizer's own stride.
    pub fn finest(&self) -> Grid {
        self.scales.last().copied().unwrap_or(Grid::new(0, 0))
    }

    /// Number of sites over all scales.
    pub fn len(&self) -> usize {
        self.scales.iter().map(Grid::len).sum()
    }

    /// Whether there are no sites.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The sites of a scale, as a range of their numbers.
    pub fn scale(&self, scale: usize) -> Range<u32> {
        let first: usize = self.scales[..scale].iter().map(Grid::len).sum();
        first as u32..(first + self.scales[scale].len()) as u32
    }

    /// The scale that a site belongs to, 0 the coarsest; the number of scales for a site that is not on the lattice.
    pub fn scale_of(&self, site: Site) -> usize {
        let mut end = 0;
        let mut beyond = |grid: &Grid| {
            end += grid.len();
            end <= site.index()
        };
        self.scales.iter().copied().take_while(|grid| beyond(grid)).count()
    }

    /// Where a site lies: the grid of its scale, its row and its column; none if it is not on the lattice.
    pub fn cell(&self, site: Site) -> Option<(Grid, usize, usize)> {
        let scale = self.scale_of(site);
        let grid = *self.scales.get(scale)?;
        let index = site.index() - self.scale(scale).start as usize;
        Some((grid, index / grid.cols, index % grid.cols))
    }

    /// Which sites are to be made, over all scales, from those of the finest grid in raster order.
    ///
    /// Coarser scales follow the published rule of VAR's editing (`demo_zero_shot_edit.ipynb`): what is kept, as ones, is
    /// resized bilinearly (corners not aligned, no anti-aliasing), and a site is kept where the value is above one half. A
    /// scale of a single site is always kept: the global token comes from the picture. Where nothing at all is kept, no
    /// scale is: a whole new picture takes nothing from the old one.
    pub fn masked(&self, finest: &[bool]) -> Vec<bool> {
        let grid = self.finest();
        if finest.iter().all(|masked| *masked) {
            return vec![true; self.len()];
        }
        let kept = |row: usize, col: usize| if finest[row * grid.cols + col] { 0.0 } else { 1.0 };
        let mut masked = Vec::with_capacity(self.len());
        for scale in &self.scales {
            let sites = (0..scale.rows).flat_map(|row| (0..scale.cols).map(move |col| (row, col)));
            masked.extend(sites.map(|(row, col)| {
                let (above, below, down) = between(row, scale.rows, grid.rows);
                let (left, right, along) = between(col, scale.cols, grid.cols);
                let upper = kept(above, left) * (1.0 - along) + kept(above, right) * along;
                let lower = kept(below, left) * (1.0 - along) + kept(below, right) * along;
                let value = upper * (1.0 - down) + lower * down;
                scale.len() > PUBLISHED_ALWAYS_KEPT && value <= 0.5
            }));
        }
        masked
    }

    /// Every site, coarse to fine, in raster order.
    pub fn sites(&self) -> impl Iterator<Item = Site> + use<> {
        (0..self.len() as u32).map(Site)
    }
}
