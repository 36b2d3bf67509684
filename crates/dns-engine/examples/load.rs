//! Prints how long a large zone file takes to load (seconds of the processor) and what it takes of memory:
//! `cargo run --release -p dns-engine --example load [records [records a name]]`.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    reason = "a measurement needs /proc"
)]

use std::fmt::Write;

use dns_engine::zonefile;

fn main() {
    let argument = |place: usize, default: usize| {
        let text = std::env::args().nth(place);
        text.map_or(default, |text| text.parse().unwrap())
    };
    let (records, per_name) = (argument(1, 1_000_000), argument(2, 3).max(1));
    let mut text =
        "$ORIGIN media.test.\n$TTL 60\n@ SOA n.o. m.o. 1 3 2 6 5\n@ NS n.o.\n".to_owned();
    for number in 0..records {
        let (name, rank) = (number / per_name, number % per_name);
        let _ = writeln!(
            text,
            "_rtsp._tcp.s{name} SRV {rank} 10 554 e{rank}.other.test."
        );
    }
    let before = memory();
    let start = processor_seconds();
    let zone = zonefile::parse("load.zone", &text, None).unwrap();
    let (seconds, after) = (processor_seconds() - start, memory());
    println!(
        "{records} SRV records, {per_name} a name: {seconds:.2} s; {} MB of text; resident +{} MB, at most +{} MB",
        text.len() / 1_000_000,
        (after.0 - before.0) / 1000,
        (after.1 - before.0) / 1000,
    );
    assert!(zone.nodes().count() > records / per_name);
}

/// Resident kilobytes now and at most.
fn memory() -> (i64, i64) {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let number = |key: &str| {
        let line = status.lines().find(|line| line.starts_with(key)).unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    };
    (number("VmRSS:"), number("VmHWM:"))
}

/// Of user and system so far; the clock would count what others do on this machine.
fn processor_seconds() -> f64 {
    let status = std::fs::read_to_string("/proc/self/schedstat").unwrap();
    let nanoseconds: f64 = status.split(' ').next().unwrap().parse().unwrap();
    nanoseconds / 1e9
}
