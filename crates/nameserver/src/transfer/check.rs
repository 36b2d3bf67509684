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
