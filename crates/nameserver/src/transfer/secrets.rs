//! The files of shared secrets, watched: a new one is in force at once, a wrong one leaves the one before.

use std::path::Path;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use dns_engine::tsig::{Key, Keys};
use service::diagnostic::{Diagnostic, Report};
use service::{secret, watch};

use super::settings::KeyFile;

/// All keys of a configuration.
#[derive(Debug)]
pub(super) struct Secrets {
    files: Vec<Watched>,
}

#[derive(Debug)]
struct Watched {
    settings: KeyFile,
    file: watch::File,
    /// The last good one.
    key: Option<Arc<Key>>,
}

impl Secrets {
    /// Nothing is read yet.
    pub(super) fn new(keys: &[KeyFile]) -> Self {
        let watched = keys.iter().map(|settings| Watched {
            settings: settings.clone(),
            file: watch::File::new(&settings.secret_file),
            key: None,
        });
        Self {
            files: watched.collect(),
        }
    }

    /// Reads what has changed; true if some key is another one now.
    pub(super) fn poll(&mut self, report: &mut Report) -> bool {
        let mut changed = false;
        for watched in &mut self.files {
            let path = watched.file.path().to_owned();
            let text = match watched.file.poll() {
                Ok(None) => continue,
                Ok(Some(text)) => text,
                Err(error) => {
                    report.push(whole(&path, format!("cannot be read: {error}")));
                    continue;
                }
            };
            report.extend(secret::exposed(&path));
            match read(&watched.settings, &text) {
                Ok((key, warning)) => {
                    report.extend(warning);
                    watched.key = Some(Arc::new(key));
                    changed = true;
                }
                Err(message) => report.push(whole(&path, message)),
            }
        }
        changed
    }

    /// Those in force.
    pub(super) fn keys(&self) -> Keys {
        let mut keys = Keys::default();
        for key in self.files.iter().filter_map(|watched| watched.key.as_ref()) {
            // The settings have no name twice.
            let _ = keys.insert(Arc::clone(key));
        }
        keys
    }
}

/// The key in a file; with a warning if guessing it is easier than forging a signature.
fn read(settings: &KeyFile, text: &str) -> Result<(Key, Option<Diagnostic>), String> {
    let secret = STANDARD
        .decode(text.trim())
        .map_err(|_| "it holds no base64".to_owned())?;
    let algorithm = settings.algorithm.0;
    let key = Key::new(settings.name.wire(), algorithm, &secret)
        .ok_or_else(|| "there is no secret in it".to_owned())?;
    let warning = (secret.len() < algorithm.octets()).then(|| {
        let message = format!(
            "a secret of {} octets is shorter than a signature of {}",
            secret.len(),
            algorithm.text()
        );
        let file = settings.secret_file.display().to_string();
        let hint = format!("openssl rand -base64 {}", algorithm.octets());
        Diagnostic::warning(file, message).with_hint(hint)
    });
    Ok((key, warning))
}

fn whole(path: &Path, message: String) -> Diagnostic {
    Diagnostic::error(path.display().to_string(), 0, 0, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn secrets_are_followed_and_wrong_ones_leave_the_one_before() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("k");
        let settings = KeyFile {
            name: "k.".parse().unwrap(),
            algorithm: Default::default(),
            secret_file: path.clone(),
        };
        let mut secrets = Secrets::new(&[settings]);
        let mut poll = |text: &str, changed: bool, said: &str, there: bool| {
            if !text.is_empty() {
                std::fs::write(&path, text).unwrap();
                std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
            }
            let mut report = Report::default();
            assert_eq!(secrets.poll(&mut report), changed, "{report}");
            assert!(report.to_string().contains(said), "{report}");
            assert_eq!(report.is_empty(), said.is_empty(), "{report}");
            assert_eq!(secrets.keys().is_empty(), !there);
        };
        poll("", false, "cannot be read", false);
        poll("not base64!", false, "it holds no base64", false);
        poll("\n", false, "there is no secret in it", false);
        poll("c2VjcmV0\n", true, "a secret of 6 octets is shorter", true);
        poll("?", false, "it holds no base64", true);
        poll(&format!("{}\n", "A".repeat(44)), true, "", true);
        poll("", false, "", true);
    }
}
