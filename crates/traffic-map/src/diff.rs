//! What changed between two maps: how much of the demand goes elsewhere, and which edges and regions came or went.

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::map::{Map, Span, UnitId};
use crate::ranges::{ATOM_BITS, V6_ATOMS_PER_BLOCK};
use crate::subnet::{self, Subnet};

/// The change from one map to another.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Diff {
    /// Share of the old map's demand (0 to 1) that is sent elsewhere, over all service classes; demand that
    /// the new map does not cover counts as moved.
    pub moved: f64,
    /// Networks whose unit's regions changed, or that are covered by one map only; largest change first,
    /// with the demand share moved.
    pub networks: Vec<(Subnet, f64)>,
    /// Names of edges that are new.
    pub edges_added: Vec<String>,
    /// Names of edges that are gone.
    pub edges_removed: Vec<String>,
    /// Names of regions that are new.
    pub regions_added: Vec<String>,
    /// Names of regions that are gone.
    pub regions_removed: Vec<String>,
}

/// Networks that [`diff`] lists at most.
pub const NETWORKS_MAX: usize = 1000;

/// Compares two maps.
pub fn diff(old: &Map, new: &Map) -> Diff {
    let names = |map: &Map| -> (BTreeSet<String>, BTreeSet<String>) {
        let edges = map.edges().iter().map(|edge| edge.name.clone()).collect();
        (
            edges,
            map.regions()
                .iter()
                .map(|region| region.name.clone())
                .collect(),
        )
    };
    let ((old_edges, old_regions), (new_edges, new_regions)) = (names(old), names(new));
    let without = |a: &BTreeSet<String>, b: &BTreeSet<String>| a.difference(b).cloned().collect();
    let (moved, networks) = moved_demand(old, new);
    Diff {
        moved,
        networks,
        edges_added: without(&new_edges, &old_edges),
        edges_removed: without(&old_edges, &new_edges),
        regions_added: without(&new_regions, &old_regions),
        regions_removed: without(&old_regions, &new_regions),
    }
}

fn moved_demand(old: &Map, new: &Map) -> (f64, Vec<(Subnet, f64)>) {
    let mut blocks = vec![0.0; old.unit_count()];
    for span in old.ranges() {
        if let Some(sum) = span.unit.and_then(|unit| blocks.get_mut(unit.0 as usize)) {
            *sum += blocks_in(&span);
        }
    }
    let total: f64 = (0..)
        .map_while(|unit| old.demand(UnitId(unit)))
        .map(f64::from)
        .sum();
    let (mut moved, mut networks) = (0.0, Vec::new());
    for (span, new_unit) in overlay(old, new) {
        let Some(old_unit) = span.unit else {
            if new_unit.is_some() {
                networks.extend(span.blocks().into_iter().map(|block| (block, 0.0)));
            }
            continue;
        };
        let share = changed(old, old_unit, new, new_unit);
        if share == 0.0 {
            continue;
        }
        let unit_blocks = blocks.get(old_unit.0 as usize).copied().unwrap_or(1.0);
        let demand = f64::from(old.demand(old_unit).unwrap_or(0)) / total.max(1.0);
        let here = demand * blocks_in(&span) / unit_blocks * share;
        moved += here;
        let all = blocks_in(&span);
        networks.extend(span.blocks().into_iter().map(|block| {
            let (first, last) = block.bounds();
            let part = blocks_in(&Span {
                first,
                last,
                unit: None,
            }) / all;
            (block, here * part)
        }));
    }
    networks.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.cmp(&b.0)));
    networks.truncate(NETWORKS_MAX);
    (moved, networks)
}

/// How much of a unit's demand goes elsewhere, the mean over the classes that the old map has.
fn changed(old: &Map, old_unit: UnitId, new: &Map, new_unit: Option<UnitId>) -> f64 {
    let (mut sum, mut classes) = (0.0, 0.0);
    for class in 0..old.class_count().min(255) as u8 {
        let Some(before) = old.placement(old_unit, class) else {
            continue;
        };
        let after = new_unit.and_then(|unit| new.placement(unit, class));
        let after = after.map_or(&[][..], |view| view.choices);
        let name = |map: &Map, id| map.region(id).map(|region| region.name.clone());
        let kept: u16 = before
            .choices
            .iter()
            .filter_map(|choice| {
                let same = |other: &&crate::Choice| {
                    other.region == choice.region
                        && name(old, choice.region) == name(new, other.region)
                };
                after
                    .iter()
                    .find(same)
                    .map(|other| other.share.min(choice.share))
            })
            .sum();
        sum += 1.0 - f64::from(kept) / 1000.0;
        classes += 1.0;
    }
    if classes == 0.0 { 0.0 } else { sum / classes }
}

/// The old map's ranges, cut where the new map's begin, with the new map's unit.
fn overlay<'a>(old: &'a Map, new: &'a Map) -> impl Iterator<Item = (Span, Option<UnitId>)> + 'a {
    let mut theirs = new.ranges().peekable();
    old.ranges().flat_map(move |span| {
        let mut pieces = Vec::new();
        while let Some(other) = theirs.peek().copied() {
            let (first, last) = (span.first.max(other.first), span.last.min(other.last));
            if first.is_ipv4() != last.is_ipv4() || span.first.is_ipv4() != other.first.is_ipv4() {
                break;
            }
            pieces.push((
                Span {
                    first,
                    last,
                    unit: span.unit,
                },
                other.unit,
            ));
            if other.last <= span.last {
                theirs.next();
            }
            if other.last >= span.last {
                break;
            }
        }
        pieces
    })
}

fn blocks_in(span: &Span) -> f64 {
    match (span.first, span.last) {
        (IpAddr::V4(first), IpAddr::V4(last)) => {
            f64::from((u32::from(last) >> ATOM_BITS) - (u32::from(first) >> ATOM_BITS) + 1)
        }
        (IpAddr::V6(first), IpAddr::V6(last)) => {
            let atoms = (subnet::v6_key(last) >> ATOM_BITS) - (subnet::v6_key(first) >> ATOM_BITS);
            (atoms + 1) as f64 / V6_ATOMS_PER_BLOCK
        }
        _ => 0.0,
    }
}
