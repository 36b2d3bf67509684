//! Which new versions are taken up. A version that cannot be read, or would take away what is served, is refused
//! and the one before keeps serving; it is tried again whenever something else changes, so that two
//! files edited together are taken up together. A service that does not fit and is not served anyway keeps
//! nothing back: it answers with the zone's own records until it fits.

use std::collections::BTreeMap;

use service::diagnostic::Report;

use crate::{
    checks::{cross_check, harm},
    inputs::Arrival,
    world::{Source, Version, World},
};

/// The world in force and what waits to get into it.
#[derive(Default)]
pub struct Adoption {
    world: World,
    /// Read, and not fitting yet.
    pending: BTreeMap<Source, Version>,
    /// Why what waits was refused, so that a reason that lasts is told once.
    told: BTreeMap<Source, Report>,
    /// Findings about services in force that do not fit; told already.
    told_misfits: Report,
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
    /// News of what in the world in force does not fit.
    pub misfits: Report,
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
            self.told.remove(&source); // it is another version, and gets a refusal of its own
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
        let misfits = cross_check(&self.world).report();
        if misfits != self.told_misfits {
            self.told_misfits = misfits.clone();
            outcome.misfits = misfits;
        }
        outcome
    }

    /// All that waits, if it fits together; else one after the other, what fits the rest.
    fn adopt(&mut self, outcome: &mut Outcome) {
        if self.pending.is_empty() {
            return;
        }
        let everything = self.with(self.pending.iter());
        if harm(&self.world, &everything).is_empty() {
            self.world = everything;
            outcome.changed = true;
            self.told.clear();
            outcome
                .adopted
                .extend(std::mem::take(&mut self.pending).into_keys());
            return;
        }
        for source in self.pending.keys().cloned().collect::<Vec<_>>() {
            let alone = self.with(self.pending.get_key_value(&source).into_iter());
            let harm = harm(&self.world, &alone);
            let comes_in = match source {
                // Without services in force no name is routed: with any of them there is more to serve, never less.
                Source::Services => self.world.services.is_none(),
                // Checked before it was remembered; from then on there is no way back.
                Source::Release => true,
                Source::Keys | Source::Zone(_) => false,
            };
            if comes_in || harm.is_empty() {
                self.world = alone;
                self.pending.remove(&source);
                self.told.remove(&source);
                outcome.changed = true;
                outcome.adopted.push(source);
            } else if self.told.get(&source) != Some(&harm) {
                self.told.insert(source.clone(), harm.clone());
                outcome.refused.push((source, harm));
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
