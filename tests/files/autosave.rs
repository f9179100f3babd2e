//! kill -9 at any moment costs seconds of work, and never a document.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::thread;
use std::time::{Duration, Instant};

use andamento::command::{Command as Intent, Dialog};
use andamento::editor::Editor;
use andamento::files::autosave::orphans;
use andamento::files::folders::Folders;
use andamento::files::project;
use andamento_model::Error;
use andamento_model::device::DeviceChoice;
use andamento_model::library::imported::Shelf;

use crate::folder::Folder;

/// No more than this much work may be lost.
const LOSS: Duration = Duration::from_secs(5);

fn editor(home: &Path) -> Editor {
    let no_model = Box::new(|_: &str, _, _| Err(Error::control("model", "there is none", "None is needed")));
    let (shelf, folders) = (Shelf::open(Some(home)).expect("a folder"), Folders::open(Some(home)).expect("a folder"));
    Editor::new(None, DeviceChoice::Cpu, (shelf, &folders), no_model, Arc::new(|| {})).expect("an editor")
}

fn stroke(editor: &mut Editor, x: f32) {
    editor.apply(Intent::BeginStroke { at: (x, 20.0), erase: false });
    editor.apply(Intent::ExtendStroke((x + 5.0, 60.0)));
    editor.apply(Intent::EndStroke);
    editor.tick(Duration::ZERO);
}

/// Lets time pass until something is the case.
fn until(editor: &mut Editor, what: &str, mut done: impl FnMut(&Editor) -> bool) {
    let start = Instant::now();
    while !done(editor) {
        assert!(start.elapsed() < Duration::from_secs(20), "waited too long until {what}");
        editor.tick(Duration::from_millis(5));
        thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn what_a_window_leaves_behind_is_offered_and_goes_on() {
    let folder = Folder::new("recovery");
    let state = Folders::open(Some(&folder.0)).expect("a folder").state().to_owned();
    let mut first = editor(&folder.0);
    assert_eq!(first.dialog, None);
    (0..5).for_each(|index| stroke(&mut first, 30.0 * index as f32));
    first.apply(Intent::ExtendCanvas([3, 0, 0, 9]));
    first.tick(Duration::ZERO);
    let document = first.document.clone();
    // While it lives, nobody else takes what it keeps.
    thread::sleep(Duration::from_secs(3));
    assert!(orphans(&state).is_empty());
    let mut second = editor(&folder.0);
    assert_eq!(second.dialog, None, "two windows do not disturb each other");
    stroke(&mut second, 77.0);
    thread::sleep(Duration::from_millis(600));
    second.close();
    drop(second);
    assert!(orphans(&state).is_empty(), "an ordinary end leaves nothing behind");

    // It ends without a word.
    drop(first);
    thread::sleep(Duration::from_millis(300));
    let mut third = editor(&folder.0);
    assert_eq!(third.dialog, Some(Dialog::Recover));
    let orphan = third.desk.orphans[0].clone();
    assert_eq!((third.desk.orphans.len(), orphan.name.as_str()), (1, "lake-at-dusk.png"));
    assert!(editor(&folder.0).desk.orphans.is_empty(), "it is offered once at a time");
    third.apply(Intent::Recover(orphan.folder.clone()));
    until(&mut third, "it is restored", |editor| editor.desk.orphans.is_empty());
    assert_eq!(third.dialog, None);
    let restored = third.document.clone();
    assert!(restored.mask == document.mask && restored.picture == document.picture);
    assert!(restored.original == document.original && restored.original_at == document.original_at);
    // The history came along: every stroke can be taken back.
    for _ in 0..6 {
        third.apply(Intent::Undo);
    }
    assert!(third.document.mask.get(32, 40) == first_mask(32, 40) && third.document.picture == document.original);
    // What was left behind goes once the new window keeps it itself.
    let start = Instant::now();
    while orphan.folder.exists() {
        assert!(start.elapsed() < LOSS, "it is removed");
        third.tick(Duration::ZERO);
        thread::sleep(Duration::from_millis(20));
    }
    drop(orphan);
    drop(third);
    thread::sleep(Duration::from_millis(300));
    let mut fourth = editor(&folder.0);
    assert_eq!(fourth.desk.orphans.len(), 1, "and is kept in its place");
    let place = fourth.desk.orphans[0].folder.clone();
    fourth.apply(Intent::DiscardRecovery(place.clone()));
    assert!(!place.exists() && fourth.dialog.is_none());
}

/// The mask of the bundled sample.
fn first_mask(x: u32, y: u32) -> u8 {
    andamento::document::Document::sample().expect("it is bundled").mask.get(x, y)
}

#[test]
fn a_document_in_a_project_leaves_nothing_to_recover() {
    let folder = Folder::new("clean");
    let state = Folders::open(Some(&folder.0)).expect("a folder").state().to_owned();
    let mut editor = editor(&folder.0);
    stroke(&mut editor, 50.0);
    let file = folder.0.join("a.andamento");
    editor.apply(Intent::SaveAs(file.clone()));
    until(&mut editor, "it is saved", |editor| editor.project().is_some());
    assert!(!editor.is_unsaved());
    thread::sleep(Duration::from_millis(300));
    drop(editor);
    assert!(orphans(&state).is_empty());
    assert!(project::open(&file).is_ok());
}

/// Kills an editor that is at work at some moment, and looks at what is left. Returns how many changes were lost.
fn killed_after(life: Duration) -> usize {
    let folder = Folder::new("kill");
    let mut child = Command::new(env!("CARGO_BIN_EXE_victim"))
        .args(["edit".as_ref(), folder.0.as_os_str()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the victim starts");
    let (outbox, inbox) = channel();
    let lines = BufReader::new(child.stdout.take().expect("it is piped")).lines();
    let reader = thread::spawn(move || {
        for line in lines.map_while(Result::ok) {
            let count: usize = line.parse().expect("a number");
            // Nobody listens any more once it is killed.
            let _ = outbox.send((Instant::now(), count));
        }
    });
    let first = inbox.recv().expect("it begins").0;
    thread::sleep(life.saturating_sub(first.elapsed()));
    let killed = Instant::now();
    child.kill().expect("it lives");
    child.wait().expect("it ends");
    reader.join().expect("it reads to the end");
    let made: Vec<(Instant, usize)> = inbox.iter().collect();
    let all = made.last().map_or(1, |(_, count)| *count);
    let owed = made.iter().take_while(|(when, _)| *when + LOSS < killed).last().map_or(0, |(_, count)| *count);

    let state = Folders::open(Some(&folder.0)).expect("a folder").state().to_owned();
    let orphans = orphans(&state);
    if life > LOSS {
        assert_eq!(orphans.len(), 1, "after {life:?} there is a document");
    }
    let Some(orphan) = orphans.first() else { return all };
    let snapshot = project::open_folder(&orphan.folder).unwrap_or_else(|error| panic!("after {life:?}: {error}"));
    let kept = snapshot.at;
    assert!(kept >= owed, "after {life:?}: {kept} of {owed} changes that were older than {LOSS:?}");
    assert_eq!(snapshot.entries.len(), kept + 1);
    for entry in &snapshot.entries {
        let (picture, mask) = (&entry.document.picture, &entry.document.mask);
        assert_eq!((picture.width(), picture.height()), (mask.width(), mask.height()));
    }
    // In their sequence: the canvas grew by a column at a time.
    let widths: Vec<u32> = snapshot.entries.iter().map(|entry| entry.document.picture.width()).collect();
    assert!(widths.windows(2).all(|pair| pair[0] <= pair[1] && pair[1] <= pair[0] + 1), "{widths:?}");
    all.saturating_sub(kept)
}

#[test]
fn kill_nine_at_random_moments_costs_seconds_at_most() {
    let lost = thread::scope(|scope| {
        let lives = [330, 1_090, 2_270, 3_410].map(Duration::from_millis);
        let runs = lives.map(|life| scope.spawn(move || killed_after(life)));
        runs.map(|run| run.join().expect("the document is whole"))
    });
    println!("changes lost: {lost:?}, 40 are a second");
    assert!(lost.iter().all(|lost| *lost < 200), "{lost:?}");
}

/// The same for a minute and longer lives.
#[test]
#[ignore = "takes two minutes"]
fn kill_nine_at_many_moments() {
    for round in 0..12_u64 {
        let lost = killed_after(Duration::from_millis(5_100 + round * 733 % 4_000));
        println!("{lost} changes lost");
    }
}
