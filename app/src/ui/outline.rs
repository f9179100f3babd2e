//! The outline of a mask: where it is half on, as closed lines, by marching squares.

use andamento_model::picture::Mask;
use egui::{Pos2, pos2};

/// The mask is looked at in at most so many points along its longer side.
const POINTS: u32 = 512;
/// Where the line runs.
const HALF: f32 = 127.5;
/// No neighbour.
const NONE: u32 = u32::MAX;

/// Closed lines in canvas pixels around everything that is more than half on.
pub(super) fn outline(mask: &Mask) -> Vec<Vec<Pos2>> {
    let step = mask.width().max(mask.height()).div_ceil(POINTS).max(1);
    // One ring of points outside of the canvas closes what reaches its edge.
    let (cols, rows) = (mask.width().div_ceil(step) + 2, mask.height().div_ceil(step) + 2);
    let on = |col: u32, row: u32| match (col.checked_sub(1), row.checked_sub(1)) {
        (Some(col), Some(row)) => f32::from(mask.get(col * step + step / 2, row * step + step / 2)) - HALF,
        _ => -HALF,
    };
    let values: Vec<f32> =
        (0..rows).flat_map(|row| (0..cols).map(move |col| (col, row))).map(|(col, row)| on(col, row)).collect();
    let value = |col: u32, row: u32| values[(row * cols + col) as usize];
    let mut next = vec![NONE; 2 * (cols * rows) as usize];
    for row in 0..rows - 1 {
        for col in 0..cols - 1 {
            link(
                &mut next,
                col,
                row,
                cols,
                [value(col, row), value(col + 1, row), value(col + 1, row + 1), value(col, row + 1)],
            );
        }
    }
    let point = |edge: u32| {
        let (col, row) = (edge / 2 % cols, edge / 2 / cols);
        let (right, down) = if edge.is_multiple_of(2) { (1, 0) } else { (0, 1) };
        let (a, b) = (value(col, row), value(col + right, row + down));
        let share = a / (a - b);
        let at = |index: u32, along: u32, length: u32| {
            let at = (index as f32 - 0.5 + along as f32 * share) * step as f32;
            at.clamp(0.0, length as f32)
        };
        pos2(at(col, right, mask.width()), at(row, down, mask.height()))
    };
    let mut lines = Vec::new();
    for start in 0..next.len() as u32 {
        let mut line = Vec::new();
        let mut edge = start;
        while next[edge as usize] != NONE {
            line.push(point(edge));
            edge = std::mem::replace(&mut next[edge as usize], NONE);
        }
        if let Some(first) = line.first().copied() {
            line.push(first);
            lines.push(line);
        }
    }
    lines
}

/// Links the edges of one cell, given its corners clockwise from the upper left: a line comes in where going around
/// clockwise turns on, and leaves where it turns off next.
fn link(next: &mut [u32], col: u32, row: u32, cols: u32, corners: [f32; 4]) {
    let cell = row * cols + col;
    let edges = [2 * cell, 2 * (cell + 1) + 1, 2 * (cell + cols), 2 * cell + 1];
    let on = |corner: usize| corners[corner % 4] > 0.0;
    for side in (0..4).filter(|side| !on(*side) && on(side + 1)) {
        let leaves = (side + 1..side + 4).find(|side| on(*side) && !on(side + 1));
        if let Some(leaves) = leaves {
            next[edges[side] as usize] = edges[leaves % 4];
        }
    }
}
