//! Zone files, queries, transfers, and what balancers say.

use std::sync::LazyLock;

use dns_engine::transfer::{Limits, Progress, Receiving};
use dns_engine::zonefile::{self, RecordText};
use dns_engine::{
    CookieSecret, Cookies, Meta, Outcome, Scratch, Snapshot, Transport, Zone, Zones, name, respond,
};
use dns_transport::proxy;

const ZONE: &str = include_str!("../../../zones/stream.example.zone");
const NOW: u64 = 1_800_000_000;

/// A zone that is read can be written, and then reads as the same.
pub fn zone_file(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else {
        return;
    };
    let mut open = |_: &str, _: &str| Err("there is no other file".to_owned());
    match zonefile::parse_with("zone", text, Some("stream.example."), &mut open) {
        Err(findings) => assert!(!findings.is_empty(), "refused without a reason"),
        Ok(loaded) => {
            let written = lines(&loaded.zone);
            let again = zonefile::parse("again", &written.join("\n"), Some("stream.example."));
            let again = again.unwrap_or_else(|findings| panic!("{findings:?}\n{written:#?}"));
            assert_eq!(lines(&again), written);
        }
    }
}

/// Every record, sorted.
fn lines(zone: &Zone) -> Vec<String> {
    let mut lines = Vec::new();
    for node in zone.nodes() {
        for set in node.rrsets() {
            lines.extend(set.rdatas().map(|data| {
                let (owner, rtype, ttl) = (node.owner(), set.rtype, set.ttl);
                RecordText {
                    owner,
                    rtype,
                    ttl,
                    data,
                }
                .to_string()
            }));
        }
    }
    lines.sort();
    lines
}

/// Zone files.
pub fn zone_files() -> Vec<Vec<u8>> {
    const ODD: &str = "$TTL 1h\n@ SOA ns h 1 2h 1h ( 4w ; weeks\n 300 )\n@ NS ns\nns A 192.0.2.1\n\
        $GENERATE 1-9/2 h${0,3,x} A 192.0.2.$\n*.w TXT \"a\\\"b\" \\065 \"\"\n$ORIGIN s\n@ HTTPS 1 . \
        alpn=h2,h3 port=53 ipv4hint=192.0.2.1\nx TYPE65280 \\# 2 abcd\n_s._t SRV 1 2 3 x\nl LOC 52 N 4 E 0m\n\
        c CAA 0 issue \"x\"\nd DNAME o.\nn NAPTR 1 2 \"s\" \"x\" \"!a!b!\" .\na APL 1:192.0.2.0/24 !2:::/0\n";
    vec![ZONE.into(), ODD.into()]
}

/// An answer is one that two other decoders can read, and never longer than it may be.
pub fn dns_query(bytes: &[u8]) {
    static SNAPSHOT: LazyLock<Snapshot> = LazyLock::new(|| {
        let mut zones = Zones::new();
        let zone = zonefile::parse("zone", ZONE, Some("stream.example."));
        let zone = zone.unwrap_or_else(|findings| panic!("{findings:?}"));
        assert!(zones.insert(zone).is_ok());
        let mut snapshot = Snapshot::of_zones(zones);
        snapshot.identity.nsid = Some(b"nsid".as_slice().into());
        snapshot.identity.version = Some("version".into());
        snapshot.cookies = Some(Cookies::new(CookieSecret([4; 16])));
        snapshot
    });
    let Some((first, query)) = bytes.split_first() else {
        return;
    };
    let transport = match first % 3 {
        0 => Transport::Udp,
        1 => Transport::Tcp,
        _ => Transport::Tls,
    };
    let meta = Meta {
        source: ([192, 0, 2, 1], 4321).into(),
        local: ([192, 0, 2, 2], 53).into(),
        transport,
        now: NOW,
        now_ms: 0,
    };
    let mut out = vec![0; 65_535];
    let Outcome::Send(length) = respond(&SNAPSHOT, query, &meta, &mut Scratch::new(), &mut out)
    else {
        return;
    };
    assert!(
        length >= 12 && (transport != Transport::Udp || length <= 4096),
        "{length} octets"
    );
    let answer = &out[..length];
    assert_eq!(answer[..2], query[..2], "the identifier");
    let read = domain::base::Message::from_octets(answer).expect("a header");
    for record in read.iter() {
        record.expect("a record that `domain` reads");
    }
    // The echo of a client subnet of no family (`dig +subnet=0`) is lawful, but hickory does not read it.
    let no_family = answer.windows(8).any(|at| at == [0, 8, 0, 4, 0, 0, 0, 0]);
    if !no_family && let Err(error) = hickory_proto::op::Message::from_vec(answer) {
        panic!("hickory: {error}\n{answer:02x?}");
    }
}

/// Queries, the transport in front.
pub fn queries() -> Vec<Vec<u8>> {
    let question = |qname: &str, rtype: u16, additional: &[u8]| {
        let count = u8::from(!additional.is_empty());
        let mut query = vec![0, 0x12, 0x34, 1, 0, 0, 1, 0, 0, 0, 0, 0, count];
        query.extend(name::parse(qname, Some(name::ROOT)).expect("a name"));
        query.extend(rtype.to_be_bytes());
        query.extend([0, 1]);
        query.extend(additional);
        query
    };
    let opt = |options: &[u8]| {
        let length = (options.len() as u16).to_be_bytes();
        [&[0, 0, 41, 4, 208, 0, 0, 128, 0][..], &length, options].concat()
    };
    vec![
        question(
            "_rtsp._tcp.live.stream.example",
            33,
            &opt(&[0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100]),
        ),
        question(
            "stream.example",
            255,
            &opt(&[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8, 0, 3, 0, 0]),
        ),
        question("a.edge.stream.example", 1, &[]),
        question(
            "nothing.stream.example",
            28,
            &opt(&[0, 12, 0, 4, 0, 0, 0, 0, 0, 11, 0, 0]),
        ),
    ]
}

/// A transfer ends, goes on or is refused; each message has its length in front.
pub fn dns_transfer(bytes: &[u8]) {
    let origin = name::parse("a.", None).expect("a name");
    let limits = Limits {
        records: 1000,
        octets: 100_000,
    };
    let mut receiving = Receiving::whole(&origin, None, 0x1234, limits);
    let _ = receiving.request(None, NOW);
    let mut rest = bytes;
    while let Some((length, after)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(after.len());
        let (message, after) = after.split_at(length);
        match receiving.take(message, NOW) {
            Ok(Progress::More) => rest = after,
            Ok(Progress::Complete(complete)) => {
                assert_eq!(complete.zone.origin(), origin);
                return;
            }
            Ok(Progress::Current(_)) | Err(_) => return,
        }
    }
}

/// Transfers of a small zone, in one message and in two.
pub fn transfers() -> Vec<Vec<u8>> {
    const SOA: &[u8] = b"\x01a\0\0\x06\0\x01\0\0\0\x3c\0\x1a\x01m\0\x01h\0\0\0\0\x01\0\0\0\x02\0\0\0\x01\0\0\0\x09\0\0\0\x05";
    const HOST: &[u8] = b"\x01x\xc0\x0c\0\x01\0\x01\0\0\0\x3c\0\x04\xc0\0\x02\x01";
    let message = |records: &[&[u8]]| {
        let count = records.len() as u8;
        let head = [0x12, 0x34, 0x84, 0, 0, 1, 0, count, 0, 0, 0, 0];
        let message = [&head[..], b"\x01a\0\0\xfc\0\x01", &records.concat()].concat();
        [&(message.len() as u16).to_be_bytes()[..], &message].concat()
    };
    let in_two = [message(&[SOA, HOST]), message(&[HOST, SOA])].concat();
    vec![message(&[SOA, HOST, SOA]), in_two]
}

/// A header is within the bytes.
pub fn proxy_header(bytes: &[u8]) {
    if let Ok(header) = proxy::parse(bytes) {
        assert!(header.length <= bytes.len());
    }
}

/// PROXY headers, version 2.
pub fn proxy_headers() -> Vec<Vec<u8>> {
    const MAGIC: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";
    let v4 = [192, 0, 2, 1, 192, 0, 2, 2, 1, 2, 0, 53];
    vec![
        [MAGIC, &[0x21, 0x12, 0, 12], &v4, b"query"].concat(),
        [MAGIC, &[0x21, 0x21, 0, 36], &[7; 36]].concat(),
        [MAGIC, &[0x20, 0x00, 0, 0]].concat(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_are_good_ones() {
        for file in zone_files() {
            let text = String::from_utf8(file).expect("text");
            zonefile::parse("zone", &text, Some("stream.example.")).expect("a zone");
        }
        for header in proxy_headers() {
            proxy::parse(&header).expect("a header");
        }
        for transfer in transfers() {
            let origin = name::parse("a.", None).expect("a name");
            let mut receiving = Receiving::whole(&origin, None, 0x1234, Limits::default());
            let _ = receiving.request(None, NOW);
            let mut rest = &transfer[..];
            let mut last = None;
            while let Some((length, after)) = rest.split_first_chunk() {
                let (message, after) = after.split_at(u16::from_be_bytes(*length).into());
                last = Some(receiving.take(message, NOW).expect("a good message"));
                rest = after;
            }
            assert!(matches!(last, Some(Progress::Complete(_))));
        }
    }
}
