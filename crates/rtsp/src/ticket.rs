//! The handoff ticket: the first edge's signed, short-lived, single-use permission for one client to take named
//! descriptions from one other edge, and the client's proof that it holds the key the ticket names.

use std::collections::BTreeMap;

use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, Signer as _, SigningKey, VerifyingKey};
use serde::{Deserialize, Serialize};

/// Longest life of a ticket: a handoff that has not started by then is given up.
pub const LIFETIME_MS_MAX: u64 = 10_000;
/// Longest ticket text read; real ones have about 500 octets.
pub const TEXT_OCTETS_MAX: usize = 2_048;
/// Signatures over tickets and proofs start with different words, so that neither can pass as the other.
const TICKET_CONTEXT: &[u8] = b"signpost handoff ticket v1\0";
const PROOF_CONTEXT: &[u8] = b"signpost handoff proof v1\0";

/// What the first edge grants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ticket {
    /// The handoff this belongs to.
    pub handoff: String,
    /// Name of the edge that signed it.
    pub issuer: String,
    /// Name of the only edge that may accept it.
    pub audience: String,
    /// The title.
    pub title: String,
    /// The descriptions to be taken over.
    pub descriptions: Vec<u8>,
    /// The client's ephemeral Ed25519 key, base64url.
    pub client_key: String,
    /// First normal play time of the first description moved, 90 kHz ticks.
    pub first_npt: u64,
    /// When it ends, milliseconds since 1970.
    pub expires_ms: u64,
    /// Random, so that no two tickets are alike.
    pub nonce: String,
}

/// Why a ticket or proof is refused. Clients are only told "403"; this is for logs and metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    /// Not a ticket at all.
    #[error("not a ticket")]
    Malformed,
    /// The signature is not the issuer's.
    #[error("signature does not match")]
    Signature,
    /// Its time is over, or lies impossibly far ahead.
    #[error("expired or not yet valid")]
    Expired,
    /// It is meant for another edge.
    #[error("meant for another edge")]
    Audience,
    /// Nobody has announced this handoff here, or it is over.
    #[error("no such handoff is prepared")]
    Unknown,
    /// It was used before.
    #[error("used before")]
    Replayed,
    /// The client does not hold the key that the ticket names.
    #[error("client's proof does not match")]
    Proof,
    /// Too many live tickets are remembered; accepting more could mean accepting one twice.
    #[error("too many tickets in use")]
    Full,
}

impl Ticket {
    /// Signs the ticket: base64url of the JSON text followed by 64 octets of signature.
    pub fn seal(&self, key: &SigningKey) -> String {
        // Strings, numbers and a list of numbers always serialise.
        let mut bytes = serde_json::to_vec(self).unwrap_or_default();
        let signature = key.sign(&in_context(TICKET_CONTEXT, &[&bytes]));
        bytes.extend_from_slice(&signature.to_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// Reads a ticket without believing it: to find out who claims to have issued it.
    pub fn peek(text: &str) -> Result<Ticket, TicketError> {
        Ok(split(text)?.0)
    }

    /// Checks signature, audience and time. Single use is the business of [`Spent`].
    pub fn open(
        text: &str,
        issuer_key: &[u8; 32],
        audience: &str,
        now_ms: u64,
    ) -> Result<Ticket, TicketError> {
        let (ticket, signed, signature) = split(text)?;
        let key = VerifyingKey::from_bytes(issuer_key).map_err(|_| TicketError::Signature)?;
        key.verify_strict(&in_context(TICKET_CONTEXT, &[&signed]), &signature)
            .map_err(|_| TicketError::Signature)?;
        if ticket.audience != audience {
            return Err(TicketError::Audience);
        }
        if ticket.expires_ms <= now_ms || ticket.expires_ms - now_ms > LIFETIME_MS_MAX {
            return Err(TicketError::Expired);
        }
        Ok(ticket)
    }
}

/// The client's key and the proof made with it, over the edge's challenge and the ticket's text.
pub mod proof {
    use super::*;

    /// A public key as headers carry it.
    pub fn key_text(key: &VerifyingKey) -> String {
        URL_SAFE_NO_PAD.encode(key.as_bytes())
    }

    /// The reverse of [`key_text`]; weak keys, for which many signatures fit, are refused.
    pub fn parse_key(text: &str) -> Option<VerifyingKey> {
        let bytes: [u8; 32] = URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok()?;
        VerifyingKey::from_bytes(&bytes)
            .ok()
            .filter(|key| !key.is_weak())
    }

    /// What the client sends as `Handoff-Proof`.
    pub fn sign(key: &SigningKey, challenge: &str, ticket: &str) -> String {
        let message = in_context(PROOF_CONTEXT, &[challenge.as_bytes(), ticket.as_bytes()]);
        URL_SAFE_NO_PAD.encode(key.sign(&message).to_bytes())
    }

    /// Whether the proof was made with the key that the ticket names.
    pub fn verify(
        client_key: &str,
        challenge: &str,
        ticket: &str,
        proof: &str,
    ) -> Result<(), TicketError> {
        let key = parse_key(client_key).ok_or(TicketError::Proof)?;
        let bytes = URL_SAFE_NO_PAD
            .decode(proof)
            .map_err(|_| TicketError::Proof)?;
        let signature = Signature::from_slice(&bytes).map_err(|_| TicketError::Proof)?;
        let message = in_context(PROOF_CONTEXT, &[challenge.as_bytes(), ticket.as_bytes()]);
        key.verify_strict(&message, &signature)
            .map_err(|_| TicketError::Proof)
    }
}

/// The tickets used so far, kept until they expire by themselves, at most `capacity` of them.
#[derive(Debug)]
pub struct Spent {
    capacity: usize,
    /// (expiry, nonce): ordered by expiry, so that the old ones fall off in front.
    by_expiry: BTreeMap<(u64, String), ()>,
}

impl Spent {
    /// Remembers up to `capacity` live tickets.
    pub fn new(capacity: usize) -> Spent {
        Spent {
            capacity,
            by_expiry: BTreeMap::new(),
        }
    }

    /// Marks a ticket as used; the second time, or with no room left, it is refused.
    pub fn spend(&mut self, ticket: &Ticket, now_ms: u64) -> Result<(), TicketError> {
        while self
            .by_expiry
            .first_key_value()
            .is_some_and(|((expiry, _), ())| *expiry <= now_ms)
        {
            self.by_expiry.pop_first();
        }
        if ticket.expires_ms <= now_ms {
            return Err(TicketError::Expired);
        }
        let key = (ticket.expires_ms, ticket.nonce.clone());
        if self.by_expiry.contains_key(&key) {
            return Err(TicketError::Replayed);
        }
        if self.by_expiry.len() >= self.capacity {
            return Err(TicketError::Full);
        }
        self.by_expiry.insert(key, ());
        Ok(())
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        self.by_expiry.len()
    }

    /// Whether none is remembered.
    pub fn is_empty(&self) -> bool {
        self.by_expiry.is_empty()
    }
}

/// The text taken apart: the ticket, the octets that were signed, the signature.
fn split(text: &str) -> Result<(Ticket, Vec<u8>, Signature), TicketError> {
    if text.len() > TEXT_OCTETS_MAX {
        return Err(TicketError::Malformed);
    }
    let mut bytes = URL_SAFE_NO_PAD
        .decode(text)
        .map_err(|_| TicketError::Malformed)?;
    let length = bytes
        .len()
        .checked_sub(Signature::BYTE_SIZE)
        .ok_or(TicketError::Malformed)?;
    let signature = bytes.split_off(length);
    let signature = Signature::from_slice(&signature).map_err(|_| TicketError::Malformed)?;
    let ticket = serde_json::from_slice(&bytes).map_err(|_| TicketError::Malformed)?;
    Ok((ticket, bytes, signature))
}

/// Context and parts, each part with its length in front so that no two lists of parts look alike.
fn in_context(context: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut message = context.to_vec();
    for part in parts {
        message.extend_from_slice(&(part.len() as u64).to_be_bytes());
        message.extend_from_slice(part);
    }
    message
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_800_000_000_000;

    fn key(seed: u8) -> SigningKey {
        SigningKey::from_bytes(&[seed; 32])
    }

    fn ticket() -> Ticket {
        Ticket {
            handoff: "h1".into(),
            issuer: "paris-1".into(),
            audience: "vienna-1".into(),
            title: "harbour".into(),
            descriptions: vec![1, 0],
            client_key: proof::key_text(&key(9).verifying_key()),
            first_npt: 180_000,
            expires_ms: NOW + 8_000,
            nonce: "n1".into(),
        }
    }

    fn open(text: &str, audience: &str, now: u64) -> Result<Ticket, TicketError> {
        Ticket::open(text, key(1).verifying_key().as_bytes(), audience, now)
    }

    #[test]
    fn a_good_ticket_opens_at_its_audience() {
        let text = ticket().seal(&key(1));
        assert_eq!(open(&text, "vienna-1", NOW), Ok(ticket()));
        assert_eq!(Ticket::peek(&text).unwrap().issuer, "paris-1");
    }

    #[test]
    fn refuses_wrong_audience_time_and_signer() {
        let text = ticket().seal(&key(1));
        assert_eq!(open(&text, "oslo-1", NOW), Err(TicketError::Audience));
        assert_eq!(
            open(&text, "vienna-1", NOW + 8_000),
            Err(TicketError::Expired)
        );
        assert_eq!(
            open(&text, "vienna-1", NOW - 2_001),
            Err(TicketError::Expired)
        );
        let forged = ticket().seal(&key(2));
        assert_eq!(open(&forged, "vienna-1", NOW), Err(TicketError::Signature));
        assert_eq!(open("", "vienna-1", NOW), Err(TicketError::Malformed));
        assert_eq!(
            open(&"A".repeat(3_000), "vienna-1", NOW),
            Err(TicketError::Malformed)
        );
    }

    #[test]
    fn works_once_and_forgets_after_its_time() {
        let mut spent = Spent::new(2);
        assert_eq!(spent.spend(&ticket(), NOW), Ok(()));
        assert_eq!(spent.spend(&ticket(), NOW + 1), Err(TicketError::Replayed));
        let other = |nonce: &str| Ticket {
            nonce: nonce.into(),
            ..ticket()
        };
        assert_eq!(spent.spend(&other("n2"), NOW), Ok(()));
        assert_eq!(spent.spend(&other("n3"), NOW), Err(TicketError::Full));
        assert_eq!(
            spent.spend(&ticket(), NOW + 8_000),
            Err(TicketError::Expired)
        );
        assert!(spent.is_empty());
    }

    #[test]
    fn only_the_named_key_proves() {
        let text = ticket().seal(&key(1));
        let client = ticket().client_key;
        let good = proof::sign(&key(9), "challenge", &text);
        assert_eq!(proof::verify(&client, "challenge", &text, &good), Ok(()));
        assert_eq!(
            proof::verify(&client, "other", &text, &good),
            Err(TicketError::Proof)
        );
        assert_eq!(
            proof::verify(&client, "challenge", "other", &good),
            Err(TicketError::Proof)
        );
        let thief = proof::sign(&key(8), "challenge", &text);
        assert_eq!(
            proof::verify(&client, "challenge", &text, &thief),
            Err(TicketError::Proof)
        );
        assert_eq!(
            proof::verify("", "challenge", &text, &good),
            Err(TicketError::Proof)
        );
    }

    proptest! {
        #[test]
        fn no_changed_character_gets_through(at in any::<proptest::sample::Index>(), with in "[A-Za-z0-9_-]") {
            let text = ticket().seal(&key(1));
            let at = at.index(text.len());
            let mut changed = text.clone();
            changed.replace_range(at..=at, &with);
            if changed != text {
                prop_assert!(open(&changed, "vienna-1", NOW).is_err());
            }
        }

        #[test]
        fn hostile_texts_are_refused_quietly(text in ".{0,200}") {
            prop_assert!(open(&text, "vienna-1", NOW).is_err());
            let _ = proof::parse_key(&text);
        }
    }
}
