//! Who opens which title now, and which names were not to be had just before. Bounds what unknown names can cost:
//! everyone may ask for any name, and each may mean questions to other edges.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};

/// How long a title that could not be had is not looked for again.
const MISSING_KEPT: Duration = Duration::from_secs(1);
/// Most such titles remembered, a hundred kilobytes at most; others are simply looked for again.
const MISSING_MAX: usize = 1_024;

/// A title's name, and how many edges the request has passed. Requests of different ways must not wait for each other:
/// two edges that pull the same title from each other at the same time would both wait in vain.
pub(super) type Key = (String, u32);

/// One opening at a time per key: sessions that want the same new title must not index or pull it twice.
#[derive(Debug, Default)]
pub(super) struct Turns(Mutex<HashMap<Key, Arc<tokio::sync::Mutex<()>>>>);

/// The right to open a title, or to wait for that; the table forgets the key with the last of them.
#[derive(Debug)]
pub(super) struct Turn<'a> {
    turns: &'a Turns,
    key: Key,
    lock: Arc<tokio::sync::Mutex<()>>,
}

impl Turns {
    /// A place in the queue of that key.
    pub(super) fn queue(&self, key: Key) -> Turn<'_> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let lock = Arc::clone(turns.entry(key.clone()).or_default());
        Turn {
            turns: self,
            key,
            lock,
        }
    }
}

impl Turn<'_> {
    /// Returns when it is one's turn, which lasts as long as the guard.
    pub(super) async fn come(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.lock.lock().await
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut turns = self.turns.0.lock().unwrap_or_else(PoisonError::into_inner);
        // The table's and this one; others are made under the same lock only.
        if Arc::strong_count(&self.lock) == 2 {
            turns.remove(&self.key);
        }
    }
}

/// Titles that could not be had just now, with the manifest's time if there was one: a new one is worth a new look.
#[derive(Debug, Default)]
pub(super) struct Missing(Mutex<HashMap<Key, (Instant, Option<SystemTime>)>>);

impl Missing {
    pub(super) fn insert(&self, key: Key, changed: Option<SystemTime>, now: Instant) {
        let mut missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.len() >= MISSING_MAX {
            missing.retain(|_, (since, _)| now.duration_since(*since) < MISSING_KEPT);
        }
        if missing.len() < MISSING_MAX {
            missing.insert(key, (now, changed));
        }
    }

    pub(super) fn contains(&self, key: &Key, changed: Option<SystemTime>, now: Instant) -> bool {
        let missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        missing.get(key).is_some_and(|(since, then)| {
            now.duration_since(*since) < MISSING_KEPT && *then == changed
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_is_forgotten_after_a_second_and_the_table_stays_small() {
        let (missing, now) = (Missing::default(), Instant::now());
        let key = |n: usize| (format!("t{n}"), 0);
        (0..2 * MISSING_MAX).for_each(|n| missing.insert(key(n), None, now));
        assert!(missing.contains(&key(0), None, now));
        assert!(!missing.contains(&("t0".to_owned(), 1), None, now));
        assert!(!missing.contains(&key(0), Some(SystemTime::now()), now));
        assert!(
            !missing.contains(&key(2 * MISSING_MAX - 1), None, now),
            "no room"
        );
        let later = now + MISSING_KEPT;
        assert!(!missing.contains(&key(0), None, later));
        missing.insert(key(7), None, later);
        assert_eq!(missing.0.lock().unwrap().len(), 1);
    }

    #[tokio::test]
    async fn the_table_forgets_a_key_with_its_last_turn() {
        let turns = Turns::default();
        let (one, two) = (turns.queue(("t".into(), 0)), turns.queue(("t".into(), 0)));
        let turn = one.come().await;
        assert!(two.lock.try_lock().is_err());
        assert!(turns.queue(("t".into(), 1)).lock.try_lock().is_ok());
        drop(turn);
        drop(one);
        assert_eq!(turns.0.lock().unwrap().len(), 1);
        drop(two);
        assert!(turns.0.lock().unwrap().is_empty());
    }
}
