//! NSEC records of compact denial (RFC 9824): one record at the name that was asked for says which types it
//! has, and that nothing lies between it and the very next name.

use crate::name::{self, LABEL_MAX, NAME_MAX, NameBuffer};
use crate::rdata::types;

/// Buffers of one worker in which NSEC data is put together.
pub(crate) struct Denial {
    types: Vec<u16>,
    data: Vec<u8>,
}

impl Denial {
    pub(crate) fn new() -> Self {
        Self {
            types: Vec::with_capacity(64),
            data: Vec::with_capacity(512),
        }
    }

    /// Forgets the types of the name before.
    pub(crate) fn begin(&mut self) -> &mut Self {
        self.types.clear();
        self
    }

    /// Adds types that the name has.
    pub(crate) fn add(&mut self, types: impl IntoIterator<Item = u16>) -> &mut Self {
        self.types.extend(types);
        self
    }

    /// Takes a type back.
    pub(crate) fn remove(&mut self, rtype: u16) {
        self.types.retain(|had| *had != rtype);
    }

    /// The data of the NSEC record of a lower-cased name with the types that were added, in a buffer to be given back.
    pub(crate) fn take(&mut self, owner: &[u8], origin: &[u8]) -> Vec<u8> {
        let mut data = std::mem::take(&mut self.data);
        data.clear();
        data.extend_from_slice(successor(owner, origin).as_slice());
        self.types.sort_unstable();
        self.types.dedup();
        types::push(&self.types, &mut data);
        data
    }

    /// Keeps a buffer for the next name.
    pub(crate) fn give_back(&mut self, data: Vec<u8>) {
        self.data = data;
    }
}

/// The next name in canonical order that a message can carry (RFC 4471 §3.1.2); behind the last one, the zone's own.
fn successor(owner: &[u8], origin: &[u8]) -> NameBuffer {
    let mut next = NameBuffer::new();
    if owner.len() + 2 <= NAME_MAX {
        next.join(b"\x01\0", owner);
        return next;
    }
    // No name fits below this one: the next is beside it, or beside one above it.
    let mut name = owner;
    while name.len() > origin.len() {
        let Some(rest) = name::parent(name) else {
            break;
        };
        let label = &name[1..name.len() - rest.len()];
        if label.len() < LABEL_MAX && name.len() < NAME_MAX {
            next.set_label(&[label, &[0]], rest);
            return next;
        }
        // What is left out behind the label is the lowest that can follow.
        if let Some(last) = label.iter().rposition(|&octet| octet != 0xFF) {
            next.set_label(&[&label[..last], &[above(label[last])]], rest);
            return next;
        }
        name = rest;
    }
    next.set(origin);
    next
}

/// The next octet in the order that takes upper case for lower case.
fn above(octet: u8) -> u8 {
    match octet + 1 {
        b'A'..=b'Z' => b'[',
        next => next,
    }
}

impl NameBuffer {
    /// Becomes one label, given in parts, in front of `rest`.
    fn set_label(&mut self, parts: &[&[u8]], rest: &[u8]) {
        let mut label = [0; LABEL_MAX + 1];
        let mut length = 0;
        for part in parts {
            label[1 + length..1 + length + part.len()].copy_from_slice(part);
            length += part.len();
        }
        label[0] = length as u8;
        self.join(&label[..=length], rest);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn wire(text: &str) -> Vec<u8> {
        name::parse(text, None).unwrap()
    }

    fn next(owner: &[u8]) -> Vec<u8> {
        successor(owner, &wire("example.")).as_slice().to_vec()
    }

    #[test]
    fn the_next_name_is_the_first_one_below() {
        assert_eq!(next(&wire("a.example.")), wire("\\000.a.example."));
        assert_eq!(next(&wire("example.")), wire("\\000.example."));
    }

    #[test]
    fn where_nothing_fits_below_the_next_name_is_beside_or_above() {
        let row = format!("{}.", "a".repeat(63)).repeat(3);
        // 255 and 254 octets: three labels of 64, `example.` of 9, and the first label.
        let longest = format!("{}.{row}example.", "b".repeat(53));
        assert_eq!(wire(&longest).len(), 255);
        let expected = format!("{}c.{row}example.", "b".repeat(52));
        assert_eq!(next(&wire(&longest)), wire(&expected));
        let shorter = format!("{}.{row}example.", "b".repeat(52));
        let expected = format!("{}\\000.{row}example.", "b".repeat(52));
        assert_eq!(next(&wire(&shorter)), wire(&expected));
        let at = format!("{}\\@.{row}example.", "b".repeat(52));
        let expected = format!("{}[.{row}example.", "b".repeat(52));
        assert_eq!(next(&wire(&at)), wire(&expected), "past upper case");
        let full = format!("{}.{row}example.", "\\255".repeat(53));
        let expected = format!("{}b.{}example.", "a".repeat(62), &row[64..]);
        assert_eq!(next(&wire(&full)), wire(&expected));
        let last = format!("{}.", "\\255".repeat(63)).repeat(3);
        let last = format!("{}.{last}example.", "\\255".repeat(53));
        assert_eq!(next(&wire(&last)), wire("example."), "round again");
    }

    /// Labels from the right, in lower case, for comparing as RFC 4034 §6.1 says.
    fn order(name: &[u8]) -> Vec<Vec<u8>> {
        let mut labels: Vec<_> = name::labels(name).map(<[u8]>::to_ascii_lowercase).collect();
        labels.reverse();
        labels
    }

    proptest! {
        #[test]
        fn bitmaps_hold_exactly_the_types(types in prop::collection::btree_set(any::<u16>(), 0..40)) {
            let mut denial = Denial::new();
            let owner = wire("a.example.");
            denial.begin().add(types.iter().rev().copied()).add(types.iter().copied());
            let data = denial.take(&owner, &wire("example."));
            let mut rest = &data[owner.len() + 2..];
            let mut seen = Vec::new();
            while let Some((&[window, length], after)) = rest.split_first_chunk::<2>() {
                prop_assert!((1..=32).contains(&length));
                let (bits, after) = after.split_at(usize::from(length));
                prop_assert!(bits.last() != Some(&0));
                for bit in 0..u16::from(length) * 8 {
                    if bits[usize::from(bit / 8)] & (0x80 >> (bit % 8)) != 0 {
                        seen.push(u16::from(window) << 8 | bit);
                    }
                }
                rest = after;
            }
            prop_assert!(rest.is_empty());
            prop_assert_eq!(seen, types.into_iter().collect::<Vec<_>>());
        }

        #[test]
        fn no_name_fits_between_a_long_name_and_its_successor(
            first in prop::collection::vec(any::<u8>(), 52..54),
            second in prop::collection::vec(prop_oneof![Just(0xFF), any::<u8>()], 63),
            between in prop::collection::vec(any::<u8>(), 53),
        ) {
            let build = |first: &[u8]| {
                let mut wire = Vec::new();
                for label in [first, &second, &[b'a'; 63], &[b'a'; 63], b"example"] {
                    wire.push(label.len() as u8);
                    wire.extend(label);
                }
                wire.push(0);
                name::lowered(&wire)
            };
            let owner = build(&first);
            let next = next(&owner);
            prop_assert!(next.len() <= NAME_MAX);
            prop_assert!(order(&next) > order(&owner) || next == wire("example."));
            let other = build(&between);
            let lies_between = order(&other) > order(&owner) && order(&other) < order(&next);
            prop_assert!(!lies_between);
        }
    }
}
