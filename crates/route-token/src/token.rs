//! Sealing a routing decision into a label and opening it again.

use std::fmt;

use aes::Aes128;
use aes::cipher::{Array, BlockCipherDecrypt, BlockCipherEncrypt, KeyInit};

use crate::base32hex::{self, BLOCK_CHARACTERS};

/// Characters in a token: one for format and key slot, 26 for the block.
pub const LENGTH: usize = 1 + BLOCK_CHARACTERS;

/// Key slots; the first character has five bits, three for the slot and two for the format.
pub(crate) const SLOTS: usize = 8;

/// Blocks that are sealed in one go: as many as an answer commonly has records.
const TOGETHER: usize = 4;

/// The only format so far: one AES-128 block. The three others are free for longer tokens.
const FORMAT: u8 = 0;

/// The low half of the block without its one flag: zero in every token, and so the check.
const CHECK: u64 = !ASSUMED;
/// The flag in the low half of the block.
const ASSUMED: u64 = 1 << 48;

/// What the first level decided. Holds no address and no prefix of a client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Payload {
    /// Which service, by its id in `services.toml`.
    pub service: u16,
    /// The region chosen, by its id in the map.
    pub region: u16,
    /// The placement it was chosen from, by its id in the map: where to go when the region is down.
    pub placement: u32,
    /// The first level had only the resolver's address to go by: a level that is told the client's network knows better.
    pub assumed: bool,
}

impl Payload {
    fn to_block(self) -> [u8; 16] {
        let mut block = [0; 16];
        block[0..2].copy_from_slice(&self.service.to_be_bytes());
        block[2..4].copy_from_slice(&self.region.to_be_bytes());
        block[4..8].copy_from_slice(&self.placement.to_be_bytes());
        block[8..].copy_from_slice(&(u64::from(self.assumed) * ASSUMED).to_be_bytes());
        block
    }

    fn from_block(block: &[u8; 16]) -> Payload {
        let [s0, s1, r0, r1, p0, p1, p2, p3, ..] = *block;
        Payload {
            service: u16::from_be_bytes([s0, s1]),
            region: u16::from_be_bytes([r0, r1]),
            placement: u32::from_be_bytes([p0, p1, p2, p3]),
            assumed: low_half(block) & ASSUMED != 0,
        }
    }
}

/// A sealed token: 27 lower-case base32hex characters, one DNS label.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub [u8; LENGTH]);

impl Token {
    /// The label's octets.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The label as text.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Token({})", self.as_str())
    }
}

/// Why a label is not a token. For metrics only: to those who ask, all refusals have to look alike.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[error("not a token of this zone")]
pub enum Refused {
    /// Not 27 characters of base32hex with a known format.
    Malformed,
    /// Its slot has no key that opens: never issued, or retired.
    UnknownKey,
    /// The check failed: forged, mangled, or of another zone or key.
    Check,
}

impl Refused {
    /// Every reason, for metrics that show zeros.
    pub const ALL: [Refused; 3] = [Refused::Malformed, Refused::UnknownKey, Refused::Check];

    /// The reason as a metric label.
    pub fn as_str(self) -> &'static str {
        match self {
            Refused::Malformed => "malformed",
            Refused::UnknownKey => "unknown_key",
            Refused::Check => "check",
        }
    }
}

/// The keys of one ring for one token zone, expanded and ready. Made by [`crate::KeyRing::zone`].
pub struct ZoneKeys {
    active: (u8, Aes128),
    opening: [Option<Aes128>; SLOTS],
}

impl ZoneKeys {
    /// `slots` gives the AES key of every slot that opens; `active` must be among them.
    pub(crate) fn new(active: (u8, [u8; 16]), slots: &[(u8, [u8; 16])]) -> ZoneKeys {
        let cipher = |key: &[u8; 16]| Aes128::new(&Array::from(*key));
        let mut opening: [Option<Aes128>; SLOTS] = Default::default();
        for (slot, key) in slots {
            if let Some(place) = opening.get_mut(usize::from(*slot)) {
                *place = Some(cipher(key));
            }
        }
        ZoneKeys {
            active: (active.0, cipher(&active.1)),
            opening,
        }
    }

    /// Seals with the active key. The same payload always gives the same token.
    pub fn seal(&self, payload: &Payload) -> Token {
        let mut sealed = Token([0; LENGTH]);
        self.seal_each(std::slice::from_ref(payload), |token| sealed = *token);
        sealed
    }

    /// Seals one after another and shows the tokens in the same order; several take hardly longer than one.
    #[inline]
    pub fn seal_each(&self, payloads: &[Payload], mut show: impl FnMut(&Token)) {
        let (slot, cipher) = &self.active;
        let first = base32hex::character(FORMAT << 3 | slot);
        for payloads in payloads.chunks(TOGETHER) {
            let mut blocks = [Array::from([0; 16]); TOGETHER];
            for (block, payload) in blocks.iter_mut().zip(payloads) {
                *block = Array::from(payload.to_block());
            }
            cipher.encrypt_blocks(&mut blocks);
            for block in &blocks[..payloads.len()] {
                let mut token = [first; LENGTH];
                if let Some(body) = token.last_chunk_mut() {
                    base32hex::encode(block.as_ref(), body);
                }
                show(&Token(token));
            }
        }
    }

    /// Opens a label in any mixture of cases. What is visibly not a token costs no AES; the check takes the same time
    /// whichever of its bits are wrong.
    ///
    /// # Errors
    /// For everything that [`ZoneKeys::seal`] did not make with a key that still opens.
    pub fn open(&self, label: &[u8]) -> Result<Payload, Refused> {
        let label: &[u8; LENGTH] = label.try_into().map_err(|_| Refused::Malformed)?;
        let (head, body) = label.split_first().expect("27 characters");
        let body: &[u8; BLOCK_CHARACTERS] = body.try_into().expect("26 characters");
        let head = base32hex::value(*head).ok_or(Refused::Malformed)?;
        if head >> 3 != FORMAT {
            return Err(Refused::Malformed);
        }
        let key = self.opening.get(usize::from(head)).and_then(Option::as_ref);
        let key = key.ok_or(Refused::UnknownKey)?;
        let mut block = Array::from(base32hex::decode(body).ok_or(Refused::Malformed)?);
        key.decrypt_block(&mut block);
        let block: [u8; 16] = block.into();
        // One comparison of one word: no early exit tells how many octets were right.
        if low_half(&block) & CHECK != 0 {
            return Err(Refused::Check);
        }
        Ok(Payload::from_block(&block))
    }
}

/// The half of an opened block that holds check and flag.
fn low_half(block: &[u8; 16]) -> u64 {
    u128::from_be_bytes(*block) as u64
}

impl fmt::Debug for ZoneKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots: Vec<usize> = (0..SLOTS)
            .filter(|slot| self.opening.get(*slot).is_some_and(Option::is_some))
            .collect();
        f.debug_struct("ZoneKeys")
            .field("active", &self.active.0)
            .field("opening", &slots)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn keys() -> ZoneKeys {
        ZoneKeys::new((2, [7; 16]), &[(2, [7; 16]), (3, [9; 16])])
    }

    fn payload() -> impl Strategy<Value = Payload> {
        any::<(u16, u16, u32, bool)>().prop_map(|(service, region, placement, assumed)| Payload {
            service,
            region,
            placement,
            assumed,
        })
    }

    proptest! {
        #[test]
        fn a_sealed_token_opens_to_the_same_payload_in_every_case(payload in payload(), cases: u32) {
            let token = keys().seal(&payload);
            let spelled: Vec<u8> = token.0.iter().enumerate().map(|(index, character)| {
                if cases >> index & 1 == 1 { character.to_ascii_uppercase() } else { *character }
            }).collect();
            prop_assert_eq!(keys().open(&spelled), Ok(payload));
            prop_assert_eq!(token, keys().seal(&payload));
        }

        #[test]
        fn every_other_character_at_every_place_is_refused(payload in payload()) {
            let token = keys().seal(&payload);
            for at in 0..LENGTH {
                for character in 0..=255u8 {
                    let mut forged = token.0;
                    forged[at] = character;
                    if !forged.eq_ignore_ascii_case(&token.0) {
                        prop_assert!(keys().open(&forged).is_err(), "{character:#x} at {at}");
                    }
                }
            }
        }

        #[test]
        fn every_single_bit_of_the_block_is_protected(payload in payload(), bit in 0..128u32) {
            let mut text = [0; BLOCK_CHARACTERS];
            text.copy_from_slice(&keys().seal(&payload).0[1..]);
            let block = u128::from_be_bytes(base32hex::decode(&text).unwrap()) ^ 1 << bit;
            base32hex::encode(&block.to_be_bytes(), &mut text);
            let mut forged = *b"200000000000000000000000000";
            forged[1..].copy_from_slice(&text);
            prop_assert_eq!(keys().open(&forged), Err(Refused::Check));
        }

        #[test]
        fn anything_at_all_is_refused_without_a_panic(label in proptest::collection::vec(any::<u8>(), 0..80)) {
            prop_assert!(keys().open(&label).is_err());
        }

        #[test]
        fn whatever_looks_like_a_token_fails_the_check(label in "[23][0-9a-vA-V]{25}[048cgkosCGKOS]") {
            prop_assert_eq!(keys().open(label.as_bytes()), Err(Refused::Check));
        }
    }

    #[test]
    fn a_shortened_or_lengthened_token_is_refused() {
        let token = keys().seal(&Payload::default());
        for length in 0..LENGTH {
            assert_eq!(keys().open(&token.0[..length]), Err(Refused::Malformed));
        }
        let longer = [token.as_bytes(), b"0"].concat();
        assert_eq!(keys().open(&longer), Err(Refused::Malformed));
    }

    #[test]
    fn a_slot_without_a_key_is_refused_and_a_wrong_slot_fails_the_check() {
        let mut label = keys().seal(&Payload::default()).0;
        for slot in b'0'..=b'7' {
            label[0] = slot;
            let expected = match slot {
                b'2' => Ok(Payload::default()),
                b'3' => Err(Refused::Check),
                _ => Err(Refused::UnknownKey),
            };
            assert_eq!(keys().open(&label), expected, "slot {}", slot - b'0');
        }
        label[0] = b'8';
        assert_eq!(
            keys().open(&label),
            Err(Refused::Malformed),
            "another format"
        );
    }

    #[test]
    fn the_format_stays_as_published() {
        let payload = Payload {
            service: 1,
            region: 2,
            placement: 3,
            assumed: false,
        };
        let token = keys().seal(&payload);
        // The block by `openssl enc -aes-128-ecb -nopad`, then base32hex by coreutils' `basenc --base32hex`.
        assert_eq!(token.as_str(), "2asvk82kq8dvbi6gc15t02cv9e4");
    }

    #[test]
    fn tokens_of_neighbouring_payloads_share_no_visible_pattern() {
        let first = keys().seal(&Payload {
            region: 1,
            ..Payload::default()
        });
        let second = keys().seal(&Payload {
            region: 2,
            ..Payload::default()
        });
        let alike = first
            .0
            .iter()
            .zip(&second.0)
            .skip(1)
            .filter(|(a, b)| a == b)
            .count();
        assert!(
            alike <= 6,
            "{alike} of 26 characters are alike: {first} {second}"
        );
    }
}
