//! Prints what one query costs in nanoseconds: `cargo run --release -p dns-engine --example cost`.

#![allow(
    clippy::disallowed_types,
    clippy::unwrap_used,
    reason = "a benchmark needs a clock"
)]

use std::hint::black_box;
use std::time::Instant;

use dns_engine::{
    Client, Meta, Question, Scratch, Snapshot, Tailor, Tailored, Transport, Verdict, Zones, name,
    respond, rtype, zonefile,
};

/// Three SRV records for one name, as the first level gives them.
struct Routed;

impl Tailor for Routed {
    fn tailor(&self, question: &Question<'_>, client: &Client, answer: &mut Tailored) -> Verdict {
        if question.name[1..].starts_with(b"routed") {
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
    let snapshot = Snapshot::new(zones, Routed);

    let subnet = [0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100];
    measure(&snapshot, "static SRV, 3 records", &[], |n| {
        format!("_rtsp._tcp.s{n}.media.test")
    });
    measure(&snapshot, "tailored SRV, 3 records, ECS", &subnet, |n| {
        format!("routed{n}.media.test")
    });
    measure(&snapshot, "no such name", &[], |n| {
        format!("x{n}.y.media.test")
    });
    measure(&snapshot, "refused", &[], |n| format!("x{n}.other.test"));
}

/// Asks `NAMES` names over and over.
fn measure(snapshot: &Snapshot, what: &str, options: &[u8], qname: impl Fn(usize) -> String) {
    let queries: Vec<Vec<u8>> = (0..NAMES)
        .map(|number| {
            let mut query = vec![0, 1, 0, 0, 0, 1, 0, 0, 0, 0, 0, 1];
            query.extend(name::parse(&qname(number), Some(name::ROOT)).unwrap());
            query.extend([rtype::SRV.to_be_bytes(), [0, 1]].concat());
            query.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, options.len() as u8]);
            query.extend(options);
            query
        })
        .collect();
    let meta = Meta {
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
            for query in &queries {
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
    println!("{what:32} {best:7.0} ns  rcode {}", scratch.summary().rcode);
}
