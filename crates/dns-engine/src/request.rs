//! Reads a query: header, one question, EDNS with the options that matter here.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::name::{self, NameBuffer};
use crate::rtype;
use crate::{ClientSubnet, DropReason, Rcode};

/// Octets of a message header (RFC 1035 §4.1.1).
pub(crate) const HEADER: usize = 12;

/// A query as far as it could be read, and the fault that ended the reading, if any.
pub(crate) struct Request {
    /// Identifier and flags, for the answer.
    pub(crate) head: [u8; 4],
    pub(crate) question: Option<Asked>,
    pub(crate) edns: Option<Edns>,
    pub(crate) fault: Option<Rcode>,
}

/// Where the question ends and what it asks; the lower-cased name is in the caller's buffer.
#[derive(Clone, Copy)]
pub(crate) struct Asked {
    pub(crate) end: usize,
    pub(crate) rtype: u16,
    pub(crate) class: u16,
}

/// The OPT record of a query (RFC 6891).
#[derive(Clone, Copy, Default)]
pub(crate) struct Edns {
    pub(crate) payload: u16,
    pub(crate) dnssec_ok: bool,
    pub(crate) compact_ok: bool,
    pub(crate) nsid: bool,
    pub(crate) subnet: Option<Subnet>,
}

/// A client-subnet option as it came, to be echoed (RFC 7871 §7.2.1).
#[derive(Clone, Copy)]
pub(crate) struct Subnet {
    pub(crate) family: u16,
    pub(crate) source_len: u8,
    octets: [u8; 16],
}

pub(crate) const OPTION_NSID: u16 = 3;
pub(crate) const OPTION_SUBNET: u16 = 8;

/// Reads a message that claims to be a query; an unanswerable one gives the reason.
pub(crate) fn read(message: &[u8], qname: &mut NameBuffer) -> Result<Request, DropReason> {
    let Some(header) = message.first_chunk::<HEADER>() else {
        return Err(DropReason::TooShort);
    };
    if header[2] & 0x80 != 0 {
        return Err(DropReason::IsResponse);
    }
    let head = [header[0], header[1], header[2], header[3]];
    let mut request = Request {
        head,
        question: None,
        edns: None,
        fault: None,
    };
    let whole = request.read_sections(message, header, qname).is_some();
    // What was read before a fault stays, so that the answer has its question and OPT.
    if header[2] >> 3 & 0xF != 0 {
        request.fault = Some(Rcode::NOTIMP);
    } else if !whole {
        request.fault = Some(Rcode::FORMERR);
    }
    Ok(request)
}

impl Request {
    /// Reads everything behind the header; `None` if it is malformed.
    fn read_sections(
        &mut self,
        message: &[u8],
        header: &[u8; HEADER],
        qname: &mut NameBuffer,
    ) -> Option<()> {
        let count = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
        if count(4) != 1 {
            return None;
        }
        let name = name::read(message.get(HEADER..)?)?;
        let mut reader = Reader {
            message,
            at: HEADER + name.len(),
        };
        let (rtype, class) = (reader.u16()?, reader.u16()?);
        qname.set(name);
        qname.lower();
        self.question = Some(Asked {
            end: reader.at,
            rtype,
            class,
        });
        for _ in 0..u32::from(count(6)) + u32::from(count(8)) {
            let record = reader.record()?;
            if record.rtype == rtype::OPT {
                return None;
            }
        }
        for _ in 0..count(10) {
            let record = reader.record()?;
            if record.rtype == rtype::OPT {
                if self.edns.is_some() || !record.at_root {
                    return None;
                }
                self.edns = Some(Edns::default());
                self.read_edns(&record)?;
            }
        }
        (reader.at == message.len()).then_some(())
    }

    fn read_edns(&mut self, record: &RecordHead<'_>) -> Option<()> {
        let edns = self.edns.get_or_insert_default();
        edns.payload = record.class;
        edns.dnssec_ok = record.ttl & 0x8000 != 0;
        edns.compact_ok = record.ttl & 0x4000 != 0;
        if record.ttl >> 16 & 0xFF != 0 {
            // The options of an unknown version are not ours to read (RFC 6891 §6.1.3).
            self.fault = Some(Rcode::BADVERS);
            return Some(());
        }
        let mut reader = Reader {
            message: record.data,
            at: 0,
        };
        while reader.at < record.data.len() {
            let (code, length) = (reader.u16()?, reader.u16()?);
            let data = reader.take(usize::from(length))?;
            match code {
                OPTION_NSID => edns.nsid = true,
                OPTION_SUBNET if edns.subnet.is_some() => return None,
                OPTION_SUBNET => edns.subnet = Some(Subnet::read(data)?),
                _ => {}
            }
        }
        Some(())
    }
}

impl Subnet {
    /// Reads the option; wrong lengths, stray bits and a scope in a query are malformed (RFC 7871 §6, §7.1.1).
    fn read(data: &[u8]) -> Option<Self> {
        let (&[f0, f1, source_len, scope], address) = data.split_first_chunk::<4>()?;
        let family = u16::from_be_bytes([f0, f1]);
        let longest = match family {
            // "No family" comes from resolvers that disclose nothing.
            0 => 0,
            1 => 32,
            2 => 128,
            _ => return None,
        };
        if scope != 0 || source_len > longest || address.len() != octets_of(source_len) {
            return None;
        }
        let stray_bits = (8 - source_len % 8) % 8;
        if address
            .last()
            .is_some_and(|last| last & !(0xFF << stray_bits) != 0)
        {
            return None;
        }
        let mut octets = [0; 16];
        octets.get_mut(..address.len())?.copy_from_slice(address);
        Some(Self {
            family,
            source_len,
            octets,
        })
    }

    /// What the answer may depend on; nothing if the client discloses nothing (SOURCE 0).
    pub(crate) fn client(&self) -> Option<ClientSubnet> {
        let [a, b, c, d, ..] = self.octets;
        let address = match (self.family, self.source_len) {
            (_, 0) => return None,
            (1, _) => IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            _ => IpAddr::V6(Ipv6Addr::from(self.octets)),
        };
        Some(ClientSubnet {
            address,
            source_len: self.source_len,
        })
    }

    /// The disclosed address octets, to be echoed.
    pub(crate) fn address(&self) -> &[u8] {
        &self.octets[..octets_of(self.source_len).min(16)]
    }

    /// The scope of the answer: none for a client that discloses nothing, else within the family.
    pub(crate) fn scope(&self, wanted: u8) -> u8 {
        match (self.family, self.source_len) {
            (0, _) | (_, 0) => 0,
            (1, _) => wanted.min(32),
            _ => wanted.min(128),
        }
    }
}

fn octets_of(prefix_len: u8) -> usize {
    usize::from(prefix_len).div_ceil(8)
}

/// A record of the query behind the question.
struct RecordHead<'m> {
    at_root: bool,
    rtype: u16,
    class: u16,
    ttl: u32,
    data: &'m [u8],
}

struct Reader<'m> {
    message: &'m [u8],
    at: usize,
}

impl<'m> Reader<'m> {
    fn take(&mut self, length: usize) -> Option<&'m [u8]> {
        let end = self.at.checked_add(length)?;
        let octets = self.message.get(self.at..end)?;
        self.at = end;
        Some(octets)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take(2)
            .and_then(|octets| octets.try_into().ok())
            .map(u16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take(4)
            .and_then(|octets| octets.try_into().ok())
            .map(u32::from_be_bytes)
    }

    fn record(&mut self) -> Option<RecordHead<'m>> {
        let at_root = self.message.get(self.at) == Some(&0);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_client_subnets_strictly() {
        let check = |data: &[u8], expected: Option<(&str, u8)>| {
            let read = Subnet::read(data).and_then(|subnet| subnet.client());
            let expected = expected.map(|(address, source_len)| ClientSubnet {
                address: address.parse().unwrap(),
                source_len,
            });
            assert_eq!(read, expected, "{data:?}");
        };
        check(&[0, 1, 24, 0, 198, 51, 100], Some(("198.51.100.0", 24)));
        check(&[0, 1, 20, 0, 198, 51, 0x60], Some(("198.51.96.0", 20)));
        check(&[0, 2, 32, 0, 0x20, 1, 0xd, 0xb8], Some(("2001:db8::", 32)));
        // Stray bits, too many and too few octets, a scope, too long for the family, cut header.
        check(&[0, 1, 20, 0, 198, 51, 0x64], None);
        check(&[0, 1, 24, 0, 198, 51, 100, 0], None);
        check(&[0, 1, 24, 0, 198, 51], None);
        check(&[0, 1, 24, 24, 198, 51, 100], None);
        check(&[0, 1, 33, 0, 1, 2, 3, 4, 0], None);
        check(&[0, 3, 8, 0, 1], None);
        check(&[0, 1, 24], None);
    }

    #[test]
    fn takes_source_zero_as_disclosing_nothing() {
        for data in [&[0, 0, 0, 0][..], &[0, 1, 0, 0], &[0, 2, 0, 0]] {
            let subnet = Subnet::read(data).unwrap();
            assert_eq!(subnet.client(), None);
            assert_eq!(subnet.scope(24), 0);
        }
    }
}
