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

#[cfg(test)]
mod tests {
    use std::collections::HashSet;
    use std::hash::Hash;

    use super::*;

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
