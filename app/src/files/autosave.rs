//! What would be lost in a crash is written into the program's own folder within seconds, and offered at the next start.
//!
//! Every window has a folder of its own there, with a lock that the system takes away when its process ends, however it
//! ends. Pictures are written once, masks and the list of what belongs together are small, so a stroke on 24 megapixels
//! costs some kilobytes.

use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use andamento_model::{Error, Result};
use crossbeam_channel::{RecvTimeoutError, Sender, unbounded};

use super::project::{self, Snapshot, Written};
use super::save::refusal;
use crate::document::fresh;

/// Between two writes at least this much time passes, so that the disk rests while somebody paints.
const REST: Duration = Duration::from_millis(1500);
/// The file that tells whether a folder's window is alive.
const LOCK: &str = "lock";
/// The part that is written last.
const MANIFEST: &str = "project.json";
/// Folders without a document are the beginnings of others; after this time they are rubbish.
const RUBBISH: Duration = Duration::from_secs(24 * 60 * 60);

/// What a window left behind that did not end in the ordinary way. While this lives, no other window takes it.
#[derive(Debug, Clone)]
pub struct Orphan {
    /// Where it is.
    pub folder: PathBuf,
    /// What the document is called.
    pub name: String,
    /// When it was written.
    pub when: SystemTime,
    _lock: Arc<File>,
}

impl Orphan {
    /// Removes it.
    ///
    /// # Errors
    /// If it cannot be removed.
    pub fn discard(&self) -> Result<()> {
        fs::remove_dir_all(&self.folder).map_err(|error| refusal(&self.folder, &error))
    }

    /// When it was written, in words.
    pub fn age(&self) -> String {
        let minutes = self.when.elapsed().unwrap_or_default().as_secs() / 60;
        match minutes {
            0 => "less than a minute ago".into(),
            1 => "a minute ago".into(),
            2..60 => format!("{minutes} minutes ago"),
            60..1440 => format!("{} h {:02} min ago", minutes / 60, minutes % 60),
            _ => format!("{} days ago", minutes / 1440),
        }
    }
}

/// The folder in which all windows have theirs.
fn all(state: &Path) -> PathBuf {
    state.join("autosave")
}

/// What other windows left behind, the last one first. Folders of living ones are passed over.
pub fn orphans(state: &Path) -> Vec<Orphan> {
    let entries = fs::read_dir(all(state)).into_iter().flatten().flatten();
    let mut orphans: Vec<Orphan> = entries.filter_map(|entry| orphan(entry.path())).collect();
    orphans.sort_by_key(|orphan| std::cmp::Reverse(orphan.when));
    orphans
}

fn orphan(folder: PathBuf) -> Option<Orphan> {
    let Ok(written) = fs::metadata(folder.join(MANIFEST)).and_then(|about| about.modified()) else {
        let age = fs::metadata(&folder).and_then(|about| about.modified()).ok()?.elapsed().unwrap_or_default();
        if age > RUBBISH && lock(&folder).is_ok_and(|lock| lock.is_some()) {
            let _left = fs::remove_dir_all(&folder);
        }
        return None;
    };
    let lock = lock(&folder).ok()??;
    let name = project::name_in(&folder).unwrap_or_else(|| "a document".into());
    Some(Orphan { folder, name, when: written, _lock: Arc::new(lock) })
}

/// The lock of a folder; none if another window holds it.
fn lock(folder: &Path) -> std::io::Result<Option<File>> {
    let file = File::options().create(true).truncate(false).write(true).open(folder.join(LOCK))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

enum Message {
    /// This is what shall not be lost.
    Keep(Box<Snapshot>),
    /// There is nothing to lose.
    Forget,
    /// What another window left is taken over with the next [`Keep`](Self::Keep), and removed then.
    Adopt(Orphan),
    /// The window closes in the ordinary way.
    Finish,
}

/// The autosave of one window.
pub struct Autosave {
    outbox: Sender<Message>,
    thread: Option<JoinHandle<()>>,
}

impl Autosave {
    /// Starts its thread. `complain` is told once when something cannot be written, and again after it could.
    pub fn start(state: &Path, complain: impl Fn(Error) + Send + 'static) -> Self {
        let (outbox, inbox) = unbounded();
        let mut keeper = Keeper { all: all(state), folder: None, written: Written::default(), adopted: None };
        let thread = thread::Builder::new().name("andamento-autosave".into()).spawn(move || {
            let (mut waiting, mut last, mut complained): (Option<Box<Snapshot>>, Option<Instant>, bool) =
                (None, None, false);
            loop {
                let rest = last.map_or(Duration::ZERO, |last| REST.saturating_sub(last.elapsed()));
                let message = match waiting {
                    Some(_) => inbox.recv_timeout(rest),
                    None => inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
                };
                match message {
                    Ok(Message::Keep(snapshot)) => waiting = Some(snapshot),
                    Ok(Message::Forget) => {
                        waiting = None;
                        keeper.forget();
                    }
                    Ok(Message::Adopt(orphan)) => keeper.adopted = Some(orphan),
                    Ok(Message::Finish) => return keeper.finish(),
                    Err(RecvTimeoutError::Timeout) => {
                        let Some(snapshot) = waiting.take() else { continue };
                        last = Some(Instant::now());
                        match keeper.keep(&snapshot) {
                            Ok(()) => complained = false,
                            Err(error) => {
                                if !std::mem::replace(&mut complained, true) {
                                    complain(error);
                                }
                                // The disk may have room again by then.
                                waiting = Some(snapshot);
                            }
                        }
                    }
                    // The window is gone without a word: what was written stays.
                    Err(RecvTimeoutError::Disconnected) => return,
                }
            }
        });
        // Without a thread the inbox is dropped, and nothing is kept: `keep` reports it.
        Self { outbox, thread: thread.ok() }
    }

    /// Writes this within seconds. Returns at once.
    ///
    /// # Errors
    /// If the thread is gone.
    pub fn keep(&self, snapshot: Snapshot) -> Result<()> {
        self.send(Message::Keep(Box::new(snapshot)))
    }

    /// There is nothing to lose any more: everything is in a file.
    ///
    /// # Errors
    /// If the thread is gone.
    pub fn forget(&self) -> Result<()> {
        self.send(Message::Forget)
    }

    /// Takes over what another window left: it is removed once the next snapshot is written.
    ///
    /// # Errors
    /// If the thread is gone.
    pub fn adopt(&self, orphan: Orphan) -> Result<()> {
        self.send(Message::Adopt(orphan))
    }

    fn send(&self, message: Message) -> Result<()> {
        self.outbox.send(message).map_err(|_| {
            let remedy = "Save your work, and start Andamento again";
            Error::device("autosave", "its thread has ended", remedy)
        })
    }

    /// Removes what was kept: the window closes in the ordinary way.
    pub fn finish(&mut self) {
        let _gone = self.outbox.send(Message::Finish);
        if let Some(thread) = self.thread.take() {
            let _panicked = thread.join();
        }
    }
}

/// What the thread holds.
struct Keeper {
    all: PathBuf,
    /// This window's folder and its lock, once there was something to keep.
    folder: Option<(PathBuf, File)>,
    written: Written,
    adopted: Option<Orphan>,
}

impl Keeper {
    fn keep(&mut self, snapshot: &Snapshot) -> Result<()> {
        let folder = self.folder()?.to_owned();
        project::save_into(&folder, snapshot, &mut self.written)?;
        self.adopted.take().map_or(Ok(()), |orphan| orphan.discard())
    }

    fn folder(&mut self) -> Result<&Path> {
        if self.folder.is_none() {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let folder = self.all.join(format!("{}-{}-{}", since.as_millis(), std::process::id(), fresh()));
            let made = fs::create_dir_all(&folder).and_then(|()| lock(&folder));
            let lock = made.map_err(|error| refusal(&folder, &error))?;
            let lock = lock.ok_or_else(|| Error::file(&folder, "another window holds it", "Start Andamento again"))?;
            self.folder = Some((folder, lock));
        }
        Ok(self.folder.as_ref().map_or(&self.all, |(folder, _)| folder))
    }

    /// The manifest goes first: without it there is no document.
    fn forget(&mut self) {
        if let Some((folder, _)) = &self.folder {
            let _absent = fs::remove_file(folder.join(MANIFEST));
        }
    }

    fn finish(&mut self) {
        self.forget();
        if let Some((folder, lock)) = self.folder.take() {
            let _left = fs::remove_dir_all(folder);
            drop(lock);
        }
    }
}
