//! Counters that no query waits for: threads count in cells of their own, which are added up by whoever
//! asks.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

/// Cells of each count. More threads than this share cells, which is slower and still right.
const CELLS: usize = 32;

/// `N` counts, each spread over the threads.
#[derive(Debug)]
pub struct Counts<const N: usize>(Box<[Cell<N>; CELLS]>);

/// One thread's counts, on cache lines of their own.
#[derive(Debug)]
#[repr(align(128))]
struct Cell<const N: usize>([AtomicU64; N]);

impl<const N: usize> Default for Counts<N> {
    fn default() -> Self {
        Self(Box::new(std::array::from_fn(|_| {
            Cell(std::array::from_fn(|_| AtomicU64::new(0)))
        })))
    }
}

impl<const N: usize> Counts<N> {
    /// Adds one to a count; an index past the last is ignored.
    pub fn add(&self, index: usize) {
        if let Some(count) = self.0.get(thread_cell()).and_then(|cell| cell.0.get(index)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The sum over all threads.
    pub fn sum(&self, index: usize) -> u64 {
        let counts = self.0.iter().filter_map(|cell| cell.0.get(index));
        counts.map(|count| count.load(Ordering::Relaxed)).sum()
    }
}

fn thread_cell() -> usize {
    static NEXT: AtomicUsize = AtomicUsize::new(0);
    thread_local! {
        static CELL: usize = NEXT.fetch_add(1, Ordering::Relaxed) % CELLS;
    }
    CELL.with(|cell| *cell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_of_many_threads_add_up() {
        let counts = Counts::<2>::default();
        std::thread::scope(|scope| {
            for _ in 0..CELLS + 3 {
                scope.spawn(|| (0..100).for_each(|_| counts.add(1)));
            }
        });
        counts.add(7); // past the last: ignored
        assert_eq!(
            (counts.sum(0), counts.sum(1)),
            (0, 100 * (CELLS as u64 + 3))
        );
    }
}
