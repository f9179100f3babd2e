//! The table of actions, the presets, rebinding, the palette, and the file in which it is all kept.

use std::collections::HashSet;

use andamento::actions::{ACTIONS, by_id};
use andamento::command::{Command, Dialog, Overlay, Tool};
use andamento::editor::Wand;
use andamento::fuzzy::Search;
use andamento::keymap::{Chord, Keymap, Preset};
use andamento::preferences::{Appearance, Habits, Hint, Kept, Preferences};
use andamento_model::frame::Extent;
use andamento_model::picture::Combine;
use egui::{Event, Key, Modifiers};
use egui_kittest::Harness;
use egui_kittest::kittest::Queryable;

use super::window;
use crate::driven::{until, until_ready};
use crate::folder::Folder;

const SIZE: [f32; 2] = [1440.0, 900.0];

fn chord(text: &str) -> Chord {
    Chord::parse(text).unwrap_or_else(|| panic!("{text} is a key"))
}

#[test]
fn every_action_has_its_own_name_and_keys_in_both_presets() {
    let ids: HashSet<_> = ACTIONS.iter().map(|action| action.id).collect();
    let names: HashSet<_> = ACTIONS.iter().map(|action| action.name).collect();
    assert_eq!((ids.len(), names.len()), (ACTIONS.len(), ACTIONS.len()), "ids and names are unique");
    for (preset, title) in Preset::ALL {
        let mut keys = Keymap::default();
        keys.start_from(preset);
        let mut seen = HashSet::new();
        for action in ACTIONS {
            for chord in keys.chords(action) {
                assert!(seen.insert(chord.to_string()), "{title}: {chord} means two things");
                assert_eq!(chord.reserved(), None, "{title}: {chord} of {}", action.id);
                assert_eq!(keys.find(chord).map(|found| found.id), Some(action.id));
                assert_eq!(Chord::parse(&String::from(chord)), Some(chord), "it reads what it writes");
            }
        }
        for id in ["undo", "redo", "generate", "stop", "palette", "keys", "brush", "brush-larger", "zoom-fit"] {
            assert!(by_id(id).is_some_and(|action| !keys.chords(action).is_empty()), "{title}: {id} has a key");
        }
    }
}

#[test]
fn signs_are_the_same_whatever_shift_makes_of_them() {
    let keys = Keymap::default();
    let found = |key, modifiers| keys.find(Chord::pressed(key, modifiers)).map(|action| action.id);
    assert_eq!(found(Key::Questionmark, Modifiers::SHIFT), Some("keys"));
    assert_eq!(found(Key::OpenCurlyBracket, Modifiers::SHIFT), Some("brush-softer"));
    assert_eq!(found(Key::OpenBracket, Modifiers::SHIFT), Some("brush-softer"));
    assert_eq!(found(Key::Plus, Modifiers::COMMAND | Modifiers::SHIFT), Some("zoom-in"));
    assert_eq!(found(Key::Equals, Modifiers::COMMAND), Some("zoom-in"));
    assert_eq!(found(Key::B, Modifiers::ALT), None);
}

#[test]
fn a_key_that_is_bound_anew_leaves_the_other_action() {
    let mut keys = Keymap::default();
    let (brush, hand) = (by_id("brush").expect("it is"), by_id("hand").expect("it is"));
    keys.bind(hand, Some(chord("B")));
    assert_eq!(keys.find(chord("B")).map(|action| action.id), Some("hand"));
    assert_eq!((keys.chords(brush), keys.find(chord("H")).map(|action| action.id)), (vec![], None));
    assert!(keys.is_changed(brush) && keys.is_changed(hand));
    keys.reset(brush);
    assert_eq!(keys.find(chord("B")).map(|action| action.id), Some("brush"));
    assert!(keys.chords(hand).is_empty(), "the preset's owner takes it back");
    keys.bind(brush, None);
    assert!(keys.chords(brush).is_empty());
    keys.start_from(Preset::Krita);
    assert_eq!(keys.find(chord("Ctrl+R")).map(|action| action.id), Some("rectangle"));
    assert_eq!(keys.find(chord("B")).map(|action| action.id), Some("brush"));
}

#[test]
fn search_forgives() {
    let mut search = Search::default();
    let names = ["Grow mask…", "Generate", "Goldfish", "golden retriever", "Select all"];
    assert_eq!(search.places("", names), [0, 1, 2, 3, 4], "nothing wanted: all of it");
    assert_eq!(search.places("gnrt", names), [3, 1], "golden retriever, Generate");
    assert_eq!(search.places("gen", names)[0], 1, "what begins so comes first");
    assert_eq!(search.places("GOLD", names)[..], [2, 3]);
    assert_eq!(search.places("retr", names), [3]);
    assert!(search.places("zebra", names).is_empty());
}

#[test]
fn preferences_outlive_the_window_and_a_damaged_file_is_set_aside() {
    let folder = Folder::new("preferences");
    let file = folder.as_ref().join("settings.json");
    let first = Kept::open(Some(folder.as_ref()));
    assert!(first.damage.is_none() && first.now == Preferences::default());
    let mut other = window(first, SIZE);
    let commands = [
        Command::Appear(Appearance::Light),
        Command::BindKey("hand", Some(chord("Ctrl+Alt+Shift+J"))),
        Command::CloseHint(Hint::Open),
    ];
    commands.into_iter().for_each(|command| other.state_mut().editor.apply(command));
    until(&mut other, "they are written", |_| Kept::open(Some(folder.as_ref())).now.hints_done.contains(&Hint::Open));
    let again = Kept::open(Some(folder.as_ref())).now;
    assert_eq!(&again, other.state().editor.preferences());
    assert_eq!(again.appearance, Appearance::Light);
    assert_eq!(again.keys.find(chord("Ctrl+Alt+Shift+J")).map(|action| action.id), Some("hand"));

    for damaged in ["{\"appearance\": \"lig", "7", "{\"keys\": {\"own\": {\"hand\": [\"Ctrl+Blah\"]}}}", "\u{0}"] {
        std::fs::write(&file, damaged).expect("a file");
        let kept = Kept::open(Some(folder.as_ref()));
        let told = kept.damage.clone().expect("it is told").to_string();
        assert!(told.contains("settings.json") && told.contains("damaged-"), "{told}");
        assert_eq!(kept.now, Preferences::default());
        assert!(!file.exists(), "it is set aside");
        let window = window(kept, SIZE);
        assert!(window.state().editor.notices.iter().any(|notice| notice.bad && notice.about.contains("settings")));
    }
    let aside = std::fs::read_dir(&folder).expect("the folder").filter_map(Result::ok);
    assert_eq!(aside.filter(|file| file.file_name().to_string_lossy().contains("damaged")).count(), 4);
    // A file of a later version, with more in it, is none that is damaged.
    std::fs::write(&file, "{\"appearance\": \"light\", \"autosave\": 5}").expect("a file");
    let kept = Kept::open(Some(folder.as_ref()));
    assert!(kept.damage.is_none() && kept.now.appearance == Appearance::Light);
}

#[test]
fn tools_and_export_are_found_as_they_were_left() {
    let folder = Folder::new("habits");
    let mut first = window(Kept::open(Some(folder.as_ref())), SIZE);
    let longer = |window: &Harness<'_, andamento::ui::App>| {
        let picture = &window.state().editor.document.picture;
        picture.width().max(picture.height()) as f32
    };
    assert_eq!(first.state().editor.brush.size, longer(&first) / 8.0);
    let overlay = Overlay { colour: [1, 2, 250], opacity: 0.45, hatch: true };
    let commands = [
        Command::Overlay(overlay),
        Command::BrushSize(longer(&first) / 4.0),
        Command::BrushHardness(0.25),
        Command::CombineBy(Combine::Subtract),
        Command::Tolerance(77),
        Command::Contiguous(false),
        Command::SnapToTokens(false),
        Command::JpegQuality(61),
        Command::Metadata(false),
    ];
    commands.into_iter().for_each(|command| first.state_mut().editor.apply(command));
    let expected = Habits {
        overlay,
        brush: 0.25,
        hardness: 0.25,
        combine: Combine::Subtract,
        wand: Wand { tolerance: 77, contiguous: false },
        snap: false,
        jpeg_quality: 61,
        metadata: false,
    };
    until(&mut first, "they are written", |_| Kept::open(Some(folder.as_ref())).now.habits == expected);

    let mut again = window(Kept::open(Some(folder.as_ref())), SIZE);
    let editor = &again.state().editor;
    assert_eq!((editor.show.overlay, editor.brush.hardness, editor.combine), (overlay, 0.25, Combine::Subtract));
    assert_eq!((editor.wand, editor.snap), (expected.wand, false));
    assert_eq!((editor.desk.quality, editor.desk.metadata), (61, false));
    assert_eq!(editor.brush.size, longer(&again) / 4.0);
    // Another picture gets a brush to match, which is no new habit.
    again.state_mut().editor.apply(Command::Open(folder.picture("small.png")));
    until(&mut again, "it is open", |editor| editor.document.name == "small.png");
    assert_eq!(again.state().editor.brush.size, 40.0);
    again.run_steps(2);
    assert_eq!(again.state().editor.preferences().habits, expected);

    // Files of earlier versions know of none of it, and what no control allows is brought within its limits.
    let file = folder.as_ref().join("settings.json");
    std::fs::write(&file, "{\"appearance\": \"light\"}").expect("a file");
    let old = Kept::open(Some(folder.as_ref()));
    assert!(old.damage.is_none() && old.now.appearance == Appearance::Light && old.now.habits == Habits::default());
    std::fs::write(&file, "{\"habits\": {\"hardness\": 7, \"brush\": -3, \"jpeg_quality\": 0}}").expect("a file");
    let odd = Kept::open(Some(folder.as_ref()));
    assert!(odd.damage.is_none());
    assert_eq!((odd.now.habits.hardness, odd.now.habits.jpeg_quality), (1.0, 1));
    assert!(window(odd, SIZE).state().editor.brush.size >= 1.0);
}

fn letters(window: &mut Harness<'_, andamento::ui::App>, text: &str) {
    window.event(Event::Text(text.into()));
    window.run_steps(2);
}

#[test]
fn the_palette_finds_and_does() {
    let mut window = window(Kept::default(), SIZE);
    window.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, Some(Dialog::Palette));
    letters(&mut window, "erasr");
    assert_eq!(window.state().editor.brush.tool, Tool::Brush, "letters are for the field");
    window.key_press(Key::Enter);
    window.run_steps(2);
    assert_eq!((window.state().editor.dialog.clone(), window.state().editor.brush.tool), (None, Tool::Eraser));

    // What cannot be done now is grey, with the reason, and Enter does nothing.
    window.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run_steps(2);
    letters(&mut window, "redo");
    assert!(window.query_by_label_contains("Nothing was taken back").is_some());
    window.key_press(Key::Enter);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, Some(Dialog::Palette));
    window.key_press(Key::Escape);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, None);

    // Subjects too; the arrow takes the second.
    let subjects = window.state().editor.card.subjects.clone();
    window.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run_steps(2);
    letters(&mut window, &format!("paint {}", subjects[3]));
    window.key_press(Key::Enter);
    window.run_steps(2);
    assert_eq!(window.state().editor.settings.subject, 3);

    // What is chosen in the panel and in the settings.
    for (wanted, done) in [
        ("spiral in", (|editor| editor.settings.order == "spiral-in") as fn(&andamento::editor::Editor) -> bool),
        ("theme light", |editor| editor.preferences().appearance == Appearance::Light),
        ("whole canvas", |editor| editor.settings.extent == Extent::Canvas),
    ] {
        assert!(!done(&window.state().editor), "{wanted} is not so from the start");
        window.key_press_modifiers(Modifiers::COMMAND, Key::K);
        window.run_steps(2);
        letters(&mut window, wanted);
        window.key_press(Key::Enter);
        window.run_steps(2);
        assert!(done(&window.state().editor), "{wanted}");
    }
    window.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run_steps(2);
    letters(&mut window, "order: scales");
    window.key_press(Key::Enter);
    window.run_steps(2);
    let editor = &window.state().editor;
    assert_eq!((editor.settings.order, &editor.dialog), ("spiral-in", &Some(Dialog::Palette)), "RandAR has no scales");
    window.key_press(Key::Escape);
    window.run_steps(2);

    window.key_press_modifiers(Modifiers::COMMAND, Key::K);
    window.run_steps(2);
    letters(&mut window, "zoom");
    let zoom = window.state().editor.view.zoom;
    window.key_press(Key::ArrowDown);
    window.run_steps(2);
    window.key_press(Key::Enter);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, None);
    assert!(window.state().editor.view.zoom < zoom, "the second of “Zoom in” and “Zoom out” was taken");
}

#[test]
fn a_key_is_bound_by_pressing_it() {
    let mut window = window(Kept::default(), SIZE);
    window.key_press_modifiers(Modifiers::COMMAND, Key::Comma);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, Some(Dialog::Settings));
    let click = |window: &mut Harness<'_, andamento::ui::App>, label: &str| {
        window.get_by_label(label).click();
        window.run_steps(3);
    };
    click(&mut window, "Keys");
    window.get_by_label("Key for Brush").scroll_to_me();
    window.run_steps(8);
    click(&mut window, "Key for Brush");
    window.key_press(Key::H);
    window.run_steps(2);
    assert!(window.query_by_label_contains("already means “Hand”").is_some(), "the conflict is named");
    click(&mut window, "Take it");
    let keys = &window.state().editor.preferences().keys;
    assert_eq!(keys.find(chord("H")).map(|action| action.id), Some("brush"));
    // Escape leaves it, and what is reserved is refused with the reason.
    window.get_by_label("Key for Brush").click_accesskit();
    window.run_steps(2);
    window.key_press(Key::Escape);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, Some(Dialog::Settings), "Escape left the key, not the dialog");
    window.get_by_label("Key for Brush").click_accesskit();
    window.run_steps(2);
    window.key_press(Key::F6);
    window.run_steps(2);
    assert!(window.state().editor.notices.iter().any(|notice| notice.bad && notice.about == "F6"));
    window.key_press(Key::Escape);
    window.run_steps(2);
    assert_eq!(window.state().editor.dialog, None);
    window.state_mut().editor.apply(Command::Choose(Tool::Wand));
    window.key_press(Key::H);
    window.run_steps(2);
    assert_eq!(window.state().editor.brush.tool, Tool::Brush, "H is the brush now");
}

#[test]
fn hints_come_one_at_a_time_and_never_again() {
    let mut window = window(Kept::default(), SIZE);
    until_ready(&mut window);
    assert_eq!(window.state().editor.hint(), Some(Hint::Generate));
    window.get_by_label("Close hint").click();
    window.run_steps(2);
    assert_eq!(window.state().editor.hint(), None, "the next waits until something was generated");
    window.state_mut().editor.apply(Command::Generate);
    until(&mut window, "the run is done", |editor| editor.run.is_none());
    let mut seen = Vec::new();
    while let Some(hint) = window.state().editor.hint() {
        window.step();
        assert_eq!(window.get_all_by_label("Close hint").count(), 1);
        seen.push(hint);
        window.state_mut().editor.apply(match hint {
            Hint::Order => Command::Order("raster"),
            Hint::Rewind => Command::Rewind(1),
            other => Command::CloseHint(other),
        });
    }
    assert_eq!(seen, [Hint::Order, Hint::Extend, Hint::Rewind, Hint::Boldness, Hint::Open]);
    window.state_mut().editor.apply(Command::ShowHints);
    assert_eq!(window.state().editor.hint(), Some(Hint::Generate));
}
