//! The player from outside: DNS, the race, whole plays, switches, all against servers of the tests' own.
#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod edge;
mod name_server;
mod play;
mod race;
mod resolve;
mod switch;
