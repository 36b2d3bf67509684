//! The edge's Ed25519 key: other edges recognise it by the public half in the traffic map, and it signs tickets.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::Context;
use distribution::keys;
use ed25519_dalek::SigningKey;

/// Reads the key file, or creates it on first use, readable by its owner only.
///
/// One line of base64 (the 32 octets of the secret key), lines with `#` are comments.
pub fn load_or_create(path: &Path) -> anyhow::Result<SigningKey> {
    if path.try_exists().unwrap_or(true) {
        return keys::read_signing_key(path)
            .with_context(|| format!("{} is no edge key", path.display()));
    }
    create(path).with_context(|| format!("{} cannot be created", path.display()))
}

/// The public half as the world file and the map write it.
pub fn public_text(key: &SigningKey) -> String {
    keys::to_text(key.verifying_key().as_bytes())
}

fn create(path: &Path) -> anyhow::Result<SigningKey> {
    let key = keys::generate();
    if let Some(folder) = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty())
    {
        fs::create_dir_all(folder)?;
    }
    let mut file = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)?;
    let secret = keys::to_text(key.as_bytes());
    write!(
        file,
        "# Signpost edge identity (Ed25519). Keep it secret.\n{secret}\n"
    )?;
    file.sync_all()?;
    Ok(key)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_created_once_and_kept_private() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/edge.key");
        let created = load_or_create(&path).unwrap();
        let read = load_or_create(&path).unwrap();
        assert_eq!(public_text(&created), public_text(&read));
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
    }

    #[test]
    fn a_damaged_key_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("edge.key");
        fs::write(&path, "AAAA\n").unwrap();
        assert!(load_or_create(&path).is_err());
        assert_eq!(fs::read_to_string(&path).unwrap(), "AAAA\n");
    }
}
