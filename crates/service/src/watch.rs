//! Files an operator may change while a program runs: polled, since that also works on network and overlay file systems.

use std::fmt;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

/// How often programs poll what they watch; the promise to operators is half a second.
pub const POLL_INTERVAL: Duration = Duration::from_millis(250);

/// A stamp taken this soon after a write proves little: a second write may fall into the same clock tick.
const TICK: Duration = Duration::from_millis(50);

/// A watched file has at most this many octets: a zone of ten million records has less, and no mistake should fill the
/// memory.
const SIZE_MAX: u64 = 1 << 30;

/// One watched text file. The first [`File::poll`] always gives the content, which is not kept.
pub struct File {
    path: PathBuf,
    seen: Option<Seen>,
}

struct Seen {
    stamp: Option<Stamp>,
    /// A hash of the text; `None` while it cannot be read.
    hash: Option<u64>,
}

impl Seen {
    const LOST: Seen = Seen {
        stamp: None,
        hash: None,
    };
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
        let (text, changed) = match read(&self.path) {
            Ok(text) => self.note(stamp, text),
            Err(error) => return self.lost(error),
        };
        Ok(changed.then_some(text))
    }

    /// The whole text as it is now, which counts as seen.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(&mut self) -> io::Result<String> {
        let stamp = stat(&self.path).map(|(stamp, settled)| settled.then_some(stamp));
        match stamp.and_then(|stamp| Ok((stamp, read(&self.path)?))) {
            Ok((stamp, text)) => Ok(self.note(stamp, text).0),
            Err(error) => {
                self.seen = Some(Seen::LOST);
                Err(error)
            }
        }
    }

    /// Remembers a text, and tells if it is another than before.
    fn note(&mut self, stamp: Option<Stamp>, text: String) -> (String, bool) {
        let mut hasher = DefaultHasher::new();
        text.hash(&mut hasher);
        let hash = Some(hasher.finish());
        let changed = self.seen.as_ref().is_none_or(|seen| seen.hash != hash);
        self.seen = Some(Seen { stamp, hash });
        (text, changed)
    }

    fn lost(&mut self, error: io::Error) -> io::Result<Option<String>> {
        let again = self.seen.as_ref().is_some_and(|seen| seen.hash.is_none());
        self.seen = Some(Seen::LOST);
        if again { Ok(None) } else { Err(error) }
    }
}

/// Only the path: the text may hold keys, which belong in no log.
impl fmt::Debug for File {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("File").field(&self.path).finish()
    }
}

/// The text of a regular file. Others are refused: a pipe would be waited for, and a device never ends.
fn read(path: &Path) -> io::Result<String> {
    if !std::fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut text = String::new();
    let file = std::fs::File::open(path)?;
    file.take(SIZE_MAX + 1).read_to_string(&mut text)?;
    if text.len() as u64 > SIZE_MAX {
        let message = format!("it is larger than {SIZE_MAX} octets");
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, message));
    }
    Ok(text)
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
        assert_eq!(file.read().unwrap(), "two", "as often as it is wanted");
        assert_eq!(file.poll().unwrap(), None, "it was seen");
        assert_eq!(format!("{file:?}"), format!("File({path:?})"));
    }

    #[test]
    fn a_missing_file_is_reported_once_and_its_return_is_seen() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let mut file = File::new(&path);
        assert_eq!(file.poll().unwrap_err().kind(), io::ErrorKind::NotFound);
        assert_eq!(file.poll().unwrap(), None);
        std::fs::write(&path, "back").unwrap();
        assert_eq!(file.poll().unwrap().as_deref(), Some("back"));
    }

    #[test]
    fn what_is_no_regular_file_or_too_large_is_refused_unread() {
        let folder = tempfile::tempdir().unwrap();
        let refused = |path: &Path| File::new(path).poll().unwrap_err().to_string();
        assert!(refused(folder.path()).contains("no regular file"));
        // Reading would wait for somebody who writes.
        let pipe = folder.path().join("pipe");
        let made = std::process::Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        assert!(refused(&pipe).contains("no regular file"));
        assert!(refused(Path::new("/dev/zero")).contains("no regular file"));
        let large = folder.path().join("large");
        let file = std::fs::File::create(&large).unwrap();
        file.set_len(SIZE_MAX + 1).unwrap();
        assert!(refused(&large).contains("larger than"));
    }
}
