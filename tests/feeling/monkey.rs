//! A monkey at the real window: whatever it does, nothing panics, and no frame takes a second.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use andamento::command::{Command, Dialog, View};
use andamento::frames::Stopwatch;
use andamento::history::History;
use andamento::preferences::Kept;
use egui::{DroppedFile, Event, Key, Modifiers, MouseWheelUnit, PointerButton, Pos2, pos2, vec2};

use super::window;
use crate::folder::Folder;

/// The longest that a frame may compute.
const FRAME: Duration = Duration::from_secs(1);
/// What it knows of the keyboard.
const KEYS: &[Key] = &[
    Key::A,
    Key::B,
    Key::C,
    Key::D,
    Key::E,
    Key::G,
    Key::H,
    Key::I,
    Key::K,
    Key::L,
    Key::M,
    Key::O,
    Key::R,
    Key::S,
    Key::W,
    Key::X,
    Key::Y,
    Key::Z,
    Key::Num0,
    Key::Num1,
    Key::Comma,
    Key::Period,
    Key::OpenBracket,
    Key::CloseBracket,
    Key::Plus,
    Key::Minus,
    Key::Home,
    Key::End,
    Key::Enter,
    Key::Enter,
    Key::Escape,
    Key::Escape,
    Key::Tab,
    Key::F6,
    Key::Space,
    Key::ArrowUp,
    Key::ArrowDown,
    Key::ArrowLeft,
    Key::ArrowRight,
    Key::Backspace,
    Key::Delete,
    Key::Questionmark,
    Key::Q,
    Key::PageDown,
];

/// A small generator of numbers (SplitMix64), so that a seed is a whole run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, count: usize) -> usize {
        (self.roll() % count as u64) as usize
    }

    fn share(&mut self) -> f32 {
        (self.roll() >> 40) as f32 / (1 << 24) as f32
    }

    fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }
}

/// A file that is dropped onto the window.
#[derive(Debug)]
struct Dropped(PathBuf);

impl DroppedFile for Dropped {
    fn path(&self) -> &Path {
        &self.0
    }

    fn bytes(&self) -> Result<Vec<u8>, String> {
        std::fs::read(&self.0).map_err(|error| error.to_string())
    }
}

/// So many events from a seed.
fn monkey(seed: u64, events: usize) {
    let folder = Folder::new(&format!("monkey-{seed}"));
    let picture = folder.picture("lake.png");
    let text = folder.as_ref().join("note.txt");
    std::fs::write(&text, "no picture").expect("a file");
    let mut window = window(Kept::default(), [1024.0, 700.0]);
    // Who types what the fonts lack sees a box.
    window.ctx.set_missing_glyph_policy(egui::MissingGlyphPolicy::Tofu);
    // Whatever it saves lies in the folder.
    let editor = &mut window.state_mut().editor;
    editor.document.path = Some(picture.clone());
    editor.history = History::new(&editor.document);
    editor.apply(Command::Steps(6));

    let mut dice = Dice(seed);
    let (mut at, mut held, mut slowest) = (pos2(400.0, 300.0), None::<PointerButton>, (Duration::ZERO, String::new()));
    let mut size = vec2(1024.0, 700.0);
    let (mut done, mut times) = (0, Vec::new());
    while done < events {
        let mut told = String::new();
        // A frame takes in some events at once, as a slow one does.
        for _ in 0..=dice.below(4) {
            done += 1;
            let modifiers = match dice.below(8) {
                0 => Modifiers::COMMAND,
                1 => Modifiers::SHIFT,
                2 => Modifiers::ALT,
                3 => Modifiers::COMMAND | Modifiers::SHIFT,
                _ => Modifiers::NONE,
            };
            let writes =
                matches!(window.state().editor.dialog, Some(Dialog::Save | Dialog::Export | Dialog::ExportMask));
            match dice.below(100) {
                0..35 => {
                    at = pos2(dice.share() * size.x, dice.share() * size.y);
                    told += &format!("move {at:?}; ");
                    window.event(Event::PointerMoved(at));
                }
                35..60 => {
                    let button = held.take().map_or_else(
                        || {
                            *dice.one(&[
                                PointerButton::Primary,
                                PointerButton::Primary,
                                PointerButton::Secondary,
                                PointerButton::Middle,
                            ])
                        },
                        |button| {
                            told += "release ";
                            button
                        },
                    );
                    let pressed = !told.ends_with("release ");
                    held = pressed.then_some(button);
                    told += &format!("{button:?} {pressed} at {at:?}; ");
                    window.event_modifiers(Event::PointerButton { pos: at, button, pressed, modifiers }, modifiers);
                }
                60..66 => {
                    let delta = vec2(0.0, (dice.share() - 0.5) * 400.0);
                    told += &format!("wheel {delta:?}; ");
                    let (unit, phase) = (MouseWheelUnit::Point, egui::TouchPhase::Move);
                    let source = egui::MouseWheelSource::Wheel;
                    window.event_modifiers(Event::MouseWheel { source, unit, delta, phase, modifiers }, modifiers);
                }
                66..90 => {
                    let key = *dice.one(KEYS);
                    told += &format!("{modifiers:?} {key:?}; ");
                    window.key_press_modifiers(modifiers, key);
                }
                90..93 if !writes => {
                    let text = *dice.one(&["a", "lake", "7", "/", "é", "🙂", "goldfish", "-1", "1e9", " "]);
                    told += &format!("text {text}; ");
                    window.event(Event::Text(text.into()));
                }
                93 => {
                    size = vec2(1024.0 + dice.share() * 700.0, 700.0 + dice.share() * 400.0);
                    told += &format!("size {size:?}; ");
                    window.set_size(size);
                }
                94 => {
                    let scale = *dice.one(&[1.0, 1.5, 2.0]);
                    told += &format!("scale {scale}; ");
                    window.set_pixels_per_point(scale);
                }
                95 => {
                    let path: PathBuf = dice.one(&[&picture, &text]).to_path_buf();
                    told += &format!("drop {path:?}; ");
                    window.input_mut().dropped_files.push(Arc::new(Dropped(path)));
                }
                96 => window.event(Event::PointerGone),
                97 => {
                    told += "extend; ";
                    let by = [0, 1, 2, 3].map(|_| dice.below(40) as u32);
                    let small = window.state().editor.document.picture.width() < 900;
                    window.state_mut().editor.apply(if small { Command::ExtendCanvas(by) } else { Command::Undo });
                }
                98 => {
                    let centre = (dice.share() * 4000.0 - 2000.0, dice.share() * 4000.0 - 2000.0);
                    let view = View { zoom: dice.share() * 50.0, centre, fit: dice.below(3) == 0 };
                    told += &format!("{view:?}; ");
                    window.state_mut().editor.apply(Command::Look(view));
                }
                _ => {
                    told += "generate; ";
                    window.state_mut().editor.apply(Command::Generate);
                }
            }
        }
        let watch = Stopwatch::start();
        window.step();
        window.input_mut().dropped_files.clear();
        let took = watch.elapsed();
        times.push(took);
        assert!(took < FRAME, "seed {seed}, event {done}: a frame took {took:.1?} after {told}");
        if took > slowest.0 {
            slowest = (took, told);
        }
    }
    times.sort_unstable();
    let (frames, all): (_, Duration) = (times.len(), times.iter().sum());
    println!("seed {seed}: {events} events in {frames} frames, {all:.1?} of computing in all");
    println!("median {:.1?}, 95 % within {:.1?}", times[frames / 2], times[frames * 95 / 100]);
    println!("the slowest frame took {:.1?}, after {}", slowest.0, slowest.1);
    // It still works.
    let editor = &mut window.state_mut().editor;
    editor.apply(Command::CloseDialog);
    editor.apply(Command::SelectAll);
    window.run_steps(3);
    assert!(window.ctx.content_rect().contains(Pos2::new(5.0, 5.0)));
    assert!(window.unnamed_widgets().is_empty());
}

#[test]
fn a_monkey_breaks_nothing() {
    monkey(7, 10_000);
}
