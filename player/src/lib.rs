//! The reference client: resolve, race, play, merge, watch, report.

pub mod dns;
pub mod name;
pub mod order;
pub mod resolve;
