//! The addresses a server binds, and whether two of them are in each other's way.

use std::fmt;
use std::net::SocketAddr;
use std::path::Path;

use service::diagnostic::{Diagnostic, Report, line_and_column};
use toml::de::{DeTable, DeValue};

use super::Settings;

/// One address of the configuration.
struct Bound {
    /// Where it stands: tables and key, and the place in its list.
    keys: &'static [&'static str],
    index: usize,
    address: SocketAddr,
    /// Kinds of socket that are bound to it.
    sockets: Sockets,
}

#[derive(Clone, Copy)]
struct Sockets {
    datagram: bool,
    stream: bool,
}

impl Sockets {
    const BOTH: Self = Self {
        datagram: true,
        stream: true,
    };
    const DATAGRAM: Self = Self {
        stream: false,
        ..Self::BOTH
    };
    const STREAM: Self = Self {
        datagram: false,
        ..Self::BOTH
    };
}

impl fmt::Display for Bound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`", self.keys.join("."))
    }
}

impl Bound {
    /// True if not both can be bound. Sockets of IPv6 take no IPv4, so the families are apart.
    fn clashes(&self, other: &Self) -> bool {
        let (one, two) = (self.address, other.address);
        let share = self.sockets.datagram && other.sockets.datagram
            || self.sockets.stream && other.sockets.stream;
        let meet = one.ip() == two.ip()
            || one.is_ipv4() == two.is_ipv4()
                && (one.ip().is_unspecified() || two.ip().is_unspecified());
        share && meet && one.port() == two.port() && one.port() != 0
    }
}

impl Settings {
    /// Reports addresses of this file that another one has taken.
    pub(super) fn check_addresses(&self, file: &Path, report: &mut Report) {
        let all = self.bound();
        for (at, two) in all.iter().enumerate() {
            let Some(one) = all[..at].iter().find(|one| one.clashes(two)) else {
                continue;
            };
            let (first, second) = (one.address, two.address);
            let message = match (one.keys == two.keys, first == second) {
                (true, true) => format!("{two} names {second} twice"),
                (_, true) => format!("{two} and {one} both name {second}"),
                (_, false) => format!("{two}: {second} and {first} in {one} cannot both be bound"),
            };
            let (line, column) = place(file, two.keys, two.index);
            report.push(Diagnostic::error(
                file.display().to_string(),
                line,
                column,
                message,
            ));
        }
    }

    fn bound(&self) -> Vec<Bound> {
        let mut all = Vec::new();
        let admin = std::slice::from_ref(&self.admin);
        let lists: [(&[&str], &[SocketAddr], Sockets); 5] = [
            (&["listen"], &self.listen, Sockets::BOTH),
            (&["admin"], admin, Sockets::STREAM),
            (
                &["tls", "listen_tls"],
                &self.tls.listen_tls,
                Sockets::STREAM,
            ),
            (
                &["tls", "listen_https"],
                &self.tls.listen_https,
                Sockets::STREAM,
            ),
            (
                &["tls", "listen_quic"],
                &self.tls.listen_quic,
                Sockets::DATAGRAM,
            ),
        ];
        for (keys, addresses, sockets) in lists {
            let addresses = addresses.iter().copied().enumerate();
            all.extend(addresses.map(|(index, address)| Bound {
                keys,
                index,
                address,
                sockets,
            }));
        }
        all
    }
}

/// Line and column of a value in a TOML file, or of an element if it is a list; zeros if it is not written there.
pub(super) fn place(file: &Path, keys: &[&str], index: usize) -> (usize, usize) {
    let text = std::fs::read_to_string(file).unwrap_or_default();
    let start = DeTable::parse(&text).ok().and_then(|root| {
        let mut found = root.span();
        let mut table = Some(root.get_ref());
        let mut list = None;
        for key in keys {
            let value = table?.get(*key)?;
            found = value.span();
            table = value.get_ref().as_table();
            list = value.get_ref().as_array();
        }
        let element = list.and_then(|list| list.get(index));
        let element = element.map(|element: &toml::Spanned<DeValue<'_>>| element.span());
        Some(element.unwrap_or(found).start)
    });
    start.map_or((0, 0), |start| line_and_column(&text, start))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use service::admin::LOOPBACK;

    use super::super::Tls;
    use super::*;

    #[derive(Deserialize)]
    #[serde(default)]
    struct Written {
        listen: Vec<SocketAddr>,
        admin: SocketAddr,
        tls: Tls,
    }

    impl Default for Written {
        fn default() -> Self {
            Self {
                listen: Vec::new(),
                admin: LOOPBACK,
                tls: Tls::default(),
            }
        }
    }

    fn check(text: &str, expected: &[&str]) {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        std::io::Write::write_all(&mut file, text.as_bytes()).unwrap();
        let Written { listen, admin, tls } = service::config::parse("x.toml", text).unwrap();
        let settings = Settings {
            listen,
            admin,
            tls,
            ..Settings::default()
        };
        let mut report = Report::default();
        settings.check_addresses(file.path(), &mut report);
        let place = format!("{}:", file.path().display());
        let findings = report.findings.iter().map(ToString::to_string);
        let findings: Vec<_> = findings.map(|text| text.replace(&place, "")).collect();
        assert_eq!(findings, expected, "{text}");
    }

    /// The three lists of `[tls]`.
    fn tls(lists: &str) -> String {
        format!("[tls]\ncertificate = \"c\"\nkey = \"k\"\n{lists}")
    }

    #[test]
    fn an_address_is_listed_once() {
        check(
            "listen = [\"127.0.0.1:53\", \"[::1]:53\", \"127.0.0.2:53\"]",
            &[],
        );
        check("listen = [\"127.0.0.1:0\", \"127.0.0.1:0\"]", &[]);
        check(
            "listen = [\"127.0.0.1:53\", \"127.0.0.1:53\"]",
            &["1:27: error: `listen` names 127.0.0.1:53 twice"],
        );
        check(
            &tls("listen_quic = [\"[::1]:853\", \"[::1]:853\"]"),
            &["4:29: error: `tls.listen_quic` names [::1]:853 twice"],
        );
    }

    #[test]
    fn lists_share_an_address_only_if_one_binds_datagrams_and_the_other_streams() {
        let lists = "listen_tls = [\"[::1]:853\"]\nlisten_quic = [\"[::1]:853\"]";
        check(&tls(lists), &[]);
        let both = "both name [::1]:853";
        check(
            &format!("listen = [\"[::1]:853\"]\n{}", tls(lists)),
            &[
                &format!("5:15: error: `tls.listen_tls` and `listen` {both}"),
                &format!("6:16: error: `tls.listen_quic` and `listen` {both}"),
            ],
        );
        check(
            &format!("admin = \"[::1]:853\"\n{}", tls(lists)),
            &[&format!("5:15: error: `tls.listen_tls` and `admin` {both}")],
        );
        check(
            &tls("listen_tls = [\"[::1]:853\"]\nlisten_https = [\"[::1]:853\"]"),
            &[&format!(
                "5:17: error: `tls.listen_https` and `tls.listen_tls` {both}"
            )],
        );
        check(
            "listen = [\"127.0.0.1:9301\"]\nadmin = \"127.0.0.1:9301\"",
            &["2:9: error: `admin` and `listen` both name 127.0.0.1:9301"],
        );
    }

    #[test]
    fn a_wildcard_takes_the_port_of_its_family() {
        check("listen = [\"0.0.0.0:53\", \"[::]:53\", \"[::1]:54\"]", &[]);
        check(
            "listen = [\"127.0.0.1:53\", \"0.0.0.0:53\"]",
            &[
                "1:27: error: `listen`: 0.0.0.0:53 and 127.0.0.1:53 in `listen` cannot both be bound",
            ],
        );
    }
}
