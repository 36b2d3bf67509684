//! What the configurations of both name servers have in common, and what of it goes into every snapshot.

use std::fmt;
use std::net::SocketAddr;
use std::num::{NonZeroU32, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::time::Duration;

use dns_engine::Snapshot;
use dns_transport::StreamLimits;
use dns_transport::proxy::{Network, NetworkError, Trusted};
use serde::de::value::SeqAccessDeserializer;
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use service::admin::LOOPBACK;
use service::diagnostic::{Diagnostic, Report};

use crate::dnstap::Dnstap;

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
    /// `[tcp]`.
    pub tcp: Tcp,
    /// `[proxy]`.
    pub proxy: Proxy,
    /// `[identity]`.
    pub identity: Identity,
    /// `[dnstap]`.
    pub dnstap: Dnstap,
}

impl Default for Settings {
    /// Loopback, on ports that are free.
    fn default() -> Self {
        Self {
            listen: vec![LOOPBACK],
            admin: LOOPBACK,
            workers: 0,
            udp_payload: UdpPayload::default(),
            tcp: Tcp::default(),
            proxy: Proxy::default(),
            identity: Identity::default(),
            dnstap: Dnstap::default(),
        }
    }
}

/// `udp_payload`: the largest UDP answer in octets, 512 to 4096.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "u16")]
pub struct UdpPayload(u16);

impl Default for UdpPayload {
    fn default() -> Self {
        Self(dns_engine::UDP_PAYLOAD)
    }
}

impl TryFrom<u16> for UdpPayload {
    type Error = String;

    fn try_from(octets: u16) -> Result<Self, String> {
        (512..=4096)
            .contains(&octets)
            .then_some(Self(octets))
            .ok_or_else(|| format!("{octets} octets: a UDP answer has at most 512 to 4096"))
    }
}

/// `[tcp]`: caps and deadlines of connections, for each listening address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// Open connections. One more, and the one that wastes most is closed.
    pub connections: NonZeroUsize,
    /// Open connections of one source: an IPv4 address or an IPv6 /64.
    pub connections_per_source: NonZeroUsize,
    /// Milliseconds to wait for the first octet of a query.
    pub idle_ms: NonZeroU32,
    /// Milliseconds from the first octet of a query to its last.
    pub message_ms: NonZeroU32,
    /// Milliseconds for a client to take its answers.
    pub write_ms: NonZeroU32,
    /// Milliseconds that open connections get to finish when the server ends.
    pub drain_ms: u32,
}

impl Default for Tcp {
    fn default() -> Self {
        let limits = StreamLimits::default();
        let count = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        let millis = |time: Duration| time.as_millis() as u32; // seconds
        let nonzero = |time| NonZeroU32::new(millis(time)).unwrap_or(NonZeroU32::MIN);
        Self {
            connections: count(limits.connections_max),
            connections_per_source: count(limits.connections_per_source_max),
            idle_ms: nonzero(limits.idle),
            message_ms: nonzero(limits.message),
            write_ms: nonzero(limits.write),
            drain_ms: millis(limits.drain),
        }
    }
}

impl Tcp {
    pub(crate) fn limits(&self) -> StreamLimits {
        let time = |millis: NonZeroU32| Duration::from_millis(millis.get().into());
        StreamLimits {
            connections_max: self.connections.get(),
            connections_per_source_max: self.connections_per_source.get(),
            idle: time(self.idle_ms),
            message: time(self.message_ms),
            write: time(self.write_ms),
            drain: Duration::from_millis(self.drain_ms.into()),
            ..StreamLimits::default()
        }
    }
}

/// `[proxy]`: balancers in front of the server.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Proxy {
    /// Networks whose hosts put a PROXY header (version 2) in front of every datagram and connection, and are refused
    /// without one. Only balancers: what they say about the client is believed.
    pub networks: Vec<ProxyNetwork>,
}

/// A network such as `192.0.2.0/24`.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(try_from = "String")]
pub struct ProxyNetwork(Network);

impl TryFrom<String> for ProxyNetwork {
    type Error = NetworkError;

    fn try_from(text: String) -> Result<Self, NetworkError> {
        text.parse().map(Self)
    }
}

impl Proxy {
    pub(crate) fn trusted(&self) -> Trusted {
        self.networks.iter().map(|network| network.0).collect()
    }
}

/// `[identity]`: what the server says about itself to who asks; nothing by default.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Identity {
    /// Name server identifier (RFC 5001): text, at most 128 octets.
    pub nsid: Option<Nsid>,
}

/// A name server identifier.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub struct Nsid(String);

/// The engine sends so many octets of it.
const NSID_MAX: usize = 128;

impl TryFrom<String> for Nsid {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        match text.len() {
            1..=NSID_MAX => Ok(Self(text)),
            length => Err(format!(
                "{length} octets: an identifier has 1 to {NSID_MAX}"
            )),
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
        let mut error = |message: String| {
            report.push(Diagnostic::error(file.display().to_string(), 0, 0, message));
        };
        if self.listen.is_empty() {
            error("`listen` is empty: nobody could ask this server".to_owned());
        }
        for (index, address) in self.listen.iter().enumerate() {
            let twice = self.listen.iter().take(index).any(|other| other == address);
            if twice && address.port() != 0 {
                error(format!("`listen` names {address} twice"));
            }
        }
    }

    /// Puts into a snapshot what is not the program's business.
    pub(crate) fn furnish(&self, snapshot: &mut Snapshot) {
        snapshot.limits.udp_payload = self.udp_payload.0;
        let nsid = self.identity.nsid.as_ref();
        snapshot.identity.nsid = nsid.map(|nsid| nsid.0.as_bytes().into());
    }
}

/// Reads one path, or a list of paths: `#[serde(deserialize_with = "…")]`.
///
/// # Errors
/// When it is neither.
pub fn one_or_more<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<PathBuf>, D::Error> {
    struct OneOrMore;

    impl<'de> Visitor<'de> for OneOrMore {
        type Value = Vec<PathBuf>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a path or a list of paths")
        }

        fn visit_str<E>(self, path: &str) -> Result<Vec<PathBuf>, E> {
            Ok(vec![path.into()])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, paths: A) -> Result<Vec<PathBuf>, A::Error> {
            Vec::deserialize(SeqAccessDeserializer::new(paths))
        }
    }

    from.deserialize_any(OneOrMore)
}

/// The paths in the common tables, for resolving them against the folder of the configuration file.
pub fn paths(dnstap: &mut Dnstap) -> impl Iterator<Item = &mut PathBuf> {
    dnstap.socket.iter_mut()
}

/// An example configuration with its commented keys (`# key = …`) as keys, for the tests that load every example.
pub fn uncommented(text: &str) -> String {
    let is_key = |line: &str| {
        let key = line.split_once('=').map_or("", |(key, _)| key.trim_end());
        !key.is_empty()
            && key
                .bytes()
                .all(|octet| octet.is_ascii_lowercase() || octet == b'_')
    };
    let line = |line| match str::strip_prefix(line, "# ") {
        Some(key) if is_key(key) => key,
        _ => line,
    };
    text.lines().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The common tables as they stand in both programs' files.
    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields, default)]
    #[allow(dead_code, reason = "only read")]
    struct Tables {
        #[serde(deserialize_with = "one_or_more")]
        zones: Vec<PathBuf>,
        udp_payload: UdpPayload,
        tcp: Tcp,
        proxy: Proxy,
        identity: Identity,
        dnstap: Dnstap,
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
        check("[tcp]\nconnections = 0", "2:15: error: invalid value");
        check("[tcp]\nidle_ms = 0", "2:11: error: invalid value");
        check(
            "[proxy]\nnetworks = [\"192.0.2.1/24\"]",
            "2:12: error: `192.0.2.1/24` has bits set",
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
    fn an_address_is_listed_once_and_there_is_one() {
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
        check(
            &["127.0.0.1:53", "[::1]:53", "127.0.0.1:0", "127.0.0.1:0"],
            0,
        );
        check(&["127.0.0.1:53", "127.0.0.1:53"], 1);
    }
}
