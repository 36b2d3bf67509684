//! The hash of the name tables: folded multiplication, eight octets a step.
//!
//! No secret is needed: the tables are filled by the operator and frozen, so a client can choose what
//! to look up but never what collides in them.

use std::hash::{BuildHasherDefault, Hasher};

pub(crate) type NameMap<V> =
    std::collections::HashMap<Box<[u8]>, V, BuildHasherDefault<NameHasher>>;

/// An odd constant with well-mixed bits (the golden ratio in 64 bits).
const MULTIPLIER: u64 = 0x9E37_79B9_7F4A_7C15;

#[derive(Clone, Copy, Default)]
pub(crate) struct NameHasher(u64);

impl NameHasher {
    fn mix(&mut self, word: u64) {
        let product = u128::from(self.0 ^ word ^ MULTIPLIER) * u128::from(!MULTIPLIER);
        self.0 = (product as u64) ^ ((product >> 64) as u64) ^ word.rotate_left(32);
    }
}

impl Hasher for NameHasher {
    fn write(&mut self, octets: &[u8]) {
        let (words, tail) = octets.as_chunks::<8>();
        for word in words {
            self.mix(u64::from_le_bytes(*word));
        }
        if !tail.is_empty() {
            let mut word = [0; 8];
            word[..tail.len()].copy_from_slice(tail);
            self.mix(u64::from_le_bytes(word));
        }
    }

    fn write_usize(&mut self, number: usize) {
        self.mix(number as u64);
    }

    fn finish(&self) -> u64 {
        // The table takes its bits from both ends.
        self.0 ^ (self.0 >> 29)
    }
}

/// Lower-cased names by number, packed: four octets a name beside its own and those of the table.
#[derive(Debug, Default)]
pub(crate) struct NameTable {
    octets: Vec<u8>,
    /// Where in `octets` each name starts; a name tells its end itself.
    starts: Vec<u32>,
    /// Open addressing with linear steps: a print of the name, and its number plus 1, or 0 for a free slot.
    slots: Vec<(u32, u32)>,
}

impl NameTable {
    /// How many names there are.
    pub(crate) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The name of a number.
    pub(crate) fn name(&self, number: u32) -> &[u8] {
        let start = self
            .starts
            .get(number as usize)
            .copied()
            .unwrap_or_default();
        let rest = self.octets.get(start as usize..).unwrap_or_default();
        crate::name::read(rest).unwrap_or_default()
    }

    /// The number of a name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<u32> {
        let (_, number) = self.slots.get(self.slot(name)?)?;
        number.checked_sub(1)
    }

    /// The number of a name, which is the next free one if the name is new.
    pub(crate) fn insert(&mut self, name: &[u8]) -> u32 {
        // At most half full, so that runs stay short.
        if self.slots.len() < 2 * (self.starts.len() + 1) {
            self.grow();
        }
        let free = self.slot(name).unwrap_or_default();
        let number = self.starts.len() as u32;
        match self.slots.get_mut(free) {
            Some((_, found @ 1..)) => *found - 1,
            Some(slot) => {
                *slot = (fold(hash(name)), number + 1);
                self.starts.push(self.octets.len() as u32);
                self.octets.extend_from_slice(name);
                number
            }
            None => number,
        }
    }

    /// Where the name is, or the free slot where it belongs; `None` if the table is empty.
    fn slot(&self, name: &[u8]) -> Option<usize> {
        let mask = self.slots.len().checked_sub(1)?;
        let hash = hash(name);
        let mut at = hash as usize & mask;
        loop {
            let (print, number) = *self.slots.get(at)?;
            if number == 0 || print == fold(hash) && self.is_name(number - 1, name) {
                return Some(at);
            }
            at = (at + 1) & mask;
        }
    }

    fn is_name(&self, number: u32, name: &[u8]) -> bool {
        let start = self
            .starts
            .get(number as usize)
            .copied()
            .unwrap_or_default();
        let rest = self.octets.get(start as usize..).unwrap_or_default();
        // A wire name is nowhere the beginning of another one.
        rest.starts_with(name)
    }

    fn grow(&mut self) {
        let length = (self.slots.len() * 2).max(16);
        self.slots = vec![(0, 0); length];
        for number in 0..self.starts.len() as u32 {
            let hash = hash(self.name(number));
            let mut at = hash as usize & (length - 1);
            while self.slots[at].1 != 0 {
                at = (at + 1) & (length - 1);
            }
            self.slots[at] = (fold(hash), number + 1);
        }
    }
}

fn hash(name: &[u8]) -> u64 {
    let mut hasher = NameHasher::default();
    hasher.write(name);
    hasher.finish()
}

/// The half of a hash that does not choose the slot.
fn fold(hash: u64) -> u32 {
    (hash >> 32) as u32
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

    #[test]
    fn a_table_numbers_names_and_finds_them_again() {
        let mut table = NameTable::default();
        assert_eq!(table.find(b"\x01a\0"), None);
        let names: Vec<Vec<u8>> = (0..5_000)
            .map(|number| format!("\x06h{number:05}\x01t\0").into_bytes())
            .collect();
        for (number, name) in names.iter().enumerate() {
            assert_eq!(table.insert(name), number as u32);
            assert_eq!(table.insert(name), number as u32);
        }
        assert_eq!(table.len(), names.len());
        for (number, name) in names.iter().enumerate() {
            assert_eq!(table.find(name), Some(number as u32));
            assert_eq!(table.name(number as u32), name);
        }
        assert_eq!(table.find(b"\x06h00000\x01u\0"), None);
        assert_eq!(table.insert(b"\0"), 5_000);
        assert_eq!(table.find(b"\0"), Some(5_000));
    }

    #[test]
    fn similar_names_spread_over_the_whole_range() {
        let mut low = HashSet::new();
        let mut high = HashSet::new();
        for number in 0..10_000 {
            let mut hasher = NameHasher::default();
            format!("\x05_rtsp\x04_tcp\x05s{number:04}\x05media\x04test\0")
                .as_bytes()
                .hash(&mut hasher);
            low.insert(hasher.finish() & 0xFFFF);
            high.insert(hasher.finish() >> 48);
        }
        // 10,000 balls in 65,536 boxes fill about 9,280 of them.
        assert!(
            low.len() > 9_000 && high.len() > 9_000,
            "{} {}",
            low.len(),
            high.len()
        );
    }
}
