//! The key ring: a small TOML file that both levels read, and the life of a key in it.
//!
//! ```text
//! staged ──────► active ──────► accepting ──────► destroyed
//! L2 opens it    L1 seals       L2 still opens    the secret is gone
//! ```
//! A key is staged until every second-level server has it, and accepted for as long as caches may hold its tokens.

use std::fmt;

use serde::Deserialize;

use crate::token::{SLOTS, ZoneKeys};

/// Binds derived keys to this use (BLAKE3 key derivation context).
const CONTEXT: &str = "signpost route-token 2026-11 AES-128 key per token zone";

/// Where a key is in its life.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum KeyState {
    /// Opens, does not seal yet.
    Staged,
    /// Seals and opens. Exactly one key of a ring is active.
    Active,
    /// Opens; no longer seals.
    Accepting,
    /// Kept only so that its slot's history is known; its secret is gone.
    Destroyed,
}

impl KeyState {
    /// The state as the file spells it.
    pub fn as_str(self) -> &'static str {
        match self {
            KeyState::Staged => "staged",
            KeyState::Active => "active",
            KeyState::Accepting => "accepting",
            KeyState::Destroyed => "destroyed",
        }
    }
}

/// Why a key ring cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{line}:{column}: {message}")]
pub struct RingError {
    /// Line in the text, from 1; 0 when the error is about the ring as a whole.
    pub line: usize,
    /// Column in characters, from 1; 0 likewise.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    key: Vec<toml::Spanned<Entry>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    slot: u8,
    state: KeyState,
    secret: Option<String>,
}

struct Key {
    slot: u8,
    state: KeyState,
    secret: Option<[u8; 32]>,
}

/// The secrets of a ring. Derive [`ZoneKeys`] from it for each token zone.
pub struct KeyRing {
    keys: Vec<Key>,
}

impl KeyRing {
    /// Reads a ring:
    ///
    /// ```toml
    /// [[key]]
    /// slot = 0               # 0 to 7
    /// state = "active"       # staged, active, accepting or destroyed
    /// secret = "…"           # 64 hexadecimal digits; none when destroyed
    /// ```
    ///
    /// # Errors
    /// Names the place: not such a file, a slot used twice, a secret of a wrong form, not exactly one active key.
    pub fn from_toml(text: &str) -> Result<KeyRing, RingError> {
        let file: File = toml::from_str(text).map_err(|e| {
            located(
                text,
                e.span().map_or(0, |s| s.start),
                e.message().trim_end(),
            )
        })?;
        let mut keys: Vec<Key> = Vec::new();
        for entry in file.key {
            let at = entry.span().start;
            let Entry {
                slot,
                state,
                secret,
            } = entry.into_inner();
            if usize::from(slot) >= SLOTS {
                return Err(located(
                    text,
                    at,
                    format!("slot {slot} is not one of 0 to {}", SLOTS - 1),
                ));
            }
            if keys.iter().any(|key| key.slot == slot) {
                return Err(located(text, at, format!("slot {slot} is used twice")));
            }
            let secret =
                match (state, secret) {
                    (KeyState::Destroyed, None) => None,
                    (KeyState::Destroyed, Some(_)) => {
                        return Err(located(
                            text,
                            at,
                            "a destroyed key must not keep its secret",
                        ));
                    }
                    (_, None) => return Err(located(text, at, "the key has no secret")),
                    (_, Some(digits)) => Some(unhex(&digits).ok_or_else(|| {
                        located(text, at, "the secret is not 64 hexadecimal digits")
                    })?),
                };
            keys.push(Key {
                slot,
                state,
                secret,
            });
        }
        let active = keys
            .iter()
            .filter(|key| key.state == KeyState::Active)
            .count();
        if active != 1 {
            let message = format!("a ring needs exactly one active key; this one has {active}");
            return Err(RingError {
                line: 0,
                column: 0,
                message,
            });
        }
        Ok(KeyRing { keys })
    }

    /// A ring of one active key, as the text of its file. `random` must be unpredictable.
    pub fn generate(random: [u8; 32]) -> String {
        let key = Key {
            slot: 0,
            state: KeyState::Active,
            secret: Some(random),
        };
        KeyRing { keys: vec![key] }.to_toml()
    }

    /// The ring as the text of its file.
    pub fn to_toml(&self) -> String {
        let mut text = String::from(
            "# Token keys: both levels read this file. Whoever has it can make tokens.\n",
        );
        for key in &self.keys {
            let state = key.state.as_str();
            text.push_str(&format!(
                "\n[[key]]\nslot = {}\nstate = \"{state}\"\n",
                key.slot
            ));
            if let Some(secret) = &key.secret {
                text.push_str(&format!("secret = \"{}\"\n", hex(secret)));
            }
        }
        text
    }

    /// The keys for one token zone, such as `edge.stream.example.` (any case, final dot or not). A token of one zone
    /// does not open in another.
    pub fn zone(&self, zone: &str) -> ZoneKeys {
        let name = zone.trim_end_matches('.').to_ascii_lowercase();
        let derive = |secret: &[u8; 32]| {
            let mut material = secret.to_vec();
            material.extend_from_slice(name.as_bytes());
            let [key @ .., _, _, _, _, _, _, _, _, _, _, _, _, _, _, _, _] =
                blake3::derive_key(CONTEXT, &material);
            key
        };
        let slots: Vec<(u8, [u8; 16])> = self
            .keys
            .iter()
            .filter_map(|key| Some((key.slot, derive(key.secret.as_ref()?))))
            .collect();
        let active = self.keys.iter().find(|key| key.state == KeyState::Active);
        let active = active.and_then(|key| slots.iter().find(|(slot, _)| *slot == key.slot));
        ZoneKeys::new(
            *active.expect("every ring has one active key, with a secret"),
            &slots,
        )
    }

    /// Slot and state of every key.
    pub fn states(&self) -> impl Iterator<Item = (u8, KeyState)> + '_ {
        self.keys.iter().map(|key| (key.slot, key.state))
    }

    /// Adds a staged key in a free slot, or in a destroyed one's, and gives the slot. `random` must be unpredictable.
    ///
    /// # Errors
    /// When every slot is in use.
    pub fn stage(&mut self, random: [u8; 32]) -> Result<u8, RingError> {
        // Keys stand in the order of their staging, so the first destroyed one is the oldest: caches have long lost its tokens.
        let free = (0..SLOTS as u8).find(|slot| self.keys.iter().all(|key| key.slot != *slot));
        let reused = || {
            self.keys
                .iter()
                .position(|key| key.state == KeyState::Destroyed)
        };
        let slot = match free {
            Some(slot) => slot,
            None => match reused() {
                Some(index) => self.keys.remove(index).slot,
                None => {
                    return Err(whole(
                        "every slot is in use: destroy an accepting key first",
                    ));
                }
            },
        };
        self.keys.push(Key {
            slot,
            state: KeyState::Staged,
            secret: Some(random),
        });
        Ok(slot)
    }

    /// Makes the staged key in `slot` the active one; the one before it stays accepted.
    ///
    /// # Errors
    /// When no staged key is there.
    pub fn activate(&mut self, slot: u8) -> Result<(), RingError> {
        if !self.states().any(|key| key == (slot, KeyState::Staged)) {
            return Err(whole(format!("slot {slot} holds no staged key")));
        }
        for key in &mut self.keys {
            match key.state {
                KeyState::Active => key.state = KeyState::Accepting,
                _ if key.slot == slot => key.state = KeyState::Active,
                _ => {}
            }
        }
        Ok(())
    }

    /// Forgets the secret of the accepting or staged key in `slot`: its tokens are refused from now on.
    ///
    /// # Errors
    /// When no such key is there.
    pub fn destroy(&mut self, slot: u8) -> Result<(), RingError> {
        let key = self.keys.iter_mut().find(|key| key.slot == slot);
        match key {
            Some(key) if matches!(key.state, KeyState::Accepting | KeyState::Staged) => {
                key.state = KeyState::Destroyed;
                key.secret = None;
                Ok(())
            }
            _ => Err(whole(format!(
                "slot {slot} holds no accepting or staged key"
            ))),
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.states()).finish()
    }
}

fn whole(message: impl Into<String>) -> RingError {
    RingError {
        line: 0,
        column: 0,
        message: message.into(),
    }
}

fn located(text: &str, offset: usize, message: impl Into<String>) -> RingError {
    let before = text.get(..offset).unwrap_or("");
    let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
    RingError {
        line: before.matches('\n').count() + 1,
        column: before.get(line_start..).unwrap_or("").chars().count() + 1,
        message: message.into(),
    }
}

fn hex(secret: &[u8]) -> String {
    secret.iter().map(|octet| format!("{octet:02x}")).collect()
}

fn unhex(digits: &str) -> Option<[u8; 32]> {
    let digits: &[u8; 64] = digits.as_bytes().try_into().ok()?;
    let mut secret = [0; 32];
    for (place, pair) in secret.iter_mut().zip(digits.chunks_exact(2)) {
        let &[high, low] = pair else { return None };
        let digit = |character: u8| char::from(character).to_digit(16);
        *place = (digit(high)? * 16 + digit(low)?) as u8;
    }
    Some(secret)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Payload, Refused};

    const ZONE: &str = "edge.stream.example.";

    fn ring() -> KeyRing {
        KeyRing::from_toml(&KeyRing::generate([5; 32])).unwrap()
    }

    fn refused(text: &str, line: usize, message: &str) {
        let error = KeyRing::from_toml(text).unwrap_err();
        assert!(error.message.contains(message), "{error}");
        assert_eq!(error.line, line, "{error}");
    }

    #[test]
    fn a_generated_ring_reads_back_and_seals() {
        let token = ring().zone(ZONE).seal(&Payload::default());
        assert_eq!(
            ring().zone(ZONE).open(token.as_bytes()),
            Ok(Payload::default())
        );
    }

    #[test]
    fn a_token_of_one_zone_does_not_open_in_another() {
        let token = ring().zone(ZONE).seal(&Payload::default());
        assert_eq!(
            ring().zone("other.example.").open(token.as_bytes()),
            Err(Refused::Check)
        );
        assert!(
            ring()
                .zone("EDGE.Stream.Example")
                .open(token.as_bytes())
                .is_ok(),
            "spelling of the zone"
        );
    }

    #[test]
    fn a_key_lives_from_staged_to_destroyed() {
        let mut ring = ring();
        let old = ring.zone(ZONE).seal(&Payload::default());
        let slot = ring.stage([6; 32]).unwrap();
        assert_eq!(slot, 1);
        assert_eq!(
            ring.zone(ZONE).seal(&Payload::default()),
            old,
            "staged keys do not seal"
        );
        let staged = KeyRing::from_toml(&ring.to_toml()).unwrap();

        ring.activate(slot).unwrap();
        let new = ring.zone(ZONE).seal(&Payload::default());
        assert!(new.as_str().starts_with('1'));
        assert!(
            staged.zone(ZONE).open(new.as_bytes()).is_ok(),
            "a level that lags opens the new one already"
        );
        assert!(
            ring.zone(ZONE).open(old.as_bytes()).is_ok(),
            "the old one is still accepted"
        );

        ring.destroy(0).unwrap();
        assert_eq!(
            ring.zone(ZONE).open(old.as_bytes()),
            Err(Refused::UnknownKey)
        );
        assert!(!ring.to_toml().contains("0505"), "the secret is gone");
        assert!(
            ring.destroy(1).is_err(),
            "the active key cannot be destroyed"
        );
        assert!(ring.activate(0).is_err());
        assert!(KeyRing::from_toml(&ring.to_toml()).is_ok());
    }

    #[test]
    fn slots_are_reused_only_when_all_have_been_used() {
        let mut ring = ring();
        for expected in 1..8 {
            assert_eq!(ring.stage([expected; 32]), Ok(expected));
        }
        assert!(ring.stage([9; 32]).is_err());
        ring.destroy(3).unwrap();
        assert_eq!(ring.stage([9; 32]), Ok(3));
    }

    #[test]
    fn broken_rings_are_refused_with_their_place() {
        let secret = "ab".repeat(32);
        let active = format!("[[key]]\nslot = 0\nstate = \"active\"\nsecret = \"{secret}\"\n");
        refused("", 0, "has 0");
        refused("[[key]]\nslot = 0\nstate = \"active\"\n", 1, "no secret");
        refused(&active.replace("ab", "xy"), 1, "64 hexadecimal");
        refused(
            &active.replace("slot = 0", "slot = 8"),
            1,
            "not one of 0 to 7",
        );
        refused(&format!("{active}{active}"), 5, "used twice");
        refused(
            &format!("{active}{}", active.replace("slot = 0", "slot = 1")),
            0,
            "has 2",
        );
        refused(&active.replace("active", "actve"), 3, "unknown variant");
        refused(&active.replace("slot", "slott"), 2, "unknown field");
        refused(
            &active.replace("active", "destroyed"),
            1,
            "must not keep its secret",
        );
    }
}
