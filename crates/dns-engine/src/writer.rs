//! Composes a message into the caller's buffer: bounded, with name compression, without allocation.

use crate::name::{self, LABELS_MAX};
use crate::rdata;
use crate::request::HEADER;
use crate::rrset::RrSet;
use crate::zone::Zone;

/// How many name suffixes are remembered for compression: enough for an answer of 1232 octets, and
/// a bound on the work for one of 64 KiB.
const SUFFIXES_MAX: usize = 96;
/// Pointers reach no further (RFC 1035 §4.1.4).
const POINTER_MAX: usize = 0x3FFF;
/// Octets of a question behind its name.
pub(crate) const TYPE_AND_CLASS: usize = 4;
/// A pointer to the name of the question.
pub(crate) const QUESTION_POINTER: [u8; 2] = [0xC0, HEADER as u8];

/// Octets of a record with a pointer as owner, in front of its data.
pub(crate) const RECORD_HEAD: usize = 12;

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

/// Name suffixes written so far: a fingerprint of the suffix whatever its case, and where it stands.
pub(crate) struct Suffixes {
    entries: [(u32, u16); SUFFIXES_MAX],
    used: usize,
    /// Start and fingerprint of each suffix of the name at hand; here so that it is cleared only once.
    labels: [(u8, u32); LABELS_MAX],
}

impl Suffixes {
    /// How many fit.
    pub(crate) const MAX: usize = SUFFIXES_MAX;

    /// How many there are.
    pub(crate) fn count(&self) -> usize {
        self.used
    }

    pub(crate) const fn new() -> Self {
        Self {
            entries: [(0, 0); SUFFIXES_MAX],
            used: 0,
            labels: [(0, 0); LABELS_MAX],
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
    /// Nothing is copied from what was prepared; see `Limits::composes_all`.
    pub(crate) composes_all: bool,
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
            composes_all: false,
        }
    }

    pub(crate) fn length(&self) -> usize {
        self.at
    }

    /// The whole output, the message in front.
    pub(crate) fn into_output(self) -> &'b mut [u8] {
        self.out
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
    #[inline]
    pub(crate) fn rrset(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        set: &RrSet,
        ttl: u32,
    ) -> Result<(), Full> {
        let points = matches!(owner, Owner::Question) && self.out.get(HEADER) != Some(&0);
        if points && rdata::compressible(set.rtype).is_none() && !self.composes_all {
            return self.copied(section, set, ttl);
        }
        self.composed_rrset(section, owner, set, ttl)
    }

    /// Writes an RRset of the name of the question whose data goes out as it is: it is as long as that says.
    #[inline]
    fn copied(&mut self, section: Section, set: &RrSet, ttl: u32) -> Result<(), Full> {
        let room = self.out.get_mut(..self.limit).ok_or(Full)?;
        self.at = copy_records(room, self.at, set, ttl).ok_or(Full)?;
        self.counts[section as usize] += set.count();
        Ok(())
    }

    fn composed_rrset(
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

    /// Puts octets in the place of the last ones written.
    pub(crate) fn overwrite_end(&mut self, octets: &[u8]) {
        if let Some(start) = self.at.checked_sub(octets.len()) {
            self.out[start..self.at].copy_from_slice(octets);
        }
    }

    /// Takes records that were composed elsewhere, with owner pointers to the question.
    pub(crate) fn composed(&mut self, records: &[u8], count: u16) -> Result<(), Full> {
        self.put(records)?;
        self.counts[Section::Answer as usize] += count;
        Ok(())
    }

    /// Writes the SOA record of a zone that the name of the question is in (RFC 2308 §3).
    pub(crate) fn negative(&mut self, zone: &Zone) -> Result<(), Full> {
        let prepared = zone.negative_soa();
        let may_copy = self.at == self.question_end && !self.composes_all;
        let origin_at = prepared.origin_at(self.out, self.question_end);
        let Some(origin_at) = origin_at.filter(|_| may_copy) else {
            let owner = Owner::Name(zone.origin());
            return self.rrset(Section::Authority, owner, zone.soa(), zone.negative_ttl());
        };
        let start = self.at;
        self.put(prepared.octets())?;
        prepared.point(self.out, start, origin_at);
        self.counts[Section::Authority as usize] += 1;
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
        let count = take_suffixes(name, &mut self.suffixes.labels);
        let known = (0..count).find_map(|place| {
            let (start, print) = self.suffixes.labels[place];
            Some((place, self.find(name.get(usize::from(start)..)?, print)?))
        });
        let name_at = self.at;
        let new = match known {
            Some((place, at)) => {
                let (plain, _) = self.suffixes.labels[place];
                self.put(&name[..usize::from(plain)])?;
                self.put(&(0xC000 | at).to_be_bytes())?;
                place
            }
            None => {
                self.put(name)?;
                count
            }
        };
        self.remember(name_at, new);
        Ok(())
    }

    fn remember_question(&mut self) {
        let labels = &mut self.suffixes.labels;
        let count = name::read(&self.out[HEADER..]).map_or(0, |name| take_suffixes(name, labels));
        self.remember(HEADER, count);
    }

    /// Remembers the first `count` suffixes of the name at hand, which was written at `name_at`.
    fn remember(&mut self, name_at: usize, count: usize) {
        let Suffixes {
            entries,
            used,
            labels,
        } = &mut *self.suffixes;
        for &(start, print) in &labels[..count] {
            let at = name_at + usize::from(start);
            let Some(entry) = entries.get_mut(*used).filter(|_| at <= POINTER_MAX) else {
                return;
            };
            *entry = (print, at as u16);
            *used += 1;
        }
    }

    /// Where this suffix stands in the message.
    fn find(&self, suffix: &[u8], print: u32) -> Option<u16> {
        let known = self.suffixes.entries[..self.suffixes.used].iter();
        known
            .filter(|entry| entry.0 == print)
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

/// Writes an RRset of the name of the question at `start`, its data as it is, and returns where it ends; `None`, and
/// nothing of use, if there is no room.
#[inline(always)]
pub(crate) fn copy_records(out: &mut [u8], start: usize, set: &RrSet, ttl: u32) -> Option<usize> {
    // Each record's data is kept with its length in front, which are two of the octets of its head.
    let end = start + set.octets() + usize::from(set.count()) * (RECORD_HEAD - 2);
    let mut rest = out.get_mut(start..end)?;
    let [q0, q1] = QUESTION_POINTER;
    let [y0, y1] = set.rtype.to_be_bytes();
    let [t0, t1, t2, t3] = ttl.to_be_bytes();
    for data in set.rdatas() {
        let [l0, l1] = (data.len() as u16).to_be_bytes();
        let (head, behind) = rest.split_first_chunk_mut::<RECORD_HEAD>()?;
        *head = [q0, q1, y0, y1, 0, 1, t0, t1, t2, t3, l0, l1];
        let (place, behind) = behind.split_at_mut_checked(data.len())?;
        place.copy_from_slice(data);
        rest = behind;
    }
    Some(end)
}

/// Writes start and fingerprint of every suffix of `name` but the root; returns how many.
///
/// The fingerprint looks at three octets a label and is the same in any case; equal ones are compared.
fn take_suffixes(name: &[u8], labels: &mut [(u8, u32); LABELS_MAX]) -> usize {
    let mut count = 0;
    let mut at = 0;
    while let (Some(&length @ 1..), Some(label)) = (name.get(at), labels.get_mut(count)) {
        let octet = |place: u8| {
            let octet = name
                .get(at + usize::from(place))
                .copied()
                .unwrap_or_default();
            u32::from(octet | 0x20)
        };
        let seen = octet(1) | octet(length / 2 + 1) << 8 | octet(length) << 16;
        *label = (at as u8, seen | u32::from(length) << 24);
        count += 1;
        at += 1 + usize::from(length);
    }
    // From the right, so that equal suffixes agree wherever they end a name.
    let mut print = 0_u32;
    for (_, label) in labels[..count].iter_mut().rev() {
        print = (print.rotate_left(9) ^ *label).wrapping_mul(0x9E37_79B1);
        *label = print;
    }
    count
}
