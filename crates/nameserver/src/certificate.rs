//! Keeps the certificate of the encrypted transports: two files, followed together.
//!
//! They are two files and one thing: between the writing of the first and of the second they do not fit. So what is wrong
//! is told when the next look still finds it.

use std::path::Path;

use dns_transport::{Certificate, CertificateError};
use prometheus::{IntGauge, Registry};
use service::diagnostic::{Diagnostic, Report};
use service::{secret, watch};

use crate::Reloads;
use crate::dnssec::Moment;
use crate::settings::PemPair;

const DAY: u64 = 24 * 60 * 60;
/// From so long before its end on, a certificate is said to end. Who renews by a timer does so a month before.
const NOTICE: u64 = 30 * DAY;
/// What the reload metrics call it.
const SOURCE: &str = "tls";

/// The certificate in force, and the files that the next one comes from.
pub(crate) struct Keeper {
    pair: PemPair,
    chain: watch::File,
    key: watch::File,
    certificate: Certificate,
    expires: IntGauge,
    /// What the last look found wrong with the newest version, not told yet.
    doubt: Option<Diagnostic>,
    /// The Unix second when it was last said that the certificate ends.
    noticed: Option<u64>,
}

impl Keeper {
    /// Nothing is read yet.
    ///
    /// # Errors
    /// When the name of the metric is taken in the registry.
    pub(crate) fn register(pair: PemPair, registry: &Registry) -> prometheus::Result<Self> {
        let expires = IntGauge::new(
            "signpost_tls_certificate_expiry_timestamp_seconds",
            "When the certificate of the encrypted transports ends, in Unix seconds; 0 before the first.",
        )?;
        registry.register(Box::new(expires.clone()))?;
        Ok(Self {
            chain: watch::File::new(&pair.certificate),
            key: watch::File::new(&pair.key),
            pair,
            certificate: Certificate::default(),
            expires,
            doubt: None,
            noticed: None,
        })
    }

    /// The one in force, whichever that will be.
    pub(crate) fn certificate(&self) -> Certificate {
        self.certificate.clone()
    }

    /// Looks for another version, puts it in force, and tells what there is to tell. `now` is Unix seconds.
    pub(crate) fn follow(&mut self, reloads: &Reloads, now: u64) {
        match self.poll(now) {
            Ok(true) => {
                reloads.adopted(SOURCE);
                reloads.set_refused(SOURCE, 0);
                tracing::info!(source = SOURCE, "serving the new version");
                if let Some(warning) = secret::exposed(&self.pair.key) {
                    tracing::warn!("{warning}");
                }
                self.noticed = None;
            }
            Ok(false) => {}
            Err(finding) => {
                reloads.refused(SOURCE);
                reloads.set_refused(SOURCE, 1);
                tracing::error!("{finding}; the certificate before stays in force");
            }
        }
        let is_time = |noticed| now.saturating_sub(noticed) >= DAY;
        if self.noticed.is_none_or(is_time)
            && let Some(notice) = notice(&self.pair.certificate, &self.certificate, now)
        {
            tracing::warn!("{notice}");
            self.noticed = Some(now);
        }
    }

    /// True if another version is in force now.
    ///
    /// # Errors
    /// What is wrong with the newest version; told once, and not if it has been put right by the next look.
    fn poll(&mut self, now: u64) -> Result<bool, Diagnostic> {
        let looked = [&mut self.chain, &mut self.key].map(|file| {
            let looked = file.poll();
            looked.map_err(|error| whole(file.path(), format!("cannot be read: {error}")))
        });
        if looked.iter().all(|looked| matches!(looked, Ok(None))) {
            return self.doubt.take().map_or(Ok(false), Err);
        }
        self.doubt = looked.into_iter().find_map(Result::err);
        let (Ok(chain), Ok(key)) = (self.chain.read(), self.key.read()) else {
            return Ok(false); // said, or about to be
        };
        let taken = read(&self.pair, &chain, &key).and_then(|next| {
            // Better one that is over than none, but not instead of a good one.
            let is_good = self
                .certificate
                .expires()
                .is_some_and(|end| end > signed(now));
            let ended = next.expires().filter(|end| is_good && *end <= signed(now));
            if let Some(end) = ended {
                return Err(whole(&self.pair.certificate, ended_at(end)));
            }
            let taken = self.certificate.replace(chain.as_bytes(), key.as_bytes());
            taken.map_err(|error| finding(&self.pair, &error))
        });
        match taken {
            Ok(()) => {
                self.expires
                    .set(self.certificate.expires().unwrap_or_default());
                Ok(true)
            }
            Err(finding) => {
                self.doubt = Some(finding);
                Ok(false)
            }
        }
    }
}

/// What is wrong or odd with a pair of files; that they are not there yet is a warning. `now` is Unix seconds.
pub(crate) fn check(pair: &PemPair, now: u64, report: &mut Report) {
    let mut look = |path: &Path| {
        let text = std::fs::read_to_string(path);
        let text = text.map_err(|error| whole(path, format!("cannot be read: {error}")));
        text.map_err(|finding| report.push(finding)).ok()
    };
    if let (Some(chain), Some(key)) = (look(&pair.certificate), look(&pair.key)) {
        match read(pair, &chain, &key) {
            Ok(certificate) => report.extend(notice(&pair.certificate, &certificate, now)),
            Err(finding) => report.push(finding),
        }
    }
    for path in [&pair.certificate, &pair.key] {
        report.soften_missing(path, "no handshake succeeds");
    }
    report.extend(secret::exposed(&pair.key));
}

fn read(pair: &PemPair, chain: &str, key: &str) -> Result<Certificate, Diagnostic> {
    Certificate::from_pem(chain.as_bytes(), key.as_bytes()).map_err(|error| finding(pair, &error))
}

/// The error at the file that has to be put right.
fn finding(pair: &PemPair, error: &CertificateError) -> Diagnostic {
    let file = match error {
        CertificateError::Chain(_) | CertificateError::NoCertificate => &pair.certificate,
        CertificateError::Key(_) | CertificateError::Mismatch => &pair.key,
        CertificateError::Unusable(_) => &pair.certificate,
    };
    whole(file, error.to_string())
}

/// That a certificate has ended (an error), or ends soon (a warning).
fn notice(path: &Path, certificate: &Certificate, now: u64) -> Option<Diagnostic> {
    let end = certificate.expires()?;
    let left = end - signed(now);
    if left <= 0 {
        return Some(whole(path, ended_at(end)));
    }
    (left < signed(NOTICE)).then(|| {
        let (at, days) = (moment(end), left / signed(DAY));
        let message = format!("the certificate ends at {at}, in {days} days");
        Diagnostic::warning(path.display().to_string(), message)
    })
}

fn ended_at(end: i64) -> String {
    format!("the certificate ended at {}", moment(end))
}

fn moment(seconds: i64) -> Moment {
    Moment(seconds.try_into().unwrap_or_default())
}

fn signed(seconds: u64) -> i64 {
    i64::try_from(seconds).unwrap_or(i64::MAX)
}

fn whole(path: &Path, message: String) -> Diagnostic {
    Diagnostic::error(path.display().to_string(), 0, 0, message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    /// When the tests take place: 2027-01-15T08:00:00Z.
    const NOW: u64 = 1_800_000_000;

    /// Two files that are followed, and a copy of the keeper's certificate.
    struct Scene {
        folder: tempfile::TempDir,
        keeper: Keeper,
        reloads: Reloads,
        registry: Registry,
    }

    /// A certificate that ends on this day of 2027, and its key.
    fn made(month: u8, day: u8) -> (String, String) {
        let mut wanted = rcgen::CertificateParams::new(["ns.test".to_owned()]).unwrap();
        wanted.not_after = rcgen::date_time_ymd(2027, month, day);
        let key = rcgen::KeyPair::generate().unwrap();
        let made = wanted.self_signed(&key).unwrap();
        (made.pem(), key.serialize_pem())
    }

    impl Scene {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let registry = Registry::new();
            let pair = PemPair {
                certificate: folder.path().join("chain"),
                key: folder.path().join("key"),
            };
            Self {
                keeper: Keeper::register(pair, &registry).unwrap(),
                reloads: Reloads::register(&registry).unwrap(),
                folder,
                registry,
            }
        }

        fn write(&self, name: &str, text: &str) {
            secret::replace(&self.folder.path().join(name), text).unwrap();
        }

        fn put(&self, (chain, key): &(String, String)) {
            self.write("chain", chain);
            self.write("key", key);
        }

        /// What is told by the next look and the one behind it, without the folder.
        fn told(&mut self) -> Vec<String> {
            let looks = [self.keeper.poll(NOW), self.keeper.poll(NOW)];
            let told = looks.into_iter().filter_map(Result::err);
            let folder = format!("{}/", self.folder.path().display());
            told.map(|finding| finding.to_string().replace(&folder, ""))
                .collect()
        }

        fn checked(&self) -> String {
            let mut report = Report::default();
            check(&self.keeper.pair, NOW, &mut report);
            let folder = format!("{}/", self.folder.path().display());
            report.to_string().replace(&folder, "")
        }
    }

    #[test]
    fn what_is_wrong_is_told_once_with_its_file_and_leaves_the_certificate_before() {
        let mut scene = Scene::new();
        let (first, second) = (made(6, 1), made(7, 1));
        scene.put(&first);
        assert_eq!(scene.keeper.poll(NOW), Ok(true));
        let ends = scene.keeper.certificate().expires();
        let unusable = "chain: error: certificate and private key cannot be used: ";
        for (name, text, expected) in [
            (
                "key",
                &second.1[..],
                "key: error: the private key does not belong to the certificate",
            ),
            (
                "key",
                &second.1[..60],
                "key: error: the private key cannot be read: ",
            ),
            (
                "chain",
                &first.0[..60],
                "chain: error: the certificate chain cannot be read: ",
            ),
            (
                "chain",
                "",
                "chain: error: the certificate chain holds no CERTIFICATE section",
            ),
            (
                "chain",
                "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
                unusable,
            ),
        ] {
            scene.put(&first);
            let _ = scene.told();
            scene.write(name, text);
            let told = scene.told();
            assert!(told.len() == 1 && told[0].starts_with(expected), "{told:?}");
            assert_eq!(scene.keeper.poll(NOW), Ok(false), "told once");
            assert_eq!(scene.keeper.certificate().expires(), ends);
            assert!(scene.checked().starts_with(expected), "{}", scene.checked());
        }
        std::fs::remove_file(scene.folder.path().join("key")).unwrap();
        scene.write("chain", &second.0);
        let told = scene.told();
        assert!(
            told[0].starts_with("key: error: cannot be read: "),
            "{told:?}"
        );
        scene.write("key", &second.1);
        assert_eq!(scene.keeper.poll(NOW), Ok(true));
        assert_ne!(scene.keeper.certificate().expires(), ends);
    }

    #[test]
    fn between_the_writing_of_one_file_and_of_the_other_nothing_is_told() {
        let mut scene = Scene::new();
        let (first, second) = (made(6, 1), made(7, 1));
        scene.put(&first);
        assert_eq!(scene.keeper.poll(NOW), Ok(true));
        scene.write("chain", &second.0);
        assert_eq!(scene.keeper.poll(NOW), Ok(false));
        scene.write("key", &second.1);
        assert_eq!(scene.keeper.poll(NOW), Ok(true));
        assert_eq!(scene.keeper.poll(NOW), Ok(false));
    }

    #[test]
    fn one_that_has_ended_does_not_take_the_place_of_one_that_has_not() {
        let mut scene = Scene::new();
        let (ended, good) = (made(1, 15), made(7, 1));
        let expected = "chain: error: the certificate ended at 2027-01-15T00:00:00Z";
        scene.put(&ended);
        assert_eq!(scene.keeper.poll(NOW), Ok(true), "better than none");
        assert_eq!(scene.checked(), expected);
        scene.put(&good);
        assert_eq!(scene.keeper.poll(NOW), Ok(true));
        scene.put(&ended);
        assert_eq!(scene.told(), [expected]);
    }

    #[test]
    fn the_end_is_shown_and_told_of_a_month_before() {
        let mut scene = Scene::new();
        scene.put(&made(2, 15));
        assert_eq!(scene.checked(), "");
        scene.put(&made(2, 14));
        scene.keeper.follow(&scene.reloads, NOW);
        let text = crate::exposition::text(&scene.registry);
        let line = "signpost_tls_certificate_expiry_timestamp_seconds 1802563200\n";
        assert!(text.contains(line), "{text}");
        assert_eq!(scene.keeper.noticed, Some(NOW));
        scene.keeper.follow(&scene.reloads, NOW + DAY - 1);
        assert_eq!(scene.keeper.noticed, Some(NOW), "once a day");
        scene.keeper.follow(&scene.reloads, NOW + DAY);
        assert_eq!(scene.keeper.noticed, Some(NOW + DAY));
        let expected = "chain: warning: the certificate ends at 2027-02-14T00:00:00Z, in 29 days";
        assert_eq!(scene.checked(), expected);
    }

    #[test]
    fn a_key_that_others_may_read_is_served_and_warned_of() {
        let mut scene = Scene::new();
        scene.put(&made(6, 1));
        let key = scene.folder.path().join("key");
        std::fs::set_permissions(key, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(scene.keeper.poll(NOW), Ok(true));
        let expected = "key: warning: it holds secrets, and others than its owner have access (mode 644) (chmod 600)";
        assert_eq!(scene.checked(), expected);
    }

    #[test]
    fn files_that_are_not_there_yet_are_a_warning() {
        let scene = Scene::new();
        let expected = "chain: warning: it is not there yet: no handshake succeeds\n\
                        key: warning: it is not there yet: no handshake succeeds";
        assert_eq!(scene.checked(), expected);
    }
}
