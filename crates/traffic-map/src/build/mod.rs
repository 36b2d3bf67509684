//! Builds the map: rows → disjoint ranges → units → scores → assignment → placements. Pure and deterministic.

mod explain;
mod flatten;
pub mod flow;
mod place;
mod score;
mod units;

pub use explain::{Candidate, Explained, Source};
pub use score::{Evidence, Score, great_circle_km};
pub use units::{Unit, UnitKey};

use crate::build::flatten::{Flat, Row, flatten, v4_span, v6_span};
use crate::build::flow::Problem;
use crate::build::place::{Basis, forced, place};
use crate::build::score::Sample;
use crate::map::{Map, MapError, MapParts, Region};
use crate::placement::Choice;
use crate::prefixes::{Demand, Prefix};
use crate::services::Services;
use crate::subnet::Subnet;
use crate::world::World;

/// A measured round trip, with the region as an id.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Measurement {
    /// Unix seconds.
    pub ts: u64,
    /// The client's network.
    pub net: Subnet,
    /// Region id.
    pub region: u16,
    /// Microseconds.
    pub rtt_us: u32,
    /// Share of lost packets, 0 to 1.
    pub loss: f32,
    /// Samples behind the line.
    pub n: u32,
}

/// Everything a map is made from.
#[derive(Clone, Copy, Debug)]
pub struct Inputs<'a> {
    /// `world.toml`.
    pub world: &'a World,
    /// `services.toml`.
    pub services: &'a Services,
    /// Rows of all prefix tables.
    pub prefixes: &'a [Prefix],
    /// Rows of the demand table; `None`: demand follows the number of addresses.
    pub demand: Option<&'a [Demand]>,
    /// Lines of all measurement tables.
    pub measurements: &'a [Measurement],
    /// The map in force, which the new one should not leave without need.
    pub previous: Option<&'a Map>,
}

/// A map and how it came about.
#[derive(Clone, Debug)]
pub struct Built {
    /// The map.
    pub map: Map,
    /// In the map's order.
    pub units: Vec<Unit>,
    /// What was decided and how well it fits.
    pub summary: Summary,
    scores: Vec<Score>,
    rows_v4: Flat<u32>,
    rows_v6: Flat<u64>,
}

/// How well the demand fits.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// All demand, in the map's measure, all service classes together.
    pub demand: u64,
    /// Demand beyond all capacity; it is sent to its best regions all the same.
    pub unplaced: u64,
    /// Mean cost of placed demand in microseconds.
    pub mean_cost_us: u64,
    /// For each region of the world: demand and room, in the map's measure.
    pub loads: Vec<(u64, u64)>,
    /// Rows of the demand table in unmapped space.
    pub demand_rows_ignored: usize,
    /// Measurements in unmapped space, or of a region that is not there.
    pub measurements_ignored: usize,
}

/// Cost of moving a unit away from where the previous map has it: a change must save more than this.
/// Measured on noisy inputs: it halves the demand moved, for less than 0.1 ms of mean round trip.
pub const STICKINESS_US: u32 = 5_000;
/// Cost of demand that no region has room for: above every score, so that it is left only when all is full.
const UNPLACED_US: u32 = 1_000_000;
/// Cost of a region that may not serve a class: above leaving the demand unplaced, so never chosen.
const FORBIDDEN_US: u32 = 2_000_000;
/// Share of all capacity that demand amounts to when `load` is not given, in per cent.
const LOAD_PERCENT: u128 = 60;

/// Builds the map.
///
/// # Errors
/// [`MapError`] if the parts do not make a map, such as more different placements than fit.
pub fn build(inputs: &Inputs<'_>) -> Result<Built, MapError> {
    let world = inputs.world;
    let (rows_v4, rows_v6) = flat_rows(inputs);
    let mut grouped = units::group(&rows_v4, &rows_v6, inputs.prefixes);
    let mut summary = Summary::default();
    if let Some(table) = inputs.demand {
        summary.demand_rows_ignored = units::apply_demand(&mut grouped, table);
    }
    let units::Units { units, v4, v6 } = grouped;
    let parts = MapParts {
        ecs: world.ecs,
        v4,
        v6,
        demand: units.iter().map(|unit| unit.demand).collect(),
        placements: Vec::new(),
        regions: regions(world),
        edges: world.edges.clone(),
    };
    // A map without placements already knows which unit a network is in; measurements and stickiness ask it.
    let bare = Map::new(parts.clone())?;
    let samples = samples(inputs, &bare, &mut summary);
    let scores = score::score(&units, &world.regions, &samples);
    let previous = previous_regions(inputs, &bare);
    let placements = assign(inputs, &units, &scores, &previous, &mut summary);
    let map = Map::new(MapParts {
        placements,
        ..parts
    })?;
    Ok(Built {
        map,
        units,
        summary,
        scores,
        rows_v4,
        rows_v6,
    })
}

impl Built {
    /// The scores of a unit, in the order of the world's regions.
    pub fn scores(&self, unit: crate::UnitId) -> &[Score] {
        let regions = self.map.regions().len();
        let from = unit.0 as usize * regions;
        self.scores.get(from..from + regions).unwrap_or(&[])
    }
}

fn flat_rows(inputs: &Inputs<'_>) -> (Flat<u32>, Flat<u64>) {
    let (mut v4, mut v6) = (Vec::new(), Vec::new());
    let mut add = |first, last, row| {
        v4.extend(v4_span(first, last, row));
        v6.extend(v6_span(first, last, row));
    };
    for (prefix, number) in inputs.prefixes.iter().zip(0..) {
        add(prefix.first, prefix.last, Row::Prefix(number));
    }
    for (entry, number) in inputs.world.overrides.iter().zip(0..) {
        for net in &entry.nets {
            let (first, last) = net.bounds();
            add(first, last, Row::Override(number));
        }
    }
    (
        flatten(&v4, inputs.world.ecs.0),
        flatten(&v6, inputs.world.ecs.1),
    )
}

fn regions(world: &World) -> Vec<Region> {
    let regions = world.regions.iter().map(|region| Region {
        id: region.id,
        name: region.name.clone(),
        at: region.at.map(|(lat, lon)| (lat as f32, lon as f32)),
        capacity: region.capacity,
        edges: Vec::new(),
    });
    regions.collect()
}

fn samples(inputs: &Inputs<'_>, bare: &Map, summary: &mut Summary) -> Vec<Sample> {
    let mut samples = Vec::new();
    for (line, measurement) in (0..).zip(inputs.measurements) {
        let region = inputs
            .world
            .regions
            .iter()
            .position(|r| r.id == measurement.region);
        let unit = bare.find(measurement.net).unit;
        let (Some(region), Some(unit)) = (region, unit) else {
            summary.measurements_ignored += 1;
            continue;
        };
        let Measurement {
            ts,
            rtt_us,
            loss,
            n,
            ..
        } = *measurement;
        samples.push(Sample {
            unit,
            region,
            ts,
            rtt_us,
            loss,
            n,
            line,
        });
    }
    samples
}

/// For each class and unit, the regions that share it in the map in force.
fn previous_regions(inputs: &Inputs<'_>, bare: &Map) -> Vec<Vec<Vec<u16>>> {
    let Some(previous) = inputs.previous else {
        return Vec::new();
    };
    let mut first_of = vec![None; bare.unit_count()];
    for span in bare.ranges() {
        if let Some(unit) = span.unit
            && let Some(first @ None) = first_of.get_mut(unit.0 as usize)
        {
            *first = Some(span.first);
        }
    }
    let shared = |first: &Option<std::net::IpAddr>, class| {
        let unit = first.and_then(|first| previous.find(Subnet::host(first)).unit);
        let view = unit.and_then(|unit| previous.placement(unit, class));
        let choices = view.map_or(&[][..], |view| view.choices);
        choices
            .iter()
            .filter(|choice| choice.share > 0)
            .map(|choice| choice.region)
            .collect()
    };
    (0..inputs.services.class_count())
        .map(|class| first_of.iter().map(|first| shared(first, class)).collect())
        .collect()
}

/// Classes that the same regions may serve are one in the assignment.
struct Group {
    classes: Vec<u8>,
    allowed: Vec<bool>,
    weight: u64,
}

fn groups(inputs: &Inputs<'_>) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for class in 0..inputs.services.class_count() {
        let of_class = || inputs.services.services.iter().filter(|s| s.class == class);
        let profile = of_class()
            .next()
            .and_then(|service| service.profile.as_deref());
        let serves = |id| {
            inputs
                .world
                .edges
                .iter()
                .any(|e| e.region == id && e.serves(profile))
        };
        let allowed: Vec<bool> = inputs.world.regions.iter().map(|r| serves(r.id)).collect();
        let weight = of_class().map(|service| u64::from(service.demand)).sum();
        match groups.iter_mut().find(|group| group.allowed == allowed) {
            Some(group) => {
                group.classes.push(class);
                group.weight += weight;
            }
            None => groups.push(Group {
                classes: vec![class],
                allowed,
                weight,
            }),
        }
    }
    groups
}

/// Placements by class and unit.
fn assign(
    inputs: &Inputs<'_>,
    units: &[Unit],
    scores: &[Score],
    previous: &[Vec<Vec<u16>>],
    summary: &mut Summary,
) -> Vec<Vec<Vec<Choice>>> {
    let world = inputs.world;
    let groups = groups(inputs);
    let ids: Vec<u16> = world.regions.iter().map(|region| region.id).collect();
    let row = |unit: usize| {
        scores
            .get(unit * ids.len()..(unit + 1) * ids.len())
            .unwrap_or(&[])
    };
    let weight: u64 = groups.iter().map(|group| group.weight).sum();
    let demand: u64 = units.iter().map(|unit| u64::from(unit.demand)).sum::<u64>() * weight;
    let mut room = rooms(world, demand);
    summary.demand = demand;
    summary.loads = room.iter().map(|room| (0, *room)).collect();
    // Overrides are obeyed first; what they take is no longer there for others.
    let mut load = |region: usize, amount: u64| {
        if let Some(load) = summary.loads.get_mut(region) {
            load.0 += amount;
        }
    };
    for unit in units {
        if let Some(order) = order_of(unit.key, world)
            && let Some(first) = order
                .first()
                .and_then(|id| ids.iter().position(|own| own == id))
        {
            let amount = u64::from(unit.demand) * weight;
            load(first, amount);
            if let Some(room) = room.get_mut(first) {
                *room = room.saturating_sub(amount);
            }
        }
    }
    let mut problem = Problem {
        capacity: room,
        unplaced_cost: UNPLACED_US,
        ..Problem::default()
    };
    let mut sources = Vec::new();
    for (number, group) in groups.iter().enumerate() {
        for (index, unit) in units.iter().enumerate() {
            if order_of(unit.key, world).is_some() {
                continue;
            }
            let class = usize::from(group.classes.first().copied().unwrap_or(0));
            let before = previous.get(class).and_then(|units| units.get(index));
            let before = before.map_or(&[][..], Vec::as_slice);
            sources.push((number, index));
            problem.supply.push(u64::from(unit.demand) * group.weight);
            for ((score, allowed), id) in row(index).iter().zip(&group.allowed).zip(&ids) {
                let sticky = !before.is_empty() && !before.contains(id);
                let cost = score.cost_us + if sticky { STICKINESS_US } else { 0 };
                problem
                    .cost
                    .push(if *allowed { cost } else { FORBIDDEN_US });
            }
        }
    }
    let solution = flow::assign(&problem);
    let spill: Vec<Vec<usize>> = world
        .regions
        .iter()
        .map(|r| {
            r.spill
                .iter()
                .filter_map(|id| ids.iter().position(|own| own == id))
                .collect()
        })
        .collect();
    let mut placed = vec![vec![Vec::new(); units.len()]; groups.len()];
    let mut cost_sum = 0_u128;
    for ((group, index), flow) in sources.into_iter().zip(&solution.flow) {
        for (region, amount) in flow {
            load(*region, *amount);
            let cost = row(index).get(*region).map_or(0, |score| score.cost_us);
            cost_sum += u128::from(*amount) * u128::from(cost);
        }
        let allowed = groups
            .get(group)
            .map_or(&[][..], |group| group.allowed.as_slice());
        let cost: Vec<Option<u32>> = row(index)
            .iter()
            .zip(allowed)
            .map(|(score, allowed)| allowed.then_some(score.cost_us))
            .collect();
        let list = place(&Basis {
            flow,
            cost: &cost,
            spill: &spill,
            ids: &ids,
        });
        if let Some(slot) = placed.get_mut(group).and_then(|units| units.get_mut(index)) {
            *slot = list;
        }
    }
    summary.unplaced = solution.unplaced;
    let carried: u64 = problem.supply.iter().sum::<u64>() - solution.unplaced;
    summary.mean_cost_us = cost_sum.checked_div(u128::from(carried)).unwrap_or(0) as u64;
    by_class(&groups, placed, units, world)
}

/// Hands each class its group's placements, with the overrides put in.
fn by_class(
    groups: &[Group],
    placed: Vec<Vec<Vec<Choice>>>,
    units: &[Unit],
    world: &World,
) -> Vec<Vec<Vec<Choice>>> {
    let classes = groups.iter().map(|group| group.classes.len()).sum();
    let mut by_class = vec![Vec::new(); classes];
    for (group, mut lists) in groups.iter().zip(placed) {
        for (unit, list) in units.iter().zip(lists.iter_mut()) {
            if let Some(order) = order_of(unit.key, world) {
                *list = forced(order);
            }
        }
        for class in &group.classes {
            if let Some(slot) = by_class.get_mut(usize::from(*class)) {
                slot.clone_from(&lists);
            }
        }
    }
    by_class
}

fn order_of(key: UnitKey, world: &World) -> Option<&[u16]> {
    let UnitKey::Override(index) = key else {
        return None;
    };
    world
        .overrides
        .get(index as usize)
        .map(|entry| entry.order.as_slice())
}

/// Each region's capacity in the measure of demand: all demand is `load` bits per second.
fn rooms(world: &World, demand: u64) -> Vec<u64> {
    let total: u128 = world
        .regions
        .iter()
        .map(|region| u128::from(region.capacity))
        .sum();
    let load = world
        .load
        .map_or(total * LOAD_PERCENT / 100, u128::from)
        .max(1);
    let room = |capacity: u64| u128::from(capacity) * u128::from(demand) / load;
    let rooms = world.regions.iter().map(|region| room(region.capacity));
    rooms
        .map(|room| u64::try_from(room).unwrap_or(u64::MAX / 4))
        .collect()
}
