//! Ed25519 keys as small text files: base64 (RFC 4648 §4), one key a line, `#` begins a comment.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ed25519_dalek::{SigningKey, VerifyingKey};

/// Bits that let others than the owner at a file.
const OTHERS: u32 = 0o077;

/// Why a key file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// It cannot be read or written.
    #[error("{file}: {error}")]
    Io {
        /// The file.
        file: String,
        /// What the system says.
        error: std::io::Error,
    },
    /// A line is no key.
    #[error("{file}:{line}: {reason}")]
    Line {
        /// The file.
        file: String,
        /// Line, from 1.
        line: usize,
        /// What is wrong with it.
        reason: &'static str,
    },
    /// It holds no key, or a private file holds several.
    #[error("{file}: {found} keys where {expected} expected")]
    Count {
        /// The file.
        file: String,
        /// How many there are.
        found: usize,
        /// How many there should be.
        expected: &'static str,
    },
    /// A private key that others may read is no secret.
    #[error(
        "{file}: a signing key that others may read (mode {mode:04o}); chmod 600, or make a new one"
    )]
    Exposed {
        /// The file.
        file: String,
        /// Its permission bits.
        mode: u32,
    },
}

/// A fresh signing key from the system's randomness.
pub fn generate() -> SigningKey {
    SigningKey::from_bytes(&rand::random())
}

/// 32 octets as base64 text.
pub fn to_text(key: &[u8; 32]) -> String {
    STANDARD.encode(key)
}

/// A public key from its base64 text; `None` when it is not 44 characters of base64, no point of the curve, or a weak one.
pub fn public_from_text(text: &str) -> Option<VerifyingKey> {
    VerifyingKey::from_bytes(&octets(text)?)
        .ok()
        .filter(|key| !key.is_weak())
}

/// Writes a new private key file with mode 0600. An existing file is never overwritten.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_signing_key(path: &Path, key: &SigningKey) -> Result<(), KeyError> {
    let text = format!(
        "# Signpost release signing key (Ed25519). Keep it secret.\n{}\n",
        to_text(key.as_bytes())
    );
    write(path, 0o600, &text)
}

/// Writes a new public key file. An existing file is never overwritten.
///
/// # Errors
/// When the file exists or cannot be written.
pub fn write_public_key(path: &Path, key: &VerifyingKey) -> Result<(), KeyError> {
    let text = format!(
        "# Signpost release public key (Ed25519).\n{}\n",
        to_text(key.as_bytes())
    );
    write(path, 0o644, &text)
}

/// Reads a private key file: exactly one key, readable by its owner only.
///
/// # Errors
/// When it cannot be read, is exposed, or holds anything else.
pub fn read_signing_key(path: &Path) -> Result<SigningKey, KeyError> {
    let mode = std::fs::metadata(path)
        .map_err(|error| io(path, error))?
        .mode()
        & 0o7777;
    if mode & OTHERS != 0 {
        return Err(KeyError::Exposed {
            file: name(path),
            mode,
        });
    }
    let keys = lines(path, octets)?;
    match keys.as_slice() {
        [key] => Ok(SigningKey::from_bytes(key)),
        other => Err(KeyError::Count {
            file: name(path),
            found: other.len(),
            expected: "exactly 1 is",
        }),
    }
}

/// Reads the keys a reader trusts: one or more, so that a new key can be trusted before it signs.
///
/// # Errors
/// When the file cannot be read, or a line is no key, or there is none.
pub fn read_public_keys(path: &Path) -> Result<Vec<VerifyingKey>, KeyError> {
    let keys = lines(path, public_from_text)?;
    if keys.is_empty() {
        return Err(KeyError::Count {
            file: name(path),
            found: 0,
            expected: "at least 1 is",
        });
    }
    Ok(keys)
}

fn lines<T>(path: &Path, parse: fn(&str) -> Option<T>) -> Result<Vec<T>, KeyError> {
    let text = std::fs::read_to_string(path).map_err(|error| io(path, error))?;
    let mut keys = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let line = line.split('#').next().unwrap_or("").trim();
        if line.is_empty() {
            continue;
        }
        keys.push(parse(line).ok_or(KeyError::Line {
            file: name(path),
            line: index + 1,
            reason: "not an Ed25519 key in base64 (44 characters)",
        })?);
    }
    Ok(keys)
}

fn octets(text: &str) -> Option<[u8; 32]> {
    STANDARD.decode(text).ok()?.try_into().ok()
}

fn write(path: &Path, mode: u32, text: &str) -> Result<(), KeyError> {
    OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(path)
        .and_then(|mut file| {
            file.write_all(text.as_bytes())
                .and_then(|()| file.sync_all())
        })
        .map_err(|error| io(path, error))
}

fn io(path: &Path, error: std::io::Error) -> KeyError {
    KeyError::Io {
        file: name(path),
        error,
    }
}

fn name(path: &Path) -> String {
    path.display().to_string()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn both_files_read_back_and_the_private_one_is_the_owners() {
        let folder = tempfile::tempdir().unwrap();
        let (private, public) = (folder.path().join("k"), folder.path().join("k.pub"));
        let key = generate();
        write_signing_key(&private, &key).unwrap();
        write_public_key(&public, &key.verifying_key()).unwrap();
        assert_eq!(
            read_signing_key(&private).unwrap().to_bytes(),
            key.to_bytes()
        );
        assert_eq!(read_public_keys(&public).unwrap(), [key.verifying_key()]);
        assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o7777, 0o600);
        assert!(
            write_signing_key(&private, &generate()).is_err(),
            "never overwritten"
        );
    }

    #[test]
    fn a_private_key_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        write_signing_key(&path, &generate()).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(
            read_signing_key(&path),
            Err(KeyError::Exposed { mode: 0o640, .. })
        ));
    }

    #[test]
    fn a_bad_line_is_named_and_no_key_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k.pub");
        let good = to_text(generate().verifying_key().as_bytes());
        std::fs::write(&path, format!("# two\n{good}  # ours\n\n{good}x\n")).unwrap();
        let error = read_public_keys(&path).unwrap_err().to_string();
        assert!(
            error.ends_with("k.pub:4: not an Ed25519 key in base64 (44 characters)"),
            "{error}"
        );
        std::fs::write(&path, "# none\n").unwrap();
        assert!(matches!(
            read_public_keys(&path),
            Err(KeyError::Count { found: 0, .. })
        ));
    }

    #[test]
    fn a_weak_key_that_accepts_forgeries_is_refused() {
        let mut identity = [0; 32];
        identity[0] = 1;
        assert!(public_from_text(&to_text(&identity)).is_none());
    }
}
