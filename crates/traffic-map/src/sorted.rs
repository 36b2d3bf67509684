//! Where IPv6 ranges start: a sorted list, searched behind an index of the first 16 bits.

use crate::ranges::{Place, Table, Units};
use crate::subnet::Key;

/// The starts of all IPv6 ranges.
#[derive(Clone, Debug)]
pub(crate) struct Sorted {
    starts: Vec<u64>,
    units: Units,
    /// For each value of the top 16 bits, the range that its first key lies in; one more entry at the end.
    index: Vec<u32>,
}

impl Table for Sorted {
    type Key = u64;

    fn new(starts: &[u64], units: Units) -> Sorted {
        let index = index(starts);
        let starts = starts.to_vec();
        Sorted {
            starts,
            index,
            units,
        }
    }

    #[inline]
    fn around(&self, key: u64) -> Place<u64> {
        let top = key.top16();
        let low = self.index.get(top).map_or(0, |i| *i as usize);
        let high = self
            .index
            .get(top + 1)
            .map_or(self.starts.len(), |i| *i as usize + 1);
        let window = self.starts.get(low..high).unwrap_or(&[]);
        let after = window.partition_point(|start| *start <= key);
        self.place(low + after.saturating_sub(1))
    }

    fn following(&self, place: &Place<u64>) -> Option<Place<u64>> {
        let next = place.index + 1;
        (next < self.starts.len()).then(|| self.place(next))
    }
}

impl Sorted {
    #[inline]
    fn place(&self, index: usize) -> Place<u64> {
        Place {
            index,
            unit: self.units.at(index),
            first: self.starts.get(index).copied().unwrap_or(u64::MAX),
            last: self
                .starts
                .get(index + 1)
                .map_or(u64::MAX, |next| next.wrapping_sub(1)),
        }
    }
}

fn index(starts: &[u64]) -> Vec<u32> {
    let mut index = Vec::with_capacity((1 << 16) + 1);
    let mut at = 0;
    for top in 0..1_u64 << 16 {
        let first = top << 48;
        while starts.get(at + 1).is_some_and(|start| *start <= first) {
            at += 1;
        }
        index.push(at as u32);
    }
    index.push(starts.len().saturating_sub(1) as u32);
    index
}
