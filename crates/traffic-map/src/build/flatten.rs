//! Nested and overlapping rows to disjoint ranges: at every address the narrowest row wins.
//!
//! Rows are cut to atoms (blocks of the map's ECS length): a row has the atoms whose first address lies in
//! it. So disjoint rows stay disjoint, and a row smaller than an atom counts only if it begins the atom.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::net::{IpAddr, Ipv6Addr};

use crate::subnet::{self, Key};

/// A row of some table, by its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Row {
    /// An operator's override; wins over every prefix.
    Override(u32),
    /// A row of the prefix table.
    Prefix(u32),
}

/// A row with the keys it spans.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spanned<K> {
    pub(crate) first: K,
    pub(crate) last: K,
    pub(crate) row: Row,
}

/// Disjoint ranges over the whole family, ascending from zero; `None` where no row is.
pub(crate) type Flat<K> = Vec<(K, Option<Row>)>;

/// Cuts rows to atoms of `finest` bits and lays them flat.
pub(crate) fn flatten<K: Key>(rows: &[Spanned<K>], finest: u8) -> Flat<K> {
    let mut spans: Vec<Spanned<K>> = rows.iter().filter_map(|row| cut(*row, finest)).collect();
    spans.sort_by_key(|span| (span.first, span.last, span.row));
    let mut points: Vec<K> = vec![K::default()];
    points.extend(spans.iter().map(|span| span.first));
    points.extend(spans.iter().filter_map(|span| span.last.next()));
    points.sort_unstable();
    points.dedup();
    let mut flat: Flat<K> = Vec::with_capacity(points.len());
    let mut open: BinaryHeap<Reverse<(bool, u64, Row, K)>> = BinaryHeap::new();
    let mut coming = spans.into_iter().peekable();
    for point in points {
        while let Some(span) = coming.next_if(|span| span.first == point) {
            let width = span.last.to_u64() - span.first.to_u64();
            open.push(Reverse((
                matches!(span.row, Row::Prefix(_)),
                width,
                span.row,
                span.last,
            )));
        }
        while open.peek().is_some_and(|Reverse(top)| top.3 < point) {
            open.pop();
        }
        let row = open.peek().map(|Reverse(top)| top.2);
        if flat.last().is_none_or(|(_, last)| *last != row) {
            flat.push((point, row));
        }
    }
    flat
}

fn cut<K: Key>(row: Spanned<K>, finest: u8) -> Option<Spanned<K>> {
    let block = row.first.block_start(finest);
    let first = if block == row.first {
        block
    } else {
        block.block_end(finest).next()?
    };
    let last = row.last.block_start(finest).block_end(finest);
    (first <= row.last).then_some(Spanned {
        first,
        last,
        row: row.row,
    })
}

/// The keys of a range of IPv4 addresses.
pub(crate) fn v4_span(first: IpAddr, last: IpAddr, row: Row) -> Option<Spanned<u32>> {
    let (IpAddr::V4(first), IpAddr::V4(last)) = (first, last) else {
        return None;
    };
    Some(Spanned {
        first: first.into(),
        last: last.into(),
        row,
    })
}

/// The keys of a range of IPv6 addresses; a first address inside a /64 begins with the next one.
pub(crate) fn v6_span(first: IpAddr, last: IpAddr, row: Row) -> Option<Spanned<u64>> {
    let (IpAddr::V6(first), IpAddr::V6(last)) = (first, last) else {
        return None;
    };
    let key = subnet::v6_key(first);
    let whole = Ipv6Addr::from(u128::from(key) << 64) == first;
    let first = if whole { key } else { key.checked_add(1)? };
    let last = subnet::v6_key(last);
    (first <= last).then_some(Spanned { first, last, row })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Every atom, by looking at every row.
    fn slow(rows: &[Spanned<u32>], atom: u32) -> Option<Row> {
        let holds = |row: &&Spanned<u32>| (row.first..=row.last).contains(&atom);
        let width = |row: &Spanned<u32>| {
            let cut = cut(*row, 24).map_or(0, |cut| cut.last - cut.first);
            (matches!(row.row, Row::Prefix(_)), cut, row.row)
        };
        rows.iter()
            .filter(holds)
            .min_by_key(|row| width(row))
            .map(|row| row.row)
    }

    proptest! {
        #[test]
        fn the_narrowest_row_wins_at_every_atom(
            ranges in prop::collection::vec((0..40_000_u32, 0..20_000_u32, any::<bool>()), 0..12)
        ) {
            let rows: Vec<_> = (0..)
                .zip(ranges)
                .map(|(i, (first, size, is_override))| {
                    let row = if is_override { Row::Override(i) } else { Row::Prefix(i) };
                    Spanned { first, last: first + size, row }
                })
                .collect();
            let flat = flatten(&rows, 24);
            prop_assert!(flat.iter().zip(flat.iter().skip(1)).all(|(a, b)| a.0 < b.0 && a.1 != b.1));
            for atom in (0..70_000).step_by(256) {
                let got = flat.iter().take_while(|(start, _)| *start <= atom).last().unwrap().1;
                prop_assert_eq!(got, slow(&rows, atom), "atom {}", atom);
            }
        }
    }

    #[test]
    fn a_row_that_ends_the_address_space_has_no_neighbour() {
        let rows = [Spanned {
            first: 0xffff_ff00_u32,
            last: u32::MAX,
            row: Row::Prefix(0),
        }];
        assert_eq!(
            flatten(&rows, 24),
            [(0, None), (0xffff_ff00, Some(Row::Prefix(0)))]
        );
    }
}
