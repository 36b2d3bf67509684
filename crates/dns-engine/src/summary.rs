//! Facts about an answer that counters want.

use crate::cookie::CookieState;
use crate::rate::RateState;
use crate::rcode::Rcode;

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
