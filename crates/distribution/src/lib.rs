//! Releases and reports: signed generations in folders, measurement lines.
//!
//! ```text
//! mapmaker ──publish──► DIR/0000000007/{manifest.json, manifest.sig, blobs/…} ──► `current` ──poll──► L1, L2, edges
//! edges, players ──append──► measurement lines (CSV) ──parse──► mapmaker
//! ```
//! This is the file carrier. What is inside a blob is no business of this library.

mod durable;
pub mod keys;
pub mod measurement;
pub mod release;

pub use ed25519_dalek::{SigningKey, VerifyingKey};
