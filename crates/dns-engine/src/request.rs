//! Reads a query: header, one question, and the OPT record among the others.

use crate::edns::Edns;
use crate::hashed::HashedName;
use crate::name;
use crate::notify;
use crate::rtype;
use crate::{DropReason, Rcode};

/// Octets of a message header (RFC 1035 §4.1.1).
pub(crate) const HEADER: usize = 12;

/// A query as far as it could be read, and the fault that ended the reading, if any.
pub(crate) struct Request<'m> {
    /// Identifier and flags, for the answer.
    pub(crate) head: [u8; 4],
    /// `None` if there is no question, or more than one, or it is unreadable.
    pub(crate) question: Option<Asked>,
    pub(crate) edns: Option<Edns<'m>>,
    /// Where the TSIG record begins; it is the last one (RFC 8945 §5.1).
    pub(crate) tsig: Option<usize>,
    /// QDCOUNT is 0: lawful only in a query for a server cookie (RFC 7873 §5.4).
    pub(crate) questionless: bool,
    pub(crate) fault: Option<Rcode>,
}

/// Where the question ends and what it asks; the lower-cased name is in the caller's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) end: usize,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
}

impl Request<'_> {
    /// Nothing has been read yet.
    pub(crate) fn new() -> Self {
        Self {
            head: [0; 4],
            question: None,
            edns: None,
            tsig: None,
            questionless: false,
            fault: None,
        }
    }
}

impl<'m> Request<'m> {
    /// Reads a message that claims to be a query; an unanswerable one gives the reason.
    #[inline(always)]
    pub(crate) fn read(
        &mut self,
        message: &'m [u8],
        qname: &mut HashedName,
    ) -> Result<(), DropReason> {
        let Some(header) = message.first_chunk::<HEADER>() else {
            return Err(DropReason::TooShort);
        };
        if header[2] & 0x80 != 0 {
            return Err(DropReason::IsResponse);
        }
        self.head = [header[0], header[1], header[2], header[3]];
        let whole = self.read_sections(message, header, qname).is_some();
        // What was read before a fault stays, so that the answer has its question and OPT.
        if !matches!(header[2] >> 3 & 0xF, 0 | notify::OPCODE) {
            self.fault = Some(Rcode::NOTIMP);
        } else if !whole {
            self.fault = Some(Rcode::FORMERR);
        }
        Ok(())
    }

    /// True for opcode NOTIFY (RFC 1996).
    pub(crate) fn is_notify(&self) -> bool {
        self.head[2] >> 3 & 0xF == notify::OPCODE
    }

    /// True for one question, or lawfully none.
    fn has_question(&self) -> bool {
        self.question.is_some() || self.questionless
    }

    /// Reads everything behind the header; `None` if it is malformed.
    #[inline(always)]
    fn read_sections(
        &mut self,
        message: &'m [u8],
        header: &[u8; HEADER],
        qname: &mut HashedName,
    ) -> Option<()> {
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        let mut reader = Reader::new(message);
        reader.take(HEADER)?;
        match count(4) {
            0 => self.questionless = true,
            1 => self.read_question(&mut reader, qname)?,
            // Malformed (RFC 9619 §4), but the OPT record behind them is still wanted.
            several => (0..several).try_for_each(|_| reader.skip_question())?,
        }
        // Most queries end with one OPT record and have nothing else.
        if header[6..] == [0, 0, 0, 0, 0, 1]
            && let Some(record) = reader.sole_opt()
        {
            self.read_opt(&record)?;
            return self.has_question().then_some(());
        }
        for _ in 0..u32::from(count(6)) + u32::from(count(8)) {
            let record = reader.record()?;
            if matches!(record.rtype, rtype::OPT | rtype::TSIG) {
                return None;
            }
        }
        for left in (0..count(10)).rev() {
            let start = reader.at;
            let record = reader.record()?;
            match record.rtype {
                rtype::OPT => self.read_opt(&record)?,
                rtype::TSIG if left == 0 => self.tsig = Some(start),
                rtype::TSIG => return None,
                _ => {}
            }
        }
        (reader.is_at_end() && self.has_question()).then_some(())
    }

    #[inline(always)]
    fn read_question(&mut self, reader: &mut Reader<'m>, qname: &mut HashedName) -> Option<()> {
        reader.at = qname.read(reader.octets, reader.at)?;
        let (rtype, class) = (reader.u16()?, reader.u16()?);
        self.question = Some(Asked {
            end: reader.at,
            rtype,
            class,
        });
        Some(())
    }

    /// There is one OPT record at most, and the root owns it (RFC 6891 §6.1.1).
    #[inline(always)]
    fn read_opt(&mut self, record: &RecordHead<'m>) -> Option<()> {
        if self.edns.is_some() || !record.at_root {
            return None;
        }
        let edns = self.edns.insert(Edns::begin(record.class, record.ttl));
        if record.ttl >> 16 & 0xFF != 0 {
            // The options of an unknown version are not ours to read (RFC 6891 §6.1.3).
            self.fault = Some(Rcode::BADVERS);
            return Some(());
        }
        edns.read_options(record.data)
    }
}

/// A record of the query behind the question.
struct RecordHead<'m> {
    at_root: bool,
    rtype: u16,
    class: u16,
    ttl: u32,
    data: &'m [u8],
}

/// Steps through octets; `None` where they end too early.
pub(crate) struct Reader<'m> {
    octets: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    pub(crate) fn new(octets: &'m [u8]) -> Self {
        Self { octets, at: 0 }
    }

    pub(crate) fn is_at_end(&self) -> bool {
        self.at == self.octets.len()
    }

    pub(crate) fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(length)?;
        let octets = self.octets.get(self.at..end)?;
        self.at = end;
        Some(octets)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .and_then(|octets| octets.try_into().ok())
            .map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)
            .and_then(|octets| octets.try_into().ok())
            .map(u32::from_be_bytes)
    }

    /// The OPT record of the root that the rest of the message is; `None` if it is anything else.
    #[inline(always)]
    fn sole_opt(&self) -> Option<RecordHead<'m>> {
        let rest = self.octets.get(self.at..)?;
        let (head, data) = rest.split_first_chunk::<11>()?;
        let &[root, t0, t1, c0, c1, r0, r1, r2, r3, l0, l1] = head;
        let is_opt = root == 0 && u16::from_be_bytes([t0, t1]) == rtype::OPT;
        let is_whole = usize::from(u16::from_be_bytes([l0, l1])) == data.len();
        (is_opt && is_whole).then_some(RecordHead {
            at_root: true,
            rtype: rtype::OPT,
            class: u16::from_be_bytes([c0, c1]),
            ttl: u32::from_be_bytes([r0, r1, r2, r3]),
            data,
        })
    }

    fn record(&mut self) -> Option<RecordHead<'m>> {
        let at_root = self.octets.get(self.at) == Some(&0);
        self.skip_name()?;
        let (rtype, class, ttl) = (self.u16()?, self.u16()?, self.u32()?);
        let length = self.u16()?;
        Some(RecordHead {
            at_root,
            rtype,
            class,
            ttl,
            data: self.take(usize::from(length))?,
        })
    }

    fn skip_question(&mut self) -> Option<()> {
        self.skip_name()?;
        self.take(4).map(|_| ())
    }

    /// Steps over a name; what a pointer points to does not matter.
    fn skip_name(&mut self) -> Option<()> {
        let start = self.at;
        loop {
            let length = *self.take(1)?.first()?;
            match length {
                0 => return Some(()),
                0xC0.. => return self.take(1).map(|_| ()),
                0x40.. => return None,
                _ => self.take(usize::from(length))?,
            };
            if self.at - start > name::NAME_MAX {
                return None;
            }
        }
    }
}
