//! Going back in a long history of a large picture.

use std::thread::sleep;
use std::time::{Duration, Instant};

use andamento::command::Command;
use andamento::frames::Stopwatch;
use andamento::preferences::Kept;
use andamento::ui::App;
use egui_kittest::Harness;

use super::window;
use crate::results::remember;

/// Draws frames for so long; the longest, as the wall's clock and as the thread's own has it.
fn frames(window: &mut Harness<'_, App>, time: Duration) -> [Duration; 2] {
    let (start, mut longest) = (Instant::now(), [Duration::ZERO; 2]);
    while start.elapsed() < time {
        longest = longer(longest, frame(window));
        sleep(Duration::from_millis(10));
    }
    longest
}

fn frame(window: &mut Harness<'_, App>) -> [Duration; 2] {
    let (wall, own) = (Instant::now(), Stopwatch::start());
    window.step();
    [wall.elapsed(), own.elapsed()]
}

fn longer(a: [Duration; 2], b: [Duration; 2]) -> [Duration; 2] {
    [a[0].max(b[0]), a[1].max(b[1])]
}

/// Draws frames until the pixels are here and what is beside them too.
fn until_here(window: &mut Harness<'_, App>, what: &str) -> [Duration; 2] {
    let (start, mut here, mut longest) = (Instant::now(), None, [Duration::ZERO; 2]);
    while here.is_none() || window.state().editor.history.missing().is_some() {
        assert!(start.elapsed() < Duration::from_secs(100), "waited too long for {what}");
        longest = longer(longest, frame(window));
        here = here.or_else(|| (!window.state().editor.is_opening()).then(|| start.elapsed()));
        sleep(Duration::from_millis(10));
    }
    let longest = longer(longest, frames(window, Duration::from_secs(1)));
    println!("{what}: here after {:.2?}, longest frame {longest:.1?}", here.unwrap_or_default());
    longest
}

/// Prints for how long the window stands still, on the wall's clock and as its own thread computes.
#[test]
#[ignore = "a measurement on 24 megapixels"]
fn frames_while_going_far_back() {
    let (mut history, _) = remember(24, 2);
    let mut window = window(Kept::default(), [1440.0, 900.0]);
    let editor = &mut window.state_mut().editor;
    let last = history.entries().len() - 1;
    editor.document = history.go_to(last).expect("an entry");
    editor.history = history;
    editor.apply(Command::ShowHistory(true));
    until_here(&mut window, "before");
    for back in [190, 12, 101] {
        let at = window.state().editor.history.depth();
        window.state_mut().editor.apply(Command::GoTo(at - back));
        assert!(window.state().editor.is_opening());
        until_here(&mut window, &format!("{back} steps back at once"));
    }
    let mut longest = [Duration::ZERO; 2];
    for _ in 0..60 {
        window.state_mut().editor.apply(Command::Undo);
        longest = longer(longest, frame(&mut window));
        sleep(Duration::from_millis(20));
    }
    println!("60 steps back, one a frame: longest frame {longest:.1?}");
    until_here(&mut window, "and then");
    window.state_mut().editor.apply(Command::Undo);
    until_here(&mut window, "one more");
    window.state_mut().editor.apply(Command::ExtendCanvas([64, 0, 0, 0]));
    until_here(&mut window, "a canvas that grows");
}
