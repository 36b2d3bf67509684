//! Zones that come from other servers and go to them: the engine knows the messages, the transports the connections; here
//! are configuration, time, disk, and who is told.
//!
//! ```text
//!                 ┌ NOTIFY ─► bell ┐
//! primaries ─► asking ─► following ┴─► kept, inbox ─► zone_files ─► the program ─► Door::serve
//!                            │ catalog                                                │
//!                            └─► members ─► roster (who is followed, who expired) ────┤ withheld
//! secondaries ◄── outgoing ◄── engine ◄── snapshot ◄── providing (rules, journals) ◄──┘
//!             ◄── notifying ◄───────────── notices ◄───┘
//! ```
//!
//! Off until configured. What leaves are the zones' own records, as the files have them: neither per-client answers nor
//! on-line signatures.

mod asking;
mod check;
mod following;
mod inbox;
mod kept;
mod members;
mod metrics;
mod notifying;
mod outgoing;
mod providing;
mod roster;
mod secrets;
mod settings;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arc_swap::ArcSwap;
use dns_engine::catalog::Catalog;
use dns_engine::transfer::{Policy, ZonePolicy};
use dns_engine::tsig::Keys;
use dns_engine::{Snapshot, Zones};
use prometheus::Registry;
use service::diagnostic::{Report, Severity};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

pub use check::{check, look};
pub use inbox::Inbox;
pub(crate) use outgoing::Outgoing;
pub(crate) use providing::{Notice, Providing};
pub use settings::Transfer;

use crate::{Reloads, Starting, unix_seconds};
use members::{Change, Changed, Members};
use metrics::Counts;
use roster::{Followed, Origin, Purpose, Roster};
use secrets::Secrets;
use settings::shown;

/// As metrics and the log call the files of secrets.
const SOURCE: &str = "transfer keys";

/// What the door and the tasks share.
#[derive(Debug)]
pub(crate) struct Transfers {
    settings: Transfer,
    secrets: Mutex<Secrets>,
    keys: ArcSwap<Keys>,
    roster: Roster,
    members: Mutex<Members>,
    /// Zones that are here by themselves, by their lower-cased wire names; only kept where there are catalogs.
    local: Mutex<BTreeSet<Box<[u8]>>>,
    serials: Mutex<Vec<(Box<[u8]>, u32)>>,
    inbox: Inbox,
    counts: Counts,
    notices: UnboundedSender<Notice>,
}

/// What is left for the tasks to take.
pub(crate) struct Waiting(UnboundedReceiver<Notice>);

impl Transfers {
    /// Reads secrets, and the zones that were kept before a restart: those that have not expired are in the inbox then.
    ///
    /// # Errors
    /// When a name is taken in the registry.
    pub(crate) fn start(
        settings: &Transfer,
        registry: &Registry,
    ) -> prometheus::Result<(Arc<Self>, Waiting)> {
        let (notices, waiting) = unbounded_channel();
        let transfers = Arc::new(Self {
            settings: settings.clone(),
            secrets: Mutex::new(Secrets::new(&settings.keys)),
            keys: ArcSwap::default(),
            roster: Roster::default(),
            members: Mutex::new(Members::new(settings)),
            local: Mutex::default(),
            serials: Mutex::default(),
            inbox: Inbox::default(),
            counts: Counts::default(),
            notices,
        });
        if !settings.is_off() {
            metrics::register(registry, &transfers)?;
        }
        transfers.poll_secrets(None);
        transfers.remember();
        Ok((transfers, Waiting(waiting)))
    }

    /// Puts every zone of the configuration, and the members of catalogs, on the roster.
    fn remember(&self) {
        for zone in &self.settings.secondaries {
            let from = Origin::new(&zone.primaries, &zone.notify_from);
            self.follow(zone.zone.wire(), Purpose::Served, from);
        }
        for catalog in &self.settings.catalogs {
            let from = Origin::new(&catalog.primaries, &catalog.notify_from);
            self.follow(catalog.zone.wire(), Purpose::Catalog, from);
        }
        let members = lock(&self.members);
        for (member, from) in members.all() {
            if self.roster.find(member).is_none() {
                self.follow(member, Purpose::Served, Arc::clone(from));
            }
        }
    }

    /// Follows a zone, from what is kept of it.
    fn follow(&self, zone: &[u8], purpose: Purpose, from: Arc<Origin>) {
        let (path, now) = (self.path(zone), unix_seconds());
        let kept = kept::read(&path, zone).unwrap_or_else(|error| {
            tracing::error!(file = %path.display(), error, "the zone is asked for anew");
            None
        });
        let kept = kept.map(|(zone, confirmed_at)| (Arc::new(zone), confirmed_at));
        let followed = Followed::new(zone, purpose, from, kept, now);
        let held = followed.state().held.clone();
        if let (Some(held), Purpose::Served) = (held, purpose) {
            self.inbox.arrived(path, held);
        }
        self.roster.insert(followed);
    }

    /// Runs what follows zones and what tells secondaries, as far as the configuration has any.
    pub(crate) fn run(self: &Arc<Self>, waiting: Waiting, server: &mut Starting) {
        if self.settings.is_secondary() {
            let follow = following::run(Arc::clone(self), server.ending());
            server.task("following zones of other servers", follow);
        }
        if !self.settings.provide.is_empty() {
            let tell = notifying::run(Arc::clone(self), waiting.0, server.ending());
            server.task("telling secondaries", tell);
        }
    }

    /// True if there is anything to look after while the server runs.
    pub(crate) fn is_off(&self) -> bool {
        self.settings.is_off()
    }

    /// Where transferred zones wait.
    pub(crate) fn inbox(&self) -> Inbox {
        self.inbox.clone()
    }

    /// The keys in force.
    fn keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    /// The file of a followed zone.
    fn path(&self, zone: &[u8]) -> PathBuf {
        kept::path(&self.settings.folder, zone)
    }

    /// Takes notice of the zones that are going to be served, and returns what secondaries are to be told of then.
    pub(crate) fn take_up(&self, zones: &Zones, providing: &mut Providing) -> Vec<Notice> {
        let notices = providing.follow(zones);
        *lock(&self.serials) = providing
            .serials()
            .map(|(zone, serial)| (zone.into(), serial))
            .collect();
        if !self.settings.catalogs.is_empty() {
            let members: BTreeSet<Box<[u8]>> = lock(&self.members)
                .all()
                .map(|(member, _)| member.into())
                .collect();
            let origins = zones.iter().map(|zone| zone.origin().into());
            *lock(&self.local) = origins.filter(|zone| !members.contains(zone)).collect();
        }
        notices
    }

    /// Has secondaries told. They ask at once, and who gets the old serial then does not ask again for long: the new
    /// version has to be served already.
    pub(crate) fn tell(&self, notices: Vec<Notice>) {
        for notice in notices {
            // Without a task to tell anybody there is nobody to tell.
            let _ = self.notices.send(notice);
        }
    }

    /// The zones that go to other servers, with their serials.
    fn provided_serials(&self) -> Vec<(Box<[u8]>, u32)> {
        lock(&self.serials).clone()
    }

    /// Which zones are to be withheld now.
    pub(crate) fn withheld(&self, zones: &Zones) -> BTreeSet<Box<[u8]>> {
        self.roster.withheld(zones, unix_seconds())
    }

    /// True if zones were put on the roster or taken off it since the last call.
    pub(crate) fn take_news(&self) -> bool {
        self.roster.take_news()
    }

    /// Tells the log which zones have expired, and which can be served again.
    pub(crate) fn tell_withheld(&self, before: &BTreeSet<Box<[u8]>>, now: &BTreeSet<Box<[u8]>>) {
        for zone in now.difference(before) {
            let followed = self.roster.find(zone);
            if followed.is_some_and(|followed| followed.state().held.is_some()) {
                let zone = shown(zone);
                tracing::error!(
                    zone,
                    "expired: no primary has confirmed the zone; SERVFAIL from now on"
                );
            }
        }
        for zone in before.difference(now) {
            if self.roster.find(zone).is_some() {
                tracing::info!(zone = shown(zone), "serving the zone");
            }
        }
    }

    /// Puts into a snapshot who may have what, whose NOTIFY is heard, the keys, and which zones are withheld.
    pub(crate) fn furnish(
        &self,
        snapshot: &mut Snapshot,
        providing: &Providing,
        withheld: &BTreeSet<Box<[u8]>>,
    ) {
        let mut policy = Policy::default();
        for (zone, provide) in providing.policies() {
            policy.set(zone, provide);
        }
        for followed in self.roster.all() {
            let provide = policy.zone(&followed.zone);
            let both = ZonePolicy {
                notified_by: followed.from.heard.clone(),
                ..provide
                    .map(|provide| (**provide).clone())
                    .unwrap_or_default()
            };
            policy.set(&followed.zone, both);
        }
        snapshot.transfers = policy;
        snapshot.tsig = (*self.keys()).clone();
        for zone in withheld {
            snapshot.zones.withhold(zone);
        }
    }

    /// A primary says that a zone has changed.
    pub(crate) fn ring(&self, zone: &[u8]) {
        if let Some(followed) = self.roster.find(zone) {
            self.counts.heard(zone);
            followed.bell.notify_one();
        }
    }

    /// Looks at the files of secrets: true if the keys are others now. Tells the log what is wrong.
    pub(crate) fn poll_secrets(&self, reloads: Option<&Reloads>) -> bool {
        let mut report = Report::default();
        let mut secrets = lock(&self.secrets);
        let changed = secrets.poll(&mut report);
        if changed {
            self.keys.store(Arc::new(secrets.keys()));
        }
        drop(secrets);
        for finding in &report.findings {
            match finding.severity {
                Severity::Error => tracing::error!("{finding}; the key before, if any, stays"),
                Severity::Warning => tracing::warn!("{finding}"),
            }
        }
        if let Some(reloads) = reloads {
            if changed {
                reloads.adopted(SOURCE);
                tracing::info!(source = SOURCE, "the new version is in force");
            }
            if report.errors() > 0 {
                reloads.refused(SOURCE);
            }
        }
        changed
    }

    /// Takes up a new version of a catalog: its members come, move, begin anew and leave.
    fn catalog_came(&self, zone: &[u8], catalog: Catalog) {
        let mut taken = lock(&self.local).clone();
        taken.extend(self.settings.followed().map(|zone| zone.wire().into()));
        let mut members = lock(&self.members);
        for changed in members.take(zone, catalog, &taken) {
            let Changed {
                member,
                change,
                from,
            } = changed;
            let (text, catalog) = (shown(&member), shown(zone));
            tracing::info!(member = text, catalog, ?change, "a catalog has changed");
            match (change, from) {
                (Change::Follow | Change::Reset, Some(from)) => {
                    self.forget(&member);
                    self.follow(&member, Purpose::Served, from);
                }
                (Change::Move, Some(from)) => self.follow(&member, Purpose::Served, from),
                (_, _) => self.forget(&member),
            }
        }
    }

    /// Follows a zone no more, and keeps nothing of it.
    fn forget(&self, zone: &[u8]) {
        let path = self.path(zone);
        let followed = self.roster.remove(zone);
        if let Err(error) = kept::remove(&path) {
            tracing::error!(file = %path.display(), %error, "cannot be removed");
        }
        if followed.is_some() {
            self.inbox.gone(path);
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};

    use dns_engine::{ZonesOnly, zonefile};
    use dns_transport::{Answerer, Arrival, Reply, Transport, Worker};

    use super::*;
    use crate::{Door, Settings, Traffic};

    /// The serial that the door answers with.
    fn serial(door: &Door) -> u32 {
        let from = Arrival {
            source: SocketAddr::from((Ipv4Addr::LOCALHOST, 5300)),
            local: SocketAddr::from((Ipv4Addr::LOCALHOST, 53)),
            transport: Transport::Tcp,
        };
        let query = b"\x00\x01\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01a\x00\x00\x06\x00\x01";
        let (mut worker, mut out) = (door.worker(), [0; 4096]);
        worker.begin_batch();
        let Reply::Send(length) = worker.answer(query, &from, &mut out) else {
            panic!("no answer");
        };
        // The SOA record ends the answer, and its serial begins five numbers before its end.
        let numbers = out[..length].last_chunk::<20>().unwrap();
        u32::from_be_bytes(numbers[..4].try_into().unwrap())
    }

    #[test]
    fn a_version_is_served_before_secondaries_are_told_of_it() {
        let text = "[[provide]]\nzones = [\"a.\"]\nnetworks = [\"127.0.0.1\"]\nnotify = [\"127.0.0.1:1\"]\n";
        let settings = Settings {
            transfer: service::config::parse("x.toml", text).unwrap(),
            ..Settings::default()
        };
        let registry = Registry::new();
        let (transfers, mut waiting) = Transfers::start(&settings.transfer, &registry).unwrap();
        let traffic = Traffic::register(&registry).unwrap();
        let door = Door::new(settings, None, transfers, traffic, None);
        let secondary = {
            let door = door.clone();
            std::thread::spawn(move || {
                let mut told = 0;
                while told < 1000 {
                    let notice = waiting.0.blocking_recv().unwrap();
                    told = notice.zone.serial();
                    let served = serial(&door);
                    assert!(served >= told, "told of {told}, and {served} is served");
                }
            })
        };
        for number in 1..=1000 {
            let text = format!("@ 5 SOA n m {number} 1 1 1 1\n@ 5 NS n.b.");
            let mut zones = Zones::new();
            zones
                .insert(zonefile::parse("a", &text, Some("a.")).unwrap())
                .unwrap();
            door.serve(zones, Arc::new(ZonesOnly));
        }
        secondary.join().unwrap();
    }
}
