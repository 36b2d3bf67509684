//! The one door: every transport calls the same function, with the snapshot loaded once for each batch.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use arc_swap::{ArcSwap, cache::Cache};
use dns_engine::{Meta, Outcome, Scratch, Snapshot, Tailor, Transport, Zones, ZonesOnly, respond};
use dns_transport::{Answerer, Arrival, Reply, Worker};

use crate::cookies::Keeper;
use crate::dnssec::SignedZones;
use crate::dnstap::Tap;
use crate::retired::Retired;
use crate::traffic::{Fate, Tally};
use crate::transfer::{Outgoing, Providing, Transfers};
use crate::{Reloads, Settings, Traffic};

/// What all sockets share.
#[derive(Clone)]
pub struct Door {
    current: Arc<ArcSwap<Snapshot>>,
    retired: Arc<Retired<Snapshot>>,
    making: Arc<Mutex<Making>>,
    traffic: Arc<Traffic>,
    transfers: Arc<Transfers>,
    tap: Option<Tap>,
    /// Where all its workers count milliseconds from.
    started: Instant,
}

/// What the next snapshot will be made of.
struct Making {
    settings: Settings,
    cookies: Keeper,
    /// Nobody outside can tell where the rate limit counts which source.
    key: u64,
    signed: Option<Arc<SignedZones>>,
    transfers: Arc<Transfers>,
    providing: Providing,
    /// Zones of other servers that cannot be served just now.
    withheld: BTreeSet<Box<[u8]>>,
    zones: Zones,
    tailor: Arc<dyn Tailor>,
}

impl Making {
    fn snapshot(&self) -> Snapshot {
        let mut snapshot = Snapshot::new(self.zones.clone(), Arc::clone(&self.tailor));
        self.settings
            .furnish(self.cookies.cookies(), self.key, &mut snapshot);
        let transfers = &self.transfers;
        transfers.furnish(&mut snapshot, &self.providing, &self.withheld);
        if let Some(signed) = &self.signed {
            signed.furnish(&mut snapshot, unix_seconds());
        }
        snapshot
    }
}

impl Door {
    /// A door behind which there is nothing yet: queries are refused.
    pub(crate) fn new(
        settings: Settings,
        signed: Option<Arc<SignedZones>>,
        transfers: Arc<Transfers>,
        traffic: Arc<Traffic>,
        tap: Option<Tap>,
    ) -> Self {
        let started = Instant::now();
        let making = Making {
            cookies: Keeper::new(&settings.cookies, started),
            providing: Providing::new(&settings.transfer),
            transfers: Arc::clone(&transfers),
            withheld: transfers.withheld(&Zones::new()),
            settings,
            key: rand::random(),
            signed,
            zones: Zones::new(),
            tailor: Arc::new(ZonesOnly),
        };
        Self {
            current: Arc::new(ArcSwap::from_pointee(making.snapshot())),
            retired: Arc::default(),
            making: Arc::new(Mutex::new(making)),
            traffic,
            transfers,
            tap,
            started,
        }
    }

    /// From the next batch on, queries are answered from these.
    pub fn serve(&self, zones: Zones, tailor: Arc<dyn Tailor>) {
        let mut guard = self.lock();
        let making = &mut *guard;
        self.traffic.set_zones(&zones);
        let notices = self.transfers.take_up(&zones, &mut making.providing);
        let withheld = self.transfers.withheld(&zones);
        self.transfers.tell_withheld(&making.withheld, &withheld);
        making.withheld = withheld;
        (making.zones, making.tailor) = (zones, tailor);
        self.put_in_force(making);
        self.transfers.tell(notices);
    }

    /// True if there is something to answer from.
    pub(crate) fn has_zones(&self) -> bool {
        !self.current.load().zones.is_empty()
    }

    /// Looks whether what the shell itself follows has changed, and puts it in force.
    pub(crate) fn poll(&self, reloads: &Reloads) {
        let mut making = self.lock();
        match making.cookies.poll(Instant::now()) {
            Ok(false) => {}
            Ok(true) => {
                self.put_in_force(&making);
                if making.cookies.follows() {
                    reloads.adopted("cookies");
                    reloads.set_refused("cookies", 0);
                }
                tracing::info!(source = "cookies", "serving the new version");
            }
            Err(report) => {
                reloads.refused("cookies");
                reloads.set_refused("cookies", 1);
                for finding in &report.findings {
                    tracing::error!("{finding}; the secrets before stay in force");
                }
            }
        }
        if self.poll_transfers(&mut making, reloads) {
            self.put_in_force(&making);
        }
        if let Some(signed) = &making.signed {
            if signed.poll(reloads) {
                self.put_in_force(&making);
            }
            signed.keep_warm(&self.current.load(), unix_seconds());
        }
    }

    /// True if another snapshot is needed: keys have changed, zones are followed or not any more, or have expired.
    fn poll_transfers(&self, making: &mut Making, reloads: &Reloads) -> bool {
        let keys = self.transfers.poll_secrets(Some(reloads));
        let roster = self.transfers.take_news();
        let withheld = self.transfers.withheld(&making.zones);
        self.transfers.tell_withheld(&making.withheld, &withheld);
        let before = std::mem::replace(&mut making.withheld, withheld);
        keys || roster || before != making.withheld
    }

    fn put_in_force(&self, making: &Making) {
        let old = self.current.swap(Arc::new(making.snapshot()));
        self.retired.keep(old);
    }

    /// Frees what is not served any more, on the thread that calls this, once the last worker has gone over to
    /// something newer.
    pub(crate) fn free_retired(&self) {
        self.retired.free();
    }

    fn lock(&self) -> MutexGuard<'_, Making> {
        self.making.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Answers for one thread or connection.
pub struct Attendant {
    current: Cache<Arc<ArcSwap<Snapshot>>, Arc<Snapshot>>,
    /// Of this batch.
    snapshot: Arc<Snapshot>,
    scratch: Scratch,
    /// Unix time at the start of the batch.
    now: u64,
    /// Milliseconds since the door was made, at the start of the batch.
    now_ms: u64,
    started: Instant,
    tally: Tally,
    transfers: Arc<Transfers>,
    tap: Option<Tap>,
}

impl Answerer for Door {
    type Worker = Attendant;

    fn worker(&self) -> Attendant {
        Attendant {
            current: Cache::new(Arc::clone(&self.current)),
            snapshot: self.current.load_full(),
            scratch: Scratch::new(),
            now: unix_seconds(),
            now_ms: 0,
            started: self.started,
            tally: Tally::new(Arc::clone(&self.traffic), self.started.elapsed()),
            transfers: Arc::clone(&self.transfers),
            tap: self.tap.clone(),
        }
    }
}

impl Worker for Attendant {
    fn begin_batch(&mut self) {
        let newest = self.current.load();
        if !Arc::ptr_eq(newest, &self.snapshot) {
            self.snapshot = Arc::clone(newest);
            self.tally.forget_zone();
        }
        self.now = unix_seconds();
        self.now_ms = self.started.elapsed().as_millis() as u64;
    }

    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply {
        let meta = Meta {
            source: from.source,
            local: from.local,
            transport: transport(from.transport),
            now: self.now,
            now_ms: self.now_ms,
        };
        let tapped = self.tap.as_mut().and_then(Tap::next);
        let begun = self.tally.begin();
        let outcome = respond(&self.snapshot, query, &meta, &mut self.scratch, out);
        let (reply, fate) = match outcome {
            Outcome::Send(length) => (Reply::Send(length), Fate::Answered),
            Outcome::Transfer(sending) => {
                let outgoing = Outgoing::new(sending, from.source, &self.transfers);
                (Reply::Stream(Box::new(outgoing)), Fate::Answered)
            }
            Outcome::Drop(reason) => (Reply::Silent, Fate::Dropped(reason)),
        };
        self.tally.end(&self.scratch, from, fate, begun);
        if let Some(zone) = self.scratch.notified() {
            self.transfers.ring(zone);
        }
        if let (Some(asked), Some(tap)) = (tapped, &mut self.tap) {
            let answer = match reply {
                Reply::Send(length) => out.get(..length),
                _ => None,
            };
            tap.tell(asked, query, self.scratch.zone(), answer, from);
        }
        reply
    }
}

/// The transports' word for it as the engine's.
fn transport(transport: dns_transport::Transport) -> Transport {
    match transport {
        dns_transport::Transport::Udp => Transport::Udp,
        dns_transport::Transport::Tcp => Transport::Tcp,
        dns_transport::Transport::Tls => Transport::Tls,
        dns_transport::Transport::Https => Transport::Https,
        dns_transport::Transport::Quic => Transport::Quic,
    }
}

/// Seconds since 1970, for what is compared with times that others wrote down.
pub fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};
    use std::thread::{self, ThreadId};

    use dns_engine::{Client, Question, Tailored, Verdict};
    use prometheus::Registry;

    use super::*;
    use crate::Shell;

    /// Tells which thread frees it.
    struct Probe(Sender<ThreadId>);

    impl Drop for Probe {
        fn drop(&mut self) {
            self.0.send(thread::current().id()).unwrap();
        }
    }

    impl Tailor for Probe {
        fn tailor(&self, _: &Question<'_>, _: &Client, _: &mut Tailored) -> Verdict {
            Verdict::Zone
        }
    }

    #[test]
    fn an_old_snapshot_is_freed_by_the_thread_that_asks_for_it_and_by_no_worker() {
        let shell = Shell::new(Settings::default(), &Registry::new()).unwrap();
        let door = shell.door();
        let (sender, freed) = channel();
        door.serve(Zones::new(), Arc::new(Probe(sender)));
        let mut worker = door.worker();
        worker.begin_batch();
        door.serve(Zones::new(), Arc::new(ZonesOnly));
        door.free_retired();
        assert!(freed.try_recv().is_err(), "a worker may answer from it");
        let moved_on = thread::spawn(move || worker.begin_batch());
        moved_on.join().unwrap();
        assert!(freed.try_recv().is_err(), "the worker has not freed it");
        door.free_retired();
        assert_eq!(freed.try_recv(), Ok(thread::current().id()));
    }
}
