//! The whole way by the keyboard alone, and that one sees where the keyboard is.

use andamento::command::{Command, Dialog, Tool};
use andamento::preferences::Kept;
use andamento::ui::App;
use andamento_model::picture::{Picture, Rect};
use egui::epaint::{ClippedShape, Shape};
use egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use super::window;
use crate::driven::{until, until_ready, until_shown};
use crate::folder::Folder;

fn press(window: &mut Harness<'_, App>, modifiers: Modifiers, key: Key) {
    window.key_press_modifiers(modifiers, key);
    window.run_steps(2);
}

/// Replaces what stands in the field for a path.
fn path(window: &mut Harness<'_, App>, path: &std::path::Path) {
    until_shown(window, "Path of the file");
    press(window, Modifiers::COMMAND, Key::A);
    window.event(Event::Text(path.display().to_string()));
    window.run_steps(2);
    press(window, Modifiers::NONE, Key::Enter);
}

#[test]
fn from_opening_to_saving_by_the_keyboard_alone() {
    let folder = Folder::new("keyboard");
    let (source, result) = (folder.picture("lake.png"), folder.as_ref().join("result.png"));
    let mut window = window(Kept::default(), [1024.0, 700.0]);
    until_ready(&mut window);
    press(&mut window, Modifiers::COMMAND, Key::O);
    path(&mut window, &source);
    until(&mut window, "it is open", |editor| editor.document.name == "lake.png");
    assert!(window.state().editor.document.mask.is_empty());
    press(&mut window, Modifiers::COMMAND, Key::A);
    assert!(!window.state().editor.document.mask.is_empty(), "all is masked");
    press(&mut window, Modifiers::COMMAND, Key::Enter);
    until(&mut window, "it is painted", |editor| editor.run.is_none() && !editor.results.is_empty());
    // The first result is a variation: Enter accepts it where the strip is in hand.
    press(&mut window, Modifiers::COMMAND | Modifiers::SHIFT, Key::S);
    path(&mut window, &result);
    until(&mut window, "it is saved", |_| result.is_file());
    let saved = Picture::open(&result).expect("it opens");
    assert_eq!(saved.to_rgb8(), window.state().editor.document.picture.to_rgb8());
    assert_ne!(saved.to_rgb8(), Picture::open(&source).expect("the source").to_rgb8());
}

/// What the canvas tells of the cross.
fn cross(window: &Harness<'_, App>) -> Option<String> {
    window.get_by_label("Canvas").accesskit_node().value()
}

fn times(window: &mut Harness<'_, App>, count: usize, modifiers: Modifiers, key: Key) {
    (0..count).for_each(|_| press(window, modifiers, key));
}

#[test]
fn a_rectangle_and_an_extension_by_the_keyboard_alone() {
    let folder = Folder::new("keyboard-cross");
    let (source, result) = (folder.picture("lake.png"), folder.as_ref().join("result.png"));
    let mut window = window(Kept::default(), [1024.0, 700.0]);
    until_ready(&mut window);
    window.state_mut().editor.apply(Command::Steps(4));
    press(&mut window, Modifiers::COMMAND, Key::O);
    path(&mut window, &source);
    until(&mut window, "it is open", |editor| editor.document.name == "lake.png");

    // A rectangle in the middle of the picture, which is 160 × 120.
    press(&mut window, Modifiers::NONE, Key::M);
    assert_eq!(cross(&window), None, "it shows when it is wanted");
    press(&mut window, Modifiers::SHIFT, Key::ArrowLeft);
    press(&mut window, Modifiers::SHIFT, Key::ArrowUp);
    assert!(cross(&window).is_some_and(|told| told.starts_with("64, 44")), "{:?}", cross(&window));
    press(&mut window, Modifiers::NONE, Key::Space);
    times(&mut window, 2, Modifiers::SHIFT, Key::ArrowRight);
    times(&mut window, 2, Modifiers::SHIFT, Key::ArrowDown);
    press(&mut window, Modifiers::NONE, Key::ArrowDown);
    assert!(cross(&window).is_some_and(|told| told.contains("32 × 33")), "{:?}", cross(&window));
    press(&mut window, Modifiers::NONE, Key::Enter);
    let bounds = |window: &Harness<'_, App>| window.state().editor.document.mask.bounds();
    assert_eq!(bounds(&window), Some(Rect::new(64, 44, 32, 33)));
    // One that is left changes nothing, and Escape once more puts the cross away.
    press(&mut window, Modifiers::NONE, Key::Space);
    press(&mut window, Modifiers::SHIFT, Key::ArrowUp);
    press(&mut window, Modifiers::NONE, Key::Escape);
    press(&mut window, Modifiers::NONE, Key::Enter);
    press(&mut window, Modifiers::NONE, Key::Escape);
    press(&mut window, Modifiers::NONE, Key::Escape);
    assert_eq!((bounds(&window), cross(&window)), (Some(Rect::new(64, 44, 32, 33)), None));

    // The frame is moved by its tokens.
    let frame = |window: &Harness<'_, App>| window.state().editor.aim.as_ref().expect("a frame").frame.rect;
    let before = frame(&window);
    press(&mut window, Modifiers::ALT, Key::ArrowRight);
    press(&mut window, Modifiers::ALT, Key::ArrowDown);
    assert!(frame(&window).x > before.x && frame(&window).y > before.y && frame(&window).width == before.width);
    press(&mut window, Modifiers::ALT, Key::ArrowLeft);
    press(&mut window, Modifiers::ALT, Key::ArrowUp);
    assert_eq!(frame(&window), before);

    // Two columns of tokens on the right, said before they are added; what is drawn out too far is taken back.
    press(&mut window, Modifiers::NONE, Key::C);
    times(&mut window, 3, Modifiers::NONE, Key::ArrowRight);
    press(&mut window, Modifiers::NONE, Key::ArrowLeft);
    assert_eq!(window.state().editor.document.picture.width(), 160);
    press(&mut window, Modifiers::NONE, Key::Enter);
    let picture = window.state().editor.document.picture.clone();
    assert!(picture.width() > 160 && picture.height() == 120, "{picture:?}");
    let mask = window.state().editor.document.mask.clone();
    assert!(mask.get(picture.width() - 1, 60) == 255 && mask.get(80, 60) == 255 && mask.get(20, 20) == 0);
    let undo = window.state().editor.history.depth();
    press(&mut window, Modifiers::NONE, Key::ArrowUp);
    press(&mut window, Modifiers::NONE, Key::Escape);
    press(&mut window, Modifiers::NONE, Key::Enter);
    assert_eq!(window.state().editor.history.depth(), undo, "what was left adds nothing");

    press(&mut window, Modifiers::COMMAND, Key::Enter);
    until(&mut window, "it is painted", |editor| editor.run.is_none() && !editor.results.is_empty());
    assert!(window.state().editor.is_choosing());
    // While one chooses, the arrows that go through variations do that, until the cross is called by another.
    press(&mut window, Modifiers::NONE, Key::M);
    press(&mut window, Modifiers::NONE, Key::ArrowLeft);
    assert_eq!(cross(&window), None);
    press(&mut window, Modifiers::NONE, Key::ArrowUp);
    assert!(cross(&window).is_some());
    press(&mut window, Modifiers::NONE, Key::Escape);
    press(&mut window, Modifiers::NONE, Key::Enter);
    assert!(!window.state().editor.is_choosing(), "Enter accepts");

    press(&mut window, Modifiers::COMMAND | Modifiers::SHIFT, Key::S);
    path(&mut window, &result);
    until(&mut window, "it is saved", |_| result.is_file());
    let (old, new) =
        (Picture::open(&source).expect("the source").to_rgb8(), Picture::open(&result).expect("it opens").to_rgb8());
    assert_eq!(new.dimensions(), (picture.width(), 120));
    assert!(old.enumerate_pixels().all(|(x, y, pixel)| mask.get(x, y) > 0 || new.get_pixel(x, y) == pixel));
    assert!(old.enumerate_pixels().any(|(x, y, pixel)| new.get_pixel(x, y) != pixel));
}

#[test]
fn strokes_polygons_and_the_wand_by_the_keyboard() {
    let folder = Folder::new("keyboard-tools");
    let source = folder.picture("lake.png");
    let mut window = window(Kept::default(), [1024.0, 700.0]);
    until_ready(&mut window);
    window.state_mut().editor.apply(Command::Open(source));
    until(&mut window, "it is open", |editor| editor.document.name == "lake.png");
    let mask = |window: &Harness<'_, App>| window.state().editor.document.mask.clone();
    let depth = |window: &Harness<'_, App>| window.state().editor.history.depth();
    let began = depth(&window);
    // A stroke: the brush is put down, drawn and lifted; one entry.
    press(&mut window, Modifiers::NONE, Key::B);
    press(&mut window, Modifiers::NONE, Key::ArrowRight);
    press(&mut window, Modifiers::NONE, Key::Space);
    times(&mut window, 2, Modifiers::SHIFT, Key::ArrowRight);
    assert!(window.state().editor.is_stroking());
    press(&mut window, Modifiers::NONE, Key::Space);
    let drawn = mask(&window);
    assert_eq!((depth(&window), drawn.get(81, 60), drawn.get(113, 60)), (began + 1, 255, 255));
    // Another one is left, and a tool taken up ends one.
    press(&mut window, Modifiers::NONE, Key::Enter);
    press(&mut window, Modifiers::SHIFT, Key::ArrowDown);
    assert!(mask(&window) != drawn);
    press(&mut window, Modifiers::NONE, Key::Escape);
    assert!(mask(&window) == drawn && depth(&window) == began + 1);
    press(&mut window, Modifiers::SHIFT, Key::ArrowUp);
    press(&mut window, Modifiers::NONE, Key::E);
    press(&mut window, Modifiers::NONE, Key::Space);
    press(&mut window, Modifiers::SHIFT, Key::ArrowLeft);
    press(&mut window, Modifiers::NONE, Key::L);
    assert!(!window.state().editor.is_stroking() && mask(&window).get(113, 60) < 255, "it erased");
    // A polygon of three corners.
    press(&mut window, Modifiers::COMMAND, Key::D);
    press(&mut window, Modifiers::NONE, Key::Space);
    times(&mut window, 2, Modifiers::SHIFT, Key::ArrowLeft);
    press(&mut window, Modifiers::NONE, Key::Space);
    times(&mut window, 2, Modifiers::SHIFT, Key::ArrowDown);
    press(&mut window, Modifiers::NONE, Key::Space);
    press(&mut window, Modifiers::NONE, Key::Enter);
    until(&mut window, "it is selected", |editor| !editor.is_selecting() && !editor.document.mask.is_empty());
    let bounds = mask(&window).bounds().expect("a triangle");
    assert!(bounds.width == 32 && bounds.height == 32, "{bounds:?}");
    // The wand, far from the triangle.
    press(&mut window, Modifiers::NONE, Key::W);
    times(&mut window, 9, Modifiers::SHIFT, Key::ArrowUp);
    let before = mask(&window);
    press(&mut window, Modifiers::NONE, Key::Enter);
    until(&mut window, "the wand is done", |editor| !editor.is_selecting());
    assert!(mask(&window) != before);
    // The pointer puts the cross away, and the keyboard elsewhere does.
    assert!(cross(&window).is_some());
    window.hover_at(egui::pos2(500.0, 300.0));
    window.run_steps(2);
    window.hover_at(egui::pos2(520.0, 310.0));
    window.run_steps(2);
    assert_eq!(cross(&window), None);
    press(&mut window, Modifiers::NONE, Key::ArrowUp);
    assert!(cross(&window).is_some());
    press(&mut window, Modifiers::NONE, Key::F6);
    assert_eq!(cross(&window), None);
}

#[test]
fn the_canvas_is_extended_by_numbers() {
    let mut window = window(Kept::default(), [1024.0, 700.0]);
    until_ready(&mut window);
    window.state_mut().editor.apply(Command::ClearMask);
    let size = |window: &Harness<'_, App>| {
        let picture = &window.state().editor.document.picture;
        (picture.width(), picture.height())
    };
    let before = size(&window);
    window.state_mut().editor.apply(Command::Ask(Dialog::Extend));
    window.run_steps(3);
    for (side, pixels) in [("Left", "96"), ("Bottom", "640")] {
        window.get_by_label(side).focus();
        window.run_steps(2);
        press(&mut window, Modifiers::COMMAND, Key::A);
        window.event(Event::Text(pixels.into()));
        window.run_steps(2);
        press(&mut window, Modifiers::NONE, Key::Tab);
    }
    let aim = window.state().editor.aim_when_extended([96, 0, 0, 640]).expect("it is masked");
    let told = format!("{} tokens in {} pass", aim.tokens, aim.passes.len());
    assert!(window.query_by_label_contains(&told).is_some(), "“{told}” is said before");
    window.get_by_label("Extend").click();
    window.run_steps(3);
    assert_eq!(size(&window), (before.0 + 96, before.1 + 640));
    assert_eq!(window.state().editor.dialog, None);
    assert_eq!(window.state().editor.aim.as_ref().map(|aim| aim.tokens), Some(aim.tokens));
}

/// Every stroke of a frame, groups opened up.
fn strokes(shapes: &[ClippedShape]) -> Vec<egui::Rect> {
    fn open(shape: &Shape, found: &mut Vec<egui::Rect>) {
        match shape {
            Shape::Vec(shapes) => shapes.iter().for_each(|shape| open(shape, found)),
            Shape::Rect(rect) if rect.stroke.width >= 1.0 && rect.stroke.color.a() > 200 => found.push(rect.rect),
            Shape::Circle(circle) if circle.stroke.width >= 1.0 => found.push(circle.visual_bounding_rect()),
            _ => {}
        }
    }
    let mut found = Vec::new();
    shapes.iter().for_each(|clipped| open(&clipped.shape, &mut found));
    found
}

#[test]
fn tab_reaches_every_control_and_shows_where_it_is() {
    let mut window = window(Kept::default(), [1440.0, 900.0]);
    until_ready(&mut window);
    press(&mut window, Modifiers::NONE, Key::F6);
    let mut reached = Vec::new();
    for _ in 0..90 {
        press(&mut window, Modifiers::NONE, Key::Tab);
        let focused = window.root().children_recursive().find(|node| node.accesskit_node().is_focused());
        let Some(node) = focused else { continue };
        let name = node.accesskit_node().label().or(node.accesskit_node().value()).unwrap_or_default();
        assert!(!name.is_empty(), "what has the keyboard has a name: {:?}", node.accesskit_node().role());
        if name != "Canvas" && !reached.contains(&name) {
            let rect = node.rect();
            let ring =
                |stroke: &egui::Rect| stroke.intersects(rect.expand(4.0)) && stroke.width() < rect.width() + 24.0;
            assert!(strokes(&window.output().shapes).iter().any(ring), "“{name}” shows no ring at {rect:?}");
            reached.push(name);
        }
    }
    for name in
        ["File menu", "Help menu", "Brush", "Hand", "Raster", "Steps", "Guidance", "Seed", "Generate", "Timeline"]
    {
        assert!(reached.iter().any(|reached| reached == name), "Tab does not reach {name}: {reached:?}");
    }
    // A tool by the keyboard: Tab to it, Space takes it.
    assert_eq!(window.state().editor.brush.tool, Tool::Brush);
    // The canvas keeps Tab for itself, and F6 leaves it.
    press(&mut window, Modifiers::NONE, Key::F6);
    for _ in 0..90 {
        press(&mut window, Modifiers::NONE, Key::Tab);
        let eraser = |node: &egui_kittest::Node<'_>| {
            node.accesskit_node().is_focused() && node.accesskit_node().label().as_deref() == Some("Eraser")
        };
        if window.root().children_recursive().any(|node| eraser(&node)) {
            press(&mut window, Modifiers::NONE, Key::Space);
            break;
        }
    }
    assert_eq!(window.state().editor.brush.tool, Tool::Eraser);
}
