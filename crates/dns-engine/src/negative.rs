//! The SOA record of negative answers (RFC 2308 §3), composed once per zone, so that saying no costs one copy.
//!
//! The copy has the octets that the writer would have composed. It stands only where that is certain: as
//! the first record, below a name that lends the record no more than the zone's name.

use crate::name;
use crate::request::HEADER;
use crate::rrset::RrSet;
use crate::writer::{Owner, Section, Suffixes, TYPE_AND_CLASS, Writer};

/// The record as it goes out, but for its pointers.
#[derive(Debug)]
pub(crate) struct NegativeSoa {
    octets: Vec<u8>,
    pointers: Vec<Pointer>,
    origin_length: usize,
    /// Labels right above the zone's name in the names of the record, each with its length in front. If the
    /// question has one of them there, the writer can point to more than the zone's name.
    neighbours: Vec<Vec<u8>>,
    /// Suffixes that the writer has to remember for the record.
    suffixes: usize,
}

/// A pointer of the record: where it stands from the start of the record, and where it points to.
#[derive(Debug, Clone, Copy)]
struct Pointer {
    at: usize,
    target: Target,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    /// So many octets into the zone's name, which ends the name in the question.
    Origin(usize),
    /// So many octets into the record.
    Record(usize),
}

/// Header, question, and a SOA record of the longest names.
const ROOM: usize = HEADER + TYPE_AND_CLASS + 4 * name::NAME_MAX + 30;
/// Octets of type, class, TTL and length, between owner and data.
const FIXED: usize = 10;

impl NegativeSoa {
    /// `None` if the data is not that of a SOA record.
    pub(crate) fn compose(origin: &[u8], soa: &RrSet, ttl: u32) -> Option<Self> {
        let mut message = [0; ROOM];
        let start = HEADER + origin.len() + TYPE_AND_CLASS;
        message[HEADER..][..origin.len()].copy_from_slice(origin);
        let mut suffixes = Suffixes::new();
        let mut writer = Writer::new(&mut message, start, ROOM, &mut suffixes);
        let owner = Owner::Name(origin);
        writer.rrset(Section::Authority, owner, soa, ttl).ok()?;
        let end = writer.length();
        let mut octets = message.get(start..end)?.to_vec();
        let pointers = find_pointers(&octets, start)?;
        for pointer in &pointers {
            octets[pointer.at..pointer.at + 2].fill(0);
        }
        let data = soa.rdatas().next()?;
        let primary = name::read(data)?;
        let mailbox = name::read(data.get(primary.len()..)?)?;
        let names = [primary, mailbox].into_iter();
        Some(Self {
            octets,
            pointers,
            origin_length: origin.len(),
            neighbours: names.filter_map(|name| above(name, origin)).collect(),
            suffixes: suffixes.count(),
        })
    }

    /// Where the zone's name stands below a question that ends at `question_end`; `None` if the record has
    /// to be composed for it.
    pub(crate) fn origin_at(&self, message: &[u8], question_end: usize) -> Option<usize> {
        let origin_at = question_end.checked_sub(TYPE_AND_CLASS + self.origin_length)?;
        let front = message.get(HEADER..origin_at)?;
        let shares = |label: &Vec<u8>| {
            let end = front.len().checked_sub(label.len());
            end.is_some_and(|end| front[end..].eq_ignore_ascii_case(label))
        };
        let overflows = front.len() / 2 + self.suffixes > Suffixes::MAX;
        (!overflows && !self.neighbours.iter().any(shares)).then_some(origin_at)
    }

    /// The record, zeros in the place of its pointers.
    pub(crate) fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// Fills in the pointers of the copy at `start`.
    pub(crate) fn point(&self, message: &mut [u8], start: usize, origin_at: usize) {
        for Pointer { at, target } in &self.pointers {
            let target = match target {
                Target::Origin(offset) => origin_at + offset,
                Target::Record(offset) => start + offset,
            };
            let pointer = (0xC000 | target as u16).to_be_bytes();
            message[start + at..start + at + 2].copy_from_slice(&pointer);
        }
    }
}

/// The pointers of a SOA record that was composed at `start`, behind the zone's name as the question.
fn find_pointers(octets: &[u8], start: usize) -> Option<Vec<Pointer>> {
    let mut pointers = Vec::new();
    let mut at = 0;
    for skipped in [0, FIXED, 0] {
        at += skipped;
        loop {
            match *octets.get(at)? {
                0 => {
                    at += 1;
                    break;
                }
                high @ 0xC0.. => {
                    let to = usize::from(high & 0x3F) << 8 | usize::from(*octets.get(at + 1)?);
                    let target = match to.checked_sub(start) {
                        Some(offset) => Target::Record(offset),
                        None => Target::Origin(to.checked_sub(HEADER)?),
                    };
                    pointers.push(Pointer { at, target });
                    at += 2;
                    break;
                }
                length => at += 1 + usize::from(length),
            }
        }
    }
    Some(pointers)
}

/// The label right above `origin` in a name below it.
fn above(name: &[u8], origin: &[u8]) -> Option<Vec<u8>> {
    let mut children = name::suffixes(name);
    let child = children.find(|suffix| {
        name::parent(suffix).is_some_and(|parent| parent.eq_ignore_ascii_case(origin))
    })?;
    Some(child[..=usize::from(child[0])].to_vec())
}
