//! What `check` says about transfers, and the kept zones for a look without serving.

use std::sync::Arc;

use dns_engine::Zones;
use dns_engine::transfer::Timers;
use service::diagnostic::{Diagnostic, Report};

use super::kept;
use super::secrets::Secrets;
use super::settings::{Provide, Transfer, shown};
use super::{Inbox, members::Members};
use crate::dnssec::Dnssec;
use crate::unix_seconds;

/// What is wrong with the secrets of transfers, and what of the configuration will not work; `zones` are those that are
/// served.
pub fn check(settings: &Transfer, dnssec: &Dnssec, zones: &Zones) -> Report {
    let mut report = Report::default();
    Secrets::new(&settings.keys).poll(&mut report);
    let file = settings.folder.display().to_string();
    let mut warn = |message: String, hint: &str| {
        report.push(Diagnostic::warning(&*file, message).with_hint(hint));
    };
    for key in &settings.keys {
        if !settings.keys_used().any(|used| *used == key.name) {
            let message = format!("the transfer key {} is not used", key.name);
            warn(message, "name it where a zone is provided, or at a primary");
        }
    }
    for zone in settings.followed() {
        let kept = kept::path(&settings.folder, zone.wire());
        // Where it is kept as well, there are two zones of one name, which is found anyway.
        if zones.exact(zone.wire()).is_some() && !kept.exists() {
            let message = format!("{zone} comes from other servers, and from a zone file here");
            warn(message, "take the file away, or the zone from `[transfer]`");
        }
    }
    for provide in &settings.provide {
        check_provide(provide, settings, dnssec, zones, &mut warn);
    }
    report
}

fn check_provide(
    provide: &Provide,
    settings: &Transfer,
    dnssec: &Dnssec,
    zones: &Zones,
    warn: &mut impl FnMut(String, &str),
) {
    for zone in &provide.zones {
        let served = zones.exact(zone.wire()).is_some();
        if !served && !settings.followed().any(|followed| followed == zone) {
            let message = format!("{zone} is provided to secondaries, but is not served here");
            warn(
                message,
                "add its zone file, or take it from `[[transfer.provide]]`",
            );
        }
        if dnssec.signs(zone.wire()) {
            let message = format!(
                "{zone} is signed when it is asked for, and transferred unsigned: secondaries have to sign it themselves"
            );
            warn(message, "give secondaries of this software the same keys");
        }
    }
    for target in &provide.notify {
        let networks = &provide.networks;
        let may = networks.is_empty() || networks.iter().any(|net| net.contains(target.ip()));
        if !may {
            let message = format!("{target} is told of new versions, and may not have them");
            warn(message, "add its address to `networks`");
        }
    }
}

/// Secondary zones as they are kept on disk, for a single look; a zone that is not there is one to wait for.
pub fn look(settings: &Transfer) -> Inbox {
    let (inbox, now) = (Inbox::default(), unix_seconds());
    let members = Members::new(settings);
    let secondaries = settings.secondaries.iter().map(|zone| zone.zone.wire());
    for zone in secondaries.chain(members.all().map(|(member, _)| member)) {
        let path = kept::path(&settings.folder, zone);
        let warning = |message: String| Diagnostic::warning(path.display().to_string(), message);
        match kept::read(&path, zone) {
            Ok(Some((kept, confirmed_at))) => {
                let expire = Timers::of(kept.soa()).expire;
                if now < confirmed_at + u64::from(expire) {
                    inbox.arrived(path.clone(), Arc::new(kept));
                } else {
                    let message =
                        format!("{} has expired: no primary has confirmed it", shown(zone));
                    inbox.missing(path.clone(), warning(message).into());
                }
            }
            Ok(None) => {
                let message = format!("{} has not been transferred yet", shown(zone));
                inbox.missing(path.clone(), warning(message).into());
            }
            Err(message) => inbox.missing(path.clone(), warning(message).into()),
        }
    }
    inbox
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    use dns_engine::zonefile;

    use super::*;

    fn zones(origins: &[&str]) -> Zones {
        let mut zones = Zones::new();
        for origin in origins {
            let text = "@ 60 SOA n.o. m.o. 1 1 1 9 1\n@ 60 NS n.o.";
            let zone = zonefile::parse("z", text, Some(origin)).unwrap();
            assert!(zones.insert(zone).is_ok());
        }
        zones
    }

    fn settings(folder: &Path, tables: &str) -> Transfer {
        let secret = folder.join("secret");
        std::fs::write(&secret, "A".repeat(44)).unwrap();
        std::fs::set_permissions(&secret, std::fs::Permissions::from_mode(0o600)).unwrap();
        let text = format!(
            "folder = {folder:?}\n[[key]]\nname = \"k.\"\nsecret_file = {secret:?}\n{tables}"
        );
        service::config::parse("x.toml", &text).unwrap()
    }

    /// What is found, each finding by a part of it.
    fn check_finds(tables: &str, signed: &str, served: &[&str], expected: &[&str]) {
        let folder = tempfile::tempdir().unwrap();
        let dnssec = service::config::parse("x.toml", signed).unwrap();
        let report = check(&settings(folder.path(), tables), &dnssec, &zones(served));
        assert_eq!(report.findings.len(), expected.len(), "{report}");
        for (finding, part) in report.findings.iter().zip(expected) {
            assert!(finding.message.contains(part), "{finding}");
        }
        assert_eq!(report.errors(), 0, "{report}");
    }

    #[test]
    fn what_will_not_work_is_warned_of() {
        let provide = "[[provide]]\nzones = [\"a.\"]\nkey = \"k.\"\n";
        check_finds(provide, "", &["a."], &[]);
        check_finds("", "", &["a."], &["key k. is not used"]);
        check_finds(
            provide,
            "",
            &["b."],
            &["a. is provided to secondaries, but is not served"],
        );
        check_finds(
            provide,
            "zones = [\"a.\"]",
            &["a."],
            &["transferred unsigned"],
        );
        let told =
            "networks = [\"192.0.2.0/24\"]\nnotify = [\"192.0.2.1:53\", \"198.51.100.1:53\"]";
        check_finds(
            &format!("{provide}{told}"),
            "",
            &["a."],
            &["198.51.100.1:53 is told"],
        );
        let secondary = "[[secondary]]\nzone = \"a.\"\nprimaries = [{ address = \"192.0.2.1:53\", key = \"k.\" }]";
        check_finds(secondary, "", &[], &[]);
        check_finds(secondary, "", &["a."], &["and from a zone file here"]);
        // A zone that came is one to provide, though it may not be there yet.
        check_finds(&format!("{provide}{secondary}"), "", &[], &[]);
    }

    #[test]
    fn kept_zones_are_looked_at_and_missing_ones_are_warned_of() {
        let folder = tempfile::tempdir().unwrap();
        let secondary = "[[secondary]]\nzone = \"a.\"\nprimaries = [{ address = \"192.0.2.1:53\", key = \"k.\" }]";
        let settings = settings(folder.path(), secondary);
        let said = || match look(&settings).take().pop().unwrap() {
            (_, Ok(_)) => "there".to_owned(),
            (_, Err(report)) => report.findings[0].message.clone(),
        };
        assert!(said().contains("a. has not been transferred yet"));
        let path = folder.path().join("a.zone");
        let zone = zones(&["a."]);
        let zone = zone.exact(b"\x01a\0").unwrap();
        kept::prepare(&path, zone).unwrap().place().unwrap();
        assert_eq!(said(), "there");
        kept::confirm(&path, 1_000_000).unwrap();
        assert!(said().contains("a. has expired"));
        std::fs::write(&path, "rubbish").unwrap();
        assert!(said().contains("record 1"));
    }
}
