//! Facts about an answer that counters want.

use crate::admission::Standing;
use crate::cookie::CookieState;
use crate::rate::RateState;
use crate::rcode::Rcode;
use crate::reply::Reply;
use crate::request::Request;

/// Facts about the last answer; see [`Scratch::summary`](crate::Scratch::summary). They hold for every transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    /// The response code.
    pub rcode: Rcode,
    /// The type asked; 0 if there was no readable question.
    pub rtype: u16,
    /// What kind of answer it is.
    pub class: AnswerClass,
    /// The query carried a client subnet.
    pub subnet: bool,
    /// The query had an OPT record with DO.
    pub dnssec_ok: bool,
    /// What the query's cookie proved.
    pub cookie: CookieState,
    /// What the rate limit said.
    pub rate: RateState,
    /// The tailor answered, not the zone.
    pub tailored: bool,
    /// The answer was cut (TC).
    pub truncated: bool,
    /// Code of the extended error that goes with the answer (RFC 8914), sent or not.
    pub extended_error: Option<u16>,
    /// Octets of the zone's name, which is the end of the name asked; see [`Scratch::zone`](crate::Scratch::zone).
    pub zone_octets: Option<u8>,
}

impl Summary {
    /// What a finished reply is.
    #[inline]
    pub(crate) fn of(request: &Request<'_>, standing: &Standing, reply: &Reply<'_>) -> Self {
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
        Self {
            rcode: reply.rcode,
            rtype: request.question.map_or(0, |asked| asked.rtype),
            class,
            subnet: edns.is_some_and(|edns| edns.subnet.is_some()),
            dnssec_ok: reply.wish.dnssec_ok,
            cookie: standing.cookie,
            rate: standing.rate,
            tailored: reply.tailored,
            truncated: reply.truncated,
            extended_error: reply.error.map(|error| error.code),
            zone_octets: reply.zone.map(|zone| zone.origin().len() as u8),
        }
    }
}

/// Kinds of answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum AnswerClass {
    /// There was none: the query was dropped.
    #[default]
    Silence,
    /// Records answer, an alias or a part of a chain among them.
    Data,
    /// The name exists, but not with this type (RFC 2308 §2.2).
    NoData,
    /// The name does not exist, also if the response code is NOERROR with a proof of that (RFC 9824 §3.1).
    NameError,
    /// Other servers are named.
    Referral,
    /// Any other response code, or nothing but the question, for want of space or of proof.
    Error,
}
