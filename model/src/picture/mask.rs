//! What may change: one byte per canvas pixel, in tiles that masks share until one of them changes.

use super::{Picture, Rect, grow::grown_size};
use crate::{Error, Result};
use image::{DynamicImage, GrayImage};
use std::{fmt, ops::Range, path::Path, sync::Arc};

/// The side of a tile, in pixels. A stroke copies the tiles that it touches, and undo keeps them: small enough for that, and
/// large enough that a mask of 200 megapixels has only some ten thousand.
const TILE: u32 = 128;
/// The bytes of a tile.
const AREA: usize = (TILE * TILE) as usize;

/// One byte per canvas pixel: 255 = change, 0 = keep, between = a soft edge, the share of the new pixel.
///
/// A clone is cheap. The first change after it copies the tiles that it touches and no others; a tile of one value takes no
/// memory.
#[derive(Clone)]
pub struct Mask {
    width: u32,
    height: u32,
    tiles: Arc<Vec<Tile>>,
}

/// A square of a mask. What lies beyond the mask's edge has no meaning.
#[derive(Clone)]
pub(super) enum Tile {
    /// The same everywhere.
    Flat(u8),
    /// Row by row from the top.
    Bytes(Arc<[u8; AREA]>),
}

/// How a selection changes a mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Combine {
    /// It takes the mask's place.
    Replace,
    /// It is added: the larger byte of both.
    #[default]
    Add,
    /// It is taken away: at most what it leaves.
    Subtract,
    /// Only what both have in common stays: the smaller byte.
    Intersect,
}

impl Combine {
    /// The byte that comes of the mask's and the selection's.
    fn apply(self, mask: u8, selection: u8) -> u8 {
        match self {
            Self::Replace => selection,
            Self::Add => mask.max(selection),
            Self::Subtract => mask.min(255 - selection),
            Self::Intersect => mask.min(selection),
        }
    }
}

impl Mask {
    /// A mask of this size in pixels that keeps everything.
    pub fn new(width: u32, height: u32) -> Self {
        let tiles = width.div_ceil(TILE) as usize * height.div_ceil(TILE) as usize;
        Self { width, height, tiles: Arc::new(vec![Tile::Flat(0); tiles]) }
    }

    /// A mask from its bytes, row by row from the top.
    ///
    /// # Errors
    /// When there are not `width × height` bytes.
    pub fn from_bytes(width: u32, height: u32, bytes: Vec<u8>) -> Result<Self> {
        if bytes.len() as u64 != u64::from(width) * u64::from(height) {
            let cause = format!("{} bytes do not fill {width} × {height} pixels", bytes.len());
            return Err(Error::control("mask", cause, "Give one byte for each pixel of the picture"));
        }
        let mut mask = Self::new(width, height);
        mask.paste(Rect::canvas(width, height), &bytes);
        Ok(mask)
    }

    /// Reads a mask from a picture file: white = change, black = keep, colours by their Rec. 709 luma, 16 bit rounded
    /// to 8. Transparency plays no part, so that a mask means what an opaque viewer shows.
    ///
    /// # Errors
    /// As [`Picture::open`].
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let grey = Picture::open(path)?.image().to_luma8();
        Self::from_bytes(grey.width(), grey.height(), grey.into_raw())
    }

    /// Reads a mask for a canvas of this size, as [`Mask::open`] does.
    ///
    /// # Errors
    /// As [`Picture::open`], and when the file is of another size than the canvas.
    pub fn open_for(path: impl AsRef<Path>, width: u32, height: u32) -> Result<Self> {
        let mask = Self::open(&path)?;
        if (mask.width, mask.height) == (width, height) {
            return Ok(mask);
        }
        let cause = format!("this mask is {} × {} pixels, and the picture {width} × {height}", mask.width, mask.height);
        Err(Error::file(path, cause, "Choose a mask of the picture's size, or scale this one in another program"))
    }

    /// The mask as an 8-bit grey PNG, the same bytes for the same mask.
    ///
    /// # Errors
    /// When the mask has no pixels.
    pub fn png_bytes(&self) -> Result<Vec<u8>> {
        // The bytes always fill the size, so the fallback, an empty picture, is refused with its reason below.
        let grey = GrayImage::from_raw(self.width, self.height, self.bytes()).unwrap_or_default();
        Picture::new(DynamicImage::ImageLuma8(grey)).png_bytes()
    }

    /// Width in pixels.
    pub fn width(&self) -> u32 {
        self.width
    }

    /// Height in pixels.
    pub fn height(&self) -> u32 {
        self.height
    }

    /// The whole mask as a rectangle.
    pub fn rect(&self) -> Rect {
        Rect::canvas(self.width, self.height)
    }

    /// A copy of all bytes, row by row from the top.
    pub fn bytes(&self) -> Vec<u8> {
        self.copied(self.rect())
    }

    /// A copy of the bytes of a rectangle, row by row from its top; 0 outside of the mask.
    pub fn copied(&self, rect: Rect) -> Vec<u8> {
        let mut bytes = vec![0; rect.width as usize * rect.height as usize];
        let inside = self.clip(rect);
        if inside.is_empty() {
            return bytes;
        }
        let (left, right) = ((inside.x - rect.x) as usize, (inside.right() - rect.x) as usize);
        let rows = bytes.chunks_exact_mut(rect.width as usize).skip((inside.y - rect.y) as usize);
        for (y, row) in (inside.y..inside.bottom()).zip(rows) {
            self.read(y as u32, inside.x as u32, &mut row[left..right]);
        }
        bytes
    }

    /// The byte at column `x` and row `y`; 0 outside of the mask.
    pub fn get(&self, x: u32, y: u32) -> u8 {
        if x >= self.width || y >= self.height {
            return 0;
        }
        match &self.tiles[self.tile_at(x, y)] {
            Tile::Flat(byte) => *byte,
            Tile::Bytes(bytes) => bytes[(y % TILE * TILE + x % TILE) as usize],
        }
    }

    /// The one value of all pixels in a rectangle, where that is known without looking at each; 0 outside of the mask.
    pub fn flat(&self, rect: Rect) -> Option<u8> {
        let inside = self.clip(rect);
        let outside = (inside != rect).then_some(0);
        let tiles = self.touched(inside).map(|index| self.tiles[index].flat());
        let mut values = tiles.chain(outside.map(Some));
        let first = values.next()??;
        values.all(|value| value == Some(first)).then_some(first)
    }

    /// Whether nothing may change.
    pub fn is_empty(&self) -> bool {
        !self.touches(self.rect())
    }

    /// Whether something may change within `rect`; what lies outside of the mask does not count.
    pub fn touches(&self, rect: Rect) -> bool {
        let rect = self.clip(rect);
        self.touched(rect).any(|index| match &self.tiles[index] {
            Tile::Flat(byte) => *byte > 0,
            Tile::Bytes(bytes) => rows(self.tile_rect(index), rect).any(|row| any(&bytes[row])),
        })
    }

    /// Whether a thing holds of every byte.
    pub(crate) fn is_all(&self, holds: impl Fn(u8) -> bool) -> bool {
        self.tiles.iter().enumerate().all(|(index, tile)| match tile {
            Tile::Flat(byte) => holds(*byte),
            Tile::Bytes(bytes) => {
                let place = self.tile_rect(index);
                rows(place, place).all(|row| bytes[row].iter().all(|byte| holds(*byte)))
            }
        })
    }

    /// The smallest rectangle around everything that may change; `None` when nothing may.
    pub fn bounds(&self) -> Option<Rect> {
        let mut around = Rect::default();
        for (index, tile) in self.tiles.iter().enumerate() {
            let rect = self.tile_rect(index);
            if !around.is_empty() && around.contains(rect) {
                continue;
            }
            around = around.union(match tile {
                Tile::Flat(0) => Rect::default(),
                Tile::Flat(_) => rect,
                Tile::Bytes(bytes) => bounds(bytes, rect),
            });
        }
        (!around.is_empty()).then_some(around)
    }

    /// Sets every byte within `rect`, and returns the part of it that lies in the mask.
    pub fn fill_rect(&mut self, rect: Rect, value: u8) -> Rect {
        self.edit(rect, |tile, place, part| {
            if part == place {
                *tile = Tile::Flat(value);
            } else {
                tile.change(place, part, |_, _, row| row.fill(value));
            }
        })
    }

    /// Swaps what may change and what is kept.
    pub fn invert(&mut self) {
        self.tiles = Arc::new(self.tiles.iter().map(|tile| tile.mapped(|byte| 255 - byte)).collect());
    }

    /// The mask with what may change and what is kept swapped.
    pub fn inverted(&self) -> Self {
        let mut mask = self.clone();
        mask.invert();
        mask
    }

    /// Only what lies within `rect`; nothing else may change.
    pub fn within(&self, rect: Rect) -> Self {
        let mut window = Self::new(self.width, self.height);
        window.fill_rect(rect, 255);
        // Both are of one size.
        self.combined(&window, Combine::Intersect).unwrap_or(window)
    }

    /// The mask changed by a selection.
    ///
    /// # Errors
    /// If they are not of the same size.
    pub fn combined(&self, selection: &Self, how: Combine) -> Result<Self> {
        let Self { width, height, .. } = *self;
        if (width, height) != (selection.width, selection.height) {
            let cause = format!("it is {} × {}, the mask {width} × {height}", selection.width, selection.height);
            return Err(Error::control("selection", cause, "Select on the picture that is open"));
        }
        let pairs = self.tiles.iter().zip(selection.tiles.iter()).enumerate();
        let tiles = pairs.map(|(index, (mask, selection))| {
            let mut tile = mask.combined(selection, how);
            tile.settle(self.tile_rect(index));
            tile
        });
        let tiles = tiles.collect();
        Ok(Self { width, height, tiles: Arc::new(tiles) })
    }

    /// The mask of a canvas that has grown by so many pixels on each side; the new ones are `fill`.
    ///
    /// # Errors
    /// As [`Picture::extended`].
    pub fn extended(&self, left: u32, top: u32, right: u32, bottom: u32, fill: u8) -> Result<Self> {
        let (width, height) = grown_size((self.width, self.height), [left, top, right, bottom])?;
        let mut mask = Self::new(width, height);
        mask.fill_rect(mask.rect(), fill);
        for (index, tile) in self.tiles.iter().enumerate() {
            let rect = self.tile_rect(index);
            let place = Rect::new(rect.x + i64::from(left), rect.y + i64::from(top), rect.width, rect.height);
            match tile {
                Tile::Flat(byte) if *byte == fill => {}
                Tile::Flat(byte) => {
                    mask.fill_rect(place, *byte);
                }
                Tile::Bytes(_) => mask.paste(place, &self.copied(rect)),
            }
        }
        Ok(mask)
    }

    /// Puts bytes, row by row from the top, into a rectangle, which must lie in the mask.
    pub(crate) fn paste(&mut self, rect: Rect, bytes: &[u8]) {
        self.edit(rect, |tile, place, part| {
            tile.change(place, part, |x, y, row| {
                let start = (y - rect.y) as usize * rect.width as usize + (x - rect.x) as usize;
                row.copy_from_slice(&bytes[start..][..row.len()]);
            });
        });
    }

    /// Changes the part of a rectangle that lies in the mask, tile by tile, and returns it. `change` is given the tile, where
    /// it lies, and the part of it that may change.
    pub(super) fn edit(&mut self, rect: Rect, mut change: impl FnMut(&mut Tile, Rect, Rect)) -> Rect {
        let rect = self.clip(rect);
        let places: Vec<(usize, Rect)> = self.touched(rect).map(|index| (index, self.tile_rect(index))).collect();
        if !places.is_empty() {
            let tiles = Arc::make_mut(&mut self.tiles);
            places.into_iter().for_each(|(index, place)| change(&mut tiles[index], place, place.intersect(rect)));
        }
        rect
    }

    /// The part of `rect` that lies in the mask.
    pub(super) fn clip(&self, rect: Rect) -> Rect {
        rect.intersect(self.rect())
    }

    /// Reads a stretch of row `y` from column `x` on; it must lie in the mask.
    pub(super) fn read(&self, y: u32, x: u32, into: &mut [u8]) {
        let mut done = 0;
        while done < into.len() {
            let column = x + done as u32;
            let count = ((TILE - column % TILE) as usize).min(into.len() - done);
            let stretch = &mut into[done..done + count];
            match &self.tiles[self.tile_at(column, y)] {
                Tile::Flat(byte) => stretch.fill(*byte),
                Tile::Bytes(bytes) => {
                    stretch.copy_from_slice(&bytes[(y % TILE * TILE + column % TILE) as usize..][..count]);
                }
            }
            done += count;
        }
    }

    fn tile_at(&self, x: u32, y: u32) -> usize {
        (y / TILE) as usize * self.width.div_ceil(TILE) as usize + (x / TILE) as usize
    }

    /// The pixels of a tile that lie in the mask.
    fn tile_rect(&self, index: usize) -> Rect {
        let cols = self.width.div_ceil(TILE).max(1) as usize;
        let (x, y) = ((index % cols) as i64 * i64::from(TILE), (index / cols) as i64 * i64::from(TILE));
        self.clip(Rect::new(x, y, TILE, TILE))
    }

    /// The tiles of a rectangle, which must lie in the mask.
    fn touched(&self, rect: Rect) -> impl Iterator<Item = usize> + use<> {
        let cols = self.width.div_ceil(TILE) as usize;
        let side = i64::from(TILE);
        let range = |from: i64, to: i64| {
            if rect.is_empty() { 0..0 } else { (from / side) as usize..((to + side - 1) / side) as usize }
        };
        let columns = range(rect.x, rect.right());
        range(rect.y, rect.bottom()).flat_map(move |row| columns.clone().map(move |col| row * cols + col))
    }
}

impl Tile {
    /// The one value that all of it has, if it takes no memory.
    pub(super) fn flat(&self) -> Option<u8> {
        match self {
            Self::Flat(byte) => Some(*byte),
            Self::Bytes(_) => None,
        }
    }

    /// Changes a part of it row by row; `change` is given the column and row on the canvas where the stretch begins.
    pub(super) fn change(&mut self, place: Rect, part: Rect, mut change: impl FnMut(i64, i64, &mut [u8])) {
        let bytes = self.bytes_mut();
        for (y, row) in (part.y..).zip(rows(place, part)) {
            change(part.x, y, &mut bytes[row]);
        }
        self.settle(place);
    }

    fn bytes_mut(&mut self) -> &mut [u8; AREA] {
        if let Self::Flat(byte) = self {
            *self = Self::Bytes(Arc::new([*byte; AREA]));
        }
        match self {
            Self::Bytes(bytes) => Arc::make_mut(bytes),
            Self::Flat(_) => unreachable!("it was given its bytes above"),
        }
    }

    /// A tile of one value gives up its bytes.
    fn settle(&mut self, place: Rect) {
        let Self::Bytes(bytes) = self else { return };
        let first = bytes[0];
        // Row by row: within one there is no early exit, so that the compiler makes it wide.
        let is_flat = |row: &[u8]| row.iter().fold(0, |differs, byte| differs | (byte ^ first)) == 0;
        if rows(place, place).all(|row| is_flat(&bytes[row])) {
            *self = Self::Flat(first);
        }
    }

    fn mapped(&self, change: impl Fn(u8) -> u8) -> Self {
        match self {
            Self::Flat(byte) => Self::Flat(change(*byte)),
            Self::Bytes(bytes) => {
                let mut bytes = **bytes;
                bytes.iter_mut().for_each(|byte| *byte = change(*byte));
                Self::Bytes(Arc::new(bytes))
            }
        }
    }

    fn combined(&self, selection: &Self, how: Combine) -> Self {
        match (self, selection, how) {
            (_, Self::Flat(0), Combine::Add | Combine::Subtract) | (_, Self::Flat(255), Combine::Intersect) => {
                self.clone()
            }
            (_, Self::Flat(0), Combine::Intersect) | (_, Self::Flat(255), Combine::Subtract) => Self::Flat(0),
            (_, Self::Flat(255), Combine::Add) => Self::Flat(255),
            (_, _, Combine::Replace) => selection.clone(),
            (_, Self::Flat(selection), _) => self.mapped(|byte| how.apply(byte, *selection)),
            (Self::Flat(mask), Self::Bytes(_), _) => selection.mapped(|byte| how.apply(*mask, byte)),
            (Self::Bytes(mask), Self::Bytes(selection), _) => {
                let mut bytes = **mask;
                bytes.iter_mut().zip(selection.iter()).for_each(|(byte, other)| *byte = how.apply(*byte, *other));
                Self::Bytes(Arc::new(bytes))
            }
        }
    }

    /// Whether both hold the same bytes in a place.
    fn same(&self, other: &Self, place: Rect) -> bool {
        match (self, other) {
            (Self::Flat(one), Self::Flat(other)) => one == other,
            (Self::Bytes(one), Self::Bytes(other)) => {
                Arc::ptr_eq(one, other) || rows(place, place).all(|row| one[row.clone()] == other[row])
            }
            (Self::Flat(flat), Self::Bytes(bytes)) | (Self::Bytes(bytes), Self::Flat(flat)) => {
                rows(place, place).all(|row| bytes[row].iter().all(|byte| byte == flat))
            }
        }
    }
}

impl PartialEq for Mask {
    fn eq(&self, other: &Self) -> bool {
        let tiles = || self.tiles.iter().zip(other.tiles.iter()).enumerate();
        let same_size = (self.width, self.height) == (other.width, other.height);
        same_size
            && (Arc::ptr_eq(&self.tiles, &other.tiles)
                || tiles().all(|(index, (one, other))| one.same(other, self.tile_rect(index))))
    }
}

impl Eq for Mask {}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({} × {})", self.width, self.height)
    }
}

/// Where the rows of a part of a tile lie among its bytes.
fn rows(tile: Rect, part: Rect) -> impl Iterator<Item = Range<usize>> {
    let part = part.intersect(tile);
    let start = move |y: i64| ((y - tile.y) * i64::from(TILE) + part.x - tile.x) as usize;
    (part.y..part.bottom()).map(move |y| start(y)..start(y) + part.width as usize)
}

/// The smallest rectangle around the bytes above zero of a tile.
fn bounds(bytes: &[u8; AREA], tile: Rect) -> Rect {
    let mut around = Rect::default();
    for (y, row) in (tile.y..).zip(rows(tile, tile)) {
        let row = &bytes[row];
        if let Some(first) = row.iter().position(|byte| *byte > 0) {
            let last = row.iter().rposition(|byte| *byte > 0).unwrap_or(first);
            around = around.union(Rect::new(tile.x + first as i64, y, (last - first + 1) as u32, 1));
        }
    }
    around
}

/// Whether any byte is above zero; without an early exit, so that the compiler makes it wide.
fn any(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, &byte| seen | byte) > 0
}
