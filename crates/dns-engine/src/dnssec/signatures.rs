//! Where signatures come from: the cache, or a key within the budget. One for a server, for as long as it runs:
//! it outlives snapshots, zones and keys, as a signature is found by what it is over and who made it.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use ring::rand::SystemRandom;

use super::budget::Budget;
use super::cache::{Cache, Found, Kept, Signature};
use super::fingerprint::{Fingerprint, Fingerprints};
use super::key::Key;

/// What signing may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningLimits {
    /// Octets of the cache; about 80 a signature.
    pub cache_octets: usize,
    /// Signatures made in a second for answers in datagrams, all workers together; beyond it the client is told to
    /// come back over TCP. One costs some 25 microseconds of one core.
    pub signatures_per_second: u32,
}

impl Default for SigningLimits {
    /// 32 MiB, which is some 400,000 signatures, and a sixth of one core.
    fn default() -> Self {
        Self {
            cache_octets: 32 << 20,
            signatures_per_second: 10_000,
        }
    }
}

/// What happened so far, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SigningCounts {
    /// Signatures taken from the cache.
    pub hits: u64,
    /// Signatures that were not in it.
    pub misses: u64,
    /// Signatures that had to leave it before their time.
    pub evictions: u64,
    /// Look-ups in a part of the cache that was being written just then.
    pub contended: u64,
    /// Signatures made.
    pub made: u64,
    /// Signatures not made as the second's budget was used up.
    pub over_budget: u64,
}

/// The cache, the budget and the counts.
pub struct Signatures {
    cache: Cache,
    fingerprints: Fingerprints,
    budget: Budget,
    random: SystemRandom,
    hits: Box<[Hits; LANES]>,
    misses: AtomicU64,
    evictions: AtomicU64,
    contended: AtomicU64,
    made: AtomicU64,
    over_budget: AtomicU64,
}

/// Counts of hits: more than there are workers, as a rule, so that each has one whose cache line nobody else writes.
const LANES: usize = 64;

/// A count on cache lines of its own (two, as they are fetched in pairs).
#[derive(Default)]
#[repr(align(128))]
struct Hits(AtomicU64);

/// Which of the counts of hits a worker adds to.
#[derive(Clone, Copy)]
pub(super) struct Lane(usize);

impl Lane {
    /// The next in turn.
    pub(super) fn next() -> Self {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        Self(NEXT.fetch_add(1, Ordering::Relaxed) % LANES)
    }
}

/// How much a signature is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effort {
    /// Within the budget.
    Budgeted,
    /// In any case: the client's address is proven, and the transport bounds how many there are.
    Whatever,
    /// In any case and ahead of time, to be kept.
    Ahead,
}

impl Signatures {
    /// An empty cache. `random` is for the nonces of ECDSA, whose repetition would give the key away, and for the cache,
    /// whose places nobody may foresee: the one randomness of this library that is not an argument of each call.
    pub fn new(limits: SigningLimits, random: SystemRandom) -> Self {
        let count = || AtomicU64::new(0);
        let fingerprints = Fingerprints::new(&random);
        // Without randomness nothing is kept; nor is anything signed with ECDSA.
        let octets = fingerprints.as_ref().map_or(0, |_| limits.cache_octets);
        Self {
            cache: Cache::new(octets),
            fingerprints: fingerprints.unwrap_or_default(),
            budget: Budget::new(limits.signatures_per_second),
            random,
            hits: Box::new(std::array::from_fn(|_| Hits::default())),
            misses: count(),
            evictions: count(),
            contended: count(),
            made: count(),
            over_budget: count(),
        }
    }

    /// How many signatures the cache can hold.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// What happened so far.
    pub fn counts(&self) -> SigningCounts {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        SigningCounts {
            hits: self.hits.iter().map(|hits| read(&hits.0)).sum(),
            misses: read(&self.misses),
            evictions: read(&self.evictions),
            contended: read(&self.contended),
            made: read(&self.made),
            over_budget: read(&self.over_budget),
        }
    }

    /// What signatures are found by.
    pub(super) fn fingerprints(&self) -> &Fingerprints {
        &self.fingerprints
    }

    /// A signature that was made before.
    pub(super) fn find(&self, fingerprint: Fingerprint, lane: Lane) -> Option<Signature> {
        match self.cache.find(fingerprint) {
            Found::Hit(signature) => {
                count(&self.hits[lane.0].0);
                return Some(signature);
            }
            Found::Miss => count(&self.misses),
            Found::Taken => count(&self.contended),
        }
        None
    }

    /// Makes the signature of a key over `data` and keeps it until a time; `None` over budget.
    pub(super) fn make(
        &self,
        (fingerprint, until): (Fingerprint, u64),
        key: &Key,
        data: &[u8],
        now: u64,
        effort: Effort,
    ) -> Option<Signature> {
        if effort == Effort::Budgeted && !self.budget.take(now) {
            count(&self.over_budget);
            return None;
        }
        let signature = key.sign(data, &self.random)?;
        count(&self.made);
        let lasting = effort == Effort::Ahead;
        let kept = self
            .cache
            .keep(fingerprint, &signature, until, now, lasting);
        if kept == Kept::Evicting {
            count(&self.evictions);
        }
        Some(signature)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}
