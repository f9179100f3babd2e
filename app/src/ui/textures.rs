//! Pictures and masks on the graphics card: in tiles, at the size at which they are looked at, made when they are in sight, and
//! uploaded again only where they changed.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use andamento_model::picture::{Mask, Picture, Rect};
use crossbeam_channel::{Receiver, bounded};
use egui::{Color32, ColorImage, Context, Mesh, Painter, Shape, TextureFilter, TextureHandle, TextureOptions, pos2};
use image::{DynamicImage, GenericImageView};

use super::screen::Screen;

/// The side of a tile, in texels.
const TILE: u32 = 512;
/// Each tile repeats its neighbours' nearest texels, so that no seam shows where the card mixes texels.
const BORDER: u32 = 1;
/// Making tiles stops for this frame after about this long.
const BUDGET: Duration = Duration::from_millis(2);
/// So many tiles stay on the card, a megabyte each.
const KEPT: usize = 160;
/// From so many screen pixels per texel on, texels are seen as squares.
const SQUARES: f32 = 3.0;
/// A picture of up to so many pixels is reduced at once, a larger one beside the window.
const SMALL: u64 = 2_000_000;

/// The time in which tiles may be made for a frame, whatever layer they are of. One is always made.
pub(super) struct Budget {
    start: Instant,
    made: bool,
}

impl Budget {
    /// From now on.
    pub(super) fn start() -> Self {
        Self { start: Instant::now(), made: false }
    }

    /// Whether another tile may be made.
    fn allows(&mut self) -> bool {
        let allowed = !self.made || self.start.elapsed() < BUDGET;
        self.made |= allowed;
        allowed
    }
}

/// How a tile lies among others: 2 to the power of `level` canvas pixels share a texel along each axis.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Key {
    level: u32,
    col: u32,
    row: u32,
    squares: bool,
}

impl Key {
    /// Canvas pixels along a side.
    fn side(self) -> i64 {
        i64::from(TILE) << self.level
    }

    /// The canvas pixels that it shows.
    fn rect(self, canvas: Rect) -> Rect {
        let side = self.side();
        let corner = (i64::from(self.col) * side, i64::from(self.row) * side);
        Rect::new(corner.0, corner.1, side as u32, side as u32).intersect(canvas)
    }

    /// The texels of its image, border included, on the grid of its level.
    fn texels(self, canvas: Rect) -> Texels {
        let rect = self.rect(canvas);
        let (left, top) = (i64::from(self.col * TILE), i64::from(self.row * TILE));
        let count = |length: u32| i64::from(length.div_ceil(1 << self.level));
        let border = i64::from(BORDER);
        Texels {
            level: self.level,
            columns: left - border..left + count(rect.width) + border,
            rows: top - border..top + count(rect.height) + border,
        }
    }
}

/// A rectangle of texels of a level. It may reach beyond the picture, which goes on there as at its edge.
#[derive(Debug, Clone)]
struct Texels {
    level: u32,
    columns: Range<i64>,
    rows: Range<i64>,
}

impl Texels {
    fn image(&self, fill: impl FnOnce(&Self, &mut Vec<Color32>)) -> ColorImage {
        let size = [self.columns.end - self.columns.start, self.rows.end - self.rows.start].map(|side| side as usize);
        let mut pixels = Vec::with_capacity(size[0] * size[1]);
        fill(self, &mut pixels);
        ColorImage::new(size, pixels)
    }
}

/// A tile that is on the card.
struct Tile {
    texture: TextureHandle,
    /// Whether it shows what was there before, or only roughly what is there.
    stale: bool,
    /// The frame in which it was drawn last.
    seen: u64,
}

/// A picture or a mask in tiles.
#[derive(Default)]
struct Tiles {
    canvas: Rect,
    tiles: HashMap<Key, Tile>,
    frame: u64,
}

impl Tiles {
    /// Another picture: of the same size, the old one is shown until the new tiles are here.
    fn renew(&mut self, canvas: Rect) {
        if self.canvas == canvas {
            self.tiles.values_mut().for_each(|tile| tile.stale = true);
        } else {
            self.tiles.clear();
            self.canvas = canvas;
        }
    }

    /// What lies in a part has changed.
    fn spoil(&mut self, part: Rect) {
        let canvas = self.canvas;
        for (key, tile) in &mut self.tiles {
            tile.stale |= !bordered(key.rect(canvas), key.level).intersect(part).is_empty();
        }
    }

    /// The coarsest level, at which everything is one tile.
    fn top(&self) -> u32 {
        let longer = self.canvas.width.max(self.canvas.height).max(1);
        longer.div_ceil(TILE).next_power_of_two().ilog2()
    }

    /// The tiles in sight at the level that fits.
    fn in_sight(&self, screen: &Screen, pixels_per_point: f32) -> Vec<Key> {
        let zoom = screen.zoom * pixels_per_point;
        let level = ((1.0 / zoom).log2() + 0.3).floor().clamp(0.0, self.top() as f32) as u32;
        let squares = level == 0 && zoom >= SQUARES;
        let seen = screen.seen().intersect(self.canvas);
        let side = i64::from(TILE) << level;
        let range = |from: i64, to: i64| (from / side) as u32..((to + side - 1) / side) as u32;
        let columns = if seen.is_empty() { 0..0 } else { range(seen.x, seen.right()) };
        let rows = range(seen.y, seen.bottom());
        rows.flat_map(|row| columns.clone().map(move |col| Key { level, col, row, squares })).collect()
    }

    /// Makes what is in sight and missing, as far as there is time. Returns whether something is still missing. While
    /// images of the coarser levels are `rough`, what is here is better, and what is made will be made again.
    fn make(
        &mut self,
        (ctx, budget): (&Context, &mut Budget),
        wanted: &[Key],
        rough: bool,
        image: impl Fn(&Texels) -> ColorImage,
    ) -> bool {
        self.frame += 1;
        let all = self.all();
        for key in [all].iter().filter(|_| !self.canvas.is_empty()).chain(wanted) {
            let rough = rough && key.level > 0;
            if let Some(tile) = self.tiles.get_mut(key).filter(|tile| rough || !tile.stale) {
                tile.seen = self.frame;
                continue;
            }
            if !budget.allows() {
                return true;
            }
            let image = image(&key.texels(self.canvas));
            let options = options(key.squares);
            match self.tiles.get_mut(key) {
                Some(tile) => {
                    tile.texture.set(image, options);
                    tile.stale = false;
                }
                None => {
                    let texture = ctx.load_texture("tile", image, options);
                    self.tiles.insert(*key, Tile { texture, stale: rough, seen: self.frame });
                }
            }
        }
        false
    }

    /// The whole picture, coarsely, which stands in for what is not made yet.
    fn all(&self) -> Key {
        Key { level: self.top(), col: 0, row: 0, squares: false }
    }

    /// Uploads a part that changed, where it is in sight; elsewhere it is made anew when it comes into sight.
    fn touch(&mut self, wanted: &[Key], part: Rect, image: impl Fn(&Texels) -> ColorImage) {
        let (canvas, all) = (self.canvas, self.all());
        for (key, tile) in &mut self.tiles {
            let part = bordered(part, key.level).intersect(bordered(key.rect(canvas), key.level));
            if part.is_empty() || tile.stale {
                continue;
            }
            if *key != all && !wanted.contains(key) {
                tile.stale = true;
                continue;
            }
            let (whole, size) = (key.texels(canvas), 1_i64 << key.level);
            let range = |from: i64, to: i64, whole: Range<i64>| {
                from.div_euclid(size).max(whole.start)..(to + size - 1).div_euclid(size).min(whole.end)
            };
            let texels = Texels {
                level: key.level,
                columns: range(part.x, part.right(), whole.columns.clone()),
                rows: range(part.y, part.bottom(), whole.rows.clone()),
            };
            if texels.columns.is_empty() || texels.rows.is_empty() {
                continue;
            }
            let corner = [texels.columns.start - whole.columns.start, texels.rows.start - whole.rows.start];
            tile.texture.set_partial(corner.map(|at| at as usize), image(&texels), options(key.squares));
        }
    }

    /// Draws the part of it that lies in `part`, all in canvas pixels, from the tiles that were wanted, or from coarser ones
    /// where these are not here yet.
    fn paint(&mut self, painter: &Painter, screen: &Screen, wanted: &[Key], part: Rect, tint: Color32) {
        let (canvas, top) = (self.canvas, self.top());
        for key in wanted {
            let part = part.intersect(key.rect(canvas));
            if part.is_empty() || !screen.rect(part).intersects(painter.clip_rect()) {
                continue;
            }
            let coarser = (key.level + 1..=top).map(|level| {
                let up = level - key.level;
                Key { level, col: key.col >> up, row: key.row >> up, squares: false }
            });
            let plain = Key { squares: false, ..*key };
            let here = [*key, plain].into_iter().chain(coarser).find(|key| self.tiles.contains_key(key));
            if let Some(key) = here
                && let Some(tile) = self.tiles.get_mut(&key)
            {
                tile.seen = self.frame;
                let size = tile.texture.size();
                let texel = (1_u64 << key.level) as f32;
                let corner = key.rect(canvas);
                let uv = |x: i64, y: i64| {
                    let (x, y) = ((x - corner.x) as f32 / texel, (y - corner.y) as f32 / texel);
                    pos2((x + BORDER as f32) / size[0] as f32, (y + BORDER as f32) / size[1] as f32)
                };
                let uv = egui::Rect::from_min_max(uv(part.x, part.y), uv(part.right(), part.bottom()));
                let mut mesh = Mesh::with_texture(tile.texture.id());
                mesh.add_rect_with_uv(screen.rect(part), uv, tint);
                painter.add(Shape::mesh(mesh));
            }
        }
    }

    /// Gives up what was not seen for longest.
    fn tidy(&mut self) {
        if self.tiles.len() > KEPT {
            let mut ages: Vec<u64> = self.tiles.values().map(|tile| tile.seen).collect();
            ages.sort_unstable();
            let oldest = ages[ages.len() - KEPT * 3 / 4].min(self.frame.saturating_sub(2));
            self.tiles.retain(|_, tile| tile.seen > oldest);
        }
    }
}

/// A rectangle and the border of the tiles of a level around it.
fn bordered(rect: Rect, level: u32) -> Rect {
    let border = i64::from(BORDER) << level;
    Rect::new(rect.x - border, rect.y - border, rect.width + 2 * border as u32, rect.height + 2 * border as u32)
}

/// Texels as squares or mixed.
fn options(squares: bool) -> TextureOptions {
    let magnification = if squares { TextureFilter::Nearest } else { TextureFilter::Linear };
    TextureOptions { magnification, ..TextureOptions::LINEAR }
}

/// A picture on the card.
#[derive(Default)]
pub(super) struct PictureTexture {
    /// The number of the picture that the tiles show.
    id: u64,
    tiles: Tiles,
    wanted: Vec<Key>,
    reduced: Option<Arc<Reduced>>,
    job: Option<Receiver<(u64, Arc<Reduced>)>>,
    /// Whether all that is in sight is drawn exactly.
    settled: bool,
    /// Where the corner of the tiles' canvas lies.
    shift: (i64, i64),
}

impl PictureTexture {
    /// Makes and uploads what is in sight and missing. `changed` is where the picture differs from the one with the number
    /// before it, if that is known; as long as its pixels are not here, what is on the card is drawn, where `shift` says.
    pub(super) fn sync(
        &mut self,
        (ctx, budget): (&Context, &mut Budget),
        id: u64,
        picture: &Picture,
        screen: &Screen,
        (from, changed): (u64, Rect),
        shift: Option<(i64, i64)>,
    ) {
        if !picture.is_at_hand() {
            return self.wait(ctx, picture, screen, shift);
        }
        self.shift = (0, 0);
        if self.id != id {
            let known = self.id == from && self.tiles.canvas == picture.rect() && self.reduced.is_some();
            if known {
                self.tiles.spoil(changed);
            } else {
                self.tiles.renew(picture.rect());
            }
            let before = self.reduced.take().filter(|_| known).map(|reduced| (reduced, changed));
            self.id = id;
            self.reduce(ctx, id, picture, before);
        }
        let done = self.job.as_ref().and_then(|job| job.try_recv().ok());
        if let Some((_, reduced)) = done.filter(|(done, _)| *done == id) {
            self.reduced = Some(reduced);
            self.job = None;
        }
        self.wanted = self.tiles.in_sight(screen, ctx.pixels_per_point());
        let reduced = self.reduced.clone();
        let image = |texels: &Texels| image_of(picture, reduced.as_deref(), texels);
        let missing = self.tiles.make((ctx, budget), &self.wanted, reduced.is_none(), image);
        if missing {
            ctx.request_repaint();
        }
        self.settled = !missing && reduced.is_some();
        self.tiles.tidy();
    }

    /// The pixels are not here yet: what is on the card stays there, unless nobody knows where it lies.
    fn wait(&mut self, ctx: &Context, picture: &Picture, screen: &Screen, shift: Option<(i64, i64)>) {
        if shift.is_none() && self.tiles.canvas != picture.rect() {
            self.tiles.renew(picture.rect());
            (self.id, self.reduced, self.job) = (0, None, None);
        }
        (self.settled, self.shift) = (false, shift.unwrap_or_default());
        self.wanted = self.tiles.in_sight(&self.shifted(screen), ctx.pixels_per_point());
        self.tiles.tidy();
    }

    /// Where the canvas of the tiles lies.
    fn shifted(&self, screen: &Screen) -> Screen {
        Screen { origin: screen.point(self.shift.0 as f32, self.shift.1 as f32), ..*screen }
    }

    /// Whether all that is in sight is drawn exactly.
    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// Whether there is nothing to draw.
    pub(super) fn is_blank(&self) -> bool {
        self.tiles.tiles.is_empty()
    }

    /// Makes the reduced forms of a picture, a large one beside the window.
    fn reduce(&mut self, ctx: &Context, id: u64, picture: &Picture, before: Option<(Arc<Reduced>, Rect)>) {
        let (picture, ctx) = (picture.clone(), ctx.clone());
        let small = u64::from(picture.width()) * u64::from(picture.height()) <= SMALL;
        if small {
            self.reduced = Some(Arc::new(Reduced::of(&picture, before)));
            self.job = None;
            return;
        }
        let (outbox, inbox) = bounded(1);
        self.job = Some(inbox);
        let work = move || {
            let _gone = outbox.send((id, Arc::new(Reduced::of(&picture, before))));
            ctx.request_repaint();
        };
        // Without a thread the picture is looked at roughly from afar, and exactly from near.
        drop(thread::Builder::new().name("andamento-tiles".into()).spawn(work));
    }

    /// Draws the part of it that lies in `part`.
    pub(super) fn paint(&mut self, painter: &Painter, screen: &Screen, part: Rect, tint: Color32) {
        let part = Rect { x: part.x - self.shift.0, y: part.y - self.shift.1, ..part };
        self.tiles.paint(painter, &self.shifted(screen), &self.wanted, part, tint);
    }
}

/// The texels of a picture: its own pixels, or those of a reduced form; where that is not here yet, a pixel of each.
fn image_of(picture: &Picture, reduced: Option<&Reduced>, texels: &Texels) -> ColorImage {
    let level = texels.level as usize;
    match reduced.and_then(|reduced| reduced.levels.get(level.checked_sub(1)?)) {
        Some(grid) => texels.image(|texels, pixels| {
            for y in texels.rows.clone() {
                let row = &grid.texels[y.clamp(0, grid.height as i64 - 1) as usize * grid.width..][..grid.width];
                continued(row, texels.columns.clone(), pixels);
            }
        }),
        None if level == 0 => texels.image(|texels, pixels| {
            let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
            let inside = texels.columns.start.max(0)..texels.columns.end.min(width);
            let mut row = Vec::new();
            for y in texels.rows.clone() {
                read(picture, y.clamp(0, height - 1) as u32, inside.start as u32..inside.end as u32, &mut row);
                let columns = texels.columns.start - inside.start..texels.columns.end - inside.start;
                continued(&row, columns, pixels);
            }
        }),
        None => texels.image(|texels, pixels| {
            let (width, height) = (i64::from(picture.width()), i64::from(picture.height()));
            let middle = |at: i64, length: i64| ((at << level) + (1 << (level - 1))).clamp(0, length - 1) as u32;
            for y in texels.rows.clone() {
                let row = texels.columns.clone().map(|x| colour(picture, middle(x, width), middle(y, height)));
                pixels.extend(row);
            }
        }),
    }
}

/// A stretch of a row that goes on beyond both ends as it is there.
fn continued(row: &[Color32], columns: Range<i64>, pixels: &mut Vec<Color32>) {
    let (Some(first), Some(last)) = (row.first(), row.last()) else { return };
    let length = row.len() as i64;
    pixels.extend((columns.start..columns.end.min(0)).map(|_| *first));
    pixels.extend_from_slice(&row[columns.start.clamp(0, length) as usize..columns.end.clamp(0, length) as usize]);
    pixels.extend((columns.start.max(length)..columns.end).map(|_| *last));
}

/// A stretch of a row of pixels as the card wants them. The kinds that nearly every picture is of have a short way.
fn read(picture: &Picture, y: u32, columns: Range<u32>, row: &mut Vec<Color32>) {
    row.clear();
    let width = picture.width() as usize;
    let stretch = |channels: usize| {
        let start = y as usize * width;
        (start + columns.start as usize) * channels..(start + columns.end as usize) * channels
    };
    match picture.image() {
        DynamicImage::ImageRgb8(image) => {
            let pixels = image.as_raw()[stretch(3)].chunks_exact(3);
            row.extend(pixels.map(|pixel| Color32::from_rgb(pixel[0], pixel[1], pixel[2])));
        }
        DynamicImage::ImageRgba8(image) => {
            let pixels = image.as_raw()[stretch(4)].chunks_exact(4);
            row.extend(pixels.map(|pixel| Color32::from_rgba_unmultiplied(pixel[0], pixel[1], pixel[2], pixel[3])));
        }
        DynamicImage::ImageRgb16(image) => {
            let byte = |level: u16| ((u32::from(level) + 128) / 257) as u8;
            let pixels = image.as_raw()[stretch(3)].chunks_exact(3);
            row.extend(pixels.map(|pixel| Color32::from_rgb(byte(pixel[0]), byte(pixel[1]), byte(pixel[2]))));
        }
        _ => row.extend(columns.map(|x| colour(picture, x, y))),
    }
}

fn colour(picture: &Picture, x: u32, y: u32) -> Color32 {
    let [red, green, blue, alpha] = picture.image().get_pixel(x, y).0;
    Color32::from_rgba_unmultiplied(red, green, blue, alpha)
}

/// A picture at a half, a quarter, and so on, down to one tile.
struct Reduced {
    levels: Vec<Grid>,
}

/// Texels row by row.
#[derive(Clone)]
struct Grid {
    width: usize,
    height: usize,
    texels: Vec<Color32>,
}

impl Reduced {
    /// Makes them all, or only where the picture differs from the one whose reduced forms are given.
    fn of(picture: &Picture, before: Option<(Arc<Self>, Rect)>) -> Self {
        let (mut reduced, part) = match before {
            Some((before, part)) => (Arc::try_unwrap(before).unwrap_or_else(|shared| shared.copy()), part),
            None => (Self::blank(picture.rect()), picture.rect()),
        };
        let part = part.intersect(picture.rect());
        let range = |from: i64, to: i64| from as usize / 2..(to as usize).div_ceil(2);
        let (mut columns, mut rows) = (range(part.x, part.right()), range(part.y, part.bottom()));
        let (mut upper, mut lower) = (Vec::new(), Vec::new());
        for level in 0..reduced.levels.len() {
            let (finer, rest) = reduced.levels.split_at_mut(level);
            let (finer, grid) = (finer.last(), &mut rest[0]);
            let (width, height) = finer
                .map_or((picture.width() as usize, picture.height() as usize), |finer| (finer.width, finer.height));
            let (start, end) = (2 * columns.start, (2 * columns.end).min(width));
            for y in rows.clone() {
                let below = (2 * y + 1).min(height - 1);
                let (upper, lower): (&[Color32], &[Color32]) = match finer {
                    Some(finer) => {
                        let row = |y: usize| &finer.texels[y * width..][start..end];
                        (row(2 * y), row(below))
                    }
                    None => {
                        read(picture, 2 * y as u32, start as u32..end as u32, &mut upper);
                        read(picture, below as u32, start as u32..end as u32, &mut lower);
                        (&upper[..], &lower[..])
                    }
                };
                let target = &mut grid.texels[y * grid.width..][columns.clone()];
                for ((texel, upper), lower) in target.iter_mut().zip(upper.chunks(2)).zip(lower.chunks(2)) {
                    *texel = mean([upper[0], upper[upper.len() - 1], lower[0], lower[lower.len() - 1]]);
                }
            }
            columns = columns.start / 2..columns.end.div_ceil(2);
            rows = rows.start / 2..rows.end.div_ceil(2);
        }
        reduced
    }

    fn blank(canvas: Rect) -> Self {
        let (mut width, mut height) = (canvas.width as usize, canvas.height as usize);
        let mut levels = Vec::new();
        while width.max(height) > TILE as usize {
            (width, height) = (width.div_ceil(2), height.div_ceil(2));
            levels.push(Grid { width, height, texels: vec![Color32::TRANSPARENT; width * height] });
        }
        Self { levels }
    }

    fn copy(&self) -> Self {
        Self { levels: self.levels.clone() }
    }
}

fn mean(colours: [Color32; 4]) -> Color32 {
    let [a, b, c, d] = colours.map(|colour| colour.to_array());
    let part = |i: usize| ((u32::from(a[i]) + u32::from(b[i]) + u32::from(c[i]) + u32::from(d[i]) + 2) / 4) as u8;
    Color32::from_rgba_premultiplied(part(0), part(1), part(2), part(3))
}

/// A mask, or another layer of bytes, each byte in its own ink.
#[derive(Default)]
pub(super) struct MaskTexture {
    id: u64,
    tiles: Tiles,
    wanted: Vec<Key>,
}

impl MaskTexture {
    /// Makes and uploads what is in sight and missing. `touched` is the part that changed since the mask with the number
    /// before it.
    pub(super) fn sync(
        &mut self,
        (ctx, budget): (&Context, &mut Budget),
        (id, mask): (u64, &Mask),
        screen: &Screen,
        touched: (u64, Rect),
        ink: fn(u8) -> Color32,
    ) {
        self.wanted = self.tiles.in_sight(screen, ctx.pixels_per_point());
        let image = |texels: &Texels| mask_image(mask, texels, ink);
        if self.id != id {
            if self.id == touched.0 && self.tiles.canvas == mask.rect() {
                self.tiles.touch(&self.wanted, touched.1, image);
            } else {
                self.tiles.renew(mask.rect());
                self.wanted = self.tiles.in_sight(screen, ctx.pixels_per_point());
            }
            self.id = id;
        }
        if self.tiles.make((ctx, budget), &self.wanted, false, image) {
            ctx.request_repaint();
        }
        self.tiles.tidy();
    }

    /// Draws it, its inks multiplied by a colour.
    pub(super) fn paint(&mut self, painter: &Painter, screen: &Screen, tint: Color32) {
        self.tiles.paint(painter, screen, &self.wanted, self.tiles.canvas, tint);
    }
}

/// The texels of a mask; of several pixels that share one, four are looked at.
fn mask_image(mask: &Mask, texels: &Texels, ink: fn(u8) -> Color32) -> ColorImage {
    let size = 1_i64 << texels.level;
    let area = Rect::new(
        texels.columns.start * size,
        texels.rows.start * size,
        ((texels.columns.end - texels.columns.start) * size) as u32,
        ((texels.rows.end - texels.rows.start) * size) as u32,
    );
    let inside = area.intersect(mask.rect());
    if let Some(byte) = mask.flat(inside).or(inside.is_empty().then_some(0)) {
        return texels.image(|texels, pixels| {
            let count = (texels.columns.end - texels.columns.start) * (texels.rows.end - texels.rows.start);
            pixels.extend(std::iter::repeat_n(ink(byte), count as usize));
        });
    }
    // Of a texel's pixels: a quarter and three quarters along each axis, in a mask that goes on as it is at its edges.
    let parts = [size / 4, size - 1 - size / 4];
    let row_of = |y: i64| {
        let y = y.clamp(inside.y, inside.bottom() - 1);
        mask.copied(Rect { y, height: 1, ..inside })
    };
    let column_of =
        |x: i64| parts.map(|part| ((x * size + part).clamp(inside.x, inside.right() - 1) - inside.x) as usize);
    let columns: Vec<[usize; 2]> = texels.columns.clone().map(column_of).collect();
    texels.image(|texels, pixels| {
        for y in texels.rows.clone() {
            let [upper, lower] = parts.map(|part| row_of(y * size + part));
            pixels.extend(columns.iter().map(|[near, far]| {
                let sum = [&upper, &lower].map(|row| u32::from(row[*near]) + u32::from(row[*far]));
                ink(((sum[0] + sum[1] + 2) / 4) as u8)
            }));
        }
    })
}

/// A decoded frame.
#[derive(Default)]
pub(super) struct PreviewTexture {
    id: u64,
    texture: Option<TextureHandle>,
}

impl PreviewTexture {
    /// Uploads it when it is another one.
    pub(super) fn sync(&mut self, ctx: &Context, id: u64, picture: &image::RgbaImage) {
        if self.id == id {
            return;
        }
        let size = [picture.width() as usize, picture.height() as usize];
        let image = ColorImage::from_rgba_unmultiplied(size, picture.as_raw());
        match &mut self.texture {
            Some(texture) => texture.set(image, TextureOptions::LINEAR),
            None => self.texture = Some(ctx.load_texture("preview", image, TextureOptions::LINEAR)),
        }
        self.id = id;
    }

    /// Draws the part of the frame that lies in `part`, all in canvas pixels.
    pub(super) fn paint(&self, painter: &Painter, screen: &Screen, frame: Rect, part: Rect) {
        let Some(texture) = &self.texture else { return };
        let part = part.intersect(frame);
        let uv = |x: i64, y: i64| {
            pos2((x - frame.x) as f32 / frame.width.max(1) as f32, (y - frame.y) as f32 / frame.height.max(1) as f32)
        };
        let uv = egui::Rect::from_min_max(uv(part.x, part.y), uv(part.right(), part.bottom()));
        painter.image(texture.id(), screen.rect(part), uv, Color32::WHITE);
    }
}
