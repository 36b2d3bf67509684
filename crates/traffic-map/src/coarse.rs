//! Prepared answers for short networks that span many ranges: which unit has most demand in them, and how
//! long a prefix would have to be to tell the ranges apart.
//!
//! The rule for the majority: a unit's demand is taken as spread evenly over its atoms of that family; the
//! unit with most demand inside the network wins, then most atoms, then the lowest number. Unmapped space
//! counts only when nothing else is there.

use std::cmp::Ordering;

use crate::ranges::{ATOM_BITS, NO_UNIT, WALK_MAX, atoms};
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
        let whole = Block {
            first: K::default(),
            len: 0,
            from: 0,
            to: starts.len().saturating_sub(1),
        };
        let mut sums = Sums::new(demand.len());
        ranges.each(&whole, |unit, atoms| {
            if let Some(sum) = sums.units.get_mut(unit as usize) {
                sum.atoms += atoms;
            }
        });
        for (sum, demand) in sums.units.iter_mut().zip(demand) {
            sum.density = f64::from(*demand) / sum.atoms as f64;
        }
        let mut coarse = Coarse {
            blocks: Vec::new(),
            density: sums.units.iter().map(|sum| sum.density).collect(),
        };
        if whole.is_wide() {
            sums.take(ranges, &whole);
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
        let mut small_sums = None;
        let small_needed = match small.is_wide() {
            true => {
                let needed = self.collect(ranges, small, sums);
                small_sums = sums.take(ranges, small);
                needed
            }
            false => ranges.length_needed(small),
        };
        let large_needed = match large.is_wide() {
            true => self.collect(ranges, large, sums),
            false => {
                ranges.each(large, |unit, atoms| sums.add(unit, atoms));
                ranges.length_needed(large)
            }
        };
        match small_sums {
            Some(small) => {
                let present = (0..).zip(small).filter(|(_, atoms)| *atoms > 0);
                present.for_each(|(unit, atoms)| sums.add(unit, atoms));
            }
            None => ranges.each(small, |unit, atoms| sums.add(unit, atoms)),
        }
        let split = ranges.start(high.from) == high.first;
        let needed = small_needed
            .max(large_needed)
            .max(if split { high.len } else { 0 });
        self.blocks
            .push(((block.len, block.first), (sums.best.0, needed)));
        needed
    }

    /// The unit that wins by the rule in this file's head.
    pub(crate) fn heaviest(&self, entries: &[Entry]) -> u32 {
        let mapped = entries.iter().filter(|entry| entry.0 != NO_UNIT);
        mapped
            .max_by(|a, b| self.compare(a, b))
            .map_or(NO_UNIT, |entry| entry.0)
    }

    fn compare(&self, a: &Entry, b: &Entry) -> Ordering {
        let weight = |entry: &Entry| {
            let density = self.density.get(entry.0 as usize);
            density.map_or(0.0, |density| density * entry.1 as f64)
        };
        compare((weight(a), a.1, a.0), (weight(b), b.1, b.0))
    }

    pub(crate) fn find(&self, first: K, len: u8) -> Option<(u32, u8)> {
        let at = self
            .blocks
            .binary_search_by_key(&(len, first), |(block, _)| *block)
            .ok()?;
        self.blocks.get(at).map(|(_, answer)| *answer)
    }
}

/// Of two units with their demand in a block, their atoms and their numbers, which is the heavier.
fn compare(a: (f64, u64, u32), b: (f64, u64, u32)) -> Ordering {
    a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)).then(b.2.cmp(&a.2))
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

    /// Each range of a block: its unit, and its atoms in the block.
    fn each(&self, block: &Block<K>, mut tell: impl FnMut(u32, u64)) {
        let units = self.units.get(block.from..=block.to).unwrap_or(&[]);
        let nexts = self.starts.get(block.from + 1..=block.to).unwrap_or(&[]);
        let mut first = block.first;
        for (unit, next) in units.iter().zip(nexts) {
            tell(
                *unit,
                (next.to_u64() >> ATOM_BITS) - (first.to_u64() >> ATOM_BITS),
            );
            first = *next;
        }
        if let Some(unit) = units.last() {
            tell(*unit, atoms(first, block.first.block_end(block.len)));
        }
    }

    /// The finest alignment among the starts within a block but its first key.
    fn length_needed(&self, block: &Block<K>) -> u8 {
        let inner = self.starts.get(block.from + 1..=block.to).unwrap_or(&[]);
        let all_bits = inner.iter().fold(0, |bits, start| bits | start.to_u64());
        K::BITS - all_bits.trailing_zeros().min(u32::from(K::BITS)) as u8
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

/// What of each unit is in a block.
struct Sums {
    units: Vec<Sum>,
    /// The heaviest unit so far, and its demand: as sums only grow, whatever is ahead in the end has been put here.
    best: (u32, f64),
}

/// Of one unit: side by side, as they are needed together.
#[derive(Clone, Copy, Default)]
struct Sum {
    atoms: u64,
    density: f64,
}

impl Sums {
    fn new(units: usize) -> Sums {
        Sums {
            units: vec![Sum::default(); units],
            best: (NO_UNIT, f64::NEG_INFINITY),
        }
    }

    #[inline]
    fn add(&mut self, unit: u32, atoms: u64) {
        let Some(sum) = self.units.get_mut(unit as usize) else {
            return; // unmapped
        };
        sum.atoms += atoms;
        // Signed, as that is one instruction and there are at most 2^56 atoms.
        let weight = sum.density * sum.atoms as i64 as f64;
        if weight >= self.best.1 {
            self.lead(unit, weight);
        }
    }

    /// Puts a unit ahead if it is heavier than the one that is.
    #[cold]
    fn lead(&mut self, unit: u32, weight: f64) {
        let atoms = |unit: u32| self.units.get(unit as usize).map_or(0, |sum| sum.atoms);
        let ahead = (self.best.1, atoms(self.best.0), self.best.0);
        if unit == self.best.0 || compare((weight, atoms(unit), unit), ahead).is_gt() {
            self.best = (unit, weight);
        }
    }

    /// Empties the sums of a block, the only one that was added; gives them if they are fewer than its ranges.
    fn take<K: Key>(&mut self, ranges: Slices<'_, K>, block: &Block<K>) -> Option<Vec<u64>> {
        self.best = (NO_UNIT, f64::NEG_INFINITY);
        if block.count() > self.units.len() {
            let sums = self.units.iter_mut();
            return Some(sums.map(|sum| std::mem::take(&mut sum.atoms)).collect());
        }
        for unit in ranges.units.get(block.from..=block.to).unwrap_or(&[]) {
            if let Some(sum) = self.units.get_mut(*unit as usize) {
                sum.atoms = 0;
            }
        }
        None
    }
}
