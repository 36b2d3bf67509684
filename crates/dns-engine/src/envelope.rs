//! What encloses every answer: the header in front and the OPT record behind.

use crate::Transport;
use crate::cookie::COOKIE;
use crate::ede::ExtendedError;
use crate::edns::{COMPACT_OK, DNSSEC_OK, Edns, option};
use crate::name;
use crate::rcode::Rcode;
use crate::request::{HEADER, Request};
use crate::rtype;
use crate::snapshot::{NSID_MAX, PLAIN_PAYLOAD, Snapshot};
use crate::zone::Zone;

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
    pub(crate) fn write(&self, request: &Request<'_>, out: &mut [u8]) {
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

/// Octets of an OPT record without options.
const BARE: usize = 11;
/// Octets of an option's code and length.
const OPTION_HEAD: usize = 4;
/// Octets of our client-subnet option at most.
const SUBNET_MAX: usize = 4 + 16;
/// Octets of our keepalive option (RFC 7828 §3.1).
const KEEPALIVE: usize = 2;
/// Octets of our zone-version option: label count, type and serial (RFC 9660 §2).
const ZONE_VERSION: usize = 6;
/// The only type of version: the SOA serial (RFC 9660 §6.2).
const SOA_SERIAL: u8 = 0;
/// Answers under encryption are padded to a multiple of this, if the query was padded (RFC 8467 §4.1).
const PADDING_BLOCK: usize = 468;

/// Room for the OPT record with every option that is never dropped.
pub(crate) const OPT_MAX: usize = BARE
    + (OPTION_HEAD + SUBNET_MAX)
    + (OPTION_HEAD + NSID_MAX)
    + (OPTION_HEAD + COOKIE)
    + (OPTION_HEAD + KEEPALIVE)
    + (OPTION_HEAD + ZONE_VERSION);

/// The OPT record of the answer (RFC 6891 §6.1): its room is set aside before anything else is written.
pub(crate) struct Opt<'s> {
    edns: &'s Edns<'s>,
    payload: u16,
    nsid: Option<&'s [u8]>,
    cookie: Option<[u8; COOKIE]>,
    keepalive: Option<u16>,
    padded: bool,
}

/// What the OPT record says about the answer.
pub(crate) struct Ending<'z> {
    pub(crate) rcode: Rcode,
    /// ECS scope prefix length.
    pub(crate) scope: u8,
    /// The answer is one of compact denial that CO allowed (RFC 9824 §5.1).
    pub(crate) compact: bool,
    /// The zone that was asked, for its version.
    pub(crate) zone: Option<&'z Zone>,
    /// Dropped first when space is short.
    pub(crate) error: Option<ExtendedError>,
}

impl<'s> Opt<'s> {
    /// Answers what the query's OPT record asks for.
    pub(crate) fn new(
        edns: &'s Edns<'s>,
        snapshot: &'s Snapshot,
        transport: Transport,
        cookie: Option<[u8; COOKIE]>,
    ) -> Self {
        let nsid = snapshot.identity.nsid.as_deref().filter(|_| edns.nsid);
        let keepalive = snapshot.limits.keepalive;
        Self {
            edns,
            payload: snapshot.limits.udp_payload.max(PLAIN_PAYLOAD),
            nsid: nsid.map(|id| &id[..id.len().min(NSID_MAX)]),
            cookie,
            keepalive: keepalive.filter(|_| edns.wants_keepalive(transport)),
            padded: edns.padding && transport.is_encrypted(),
        }
    }

    /// Octets to set aside: the record without what is dropped when space is short.
    pub(crate) fn reserved(&self) -> usize {
        let option = |length: Option<usize>| length.map_or(0, |length| OPTION_HEAD + length);
        BARE + option(self.edns.subnet.map(|subnet| 4 + subnet.address().len()))
            + option(self.nsid.map(<[u8]>::len))
            + option(self.cookie.map(|cookie| cookie.len()))
            + option(self.keepalive.map(|_| KEEPALIVE))
            + option(self.edns.zone_version.then_some(ZONE_VERSION))
    }

    /// The record as it stands in the first message of a transfer of a zone.
    pub(crate) fn of_transfer(&self, zone: &Zone) -> Vec<u8> {
        let mut octets = vec![0; self.reserved()];
        let ending = Ending {
            rcode: Rcode::NOERROR,
            scope: 0,
            compact: false,
            zone: Some(zone),
            error: None,
        };
        let end = self.write(&ending, &mut octets, 0, self.reserved());
        octets.truncate(end);
        octets
    }

    /// Writes the record at `start`, not beyond `limit`, and returns where it ends.
    pub(crate) fn write(
        &self,
        ending: &Ending<'_>,
        out: &mut [u8],
        start: usize,
        limit: usize,
    ) -> usize {
        let options_at = start + BARE;
        let mut options = Options {
            out,
            at: options_at,
            limit,
        };
        self.write_options(ending, &mut options);
        let end = options.at;
        let length = ((end - options_at) as u16).to_be_bytes();
        let [t0, t1] = rtype::OPT.to_be_bytes();
        let [p0, p1] = self.payload.to_be_bytes();
        let dnssec_ok = if self.edns.dnssec_ok { DNSSEC_OK } else { 0 };
        let compact_ok = if ending.compact { COMPACT_OK } else { 0 };
        let [f0, f1] = (dnssec_ok | compact_ok).to_be_bytes();
        let high_rcode = (ending.rcode.0 >> 4) as u8;
        out[start..options_at].copy_from_slice(&[
            0, t0, t1, p0, p1, high_rcode, 0, f0, f1, length[0], length[1],
        ]);
        end
    }

    fn write_options(&self, ending: &Ending<'_>, options: &mut Options<'_>) {
        if let Some(subnet) = &self.edns.subnet {
            let [f0, f1] = subnet.family.to_be_bytes();
            let scope = subnet.scope(ending.scope);
            let head = [f0, f1, subnet.source_len, scope];
            options.put(option::SUBNET, &head, subnet.address());
        }
        if let Some(id) = self.nsid {
            options.put(option::NSID, id, &[]);
        }
        if let Some(cookie) = &self.cookie {
            options.put(option::COOKIE, cookie, &[]);
        }
        if let Some(time) = self.keepalive {
            options.put(option::KEEPALIVE, &time.to_be_bytes(), &[]);
        }
        if let Some(zone) = ending.zone.filter(|_| self.edns.zone_version) {
            let labels = name::label_count(zone.origin()) as u8;
            let serial = zone.serial().to_be_bytes();
            options.put(option::ZONE_VERSION, &[labels, SOA_SERIAL], &serial);
        }
        if let Some(error) = ending.error {
            let code = error.code.to_be_bytes();
            let whole = options.fits(2 + error.text.len());
            let text = if whole { error.text } else { "" };
            if options.fits(2 + text.len()) {
                options.put(option::EXTENDED_ERROR, &code, text.as_bytes());
            }
        }
        if self.padded && options.fits(0) {
            options.pad();
        }
    }
}

/// Options that grow in the output.
struct Options<'b> {
    out: &'b mut [u8],
    at: usize,
    limit: usize,
}

impl Options<'_> {
    fn fits(&self, length: usize) -> bool {
        self.at + OPTION_HEAD + length <= self.limit
    }

    /// Writes an option; its data comes in two parts.
    fn put(&mut self, code: u16, front: &[u8], back: &[u8]) {
        let [c0, c1] = code.to_be_bytes();
        let [l0, l1] = ((front.len() + back.len()) as u16).to_be_bytes();
        for part in [&[c0, c1, l0, l1], front, back] {
            self.out[self.at..self.at + part.len()].copy_from_slice(part);
            self.at += part.len();
        }
    }

    /// Fills the message up to a whole number of blocks, or to the limit.
    fn pad(&mut self) {
        let start = self.at + OPTION_HEAD;
        let end = start.next_multiple_of(PADDING_BLOCK).min(self.limit);
        let [c0, c1] = option::PADDING.to_be_bytes();
        let [l0, l1] = ((end - start) as u16).to_be_bytes();
        self.out[self.at..start].copy_from_slice(&[c0, c1, l0, l1]);
        self.out[start..end].fill(0);
        self.at = end;
    }
}
