//! The reference client: resolve, race, play, merge, watch, report.
fn main() {}
