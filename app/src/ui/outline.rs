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
    let mut bytes = vec![0; (cols * rows) as usize];
    for (row, points) in (0..).zip(bytes.chunks_exact_mut(cols as usize).skip(1).take(rows as usize - 2)) {
        let y = i64::from(row * step + step / 2).min(i64::from(area.height) - 1);
        let line = mask.copied(Rect::new(area.x, area.y + y, area.width, 1));
        let middles = (step / 2..).step_by(step as usize).map(|x| line[(x as usize).min(line.len() - 1)]);
        points[1..cols as usize - 1].iter_mut().zip(middles).for_each(|(point, byte)| *point = byte);
    }
    let value = |col: u32, row: u32| f32::from(bytes[(row * cols + col) as usize]) - HALF;
    let mut next = vec![NONE; bytes.len() * 2];
    let mut starts = Vec::new();
    let pairs = bytes.chunks_exact(cols as usize).zip(bytes.chunks_exact(cols as usize).skip(1));
    for (row, (upper, lower)) in (0..).zip(pairs) {
        for (col, (upper, lower)) in (0..).zip(upper.windows(2).zip(lower.windows(2))) {
            let corners = [upper[0], upper[1], lower[1], lower[0]].map(|byte| f32::from(byte) > HALF);
            if corners.iter().any(|on| *on != corners[0]) {
                link(&mut next, &mut starts, row * cols + col, cols, corners);
            }
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
    for start in starts {
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

/// Links the edges of one cell, given which of its corners are on, clockwise from the upper left: a line comes in where going
/// around clockwise turns on, and leaves where it turns off next.
fn link(next: &mut [u32], starts: &mut Vec<u32>, cell: u32, cols: u32, corners: [bool; 4]) {
    let edges = [2 * cell, 2 * (cell + 1) + 1, 2 * (cell + cols), 2 * cell + 1];
    let on = |corner: usize| corners[corner % 4];
    for side in (0..4).filter(|side| !on(*side) && on(side + 1)) {
        let leaves = (side + 1..side + 4).find(|side| on(*side) && !on(side + 1));
        if let Some(leaves) = leaves {
            next[edges[side] as usize] = edges[leaves % 4];
            starts.push(edges[side]);
        }
    }
}
