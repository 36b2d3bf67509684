//! The one door: query bytes in, response bytes out, the same for every transport.

use crate::answer;
use crate::dnssec::Wish;
use crate::envelope::{Header, Opt};
use crate::meta::{Meta, Transport};
use crate::reply::Reply;
use crate::request::{self, Asked, HEADER, Request};
use crate::scratch::{Scratch, Summary};
use crate::snapshot::{Limits, NSID_MAX, PLAIN_PAYLOAD, Snapshot};
use crate::tailor::Client;
use crate::writer::Writer;
use crate::{rcode::Rcode, rtype};

/// Header, longest question, OPT, longest client subnet and server identifier: every answer has room for these.
const ROOM_MIN: usize = HEADER + 255 + 4 + 11 + 8 + 16 + 4 + NSID_MAX;

/// What to do with a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The first n octets of the output are the answer.
    Send(usize),
    /// Say nothing.
    Drop(DropReason),
}

/// Why a query gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Shorter than a header: there is no identifier to answer to.
    TooShort,
    /// It is an answer itself; answering would let two servers talk for ever.
    IsResponse,
    /// The output buffer cannot hold the smallest answer; give it 512 octets or more.
    NoRoom,
}

/// Answers one query into `out`, which should hold 65,535 octets for TCP and the payload limit for UDP.
///
/// Never panics and, once `scratch` is warm, never allocates.
pub fn respond(
    snapshot: &Snapshot,
    query: &[u8],
    meta: &Meta,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Outcome {
    scratch.summary = Summary::default();
    let request = match request::read(query, &mut scratch.qname) {
        Ok(request) => request,
        Err(reason) => return Outcome::Drop(reason),
    };
    if out.len() < ROOM_MIN {
        return Outcome::Drop(DropReason::NoRoom);
    }
    let question_end = request.question.map_or(HEADER, |asked| asked.end);
    out[..HEADER].fill(0);
    out[HEADER..question_end].copy_from_slice(&query[HEADER..question_end]);

    let nsid = snapshot
        .identity
        .nsid
        .as_deref()
        .filter(|_| request.edns.is_some_and(|edns| edns.nsid));
    let mut opt = request.edns.map(|edns| Opt {
        edns,
        compact_ok: false,
        nsid: nsid.map(|id| &id[..id.len().min(NSID_MAX)]),
    });
    let limit = size_limit(&request, &snapshot.limits, meta.transport).min(out.len());
    let room = limit - opt.as_ref().map_or(0, Opt::length);
    let mut reply = Reply {
        writer: Writer::new(out, question_end, room, &mut scratch.suffixes),
        rcode: Rcode::NOERROR,
        authoritative: false,
        truncated: false,
        scope: 0,
        tailored: false,
        wish: Wish {
            dnssec_ok: request.edns.is_some_and(|edns| edns.dnssec_ok),
            compact_ok: request.edns.is_some_and(|edns| edns.compact_ok),
            datagram: meta.transport.is_datagram(),
            now: meta.now,
        },
        bench: Some(&mut scratch.bench),
        signer: None,
    };
    match (request.fault, request.question) {
        (Some(fault), _) => reply.rcode = fault,
        (None, None) => reply.rcode = Rcode::FORMERR,
        (None, Some(asked)) => {
            let client = Client {
                source: meta.source.ip().to_canonical(),
                subnet: request.edns.and_then(|edns| edns.subnet?.client()),
            };
            let name = scratch.qname.as_slice();
            match refusal(asked) {
                Some(rcode) => reply.rcode = rcode,
                None => answer::answer(
                    snapshot,
                    name,
                    asked.rtype,
                    &client,
                    &mut scratch.tailored,
                    &mut scratch.chain,
                    &mut reply,
                ),
            }
        }
    }
    scratch.summary = Summary {
        rcode: reply.rcode,
        rtype: request.question.map_or(0, |asked| asked.rtype),
        subnet: request.edns.is_some_and(|edns| edns.subnet.is_some()),
        tailored: reply.tailored,
        truncated: reply.truncated,
    };
    let (length, counts) = (reply.writer.length(), reply.writer.counts());
    let signed = reply.signer.is_some();
    let (rcode, authoritative, truncated, scope) = (
        reply.rcode,
        reply.authoritative,
        reply.truncated,
        reply.scope,
    );

    if let Some(opt) = &mut opt {
        opt.compact_ok = opt.edns.compact_ok && signed;
    }
    let header = Header {
        rcode,
        authoritative,
        truncated,
        counts,
        opt: opt.is_some(),
    };
    header.write(&request, out);
    Outcome::Send(opt.map_or(length, |opt| {
        opt.write(rcode, scope, &snapshot.limits, out, length)
    }))
}

/// Questions that are turned down whatever the name.
fn refusal(asked: Asked) -> Option<Rcode> {
    const IN: u16 = 1;
    match (asked.class, asked.rtype) {
        // Transfers are off until zones can be configured for them.
        (IN, rtype::AXFR | rtype::IXFR) => Some(Rcode::REFUSED),
        (IN, rtype::MAILA | rtype::MAILB) => Some(Rcode::NOTIMP),
        // Never types of a question (RFC 6891 §6.1.1, RFC 8945 §4.2, RFC 9824 §3.5).
        (IN, rtype::OPT | rtype::TSIG | rtype::TKEY | rtype::NXNAME) => Some(Rcode::FORMERR),
        (IN, _) => None,
        _ => Some(Rcode::REFUSED),
    }
}

fn size_limit(request: &Request, limits: &Limits, transport: Transport) -> usize {
    let limit = match request.edns {
        _ if !transport.is_datagram() => u16::MAX,
        None => PLAIN_PAYLOAD,
        Some(edns) => edns.payload.min(limits.udp_payload).max(PLAIN_PAYLOAD),
    };
    usize::from(limit)
}
