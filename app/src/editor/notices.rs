//! What the person should know: what went wrong, which stays until it is read, and good news.

use super::*;

/// How long good news stay.
const NEWS: Duration = Duration::from_secs(6);

/// Something the person should know.
#[derive(Debug, Clone, PartialEq)]
pub struct Notice {
    /// Its number.
    pub number: u64,
    /// Whether something went wrong.
    pub bad: bool,
    /// What it is about.
    pub about: String,
    /// What happened.
    pub cause: String,
    /// What to do next.
    pub remedy: String,
    since: Instant,
}

impl Editor {
    pub(super) fn complain(&mut self, error: &Error) {
        let (about, cause, remedy) = match error {
            Error::File { file, cause, remedy } => (file.display().to_string(), cause, remedy),
            Error::Control { control, cause, remedy } => (control.clone(), cause, remedy),
            Error::Device { device, cause, remedy } => (device.clone(), cause, remedy),
        };
        self.notify(true, about, cause.clone(), remedy.clone());
    }

    pub(super) fn notify(&mut self, bad: bool, about: String, cause: String, remedy: String) {
        self.notices.retain(|notice| (&notice.about, &notice.cause) != (&about, &cause));
        self.notices.push(Notice { number: fresh(), bad, about, cause, remedy, since: Instant::now() });
        let excess = self.notices.len().saturating_sub(4);
        self.notices.drain(..excess);
    }

    pub(super) fn forget_old_news(&mut self) {
        self.notices.retain(|notice| notice.bad || notice.since.elapsed() < NEWS);
    }
}

/// Why something was refused, without what it is about.
pub(crate) fn cause(error: Error) -> String {
    match error {
        Error::File { cause, .. } | Error::Control { cause, .. } | Error::Device { cause, .. } => cause,
    }
}
