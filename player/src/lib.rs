//! The reference client: resolve, race, play, merge, watch, report.

pub mod connection;
pub mod dns;
pub mod name;
pub mod order;
pub mod race;
pub mod resolve;
