//! What a player reads from and writes into names: the service behind an SRV owner, the client-id label
//! in front of it, and the default title.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use hickory_proto::rr::Name;

use crate::resolve::ResolveError;

/// Prefix lengths used for a bare address: enough to place a client, not enough to name one (RFC 7871 §11.1).
const CLIENT_BITS_V4: u8 = 24;
/// See [`CLIENT_BITS_V4`].
const CLIENT_BITS_V6: u8 = 56;

/// The owner name of a service's SRV records: `_rtsp._tcp.live.stream.example.`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceName(Name);

impl ServiceName {
    /// The owner to ask for: the client-id label stands between `_rtsp._tcp.` and the rest.
    pub fn query_name(&self, client: Option<&ClientNet>) -> Result<Name, ResolveError> {
        let Some(client) = client else {
            return Ok(self.0.clone());
        };
        let label = client.label();
        let (front, back) = (self.0.iter().take(2), self.0.iter().skip(2));
        Name::from_labels(front.chain([label.as_bytes()]).chain(back)).map_err(|error| {
            ResolveError::BadName {
                name: self.0.to_string(),
                reason: error.to_string(),
            }
        })
    }

    /// The path of the title when the caller names none: the service's own label, `/live`.
    pub fn default_title(&self) -> String {
        let label = self
            .0
            .iter()
            .skip(2)
            .find(|label| !is_client_label(label))
            .unwrap_or(b"");
        String::from_utf8_lossy(label).into_owned()
    }
}

impl FromStr for ServiceName {
    type Err = ResolveError;

    /// Takes `_service._proto.name`, with or without the final dot.
    fn from_str(text: &str) -> Result<Self, ResolveError> {
        let bad = |reason: &str| ResolveError::BadName {
            name: text.into(),
            reason: reason.into(),
        };
        let mut name = Name::from_ascii(text).map_err(|error| bad(&error.to_string()))?;
        name.set_fqdn(true);
        let mut labels = name.iter();
        let underscored = |label: Option<&[u8]>| label.is_some_and(|l| l.first() == Some(&b'_'));
        if !underscored(labels.next()) || !underscored(labels.next()) || labels.next().is_none() {
            return Err(bad("an SRV name looks like _rtsp._tcp.live.stream.example"));
        }
        Ok(Self(name))
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// The network a player says it is in; host bits are cleared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientNet {
    /// First address of the network.
    pub address: IpAddr,
    /// Prefix length: 0..=32 or 0..=128.
    pub length: u8,
}

impl ClientNet {
    /// The label in front of a service: `ip4-198-51-100-0-24`, `ip6-2001-db8-0-0-0-0-0-0-56`.
    pub fn label(&self) -> String {
        match self.address {
            IpAddr::V4(address) => {
                let [a, b, c, d] = address.octets();
                format!("ip4-{a}-{b}-{c}-{d}-{}", self.length)
            }
            IpAddr::V6(address) => {
                let groups: Vec<_> = address
                    .segments()
                    .iter()
                    .map(|g| format!("{g:x}"))
                    .collect();
                format!("ip6-{}-{}", groups.join("-"), self.length)
            }
        }
    }
}

impl FromStr for ClientNet {
    type Err = String;

    /// Takes `198.51.100.0/24`, `2001:db8::/56` or a bare address (then /24 or /56).
    fn from_str(text: &str) -> Result<Self, String> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let address: IpAddr = address
            .parse()
            .map_err(|_| format!("`{address}` is not an IP address"))?;
        let (bits, usual) = match address {
            IpAddr::V4(_) => (32, CLIENT_BITS_V4),
            IpAddr::V6(_) => (128, CLIENT_BITS_V6),
        };
        let length = match length {
            None => usual,
            Some(length) => length
                .parse::<u8>()
                .ok()
                .filter(|length| *length <= bits)
                .ok_or_else(|| format!("`/{length}` is not a prefix length from 0 to {bits}"))?,
        };
        Ok(Self {
            address: masked(address, length),
            length,
        })
    }
}

impl fmt::Display for ClientNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.length)
    }
}

fn masked(address: IpAddr, length: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            IpAddr::V4((u32::from(v4) & mask).into())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            IpAddr::V6((u128::from(v6) & mask).into())
        }
    }
}

fn is_client_label(label: &[u8]) -> bool {
    let digits = |rest: &[u8]| rest.iter().all(|b| b.is_ascii_hexdigit() || *b == b'-');
    label
        .strip_prefix(b"ip4-")
        .or(label.strip_prefix(b"ip6-"))
        .is_some_and(digits)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(client: &str, expected: &str) {
        let service: ServiceName = "_rtsp._tcp.live.stream.example.".parse().unwrap();
        let client: ClientNet = client.parse().unwrap();
        assert_eq!(
            service.query_name(Some(&client)).unwrap().to_string(),
            expected
        );
    }

    #[test]
    fn the_client_label_stands_between_the_protocol_and_the_service() {
        check(
            "198.51.100.0/24",
            "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.example.",
        );
        check(
            "2001:db8::/56",
            "_rtsp._tcp.ip6-2001-db8-0-0-0-0-0-0-56.live.stream.example.",
        );
        check("0.0.0.0/0", "_rtsp._tcp.ip4-0-0-0-0-0.live.stream.example.");
    }

    #[test]
    fn a_bare_address_is_widened_and_host_bits_are_cleared() {
        check(
            "198.51.100.77",
            "_rtsp._tcp.ip4-198-51-100-0-24.live.stream.example.",
        );
        check(
            "198.51.100.77/25",
            "_rtsp._tcp.ip4-198-51-100-0-25.live.stream.example.",
        );
        check(
            "2001:db8:1:2ff::9",
            "_rtsp._tcp.ip6-2001-db8-1-200-0-0-0-0-56.live.stream.example.",
        );
    }

    #[test]
    fn without_a_client_the_owner_is_asked_as_it_is() {
        let service: ServiceName = "_rtsp._tcp.live.stream.example".parse().unwrap();
        assert_eq!(
            service.query_name(None).unwrap().to_string(),
            "_rtsp._tcp.live.stream.example."
        );
    }

    #[test]
    fn the_default_title_is_the_service_label() {
        let title = |name: &str| name.parse::<ServiceName>().unwrap().default_title();
        assert_eq!(title("_rtsp._tcp.live.stream.example"), "live");
        assert_eq!(
            title("_rtsp._tcp.ip4-198-51-100-0-24.vod.stream.example."),
            "vod"
        );
    }

    #[test]
    fn names_and_networks_that_are_none_are_refused() {
        for name in [
            "live.stream.example",
            "_rtsp._tcp",
            "",
            "_rtsp.live.example",
            "_rtsp._tcp.a..b",
        ] {
            assert!(name.parse::<ServiceName>().is_err(), "{name}");
        }
        for net in [
            "198.51.100.0/33",
            "fish",
            "198.51.100/24",
            "2001:db8::/129",
            "1.2.3.4/-1",
        ] {
            assert!(net.parse::<ClientNet>().is_err(), "{net}");
        }
    }
}
