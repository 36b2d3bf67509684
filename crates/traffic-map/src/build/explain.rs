//! Why a client is sent where it is sent: the input row that decided, and every region with its score.

use std::net::IpAddr;

use crate::build::flatten::Row;
use crate::build::score::Score;
use crate::build::{Built, Inputs, Unit};
use crate::map::Match;
use crate::subnet::{self, Key, Subnet};

/// The input row that a client's range comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// An override, by its place in `world.toml`.
    Override(usize),
    /// A row of a prefix table, by its number in the inputs.
    Prefix(usize),
}

/// A region as this client sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Candidate {
    /// Region id.
    pub region: u16,
    /// How far it is, and how that is known.
    pub score: Score,
    /// SRV priority, if the region is in the placement.
    pub priority: Option<u16>,
    /// Share of the demand in thousandths.
    pub share: u16,
}

/// An explanation.
#[derive(Clone, Debug, PartialEq)]
pub struct Explained {
    /// What the map says: unit, scope and range.
    pub found: Match,
    /// Where the range comes from; `None` in unmapped space.
    pub source: Option<Source>,
    /// The unit it is in.
    pub unit: Option<Unit>,
    /// Regions in the placement in rank order, then the others by score.
    pub candidates: Vec<Candidate>,
}

impl Built {
    /// Explains the answer for a client network in a service class.
    pub fn explain(&self, inputs: &Inputs<'_>, client: Subnet, class: u8) -> Explained {
        let found = self.map.find(client);
        let unit = found
            .unit
            .and_then(|id| self.units.get(id.0 as usize))
            .copied();
        let mut candidates = Vec::new();
        if let Some(id) = found.unit {
            let ranked: Vec<_> = self
                .map
                .placement(id, class)
                .into_iter()
                .flat_map(|view| view.ranked())
                .collect();
            for (region, score) in inputs.world.regions.iter().zip(self.scores(id)) {
                let rank = ranked.iter().position(|ranked| ranked.region == region.id);
                let entry = rank.and_then(|rank| ranked.get(rank));
                let candidate = Candidate {
                    region: region.id,
                    score: *score,
                    priority: entry.map(|entry| entry.priority),
                    share: entry.map_or(0, |entry| entry.weight),
                };
                candidates.push((rank.unwrap_or(usize::MAX), candidate));
            }
        }
        candidates.sort_by_key(|(rank, candidate)| (*rank, candidate.score.cost_us));
        let candidates = candidates
            .into_iter()
            .map(|(_, candidate)| candidate)
            .collect();
        Explained {
            found,
            source: self.source(client, &found),
            unit,
            candidates,
        }
    }

    /// The row at the client's first address; for a network over several ranges, at the first one of its unit.
    fn source(&self, client: Subnet, found: &Match) -> Option<Source> {
        let (first, last) = client.normalized().bounds();
        let spans_several = found.range == (first, last) && found.scope > client.len;
        let address = if spans_several {
            let here = |span: &crate::Span| {
                span.unit == found.unit && span.first <= last && span.last >= first
            };
            self.map
                .ranges()
                .find(here)
                .map_or(first, |span| span.first.max(first))
        } else {
            first
        };
        let row = match address {
            IpAddr::V4(address) => row_at(&self.rows_v4, u32::from(address)),
            IpAddr::V6(address) => match address.to_ipv4_mapped() {
                Some(address) => row_at(&self.rows_v4, u32::from(address)),
                None => row_at(&self.rows_v6, subnet::v6_key(address)),
            },
        };
        row.map(|row| match row {
            Row::Override(index) => Source::Override(index as usize),
            Row::Prefix(index) => Source::Prefix(index as usize),
        })
    }
}

fn row_at<K: Key>(rows: &[(K, Option<Row>)], key: K) -> Option<Row> {
    let at = rows
        .partition_point(|(start, _)| *start <= key)
        .checked_sub(1)?;
    rows.get(at)?.1
}
