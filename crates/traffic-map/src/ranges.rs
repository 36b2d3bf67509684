//! One address family's disjoint ranges in flat arrays: binary search behind a 2^16 first-level index.

use crate::coarse::{Coarse, Tally};
use crate::subnet::{self, Key};

/// Stands for "no unit" in the arrays and in the file.
pub(crate) const NO_UNIT: u32 = u32::MAX;
/// Low key bits that no range may split: /24 of the 32 IPv4 bits, /56 of the 64 IPv6 bits.
pub(crate) const ATOM_BITS: u8 = 8;
/// Where demand has to be guessed from address space, a /32 of IPv6 counts like a /24 of IPv4, in /56 atoms:
/// registries hand the smallest network a /29 and the same one a /22.
pub(crate) const V6_ATOMS_PER_BLOCK: f64 = 16_777_216.0;
/// Ranges that a query for a short network walks through itself; wider ones are answered from a table
/// prepared at load time (`coarse`), so no query costs more than this many steps.
pub(crate) const WALK_MAX: usize = 64;

/// What a range table says about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<K> {
    pub(crate) unit: u32,
    pub(crate) scope: u8,
    pub(crate) first: K,
    pub(crate) last: K,
}

/// Why arrays are no range table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum BadRanges {
    #[error("starts and units differ in number")]
    Length,
    #[error("the first range does not begin at address zero")]
    First,
    #[error("range starts do not ascend")]
    Order,
    #[error("a range start is finer than the map's ECS length")]
    Alignment,
    #[error("two neighbouring ranges have the same unit")]
    Unmerged,
    #[error("a range names a unit that does not exist")]
    Unit,
}

/// Ranges that together cover the whole family; each reaches to where the next one begins.
#[derive(Clone, Debug)]
pub(crate) struct Ranges<K> {
    starts: Vec<K>,
    units: Vec<u32>,
    /// For each value of the top 16 bits, the range that its first key lies in; one more entry at the end.
    index: Vec<u32>,
    coarse: Coarse<K>,
}

impl<K: Key> Ranges<K> {
    /// Checks and indexes. `demand` has one entry per unit; `finest` is the ECS length (24 or 56 at most).
    pub(crate) fn new(
        starts: Vec<K>,
        units: Vec<u32>,
        demand: &[u32],
        finest: u8,
    ) -> Result<Ranges<K>, BadRanges> {
        check(&starts, &units, demand.len(), finest)?;
        let index = index(&starts);
        let mut ranges = Ranges {
            starts,
            units,
            index,
            coarse: Coarse::default(),
        };
        ranges.coarse = Coarse::new(&ranges, demand);
        Ok(ranges)
    }

    /// The unit and scope for the network of `len` bits (at most `K::BITS`) around `key`.
    pub(crate) fn find(&self, key: K, len: u8) -> Found<K> {
        let first = key.block_start(len);
        let last = key.block_end(len);
        let at = self.locate(first);
        let end = self.end(at);
        if last <= end {
            let start = self.start(at);
            let scope = subnet::scope(first, start, end);
            return Found {
                unit: self.unit(at),
                scope,
                first: start,
                last: end,
            };
        }
        let (unit, scope) = self.majority(at, first, last, len);
        Found {
            unit,
            scope,
            first,
            last,
        }
    }

    /// For a network that spans several ranges: the unit with most demand in it, and the length at which
    /// every block of the network would lie in one range.
    fn majority(&self, at: usize, first: K, last: K, len: u8) -> (u32, u8) {
        let to = self.locate(last);
        if to - at < WALK_MAX {
            let mut tally = Tally::<WALK_MAX>::default();
            for i in at..=to {
                tally.add(self.unit(i), self.atoms_within(i, first, last));
            }
            return (
                self.coarse.heaviest(tally.entries()),
                self.length_needed(at, to),
            );
        }
        self.coarse.find(first, len).unwrap_or((NO_UNIT, len))
    }

    /// The finest alignment among the starts of ranges `from + 1 ..= to`.
    pub(crate) fn length_needed(&self, from: usize, to: usize) -> u8 {
        let inner = self.starts.get(from + 1..=to).unwrap_or(&[]);
        inner
            .iter()
            .map(|start| K::BITS - start.trailing_zeros())
            .max()
            .unwrap_or(0)
    }

    /// Atoms (/24, /56) that range `i` has in `[first, last]`.
    pub(crate) fn atoms_within(&self, i: usize, first: K, last: K) -> u64 {
        let from = self.start(i).max(first).to_u64() >> ATOM_BITS;
        let to = self.end(i).min(last).to_u64() >> ATOM_BITS;
        to.saturating_sub(from) + 1
    }

    /// The range that holds `key`.
    pub(crate) fn locate(&self, key: K) -> usize {
        let top = key.top16();
        let low = self.index.get(top).map_or(0, |i| *i as usize);
        let high = self
            .index
            .get(top + 1)
            .map_or(self.starts.len(), |i| *i as usize + 1);
        let window = self.starts.get(low..high).unwrap_or(&[]);
        low + window
            .partition_point(|start| *start <= key)
            .saturating_sub(1)
    }

    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    pub(crate) fn starts(&self) -> &[K] {
        &self.starts
    }

    pub(crate) fn units(&self) -> &[u32] {
        &self.units
    }

    pub(crate) fn start(&self, i: usize) -> K {
        self.starts.get(i).copied().unwrap_or(K::MAX)
    }

    pub(crate) fn unit(&self, i: usize) -> u32 {
        self.units.get(i).copied().unwrap_or(NO_UNIT)
    }

    /// The last key of range `i`.
    pub(crate) fn end(&self, i: usize) -> K {
        self.starts
            .get(i + 1)
            .and_then(|next| next.previous())
            .unwrap_or(K::MAX)
    }
}

fn check<K: Key>(
    starts: &[K],
    units: &[u32],
    unit_count: usize,
    finest: u8,
) -> Result<(), BadRanges> {
    if starts.len() != units.len() {
        return Err(BadRanges::Length);
    }
    if starts.first() != Some(&K::default()) {
        return Err(BadRanges::First);
    }
    if starts
        .iter()
        .zip(starts.iter().skip(1))
        .any(|(a, b)| a >= b)
    {
        return Err(BadRanges::Order);
    }
    if starts
        .iter()
        .any(|start| start.trailing_zeros() < K::BITS - finest)
    {
        return Err(BadRanges::Alignment);
    }
    if units.iter().zip(units.iter().skip(1)).any(|(a, b)| a == b) {
        return Err(BadRanges::Unmerged);
    }
    if units
        .iter()
        .any(|unit| *unit != NO_UNIT && *unit as usize >= unit_count)
    {
        return Err(BadRanges::Unit);
    }
    Ok(())
}

fn index<K: Key>(starts: &[K]) -> Vec<u32> {
    let mut index = Vec::with_capacity((1 << 16) + 1);
    let mut at = 0;
    for top in 0..1_u64 << 16 {
        let first = K::from_u64(top << (K::BITS - 16));
        while starts.get(at + 1).is_some_and(|start| *start <= first) {
            at += 1;
        }
        index.push(at as u32);
    }
    index.push(starts.len().saturating_sub(1) as u32);
    index
}
