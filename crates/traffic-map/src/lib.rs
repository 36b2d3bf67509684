//! The traffic map: disjoint address ranges to units, units to placements, regions and edges.
