//! Answers DNS queries: zone files in, query bytes in, response bytes out.
//!
//! ```text
//! query ─ request ─┬─ tailor (who asks?) ─┐
//!                  └─ zone (RFC 1034) ────┴─ writer ─ response
//! ```
//!
//! Pure: no socket, file, clock or thread. [`respond()`] is the one door for every transport; a
//! [`Snapshot`] is built aside and swapped whole; [`Scratch`] belongs to one worker.

mod admission;
mod answer;
pub mod catalog;
mod chaos;
mod cookie;
pub mod dnssec;
pub mod ede;
mod edns;
mod envelope;
mod express;
mod gather;
mod hash;
mod hashed;
mod message;
mod meta;
pub mod name;
mod names;
mod negative;
mod network;
pub mod notify;
mod operation;
mod rate;
mod rcode;
pub mod rdata;
mod reply;
mod request;
mod respond;
mod rrset;
pub mod rtype;
mod scratch;
mod siphash;
mod snapshot;
mod subnet;
mod summary;
mod tailor;
pub mod transfer;
pub mod tsig;
mod writer;
mod zone;
pub mod zonefile;
mod zones;

pub use cookie::{CookieSecret, CookieState, Cookies};
pub use hashed::{HashedName, Suffix};
pub use meta::{Meta, Transport};
pub use names::Names;
pub use network::{Network, NetworkError};
pub use rate::{RateLimit, RateState};
pub use rcode::Rcode;
pub use respond::{DropReason, Outcome, respond};
pub use rrset::RrSet;
pub use scratch::Scratch;
pub use snapshot::{Identity, Limits, PLAIN_PAYLOAD, Snapshot, UDP_PAYLOAD};
pub use summary::{AnswerClass, Summary};
pub use tailor::{Client, ClientSubnet, Question, Tailor, Tailored, Types, Verdict, ZonesOnly};
pub use zone::{Node, Zone};
pub use zones::Zones;
