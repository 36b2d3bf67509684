//! Zone transfers: our name servers as primaries and secondaries of Knot, NSD and BIND, a file for each RFC. Every case
//! names its section.

#![allow(clippy::unwrap_used, reason = "helpers of tests are tests")]

mod partner;
mod rfc1034;
mod rfc1995;
mod rfc1996;
mod rfc5936;
mod rfc8945;
mod rfc9103;
mod rfc9432;
mod scene;
