//! The usual query, answered in one sweep: one question for addresses, services or text, an OPT record with a client
//! subnet or a cookie at most, an answer that stands ready and fits, no signatures. It costs a third of the general way,
//! which is taken for everything else and gives the same octets (`tests/same_octets.rs`).

use crate::admission::Standing;
use crate::answer;
use crate::cookie::COOKIE;
use crate::edns::{DNSSEC_OK, Edns, option};
use crate::meta::Meta;
use crate::rate::RateState;
use crate::rcode::Rcode;
use crate::request::{Asked, HEADER, Request};
use crate::respond::size_limit;
use crate::rtype;
use crate::scratch::Scratch;
use crate::snapshot::{PLAIN_PAYLOAD, Snapshot};
use crate::subnet::Subnet;
use crate::summary::{AnswerClass, Summary};
use crate::tailor::{Client, Verdict};
use crate::writer::copy_records;
use crate::zone::{Found, Zone};

/// Types whose data goes out as it stands in the zone.
const USUAL: u128 = 1 << rtype::A
    | 1 << rtype::TXT
    | 1 << rtype::AAAA
    | 1 << rtype::SRV
    | 1 << rtype::TLSA
    | 1 << rtype::SVCB
    | 1 << rtype::HTTPS;

/// The question, if the query is a usual one as far as itself tells.
#[inline(always)]
pub(crate) fn question(request: &Request<'_>, standing: &Standing) -> Option<Asked> {
    const IN: u16 = 1;
    const OPCODE: u8 = 0x78;
    let asked = request.question?;
    let of_kind = asked.class == IN && asked.rtype < 128 && USUAL >> asked.rtype & 1 != 0;
    let plain = request.fault.is_none() && request.tsig.is_none() && request.head[2] & OPCODE == 0;
    let known = request.edns.as_ref().is_none_or(|edns| !edns.unusual);
    (of_kind && plain && known && standing.rate != RateState::Slipped).then_some(asked)
}

/// A query and all that its answer is made from.
pub(crate) struct Express<'a> {
    pub(crate) snapshot: &'a Snapshot,
    pub(crate) query: &'a [u8],
    pub(crate) request: &'a Request<'a>,
    pub(crate) standing: &'a Standing,
    pub(crate) meta: &'a Meta,
    pub(crate) asked: Asked,
}

/// Records that have been written.
struct Written {
    /// Where they end.
    end: usize,
    /// How many there are in the answer and in the authority section.
    counts: [u16; 2],
    rcode: Rcode,
    class: AnswerClass,
}

impl Express<'_> {
    /// Writes the answer and returns its length. If it is no usual one: what the tailor said, who must not be asked
    /// twice, in case it was asked.
    #[inline(always)]
    pub(crate) fn answer(
        &self,
        scratch: &mut Scratch,
        out: &mut [u8],
    ) -> Result<usize, Option<Verdict>> {
        let (snapshot, name, rtype) = (self.snapshot, &scratch.qname, self.asked.rtype);
        let edns = self.request.edns.as_ref();
        let signs = snapshot.signing.is_some() && edns.is_some_and(|edns| edns.dnssec_ok);
        let zone = snapshot.zones.deepest(name);
        let zone = zone.and_then(|number| snapshot.zones.at(number));
        let zone = zone.filter(|_| !signs && name.label_count() > 0);
        let zone = zone.ok_or(None)?;
        let client = Client {
            source: self.standing.source,
            subnet: edns.and_then(|edns| edns.subnet?.client()),
        };
        let tailored = &mut scratch.tailored;
        let verdict = answer::consult(snapshot, name, rtype, &client, tailored);

        let limit = size_limit(self.request, &snapshot.limits, self.meta.transport);
        let limit = limit.min(out.len()).checked_sub(self.opt_length());
        let limit = limit.ok_or(Some(verdict))?;
        let start = self.asked.end;
        let question = out
            .get_mut(HEADER..start)
            .zip(self.query.get(HEADER..start));
        if let Some((place, question)) = question {
            place.copy_from_slice(question);
        }
        let room = out.get_mut(..limit);
        let written = match verdict {
            _ if tailored.extended_error().is_some() => None,
            Verdict::Answer => room.and_then(|room| {
                let count = tailored.count();
                let written = Written::data(start, count)?;
                written.with(room, tailored.finished())
            }),
            Verdict::NxDomain => {
                room.and_then(|room| Written::negative(start, zone, Rcode::NXDOMAIN, room))
            }
            Verdict::Zone => room.and_then(|room| match zone.find(name) {
                Found::Missing => Written::negative(start, zone, Rcode::NXDOMAIN, room),
                Found::Node(node) if node.leads() || node.rrset(rtype::CNAME).is_some() => None,
                Found::Node(node) => match node.rrset(rtype) {
                    Some(set) => {
                        let mut written = Written::data(start, set.count())?;
                        written.end = copy_records(room, start, set, set.ttl)?;
                        Some(written)
                    }
                    None => Written::negative(start, zone, Rcode::NOERROR, room),
                },
                _ => None,
            }),
            _ => None,
        };
        let Written {
            end,
            counts: [answers, authorities],
            rcode,
            class,
        } = written.ok_or(Some(verdict))?;
        let length = end + self.opt_length();
        if !self.standing.may_have(snapshot, self.meta, length) {
            return Err(Some(verdict));
        }
        self.write_opt(tailored.scope(), out, end)
            .ok_or(Some(verdict))?;
        let [id0, id1, flags, _] = self.request.head;
        // An authoritative response; opcode, which is 0, and RD come from the query (RFC 1035 §4.1.1).
        let header = out.first_chunk_mut::<HEADER>().ok_or(Some(verdict))?;
        let [n0, n1] = answers.to_be_bytes();
        let (authorities, additional) = (authorities as u8, u8::from(edns.is_some()));
        let flags = 0x84 | flags & 1;
        *header = [
            id0,
            id1,
            flags,
            rcode.0 as u8,
            0,
            1,
            n0,
            n1,
            0,
            authorities,
            0,
            additional,
        ];
        scratch.summary = Summary {
            rcode,
            rtype,
            class,
            subnet: edns.is_some_and(|edns| edns.subnet.is_some()),
            dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
            cookie: self.standing.cookie,
            rate: self.standing.rate,
            tailored: verdict != Verdict::Zone,
            truncated: false,
            extended_error: None,
            zone_octets: Some(zone.origin().len() as u8),
        };
        Ok(length)
    }

    /// Octets of the OPT record of the answer.
    #[inline(always)]
    fn opt_length(&self) -> usize {
        const BARE: usize = 11;
        let Some(edns) = &self.request.edns else {
            return 0;
        };
        let subnet = edns.subnet.as_ref();
        let subnet = subnet.map_or(0, |subnet| 8 + subnet.address().len());
        let cookie = self.standing.cookie_of_answer;
        BARE + subnet + cookie.map_or(0, |_| 4 + COOKIE)
    }

    /// Writes it at `start`.
    #[inline(always)]
    fn write_opt(&self, scope: u8, out: &mut [u8], start: usize) -> Option<()> {
        let Some(edns) = &self.request.edns else {
            return Some(());
        };
        let [p0, p1] = self.payload().to_be_bytes();
        let [t0, t1] = rtype::OPT.to_be_bytes();
        let [f0, f1] = flags(edns).to_be_bytes();
        let [l0, l1] = ((self.opt_length() - 11) as u16).to_be_bytes();
        let (bare, rest) = out.get_mut(start..)?.split_first_chunk_mut()?;
        *bare = [0, t0, t1, p0, p1, 0, 0, f0, f1, l0, l1];
        let mut rest = rest;
        if let Some(subnet) = &edns.subnet {
            rest = write_subnet(subnet, scope, rest)?;
        }
        if let Some(cookie) = &self.standing.cookie_of_answer {
            let (head, rest) = rest.split_first_chunk_mut::<4>()?;
            *head = [0, option::COOKIE as u8, 0, COOKIE as u8];
            *rest.first_chunk_mut()? = *cookie;
        }
        Some(())
    }

    fn payload(&self) -> u16 {
        self.snapshot.limits.udp_payload.max(PLAIN_PAYLOAD)
    }
}

fn flags(edns: &Edns<'_>) -> u16 {
    if edns.dnssec_ok { DNSSEC_OK } else { 0 }
}

/// Echoes the client's network with the scope of the answer; returns what is behind.
#[inline(always)]
fn write_subnet<'o>(subnet: &Subnet, scope: u8, out: &'o mut [u8]) -> Option<&'o mut [u8]> {
    let address = subnet.address();
    let (head, rest) = out.split_first_chunk_mut::<8>()?;
    let [f0, f1] = subnet.family.to_be_bytes();
    let (source_len, scope) = (subnet.source_len, subnet.scope(scope));
    let length = 4 + address.len() as u8; // at most 20
    *head = [
        0,
        option::SUBNET as u8,
        0,
        length,
        f0,
        f1,
        source_len,
        scope,
    ];
    let (place, rest) = rest.split_at_mut_checked(address.len())?;
    place.copy_from_slice(address);
    Some(rest)
}

impl Written {
    /// So many records of the answer, which are still to be written at `end`; `None` without any.
    #[inline(always)]
    fn data(end: usize, count: u16) -> Option<Self> {
        (count > 0).then_some(Self {
            end,
            counts: [count, 0],
            rcode: Rcode::NOERROR,
            class: AnswerClass::Data,
        })
    }

    /// These are the records.
    #[inline(always)]
    fn with(mut self, room: &mut [u8], records: &[u8]) -> Option<Self> {
        let place = room.get_mut(self.end..self.end + records.len())?;
        place.copy_from_slice(records);
        self.end += records.len();
        Some(self)
    }

    /// The SOA record behind a question that ends at `start`.
    #[inline(always)]
    fn negative(start: usize, zone: &Zone, rcode: Rcode, room: &mut [u8]) -> Option<Self> {
        let soa = zone.negative_soa();
        let origin_at = soa.origin_at(room, start)?;
        let written = Self {
            end: start,
            counts: [0, 1],
            rcode,
            class: match rcode {
                Rcode::NXDOMAIN => AnswerClass::NameError,
                _ => AnswerClass::NoData,
            },
        };
        let written = written.with(room, soa.octets())?;
        soa.point(room, start, origin_at);
        Some(written)
    }
}
