//! Zones of other servers on disk: one file each, whose time of modification says when a primary last confirmed it.
//! It is what a restarted secondary answers from until a primary is heard.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dns_engine::zonefile::{KeptText, read_kept};
use dns_engine::{Zone, name};

/// The file of the zone with this lower-cased wire name. Whatever octets the name has, the file is in the folder.
pub(super) fn path(folder: &Path, origin: &[u8]) -> PathBuf {
    let mut file = String::new();
    for label in name::labels(origin) {
        for octet in label {
            match octet {
                b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' => file.push(char::from(*octet)),
                _ => write!(file, "%{octet:02x}").expect("a string takes all"),
            }
        }
        file.push('.');
    }
    if file.is_empty() {
        file.push_str("%."); // the root
    }
    folder.join(file + "zone")
}

/// A file that is written beside the one it is to replace; it is removed again if it never does.
pub(super) struct Aside {
    aside: PathBuf,
    path: PathBuf,
}

/// Writes a zone aside.
pub(super) fn prepare(path: &Path, zone: &Zone) -> io::Result<Aside> {
    prepare_text(path, |file| write!(file, "{}", KeptText(zone)))
}

/// Writes a file aside and makes sure that it is on the disk.
pub(super) fn prepare_text(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<Aside> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let mut file = BufWriter::new(File::create(&aside)?);
    let aside = Aside {
        aside: aside.into(),
        path: path.to_owned(),
    };
    write(&mut file)?;
    file.into_inner()?.sync_all()?;
    Ok(aside)
}

impl Aside {
    /// Puts it in its place.
    pub(super) fn place(self) -> io::Result<()> {
        fs::rename(&self.aside, &self.path)
    }
}

impl Drop for Aside {
    fn drop(&mut self) {
        // Usually it is in its place.
        let _ = fs::remove_file(&self.aside);
    }
}

/// Notes that a primary has confirmed the version at this time (Unix seconds).
pub(super) fn confirm(path: &Path, now: u64) -> io::Result<()> {
    let file = File::options().write(true).open(path)?;
    file.set_modified(UNIX_EPOCH + Duration::from_secs(now))
}

/// The zone with this lower-cased wire name and when it was confirmed (Unix seconds); `None` if it is not there.
pub(super) fn read(path: &Path, origin: &[u8]) -> Result<Option<(Zone, u64)>, String> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(format!("cannot be read: {error}")),
    };
    let zone = read_kept(&text, origin)?;
    let confirmed = fs::metadata(path).and_then(|meta| meta.modified());
    let confirmed = confirmed.map_err(|error| format!("cannot be looked at: {error}"))?;
    // A clock that was set back must not make it fresher than it can be.
    let confirmed = confirmed.min(SystemTime::now());
    let since = confirmed.duration_since(UNIX_EPOCH).unwrap_or_default();
    Ok(Some((zone, since.as_secs())))
}

/// Removes the file, if it is there.
pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use dns_engine::zonefile;

    use super::*;

    #[test]
    fn a_file_is_named_after_its_zone_and_stays_in_the_folder() {
        let check = |origin: &[u8], expected: &str| {
            assert_eq!(path(Path::new("f"), origin), Path::new("f").join(expected));
        };
        check(b"\x06stream\x07example\0", "stream.example.zone");
        check(b"\0", "%.zone");
        check(b"\x02..\x01/\x02a%\0", "%2e%2e.%2f.a%25.zone");
    }

    #[test]
    fn a_zone_comes_back_with_the_time_of_its_confirmation() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new/a.zone");
        assert!(read(&path, b"\x01a\0").unwrap().is_none());
        let zone = zonefile::parse("a", "@ 5 SOA n m 7 1 1 9 1\n@ 5 NS n.b.", Some("a.")).unwrap();
        drop(prepare(&path, &zone).unwrap());
        assert!(
            read(&path, b"\x01a\0").unwrap().is_none(),
            "not in its place"
        );
        prepare(&path, &zone).unwrap().place().unwrap();
        confirm(&path, 1_000_000).unwrap();
        let (back, confirmed_at) = read(&path, b"\x01a\0").unwrap().unwrap();
        assert_eq!((back.serial(), confirmed_at), (7, 1_000_000));
        // A time to come counts as now.
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap()
            .as_secs();
        confirm(&path, now + 5_000).unwrap();
        let (_, confirmed_at) = read(&path, b"\x01a\0").unwrap().unwrap();
        assert!((now..now + 1_000).contains(&confirmed_at));
        assert!(read(&path, b"\x01b\0").unwrap_err().contains("outside"));
        remove(&path).unwrap();
        remove(&path).unwrap();
        assert!(read(&path, b"\x01a\0").unwrap().is_none());
    }
}
