//! Pictures and masks on the graphics card: in tiles, uploaded when they change, and only where they changed.

use andamento_model::picture::{Mask, Picture, Rect};
use egui::{Color32, ColorImage, Context, Painter, TextureHandle, TextureOptions, pos2};
use image::{DynamicImage, GenericImageView};

use super::screen::Screen;

/// The side of a tile, in texels: within what every device takes.
const TILE: u32 = 2048;
/// What is larger than this on its longer side also has a reduced form for looking at it from afar.
const FAR: u32 = 2048;
/// A near form has at most about this many texels; beyond, several pixels share one.
const TEXELS: u64 = 64_000_000;

/// A picture or a mask as tiles of texels.
#[derive(Default)]
pub(super) struct Tiles {
    id: u64,
    width: u32,
    height: u32,
    /// Canvas pixels per texel.
    step: u32,
    tiles: Vec<(Rect, TextureHandle)>,
}

impl Tiles {
    /// Makes the tiles anew when the number is another one.
    fn sync(
        &mut self,
        ctx: &Context,
        id: u64,
        (width, height): (u32, u32),
        step: u32,
        texel: impl Fn(u32, u32) -> Color32,
    ) {
        if self.id == id && self.step == step {
            return;
        }
        let side = TILE * step;
        let same = (self.width, self.height, self.step) == (width, height, step);
        (self.id, self.width, self.height, self.step) = (id, width, height, step);
        if same {
            for (rect, texture) in &mut self.tiles {
                texture.set(region(*rect, step, &texel), TextureOptions::LINEAR);
            }
            return;
        }
        self.tiles.clear();
        for y in (0..height).step_by(side as usize) {
            for x in (0..width).step_by(side as usize) {
                let rect = Rect::new(i64::from(x), i64::from(y), side.min(width - x), side.min(height - y));
                let image = region(rect, step, &texel);
                self.tiles.push((rect, ctx.load_texture("canvas", image, TextureOptions::LINEAR)));
            }
        }
    }

    /// Uploads only a part, if everything else is as in the picture with the first number, which is here now.
    fn sync_part(&mut self, id: u64, (from, part): (u64, Rect), step: u32, texel: impl Fn(u32, u32) -> Color32) {
        if self.id == from && self.id != id && self.step == step {
            self.touch(id, part, texel);
        }
    }

    /// Uploads a part that changed.
    fn touch(&mut self, id: u64, part: Rect, texel: impl Fn(u32, u32) -> Color32) {
        let step = i64::from(self.step.max(1));
        for (tile, texture) in &mut self.tiles {
            let part = part.intersect(*tile);
            if part.is_empty() {
                continue;
            }
            let (left, top) = ((part.x - tile.x) / step, (part.y - tile.y) / step);
            let aligned = Rect::new(tile.x + left * step, tile.y + top * step, 0, 0);
            let (width, height) = ((part.right() - aligned.x) as u32, (part.bottom() - aligned.y) as u32);
            let image = region(Rect { width, height, ..aligned }, self.step.max(1), &texel);
            texture.set_partial([left as usize, top as usize], image, TextureOptions::LINEAR);
        }
        self.id = id;
    }

    /// Draws the part of it that lies in `part`, all in canvas pixels.
    pub(super) fn paint(&self, painter: &Painter, screen: &Screen, part: Rect, tint: Color32) {
        for (tile, texture) in &self.tiles {
            let part = part.intersect(*tile);
            if part.is_empty() || !screen.rect(part).intersects(painter.clip_rect()) {
                continue;
            }
            let (texels, step) = (texture.size(), self.step as f32);
            let uv = |x: i64, y: i64| {
                let (x, y) = ((x - tile.x) as f32 / step, (y - tile.y) as f32 / step);
                pos2(x / texels[0] as f32, y / texels[1] as f32)
            };
            let uv = egui::Rect::from_min_max(uv(part.x, part.y), uv(part.right(), part.bottom()));
            painter.image(texture.id(), screen.rect(part), uv, tint);
        }
    }
}

/// The texels of a rectangle of canvas pixels.
fn region(rect: Rect, step: u32, texel: impl Fn(u32, u32) -> Color32) -> ColorImage {
    let (width, height) = (rect.width.div_ceil(step), rect.height.div_ceil(step));
    let (x, y) = (rect.x as u32, rect.y as u32);
    let rows = (0..height).flat_map(|row| (0..width).map(move |col| (x + col * step, y + row * step)));
    let pixels = rows.map(|(x, y)| texel(x, y)).collect();
    ColorImage::new([width as usize, height as usize], pixels)
}

/// A picture for near and far.
#[derive(Default)]
pub(super) struct PictureTexture {
    near: Tiles,
    far: Tiles,
    far_shown: bool,
}

impl PictureTexture {
    /// Uploads what is missing to show this picture at this zoom. `changed` is where it differs from the one with the
    /// number before it, if that is known.
    pub(super) fn sync(&mut self, ctx: &Context, id: u64, picture: &Picture, zoom: f32, changed: (u64, Rect)) {
        let size = (picture.width(), picture.height());
        // The kinds that nearly every picture is of have a short way: large ones are read whole here.
        match picture.image() {
            DynamicImage::ImageRgb8(image) => self.sync_pixels(ctx, id, size, zoom, changed, |x, y| {
                let [red, green, blue] = image.get_pixel(x, y).0;
                Color32::from_rgb(red, green, blue)
            }),
            DynamicImage::ImageRgba8(image) => self.sync_pixels(ctx, id, size, zoom, changed, |x, y| {
                let [red, green, blue, alpha] = image.get_pixel(x, y).0;
                Color32::from_rgba_unmultiplied(red, green, blue, alpha)
            }),
            DynamicImage::ImageRgb16(image) => self.sync_pixels(ctx, id, size, zoom, changed, |x, y| {
                let [red, green, blue] = image.get_pixel(x, y).0.map(|level| ((u32::from(level) + 128) / 257) as u8);
                Color32::from_rgb(red, green, blue)
            }),
            image => self.sync_pixels(ctx, id, size, zoom, changed, |x, y| {
                let [red, green, blue, alpha] = image.get_pixel(x, y).0;
                Color32::from_rgba_unmultiplied(red, green, blue, alpha)
            }),
        }
    }

    fn sync_pixels(
        &mut self,
        ctx: &Context,
        id: u64,
        size: (u32, u32),
        zoom: f32,
        changed: (u64, Rect),
        pixel: impl Fn(u32, u32) -> Color32,
    ) {
        let reduction = size.0.max(size.1).div_ceil(FAR);
        self.far_shown = reduction > 1 && zoom * reduction as f32 <= 1.2;
        if self.far_shown {
            let texel = |x: u32, y: u32| average(&pixel, size, (x, y), reduction);
            self.far.sync_part(id, changed, reduction, texel);
            self.far.sync(ctx, id, size, reduction, texel);
        } else {
            let pixels = u64::from(size.0) * u64::from(size.1);
            let step = (1..).find(|step| pixels / (step * step) <= TEXELS).unwrap_or(1) as u32;
            self.near.sync_part(id, changed, step, &pixel);
            self.near.sync(ctx, id, size, step, pixel);
        }
    }

    /// Draws the part of it that lies in `part`.
    pub(super) fn paint(&self, painter: &Painter, screen: &Screen, part: Rect, tint: Color32) {
        if self.far_shown { &self.far } else { &self.near }.paint(painter, screen, part, tint);
    }
}

/// The mean of a square of pixels, as far as it lies in the picture.
fn average(pixel: impl Fn(u32, u32) -> Color32, size: (u32, u32), (x, y): (u32, u32), side: u32) -> Color32 {
    let mut sum = [0_u32; 4];
    let mut count = 0;
    for y in y..(y + side).min(size.1) {
        for x in x..(x + side).min(size.0) {
            let parts = pixel(x, y).to_array();
            sum.iter_mut().zip(parts).for_each(|(sum, part)| *sum += u32::from(part));
            count += 1;
        }
    }
    let [red, green, blue, alpha] = sum.map(|sum| (sum / count.max(1)) as u8);
    Color32::from_rgba_premultiplied(red, green, blue, alpha)
}

/// A mask as white of its own strength.
#[derive(Default)]
pub(super) struct MaskTexture(Tiles);

impl MaskTexture {
    /// Uploads what changed: `touched` is the part that changed since the mask with the number before it.
    pub(super) fn sync(&mut self, ctx: &Context, id: u64, mask: &Mask, touched: (u64, Rect)) {
        let texel = |x: u32, y: u32| Color32::from_white_alpha(mask.get(x, y));
        let size = (mask.width(), mask.height());
        if self.0.id == id {
            return;
        }
        if self.0.id == touched.0 && (self.0.width, self.0.height) == size && !touched.1.is_empty() {
            self.0.touch(id, touched.1, texel);
        } else {
            let step = size.0.max(size.1).div_ceil(2 * TILE).max(1);
            self.0.sync(ctx, id, size, step, texel);
        }
    }

    /// Draws it in a colour.
    pub(super) fn paint(&self, painter: &Painter, screen: &Screen, tint: Color32) {
        self.0.paint(painter, screen, Rect::canvas(self.0.width, self.0.height), tint);
    }
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
