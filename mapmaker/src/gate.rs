//! The last look before a release: what a broken input would do to players is refused, unless a person says why not.

use traffic_map::Map;
use traffic_map::diff::diff;

/// More of the demand than this may not move at once.
pub const MOVED_MAX: f64 = 0.5;
/// More of the edges than this may not go at once.
pub const EDGES_REMOVED_MAX: f64 = 0.5;

/// Why a map is not published.
#[derive(Clone, Debug, PartialEq)]
pub enum Refusal {
    /// No address is mapped.
    Empty,
    /// No edge is left to send anybody to.
    NoEdges,
    /// Share of the demand that would move.
    Moved(f64),
    /// Share of the edges that would go.
    EdgesRemoved(f64),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Refusal::Empty => write!(f, "the map is empty: it maps no address"),
            Refusal::NoEdges => write!(f, "the map has no edge"),
            Refusal::Moved(share) => {
                let (share, limit) = (share * 100.0, MOVED_MAX * 100.0);
                write!(
                    f,
                    "{share:.1} % of the demand would move (limit {limit:.0} %)"
                )
            }
            Refusal::EdgesRemoved(share) => {
                let (share, limit) = (share * 100.0, EDGES_REMOVED_MAX * 100.0);
                write!(f, "{share:.1} % of the edges would go (limit {limit:.0} %)")
            }
        }
    }
}

/// What speaks against publishing `new` after `old`, and the share of demand that moves (if there is an `old`).
pub fn refusals(old: Option<&Map>, new: &Map) -> (Vec<Refusal>, Option<f64>) {
    let mut refusals = Vec::new();
    if new.unit_count() == 0 {
        refusals.push(Refusal::Empty);
    }
    if new.edges().is_empty() {
        refusals.push(Refusal::NoEdges);
    }
    let Some(old) = old else {
        return (refusals, None);
    };
    let change = diff(old, new);
    if change.moved > MOVED_MAX {
        refusals.push(Refusal::Moved(change.moved));
    }
    let removed = change.edges_removed.len() as f64 / old.edges().len().max(1) as f64;
    if removed > EDGES_REMOVED_MAX {
        refusals.push(Refusal::EdgesRemoved(removed));
    }
    (refusals, Some(change.moved))
}
