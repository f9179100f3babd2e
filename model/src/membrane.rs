//! A membrane: the smooth surface over a part of the canvas that is fixed at its edge (Laplace's equation), as in seamless
//! cloning. It is found on coarser and coarser grids first (cascadic multigrid), so that it costs little at any size.

use std::collections::VecDeque;

use crate::picture::Rect;

/// Sweeps over each grid, which smooth out what the coarser one could not tell.
const SWEEPS: usize = 8;
/// Each sweep goes somewhat further than to the mean of the neighbours, which is faster.
const OVER: f32 = 1.5;

/// What is known of a cell.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Cell {
    /// It plays no part.
    Void,
    /// Its value is given.
    Fixed,
    /// Its value is looked for.
    Free,
}

/// A surface of three levels, red, green and blue, over a rectangle of the canvas.
pub(crate) struct Membrane {
    area: Rect,
    cells: Vec<Cell>,
    levels: Vec<[f32; 3]>,
}

impl Membrane {
    /// A surface that plays no part anywhere yet.
    pub(crate) fn new(area: Rect) -> Self {
        let cells = area.width as usize * area.height as usize;
        Self { area, cells: vec![Cell::Void; cells], levels: vec![[0.0; 3]; cells] }
    }

    /// Leaves a cell, counted row by row, to the membrane.
    pub(crate) fn free(&mut self, index: usize) {
        self.cells[index] = Cell::Free;
    }

    /// Fixes a cell.
    pub(crate) fn fix(&mut self, index: usize, levels: [f32; 3]) {
        (self.cells[index], self.levels[index]) = (Cell::Fixed, levels);
    }

    /// Lets it take its shape. Without anything fixed it stays at zero.
    pub(crate) fn settle(&mut self) {
        let (width, height) = (self.area.width as usize, self.area.height as usize);
        settle(&self.cells, &mut self.levels, width, height);
    }

    /// Multiplies every cell's levels.
    pub(crate) fn scale(&mut self, by: impl Fn(usize) -> f32) {
        self.levels.iter_mut().enumerate().for_each(|(index, levels)| {
            let by = by(index);
            *levels = levels.map(|level| level * by);
        });
    }

    /// Whether anything is fixed.
    pub(crate) fn is_held(&self) -> bool {
        self.cells.contains(&Cell::Fixed)
    }

    /// For every free cell how many steps from neighbour to neighbour it is away from a fixed one; very many where none can
    /// be reached.
    pub(crate) fn depths(&self) -> Vec<u32> {
        let (width, height) = (self.area.width as usize, self.area.height as usize);
        let mut depths = vec![u32::MAX; self.cells.len()];
        let mut reached: VecDeque<usize> =
            (0..depths.len()).filter(|index| self.cells[*index] == Cell::Fixed).collect();
        reached.iter().for_each(|index| depths[*index] = 0);
        while let Some(index) = reached.pop_front() {
            for other in beside(index, width, height) {
                if self.cells[other] == Cell::Free && depths[other] == u32::MAX {
                    depths[other] = depths[index] + 1;
                    reached.push_back(other);
                }
            }
        }
        depths
    }

    /// The cell of a canvas pixel; none beyond the rectangle.
    pub(crate) fn index(&self, x: u32, y: u32) -> Option<usize> {
        let inside = self.area.contains_pixel(x.into(), y.into());
        let (x, y) = ((i64::from(x) - self.area.x) as usize, (i64::from(y) - self.area.y) as usize);
        inside.then(|| y * self.area.width as usize + x)
    }

    /// The levels of a cell.
    pub(crate) fn level(&self, index: usize) -> [f32; 3] {
        self.levels[index]
    }
}

/// The neighbours of a cell.
fn beside(index: usize, width: usize, height: usize) -> impl Iterator<Item = usize> {
    let (x, y) = (index % width, index / width);
    let left = (x > 0).then(|| index - 1);
    let right = (x + 1 < width).then(|| index + 1);
    let above = (y > 0).then(|| index - width);
    let below = (y + 1 < height).then(|| index + width);
    [left, right, above, below].into_iter().flatten()
}

fn settle(cells: &[Cell], levels: &mut [[f32; 3]], width: usize, height: usize) {
    if width.max(height) <= 1 || !cells.contains(&Cell::Free) || !cells.contains(&Cell::Fixed) {
        return;
    }
    let (coarse_width, coarse_height) = (width.div_ceil(2), height.div_ceil(2));
    let (coarse_cells, mut coarse) = halved(cells, levels, width, height);
    settle(&coarse_cells, &mut coarse, coarse_width, coarse_height);
    for index in (0..cells.len()).filter(|index| cells[*index] == Cell::Free) {
        levels[index] = between(&coarse_cells, &coarse, (coarse_width, coarse_height), index % width, index / width);
    }
    for sweep in 0..SWEEPS {
        let relax = |index: usize, levels: &mut [[f32; 3]]| {
            if cells[index] == Cell::Free {
                relax(cells, levels, (width, height), index);
            }
        };
        if sweep % 2 == 0 {
            (0..cells.len()).for_each(|index| relax(index, levels));
        } else {
            (0..cells.len()).rev().for_each(|index| relax(index, levels));
        }
    }
}

/// Moves a cell towards the mean of its neighbours. What plays no part does not pull.
fn relax(cells: &[Cell], levels: &mut [[f32; 3]], (width, height): (usize, usize), index: usize) {
    let (mut sum, mut count) = ([0.0; 3], 0.0);
    for other in beside(index, width, height).filter(|other| cells[*other] != Cell::Void) {
        sum.iter_mut().zip(levels[other]).for_each(|(sum, level)| *sum += level);
        count += 1.0;
    }
    if count > 0.0 {
        levels[index].iter_mut().zip(sum).for_each(|(level, sum)| *level += OVER * (sum / count - *level));
    }
}

/// A grid of half the size: a cell is fixed where one of its four is, at the mean of those.
fn halved(cells: &[Cell], levels: &[[f32; 3]], width: usize, height: usize) -> (Vec<Cell>, Vec<[f32; 3]>) {
    let half = width.div_ceil(2);
    let cell = |index: usize| {
        let (x, y) = (index % half * 2, index / half * 2);
        let four = (y..(y + 2).min(height)).flat_map(|y| (x..(x + 2).min(width)).map(move |x| y * width + x));
        let (mut sum, mut fixed, mut free) = ([0.0; 3], 0.0, false);
        for index in four {
            free |= cells[index] == Cell::Free;
            if cells[index] == Cell::Fixed {
                sum.iter_mut().zip(levels[index]).for_each(|(sum, level)| *sum += level);
                fixed += 1.0;
            }
        }
        match (fixed > 0.0, free) {
            (true, _) => (Cell::Fixed, sum.map(|sum| sum / fixed)),
            (false, true) => (Cell::Free, [0.0; 3]),
            (false, false) => (Cell::Void, [0.0; 3]),
        }
    };
    (0..half * height.div_ceil(2)).map(cell).unzip()
}

/// The levels of a coarse grid at a cell of the finer one, interpolated linearly between the cells that play a part.
fn between(cells: &[Cell], coarse: &[[f32; 3]], (width, height): (usize, usize), x: usize, y: usize) -> [f32; 3] {
    let near = |at: usize, size: usize| {
        let other = if at.is_multiple_of(2) { (at / 2).saturating_sub(1) } else { at / 2 + 1 };
        [(at / 2, 0.75), (other.min(size - 1), 0.25)]
    };
    let (mut sum, mut total) = ([0.0; 3], 0.0);
    for (row, down) in near(y, height) {
        for (col, across) in near(x, width) {
            let index = row * width + col;
            if cells[index] != Cell::Void {
                sum.iter_mut().zip(coarse[index]).for_each(|(sum, level)| *sum += down * across * level);
                total += down * across;
            }
        }
    }
    // The cell above a free one is never void.
    sum.map(|sum| sum / total)
}
