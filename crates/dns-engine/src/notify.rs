//! "The zone has changed" (RFC 1996): composed for secondaries, and what their answers say.

use std::sync::Arc;

use crate::Rcode;
use crate::message::Reader;
use crate::meta::Meta;
use crate::request::Asked;
use crate::rrset::RrSet;
use crate::rtype;
use crate::snapshot::Snapshot;
use crate::tsig::{self, Key, Verifier};

/// The opcode of NOTIFY (RFC 1996 §3.2).
pub(crate) const OPCODE: u8 = 4;
/// Opcode NOTIFY and AA (RFC 1996 §3.7).
const FLAGS: u8 = OPCODE << 3 | 0x04;
const CLASS_IN: [u8; 2] = [0, 1];

/// A NOTIFY message, and what tells its answer.
pub struct Notification {
    octets: Vec<u8>,
    origin: Box<[u8]>,
    id: u16,
    verifier: Option<Verifier>,
}

impl Notification {
    /// Composes the message for a zone by its wire name, with its SOA record as a hint (RFC 1996 §3.7);
    /// with a key it is signed. `now` is Unix seconds.
    pub fn new(origin: &[u8], soa: &RrSet, id: u16, key: Option<&Arc<Key>>, now: u64) -> Self {
        let data = soa.rdatas().next().unwrap_or_default();
        let mut octets = id.to_be_bytes().to_vec();
        octets.extend([FLAGS, 0, 0, 1, 0, 1, 0, 0, 0, 0]);
        octets.extend(origin);
        octets.extend(rtype::SOA.to_be_bytes());
        octets.extend(CLASS_IN);
        octets.extend([0xC0, 12]);
        octets.extend(rtype::SOA.to_be_bytes());
        octets.extend(CLASS_IN);
        octets.extend(soa.ttl.to_be_bytes());
        octets.extend((data.len() as u16).to_be_bytes());
        octets.extend(data);
        let verifier = key.map(|key| tsig::sign(key, &mut octets, now));
        Self {
            octets,
            origin: origin.into(),
            id,
            verifier,
        }
    }

    /// The message to send, as often as it takes.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What a datagram says, if it answers this message; `None` for anything else, so that a forged one
    /// does not end the waiting for the true one.
    pub fn answered(&self, datagram: &[u8], now: u64) -> Option<Rcode> {
        let mut reader = Reader::new(datagram);
        let header = reader.header()?;
        let ours = header.is_response && header.opcode == OPCODE && header.id == self.id;
        if !ours {
            return None;
        }
        if header.counts[0] > 0 {
            let asked = reader.question()?;
            if !asked.name.eq_ignore_ascii_case(&self.origin) || asked.rtype != rtype::SOA {
                return None;
            }
        }
        // A refusal may come unsigned, as the other side may not know the key.
        if header.rcode == 0
            && let Some(verifier) = &self.verifier
        {
            verifier.clone().check(datagram, now).ok()?;
        }
        Some(Rcode(header.rcode.into()))
    }
}

/// Judges a NOTIFY for a lower-cased name: the zone is asked for only if one of its primaries says so.
///
/// FORMERR: not about a SOA record. NOTAUTH: the zone is not served here. REFUSED: not from a primary of
/// it (RFC 1996 §3.10).
pub(crate) fn judge(
    snapshot: &Snapshot,
    asked: Asked,
    name: &[u8],
    key: Option<&Key>,
    meta: &Meta,
) -> Result<(), Rcode> {
    if (asked.rtype, asked.class.to_be_bytes()) != (rtype::SOA, CLASS_IN) {
        return Err(Rcode::FORMERR);
    }
    let policy = snapshot.transfers.zone(name).ok_or(Rcode::NOTAUTH)?;
    let source = meta.source.ip();
    let heard = policy
        .notified_by
        .iter()
        .any(|rule| rule.holds(source, key));
    if heard { Ok(()) } else { Err(Rcode::REFUSED) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsig::Algorithm;
    use crate::zonefile;

    const NOW: u64 = 1_800_000_000;

    fn notification(key: Option<&Arc<Key>>) -> Notification {
        let text = "$ORIGIN Example.\n@ 60 SOA ns m 7 2 3 4 5\n@ 60 NS n.o.";
        let zone = zonefile::parse("t", text, None).unwrap();
        Notification::new(zone.origin(), zone.soa(), 0xABCD, key, NOW)
    }

    /// The answer a server would give: the question back, without records.
    fn answer(octets: &[u8], rcode: u8) -> Vec<u8> {
        let mut answer = octets[..12 + 9 + 4].to_vec();
        answer[2] |= 0x80;
        answer[3] = rcode;
        answer[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        answer
    }

    #[test]
    fn says_which_zone_changed_and_to_what() {
        let message = hickory_proto::op::Message::from_vec(notification(None).octets()).unwrap();
        assert_eq!(message.metadata.op_code, hickory_proto::op::OpCode::Notify);
        assert!(message.metadata.authoritative);
        assert_eq!(message.queries[0].to_string(), "example. IN SOA");
        assert_eq!(
            message.answers[0].to_string(),
            "example. 60 IN SOA ns.Example. m.Example. 7 2 3 4 5"
        );
    }

    #[test]
    fn knows_its_answer() {
        let sent = notification(None);
        let good = answer(sent.octets(), 0);
        assert_eq!(sent.answered(&good, NOW), Some(Rcode::NOERROR));
        let refused = answer(sent.octets(), 5);
        assert_eq!(sent.answered(&refused, NOW), Some(Rcode::REFUSED));
        for (at, octet) in [(0, 0), (2, 0x24), (2, 0x84), (13, b'x'), (22, 1)] {
            let mut other = good.clone();
            other[at] = octet;
            assert_eq!(sent.answered(&other, NOW), None, "{at}");
        }
        assert_eq!(sent.answered(&good[..20], NOW), None);
    }

    #[test]
    fn with_a_key_only_a_signed_answer_counts_as_success() {
        let key = Arc::new(Key::new(b"\x01k\0", Algorithm::HmacSha256, b"secret").unwrap());
        let sent = notification(Some(&key));
        assert_eq!(sent.answered(&answer(sent.octets(), 0), NOW), None);
        assert_eq!(
            sent.answered(&answer(sent.octets(), 9), NOW),
            Some(Rcode::NOTAUTH)
        );
    }
}
