//! The one door: query bytes in, response bytes out, the same for every transport.

use std::net::IpAddr;
use std::sync::Arc;

use crate::answer;
use crate::chaos::{self, CHAOS};
use crate::cookie::{COOKIE, CookieState};
use crate::dnssec::Wish;
use crate::ede::{self, ExtendedError};
use crate::envelope::{Ending, Header, OPT_MAX, Opt};
use crate::meta::{Meta, Transport};
use crate::operation::{self, Operation};
use crate::rate::RateState;
use crate::reply::Reply;
use crate::request::{self, Asked, HEADER, Request};
use crate::scratch::Scratch;
use crate::snapshot::{Limits, PLAIN_PAYLOAD, Snapshot};
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
    if is_no_client(meta) {
        return Outcome::Drop(DropReason::NoClient);
    }
    let mut request = match request::read(query, &mut scratch.qname) {
        Ok(request) => request,
        Err(reason) => return Outcome::Drop(reason),
    };
    if out.len() < ROOM_MIN {
        return Outcome::Drop(DropReason::NoRoom);
    }
    let source = meta.source.ip().to_canonical();
    let (cookie, cookie_of_answer) = read_cookie(snapshot, &mut request, source, meta);

    let rate = match &snapshot.rate {
        Some(limit) if meta.transport.is_datagram() && cookie != CookieState::Valid => {
            scratch.limiter.judge(limit, source, meta.now_ms)
        }
        _ => RateState::Unlimited,
    };
    if rate == RateState::Dropped {
        scratch.summary.cookie = cookie;
        scratch.summary.rate = rate;
        return Outcome::Drop(DropReason::RateLimited);
    }

    if request.is_notify() && !snapshot.transfers.hears_notify() {
        request.fault = Some(Rcode::NOTIMP);
    }
    let mut exchange = operation::check_signature(snapshot, query, &mut request, meta);

    let question_end = request.question.map_or(HEADER, |asked| asked.end);
    out[..HEADER].fill(0);
    out[HEADER..question_end].copy_from_slice(&query[HEADER..question_end]);
    let opt = request
        .edns
        .as_ref()
        .map(|edns| Opt::new(edns, snapshot, meta.transport, cookie_of_answer));
    // Question, OPT and signature go out whole, even where the client takes less than its own query was.
    let reserved = opt.as_ref().map_or(0, Opt::reserved);
    let signature = exchange.as_ref().map_or(0, Exchange::length);
    let least = question_end + reserved + signature;
    let limit = size_limit(&request, &snapshot.limits, meta.transport).max(least);
    let limit = limit.min(out.len());
    if limit < least {
        return Outcome::Drop(DropReason::NoRoom);
    }
    let name = scratch.qname.as_slice();
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
    let room = limit - reserved;
    let wish = Wish {
        dnssec_ok: request.edns.is_some_and(|edns| edns.dnssec_ok),
        compact_ok: request.edns.is_some_and(|edns| edns.compact_ok),
        datagram: meta.transport.is_datagram(),
        now: meta.now,
    };
    let mut writer = Writer::new(out, question_end, room, &mut scratch.suffixes);
    writer.composes_all = snapshot.limits.composes_all;
    let mut reply = Reply::new(writer, wish, &mut scratch.bench);
    match (request.fault, request.question) {
        (Some(fault), _) => reply.fail(fault),
        (None, Some(_)) if rate == RateState::Slipped => reply.truncate(),
        (None, Some(asked)) => {
            let client = Client {
                source,
                subnet: request.edns.as_ref().and_then(|edns| edns.subnet?.client()),
            };
            let turned_down = match operation {
                Operation::TurnDown(rcode, error) => Some((rcode, error)),
                _ => refusal(asked),
            };
            match turned_down {
                Some((rcode, error)) => reply.turn_down(rcode, error),
                None if matches!(operation, Operation::Acknowledge) => {
                    scratch.notified = true;
                    reply.authoritative = true;
                }
                None if asked.class == CHAOS => {
                    chaos::answer(&snapshot.identity, name, asked.rtype, &mut reply);
                }
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
        // Whoever asks nothing asks for a cookie (RFC 7873 §5.4).
        (None, None) => match cookie {
            CookieState::None => reply.fail(Rcode::FORMERR),
            CookieState::Bad => reply.fail(Rcode::BADCOOKIE),
            CookieState::ClientOnly | CookieState::Valid => reply.fail(Rcode::NOERROR),
        },
    }
    if let Some(Some(octets)) = snapshot
        .cookies
        .as_ref()
        .map(|cookies| cookies.required_above)
        && meta.transport.is_datagram()
        && cookie != CookieState::Valid
        && reply.writer.length() + limit - room > octets.into()
    {
        ask_for_cookie(cookie, &mut reply);
    }
    scratch.summary = Summary {
        cookie,
        rate,
        ..summarise(&request, &reply)
    };

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
    header.write(&request, out);
    let length = opt.map_or(length, |opt| opt.write(&ending, out, length, limit));
    let Some(exchange) = &mut exchange else {
        return Outcome::Send(length);
    };
    let signed = exchange.finish(out, length, meta.now);
    signed.map_or(Outcome::Drop(DropReason::NoRoom), Outcome::Send)
}

/// True if nobody who wants an answer can have asked: our own socket, or a service that would answer our
/// answer for ever (echo, daytime, quotation, chargen, time). Port 0 cannot be answered.
fn is_no_client(meta: &Meta) -> bool {
    let port = meta.source.port();
    let service = matches!(port, 0 | 7 | 13 | 17 | 19 | 37);
    let ourselves = port == meta.local.port() && meta.source == meta.local;
    meta.transport.is_datagram() && (service || ourselves)
}

/// What the query's cookie proves, and the one of the answer. An option of wrong length is a fault.
fn read_cookie(
    snapshot: &Snapshot,
    request: &mut Request<'_>,
    source: IpAddr,
    meta: &Meta,
) -> (CookieState, Option<[u8; COOKIE]>) {
    let Some(edns) = &request.edns else {
        return (CookieState::None, None);
    };
    let mut fault = edns.fault(meta.transport);
    let mut read = (CookieState::None, None);
    if let (Some(cookies), Some(option)) = (&snapshot.cookies, edns.cookie) {
        match cookies.check(option, source, meta.now) {
            Some(checked) => read = (checked.state, Some(checked.answer)),
            None => fault = Some(Rcode::FORMERR),
        }
    }
    request.fault = request.fault.or(fault);
    read
}

/// Takes back an answer that is too large for a client that has proved nothing.
fn ask_for_cookie(cookie: CookieState, reply: &mut Reply<'_>) {
    if matches!(reply.rcode, Rcode::FORMERR | Rcode::NOTIMP | Rcode::BADVERS) {
        return;
    }
    reply.truncate();
    if cookie != CookieState::None {
        reply.truncated = false;
        reply.fail(Rcode::BADCOOKIE);
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

fn size_limit(request: &Request<'_>, limits: &Limits, transport: Transport) -> usize {
    let limit = match &request.edns {
        _ if !transport.is_datagram() => u16::MAX,
        None => PLAIN_PAYLOAD,
        Some(edns) => edns.payload.min(limits.udp_payload.max(PLAIN_PAYLOAD)),
    };
    usize::from(limit)
}

fn summarise(request: &Request<'_>, reply: &Reply<'_>) -> Summary {
    let class = match (reply.rcode, reply.writer.counts()) {
        (Rcode::NXDOMAIN, _) => AnswerClass::NameError,
        (Rcode::NOERROR, _) if reply.truncated => AnswerClass::Error,
        (Rcode::NOERROR, _) if reply.no_name => AnswerClass::NameError,
        (Rcode::NOERROR, [1..=u16::MAX, ..]) => AnswerClass::Data,
        (Rcode::NOERROR, _) if reply.authoritative => AnswerClass::NoData,
        (Rcode::NOERROR, [_, 1..=u16::MAX, _]) => AnswerClass::Referral,
        _ => AnswerClass::Error,
    };
    let edns = request.edns.as_ref();
    Summary {
        rcode: reply.rcode,
        rtype: request.question.map_or(0, |asked| asked.rtype),
        class,
        subnet: edns.is_some_and(|edns| edns.subnet.is_some()),
        dnssec_ok: reply.wish.dnssec_ok,
        tailored: reply.tailored,
        truncated: reply.truncated,
        extended_error: reply.error.map(|error| error.code),
        zone_octets: reply.zone.map(|zone| zone.origin().len() as u8),
        ..Summary::default()
    }
}
