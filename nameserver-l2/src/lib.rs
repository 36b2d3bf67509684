//! Second level: a token to a live edge set in A and AAAA records.
//!
//! ```text
//! query ─ dns-engine ─ tailor ─ token opened ─ remap ─ server_set ─ rendezvous ─► A, AAAA
//!                       ▲                                 ▲
//!   inputs (zones, services, keys)               view (live table) ◄── probe (RTSP OPTIONS)
//!                                                         ◄── release
//! ```

mod by_id;
pub mod check;
pub mod config;
pub mod explain;
mod health;
mod inputs;
pub mod keys;
mod metrics;
pub mod plan;
mod probe;
pub mod remap;
mod rendezvous;
mod server;
pub mod server_set;
pub mod tailor;
pub mod view;

pub use config::Config;
pub use metrics::Counters;
pub use nameserver::Running;
pub use server::start;
