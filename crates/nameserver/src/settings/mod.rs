//! What the configurations of both name servers have in common, and what of it goes into every snapshot.

mod addresses;
mod answers;
mod cookies;
mod proxy;
mod rate_limit;
mod reading;
mod tcp;
mod tls;
mod xdp;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use dns_engine::{Cookies as EngineCookies, Snapshot};
use service::admin::LOOPBACK;
use service::diagnostic::{Diagnostic, Report};

use crate::dnssec::Dnssec;
use crate::dnstap::Dnstap;
use crate::transfer::Transfer;
use crate::unix_seconds;
pub use answers::{Identity, Text, UdpPayload};
pub use cookies::Cookies;
pub(crate) use cookies::parse as cookie_secrets;
pub use proxy::{Proxy, ProxyNetwork};
pub use rate_limit::{Exempt, RateLimit};
pub use reading::{one_or_more, uncommented};
pub use tcp::Tcp;
pub use tls::{PemPair, Tls};
pub use xdp::{Xdp, XdpMode};

/// The common part of a configuration. Each program has these keys and tables at the top of its file.
#[derive(Clone, Debug)]
pub struct Settings {
    /// `listen`: addresses to answer on, UDP and TCP on each.
    pub listen: Vec<SocketAddr>,
    /// `admin`: where metrics, health and the program's own pages are served over HTTP.
    pub admin: SocketAddr,
    /// `workers`: UDP threads for each address; 0 means one for each core.
    pub workers: usize,
    /// `udp_payload`.
    pub udp_payload: UdpPayload,
    /// `[xdp]`.
    pub xdp: Xdp,
    /// `[tcp]`.
    pub tcp: Tcp,
    /// `[tls]`.
    pub tls: Tls,
    /// `[proxy]`.
    pub proxy: Proxy,
    /// `[cookies]`.
    pub cookies: Cookies,
    /// `[rate_limit]`.
    pub rate_limit: RateLimit,
    /// `[dnssec]`.
    pub dnssec: Dnssec,
    /// `[identity]`.
    pub identity: Identity,
    /// `[dnstap]`.
    pub dnstap: Dnstap,
    /// `[transfer]`.
    pub transfer: Transfer,
}

impl Default for Settings {
    /// Loopback, on ports that are free.
    fn default() -> Self {
        Self {
            listen: vec![LOOPBACK],
            admin: LOOPBACK,
            workers: 0,
            udp_payload: UdpPayload::default(),
            xdp: Xdp::default(),
            tcp: Tcp::default(),
            tls: Tls::default(),
            proxy: Proxy::default(),
            cookies: Cookies::default(),
            rate_limit: RateLimit::default(),
            dnssec: Dnssec::default(),
            identity: Identity::default(),
            dnstap: Dnstap::default(),
            transfer: Transfer::default(),
        }
    }
}

impl Settings {
    /// UDP threads for each address, with 0 resolved to the number of cores.
    pub fn worker_count(&self) -> usize {
        match self.workers {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            workers => workers,
        }
    }

    /// What is wrong with them together; `file` is where they were read.
    pub fn check(&self, file: &Path, report: &mut Report) {
        if self.listen.is_empty() {
            let message = "`listen` is empty: nobody could ask this server";
            report.push(Diagnostic::error(file.display().to_string(), 0, 0, message));
        }
        self.check_addresses(file, report);
        report.extend(self.descriptor_shortage().map(|shortage| {
            Diagnostic::warning(file.display().to_string(), shortage)
                .with_hint("LimitNOFILE= of the unit, or `ulimit -n`")
        }));
        self.xdp.check(file, report);
        self.tls.check(file, report);
        if let Some(pair) = &self.tls.pair {
            crate::certificate::check(pair, unix_seconds(), report);
        }
        let secrets = self.cookies.secrets.as_deref();
        if let Some(secrets) = secrets.filter(|_| self.cookies.enabled) {
            crate::cookies::check(secrets, report);
        }
    }

    /// Puts into a snapshot what is not the program's business. `key` is a random number that stays while the server runs.
    pub(crate) fn furnish(
        &self,
        cookies: Option<EngineCookies>,
        key: u64,
        snapshot: &mut Snapshot,
    ) {
        snapshot.limits.udp_payload = self.udp_payload.octets();
        snapshot.limits.keepalive = Some(self.tcp.keepalive());
        snapshot.identity = self.identity.to_engine();
        snapshot.cookies = cookies;
        snapshot.rate = self.rate_limit.to_engine(key);
    }
}

/// The paths in the common tables, for resolving them against the folder of the configuration file.
pub fn paths<'c>(
    tls: &'c mut Tls,
    cookies: &'c mut Cookies,
    dnssec: &'c mut Dnssec,
    dnstap: &'c mut Dnstap,
    transfer: &'c mut Transfer,
) -> impl Iterator<Item = &'c mut PathBuf> {
    let pair = tls.pair.iter_mut();
    let pair = pair.flat_map(|pair| [&mut pair.certificate, &mut pair.key]);
    let secrets = pair.chain(&mut cookies.secrets);
    let folders = secrets.chain([&mut dnssec.keys]);
    folders.chain(&mut dnstap.socket).chain(transfer.paths())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    /// The common tables as they stand in both programs' files.
    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[allow(dead_code, reason = "only read")]
    struct Tables {
        #[serde(deserialize_with = "one_or_more")]
        zones: Vec<PathBuf>,
        udp_payload: UdpPayload,
        xdp: Xdp,
        tcp: Tcp,
        tls: Tls,
        proxy: Proxy,
        cookies: Cookies,
        rate_limit: RateLimit,
        dnssec: Dnssec,
        identity: Identity,
        dnstap: Dnstap,
        transfer: Transfer,
    }

    fn check(text: &str, expected: &str) {
        let error = service::config::parse::<Tables>("x.toml", text).unwrap_err();
        let error = error.to_string();
        assert!(
            error.starts_with("x.toml:") && error.contains(expected),
            "{error}"
        );
    }

    #[test]
    fn a_value_that_makes_no_sense_is_refused_where_it_stands() {
        check("udp_payload = 511", "1:15: error: 511 octets");
        check("udp_payload = 4097", "1:15: error: 4097 octets");
        check("[xdp]\nqueues = 0", "2:10: error: invalid value");
        check("[xdp]\nmode = \"fast\"", "2:8: error: unknown variant");
        check("[tcp]\nconnections = 0", "2:15: error: invalid value");
        check("[tcp]\nidle_ms = 0", "2:11: error: invalid value");
        check(
            "[proxy]\nnetworks = [\"192.0.2.1/24\"]",
            "2:12: error: `192.0.2.1/24` has bits set",
        );
        check("[rate_limit]\nper_second = 0", "2:14: error: invalid value");
        check(
            "[rate_limit]\nexempt = [\"loopback\"]",
            "2:10: error: expected an address, or a network",
        );
        check("[identity]\nnsid = \"\"", "2:8: error: 0 octets");
        let long = format!("[identity]\nnsid = \"{}\"", "x".repeat(129));
        check(&long, "2:8: error: 129 octets");
        check("[dnstap]\nsample = 0", "2:10: error: invalid value");
    }

    #[test]
    fn zones_are_one_place_or_a_list() {
        for text in ["zones = \"a\"", "zones = [\"a\"]"] {
            let tables: Tables = service::config::parse("x.toml", text).unwrap();
            assert_eq!(tables.zones, [PathBuf::from("a")]);
        }
        check(
            "zones = 5",
            "1:9: error: invalid type: integer `5`, expected a path or a list",
        );
        check("zones = [5]", "1:10: error: invalid type");
    }

    #[test]
    fn an_unknown_key_gets_the_one_that_was_meant() {
        check("[tcp]\nidel_ms = 5", "(did you mean `idle_ms`?)");
        check(
            "[identity]\nnsdi = \"x\"",
            "2:1: error: unknown field `nsdi`",
        );
        check("[dnstap]\nsokcet = \"x\"", "(did you mean `socket`?)");
    }

    #[test]
    fn a_certificate_and_its_key_go_with_addresses() {
        check("[tls]\nlisten_tls = [\"127.0.0.1\"]", "2:15: error: ");
        check("[tls]\nlisten_quic = [\"localhost:853\"]", "2:16: error: ");
        check(
            "[tls]\nlisten_https = [\"127.0.0.1:70000\"]",
            "2:17: error: ",
        );
        check(
            "[tls]\nlisten_quic = [\"127.0.0.1:853\"]",
            "1:1: error: `listen_quic` needs a `certificate` and its `key`",
        );
        check("[tls]\nkey = \"k\"", "1:1: error: there is a `key`, but no");
        check("[tls]\nlisten = []", "2:1: error: unknown field `listen`");
        let tls = service::config::parse::<Tables>("x.toml", "[tls]").unwrap();
        assert_eq!(tls.tls.pair, None);
    }

    #[test]
    fn an_interface_that_is_not_there_is_told_of_and_no_error() {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        let text = "listen = [\"127.0.0.1:53\"]\n[xdp]\ninterfaces = [\"nowhere0\"]\n";
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let settings = Settings {
            xdp: Xdp {
                interfaces: vec!["nowhere0".to_owned()],
                ..Xdp::default()
            },
            ..Settings::default()
        };
        let mut report = Report::default();
        settings.check(file.path(), &mut report);
        assert_eq!((report.errors(), report.findings.len()), (0, 1), "{report}");
        let told = report.findings[0].to_string();
        let expected = ":3:15: warning: no XDP on nowhere0: ";
        assert!(told.contains(expected), "{told}");
    }

    #[test]
    fn a_server_has_an_address() {
        let check = |listen: &[&str], expected: usize| {
            let settings = Settings {
                listen: listen.iter().map(|text| text.parse().unwrap()).collect(),
                ..Settings::default()
            };
            let mut report = Report::default();
            settings.check(Path::new("x.toml"), &mut report);
            assert_eq!(report.errors(), expected, "{listen:?}");
        };
        check(&[], 1);
        check(&["127.0.0.1:53"], 0);
    }
}
