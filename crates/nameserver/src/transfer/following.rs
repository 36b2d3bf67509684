//! The tasks that follow zones of other servers: one for each zone, asleep until its time or a NOTIFY comes.
//!
//! ```text
//! due, or NOTIFY ─► a seat ─► primaries, one after another ─► kept on disk ─► inbox ─► taken up like a zone file
//!                                      └ none helped: again after RETRY; the zone goes on until it expires
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use dns_engine::catalog::Catalog;
use dns_engine::transfer::Timers;
use service::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, spawn_blocking};

use super::asking::{Arrived, Asking, Failure, Held, News};
use super::members::MEMBERS_MAX;
use super::metrics::Got;
use super::roster::{Followed, Purpose};
use super::settings::shown;
use super::{Transfers, kept};
use crate::precedence::give_way;
use crate::unix_seconds;

/// Zones that are asked for at once: a catalog of thousands must not open thousands of connections to one primary.
const SEATS: usize = 8;
/// Longest sleep, so that a clock that is set forward is noticed.
const SLEEP_MAX: Duration = Duration::from_secs(60);

/// Follows every zone of the roster, also those that come later, until the end.
pub(super) async fn run(transfers: Arc<Transfers>, ending: Shutdown) -> anyhow::Result<()> {
    let seats = Arc::new(Semaphore::new(SEATS));
    let mut running: BTreeMap<Box<[u8]>, Arc<Followed>> = BTreeMap::new();
    let mut tasks = JoinSet::new();
    loop {
        let all = transfers.roster.all();
        running.retain(|_, followed| !followed.removal.is_set());
        for followed in all {
            if !running.contains_key(&followed.zone) {
                running.insert(followed.zone.clone(), Arc::clone(&followed));
                let follower = Follower {
                    transfers: Arc::clone(&transfers),
                    followed,
                    seats: Arc::clone(&seats),
                    ending: ending.clone(),
                };
                tasks.spawn(follower.follow());
            }
        }
        tokio::select! {
            () = ending.wait() => break,
            () = transfers.roster.changed.notified() => {}
            Some(_) = tasks.join_next() => {}
        }
    }
    while tasks.join_next().await.is_some() {}
    Ok(())
}

/// Follows one zone.
struct Follower {
    transfers: Arc<Transfers>,
    followed: Arc<Followed>,
    seats: Arc<Semaphore>,
    ending: Shutdown,
}

impl Follower {
    async fn follow(self) {
        let this = Arc::new(self);
        let mut told = false;
        while !this.ending.is_set() && !this.followed.removal.is_set() {
            let due_at = this.followed.state().refresh.due_at();
            let wait = due_at.unwrap_or(0).saturating_sub(unix_seconds());
            if wait == 0 {
                tokio::select! {
                    () = this.ended() => break,
                    () = this.round(std::mem::take(&mut told)) => {}
                }
                continue;
            }
            tokio::select! {
                () = this.ended() => break,
                () = this.followed.bell.notified() => {
                    told = true;
                    this.followed.state().refresh.notified(unix_seconds());
                }
                () = tokio::time::sleep(SLEEP_MAX.min(Duration::from_secs(wait))) => {}
            }
        }
    }

    async fn ended(&self) {
        tokio::select! {
            () = self.ending.wait() => {}
            () = self.followed.removal.wait() => {}
        }
    }

    /// Asks the primary whose turn it is; if a NOTIFY said that there is news, also the others until one has it, as it
    /// is theirs to say who is ahead.
    async fn round(self: &Arc<Self>, told: bool) {
        let Ok(_seat) = self.seats.acquire().await else {
            return;
        };
        let first = self.followed.state().refresh.begin(unix_seconds());
        let this = Arc::clone(self);
        // A large zone takes a second to build and to write: not on the threads that answer over TCP.
        let round = spawn_blocking(move || {
            give_way();
            Handle::current().block_on(async {
                tokio::select! {
                    () = this.ended() => {}
                    () = this.ask(first, told) => {}
                }
            });
        });
        if round.await.is_err() {
            self.failed(first, &Failure::Panic);
        }
    }

    async fn ask(&self, first: usize, told: bool) {
        let primaries = self.followed.from.primaries.len();
        let (mut confirmed, mut failure) = (false, None);
        for turn in 0..if told { primaries } else { 1 } {
            let primary = (first + turn) % primaries;
            match self.news(primary).await {
                Ok(News::Version(arrived)) => return self.arrived(primary, *arrived),
                Ok(News::Same) => confirmed = true,
                Err(error) => failure = failure.or(Some((primary, error))),
            }
        }
        match failure {
            Some((primary, failure)) if !confirmed => self.failed(primary, &failure),
            _ => self.confirmed(),
        }
    }

    async fn news(&self, primary: usize) -> Result<News, Failure> {
        let held = {
            let state = self.followed.state();
            state.held.clone().map(|zone| Held {
                zone,
                servable: state.refresh.is_servable(unix_seconds()),
            })
        };
        let primary = &self.followed.from.primaries[primary];
        let asking = Asking::new(primary, &self.transfers.keys())?;
        let begun = Instant::now();
        let news = asking.news(&self.followed.zone, held.as_ref()).await?;
        if let News::Version(arrived) = &news {
            self.tell(primary.address, arrived, held.as_ref(), begun.elapsed());
        }
        Ok(news)
    }

    fn tell(
        &self,
        primary: std::net::SocketAddr,
        arrived: &Arrived,
        held: Option<&Held>,
        took: Duration,
    ) {
        let Arrived { complete, octets } = arrived;
        tracing::info!(
            zone = shown(&self.followed.zone),
            %primary,
            before = held.map(|held| held.zone.serial()),
            serial = complete.zone.serial(),
            differences = complete.incremental,
            records = complete.records,
            octets,
            milliseconds = took.as_millis() as u64,
            "transferred"
        );
        if complete.outside > 0 {
            let (zone, records) = (shown(&self.followed.zone), complete.outside);
            tracing::warn!(zone, %primary, records, "records outside the zone are left out");
        }
    }

    /// Keeps a new version and hands it on.
    fn arrived(&self, primary: usize, arrived: Arrived) {
        let (differences, octets) = (arrived.complete.incremental, arrived.octets);
        let zone = Arc::new(arrived.complete.zone);
        let catalog = match self.followed.purpose {
            Purpose::Served => None,
            Purpose::Catalog => match read(&zone) {
                Ok(catalog) => Some(catalog),
                // Its members, and the version before, stay.
                Err(reason) => return self.failed(primary, &Failure::Catalog(reason)),
            },
        };
        let counts = &self.transfers.counts;
        let got = if differences {
            Got::Differences
        } else {
            Got::Whole
        };
        counts.came(&self.followed.zone, got, octets);
        let path = self.transfers.path(&self.followed.zone);
        let aside = kept::prepare(&path, &zone);
        let mut state = self.followed.state();
        if state.gone {
            return;
        }
        if let Err(error) = aside.and_then(kept::Aside::place) {
            let file = path.display();
            tracing::error!(%file, %error, "cannot be written: a restart would not have this version");
        }
        let now = unix_seconds();
        let timers = Timers::of(zone.soa());
        state.held = Some(Arc::clone(&zone));
        state.refresh.succeeded(timers, now, rand::random());
        if self.followed.purpose == Purpose::Served {
            self.transfers.inbox.arrived(path, zone);
        }
        drop(state);
        if let Some(catalog) = catalog {
            self.transfers.catalog_came(&self.followed.zone, catalog);
        }
    }

    /// The version at hand is the newest there is.
    fn confirmed(&self) {
        self.transfers
            .counts
            .came(&self.followed.zone, Got::Current, 0);
        let path = self.transfers.path(&self.followed.zone);
        let mut state = self.followed.state();
        let Some(zone) = state.held.clone().filter(|_| !state.gone) else {
            return;
        };
        let now = unix_seconds();
        state
            .refresh
            .succeeded(Timers::of(zone.soa()), now, rand::random());
        if let Err(error) = kept::confirm(&path, now) {
            tracing::error!(file = %path.display(), %error, "the time cannot be noted");
        }
        drop(state);
        if self.followed.purpose == Purpose::Catalog
            && let Ok(catalog) = read(&zone)
        {
            // The first time after a start; later it changes nothing.
            self.transfers.catalog_came(&self.followed.zone, catalog);
        }
    }

    fn failed(&self, primary: usize, failure: &Failure) {
        let (zone, now) = (&self.followed.zone, unix_seconds());
        self.transfers.counts.came(zone, Got::Nothing, 0);
        let mut state = self.followed.state();
        state.refresh.failed(now, rand::random());
        let retry_seconds = state.refresh.due_at().map(|due| due.saturating_sub(now));
        let expires_seconds = state.expires_in(now);
        drop(state);
        let primary = self.followed.from.primaries[primary].address;
        let zone = shown(zone);
        tracing::warn!(zone, %primary, %failure, retry_seconds, expires_seconds, "no transfer");
    }
}

/// What a catalog zone says, if it keeps the rules.
fn read(zone: &dns_engine::Zone) -> Result<Catalog, String> {
    let catalog = Catalog::read(zone).map_err(|broken| broken.to_string())?;
    match catalog.members.len() {
        count if count > MEMBERS_MAX => Err(format!(
            "it has {count} members, and {MEMBERS_MAX} at most are followed"
        )),
        _ => Ok(catalog),
    }
}
