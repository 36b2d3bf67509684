//! What the whole-system tests share: starting real programs on port 0 and asking them with other
//! people's tools.

pub mod admin;
pub mod cache;
pub mod clients;
pub mod daemon;
pub mod dig;
pub mod example;
pub mod namespaces;
pub mod port;
pub mod random;
pub mod tools;
pub mod unbound;
pub mod wire;
