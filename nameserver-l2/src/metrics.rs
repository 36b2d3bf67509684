//! What this level counts beside DNS traffic: tokens, server sets, and the state of the edges.

use std::sync::Arc;

use nameserver::Counts;
use nameserver::exposition::{self, counters, gauge, gauges, sample};
use prometheus::Registry;
use prometheus::proto::MetricFamily;
use route_token::Refused;

use crate::remap::Finding;
use crate::server_set::Why;
use crate::view::View;

/// Counters of the query path.
#[derive(Debug, Default)]
pub struct Counters {
    tokens: Counts<{ Refused::ALL.len() + 1 }>,
    answers: Counts<{ Why::ALL.len() + 1 }>,
    remaps: Counts<{ Finding::ALL.len() }>,
}

impl Counters {
    /// A token given on an assumption was compared with the client's network.
    pub(crate) fn remapped(&self, finding: Finding) {
        self.remaps.add(finding as usize);
    }

    /// Adds the cells up.
    fn gather(&self) -> Vec<MetricFamily> {
        let results = ["ok"].into_iter().chain(Refused::ALL.map(Refused::as_str));
        let tokens = results
            .enumerate()
            .map(|(at, result)| sample(&[("result", result)], self.tokens.sum(at)));
        let reasons = ["no_release"].into_iter().chain(Why::ALL.map(Why::as_str));
        let answers = reasons
            .enumerate()
            .map(|(at, reason)| sample(&[("reason", reason)], self.answers.sum(at)));
        let remaps = Finding::ALL.iter().enumerate();
        let remaps = remaps
            .map(|(at, finding)| sample(&[("result", finding.as_str())], self.remaps.sum(at)));
        vec![
            counters(
                "signpost_token_remaps_total",
                "Tokens given to a resolver's address, compared with the client's network.",
                remaps,
            ),
            counters(
                "signpost_token_decode_total",
                "Labels opened as tokens.",
                tokens,
            ),
            counters(
                "signpost_answers_total",
                "Server sets by the reason for their choice.",
                answers,
            ),
        ]
    }

    /// A label was opened, or refused.
    pub(crate) fn token(&self, refused: Option<Refused>) {
        self.tokens
            .add(refused.map_or(0, |refused| 1 + refused as usize));
    }

    /// A server set was chosen; `None`: there is no release.
    pub(crate) fn answer(&self, why: Option<Why>) {
        self.answers.add(why.map_or(0, |why| 1 + why as usize));
    }
}

/// Registers what is gathered when `/metrics` is asked for.
///
/// # Errors
/// When a name is already taken in the registry.
pub(crate) fn register(
    registry: &Registry,
    counters: &Arc<Counters>,
    view: &Arc<View>,
) -> prometheus::Result<()> {
    let (counters, view) = (counters.clone(), view.clone());
    exposition::register(registry, "signpost_token_decode_total", move || {
        counters.gather()
    })?;
    exposition::register(registry, "signpost_edge_up", move || edges(&view))
}

/// The live table, as a gauge for each edge.
fn edges(view: &View) -> Vec<MetricFamily> {
    let table = view.table();
    let Some(table) = table.as_deref() else {
        return Vec::new();
    };
    let edges = table.plan.map.edges().iter().enumerate();
    let edges = edges.map(|(index, edge)| {
        let mut targets = table.plan.targets_of(index);
        let up = targets.any(|target| table.live.get(target) == Some(&true));
        gauge(&[("edge", &edge.name)], f64::from(u8::from(up)))
    });
    vec![gauges(
        "signpost_edge_up",
        "1 for an edge with a live address, by our own probes.",
        edges,
    )]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_counted_in_the_order_in_which_they_are_shown() {
        let places = Why::ALL.map(|why| why as usize);
        assert_eq!(places, std::array::from_fn(|place| place));
        let places = Refused::ALL.map(|refused| refused as usize);
        assert_eq!(places, std::array::from_fn(|place| place));
        let places = Finding::ALL.map(|finding| finding as usize);
        assert_eq!(places, std::array::from_fn(|place| place));
    }
}
