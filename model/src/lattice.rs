//! Where tokens live: one grid for VQ tokenizers, several grids from coarse to fine for VAR.

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

    /// Every site, coarse to fine, in raster order.
    pub fn sites(&self) -> impl Iterator<Item = Site> + use<> {
        (0..self.len() as u32).map(Site)
    }
}
