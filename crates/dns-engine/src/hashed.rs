//! A name as it is looked up: lower-cased, with the hash of each of its suffixes, so that whoever has a table of names
//! asks it without going over the octets again.
//!
//! The hash grows from the root, label by label: that of `a.example.` is made from that of `example.`.

use std::fmt::{self, Display};

use crate::name::{self, LABEL_MAX, LABELS_MAX, NAME_MAX, NameBuffer};

/// Octets that are lower-cased in a step.
const LANE: usize = 16;
/// Octets that are hashed in a step.
const WORD: usize = 8;
/// Room for a name, and for whole words that begin inside it.
const ROOM: usize = u8::MAX as usize + WORD;
/// The hash of the root: the golden ratio in 64 bits.
const ROOT: u64 = 0x9E37_79B9_7F4A_7C15;
/// An odd constant with well-mixed bits (the square root of 3).
const MULTIPLIER: u64 = 0xBB67_AE85_84CA_A73B;

/// A lower-cased wire name with the hashes of its suffixes.
///
/// No secret goes into them: tables of names are filled by the operator and frozen, so that a client can choose what to
/// look up but never what collides.
#[derive(Clone)]
pub struct HashedName {
    /// What is behind the name is left over.
    octets: [u8; ROOM],
    labels: u8,
    /// Where each label starts; behind them the root.
    starts: [u8; LABELS_MAX + 1],
    /// Of the suffix that starts there.
    hashes: [u32; LABELS_MAX + 1],
}

impl Default for HashedName {
    fn default() -> Self {
        let mut name = Self {
            octets: [0; ROOM],
            labels: 0,
            starts: [0; _],
            hashes: [0; _],
        };
        name.hash();
        name
    }
}

impl HashedName {
    /// A wire name, lower-cased; the root if it is none.
    pub fn new(name: &[u8]) -> Self {
        let mut hashed = Self::default();
        hashed.set(name);
        hashed
    }

    /// Becomes this wire name, lower-cased; false (and the root) if it is none.
    pub fn set(&mut self, name: &[u8]) -> bool {
        let whole = self.read(name, 0) == Some(name.len());
        if !whole {
            *self = Self::default();
        }
        whole
    }

    /// Takes the uncompressed name that starts at `start` of a message and returns where it ends. `None` if there is
    /// none: what this name is then, nobody may ask.
    #[inline]
    pub(crate) fn read(&mut self, message: &[u8], start: usize) -> Option<usize> {
        let rest = message.get(start..)?;
        // No name is longer, so that every place in it is an octet.
        let rest = rest.get(..NAME_MAX).unwrap_or(rest);
        let (mut at, mut labels) = (0, 0);
        loop {
            let length = usize::from(*rest.get(at)?);
            // Each label takes two octets at least, so that there are places enough.
            self.starts[labels & LABELS_MAX] = at as u8;
            if length == 0 {
                break;
            }
            if length > LABEL_MAX {
                return None;
            }
            at += 1 + length;
            labels += 1;
        }
        self.labels = labels as u8;
        let name = rest.get(..=at)?;
        self.lower(name);
        self.hash();
        Some(start + name.len())
    }

    /// Copies a name and lower-cases it: length octets are no letters.
    #[inline(always)]
    fn lower(&mut self, name: &[u8]) {
        let Some(place) = self.octets.get_mut(..name.len()) else {
            return;
        };
        let (Some(last), Some(last_place)) = (name.last_chunk(), name.len().checked_sub(LANE))
        else {
            place.copy_from_slice(name);
            place.make_ascii_lowercase();
            return;
        };
        let lanes = name.as_chunks::<LANE>().0;
        for (to, lane) in place.as_chunks_mut::<LANE>().0.iter_mut().zip(lanes) {
            *to = lowered(*lane);
        }
        // What is left, and some of it once more.
        place[last_place..].copy_from_slice(&lowered(*last));
    }

    #[inline(always)]
    fn hash(&mut self) {
        let labels = usize::from(self.labels) & LABELS_MAX;
        let mut hash = ROOT;
        self.hashes[labels] = fold(hash);
        for (start, suffix) in self.starts[..labels].iter().zip(&mut self.hashes).rev() {
            let (mut at, mut word) = (*start, word(&self.octets, *start));
            let mut left = 1 + (word & 0xFF);
            while left > WORD as u64 {
                hash = mix(hash, word);
                (at, left) = (at.wrapping_add(WORD as u8), left - WORD as u64);
                word = self::word(&self.octets, at);
            }
            // What is behind the label does not count.
            hash = mix(hash, word << (64 - 8 * left));
            *suffix = fold(hash);
        }
    }

    /// The name, root label included.
    pub fn as_slice(&self) -> &[u8] {
        self.octets.get(..self.len()).unwrap_or_default()
    }

    /// Octets of the name.
    #[inline]
    pub(crate) fn len(&self) -> usize {
        1 + usize::from(self.starts[usize::from(self.labels) & LABELS_MAX])
    }

    /// How many labels there are, the root label not counted.
    pub fn label_count(&self) -> usize {
        self.labels.into()
    }

    /// The name without so many of its labels from the left; past the last one there is the root.
    #[inline(always)]
    pub fn suffix(&self, labels: usize) -> Suffix<'_> {
        let label = labels.min(self.labels.into()) & LABELS_MAX;
        let start = usize::from(self.starts[label]);
        Suffix {
            octets: self.octets.get(start..self.len()).unwrap_or_default(),
            hash: self.hashes[label],
        }
    }

    /// The whole name.
    #[inline]
    pub fn whole(&self) -> Suffix<'_> {
        self.suffix(0)
    }

    /// A label, counted from the left, without its length.
    #[inline]
    pub fn label(&self, number: usize) -> &[u8] {
        let suffix = self.suffix(number).octets;
        let (length, rest) = suffix.split_first().unwrap_or((&0, &[]));
        rest.get(..usize::from(*length)).unwrap_or_default()
    }

    /// The first four octets of a label, counted from the left; of a shorter one, also some that follow.
    #[inline]
    pub fn label_front(&self, number: usize) -> [u8; 4] {
        let start = self.starts[number & LABELS_MAX];
        let [_, front @ .., _, _, _] = word(&self.octets, start).to_le_bytes();
        front
    }

    /// Becomes what `labels` from the left leave of the name, with one more in front: `*.example.` for `b.a.example.`
    /// without two and with `*`. False if that is too long.
    pub(crate) fn replace_front(&mut self, labels: usize, front: &[u8]) -> bool {
        let mut name = NameBuffer::new();
        let mut label = [0; 1 + LABEL_MAX];
        let Some(place) = label.get_mut(1..=front.len()) else {
            return false;
        };
        place.copy_from_slice(front);
        label[0] = front.len() as u8;
        name.join(&label[..=front.len()], self.suffix(labels).octets) && self.set(name.as_slice())
    }
}

impl fmt::Debug for HashedName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        name::Text(self.as_slice()).fmt(f)
    }
}

/// A name, as the end of a longer one or whole, with its hash.
#[derive(Debug, Clone, Copy)]
pub struct Suffix<'n> {
    /// Lower-cased wire name.
    pub octets: &'n [u8],
    pub(crate) hash: u32,
}

/// The hash of a lower-cased name for whoever has nothing but its octets.
pub(crate) fn hash(name: &[u8]) -> u32 {
    let mut starts = [0; LABELS_MAX];
    let labels = name::label_starts(name, name.len(), &mut starts);
    let mut hash = ROOT;
    let mut end = name.len().saturating_sub(1);
    for start in starts[..labels].iter().rev() {
        let label = name.get(usize::from(*start)..end).unwrap_or_default();
        let (words, rest) = match label.as_chunks::<WORD>() {
            ([words @ .., last], []) => (words, &last[..]),
            split => split,
        };
        for word in words {
            hash = mix(hash, u64::from_le_bytes(*word));
        }
        let mut last = [0; WORD];
        last[WORD - rest.len()..].copy_from_slice(rest);
        hash = mix(hash, u64::from_le_bytes(last));
        end = usize::from(*start);
    }
    fold(hash)
}

/// The eight octets from a place in a name on.
#[inline]
fn word(octets: &[u8; ROOM], at: u8) -> u64 {
    let at = usize::from(at);
    octets[at..at + WORD]
        .first_chunk()
        .map_or(0, |word| u64::from_le_bytes(*word))
}

/// Folded multiplication: every bit of the result depends on every bit of both numbers.
#[inline]
fn mix(hash: u64, word: u64) -> u64 {
    let product = u128::from(hash ^ word) * u128::from(MULTIPLIER);
    (product as u64) ^ (product >> 64) as u64
}

fn fold(hash: u64) -> u32 {
    (hash ^ (hash >> 32)) as u32
}

/// Octets with their letters A to Z in lower case; of a fixed number, so that one step takes them all.
#[inline]
fn lowered(mut octets: [u8; LANE]) -> [u8; LANE] {
    octets.make_ascii_lowercase();
    octets
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn similar_names_spread_over_the_whole_range() {
        let mut low = HashSet::new();
        let mut high = HashSet::new();
        for number in 0..10_000 {
            let text = format!("_rtsp._tcp.s{number:04}.media.test.");
            let hash = hash(&name::parse(&text, None).unwrap());
            low.insert(hash & 0xFFFF);
            high.insert(hash >> 16);
        }
        // 10,000 balls in 65,536 boxes fill about 9,280 of them.
        assert!(
            low.len() > 9_000 && high.len() > 9_000,
            "{} {}",
            low.len(),
            high.len()
        );
    }

    #[test]
    fn what_is_no_name_becomes_the_root() {
        let long = [[63; 64]; 4].concat();
        for octets in [&b""[..], b"\x01", b"\x40", b"\x01a\0\0", &long] {
            let mut name = HashedName::new(b"\x01a\0");
            assert!(!name.set(octets), "{octets:?}");
            assert_eq!(name.as_slice(), name::ROOT);
        }
    }

    #[test]
    fn a_label_is_put_in_the_place_of_others() {
        let mut name = HashedName::new(b"\x01b\x01a\x07example\0");
        assert!(name.replace_front(2, b"*"));
        assert_eq!(name.as_slice(), b"\x01*\x07example\0");
        assert_eq!(name.whole().hash, hash(b"\x01*\x07example\0"));
        let mut longest =
            HashedName::new(&[&[62; 63][..], &[62; 63], &[62; 63], &[62; 63], &[0]].concat());
        assert_eq!(longest.len(), 253);
        assert!(!longest.replace_front(0, b"abc"));
    }

    proptest! {
        #[test]
        fn a_name_is_read_as_by_the_plain_way_and_each_suffix_hashes_like_itself(
            labels in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..64), 0..9),
            before in 0_usize..20,
            behind in 0_usize..20,
        ) {
            let mut wire = vec![0xC0; before];
            for label in &labels {
                wire.push(label.len() as u8);
                wire.extend(label);
            }
            wire.push(0);
            let end = wire.len();
            wire.extend(vec![b'X'; behind]);
            let slow = name::read(&wire[before..]).map(<[u8]>::to_ascii_lowercase);
            let mut read = HashedName::default();
            let fast_end = read.read(&wire, before);
            prop_assert_eq!(fast_end, slow.as_ref().map(|_| end));
            if let Some(slow) = slow {
                prop_assert_eq!(read.as_slice(), &slow);
                prop_assert_eq!(read.label_count(), labels.len());
                for (number, suffix) in name::suffixes(&slow).enumerate() {
                    prop_assert_eq!(read.suffix(number).octets, suffix);
                    prop_assert_eq!(read.suffix(number).hash, hash(suffix));
                }
                for (number, label) in labels.iter().enumerate() {
                    prop_assert_eq!(read.label(number), label.to_ascii_lowercase());
                }
            }
        }
    }
}
