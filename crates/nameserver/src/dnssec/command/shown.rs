//! What operators are shown: lists of keys with what each waits for, and the records for the parent.

use std::fmt::Write as _;

use base64::{Engine, prelude::BASE64_STANDARD};
use dns_engine::dnssec::{Role, Timing};
use dns_engine::name;
use serde_json::json;

use super::super::key_file::KeyFile;
use super::super::{Moment, ZoneName};
use super::ring::Ring;

impl Ring<'_> {
    pub(super) fn list(&self, zone: Option<&ZoneName>) -> anyhow::Result<String> {
        let mut text = String::new();
        let mut last = None;
        for key in self.shown(zone) {
            let origin = name::text(&key.zone);
            if last.as_ref() != Some(&origin) {
                let note = if self.settings.signs(&key.zone) {
                    ""
                } else {
                    " (not in `zones` of `[dnssec]`: it goes out unsigned)"
                };
                writeln!(text, "{origin}{note}")?;
                last = Some(origin);
            }
            let facts = Facts::of(key, self.now);
            writeln!(
                text,
                "  {:5} {} {:15} {:9} {}",
                facts.tag, facts.role, facts.algorithm, facts.state, facts.next
            )?;
        }
        if text.is_empty() {
            text = format!("no keys in {}", self.settings.keys.display());
        }
        Ok(text.trim_end().to_owned())
    }

    pub(super) fn json(&self, zone: Option<&ZoneName>) -> serde_json::Value {
        let keys = self.shown(zone).into_iter().map(|key| {
            let facts = Facts::of(key, self.now);
            let Timing {
                publish,
                activate,
                retire,
                remove,
                ds,
            } = key.scheduled.timing;
            json!({
                "zone": name::text(&key.zone), "tag": facts.tag, "role": facts.role,
                "algorithm": facts.algorithm, "state": facts.state, "next": facts.next,
                "file": key.path.display().to_string(),
                "publish": publish, "activate": activate, "retire": retire, "remove": remove,
                "ds": { "submit": ds.submit, "seen": ds.seen, "withdraw": ds.withdraw, "gone": ds.gone },
            })
        });
        json!({ "now": self.now.0, "keys": keys.collect::<Vec<_>>() })
    }

    /// By zone, then in the order in which they were published.
    fn shown(&self, zone: Option<&ZoneName>) -> Vec<&KeyFile> {
        let wanted = |key: &&KeyFile| zone.is_none_or(|zone| key.zone == zone.wire());
        let mut keys: Vec<&KeyFile> = self.keys.iter().filter(wanted).collect();
        keys.sort_by_key(|key| {
            let role = key.scheduled.key.role().as_str();
            (key.zone.clone(), key.scheduled.timing.publish, role)
        });
        keys
    }

    pub(super) fn ds(&self, zone: &ZoneName) -> anyhow::Result<String> {
        let wanted: Vec<&KeyFile> = self
            .of(zone)
            .filter(|key| key.scheduled.timing.wants_ds(self.now.0))
            .collect();
        let later = self
            .of(zone)
            .filter_map(|key| key.scheduled.timing.ds.submit);
        let later = later.filter(|submit| *submit > self.now.0).min();
        if wanted.is_empty() {
            return match later {
                Some(at) => Ok(format!(
                    "; {zone}: the parent should have no DS record before {}",
                    Moment(at)
                )),
                None => anyhow::bail!("{zone} has no key for a DS record"),
            };
        }
        let mut text = format!("; the parent of {zone} should have exactly\n");
        for key in &wanted {
            let [t0, t1, algorithm, digest_type, digest @ ..] =
                &key.scheduled.key.ds(zone.wire())[..]
            else {
                continue; // always four octets and a digest
            };
            let hex: String = digest.iter().map(|octet| format!("{octet:02X}")).collect();
            let tag = u16::from_be_bytes([*t0, *t1]);
            writeln!(text, "{zone} IN DS {tag} {algorithm} {digest_type} {hex}")?;
        }
        writeln!(text, "; or, where it wants the key itself")?;
        for key in &wanted {
            let key = &key.scheduled.key;
            let public = BASE64_STANDARD.encode(key.dnskey().get(4..).unwrap_or_default());
            let number = key.algorithm().number();
            writeln!(text, "{zone} IN DNSKEY 257 3 {number} {public}")?;
        }
        Ok(text.trim_end().to_owned())
    }
}

/// What is told about a key.
struct Facts {
    tag: u16,
    role: &'static str,
    algorithm: &'static str,
    state: &'static str,
    next: String,
}

impl Facts {
    fn of(key: &KeyFile, now: Moment) -> Self {
        let (timing, key) = (key.scheduled.timing, &key.scheduled.key);
        let role = key.role();
        let state = timing.state(role.signs_data(), now.0);
        Self {
            tag: key.tag(),
            role: role.as_str(),
            algorithm: key.algorithm().mnemonic(),
            state: state.as_str(),
            next: next(role, &timing, now.0),
        }
    }
}

/// What happens next to a key, or what it waits for.
fn next(role: Role, timing: &Timing, now: u64) -> String {
    let ds = timing.ds;
    let waits = if timing.wants_ds(now) && ds.seen.is_none() {
        Some("give the parent its DS record (`ds`), then say `seen`")
    } else if ds.withdraw.is_some_and(|at| at <= now) && ds.seen.is_some() && ds.gone.is_none() {
        Some("say `gone` when the parent has dropped its DS record")
    } else {
        None
    };
    let times = [
        ("publishes", Some(timing.publish)),
        ("signs", Some(timing.activate).filter(|_| role.signs_data())),
        ("may have a DS record", ds.submit),
        ("retires", timing.retire.filter(|_| role.signs_data())),
        ("is removed", timing.remove),
    ];
    let to_come = times.into_iter().filter_map(|(what, at)| Some((at?, what)));
    let soonest = to_come.filter(|(at, _)| *at > now).min();
    let soonest = soonest.map(|(at, what)| format!("{what} {}", Moment(at)));
    let parts = [waits.map(str::to_owned), soonest];
    parts.into_iter().flatten().collect::<Vec<_>>().join("; ")
}
