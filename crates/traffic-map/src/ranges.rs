//! One address family's disjoint ranges: which of them a network lies in, its unit, and the scope of the answer.

use crate::coarse::{Coarse, Tally};
use crate::subnet::Key;

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

/// A range: its number, its unit, its ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<K> {
    pub(crate) index: usize,
    pub(crate) unit: u32,
    pub(crate) first: K,
    pub(crate) last: K,
}

/// How a family keeps its ranges.
pub(crate) trait Table: Sized {
    type Key: Key;
    /// Of starts that [`check`] has passed.
    fn new(starts: &[Self::Key], units: Units) -> Self;
    /// The range that a key lies in.
    fn around(&self, key: Self::Key) -> Place<Self::Key>;
    /// The range behind another.
    fn following(&self, place: &Place<Self::Key>) -> Option<Place<Self::Key>>;
}

/// What a range table says about a network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Found<K> {
    pub(crate) unit: u32,
    pub(crate) scope: u8,
    pub(crate) first: K,
    pub(crate) last: K,
}

impl<K: Key> Found<K> {
    /// For a network around `key` that lies in one range.
    #[inline]
    fn of(key: K, place: Place<K>) -> Found<K> {
        Found {
            unit: place.unit,
            scope: key.scope(place.first, place.last),
            first: place.first,
            last: place.last,
        }
    }
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
pub(crate) struct Ranges<S: Table> {
    table: S,
    len: usize,
    coarse: Coarse<S::Key>,
}

impl<S: Table> Ranges<S> {
    /// Checks and indexes. `demand` has one entry per unit; `finest` is the ECS length (24 or 56 at most).
    pub(crate) fn new(
        starts: Vec<S::Key>,
        units: Vec<u32>,
        demand: &[u32],
        finest: u8,
    ) -> Result<Ranges<S>, BadRanges> {
        check(&starts, &units, demand.len(), finest)?;
        let coarse = Coarse::new(&starts, &units, demand);
        Ok(Ranges {
            len: starts.len(),
            table: S::new(&starts, Units::new(units, demand.len())),
            coarse,
        })
    }

    /// The unit and scope for the network of `len` bits around `key`; more bits than a key has are all its bits.
    #[inline]
    pub(crate) fn find(&self, key: S::Key, len: u8) -> Found<S::Key> {
        if len >= S::Key::BITS - ATOM_BITS {
            return Found::of(key, self.table.around(key)); // no range splits an atom
        }
        self.find_wide(key.block_start(len), len)
    }

    /// As `find`, of a network that may span several ranges: then the unit with most demand in it, and the length
    /// at which every block of the network would lie in one range.
    #[inline(never)]
    fn find_wide(&self, first: S::Key, len: u8) -> Found<S::Key> {
        let last = first.block_end(len);
        let place = self.table.around(first);
        if last <= place.last {
            return Found::of(first, place);
        }
        let found = |(unit, scope)| Found {
            unit,
            scope,
            first,
            last,
        };
        if self.table.around(last).index - place.index >= WALK_MAX {
            return found(self.coarse.find(first, len).unwrap_or((NO_UNIT, len)));
        }
        let mut tally = Tally::<WALK_MAX>::default();
        let (mut here, mut needed) = (place, 0);
        loop {
            let atoms = atoms(here.first.max(first), here.last.min(last));
            tally.add(here.unit, atoms);
            match self.table.following(&here) {
                Some(next) if next.first <= last => here = next,
                _ => return found((self.coarse.heaviest(tally.entries()), needed)),
            }
            needed = needed.max(length_of(here.first));
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    /// All ranges in order, with their units.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (Place<S::Key>, u32)> {
        let first = self.table.around(S::Key::default());
        std::iter::successors(Some(first), |place| self.table.following(place))
            .map(|place| (place, place.unit))
    }
}

/// Atoms (/24, /56) from one key to another.
#[inline]
pub(crate) fn atoms<K: Key>(first: K, last: K) -> u64 {
    (last.to_u64() >> ATOM_BITS) - (first.to_u64() >> ATOM_BITS) + 1
}

/// The length of the largest block that begins at a key.
#[inline]
pub(crate) fn length_of<K: Key>(start: K) -> u8 {
    K::BITS - start.trailing_zeros()
}

/// The unit of each range, in as few octets as will do: what takes less memory is more often near.
#[derive(Clone, Debug)]
pub(crate) enum Units {
    Narrow(Vec<u16>),
    Wide(Vec<u32>),
}

impl Units {
    fn new(units: Vec<u32>, unit_count: usize) -> Units {
        if unit_count > usize::from(u16::MAX) {
            return Units::Wide(units);
        }
        // What has no unit has the largest number in both.
        Units::Narrow(units.into_iter().map(|unit| unit as u16).collect())
    }

    /// Those of some ranges from `index` on, if they are narrow; what there is none of has none.
    pub(crate) fn near<const N: usize>(&self, index: usize) -> [u16; N] {
        std::array::from_fn(|offset| self.at(index.wrapping_add(offset)) as u16)
    }

    #[inline]
    pub(crate) fn at(&self, index: usize) -> u32 {
        match self {
            Units::Narrow(units) => match units.get(index) {
                Some(unit) if *unit != u16::MAX => u32::from(*unit),
                _ => NO_UNIT,
            },
            Units::Wide(units) => units.get(index).copied().unwrap_or(NO_UNIT),
        }
    }
}

/// Goes through the arrays without stopping at the first mistake, as such loops do several items at a time.
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
    let ascend = |ascend, pair: (&K, &K)| ascend & (pair.0 < pair.1);
    if !starts.iter().zip(starts.iter().skip(1)).fold(true, ascend) {
        return Err(BadRanges::Order);
    }
    let bits = |bits: u64, start: &K| bits | start.to_u64();
    if starts.iter().fold(0, bits).trailing_zeros() < u32::from(K::BITS - finest) {
        return Err(BadRanges::Alignment);
    }
    let differ = |differ, pair: (&u32, &u32)| differ & (pair.0 != pair.1);
    if !units.iter().zip(units.iter().skip(1)).fold(true, differ) {
        return Err(BadRanges::Unmerged);
    }
    let known = |known, unit: &u32| known & (*unit == NO_UNIT || (*unit as usize) < unit_count);
    if !units.iter().fold(true, known) {
        return Err(BadRanges::Unit);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::bitmap::Bitmap;
    use crate::sorted::Sorted;

    /// What [`Ranges::find`] says, from the list alone.
    fn slow_find<K: Key>(starts: &[K], units: &[u32], demand: &[u32], key: K, len: u8) -> Found<K> {
        let end = |i: usize| starts.get(i + 1).and_then(|next| next.previous());
        let end = |i| end(i).unwrap_or(K::MAX);
        let (first, last) = (key.block_start(len), key.block_end(len));
        let meets = |i: &usize| starts[*i] <= last && end(*i) >= first;
        let met: Vec<usize> = (0..starts.len()).filter(meets).collect();
        if let [i] = met[..] {
            let fits =
                |len: &u8| first.block_start(*len) >= starts[i] && first.block_end(*len) <= end(i);
            return Found {
                unit: units[i],
                scope: (0..=K::BITS).find(fits).unwrap(),
                first: starts[i],
                last: end(i),
            };
        }
        let count = |unit: u32, low: K, high: K| -> u64 {
            let of_unit = (0..starts.len()).filter(|i| units[*i] == unit);
            let within = of_unit.filter(|i| starts[*i] <= high && end(*i) >= low);
            within
                .map(|i| atoms(starts[i].max(low), end(i).min(high)))
                .sum()
        };
        let weight = |unit: u32| {
            let here = count(unit, first, last);
            let everywhere = count(unit, K::default(), K::MAX);
            (
                f64::from(demand[unit as usize]) / everywhere as f64 * here as f64,
                here,
            )
        };
        let mapped = met
            .iter()
            .map(|i| units[*i])
            .filter(|unit| *unit != NO_UNIT);
        let heaviest = mapped.max_by(|a, b| {
            let (a_weight, b_weight) = (weight(*a), weight(*b));
            let by_weight = a_weight.0.total_cmp(&b_weight.0);
            by_weight.then(a_weight.1.cmp(&b_weight.1)).then(b.cmp(a))
        });
        let splits = met.iter().filter(|i| starts[**i] > first);
        Found {
            unit: heaviest.unwrap_or(NO_UNIT),
            scope: splits.map(|i| length_of(starts[*i])).max().unwrap(),
            first,
            last,
        }
    }

    /// Ranges out of cuts (a multiple of a /24 or /56, and one unit of a few), asked around keys with every length.
    fn check_all<S: Table>(
        cuts: Vec<(S::Key, u32)>,
        keys: &[S::Key],
        unit_of: impl Fn(u32) -> u32,
        unit_count: usize,
    ) where
        S::Key: PartialEq,
    {
        let mut all = vec![(S::Key::default(), 0)];
        all.extend(cuts);
        all.sort_by_key(|(start, _)| *start);
        all.dedup_by_key(|(start, _)| *start);
        all.dedup_by_key(|(_, unit)| *unit);
        let starts: Vec<_> = all.iter().map(|(start, _)| *start).collect();
        let units: Vec<_> = all.iter().map(|(_, unit)| unit_of(*unit)).collect();
        let demand: Vec<u32> = (0..unit_count as u32).map(|unit| unit % 3 * 10).collect();
        let finest = S::Key::BITS - ATOM_BITS;
        let ranges = Ranges::<S>::new(starts.clone(), units.clone(), &demand, finest).unwrap();
        for key in keys {
            for len in 0..=S::Key::BITS {
                let expected = slow_find(&starts, &units, &demand, *key, len);
                assert_eq!(ranges.find(*key, len), expected, "{key:?}/{len}");
            }
        }
        let again = ranges.iter().map(|(place, unit)| (place.first, unit));
        assert!(again.eq(starts.into_iter().zip(units)));
    }

    /// Few units with many ranges each, or as many as need more than 16 bits.
    fn units() -> impl Strategy<Value = (fn(u32) -> u32, usize)> {
        let few: fn(u32) -> u32 = |unit| unit.checked_sub(1).unwrap_or(NO_UNIT);
        let most: fn(u32) -> u32 = |unit| unit.checked_sub(1).map_or(NO_UNIT, |unit| 65_534 - unit);
        let many: fn(u32) -> u32 = |unit| unit.checked_sub(1).map_or(NO_UNIT, |unit| 69_000 + unit);
        prop_oneof![Just((few, 6)), Just((most, 65_535)), Just((many, 70_000))]
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn ipv4_look_ups_agree_with_the_list(
            cuts in prop::collection::vec((prop_oneof![0..1_u32 << 10, any::<u32>()], 0..7_u32), 0..250),
            keys in prop::collection::vec(prop_oneof![0..1_u32 << 18, any::<u32>()], 4),
            (unit_of, unit_count) in units(),
        ) {
            let cuts = cuts.into_iter().map(|(cut, unit)| (cut << 8, unit)).collect();
            check_all::<Bitmap>(cuts, &keys, unit_of, unit_count);
        }

        #[test]
        fn ipv6_look_ups_agree_with_the_list(
            cuts in prop::collection::vec((prop_oneof![0..1_u64 << 10, any::<u64>()], 0..7_u32), 0..250),
            keys in prop::collection::vec(prop_oneof![0..1_u64 << 18, any::<u64>()], 4),
            (unit_of, unit_count) in units(),
        ) {
            let cuts = cuts.into_iter().map(|(cut, unit)| (cut << 8, unit)).collect();
            check_all::<Sorted>(cuts, &keys, unit_of, unit_count);
        }
    }
}
