//! The painted order: strokes over the canvas, along which tokens are made before all others.

use serde::{Deserialize, Serialize};

use super::arrange;
use crate::frame::Frame;
use crate::lattice::{Grid, Lattice, Site};
use crate::picture::Rect;
use crate::{Error, Result};

/// More points than a hand paints.
const MOST_POINTS: usize = 1 << 16;
/// The widest stroke, in canvas pixels.
const MOST_WIDTH: f32 = 65536.0;
/// Further from the canvas's corner no point lies, in canvas pixels.
const REACH: f32 = (1 << 28) as f32;

/// One stroke of a path.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stroke {
    /// How wide it is, in canvas pixels: the brush's diameter.
    pub width: f32,
    /// Where it runs, in canvas points: x to the right, y downwards.
    pub points: Vec<(f32, f32)>,
    /// Whether it takes tokens back out of the path.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub erase: bool,
}

/// The path along which tokens are made: strokes in the sequence in which they were painted.
///
/// A token lies on it from the moment at which a stroke first touches any part of it; of those that are touched at once the
/// one whose middle is nearest to the brush's comes first. Strokes that erase take out what was on it until then.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderPath {
    strokes: Vec<Stroke>,
}

impl OrderPath {
    /// A path of strokes.
    ///
    /// # Errors
    /// If a number means nothing, or there are far too many points.
    pub fn new(strokes: Vec<Stroke>) -> Result<Self> {
        let path = Self { strokes };
        path.check()?;
        Ok(path)
    }

    /// The strokes, oldest first.
    pub fn strokes(&self) -> &[Stroke] {
        &self.strokes
    }

    /// Whether nothing was painted.
    pub fn is_empty(&self) -> bool {
        self.strokes.iter().all(|stroke| stroke.erase || stroke.points.is_empty())
    }

    /// Refuses what no canvas has.
    ///
    /// # Errors
    /// Names what is wrong.
    pub fn check(&self) -> Result<()> {
        let refuse = |cause: String| Err(Error::control("order path", cause, "Paint it again"));
        let points = self.strokes.iter().map(|stroke| stroke.points.len()).sum::<usize>();
        if points > MOST_POINTS {
            return refuse(format!("it has {points} points, more than {MOST_POINTS}"));
        }
        for Stroke { width, points, .. } in &self.strokes {
            if !(*width > 0.0 && *width <= MOST_WIDTH) {
                return refuse(format!("a stroke of {width} pixels is not between 0 and {MOST_WIDTH} wide"));
            }
            if let Some((x, y)) = points.iter().find(|(x, y)| !(x.abs() <= REACH && y.abs() <= REACH)) {
                return refuse(format!("the point {x}, {y} lies on no canvas"));
            }
        }
        Ok(())
    }

    /// The same with one more stroke.
    ///
    /// # Errors
    /// As [`OrderPath::new`].
    pub fn with(&self, stroke: Stroke) -> Result<Self> {
        Self::new(self.strokes.iter().cloned().chain([stroke]).collect())
    }

    /// The same on a canvas that has grown by so many pixels on the left and above.
    #[must_use]
    pub fn shifted(&self, left: u32, top: u32) -> Self {
        let mut path = self.clone();
        for (x, y) in path.strokes.iter_mut().flat_map(|stroke| &mut stroke.points) {
            (*x, *y) = (*x + left as f32, *y + top as f32);
        }
        path
    }

    /// The sites of a frame's grid that lie on the path, in the sequence in which they are made; none where tokens lie on
    /// several scales.
    pub fn sites(&self, frame: &Frame, lattice: &Lattice) -> Vec<u32> {
        let ([grid], false) = (lattice.scales(), frame.rect.is_empty()) else { return Vec::new() };
        let mut on = vec![false; grid.len()];
        let mut path = Vec::new();
        for stroke in &self.strokes {
            let mut open: Vec<bool> = on.iter().map(|on| *on == stroke.erase).collect();
            for site in stroke.touched(frame, *grid, &mut open) {
                on[site as usize] = !stroke.erase;
                path.push(site);
            }
            if stroke.erase {
                path.retain(|site| on[*site as usize]);
            }
        }
        path
    }

    /// What is left of the middle lines of its strokes, in canvas points, for drawing.
    pub fn lines(&self) -> Vec<Vec<(f32, f32)>> {
        let mut lines = Vec::new();
        for (index, stroke) in self.strokes.iter().enumerate().filter(|(_, stroke)| !stroke.erase) {
            let erasers: Vec<&Stroke> = self.strokes[index + 1..].iter().filter(|later| later.erase).collect();
            if erasers.is_empty() {
                lines.push(stroke.points.clone());
                continue;
            }
            let finest = erasers.iter().map(|eraser| eraser.width).fold(f32::MAX, f32::min) / 4.0;
            let points = finely(&stroke.points, finest.max(0.5));
            if points.iter().all(|point| is_left(*point, &erasers)) {
                lines.push(stroke.points.clone());
                continue;
            }
            let parts = points.chunk_by(|a, b| is_left(*a, &erasers) == is_left(*b, &erasers));
            lines.extend(parts.filter(|part| is_left(part[0], &erasers)).map(<[_]>::to_vec));
        }
        lines
    }
}

/// In which sequence the tokens of a request are made.
#[derive(Debug, Clone, Copy)]
pub struct Course<'a> {
    /// The name of the order.
    pub order: &'a str,
    /// Where a random order starts.
    pub seed: u64,
    /// What comes before all others.
    pub path: &'a OrderPath,
}

impl Course<'_> {
    /// All sites of a frame's lattice, those to be made (`masked`) that lie on the path first, the others in the named order;
    /// and which these first ones are. A refined lattice begins with its coarse grid all the same, on the path and beside it.
    ///
    /// # Errors
    /// As [`arrange`].
    pub fn arrange(&self, frame: &Frame, lattice: &Lattice, masked: &[bool]) -> Result<(Vec<u32>, Vec<u32>)> {
        let order = arrange(self.order, lattice, self.seed)?;
        let mut led = self.path.sites(frame, lattice);
        led.retain(|site| masked[*site as usize]);
        if led.is_empty() {
            return Ok((order, led));
        }
        let mut first = vec![false; lattice.len()];
        led.iter().for_each(|site| first[*site as usize] = true);
        let rest = order.into_iter().filter(|site| !first[*site as usize]);
        let all = led.iter().copied().chain(rest);
        if lattice.refinement() == 1 {
            return Ok((all.collect(), led));
        }
        let (coarse, fine): (Vec<u32>, Vec<u32>) = all.partition(|site| lattice.coarse_site(Site(*site)).is_some());
        Ok(([coarse, fine].concat(), led))
    }
}

impl Stroke {
    /// The open sites that it touches, in the sequence in which it first touches them. They are closed then.
    fn touched(&self, frame: &Frame, grid: Grid, open: &mut [bool]) -> Vec<u32> {
        let radius = f64::from(self.width) / 2.0;
        let points: Vec<Point> = self.points.iter().map(|(x, y)| (f64::from(*x), f64::from(*y))).collect();
        let dot = points.first().map(|first| (*first, *first));
        let mut touched = Vec::new();
        for (from, to) in dot.into_iter().chain(points.windows(2).map(|pair| (pair[0], pair[1]))) {
            let mut here: Vec<(f64, f64, u32)> = Vec::new();
            for (row, col) in near(frame, grid, from, to, radius) {
                let site = row * grid.cols + col;
                let rect = frame.site_rect(row, col, grid.rows, grid.cols);
                if open[site]
                    && let Some(when) = first_touch(from, to, radius, rect)
                {
                    let brush = (from.0 + when * (to.0 - from.0), from.1 + when * (to.1 - from.1));
                    let middle =
                        (rect.x as f64 + f64::from(rect.width) / 2.0, rect.y as f64 + f64::from(rect.height) / 2.0);
                    here.push((when, square(brush, middle), site as u32));
                }
            }
            here.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.total_cmp(&b.1)).then(a.2.cmp(&b.2)));
            here.iter().for_each(|(.., site)| open[*site as usize] = false);
            touched.extend(here.into_iter().map(|(.., site)| site));
        }
        touched
    }

    /// Whether a point lies beneath it.
    fn covers(&self, (x, y): (f32, f32)) -> bool {
        let radius = f64::from(self.width) / 2.0;
        let at = (f64::from(x), f64::from(y));
        let wide = |(x, y): (f32, f32)| (f64::from(x), f64::from(y));
        let dot = self.points.iter().take(1).map(|point| (*point, *point));
        let mut segments = dot.chain(self.points.windows(2).map(|pair| (pair[0], pair[1])));
        segments.any(|(from, to)| circle(wide(from), wide(to), at, radius).is_some())
    }
}

type Point = (f64, f64);

fn square(a: Point, b: Point) -> f64 {
    (a.0 - b.0).powi(2) + (a.1 - b.1).powi(2)
}

/// Rows and columns of the sites that a brush may touch on its way.
fn near(
    frame: &Frame,
    grid: Grid,
    from: Point,
    to: Point,
    radius: f64,
) -> impl Iterator<Item = (usize, usize)> + use<> {
    let along = |from: f64, to: f64, start: i64, side: u32, count: usize| {
        let index = |at: f64| (at - start as f64) * count as f64 / f64::from(side);
        let (low, high) = (index(from.min(to) - radius).floor() - 1.0, index(from.max(to) + radius).ceil() + 1.0);
        low.clamp(0.0, count as f64) as usize..high.clamp(0.0, count as f64) as usize
    };
    let rect = frame.rect;
    let cols = along(from.0, to.0, rect.x, rect.width, grid.cols);
    let rows = along(from.1, to.1, rect.y, rect.height, grid.rows);
    rows.flat_map(move |row| cols.clone().map(move |col| (row, col)))
}

/// At which share of the way a disc first touches a rectangle: when its middle enters the rectangle grown by its radius, with
/// rounded corners.
fn first_touch(from: Point, to: Point, radius: f64, rect: Rect) -> Option<f64> {
    let (left, top, right, bottom) = (rect.x as f64, rect.y as f64, rect.right() as f64, rect.bottom() as f64);
    let boxed = |across: f64, down: f64| {
        let (enter, leave) = span(from.0, to.0, left - across, right + across)?;
        let (later, sooner) = span(from.1, to.1, top - down, bottom + down)?;
        let (enter, leave) = (enter.max(later), leave.min(sooner));
        (enter <= leave).then_some(enter)
    };
    let corners = [(left, top), (right, top), (left, bottom), (right, bottom)];
    let corners = corners.into_iter().filter_map(|corner| circle(from, to, corner, radius));
    let sides = [boxed(radius, 0.0), boxed(0.0, radius)].into_iter().flatten();
    corners.chain(sides).min_by(f64::total_cmp)
}

/// The part of the way, from 0 to 1, on which a number lies between two bounds.
fn span(from: f64, to: f64, low: f64, high: f64) -> Option<(f64, f64)> {
    let along = to - from;
    if along == 0.0 {
        return (low..=high).contains(&from).then_some((0.0, 1.0));
    }
    let (a, b) = ((low - from) / along, (high - from) / along);
    let (enter, leave) = (a.min(b).max(0.0), a.max(b).min(1.0));
    (enter <= leave).then_some((enter, leave))
}

/// At which share of the way a point comes within so much of another one.
fn circle(from: Point, to: Point, middle: Point, radius: f64) -> Option<f64> {
    let (along, away) = ((to.0 - from.0, to.1 - from.1), (from.0 - middle.0, from.1 - middle.1));
    let outside = away.0 * away.0 + away.1 * away.1 - radius * radius;
    if outside <= 0.0 {
        return Some(0.0);
    }
    let (length, towards) = (along.0 * along.0 + along.1 * along.1, away.0 * along.0 + away.1 * along.1);
    let root = towards * towards - length * outside;
    if length == 0.0 || root < 0.0 {
        return None;
    }
    let when = (-towards - root.sqrt()) / length;
    (0.0..=1.0).contains(&when).then_some(when)
}

/// Whether a point of a stroke was not taken out again.
fn is_left(at: (f32, f32), erasers: &[&Stroke]) -> bool {
    !erasers.iter().any(|eraser| eraser.covers(at))
}

/// The same line with points no further apart than `step`, as far as there is room for them.
fn finely(points: &[(f32, f32)], step: f32) -> Vec<(f32, f32)> {
    let mut fine: Vec<(f32, f32)> = points.iter().take(1).copied().collect();
    for pair in points.windows(2) {
        let (from, to) = (pair[0], pair[1]);
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let parts = ((length / step).ceil() as usize).clamp(1, MOST_POINTS / points.len().max(1) + 1);
        let at = |part: usize| part as f32 / parts as f32;
        fine.extend((1..=parts).map(|part| (from.0 + at(part) * (to.0 - from.0), from.1 + at(part) * (to.1 - from.1))));
    }
    fine
}
