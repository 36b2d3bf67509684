//! PROXY protocol, version 2: a trusted load balancer tells who its client is, in front of the first octet.
//!
//! After HAProxy's "The PROXY protocol", section 2.2. Only networks an operator lists may say so, and these must: a
//! missing or broken header is refused, so that nobody is taken for the balancer itself.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncReadExt};

/// What every header begins with; no DNS message and no TLS record does.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";
/// Signature, version with command, family with protocol, and the length of what follows.
const FIXED: usize = 16;
/// Two IPv6 addresses with their ports: commonly the longest that follows.
const ADDRESSES: usize = 36;

/// A header that was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Its octets; the client's follow.
    pub length: usize,
    /// Who talks to whom. `None`: the balancer itself (a health check), or it does not know.
    pub route: Option<Route>,
}

/// The client's connection to the balancer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// The client.
    pub source: SocketAddr,
    /// The address it asked.
    pub destination: SocketAddr,
}

/// Why there is no header.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// So far it looks like one.
    #[error("the PROXY header goes on to octet {0} at least")]
    Incomplete(usize),
    /// It is none, or not of version 2.
    #[error("no PROXY header of version 2")]
    Missing,
    /// An unknown command or family, or lengths that do not add up.
    #[error("a malformed PROXY header")]
    Malformed,
}

/// Reads the header at the start of a datagram or of a stream's first octets.
///
/// # Errors
/// [`HeaderError::Incomplete`] only if more octets could make it good.
pub fn parse(input: &[u8]) -> Result<Header, HeaderError> {
    let seen = input.len().min(SIGNATURE.len());
    if input[..seen] != SIGNATURE[..seen] {
        return Err(HeaderError::Missing);
    }
    let Some(fixed) = input.first_chunk::<FIXED>() else {
        return Err(HeaderError::Incomplete(FIXED));
    };
    let (version, command) = (fixed[12] >> 4, fixed[12] & 0xF);
    if version != 2 {
        return Err(HeaderError::Missing);
    }
    let (family, protocol) = (fixed[13] >> 4, fixed[13] & 0xF);
    // Local or proxied; unspecified, IPv4, IPv6 or a path; unspecified, stream or datagram. A balancer may turn
    // datagrams into a stream, so the protocol need not be the one that carries the header.
    if command > 1 || family > 3 || protocol > 2 {
        return Err(HeaderError::Malformed);
    }
    let length = FIXED + usize::from(u16::from_be_bytes([fixed[14], fixed[15]]));
    let Some(rest) = input.get(FIXED..length) else {
        return Err(HeaderError::Incomplete(length));
    };
    let route = if command == 0 {
        // Whatever a health check says about addresses is to be ignored.
        None
    } else {
        let (route, extras) = read_route(family, rest).ok_or(HeaderError::Malformed)?;
        are_extras(extras).ok_or(HeaderError::Malformed)?;
        route
    };
    Ok(Header { length, route })
}

/// The addresses, and what follows them; `None` if they are cut short or no Internet addresses.
fn read_route(family: u8, rest: &[u8]) -> Option<(Option<Route>, &[u8])> {
    let (source, destination, rest) = match family {
        0 => return Some((None, rest)),
        1 => read_ips::<4>(rest)?,
        2 => read_ips::<16>(rest)?,
        _ => return None,
    };
    let ([s1, s0, d1, d0], extras) = rest.split_first_chunk::<4>()?;
    let route = Route {
        source: SocketAddr::new(source, u16::from_be_bytes([*s1, *s0])),
        destination: SocketAddr::new(destination, u16::from_be_bytes([*d1, *d0])),
    };
    Some((Some(route), extras))
}

fn read_ips<const OCTETS: usize>(input: &[u8]) -> Option<(IpAddr, IpAddr, &[u8])>
where
    IpAddr: From<[u8; OCTETS]>,
{
    let (source, rest) = input.split_first_chunk::<OCTETS>()?;
    let (destination, rest) = rest.split_first_chunk::<OCTETS>()?;
    Some((IpAddr::from(*source), IpAddr::from(*destination), rest))
}

/// Checks that type, length and value follow one another to the end. What they say (TLS facts, names) is not used.
fn are_extras(mut extras: &[u8]) -> Option<()> {
    while !extras.is_empty() {
        let (head, rest) = extras.split_at_checked(3)?;
        extras = rest.get(usize::from(u16::from_be_bytes([head[1], head[2]]))..)?;
    }
    Some(())
}

/// Reads a header from a stream, and not an octet more.
pub(crate) async fn read(stream: &mut (impl AsyncRead + Unpin)) -> Result<Header, HeaderError> {
    let mut input = Vec::with_capacity(FIXED + ADDRESSES);
    loop {
        match parse(&input) {
            Err(HeaderError::Incomplete(length)) => {
                let start = input.len();
                input.resize(length, 0);
                let read = stream.read_exact(&mut input[start..]).await;
                read.map_err(|_| HeaderError::Missing)?;
            }
            other => return other,
        }
    }
}

/// The networks whose hosts put a PROXY header in front of everything; none by default.
#[derive(Debug, Clone, Default)]
pub struct Trusted(Option<Arc<[Network]>>);

impl Trusted {
    /// True if this peer must introduce its clients.
    pub fn contains(&self, peer: IpAddr) -> bool {
        // Nothing listed is the common case, asked about every datagram.
        self.0.as_ref().is_some_and(|networks| {
            let peer = peer.to_canonical();
            networks.iter().any(|network| network.contains(peer))
        })
    }
}

impl FromIterator<Network> for Trusted {
    fn from_iter<I: IntoIterator<Item = Network>>(networks: I) -> Self {
        let networks: Arc<[Network]> = networks.into_iter().collect();
        Self((!networks.is_empty()).then_some(networks))
    }
}

/// An address prefix, written `192.0.2.0/24` or `2001:db8::/32`; without a length it is one address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    length: u32,
}

/// Why a text is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NetworkError {
    /// No address in front of the slash.
    #[error("`{0}` is no network: expected something like 192.0.2.0/24 or 2001:db8::/32")]
    Syntax(String),
    /// More bits than the address has.
    #[error("`{0}`: the prefix length is at most {1}")]
    TooLong(String, u32),
    /// Bits set behind the prefix: one of the two is not meant.
    #[error("`{0}` has bits set behind its prefix; the network is {1}")]
    HostBits(String, String),
}

impl Network {
    fn contains(&self, peer: IpAddr) -> bool {
        match (self.address, peer) {
            (IpAddr::V4(ours), IpAddr::V4(peer)) => {
                peer.to_bits() & mask_v4(self.length) == ours.to_bits()
            }
            (IpAddr::V6(ours), IpAddr::V6(peer)) => {
                peer.to_bits() & mask_v6(self.length) == ours.to_bits()
            }
            _ => false,
        }
    }
}

impl FromStr for Network {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        let syntax = || NetworkError::Syntax(text.to_owned());
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length.parse().map_err(|_| syntax())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| syntax())?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let length = length.unwrap_or(most);
        if length > most {
            return Err(NetworkError::TooLong(text.to_owned(), most));
        }
        let base: IpAddr = match address {
            IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & mask_v4(length)).into(),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & mask_v6(length)).into(),
        };
        if base != address {
            let meant = format!("{base}/{length}");
            return Err(NetworkError::HostBits(text.to_owned(), meant));
        }
        Ok(Self { address, length })
    }
}

fn mask_v4(length: u32) -> u32 {
    u32::MAX.checked_shl(32 - length).unwrap_or(0)
}

fn mask_v6(length: u32) -> u128 {
    u128::MAX.checked_shl(128 - length).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header(version_command: u8, family_protocol: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = SIGNATURE.to_vec();
        header.extend([version_command, family_protocol]);
        header.extend((rest.len() as u16).to_be_bytes());
        header.extend(rest);
        header
    }

    fn v4() -> Vec<u8> {
        // 198.51.100.7:5353 asked 203.0.113.9:53; an authority extra with two octets, and an empty no-op.
        let addresses = [198, 51, 100, 7, 203, 0, 113, 9, 0x14, 0xE9, 0, 53];
        let extras = [0x02, 0, 2, b'a', b'b', 0x04, 0, 0];
        header(0x21, 0x12, &[&addresses[..], &extras].concat())
    }

    fn v6() -> Vec<u8> {
        let source = "2001:db8::7".parse::<Ipv6Addr>().unwrap().octets();
        let destination = "2001:db8::9".parse::<Ipv6Addr>().unwrap().octets();
        let ports = [0x14, 0xE9, 3, 85];
        header(0x21, 0x21, &[&source[..], &destination, &ports].concat())
    }

    fn check(input: &[u8], expected: Result<Option<(&str, &str)>, HeaderError>) {
        let route = |(source, destination): (&str, &str)| Route {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        };
        let read = parse(input).map(|header| {
            assert_eq!(header.length, input.len());
            header.route
        });
        assert_eq!(
            read,
            expected.map(|addresses| addresses.map(route)),
            "{input:?}"
        );
    }

    #[test]
    fn tells_client_and_address_asked() {
        check(&v4(), Ok(Some(("198.51.100.7:5353", "203.0.113.9:53"))));
        check(&v6(), Ok(Some(("[2001:db8::7]:5353", "[2001:db8::9]:853"))));
    }

    #[test]
    fn health_checks_and_unknown_addresses_are_the_peer_itself() {
        check(&header(0x20, 0x00, &[]), Ok(None));
        check(&header(0x20, 0x11, &[1; 12]), Ok(None));
        check(&header(0x21, 0x00, &[]), Ok(None));
        check(&header(0x21, 0x00, &[0x04, 0, 1, 0]), Ok(None));
    }

    #[test]
    fn what_is_no_header_is_told_from_one_that_is_broken() {
        use HeaderError::{Malformed, Missing};
        check(b"\0\x1d\x12\x34\x01\0\0\x01\0\0\0\0\0\0", Err(Missing));
        check(
            b"PROXY TCP4 198.51.100.7 203.0.113.9 5353 53\r\n",
            Err(Missing),
        );
        check(&header(0x11, 0x12, &[1; 12]), Err(Missing));
        check(&header(0x22, 0x12, &[1; 12]), Err(Malformed));
        check(&header(0x21, 0x42, &[1; 12]), Err(Malformed));
        check(&header(0x21, 0x13, &[1; 12]), Err(Malformed));
        check(&header(0x21, 0x12, &[1; 11]), Err(Malformed));
        check(&header(0x21, 0x22, &[1; 35]), Err(Malformed));
        // A path of a local socket: no DNS client is at one.
        check(&header(0x21, 0x31, &[0; 216]), Err(Malformed));
        // Extras: half a head, and a value longer than what is there.
        check(&header(0x21, 0x12, &[1; 14]), Err(Malformed));
        check(&header(0x21, 0x00, &[4, 0, 2, 0]), Err(Malformed));
    }

    #[test]
    fn every_cut_is_incomplete_and_says_how_far_it_goes() {
        for whole in [v4(), v6(), header(0x20, 0, &[])] {
            for cut in 0..whole.len() {
                let wanted = if cut < FIXED { FIXED } else { whole.len() };
                check(&whole[..cut], Err(HeaderError::Incomplete(wanted)));
            }
            let followed = [&whole[..], b"a query"].concat();
            assert_eq!(parse(&followed), parse(&whole));
        }
    }

    #[test]
    fn any_other_octet_in_the_fixed_part_is_refused_or_means_something_else() {
        for whole in [v4(), v6()] {
            for at in 0..FIXED {
                for octet in 0..=255 {
                    let mut changed = whole.clone();
                    changed[at] = octet;
                    let good = parse(&changed) == parse(&whole);
                    // Only the protocol may differ: datagrams forwarded on a stream, and the other way round.
                    let same = octet == whole[at];
                    let protocol_alone =
                        at == 13 && octet >> 4 == whole[at] >> 4 && octet & 0xF < 3;
                    assert_eq!(good, same || protocol_alone, "octet {at} is {octet}");
                }
            }
        }
    }

    #[tokio::test]
    async fn a_stream_is_read_to_the_end_of_the_header_and_no_further() {
        for whole in [v4(), v6(), header(0x21, 0, &[])] {
            let octets = [&whole[..], b"next"].concat();
            let mut stream = &octets[..];
            assert_eq!(read(&mut stream).await, parse(&whole));
            assert_eq!(stream, b"next");
            for cut in 0..whole.len() {
                let read = read(&mut &whole[..cut]).await;
                assert_eq!(read, Err(HeaderError::Missing));
            }
        }
    }

    #[test]
    fn networks_are_prefixes_of_both_families() {
        let trusted: Trusted = [
            "192.0.2.0/24",
            "198.51.100.1",
            "2001:db8::/32",
            "10.0.0.0/8",
        ]
        .iter()
        .map(|text| text.parse::<Network>().unwrap())
        .collect();
        for (peer, expected) in [
            ("192.0.2.0", true),
            ("192.0.2.255", true),
            ("::ffff:192.0.2.9", true),
            ("192.0.3.0", false),
            ("198.51.100.1", true),
            ("198.51.100.2", false),
            ("2001:db8:ffff::1", true),
            ("2001:db9::", false),
        ] {
            assert_eq!(trusted.contains(peer.parse().unwrap()), expected, "{peer}");
        }
        assert!(!Trusted::default().contains("192.0.2.1".parse().unwrap()));
        let all: Trusted = [Network::from_str("0.0.0.0/0").unwrap()]
            .into_iter()
            .collect();
        assert!(all.contains("203.0.113.1".parse().unwrap()));
        assert!(!all.contains("2001:db8::1".parse().unwrap()));
    }

    #[test]
    fn a_text_that_is_no_network_is_told_why() {
        for (text, expected) in [
            (
                "192.0.2.1/24",
                "`192.0.2.1/24` has bits set behind its prefix; the network is 192.0.2.0/24",
            ),
            (
                "192.0.2.0/33",
                "`192.0.2.0/33`: the prefix length is at most 32",
            ),
            ("::/129", "`::/129`: the prefix length is at most 128"),
            (
                "lb.example/24",
                "`lb.example/24` is no network: expected something like 192.0.2.0/24 or 2001:db8::/32",
            ),
            (
                "192.0.2.0/x",
                "`192.0.2.0/x` is no network: expected something like 192.0.2.0/24 or 2001:db8::/32",
            ),
        ] {
            assert_eq!(Network::from_str(text).unwrap_err().to_string(), expected);
        }
    }
}
