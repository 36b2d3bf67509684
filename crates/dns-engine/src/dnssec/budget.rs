//! How many signatures may be made in a second: what invented names can cost has a bound, and it is this number.

use std::sync::atomic::{AtomicU64, Ordering};

/// A count that starts anew every second, shared by all workers without a lock.
pub(super) struct Budget {
    per_second: u32,
    /// The second in the upper half, what was used in it in the lower.
    used: AtomicU64,
}

impl Budget {
    pub(super) fn new(per_second: u32) -> Self {
        Self {
            per_second,
            used: AtomicU64::new(0),
        }
    }

    /// Takes one; false if none is left in this second. Workers read the clock at different moments: one that is
    /// a little behind takes from the second the others are in.
    pub(super) fn take(&self, now: u64) -> bool {
        const BEHIND_MAX: u64 = 2;
        let second = now & u64::from(u32::MAX);
        let step = |used: u64| {
            let (at, count) = (used >> 32, used & u64::from(u32::MAX));
            if second > at || second + BEHIND_MAX < at {
                return (self.per_second > 0).then_some(second << 32 | 1);
            }
            (count < u64::from(self.per_second)).then_some(used + 1)
        };
        self.used
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, step)
            .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_second_has_its_own_and_no_more() {
        let budget = Budget::new(3);
        for now in [10, 11, 4_000_000_000, 12] {
            let taken = (0..10).filter(|_| budget.take(now)).count();
            assert_eq!(taken, 3, "{now}");
        }
        assert!(!budget.take(11), "a worker that is behind");
        assert!(!Budget::new(0).take(10));
    }

    #[test]
    fn many_workers_take_no_more_than_one_would() {
        let budget = Budget::new(1000);
        let taken: usize = std::thread::scope(|scope| {
            let worker = || (0..1000).filter(|_| budget.take(7)).count();
            let workers: Vec<_> = (0..4).map(|_| scope.spawn(worker)).collect();
            workers
                .into_iter()
                .map(|worker| worker.join().unwrap())
                .sum()
        });
        assert_eq!(taken, 1000);
    }
}
