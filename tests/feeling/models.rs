//! Choosing and importing models in the window.

use std::path::PathBuf;

use andamento::command::{Command, Dialog};
use andamento::preferences::Kept;
use andamento_model::checkpoint::import::has_both_weights;
use andamento_model::device::Place;
use andamento_model::library::fit::{Fit, Memory, of_nvidia};
use andamento_model::library::imported::Shelf;
use andamento_tests::goldens;
use egui::{Event, Key};
use egui_kittest::kittest::Queryable;

use super::window;
use crate::driven::{Opening, until, until_ready};
use crate::folder::Folder;

#[test]
fn averaged_weights_are_offered_where_a_file_has_both() {
    let folder = goldens("randar");
    let files = std::fs::read_dir(&folder).expect("goldens").filter_map(Result::ok).map(|file| file.path());
    let both: Vec<PathBuf> = files.filter(|file| has_both_weights(file).unwrap_or(false)).collect();
    let file = both.first().cloned().expect("a golden file has both kinds of weights");
    let library = Folder::new("averaged-window");
    let at = Opening { size: [1024.0, 700.0], library: Some(library.0.clone()), ..Opening::default() };
    let mut window = at.window();
    window.state_mut().editor.apply(Command::ImportModels(vec![file.clone()]));
    until(&mut window, "it asks", |editor| editor.dialog == Some(Dialog::Weights(vec![file.clone()])));
    window.get_by_label("Take the average").click();
    window.run_steps(2);
    until(&mut window, "it is imported", |editor| editor.importing.is_none() && editor.dialog.is_none());
    let records = Shelf::open(Some(library.as_ref())).expect("a shelf").records().expect("records");
    assert!(!records.is_empty() && records.iter().all(|record| record.origin.averaged), "{records:?}");
}

#[test]
fn a_subject_is_found_in_the_chooser_of_models() {
    let mut window = window(Kept::default(), [1440.0, 900.0]);
    until_ready(&mut window);
    let (title, subjects) = {
        let card = &window.state().editor.card;
        (card.title.clone(), card.subjects.clone())
    };
    window.get_by_label(&format!("Model: {title}")).click();
    window.run_steps(4);
    window.event(Event::Text(subjects[5].clone()));
    window.run_steps(3);
    assert!(window.query_by_label(&format!("{} — {title}", subjects[5])).is_some(), "the subject is listed");
    window.key_press(Key::Enter);
    window.run_steps(3);
    assert_eq!(window.state().editor.settings.subject, 5);
}

#[test]
fn what_fits_is_told_from_what_does_not() {
    let memory = Memory { all: 100, free: 60 };
    let fits = [(60, Fit::Fits), (61, Fit::Tight), (100, Fit::Tight), (101, Fit::TooLarge)];
    fits.into_iter().for_each(|(bytes, fit)| assert_eq!(memory.fits(bytes), fit, "{bytes}"));
    let now = Memory::now();
    assert!(now.free <= now.all && now.fits(1 << 20) == Fit::Fits, "{now:?}");
    // Graphics that share the computer's memory have as much; of a card only its driver knows.
    assert_eq!(Memory::of(&Place::Computer).map(|memory| memory.all), Some(now.all));
    assert_eq!(Memory::of(&Place::Card("ffff:ff:1f.7".into())), None);
    let table = "00000000:01:00.0, 24564, 23000\n00000000:C1:00.0, 81559, 400\n";
    let card = |all: u64, free: u64| Some(Memory { all: all << 20, free: free << 20 });
    assert_eq!(of_nvidia(table, "0000:01:00.0"), card(24564, 23000));
    assert_eq!(of_nvidia(table, "0000:c1:00.0"), card(81559, 400));
    for unknown in ["0000:02:00.0", ""] {
        assert_eq!(of_nvidia(table, unknown), None);
    }
    assert_eq!(of_nvidia("00000000:01:00.0, 24564, 23000\n", ""), card(24564, 23000), "the only card");
    assert_eq!(of_nvidia("No devices were found\n", ""), None);
}
