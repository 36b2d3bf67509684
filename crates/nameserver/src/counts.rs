//! Counts that no query waits for: each thread adds to a cell of its own, which nobody else writes, and whoever asks
//! adds the cells up.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Mutex, OnceLock, PoisonError};

/// Cells of each count, made when their thread first counts. More threads than this share the last one, which is slower
/// and still right.
const CELLS: usize = 128;
/// The cell of the threads that came too late for one of their own.
const SHARED: usize = CELLS - 1;

/// `N` counts, each spread over the threads.
#[derive(Debug)]
pub struct Counts<const N: usize>(Box<[OnceLock<Box<Lane<N>>>; CELLS]>);

/// One thread's counts, on cache lines of their own (two, as they are fetched in pairs).
#[derive(Debug)]
#[repr(align(128))]
struct Lane<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| OnceLock::new())))
    }
}

impl<const N: usize> Default for Lane<N> {
    fn default() -> Self {
        Self(std::array::from_fn(|_| AtomicU64::new(0)))
    }
}

impl<const N: usize> Counts<N> {
    /// Adds one to a count; an index past the last is ignored.
    #[inline(always)]
    pub fn add(&self, index: usize) {
        self.add_many(index, 1);
    }

    /// Adds several at once.
    #[inline(always)]
    pub fn add_many(&self, index: usize, more: u64) {
        let slot = slot();
        let cell = self
            .0
            .get(slot)
            .map(|cell| cell.get_or_init(Default::default));
        let Some(count) = cell.and_then(|cell| cell.0.get(index)) else {
            return;
        };
        if slot == SHARED {
            count.fetch_add(more, Relaxed);
        } else {
            // Nobody else writes here: no locked instruction.
            count.store(count.load(Relaxed).wrapping_add(more), Relaxed);
        }
    }

    /// The sum over all threads.
    pub fn sum(&self, index: usize) -> u64 {
        let cells = self.0.iter().filter_map(OnceLock::get);
        let counts = cells.filter_map(|cell| cell.0.get(index));
        counts.map(|count| count.load(Relaxed)).sum()
    }
}

/// The calling thread's place in every [`Counts`].
#[inline]
fn slot() -> usize {
    match SLOT.get() {
        NONE_YET => take_slot(),
        slot => slot,
    }
}

/// A thread that has no place yet.
const NONE_YET: usize = usize::MAX;

thread_local! {
    /// Without a destructor: reading it costs one instruction.
    static SLOT: Cell<usize> = const { Cell::new(NONE_YET) };
    static LEASE: Lease = const { Lease(Cell::new(SHARED)) };
}

#[cold]
fn take_slot() -> usize {
    // A thread that is about to end counts where all others do.
    let slot = LEASE.try_with(|lease| {
        let slot = Lease::take();
        lease.0.set(slot);
        slot
    });
    let slot = slot.unwrap_or(SHARED);
    SLOT.set(slot);
    slot
}

/// Slots that no thread has.
static FREE: Mutex<Free> = Mutex::new(Free {
    never_used: 0,
    returned: Vec::new(),
});

struct Free {
    never_used: usize,
    returned: Vec<usize>,
}

/// A thread's slot, given back when the thread ends.
struct Lease(Cell<usize>);

impl Lease {
    fn take() -> usize {
        let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(slot) = free.returned.pop() {
            return slot;
        }
        let slot = free.never_used.min(SHARED);
        free.never_used = slot + 1;
        slot
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        // What the thread counts from now on is counted where others may, too.
        SLOT.set(SHARED);
        let slot = self.0.get();
        if slot != SHARED {
            let mut free = FREE.lock().unwrap_or_else(PoisonError::into_inner);
            free.returned.push(slot);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;

    use super::*;

    #[test]
    fn counts_of_many_threads_add_up_also_when_cells_are_shared_or_used_again() {
        const THREADS: usize = CELLS + 20;
        let counts = Counts::<2>::default();
        for _ in 0..2 {
            let all_there = Barrier::new(THREADS);
            std::thread::scope(|scope| {
                for _ in 0..THREADS {
                    scope.spawn(|| {
                        counts.add(1);
                        all_there.wait();
                        (1..100).for_each(|_| counts.add(1));
                    });
                }
            });
        }
        counts.add(7); // past the last: ignored
        assert_eq!(
            (counts.sum(0), counts.sum(1)),
            (0, 2 * 100 * THREADS as u64)
        );
    }
}
