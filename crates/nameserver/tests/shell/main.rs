//! The shell around a plain zone, through real sockets.

#![allow(clippy::unwrap_used, reason = "a failed step is a failed test")]

mod cookies;
mod dnstap;
mod encrypted;
mod running;
mod scene;
