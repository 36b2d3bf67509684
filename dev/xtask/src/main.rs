//! Recipes: test, bench.
fn main() {}
