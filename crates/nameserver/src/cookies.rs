//! Keeps the secrets of server cookies: those of a file, followed, or one of the server's own, renewed every day.

use std::path::Path;
use std::time::{Duration, Instant};

use dns_engine::{CookieSecret, Cookies};
use service::diagnostic::{Diagnostic, Report};
use service::{secret, watch};

use crate::settings::{self, cookie_secrets};

/// How long a secret of the server's own makes cookies. Clients that come back within a day find theirs accepted, as a
/// cookie is good for an hour.
const ROLL: Duration = Duration::from_secs(24 * 60 * 60);

/// The secrets in force, and where the next ones come from.
pub(crate) struct Keeper {
    file: Option<watch::File>,
    required_above: Option<u16>,
    /// First the one that makes cookies; never empty while cookies are on.
    secrets: Vec<CookieSecret>,
    /// When the own secret was made; `None` once the file has been good.
    made: Option<Instant>,
    enabled: bool,
}

impl Keeper {
    /// Nothing is read yet; until the file is, and while it is not there, the server has a secret of its own.
    pub(crate) fn new(settings: &settings::Cookies, now: Instant) -> Self {
        let file = settings.secrets.as_ref().filter(|_| settings.enabled);
        Self {
            file: file.map(watch::File::new),
            required_above: settings.required_above,
            secrets: vec![random()],
            made: Some(now),
            enabled: settings.enabled,
        }
    }

    /// What a snapshot needs; `None` if cookies are off.
    pub(crate) fn cookies(&self) -> Option<Cookies> {
        let (signing, accepted) = self.secrets.split_first()?;
        self.enabled.then(|| Cookies {
            signing: signing.clone(),
            accepted: accepted.to_vec(),
            required_above: self.required_above,
        })
    }

    /// True if a file gives the secrets.
    pub(crate) fn follows(&self) -> bool {
        self.file.is_some()
    }

    /// Looks whether the secrets have to be others: true if they are. A file that is wrong leaves those before in force.
    ///
    /// # Errors
    /// What is wrong with the file; told once.
    pub(crate) fn poll(&mut self, now: Instant) -> Result<bool, Report> {
        if let Some(file) = &mut self.file
            && let Some(secrets) = read(file)?
        {
            self.secrets = secrets;
            self.made = None;
            return Ok(true);
        }
        let is_old = |made| now.duration_since(made) >= ROLL;
        if self.enabled && self.made.is_some_and(is_old) {
            self.secrets.truncate(1);
            self.secrets.insert(0, random());
            self.made = Some(now);
            return Ok(true);
        }
        Ok(false)
    }
}

fn read(file: &mut watch::File) -> Result<Option<Vec<CookieSecret>>, Report> {
    let name = file.path().display().to_string();
    match file.poll() {
        Ok(None) => Ok(None),
        Ok(Some(text)) => cookie_secrets(&name, &text).map(Some),
        Err(error) => Err(Diagnostic::error(name, 0, 0, format!("cannot be read: {error}")).into()),
    }
}

/// What is wrong with a file of secrets; that it is not there yet is a warning.
pub(crate) fn check(path: &Path, report: &mut Report) {
    if let Err(found) = read(&mut watch::File::new(path)) {
        report.extend(found.findings);
    }
    report.soften_missing(
        path,
        "the server makes cookies that no other server accepts",
    );
    report.extend(secret::exposed(path));
}

fn random() -> CookieSecret {
    CookieSecret(rand::random())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "0123456789abcdef0123456789abcdef";

    #[test]
    fn an_own_secret_is_renewed_every_day_and_the_one_before_is_accepted() {
        let start = Instant::now();
        let mut keeper = Keeper::new(&settings::Cookies::default(), start);
        let first = keeper.cookies().unwrap();
        assert_eq!(first.accepted, []);
        assert_eq!(
            keeper.poll(start + ROLL - Duration::from_secs(1)),
            Ok(false)
        );
        for day in 1..4 {
            let before = keeper.cookies().unwrap();
            assert_eq!(keeper.poll(start + ROLL * day), Ok(true));
            let after = keeper.cookies().unwrap();
            assert_ne!(after.signing, before.signing);
            assert_eq!(after.accepted, [before.signing]);
        }
    }

    #[test]
    fn a_file_is_followed_and_what_is_wrong_with_it_leaves_the_secrets() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("cookies");
        let settings = settings::Cookies {
            secrets: Some(path.clone()),
            ..settings::Cookies::default()
        };
        let start = Instant::now();
        let mut keeper = Keeper::new(&settings, start);
        assert!(keeper.poll(start).is_err(), "not there: told");
        let own = keeper.cookies().unwrap();
        assert_eq!(keeper.poll(start), Ok(false), "told once");
        std::fs::write(&path, SECRET).unwrap();
        assert_eq!(keeper.poll(start), Ok(true));
        let shared = keeper.cookies().unwrap();
        assert_ne!(shared.signing, own.signing);
        assert_eq!(keeper.poll(start + ROLL), Ok(false), "the file decides");
        std::fs::write(&path, "rubbish").unwrap();
        assert!(keeper.poll(start).is_err());
        assert_eq!(keeper.cookies().unwrap(), shared);
        std::fs::write(&path, format!("{}\n{SECRET}", "f".repeat(32))).unwrap();
        assert_eq!(keeper.poll(start), Ok(true));
        assert_eq!(keeper.cookies().unwrap().accepted, [shared.signing]);
    }

    #[test]
    fn switched_off_there_are_none() {
        let settings = settings::Cookies {
            enabled: false,
            ..settings::Cookies::default()
        };
        let start = Instant::now();
        let mut keeper = Keeper::new(&settings, start);
        assert_eq!(keeper.poll(start + ROLL), Ok(false));
        assert_eq!(keeper.cookies(), None);
    }
}
