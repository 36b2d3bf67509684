//! Writing so that after a crash there is either the old file or the new one, never half of one.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

/// Writes a new file and waits until it is on the disk.
pub(crate) fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Waits until the names in a folder are on the disk.
pub(crate) fn sync_folder(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Replaces a file at once: beside it, onto the disk, then over it.
pub(crate) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    Aside::write(path, bytes)?.put(File::sync_all)
}

/// The next version of a file, written beside it.
#[derive(Debug)]
pub(crate) struct Aside {
    file: File,
    aside: PathBuf,
    path: PathBuf,
}

impl Aside {
    /// Writes it; the file itself stays as it is, and the disk may not have it yet.
    pub(crate) fn write(path: &Path, bytes: &[u8]) -> io::Result<Aside> {
        /// Two may be under way at a time.
        static COUNT: AtomicU64 = AtomicU64::new(0);
        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?;
        let mut aside = name.to_owned();
        aside.push(format!(".{}-{number}.new", std::process::id()));
        let aside = folder_of(path).join(aside);
        match std::fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .open(&aside)?;
        let written = file.write_all(bytes);
        let path = path.to_owned();
        let aside = Aside { file, aside, path };
        match written {
            Ok(()) => Ok(aside),
            Err(error) => {
                aside.discard();
                Err(error)
            }
        }
    }

    /// Onto the disk, by `flush`, and over the file.
    pub(crate) fn put(self, flush: fn(&File) -> io::Result<()>) -> io::Result<()> {
        match flush(&self.file).and_then(|()| std::fs::rename(&self.aside, &self.path)) {
            Ok(()) => sync_folder(folder_of(&self.path)),
            Err(error) => {
                self.discard();
                Err(error)
            }
        }
    }

    /// Removes it.
    pub(crate) fn discard(self) {
        let _ = std::fs::remove_file(&self.aside); // it is of no use, and in nobody's way
    }
}

fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Reads a file of at most `limit` octets; a longer one is refused before it fills the memory.
pub(crate) fn read_capped(path: &Path, limit: u64) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    // All at once, as doubling copies; one more octet, as the end is found by asking for more.
    let expected = file.metadata()?.len().min(limit) + 1;
    let mut bytes = Vec::with_capacity(usize::try_from(expected).unwrap_or(0));
    file.take(limit.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit {
        return Err(io::Error::new(
            io::ErrorKind::FileTooLarge,
            format!("larger than {limit} octets"),
        ));
    }
    Ok(bytes)
}
