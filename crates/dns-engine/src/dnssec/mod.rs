//! DNSSEC on line (RFC 4033-4035): answers are signed when they are asked for, so that those made for one
//! client are signed like all others, and denials are compact (RFC 9824).
//!
//! ```text
//! answer ─ signer ─┬─ schedule: which keys sign now
//!                  ├─ rrsig, canonical, denial: the octets to sign
//!                  └─ signatures ─┬─ fingerprint, cache: made before?
//!                                 └─ budget, key: make it
//! ```
//! A query without DO passes all this by.

mod algorithm;
mod audit;
mod budget;
mod cache;
pub(crate) mod canonical;
mod denial;
mod fingerprint;
mod key;
pub mod roll;
mod rrsig;
mod schedule;
mod signatures;
mod signer;
mod signing;
mod warm;

pub use algorithm::{Algorithm, SIGNATURE_LENGTH};
pub use audit::{Fault, audit};
pub use key::{Key, KeyError, Role, key_tag};
pub use rrsig::Validity;
pub use schedule::{DsTiming, ScheduleError, Scheduled, State, Timing, ZoneKeys};
pub use signatures::{Signatures, SigningCounts, SigningLimits};
pub(crate) use signer::{Bench, Held, Place, Signer, Wish};
pub use signing::Signing;
pub(crate) use signing::is_shadowed;
pub use warm::{Warmed, warm};
