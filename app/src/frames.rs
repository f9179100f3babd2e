//! `andamento bench --window`: how long the window itself computes for a frame, while one paints and pans on a large picture,
//! idle and while a model generates. Everything that the window's thread does is in it: the layout, the tools, textures,
//! shapes, and handing them to the graphics card; only the compositor is missing. Beside it, how many frames a second the
//! card has finished drawing: a model that computes on the same card takes its share of that.

use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento_model::device::DeviceChoice;
use andamento_model::library::imported::Shelf;
use andamento_model::picture::Picture;
use andamento_model::{Error, Result};
use eframe::egui_wgpu::{RenderState, RendererOptions, ScreenDescriptor};
use eframe::wgpu;
use egui::{Event, FullOutput, Modifiers, PointerButton, Pos2, RawInput, Rect, pos2, vec2};
use image::{Rgb, RgbImage};
use serde_json::json;

use crate::command::{Command, View};
use crate::document::save_atomically;
use crate::editor::Engine;
use crate::files::folders::Folders;
use crate::ui::{self, App, StartOptions};

/// The window's size in points.
const WINDOW: [f32; 2] = [1440.0, 900.0];
/// The frames of one measurement.
const FRAMES: usize = 600;
/// The pointer reports its place so many times in a frame, as a mouse of 240 Hz does.
const MOVES: usize = 4;
/// A frame at 60 Hz.
const FRAME: Duration = Duration::from_micros(16_667);
/// The longest that the picture or the model may take to open.
const PATIENCE: Duration = Duration::from_secs(300);

/// Measures what this thread computes: time in which others run instead of it does not count where the system tells that,
/// which Linux does.
pub struct Stopwatch {
    wall: Instant,
    computed: Option<Duration>,
}

impl Stopwatch {
    /// From now on.
    pub fn start() -> Self {
        Self { wall: Instant::now(), computed: computed() }
    }

    /// Since the start.
    pub fn elapsed(&self) -> Duration {
        match (self.computed, computed()) {
            (Some(before), Some(now)) => now.saturating_sub(before),
            _ => self.wall.elapsed(),
        }
    }
}

/// How long this thread has computed.
fn computed() -> Option<Duration> {
    let told = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    Some(Duration::from_nanos(told.split_whitespace().next()?.parse().ok()?))
}

/// Measures and prints.
///
/// # Errors
/// If the picture cannot be made, or the model does not load.
pub fn run(side: u32, device: DeviceChoice, shelf: Shelf, as_json: bool) -> Result<()> {
    // A place of its own for the picture and for what a window keeps, so that nothing of the person's is touched.
    let home = std::env::temp_dir().join(format!("andamento-bench-{}", std::process::id()));
    let folders = Folders::open(Some(&home))?;
    std::fs::create_dir_all(&home).map_err(|error| Error::file(&home, error, "Free some space"))?;
    let path = home.join("picture.png");
    save_atomically(&path, &picture(side).png_bytes()?)?;
    let measured = Window::open(StartOptions { device, picture: Some(path), model: None, shelf, folders })
        .and_then(|mut window| window.measure());
    // A temporary folder that cannot be removed does no harm.
    let _kept = std::fs::remove_dir_all(&home);
    let (card, idle, busy) = measured?;
    let figures = |times: &Times| {
        let ms = |share| percentile(&times.computed, share).as_secs_f64() * 1e3;
        let drawn = |share| percentile(&times.drawn, share).as_secs_f64() * 1e3;
        json!({
            "frames": times.computed.len(), "median_ms": ms(50), "p95_ms": ms(95), "p99_ms": ms(99), "most_ms": ms(100),
            "drawn_per_second": times.rate(), "drawn_median_ms": drawn(50), "drawn_p95_ms": drawn(95),
            "drawn_p99_ms": drawn(99), "drawn_most_ms": drawn(100),
        })
    };
    if as_json {
        let report = json!({ "side": side, "card": card, "idle": figures(&idle), "generating": figures(&busy) });
        println!("{report:#}");
        return Ok(());
    }
    println!("{:<28} {side} × {side} pixels, painting and panning", "picture");
    println!("{:<28} {card}", "drawn by");
    for (name, times) in [("idle", &idle), ("while generating", &busy)] {
        let line = |name: &str, times: &[Duration]| {
            let [median, slow, slower, most] = [50, 95, 99, 100].map(|share| percentile(times, share));
            println!("{name:<28} {median:.2?} median, {slow:.2?} at 95 %, {slower:.2?} at 99 %, {most:.2?} most");
        };
        line(&format!("{name}, computed"), &times.computed);
        if !times.drawn.is_empty() {
            line(&format!("{name}, until drawn"), &times.drawn);
            println!("{name:<28} {:.1} frames drawn a second, of 60 asked for", times.rate());
        }
    }
    Ok(())
}

/// A picture with something to see at every scale.
fn picture(side: u32) -> Picture {
    let pixel = |x: u32, y: u32| {
        let wave = |period: f32, at: u32| ((at as f32 / period).sin() * 60.0 + 128.0) as u8;
        Rgb([wave(170.0, x), wave(230.0, y), (x ^ y) as u8])
    };
    Picture::new(RgbImage::from_fn(side, side, pixel).into())
}

/// What frames took.
struct Times {
    /// How long the window's thread computed for each.
    computed: Vec<Duration>,
    /// How long each took by the clock, until the card had drawn it; empty where there is no card.
    drawn: Vec<Duration>,
    /// All of them by the clock, with the pauses between frames.
    whole: Duration,
}

impl Times {
    /// Frames that the card drew in a second.
    fn rate(&self) -> f64 {
        self.drawn.len() as f64 / self.whole.as_secs_f64()
    }
}

/// The time that so many of a hundred frames stayed below.
fn percentile(times: &[Duration], share: usize) -> Duration {
    let mut times = times.to_vec();
    times.sort_unstable();
    times.get((times.len() * share / 100).min(times.len().saturating_sub(1))).copied().unwrap_or_default()
}

/// The editor, drawn on a texture instead of a screen.
struct Window {
    ctx: egui::Context,
    app: App,
    card: Option<(RenderState, wgpu::Texture)>,
    since: Instant,
}

impl Window {
    fn open(start: StartOptions) -> Result<Self> {
        let ctx = egui::Context::default();
        let app = App::new(&ctx, start)?;
        Ok(Self { ctx, app, card: card(), since: Instant::now() })
    }

    /// The card's name, and the times of frames idle and while generating.
    fn measure(&mut self) -> Result<(String, Times, Times)> {
        let card = match &self.card {
            Some((state, target)) => {
                let (name, whole) = (state.adapter.get_info().name, target.width() == WINDOW[0] as u32);
                if whole { name } else { format!("{name}, a corner of each frame: it computes where the window does") }
            }
            None => "nothing: there is no adapter, and handing over to it is not measured".into(),
        };
        self.wait("the picture to open", |app| app.editor.document.path.is_some())?;
        self.wait("the model", |app| !matches!(app.editor.engine, Engine::Loading(_)))?;
        if let Engine::Failed(cause) = &self.app.editor.engine {
            return Err(Error::control("bench", cause, "See `andamento doctor`"));
        }
        self.script(FRAMES / 4, false);
        let idle = self.script(FRAMES, false);
        let busy = self.script(FRAMES, true);
        self.app.editor.apply(Command::Stop);
        Ok((card, idle, busy))
    }

    fn wait(&mut self, what: &str, done: impl Fn(&App) -> bool) -> Result<()> {
        let start = Instant::now();
        while !done(&self.app) {
            if start.elapsed() > PATIENCE {
                return Err(Error::control("bench", format!("waited too long for {what}"), "Try again"));
            }
            self.frame(Vec::new());
            sleep(FRAME);
        }
        Ok(())
    }

    /// Paints strokes for a second, pans for a second, and so on, at 100 % and from afar by turns.
    fn script(&mut self, frames: usize, generating: bool) -> Times {
        let mut times = Times { computed: Vec::new(), drawn: Vec::new(), whole: Duration::ZERO };
        let mut at = 0.0_f32;
        // Frames are due 60 times a second; one that is late is shown a sixtieth later, as on a screen.
        let start = Instant::now();
        let mut due = start;
        for index in 0..frames {
            let (second, frame) = (index / 60, index % 60);
            if frame == 0 {
                let far = second % 4 >= 2;
                let view = self.app.editor.view;
                let middle = self.app.editor.document.picture.width() as f32 / 2.0;
                let near = View { zoom: 1.0, centre: (middle, middle), fit: false };
                self.app.editor.apply(Command::Look(if far { View { fit: true, ..view } } else { near }));
            }
            if generating && self.app.editor.run.is_none() {
                self.app.editor.apply(Command::Generate);
            }
            let button = if second % 2 == 0 { PointerButton::Primary } else { PointerButton::Middle };
            let press = |at: f32, pressed: bool| Event::PointerButton {
                pos: place(at),
                button,
                pressed,
                modifiers: Modifiers::NONE,
            };
            let mut events = Vec::new();
            if frame == 0 {
                events.extend([Event::PointerMoved(place(at)), press(at, true)]);
            }
            for _ in 0..MOVES {
                at += 0.05 / MOVES as f32;
                events.push(Event::PointerMoved(place(at)));
            }
            if frame == 59 {
                events.push(press(at, false));
            }
            let began = Instant::now();
            times.computed.push(self.frame(events));
            if let Some((state, _)) = &self.card {
                // Fails where the card is lost, and the next frame with it.
                let _told = state.device.poll(wgpu::PollType::wait_indefinitely());
                times.drawn.push(began.elapsed());
            }
            let now = Instant::now();
            while due < now {
                due += FRAME;
            }
            sleep(due - now);
        }
        times.whole = start.elapsed();
        times
    }

    /// One frame. Returns how long this thread computed for it.
    fn frame(&mut self, events: Vec<Event>) -> Duration {
        let start = Stopwatch::start();
        self.app.advance();
        let input = RawInput {
            screen_rect: Some(Rect::from_min_size(Pos2::ZERO, vec2(WINDOW[0], WINDOW[1]))),
            time: Some(self.since.elapsed().as_secs_f64()),
            max_texture_side: Some(8192),
            events,
            focused: true,
            ..RawInput::default()
        };
        let ctx = self.ctx.clone();
        let output = ctx.run_ui(input, |ui| self.app.frame(ui));
        self.draw(output);
        start.elapsed()
    }

    /// What eframe does with a frame on the same thread.
    fn draw(&mut self, mut output: FullOutput) {
        let primitives = self.ctx.tessellate(output.shapes, output.pixels_per_point);
        let Some((state, target)) = &self.card else { return };
        let (device, queue, mut renderer) = (&state.device, &state.queue, state.renderer.write());
        for (id, deltas) in output.textures_delta.set.drain() {
            deltas.iter().for_each(|delta| renderer.update_texture(device, queue, id, delta));
        }
        let mut encoder = device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        let screen = ScreenDescriptor {
            size_in_pixels: [target.width(), target.height()],
            pixels_per_point: output.pixels_per_point,
        };
        let buffers = renderer.update_buffers(device, queue, &mut encoder, &primitives, &screen);
        let view = target.create_view(&wgpu::TextureViewDescriptor::default());
        let attachment = wgpu::RenderPassColorAttachment {
            view: &view,
            resolve_target: None,
            ops: wgpu::Operations::default(),
            depth_slice: None,
        };
        let pass = wgpu::RenderPassDescriptor { color_attachments: &[Some(attachment)], ..Default::default() };
        renderer.render(&mut encoder.begin_render_pass(&pass).forget_lifetime(), &primitives, &screen);
        queue.submit(buffers.into_iter().chain([encoder.finish()]));
        output.textures_delta.free.drain().for_each(|id| renderer.free_texture(&id));
    }
}

/// Where the pointer is on its way: around on the canvas.
fn place(at: f32) -> Pos2 {
    pos2(560.0 + 330.0 * (2.0 * at).sin(), 390.0 + 240.0 * (3.0 * at).cos())
}

/// The card that would draw the window, and a texture in the window's place; none where there is no adapter.
fn card() -> Option<(RenderState, wgpu::Texture)> {
    let config = ui::graphics();
    let instance = pollster::block_on(config.wgpu_setup.new_instance());
    let state = pollster::block_on(RenderState::create(&config, &instance, None, RendererOptions::default())).ok()?;
    // What software draws it takes from everything else on the processor, and it falls behind: a corner tells as much.
    let software = state.adapter.get_info().device_type == wgpu::DeviceType::Cpu;
    let [width, height] = if software { [64; 2] } else { WINDOW.map(|side| side as u32) };
    let size = wgpu::Extent3d { width, height, depth_or_array_layers: 1 };
    let texture = state.device.create_texture(&wgpu::TextureDescriptor {
        label: Some("window"),
        size,
        mip_level_count: 1,
        sample_count: 1,
        dimension: wgpu::TextureDimension::D2,
        format: state.target_format,
        usage: wgpu::TextureUsages::RENDER_ATTACHMENT,
        view_formats: &[],
    });
    Some((state, texture))
}
