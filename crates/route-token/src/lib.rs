//! The opaque label that carries a routing decision from the first level to the second.
