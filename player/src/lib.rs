//! The reference client: it finds the best server for a title, plays it, and follows it from server to server.
//!
//! ```text
//!  name ─► dns ─► resolve ─► order      SRV name → server set, in the order to try
//!                    └─► race           OPTIONS to all of it; the winner's connection is kept
//!                          └─► session  DESCRIBE, SETUP, PLAY over one connection
//!  stage: flow (packets → frames) ─► mdc's merger ─► pace (when) ─► screen (decoders, y4m)
//!    ├─► handoff                        another server takes over, description by description
//!    └─► watch ─► switch                service is not acceptable: another server by a further token
//!  events, report, story: what happens, what happened, and how it is told
//! ```

pub mod cli;
pub mod connection;
pub mod dns;
pub mod events;
pub mod flow;
pub mod handoff;
pub mod location;
pub mod name;
pub mod order;
pub mod pace;
pub mod plan;
pub mod play;
pub mod race;
pub mod report;
pub mod resolve;
pub mod screen;
pub mod session;
pub mod stage;
pub mod stamps;
pub mod story;
pub mod switch;
pub mod watch;

pub use play::{Options, Source, play};
pub use report::Report;
