//! The whole way by the keyboard alone, and that one sees where the keyboard is.

use andamento::command::Tool;
use andamento::preferences::Kept;
use andamento::ui::App;
use andamento_model::picture::Picture;
use egui::epaint::{ClippedShape, Shape};
use egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::NodeT;

use super::{Folder, until, until_ready, until_shown, window};

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
