//! Composes a message into the caller's buffer: bounded, with name compression, without allocation.

use crate::name::{self, LABELS_MAX};
use crate::rdata;
use crate::request::HEADER;
use crate::zone::RrSet;

/// How many name suffixes are remembered for compression: enough for an answer of 1232 octets, and
/// a bound on the work for one of 64 KiB.
const SUFFIXES_MAX: usize = 96;
/// Pointers reach no further (RFC 1035 §4.1.4).
const POINTER_MAX: usize = 0x3FFF;
/// A pointer to the name of the question.
pub(crate) const QUESTION_POINTER: [u8; 2] = [0xC0, HEADER as u8];

/// The record did not fit.
#[derive(Debug)]
pub(crate) struct Full;

/// Who owns a record that is written.
#[derive(Clone, Copy)]
pub(crate) enum Owner<'n> {
    /// The name of the question.
    Question,
    /// Another name, in the case it is to be shown.
    Name(&'n [u8]),
}

#[derive(Clone, Copy)]
pub(crate) enum Section {
    Answer = 0,
    Authority = 1,
    Additional = 2,
}

/// Name suffixes written so far: the hash of the lower-cased suffix, and where it stands.
pub(crate) struct Suffixes {
    entries: [(u32, u16); SUFFIXES_MAX],
    used: usize,
}

impl Suffixes {
    pub(crate) const fn new() -> Self {
        Self {
            entries: [(0, 0); SUFFIXES_MAX],
            used: 0,
        }
    }
}

/// A message that grows behind its question.
pub(crate) struct Writer<'b> {
    out: &'b mut [u8],
    at: usize,
    limit: usize,
    question_end: usize,
    counts: [u16; 3],
    suffixes: &'b mut Suffixes,
}

/// A place to come back to when something does not fit.
#[derive(Clone, Copy)]
pub(crate) struct Mark {
    at: usize,
    counts: [u16; 3],
    used: usize,
}

impl<'b> Writer<'b> {
    /// Begins behind header and question, which are `question_end` octets and already in `out`.
    pub(crate) fn new(
        out: &'b mut [u8],
        question_end: usize,
        limit: usize,
        suffixes: &'b mut Suffixes,
    ) -> Self {
        suffixes.used = 0;
        let limit = limit.min(out.len());
        Self {
            out,
            at: question_end,
            limit,
            question_end,
            counts: [0; 3],
            suffixes,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.at
    }

    pub(crate) fn counts(&self) -> [u16; 3] {
        self.counts
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark {
            at: self.at,
            counts: self.counts,
            used: self.suffixes.used,
        }
    }

    pub(crate) fn roll_back(&mut self, mark: Mark) {
        self.at = mark.at;
        self.counts = mark.counts;
        self.suffixes.used = mark.used;
    }

    /// Takes back every record, so that header and question remain.
    pub(crate) fn clear(&mut self) {
        self.roll_back(Mark {
            at: self.question_end,
            counts: [0; 3],
            used: 0,
        });
    }

    /// Writes a whole RRset or nothing.
    pub(crate) fn rrset(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        set: &RrSet,
        ttl: u32,
    ) -> Result<(), Full> {
        let mark = self.mark();
        for data in set.rdatas() {
            if self.record(section, owner, set.rtype, ttl, data).is_err() {
                self.roll_back(mark);
                return Err(Full);
            }
        }
        Ok(())
    }

    /// Writes one record; after `Full` the caller rolls back.
    pub(crate) fn record(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        data: &[u8],
    ) -> Result<(), Full> {
        match owner {
            Owner::Question if self.out.get(HEADER) != Some(&0) => self.put(&QUESTION_POINTER)?,
            Owner::Question => self.put(name::ROOT)?,
            Owner::Name(name) => self.name(name)?,
        }
        self.put(&rtype.to_be_bytes())?;
        self.put(&[0, 1])?;
        self.put(&ttl.to_be_bytes())?;
        let length_at = self.at;
        self.put(&[0, 0])?;
        match rdata::compressible(rtype) {
            None => self.put(data)?,
            Some((fixed, names)) => self.data_with_names(data, fixed, names)?,
        }
        let length = (self.at - length_at - 2) as u16;
        self.out[length_at..length_at + 2].copy_from_slice(&length.to_be_bytes());
        self.counts[section as usize] += 1;
        Ok(())
    }

    /// Takes records that were composed elsewhere, with owner pointers to the question.
    pub(crate) fn composed(&mut self, records: &[u8], count: u16) -> Result<(), Full> {
        self.put(records)?;
        self.counts[Section::Answer as usize] += count;
        Ok(())
    }

    fn data_with_names(&mut self, data: &[u8], fixed: usize, names: usize) -> Result<(), Full> {
        // The zone parser and `is_well_formed` vouch for the shape.
        let (head, mut rest) = data.split_at_checked(fixed).unwrap_or((data, &[]));
        self.put(head)?;
        for _ in 0..names {
            let Some(name) = name::read(rest) else { break };
            self.name(name)?;
            rest = &rest[name.len()..];
        }
        self.put(rest)
    }

    fn put(&mut self, octets: &[u8]) -> Result<(), Full> {
        let end = self.at + octets.len();
        if end > self.limit {
            return Err(Full);
        }
        self.out[self.at..end].copy_from_slice(octets);
        self.at = end;
        Ok(())
    }

    /// Writes a name, its longest known suffix as a pointer (case does not matter, RFC 4343 §3).
    fn name(&mut self, name: &[u8]) -> Result<(), Full> {
        if self.suffixes.used == 0 {
            self.remember_question();
        }
        let mut labels = [(0_u8, 0_u32); LABELS_MAX];
        let count = hash_suffixes(name, &mut labels);
        let known = labels[..count]
            .iter()
            .enumerate()
            .find_map(|(place, &(start, hash))| {
                Some((place, self.find(name.get(usize::from(start)..)?, hash)?))
            });
        let new = known.map_or(count, |(place, _)| place);
        let name_at = self.at;
        let plain = labels[..count]
            .get(new)
            .map_or(name.len() - 1, |&(start, _)| start.into());
        self.put(&name[..plain])?;
        match known {
            Some((_, at)) => self.put(&(0xC000 | at).to_be_bytes())?,
            None => self.put(name::ROOT)?,
        }
        for &(start, hash) in &labels[..new] {
            self.remember(name_at + usize::from(start), hash);
        }
        Ok(())
    }

    fn remember_question(&mut self) {
        let mut labels = [(0_u8, 0_u32); LABELS_MAX];
        let count =
            name::read(&self.out[HEADER..]).map_or(0, |name| hash_suffixes(name, &mut labels));
        for &(start, hash) in &labels[..count] {
            self.remember(HEADER + usize::from(start), hash);
        }
    }

    fn remember(&mut self, at: usize, hash: u32) {
        if at > POINTER_MAX {
            return;
        }
        if let Some(entry) = self.suffixes.entries.get_mut(self.suffixes.used) {
            *entry = (hash, at as u16);
            self.suffixes.used += 1;
        }
    }

    /// Where this suffix stands in the message.
    fn find(&self, suffix: &[u8], hash: u32) -> Option<u16> {
        let known = self.suffixes.entries[..self.suffixes.used].iter();
        known
            .filter(|entry| entry.0 == hash)
            .map(|entry| entry.1)
            .find(|&at| self.stands_at(at, suffix))
    }

    fn stands_at(&self, at: u16, mut name: &[u8]) -> bool {
        let mut at = usize::from(at);
        loop {
            match self.out.get(at) {
                Some(&high @ 0xC0..) => {
                    let Some(&low) = self.out.get(at + 1) else {
                        return false;
                    };
                    let target = usize::from(high & 0x3F) << 8 | usize::from(low);
                    if target >= at {
                        return false;
                    }
                    at = target;
                }
                Some(&length) => {
                    let whole = 1 + usize::from(length);
                    let (Some(here), Some(label)) =
                        (self.out.get(at..at + whole), name.get(..whole))
                    else {
                        return false;
                    };
                    if !here.eq_ignore_ascii_case(label) {
                        return false;
                    }
                    if length == 0 {
                        return true;
                    }
                    at += whole;
                    name = &name[whole..];
                }
                None => return false,
            }
        }
    }
}

/// Writes start and lower-case hash of every suffix of `name` but the root; returns how many.
fn hash_suffixes(name: &[u8], labels: &mut [(u8, u32); LABELS_MAX]) -> usize {
    let mut count = 0;
    let mut at = 0;
    while let (Some(&length @ 1..), Some(label)) = (name.get(at), labels.get_mut(count)) {
        *label = (at as u8, 0);
        count += 1;
        at += 1 + usize::from(length);
    }
    // From the right, so that equal suffixes hash alike wherever they end a name.
    let mut hash = 0_u32;
    let mut end = at;
    for (start, slot) in labels[..count].iter_mut().rev() {
        let start = usize::from(*start);
        for octet in name.get(start..end).unwrap_or_default() {
            hash = (hash ^ u32::from(octet.to_ascii_lowercase())).wrapping_mul(0x0100_0193);
        }
        *slot = hash;
        end = start;
    }
    count
}
