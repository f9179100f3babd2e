//! Rectangles of canvas pixels.

/// A rectangle of canvas pixels. It may reach outside of the canvas, as a frame does.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
pub struct Rect {
    /// The leftmost column, in canvas pixels; negative when left of the canvas.
    pub x: i64,
    /// The topmost row, in canvas pixels; negative when above the canvas.
    pub y: i64,
    /// How many columns.
    pub width: u32,
    /// How many rows.
    pub height: u32,
}

impl Rect {
    /// The rectangle from its corner and its sides.
    pub const fn new(x: i64, y: i64, width: u32, height: u32) -> Self {
        Self { x, y, width, height }
    }

    /// The whole of a canvas of this size.
    pub const fn canvas(width: u32, height: u32) -> Self {
        Self::new(0, 0, width, height)
    }

    /// The rectangle from its four edges, the last two exclusive; empty at `left`, `top` when they cross.
    pub(crate) fn between(left: i64, top: i64, right: i64, bottom: i64) -> Self {
        let side = |low: i64, high: i64| u32::try_from(high.saturating_sub(low).max(0)).unwrap_or(u32::MAX);
        Self::new(left, top, side(left, right), side(top, bottom))
    }

    /// The first column after the rectangle.
    pub const fn right(&self) -> i64 {
        self.x.saturating_add(self.width as i64)
    }

    /// The first row after the rectangle.
    pub const fn bottom(&self) -> i64 {
        self.y.saturating_add(self.height as i64)
    }

    /// Whether it holds no pixel at all.
    pub const fn is_empty(&self) -> bool {
        self.width == 0 || self.height == 0
    }

    /// Whether every pixel of `other` lies in this one.
    pub const fn contains(&self, other: Self) -> bool {
        other.is_empty()
            || (self.x <= other.x
                && self.y <= other.y
                && other.right() <= self.right()
                && other.bottom() <= self.bottom())
    }

    /// Whether the pixel in column `x` and row `y` lies in it.
    pub const fn contains_pixel(&self, x: i64, y: i64) -> bool {
        self.contains(Self::new(x, y, 1, 1))
    }

    /// What both have in common; empty when nothing.
    pub fn intersect(&self, other: Self) -> Self {
        let common = Self::between(
            self.x.max(other.x),
            self.y.max(other.y),
            self.right().min(other.right()),
            self.bottom().min(other.bottom()),
        );
        if common.is_empty() { Self::default() } else { common }
    }

    /// The smallest rectangle around both; an empty one adds nothing.
    pub fn union(&self, other: Self) -> Self {
        match (self.is_empty(), other.is_empty()) {
            (true, _) => other,
            (_, true) => *self,
            _ => Self::between(
                self.x.min(other.x),
                self.y.min(other.y),
                self.right().max(other.right()),
                self.bottom().max(other.bottom()),
            ),
        }
    }
}
