//! The one door: query bytes in, response bytes out, the same for every transport.

use std::sync::Arc;

use crate::admission::{self, Standing};
use crate::answer;
use crate::chaos::{self, CHAOS};
use crate::dnssec::Wish;
use crate::ede::{self, ExtendedError};
use crate::envelope::{Ending, Header, OPT_MAX, Opt};
use crate::express::{self, Express};
use crate::meta::{Meta, Transport};
use crate::operation::{self, Operation};
use crate::rate::RateState;
use crate::reply::Reply;
use crate::request::{Asked, HEADER, Request};
use crate::scratch::Scratch;
use crate::snapshot::{Limits, PLAIN_PAYLOAD, Snapshot};
use crate::subnet::Subnet;
use crate::summary::{AnswerClass, Summary};
use crate::tailor::Client;
use crate::transfer::Sending;
use crate::tsig::Exchange;
use crate::writer::Writer;
use crate::{name, rcode::Rcode, rtype};

/// Header, longest question and OPT: every answer has room for these.
const ROOM_MIN: usize = HEADER + name::NAME_MAX + 4 + OPT_MAX;

/// What to do with a query.
#[derive(Debug)]
pub enum Outcome {
    /// The first n octets of the output are the answer.
    Send(usize),
    /// Say nothing.
    Drop(DropReason),
    /// The answer has many messages: a zone transfer over a stream.
    Transfer(Box<Sending>),
}

/// Why a query gets no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DropReason {
    /// Shorter than a header: there is no identifier to answer to.
    TooShort,
    /// It is an answer itself; answering would let two servers talk for ever.
    IsResponse,
    /// Its source is the very address it was sent to, or a port of services that answer whatever they get.
    NoClient,
    /// Its source has had as many answers as a datagram's source may have.
    RateLimited,
    /// The output buffer cannot hold the smallest answer; give it 512 octets or more.
    NoRoom,
}

/// Answers one query into `out`, which should hold 65,535 octets for streams and the payload limit for UDP.
///
/// Never panics and, once `scratch` is warm, never allocates, but for transfers, NOTIFY and signed queries.
pub fn respond(
    snapshot: &Snapshot,
    query: &[u8],
    meta: &Meta,
    scratch: &mut Scratch,
    out: &mut [u8],
) -> Outcome {
    (scratch.summary, scratch.notified) = (Summary::default(), false);
    if admission::is_no_client(meta) {
        return Outcome::Drop(DropReason::NoClient);
    }
    let mut request = Request::new();
    if let Err(reason) = request.read(query, &mut scratch.qname) {
        return Outcome::Drop(reason);
    }
    if out.len() < ROOM_MIN {
        return Outcome::Drop(DropReason::NoRoom);
    }
    let standing = Standing::of(snapshot, &mut request, meta, &mut scratch.limiter);
    if standing.rate == RateState::Dropped {
        scratch.summary.cookie = standing.cookie;
        scratch.summary.rate = standing.rate;
        return Outcome::Drop(DropReason::RateLimited);
    }
    let mut consulted = None;
    if let Some(asked) = express::question(&request, &standing)
        && !snapshot.limits.composes_all
    {
        let express = Express {
            snapshot,
            query,
            request: &request,
            standing: &standing,
            meta,
            asked,
        };
        match express.answer(scratch, out) {
            Ok(length) => return Outcome::Send(length),
            Err(verdict) => consulted = verdict,
        }
    }
    if request.is_notify() && !snapshot.transfers.hears_notify() {
        request.fault = Some(Rcode::NOTIMP);
    }
    let exchange = operation::check_signature(snapshot, query, &mut request, meta);

    let question_end = request.question.map_or(HEADER, |asked| asked.end);
    out[..HEADER].fill(0);
    out[HEADER..question_end].copy_from_slice(&query[HEADER..question_end]);
    let cookie = standing.cookie_of_answer;
    let edns = request.edns.as_ref();
    let opt = edns.map(|edns| Opt::new(edns, snapshot, meta.transport, cookie));
    // Question, OPT and signature go out whole, even where the client takes less than its own query was.
    let reserved = opt.as_ref().map_or(0, Opt::reserved);
    let signature = exchange.as_ref().map_or(0, Exchange::length);
    let least = question_end + reserved + signature;
    let limit = size_limit(&request, &snapshot.limits, meta.transport).max(least);
    let limit = limit.min(out.len());
    if limit < least {
        return Outcome::Drop(DropReason::NoRoom);
    }
    let qname = &scratch.qname;
    let name = qname.as_slice();
    let key = exchange.as_ref().and_then(Exchange::key).map(Arc::as_ref);
    let operation = operation::of(snapshot, query, &request, name, key, meta);
    if let Operation::Transfer(grant) = operation {
        scratch.summary = Summary {
            rtype: request.question.map_or(0, |asked| asked.rtype),
            class: AnswerClass::Data,
            zone_octets: Some(name.len() as u8),
            ..Summary::default()
        };
        let opt = opt.map_or_else(Vec::new, |opt| opt.of_transfer(grant.zone()));
        return grant.begin(opt, exchange, meta, &mut out[..limit]);
    }

    let limit = limit - signature;
    let mut writer = Writer::new(out, question_end, limit - reserved, &mut scratch.suffixes);
    writer.composes_all = snapshot.limits.composes_all;
    let mut reply = Reply::new(writer, wish(&request, meta), &mut scratch.bench);
    match (request.fault, request.question) {
        (Some(fault), _) => reply.fail(fault),
        (None, None) => standing.answer_nothing(&mut reply),
        (None, Some(_)) if standing.rate == RateState::Slipped => reply.truncate(),
        (None, Some(asked)) => {
            if let Some((rcode, error)) = operation.refusal().or_else(|| refusal(asked)) {
                reply.turn_down(rcode, error);
            } else if matches!(operation, Operation::Acknowledge) {
                (scratch.notified, reply.authoritative) = (true, true);
            } else if asked.class == CHAOS {
                chaos::answer(&snapshot.identity, name, asked.rtype, &mut reply);
            } else {
                let subnet = edns.and_then(|edns| edns.subnet.as_ref());
                let client = Client {
                    source: standing.source,
                    subnet: subnet.and_then(Subnet::client),
                };
                let (tailored, chain) = (&mut scratch.tailored, &mut scratch.chain);
                let rtype = asked.rtype;
                answer::answer(
                    snapshot, qname, rtype, &client, consulted, tailored, chain, &mut reply,
                );
            }
        }
    }
    let size = reply.writer.length() + reserved;
    standing.require_cookie(snapshot, meta, size, &mut reply);
    scratch.summary = Summary::of(&request, &standing, &reply);

    let (length, out) = finish(reply, &request, opt, limit);
    let Some(mut exchange) = exchange else {
        return Outcome::Send(length);
    };
    let signed = exchange.finish(out, length, meta.now);
    signed.map_or(Outcome::Drop(DropReason::NoRoom), Outcome::Send)
}

/// Puts header and OPT record around the records; returns the length of the message, and the output.
fn finish<'b>(
    reply: Reply<'b>,
    request: &Request<'_>,
    opt: Option<Opt<'_>>,
    limit: usize,
) -> (usize, &'b mut [u8]) {
    let header = Header {
        rcode: reply.rcode,
        authoritative: reply.authoritative,
        truncated: reply.truncated,
        counts: reply.writer.counts(),
        opt: opt.is_some(),
    };
    let ending = Ending {
        rcode: reply.rcode,
        scope: reply.scope,
        compact: reply.wish.compact_ok && reply.signer.is_some(),
        zone: reply.zone,
        error: reply.error,
    };
    let length = reply.writer.length();
    let out = reply.writer.into_output();
    header.write(request, out);
    let length = opt.map_or(length, |opt| opt.write(&ending, out, length, limit));
    (length, out)
}

fn wish(request: &Request<'_>, meta: &Meta) -> Wish {
    let edns = request.edns.as_ref();
    Wish {
        dnssec_ok: edns.is_some_and(|edns| edns.dnssec_ok),
        compact_ok: edns.is_some_and(|edns| edns.compact_ok),
        datagram: meta.transport.is_datagram(),
        now: meta.now,
    }
}

/// Questions that are turned down whatever the name.
fn refusal(asked: Asked) -> Option<(Rcode, Option<ExtendedError>)> {
    const IN: u16 = 1;
    let error = |code| Some(ExtendedError::bare(code));
    match (asked.class, asked.rtype) {
        // Never types of a question (RFC 6891 §6.1.1, RFC 8945 §4.2, RFC 9824 §3.5).
        (_, rtype::OPT | rtype::TSIG | rtype::TKEY | rtype::NXNAME) => {
            Some((Rcode::FORMERR, error(ede::INVALID_QUERY_TYPE)))
        }
        (IN, rtype::MAILA | rtype::MAILB) => Some((Rcode::NOTIMP, error(ede::NOT_SUPPORTED))),
        (IN | CHAOS, _) => None,
        _ => Some((Rcode::REFUSED, error(ede::NOT_SUPPORTED))),
    }
}

pub(crate) fn size_limit(request: &Request<'_>, limits: &Limits, transport: Transport) -> usize {
    let limit = match &request.edns {
        _ if !transport.is_datagram() => u16::MAX,
        None => PLAIN_PAYLOAD,
        Some(edns) => edns.payload.min(limits.udp_payload.max(PLAIN_PAYLOAD)),
    };
    usize::from(limit)
}
