//! The zones that come from other servers, and how each of them stands.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dns_engine::transfer::{Refresh, Rule, Timers};
use dns_engine::{Zone, Zones};
use service::shutdown::{self, Shutdown, Trigger};
use tokio::sync::Notify;

use super::settings::{Addresses, Primaries, Primary, heard};

/// Every zone that is followed, by its lower-cased wire name.
#[derive(Debug, Default)]
pub(super) struct Roster {
    zones: Mutex<BTreeMap<Box<[u8]>, Arc<Followed>>>,
    /// Rings when a zone has come or gone.
    pub(super) changed: Notify,
    /// Likewise, for who polls.
    news: AtomicBool,
}

/// Where a zone comes from; the members of a catalog share it.
#[derive(Debug)]
pub(super) struct Origin {
    pub(super) primaries: Vec<Primary>,
    /// Whose NOTIFY is heard.
    pub(super) heard: Vec<Rule>,
}

/// What a followed zone is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    /// It is served.
    Served,
    /// It lists zones, and is not served.
    Catalog,
}

/// A zone that comes from other servers.
#[derive(Debug)]
pub(super) struct Followed {
    pub(super) zone: Box<[u8]>,
    pub(super) purpose: Purpose,
    pub(super) from: Arc<Origin>,
    /// Rings on a NOTIFY.
    pub(super) bell: Notify,
    pub(super) state: Mutex<State>,
    /// Fires when the zone is not followed any more.
    removed: Trigger,
    pub(super) removal: Shutdown,
}

/// How a followed zone stands.
#[derive(Debug)]
pub(super) struct State {
    /// The newest version that came.
    pub(super) held: Option<Arc<Zone>>,
    pub(super) refresh: Refresh,
    /// Not followed any more: nothing may be kept or served that still comes.
    pub(super) gone: bool,
}

impl Origin {
    pub(super) fn new(primaries: &Primaries, notify_from: &[Addresses]) -> Arc<Self> {
        Arc::new(Self {
            heard: heard(&primaries.0, notify_from),
            primaries: primaries.0.clone(),
        })
    }
}

impl Followed {
    /// A zone with what was kept of it: the version, and when it was confirmed (Unix seconds).
    pub(super) fn new(
        zone: &[u8],
        purpose: Purpose,
        from: Arc<Origin>,
        kept: Option<(Arc<Zone>, u64)>,
        now: u64,
    ) -> Self {
        let timers = kept.as_ref();
        let timers = timers.map(|(zone, confirmed_at)| (Timers::of(zone.soa()), *confirmed_at));
        let (removed, removal) = shutdown::channel();
        Self {
            zone: zone.into(),
            purpose,
            bell: Notify::new(),
            state: Mutex::new(State {
                held: kept.map(|(zone, _)| zone),
                refresh: Refresh::new(from.primaries.len(), timers, now),
                gone: false,
            }),
            from,
            removed,
            removal,
        }
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Seconds until the version at hand must not be served any more, below 0 after that; `None` without one.
    pub(super) fn expires_in(&self, now: u64) -> Option<i64> {
        let expires_at = self.refresh.expires_at()?;
        Some(expires_at as i64 - now as i64)
    }
}

impl Roster {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<Box<[u8]>, Arc<Followed>>> {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Follows a zone, instead of what was followed under its name.
    pub(super) fn insert(&self, followed: Followed) {
        let before = self
            .lock()
            .insert(followed.zone.clone(), Arc::new(followed));
        if let Some(before) = before {
            before.state().gone = true;
            before.removed.fire();
        }
        self.has_changed();
    }

    /// Follows a zone no more.
    pub(super) fn remove(&self, zone: &[u8]) -> Option<Arc<Followed>> {
        let followed = self.lock().remove(zone)?;
        followed.state().gone = true;
        followed.removed.fire();
        self.has_changed();
        Some(followed)
    }

    fn has_changed(&self) {
        self.news.store(true, Ordering::Release);
        self.changed.notify_one();
    }

    /// True if zones have come or gone since the last call.
    pub(super) fn take_news(&self) -> bool {
        self.news.swap(false, Ordering::AcqRel)
    }

    /// The zone of this lower-cased wire name.
    pub(super) fn find(&self, zone: &[u8]) -> Option<Arc<Followed>> {
        self.lock().get(zone).cloned()
    }

    /// All of them, in the order of their names.
    pub(super) fn all(&self) -> Vec<Arc<Followed>> {
        self.lock().values().cloned().collect()
    }

    /// The zones that are to be served and cannot be: none has come yet, or it has expired.
    pub(super) fn withheld(&self, zones: &Zones, now: u64) -> BTreeSet<Box<[u8]>> {
        let all = self.lock();
        let served = all.values().filter(|zone| zone.purpose == Purpose::Served);
        let withheld = served.filter(|followed| {
            let there = zones.exact(&followed.zone).is_some();
            !there || !followed.state().refresh.is_servable(now)
        });
        withheld.map(|followed| followed.zone.clone()).collect()
    }
}
