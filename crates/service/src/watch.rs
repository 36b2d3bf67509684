//! Files an operator may change while a program runs: polled, since that also works on network and overlay file systems.

use std::fmt;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often programs poll what they watch; the promise to operators is half a second.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A stamp taken this soon after a write proves little: a second write may fall into the same clock tick.
const TICK: Duration = Duration::from_millis(50);

/// One watched text file. The first [`File::poll`] always gives the content.
pub struct File {
    path: PathBuf,
    seen: Option<Seen>,
}

struct Seen {
    stamp: Option<Stamp>,
    text: Option<String>,
}

/// What `stat` says; device and inode catch a file replaced by one of the same size and age.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    device: u64,
    inode: u64,
    length: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl File {
    /// Starts watching; nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> File {
        File {
            path: path.into(),
            seen: None,
        }
    }

    /// The watched path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The text as the last call of [`File::poll`] found it; `None` before the first and while it cannot be read.
    pub fn text(&self) -> Option<&str> {
        self.seen.as_ref()?.text.as_deref()
    }

    /// The whole text, if it differs from what the last call found; `None` when nothing has changed.
    ///
    /// # Errors
    /// When the file cannot be read; reported once, and again only after a change.
    pub fn poll(&mut self) -> io::Result<Option<String>> {
        let stamp = match stat(&self.path) {
            Ok((stamp, settled)) => {
                let known = self
                    .seen
                    .as_ref()
                    .is_some_and(|seen| seen.stamp == Some(stamp));
                if known {
                    return Ok(None);
                }
                settled.then_some(stamp)
            }
            Err(error) => return self.lost(error),
        };
        let text = match std::fs::read_to_string(&self.path) {
            Ok(text) => text,
            Err(error) => return self.lost(error),
        };
        let changed = self
            .seen
            .as_ref()
            .is_none_or(|seen| seen.text.as_deref() != Some(&*text));
        self.seen = Some(Seen {
            stamp,
            text: Some(text.clone()),
        });
        Ok(changed.then_some(text))
    }

    fn lost(&mut self, error: io::Error) -> io::Result<Option<String>> {
        let again = self.seen.as_ref().is_some_and(|seen| seen.text.is_none());
        self.seen = Some(Seen {
            stamp: None,
            text: None,
        });
        if again { Ok(None) } else { Err(error) }
    }
}

/// Only the path: the text may hold keys, which belong in no log.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.path).finish()
    }
}

/// The stamp, and whether the file has been quiet long enough for the stamp to identify its content.
fn stat(path: &Path) -> io::Result<(Stamp, bool)> {
    let meta = std::fs::metadata(path)?;
    let stamp = Stamp {
        device: meta.dev(),
        inode: meta.ino(),
        length: meta.len(),
        modified: (meta.mtime(), meta.mtime_nsec()),
        changed: (meta.ctime(), meta.ctime_nsec()),
    };
    // A time in the future (clock set back) never settles: the file is then read at every poll, which is only slower.
    let age = meta
        .modified()
        .ok()
        .and_then(|at| SystemTime::now().duration_since(at).ok());
    Ok((stamp, age.is_some_and(|age| age > TICK)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gives_the_text_first_and_then_only_changes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, "one").unwrap();
        let mut file = File::new(&path);
        assert_eq!(file.poll().unwrap().as_deref(), Some("one"));
        assert_eq!(file.poll().unwrap(), None);
        std::fs::write(&path, "two").unwrap();
        assert_eq!(
            file.poll().unwrap().as_deref(),
            Some("two"),
            "same length, perhaps the same clock tick"
        );
        std::fs::write(&path, "two").unwrap();
        assert_eq!(file.poll().unwrap(), None, "touched, not changed");
        assert_eq!(file.text(), Some("two"));
        assert_eq!(format!("{file:?}"), format!("File({path:?})"));
    }

    #[test]
    fn a_missing_file_is_reported_once_and_its_return_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = File::new(&path);
        assert_eq!(file.poll().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!((file.poll().unwrap(), file.text()), (None, None));
        std::fs::write(&path, "back").unwrap();
        assert_eq!(file.poll().unwrap().as_deref(), Some("back"));
    }
}
