//! A program to be killed: it saves a file, or edits without end. The tests of saving start it, and look at what it leaves.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use andamento::command::Command;
use andamento::editor::Editor;
use andamento::files::folders::Folders;
use andamento::files::save::save_atomically;
use andamento_model::Error;
use andamento_model::device::DeviceChoice;
use andamento_model::library::imported::Shelf;

/// Between two strokes.
const PAUSE: Duration = Duration::from_millis(25);

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        ["save", file, text] => save(Path::new(file), text),
        ["edit", home] => edit(Path::new(home)),
        _ => {
            eprintln!("victim save FILE TEXT, or victim edit FOLDER");
            ExitCode::from(2)
        }
    }
}

/// Saves a text a thousand times over. The markers let a tracer know where saving begins and ends.
fn save(file: &Path, text: &str) -> ExitCode {
    let marker = |name: &str| drop(std::fs::metadata(name));
    let bytes = text.repeat(1000).into_bytes();
    marker("/andamento-begin");
    let outcome = save_atomically(file, &bytes);
    marker("/andamento-end");
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

/// Makes strokes, one after the other, and prints how many there are. Every fortieth is a longer canvas.
fn edit(home: &Path) -> ExitCode {
    let (shelf, folders) = match (Shelf::open(Some(home)), Folders::open(Some(home))) {
        (Ok(shelf), Ok(folders)) => (shelf, folders),
        _ => return ExitCode::FAILURE,
    };
    let no_model = Box::new(|_: &str, _, _| Err(Error::control("model", "there is none", "None is needed")));
    let editor = Editor::new(None, DeviceChoice::Cpu, (shelf, &folders), no_model, Arc::new(|| {}));
    let Ok(mut editor) = editor else { return ExitCode::FAILURE };
    for stroke in 1_u32.. {
        let at = ((stroke * 7 % 400) as f32, (stroke * 13 % 400) as f32);
        if stroke.is_multiple_of(40) {
            editor.apply(Command::ExtendCanvas([0, 0, 1, 0]));
        } else {
            editor.apply(Command::BeginStroke { at, erase: stroke % 3 == 0 });
            editor.apply(Command::ExtendStroke((at.0 + 9.0, at.1 + stroke as f32 % 50.0)));
            editor.apply(Command::EndStroke);
        }
        editor.tick(PAUSE);
        println!("{}", editor.history.depth());
        sleep(PAUSE);
    }
    ExitCode::SUCCESS
}
