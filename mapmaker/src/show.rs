//! What is in a release: a summary, every range, or every network with its regions.

use std::io::{self, Write};
use std::net::IpAddr;
use std::path::Path;

use anyhow::Context;
use distribution::release::{self, Release};
use serde_json::{Value, json};
use traffic_map::{Choice, Map, Span, UnitId};

use crate::build::{ABOUT_BLOB, MAP_BLOB};

/// A release and its map. Read without regard to who signed it: this is for people who look.
pub struct Shown {
    /// The release.
    pub release: Release,
    /// Its map.
    pub map: Map,
}

impl Shown {
    /// Opens a folder of releases (the one in force) or one release's folder.
    ///
    /// # Errors
    /// If there is none, or it is damaged.
    pub fn open(dir: &Path) -> anyhow::Result<Shown> {
        let release = release::inspect(dir)?;
        let bytes = release
            .blob(MAP_BLOB)
            .with_context(|| format!("{}: no map in it", dir.display()))?;
        let map = Map::decode(bytes).with_context(|| dir.display().to_string())?;
        Ok(Shown { release, map })
    }

    /// The summary for `--json`.
    pub fn to_json(&self) -> Value {
        let map = &self.map;
        let (v4, v6) = map.range_counts();
        let regions: Vec<Value> = map
            .regions()
            .iter()
            .zip(self.demand_by_region())
            .map(|(region, demand)| {
                let edges = region
                    .edges
                    .iter()
                    .filter_map(|edge| map.edges().get(*edge));
                json!({
                    "id": region.id,
                    "name": region.name,
                    "at": region.at.map(|(lat, lon)| [lat, lon]),
                    "capacity": region.capacity,
                    "edges": edges.map(|edge| edge.name.as_str()).collect::<Vec<_>>(),
                    "demand": demand,
                })
            })
            .collect();
        let about = self
            .release
            .blob(ABOUT_BLOB)
            .and_then(|text| serde_json::from_slice(text).ok());
        json!({
            "generation": self.release.generation,
            "built_at": self.release.built_at,
            "ranges": {"v4": v4, "v6": v6},
            "units": map.unit_count(),
            "classes": map.class_count(),
            "placements": map.placement_count(),
            "ecs": {"v4": map.ecs().0, "v6": map.ecs().1},
            "size": self.release.blob(MAP_BLOB).map(<[u8]>::len),
            "regions": regions,
            "edges": map.edges().len(),
            "about": about.unwrap_or(Value::Null),
        })
    }

    /// Share of all demand by region, the mean over the service classes.
    fn demand_by_region(&self) -> Vec<f64> {
        let map = &self.map;
        let mut sums = vec![0.0; map.regions().len()];
        let mut total = 0.0;
        for class in 0..map.class_count().min(255) as u8 {
            for unit in (0..map.unit_count() as u32).map(UnitId) {
                let demand = f64::from(map.demand(unit).unwrap_or(0));
                total += demand;
                for choice in map
                    .placement(unit, class)
                    .map_or(&[][..], |view| view.choices)
                {
                    let at = map
                        .regions()
                        .binary_search_by_key(&choice.region, |region| region.id);
                    if let Some(sum) = at.ok().and_then(|at| sums.get_mut(at)) {
                        *sum += demand * f64::from(choice.share) / 1000.0;
                    }
                }
            }
        }
        sums.into_iter()
            .map(|sum| if total > 0.0 { sum / total } else { 0.0 })
            .collect()
    }

    /// The summary for people.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_summary(&self, out: &mut impl Write) -> io::Result<()> {
        let map = &self.map;
        let (v4, v6) = map.range_counts();
        let (generation, built_at) = (self.release.generation, self.release.built_at);
        writeln!(
            out,
            "generation {generation}, built at {built_at} (Unix time)"
        )?;
        let (units, placements) = (map.unit_count(), map.placement_count());
        writeln!(
            out,
            "{v4} IPv4 and {v6} IPv6 ranges, {units} units, {placements} placements"
        )?;
        for (region, demand) in map.regions().iter().zip(self.demand_by_region()) {
            let names = region
                .edges
                .iter()
                .filter_map(|edge| map.edges().get(*edge));
            let names: Vec<&str> = names.map(|edge| edge.name.as_str()).collect();
            let share = demand * 100.0;
            let gbit = region.capacity as f64 / 1e9;
            writeln!(
                out,
                "{:<14} id {:>5}  {share:>5.1} % of demand  {gbit:>7.1} Gbit/s  {}",
                region.name,
                region.id,
                names.join(" "),
            )?;
        }
        Ok(())
    }

    /// CSV `first,last,unit,demand`: the ranges as they are, unmapped ones with an empty unit.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_ranges(&self, out: &mut impl Write) -> io::Result<()> {
        writeln!(out, "first,last,unit,demand")?;
        for Span { first, last, unit } in self.map.ranges() {
            match unit {
                Some(unit) => {
                    let demand = self.map.demand(unit).unwrap_or(0);
                    writeln!(out, "{first},{last},{},{demand}", unit.0)?;
                }
                None => writeln!(out, "{first},{last},,")?,
            }
        }
        Ok(())
    }

    /// CSV `prefix,region,share`: disjoint networks, one line for each region with a share (a fraction; the
    /// shares of one network add up to 1). Fallbacks have no share and are not listed.
    ///
    /// # Errors
    /// If `out` cannot be written.
    pub fn write_placements(&self, out: &mut impl Write, class: u8) -> io::Result<()> {
        writeln!(out, "prefix,region,share")?;
        let mut pending: Option<(Span, Vec<Choice>)> = None;
        for span in self.map.ranges() {
            let view = span.unit.and_then(|unit| self.map.placement(unit, class));
            let choices = view.map_or(&[][..], |view| view.choices);
            let shared: Vec<Choice> = choices.iter().filter(|c| c.share > 0).copied().collect();
            match &mut pending {
                Some((run, same)) if *same == shared && same_family(run.first, span.first) => {
                    run.last = span.last;
                }
                _ => {
                    if let Some((run, shared)) = pending.replace((span, shared)) {
                        self.write_run(out, &run, &shared)?;
                    }
                }
            }
        }
        match pending {
            Some((run, shared)) => self.write_run(out, &run, &shared),
            None => Ok(()),
        }
    }

    fn write_run(&self, out: &mut impl Write, run: &Span, shared: &[Choice]) -> io::Result<()> {
        if shared.is_empty() {
            return Ok(());
        }
        for block in run.blocks() {
            for choice in shared {
                let region = self
                    .map
                    .region(choice.region)
                    .map_or("?", |region| &region.name);
                writeln!(out, "{block},{region},{}", f64::from(choice.share) / 1000.0)?;
            }
        }
        Ok(())
    }
}

fn same_family(a: IpAddr, b: IpAddr) -> bool {
    a.is_ipv4() == b.is_ipv4()
}
