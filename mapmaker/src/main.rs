//! Builds the traffic map: prefixes, measurements and capacities to a signed release.
fn main() {}
