//! Publishing a release so that a reader, or a crash at any moment, meets the old one or the new one whole.

use std::fs::File;
use std::io;
use std::path::Path;

use ed25519_dalek::SigningKey;

use super::manifest::{BLOBS, Contents, MANIFEST, Manifest, SIGNATURE, Trust};
use super::{CURRENT, Refused, Release, SIZE_MAX, current, folder_name, generations};
use crate::durable::{replace, sync_folder, write_new};

/// Unfinished releases begin with this; the next publisher clears them away.
const ASIDE: &str = ".new-";

/// Held by the one publisher at work; the system lets go of it when the process dies.
const LOCK: &str = ".lock";

/// Why nothing was published. `current` still names the release before.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// A name or size that no reader would accept.
    #[error("cannot be published: {0}")]
    Content(String),
    /// The disk.
    #[error("{step}: {error}")]
    Io {
        /// What was being done.
        step: &'static str,
        /// What the system says.
        error: io::Error,
    },
    /// The release just written does not read back, or the caller's check refused it.
    #[error("the new release was withdrawn: {0}")]
    Withdrawn(String),
    /// `current` cannot be understood, so the next generation is unknown.
    #[error(transparent)]
    Current(#[from] Refused),
}

/// Publishes the blobs as the next generation and returns its number. Keeps the `keep` newest generations (at least one).
/// `built_at` is in Unix seconds. The folder is made if it is missing.
///
/// # Errors
/// Nothing is published then, and `current` is as before.
pub fn publish(
    dir: &Path,
    key: &SigningKey,
    blobs: &[(&str, &[u8])],
    built_at: u64,
    keep: usize,
) -> Result<u64, PublishError> {
    publish_checked(dir, key, blobs, built_at, keep, |_| Ok(()))
}

/// As [`publish`]; `check` sees the release as a reader would, read back from disk, before `current` names it.
///
/// # Errors
/// Also when `check` refuses, with its reason.
pub fn publish_checked(
    dir: &Path,
    key: &SigningKey,
    blobs: &[(&str, &[u8])],
    built_at: u64,
    keep: usize,
    check: impl FnOnce(&Release) -> Result<(), String>,
) -> Result<u64, PublishError> {
    publish_in_steps(dir, key, blobs, built_at, keep, check, &mut |_| Ok(()))
}

/// `before` is called ahead of every step that touches the disk; tests let it fail, as a crash would.
fn publish_in_steps(
    dir: &Path,
    key: &SigningKey,
    blobs: &[(&str, &[u8])],
    built_at: u64,
    keep: usize,
    check: impl FnOnce(&Release) -> Result<(), String>,
    before: &mut dyn FnMut(&'static str) -> io::Result<()>,
) -> Result<u64, PublishError> {
    acceptable(blobs)?;
    let mut step = |name: &'static str, act: &mut dyn FnMut() -> io::Result<()>| {
        before(name)
            .and_then(|()| act())
            .map_err(|error| PublishError::Io { step: name, error })
    };

    step("making the folder", &mut || std::fs::create_dir_all(dir))?;
    let lock = File::create(dir.join(LOCK))
        .and_then(|file| file.lock().map(|()| file))
        .map_err(|error| PublishError::Io {
            step: "locking the folder",
            error,
        })?;
    step("clearing unfinished releases", &mut || {
        clear_unfinished(dir)
    })?;

    let newest = generations(dir).map_err(|error| PublishError::Io {
        step: "listing",
        error,
    })?;
    let newest = newest.last().copied().max(current(dir)?).unwrap_or(0);
    let generation = newest + 1;
    let contents = Contents::new(generation, built_at, blobs);
    let (manifest, signature) = contents
        .sign(key)
        .map_err(|error| PublishError::Content(error.to_string()))?;

    let aside = dir.join(format!("{ASIDE}{}", folder_name(generation)));
    let place = dir.join(folder_name(generation));
    step("making the release's folder", &mut || {
        std::fs::create_dir_all(aside.join(BLOBS))
    })?;
    for (entry, (_, bytes)) in contents.blobs.iter().zip(blobs) {
        let path = aside.join(BLOBS).join(&entry.blake3);
        step("writing a blob", &mut || match write_new(&path, bytes) {
            // Two names may have the same content.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            done => done,
        })?;
    }
    step("flushing the blobs' names", &mut || {
        sync_folder(&aside.join(BLOBS))
    })?;
    step("writing the manifest", &mut || {
        write_new(&aside.join(MANIFEST), &manifest)
    })?;
    step("writing the signature", &mut || {
        write_new(&aside.join(SIGNATURE), &signature)
    })?;
    step("flushing the release's names", &mut || sync_folder(&aside))?;
    step("naming the release", &mut || {
        std::fs::rename(&aside, &place)
    })?;
    step("flushing its name", &mut || sync_folder(dir))?;

    let checked = Manifest::read(&place, generation, Trust::Keys(&[key.verifying_key()]))
        .and_then(|manifest| manifest.load(&place))
        .map_err(|reason| reason.to_string())
        .and_then(|release| check(&release));
    if let Err(reason) = checked {
        // The number stays used even if this fails: no reader ever follows a number that `current` does not name.
        let _ = std::fs::remove_dir_all(&place);
        return Err(PublishError::Withdrawn(reason));
    }

    let pointer = format!("{}\n", folder_name(generation));
    step("switching current", &mut || {
        replace(&dir.join(CURRENT), pointer.as_bytes())
    })?;
    // Published. What is left is tidying, and its failure is no failure of the release.
    let _ = step("removing old releases", &mut || {
        remove_old(dir, generation, keep)
    });
    drop(lock);
    Ok(generation)
}

fn acceptable(blobs: &[(&str, &[u8])]) -> Result<(), PublishError> {
    let size: u64 = blobs.iter().map(|(_, bytes)| bytes.len() as u64).sum();
    if size > SIZE_MAX {
        return Err(PublishError::Content(format!(
            "{size} octets; readers accept {SIZE_MAX}"
        )));
    }
    for (index, (name, _)) in blobs.iter().enumerate() {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit() || b"-_.".contains(&c);
        if name.is_empty() || name.len() > 64 || !name.bytes().all(plain) {
            return Err(PublishError::Content(format!(
                "{name:?} is no name for a blob"
            )));
        }
        if blobs.iter().take(index).any(|(other, _)| other == name) {
            return Err(PublishError::Content(format!(
                "two blobs are called {name:?}"
            )));
        }
    }
    Ok(())
}

fn clear_unfinished(dir: &Path) -> io::Result<()> {
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry
            .file_name()
            .as_encoded_bytes()
            .starts_with(ASIDE.as_bytes())
        {
            std::fs::remove_dir_all(entry.path())?;
        }
    }
    Ok(())
}

fn remove_old(dir: &Path, newest: u64, keep: usize) -> io::Result<()> {
    let old: Vec<u64> = generations(dir)?
        .into_iter()
        .filter(|generation| *generation != newest)
        .collect();
    let surplus = (old.len() + 1).saturating_sub(keep.max(1)).min(old.len());
    for generation in old.iter().take(surplus) {
        std::fs::remove_dir_all(dir.join(folder_name(*generation)))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::load;
    use super::*;
    use crate::keys;

    fn blob(text: &str) -> Vec<(&'static str, &[u8])> {
        vec![("map", text.as_bytes())]
    }

    #[test]
    fn generations_rise_and_only_the_newest_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::generate();
        for expected in 1..=5 {
            let text = format!("map {expected}");
            assert_eq!(
                publish(folder.path(), &key, &blob(&text), 7, 3).unwrap(),
                expected
            );
        }
        assert_eq!(generations(folder.path()).unwrap(), [3, 4, 5]);
        let release = load(folder.path(), &[key.verifying_key()]).unwrap();
        assert_eq!((release.generation, release.built_at), (5, 7));
        assert_eq!(release.blob("map"), Some(&b"map 5"[..]));
        assert_eq!(release.blob("other"), None);
        let old = load(&folder.path().join("0000000003"), &[key.verifying_key()]).unwrap();
        assert_eq!(old.blob("map"), Some(&b"map 3"[..]));
    }

    #[test]
    fn blobs_of_equal_content_share_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::generate();
        publish(
            folder.path(),
            &key,
            &[("a", b"x"), ("b", b"x"), ("c", b"")],
            0,
            3,
        )
        .unwrap();
        let release = load(folder.path(), &[key.verifying_key()]).unwrap();
        assert_eq!(release.names().collect::<Vec<_>>(), ["a", "b", "c"]);
        assert_eq!(
            std::fs::read_dir(folder.path().join("0000000001/blobs"))
                .unwrap()
                .count(),
            2
        );
    }

    #[test]
    fn a_crash_before_any_step_leaves_a_whole_release_and_the_next_publish_works() {
        let key = keys::generate();
        for fatal in 0.. {
            let folder = tempfile::tempdir().unwrap();
            publish(folder.path(), &key, &blob("old"), 0, 3).unwrap();
            let mut steps = 0;
            let crashed = publish_in_steps(
                folder.path(),
                &key,
                &blob("new"),
                0,
                3,
                |_| Ok(()),
                &mut |_| {
                    steps += 1;
                    if steps > fatal {
                        Err(io::Error::other("crash"))
                    } else {
                        Ok(())
                    }
                },
            );
            let release = load(folder.path(), &[key.verifying_key()]).unwrap();
            let expected: &[u8] = if crashed.is_ok() { b"new" } else { b"old" };
            assert_eq!(release.blob("map"), Some(expected), "step {fatal}");
            let again = publish(folder.path(), &key, &blob("next"), 0, 3).unwrap();
            assert!(again > release.generation, "step {fatal}");
            if steps <= fatal {
                assert!(fatal >= 12, "every step was tried: {fatal}");
                break;
            }
        }
    }

    #[test]
    fn a_release_the_check_refuses_never_becomes_current() {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::generate();
        publish(folder.path(), &key, &blob("good"), 0, 3).unwrap();
        let refused = publish_checked(folder.path(), &key, &blob("bad"), 0, 3, |release| {
            assert_eq!(release.blob("map"), Some(&b"bad"[..]));
            Err("does not decode".into())
        });
        assert!(refused.unwrap_err().to_string().contains("does not decode"));
        assert_eq!(current(folder.path()).unwrap(), Some(1));
    }

    #[test]
    fn publishers_at_the_same_time_take_turns() {
        let folder = tempfile::tempdir().unwrap();
        let key = keys::generate();
        let mut taken: Vec<u64> = std::thread::scope(|scope| {
            let publisher = || publish(folder.path(), &key, &blob("x"), 0, 3).unwrap();
            let running: Vec<_> = (0..8).map(|_| scope.spawn(publisher)).collect();
            running
                .into_iter()
                .map(|thread| thread.join().unwrap())
                .collect()
        });
        taken.sort_unstable();
        assert_eq!(taken, (1..=8).collect::<Vec<u64>>());
        assert_eq!(current(folder.path()).unwrap(), Some(8));
    }

    #[test]
    fn names_that_could_leave_the_folder_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "../x", "a/b", "A", &"x".repeat(65)] {
            let refused = publish(folder.path(), &keys::generate(), &[(name, b"")], 0, 3);
            assert!(matches!(refused, Err(PublishError::Content(_))), "{name:?}");
        }
    }
}
