//! A query's Ethernet frame read, and its answer's written: the same headers with both ends swapped.
//!
//! What is refused here is what the kernel would have dropped before a socket saw it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::checksum::Sum;

/// Octets of the headers (RFC 894, RFC 791, RFC 8200, RFC 768).
pub(super) const ETHERNET: usize = 14;
pub(super) const IPV4: usize = 20;
pub(super) const IPV6: usize = 40;
pub(super) const UDP: usize = 8;
/// Ethernet's numbers of the protocols, and UDP's in both.
pub(super) const ETHERTYPE_IPV4: [u8; 2] = [0x08, 0x00];
pub(super) const ETHERTYPE_IPV6: [u8; 2] = [0x86, 0xdd];
pub(super) const PROTOCOL_UDP: u8 = 17;
/// Version 4 with a header of five words: no options.
pub(super) const IPV4_PLAIN: u8 = 0x45;
/// What an answer may pass on its way: the value that the kernel gives to its own packets.
const HOPS: u8 = 64;

/// Why a frame is no query.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// Lengths, versions or checksums are not right.
    Malformed,
    /// Nobody can have sent it from there: a group, this host, the unspecified address.
    Source,
}

/// A UDP datagram in its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Datagram<'f> {
    pub(super) source: SocketAddr,
    pub(super) local: SocketAddr,
    pub(super) payload: &'f [u8],
}

/// Octets before the payload, also of the answer.
pub(super) fn headers(local: SocketAddr) -> usize {
    match local {
        SocketAddr::V4(_) => ETHERNET + IPV4 + UDP,
        SocketAddr::V6(_) => ETHERNET + IPV6 + UDP,
    }
}

/// Reads a frame.
pub(super) fn parse(frame: &[u8]) -> Result<Datagram<'_>, Unfit> {
    let (ethernet, packet) = split::<ETHERNET>(frame)?;
    // A group's address, or none, cannot be answered.
    if ethernet[6] & 1 != 0 {
        return Err(Unfit::Source);
    }
    match [ethernet[12], ethernet[13]] {
        ETHERTYPE_IPV4 => parse_v4(packet),
        ETHERTYPE_IPV6 => parse_v6(packet),
        _ => Err(Unfit::Malformed),
    }
}

fn parse_v4(packet: &[u8]) -> Result<Datagram<'_>, Unfit> {
    let (ip, rest) = split::<IPV4>(packet)?;
    let is_part = u16::from_be_bytes([ip[6], ip[7]]) & 0x3fff != 0;
    if ip[0] != IPV4_PLAIN || is_part || ip[9] != PROTOCOL_UDP {
        return Err(Unfit::Malformed);
    }
    if !Sum::default().octets(ip).is_right() {
        return Err(Unfit::Malformed);
    }
    // What is behind the total length fills up a short frame.
    let length = usize::from(u16::from_be_bytes([ip[2], ip[3]]));
    let segment = length.checked_sub(IPV4).and_then(|end| rest.get(..end));
    let [source, local] = [12, 16].map(|at| [ip[at], ip[at + 1], ip[at + 2], ip[at + 3]]);
    // RFC 1122 §3.2.1.3: not from this network, from loopback, or from a group and what is above.
    if source[0] == 0 || source[0] == 127 || source[0] >= 224 {
        return Err(Unfit::Source);
    }
    let addresses = [source, local].map(|octets| IpAddr::V4(Ipv4Addr::from(octets)));
    parse_udp(segment, addresses, &ip[12..20], false)
}

fn parse_v6(packet: &[u8]) -> Result<Datagram<'_>, Unfit> {
    let (ip, rest) = split::<IPV6>(packet)?;
    if ip[0] >> 4 != 6 || ip[6] != PROTOCOL_UDP {
        return Err(Unfit::Malformed);
    }
    let length = usize::from(u16::from_be_bytes([ip[4], ip[5]]));
    let (addresses, _) = ip[8..].as_chunks::<16>();
    let [source, local] = [addresses[0], addresses[1]].map(Ipv6Addr::from);
    // RFC 4291 §2.5.2, §2.5.3, §2.7; and IPv4 in IPv6's clothes is never on the wire.
    let is_mapped = source.to_ipv4_mapped().is_some();
    if source.is_multicast() || source.is_unspecified() || source.is_loopback() || is_mapped {
        return Err(Unfit::Source);
    }
    let addresses = [source, local].map(IpAddr::V6);
    parse_udp(rest.get(..length), addresses, &ip[8..40], true)
}

/// `between` are both addresses as they lie in the header. IPv6 needs a checksum (RFC 8200 §8.1).
fn parse_udp<'f>(
    segment: Option<&'f [u8]>,
    [source, local]: [IpAddr; 2],
    between: &[u8],
    needs_checksum: bool,
) -> Result<Datagram<'f>, Unfit> {
    let segment = segment.ok_or(Unfit::Malformed)?;
    let (udp, payload) = split::<UDP>(segment)?;
    let number = |at: usize| u16::from_be_bytes([udp[at], udp[at + 1]]);
    if usize::from(number(4)) != segment.len() {
        return Err(Unfit::Malformed);
    }
    let is_right = match [udp[6], udp[7]] {
        [0, 0] => !needs_checksum,
        checksum => {
            let pseudo = pseudo(between, segment);
            // A sender on this machine leaves the rest to a network card that is not there: over virtual links a packet
            // may carry the sum of the pseudo header alone. It came through memory only.
            pseudo.octets(segment).is_right() || pseudo.fold() == checksum
        }
    };
    if !is_right {
        return Err(Unfit::Malformed);
    }
    Ok(Datagram {
        source: SocketAddr::new(source, number(0)),
        local: SocketAddr::new(local, number(2)),
        payload,
    })
}

/// The sum over what UDP's checksum covers besides the datagram (RFC 768, RFC 8200 §8.1).
fn pseudo(between: &[u8], segment: &[u8]) -> Sum {
    let sum = Sum::default().octets(between);
    let sum = sum.number(u16::from(PROTOCOL_UDP));
    sum.number(segment.len() as u16)
}

/// Writes the headers of the answer to `query`, a frame that [`parse`] took, before the `length` octets that already lie
/// behind them in `answer`. `id` tells IPv4 packets apart that a router may cut (RFC 6864 §4.2). Returns the length of the
/// frame; `None` if it does not fit.
pub(super) fn address(query: &[u8], answer: &mut [u8], length: usize, id: u16) -> Option<usize> {
    let segment = u16::try_from(UDP + length).ok()?;
    let (ethernet, packet) = query.split_first_chunk::<ETHERNET>()?;
    let (head, body) = answer.split_first_chunk_mut::<ETHERNET>()?;
    head[..6].copy_from_slice(&ethernet[6..12]);
    head[6..12].copy_from_slice(&ethernet[..6]);
    head[12..].copy_from_slice(&ethernet[12..]);
    let (ip, from, between) = match packet.first()? >> 4 {
        4 => (IPV4, packet.get(..IPV4 + UDP)?, 12..20),
        _ => (IPV6, packet.get(..IPV6 + UDP)?, 8..40),
    };
    let (ip, body) = body.split_at_mut_checked(ip)?;
    match ip.len() {
        IPV4 => {
            let [total, id] = [(IPV4 as u16).checked_add(segment)?, id].map(u16::to_be_bytes);
            // Flags and offset are zero: "don't fragment" would let path MTU messages be forged (RFC 9715 §3.1).
            let front = [IPV4_PLAIN, 0, total[0], total[1], id[0], id[1], 0, 0];
            ip[..8].copy_from_slice(&front);
            ip[8..12].copy_from_slice(&[HOPS, PROTOCOL_UDP, 0, 0]);
            ip[12..16].copy_from_slice(&from[16..20]);
            ip[16..20].copy_from_slice(&from[12..16]);
            let checksum = Sum::default().octets(ip).checksum();
            ip[10..12].copy_from_slice(&checksum);
        }
        _ => {
            let [high, low] = segment.to_be_bytes();
            ip[..8].copy_from_slice(&[0x60, 0, 0, 0, high, low, PROTOCOL_UDP, HOPS]);
            ip[8..24].copy_from_slice(&from[24..40]);
            ip[24..40].copy_from_slice(&from[8..24]);
        }
    }
    let ports = from.last_chunk::<UDP>()?;
    let datagram = body.get_mut(..usize::from(segment))?;
    let [high, low] = segment.to_be_bytes();
    let udp = [ports[2], ports[3], ports[0], ports[1], high, low, 0, 0];
    datagram[..UDP].copy_from_slice(&udp);
    let checksum = match pseudo(&ip[between], datagram).octets(datagram).checksum() {
        [0, 0] => [0xff, 0xff], // zero would say that there is none
        checksum => checksum,
    };
    datagram[6..8].copy_from_slice(&checksum);
    Some(ETHERNET + ip.len() + datagram.len())
}

fn split<const OCTETS: usize>(octets: &[u8]) -> Result<(&[u8; OCTETS], &[u8]), Unfit> {
    octets.split_first_chunk().ok_or(Unfit::Malformed)
}

#[cfg(test)]
pub(super) mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A frame as a client would send it, its UDP checksum whole.
    pub(crate) fn frame(source: SocketAddr, local: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let mut frame = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
        let length = (UDP + payload.len()) as u16;
        let mut udp = [source.port(), local.port(), length, 0]
            .map(u16::to_be_bytes)
            .concat();
        udp.extend(payload);
        match (source.ip(), local.ip()) {
            (IpAddr::V4(from), IpAddr::V4(to)) => {
                let total = (IPV4 as u16 + length).to_be_bytes();
                frame.extend(ETHERTYPE_IPV4);
                frame.extend([
                    0x45, 0, total[0], total[1], 0x12, 0x34, 0x40, 0, 57, 17, 0, 0,
                ]);
                frame.extend([from.octets(), to.octets()].concat());
                let checksum = Sum::default().octets(&frame[ETHERNET..]).checksum();
                frame[ETHERNET + 10..ETHERNET + 12].copy_from_slice(&checksum);
                let checksum = pseudo(&frame[ETHERNET + 12..], &udp)
                    .octets(&udp)
                    .checksum();
                udp[6..8].copy_from_slice(&checksum);
            }
            (IpAddr::V6(from), IpAddr::V6(to)) => {
                let [high, low] = length.to_be_bytes();
                frame.extend(ETHERTYPE_IPV6);
                frame.extend([0x6b, 0x12, 0x34, 0x56, high, low, 17, 57]);
                frame.extend([from.octets(), to.octets()].concat());
                let checksum = pseudo(&frame[ETHERNET + 8..], &udp).octets(&udp).checksum();
                udp[6..8].copy_from_slice(&checksum);
            }
            _ => panic!("one family"),
        }
        frame.extend(udp);
        frame
    }

    fn both() -> [(SocketAddr, SocketAddr); 2] {
        [
            ("192.0.2.9:5353", "198.51.100.1:53"),
            ("[2001:db8::9]:5353", "[2001:db8:1::1]:53"),
        ]
        .map(|(source, local)| (source.parse().unwrap(), local.parse().unwrap()))
    }

    /// An answer of these octets to that frame.
    fn answer(query: &[u8], local: SocketAddr, payload: &[u8]) -> Vec<u8> {
        let mut answer = vec![0xee; 2048];
        let start = headers(local);
        answer[start..start + payload.len()].copy_from_slice(payload);
        let length = address(query, &mut answer, payload.len(), 0xbeef).unwrap();
        answer.truncate(length);
        answer
    }

    #[test]
    fn an_answer_is_a_datagram_the_other_way_round() {
        for (source, local) in both() {
            let query = frame(source, local, b"question");
            let found = parse(&query).unwrap();
            assert_eq!(
                (found.source, found.local, found.payload),
                (source, local, &b"question"[..])
            );
            let answer = answer(&query, local, b"the answer");
            assert_eq!(answer[..12], [2, 0, 0, 0, 0, 2, 2, 0, 0, 0, 0, 1]);
            let found = parse(&answer).unwrap();
            assert_eq!(
                (found.source, found.local, found.payload),
                (local, source, &b"the answer"[..])
            );
        }
    }

    #[test]
    fn an_ipv4_answer_may_be_cut_by_routers_and_an_ipv6_one_never_says_so() {
        let [(source, local), (source_v6, local_v6)] = both();
        let v4 = answer(&frame(source, local, b"q"), local, b"a");
        // Type of service 0, its own id, no "don't fragment", 64 hops.
        assert_eq!(v4[14..24], [0x45, 0, 0, 29, 0xbe, 0xef, 0, 0, 64, 17]);
        let v6 = answer(&frame(source_v6, local_v6, b"q"), local_v6, b"a");
        assert_eq!(v6[14..22], [0x60, 0, 0, 0, 0, 9, 17, 64]);
    }

    #[test]
    fn octets_behind_the_packet_are_padding() {
        for (source, local) in both() {
            let mut query = frame(source, local, b"q");
            query.extend([0xaa; 30]);
            assert_eq!(parse(&query).unwrap().payload, b"q");
        }
    }

    #[test]
    fn a_checksum_may_be_that_of_the_pseudo_header_or_none_over_ipv4() {
        let [(source, local), (source_v6, local_v6)] = both();
        for (source, local, start, none) in [
            (source, local, ETHERNET + 12, true),
            (source_v6, local_v6, ETHERNET + 8, false),
        ] {
            let mut query = frame(source, local, b"question");
            let udp = headers(local) - UDP;
            let partial = pseudo(&query[start..udp], &query[udp..]).fold();
            query[udp + 6..udp + 8].copy_from_slice(&partial);
            assert_eq!(parse(&query).unwrap().payload, b"question");
            query[udp + 6..udp + 8].fill(0);
            assert_eq!(parse(&query).is_ok(), none);
        }
    }

    #[test]
    fn what_no_socket_would_see_is_refused() {
        for (source, local) in both() {
            let good = frame(source, local, b"question");
            let udp = headers(local) - UDP;
            for (at, octet) in [
                (12, 0x81),
                (ETHERNET, 0x46),
                (udp + 5, 3),
                (udp + 5, 200),
                (udp + 9, 0),
            ] {
                let mut bad = good.clone();
                bad[at] = octet;
                assert_eq!(parse(&bad), Err(Unfit::Malformed), "octet {at}");
            }
            for length in 0..good.len() {
                assert_eq!(
                    parse(&good[..length]),
                    Err(Unfit::Malformed),
                    "{length} octets"
                );
            }
            let mut group = good.clone();
            group[6] = 1;
            assert_eq!(parse(&group), Err(Unfit::Source));
        }
    }

    #[test]
    fn sources_that_nobody_has_are_refused() {
        let [(_, local), (_, local_v6)] = both();
        for (source, local) in [
            ("0.0.0.1:1", local),
            ("127.0.0.1:1", local),
            ("224.0.0.1:1", local),
            ("255.255.255.255:1", local),
            ("[::]:1", local_v6),
            ("[::1]:1", local_v6),
            ("[::ffff:192.0.2.1]:1", local_v6),
            ("[ff02::1]:1", local_v6),
        ] {
            let query = frame(source.parse().unwrap(), local, b"q");
            assert_eq!(parse(&query), Err(Unfit::Source), "{source}");
        }
    }

    #[test]
    fn an_answer_that_does_not_fit_is_not_written() {
        let [(source, local), _] = both();
        let query = frame(source, local, b"q");
        assert_eq!(address(&query, &mut [0; 100], 58, 0), Some(100));
        assert_eq!(address(&query, &mut [0; 100], 59, 0), None);
        assert_eq!(address(&query, &mut [0; 100], 70_000, 0), None);
    }

    proptest! {
        #[test]
        fn every_answer_parses_with_a_checksum_that_is_right(
            v6 in any::<bool>(),
            ports in any::<[u16; 2]>(),
            low in any::<[u8; 2]>(),
            payload in prop::collection::vec(any::<u8>(), 0..1400),
            reply in prop::collection::vec(any::<u8>(), 0..1400),
        ) {
            let (mut source, mut local) = both()[usize::from(v6)];
            source.set_port(ports[0]);
            local.set_port(ports[1]);
            match source {
                SocketAddr::V4(ref mut v4) => v4.set_ip([192, 0, low[0], low[1]].into()),
                SocketAddr::V6(ref mut v6) => v6.set_ip([0x2001, 0xdb8, 0, 0, 0, 0, 0, low[0].into()].into()),
            }
            let query = frame(source, local, &payload);
            prop_assert_eq!(parse(&query).unwrap().payload, &payload[..]);
            let answer = answer(&query, local, &reply);
            let found = parse(&answer).unwrap();
            prop_assert_eq!(found, Datagram { source: local, local: source, payload: &reply });
            let udp = headers(local) - UDP;
            let between = if v6 { ETHERNET + 8..ETHERNET + 40 } else { ETHERNET + 12..ETHERNET + 20 };
            prop_assert!(answer[udp + 6..udp + 8] != [0, 0]);
            prop_assert!(pseudo(&answer[between], &answer[udp..]).octets(&answer[udp..]).is_right());
        }

        #[test]
        fn whatever_comes_is_read_or_refused(mut octets in prop::collection::vec(any::<u8>(), 0..200), kind in 0..3_u8) {
            if let Some(front) = octets.first_chunk_mut::<15>() {
                match kind {
                    0 => front[12..].copy_from_slice(&[0x08, 0x00, 0x45]),
                    1 => front[12..].copy_from_slice(&[0x86, 0xdd, 0x60]),
                    _ => {}
                }
            }
            if let Ok(found) = parse(&octets) {
                prop_assert!(found.payload.len() + headers(found.local) <= octets.len());
            }
        }
    }
}
