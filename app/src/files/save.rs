//! The one way in which anything is saved: a temporary file in the same folder, flushed to the disk, renamed over the old
//! one, and the folder flushed. Whatever happens meanwhile, the old or the new file is there, whole.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use andamento_model::{Error, Result};

/// So many links are followed from name to name, as the system does.
const LINKS: usize = 40;

/// Saves bytes under a name.
///
/// # Errors
/// As [`save_with`].
pub fn save_atomically(path: &Path, bytes: &[u8]) -> Result<()> {
    save_with(path, |file| file.write_all(bytes))
}

/// Saves what is written into the file. A file that was there keeps its permissions and, where the system allows it, its
/// owner; of a symbolic link the file behind it is replaced.
///
/// # Errors
/// Names the file, what stopped it, and what to do; the old file is untouched then.
pub fn save_with(path: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> Result<()> {
    let target = behind_links(path);
    replace(&target, write).map_err(|error| refusal(path, &error))
}

fn replace(target: &Path, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let old = match fs::metadata(target) {
        Ok(old) if old.is_dir() => return Err(ErrorKind::IsADirectory.into()),
        // Renaming would replace it all the same, which is not what its protection asks for.
        Ok(old) if old.permissions().readonly() => return Err(ErrorKind::PermissionDenied.into()),
        Ok(old) => Some(old),
        Err(error) if error.kind() == ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let (temporary, file) = Temporary::beside(target)?;
    if let Some(old) = &old {
        keep_owner(&file, old);
        file.set_permissions(old.permissions())?;
    }
    let mut file = BufWriter::with_capacity(1 << 20, file);
    write(&mut file)?;
    file.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()?;
    temporary.become_file(target)?;
    sync_folder(folder_of(target))
}

/// A file that is removed unless it takes the place of another.
struct Temporary(Option<PathBuf>);

impl Temporary {
    fn beside(target: &Path) -> io::Result<(Self, File)> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let name = target.file_name().ok_or(ErrorKind::InvalidFilename)?.to_string_lossy();
        // Names have a limit, and this one is longer.
        let name: String = name.chars().take(60).collect();
        loop {
            let number = NEXT.fetch_add(1, Ordering::Relaxed);
            let path = folder_of(target).join(format!(".{name}.{}-{number}.tmp", std::process::id()));
            match OpenOptions::new().write(true).create_new(true).open(&path) {
                Ok(file) => return Ok((Self(Some(path)), file)),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn become_file(mut self, target: &Path) -> io::Result<()> {
        if let Some(path) = &self.0 {
            fs::rename(path, target)?;
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Temporary {
    fn drop(&mut self) {
        // What cannot be removed is a hidden file more, and the error that led here is told.
        let _removed = self.0.take().map(fs::remove_file);
    }
}

/// The folder that a file lies in.
pub(crate) fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// The file that a name stands for in the end; it may not exist yet.
fn behind_links(path: &Path) -> PathBuf {
    let mut path = path.to_path_buf();
    for _ in 0..LINKS {
        match fs::read_link(&path) {
            Ok(link) => path = folder_of(&path).join(link),
            Err(_) => break,
        }
    }
    path
}

#[cfg(unix)]
fn keep_owner(file: &File, old: &fs::Metadata) {
    use std::os::unix::fs::{MetadataExt, fchown};
    // Only the administrator may give files away; for all others it is theirs already.
    let _allowed = fchown(file, Some(old.uid()), Some(old.gid()));
}

#[cfg(not(unix))]
fn keep_owner(_: &File, _: &fs::Metadata) {}

/// Makes sure that a new name in a folder survives a power cut.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(not(unix))]
fn sync_folder(_: &Path) -> io::Result<()> {
    Ok(()) // the system does it by itself
}

/// Why a file could not be written, and what to do.
pub(crate) fn refusal(path: &Path, error: &io::Error) -> Error {
    let (cause, remedy) = match error.kind() {
        ErrorKind::StorageFull => {
            ("the disk is full; what was there before is untouched".into(), "Free some space, or choose another disk")
        }
        ErrorKind::QuotaExceeded => (
            "your share of the disk is used up; what was there before is untouched".into(),
            "Remove something, or choose another disk",
        ),
        ErrorKind::PermissionDenied => {
            ("it is write-protected, or its folder is".into(), "Change the permissions, or choose another place")
        }
        ErrorKind::ReadOnlyFilesystem => ("the disk can only be read".into(), "Choose another disk"),
        ErrorKind::NotFound => ("there is no such folder".into(), "Make it, or choose another"),
        ErrorKind::IsADirectory => ("this is a folder".into(), "Choose another name"),
        ErrorKind::Other => (error.to_string(), "Choose another kind of file"),
        _ => (
            format!("it cannot be written ({error}); what was there before is untouched"),
            "Check the disk, or choose another one",
        ),
    };
    let cause: String = cause;
    Error::file(path, cause, remedy)
}
