//! Procedural landscapes: the training data and the sample pictures.
//!
//! A picture is a pure function of its class (place and light), a seed and a size. All geometry is in units of
//! the side, and the random numbers drawn do not depend on the size, so every size shows the same scene.

use image::RgbImage;
use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};
use tiny_skia::{
    Color, FillRule, FilterQuality, GradientStop, LineCap, LineJoin, LinearGradient, Paint, PathBuilder, Pattern,
    Pixmap, Point, RadialGradient, Rect, Shader, SpreadMode, Stroke, Transform,
};

/// Number of classes: every place under every light.
pub const CLASSES: usize = PLACES.len() * LIGHTS.len();

/// The places, in class order.
pub const PLACES: [&str; 6] = ["alpine lake", "desert", "lighthouse", "city", "forest", "snow mountains"];

/// The lights, in class order within a place.
pub const LIGHTS: [&str; 4] = ["dawn", "day", "dusk", "night"];

const DAWN: usize = 0;
const DAY: usize = 1;
const NIGHT: usize = 3;

/// The name of a class (taken modulo [`CLASSES`]), such as "alpine lake, dusk".
pub fn class_name(class: usize) -> String {
    format!("{}, {}", PLACES[class / LIGHTS.len() % PLACES.len()], LIGHTS[class % LIGHTS.len()])
}

/// Paints the square picture of a class (taken modulo [`CLASSES`]) and seed, `size` pixels a side.
pub fn scene(class: usize, seed: u64, size: u32) -> RgbImage {
    let Some(map) = Pixmap::new(size, size) else { return RgbImage::new(size, size) };
    let class = class % CLASSES;
    let place = class / LIGHTS.len();
    let mut canvas = Canvas::new(map, place, class % LIGHTS.len(), seed);
    sky(&mut canvas);
    match place {
        0 => alpine_lake(&mut canvas),
        1 => desert(&mut canvas),
        2 => lighthouse(&mut canvas),
        3 => city(&mut canvas),
        4 => forest(&mut canvas),
        _ => snow_mountains(&mut canvas),
    }
    let mut picture = RgbImage::new(size, size);
    for (to, from) in picture.pixels_mut().zip(canvas.map.pixels()) {
        to.0 = [from.red(), from.green(), from.blue()];
    }
    picture
}

/// A colour, or a factor on colours; each channel in 0..=1.
type Rgb = [f32; 3];
/// A point, or another pair of numbers, in units of the side.
type Spot = (f32, f32);

const fn hex(rgb: u32) -> Rgb {
    [(rgb >> 16 & 255) as f32 / 255.0, (rgb >> 8 & 255) as f32 / 255.0, (rgb & 255) as f32 / 255.0]
}

fn mix(a: Rgb, b: Rgb, t: f32) -> Rgb {
    std::array::from_fn(|i| a[i] + (b[i] - a[i]) * t)
}

/// The colours of one light.
#[derive(Clone, Copy)]
struct Palette {
    /// The sky from the zenith to the horizon.
    sky: [Rgb; 4],
    /// Sun or moon.
    disc: Rgb,
    glow: Rgb,
    cloud: Rgb,
    /// What distant things fade into.
    haze: Rgb,
    /// The factor the light puts on local colours.
    ambient: Rgb,
}

const fn palette(sky: [u32; 4], disc: u32, glow: u32, cloud: u32, haze: u32, ambient: u32) -> Palette {
    let sky = [hex(sky[0]), hex(sky[1]), hex(sky[2]), hex(sky[3])];
    Palette { sky, disc: hex(disc), glow: hex(glow), cloud: hex(cloud), haze: hex(haze), ambient: hex(ambient) }
}

/// Two extremes for each light; a scene takes a random mixture of them.
const PALETTES: [[Palette; 2]; 4] = [
    [
        palette([0x6a7fbb, 0xb394c2, 0xf4a7a2, 0xffdcae], 0xfff0b8, 0xffcf98, 0xffe6dc, 0xdba9ac, 0xd0a4b0),
        palette([0x5b93c4, 0xa3bdd6, 0xf9c9a8, 0xfff0c0], 0xfff4c4, 0xffe0a0, 0xfff2e0, 0xd8b4a4, 0xdcb8a8),
    ],
    [
        palette([0x2a77d2, 0x55a5ea, 0x9ad0f6, 0xe6f5fb], 0xfff2b8, 0xfff2c0, 0xffffff, 0xb4d2ea, 0xffffff),
        palette([0x1792c4, 0x52bcdc, 0xa4e0e6, 0xf4f8e2], 0xffeeaa, 0xfff4b8, 0xfffef4, 0xb8dcd8, 0xfcf8e8),
    ],
    [
        palette([0x231a5e, 0x6c2f84, 0xd8546e, 0xffae66], 0xffe49c, 0xff9e5c, 0xe88c8c, 0xa8506e, 0x8a5e7c),
        palette([0x1e2a60, 0x84407c, 0xf0704e, 0xffd27a], 0xffeaa4, 0xffb060, 0xf4a078, 0xb0605c, 0x966a68),
    ],
    [
        palette([0x040a26, 0x0b1a48, 0x18336c, 0x3a5c94], 0xf0f4ff, 0xa0b8f4, 0x40548c, 0x2c487e, 0x36487a),
        palette([0x0a0628, 0x19124c, 0x342772, 0x60509c], 0xfaf2e4, 0xb4a8f0, 0x504a8c, 0x40388a, 0x403c78),
    ],
];

/// Shapes gathered in pixel coordinates from points in units of the side, to be filled together.
struct Pen {
    path: PathBuilder,
    side: f32,
}

impl Pen {
    fn polygon(mut self, points: impl IntoIterator<Item = Spot>) -> Self {
        for (i, (x, y)) in points.into_iter().enumerate() {
            let (x, y) = (x * self.side, y * self.side);
            if i == 0 { self.path.move_to(x, y) } else { self.path.line_to(x, y) }
        }
        self.path.close();
        self
    }

    fn circle(mut self, x: f32, y: f32, r: f32) -> Self {
        self.path.push_circle(x * self.side, y * self.side, r * self.side);
        self
    }

    fn rect(mut self, x: f32, y: f32, w: f32, h: f32) -> Self {
        self.add_rect(x, y, w, h);
        self
    }

    fn add_rect(&mut self, x: f32, y: f32, w: f32, h: f32) {
        let s = self.side;
        if let Some(rect) = Rect::from_xywh(x * s, y * s, w * s, h * s) {
            self.path.push_rect(rect);
        }
    }

    /// A lens: pointed at both ends, as glints and streaks of cloud are.
    fn lens(mut self, x: f32, y: f32, half_width: f32, half_height: f32) -> Self {
        let (x, y, w, h) = (x * self.side, y * self.side, half_width * self.side, half_height * self.side);
        self.path.move_to(x - w, y);
        self.path.quad_to(x, y - 2.0 * h, x + w, y);
        self.path.quad_to(x, y + 2.0 * h, x - w, y);
        self.path.close();
        self
    }
}

const SNOW: Rgb = hex(0xf6faff);

/// The picture being painted, with the light and the random numbers that paint it.
struct Canvas {
    map: Pixmap,
    side: f32,
    random: ChaCha8Rng,
    light: usize,
    palette: Palette,
    /// Where the land or the water begins; a multiple of 1/64 so that it falls between pixels.
    horizon: f32,
    sun: Spot,
    sun_radius: f32,
    /// Put on every shape: the identity, but for mirror images in the water.
    frame: Transform,
    opacity: f32,
}

impl Canvas {
    fn new(map: Pixmap, place: usize, light: usize, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        random.set_stream((place * LIGHTS.len() + light) as u64);
        let (side, frame, opacity) = (map.width() as f32, Transform::identity(), 1.0);
        let [a, b] = PALETTES[light];
        let (horizon, sun, sun_radius) = (0.0, (0.0, 0.0), 0.0);
        let mut canvas = Self { map, side, random, light, palette: a, horizon, sun, sun_radius, frame, opacity };
        let t = canvas.range(0.0, 1.0);
        canvas.palette = Palette {
            sky: std::array::from_fn(|i| mix(a.sky[i], b.sky[i], t)),
            disc: mix(a.disc, b.disc, t),
            glow: mix(a.glow, b.glow, t),
            cloud: mix(a.cloud, b.cloud, t),
            haze: mix(a.haze, b.haze, t),
            ambient: mix(a.ambient, b.ambient, t),
        };
        let (low, high) = [(0.52, 0.62), (0.58, 0.66), (0.60, 0.70), (0.80, 0.86), (0.56, 0.62), (0.58, 0.66)][place];
        canvas.horizon = (canvas.range(low, high) * 64.0).round() / 64.0;
        let x = canvas.range(0.16, 0.84);
        let (y, radius) = if canvas.low_sun() {
            (canvas.horizon.min(0.62) - canvas.range(0.06, 0.20), canvas.range(0.070, 0.095))
        } else {
            (canvas.range(0.12, 0.24), canvas.range(0.055, 0.080))
        };
        (canvas.sun, canvas.sun_radius) = ((x, y), radius);
        canvas
    }

    fn low_sun(&self) -> bool {
        self.light != DAY && self.light != NIGHT
    }

    fn range(&mut self, low: f32, high: f32) -> f32 {
        low + (high - low) * ((self.random.next_u32() >> 8) as f32 / (1 << 24) as f32)
    }

    fn count(&mut self, low: u32, high: u32) -> u32 {
        low + self.random.next_u32() % (high - low + 1)
    }

    fn chance(&mut self, probability: f32) -> bool {
        self.range(0.0, 1.0) < probability
    }

    /// A local colour under this light, `depth` of the way into the haze.
    fn lit(&self, local: Rgb, depth: f32) -> Rgb {
        mix(std::array::from_fn(|i| local[i] * self.palette.ambient[i]), self.palette.haze, depth)
    }

    /// How much of its height land keeps at `x`: it opens into a valley where the sun is low.
    fn valley(&self, x: f32) -> f32 {
        let u = ((x - self.sun.0) / 0.34).clamp(-1.0, 1.0);
        if self.low_sun() { 1.0 - 0.72 * (1.0 - u * u) * (1.0 - u * u) } else { 1.0 }
    }

    /// Snow keeps more of the light than anything else.
    fn snow(&self, depth: f32) -> Rgb {
        let light = self.palette.ambient.map(f32::sqrt);
        mix(std::array::from_fn(|i| SNOW[i] * light[i]), self.palette.haze, depth)
    }

    fn pen(&self) -> Pen {
        Pen { path: PathBuilder::new(), side: self.side }
    }

    fn color(&self, rgb: Rgb, alpha: f32) -> Color {
        let [r, g, b] = rgb.map(|v| v.clamp(0.0, 1.0));
        Color::from_rgba(r, g, b, (alpha * self.opacity).clamp(0.0, 1.0)).unwrap_or(Color::TRANSPARENT)
    }

    fn point(&self, (x, y): Spot) -> Point {
        Point::from_xy(x * self.side, y * self.side)
    }

    /// Evenly spread colours from one point to another.
    fn gradient(&self, from: Spot, to: Spot, colors: &[(Rgb, f32)]) -> Shader<'static> {
        let last = (colors.len() - 1).max(1) as f32;
        let stops = colors.iter().enumerate();
        let stops = stops.map(|(i, &(rgb, a))| GradientStop::new(i as f32 / last, self.color(rgb, a))).collect();
        let (from, to) = (self.point(from), self.point(to));
        LinearGradient::new(from, to, stops, SpreadMode::Pad, Transform::identity())
            .unwrap_or(Shader::SolidColor(Color::TRANSPARENT))
    }

    /// Fills with evenly spread colours from the height `top` down to `foot`.
    fn fill_down(&mut self, pen: Pen, top: f32, foot: f32, colors: &[(Rgb, f32)]) {
        self.paint(pen, self.gradient((0.0, top), (0.0, foot), colors));
    }

    fn paint(&mut self, pen: Pen, shader: Shader<'_>) {
        let paint = Paint { shader, ..Paint::default() };
        if let Some(path) = pen.path.finish() {
            self.map.fill_path(&path, &paint, FillRule::Winding, self.frame, None);
        }
    }

    fn fill(&mut self, pen: Pen, rgb: Rgb, alpha: f32) {
        self.paint(pen, Shader::SolidColor(self.color(rgb, alpha)));
    }

    /// A soft round light.
    fn halo(&mut self, (x, y): Spot, radius: f32, rgb: Rgb, alpha: f32) {
        let stops = [(0.0, 1.0), (0.2, 0.6), (0.5, 0.22), (1.0, 0.0)];
        let stops = stops.map(|(at, a)| GradientStop::new(at, self.color(rgb, a * alpha))).to_vec();
        let (center, r) = (self.point((x, y)), radius * self.side);
        let shader = RadialGradient::new(center, 0.0, center, r, stops, SpreadMode::Pad, Transform::identity());
        if let Some(shader) = shader {
            self.paint(self.pen().circle(x, y, radius), shader);
        }
    }
}

fn sky(c: &mut Canvas) {
    let colors = c.palette.sky.map(|rgb| (rgb, 1.0));
    c.fill_down(c.pen().rect(0.0, 0.0, 1.0, 1.0), 0.0, c.horizon.min(0.68), &colors);
    if c.light == NIGHT {
        stars(c);
    }
    celestial_body(c);
    clouds(c);
}

fn stars(c: &mut Canvas) {
    for _ in 0..c.count(70, 110) {
        let (x, y, u) = (c.range(0.0, 1.0), c.range(0.0, 0.62), c.range(0.0, 1.0));
        let alpha = c.range(0.35, 1.0) * (1.0 - y);
        c.fill(c.pen().circle(x, y, 0.0018 + 0.0032 * u * u * u), hex(0xf4f6ff), alpha);
    }
}

fn celestial_body(c: &mut Canvas) {
    let ((x, y), r, palette) = (c.sun, c.sun_radius, c.palette);
    let reach = if c.low_sun() { 7.0 } else { 5.0 };
    c.halo((x, y), r * reach, palette.glow, if c.light == NIGHT { 0.55 } else { 0.8 });
    c.fill(c.pen().circle(x, y, r), palette.disc, 1.0);
    if c.light == NIGHT {
        let craters = [(-0.35, -0.25, 0.24), (0.30, 0.10, 0.30), (-0.15, 0.45, 0.18), (0.25, -0.5, 0.12)];
        let pen = craters.iter().fold(c.pen(), |pen, &(u, v, w)| pen.circle(x + u * r, y + v * r, w * r));
        c.fill(pen, palette.glow, 0.35);
    }
}

fn clouds(c: &mut Canvas) {
    let number = if c.light == NIGHT { c.count(0, 2) } else { c.count(1, 4) };
    for _ in 0..number {
        let (x, y) = (c.range(0.05, 0.95), c.range(0.06, 0.32) + if c.light == NIGHT { 0.28 } else { 0.0 });
        if c.light == DAY { cumulus(c, x, y) } else { streaks(c, x, y) }
    }
}

/// A heap of round puffs on a flat base.
fn cumulus(c: &mut Canvas, x: f32, y: f32) {
    let (r, puffs) = (c.range(0.022, 0.038), c.count(3, 5));
    let half = r * puffs as f32 * 0.62;
    let mut pen = c.pen().rect(x - half, y - r * 0.9, 2.0 * half, r * 0.9);
    pen = pen.circle(x - half, y - r * 0.45, r * 0.45).circle(x + half, y - r * 0.45, r * 0.45);
    for i in 0..puffs {
        let u = (i as f32 + 0.5) / puffs as f32 * 2.0 - 1.0;
        let radius = r * (1.25 - 0.5 * u * u) * c.range(0.8, 1.15);
        pen = pen.circle(x + u * half * 0.8, y - radius.max(r * 0.8), radius.min(r * 1.2));
    }
    let colors = [(c.palette.cloud, 0.96), (mix(c.palette.cloud, c.palette.sky[2], 0.45), 0.85)];
    c.fill_down(pen, y - 2.4 * r, y, &colors);
}

/// Long thin bars of cloud, lit from below by a low sun.
fn streaks(c: &mut Canvas, x: f32, y: f32) {
    let mut pen = c.pen();
    for i in 0..c.count(2, 4) {
        let (dx, half, thick) = (c.range(-0.09, 0.09), c.range(0.09, 0.22), c.range(0.006, 0.012));
        pen = pen.lens(x + dx, y + 0.016 * i as f32, half, thick);
    }
    c.fill(pen, c.palette.cloud, 0.62);
}

/// Number of intervals in a line of land.
const STEPS: usize = 96;

/// The character of a line of land: octaves of value noise, each of twice the cells and `gain` of the height.
#[derive(Clone, Copy)]
struct Relief {
    cells: usize,
    octaves: u32,
    gain: f32,
    smooth: bool,
}

const DUNES: Relief = Relief { cells: 3, octaves: 3, gain: 0.28, smooth: true };
const HILLS: Relief = Relief { cells: 2, octaves: 4, gain: 0.42, smooth: true };
const CRAGS: Relief = Relief { cells: 3, octaves: 5, gain: 0.48, smooth: false };

/// A random line of land up to `amplitude` high over `base`; far land opens into the valley of a low sun.
fn skyline(c: &mut Canvas, relief: Relief, base: f32, amplitude: f32, far: bool) -> Vec<Spot> {
    let (mut heights, mut gain) = (vec![0.0; STEPS + 1], 1.0);
    for octave in 0..relief.octaves {
        let cells = relief.cells << octave;
        let lattice: Vec<f32> = (0..cells + 2).map(|_| c.range(0.0, gain)).collect();
        for (i, height) in heights.iter_mut().enumerate() {
            let (cell, rest) = (i * cells / STEPS, (i * cells % STEPS) as f32 / STEPS as f32);
            let t = if relief.smooth { rest * rest * (3.0 - 2.0 * rest) } else { rest };
            *height += lattice[cell] + (lattice[cell + 1] - lattice[cell]) * t;
        }
        gain *= relief.gain;
    }
    let (low, high) = heights.iter().fold((f32::MAX, f32::MIN), |(l, h), &v| (l.min(v), h.max(v)));
    let spots = heights.iter().enumerate().map(|(i, v)| (i as f32 / STEPS as f32, (v - low) / (high - low).max(1e-6)));
    spots.map(|(x, v)| (x, base - amplitude * v * if far { c.valley(x) } else { 1.0 })).collect()
}

fn below(line: &[Spot]) -> impl Iterator<Item = Spot> + '_ {
    line.iter().copied().chain([(1.0, 1.01), (0.0, 1.01)])
}

/// Fills the land under a skyline; it fades `mist` of the way into the haze at `foot`.
fn land(c: &mut Canvas, line: &[Spot], foot: f32, rgb: Rgb, mist: f32) {
    let top = line.iter().fold(foot - 0.01, |top, p| top.min(p.1));
    c.fill_down(c.pen().polygon(below(line)), top, foot, &[(rgb, 1.0), (mix(rgb, c.palette.haze, mist), 1.0)]);
}

/// One mountain with a sunny and a shaded face, its top `snow` of the way down in snow.
fn peak(c: &mut Canvas, apex: Spot, foot: f32, half: f32, rock: Rgb, snow: f32, depth: f32) {
    const EDGE: usize = 14;
    let height = foot - apex.1;
    let edges = [-1.0, 1.0].map(|sign| {
        let bend = c.range(-0.3, 0.6);
        let mut run = 0.0;
        let runs: [f32; EDGE] = std::array::from_fn(|i| {
            let t = i as f32 / EDGE as f32;
            run += (if i % 2 == 0 { 1.5 } else { 0.4 }) * c.range(0.6, 1.5) * (1.0 + bend * (2.0 * t - 1.0));
            run
        });
        let mut edge = vec![apex];
        edge.extend(
            (1..).zip(runs).map(|(i, x)| (apex.0 + sign * half * x / run, apex.1 + height * i as f32 / EDGE as f32)),
        );
        edge
    });
    let crest: Vec<Spot> = (0..=EDGE)
        .map(|i| {
            let (t, sway) = (i as f32 / EDGE as f32, if i % 2 == 0 { 0.09 } else { -0.09 });
            (apex.0 + half * (sway * t.min(0.6) + c.range(-0.05, 0.05) * t), apex.1 + height * t)
        })
        .collect();
    let slice = |from: usize, to: usize| {
        let left: Vec<Spot> = edges[0][from..=to].iter().rev().copied().collect();
        left.into_iter().chain(edges[1][from..=to].iter().copied())
    };
    // The rock begins a little over the end of the snow, so that its colour does not fringe the snow.
    let (rows, rgb) = ((snow * EDGE as f32) as usize, c.lit(rock, depth));
    let colors = [(rgb, 1.0), (rgb, 1.0), (mix(rgb, c.palette.haze, 0.55), 1.0)];
    c.fill_down(c.pen().polygon(slice(rows.saturating_sub(2), EDGE)), apex.1, foot, &colors);
    if rows > 0 {
        let (right, left) = (edges[1][rows], edges[0][rows]);
        let teeth = 2 * rows + 1;
        let hem = (1..teeth).map(|i| {
            let t = i as f32 / teeth as f32;
            let drop = if i % 2 == 0 { c.range(0.02, 0.08) } else { c.range(-0.12, -0.05) };
            (right.0 + (left.0 - right.0) * t, right.1 + drop * height)
        });
        let cap: Vec<Spot> = slice(0, rows).chain(hem).collect();
        c.fill(c.pen().polygon(cap), c.snow(depth * 0.5), 1.0);
    }
    let away = &edges[usize::from(c.sun.0 < apex.0)];
    let face = away.iter().copied().chain(crest.into_iter().rev());
    c.fill(c.pen().polygon(face), c.lit(hex(0x28304e), depth * 0.4), 0.36);
}

/// A chain of mountains from left to right.
fn peaks(c: &mut Canvas, number: u32, foot: f32, tall: Spot, rock: Rgb, snow: f32, depth: f32) {
    for i in 0..number {
        let x = (i as f32 + 0.5 + c.range(-0.3, 0.3)) / number as f32;
        let height = c.range(tall.0, tall.1) * (0.3 + 0.7 * c.valley(x));
        let half = height * c.range(0.75, 1.0);
        peak(c, (x, foot - height), foot, half, rock, snow, depth);
    }
}

/// One side of a fir, from the tip down: tiers of branches, each wider than the one over it.
fn fir_side(x: f32, foot: f32, height: f32, sign: f32) -> Vec<Spot> {
    const TIERS: usize = 5;
    let at = |t: f32, reach: f32| (x + sign * 0.22 * height * reach, foot - height * (1.0 - 0.92 * t));
    let mut side = vec![at(0.0, 0.0)];
    for tier in 1..=TIERS {
        let t = tier as f32 / TIERS as f32;
        side.extend([at(t, 0.2 + 0.8 * t), at(t - 0.04, 0.1 + 0.4 * t)]);
    }
    side
}

fn fir_outline(x: f32, foot: f32, height: f32) -> impl Iterator<Item = Spot> {
    fir_side(x, foot, height, 1.0).into_iter().chain(fir_side(x, foot, height, -1.0).into_iter().rev())
}

/// One large fir, the side towards the light in `bright`.
fn fir(c: &mut Canvas, x: f32, foot: f32, height: f32, dark: Rgb, bright: Rgb) {
    let trunk = c.pen().rect(x - 0.02 * height, foot - 0.1 * height, 0.04 * height, 0.12 * height);
    c.fill(trunk, c.lit(hex(0x4a3428), 0.0), 1.0);
    let towards = if c.sun.0 < x { -1.0 } else { 1.0 };
    for (sign, seam, rgb) in [(-towards, 0.003 * towards, dark), (towards, 0.0, bright)] {
        let middle = [(x + seam, foot - 0.1 * height), (x + seam, foot - height)];
        c.fill(c.pen().polygon(fir_side(x, foot, height, sign).into_iter().chain(middle)), rgb, 1.0);
    }
}

/// Firs along a line of ground, the far and small ones first; `clear` of the middle is left open.
fn firs(c: &mut Canvas, number: u32, ground: &[Spot], tall: Spot, colors: [Rgb; 2], clear: f32) {
    let mut trees: Vec<Spot> = (0..number)
        .map(|i| {
            let u = (i as f32 + c.range(0.0, 1.0)) / number as f32 * 2.0 - 1.0;
            let x = 0.5 + 0.5 * u.signum() * (clear + (1.0 - clear) * u.abs());
            (x, c.range(tall.0, tall.1) * (0.75 + 0.25 * u.abs()))
        })
        .collect();
    trees.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (x, height) in trees {
        let foot = ground[((x * STEPS as f32) as usize).min(STEPS)].1 + 0.02;
        let t = c.range(-0.12, 0.12);
        fir(c, x, foot, height, mix(colors[0], colors[1], t), mix(colors[1], colors[0], t));
    }
}

/// Water from the horizon down: a mirror of what stands over it, deeper in colour towards the viewer.
fn water(c: &mut Canvas, local: Rgb, mirror: f32) {
    let h = c.horizon;
    let deep = c.lit(local, 0.0);
    let shallow = mix(c.palette.sky[3], c.lit(local, 0.3), 0.4);
    let colors = [(shallow, 1.0), (mix(shallow, deep, 0.7), 1.0), (deep, 1.0)];
    c.fill_down(c.pen().rect(0.0, h, 1.0, 1.0 - h), h, 1.0, &colors);
    let above = c.map.clone();
    let flip = Transform::from_row(1.0, 0.0, 0.0, -1.0, 0.0, 2.0 * h * c.side);
    let shader = Pattern::new(above.as_ref(), SpreadMode::Pad, FilterQuality::Nearest, mirror, flip);
    c.paint(c.pen().rect(0.0, h, 1.0, 1.0 - h), shader);
    ripples(c);
}

/// Glints in a widening path under the sun, and a few faint ripples elsewhere.
fn ripples(c: &mut Canvas) {
    let (h, sun) = (c.horizon, c.sun.0);
    let (mut glints, mut faint) = (c.pen(), c.pen());
    let rows = ((1.0 - h) * 72.0) as u32;
    for i in 0..rows {
        let t = (i as f32 + 0.7) / rows as f32;
        let (y, thick) = (h + (1.0 - h) * t, 0.0022 + 0.0034 * t);
        let spread = c.sun_radius * (0.7 + 1.1 * t);
        let (dx, half) = (c.range(-1.0, 1.0) * spread, c.range(0.015, 0.05) * (0.7 + t));
        glints = glints.lens(sun + dx, y, half, thick);
        if c.chance(0.6) {
            faint = faint.lens(c.range(0.0, 1.0), y, c.range(0.02, 0.07), thick * 0.8);
        }
    }
    c.fill(faint, c.palette.sky[3], 0.30);
    c.fill(glints, c.palette.disc, if c.light == DAY { 0.75 } else { 0.85 });
}

fn alpine_lake(c: &mut Canvas) {
    let h = c.horizon;
    let (far, near) = (c.count(3, 6), c.count(2, 4));
    peaks(c, far, h, (0.16, 0.30), hex(0x7c8ca4), 0.45, 0.50);
    peaks(c, near, h, (0.08, 0.17), hex(0x5c7a78), 0.0, 0.28);
    let line = skyline(c, CRAGS, h - 0.004, 0.045, true);
    let rgb = c.lit(hex(0x3f7058), 0.12);
    land(c, &line, h, rgb, 0.0);
    water(c, hex(0x2f7fa0), 0.55);
    let ground = skyline(c, HILLS, 0.965, 0.07, false);
    let rgb = c.lit(hex(0x3a6a3c), 0.0);
    land(c, &ground, 1.0, rgb, 0.0);
    let colors = [c.lit(hex(0x1f4a3c), 0.0), c.lit(hex(0x357254), 0.02)];
    let number = c.count(6, 10);
    firs(c, number, &ground, (0.14, 0.34), colors, 0.35);
}

fn desert(c: &mut Canvas) {
    let h = c.horizon;
    for _ in 0..c.count(1, 3) {
        mesa(c, h + 0.04);
    }
    for (i, depth) in [0.42, 0.24, 0.08].into_iter().enumerate() {
        let base = h + 0.03 + 0.12 * i as f32;
        let line = skyline(c, DUNES, base, [0.08, 0.10, 0.12][i], false);
        let rgb = c.lit([hex(0xf0c080), hex(0xe8b070), hex(0xdc9c5c)][i], depth);
        land(c, &line, base + 0.2, rgb, 0.0);
        dune_shade(c, &line);
    }
    let n = c.count(3, 5);
    let mut cacti: Vec<Spot> =
        (0..n).map(|i| ((i as f32 + c.range(0.15, 0.85)) / n as f32, c.range(0.0, 1.0))).collect();
    cacti.sort_by(|a, b| a.1.total_cmp(&b.1));
    for (x, near) in cacti {
        cactus(c, x, h + 0.14 + (0.94 - h - 0.14) * near, 0.09 + 0.17 * near);
    }
}

/// The lee of a dune: a soft darker band that hangs from its crest where the crest falls away from the sun.
fn dune_shade(c: &mut Canvas, line: &[Spot]) {
    let mut lower: Vec<Spot> = Vec::with_capacity(line.len());
    let mut depth = 0.0;
    for (i, &(x, y)) in line.iter().enumerate() {
        let slope = (line[(i + 1).min(STEPS)].1 - y) * (x - c.sun.0).signum();
        depth = (depth + slope * 1.6).clamp(0.0, 0.12);
        lower.push((x, y + depth));
    }
    c.fill(c.pen().polygon(line.iter().copied().chain(lower.into_iter().rev())), c.lit(hex(0x8a4a3c), 0.1), 0.4);
}

/// A table mountain, its face in two tones.
fn mesa(c: &mut Canvas, foot: f32) {
    let (x, half, height) = (c.range(0.05, 0.95), c.range(0.06, 0.15), c.range(0.08, 0.20));
    let height = height * c.valley(x);
    let top = foot - height;
    let shape = |inset: f32| {
        [
            (x - half * 1.35, foot),
            (x - half, top + height * 0.45),
            (x - half * 0.92, top),
            (x + half * (0.9 - inset), top),
            (x + half * (1.0 - inset), top + height * 0.45),
            (x + half * (1.35 - inset), foot),
        ]
    };
    let (rock, shade) = (c.lit(hex(0xc8704c), 0.35), c.lit(hex(0x8a4a48), 0.35));
    let (left, right) = if c.sun.0 < x { (rock, shade) } else { (shade, rock) };
    c.fill(c.pen().polygon(shape(0.0)), right, 1.0);
    c.fill(c.pen().polygon(shape(1.2)), left, 1.0);
}

/// A saguaro: round strokes for the trunk and its arms, and a thinner bright stroke on the side of the light.
fn cactus(c: &mut Canvas, x: f32, foot: f32, height: f32) {
    let width = height * 0.17;
    let mut arms = vec![];
    let first = if c.chance(0.5) { -1.0 } else { 1.0 };
    for (sign, chance) in [(first, 1.0), (-first, 0.7)] {
        if c.chance(chance) {
            arms.push((sign, c.range(0.32, 0.52), c.range(0.20, 0.34)));
        }
    }
    c.fill(c.pen().lens(x, foot, height * 0.34, height * 0.045), c.lit(hex(0x7a4438), 0.0), 0.55);
    let s = c.side;
    let towards = if c.sun.0 < x { -1.0 } else { 1.0 };
    let tones = [(0.0, 1.0, hex(0x2f6f46)), (towards * 0.2 * width, 0.35, hex(0x58a060))];
    for (dx, share, local) in tones {
        let x = x + dx;
        let mut path = PathBuilder::new();
        path.move_to(x * s, foot * s);
        path.line_to(x * s, (foot - height + width * 0.5) * s);
        let rgb = c.lit(local, 0.0);
        stroke(c, path, width * share, rgb);
        for &(sign, at, rise) in &arms {
            let (out, y) = (x + sign * height * 0.25, foot - height * at);
            let mut path = PathBuilder::new();
            path.move_to(x * s, y * s);
            path.quad_to(out * s, y * s, out * s, (y - height * 0.12) * s);
            path.line_to(out * s, (y - height * rise) * s);
            stroke(c, path, width * 0.72 * share, rgb);
        }
    }
}

fn stroke(c: &mut Canvas, path: PathBuilder, width: f32, rgb: Rgb) {
    let stroke =
        Stroke { width: width * c.side, line_cap: LineCap::Round, line_join: LineJoin::Round, ..Stroke::default() };
    let paint = Paint { shader: Shader::SolidColor(c.color(rgb, 1.0)), ..Paint::default() };
    if let Some(path) = path.finish() {
        c.map.stroke_path(&path, &paint, &stroke, c.frame, None);
    }
}

fn lighthouse(c: &mut Canvas) {
    let h = c.horizon;
    for (amplitude, local, depth) in [(0.13, 0x6f8fa0, 0.55), (0.07, 0x4f8068, 0.30)] {
        let line = skyline(c, CRAGS, h + 0.01, amplitude, true);
        let rgb = c.lit(hex(local), depth);
        land(c, &line, h, rgb, 0.4);
    }
    water(c, hex(0x2870a4), 0.5);
    let x = if c.sun.0 < 0.5 { c.range(0.62, 0.80) } else { c.range(0.20, 0.38) };
    let (foot, height) = (h + c.range(0.10, 0.16), c.range(0.38, 0.48));
    let shape = c.random.clone();
    c.frame = Transform::from_row(1.0, 0.0, 0.0, -0.6, 0.0, 1.6 * foot * c.side);
    c.opacity = 0.28;
    islet(c, x, foot, height);
    (c.frame, c.opacity, c.random) = (Transform::identity(), 1.0, shape);
    islet(c, x, foot, height);
    let foam = c.pen().lens(x - 0.02, foot + 0.004, 0.20, 0.004).lens(x + 0.05, foot + 0.016, 0.11, 0.003);
    c.fill(foam, c.palette.sky[3], 0.7);
}

/// A rocky islet with the tower on it.
fn islet(c: &mut Canvas, x: f32, foot: f32, height: f32) {
    let mut rocks = vec![];
    for i in 0..=12 {
        let u = i as f32 / 6.0 - 1.0;
        rocks.push((x + 0.17 * u, foot - 0.062 * (1.0 - u * u) * c.range(0.75, 1.25)));
    }
    tower(c, x, foot - 0.05, height);
    let [grass, stone, wet] = [0x5c8a4c, 0x4a4c50, 0x2c2e38].map(|local| (c.lit(hex(local), 0.02), 1.0));
    c.fill_down(c.pen().polygon(rocks), foot - 0.07, foot, &[grass, stone, wet]);
}

/// Red and white bands, a gallery, the lamp and a red roof; in the dark the lamp throws its beams.
fn tower(c: &mut Canvas, x: f32, foot: f32, height: f32) {
    const BANDS: usize = 6;
    let body = height * 0.78;
    let half = |t: f32| height * (0.092 - 0.038 * t);
    let level = |t: f32| foot - body * t;
    let slab = |from: f32, to: f32, left: f32| {
        [(from, left), (from, 1.0), (to, 1.0), (to, left)].map(|(t, u)| (x + u * half(t), level(t)))
    };
    let lamp = (x, level(1.0) - height * 0.075);
    if c.light != DAY && c.light != DAWN {
        beams(c, lamp);
    }
    for band in 0..BANDS {
        let (from, to) = (band as f32 / BANDS as f32, (band + 1) as f32 / BANDS as f32);
        let local = if band % 2 == 0 { hex(0xf8f4ec) } else { hex(0xd83c34) };
        c.fill(c.pen().polygon(slab(from, to, -1.0)), c.lit(local, 0.04), 1.0);
    }
    let away = if c.sun.0 < x { 1.0 } else { -1.0 };
    let side = slab(0.0, 1.0, 0.25).map(|(px, y)| (x + away * (px - x), y));
    let (shade, iron, red) = (c.lit(hex(0x303858), 0.0), c.lit(hex(0x343844), 0.0), c.lit(hex(0xc8342c), 0.0));
    c.fill(c.pen().polygon(side), shade, 0.32);
    let (w, y, u) = (half(1.0), level(1.0), height * 0.012);
    let glass = if c.light == DAY { c.lit(hex(0xfff2b0), 0.0) } else { hex(0xffe27a) };
    c.fill(c.pen().rect(x - 0.8 * w, y - height * 0.13, 1.6 * w, height * 0.13), glass, 1.0);
    let bars = c.pen().rect(x - 0.08 * w, y - height * 0.13, 0.16 * w, height * 0.13);
    let rails = bars.rect(x - 1.5 * w, y - 2.0 * u, 3.0 * w, 2.6 * u).rect(x - 1.4 * w, y - 4.4 * u, 2.8 * w, 0.7 * u);
    c.fill(rails, iron, 1.0);
    let roof = [(x - 1.1 * w, y - height * 0.125), (x, y - height * 0.215), (x + 1.1 * w, y - height * 0.125)];
    c.fill(c.pen().polygon(roof), red, 1.0);
    c.fill(c.pen().circle(x, y - height * 0.215, u), iron, 1.0);
    c.fill(c.pen().rect(x - 0.3 * w, level(0.2), 0.6 * w, body * 0.11), iron, 1.0);
    if c.light != DAY {
        c.halo(lamp, 0.09, hex(0xfff0b0), 0.8);
    }
}

fn beams(c: &mut Canvas, (x, y): Spot) {
    for (sign, drop) in [(-1.0, -0.03), (1.0, 0.03)] {
        let far = x + sign * 0.75;
        let colors = [(hex(0xfff2b8), 0.55), (hex(0xfff2b8), 0.12), (hex(0xfff2b8), 0.0)];
        let shader = c.gradient((x, y), (far, y + drop), &colors);
        let beam = [(x, y - 0.006), (far, y + drop - 0.08), (far, y + drop + 0.08), (x, y + 0.006)];
        c.paint(c.pen().polygon(beam), shader);
    }
}

/// Towers stand on a grid of this unit, one pixel at 128, which keeps their windows crisp.
const CELL: f32 = 1.0 / 128.0;

fn city(c: &mut Canvas) {
    let line = skyline(c, HILLS, c.horizon - 0.10, 0.14, true);
    let rgb = c.lit(hex(0x6f90a0), 0.6);
    land(c, &line, c.horizon, rgb, 0.5);
    for (row, depth) in [0.58, 0.34, 0.08].into_iter().enumerate() {
        let tall = [(0.34, 0.54), (0.22, 0.50), (0.10, 0.34)][row];
        let mut x = c.range(-8.0, 0.0).floor();
        while x < 128.0 {
            let columns = c.count(2, 4);
            let width = 4.0 * columns as f32 + 2.0;
            let middle = (x + width / 2.0) * CELL;
            let height = c.range(tall.0, tall.1) * c.valley(middle).max(0.35);
            building(c, (x, width), (height / CELL).floor(), columns, depth);
            x += width + if c.chance(0.35) { c.range(1.0, 6.0).floor() } else { 0.0 };
        }
    }
    c.fill(c.pen().rect(0.0, c.horizon - 0.012, 1.0, 0.012), c.lit(hex(0x4c5464), 0.0), 1.0);
    water(c, hex(0x2f6c94), 0.6);
}

/// One building on the grid: front, shaded side, roof and windows.
fn building(c: &mut Canvas, (x, width): Spot, height: f32, columns: u32, depth: f32) {
    let locals = [hex(0x4a6c9c), hex(0x7484a0), hex(0xb07c68), hex(0x3c6484), hex(0xc0b8a8)];
    let local = locals[c.count(0, 4) as usize];
    let (front, shade) = (c.lit(local, depth), c.lit(mix(local, hex(0x20284c), 0.45), depth));
    let ground = c.horizon / CELL;
    let top = ground - height;
    let middle = x + width / 2.0;
    let block = |pen: Pen, x: f32, y: f32, w: f32, h: f32| pen.rect(x * CELL, y * CELL, w * CELL, h * CELL);
    let mut pen = block(c.pen(), x, top, width, height);
    pen = match c.count(0, 5) {
        0 => block(block(pen, x + 2.0, top - 3.0, width - 4.0, 3.0), middle - 0.5, top - 11.0, 1.0, 8.0),
        1 => block(block(pen, x + 2.0, top - 4.0, width - 4.0, 4.0), x + 4.0, top - 7.0, width - 8.0, 3.0),
        2 => pen.polygon([(x, top), (x + width, top), (x + width, top - 6.0)].map(|(x, y)| (x * CELL, y * CELL))),
        3 => pen.polygon([(x, top), (x + width, top), (middle, top - 9.0)].map(|(x, y)| (x * CELL, y * CELL))),
        _ => block(pen, x + 2.0, top - 2.0, 4.0, 2.0),
    };
    c.fill_down(pen, top * CELL, c.horizon, &[(front, 1.0), (mix(front, c.palette.haze, 0.25 * depth + 0.05), 1.0)]);
    let side = if c.sun.0 < middle * CELL { x + width - 2.0 } else { x };
    c.fill(block(c.pen(), side, top, 2.0, height), shade, 0.8);
    if depth < 0.5 {
        windows(c, (x + 2.0, top + 3.0), columns, (height - 6.0).max(0.0) as u32 / 5, depth);
    }
}

/// A grid of windows, some lit and some dark.
fn windows(c: &mut Canvas, (x, y): Spot, columns: u32, rows: u32, depth: f32) {
    let bright = [0.35, 0.25, 0.55, 0.6][c.light];
    let (mut on, mut off) = (c.pen(), c.pen());
    for cell in 0..columns * rows {
        let (column, row) = ((cell % columns) as f32, (cell / columns) as f32);
        let (px, py) = ((x + 4.0 * column) * CELL, (y + 5.0 * row) * CELL);
        let pen = if c.chance(bright) { &mut on } else { &mut off };
        pen.add_rect(px, py, 2.0 * CELL, 3.0 * CELL);
    }
    let glass = if c.light == DAY { hex(0xd8f0ff) } else { hex(0xffdc80) };
    c.fill(off, c.lit(hex(0x2c3c58), depth), 0.55);
    c.fill(on, glass, 1.0 - depth);
}

fn forest(c: &mut Canvas) {
    let h = c.horizon;
    let number = c.count(2, 4);
    peaks(c, number, h + 0.05, (0.21, 0.33), hex(0x7890a0), 0.0, 0.60);
    for (i, depth) in [0.50, 0.32, 0.16].into_iter().enumerate() {
        let base = h + 0.02 + 0.12 * i as f32;
        let line = skyline(c, HILLS, base, 0.13 - 0.02 * i as f32, true);
        woods(c, &line, 0.035 + 0.022 * i as f32, base + 0.16, depth);
    }
    let ground = skyline(c, HILLS, 0.97, 0.05, false);
    let rgb = c.lit(hex(0x2c5a3a), 0.0);
    land(c, &ground, 1.0, rgb, 0.0);
    let colors = [c.lit(hex(0x1c4838), 0.0), c.lit(hex(0x34785a), 0.02)];
    let number = c.count(9, 13);
    firs(c, number, &ground, (0.20, 0.42), colors, 0.15);
}

/// A wooded slope: a crowd of small firs on its crest, and mist at its foot.
fn woods(c: &mut Canvas, line: &[Spot], height: f32, foot: f32, depth: f32) {
    let mut pen = c.pen().polygon(below(line));
    let mut x = 0.0;
    while x < 1.0 {
        let ground = line[(x * STEPS as f32) as usize].1 + 0.012;
        pen = pen.polygon(fir_outline(x, ground, height * c.range(0.7, 1.4)));
        x += height * c.range(0.18, 0.42);
    }
    let top = line.iter().fold(1.0f32, |top, p| top.min(p.1)) - height;
    let rgb = c.lit(hex(0x2f7052), depth);
    c.fill_down(pen, top, foot, &[(rgb, 1.0), (rgb, 1.0), (mix(rgb, c.palette.haze, 0.55), 1.0)]);
}

fn snow_mountains(c: &mut Canvas) {
    let h = c.horizon;
    let (far, near) = (c.count(4, 6), c.count(2, 4));
    peaks(c, far, h + 0.13, (0.34, 0.48), hex(0x6c7c98), 0.5, 0.40);
    peaks(c, near, h + 0.14, (0.24, 0.40), hex(0x586884), 0.43, 0.14);
    for (i, depth) in [0.45, 0.28, 0.10].into_iter().enumerate() {
        let base = h + [0.10, 0.18, 0.32][i];
        let line = skyline(c, DUNES, base, [0.05, 0.08, 0.10][i], false);
        let rgb = c.snow(depth);
        land(c, &line, base + 0.14, rgb, 0.5);
        let colors = [c.lit(hex(0x24504a), depth), c.snow(depth)];
        let number = c.count(4, 8);
        let tall = [(0.03, 0.06), (0.07, 0.13), (0.16, 0.30)][i];
        firs(c, number, &line, tall, colors, [0.0, 0.0, 0.25][i]);
    }
}
