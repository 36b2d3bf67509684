//! The token key ring on disk: making it, and moving its keys through their lives. Both levels take up a changed file by
//! themselves; stage on every server before activating, and destroy only when no cache can hold a token any more.

use std::path::Path;

use anyhow::Context;
use route_token::KeyRing;
use service::{
    diagnostic::{Diagnostic, Report},
    secret,
};

/// What to do with a ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::Subcommand)]
pub enum Change {
    /// Make a new ring with one active key; an existing file is never overwritten.
    Generate,
    /// Show slots and states.
    Show,
    /// Add a key that opens tokens and does not seal yet.
    Stage,
    /// Let the staged key in a slot seal; the one before is still accepted.
    Activate {
        /// The slot, 0 to 7.
        slot: u8,
    },
    /// Forget the staged or accepting key in a slot: its tokens are refused from now on.
    Destroy {
        /// The slot, 0 to 7.
        slot: u8,
    },
}

/// Changes the ring in `file` and says what it holds afterwards.
///
/// # Errors
/// When the file cannot be read or written, is no ring, or the change does not fit its keys.
pub fn change(file: &Path, change: Change) -> anyhow::Result<String> {
    let name = file.display().to_string();
    if change == Change::Generate {
        anyhow::ensure!(!file.exists(), "{name} exists; it is never overwritten");
        replace(file, &KeyRing::generate(rand::random()))?;
    }
    let text = std::fs::read_to_string(file).with_context(|| format!("{name} cannot be read"))?;
    let located = |error: route_token::RingError| {
        Report::from(Diagnostic::error(
            &name,
            error.line,
            error.column,
            error.message,
        ))
    };
    let mut ring = KeyRing::from_toml(&text).map_err(located)?;
    match change {
        Change::Generate | Change::Show => {}
        Change::Stage => drop(ring.stage(rand::random()).map_err(located)?),
        Change::Activate { slot } => ring.activate(slot).map_err(located)?,
        Change::Destroy { slot } => ring.destroy(slot).map_err(located)?,
    }
    if !matches!(change, Change::Generate | Change::Show) {
        replace(file, &ring.to_toml())?;
    }
    let states = ring
        .states()
        .map(|(slot, state)| format!("{slot} {}", state.as_str()));
    Ok(states.collect::<Vec<_>>().join("\n"))
}

fn replace(file: &Path, text: &str) -> anyhow::Result<()> {
    secret::replace(file, text).with_context(|| format!("{} cannot be written", file.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_ring_is_made_and_its_keys_rotated() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ring.toml");
        assert!(change(&file, Change::Show).is_err());
        assert_eq!(change(&file, Change::Generate).unwrap(), "0 active");
        assert!(
            change(&file, Change::Generate).is_err(),
            "never overwritten"
        );
        assert_eq!(change(&file, Change::Stage).unwrap(), "0 active\n1 staged");
        assert_eq!(
            change(&file, Change::Activate { slot: 1 }).unwrap(),
            "0 accepting\n1 active"
        );
        assert!(change(&file, Change::Activate { slot: 0 }).is_err());
        assert_eq!(
            change(&file, Change::Destroy { slot: 0 }).unwrap(),
            "0 destroyed\n1 active"
        );
        assert_eq!(
            change(&file, Change::Show).unwrap(),
            "0 destroyed\n1 active"
        );
        assert_eq!(std::fs::metadata(&file).unwrap().mode() & 0o777, 0o600);
        let left = folder.path().join("ring.toml.new");
        std::fs::write(&left, "").unwrap();
        std::fs::set_permissions(&left, std::fs::Permissions::from_mode(0o644)).unwrap();
        change(&file, Change::Stage).unwrap();
        assert_eq!(
            std::fs::metadata(&file).unwrap().mode() & 0o777,
            0o600,
            "whatever was left beside it"
        );
        std::fs::write(&file, "[[key]]\nslot = 9\n").unwrap();
        let error = change(&file, Change::Show).unwrap_err().to_string();
        assert!(error.contains("ring.toml:1:1: error"), "{error}");
    }
}
