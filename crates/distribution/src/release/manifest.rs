//! The signed table of contents, and reading what it promises.

use std::path::Path;

use ed25519_dalek::{Signature, Signer, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

use super::{Reason, Release, SIZE_MAX};
use crate::durable::read_capped;

pub(super) const MANIFEST: &str = "manifest.json";
pub(super) const SIGNATURE: &str = "manifest.sig";
pub(super) const BLOBS: &str = "blobs";

/// Raised when a reader of the old format could misunderstand the new one.
const FORMAT: u32 = 1;

/// Room for some hundred blobs; a manifest is read before its signature is known to be good.
const MANIFEST_SIZE_MAX: u64 = 64 << 10;

/// A signature here can never be taken for one of anything else.
const CONTEXT: &[u8] = b"signpost release manifest 1\n";

/// Whose signature counts.
#[derive(Clone, Copy)]
pub(super) enum Trust<'a> {
    Keys(&'a [VerifyingKey]),
    Anybody,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Contents {
    pub(super) format: u32,
    pub(super) generation: u64,
    pub(super) built_at: u64,
    pub(super) blobs: Vec<Entry>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) size: u64,
    pub(super) blake3: String,
}

/// A manifest whose signature has been checked.
pub(super) struct Manifest {
    pub(super) contents: Contents,
    pub(super) hash: [u8; 32],
}

impl Contents {
    pub(super) fn new(generation: u64, built_at: u64, blobs: &[(&str, &[u8])]) -> Contents {
        let entry = |(name, bytes): &(&str, &[u8])| Entry {
            name: (*name).to_owned(),
            size: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        };
        Contents {
            format: FORMAT,
            generation,
            built_at,
            blobs: blobs.iter().map(entry).collect(),
        }
    }

    /// The bytes of both files.
    pub(super) fn sign(&self, key: &SigningKey) -> serde_json::Result<(Vec<u8>, [u8; 64])> {
        let bytes = serde_json::to_vec_pretty(self)?;
        let signature = key.sign(&signed(&bytes)).to_bytes();
        Ok((bytes, signature))
    }
}

impl Manifest {
    /// Reads and verifies the manifest in a generation's folder.
    pub(super) fn read(
        folder: &Path,
        generation: u64,
        trust: Trust<'_>,
    ) -> Result<Manifest, Reason> {
        let bytes = read(folder, MANIFEST, MANIFEST_SIZE_MAX)?;
        let signature = read(folder, SIGNATURE, 64)?;
        if let Trust::Keys(keys) = trust {
            let signature = Signature::from_slice(&signature).map_err(|_| Reason::Signature)?;
            let message = signed(&bytes);
            if !keys
                .iter()
                .any(|key| key.verify_strict(&message, &signature).is_ok())
            {
                return Err(Reason::Signature);
            }
        }
        let contents: Contents =
            serde_json::from_slice(&bytes).map_err(|error| Reason::Manifest(error.to_string()))?;
        if contents.format != FORMAT {
            return Err(Reason::Manifest(format!(
                "format {} is not known here",
                contents.format
            )));
        }
        if contents.generation != generation {
            let message = format!("it is of generation {}", contents.generation);
            return Err(Reason::Manifest(message));
        }
        let size = contents
            .blobs
            .iter()
            .try_fold(0u64, |sum, blob| sum.checked_add(blob.size));
        if size.is_none_or(|size| size > SIZE_MAX) {
            return Err(Reason::Manifest(format!(
                "its blobs are larger than {SIZE_MAX} octets"
            )));
        }
        let hash = *blake3::hash(&bytes).as_bytes();
        Ok(Manifest { contents, hash })
    }

    /// Reads every blob and compares it with what was signed.
    pub(super) fn load(self, folder: &Path) -> Result<Release, Reason> {
        let mut blobs = Vec::with_capacity(self.contents.blobs.len());
        for Entry { name, size, blake3 } in self.contents.blobs {
            let refused = |reason: String| Reason::Blob {
                name: name.clone(),
                reason,
            };
            // The hash is also the file's name, so it must be nothing but a hash.
            let hash = blake3::Hash::from_hex(&blake3).map_err(|e| refused(e.to_string()))?;
            let path = folder.join(BLOBS).join(hash.to_hex().as_str());
            let bytes = read_capped(&path, size).map_err(|e| refused(e.to_string()))?;
            if bytes.len() as u64 != size {
                return Err(refused(format!("{} octets instead of {size}", bytes.len())));
            }
            if blake3::hash(&bytes) != hash {
                return Err(refused("its content is not what was signed".into()));
            }
            blobs.push((name, bytes));
        }
        Ok(Release {
            generation: self.contents.generation,
            built_at: self.contents.built_at,
            manifest_hash: self.hash,
            blobs,
        })
    }
}

fn signed(manifest: &[u8]) -> Vec<u8> {
    [CONTEXT, manifest].concat()
}

fn read(folder: &Path, name: &str, limit: u64) -> Result<Vec<u8>, Reason> {
    read_capped(&folder.join(name), limit).map_err(|error| Reason::io(name, &error))
}
