//! The shell that both name servers share: it joins the engine, which knows messages, to the transports, which know
//! sockets, and follows the zone files.
//!
//! ```text
//! sockets (dns-transport) ─► door ─► dns-engine ─► door ─► sockets
//!                             │ ▲
//!                     traffic ┘ └ snapshot, swapped whole ◄── the program ◄── zone_files
//! ```
//!
//! What a server's own names mean (services, tokens, edges) is the program's business, not this crate's.

mod certificate;
pub mod check;
mod cookies;
pub mod counts;
pub mod delegations;
mod descriptors;
pub mod dnssec;
pub mod dnstap;
pub mod door;
mod encrypted;
pub mod exposition;
mod included;
mod precedence;
mod ready;
pub mod reloads;
mod retired;
pub mod running;
pub mod settings;
mod traffic;
pub mod transfer;
mod xdp;
pub mod zone_files;

pub use counts::Counts;
pub use door::{Door, unix_seconds};
pub use encrypted::Encrypted;
pub use reloads::{InForce, Reloads};
pub use running::{Running, Shell, Starting};
pub use settings::Settings;
use traffic::Traffic;
pub use zone_files::ZoneFiles;
