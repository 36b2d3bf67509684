//! Prepared answers for short networks that span many ranges: which unit has most demand in them, and how
//! long a prefix would have to be to tell the ranges apart.
//!
//! The rule for the majority: a unit's demand is taken as spread evenly over its atoms of that family; the
//! unit with most demand inside the network wins, then most atoms, then the lowest number. Unmapped space
//! counts only when nothing else is there.

use std::cmp::Ordering;

use crate::ranges::{NO_UNIT, Ranges, WALK_MAX};
use crate::subnet::Key;

/// A unit and how many atoms of it were seen.
pub(crate) type Entry = (u32, u64);

/// Sums atoms per unit without allocating; never sees more than `N` ranges.
pub(crate) struct Tally<const N: usize> {
    entries: [Entry; N],
    len: usize,
}

impl<const N: usize> Default for Tally<N> {
    fn default() -> Self {
        Tally {
            entries: [(NO_UNIT, 0); N],
            len: 0,
        }
    }
}

impl<const N: usize> Tally<N> {
    pub(crate) fn add(&mut self, unit: u32, atoms: u64) {
        let used = self.entries.get_mut(..self.len).unwrap_or(&mut []);
        if let Some(entry) = used.iter_mut().find(|entry| entry.0 == unit) {
            entry.1 += atoms;
        } else if let Some(free) = self.entries.get_mut(self.len) {
            *free = (unit, atoms);
            self.len += 1;
        }
    }

    pub(crate) fn entries(&self) -> &[Entry] {
        self.entries.get(..self.len).unwrap_or(&[])
    }
}

/// The answer for every aligned block with more than `WALK_MAX` ranges in it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Coarse<K> {
    /// (length, first key) → (unit, length needed), sorted.
    blocks: Vec<((u8, K), (u32, u8))>,
    /// Demand per atom of this family, by unit.
    density: Vec<f64>,
}

impl<K: Key> Coarse<K> {
    pub(crate) fn new(ranges: &Ranges<K>, demand: &[u32]) -> Coarse<K> {
        let mut atoms = vec![0_u64; demand.len()];
        for i in 0..ranges.len() {
            if let Some(sum) = atoms.get_mut(ranges.unit(i) as usize) {
                *sum += ranges.atoms_within(i, K::default(), K::MAX);
            }
        }
        let density = demand
            .iter()
            .zip(&atoms)
            .map(|(demand, atoms)| f64::from(*demand) / *atoms as f64);
        let mut coarse = Coarse {
            blocks: Vec::new(),
            density: density.collect(),
        };
        coarse.collect(ranges, K::default(), 0);
        coarse.blocks.sort_unstable_by_key(|(block, _)| *block);
        coarse
    }

    /// Sums the block, leaving an answer for it and for each block in it that is too wide to walk.
    fn collect(&mut self, ranges: &Ranges<K>, first: K, len: u8) -> (Vec<Entry>, u8) {
        let last = first.block_end(len);
        let (from, to) = (ranges.locate(first), ranges.locate(last));
        if to - from < WALK_MAX || len >= K::BITS {
            let mut sum: Vec<Entry> = (from..=to)
                .map(|i| (ranges.unit(i), ranges.atoms_within(i, first, last)))
                .collect();
            sum.sort_unstable();
            sum.dedup_by(|next, kept| {
                let same = next.0 == kept.0;
                kept.1 += if same { next.1 } else { 0 };
                same
            });
            return (sum, ranges.length_needed(from, to));
        }
        let middle = K::from_u64(first.block_end(len + 1).to_u64() + 1);
        let (low, low_needed) = self.collect(ranges, first, len + 1);
        let (high, high_needed) = self.collect(ranges, middle, len + 1);
        let split = ranges.start(ranges.locate(middle)) == middle;
        let needed = low_needed
            .max(high_needed)
            .max(if split { len + 1 } else { 0 });
        let sum = merge(low, high);
        self.blocks
            .push(((len, first), (self.heaviest(&sum), needed)));
        (sum, needed)
    }

    /// The unit that wins by the rule in this file's head.
    pub(crate) fn heaviest(&self, entries: &[Entry]) -> u32 {
        let mapped = entries.iter().filter(|entry| entry.0 != NO_UNIT);
        mapped
            .max_by(|a, b| self.compare(a, b))
            .map_or(NO_UNIT, |entry| entry.0)
    }

    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        let demand = |entry: &Entry| {
            self.density
                .get(entry.0 as usize)
                .map_or(0.0, |density| density * entry.1 as f64)
        };
        demand(a)
            .total_cmp(&demand(b))
            .then(a.1.cmp(&b.1))
            .then(b.0.cmp(&a.0))
    }

    pub(crate) fn find(&self, first: K, len: u8) -> Option<(u32, u8)> {
        let at = self
            .blocks
            .binary_search_by_key(&(len, first), |(block, _)| *block)
            .ok()?;
        self.blocks.get(at).map(|(_, answer)| *answer)
    }
}

/// Joins two sums that are sorted by unit.
fn merge(low: Vec<Entry>, high: Vec<Entry>) -> Vec<Entry> {
    if low.is_empty() {
        return high;
    }
    let mut sum = Vec::with_capacity(low.len() + high.len());
    let (mut low, mut high) = (low.into_iter().peekable(), high.into_iter().peekable());
    loop {
        match (low.peek(), high.peek()) {
            (Some(a), Some(b)) if a.0 == b.0 => {
                sum.push((a.0, a.1 + b.1));
                low.next();
                high.next();
            }
            (Some(a), Some(b)) if a.0 < b.0 => sum.extend(low.next()),
            (_, Some(_)) => sum.extend(high.next()),
            (Some(_), None) => sum.extend(low.next()),
            (None, None) => return sum,
        }
    }
}
