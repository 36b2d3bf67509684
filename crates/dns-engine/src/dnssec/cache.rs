//! Signatures that were made before, by what they are over: a fixed table of small sets, in shards that are
//! tried and never waited for. A query that finds its shard taken signs for itself.

use std::sync::{Mutex, MutexGuard, PoisonError, TryLockError};

use super::algorithm::SIGNATURE_LENGTH;

/// What a signature is over, in 128 bits of a cryptographic hash: nobody can make two that agree.
pub(super) type Content = [u8; 16];
/// A signature.
pub(super) type Signature = [u8; SIGNATURE_LENGTH];

/// Entries that one content may stand in: the bound on what a look-up and an eviction cost.
const WAYS: usize = 8;
/// Shards: more than there are workers, so that they seldom meet.
const SHARDS: usize = 64;
/// An entry used this often survives as many sweeps: what is used again stays when a flood of invented names
/// passes through, whose entries are used once.
const HEAT_MAX: u8 = 3;

/// One signature; free if it is not good any more.
#[derive(Clone, Copy)]
struct Entry {
    content: Content,
    signature: Signature,
    /// Unix seconds from which it is replaced by the next; 0 in a free entry.
    until: u64,
    heat: u8,
}

const FREE: Entry = Entry {
    content: [0; 16],
    signature: [0; SIGNATURE_LENGTH],
    until: 0,
    heat: 0,
};

type Set = [Entry; WAYS];

/// What happened so far, for metrics.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) hits: u64,
    pub(super) misses: u64,
    pub(super) evictions: u64,
}

struct Shard {
    sets: Box<[Set]>,
    counts: Counts,
}

/// The table.
pub(super) struct Cache {
    shards: Box<[Mutex<Shard>]>,
}

/// What a look-up found.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Found {
    /// The signature.
    Hit(Signature),
    /// It is not there.
    Miss,
    /// Somebody else is in the shard.
    Taken,
}

impl Cache {
    /// A table for about this many octets; with less than one set per shard there is none.
    pub(super) fn new(octets: usize) -> Self {
        let sets = octets / (SHARDS * size_of::<Set>());
        let shard = || {
            Mutex::new(Shard {
                sets: vec![[FREE; WAYS]; sets].into(),
                counts: Counts::default(),
            })
        };
        Self {
            shards: (0..SHARDS).map(|_| shard()).collect(),
        }
    }

    /// How many signatures it can hold.
    pub(super) fn capacity(&self) -> usize {
        self.shards
            .iter()
            .map(|shard| wait(shard).sets.len() * WAYS)
            .sum()
    }

    /// What happened so far. Waits for workers, and makes none wait.
    pub(super) fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for shard in &self.shards {
            let counts = wait(shard).counts;
            sum.hits += counts.hits;
            sum.misses += counts.misses;
            sum.evictions += counts.evictions;
        }
        sum
    }

    /// Looks for a signature that is still good.
    pub(super) fn find(&self, content: &Content, now: u64) -> Found {
        let Some(mut shard) = self.enter(content) else {
            return Found::Taken;
        };
        let Shard { sets, counts } = &mut *shard;
        let good = |entry: &&mut Entry| entry.content == *content && entry.until > now;
        let Some(entry) = set_of(sets, content).and_then(|set| set.iter_mut().find(good)) else {
            counts.misses += 1;
            return Found::Miss;
        };
        entry.heat = (entry.heat + 1).min(HEAT_MAX);
        counts.hits += 1;
        Found::Hit(entry.signature)
    }

    /// Keeps a signature, unless somebody else is in the shard; `kept` ones outlast those nobody asked for again.
    pub(super) fn keep(
        &self,
        content: &Content,
        signature: &Signature,
        until: u64,
        now: u64,
        kept: bool,
    ) -> bool {
        let Some(mut shard) = self.enter(content) else {
            return false;
        };
        let Shard { sets, counts } = &mut *shard;
        let Some(set) = set_of(sets, content) else {
            return false;
        };
        let entry = place_in(set, content, now);
        let evicts = entry.until > now && entry.content != *content;
        counts.evictions += u64::from(evicts);
        *entry = Entry {
            content: *content,
            signature: *signature,
            until,
            heat: if kept { HEAT_MAX } else { 0 },
        };
        true
    }

    fn enter(&self, content: &Content) -> Option<MutexGuard<'_, Shard>> {
        let shard = self.shards.get(usize::from(content[0]) % SHARDS)?;
        match shard.try_lock() {
            Ok(guard) => Some(guard),
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

fn wait(shard: &Mutex<Shard>) -> MutexGuard<'_, Shard> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The set a content belongs in; `None` without a table.
fn set_of<'s>(sets: &'s mut [Set], content: &Content) -> Option<&'s mut Set> {
    let [_, _, _, _, _, _, _, _, number @ ..] = *content;
    let place = u64::from_le_bytes(number).checked_rem(sets.len() as u64)?;
    sets.get_mut(place as usize)
}

/// The entry to write: the same content's, a free one, or the first that nobody asked for since the last sweep.
fn place_in<'s>(set: &'s mut Set, content: &Content, now: u64) -> &'s mut Entry {
    let same = set.iter().position(|entry| entry.content == *content);
    let free = || set.iter().position(|entry| entry.until <= now);
    if let Some(place) = same.or_else(free) {
        return &mut set[place];
    }
    // What is coldest goes; the rest cools down by as much, so that what was hot once does not stay for ever.
    let coldest = set.iter().map(|entry| entry.heat).min().unwrap_or(0);
    let mut place = 0;
    for (at, entry) in set.iter_mut().enumerate().rev() {
        entry.heat -= coldest;
        if entry.heat == 0 {
            place = at;
        }
    }
    &mut set[place]
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;

    /// Contents of one set of one shard.
    fn content(number: u8) -> Content {
        let mut content = [0; 16];
        content[1] = number;
        content
    }

    fn signature(number: u8) -> Signature {
        [number; SIGNATURE_LENGTH]
    }

    fn small() -> Cache {
        Cache::new(SHARDS * size_of::<Set>())
    }

    fn keep(cache: &Cache, number: u8) {
        assert!(cache.keep(&content(number), &signature(number), NOW + 10, NOW, false));
    }

    fn has(cache: &Cache, number: u8) -> bool {
        cache.find(&content(number), NOW) == Found::Hit(signature(number))
    }

    #[test]
    fn a_signature_is_found_until_its_time_is_over() {
        let cache = small();
        assert_eq!(cache.find(&content(1), NOW), Found::Miss);
        keep(&cache, 1);
        assert!(has(&cache, 1));
        assert_eq!(cache.find(&content(1), NOW + 10), Found::Miss);
        assert_eq!(cache.find(&content(2), NOW), Found::Miss);
        let expected = Counts {
            hits: 1,
            misses: 3,
            evictions: 0,
        };
        assert_eq!(cache.counts(), expected);
        assert_eq!(cache.capacity(), SHARDS * WAYS);
    }

    #[test]
    fn a_flood_evicts_itself_and_not_what_is_used_again() {
        let cache = small();
        keep(&cache, 1);
        assert!(has(&cache, 1));
        for number in 2..200 {
            keep(&cache, number);
        }
        assert!(has(&cache, 1) && has(&cache, 199));
        let present = (1..200).filter(|number| has(&cache, *number)).count();
        assert_eq!(present, WAYS);
        assert_eq!(cache.counts().evictions, 199 - WAYS as u64);
    }

    #[test]
    fn what_is_used_no_longer_goes_in_the_end() {
        let cache = small();
        for number in 0..8 {
            let kept = cache.keep(&content(number), &signature(number), NOW + 10, NOW, true);
            assert!(kept);
        }
        for number in 8..40 {
            keep(&cache, number);
            for _ in 0..3 {
                assert!(has(&cache, number));
            }
        }
        assert!((0..8).all(|number| !has(&cache, number)));
    }

    #[test]
    fn what_is_over_goes_before_what_is_good() {
        let cache = small();
        for number in 0..8 {
            keep(&cache, number);
        }
        let later = NOW + 10;
        assert!(cache.keep(&content(9), &signature(9), later + 5, later, false));
        assert_eq!(cache.counts().evictions, 0);
        assert_eq!(cache.find(&content(9), later), Found::Hit(signature(9)));
    }

    #[test]
    fn without_room_everything_is_a_miss() {
        let cache = Cache::new(0);
        assert!(!cache.keep(&content(1), &signature(1), NOW + 10, NOW, false));
        assert_eq!(cache.find(&content(1), NOW), Found::Miss);
    }

    #[test]
    fn nobody_waits_for_a_shard() {
        let cache = small();
        keep(&cache, 1);
        let guard = cache.shards[0].lock().unwrap();
        assert_eq!(cache.find(&content(1), NOW), Found::Taken);
        assert!(!cache.keep(&content(2), &signature(2), NOW + 10, NOW, false));
        drop(guard);
        assert!(has(&cache, 1));
    }
}
