//! The opaque label that carries a routing decision from the first level to the second.
//!
//! ```text
//! Payload ─► 65 bits of data, 63 bits of zero ─► AES-128 ─► base32hex ─► 27 characters
//!                                                     ▲ key of (ring slot, token zone)
//! label "0" ‖ 26 characters: the first names format and slot
//! ```
//!
//! A token is routing data, not a credential: 63 bits of check stop guessing, retirement of keys ends old ones. It is the
//! same for the same payload and key, so that answers can be cached and signed. One AES block hides and protects at once
//! (encode, then encipher): changing any bit of the block changes all of it, and the check fails.

mod base32hex;
mod ring;
mod token;

pub use ring::{KeyRing, KeyState, RingError};
pub use token::{LENGTH, Payload, Refused, Token, ZoneKeys};
