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
        let (Some(chain), Some(key)) = (self.chain.text(), self.key.text()) else {
            return Ok(false);
        };
        let taken = read(&self.pair, chain, key).and_then(|next| {
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
