//! RTSP messages, session rules, session descriptions and the handoff ticket.
//!
//! Pure: bytes, time and randomness come in as arguments, values go out. Used by `media-edge` and `player`.
//!
//! ```text
//!  bytes ─► codec ─► Request ─► session::Machine::step ─► Action  (or a status to refuse with)
//!                       │            uses transport, range, message
//!                       ├─ locator      which title, which description the URL means
//!                       ├─ handoff      headers, ticket, proof of the client's key
//!                       └─ report       what the race to several edges measured
//!  sdp, rtp_info: what DESCRIBE and PLAY answer      peer: what two edges say to each other
//! ```

pub mod capabilities;
pub mod codec;
pub mod handoff;
pub mod locator;
pub mod message;
pub mod parameters;
pub mod peer;
pub mod range;
pub mod report;
pub mod rtp_info;
pub mod sdp;
pub mod session;
pub mod ticket;
pub mod transport;

pub use rtsp_types::{Method, StatusCode, Url, Version, headers};

pub use codec::{Codec, CodecError, Event};
pub use message::{Request, Response};
