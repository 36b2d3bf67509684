//! First level: the client's network to a placement to tokens in SRV records.
//!
//! ```text
//!            ┌── service_names ── client ── routing ── sealing ──┐
//! query ─► server                (map)                           ├─► response
//!            └── the zone ───────────────────────────────────────┘
//! files ─► inputs ─► adoption (checks) ─► world ─► snapshot, swapped whole
//! ```
//!
//! It knows no edge and no address: only regions, and tokens that stand for them.

pub mod adoption;
pub mod checks;
pub mod client;
pub mod client_label;
pub mod commands;
pub mod config;
pub mod explain;
pub mod inputs;
pub mod metrics;
pub mod routing;
pub mod sealing;
pub mod server;
pub mod service_names;
pub mod status;
pub mod world;

pub use config::Config;
pub use nameserver::Running;
pub use server::start;
