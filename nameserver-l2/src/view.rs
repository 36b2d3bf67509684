//! The live table: the plan of the release in force and which addresses are live. Readers load one pointer; whoever learns
//! something (a probe, a new release) builds the next table aside and swaps it in.

use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::{ArcSwapOption, Guard};
use tokio::sync::watch;

use crate::config::Probe;
use crate::health::Health;
use crate::plan::{Live, Plan};

/// One frozen state of the world.
#[derive(Debug)]
pub struct Table {
    /// Regions, edges, addresses.
    pub plan: Arc<Plan>,
    /// Which addresses are live.
    pub live: Live,
}

/// The current table, and what the next one will be made from.
#[derive(Debug)]
pub struct View {
    table: ArcSwapOption<Table>,
    health: Mutex<HashMap<SocketAddr, Health>>,
    probe: Probe,
    adopted: watch::Sender<u64>,
}

impl View {
    /// No release yet.
    pub fn new(probe: Probe) -> View {
        View {
            table: ArcSwapOption::empty(),
            health: Mutex::default(),
            probe,
            adopted: watch::Sender::new(0),
        }
    }

    /// The current table; `None` before the first release. Lock-free.
    pub fn table(&self) -> Guard<Option<Arc<Table>>> {
        self.table.load()
    }

    /// Takes over a release. What is known about addresses that stay is kept; new ones count as live.
    pub fn adopt(&self, plan: Plan) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let targets: HashSet<&SocketAddr> = plan.targets.iter().collect();
        health.retain(|target, _| targets.contains(target));
        self.publish(&health, Arc::new(plan));
        drop(health);
        self.adopted.send_modify(|count| *count += 1);
    }

    /// Takes in one probe of an address; true when that made it live or dead.
    pub fn report(&self, target: SocketAddr, good: bool) -> bool {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(plan) = self.table.load().as_ref().map(|table| table.plan.clone()) else {
            return false;
        };
        let changed = health
            .entry(target)
            .or_insert_with(Health::fresh)
            .record(good, &self.probe);
        if changed {
            self.publish(&health, plan);
        }
        changed
    }

    /// Changes whenever a release is adopted.
    pub fn adoptions(&self) -> watch::Receiver<u64> {
        self.adopted.subscribe()
    }

    /// Under the lock of `health`, so that no table is overtaken by an older one.
    fn publish(&self, health: &HashMap<SocketAddr, Health>, plan: Arc<Plan>) {
        let live = |target: &SocketAddr| health.get(target).is_none_or(|health| health.is_live());
        let live = plan.targets.iter().map(live).collect();
        self.table.store(Some(Arc::new(Table { plan, live })));
    }
}

#[cfg(test)]
mod tests {
    use traffic_map::{Edge, Map, MapParts, Region};

    use super::*;

    fn plan(generation: u64, addresses: &[&str]) -> Plan {
        let edge = |address: &&str| Edge {
            name: (*address).to_owned(),
            region: 1,
            addresses: vec![address.parse().unwrap()],
            rtsp_port: 1,
            handoff: None,
            capacity_sessions: 1,
            public_key: None,
            profiles: Vec::new(),
        };
        let region = Region {
            id: 1,
            name: "r".into(),
            at: None,
            capacity: 1,
            edges: Vec::new(),
        };
        let map = Map::new(MapParts {
            ecs: (24, 56),
            v4: vec![(0, None)],
            v6: vec![(0, None)],
            regions: vec![region],
            edges: addresses.iter().map(edge).collect(),
            ..MapParts::default()
        });
        Plan::new(generation, 0, map.unwrap(), None)
    }

    fn live(view: &View) -> Live {
        view.table().as_ref().unwrap().live.clone()
    }

    #[test]
    fn a_new_release_keeps_what_is_known_and_counts_new_addresses_as_live() {
        let view = View::new(Probe {
            fall: 1,
            ..Probe::default()
        });
        let dead = "127.0.0.1:1".parse().unwrap();
        assert!(!view.report(dead, false), "no release, nothing to know");
        view.adopt(plan(1, &["127.0.0.1", "127.0.0.2"]));
        assert_eq!(live(&view), [true, true]);
        assert!(view.report(dead, false));
        view.adopt(plan(2, &["127.0.0.0", "127.0.0.1"]));
        assert_eq!(live(&view), [true, false]);
        view.adopt(plan(3, &["127.0.0.0"]));
        view.adopt(plan(4, &["127.0.0.1"]));
        assert_eq!(
            live(&view),
            [true],
            "one that left and came back is a new one"
        );
    }
}
