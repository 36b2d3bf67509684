//! Holds the dependency table.
