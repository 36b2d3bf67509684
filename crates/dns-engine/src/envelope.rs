//! What encloses every answer: the header in front and the OPT record behind.

use crate::request::{Edns, HEADER, OPTION_NSID, OPTION_SUBNET, Request};
use crate::snapshot::{Limits, PLAIN_PAYLOAD};
use crate::{rcode::Rcode, rtype};

/// What the header says besides what it takes from the query.
pub(crate) struct Header {
    pub(crate) rcode: Rcode,
    pub(crate) authoritative: bool,
    pub(crate) truncated: bool,
    pub(crate) counts: [u16; 3],
    pub(crate) opt: bool,
}

impl Header {
    /// Identifier, opcode and RD come from the query; RA, AD and CD are clear (RFC 4035 §3.1.6).
    pub(crate) fn write(&self, request: &Request, out: &mut [u8]) {
        let [id0, id1, flags, _] = request.head;
        let kept = flags & 0b0111_1001; // opcode and RD
        let set = 0x80 | u8::from(self.authoritative) << 2 | u8::from(self.truncated) << 1;
        let [answer, authority, additional] = self.counts;
        let additional = additional + u16::from(self.opt);
        let low_rcode = (self.rcode.0 & 0xF) as u8;
        out[..4].copy_from_slice(&[id0, id1, kept | set, low_rcode]);
        let counts = [
            u16::from(request.question.is_some()),
            answer,
            authority,
            additional,
        ];
        for (place, count) in out[4..HEADER].as_chunks_mut::<2>().0.iter_mut().zip(counts) {
            *place = count.to_be_bytes();
        }
    }
}

/// The OPT record of the answer (RFC 6891 §6.1): its room is set aside before anything else is written.
pub(crate) struct Opt<'s> {
    pub(crate) edns: Edns,
    /// The answer is such that the flag CO means something (RFC 9824 §5.1).
    pub(crate) compact_ok: bool,
    pub(crate) nsid: Option<&'s [u8]>,
}

impl Opt<'_> {
    pub(crate) fn length(&self) -> usize {
        let subnet = self
            .edns
            .subnet
            .map_or(0, |subnet| 8 + subnet.address().len());
        11 + subnet + self.nsid.map_or(0, |id| 4 + id.len())
    }

    /// Writes the record at `start` and returns where it ends.
    pub(crate) fn write(
        &self,
        rcode: Rcode,
        scope: u8,
        limits: &Limits,
        out: &mut [u8],
        start: usize,
    ) -> usize {
        let mut at = start;
        let mut put = |octets: &[u8]| {
            out[at..at + octets.len()].copy_from_slice(octets);
            at += octets.len();
        };
        put(&[0]);
        put(&rtype::OPT.to_be_bytes());
        put(&limits.udp_payload.max(PLAIN_PAYLOAD).to_be_bytes());
        put(&[
            (rcode.0 >> 4) as u8,
            0,
            u8::from(self.edns.dnssec_ok) << 7 | u8::from(self.compact_ok) << 6,
            0,
        ]);
        put(&((self.length() - 11) as u16).to_be_bytes());
        if let Some(subnet) = self.edns.subnet {
            let address = subnet.address();
            put(&OPTION_SUBNET.to_be_bytes());
            put(&(4 + address.len() as u16).to_be_bytes());
            put(&subnet.family.to_be_bytes());
            put(&[subnet.source_len, subnet.scope(scope)]);
            put(address);
        }
        if let Some(id) = self.nsid {
            put(&OPTION_NSID.to_be_bytes());
            put(&(id.len() as u16).to_be_bytes());
            put(id);
        }
        at
    }
}
