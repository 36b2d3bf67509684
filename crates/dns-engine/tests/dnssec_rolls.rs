//! Rolls of keys, played through: at every moment, and for every mixture of DS, DNSKEY and data that a resolver
//! can hold by then, there is a valid chain. What servers show is what they answer.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod common;
mod verifiers;

use std::collections::BTreeSet;

use common::{Query, example, meta};
use dns_engine::dnssec::roll::{self, Planned, RollError, RollPolicy};
use dns_engine::dnssec::{
    Algorithm, DsTiming, Fault, Key, Role, Scheduled, Signatures, Signing, SigningLimits, State,
    Timing, Validity, ZoneKeys, audit,
};
use dns_engine::{Outcome, Scratch, Snapshot, Transport, rtype};
use proptest::prelude::*;
use ring::rand::SystemRandom;
use verifiers::{take_apart, wire};

const START: u64 = 1_800_000_000;
const HOUR: u64 = 3600;

/// A tag and an algorithm.
type Id = (u16, u8);

/// What a server shows at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct View {
    keys: BTreeSet<Id>,
    sign_keys: BTreeSet<Id>,
    sign_data: BTreeSet<Id>,
    cds: BTreeSet<u16>,
}

/// A value that changes at times.
struct Line<T>(Vec<(u64, T)>);

impl<T: PartialEq> Line<T> {
    fn push(&mut self, time: u64, value: T) {
        if self.0.last().is_none_or(|(_, last)| *last != value) {
            self.0.push((time, value));
        }
    }

    /// All values that hold at some time in `from..=to`.
    fn within(&self, from: u64, to: u64) -> impl Iterator<Item = &T> {
        let ends = self.0.iter().skip(1).map(|(time, _)| *time);
        let spans = self.0.iter().zip(ends.chain([u64::MAX]));
        spans
            .filter(move |((start, _), end)| *start <= to && *end > from)
            .map(|((_, value), _)| value)
    }
}

/// A zone, its parent, and everything both ever showed.
struct World {
    policy: RollPolicy,
    documents: Vec<Vec<u8>>,
    planned: Vec<Planned>,
    now: u64,
    shown: Line<View>,
    parent: Line<BTreeSet<Id>>,
}

impl World {
    fn new(policy: RollPolicy) -> Self {
        Self {
            policy,
            documents: Vec::new(),
            planned: Vec::new(),
            now: START,
            shown: Line(vec![(0, View::default())]),
            parent: Line(vec![(0, BTreeSet::new())]),
        }
    }

    fn key(&self, place: usize) -> Key {
        let Planned {
            role, algorithm, ..
        } = self.planned[place];
        let random = SystemRandom::new();
        Key::from_pkcs8(role, algorithm, &self.documents[place], &random).unwrap()
    }

    fn id(&self, place: usize) -> Id {
        let key = self.key(place);
        (key.tag(), key.algorithm().number())
    }

    fn begin(&mut self, roles: &[Role], algorithm: Algorithm) {
        let timings =
            roll::begin(&mut self.planned, roles, algorithm, &self.policy, self.now).unwrap();
        for (role, timing) in roles.iter().zip(timings) {
            self.documents
                .push(Key::generate(algorithm, &SystemRandom::new()).unwrap());
            self.planned.push(Planned {
                role: *role,
                algorithm,
                timing,
            });
        }
    }

    fn zone_keys(&self) -> ZoneKeys {
        let keys = (0..self.planned.len()).map(|place| Scheduled {
            key: self.key(place).into(),
            timing: self.planned[place].timing,
        });
        let ttl = self.policy.dnskey_ttl;
        ZoneKeys::new(&wire("example"), keys.collect(), ttl, Validity::default()).unwrap()
    }

    /// Time passes; what changes meanwhile changes by itself.
    fn pass(&mut self, seconds: u64) {
        let limits = SigningLimits {
            cache_octets: 0,
            ..SigningLimits::default()
        };
        let signatures = Signatures::new(limits, SystemRandom::new());
        let mut signing = Signing::new(signatures.into());
        let keys = self.zone_keys();
        let end = self.now + seconds;
        let mut times = vec![self.now];
        while let Some(next) = keys
            .next_change(*times.last().unwrap())
            .filter(|next| *next <= end)
        {
            times.push(next);
        }
        signing.insert(keys);
        let mut snapshot = example();
        snapshot.signing = Some(signing.into());
        for time in times {
            self.shown.push(time, look(&snapshot, time));
        }
        self.now = end;
    }

    /// The parent takes over what the zone asks for, the operator sees it after a while, and says so.
    fn parent_obeys(&mut self, delay: u64) {
        let wanted: Vec<usize> = (0..self.planned.len())
            .filter(|place| self.planned[*place].timing.wants_ds(self.now))
            .collect();
        let asked: BTreeSet<u16> = wanted.iter().map(|place| self.id(*place).0).collect();
        let shown = self.shown.within(self.now, self.now).next().unwrap();
        let waits = (0..self.planned.len()).any(|place| {
            let ds = self.planned[place].timing.ds;
            ds.submit.is_some() && ds.seen.is_none() && ds.withdraw.is_none()
                || ds.withdraw.is_some() && ds.gone.is_none()
        });
        assert_eq!(shown.cds, if waits { asked } else { BTreeSet::new() });
        let ids = wanted.iter().map(|place| self.id(*place)).collect();
        self.parent.push(self.now, ids);
        self.pass(delay);
        for place in 0..self.planned.len() {
            let (policy, now) = (self.policy, self.now);
            let ds = self.planned[place].timing.ds;
            if wanted.contains(&place) {
                roll::ds_seen(&mut self.planned, place, &policy, now).unwrap();
            } else if ds.withdraw.is_some_and(|withdraw| withdraw < now) && ds.gone.is_none() {
                roll::ds_gone(&mut self.planned, place, &policy, now).unwrap();
            }
        }
    }

    /// Every mixture a resolver can hold, at every moment at which something it can hold begins or ends.
    /// `strict` wants a signature of every algorithm, as RFC 4035 §2.2 wants of zones.
    fn check(&self, strict: bool) {
        let policy = &self.policy;
        let [propagation, dnskey_ttl, ttl_max, at_parent] = [
            policy.propagation,
            policy.dnskey_ttl,
            policy.ttl_max,
            policy.parent_ttl + policy.parent_propagation,
        ]
        .map(u64::from);
        let changes = self.shown.0.iter().map(|(time, _)| *time);
        let changes = changes.chain(self.parent.0.iter().map(|(time, _)| *time));
        let reaches = [
            0,
            propagation,
            propagation + dnskey_ttl,
            propagation + ttl_max,
            at_parent,
        ];
        let moments: BTreeSet<u64> = changes
            .filter(|time| *time > 0)
            .flat_map(|time| reaches.map(|reach| time + reach))
            .flat_map(|time| [time - 1, time, time + 1])
            .filter(|time| *time <= self.now)
            .collect();
        let algorithms = |ids: &BTreeSet<Id>| -> BTreeSet<u8> {
            ids.iter().map(|(_, algorithm)| *algorithm).collect()
        };
        for now in moments {
            for ds in self.parent.within(now - at_parent, now) {
                if ds.is_empty() {
                    continue; // not secure, whatever the rest is
                }
                for keys in self.shown.within(now - propagation - dnskey_ttl, now) {
                    let entry = |id: &&Id| keys.keys.contains(id) && keys.sign_keys.contains(id);
                    assert!(ds.iter().any(|id| entry(&id)), "{now} {ds:?} {keys:?}");
                    if strict {
                        assert!(algorithms(ds).is_subset(&algorithms(&keys.sign_keys)));
                    }
                    for data in self.shown.within(now - propagation - ttl_max, now) {
                        let good = keys.keys.intersection(&data.sign_data).next();
                        assert!(good.is_some(), "{now} {keys:?} {data:?}");
                        if strict {
                            let wanted = algorithms(&keys.keys);
                            assert!(wanted.is_subset(&algorithms(&data.sign_data)), "{now}");
                        }
                    }
                }
            }
        }
    }

    fn states(&self) -> Vec<(Role, State)> {
        let states = self.planned.iter().map(|key| {
            let state = key.timing.state(key.role.signs_data(), self.now);
            (key.role, state)
        });
        states.collect()
    }
}

/// What a server answers at a moment.
fn look(snapshot: &Snapshot, now: u64) -> View {
    let mut view = View::default();
    let mut scratch = Scratch::new();
    let mut out = vec![0; 65_535];
    let mut ask = |qname, qtype| {
        let mut meta = meta(Transport::Tcp);
        meta.now = now;
        let query = Query::new(qname, qtype).edns_flags(0x8000).wire();
        let Outcome::Send(length) = respond(snapshot, &query, &meta, &mut scratch, &mut out) else {
            panic!("no answer");
        };
        take_apart(&out[..length])
    };
    use dns_engine::respond;
    let ids = |signatures: &[verifiers::Signature]| {
        let ids = signatures
            .iter()
            .map(|signature| (signature.tag, signature.algorithm));
        ids.collect::<BTreeSet<Id>>()
    };
    if let Some(set) = ask("example", "DNSKEY")
        .sets
        .get(&(0, wire("example"), rtype::DNSKEY))
    {
        let keys = set.rdatas.iter();
        view.keys = keys
            .map(|data| (dns_engine::dnssec::key_tag(data), data[3]))
            .collect();
        view.sign_keys = ids(&set.signatures);
    }
    if let Some(set) = ask("example", "CDS")
        .sets
        .get(&(0, wire("example"), rtype::CDS))
    {
        let tags = set
            .rdatas
            .iter()
            .map(|data| u16::from_be_bytes([data[0], data[1]]));
        view.cds = tags.collect();
        assert_eq!(ids(&set.signatures), view.sign_keys, "RFC 7344 §4.1");
    }
    let data = ask("mail.example", "A");
    view.sign_data = ids(&data.sets[&(0, wire("mail.example"), rtype::A)].signatures);
    view
}

const ALGORITHM: Algorithm = Algorithm::Ed25519;
const BOTH: [Role; 2] = [Role::Ksk, Role::Zsk];

fn long(policy: &RollPolicy) -> u64 {
    let all = [policy.dnskey_ttl, policy.ttl_max, policy.parent_ttl];
    all.map(u64::from).iter().sum::<u64>()
        + 2 * u64::from(policy.propagation + policy.parent_propagation)
}

/// A zone that is signed and has its DS record at the parent.
fn secure(policy: RollPolicy, roles: &[Role], delay: u64) -> World {
    let mut world = World::new(policy);
    world.begin(roles, ALGORITHM);
    world.pass(long(&policy));
    world.parent_obeys(delay);
    world.pass(long(&policy));
    world
}

fn policies() -> impl Strategy<Value = RollPolicy> {
    let ttl = || prop_oneof![Just(0_u32), Just(60), 0..200_000_u32];
    (ttl(), ttl(), 0..20_000_u32, ttl(), 0..20_000_u32).prop_map(
        |(dnskey_ttl, ttl_max, propagation, parent_ttl, parent_propagation)| RollPolicy {
            dnskey_ttl,
            ttl_max,
            propagation,
            parent_ttl,
            parent_propagation,
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_zone_becomes_secure_and_its_zsk_rolls(policy in policies(), delay in 0..500_000_u64) {
        let mut world = secure(policy, &BOTH, delay);
        for _ in 0..2 {
            world.begin(&[Role::Zsk], ALGORITHM);
            world.pass(long(&policy));
        }
        world.check(true);
        let states: Vec<State> = world.states().into_iter().map(|(_, state)| state).collect();
        prop_assert_eq!(states, [State::Active, State::Removed, State::Removed, State::Active]);
    }

    #[test]
    fn a_ksk_rolls_however_slow_the_parent_is(
        policy in policies(),
        delays in prop::array::uniform3(0..500_000_u64),
    ) {
        let mut world = secure(policy, &BOTH, delays[0]);
        for delay in &delays[1..] {
            world.begin(&[Role::Ksk], ALGORITHM);
            world.pass(long(&policy) + delay);
            world.parent_obeys(*delay);
            world.pass(*delay + 1);
            world.parent_obeys(*delay);
            world.pass(long(&policy));
        }
        world.check(true);
        let states: Vec<State> = world.states().into_iter().map(|(_, state)| state).collect();
        prop_assert_eq!(states, [State::Removed, State::Active, State::Removed, State::Active]);
    }

    #[test]
    fn a_csk_rolls_and_becomes_a_pair(policy in policies(), delay in 0..500_000_u64) {
        let mut world = secure(policy, &[Role::Csk], delay);
        for roles in [&[Role::Csk][..], &BOTH] {
            world.begin(roles, ALGORITHM);
            world.pass(long(&policy));
            world.parent_obeys(delay);
            world.pass(long(&policy));
        }
        world.check(true);
        let states: Vec<State> = world.states().into_iter().map(|(_, state)| state).collect();
        prop_assert_eq!(states, [State::Removed, State::Removed, State::Active, State::Active]);
    }

    #[test]
    fn the_algorithm_rolls_without_a_moment_of_half_signatures(
        policy in policies(),
        delay in 0..500_000_u64,
    ) {
        let mut world = secure(policy, &BOTH, delay);
        world.begin(&BOTH, Algorithm::EcdsaP256Sha256);
        world.pass(2 * long(&policy));
        world.parent_obeys(delay);
        world.pass(delay + 1);
        world.parent_obeys(delay);
        world.pass(2 * long(&policy));
        world.check(true);
        let states: Vec<State> = world.states().into_iter().map(|(_, state)| state).collect();
        prop_assert_eq!(states, [State::Removed, State::Removed, State::Active, State::Active]);
    }
}

#[test]
fn the_check_finds_a_roll_that_is_too_fast() {
    let policy = RollPolicy::default();
    let broken = |break_it: &dyn Fn(&mut World)| {
        let mut world = secure(policy, &BOTH, 0);
        break_it(&mut world);
        world.pass(long(&policy));
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| world.check(false))).is_err()
    };
    assert!(!broken(&|world| world.begin(&[Role::Zsk], ALGORITHM)));
    assert!(broken(&|world| {
        world.begin(&[Role::Zsk], ALGORITHM);
        world.planned[2].timing.activate -= HOUR;
        *world.planned[1].timing.retire.as_mut().unwrap() -= HOUR;
    }));
    assert!(broken(&|world| {
        world.begin(&[Role::Zsk], ALGORITHM);
        world.planned[1].timing.remove = world.planned[1].timing.retire;
    }));
    assert!(broken(&|world| {
        world.begin(&[Role::Ksk], ALGORITHM);
        world.pass(3 * HOUR);
        world.parent_obeys(0);
        world.planned[0].timing.remove = Some(world.now + HOUR);
    }));
}

#[test]
fn steps_that_come_too_early_or_make_no_sense_are_refused() {
    let policy = RollPolicy::default();
    let mut world = World::new(policy);
    world.begin(&BOTH, ALGORITHM);
    let now = world.now;
    let planned = &mut world.planned;
    let begin = |roles: &[Role], algorithm, now| {
        roll::begin(&mut planned.clone(), roles, algorithm, &policy, now).err()
    };
    assert_eq!(
        begin(&[Role::Ksk], ALGORITHM, now),
        Some(RollError::UnderWay),
        "no DS yet"
    );
    assert_eq!(begin(&[Role::Zsk], ALGORITHM, now + 1), None);
    let other = Algorithm::EcdsaP256Sha256;
    assert_eq!(
        begin(&[Role::Zsk], other, now + 1),
        Some(RollError::AllAtOnce)
    );
    let submit = planned[0].timing.ds.submit.unwrap();
    let mut seen = |place, now| roll::ds_seen(planned, place, &policy, now).err();
    assert_eq!(seen(0, now), Some(RollError::TooEarly(submit)));
    assert_eq!(seen(1, submit), Some(RollError::NoDs));
    assert_eq!(seen(0, submit), None);
    let gone = roll::ds_gone(planned, 0, &policy, submit).err();
    assert_eq!(gone, Some(RollError::NotAsked));
    let csk = Planned {
        role: Role::Csk,
        algorithm: ALGORITHM,
        timing: Timing {
            ds: DsTiming {
                submit: Some(0),
                seen: Some(0),
                ..DsTiming::default()
            },
            ..Timing::default()
        },
    };
    let alone = roll::begin(&mut [csk], &[Role::Ksk], ALGORITHM, &policy, now).err();
    assert_eq!(alone, Some(RollError::AllAtOnce), "nobody would sign data");
}

#[test]
fn faults_of_keys_are_found_before_validators_find_them() {
    let policy = RollPolicy::default();
    let mut world = World::new(policy);
    let faults = |world: &World, now| audit(&world.zone_keys(), None, &policy, now);
    assert_eq!(faults(&world, START), [Fault::NothingSigns]);
    world.begin(&BOTH, ALGORITHM);
    let tag = world.id(0).0;
    assert_eq!(
        faults(&world, START),
        [],
        "a first key waits until it may be submitted"
    );
    let submit = world.planned[0].timing.ds.submit.unwrap();
    let awaited = Fault::DsAwaited { tag, since: submit };
    assert_eq!(faults(&world, submit + 1), [awaited]);
    roll::ds_seen(&mut world.planned, 0, &policy, submit + 2).unwrap();
    assert_eq!(faults(&world, submit + 3), []);
    world.planned[0].timing.ds = DsTiming::default();
    assert_eq!(faults(&world, submit + 3), [Fault::NoDs { tag }]);
    world.planned[0].timing.ds.seen = Some(submit);
    let end = submit + 1000;
    world.planned[1].timing.retire = Some(end);
    assert_eq!(faults(&world, end - 1), [Fault::SigningEnds { at: end }]);
    assert_eq!(faults(&world, end), [Fault::NothingSigns]);
    world.planned[1].timing.retire = None;
    world.planned[1].timing.remove = Some(end);
    assert_eq!(faults(&world, end - 1), [Fault::ChainBreaks { at: end }]);
    assert!(faults(&world, end).iter().all(Fault::is_error));
}

#[test]
fn faults_of_a_zone_that_is_signed_here_are_found() {
    let text = "$ORIGIN example.\n@ 60 SOA n.o. m.o. 1 2 3 4 5\n@ 60 NS n.o.\n\
        @ 60 CDS 1 13 99 00\na 700000 A 192.0.2.1\n";
    let zone = dns_engine::zonefile::parse("t", text, None).unwrap();
    let keys = verifiers::pair("example", ALGORITHM);
    let found: Vec<String> = audit(&keys, Some(&zone), &RollPolicy::default(), START)
        .iter()
        .map(ToString::to_string)
        .collect();
    let ttl = "a TTL of 700000 s is longer than the 604800 s that a signature holds at least";
    let [ds, too_long, over, cds] = &found[..] else {
        panic!("{found:?}");
    };
    assert!(ds.contains("has no DS record"));
    assert_eq!(too_long, ttl);
    assert!(
        over.contains("than the 86400 s that rolls of keys wait for"),
        "{over}"
    );
    assert!(cds.starts_with("example. has a CDS"));
}

#[test]
fn cds_and_cdnskey_ask_for_the_same_and_only_while_something_is_wanted() {
    let policy = RollPolicy::default();
    let mut world = World::new(policy);
    world.begin(&[Role::Csk], ALGORITHM);
    let submit = world.planned[0].timing.ds.submit.unwrap();
    let keys = world.zone_keys();
    assert!(keys.rrset(rtype::CDS, submit - 1).is_none());
    let cds = keys.rrset(rtype::CDS, submit).unwrap();
    let cdnskey = keys.rrset(rtype::CDNSKEY, submit).unwrap();
    let key = world.key(0);
    assert_eq!(cds.rdatas().collect::<Vec<_>>(), [key.ds(&wire("example"))]);
    assert_eq!(cdnskey.rdatas().collect::<Vec<_>>(), [key.dnskey()]);
    roll::ds_seen(&mut world.planned, 0, &policy, submit + 5).unwrap();
    let keys = world.zone_keys();
    assert!(keys.rrset(rtype::CDS, submit + 4).is_some());
    assert!(keys.rrset(rtype::CDS, submit + 5).is_none());
}
