//! Race reports from players become measurement lines: what each region's edge took to answer this client's network.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

use distribution::measurement::{self, Measurement};
use rtsp::report::{Outcome, RaceReport};

use crate::fleet::Fleet;

/// The spool is not written beyond this; the mapmaker takes it away long before.
const SPOOL_OCTETS_MAX: u64 = 64 << 20;
/// Shortest networks that a client may state: beyond them one line would speak for much of the Internet.
const V4_LENGTH_MIN: u8 = 8;
const V6_LENGTH_MIN: u8 = 16;
/// What the lines say about who measured.
const SOURCE: &str = "player";

/// The lines of one report. Edges that the map does not know are left out.
///
/// The client's network is its address cut to /24 or /56. The network a player states counts only if it comes from
/// loopback or a listed network, where the address itself says nothing, and only from /8 or /16 (IPv6) on.
pub fn to_measurements(
    report: &RaceReport,
    peer: IpAddr,
    believed: &[(IpAddr, u8)],
    fleet: &Fleet,
    now: u64,
) -> Vec<Measurement> {
    let peer = peer.to_canonical();
    let listed = peer.is_loopback() || believed.iter().any(|network| contains(*network, peer));
    let network = match report.client {
        Some((address, length)) if listed && length >= shortest(address) => {
            network(address, length)
        }
        _ => network(peer, 128),
    };
    let line = |race: &rtsp::report::Race| {
        let answered = race.outcome == Outcome::Ok;
        Some(Measurement {
            ts: now,
            prefix: network.clone(),
            region: fleet.region_at(race.edge.to_canonical())?.to_owned(),
            rtt_us: if answered { race.rtt_us } else { 0 },
            loss: if answered { 0.0 } else { 1.0 },
            n: 1,
            source: SOURCE.to_owned(),
        })
    };
    report.races.iter().filter_map(line).collect()
}

/// Appends to the spool unless it is full.
pub fn spool(path: &Path, lines: &[Measurement]) -> std::io::Result<()> {
    let full = std::fs::metadata(path).is_ok_and(|file| file.len() > SPOOL_OCTETS_MAX);
    if full {
        return Err(std::io::Error::other(
            "the report file has reached its largest size",
        ));
    }
    measurement::append(path, lines)
}

/// Reads `ADDRESS/LENGTH`.
pub fn parse_network(text: &str) -> Option<(IpAddr, u8)> {
    let (address, length) = text.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    let length: u8 = length.parse().ok()?;
    let longest = if address.is_ipv4() { 32 } else { 128 };
    (length <= longest).then_some((address, length))
}

/// The network as text, no longer than /24 or /56: finer than that would be about one household.
fn network(address: IpAddr, length: u8) -> String {
    match address {
        IpAddr::V4(v4) => {
            let length = length.min(24);
            let mask = u32::MAX.checked_shl(32 - u32::from(length)).unwrap_or(0);
            format!("{}/{length}", Ipv4Addr::from_bits(v4.to_bits() & mask))
        }
        IpAddr::V6(v6) => {
            let length = length.min(56);
            let mask = u128::MAX.checked_shl(128 - u32::from(length)).unwrap_or(0);
            format!("{}/{length}", Ipv6Addr::from_bits(v6.to_bits() & mask))
        }
    }
}

fn shortest(address: IpAddr) -> u8 {
    match address {
        IpAddr::V4(_) => V4_LENGTH_MIN,
        IpAddr::V6(_) => V6_LENGTH_MIN,
    }
}

fn contains((network, length): (IpAddr, u8), address: IpAddr) -> bool {
    match (network, address) {
        (IpAddr::V4(network), IpAddr::V4(address)) => {
            let differing = network.to_bits() ^ address.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        (IpAddr::V6(network), IpAddr::V6(address)) => {
            let differing = network.to_bits() ^ address.to_bits();
            differing.leading_zeros() >= u32::from(length)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Edge;

    fn fleet() -> Fleet {
        let edge = |name: &str, region: &str, address: &str| Edge {
            name: name.into(),
            region: region.into(),
            at: None,
            addresses: vec![address.parse().unwrap()],
            rtsp_port: 8554,
            handoff: None,
            public_key: None,
        };
        Fleet::new(vec![
            edge("a", "vienna", "127.0.1.1"),
            edge("b", "oslo", "127.0.1.2"),
        ])
    }

    fn lines(peer: &str, believed: &[(IpAddr, u8)]) -> Vec<String> {
        stating("203.0.113.77/32", peer, believed)
    }

    fn stating(network: &str, peer: &str, believed: &[(IpAddr, u8)]) -> Vec<String> {
        let body = format!(
            "client: {network}\r\nrace: 127.0.1.1 900 ok\r\nrace: 127.0.1.2 5 timeout\r\nrace: 192.0.2.99 5 ok\r\n"
        );
        let report = RaceReport::parse(body.as_bytes()).unwrap();
        to_measurements(&report, peer.parse().unwrap(), believed, &fleet(), 7)
            .iter()
            .map(measurement::write_line)
            .collect()
    }

    #[test]
    fn loopback_and_listed_clients_may_state_their_network() {
        let stated = [
            "7,203.0.113.0/24,vienna,900,0,1,player",
            "7,203.0.113.0/24,oslo,0,1,1,player",
        ];
        assert_eq!(lines("127.0.0.1", &[]), stated);
        let listed = [parse_network("10.0.0.0/8").unwrap()];
        assert_eq!(lines("10.1.2.3", &listed), stated);
    }

    #[test]
    fn other_clients_are_known_by_their_address() {
        let own = lines("198.51.100.9", &[]);
        assert_eq!(
            own.first().unwrap(),
            "7,198.51.100.0/24,vienna,900,0,1,player"
        );
        let own = lines("2001:db8:1:2ff::9", &[]);
        assert_eq!(
            own.first().unwrap(),
            "7,2001:db8:1:200::/56,vienna,900,0,1,player"
        );
    }

    #[test]
    fn nobody_speaks_for_half_the_internet() {
        let first = |stated: &str| stating(stated, "127.0.0.1", &[]).swap_remove(0);
        for (stated, prefix) in [
            ("0.0.0.0/0", "127.0.0.0/24"),
            ("10.0.0.0/7", "127.0.0.0/24"),
            ("10.0.0.0/8", "10.0.0.0/8"),
            ("2000::/15", "127.0.0.0/24"),
            ("2001::/16", "2001::/16"),
        ] {
            assert_eq!(first(stated), format!("7,{prefix},vienna,900,0,1,player"));
        }
    }

    #[test]
    fn lengths_at_the_ends_do_not_overflow() {
        assert_eq!(network("1.2.3.4".parse().unwrap(), 0), "0.0.0.0/0");
        assert_eq!(network("2001:db8::1".parse().unwrap(), 0), "::/0");
        assert!(parse_network("1.2.3.4/33").is_none());
    }
}
