//! The transports through their public doors, with real sockets.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod echo;
mod fetch;
mod hickory;
mod https;
mod overload;
mod pair;
mod proxy;
mod quic;
mod running;
mod tcp;
mod telling;
mod tls;
mod tools;
mod trust;
mod udp;
