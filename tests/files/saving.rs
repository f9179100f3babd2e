//! The one way of saving: whatever system call fails, or is the last one, the old or the new file is there, whole.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::PathBuf;
#[cfg(target_os = "linux")]
use std::{
    collections::BTreeMap,
    path::Path,
    process::{Command, Output},
};

use andamento::files::recent::Recent;
use andamento::files::save::{save_atomically, save_with};

use crate::folder::Folder;

/// The program that is killed.
#[cfg(target_os = "linux")]
const VICTIM: &str = env!("CARGO_BIN_EXE_victim");

#[test]
fn permissions_are_kept_links_followed_and_refusals_say_why() {
    let folder = Folder::new("save");
    let file = folder.write("a.txt", b"old");
    fs::set_permissions(&file, fs::Permissions::from_mode(0o640)).expect("it is ours");
    let link = folder.0.join("link.txt");
    symlink("a.txt", &link).expect("a link");
    save_atomically(&link, b"new").expect("it can be written");
    assert_eq!(fs::read(&file).expect("it is there"), b"new");
    assert!(link.is_symlink(), "the link stays one");
    assert_eq!(fs::metadata(&file).expect("it is there").permissions().mode() & 0o777, 0o640);

    let dangling = folder.0.join("dangling.txt");
    symlink("made.txt", &dangling).expect("a link");
    save_atomically(&dangling, b"made").expect("it can be written");
    assert_eq!(fs::read(folder.0.join("made.txt")).expect("it was made"), b"made");

    fs::set_permissions(&file, fs::Permissions::from_mode(0o440)).expect("it is ours");
    let refusal = save_atomically(&file, b"newer").expect_err("it is write-protected").to_string();
    assert!(refusal.contains("a.txt") && refusal.contains("write-protected"), "{refusal}");
    assert_eq!(fs::read(&file).expect("it is there"), b"new");

    let nowhere = folder.0.join("no/such/folder.txt");
    let refusal = save_atomically(&nowhere, b"").expect_err("there is no folder").to_string();
    assert!(refusal.contains("no such folder"), "{refusal}");
    let refusal = save_atomically(&folder.0, b"").expect_err("it is a folder").to_string();
    assert!(refusal.contains("folder"), "{refusal}");

    // What breaks off while it is written leaves nothing behind.
    let broken = save_with(&folder.0.join("made.txt"), |_| Err(std::io::ErrorKind::StorageFull.into()));
    assert!(broken.expect_err("the disk is full").to_string().contains("disk is full"));
    assert_eq!(fs::read(folder.0.join("made.txt")).expect("it is there"), b"made");
    let mut left: Vec<_> =
        fs::read_dir(&folder.0).expect("a folder").flatten().map(|entry| entry.file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.txt", "dangling.txt", "link.txt", "made.txt"]);
}

#[test]
fn recent_files_are_shared_by_all_windows() {
    let folder = Folder::new("recent");
    let files: Vec<PathBuf> = (0..20).map(|index| folder.write(&format!("{index}.png"), b"")).collect();
    let recent = Recent::in_folder(&folder.0.join("state"));
    assert!(recent.list().is_empty());
    std::thread::scope(|scope| {
        for part in files.chunks(5) {
            let recent = recent.clone();
            scope.spawn(move || part.iter().for_each(|file| recent.add(file).expect("it can be written")));
        }
    });
    assert_eq!(recent.list().len(), 12);
    recent.add(&files[3]).expect("it can be written");
    assert_eq!(recent.list()[0], files[3]);
    assert_eq!(recent.list().iter().filter(|file| **file == files[3]).count(), 1);
    fs::remove_file(&files[3]).expect("it is there");
    assert!(!recent.list().contains(&files[3]), "what is gone is not offered");
    recent.clear().expect("it can be written");
    assert!(recent.list().is_empty());
}

/// Runs the victim under strace.
#[cfg(target_os = "linux")]
fn traced(file: &Path, options: &[String]) -> Output {
    let mut command = Command::new("strace");
    command.args(options).arg(VICTIM).arg("save").arg(file).arg("new ");
    command.output().expect("strace is missing: ./tests/run installs it, or `apt-get install strace` does")
}

/// The system calls of a save: each with how often it came before, and whether it is the last one before the new file is
/// in its place.
#[cfg(target_os = "linux")]
fn calls(folder: &Folder, old: bool) -> Vec<(String, u32)> {
    let file = folder.0.join("traced.txt");
    let _absent = fs::remove_file(&file);
    if old {
        fs::write(&file, old_text()).expect("a file");
    }
    let log = folder.0.join("trace.log");
    let output = traced(&file, &["-o".into(), log.display().to_string()]);
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(
        output.status.success(),
        "strace cannot trace here (in a container it needs the right to ptrace): {errors}"
    );
    let text = fs::read_to_string(&log).expect("strace writes a log");
    let (mut counts, mut calls, mut inside) = (BTreeMap::<String, u32>::new(), Vec::new(), false);
    for line in text.lines() {
        let Some((name, _)) = line.split_once('(') else { continue };
        let count = counts.entry(name.to_owned()).or_default();
        *count += 1;
        inside |= line.contains("/andamento-begin");
        if line.contains("/andamento-end") {
            break;
        }
        if inside && !line.contains("/andamento-begin") {
            calls.push((name.to_owned(), *count));
        }
    }
    assert!(calls.iter().any(|(name, _)| name == "fsync"), "{calls:?}");
    assert!(calls.iter().any(|(name, _)| name.starts_with("rename")), "{calls:?}");
    calls
}

#[cfg(target_os = "linux")]
fn old_text() -> Vec<u8> {
    b"old ".repeat(700)
}

#[cfg(target_os = "linux")]
fn new_text() -> Vec<u8> {
    b"new ".repeat(1000)
}

#[test]
#[cfg(target_os = "linux")]
fn every_system_call_of_a_save_may_be_the_last_or_fail() {
    let folder = Folder::new("crash");
    let mut cases = 0;
    for old in [true, false] {
        let calls = calls(&folder, old);
        assert!(calls.len() >= 6, "a save takes at least a few calls: {calls:?}");
        let work: Vec<_> = calls
            .iter()
            .flat_map(|call| ["signal=SIGKILL", "error=ENOSPC", "error=EIO"].map(|fault| (call, fault)))
            .collect();
        cases += work.len();
        std::thread::scope(|scope| {
            for part in work.chunks(work.len().div_ceil(3)) {
                let folder = &folder;
                scope.spawn(move || {
                    part.iter().for_each(|((name, when), fault)| fault_at(folder, old, name, *when, fault))
                });
            }
        });
    }
    println!("{cases} faults");
}

/// Lets one system call be the last one, or fail, and looks at what is there then.
#[cfg(target_os = "linux")]
fn fault_at(folder: &Folder, old: bool, name: &str, when: u32, fault: &str) {
    let place = folder.0.join(format!("{old}-{name}-{when}-{}", fault.replace('=', "-")));
    fs::create_dir_all(&place).expect("a folder");
    let file = place.join("a.txt");
    if old {
        fs::write(&file, old_text()).expect("a file");
    }
    let inject = format!("inject={name}:{fault}:when={when}");
    let output = traced(&file, &["-o".into(), "/dev/null".into(), "-e".into(), inject.clone()]);
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let case = format!("{inject}, {}: {errors}", if old { "over an old file" } else { "a new file" });
    let there = fs::read(&file).ok();
    let is_old = there == old.then(old_text);
    let is_new = there == Some(new_text());
    assert!(is_old || is_new, "{case}: neither the old nor the new file");
    if output.status.success() {
        assert!(is_new, "{case}: it was said to be saved");
    }
    if !fault.contains("KILL") && !output.status.success() {
        // It was told, by name and with a remedy, unless the fault hit the telling itself.
        assert!(errors.contains("a.txt") && errors.contains(". "), "{case}: the error does not say enough");
        let left = fs::read_dir(&place).expect("a folder").count();
        assert!(left <= 1 || name.starts_with("unlink"), "{case}: something is left behind");
    }
    // Whatever happened, saving again works.
    save_atomically(&file, &new_text()).unwrap_or_else(|error| panic!("{case}: {error}"));
    assert_eq!(fs::read(&file).expect("it is there"), new_text(), "{case}");
}
