//! `[tls]`: the encrypted transports, and the certificate they share.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use service::diagnostic::{Diagnostic, Report};

use super::addresses::place;

/// `[tls]`: off until there are addresses to listen on.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(try_from = "Written")]
pub struct Tls {
    /// What the server shows and proves itself by; there whenever there is an address.
    pub pair: Option<PemPair>,
    /// `listen_tls`: DNS over TLS (RFC 7858), commonly port 853.
    pub listen_tls: Vec<SocketAddr>,
    /// `listen_https`: DNS over HTTPS (RFC 8484) at `/dns-query`, commonly port 443.
    pub listen_https: Vec<SocketAddr>,
    /// `listen_quic`: DNS over QUIC (RFC 9250), commonly port 853.
    pub listen_quic: Vec<SocketAddr>,
}

/// Two files in PEM form, followed while the server runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PemPair {
    /// `certificate`: the server's certificate first, then those that lead to the authority.
    pub certificate: PathBuf,
    /// `key`: its private key.
    pub key: PathBuf,
}

/// The table as it stands in the file.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Written {
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
    listen_tls: Vec<SocketAddr>,
    listen_https: Vec<SocketAddr>,
    listen_quic: Vec<SocketAddr>,
}

impl TryFrom<Written> for Tls {
    type Error = String;

    fn try_from(written: Written) -> Result<Self, String> {
        let pair = match (written.certificate, written.key) {
            (Some(certificate), Some(key)) => Some(PemPair { certificate, key }),
            (None, None) => None,
            (Some(_), None) => return Err("there is a `certificate`, but no `key`".to_owned()),
            (None, Some(_)) => return Err("there is a `key`, but no `certificate`".to_owned()),
        };
        let tls = Self {
            pair,
            listen_tls: written.listen_tls,
            listen_https: written.listen_https,
            listen_quic: written.listen_quic,
        };
        match tls.unprovided() {
            Some(key) => Err(format!("`{key}` needs a `certificate` and its `key`")),
            None => Ok(tls),
        }
    }
}

impl Tls {
    /// The first list that has addresses.
    fn used(&self) -> Option<&'static str> {
        let lists = [
            ("listen_tls", &self.listen_tls),
            ("listen_https", &self.listen_https),
            ("listen_quic", &self.listen_quic),
        ];
        let used = lists.into_iter().find(|(_, list)| !list.is_empty());
        used.map(|(key, _)| key)
    }

    /// A list that has addresses, if there is no certificate to listen with.
    pub(crate) fn unprovided(&self) -> Option<&'static str> {
        self.used().filter(|_| self.pair.is_none())
    }

    /// What is odd about the table of this file.
    pub(super) fn check(&self, file: &Path, report: &mut Report) {
        if self.pair.is_some() && self.used().is_none() {
            let message = "there is a certificate, but no address to show it on";
            let (line, column) = place(file, &["tls", "certificate"], 0);
            let finding = Diagnostic {
                line,
                column,
                ..Diagnostic::warning(file.display().to_string(), message)
            };
            let hint = "`listen_tls`, `listen_https` or `listen_quic` in [tls]";
            report.push(finding.with_hint(hint));
        }
    }
}
