//! The key that signs releases: a private file, and the public one beside it that readers trust.

use std::path::{Path, PathBuf};

use anyhow::Context;
use distribution::{SigningKey, keys};

/// Where the key is when nobody says: beside the folder of releases.
pub fn default_path(out: &Path) -> PathBuf {
    match out.parent().filter(|parent| !parent.as_os_str().is_empty()) {
        Some(parent) => parent.join("release.key"),
        None => PathBuf::from("release.key"),
    }
}

/// The public key's file for a private one: `release.key` → `release.pub`.
pub fn public_path(key: &Path) -> PathBuf {
    key.with_extension("pub")
}

/// Reads the key, or makes one if there is none yet (and says so). The public file is written if it is missing.
///
/// # Errors
/// A key file that others may read, or that holds no key; a folder that cannot be written.
pub fn read_or_create(path: &Path) -> anyhow::Result<SigningKey> {
    if !path.exists() {
        let key = generate(path)?;
        tracing::warn!(
            key = %path.display(),
            public = %public_path(path).display(),
            "made a new signing key: give the public file to every reader"
        );
        return Ok(key);
    }
    let key = keys::read_signing_key(path)?;
    let public = public_path(path);
    if !public.exists() {
        keys::write_public_key(&public, &key.verifying_key())?;
    }
    Ok(key)
}

/// Makes a new key and writes both files; neither is overwritten.
///
/// # Errors
/// If one of the files exists or cannot be written.
pub fn generate(path: &Path) -> anyhow::Result<SigningKey> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    }
    let key = keys::generate();
    keys::write_signing_key(path, &key)?;
    keys::write_public_key(&public_path(path), &key.verifying_key())?;
    Ok(key)
}
