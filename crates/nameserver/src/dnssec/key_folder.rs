//! The folder of key files, watched: each file by itself, and a wrong one leaves the key that was there.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use service::diagnostic::{Diagnostic, Report};
use service::{secret, watch};

use super::key_file::KeyFile;

/// Polls that a file has to be missing for until its key counts as removed: it may be about to be put back.
const MISSING_POLLS: u8 = 2;

/// All key files of a folder.
#[derive(Debug)]
pub struct KeyFolder {
    path: PathBuf,
    files: BTreeMap<PathBuf, Watched>,
    /// It could not be listed; said already.
    unlisted: bool,
}

#[derive(Debug)]
struct Watched {
    file: watch::File,
    missing: u8,
    /// Others may read it; said already.
    exposed: bool,
    /// The last good version.
    key: Option<KeyFile>,
    /// The newest version is no key.
    broken: bool,
}

impl KeyFolder {
    /// Nothing is read yet.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self {
            path: path.into(),
            files: BTreeMap::new(),
            unlisted: false,
        }
    }

    /// Looks for changes: true if some key came, changed or went. What is wrong is reported once.
    pub fn poll(&mut self, report: &mut Report) -> bool {
        let found = match list(&self.path) {
            Ok(found) => found,
            // Which keys are there is unknown, so none is given up.
            Err(error) => {
                if !std::mem::replace(&mut self.unlisted, true) {
                    report.push(whole(&self.path, format!("cannot be listed: {error}")));
                }
                return false;
            }
        };
        self.unlisted = false;
        for path in &found {
            let watched = self.files.entry(path.clone()).or_insert_with(|| Watched {
                file: watch::File::new(path),
                missing: 0,
                exposed: false,
                key: None,
                broken: false,
            });
            watched.missing = 0;
        }
        let mut changed = false;
        for (path, watched) in &mut self.files {
            if found.contains(path) {
                changed |= watched.poll(path, report);
            } else {
                watched.missing += 1;
            }
        }
        let gone = self
            .files
            .extract_if(.., |_, watched| watched.missing >= MISSING_POLLS);
        changed
            | gone
                .filter(|(_, watched)| watched.key.is_some())
                .count()
                .gt(&0)
    }

    /// The last good version of every key, by file name.
    pub fn keys(&self) -> impl Iterator<Item = &KeyFile> {
        self.files
            .values()
            .filter_map(|watched| watched.key.as_ref())
    }

    /// How many files are refused as they are now.
    pub fn refused(&self) -> usize {
        let files = self.files.values();
        let refused = files.filter(|watched| watched.exposed || watched.broken);
        refused.count() + usize::from(self.unlisted)
    }
}

impl Watched {
    fn poll(&mut self, path: &Path, report: &mut Report) -> bool {
        // Looked at before the content, which is told once only: a key is taken when its mode has been put right.
        if let Some(warning) = secret::exposed(path) {
            if !std::mem::replace(&mut self.exposed, true) {
                let hint = warning.hint.clone().unwrap_or_default();
                report.push(whole(path, warning.message).with_hint(hint));
            }
            return false;
        }
        self.exposed = false;
        let version = match self.file.poll() {
            Ok(None) => return false,
            Ok(Some(text)) => KeyFile::parse(path, &text),
            Err(error) => Err(whole(path, format!("cannot be read: {error}")).into()),
        };
        self.broken = version.is_err();
        match version {
            Ok(key) => {
                self.key = Some(key);
                true
            }
            Err(findings) => {
                report.extend(findings.findings);
                false
            }
        }
    }
}

/// The key files in a folder.
fn list(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(folder)? {
        let entry = entry?;
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if !hidden
            && entry
                .path()
                .extension()
                .is_some_and(|ending| ending == "toml")
        {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

pub(super) fn whole(path: &Path, message: String) -> Diagnostic {
    Diagnostic::error(path.display().to_string(), 0, 0, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use dns_engine::dnssec::{Algorithm, Role, Timing};

    use super::*;

    fn key(folder: &Path) -> KeyFile {
        let (role, algorithm) = (Role::Csk, Algorithm::Ed25519);
        KeyFile::generate(folder, b"\x01a\0", role, algorithm, Timing::default(), 0).unwrap()
    }

    fn check(keys: &mut KeyFolder, changed: bool, count: usize, refused: usize) -> String {
        let mut report = Report::default();
        assert_eq!(keys.poll(&mut report), changed, "{report}");
        assert_eq!((keys.keys().count(), keys.refused()), (count, refused));
        report.to_string()
    }

    #[test]
    fn keys_come_change_and_go_and_a_broken_one_stays_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = KeyFolder::new(folder.path());
        check(&mut keys, false, 0, 0);
        let mut first = key(folder.path());
        first.write().unwrap();
        std::fs::write(folder.path().join("notes.txt"), "no key").unwrap();
        check(&mut keys, true, 1, 0);
        check(&mut keys, false, 1, 0);
        first.scheduled.timing.retire = Some(7);
        first.write().unwrap();
        check(&mut keys, true, 1, 0);
        assert_eq!(keys.keys().next().unwrap().scheduled.timing.retire, Some(7));
        secret::replace(&first.path, "rubbish").unwrap();
        let report = check(&mut keys, false, 1, 1);
        assert!(report.contains(".toml:1:"), "{report}");
        assert_eq!(check(&mut keys, false, 1, 1), "", "told once");
        std::fs::remove_file(&first.path).unwrap();
        check(&mut keys, false, 1, 1);
        check(&mut keys, true, 0, 0);
    }

    #[test]
    fn a_key_that_others_can_read_is_refused_until_they_cannot() {
        let folder = tempfile::tempdir().unwrap();
        let mut keys = KeyFolder::new(folder.path());
        let key = key(folder.path());
        key.write().unwrap();
        let set = |mode| {
            std::fs::set_permissions(&key.path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        set(0o644);
        let report = check(&mut keys, false, 0, 1);
        assert!(report.ends_with("(mode 644) (chmod 600)"), "{report}");
        assert_eq!(check(&mut keys, false, 0, 1), "");
        set(0o600);
        check(&mut keys, true, 1, 0);
        set(0o640);
        check(&mut keys, false, 1, 1);
        set(0o600);
        check(&mut keys, false, 1, 0);
    }

    #[test]
    fn a_folder_that_goes_away_takes_no_key_with_it() {
        let parent = tempfile::tempdir().unwrap();
        let (folder, away) = (parent.path().join("keys"), parent.path().join("away"));
        std::fs::create_dir(&folder).unwrap();
        let mut keys = KeyFolder::new(&folder);
        key(&folder).write().unwrap();
        check(&mut keys, true, 1, 0);
        std::fs::rename(&folder, &away).unwrap();
        assert!(check(&mut keys, false, 1, 1).contains("cannot be listed"));
        assert_eq!(check(&mut keys, false, 1, 1), "");
        std::fs::rename(&away, &folder).unwrap();
        check(&mut keys, false, 1, 0);
    }
}
