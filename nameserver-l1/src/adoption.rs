//! Which new versions are taken up. A version that cannot be read, or does not fit the rest, is refused
//! and the one before keeps serving; it is tried again whenever something else changes, so that two
//! files edited together are taken up together.

use std::collections::BTreeMap;

use service::diagnostic::Report;

use crate::{
    checks::cross_check,
    inputs::Arrival,
    world::{Source, Version, World},
};

/// The world in force and what waits to get into it.
#[derive(Default)]
pub struct Adoption {
    world: World,
    /// Read, and not fitting yet.
    pending: BTreeMap<Source, Version>,
}

/// What became of the arrivals.
#[derive(Default)]
pub struct Outcome {
    /// The world is another one than before.
    pub changed: bool,
    /// Sources whose newest version is now in force.
    pub adopted: Vec<Source>,
    /// Sources whose newest version is refused, with the reasons.
    pub refused: Vec<(Source, Report)>,
}

impl Adoption {
    /// The world in force.
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Takes up what fits.
    pub fn take(&mut self, arrivals: Vec<Arrival>) -> Outcome {
        let mut outcome = Outcome::default();
        if arrivals.is_empty() {
            return outcome;
        }
        for (source, version) in arrivals {
            match version {
                Ok(version) => {
                    self.pending.insert(source, version);
                }
                Err(report) => {
                    // What waited from this source is no longer what its file says.
                    self.pending.remove(&source);
                    outcome.changed |= self.world.mark_unloaded(&source);
                    outcome.refused.push((source, report));
                }
            }
        }
        self.adopt(&mut outcome);
        outcome
    }

    /// All that waits, if it fits together; else one after the other, what fits the rest.
    fn adopt(&mut self, outcome: &mut Outcome) {
        if self.pending.is_empty() {
            return;
        }
        let everything = self.with(self.pending.iter());
        let misfits = cross_check(&everything);
        if misfits.errors() == 0 {
            self.world = everything;
            outcome.changed = true;
            outcome
                .adopted
                .extend(std::mem::take(&mut self.pending).into_keys());
            return;
        }
        for source in self.pending.keys().cloned().collect::<Vec<_>>() {
            let alone = self.with(self.pending.get_key_value(&source).into_iter());
            let report = cross_check(&alone);
            if report.errors() == 0 {
                self.world = alone;
                self.pending.remove(&source);
                outcome.changed = true;
                outcome.adopted.push(source);
            } else {
                outcome.refused.push((source, report));
            }
        }
    }

    fn with<'a>(&self, versions: impl Iterator<Item = (&'a Source, &'a Version)>) -> World {
        let mut world = self.world.clone();
        for (source, version) in versions {
            world.set(source, version.clone());
        }
        world
    }
}
