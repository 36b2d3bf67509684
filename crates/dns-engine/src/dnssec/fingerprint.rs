//! What a signature is found by: a keyed hash of all that it depends on. Names in it are the clients' choice, but the
//! key is drawn at start and never shown, so nobody can choose two contents that meet; it is some twenty times cheaper
//! than a hash that resists those who know the key.
//!
//! ```text
//! octets ─ NH (Black and others, UMAC, 1999), 64-bit words ─► 128 bits ─┐
//!                                         the zone key's identity ─ 128 ┴─ multiply-shift ─► 64 bits
//! ```
//! Two given contents meet with a probability below 2⁻⁶², whatever they are: a look-up compares with seven others, so
//! at a million look-ups a second one in ten thousand years finds a signature that is not its own.

use ring::digest;
use ring::rand::{SecureRandom, SystemRandom};

use super::key::Key;

/// 64-bit words of the key, and so of what is hashed with it; what is longer is rare, and takes a cryptographic hash.
const WORDS: usize = 256;
/// Numbers that the last step multiplies by, and one that it adds.
const FACTORS: usize = 5;

/// What a signature is found by; never 0.
pub(super) type Fingerprint = u64;

/// The hash of an RRset, for whichever key.
#[derive(Clone, Copy)]
pub(super) struct Gist([u64; 2]);

/// The hash functions of one cache. Those of the default are known to everybody.
pub(super) struct Fingerprints {
    words: Box<[u64; WORDS]>,
    factors: [u128; FACTORS],
}

impl Default for Fingerprints {
    fn default() -> Self {
        Self {
            words: Box::new([0; WORDS]),
            factors: [0; FACTORS],
        }
    }
}

impl Fingerprints {
    /// `None` if the system has no randomness.
    pub(super) fn new(random: &SystemRandom) -> Option<Self> {
        const OCTETS: usize = 8 * WORDS + 16 * FACTORS;
        let mut octets = vec![0; OCTETS];
        random.fill(&mut octets).ok()?;
        let (words, factors) = octets.split_at(8 * WORDS);
        let (words, factors) = (words.as_chunks::<8>().0, factors.as_chunks::<16>().0);
        Some(Self {
            words: Box::new(std::array::from_fn(|at| u64::from_le_bytes(words[at]))),
            factors: std::array::from_fn(|at| u128::from_le_bytes(factors[at])),
        })
    }

    /// Hashes octets that no other content has, and that none of another length begins with.
    pub(super) fn gist(&self, octets: &[u8]) -> Gist {
        let (pairs, tail) = octets.as_chunks::<16>();
        let (keys, _) = self.words.as_chunks::<2>();
        if pairs.len() >= keys.len() {
            let hash = digest::digest(&digest::SHA256, octets);
            let half = |at: usize| hash.as_ref()[at..].first_chunk().copied();
            return Gist([0, 8].map(|at| u64::from_le_bytes(half(at).unwrap_or_default())));
        }
        let mut sum = 0_u128;
        let mut take = |pair: &[u8; 16], [first, second]: &[u64; 2]| {
            let pair = u128::from_le_bytes(*pair);
            let low = (pair as u64).wrapping_add(*first);
            let high = ((pair >> 64) as u64).wrapping_add(*second);
            sum = sum.wrapping_add(u128::from(low) * u128::from(high));
        };
        for (pair, key) in pairs.iter().zip(keys) {
            take(pair, key);
        }
        if let Some(key) = keys.get(pairs.len()).filter(|_| !tail.is_empty()) {
            let mut last = [0; 16];
            last[..tail.len()].copy_from_slice(tail);
            take(&last, key);
        }
        Gist([sum as u64, (sum >> 64) as u64])
    }

    /// What the signature of a key over an RRset is found by.
    pub(super) fn of(&self, gist: Gist, key: &Key) -> Fingerprint {
        let identity = u128::from_le_bytes(*key.identity());
        let ([low, high], [first, second]) = (gist.0, [identity as u64, (identity >> 64) as u64]);
        let [more, factors @ ..] = &self.factors;
        let terms = factors.iter().zip([low, high, first, second]);
        let sum = terms.fold(*more, |sum, (factor, word)| {
            sum.wrapping_add(factor.wrapping_mul(word.into()))
        });
        ((sum >> 64) as u64).max(1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::dnssec::key::tests::example;

    fn random() -> Fingerprints {
        Fingerprints::new(&SystemRandom::new()).unwrap()
    }

    #[test]
    fn every_octet_of_a_content_counts_and_so_do_the_length_and_the_key() {
        let (prints, keys) = (random(), [0, 1, 2].map(example));
        let mut seen = HashSet::new();
        // Around the end of the key, where the other hash begins, too.
        for length in (0..100).chain(8 * WORDS - 20..8 * WORDS + 20) {
            // Behind the length, as contents tell theirs.
            let mut octets = vec![length as u8; length + 4];
            octets[..4].copy_from_slice(&(length as u32).to_be_bytes());
            for key in &keys {
                assert!(seen.insert(prints.of(prints.gist(&octets), key)));
            }
            for at in 0..octets.len() {
                octets[at] ^= 0x40;
                assert!(
                    seen.insert(prints.of(prints.gist(&octets), &keys[0])),
                    "{length} {at}"
                );
                octets[at] ^= 0x40;
            }
        }
    }

    #[test]
    fn nobody_who_lacks_the_key_can_tell_the_fingerprint() {
        let key = example(0);
        let prints = (0..1000).map(|_| {
            let prints = random();
            prints.of(prints.gist(b"the same octets for all of them"), &key)
        });
        let prints: Vec<u64> = prints.collect();
        for bit in 0..64 {
            let set = prints.iter().filter(|print| *print >> bit & 1 == 1).count();
            // 500 with a deviation of 16: seven of those are not seen in a lifetime.
            assert!((390..610).contains(&set), "bit {bit}: {set}");
        }
    }

    /// The definition, with no buffers: pairs of words, each with its words of the key.
    #[test]
    fn agrees_with_its_slow_twin() {
        let prints = random();
        for length in 0..300_usize {
            let octets: Vec<u8> = (0..length).map(|at| (at * 7) as u8).collect();
            let mut padded = octets.clone();
            padded.resize(length.next_multiple_of(16), 0);
            let word = |at: usize| u64::from_le_bytes(padded[8 * at..][..8].try_into().unwrap());
            let keyed = |at: usize| u128::from(word(at).wrapping_add(prints.words[at]));
            let pairs = 0..padded.len() / 16;
            let sum = pairs.fold(0_u128, |sum, pair| {
                sum.wrapping_add(keyed(2 * pair) * keyed(2 * pair + 1))
            });
            assert_eq!(
                prints.gist(&octets).0,
                [sum as u64, (sum >> 64) as u64],
                "{length}"
            );
        }
    }
}
