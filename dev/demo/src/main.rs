//! Starts the whole stack on loopback and shows its main job.
fn main() {}
