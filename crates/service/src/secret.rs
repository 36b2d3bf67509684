//! Files that hold secrets: whoever can read the token keys can make tokens.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use crate::diagnostic::Diagnostic;

/// Access for anyone but the owner.
const OTHERS: u32 = 0o077;

/// A warning if others than its owner may read or write a file of secrets; `None` too when it is not there.
pub fn exposed(path: &Path) -> Option<Diagnostic> {
    let mode = std::fs::metadata(path).ok()?.mode() & 0o777;
    (mode & OTHERS != 0).then(|| {
        let message =
            format!("it holds secrets, and others than its owner have access (mode {mode:03o})");
        Diagnostic::warning(path.display().to_string(), message).with_hint("chmod 600")
    })
}

/// Writes a file of secrets aside, readable by its owner only, and puts it in its place: whoever watches the file never
/// reads half of it.
///
/// # Errors
/// When it cannot be written.
pub fn replace(path: &Path, text: &str) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    // A file left there by a crash, or by somebody else, keeps the mode it has: the secret needs a new one.
    match std::fs::remove_file(&aside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut new = OpenOptions::new();
    let mut new = new.write(true).create_new(true).mode(0o600).open(&aside)?;
    new.write_all(text.as_bytes())?;
    new.sync_all()?;
    std::fs::rename(&aside, path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_replaced_file_is_its_owners_whatever_was_left_beside_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        let left = folder.path().join("keys.new");
        for text in ["first", "second"] {
            std::fs::write(&left, "").unwrap();
            std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
            replace(&path, text).unwrap();
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
            assert_eq!(exposed(&path), None);
            assert!(!left.exists());
        }
        assert!(replace(&folder.path().join("none/keys"), "").is_err());
    }

    #[test]
    fn access_for_anyone_but_the_owner_is_a_warning() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys");
        assert_eq!(exposed(&path), None, "not there");
        std::fs::write(&path, "").unwrap();
        for (mode, expected) in [(0o600, false), (0o400, false), (0o640, true), (0o604, true)] {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(exposed(&path).is_some(), expected, "{mode:o}");
        }
        let text = exposed(&path).unwrap().to_string();
        assert!(text.ends_with("(mode 604) (chmod 600)"), "{text}");
    }
}
