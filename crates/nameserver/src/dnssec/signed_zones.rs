//! The signed zones of a running server: their keys follow the folder, their signatures are made ahead.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use dns_engine::dnssec::{self, Scheduled, Signatures, Signing, ZoneKeys};
use dns_engine::{Snapshot, name};
use ring::rand::SystemRandom;
use service::diagnostic::{Diagnostic, Report, Severity};

use super::Dnssec;
use super::key_folder::{KeyFolder, whole};
use crate::Reloads;

/// As metrics and the log call the key files.
const SOURCE: &str = "dnssec";
/// How often signatures that will be needed soon are looked for, in seconds.
const WARM_EVERY: u64 = 600;
/// And how soon: well before queries have to make them, also after a round that was missed.
const WARM_AHEAD: u64 = 3 * WARM_EVERY;

/// Keys and signatures of the zones that the configuration wants signed.
pub struct SignedZones {
    signatures: Arc<Signatures>,
    state: Mutex<State>,
}

struct State {
    settings: Dnssec,
    folder: KeyFolder,
    zones: BTreeMap<Vec<u8>, Arc<ZoneKeys>>,
    /// What was wrong with zones; told already.
    told: Option<Report>,
    next_warm: u64,
}

impl SignedZones {
    /// `None` if no zone is to be signed.
    pub fn new(settings: &Dnssec) -> Option<Self> {
        if settings.zones.is_empty() {
            return None;
        }
        let signatures = Signatures::new(settings.limits(), SystemRandom::new());
        Some(Self {
            signatures: Arc::new(signatures),
            state: Mutex::new(State {
                settings: settings.clone(),
                folder: KeyFolder::new(&settings.keys),
                zones: BTreeMap::new(),
                told: None,
                next_warm: 0,
            }),
        })
    }

    /// Looks at the key files: true if snapshots have to be furnished anew. Tells the log what is wrong, once.
    pub fn poll(&self, reloads: &Reloads) -> bool {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut report = Report::default();
        let changed = state.folder.poll(&mut report);
        if changed || state.told.is_none() {
            let wrong = state.take_up();
            if state.told.as_ref() != Some(&wrong) {
                report.extend(wrong.findings.iter().cloned());
                state.told = Some(wrong);
            }
        }
        if changed {
            reloads.adopted(SOURCE);
            tracing::info!(source = SOURCE, "signing with the new version");
        }
        if report.errors() > 0 {
            reloads.refused(SOURCE);
        }
        reloads.set_refused(SOURCE, state.folder.refused());
        for finding in &report.findings {
            match finding.severity {
                Severity::Error => tracing::error!("{finding}; the last good keys stay in force"),
                Severity::Warning => tracing::warn!("{finding}"),
            }
        }
        changed
    }

    /// Puts the keys in force into a snapshot and makes the signatures it will need.
    pub fn furnish(&self, snapshot: &mut Snapshot, now: u64) {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut signing = Signing::new(Arc::clone(&self.signatures));
        for keys in state.zones.values().filter(|keys| !keys.keys().is_empty()) {
            signing.insert(Arc::clone(keys));
        }
        drop(state);
        snapshot.signing = Some(Arc::new(signing));
        dnssec::warm(snapshot, now);
    }

    /// From time to time, makes the signatures that will be needed soon.
    pub fn keep_warm(&self, snapshot: &Snapshot, now: u64) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if now < state.next_warm {
            return;
        }
        state.next_warm = now + WARM_EVERY;
        drop(state);
        dnssec::warm(snapshot, now + WARM_AHEAD);
    }

    /// Where signatures come from.
    pub fn signatures(&self) -> &Signatures {
        &self.signatures
    }

    /// The keys in force.
    pub fn keys(&self) -> Vec<Arc<ZoneKeys>> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.zones.values().cloned().collect()
    }
}

impl State {
    /// Schedules the keys of each zone anew; a zone whose keys do not fit together keeps those it had.
    fn take_up(&mut self) -> Report {
        let mut report = Report::default();
        for zone in &self.settings.zones {
            match zone_keys(&self.settings, &self.folder, zone.wire(), &mut report) {
                Some(keys) => self.zones.insert(zone.wire().to_vec(), Arc::new(keys)),
                None => continue,
            };
        }
        report
    }
}

/// The keys of one zone in a folder; `None`, with a finding, if they cannot be taken.
pub(super) fn zone_keys(
    settings: &Dnssec,
    folder: &KeyFolder,
    zone: &[u8],
    report: &mut Report,
) -> Option<ZoneKeys> {
    let keys: Vec<Scheduled> = folder
        .keys()
        .filter(|key| key.zone == zone)
        .map(|key| key.scheduled.clone())
        .collect();
    if keys.is_empty() {
        let message = format!(
            "there is no key of {}: it goes out unsigned",
            name::text(zone)
        );
        let finding = Diagnostic::warning(settings.keys.display().to_string(), message);
        report.push(finding.with_hint("make one: `dnssec generate`"));
    }
    let policy = &settings.policy;
    match ZoneKeys::new(zone, keys, policy.roll.dnskey_ttl, policy.validity) {
        Ok(keys) => Some(keys),
        Err(error) => {
            report.push(whole(
                &settings.keys,
                format!("{}: {error}", name::text(zone)),
            ));
            None
        }
    }
}
