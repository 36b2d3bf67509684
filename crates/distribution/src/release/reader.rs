//! Following a folder of releases: each newer one is verified whole before the caller sees it; a bad one is refused with
//! its reason, and the one before goes on serving.

use std::collections::VecDeque;
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use ed25519_dalek::VerifyingKey;

use super::high_water::{Flush, HighWater, Mark};
use super::manifest::{Manifest, Trust};
use super::{Release, current, folder_name};

/// What is wrong with a release.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// There is no release here.
    #[error("there is no release")]
    Missing,
    /// `current` is not ten digits and a line end.
    #[error("`current` does not name a generation")]
    Pointer,
    /// A file cannot be read.
    #[error("{file}: {error}")]
    Unreadable {
        /// The file, within the release.
        file: String,
        /// What the system says.
        error: String,
    },
    /// No trusted key made the signature.
    #[error("the manifest's signature is not from a trusted key")]
    Signature,
    /// The manifest is signed and cannot be used.
    #[error("manifest: {0}")]
    Manifest(String),
    /// A blob is not what the manifest promises.
    #[error("blob `{name}`: {reason}")]
    Blob {
        /// Which.
        name: String,
        /// What is wrong.
        reason: String,
    },
    /// An older release than one that has been in force.
    #[error("older than generation {remembered}, which has been in force")]
    Older {
        /// The highest generation accepted so far.
        remembered: u64,
    },
    /// The number of the release in force, with another content.
    #[error("another release than the one in force has the same generation")]
    Different,
    /// The caller's check refused it.
    #[error("{0}")]
    Check(String),
    /// The highest generation cannot be read or remembered.
    #[error("{file}: {error}")]
    HighWater {
        /// The state file.
        file: String,
        /// What is wrong.
        error: String,
    },
}

impl Reason {
    pub(super) fn io(file: &str, error: &io::Error) -> Reason {
        Reason::Unreadable {
            file: file.to_owned(),
            error: error.to_string(),
        }
    }
}

/// A release that is not accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The folder of releases.
    pub dir: PathBuf,
    /// Which generation, when known.
    pub generation: Option<u64>,
    /// Why.
    pub reason: Reason,
}

impl Refused {
    pub(super) fn new(dir: &Path, generation: Option<u64>, reason: Reason) -> Refused {
        Refused {
            dir: dir.to_owned(),
            generation,
            reason,
        }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.dir.display())?;
        if let Some(generation) = self.generation {
            write!(f, "release {generation} refused: ")?;
        }
        self.reason.fmt(f)
    }
}

impl std::error::Error for Refused {}

/// Polls for which a release with a right manifest and wrong content is left alone: reading, hashing and decoding
/// hundreds of megabytes at every poll would keep a core busy. Some seconds, and a copy that was not complete is found.
const REST_POLLS: u32 = 20;

/// A release whose content was refused.
#[derive(Clone, Debug)]
struct Resting {
    mark: Mark,
    reason: Reason,
    polls_left: u32,
}

/// Follows a folder of releases. Which generation was accepted last is remembered in a file, so that neither a restart
/// nor somebody who can write to the folder brings an old release back. A release is given out before the disk has its
/// number: a crash in the moments between forgets it.
#[derive(Debug)]
pub struct Reader {
    dir: PathBuf,
    trusted: Vec<VerifyingKey>,
    high_water: HighWater,
    remembered: Option<Mark>,
    /// True once this process has given out the remembered release.
    loaded: bool,
    refused: Option<Refused>,
    /// The last ones: of `current`, and of the one before the restart.
    resting: VecDeque<Resting>,
}

impl Reader {
    /// Follows `dir`, which may still be empty or missing. `high_water` is this reader's own state file; its folder is
    /// made if it is missing.
    ///
    /// # Errors
    /// When the state file cannot be understood: guessing would open the door that it closes.
    pub fn open(
        dir: impl Into<PathBuf>,
        trusted: Vec<VerifyingKey>,
        high_water: impl Into<PathBuf>,
    ) -> Result<Reader, Refused> {
        Self::open_flushed(dir.into(), trusted, high_water.into(), File::sync_all)
    }

    /// As [`Reader::open`], with the way of waiting for the disk.
    fn open_flushed(
        dir: PathBuf,
        trusted: Vec<VerifyingKey>,
        high_water: PathBuf,
        flush: Flush,
    ) -> Result<Reader, Refused> {
        let high_water = HighWater::new(high_water, flush);
        let remembered = high_water.recall();
        let remembered = remembered.map_err(|reason| Refused::new(&dir, None, reason))?;
        Ok(Reader {
            dir,
            trusted,
            high_water,
            remembered,
            loaded: false,
            refused: None,
            resting: VecDeque::new(),
        })
    }

    /// The newer release, if there is one; `None` when nothing has changed. Reads a few hundred octets in that case.
    ///
    /// # Errors
    /// When a newer release is there and is refused; told once, then `None` until something changes (content that was
    /// refused is looked at again after some polls). If this process has
    /// no release at all yet, the call after gives the release accepted before the restart, if it is still there.
    /// Also, once, when the disk did not take the number of the release given out last.
    pub fn poll(&mut self) -> Result<Option<Release>, Refused> {
        Ok(self.poll_checked(|_| Ok(()))?.map(|(release, ())| release))
    }

    /// As [`Reader::poll`]; a release counts as accepted only when `check` makes something of it.
    ///
    /// # Errors
    /// As [`Reader::poll`], and when `check` refuses, with its reason.
    pub fn poll_checked<T>(
        &mut self,
        mut check: impl FnMut(&Release) -> Result<T, String>,
    ) -> Result<Option<(Release, T)>, Refused> {
        match self.advance(&mut check) {
            Ok(found) => {
                self.refused = None;
                Ok(found)
            }
            Err(refused) if self.refused.as_ref() == Some(&refused) => Ok(if self.loaded {
                None
            } else {
                self.before_restart(&mut check)
            }),
            Err(refused) => {
                self.refused = Some(refused.clone());
                Err(refused)
            }
        }
    }

    /// The refusal that is in the way at present, if any.
    pub fn refused(&self) -> Option<&Refused> {
        self.refused.as_ref()
    }

    /// The highest generation accepted, by this process or one before it.
    pub fn generation(&self) -> Option<u64> {
        self.remembered.map(|mark| mark.generation)
    }

    fn advance<T>(
        &mut self,
        check: &mut impl FnMut(&Release) -> Result<T, String>,
    ) -> Result<Option<(Release, T)>, Refused> {
        let Some(generation) = current(&self.dir)? else {
            return if self.loaded {
                Err(Refused::new(&self.dir, None, Reason::Missing))
            } else {
                Ok(None)
            };
        };
        let accepted = self.accept(generation, check);
        let refused = |reason| Refused::new(&self.dir, Some(generation), reason);
        match (accepted.map_err(refused)?, self.high_water.failure()) {
            // About the release in force, so it is not refused.
            (None, Some(failure)) => Err(Refused::new(&self.dir, None, failure)),
            (found, _) => Ok(found),
        }
    }

    fn accept<T>(
        &mut self,
        generation: u64,
        check: &mut impl FnMut(&Release) -> Result<T, String>,
    ) -> Result<Option<(Release, T)>, Reason> {
        let folder = self.dir.join(folder_name(generation));
        let manifest = Manifest::read(&folder, generation, Trust::Keys(&self.trusted))?;
        let found = Mark {
            generation,
            manifest_hash: manifest.hash,
        };
        match self.remembered {
            Some(mark) if generation < mark.generation => {
                return Err(Reason::Older {
                    remembered: mark.generation,
                });
            }
            Some(mark) if generation == mark.generation && found != mark => {
                return Err(Reason::Different);
            }
            Some(mark) if found == mark && self.loaded => return Ok(None),
            _ => {}
        }
        if let Some(resting) = self.resting.iter_mut().find(|one| one.mark == found)
            && resting.polls_left > 0
        {
            resting.polls_left -= 1;
            return Err(resting.reason.clone());
        }
        self.resting.retain(|one| one.mark != found);
        self.take(found, manifest, &folder, check)
            .map(Some)
            .inspect_err(|reason| {
                self.resting.truncate(1);
                self.resting.push_front(Resting {
                    mark: found,
                    reason: reason.clone(),
                    polls_left: REST_POLLS,
                });
            })
    }

    /// Reads, checks and remembers.
    fn take<T>(
        &mut self,
        found: Mark,
        manifest: Manifest,
        folder: &Path,
        check: &mut impl FnMut(&Release) -> Result<T, String>,
    ) -> Result<(Release, T), Reason> {
        let release = manifest.load(folder)?;
        let made = check(&release).map_err(Reason::Check)?;
        if self.remembered != Some(found) {
            self.high_water.remember(found)?;
            self.remembered = Some(found);
        }
        self.loaded = true;
        self.resting.clear();
        Ok((release, made))
    }

    /// A cold start with a bad `current`: the release accepted last is still the best there is.
    fn before_restart<T>(
        &mut self,
        check: &mut impl FnMut(&Release) -> Result<T, String>,
    ) -> Option<(Release, T)> {
        let generation = self.generation()?;
        self.accept(generation, check).ok().flatten()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::RwLock;

    use ed25519_dalek::SigningKey;

    use super::super::{CURRENT, publish};
    use super::*;
    use crate::keys;

    struct Scene {
        folder: tempfile::TempDir,
        key: SigningKey,
    }

    impl Scene {
        fn new() -> Scene {
            Scene {
                folder: tempfile::tempdir().unwrap(),
                key: keys::generate(),
            }
        }

        fn dir(&self) -> PathBuf {
            self.folder.path().join("releases")
        }

        fn publish(&self, text: &str) -> u64 {
            publish(&self.dir(), &self.key, &[("map", text.as_bytes())], 0, 9).unwrap()
        }

        fn point(&self, generation: u64) {
            std::fs::write(self.dir().join(CURRENT), format!("{generation:010}\n")).unwrap();
        }

        fn state(&self, state: &str) -> PathBuf {
            self.folder.path().join("state").join(state)
        }

        fn reader(&self, state: &str) -> Reader {
            self.reader_flushed(state, File::sync_all)
        }

        fn reader_flushed(&self, state: &str, flush: Flush) -> Reader {
            let trusted = vec![self.key.verifying_key()];
            Reader::open_flushed(self.dir(), trusted, self.state(state), flush).unwrap()
        }
    }

    #[test]
    fn follows_new_releases_and_is_quiet_in_between() {
        let scene = Scene::new();
        let mut reader = scene.reader("a");
        assert_eq!(reader.poll(), Ok(None), "nothing published yet");
        scene.publish("one");
        assert_eq!(
            reader.poll().unwrap().unwrap().blob("map"),
            Some(&b"one"[..])
        );
        assert_eq!(reader.poll(), Ok(None));
        scene.publish("two");
        assert_eq!(reader.poll().unwrap().unwrap().generation, 2);
    }

    #[test]
    fn every_flipped_bit_and_every_truncation_is_refused_with_a_reason() {
        let scene = Scene::new();
        scene.publish("a small map");
        let files = [
            "current".to_owned(),
            "0000000001/manifest.json".to_owned(),
            "0000000001/manifest.sig".to_owned(),
            format!("0000000001/blobs/{}", blake3::hash(b"a small map").to_hex()),
        ];
        let refused = |what: &str| {
            let refused = scene.reader("never written").poll().expect_err(what);
            assert!(!refused.reason.to_string().is_empty(), "{what}");
        };
        for file in files {
            let path = scene.dir().join(&file);
            let good = std::fs::read(&path).unwrap();
            for bit in 0..good.len() * 8 {
                let mut bad = good.clone();
                bad[bit / 8] ^= 1 << (bit % 8);
                std::fs::write(&path, bad).unwrap();
                refused(&format!("{file} with bit {bit} flipped"));
            }
            for length in 0..good.len() {
                std::fs::write(&path, &good[..length]).unwrap();
                refused(&format!("{file} cut to {length}"));
            }
            std::fs::write(&path, [&good[..], b"x"].concat()).unwrap();
            refused(&format!("{file} lengthened"));
            std::fs::write(&path, &good).unwrap();
        }
        assert!(
            scene.reader("never written").poll().unwrap().is_some(),
            "whole again"
        );
    }

    #[test]
    fn an_older_release_is_refused_also_after_a_restart() {
        let scene = Scene::new();
        scene.publish("one");
        scene.publish("two");
        let mut reader = scene.reader("a");
        assert!(reader.poll().unwrap().is_some());
        scene.point(1);
        let older = Reason::Older { remembered: 2 };
        assert_eq!(reader.poll().unwrap_err().reason, older);
        assert_eq!(reader.poll(), Ok(None), "told once");
        assert_eq!(reader.refused().unwrap().reason, older);
        drop(reader);
        assert_eq!(scene.reader("a").poll().unwrap_err().reason, older);
    }

    #[test]
    fn the_same_generation_with_another_content_is_refused_also_after_a_restart() {
        let scene = Scene::new();
        scene.publish("one");
        let mut reader = scene.reader("a");
        assert!(reader.poll().unwrap().is_some());
        std::fs::remove_dir_all(scene.dir()).unwrap();
        assert_eq!(scene.publish("not one"), 1);
        assert_eq!(reader.poll().unwrap_err().reason, Reason::Different);
        drop(reader);
        assert_eq!(
            scene.reader("a").poll().unwrap_err().reason,
            Reason::Different
        );
    }

    #[test]
    fn a_restart_takes_up_the_release_in_force() {
        let scene = Scene::new();
        scene.publish("one");
        assert!(scene.reader("a").poll().unwrap().is_some());
        let mut restarted = scene.reader("a");
        assert_eq!(restarted.poll().unwrap().unwrap().generation, 1);
        assert_eq!(restarted.poll(), Ok(None));
    }

    #[test]
    fn a_restart_beside_a_bad_release_takes_up_the_last_good_one() {
        let scene = Scene::new();
        scene.publish("one");
        assert!(scene.reader("a").poll().unwrap().is_some());
        scene.publish("two");
        std::fs::write(scene.dir().join("0000000002/manifest.sig"), [0; 64]).unwrap();
        let mut restarted = scene.reader("a");
        assert_eq!(restarted.poll().unwrap_err().reason, Reason::Signature);
        assert_eq!(restarted.poll().unwrap().unwrap().generation, 1);
        assert_eq!(restarted.poll(), Ok(None));
        scene.publish("three");
        assert_eq!(restarted.poll().unwrap().unwrap().generation, 3);
    }

    #[test]
    fn a_release_the_caller_cannot_use_is_not_remembered() {
        let scene = Scene::new();
        scene.publish("one");
        let mut reader = scene.reader("a");
        let refused = reader
            .poll_checked(|_| Err::<(), _>("no map".into()))
            .unwrap_err();
        assert_eq!(refused.reason, Reason::Check("no map".into()));
        assert_eq!(reader.generation(), None);
        let accepted = (0..=REST_POLLS).find_map(|_| {
            reader
                .poll_checked(|release| Ok(release.generation))
                .unwrap()
        });
        assert_eq!(accepted.unwrap().1, 1, "it is tried again");
    }

    #[test]
    fn a_release_whose_content_is_refused_is_not_read_again_at_every_poll() {
        let scene = Scene::new();
        scene.publish("one");
        assert!(scene.reader("a").poll().unwrap().is_some());
        scene.publish("two");
        let mut reader = scene.reader("a");
        let mut looks = 0;
        for _ in 0..2 * REST_POLLS {
            let _ = reader.poll_checked(|_| {
                looks += 1;
                Err::<(), _>("no map".into())
            });
        }
        // Each of the two, at once and after a rest.
        assert_eq!(looks, 4);
        scene.publish("three");
        let newer = reader.poll().unwrap().unwrap();
        assert_eq!(newer.generation, 3, "a new one does not wait");
    }

    #[test]
    fn a_slow_disk_keeps_no_release_back() {
        static DISK: RwLock<()> = RwLock::new(());
        let scene = Scene::new();
        let busy = DISK.write().unwrap();
        let mut reader = scene.reader_flushed("a", |file| {
            let _idle = DISK.read().unwrap();
            file.sync_all()
        });
        for generation in [1, 2] {
            scene.publish("map");
            assert_eq!(reader.poll().unwrap().unwrap().generation, generation);
            assert!(!scene.state("a").exists(), "the disk has not taken it");
        }
        // Until the disk takes the first, there may be one more; whether that is being written is up to the thread.
        let refused = (3..6).find_map(|_| {
            scene.publish("map");
            reader.poll().err()
        });
        let refused = refused.unwrap();
        assert!(refused.to_string().contains("not yet taken"), "{refused}");
        let last = reader.generation();
        drop(busy);
        drop(reader);
        assert_eq!(scene.reader("a").generation(), last);
        let left = std::fs::read_dir(scene.state("a").parent().unwrap()).unwrap();
        assert_eq!(left.count(), 1, "nothing is left beside it");
    }

    #[test]
    fn a_release_whose_number_the_disk_does_not_take_is_told_once_and_serves() {
        let scene = Scene::new();
        let mut reader = scene.reader_flushed("a", |_| Err(io::Error::other("worn out")));
        scene.publish("one");
        assert!(reader.poll().unwrap().is_some());
        let refused = loop {
            match reader.poll() {
                Ok(none) => assert_eq!(none, None),
                Err(refused) => break refused,
            }
        };
        assert!(refused.to_string().contains("worn out"), "{refused}");
        assert_eq!(reader.poll(), Ok(None), "told once");
        assert_eq!(reader.refused(), Some(&refused));
        scene.publish("two");
        assert!(reader.poll().unwrap().is_some(), "newer ones come in");
    }

    #[test]
    fn a_release_that_cannot_be_remembered_is_not_given_out() {
        let scene = Scene::new();
        scene.publish("one");
        let mut reader = scene.reader("a");
        std::fs::write(scene.folder.path().join("state"), "no folder").unwrap();
        let refused = reader.poll().unwrap_err();
        assert!(matches!(refused.reason, Reason::HighWater { .. }));
        assert_eq!(reader.generation(), None);
    }

    #[test]
    fn a_stranger_s_signature_is_refused() {
        let scene = Scene::new();
        scene.publish("one");
        let stranger = vec![keys::generate().verifying_key()];
        let mut reader =
            Reader::open(scene.dir(), stranger, scene.folder.path().join("b")).unwrap();
        assert_eq!(reader.poll().unwrap_err().reason, Reason::Signature);
        let nobody = Reader::open(scene.dir(), Vec::new(), scene.folder.path().join("b"));
        assert_eq!(
            nobody.unwrap().poll().unwrap_err().reason,
            Reason::Signature
        );
    }

    #[test]
    fn a_state_file_that_makes_no_sense_stops_the_start() {
        let scene = Scene::new();
        for text in ["", "7", "7 abc\n", "x 00\n"] {
            let path = scene.folder.path().join("state");
            std::fs::write(&path, text).unwrap();
            let refused = Reader::open(scene.dir(), Vec::new(), path).unwrap_err();
            assert!(
                refused.to_string().contains("remembered generation"),
                "{refused}"
            );
        }
    }
}
