//! Zones that go to other servers: who may have them, what has changed in them, and who is told.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;

use dns_engine::transfer::{Advance, Bounds, Journal, Rule, ZonePolicy};
use dns_engine::{Zone, Zones};

use super::settings::{Transfer, shown};

/// The zones that somebody may have, by their lower-cased wire names.
#[derive(Debug, Default)]
pub(crate) struct Providing {
    zones: BTreeMap<Box<[u8]>, Provided>,
}

#[derive(Debug, Default)]
struct Provided {
    rules: Vec<Rule>,
    targets: Vec<Target>,
    journal: Journal,
    /// The version that was served last.
    zone: Option<Arc<Zone>>,
}

/// A server that is told when a zone changes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Target {
    pub(super) address: SocketAddr,
    /// Lower-cased wire name of the key that signs.
    pub(super) key: Option<Box<[u8]>>,
}

/// A zone has a new version that these are to be told of.
#[derive(Debug)]
pub(crate) struct Notice {
    pub(super) zone: Arc<Zone>,
    pub(super) targets: Vec<Target>,
}

impl Providing {
    pub(crate) fn new(settings: &Transfer) -> Self {
        let mut providing = Self::default();
        for provide in &settings.provide {
            let key = provide.key.as_ref().map(|key| key.wire().into());
            for zone in &provide.zones {
                let provided = providing.zones.entry(zone.wire().into()).or_default();
                provided.rules.push(provide.rule.clone());
                let targets = provide.notify.iter().map(|address| Target {
                    address: *address,
                    key: key.clone(),
                });
                provided.targets.extend(targets);
            }
        }
        providing
    }

    /// Compares the zones with those before: what has changed is remembered for differences, and who is to be told of it
    /// is returned. A zone that comes for the first time counts as changed, as nobody knows who has which version.
    pub(crate) fn follow(&mut self, zones: &Zones) -> Vec<Notice> {
        let mut notices = Vec::new();
        for (origin, provided) in &mut self.zones {
            let notice = provided.follow(zones.shared(origin), origin);
            notices.extend(notice.filter(|notice| !notice.targets.is_empty()));
        }
        notices
    }

    /// Who may have which zone, and its history.
    pub(super) fn policies(&self) -> impl Iterator<Item = (&[u8], ZonePolicy)> {
        self.zones.iter().map(|(origin, provided)| {
            let policy = ZonePolicy {
                provide: provided.rules.clone(),
                journal: provided.journal.clone(),
                ..ZonePolicy::default()
            };
            (&**origin, policy)
        })
    }

    /// The zones that are there, with their serials.
    pub(super) fn serials(&self) -> impl Iterator<Item = (&[u8], u32)> {
        let there = self.zones.iter();
        there.filter_map(|(origin, provided)| Some((&**origin, provided.zone.as_ref()?.serial())))
    }
}

impl Provided {
    fn follow(&mut self, new: Option<&Arc<Zone>>, origin: &[u8]) -> Option<Notice> {
        let old = std::mem::replace(&mut self.zone, new.cloned());
        let new = new?;
        let Some(old) = old else {
            return Some(self.notice(new));
        };
        if Arc::ptr_eq(&old, new) {
            return None;
        }
        let (zone, serial, before) = (shown(origin), new.serial(), old.serial());
        match self.journal.advance(&old, new, Bounds::default()) {
            Advance::Same => None,
            Advance::Recorded(journal) => {
                tracing::info!(zone, before, serial, "a new version for secondaries");
                self.journal = journal;
                Some(self.notice(new))
            }
            Advance::SerialKept(journal) => {
                self.journal = journal;
                tracing::warn!(
                    zone,
                    serial,
                    "the zone has changed and its serial has not: secondaries keep what they have"
                );
                None
            }
            Advance::SerialLowered(journal) => {
                self.journal = journal;
                tracing::warn!(
                    zone,
                    before,
                    serial,
                    "the serial has gone back: secondaries keep what they have"
                );
                None
            }
        }
    }

    fn notice(&self, zone: &Arc<Zone>) -> Notice {
        Notice {
            zone: Arc::clone(zone),
            targets: self.targets.clone(),
        }
    }
}

#[cfg(test)]
mod tests {
    use dns_engine::zonefile;

    use super::*;

    fn zones(serial: u32, address: &str) -> Zones {
        let text = format!("@ 60 SOA n.b. m.b. {serial} 1 1 9 1\n@ 60 NS n.b.\nw 60 A {address}");
        let mut zones = Zones::new();
        let zone = zonefile::parse("a", &text, Some("a.")).unwrap();
        assert!(zones.insert(zone).is_ok());
        zones
    }

    #[test]
    fn secondaries_are_told_of_versions_that_they_would_take() {
        let text = "[[provide]]\nzones = [\"A.\"]\nnetworks = [\"192.0.2.1\"]\nnotify = [\"192.0.2.1:53\"]";
        let settings = service::config::parse("x.toml", text).unwrap();
        let mut providing = Providing::new(&settings);
        let mut check = |zones: &Zones, told: bool, steps: usize| {
            let notices = providing.follow(zones);
            assert_eq!(notices.len(), usize::from(told));
            let (_, policy) = providing.policies().next().unwrap();
            assert_eq!(policy.journal.len(), steps);
        };
        check(&Zones::new(), false, 0);
        let first = zones(1, "192.0.2.1");
        check(&first, true, 0);
        check(&first, false, 0);
        check(&zones(1, "192.0.2.1"), false, 0);
        check(&zones(2, "192.0.2.2"), true, 1);
        check(&zones(3, "192.0.2.3"), true, 2);
        check(&zones(3, "192.0.2.4"), false, 0);
        check(&zones(4, "192.0.2.4"), true, 0);
        check(&zones(2, "192.0.2.4"), false, 0);
        // Away and back: nobody knows what secondaries have.
        check(&Zones::new(), false, 0);
        check(&zones(2, "192.0.2.4"), true, 0);
    }
}
