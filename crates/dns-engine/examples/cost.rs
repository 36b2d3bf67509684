//! Prints what one query costs in nanoseconds: `cargo run --release -p dns-engine --example cost [rounds [case]]`.

#![allow(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a benchmark needs a clock"
)]

use std::hint::black_box;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Instant;

use dns_engine::dnssec::{
    Algorithm, Key, Role, Scheduled, Signatures, Signing, SigningLimits, Timing, Validity, ZoneKeys,
};
use dns_engine::{
    Client, CookieSecret, Cookies, Meta, Question, RateLimit, Scratch, Snapshot, Tailor, Tailored,
    Transport, Verdict, Zones, name, respond, rtype, zonefile,
};
use ring::rand::SystemRandom;

/// Three SRV records for one name, as the first level gives them.
struct Routed;

impl Tailor for Routed {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        if question.name.as_slice()[1..].starts_with(b"routed") {
            answer.set_ttl(30);
            answer.set_scope(client.subnet.map_or(0, |subnet| subnet.source_len));
            for rank in 0..3 {
                answer.srv(
                    rank,
                    100,
                    8554,
                    b"\x1babcdefghijklmnopqrstuvwxyz0\x04edge\x04test\0",
                );
            }
            return Verdict::Answer;
        }
        Verdict::Zone
    }
}

const NAMES: usize = 1000;
/// Or the first argument: a few are enough for counting instructions with callgrind.
const ROUNDS: usize = 2000;

fn main() {
    let mut text =
        "$ORIGIN media.test.\n$TTL 60\n@ SOA n.o. m.o. 1 2 3 4 5\n@ NS n.o.\n".to_owned();
    for number in 0..NAMES {
        for rank in 1..4 {
            text += &format!("_rtsp._tcp.s{number} SRV {rank} 10 554 e{rank}.other.test.\n");
        }
    }
    let mut zones = Zones::new();
    assert!(
        zones
            .insert(zonefile::parse("cost.zone", &text, None).unwrap())
            .is_ok()
    );
    let mut snapshot = Snapshot::new(zones, Routed);
    measure_all("unsigned", &snapshot, 0, &[]);
    measure_limits(&mut snapshot);
    for algorithm in Algorithm::ALL {
        let signatures = |cache_octets| {
            let limits = SigningLimits {
                cache_octets,
                signatures_per_second: u32::MAX,
            };
            Arc::new(Signatures::new(limits, SystemRandom::new()))
        };
        let warm = signatures(64 << 20);
        snapshot.signing = Some(signing(algorithm, &warm));
        measure_all(&format!("{algorithm}, no DO"), &snapshot, 0, &[]);
        measure_all(&format!("{algorithm}, in the cache"), &snapshot, DO, &[]);
        snapshot.signing = Some(signing(algorithm, &signatures(64 << 20)));
        let start = Instant::now();
        let warmed = dns_engine::dnssec::warm(&snapshot, 0);
        let per_second = warmed.made as f64 / start.elapsed().as_secs_f64();
        println!("made ahead: {per_second:7.0} signatures a second");
        snapshot.signing = Some(self::signing(algorithm, &signatures(0)));
        measure_all(&format!("{algorithm}, all made"), &snapshot, DO, &[]);
    }
}

/// Cookies and the rate limit, for queries from `NAMES` sources, half a millisecond apart.
fn measure_limits(snapshot: &mut Snapshot) {
    let client_cookie = [0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
    snapshot.cookies = Some(Cookies::new(CookieSecret([7; 16])));
    measure_all("new cookie", snapshot, 0, &client_cookie);
    snapshot.cookies = None;
    for (section, per_second) in [("within the rate limit", u32::MAX), ("over it", 1)] {
        snapshot.rate = Some(RateLimit {
            per_second,
            burst: per_second.min(1_000_000),
            ..RateLimit::default()
        });
        measure_all(section, snapshot, 0, &[]);
    }
    snapshot.rate = None;
}

/// EDNS flag DO.
const DO: u8 = 0x80;

fn signing(algorithm: Algorithm, signatures: &Arc<Signatures>) -> Arc<Signing> {
    let random = SystemRandom::new();
    let document = Key::generate(algorithm, &random).unwrap();
    let key = Key::from_pkcs8(Role::Csk, algorithm, &document, &random).unwrap();
    let keys = vec![Scheduled {
        key: key.into(),
        timing: Timing::default(),
    }];
    let origin = name::parse("media.test.", None).unwrap();
    let mut signing = Signing::new(Arc::clone(signatures));
    signing.insert(ZoneKeys::new(&origin, keys, 3600, Validity::default()).unwrap());
    Arc::new(signing)
}

fn measure_all(section: &str, snapshot: &Snapshot, flags: u8, options: &[u8]) {
    let subnet = [&[0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100], options].concat();
    let case = |what: &str, options: &[u8], qname: fn(usize) -> String| {
        let wanted = std::env::args().nth(2).unwrap_or_default();
        let what = format!("{section}: {what}");
        if what.contains(&wanted) {
            measure(snapshot, &what, flags, options, qname);
        }
    };
    case("static SRV, 3 records", options, |n| {
        format!("_rtsp._tcp.s{n}.media.test")
    });
    case("tailored SRV, 3 records, ECS", &subnet, |n| {
        format!("routed{n}.media.test")
    });
    case("no such name", options, |n| format!("x{n}.y.media.test"));
    case("refused", options, |n| format!("x{n}.other.test"));
}

/// Asks `NAMES` names over and over.
fn measure(
    snapshot: &Snapshot,
    what: &str,
    flags: u8,
    options: &[u8],
    qname: impl Fn(usize) -> String,
) {
    let queries: Vec<Vec<u8>> = (0..NAMES)
        .map(|number| {
            let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            query.extend(name::parse(&qname(number), Some(name::ROOT)).unwrap());
            query.extend([rtype::SRV.to_be_bytes(), [0, 1]].concat());
            query.extend([0, 0, 41, 4, 208, 0, 0, flags, 0, 0, options.len() as u8]);
            query.extend(options);
            query
        })
        .collect();
    let mut meta = Meta {
        source: "192.0.2.1:4000".parse().unwrap(),
        local: "192.0.2.2:53".parse().unwrap(),
        transport: Transport::Udp,
        now: 0,
        now_ms: 0,
    };
    let (mut scratch, mut out) = (Scratch::new(), vec![0; 1232]);
    let rounds = std::env::args()
        .nth(1)
        .map_or(ROUNDS, |rounds| rounds.parse().unwrap())
        .max(5);
    let mut best = f64::INFINITY;
    for _ in 0..5 {
        let start = Instant::now();
        for _ in 0..rounds / 5 {
            for (number, query) in queries.iter().enumerate() {
                let host = Ipv4Addr::from_bits(0x0A00_0000 + number as u32 * 257);
                meta.source.set_ip(host.into());
                meta.now_ms += number as u64 & 1;
                black_box(respond(
                    snapshot,
                    black_box(query),
                    &meta,
                    &mut scratch,
                    &mut out,
                ));
            }
        }
        let per_query = start.elapsed().as_secs_f64() * 1e9 / (NAMES * (rounds / 5)) as f64;
        best = best.min(per_query);
    }
    println!("{what:52} {best:7.0} ns  rcode {}", scratch.summary().rcode);
}
