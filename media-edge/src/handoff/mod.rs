//! Handing a session to another edge, tier A: make before break, one description after the other.
//!
//! ```text
//!  first edge                           second edge                         player
//!    │ Offer (prefetch information) ───────►│ room? title? first frames?       │
//!    │◄─────────────────────── Prepared ────│                                  │
//!    │ PLAY_NOTIFY (ticket, start times) ──────────────────────────────────────►│
//!    │ sends d0 and d1                      │◄── OPTIONS, SETUP d1 (proof), PLAY│
//!    │◄───────────────────── Serving d1 ────│ sends d1 from its IDR ──────────►│
//!    │◄──────────────────────────────────────── "d1: ok" ───────────────────────│
//!    │ holds d1, sends d0                   │◄── SETUP d0, PLAY                │
//!    │◄──────────── Serving d0, Committed ──│ sends d0 from its IDR ──────────►│
//!    │◄──────────────────────────────────────── "d0: ok", TEARDOWN ─────────────│
//!    │ drops the client, Released ─────────►│                                  │
//! ```
//! Every step has a deadline. Until both are confirmed the first edge can go back: it sends what it held, from the
//! very frame where it stopped. Frames that arrive twice are equal to the octet, and the player takes the first.

pub mod first;
pub mod second;
