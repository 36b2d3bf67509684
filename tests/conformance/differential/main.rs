//! The same zones served by us and by Knot, NSD and BIND, and the same questions to all: every difference is listed
//! in `explained.rs` with the RFC that allows it, or the test fails.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod compare;
mod explained;
mod questions;
mod zones;

use std::{collections::BTreeSet, env, fs, path::Path, thread};

use conformance::{
    decode::Message,
    exchange::Client,
    peer::{Kind, Peer, ZoneFile},
    question::Question,
    site::Site,
};
use signpost_tests::random::Random;

use crate::{
    compare::{Pair, Seen, Tally},
    questions::{Asked, Edns},
    zones::Zone,
};

/// A change of the seed changes the zones and the questions.
const SEED: u64 = 2026;
/// Askers beside each other.
const THREADS: usize = 2;
/// Differences shown of a class.
const SHOWN: usize = 3;

#[test]
fn the_same_is_said_as_knot_nsd_and_bind_say() {
    compare(SEED, 1_500, 8);
}

#[test]
#[ignore = "some minutes; cargo xtask nightly runs it"]
fn the_same_is_said_to_a_hundred_thousand_questions() {
    let seed = env::var("SIGNPOST_SEED").map_or(SEED, |seed| seed.parse().unwrap());
    for round in 0..20 {
        compare(seed + round, 5_000, 20);
    }
}

/// Asks `count` questions, each without EDNS, with it, and with DO.
fn compare(seed: u64, count: usize, grown: usize) {
    let folder = tempfile::tempdir().unwrap();
    let zones = zones::zones(seed, grown);
    let files = write(&zones, folder.path());
    let start = |kind| Peer::start(kind, &files);
    let peers: Vec<Peer> = Kind::ALL.into_iter().filter_map(start).collect();
    let site = Site::start(folder.path());
    let mut tally = Tally::default();
    thread::scope(|scope| {
        let ask = |part| {
            let mut inquiry = Inquiry::new(&site, &peers, &zones);
            let mut random = Random(seed ^ part << 32);
            for _ in 0..count / THREADS {
                inquiry.ask(&questions::question(&zones, &mut random));
            }
            inquiry.tally
        };
        let askers: Vec<_> = (0..THREADS as u64)
            .map(|part| scope.spawn(move || ask(part)))
            .collect();
        askers
            .into_iter()
            .for_each(|asker| tally.merge(asker.join().unwrap()));
    });
    report(seed, count, &tally);
    assert!(
        tally.unexplained.is_empty(),
        "{} classes are not explained",
        tally.unexplained.len()
    );
}

fn write(zones: &[Zone], folder: &Path) -> Vec<ZoneFile> {
    let file = |zone: &Zone| {
        let path = folder.join(format!("{}zone", zone.origin));
        fs::write(&path, &zone.text).unwrap();
        ZoneFile {
            origin: zone.origin.clone(),
            path,
        }
    };
    zones.iter().map(file).collect()
}

fn report(seed: u64, count: usize, tally: &Tally) {
    let Tally {
        compared, equal, ..
    } = tally;
    println!(
        "seed {seed}: {count} questions, {compared} answers compared, {equal} equal in everything"
    );
    for ((rule, kind), count) in &tally.explained {
        println!("{count:>8} {kind:?}: {rule}");
    }
    for (class, pairs) in &tally.unexplained {
        println!("NOT EXPLAINED, {} times: {class}", pairs.len());
        pairs.iter().take(SHOWN).for_each(|pair| println!("{pair}"));
    }
}

/// One asker's connections to everybody.
struct Inquiry {
    ours: Vec<Client>,
    theirs: Vec<(Kind, Client)>,
    apexes: BTreeSet<Vec<u8>>,
    tally: Tally,
}

impl Inquiry {
    fn new(site: &Site, peers: &[Peer], zones: &[Zone]) -> Self {
        let apexes = zones.iter().map(|zone| Question::new(&zone.origin, 6).name);
        Self {
            apexes: apexes.collect(),
            ours: site
                .servers
                .iter()
                .map(|server| Client::new(server.dns))
                .collect(),
            theirs: peers
                .iter()
                .map(|peer| (peer.kind, Client::new(peer.dns)))
                .collect(),
            tally: Tally::default(),
        }
    }

    fn ask(&mut self, asked: &Asked) {
        for edns in Edns::ALL {
            let query = asked.with(edns).octets(4711);
            let text = asked.as_dig(edns);
            let said: Vec<Vec<u8>> = self
                .ours
                .iter_mut()
                .map(|client| client.udp(&query).expect(&text))
                .collect();
            assert_eq!(said[0], said[1], "both levels say the same: {text}");
            let us = ours(&said[0], &text);
            let us_whole = match us.is_truncated() {
                true => ours(&self.ours[0].tcp(&query).unwrap(), &text),
                false => us.clone(),
            };
            for (kind, client) in &mut self.theirs {
                let reply = client
                    .udp(&query)
                    .unwrap_or_else(|| panic!("{kind:?} is silent: {text}"));
                let them = Seen::of(Message::read_once(&reply).unwrap());
                self.tally.add(&Pair {
                    asked,
                    edns,
                    us: &us,
                    us_whole: &us_whole,
                    them: &them,
                    kind: *kind,
                    apexes: &self.apexes,
                });
            }
        }
    }
}

/// Both decoders read what we say, and no record is there twice.
fn ours(reply: &[u8], question: &str) -> Seen {
    let message = Message::read(reply).unwrap_or_else(|error| panic!("{question}: {error}"));
    let seen = Seen::of(message);
    for (records, set) in seen.message.sections.iter().zip(&seen.sections) {
        assert_eq!(
            records.len(),
            set.len(),
            "a record twice: {question}\n{seen}"
        );
    }
    seen
}
