//! The outline of a mask: where it is half on, as closed lines, by marching squares.

use andamento_model::picture::{Mask, Rect};
use egui::{Pos2, pos2};

/// Where the line runs.
const HALF: f32 = 127.5;
/// No neighbour.
const NONE: u32 = u32::MAX;

/// Closed lines in canvas pixels around everything within `area` that is more than half on, looked at in every so many
/// pixels. They run along the area's edge where the mask goes on beyond it.
pub(super) fn outline(mask: &Mask, area: Rect, step: u32) -> Vec<Vec<Pos2>> {
    let (area, step) = (area.intersect(mask.rect()), step.max(1));
    if area.is_empty() || mask.flat(area) == Some(0) {
        return Vec::new();
    }
    // One ring of points outside closes what reaches the edge.
    let (cols, rows) = (area.width.div_ceil(step) + 2, area.height.div_ceil(step) + 2);
    let (left, top) = (area.x as u32, area.y as u32);
    let on = |col: u32, row: u32| match (col.checked_sub(1), row.checked_sub(1)) {
        (Some(col), Some(row)) if col + 2 < cols && row + 2 < rows => {
            let (x, y) = (left + col * step + step / 2, top + row * step + step / 2);
            f32::from(mask.get(x.min(area.right() as u32 - 1), y.min(area.bottom() as u32 - 1))) - HALF
        }
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
        pos2(left as f32 + at(col, right, area.width), top as f32 + at(row, down, area.height))
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
