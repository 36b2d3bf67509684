//! Composes one message of a transfer. Names are compressed only where the case agrees, because a
//! secondary keeps what it gets (RFC 5936 §3.4), and with every name of the message in reach.

use std::collections::HashMap;
use std::hash::{BuildHasher, BuildHasherDefault};

use crate::hash::NameHasher;
use crate::name;
use crate::rdata;
use crate::request::HEADER;

/// Pointers reach no further (RFC 1035 §4.1.4).
const POINTER_MAX: usize = 0x3FFF;

/// The record did not fit.
pub(super) struct Full;

/// Where name suffixes stand in the message, by their fingerprint; a hit is compared before it is used.
pub(super) type Places = HashMap<u64, u16, BuildHasherDefault<NameHasher>>;

/// A message that grows record by record, in the answer section.
pub(super) struct Composer<'b> {
    out: &'b mut [u8],
    at: usize,
    places: &'b mut Places,
}

impl<'b> Composer<'b> {
    /// Begins with room for a header and the question, if there is one; `None` if that does not fit.
    pub(super) fn new(out: &'b mut [u8], question: &[u8], places: &'b mut Places) -> Option<Self> {
        let at = HEADER + question.len();
        out.get_mut(..HEADER)?.fill(0);
        out.get_mut(HEADER..at)?.copy_from_slice(question);
        places.clear();
        let mut composer = Self { out, at, places };
        if let Some(name) = name::read(question) {
            composer.remember(name, HEADER, name.len());
        }
        Some(composer)
    }

    /// Octets so far.
    pub(super) fn length(&self) -> usize {
        self.at
    }

    /// Writes a record of class IN, or nothing.
    pub(super) fn record(
        &mut self,
        owner: &[u8],
        rtype: u16,
        ttl: u32,
        data: &[u8],
    ) -> Result<(), Full> {
        let start = self.at;
        let written = self.write(owner, rtype, ttl, data);
        if written.is_none() {
            self.at = start;
        }
        written.ok_or(Full)
    }

    fn write(&mut self, owner: &[u8], rtype: u16, ttl: u32, data: &[u8]) -> Option<()> {
        self.name(owner)?;
        self.put(&rtype.to_be_bytes())?;
        self.put(&[0, 1])?;
        self.put(&ttl.to_be_bytes())?;
        let length_at = self.at;
        self.put(&[0, 0])?;
        let (fixed, names) = rdata::compressible(rtype).unwrap_or((data.len(), 0));
        let (head, mut rest) = data.split_at_checked(fixed)?;
        self.put(head)?;
        for _ in 0..names {
            let name = name::read(rest)?;
            self.name(name)?;
            rest = rest.get(name.len()..)?;
        }
        self.put(rest)?;
        let length = u16::try_from(self.at - length_at - 2).ok()?;
        self.out
            .get_mut(length_at..length_at + 2)?
            .copy_from_slice(&length.to_be_bytes());
        Some(())
    }

    fn put(&mut self, octets: &[u8]) -> Option<()> {
        let end = self.at + octets.len();
        self.out.get_mut(self.at..end)?.copy_from_slice(octets);
        self.at = end;
        Some(())
    }

    /// Writes a name, its longest known suffix as a pointer.
    fn name(&mut self, name: &[u8]) -> Option<()> {
        let start = self.at;
        let known = name::suffixes(name)
            .take_while(|suffix| suffix.len() > 1)
            .find_map(|suffix| Some((suffix, self.find(suffix)?)));
        let Some((suffix, place)) = known else {
            self.put(name)?;
            self.remember(name, start, name.len());
            return Some(());
        };
        let plain = name.len() - suffix.len();
        self.put(name.get(..plain)?)?;
        self.put(&(0xC000 | place).to_be_bytes())?;
        self.remember(name, start, plain);
        Some(())
    }

    /// Remembers the suffixes that begin within the first `plain` octets of a name written at `start`.
    fn remember(&mut self, name: &[u8], start: usize, plain: usize) {
        for suffix in name::suffixes(name).take_while(|suffix| suffix.len() > 1) {
            let offset = name.len() - suffix.len();
            if offset >= plain || start + offset > POINTER_MAX {
                return;
            }
            let print = self.places.hasher().hash_one(suffix);
            self.places.insert(print, (start + offset) as u16);
        }
    }

    fn find(&self, suffix: &[u8]) -> Option<u16> {
        let print = self.places.hasher().hash_one(suffix);
        let place = self.places.get(&print).copied()?;
        self.stands_at(place, suffix).then_some(place)
    }

    /// True if the name at `place` is this one, octet by octet.
    fn stands_at(&self, place: u16, mut name: &[u8]) -> bool {
        let Some(written) = self.out.get(..self.at) else {
            return false;
        };
        let mut at = usize::from(place);
        while let Some(&length) = written.get(at) {
            if length >= 0xC0 {
                let Some(&low) = written.get(at + 1) else {
                    return false;
                };
                let target = usize::from(length & 0x3F) << 8 | usize::from(low);
                if target >= at {
                    return false;
                }
                at = target;
                continue;
            }
            let whole = 1 + usize::from(length);
            let (here, label) = (written.get(at..at + whole), name.get(..whole));
            if here.is_none() || here != label {
                return false;
            }
            if length == 0 {
                return true;
            }
            at += whole;
            name = name.get(whole..).unwrap_or_default();
        }
        false
    }
}
