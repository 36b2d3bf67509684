//! Ranges to units — one AS in one cell of one degree, or one override — and how much demand each has.

use std::collections::BTreeMap;

use crate::build::flatten::{Flat, Row};
use crate::map::UnitId;
use crate::prefixes::{Demand, Prefix};
use crate::ranges::{ATOM_BITS, V6_ATOMS_PER_BLOCK};
use crate::subnet::{self, Key};

/// What a unit is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum UnitKey {
    /// The networks of one override, by its place in `world.toml`.
    Override(u32),
    /// One AS in one cell of one degree (whole degrees of its south-west corner; `None`: place unknown).
    Area(u32, Option<(i16, i16)>),
}

/// A unit with what scoring needs to know.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Unit {
    /// What it is made of.
    pub key: UnitKey,
    /// Its centre in degrees: the mean over its ranges.
    pub at: Option<(f64, f64)>,
    /// Demand, in the map's measure.
    pub demand: u32,
    /// Its blocks: one for each /24, and one for each /32 of IPv6.
    pub blocks: f64,
}

/// Units in the order of their keys, and the ranges that point to them.
pub(crate) struct Units {
    pub(crate) units: Vec<Unit>,
    pub(crate) v4: Vec<(u32, Option<UnitId>)>,
    pub(crate) v6: Vec<(u64, Option<UnitId>)>,
}

/// Groups ranges into units.
pub(crate) fn group(v4: &Flat<u32>, v6: &Flat<u64>, prefixes: &[Prefix]) -> Units {
    let key_of = |row: &Row| match row {
        Row::Override(index) => UnitKey::Override(*index),
        Row::Prefix(index) => {
            let prefix = prefixes.get(*index as usize);
            let cell = |(lat, lon): (f32, f32)| (lat.floor() as i16, lon.floor() as i16);
            UnitKey::Area(
                prefix.map_or(0, |p| p.asn),
                prefix.and_then(|p| p.at).map(cell),
            )
        }
    };
    let rows = v4
        .iter()
        .map(|(_, row)| row)
        .chain(v6.iter().map(|(_, row)| row));
    let mut numbers: BTreeMap<UnitKey, UnitId> =
        rows.flatten().map(|row| (key_of(row), UnitId(0))).collect();
    for (number, id) in (0..).zip(numbers.values_mut()) {
        *id = UnitId(number);
    }
    let mut sums = vec![Sum::default(); numbers.len()];
    let mut add = |row: &Option<Row>, blocks: f64| {
        let id = *numbers.get(&key_of(row.as_ref()?))?;
        let at = match row {
            Some(Row::Prefix(index)) => prefixes.get(*index as usize).and_then(|p| p.at),
            _ => None,
        };
        if let Some(sum) = sums.get_mut(id.0 as usize) {
            sum.add(at, blocks);
        }
        Some(id)
    };
    let v4: Vec<_> = spans(v4)
        .map(|(start, atoms, row)| (start, add(row, atoms)))
        .collect();
    let v6: Vec<_> = spans(v6)
        .map(|(start, atoms, row)| (start, add(row, atoms / V6_ATOMS_PER_BLOCK)))
        .collect();
    let units = numbers
        .keys()
        .zip(&sums)
        .map(|(key, sum)| sum.unit(*key))
        .collect();
    Units { units, v4, v6 }
}

/// Start, atoms and value of each range.
pub(crate) fn spans<K: Key, T>(flat: &[(K, T)]) -> impl Iterator<Item = (K, f64, &T)> {
    flat.iter().enumerate().map(|(i, (start, value))| {
        let end = flat
            .get(i + 1)
            .and_then(|(next, _)| next.previous())
            .unwrap_or(K::MAX);
        (*start, atoms(*start, end), value)
    })
}

fn atoms<K: Key>(first: K, last: K) -> f64 {
    ((last.to_u64() >> ATOM_BITS) - (first.to_u64() >> ATOM_BITS) + 1) as f64
}

#[derive(Clone, Copy, Default)]
struct Sum {
    blocks: f64,
    placed: f64,
    lat: f64,
    lon: f64,
}

impl Sum {
    fn add(&mut self, at: Option<(f32, f32)>, blocks: f64) {
        self.blocks += blocks;
        if let Some((lat, lon)) = at {
            self.placed += blocks;
            self.lat += f64::from(lat) * blocks;
            self.lon += f64::from(lon) * blocks;
        }
    }

    fn unit(&self, key: UnitKey) -> Unit {
        let at = (self.placed > 0.0).then(|| (self.lat / self.placed, self.lon / self.placed));
        Unit {
            key,
            at,
            demand: damped(self.blocks),
            blocks: self.blocks,
        }
    }
}

/// Up to here demand follows the number of blocks, beyond it the logarithm: a /16 is a town, a /8 is not 256.
const LINEAR_BLOCKS: f64 = 256.0;
/// Steps of demand in one block, so that small units keep their differences.
const DEMAND_PER_BLOCK: f64 = 16.0;

/// Demand of a unit when nobody says better: its blocks up to 256, then 256 more for each doubling.
fn damped(blocks: f64) -> u32 {
    let damped = if blocks <= LINEAR_BLOCKS {
        blocks
    } else {
        LINEAR_BLOCKS * (1.0 + log2(blocks / LINEAR_BLOCKS))
    };
    (damped * DEMAND_PER_BLOCK).round().max(1.0) as u32
}

/// A straight line between powers of two: the same on every machine, which `f64::log2` need not be.
fn log2(value: f64) -> f64 {
    let (mut power, mut rest) = (0.0, value);
    while rest >= 2.0 {
        rest /= 2.0;
        power += 1.0;
    }
    power + rest - 1.0
}

/// What measured demand is scaled to in sum.
const DEMAND_TOTAL: f64 = 1e9;

/// Replaces the units' demand by a demand table's; a network's weight is spread over its mapped blocks.
/// Gives how many rows lie wholly in unmapped space and so were ignored.
pub(crate) fn apply_demand(units: &mut Units, table: &[Demand]) -> usize {
    let mut weights = vec![0.0; units.units.len()];
    let mut ignored = 0;
    for row in table {
        let parts = match row.net.address {
            std::net::IpAddr::V4(address) => {
                let key = u32::from(address);
                parts(&units.v4, key, key.block_end(row.net.len))
            }
            std::net::IpAddr::V6(address) => {
                let key = subnet::v6_key(address);
                parts(&units.v6, key, key.block_end(row.net.len.min(64)))
            }
        };
        let total: f64 = parts.iter().map(|(_, atoms)| atoms).sum();
        ignored += usize::from(parts.is_empty());
        for (unit, atoms) in parts {
            if let Some(weight) = weights.get_mut(unit.0 as usize) {
                *weight += row.weight * atoms / total;
            }
        }
    }
    let total: f64 = weights.iter().sum();
    for (unit, weight) in units.units.iter_mut().zip(weights) {
        let share = if total > 0.0 { weight / total } else { 0.0 };
        unit.demand = (share * DEMAND_TOTAL)
            .round()
            .max(f64::from(u8::from(weight > 0.0))) as u32;
    }
    ignored
}

/// Units in `[first, last]` with their atoms there.
fn parts<K: Key>(ranges: &[(K, Option<UnitId>)], first: K, last: K) -> Vec<(UnitId, f64)> {
    let from = ranges
        .partition_point(|(start, _)| *start <= first)
        .saturating_sub(1);
    let mut parts = Vec::new();
    for (i, (start, unit)) in ranges.iter().enumerate().skip(from) {
        if *start > last {
            break;
        }
        let end = ranges
            .get(i + 1)
            .and_then(|(next, _)| next.previous())
            .unwrap_or(K::MAX);
        if let Some(unit) = unit {
            parts.push((*unit, atoms((*start).max(first), end.min(last))));
        }
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demand_grows_with_blocks_and_then_with_their_logarithm() {
        assert_eq!(damped(1.0), 16);
        assert_eq!(damped(256.0), 4096);
        assert_eq!(damped(512.0), 8192);
        assert_eq!(damped(65_536.0), 4096 * 9);
        assert_eq!(damped(0.0001), 1);
    }
}
