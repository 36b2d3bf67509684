//! Files that hold secrets: whoever can read the token keys can make tokens.

use std::os::unix::fs::MetadataExt;
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

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
