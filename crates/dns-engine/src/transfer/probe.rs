//! "Which version do you have?": the question for a SOA record that a secondary asks before it asks for more
//! (RFC 1034 §4.3.5), and what the answer says.

use std::sync::Arc;

use super::TransferError;
use super::journal::serial_in;
use crate::Rcode;
use crate::message::Reader;
use crate::name;
use crate::rtype;
use crate::tsig::{self, Key, Unproven, Verifier};

const CLASS_IN: u16 = 1;

/// A question for the SOA record of a zone, and what tells its answer.
pub struct Probe {
    octets: Vec<u8>,
    origin: Box<[u8]>,
    id: u16,
    verifier: Option<Verifier>,
}

/// What a primary says about its version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Heard {
    /// It has this serial.
    Serial(u32),
    /// The answer did not fit: ask over a stream.
    Truncated,
}

impl Probe {
    /// Composes the question for a zone by its wire name; with a key it is signed, and so must be the answer.
    /// `now` is Unix seconds.
    pub fn new(origin: &[u8], id: u16, key: Option<&Arc<Key>>, now: u64) -> Self {
        let origin: Box<[u8]> = name::lowered(origin).into();
        let mut octets = id.to_be_bytes().to_vec();
        octets.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
        octets.extend(&*origin);
        octets.extend(rtype::SOA.to_be_bytes());
        octets.extend(CLASS_IN.to_be_bytes());
        let verifier = key.map(|key| tsig::sign(key, &mut octets, now));
        Self {
            octets,
            origin,
            id,
            verifier,
        }
    }

    /// The message to send, as often as it takes.
    pub fn octets(&self) -> &[u8] {
        &self.octets
    }

    /// What a message says, if it answers this question; `None` for anything else, so that a forged one does
    /// not end the waiting for the true one.
    pub fn answered(&self, message: &[u8], now: u64) -> Option<Result<Heard, TransferError>> {
        let mut reader = Reader::new(message);
        let header = reader.header()?;
        if !header.is_response || header.opcode != 0 || header.id != self.id {
            return None;
        }
        let asked = (header.counts[0] == 1).then(|| reader.question())??;
        let same = asked.name.eq_ignore_ascii_case(&self.origin)
            && (asked.rtype, asked.class) == (rtype::SOA, CLASS_IN);
        if !same {
            return None;
        }
        if let Some(verifier) = &self.verifier {
            match verifier.clone().check(message, now) {
                Ok(()) => {}
                Err(Unproven::Refused(error)) => return Some(Err(Unproven::Refused(error).into())),
                // A refusal may come unsigned, as the other side may not know the key.
                Err(Unproven::Unsigned) if header.rcode != 0 => {}
                Err(_) => return None,
            }
        }
        if header.rcode != 0 {
            let rcode = Rcode(header.rcode.into());
            return Some(Err(TransferError::Refused(rcode)));
        }
        if header.truncated {
            return Some(Ok(Heard::Truncated));
        }
        if !header.authoritative {
            return Some(Err(TransferError::NotAuthoritative));
        }
        let serial = self.serial(&mut reader, header.counts[1]);
        Some(serial.map(Heard::Serial).ok_or(TransferError::NoSoa))
    }

    fn serial(&self, reader: &mut Reader<'_>, answers: u16) -> Option<u32> {
        for _ in 0..answers {
            let record = reader.record()?;
            let owner = record.owner.eq_ignore_ascii_case(&self.origin);
            if owner && (record.rtype, record.class) == (rtype::SOA, CLASS_IN) {
                return serial_in(&record.data);
            }
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsig::Algorithm;
    use crate::{Meta, Outcome, Scratch, Snapshot, Transport, Zones, respond, zonefile};

    const NOW: u64 = 1_800_000_000;

    fn key(secret: &[u8]) -> Arc<Key> {
        Arc::new(Key::new(b"\x01k\0", Algorithm::HmacSha256, secret).unwrap())
    }

    /// What a server that knows this key answers.
    fn answer(probe: &Probe, known: &Arc<Key>) -> Vec<u8> {
        let text = "$ORIGIN Example.\n@ 60 SOA ns m 7 2 3 4 5\n@ 60 NS n.o.";
        let mut zones = Zones::new();
        zones
            .insert(zonefile::parse("t", text, None).unwrap())
            .unwrap();
        let mut snapshot = Snapshot::of_zones(zones);
        snapshot.tsig.insert(Arc::clone(known)).unwrap();
        let address = "127.0.0.1:5300".parse().unwrap();
        let meta = Meta {
            source: "127.0.0.1:5301".parse().unwrap(),
            local: address,
            transport: Transport::Udp,
            now: NOW,
            now_ms: 0,
        };
        let mut out = vec![0; 1232];
        match respond(
            &snapshot,
            probe.octets(),
            &meta,
            &mut Scratch::new(),
            &mut out,
        ) {
            Outcome::Send(length) => out.truncate(length),
            other => panic!("{other:?}"),
        }
        out
    }

    fn probe(key: Option<&Arc<Key>>) -> Probe {
        Probe::new(b"\x07example\0", 0xABCD, key, NOW)
    }

    #[test]
    fn the_answer_tells_the_serial() {
        let known = key(b"secret");
        for key in [None, Some(&known)] {
            let probe = probe(key);
            let answer = answer(&probe, &known);
            assert_eq!(probe.answered(&answer, NOW), Some(Ok(Heard::Serial(7))));
        }
    }

    #[test]
    fn what_is_not_the_answer_does_not_count() {
        let (known, other) = (key(b"secret"), key(b"other"));
        let plain = probe(None);
        let good = answer(&plain, &known);
        // Identifier, QR, opcode, a letter of the name, the type.
        for (at, octet) in [(0, 0), (2, 0x04), (2, 0xA4), (13, b'x'), (22, 1)] {
            let mut changed = good.clone();
            changed[at] = octet;
            assert_eq!(plain.answered(&changed, NOW), None, "{at}");
        }
        assert_eq!(plain.answered(&good[..20], NOW), None);
        let signed = probe(Some(&known));
        assert_eq!(signed.answered(&good, NOW), None, "not signed");
        let forged = answer(&probe(Some(&other)), &other);
        assert_eq!(signed.answered(&forged, NOW), None, "signed by another");
    }

    #[test]
    fn what_the_primary_does_not_like_is_told() {
        let (known, other) = (key(b"secret"), key(b"other"));
        let signed = probe(Some(&other));
        let badsig = Unproven::Refused(tsig::BADSIG).into();
        let answer_to_signed = answer(&signed, &known);
        assert_eq!(signed.answered(&answer_to_signed, NOW), Some(Err(badsig)));
        let plain = probe(None);
        let check = |at: usize, octet: u8, expected| {
            let mut changed = answer(&plain, &known);
            changed[at] = octet;
            assert_eq!(plain.answered(&changed, NOW), Some(expected));
        };
        let refused = TransferError::Refused(Rcode::REFUSED);
        check(3, 5, Err(refused));
        check(2, 0x86, Ok(Heard::Truncated));
        check(2, 0x80, Err(TransferError::NotAuthoritative));
        check(7, 0, Err(TransferError::NoSoa));
    }
}
