//! The reference client: resolve, race, play, merge, watch, report.

pub mod connection;
pub mod dns;
pub mod flow;
pub mod location;
pub mod name;
pub mod order;
pub mod pace;
pub mod race;
pub mod resolve;
pub mod session;
