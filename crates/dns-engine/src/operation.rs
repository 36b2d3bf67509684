//! What a query asks for besides an answer: a zone, or to be believed that a zone has changed.

use crate::ede::{self, ExtendedError};
use crate::meta::Meta;
use crate::request::{Asked, Request};
use crate::snapshot::Snapshot;
use crate::transfer::{self, Grant};
use crate::tsig::{Exchange, Key, Malformed};
use crate::{Rcode, notify, rtype};

/// What is to be done with a query.
pub(crate) enum Operation {
    /// Look the answer up.
    Query,
    /// Say that the NOTIFY was understood.
    Acknowledge,
    /// Send a zone.
    Transfer(Grant),
    /// Say no.
    TurnDown(Rcode, Option<ExtendedError>),
}

impl Operation {
    /// The no, if that is it.
    pub(crate) fn refusal(&self) -> Option<(Rcode, Option<ExtendedError>)> {
        match self {
            Self::TurnDown(rcode, error) => Some((*rcode, *error)),
            _ => None,
        }
    }
}

/// Checks the signature of a signed query; what is wrong with it becomes the query's fault.
pub(crate) fn check_signature(
    snapshot: &Snapshot,
    query: &[u8],
    request: &mut Request<'_>,
    meta: &Meta,
) -> Option<Exchange> {
    let checked = Exchange::check(&snapshot.tsig, query, request.tsig?, meta.now);
    match &checked {
        Err(Malformed) => request.fault = Some(Rcode::FORMERR),
        Ok(exchange) if exchange.error() != 0 => request.fault = Some(Rcode::NOTAUTH),
        Ok(_) => {}
    }
    checked.ok()
}

/// Tells what a sound question for a lower-cased name asks for; `key` is what it is signed with.
pub(crate) fn of(
    snapshot: &Snapshot,
    query: &[u8],
    request: &Request<'_>,
    name: &[u8],
    key: Option<&Key>,
    meta: &Meta,
) -> Operation {
    let (None, Some(asked)) = (request.fault, request.question) else {
        return Operation::Query;
    };
    if request.is_notify() {
        return match notify::judge(snapshot, asked, name, key, meta) {
            Ok(()) => Operation::Acknowledge,
            Err(rcode) => Operation::TurnDown(rcode, reason(rcode)),
        };
    }
    if !is_transfer(asked) {
        return Operation::Query;
    }
    match transfer::judge(snapshot, query, asked, name, key, meta) {
        Ok(grant) => Operation::Transfer(grant),
        Err(rcode) => Operation::TurnDown(rcode, reason(rcode)),
    }
}

fn is_transfer(asked: Asked) -> bool {
    const IN: u16 = 1;
    asked.class == IN && matches!(asked.rtype, rtype::AXFR | rtype::IXFR)
}

fn reason(rcode: Rcode) -> Option<ExtendedError> {
    let code = match rcode {
        Rcode::REFUSED => ede::PROHIBITED,
        Rcode::NOTAUTH => ede::NOT_AUTHORITATIVE,
        Rcode::SERVFAIL => ede::NOT_READY,
        Rcode::FORMERR => ede::NOT_SUPPORTED,
        _ => return None,
    };
    Some(ExtendedError::bare(code))
}
