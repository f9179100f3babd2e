//! What goes wrong is told with its cause and what to do next, and a person's mistake is not called the program's.

use std::path::PathBuf;

use andamento::command::{Adjustment, Command, Dialog};
use andamento::editor::Notice;
use andamento::keymap::Chord;
use andamento::preferences::Kept;
use andamento::ui::App;
use andamento_model::frame::Extent;
use andamento_model::picture::Rect;
use andamento_model::seam::Seam;
use egui_kittest::Harness;
use egui_kittest::kittest::{NodeT, Queryable};

use super::window;
use crate::driven::{until, until_ready};
use crate::folder::Folder;

/// Does something wrong, and returns what is told.
fn told(window: &mut Harness<'_, App>, command: Command) -> Notice {
    window.state_mut().editor.notices.clear();
    let what = format!("{command:?}");
    window.state_mut().editor.apply(command);
    until(window, &format!("it is told after {what}"), |editor| editor.notices.iter().any(|notice| notice.bad));
    let bad: Vec<Notice> = window.state().editor.notices.iter().filter(|notice| notice.bad).cloned().collect();
    let [notice] = bad.as_slice() else { panic!("{what}: {bad:?}") };
    for (part, text) in [("about", &notice.about), ("cause", &notice.cause), ("remedy", &notice.remedy)] {
        assert!(!text.trim().is_empty(), "{what} has no {part}: {notice:?}");
        let lower = text.to_lowercase();
        let inner = ["report", "unwrap", "none value", "os error 0", "panick"].iter().any(|word| lower.contains(word));
        assert!(!inner, "{what}: {notice:?}");
    }
    notice.clone()
}

#[test]
fn every_mistake_is_told_with_cause_and_remedy() {
    let folder = Folder::new("mistakes");
    let picture = folder.picture("lake.png");
    let file = |name: &str, bytes: &[u8]| -> PathBuf {
        let path = folder.as_ref().join(name);
        std::fs::write(&path, bytes).expect("a file");
        path
    };
    let (text, empty) = (file("note.txt", b"no picture"), file("empty.png", b""));
    let (half, weights) =
        (file("half.png", &std::fs::read(&picture).expect("bytes")[..300]), file("x.safetensors", b"{"));
    let project = file("broken.andamento", b"PK\x03\x04 and nothing behind it");
    let mut window = window(Kept::default(), [1440.0, 900.0]);
    until_ready(&mut window);
    window.state_mut().editor.apply(Command::Open(picture.clone()));
    until(&mut window, "it is open", |editor| editor.document.name == "lake.png");
    // What is wrong with a frame is told where there is something to look at.
    window.state_mut().editor.apply(Command::SelectAll);
    for rect in [Rect::new(0, 0, 30, 40), Rect::new(0, 0, 3, 3)] {
        assert_eq!(told(&mut window, Command::PlaceFrame(rect)).about, "frame");
    }
    window.state_mut().editor.apply(Command::ClearMask);
    let missing = folder.as_ref().join("missing.png");
    let nowhere = folder.as_ref().join("no/such/folder/out.png");
    let chord = Chord::parse("Tab");
    let mistakes = [
        (Command::Open(missing.clone()), "missing.png"),
        (Command::Open(text.clone()), "note.txt"),
        (Command::Open(empty), "empty.png"),
        (Command::Open(half), "half.png"),
        (Command::Open(folder.as_ref().into()), "mistakes"),
        (Command::Open(project), "broken.andamento"),
        (Command::SaveAs(picture.clone()), "lake.png"),
        (Command::Export(folder.as_ref().join("out.xyz")), "out.xyz"),
        (Command::SaveAs(nowhere), ""),
        (Command::ImportMask(missing), "missing.png"),
        (Command::ImportMask(text.clone()), "note.txt"),
        (Command::ExportMask(folder.as_ref().join("no/mask.png")), ""),
        (Command::ImportModels(vec![weights]), "x.safetensors"),
        (Command::ImportModels(vec![text]), "note.txt"),
        (Command::ChooseModel("nonsense".into()), "model"),
        (Command::Order("nonsense"), ""),
        (Command::Seam(Seam { grow: u32::MAX, ..Seam::default() }), "grow"),
        (Command::Generate, "Generate"),
        (Command::BranchHere, "Branch"),
        (Command::RunAgain { entry: 0, new_seed: true }, "history"),
        (Command::UseSettings(0), "history"),
        (Command::ScaleFrame(2.0), "frame"),
        (Command::ExtendCanvas([u32::MAX, 0, 0, 0]), ""),
        (Command::BindKey("hand", chord), "Tab"),
        (Command::RestoreRequest, ""),
        (Command::Smooth(true), "smooth"),
        (Command::Extent(Extent::Refined(400)), ""),
    ];
    for (command, about) in mistakes {
        let notice = told(&mut window, command.clone());
        assert!(notice.about.contains(about), "{command:?}: {notice:?}");
    }
    // None of it has done anything.
    let editor = &window.state().editor;
    assert_eq!((editor.document.name.as_str(), editor.dialog.clone()), ("lake.png", None::<Dialog>));
    assert!(editor.document.mask.is_empty() && !editor.is_selecting());
    window.state_mut().editor.apply(Command::AdjustMask(Adjustment::Grow, 4));
    assert!(!window.state().editor.is_selecting(), "an empty mask has no edges to move");
}

/// Of a long path the beginning and the end are seen, and all of it where the pointer rests.
#[test]
fn a_long_path_leaves_room_for_the_cause() {
    let mut window = window(Kept::default(), [1024.0, 700.0]);
    until_ready(&mut window);
    let long = PathBuf::from(format!("/{}/missing-picture.png", ["a folder with a long name"; 9].join("/")));
    let notice = told(&mut window, Command::Open(long.clone()));
    assert_eq!(notice.about, long.display().to_string());
    window.run_steps(3);
    let shown: Vec<String> = window
        .get_all_by_label_contains("missing-picture.png")
        .filter_map(|node| node.accesskit_node().value())
        .collect();
    let [shown] = shown.as_slice() else { panic!("{shown:?}") };
    assert!(shown.contains('…') && shown.starts_with("/a folder") && shown.chars().count() <= 42, "{shown}");
    let rect = window.get_by_label(shown).rect();
    assert!(rect.height() < 40.0, "it stays within two lines: {rect:?}");
    window.get_by_label(shown).hover();
    window.run_steps(40);
    assert!(window.query_by_label(&notice.about).is_some(), "all of it is told where the pointer rests");
}
