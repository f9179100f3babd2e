//! The canvas, by real events of pointer, pen and keyboard: every tool at 1×, 1.5× and 2×, the view, the frames, the edges,
//! and that what is on the screen is what is in the picture.

use std::path::PathBuf;
use std::thread::park;

use andamento::command::{Adjustment, Command, Overlay, Tool, View};
use andamento::ui::App;
use andamento_model::picture::{Combine, Mask, Rect};
use egui::{Event, Key, Modifiers, PointerButton, Pos2, TouchDeviceId, TouchId, TouchPhase, Vec2, pos2, vec2};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;
use image::{Rgb, RgbImage, RgbaImage};

use crate::driven::{Opening, on_screen, press, until};
use crate::folder::Folder;

const SCALES: [f32; 3] = [1.0, 1.5, 2.0];
const LEFT: PointerButton = PointerButton::Primary;
const RIGHT: PointerButton = PointerButton::Secondary;

/// The window on the sample picture, or another one. Its model never finishes loading: none is needed here.
fn window(scale: f32, picture: Option<PathBuf>) -> Harness<'static, App> {
    let builder = Harness::builder().with_pixels_per_point(scale).wgpu().with_render_cursor(false);
    let source = Box::new(|_: &str, _, _| {
        loop {
            park();
        }
    });
    Opening { size: [1024.0, 700.0], picture, ..Opening::default() }.window_by(builder, source)
}

/// Waits for what is worked out beside the window.
fn settled(window: &mut Harness<'_, App>) {
    window.step();
    until(window, "the mask is worked out", |editor| !editor.is_selecting());
}

fn mask(window: &Harness<'_, App>) -> Mask {
    window.state().editor.document.mask.clone()
}

fn cleared(window: &mut Harness<'_, App>, tool: Tool) {
    for command in [Command::ClearMask, Command::Choose(tool), Command::CombineBy(Combine::Add)] {
        window.state_mut().editor.apply(command);
    }
    window.step();
}

/// Drags along canvas points with keys held, a frame for every move.
fn drag(window: &mut Harness<'_, App>, button: PointerButton, modifiers: Modifiers, points: &[(f32, f32)]) {
    let points: Vec<Pos2> = points.iter().map(|(x, y)| on_screen(window, *x, *y)).collect();
    drag_on_screen(window, button, modifiers, &points);
}

fn drag_on_screen(window: &mut Harness<'_, App>, button: PointerButton, modifiers: Modifiers, points: &[Pos2]) {
    window.hover_at(points[0]);
    window.step();
    window.event_modifiers(press(points[0], button, true, modifiers), modifiers);
    window.step();
    for pair in points.windows(2) {
        for part in 1..=4 {
            window.event_modifiers(Event::PointerMoved(pair[0].lerp(pair[1], part as f32 / 4.0)), modifiers);
            window.step();
        }
    }
    let last = points[points.len() - 1];
    window.event_modifiers(press(last, button, false, modifiers), modifiers);
    window.step();
    window.step();
}

/// Events that all came since the last frame.
fn in_one_frame<const N: usize>(window: &mut Harness<'_, App>, events: [Event; N]) {
    window.input_mut().events.extend(events);
    window.step();
}

fn click(window: &mut Harness<'_, App>, modifiers: Modifiers, (x, y): (f32, f32)) {
    let at = on_screen(window, x, y);
    window.hover_at(at);
    window.step();
    window.event_modifiers(press(at, LEFT, true, modifiers), modifiers);
    window.step();
    window.event_modifiers(press(at, LEFT, false, modifiers), modifiers);
    window.step();
    window.step();
    // Far enough from the next one that both are no double-click.
    window.run_steps(2);
}

/// What is on the screen. Software Vulkan gives up waiting where many programs share few cores.
fn shown(window: &mut Harness<'_, App>) -> RgbaImage {
    let shown = (0..20).find_map(|_| window.render().ok());
    shown.expect("an adapter that draws within some minutes")
}

fn push(window: &mut Harness<'_, App>, label: &str) {
    window.get_by_label_contains(label).click();
    window.run_steps(2);
}

fn file(name: &str, picture: &RgbImage) -> PathBuf {
    let path = std::env::temp_dir().join(format!("andamento-canvas-{}-{name}.png", std::process::id()));
    picture.save(&path).expect("the temporary folder can be written");
    path
}

#[test]
fn every_move_within_a_frame_is_drawn_and_its_ink_is_in_that_frame() {
    for scale in SCALES {
        let mut window = window(scale, None);
        cleared(&mut window, Tool::Brush);
        window.state_mut().editor.apply(Command::BrushSize(20.0));
        window.step();
        let [a, b, c] = [(100.0, 100.0), (300.0, 110.0), (290.0, 400.0)].map(|(x, y)| on_screen(&window, x, y));
        window.hover_at(a);
        window.step();
        // A slow frame: the whole of a stroke with a corner in it.
        let down = press(a, LEFT, true, Modifiers::NONE);
        in_one_frame(&mut window, [down, Event::PointerMoved(b), Event::PointerMoved(c)]);
        let drawn = mask(&window);
        for (x, y) in [(100, 100), (200, 105), (300, 110), (295, 250), (290, 400)] {
            assert_eq!(drawn.get(x, y), 255, "{x}, {y} at {scale}×");
        }
        assert_eq!(drawn.get(200, 250), 0, "the corner was not cut");
        window.event(press(c, LEFT, false, Modifiers::NONE));
        window.step();
        assert_eq!(window.state().editor.history.undo_label(), Some("Brush stroke"));
        // The eraser, the right button, and undo.
        window.key_press(Key::E);
        window.step();
        drag(&mut window, LEFT, Modifiers::NONE, &[(200.0, 90.0), (200.0, 120.0)]);
        assert_eq!(mask(&window).get(200, 105), 0);
        window.key_press(Key::B);
        window.step();
        drag(&mut window, RIGHT, Modifiers::NONE, &[(295.0, 240.0), (295.0, 260.0)]);
        assert_eq!(mask(&window).get(295, 250), 0);
        window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        window.key_press_modifiers(Modifiers::COMMAND, Key::Z);
        window.step();
        assert_eq!(mask(&window), drawn);
    }
}

#[test]
fn alt_and_the_right_button_shape_the_brush_and_a_pen_presses_it() {
    for scale in SCALES {
        let mut window = window(scale, None);
        cleared(&mut window, Tool::Brush);
        window.state_mut().editor.apply(Command::BrushSize(40.0));
        window.state_mut().editor.apply(Command::BrushHardness(0.5));
        window.step();
        let (from, zoom) = (on_screen(&window, 250.0, 250.0), window.state().editor.view.zoom);
        drag_on_screen(&mut window, RIGHT, Modifiers::ALT, &[from, from + vec2(30.0, -40.0)]);
        let brush = window.state().editor.brush;
        // The ring follows the pointer: its radius grows by as much as the pointer moved.
        assert!((brush.size - (40.0 + 60.0 / zoom)).abs() < 0.5, "{brush:?}");
        assert!((brush.hardness - 0.7).abs() < 0.01, "{brush:?}");
        assert!(mask(&window).is_empty(), "nothing was painted or erased");

        // Half the pressure, half the width.
        window.state_mut().editor.apply(Command::BrushSize(60.0));
        window.state_mut().editor.apply(Command::BrushHardness(1.0));
        window.step();
        for (row, force) in [(100.0, Some(0.5)), (300.0, None)] {
            let touch = |phase: TouchPhase, pos: Pos2| Event::Touch {
                device_id: TouchDeviceId(7),
                id: TouchId(1),
                phase,
                pos,
                force,
            };
            let (a, b) = (on_screen(&window, 100.0, row), on_screen(&window, 300.0, row));
            window.hover_at(a);
            window.step();
            window.event(touch(TouchPhase::Start, a));
            window.event(press(a, LEFT, true, Modifiers::NONE));
            window.step();
            window.event(touch(TouchPhase::Move, b));
            window.event(Event::PointerMoved(b));
            window.step();
            window.event(touch(TouchPhase::End, b));
            window.event(press(b, LEFT, false, Modifiers::NONE));
            window.run_steps(2);
            let width = (0..512).filter(|y| mask(&window).get(200, *y) > 127).count() as f32;
            let before = if row > 200.0 { 30.0 } else { 0.0 };
            let expected = 60.0 * force.unwrap_or(1.0);
            assert!((width - before - expected).abs() <= 2.0, "{width} for {force:?} at {scale}×");
        }
    }
}

#[test]
fn rectangles_add_subtract_and_intersect_by_keys_and_buttons() {
    for scale in SCALES {
        let mut window = window(scale, None);
        cleared(&mut window, Tool::Hand);
        window.key_press(Key::M);
        window.step();
        let none = Modifiers::NONE;
        let rect = |x: i64, y: i64, width: u32, height: u32| {
            let mut mask = Mask::new(512, 512);
            mask.fill_rect(Rect::new(x, y, width, height), 255);
            mask
        };
        let both = |one: &Mask, other: &Mask, how| one.combined(other, how).expect("of one size");
        let (a, b) = (rect(100, 100, 200, 150), rect(200, 50, 60, 400));
        let (from, across) = ([(100.0, 100.0), (300.0, 250.0)], [(260.0, 450.0), (200.0, 50.0)]);
        drag(&mut window, LEFT, none, &from);
        assert_eq!(mask(&window), a);
        drag(&mut window, LEFT, Modifiers::SHIFT, &across);
        assert_eq!(mask(&window), both(&a, &b, Combine::Add));
        drag(&mut window, LEFT, Modifiers::ALT, &across);
        assert_eq!(mask(&window), both(&a, &b, Combine::Subtract));
        drag(&mut window, LEFT, none, &from);
        drag(&mut window, LEFT, Modifiers::SHIFT | Modifiers::ALT, &across);
        assert_eq!(mask(&window), both(&a, &b, Combine::Intersect));
        // The same by the buttons.
        push(&mut window, "Replace mask");
        drag(&mut window, LEFT, none, &from);
        assert_eq!(mask(&window), a);
        push(&mut window, "Subtract from mask");
        drag(&mut window, LEFT, none, &across);
        assert_eq!(mask(&window), both(&a, &b, Combine::Subtract));
        push(&mut window, "Intersect with mask");
        drag(&mut window, LEFT, none, &from);
        assert_eq!(mask(&window), both(&a, &b, Combine::Subtract));
        push(&mut window, "Add to mask");
        // The right button takes away, Escape leaves a rectangle before it is drawn up, and a click is none.
        drag(&mut window, RIGHT, none, &from);
        assert!(mask(&window).is_empty());
        click(&mut window, none, (50.0, 50.0));
        let depth = window.state().editor.history.depth();
        let (start, end) = (on_screen(&window, 20.0, 20.0), on_screen(&window, 90.0, 90.0));
        window.hover_at(start);
        window.event(press(start, LEFT, true, none));
        window.step();
        window.event(Event::PointerMoved(end));
        window.step();
        window.key_press(Key::Escape);
        window.step();
        window.event(press(end, LEFT, false, none));
        window.step();
        assert!(mask(&window).is_empty());
        assert_eq!(window.state().editor.history.depth(), depth);
    }
}

#[test]
fn a_lasso_is_drawn_by_hand_or_by_clicks() {
    for scale in SCALES {
        let mut window = window(scale, None);
        cleared(&mut window, Tool::Hand);
        window.key_press(Key::L);
        window.step();
        let none = Modifiers::NONE;
        drag(&mut window, LEFT, none, &[(100.0, 100.0), (300.0, 120.0), (280.0, 300.0), (90.0, 280.0)]);
        settled(&mut window);
        let drawn = mask(&window);
        assert_eq!((drawn.get(200, 200), drawn.get(50, 200), drawn.get(200, 400)), (255, 0, 0), "at {scale}×");
        assert_eq!(window.state().editor.history.undo_label(), Some("Lasso"));

        // A polygon: Backspace takes back a point, Enter closes it, and it is what its corners say.
        cleared(&mut window, Tool::Lasso);
        let corners = [(320.0, 80.0), (460.0, 90.0), (400.0, 300.0)];
        for corner in [corners[0], corners[1], (20.0, 500.0)] {
            click(&mut window, none, corner);
        }
        window.key_press(Key::Backspace);
        window.step();
        click(&mut window, none, corners[2]);
        assert!(mask(&window).is_empty(), "it is not closed yet");
        window.key_press(Key::Enter);
        settled(&mut window);
        assert!(window.state().editor.run.is_none() && mask(&window).get(395, 150) == 255);
        let expected = Mask::polygon(512, 512, &corners);
        let apart = expected.bytes().iter().zip(mask(&window).bytes()).filter(|(a, b)| a.abs_diff(*b) > 96).count();
        assert!(apart < 12, "{apart} pixels differ at {scale}×");

        // A click on the first point closes it too, and Escape leaves it.
        cleared(&mut window, Tool::Lasso);
        for corner in [corners[0], corners[1], corners[2], corners[0]] {
            click(&mut window, none, corner);
        }
        settled(&mut window);
        assert_eq!(mask(&window).get(395, 150), 255);
        cleared(&mut window, Tool::Lasso);
        corners.iter().for_each(|corner| click(&mut window, none, *corner));
        window.key_press(Key::Escape);
        window.step();
        window.key_press(Key::Enter);
        settled(&mut window);
        assert!(mask(&window).is_empty());
    }
}

#[test]
fn the_wand_takes_what_resembles_the_pixel_that_was_clicked() {
    for scale in SCALES {
        let mut window = window(scale, None);
        cleared(&mut window, Tool::Hand);
        window.key_press(Key::W);
        window.step();
        let picture = window.state().editor.document.picture.clone();
        click(&mut window, Modifiers::NONE, (100.5, 60.5));
        settled(&mut window);
        let wand = window.state().editor.wand;
        let joined = picture.similar(100, 60, wand.tolerance, true);
        assert!(!joined.is_empty() && wand.contiguous);
        assert_eq!(mask(&window), joined, "at {scale}×");
        push(&mut window, "Contiguous");
        window.state_mut().editor.apply(Command::Tolerance(60));
        click(&mut window, Modifiers::ALT, (100.5, 60.5));
        settled(&mut window);
        let all = picture.similar(100, 60, 60, false);
        assert_eq!(mask(&window), joined.combined(&all, Combine::Subtract).expect("of one size"));
    }
}

#[test]
fn edges_are_moved_and_softened_by_name_and_the_overlay_changes_nothing() {
    let mut window = window(1.0, None);
    let before = mask(&window);
    for (name, verb, adjustment) in [
        ("Grow mask…", "Grow", Adjustment::Grow),
        ("Shrink mask…", "Shrink", Adjustment::Shrink),
        ("Feather mask…", "Feather", Adjustment::Feather),
    ] {
        let now = mask(&window);
        push(&mut window, "Select menu");
        push(&mut window, name);
        window.run_steps(4);
        window.key_press(Key::Enter);
        settled(&mut window);
        let expected = match adjustment {
            Adjustment::Grow => now.grown(8),
            Adjustment::Shrink => now.shrunk(8),
            Adjustment::Feather => now.feathered(8),
        };
        assert_eq!(mask(&window), expected, "{name}");
        assert_eq!(window.state().editor.dialog, None);
        let label = window.state().editor.history.undo_label().map(str::to_owned);
        assert_eq!(label, Some(format!("{verb} mask by 8 px")));
    }
    (0..3).for_each(|_| window.state_mut().editor.apply(Command::Undo));
    assert_eq!(mask(&window), before);
    window.key_press_modifiers(Modifiers::COMMAND | Modifiers::SHIFT, Key::I);
    window.step();
    assert_eq!(mask(&window), before.inverted());
    window.key_press_modifiers(Modifiers::COMMAND, Key::A);
    window.step();
    assert_eq!(mask(&window), Mask::new(512, 512).inverted());
    window.key_press_modifiers(Modifiers::COMMAND, Key::D);
    window.step();
    assert!(mask(&window).is_empty());

    // The overlay is for the eye alone.
    window.state_mut().editor.apply(Command::Undo);
    let (kept, plain) = (mask(&window), shown(&mut window));
    push(&mut window, "Mask overlay");
    window.run_steps(4);
    push(&mut window, "Mask colour: Blue");
    push(&mut window, "Hatched");
    let Overlay { colour, hatch, .. } = window.state().editor.show.overlay;
    assert_eq!((colour, hatch), ([0x3f, 0x8c, 0xf2], true));
    assert!(mask(&window) == kept && shown(&mut window) != plain);
}

#[test]
fn masks_are_read_and_written_and_one_of_another_size_is_refused_by_name() {
    let mut window = window(1.0, None);
    let folder = Folder::new("canvas");
    let path = folder.0.join("mask.png");
    let before = mask(&window);
    window.state_mut().editor.apply(Command::ExportMask(path.clone()));
    until(&mut window, "it is written", |editor| editor.notices.iter().any(|notice| !notice.bad));
    let written = image::open(&path).expect("a picture");
    assert_eq!((written.color(), written.width()), (image::ColorType::L8, 512));
    window.state_mut().editor.apply(Command::ClearMask);
    window.state_mut().editor.apply(Command::ImportMask(path.clone()));
    until(&mut window, "it is read", |editor| !editor.document.mask.is_empty());
    assert_eq!(mask(&window), before);
    assert_eq!(window.state().editor.history.undo_label(), Some("Import mask"));
    window.state_mut().editor.apply(Command::ExtendCanvas([0, 0, 40, 0]));
    window.state_mut().editor.apply(Command::ImportMask(path.clone()));
    until(&mut window, "it is refused", |editor| editor.notices.iter().any(|notice| notice.bad));
    let notice = window.state().editor.notices.iter().find(|notice| notice.bad).cloned().expect("a notice");
    assert!(notice.about.contains("mask.png") && notice.cause.contains("512 × 512"), "{notice:?}");
    assert!(notice.cause.contains("552 × 512") && !notice.remedy.is_empty(), "{notice:?}");
}

#[test]
fn corners_extend_both_ways_by_whole_tokens_or_pixels() {
    for scale in SCALES {
        let mut window = window(scale, None);
        cleared(&mut window, Tool::Brush);
        let zoom = window.state().editor.view.zoom;
        let corner = window.get_by_label("Extend bottom right corner").rect().center();
        drag_on_screen(&mut window, LEFT, Modifiers::NONE, &[corner, corner + vec2(70.0, 100.0) * zoom]);
        let size = |window: &Harness<'_, App>| {
            let picture = &window.state().editor.document.picture;
            (picture.width(), picture.height())
        };
        assert_eq!(size(&window), (512 + 64, 512 + 96), "whole tokens at {scale}×");
        let drawn = mask(&window);
        assert_eq!((drawn.get(511, 511), drawn.get(520, 10), drawn.get(10, 520)), (0, 255, 255));
        window.state_mut().editor.apply(Command::Undo);
        // Not snapped: by pixels. With Ctrl the other way round.
        window.state_mut().editor.apply(Command::SnapToTokens(false));
        window.run_steps(2);
        let edge = window.get_by_label("Extend left edge").rect().center();
        drag_on_screen(&mut window, LEFT, Modifiers::NONE, &[edge, edge - vec2(70.0, 0.0) * zoom]);
        let (width, _) = size(&window);
        assert!((width as i64 - 512 - 70).abs() <= 1, "{width} at {scale}×");
        window.state_mut().editor.apply(Command::Undo);
        window.run_steps(2);
        let edge = window.get_by_label("Extend left edge").rect().center();
        drag_on_screen(&mut window, LEFT, Modifiers::COMMAND, &[edge, edge - vec2(70.0, 0.0) * zoom]);
        assert_eq!(size(&window), (512 + 64, 512));
    }
}

#[test]
fn a_large_extension_is_planned_in_passes() {
    let mut window = window(1.0, None);
    cleared(&mut window, Tool::Brush);
    let forecast = window.state().editor.aim_when_extended([0, 0, 1024, 0]).expect("something would be made");
    window.state_mut().editor.apply(Command::ExtendCanvas([0, 0, 1024, 0]));
    window.step();
    let aim = window.state().editor.aim.clone().expect("what was added is masked");
    assert_eq!(aim, forecast, "what was shown before is what is planned");
    assert!(aim.passes.len() > 1 && aim.frame == aim.passes[0].frame);
    let rest = aim
        .passes
        .iter()
        .fold(mask(&window), |rest, pass| rest.combined(&pass.mask, Combine::Subtract).expect("of one size"));
    assert!(rest.is_empty(), "all of it will be made");
    assert!(aim.tokens > aim.masked.iter().filter(|masked| **masked).count());
}

#[test]
fn the_frame_is_moved_and_sized_by_dragging_and_goes_back_by_itself() {
    for scale in SCALES {
        let mut window = window(scale, None);
        let frame = |window: &Harness<'_, App>| window.state().editor.aim.as_ref().expect("the sample is masked").frame;
        assert_eq!(frame(&window).rect, Rect::new(0, 0, 512, 512));
        window.state_mut().editor.apply(Command::ScaleFrame(0.75));
        window.run_steps(2);
        let (placed, zoom) = (frame(&window), window.state().editor.view.zoom);
        assert_eq!(placed.rect, Rect::new(64, 64, 384, 384));
        let name = |window: &Harness<'_, App>| format!("Frame: {}", frame(window).describe());
        assert!(name(&window).starts_with("Frame: 384 px seen at "));
        let label = window.get_by_label(&name(&window)).rect().center();
        drag_on_screen(&mut window, LEFT, Modifiers::NONE, &[label, label + vec2(40.0, -24.0) * zoom]);
        let moved = frame(&window).rect;
        assert!((moved.x - 104).abs() <= 1 && (moved.y - 40).abs() <= 1 && moved.width == 384, "{moved:?} at {scale}×");
        let corner = window.get_by_label("Frame, top left corner").rect().center();
        drag_on_screen(&mut window, LEFT, Modifiers::NONE, &[corner, corner + Vec2::splat(128.0) * zoom]);
        let sized = frame(&window).rect;
        assert!((i64::from(sized.width) - 256).abs() <= 1, "{sized:?} at {scale}×");
        assert_eq!((sized.right(), sized.bottom()), (moved.right(), moved.bottom()), "the opposite corner stays");
        // It is smaller than the mask now: more than one pass.
        assert!(window.state().editor.aim.as_ref().is_some_and(|aim| aim.passes.len() > 1));
        let label = window.get_by_label(&name(&window)).rect().center();
        window.hover_at(label);
        window.step();
        let click = [true, false].map(|pressed| press(label, LEFT, pressed, Modifiers::NONE));
        in_one_frame(&mut window, click.clone());
        in_one_frame(&mut window, click);
        window.step();
        assert_eq!(frame(&window).rect, Rect::new(0, 0, 512, 512), "a double-click places it by itself");
        assert!(window.state().editor.frame.is_none());
    }
}

#[test]
fn the_view_zooms_at_the_pointer_and_moves_with_space_and_the_middle_button() {
    for scale in SCALES {
        let mut window = window(scale, None);
        let at = on_screen(&window, 130.0, 340.0);
        window.hover_at(at);
        window.step();
        let before = window.state().editor.view;
        for _ in 0..3 {
            window.event(Event::MouseWheel {
                source: egui::MouseWheelSource::Wheel,
                unit: egui::MouseWheelUnit::Point,
                delta: vec2(0.0, 120.0),
                phase: TouchPhase::Move,
                modifiers: Modifiers::NONE,
            });
            window.run_steps(4);
        }
        let view = window.state().editor.view;
        assert!(view.zoom > before.zoom * 1.5 && !view.fit);
        assert!((on_screen(&window, 130.0, 340.0) - at).length() < 0.5, "what is below the pointer stays there");
        for (button, key) in [(PointerButton::Middle, None), (LEFT, Some(Key::Space))] {
            let before = (window.state().editor.view, mask(&window));
            key.iter().for_each(|key| window.key_down(*key));
            window.step();
            drag_on_screen(&mut window, button, Modifiers::NONE, &[at, at + vec2(50.0, -30.0)]);
            key.iter().for_each(|key| window.key_up(*key));
            window.step();
            let view = window.state().editor.view;
            let moved = (vec2(before.0.centre.0, before.0.centre.1) - vec2(view.centre.0, view.centre.1)) * view.zoom;
            assert!((moved - vec2(50.0, -30.0)).length() < 0.5, "{moved:?}");
            assert_eq!(mask(&window), before.1);
        }
        window.key_press_modifiers(Modifiers::COMMAND, Key::Num1);
        window.step();
        assert!((window.state().editor.view.zoom * scale - 1.0).abs() < 1e-6, "one screen pixel per picture pixel");
        window.key_press_modifiers(Modifiers::COMMAND, Key::Num0);
        window.run_steps(2);
        assert!(window.state().editor.view.fit);
    }
}

/// What is on the screen at a view is what a plain rendering of the picture there would be.
#[test]
fn tiles_show_the_pictures_own_pixels() {
    let side = 2300;
    let wave = |at: u32, period: f32| ((at as f32 / period).sin() * 110.0 + 120.0) as u8;
    let picture = RgbImage::from_fn(side, 1400, |x, y| Rgb([wave(x, 23.0), wave(y, 17.0), ((x ^ y) % 256) as u8]));
    let path = file("tiles", &picture);
    for scale in SCALES {
        let mut window = window(scale, Some(path.clone()));
        until(&mut window, "the picture is open", |editor| editor.document.name.ends_with("tiles.png"));
        window.state_mut().editor.apply(Command::ShowPixelGrid(false));
        window.state_mut().editor.apply(Command::Choose(Tool::Hand));
        let canvas = window.get_by_label("Canvas").rect();
        let middle = canvas.center();
        // From 1:1 to squares of eight, over the corner of four tiles.
        for (pixels, centre) in [(1.0, (1024.0, 512.0)), (8.0, (1536.0, 511.0))] {
            let zoom = pixels / scale;
            // The view's corner lies on a whole screen pixel, so that texels and pixels coincide.
            let snapped = |middle: f32, centre: f32| {
                let origin = ((middle - centre * zoom) * scale).round() / scale;
                (middle - origin) / zoom
            };
            let centre = (snapped(middle.x, centre.0), snapped(middle.y, centre.1));
            window.state_mut().editor.apply(Command::Look(View { zoom, centre, fit: false }));
            window.run_steps(12);
            let shown = shown(&mut window);
            let mut apart = 0;
            for (dx, dy) in (-180..180).step_by(7).flat_map(|dx| (-120..120).step_by(5).map(move |dy| (dx, dy))) {
                let at = pos2((middle.x * scale).floor() + dx as f32, (middle.y * scale).floor() + dy as f32);
                let canvas = |at: f32, middle: f32, centre: f32| ((at + 0.5) / scale - middle) / zoom + centre;
                let (x, y) = (canvas(at.x, middle.x, centre.0), canvas(at.y, middle.y, centre.1));
                let expected = picture.get_pixel(x as u32, y as u32).0;
                let found = shown.get_pixel(at.x as u32, at.y as u32).0;
                apart += usize::from((0..3).any(|part| found[part].abs_diff(expected[part]) > 1));
            }
            assert_eq!(apart, 0, "{pixels} pixels each at {scale}×");
        }
        // From afar: the mean of what lies below, up to what mixing texels blurs.
        window.state_mut().editor.apply(Command::ZoomFit);
        window.run_steps(12);
        let (shown, view) = (shown(&mut window), window.state().editor.view);
        let reach = 1.0 / (view.zoom * scale);
        let (mut error, mut count) = (0.0, 0.0);
        for (dx, dy) in (-240..240).step_by(13).flat_map(|dx| (-130..130).step_by(11).map(move |dy| (dx, dy))) {
            let at = ((middle.x * scale).floor() + dx as f32, (middle.y * scale).floor() + dy as f32);
            let canvas = |at: f32, middle: f32, centre: f32| ((at + 0.5) / scale - middle) / view.zoom + centre;
            let (x, y) = (canvas(at.0, middle.x, view.centre.0), canvas(at.1, middle.y, view.centre.1));
            let mean = |part: usize| {
                let span = |at: f32| (at - reach).max(0.0) as u32..(at + reach) as u32 + 1;
                let values: Vec<f64> = span(y)
                    .flat_map(|y| span(x).map(move |x| (x, y)))
                    .map(|(x, y)| f64::from(picture.get_pixel(x.min(side - 1), y.min(1399)).0[part]))
                    .collect();
                values.iter().sum::<f64>() / values.len() as f64
            };
            let found = shown.get_pixel(at.0 as u32, at.1 as u32).0;
            for (part, level) in found.into_iter().take(2).enumerate() {
                error += (f64::from(level) - mean(part)).abs();
                count += 1.0;
            }
        }
        assert!(error / count < 3.0, "{:.1} levels on average at {scale}×", error / count);
    }
    std::fs::remove_file(path).expect("it is there");
}

/// A mask is drawn on the screen where it is in the picture, whatever the size of its tiles, and follows a stroke at once.
#[test]
fn the_overlay_follows_the_mask_from_near_and_afar() {
    let path = file("overlay", &RgbImage::from_pixel(2600, 1500, Rgb([40, 40, 40])));
    let mut window = window(1.0, Some(path.clone()));
    until(&mut window, "the picture is open", |editor| editor.document.name.ends_with("overlay.png"));
    let overlay = Overlay { colour: [255, 0, 0], opacity: 1.0, hatch: false };
    for command in [Command::Overlay(overlay), Command::ShowTokens(false), Command::BrushHardness(1.0)] {
        window.state_mut().editor.apply(command);
    }
    window.state_mut().editor.apply(Command::BrushSize(220.0));
    window.state_mut().editor.apply(Command::Choose(Tool::Brush));
    for (zoom, centre) in [(0.25, (1300.0, 750.0)), (1.0, (1030.0, 520.0)), (0.25, (1300.0, 750.0))] {
        window.state_mut().editor.apply(Command::Look(View { zoom, centre, fit: false }));
        window.run_steps(20);
        let (from, to) = (on_screen(&window, 900.0, 400.0), on_screen(&window, 1200.0, 640.0));
        window.hover_at(from);
        window.step();
        window.event(press(from, LEFT, true, Modifiers::NONE));
        window.step();
        window.event(Event::PointerMoved(to));
        window.step();
        let shown = shown(&mut window);
        let drawn = mask(&window);
        let mut seen = 0;
        for (x, y) in (700..1500).step_by(37).flat_map(|x| (300..900).step_by(23).map(move |y| (x, y))) {
            let around = Rect::new(i64::from(x) - 24, i64::from(y) - 24, 49, 49);
            let at = on_screen(&window, x as f32 + 0.5, y as f32 + 0.5);
            // Away from edges, which wear a line, and from the brush's ring.
            let bytes = drawn.copied(around);
            let flat = bytes.iter().all(|byte| *byte == bytes[0]);
            let ring = ((at - to).length() - 110.0 * zoom).abs() < 14.0 * zoom.max(1.0) || (at - to).length() < 8.0;
            if !flat || ring {
                continue;
            }
            seen += 1;
            let red = shown.get_pixel(at.x as u32, at.y as u32).0;
            let on = red[0] > 200 && red[1] < 30;
            assert_eq!(on, bytes[0] == 255, "{x}, {y} at {zoom}: {red:?}");
        }
        assert!(seen > 200, "{seen} places were looked at");
        window.event(press(to, LEFT, false, Modifiers::NONE));
        window.run_steps(2);
        window.state_mut().editor.apply(Command::Undo);
        window.run_steps(2);
    }
    std::fs::remove_file(path).expect("it is there");
}
