//! Class CHAOS: which server is this, and what does it run (RFC 4892)? Off until configured.

use crate::ede::{self, ExtendedError};
use crate::reply::Reply;
use crate::snapshot::Identity;
use crate::writer::QUESTION_POINTER;
use crate::{Rcode, rtype};

/// The class number.
pub(crate) const CHAOS: u16 = 3;

/// Longest text that is sent: one character-string.
const TEXT_MAX: usize = 255;
/// Pointer, type, class, TTL and length in front of the text.
const HEAD: usize = 12;

/// Answers a question of class CHAOS; `name` is lower-cased.
pub(crate) fn answer(identity: &Identity, name: &[u8], rtype: u16, reply: &mut Reply<'_>) {
    let known = match name {
        b"\x02id\x06server\0" | b"\x08hostname\x04bind\0" => &identity.id_server,
        b"\x07version\x06server\0" | b"\x07version\x04bind\0" => &identity.version,
        _ => &None,
    };
    let (Some(text), rtype::TXT | rtype::ANY) = (known, rtype) else {
        let error = ExtendedError::bare(ede::NOT_SUPPORTED);
        reply.turn_down(Rcode::REFUSED, Some(error));
        return;
    };
    let text = &text.as_bytes()[..text.len().min(TEXT_MAX)];
    let [q0, q1] = QUESTION_POINTER;
    let [t0, t1] = rtype::TXT.to_be_bytes();
    let [l0, l1] = (1 + text.len() as u16).to_be_bytes();
    let mut record = [0; HEAD + 1 + TEXT_MAX];
    // TTL 0: whoever asks again wants to know who answers now.
    record[..HEAD].copy_from_slice(&[q0, q1, t0, t1, 0, CHAOS as u8, 0, 0, 0, 0, l0, l1]);
    record[HEAD] = text.len() as u8;
    record[HEAD + 1..][..text.len()].copy_from_slice(text);
    reply.rcode = Rcode::NOERROR;
    reply.authoritative = true;
    let written = reply.writer.composed(&record[..HEAD + 1 + text.len()], 1);
    reply.truncated = written.is_err();
}
