//! Signatures that were made before: a fixed table of small sets of seven, found by their fingerprints. Reading takes no
//! lock, writes nothing and touches two cache lines: that of the set's fingerprints, and the signature's.
//!
//! A set has a version, odd while somebody writes in it. Who reads a signature looks at the version before and after: if
//! it has changed, what was read may be half of one and half of another, and the query signs for itself. Nobody waits.

use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicU64, fence};

use super::algorithm::SIGNATURE_LENGTH;
use super::fingerprint::Fingerprint;

/// A signature.
pub(super) type Signature = [u8; SIGNATURE_LENGTH];

/// Places that one signature may stand in: as many fingerprints as fit into a cache line with the state.
const WAYS: usize = 7;
/// A signature used this often survives as many sweeps: what is used again stays when a flood of invented names passes
/// through, whose signatures are used once.
const HEAT_MAX: u64 = 3;
/// Bits that hold it.
const HEAT_BITS: usize = 2;
/// One version further; the bits below are the heats of the ways.
const VERSION: u64 = 1 << (WAYS * HEAT_BITS);

/// A few signatures. A place whose time is over is free.
#[repr(align(64))]
struct Set {
    /// 0 where there was never one.
    fingerprints: [AtomicU64; WAYS],
    /// Version and heats.
    state: AtomicU64,
    /// Unix seconds from which each is replaced by the next. Read by those who write only.
    until: [AtomicU64; WAYS],
    signatures: [Words; WAYS],
}

/// A signature in its cache line.
#[repr(align(64))]
struct Words([AtomicU64; SIGNATURE_LENGTH / 8]);

/// The table.
pub(super) struct Cache {
    sets: Box<[Set]>,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The signature.
    Hit(Signature),
    /// It is not there.
    Miss,
    /// Somebody is writing there.
    Taken,
}

/// What became of a signature that was to be kept.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// It has a place that was free, or its own from before.
    Free,
    /// It has the place of one that was still good.
    Evicting,
    /// There is no table, or somebody else is writing there.
    Nowhere,
}

impl Cache {
    /// A table for about this many octets.
    pub(super) fn new(octets: usize) -> Self {
        let sets = octets / size_of::<Set>();
        Self {
            sets: (0..sets).map(|_| Set::new()).collect(),
        }
    }

    /// How many signatures it can hold.
    pub(super) fn capacity(&self) -> usize {
        self.sets.len() * WAYS
    }

    /// Looks for a signature. Its fingerprint tells the time that it is for as well: it is good if it is there.
    pub(super) fn find(&self, fingerprint: Fingerprint) -> Found {
        self.set(fingerprint)
            .map_or(Found::Miss, |set| set.find(fingerprint))
    }

    /// Keeps a signature until a time; `lasting` ones stay longer than those that nobody asked for again.
    pub(super) fn keep(
        &self,
        fingerprint: Fingerprint,
        signature: &Signature,
        until: u64,
        now: u64,
        lasting: bool,
    ) -> Kept {
        let entry = Entry {
            fingerprint,
            signature,
            until,
            heat: if lasting { HEAT_MAX } else { 0 },
        };
        self.set(fingerprint)
            .map_or(Kept::Nowhere, |set| set.keep(&entry, now))
    }

    fn set(&self, fingerprint: Fingerprint) -> Option<&Set> {
        let scaled = u128::from(fingerprint) * self.sets.len() as u128;
        self.sets.get((scaled >> 64) as usize)
    }
}

/// What is to be written.
struct Entry<'s> {
    fingerprint: Fingerprint,
    signature: &'s Signature,
    until: u64,
    heat: u64,
}

impl Set {
    fn new() -> Self {
        let zero = |_| AtomicU64::new(0);
        Self {
            fingerprints: std::array::from_fn(zero),
            state: AtomicU64::new(0),
            until: std::array::from_fn(zero),
            signatures: std::array::from_fn(|_| Words(std::array::from_fn(zero))),
        }
    }

    fn find(&self, fingerprint: Fingerprint) -> Found {
        let before = self.state.load(Acquire);
        if is_written(before) {
            return Found::Taken;
        }
        let Some(place) = self.place_of(fingerprint) else {
            return Found::Miss;
        };
        let mut signature = [0; SIGNATURE_LENGTH];
        for (octets, word) in signature
            .as_chunks_mut()
            .0
            .iter_mut()
            .zip(&self.signatures[place].0)
        {
            *octets = word.load(Relaxed).to_ne_bytes();
        }
        // All of the signature is read before the version is looked at again.
        fence(Acquire);
        let after = self.state.load(Relaxed);
        if after / VERSION != before / VERSION {
            return Found::Taken;
        }
        if heat(after, place) < HEAT_MAX {
            // Somebody else's heat may be lost for it, or this one: it is an estimate.
            let warmer = after + (1 << (place * HEAT_BITS));
            let _ = self.state.compare_exchange(after, warmer, Relaxed, Relaxed);
        }
        Found::Hit(signature)
    }

    fn keep(&self, entry: &Entry<'_>, now: u64) -> Kept {
        let before = self.state.load(Relaxed);
        let written = before.wrapping_add(VERSION);
        let taken = || {
            self.state
                .compare_exchange(before, written, Acquire, Relaxed)
        };
        if is_written(before) || taken().is_err() {
            return Kept::Nowhere;
        }
        // Whoever sees a word of what follows also sees that the set is being written.
        fence(Release);
        let mut heats: [u64; WAYS] = std::array::from_fn(|place| heat(before, place));
        let place = self.place_for(entry.fingerprint, &mut heats, now);
        let is_good = self.until[place].load(Relaxed) > now;
        let is_other = self.fingerprints[place].load(Relaxed) != entry.fingerprint;
        heats[place] = entry.heat;
        self.fingerprints[place].store(entry.fingerprint, Relaxed);
        self.until[place].store(entry.until, Relaxed);
        for (word, octets) in self.signatures[place]
            .0
            .iter()
            .zip(entry.signature.as_chunks().0)
        {
            word.store(u64::from_ne_bytes(*octets), Relaxed);
        }
        let places = heats.iter().rev();
        let heats = places.fold(0, |heats, heat| heats << HEAT_BITS | heat);
        let version = written.wrapping_add(VERSION) / VERSION * VERSION;
        self.state.store(version | heats, Release);
        if is_good && is_other {
            Kept::Evicting
        } else {
            Kept::Free
        }
    }

    fn place_of(&self, fingerprint: Fingerprint) -> Option<usize> {
        let mut places = self.fingerprints.iter();
        places.position(|other| other.load(Relaxed) == fingerprint)
    }

    /// The place to write: the same signature's, a free one, or the first that nobody asked for since the last sweep.
    fn place_for(&self, fingerprint: Fingerprint, heats: &mut [u64; WAYS], now: u64) -> usize {
        let free = || {
            self.until
                .iter()
                .position(|until| until.load(Relaxed) <= now)
        };
        if let Some(place) = self.place_of(fingerprint).or_else(free) {
            return place;
        }
        // What is coldest goes; the rest cools down by as much, so that what was hot once does not stay for ever.
        let coldest = heats.iter().copied().min().unwrap_or(0);
        heats.iter_mut().for_each(|heat| *heat -= coldest);
        heats.iter().position(|heat| *heat == 0).unwrap_or(0)
    }
}

/// True while somebody writes.
fn is_written(state: u64) -> bool {
    state & VERSION != 0
}

fn heat(state: u64, place: usize) -> u64 {
    state >> (place * HEAT_BITS) & HEAT_MAX
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicBool;

    use super::*;

    const NOW: u64 = 1_800_000_000;

    fn signature(number: u64) -> Signature {
        let octets = number.to_le_bytes();
        std::array::from_fn(|at| octets[at % 8])
    }

    /// One set.
    fn small() -> Cache {
        Cache::new(size_of::<Set>())
    }

    fn keep(cache: &Cache, number: u64) -> Kept {
        cache.keep(number, &signature(number), NOW + 10, NOW, false)
    }

    fn has(cache: &Cache, number: u64) -> bool {
        cache.find(number) == Found::Hit(signature(number))
    }

    #[test]
    fn a_set_wastes_no_cache_line() {
        assert_eq!(size_of::<Set>(), 64 * (2 + WAYS));
    }

    #[test]
    fn a_signature_is_found_by_its_fingerprint_alone() {
        let cache = small();
        assert_eq!(cache.capacity(), WAYS);
        assert_eq!(cache.find(1), Found::Miss);
        assert_eq!(keep(&cache, 1), Kept::Free);
        assert!(has(&cache, 1));
        assert_eq!(cache.find(2), Found::Miss);
        assert_eq!(keep(&cache, 1), Kept::Free, "in its own place");
        let present = (0..WAYS).filter(|_| keep(&cache, 2) == Kept::Free).count();
        assert_eq!(present, WAYS);
        assert!(has(&cache, 1) && has(&cache, 2));
    }

    #[test]
    fn every_fingerprint_has_a_set() {
        let cache = Cache::new(5 * size_of::<Set>());
        for number in 0..64 {
            let fingerprint = u64::MAX >> number;
            assert!(keep(&cache, fingerprint) != Kept::Nowhere);
            assert!(has(&cache, fingerprint));
        }
    }

    #[test]
    fn a_flood_evicts_itself_and_not_what_is_used_again() {
        let cache = small();
        keep(&cache, 1);
        assert!(has(&cache, 1));
        let evicting = (2..200).filter(|number| keep(&cache, *number) == Kept::Evicting);
        assert_eq!(evicting.count(), 199 - WAYS);
        assert!(has(&cache, 1) && has(&cache, 199));
        let present = (1..200).filter(|number| has(&cache, *number)).count();
        assert_eq!(present, WAYS);
    }

    #[test]
    fn what_is_used_no_longer_goes_in_the_end() {
        let cache = small();
        for number in 1..=WAYS as u64 {
            cache.keep(number, &signature(number), NOW + 10, NOW, true);
            assert!(has(&cache, number));
        }
        for number in 8..40 {
            keep(&cache, number);
            for _ in 0..3 {
                assert!(has(&cache, number));
            }
        }
        assert!((1..=7).all(|number| !has(&cache, number)));
    }

    #[test]
    fn what_is_over_goes_before_what_is_good() {
        let cache = small();
        for number in 1..=7 {
            keep(&cache, number);
        }
        let later = NOW + 10;
        let kept = cache.keep(9, &signature(9), later + 5, later, false);
        assert_eq!(kept, Kept::Free);
        assert!(has(&cache, 9));
    }

    #[test]
    fn without_room_everything_is_a_miss() {
        let cache = Cache::new(0);
        assert_eq!(keep(&cache, 1), Kept::Nowhere);
        assert_eq!(cache.find(1), Found::Miss);
    }

    #[test]
    fn nobody_waits_for_who_writes() {
        let cache = small();
        keep(&cache, 1);
        let state = &cache.sets[0].state;
        state.fetch_add(VERSION, Relaxed);
        assert_eq!(cache.find(1), Found::Taken);
        assert_eq!(keep(&cache, 2), Kept::Nowhere);
        state.fetch_add(VERSION, Relaxed);
        assert!(has(&cache, 1));
    }

    #[test]
    fn nobody_reads_half_of_a_signature() {
        let (cache, done) = (small(), AtomicBool::new(false));
        std::thread::scope(|scope| {
            let writer = |first: u64| {
                for round in 0..30_000 {
                    keep(&cache, 1 + (first + round) % 20);
                }
            };
            let reader = || {
                let mut last_round = false;
                while !last_round {
                    last_round = done.load(Relaxed);
                    let hits = (1..=20).filter(|number| match cache.find(*number) {
                        Found::Hit(found) => found == signature(*number) || panic!("{number}"),
                        Found::Miss | Found::Taken => false,
                    });
                    assert!(hits.count() == WAYS || !last_round);
                }
            };
            let readers = [scope.spawn(reader), scope.spawn(reader)];
            let writers = [
                scope.spawn(move || writer(0)),
                scope.spawn(move || writer(7)),
            ];
            writers
                .into_iter()
                .for_each(|writer| writer.join().unwrap());
            done.store(true, Relaxed);
            readers
                .into_iter()
                .for_each(|reader| reader.join().unwrap());
        });
    }
}
