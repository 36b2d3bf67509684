//! Where signatures come from: the cache, or a key within the budget. One for a server, for as long as it runs:
//! it outlives snapshots, zones and keys, as a signature is found by what it is over and who made it.

use std::sync::atomic::{AtomicU64, Ordering};

use ring::digest;
use ring::rand::SystemRandom;

use super::budget::Budget;
use super::cache::{Cache, Content, Found, Signature};
use super::key::Key;

/// What signing may cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SigningLimits {
    /// Octets of the cache; about 100 a signature.
    pub cache_octets: usize,
    /// Signatures made in a second for answers in datagrams, all workers together; beyond it the client is told to
    /// come back over TCP. One costs some 15 microseconds of one core.
    pub signatures_per_second: u32,
}

impl Default for SigningLimits {
    /// 32 MiB, which is some 300,000 signatures, and a sixth of one core.
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
    /// Look-ups in a part of the cache that was taken just then.
    pub contended: u64,
    /// Signatures made.
    pub made: u64,
    /// Signatures not made as the second's budget was used up.
    pub over_budget: u64,
}

/// The cache, the budget and the counts.
pub struct Signatures {
    cache: Cache,
    budget: Budget,
    random: SystemRandom,
    contended: AtomicU64,
    made: AtomicU64,
    over_budget: AtomicU64,
}

/// How much a signature is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Effort {
    /// Within the budget.
    Budgeted,
    /// In any case: the client's address is proven, and the transport bounds how many there are.
    Whatever,
    /// In any case and ahead of time, to be kept.
    Ahead,
}

impl Signatures {
    /// An empty cache. `random` is for the nonces of ECDSA, whose repetition would give the key away: the one
    /// randomness of this library that is not an argument of each call.
    pub fn new(limits: SigningLimits, random: SystemRandom) -> Self {
        Self {
            cache: Cache::new(limits.cache_octets),
            budget: Budget::new(limits.signatures_per_second),
            random,
            contended: AtomicU64::new(0),
            made: AtomicU64::new(0),
            over_budget: AtomicU64::new(0),
        }
    }

    /// How many signatures the cache can hold.
    pub fn capacity(&self) -> usize {
        self.cache.capacity()
    }

    /// What happened so far.
    pub fn counts(&self) -> SigningCounts {
        let cache = self.cache.counts();
        SigningCounts {
            hits: cache.hits,
            misses: cache.misses,
            evictions: cache.evictions,
            contended: self.contended.load(Ordering::Relaxed),
            made: self.made.load(Ordering::Relaxed),
            over_budget: self.over_budget.load(Ordering::Relaxed),
        }
    }

    /// The signature of a key over `data`, which holds until `until` at least; `None` over budget.
    pub(crate) fn signature(
        &self,
        key: &Key,
        data: &[u8],
        until: u64,
        now: u64,
        effort: Effort,
    ) -> Option<Signature> {
        let content = content(key, data);
        match self.cache.find(&content, now) {
            Found::Hit(signature) => return Some(signature),
            Found::Miss => {}
            Found::Taken => count(&self.contended),
        }
        if effort == Effort::Budgeted && !self.budget.take(now) {
            count(&self.over_budget);
            return None;
        }
        let signature = key.sign(data, &self.random)?;
        count(&self.made);
        let kept = effort == Effort::Ahead;
        self.cache.keep(&content, &signature, until, now, kept);
        Some(signature)
    }
}

fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// Everything a signature depends on is in the octets it is over, but for the key, of which they have the tag only.
fn content(key: &Key, data: &[u8]) -> Content {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(key.identity());
    context.update(data);
    let mut content = [0; 16];
    content.copy_from_slice(&context.finish().as_ref()[..16]);
    content
}
