//! The history of a zone: what each change took away and brought, so that a secondary gets the
//! differences alone (RFC 1995). Kept in memory within bounds; the oldest step goes first.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::is_newer;
use crate::rrset::RrSet;
use crate::rtype;
use crate::zone::{Node, Zone};

/// How much history of a zone is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Changes.
    pub steps: usize,
    /// Octets of owners and data in all of them.
    pub octets: usize,
}

impl Default for Bounds {
    /// A day of changes every quarter of an hour, and no more memory than a large zone has.
    fn default() -> Self {
        Self {
            steps: 100,
            octets: 16 << 20,
        }
    }
}

/// Records of one owner that came or went.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) owner: Box<[u8]>,
    pub(super) set: RrSet,
}

/// One change of a zone, from one serial to the next; SOA records stand apart.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) before: RrSet,
    pub(super) removed: Vec<Change>,
    pub(super) after: RrSet,
    pub(super) added: Vec<Change>,
    pub(super) octets: usize,
}

/// The history of one zone. Steps are shared, so a copy costs little.
#[derive(Debug, Clone, Default)]
pub struct Journal {
    steps: VecDeque<Arc<Step>>,
    /// A serial under which two contents were seen: no difference may start there.
    ambiguous: Option<u32>,
}

/// What a new version of a zone does to its history.
#[derive(Debug)]
pub enum Advance {
    /// Nothing changed.
    Same,
    /// The serial rose: the history with the new step.
    Recorded(Journal),
    /// The zone changed under its old serial: secondaries will not notice. The history begins anew.
    SerialKept(Journal),
    /// The serial went back: secondaries hold on to what they have. The history begins anew.
    SerialLowered(Journal),
}

impl Journal {
    /// Compares two versions of a zone.
    pub fn advance(&self, old: &Zone, new: &Zone, bounds: Bounds) -> Advance {
        let (before, after) = (old.serial(), new.serial());
        let step = Step::between(old, new);
        let mut next = Self::default();
        if before == after {
            if step.is_empty() {
                return Advance::Same;
            }
            next.ambiguous = Some(after);
            return Advance::SerialKept(next);
        }
        if !is_newer(after, before) {
            return Advance::SerialLowered(next);
        }
        if self.ambiguous != Some(before) {
            next.steps.clone_from(&self.steps);
            next.steps.push_back(Arc::new(step));
        }
        next.trim(bounds);
        Advance::Recorded(next)
    }

    /// Drops the oldest steps until the rest is within bounds.
    fn trim(&mut self, bounds: Bounds) {
        let mut octets: usize = self.steps.iter().map(|step| step.octets).sum();
        while self.steps.len() > bounds.steps || octets > bounds.octets {
            let Some(oldest) = self.steps.pop_front() else {
                return;
            };
            octets -= oldest.octets;
        }
    }

    /// The steps that lead from `serial` to this version of the zone; `None` if that is too long ago,
    /// or if the whole zone is smaller.
    pub(super) fn since(&self, serial: u32, zone: &Zone) -> Option<Vec<Arc<Step>>> {
        let starts = |step: &Arc<Step>| serial_of(&step.before) == Some(serial);
        let first = self.steps.iter().position(starts)?;
        let steps: Vec<Arc<Step>> = self.steps.range(first..).cloned().collect();
        let leads_here = steps.last()?.after == *zone.soa();
        let octets: usize = steps.iter().map(|step| step.octets).sum();
        (leads_here && octets <= zone.octets()).then_some(steps)
    }

    /// How many steps there are.
    pub fn len(&self) -> usize {
        self.steps.len()
    }

    /// True without any step: every secondary gets the whole zone.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }
}

/// The serial of a SOA record (RFC 1035 §3.3.13).
pub(super) fn serial_of(soa: &RrSet) -> Option<u32> {
    serial_in(soa.rdatas().next()?)
}

/// The serial in the data of a SOA record.
pub(super) fn serial_in(data: &[u8]) -> Option<u32> {
    let numbers = data.last_chunk::<20>()?;
    numbers.first_chunk::<4>().copied().map(u32::from_be_bytes)
}

impl Step {
    fn between(old: &Zone, new: &Zone) -> Self {
        let mut step = Self {
            before: old.soa().clone(),
            removed: Vec::new(),
            after: new.soa().clone(),
            added: Vec::new(),
            octets: 0,
        };
        for (owner, node) in old.ordered() {
            let gone = missing_in(node, new.exact(owner));
            step.removed.extend(changes(node, gone));
        }
        for (owner, node) in new.ordered() {
            let come = missing_in(node, old.exact(owner));
            step.added.extend(changes(node, come));
        }
        let all = step.removed.iter().chain(&step.added);
        step.octets = all
            .map(|change| change.owner.len() + change.set.octets())
            .sum();
        step
    }

    /// True if nothing differs, the SOA record included.
    fn is_empty(&self) -> bool {
        self.removed.is_empty() && self.added.is_empty() && self.before == self.after
    }
}

fn changes(node: &Node, sets: Vec<RrSet>) -> impl Iterator<Item = Change> {
    sets.into_iter().map(|set| Change {
        owner: node.owner().into(),
        set,
    })
}

/// The records of `node` that `other` has not; a set with another TTL counts as wholly other.
fn missing_in(node: &Node, other: Option<&Node>) -> Vec<RrSet> {
    let sets = node.rrsets().iter().filter(|set| set.rtype != rtype::SOA);
    let missing = sets.filter_map(|set| {
        let there = other.and_then(|other| other.rrset(set.rtype));
        let Some(there) = there.filter(|there| there.ttl == set.ttl) else {
            return Some(set.clone());
        };
        if there == set {
            return None;
        }
        let known: HashSet<&[u8]> = there.rdatas().collect();
        set.filtered(|data| !known.contains(data))
    });
    missing.collect()
}
