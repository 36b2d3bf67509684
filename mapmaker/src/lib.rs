//! Builds the traffic map: prefixes, measurements and capacities to a signed release.
//!
//! ```text
//! world.toml services.toml prefixes measurements ──► inputs ──► traffic_map::build ──► gate ──► signed release
//!                                                                     │
//!                                             explain, show, diff ◄───┘
//! ```

mod build;
pub mod commands;
mod compare;
mod config;
pub mod explain;
pub mod gate;
pub mod inputs;
pub mod keys;
pub mod model;
pub mod pattern;
pub mod progress;
mod run;
pub mod sample;
pub mod show;

pub use build::{ABOUT_BLOB, BuildOptions, Built, MAP_BLOB, build};
pub use config::Config;
pub use run::{Running, start};

/// Findings as text, one line each.
pub(crate) fn lines_of(findings: &[traffic_map::Finding]) -> String {
    let lines: Vec<String> = findings.iter().map(ToString::to_string).collect();
    lines.join("\n")
}
