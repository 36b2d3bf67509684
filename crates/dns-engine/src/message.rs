//! Reads messages of other servers and their clients: names may be compressed, every record is expanded.
//!
//! Off the hot path (transfers, NOTIFY, signatures), so it allocates. Pointers must lead towards the
//! front and a name has at most 255 octets, so reading always ends.

use crate::name;
use crate::rdata::{self, Field};
use crate::request::HEADER;

/// A place in a message, moving forward.
#[derive(Clone)]
pub(crate) struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

/// The header of a message (RFC 1035 §4.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    pub(crate) id: u16,
    pub(crate) is_response: bool,
    pub(crate) opcode: u8,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    /// The lower four bits.
    pub(crate) rcode: u8,
    /// Question, answer, authority, additional.
    pub(crate) counts: [u16; 4],
}

/// A question with its name expanded, in the case it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asked {
    pub(crate) name: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
}

/// A record with every name expanded, in the case it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Received {
    pub(crate) owner: Vec<u8>,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
    pub(crate) ttl: u32,
    pub(crate) data: Vec<u8>,
}

impl<'m> Reader<'m> {
    pub(crate) fn new(message: &'m [u8]) -> Self {
        Self { message, at: 0 }
    }

    /// Reads from `at` on, for a place that is known.
    pub(crate) fn from(message: &'m [u8], at: usize) -> Self {
        Self { message, at }
    }

    /// Octets read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// True if nothing is left.
    pub(crate) fn is_at_end(&self) -> bool {
        self.at >= self.message.len()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(length)?;
        let octets = self.message.get(self.at..end)?;
        self.at = end;
        Some(octets)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)?.try_into().ok().map(u16::from_be_bytes)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.take(4)?.try_into().ok().map(u32::from_be_bytes)
    }

    pub(crate) fn header(&mut self) -> Option<Header> {
        let octets: &[u8; HEADER] = self.take(HEADER)?.try_into().ok()?;
        let number = |at: usize| u16::from_be_bytes([octets[at], octets[at + 1]]);
        Some(Header {
            id: number(0),
            is_response: octets[2] & 0x80 != 0,
            opcode: octets[2] >> 3 & 0xF,
            authoritative: octets[2] & 0x04 != 0,
            truncated: octets[2] & 0x02 != 0,
            rcode: octets[3] & 0xF,
            counts: [number(4), number(6), number(8), number(10)],
        })
    }

    pub(crate) fn question(&mut self) -> Option<Asked> {
        let mut name = Vec::new();
        self.name(&mut name)?;
        let (rtype, class) = (self.u16()?, self.u16()?);
        Some(Asked { name, rtype, class })
    }

    /// Reads a record; `None` if it is cut or its data has not the shape of its type.
    pub(crate) fn record(&mut self) -> Option<Received> {
        let mut owner = Vec::new();
        self.name(&mut owner)?;
        let (rtype, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = usize::from(self.u16()?);
        let start = self.at;
        self.take(length)?;
        let mut inside = Self {
            message: self.message.get(..self.at)?,
            at: start,
        };
        let data = inside.data(rtype)?;
        Some(Received {
            owner,
            rtype,
            class,
            ttl,
            data,
        })
    }

    /// Steps over a record and tells its type; what its data holds does not matter.
    pub(crate) fn skip_record(&mut self) -> Option<u16> {
        self.name(&mut Vec::new())?;
        let rtype = self.u16()?;
        self.take(6)?;
        let length = self.u16()?;
        self.take(usize::from(length)).map(|_| rtype)
    }

    /// Reads everything up to the end as data of a type, its names expanded (RFC 3597 §4).
    fn data(&mut self, rtype: u16) -> Option<Vec<u8>> {
        let mut data = Vec::with_capacity(self.message.len().saturating_sub(self.at));
        let fields = rdata::fields(rtype).unwrap_or_default();
        for field in fields {
            if *field == Field::Name {
                self.name(&mut data)?;
                continue;
            }
            let (octets, _) = field.split(self.message.get(self.at..)?)?;
            data.extend_from_slice(self.take(octets.len())?);
        }
        data.extend_from_slice(self.message.get(self.at..)?);
        let whole = u16::try_from(data.len()).is_ok() && rdata::is_well_formed(rtype, &data);
        whole.then_some(data)
    }

    /// Appends a name without compression to `into`.
    pub(crate) fn name(&mut self, into: &mut Vec<u8>) -> Option<()> {
        let begin = into.len();
        let (mut at, mut end) = (self.at, None);
        loop {
            let length = *self.message.get(at)?;
            match length {
                0xC0.. => {
                    let low = *self.message.get(at + 1)?;
                    end.get_or_insert(at + 2);
                    let target = usize::from(length & 0x3F) << 8 | usize::from(low);
                    if target >= at {
                        return None;
                    }
                    at = target;
                }
                0x40.. => return None,
                _ => {
                    let next = at + 1 + usize::from(length);
                    into.extend_from_slice(self.message.get(at..next)?);
                    if into.len() - begin > name::NAME_MAX {
                        return None;
                    }
                    at = next;
                    if length == 0 {
                        self.at = end.unwrap_or(at);
                        return Some(());
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::rtype;

    #[test]
    fn expands_pointers_and_refuses_loops() {
        let check = |message: &[u8], at: usize, expected: Option<(&[u8], usize)>| {
            let mut reader = Reader::from(message, at);
            let mut name = Vec::new();
            let read = reader.name(&mut name).map(|()| (name, reader.position()));
            let read = read.as_ref().map(|(name, end)| (&name[..], *end));
            assert_eq!(read, expected, "{message:?} at {at}");
        };
        check(b"\x01a\0", 0, Some((b"\x01a\0", 3)));
        check(b"\x01a\0\x01b\xc0\0", 3, Some((b"\x01b\x01a\0", 7)));
        check(b"\x01a\0\x01b\xc0\0\xc0\x03", 7, Some((b"\x01b\x01a\0", 9)));
        check(b"\xc0\0", 0, None);
        check(b"\x01a\xc0\0", 0, None);
        check(b"\xc0\x02\0", 0, None);
        check(b"\x41a\0", 0, None);
        check(b"\x01a", 0, None);
        // A name that a pointer makes longer than 255 octets.
        let mut long = [&[63][..], &[b'x'; 63]].concat().repeat(3);
        long.push(0);
        let start = long.len();
        long.extend([&[63][..], &[b'x'; 63], &[0xC0, 0]].concat());
        check(&long, start, None);
    }

    #[test]
    fn expands_the_names_in_data_and_checks_its_shape() {
        let check = |rtype: u16, data: &[u8], expected: Option<&[u8]>| {
            let mut message = b"\x01a\0".to_vec();
            message.extend([0xC0, 0]);
            message.extend(rtype.to_be_bytes());
            message.extend([0, 1, 0, 0, 0, 60]);
            message.extend((data.len() as u16).to_be_bytes());
            message.extend(data);
            let record = Reader::from(&message, 3).record();
            assert_eq!(record.as_ref().map(|r| &r.data[..]), expected, "{rtype}");
        };
        check(rtype::NS, b"\x02ns\xc0\0", Some(b"\x02ns\x01a\0"));
        check(rtype::MX, b"\0\x0a\xc0\0", Some(b"\0\x0a\x01a\0"));
        check(
            rtype::SRV,
            b"\0\0\0\0\0\0\xc0\0",
            Some(b"\0\0\0\0\0\0\x01a\0"),
        );
        check(rtype::NS, b"\x02ns\xc0\0x", None);
        check(rtype::A, b"\x01\x02\x03", None);
        check(65280, b"\xc0\0", Some(b"\xc0\0"));
    }

    proptest! {
        #[test]
        fn reading_any_octets_ends(octets in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut reader = Reader::new(&octets);
            let _ = reader.header();
            let _ = reader.question();
            while reader.record().is_some() {}
            prop_assert!(reader.position() <= octets.len());
        }
    }
}
