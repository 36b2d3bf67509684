//! The keys in the folder, and the steps that make new ones, move them on and delete them.

use std::fmt::Write as _;

use anyhow::Context;
use dns_engine::dnssec::roll::{self, Planned};
use dns_engine::dnssec::{Algorithm, Role, Timing};
use service::diagnostic::Report;

use super::super::key_file::KeyFile;
use super::super::{Dnssec, KeyFolder, Moment, ZoneName};
use super::Keys;

/// Tries to make a key whose tag no other key of the zone has; two of 65,536 seldom meet.
const TRIES: usize = 8;

/// A step of a roll for one key.
type Step = fn(&mut [Planned], usize, &roll::RollPolicy, u64) -> Result<(), roll::RollError>;

/// Every key in the folder.
pub(super) struct Ring<'s> {
    pub(super) settings: &'s Dnssec,
    pub(super) keys: Vec<KeyFile>,
    pub(super) now: Moment,
}

impl<'s> Ring<'s> {
    pub(super) fn read(settings: &'s Dnssec, now: Moment) -> anyhow::Result<Self> {
        std::fs::create_dir_all(&settings.keys)
            .with_context(|| format!("{} cannot be made", settings.keys.display()))?;
        let mut folder = KeyFolder::new(&settings.keys);
        let mut report = Report::default();
        folder.poll(&mut report);
        // Planning needs to know all keys: a step that overlooks one could break the chain.
        anyhow::ensure!(report.is_empty(), "{report}");
        Ok(Self {
            settings,
            keys: folder.keys().cloned().collect(),
            now,
        })
    }

    pub(super) fn of(&self, zone: &ZoneName) -> impl Iterator<Item = &KeyFile> {
        self.keys.iter().filter(|key| key.zone == zone.wire())
    }

    /// Age in seconds and algorithm of the newest key with one of these roles that is in use.
    pub(super) fn newest(&self, zone: &ZoneName, keys: Keys) -> Option<(u64, Algorithm)> {
        let roles = keys.roles();
        let same_work = |key: &&KeyFile| {
            let role = key.scheduled.key.role();
            roles.iter().any(|new| {
                new.signs_keys() && role.signs_keys() || new.signs_data() && role.signs_data()
            })
        };
        let in_use = |key: &&KeyFile| key.scheduled.timing.is_published(self.now.0);
        let newest = self
            .of(zone)
            .filter(same_work)
            .filter(in_use)
            .max_by_key(|key| key.scheduled.timing.publish)?;
        let age = self.now.0.saturating_sub(newest.scheduled.timing.publish);
        Some((age, newest.scheduled.key.algorithm()))
    }

    /// Plans new keys; those there are get their end only after the new ones are on disk.
    pub(super) fn begin(
        &mut self,
        zone: &ZoneName,
        keys: Keys,
        algorithm: Algorithm,
    ) -> anyhow::Result<()> {
        let (policy, now) = (&self.settings.policy.roll, self.now.0);
        let mut planned = self.planned(zone);
        let timings = roll::begin(&mut planned, keys.roles(), algorithm, policy, now)?;
        let mut made = Vec::new();
        for (role, timing) in keys.roles().iter().zip(timings) {
            let key = self.make(zone, *role, algorithm, timing, &made)?;
            key.write()
                .with_context(|| format!("{} cannot be written", key.path.display()))?;
            made.push(key);
        }
        self.change(zone, &planned)?;
        self.keys.extend(made);
        Ok(())
    }

    fn make(
        &self,
        zone: &ZoneName,
        role: Role,
        algorithm: Algorithm,
        timing: Timing,
        made: &[KeyFile],
    ) -> anyhow::Result<KeyFile> {
        for _ in 0..TRIES {
            let folder = &self.settings.keys;
            let key = KeyFile::generate(folder, zone.wire(), role, algorithm, timing, self.now.0)?;
            let tag = key.scheduled.key.tag();
            let taken = |other: &KeyFile| other.scheduled.key.tag() == tag;
            if !self.of(zone).chain(made).any(taken) {
                return Ok(key);
            }
        }
        anyhow::bail!("no key with a tag of its own came up in {TRIES} tries")
    }

    /// Takes one step with the key of a tag.
    pub(super) fn step(&mut self, zone: &ZoneName, tag: u16, step: Step) -> anyhow::Result<()> {
        let place = self.of(zone).position(|key| key.scheduled.key.tag() == tag);
        let place = place.with_context(|| format!("{zone} has no key {tag}"))?;
        let mut planned = self.planned(zone);
        let taken = step(&mut planned, place, &self.settings.policy.roll, self.now.0);
        taken.map_err(|error| match error {
            roll::RollError::TooEarly(at) => {
                anyhow::anyhow!("the parent should not have it before {}", Moment(at))
            }
            error => error.into(),
        })?;
        self.change(zone, &planned)
    }

    fn planned(&self, zone: &ZoneName) -> Vec<Planned> {
        self.of(zone).map(KeyFile::planned).collect()
    }

    /// Writes the keys of a zone whose times are other ones now.
    fn change(&mut self, zone: &ZoneName, planned: &[Planned]) -> anyhow::Result<()> {
        let keys = self.keys.iter_mut().filter(|key| key.zone == zone.wire());
        for (key, planned) in keys.zip(planned) {
            if key.scheduled.timing != planned.timing {
                key.scheduled.timing = planned.timing;
                key.write()
                    .with_context(|| format!("{} cannot be written", key.path.display()))?;
            }
        }
        Ok(())
    }

    /// Deletes keys that nobody needs: gone from the zone, and their DS records from the parent.
    pub(super) fn clean(&mut self, zone: &ZoneName) -> anyhow::Result<String> {
        let (policy, now) = (&self.settings.policy.roll, self.now.0);
        let spare = u64::from(policy.propagation) + u64::from(policy.dnskey_ttl);
        let mut text = String::new();
        for key in self.of(zone) {
            let timing = &key.scheduled.timing;
            let over = timing.remove.is_some_and(|remove| remove + spare <= now)
                && !(key.scheduled.key.role().signs_data() && timing.is_active(now));
            let known_at_parent = timing.ds.submit.is_some() && timing.ds.gone.is_none();
            if over && !known_at_parent {
                std::fs::remove_file(&key.path)
                    .with_context(|| format!("{} cannot be deleted", key.path.display()))?;
                writeln!(text, "deleted {}", key.path.display())?;
            }
        }
        if text.is_empty() {
            text = format!("{zone}: nothing to delete");
        }
        Ok(text.trim_end().to_owned())
    }
}
