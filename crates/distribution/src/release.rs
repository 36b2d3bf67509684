//! One published generation: a signed manifest and the blobs it names.
//!
//! ```text
//! DIR/current                        "0000000007\n", replaced at once
//! DIR/0000000007/manifest.json       format, generation, time, name + size + BLAKE3 of every blob
//! DIR/0000000007/manifest.sig        64 octets Ed25519 over a fixed prefix and the manifest's bytes
//! DIR/0000000007/blobs/<BLAKE3 hex>
//! ```

mod high_water;
mod manifest;
mod publish;
mod reader;

use std::path::Path;

use ed25519_dalek::VerifyingKey;

pub use publish::{PublishError, publish, publish_checked};
pub use reader::{Reader, Reason, Refused};

use manifest::{Manifest, Trust};

/// The file that names the generation in force.
pub const CURRENT: &str = "current";

/// A release may hold this many octets in all its blobs; a full map of the Internet is a tenth of it.
pub const SIZE_MAX: u64 = 256 << 20;

/// A verified release, in memory of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its number; rises by at least one with every release.
    pub generation: u64,
    /// When its content was built, in Unix seconds, as the publisher says.
    pub built_at: u64,
    manifest_hash: [u8; 32],
    blobs: Vec<(String, Vec<u8>)>,
}

impl Release {
    /// The content of a blob, such as `map`.
    pub fn blob(&self, name: &str) -> Option<&[u8]> {
        self.blobs
            .iter()
            .find(|(found, _)| found == name)
            .map(|(_, bytes)| bytes.as_slice())
    }

    /// Names of all blobs, in the manifest's order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.blobs.iter().map(|(name, _)| name.as_str())
    }
}

/// Loads and verifies one release for a single look, without the memory for generations that a [`Reader`] keeps.
/// `dir` is a folder of releases (its `current` one is taken) or the folder of one generation.
///
/// # Errors
/// When there is none, or anything about it is wrong.
pub fn load(dir: &Path, trusted: &[VerifyingKey]) -> Result<Release, Refused> {
    load_any(dir, Trust::Keys(trusted))
}

/// As [`load`], without looking at the signature: for people who inspect a release, never for serving one.
///
/// # Errors
/// As [`load`].
pub fn inspect(dir: &Path) -> Result<Release, Refused> {
    load_any(dir, Trust::Anybody)
}

fn load_any(dir: &Path, trust: Trust<'_>) -> Result<Release, Refused> {
    let pointed = |generation| (dir.join(folder_name(generation)), generation);
    let (folder, generation) = match current(dir)? {
        Some(generation) => pointed(generation),
        None => match dir.canonicalize().ok().as_deref().and_then(generation_of) {
            Some(generation) => (dir.to_owned(), generation),
            None => return Err(Refused::new(dir, None, Reason::Missing)),
        },
    };
    Manifest::read(&folder, generation, trust)
        .and_then(|manifest| manifest.load(&folder))
        .map_err(|reason| Refused::new(dir, Some(generation), reason))
}

/// The generation that `current` names; `None` when nothing has been published yet.
///
/// # Errors
/// When the file cannot be read or is not exactly ten digits and a line end.
pub fn current(dir: &Path) -> Result<Option<u64>, Refused> {
    let refused = |reason| Refused::new(dir, None, reason);
    match crate::durable::read_capped(&dir.join(CURRENT), 64) {
        Ok(bytes) => match bytes.split_last() {
            Some((b'\n', digits)) => parse_generation(digits)
                .map(Some)
                .ok_or_else(|| refused(Reason::Pointer)),
            _ => Err(refused(Reason::Pointer)),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(refused(Reason::io(CURRENT, &error))),
    }
}

/// All generations whose folders are there, rising.
///
/// # Errors
/// When the folder cannot be listed.
pub fn generations(dir: &Path) -> std::io::Result<Vec<u64>> {
    let mut found: Vec<u64> = std::fs::read_dir(dir)?
        .filter_map(Result::ok)
        .filter_map(|entry| generation_of(&entry.path()))
        .collect();
    found.sort_unstable();
    Ok(found)
}

/// The folder name of a generation: ten digits.
pub fn folder_name(generation: u64) -> String {
    format!("{generation:010}")
}

fn generation_of(folder: &Path) -> Option<u64> {
    parse_generation(folder.file_name()?.as_encoded_bytes())
}

fn parse_generation(digits: &[u8]) -> Option<u64> {
    let well_formed = digits.len() == 10 && digits.iter().all(u8::is_ascii_digit);
    well_formed
        .then(|| std::str::from_utf8(digits).ok()?.parse().ok())
        .flatten()
}
