//! DNSSEC as operators run it: key files in a folder, watched; the commands that make and roll them; what `check` and
//! the metrics say about them.
//!
//! ```text
//! `dnssec …` ─► key files ─► key_folder ─► signed_zones ─► snapshot ─► dns-engine signs
//! ```

pub mod command;
mod key_file;
mod key_folder;
mod metrics;
mod moment;
mod settings;
mod signed_zones;

use std::time::{SystemTime, UNIX_EPOCH};

use dns_engine::dnssec::audit;
use dns_engine::{Zones, name};
use service::diagnostic::{Diagnostic, Report};

pub use key_file::KeyFile;
pub use key_folder::KeyFolder;
pub(crate) use metrics::register;
pub use moment::Moment;
pub use settings::{AlgorithmName, Dnssec, Policy, ZoneName};
pub use signed_zones::SignedZones;

/// What is wrong, or soon will be, with the keys of the zones that are to be signed; `zones` are those that are served.
pub fn check(settings: &Dnssec, zones: &Zones, now: Moment) -> Report {
    let mut report = Report::default();
    if settings.zones.is_empty() {
        return report;
    }
    let mut folder = KeyFolder::new(&settings.keys);
    folder.poll(&mut report);
    let file = settings.keys.display().to_string();
    for zone in &settings.zones {
        let served = zones.exact(zone.wire());
        if served.is_none() {
            let message = format!("{zone} is to be signed, but is not served here");
            report.push(Diagnostic::warning(&*file, message));
        }
        let found = signed_zones::zone_keys(settings, &folder, zone.wire(), &mut report);
        let Some(keys) = found.filter(|keys| !keys.keys().is_empty()) else {
            continue; // said
        };
        for fault in audit(&keys, served, &settings.policy.roll, now.0) {
            let at = fault
                .at()
                .map_or_else(String::new, |at| format!(" ({})", Moment(at)));
            let message = format!("{zone}: {fault}{at}");
            let finding = match fault.is_error() {
                true => Diagnostic::error(&*file, 0, 0, message),
                false => Diagnostic::warning(&*file, message),
            };
            report.push(finding.with_hint(fault.hint()));
        }
    }
    for key in folder.keys().filter(|key| !settings.signs(&key.zone)) {
        let message = format!(
            "a key of {}, which is not to be signed",
            name::text(&key.zone)
        );
        report.push(Diagnostic::warning(key.path.display().to_string(), message));
    }
    report
}

/// Now.
pub fn now() -> Moment {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    Moment(since.map_or(0, |since| since.as_secs()))
}
