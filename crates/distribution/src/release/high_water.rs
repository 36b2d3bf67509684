//! The file that remembers which release was accepted last. Writing it beside the old one is a matter of microseconds and
//! shows at once whether there is room and leave; that it is on the disk is awaited on a thread of its own, as a disk
//! that is busy with something else takes its time (40 s were seen), and a new release must not wait for that.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};

use super::reader::Reason;
use crate::durable::{Aside, read_capped};

/// The release last accepted: its generation and the hash of its manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) generation: u64,
    pub(super) manifest_hash: [u8; 32],
}

/// Waits until a file is on the disk.
pub(super) type Flush = fn(&File) -> io::Result<()>;

/// The file. Dropping it waits for the disk, so that whoever opens the file next finds the last mark.
#[derive(Debug)]
pub(super) struct HighWater {
    path: PathBuf,
    flush: Flush,
    keeper: Option<Keeper>,
    /// Why the last mark is not on the disk, if it is not going to be.
    failed: Arc<Mutex<Option<String>>>,
}

/// The thread that waits for the disk.
#[derive(Debug)]
struct Keeper {
    /// One may wait while another is written; a disk that is further behind takes no more releases.
    marks: SyncSender<Aside>,
    thread: JoinHandle<()>,
}

impl HighWater {
    /// Nothing is read or written yet.
    pub(super) fn new(path: PathBuf, flush: Flush) -> HighWater {
        HighWater {
            path,
            flush,
            keeper: None,
            failed: Arc::default(),
        }
    }

    /// What the file says; `None` if there is none.
    pub(super) fn recall(&self) -> Result<Option<Mark>, Reason> {
        let bytes = match read_capped(&self.path, 256) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.reason(error.to_string())),
        };
        let text = String::from_utf8_lossy(&bytes);
        let mark = text
            .strip_suffix('\n')
            .and_then(|line| line.split_once(' '))
            .and_then(|(generation, hash)| {
                let manifest_hash = *blake3::Hash::from_hex(hash).ok()?.as_bytes();
                Some(Mark {
                    generation: generation.parse().ok()?,
                    manifest_hash,
                })
            });
        let advice =
            "is not a remembered generation; remove it only if any release may be accepted";
        mark.map(Some).ok_or_else(|| self.reason(advice.to_owned()))
    }

    /// Takes a mark down; it is on the disk some time later. Until then a crash forgets it.
    pub(super) fn remember(&mut self, mark: Mark) -> Result<(), Reason> {
        self.hand_over(mark)
            .map_err(|error| self.reason(error.to_string()))
    }

    /// Why the last mark will not be on the disk.
    pub(super) fn failure(&self) -> Option<Reason> {
        let error = lock(&self.failed).clone()?;
        Some(self.reason(format!(
            "the generation in force is not remembered: {error}"
        )))
    }

    fn hand_over(&mut self, mark: Mark) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(Path::new(""));
        if !folder.as_os_str().is_empty() {
            std::fs::create_dir_all(folder)?;
        }
        let hash = blake3::Hash::from_bytes(mark.manifest_hash).to_hex();
        let text = format!("{} {hash}\n", mark.generation);
        let aside = Aside::write(&self.path, text.as_bytes())?;
        match self.keeper()?.marks.try_send(aside) {
            Ok(()) => Ok(()),
            Err(TrySendError::Full(aside) | TrySendError::Disconnected(aside)) => {
                aside.discard();
                Err(io::Error::other(
                    "the disk has not yet taken the generations before",
                ))
            }
        }
    }

    fn keeper(&mut self) -> io::Result<&Keeper> {
        let keeper = match self.keeper.take() {
            Some(keeper) => keeper,
            None => Keeper::start(self.flush, Arc::clone(&self.failed))?,
        };
        Ok(self.keeper.insert(keeper))
    }

    fn reason(&self, error: String) -> Reason {
        Reason::HighWater {
            file: self.path.display().to_string(),
            error,
        }
    }
}

impl Keeper {
    fn start(flush: Flush, failed: Arc<Mutex<Option<String>>>) -> io::Result<Keeper> {
        let (marks, handed_over) = sync_channel::<Aside>(1);
        let thread = thread::Builder::new().name("remembering".to_owned());
        let thread = thread.spawn(move || {
            for aside in handed_over {
                let put = aside.put(flush);
                *lock(&failed) = put.err().map(|error| error.to_string());
            }
        })?;
        Ok(Keeper { marks, thread })
    }
}

impl Drop for HighWater {
    fn drop(&mut self) {
        if let Some(Keeper { marks, thread }) = self.keeper.take() {
            drop(marks);
            let _ = thread.join(); // it does not panic
        }
    }
}

fn lock(failed: &Mutex<Option<String>>) -> MutexGuard<'_, Option<String>> {
    failed.lock().unwrap_or_else(PoisonError::into_inner)
}
