//! Who gets what: a question for a transfer is judged, and the transfer prepared or turned down.

use std::sync::Arc;

use super::is_newer;
use super::sending::{Content, Frame, Sending};
use crate::Rcode;
use crate::message::Reader;
use crate::meta::{Meta, Transport};
use crate::request::{Asked, HEADER};
use crate::respond::{DropReason, Outcome};
use crate::rtype;
use crate::snapshot::Snapshot;
use crate::tsig::{Exchange, Key};
use crate::zone::Zone;

/// A transfer that may begin.
pub(crate) struct Grant {
    zone: Arc<Zone>,
    content: Content,
    head: [u8; 4],
    question: Box<[u8]>,
}

/// Judges a question of type AXFR or IXFR for a lower-cased name.
///
/// NOTAUTH: the zone is not served here (RFC 5936 §2.2.1). SERVFAIL: it is, but there is nothing to
/// send just now. REFUSED: no rule allows it. FORMERR: AXFR where only one message can be sent, which
/// no RFC defines (RFC 5936 §4.2), or IXFR that does not say which version the client has.
pub(crate) fn judge(
    snapshot: &Snapshot,
    query: &[u8],
    asked: Asked,
    name: &[u8],
    key: Option<&Key>,
    meta: &Meta,
) -> Result<Grant, Rcode> {
    let Some(zone) = snapshot.zones.shared(name) else {
        let withheld = snapshot.zones.is_withheld(name);
        return Err(if withheld {
            Rcode::SERVFAIL
        } else {
            Rcode::NOTAUTH
        });
    };
    let policy = snapshot.transfers.zone(name).ok_or(Rcode::REFUSED)?;
    let source = meta.source.ip();
    if !policy.provide.iter().any(|rule| rule.holds(source, key)) {
        return Err(Rcode::REFUSED);
    }
    let content = if asked.rtype == rtype::IXFR {
        let serial = client_serial(query, asked.end, name).ok_or(Rcode::FORMERR)?;
        if is_newer(zone.serial(), serial) {
            let steps = policy.journal.since(serial, zone);
            steps.map_or(Content::Whole, Content::Steps)
        } else {
            Content::Soa
        }
    } else {
        Content::Whole
    };
    if is_one_message(meta.transport) && asked.rtype == rtype::AXFR {
        return Err(Rcode::FORMERR);
    }
    // Identifier and RD are the client's; QR and AA are set (RFC 5936 §2.2.1).
    let &[id0, id1, flags, ..] = query.first_chunk::<HEADER>().ok_or(Rcode::FORMERR)?;
    Ok(Grant {
        zone: Arc::clone(zone),
        content,
        head: [id0, id1, 0x84 | flags & 0x01, 0],
        question: query.get(HEADER..asked.end).unwrap_or_default().into(),
    })
}

/// The serial in the authority section of an IXFR query (RFC 1995 §3).
fn client_serial(query: &[u8], question_end: usize, origin: &[u8]) -> Option<u32> {
    let header = Reader::new(query).header()?;
    if header.counts[1..3] != [0, 1] {
        return None;
    }
    let record = Reader::from(query, question_end).record()?;
    let numbers = record.data.last_chunk::<20>()?;
    let is_soa = record.rtype == rtype::SOA && record.owner.eq_ignore_ascii_case(origin);
    is_soa.then(|| u32::from_be_bytes([numbers[0], numbers[1], numbers[2], numbers[3]]))
}

impl Grant {
    /// The zone that is granted.
    pub(crate) fn zone(&self) -> &Zone {
        &self.zone
    }

    /// Begins the transfer. Over a stream it goes on by itself. In one message come the differences if
    /// they fit, else the SOA record alone, so that the client comes back over TCP (RFC 1995 §2).
    pub(crate) fn begin(
        self,
        opt: Vec<u8>,
        exchange: Option<Exchange>,
        meta: &Meta,
        out: &mut [u8],
    ) -> Outcome {
        let frame = Frame {
            head: self.head,
            question: self.question,
            opt,
            signer: exchange.and_then(Exchange::into_signer),
            now: meta.now,
        };
        if !is_one_message(meta.transport) {
            let sending = Sending::new(self.zone, self.content, frame);
            return Outcome::Transfer(Box::new(sending));
        }
        if let Content::Steps(_) = self.content {
            let zone = Arc::clone(&self.zone);
            let mut sending = Sending::new(zone, self.content, frame.clone());
            if let (Some(length), true) = (sending.next(out), sending.is_done()) {
                return Outcome::Send(length);
            }
        }
        let length = Sending::new(self.zone, Content::Soa, frame).next(out);
        length.map_or(Outcome::Drop(DropReason::NoRoom), Outcome::Send)
    }
}

/// True where an answer is one message and no more.
fn is_one_message(transport: Transport) -> bool {
    matches!(transport, Transport::Udp | Transport::Https)
}
