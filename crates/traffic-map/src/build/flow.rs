//! The exact assignment of demand to regions with capacities: a min-cost flow.
//!
//! Demand is let in one unit at a time, each along the cheapest path in the residual graph (successive
//! shortest paths), which keeps the flow optimal at every step. The residual graph is small: its nodes are
//! the regions, and the edge from `a` to `b` is the unit in `a` that is cheapest to move to `b`, kept in a
//! heap per pair. Only full regions need edges, since a path may end wherever there is room.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// What has to go where, at which cost.
#[derive(Clone, Debug, Default)]
pub struct Problem {
    /// Demand of each unit.
    pub supply: Vec<u64>,
    /// Cost per demand of unit `u` in region `r` at `u * regions + r`, in microseconds.
    pub cost: Vec<u32>,
    /// Room in each region.
    pub capacity: Vec<u64>,
    /// Cost per demand that is placed nowhere.
    pub unplaced_cost: u32,
}

/// An optimum of a [`Problem`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Solution {
    /// For each unit, the regions it is in and how much of it; ascending regions. What is missing is unplaced.
    pub flow: Vec<Vec<(usize, u64)>>,
    /// Demand placed nowhere.
    pub unplaced: u64,
    /// Sum of flow times cost, unplaced demand included.
    pub objective: u128,
}

/// Solves the problem exactly. Equal inputs give equal solutions.
pub fn assign(problem: &Problem) -> Solution {
    let mut network = Network::new(problem);
    for unit in 0..problem.supply.len() {
        network.insert(unit);
    }
    network.finish()
}

/// No unit can be moved.
const NO_EDGE: Edge = (i64::MAX / 4, u32::MAX);
/// Cost of a move, and the unit that makes it.
type Edge = (i64, u32);

struct Network<'p> {
    problem: &'p Problem,
    /// Regions; node number `regions` is "nowhere", which has room for everything.
    regions: usize,
    nodes: usize,
    room: Vec<u64>,
    /// Units that have ever been in a region; some may have left.
    members: Vec<Vec<u32>>,
    flow: Vec<Vec<(usize, u64)>>,
    /// Moves out of full regions at `from * nodes + to`; entries of units that left are dropped when seen.
    heaps: Vec<BinaryHeap<Reverse<Edge>>>,
    /// The cheapest valid move for each pair.
    edges: Vec<Edge>,
    full: Vec<usize>,
}

impl<'p> Network<'p> {
    fn new(problem: &'p Problem) -> Network<'p> {
        let regions = problem.capacity.len();
        let nodes = regions + 1;
        let mut room = problem.capacity.clone();
        room.push(u64::MAX);
        let mut network = Network {
            problem,
            regions,
            nodes,
            room,
            members: vec![Vec::new(); nodes],
            flow: vec![Vec::new(); problem.supply.len()],
            heaps: (0..nodes * nodes).map(|_| BinaryHeap::new()).collect(),
            edges: vec![NO_EDGE; nodes * nodes],
            full: Vec::new(),
        };
        for region in 0..regions {
            network.note_if_full(region);
        }
        network
    }

    fn cost(&self, unit: usize, node: usize) -> i64 {
        if node == self.regions {
            return i64::from(self.problem.unplaced_cost);
        }
        let cost = self.problem.cost.get(unit * self.regions + node).copied();
        i64::from(cost.unwrap_or(u32::MAX))
    }

    fn flow_of(&self, unit: usize, node: usize) -> u64 {
        let flow = self
            .flow
            .get(unit)
            .and_then(|flow| flow.iter().find(|(at, _)| *at == node));
        flow.map_or(0, |(_, amount)| *amount)
    }

    fn room(&self, node: usize) -> u64 {
        self.room.get(node).copied().unwrap_or(0)
    }

    fn edge(&self, from: usize, to: usize) -> Edge {
        self.edges
            .get(from * self.nodes + to)
            .copied()
            .unwrap_or(NO_EDGE)
    }

    /// Lets one unit's demand in.
    fn insert(&mut self, unit: usize) {
        let mut left = self.problem.supply.get(unit).copied().unwrap_or(0);
        while left > 0 {
            let path = self.cheapest_path(unit);
            let mut amount = left.min(path.last().map_or(0, |end| self.room(*end)));
            for step in path.windows(2) {
                let [from, to] = *step else { continue };
                let mover = self.edge(from, to).1 as usize;
                amount = amount.min(self.flow_of(mover, from));
            }
            if amount == 0 {
                return; // cannot be: a path ends where there is room and moves units that are there
            }
            let movers: Vec<(usize, usize, usize)> = path
                .windows(2)
                .filter_map(|step| match *step {
                    [from, to] => Some((self.edge(from, to).1 as usize, from, to)),
                    _ => None,
                })
                .collect();
            for (mover, from, to) in movers {
                self.change(mover, from, amount, false);
                self.change(mover, to, amount, true);
            }
            if let (Some(first), Some(last)) = (path.first(), path.last()) {
                self.change(unit, *first, amount, true);
                if let Some(room) = self.room.get_mut(*last) {
                    *room -= amount;
                }
                self.note_if_full(*last);
            }
            for node in path {
                self.refresh(node);
            }
            left -= amount;
        }
    }

    /// The cheapest way in for this unit: the region it enters, then the regions that units are moved to,
    /// the last of which has room. Bellman and Ford's algorithm, as moves may have negative cost.
    fn cheapest_path(&self, unit: usize) -> Vec<usize> {
        let mut distance: Vec<i64> = (0..self.nodes).map(|node| self.cost(unit, node)).collect();
        let mut before: Vec<Option<usize>> = vec![None; self.nodes];
        // A region with room that is nearest by itself cannot be beaten by a detour: otherwise the flow
        // so far would not be optimal.
        let nearest = (0..self.nodes).min_by_key(|node| (distance.get(*node).copied(), *node));
        if let Some(nearest) = nearest.filter(|node| self.room(*node) > 0) {
            return vec![nearest];
        }
        let mut changed = true;
        let mut rounds = 0;
        while changed && rounds <= self.nodes {
            changed = false;
            rounds += 1;
            for from in &self.full {
                let base = distance.get(*from).copied().unwrap_or(i64::MAX / 2);
                let row = self
                    .edges
                    .get(from * self.nodes..(from + 1) * self.nodes)
                    .unwrap_or(&[]);
                for ((to, edge), known) in row.iter().enumerate().zip(distance.iter_mut()) {
                    if base + edge.0 < *known {
                        *known = base + edge.0;
                        if let Some(before) = before.get_mut(to) {
                            *before = Some(*from);
                        }
                        changed = true;
                    }
                }
            }
        }
        let with_room = (0..self.nodes).filter(|node| self.room(*node) > 0);
        let mut at = with_room.min_by_key(|node| (distance.get(*node).copied(), *node));
        let mut path = Vec::new();
        while let Some(node) = at.filter(|_| path.len() <= self.nodes) {
            path.push(node);
            at = before.get(node).copied().flatten();
        }
        path.reverse();
        path
    }

    fn change(&mut self, unit: usize, node: usize, amount: u64, more: bool) {
        let Some(flow) = self.flow.get_mut(unit) else {
            return;
        };
        match flow.iter().position(|(at, _)| *at == node) {
            Some(index) => {
                if let Some(entry) = flow.get_mut(index) {
                    entry.1 = if more {
                        entry.1 + amount
                    } else {
                        entry.1 - amount
                    };
                    if entry.1 == 0 {
                        flow.swap_remove(index);
                    }
                }
            }
            None if more => {
                flow.push((node, amount));
                if let Some(members) = self.members.get_mut(node) {
                    members.push(unit as u32);
                }
                if self.full.contains(&node) {
                    self.offer(unit, node);
                }
            }
            None => {}
        }
    }

    /// A region that has just filled up gets its heaps; it stays in the graph from then on, as the flow
    /// through a region that was full never falls.
    fn note_if_full(&mut self, node: usize) {
        if self.room(node) > 0 || self.full.contains(&node) {
            return;
        }
        self.full.push(node);
        let members = self.members.get(node).cloned().unwrap_or_default();
        for to in (0..self.nodes).filter(|to| *to != node) {
            let moves = members
                .iter()
                .filter(|unit| self.flow_of(**unit as usize, node) > 0);
            let moves: Vec<Reverse<Edge>> = moves
                .map(|unit| {
                    let delta = self.cost(*unit as usize, to) - self.cost(*unit as usize, node);
                    Reverse((delta, *unit))
                })
                .collect();
            if let Some(heap) = self.heaps.get_mut(node * self.nodes + to) {
                *heap = BinaryHeap::from(moves);
            }
        }
        self.refresh(node);
    }

    /// Enters a unit that has come to a full region into that region's heaps.
    fn offer(&mut self, unit: usize, node: usize) {
        for to in (0..self.nodes).filter(|to| *to != node) {
            let delta = self.cost(unit, to) - self.cost(unit, node);
            if let Some(heap) = self.heaps.get_mut(node * self.nodes + to) {
                heap.push(Reverse((delta, unit as u32)));
            }
        }
    }

    /// Looks up the cheapest moves out of a region again.
    fn refresh(&mut self, node: usize) {
        if !self.full.contains(&node) {
            return;
        }
        for to in 0..self.nodes {
            let at = node * self.nodes + to;
            let mut best = NO_EDGE;
            while let Some(Reverse(top)) = self.heaps.get(at).and_then(BinaryHeap::peek).copied() {
                if self.flow_of(top.1 as usize, node) > 0 {
                    best = top;
                    break;
                }
                if let Some(heap) = self.heaps.get_mut(at) {
                    heap.pop();
                }
            }
            if let Some(edge) = self.edges.get_mut(at) {
                *edge = best;
            }
        }
    }

    fn finish(mut self) -> Solution {
        let (mut unplaced, mut objective) = (0, 0_u128);
        for unit in 0..self.flow.len() {
            let entries = self.flow.get(unit).cloned().unwrap_or_default();
            for (node, amount) in &entries {
                objective += u128::from(*amount) * self.cost(unit, *node) as u128;
                unplaced += if *node == self.regions { *amount } else { 0 };
            }
            if let Some(flow) = self.flow.get_mut(unit) {
                flow.retain(|(node, _)| *node != self.regions);
                flow.sort_unstable();
            }
        }
        Solution {
            flow: self.flow,
            unplaced,
            objective,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The least cost over every way to distribute every unit.
    fn brute_force(problem: &Problem, unit: usize, room: &mut Vec<u64>) -> u128 {
        let Some(supply) = problem.supply.get(unit) else {
            return 0;
        };
        split(problem, unit, 0, *supply, room)
    }

    fn split(
        problem: &Problem,
        unit: usize,
        region: usize,
        left: u64,
        room: &mut Vec<u64>,
    ) -> u128 {
        if region == room.len() {
            let here = u128::from(left) * u128::from(problem.unplaced_cost);
            return here + brute_force(problem, unit + 1, room);
        }
        let cost = u128::from(problem.cost[unit * room.len() + region]);
        let mut best = u128::MAX;
        for amount in 0..=left.min(room[region]) {
            room[region] -= amount;
            let rest = split(problem, unit, region + 1, left - amount, room);
            room[region] += amount;
            best = best.min(u128::from(amount) * cost + rest);
        }
        best
    }

    fn problems() -> impl Strategy<Value = Problem> {
        (1..=5_usize, 1..=3_usize).prop_flat_map(|(units, regions)| {
            (
                prop::collection::vec(0..4_u64, units),
                prop::collection::vec(0..20_u32, units * regions),
                prop::collection::vec(0..6_u64, regions),
                0..30_u32,
            )
                .prop_map(|(supply, cost, capacity, unplaced_cost)| Problem {
                    supply,
                    cost,
                    capacity,
                    unplaced_cost,
                })
        })
    }

    /// What the solution says it costs is what it costs, and no region holds more than it can.
    fn check(problem: &Problem, solution: &Solution) {
        let regions = problem.capacity.len();
        let (mut loads, mut cost, mut unplaced) = (vec![0; regions], 0, 0);
        for (unit, flow) in solution.flow.iter().enumerate() {
            let placed: u64 = flow.iter().map(|(_, amount)| amount).sum();
            assert!(placed <= problem.supply[unit]);
            unplaced += problem.supply[unit] - placed;
            for (region, amount) in flow {
                assert!(*amount > 0);
                loads[*region] += amount;
                cost += u128::from(*amount) * u128::from(problem.cost[unit * regions + region]);
            }
        }
        assert!(
            loads
                .iter()
                .zip(&problem.capacity)
                .all(|(load, capacity)| load <= capacity)
        );
        assert_eq!(unplaced, solution.unplaced);
        assert_eq!(
            cost + u128::from(unplaced) * u128::from(problem.unplaced_cost),
            solution.objective
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]
        #[test]
        fn the_objective_is_that_of_trying_everything(problem in problems()) {
            let solution = assign(&problem);
            check(&problem, &solution);
            let mut room = problem.capacity.clone();
            prop_assert_eq!(solution.objective, brute_force(&problem, 0, &mut room));
        }
    }

    /// A larger instance with tight capacities, from a fixed sequence of numbers.
    fn large(units: usize, regions: usize) -> Problem {
        let mut state = 42_u64;
        let mut next = |below: u64| {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) % below
        };
        let supply: Vec<u64> = (0..units).map(|_| 1 + next(1000)).collect();
        let places: Vec<(f64, f64)> = (0..units + regions)
            .map(|_| (next(1000) as f64, next(1000) as f64))
            .collect();
        let mut cost = Vec::new();
        for unit in 0..units {
            for region in 0..regions {
                let (a, b) = (places[units + region], places[unit]);
                cost.push(((a.0 - b.0).hypot(a.1 - b.1) * 100.0) as u32 + next(5000) as u32);
            }
        }
        let total: u64 = supply.iter().sum();
        let capacity = (0..regions)
            .map(|_| total * (50 + next(150)) / 100 / regions as u64)
            .collect();
        Problem {
            supply,
            cost,
            capacity,
            unplaced_cost: 1_000_000,
        }
    }

    #[test]
    fn twenty_thousand_units_on_sixty_four_regions_have_no_better_neighbour() {
        let problem = large(20_000, 64);
        let solution = assign(&problem);
        check(&problem, &solution);
        assert_no_gain(&problem, &solution);
    }

    /// Optimality without a second solver: no cycle of moves between regions may save anything.
    fn assert_no_gain(problem: &Problem, solution: &Solution) {
        let regions = problem.capacity.len();
        let mut loads = vec![0; regions];
        let mut moves = vec![vec![i64::MAX / 4; regions]; regions];
        for (unit, flow) in solution.flow.iter().enumerate() {
            for (from, amount) in flow {
                loads[*from] += amount;
                let cost = |region: usize| i64::from(problem.cost[unit * regions + region]);
                for (to, best) in moves[*from].iter_mut().enumerate() {
                    *best = (*best).min(cost(to) - cost(*from));
                }
            }
        }
        // Room at the end of a chain is a move back from the place with room to anywhere, at no cost.
        for (region, load) in loads.iter().enumerate() {
            if *load < problem.capacity[region] {
                moves[region]
                    .iter_mut()
                    .for_each(|cost| *cost = (*cost).min(0));
            }
        }
        for middle in 0..regions {
            for from in 0..regions {
                for to in 0..regions {
                    let via = moves[from][middle].saturating_add(moves[middle][to]);
                    moves[from][to] = moves[from][to].min(via);
                }
            }
        }
        assert!(
            (0..regions).all(|region| moves[region][region] >= 0),
            "a cycle saves cost"
        );
    }
}
