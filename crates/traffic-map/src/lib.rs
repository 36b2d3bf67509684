//! The traffic map: disjoint address ranges to units, units to placements, regions and edges.
//!
//! ```text
//!   client network ──► range table ──► unit ──► placement ──► regions ──► edges
//!                      slow part: changes    fast part: rebuilt     from world.toml
//!                      with the prefixes     with every measurement
//! ```
//!
//! Ranges, not a trie: half of the routing table nests, RFC 7871 §7.2.1 wants tailored answers that
//! never overlap, and with disjoint ranges the ECS scope is arithmetic (`subnet`). This crate is pure.

mod bitmap;
pub mod build;
mod coarse;
pub mod diff;
pub mod finding;
mod format;
mod map;
mod placement;
pub mod prefixes;
mod ranges;
pub mod services;
mod sorted;
pub mod subnet;
mod tree;
pub mod world;

pub use finding::{Finding, Severity};
pub use format::{FORMAT_VERSION, MAGIC};
pub use map::{Edge, EdgeIndex, Map, MapError, MapParts, Match, Region, Span, UnitId};
pub use placement::{Choice, MAX_CHOICES, MAX_PLACEMENTS, PlacementView, Ranked};
pub use subnet::Subnet;

/// The id of a region or service that has no explicit `id`: 16 bits of FNV-1a over its name.
///
/// Tokens carry these ids, so they depend on the name alone and survive edits elsewhere in the file.
/// A collision is an error of the file, answered by setting `id`.
pub fn id_of_name(name: &str) -> u16 {
    let hash = placement::fnv1a(name.as_bytes());
    (hash ^ (hash >> 16) ^ (hash >> 32) ^ (hash >> 48)) as u16
}
