//! Prepared answers for short networks that span many ranges: which unit has most demand in them, and how
//! long a prefix would have to be to tell the ranges apart.
//!
//! The rule for the majority: a unit's demand is taken as spread evenly over its atoms of that family; the
//! unit with most demand inside the network wins, then most atoms, then the lowest number. Unmapped space
//! counts only when nothing else is there.

use std::cmp::Ordering;

use crate::ranges::{NO_UNIT, WALK_MAX, atoms, length_of};
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
    /// Of ranges that start at `starts` and belong to `units`.
    pub(crate) fn new(starts: &[K], units: &[u32], demand: &[u32]) -> Coarse<K> {
        let ranges = Slices { starts, units };
        let mut atoms = vec![0_u64; demand.len()];
        for i in 0..starts.len() {
            if let Some(sum) = atoms.get_mut(ranges.unit(i)) {
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
        let whole = Block {
            first: K::default(),
            len: 0,
            from: 0,
            to: starts.len().saturating_sub(1),
        };
        // No sum is worth keeping of what is answered by walking.
        if whole.is_wide() {
            atoms.fill(0);
            let mut sums = Sums { atoms, best: None };
            coarse.collect(ranges, &whole, &mut sums);
        }
        coarse.blocks.sort_unstable_by_key(|(block, _)| *block);
        coarse
    }

    /// Leaves an answer for a wide block and for each wide block in it, and adds it to `sums`, which are empty.
    /// Gives the length that tells its ranges apart.
    ///
    /// The larger half's sums become the block's when the smaller half is added, so a range is added again
    /// only where it is in the smaller half: half of the time, for each length.
    fn collect(&mut self, ranges: Slices<'_, K>, block: &Block<K>, sums: &mut Sums) -> u8 {
        let (low, high) = block.halves(ranges);
        let (small, large) = match low.count() <= high.count() {
            true => (&low, &high),
            false => (&high, &low),
        };
        let small_needed = match small.is_wide() {
            true => {
                let needed = self.collect(ranges, small, sums);
                sums.clear(ranges, small);
                needed
            }
            false => ranges.length_needed(small),
        };
        let large_needed = match large.is_wide() {
            true => self.collect(ranges, large, sums),
            false => {
                self.add(ranges, large, sums);
                ranges.length_needed(large)
            }
        };
        self.add(ranges, small, sums);
        let split = ranges.start(high.from) == high.first;
        let needed = small_needed
            .max(large_needed)
            .max(if split { high.len } else { 0 });
        let best = sums.best.map_or(NO_UNIT, |best| best.0);
        self.blocks.push(((block.len, block.first), (best, needed)));
        needed
    }

    /// Adds a block's ranges, and keeps the unit that is ahead: as sums only grow, it is the heaviest in the end.
    fn add(&self, ranges: Slices<'_, K>, block: &Block<K>, sums: &mut Sums) {
        let last = block.first.block_end(block.len);
        for i in block.from..=block.to {
            let unit = ranges.unit(i);
            let Some(sum) = sums.atoms.get_mut(unit) else {
                continue; // unmapped
            };
            *sum += ranges.atoms_within(i, block.first, last);
            let entry = (unit as u32, *sum);
            if sums
                .best
                .is_none_or(|best| best.0 == entry.0 || self.compare(&entry, &best).is_gt())
            {
                sums.best = Some(entry);
            }
        }
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

/// Ranges as they come out of a file.
#[derive(Clone, Copy)]
struct Slices<'a, K> {
    starts: &'a [K],
    units: &'a [u32],
}

impl<K: Key> Slices<'_, K> {
    fn start(&self, i: usize) -> K {
        self.starts.get(i).copied().unwrap_or(K::MAX)
    }

    fn unit(&self, i: usize) -> usize {
        self.units.get(i).map_or(NO_UNIT, |unit| *unit) as usize
    }

    fn atoms_within(&self, i: usize, first: K, last: K) -> u64 {
        let next = self.starts.get(i + 1).and_then(|next| next.previous());
        atoms(self.start(i).max(first), next.unwrap_or(K::MAX).min(last))
    }

    /// The finest alignment among the starts within a block but its first key.
    fn length_needed(&self, block: &Block<K>) -> u8 {
        let inner = self.starts.get(block.from + 1..=block.to).unwrap_or(&[]);
        inner
            .iter()
            .map(|start| length_of(*start))
            .max()
            .unwrap_or(0)
    }
}

/// An aligned block and the ranges in it, by number.
struct Block<K> {
    first: K,
    len: u8,
    from: usize,
    to: usize,
}

impl<K: Key> Block<K> {
    fn count(&self) -> usize {
        self.to - self.from + 1
    }

    fn is_wide(&self) -> bool {
        self.count() > WALK_MAX && self.len < K::BITS
    }

    fn halves(&self, ranges: Slices<'_, K>) -> (Block<K>, Block<K>) {
        let len = self.len + 1;
        let low_end = self.first.block_end(len);
        let middle = low_end.next().unwrap_or(K::MAX);
        let inner = ranges.starts.get(self.from + 1..=self.to).unwrap_or(&[]);
        let low_to = self.from + inner.partition_point(|start| *start <= low_end);
        let splits = ranges.start(low_to + 1) == middle;
        let low = Block {
            to: low_to,
            len,
            ..*self
        };
        let high = Block {
            first: middle,
            len,
            from: if splits { low_to + 1 } else { low_to },
            to: self.to,
        };
        (low, high)
    }
}

/// Atoms of each unit in a block.
struct Sums {
    atoms: Vec<u64>,
    /// The heaviest unit so far.
    best: Option<Entry>,
}

impl Sums {
    /// Forgets a block, the only one that was added.
    fn clear<K: Key>(&mut self, ranges: Slices<'_, K>, block: &Block<K>) {
        for unit in ranges.units.get(block.from..=block.to).unwrap_or(&[]) {
            if let Some(sum) = self.atoms.get_mut(*unit as usize) {
                *sum = 0;
            }
        }
        self.best = None;
    }
}
