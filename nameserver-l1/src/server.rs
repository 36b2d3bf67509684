//! The running server: sockets, the snapshot they answer from, and the task that follows the files.

use std::{
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use anyhow::Context;
use arc_swap::{ArcSwap, cache::Cache};
use dns_engine::{Meta, Outcome as Answered, Scratch, Snapshot, Transport, respond};
use dns_transport::{Answerer, Arrival, Reply, Worker, counters::TcpCounters, pair, tcp, udp};
use service::{admin, secret, shutdown::Shutdown, watch::POLL_INTERVAL};
use tokio::task::JoinSet;

use crate::{
    adoption::{Adoption, Outcome},
    config::Config,
    inputs::Inputs,
    metrics::Metrics,
    routing::Routing,
    status,
    world::Source,
};

/// What is served at one moment: queries are answered from the snapshot, `explain` looks at the routing.
pub struct Serving {
    /// For queries.
    pub snapshot: Snapshot,
    /// The services in it.
    pub routing: Arc<Routing>,
}

/// The bound addresses of a server that answers, and its end.
pub struct Running {
    /// UDP and TCP, in the order of the configuration.
    pub dns: Vec<SocketAddr>,
    /// Metrics, health, `explain`.
    pub admin: SocketAddr,
    udp: Vec<udp::UdpHandle>,
    tasks: JoinSet<()>,
    shutdown: Shutdown,
}

impl Running {
    /// Returns when the shutdown has been fired and the last answers are sent.
    ///
    /// # Errors
    /// When a task of the server panicked.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        self.shutdown.wait().await;
        self.udp.iter().for_each(udp::UdpHandle::shutdown);
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a task of the server failed")?;
        }
        tokio::task::spawn_blocking(move || self.udp.into_iter().for_each(udp::UdpHandle::stop))
            .await
            .context("the UDP workers could not be joined")
    }
}

/// Reads everything, binds everything and starts to answer. What cannot be read is reported and waited
/// for: a name server that does not start is worse than one that answers what it can.
///
/// # Errors
/// When an address cannot be bound.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let registry = service::metrics::registry("nameserver-l1");
    let metrics = Metrics::register(&registry).context("metrics")?;
    let mut follower = Follower {
        inputs: Inputs::new(&config),
        token_keys: config.token_keys.clone(),
        adoption: Adoption::default(),
        metrics: metrics.clone(),
    };
    let empty = follower.serving();
    let current = Arc::new(ArcSwap::from_pointee(empty));
    follower.follow(&current);
    // A start beside a bad release: the reader then has the one before.
    follower.follow(&current);

    let door = Door {
        current: Arc::clone(&current),
        metrics: metrics.clone(),
    };
    let (mut udp, mut dns, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
    for listen in &config.listen {
        let (handle, listener) = pair::bind(*listen, config.worker_count(), &door)?;
        dns.push(handle.local());
        let counters = TcpCounters::default();
        metrics.follow(handle.counters(), counters.clone());
        udp.push(handle);
        let (door, shutdown) = (door.clone(), shutdown.clone());
        tasks.spawn(async move {
            let until = async move { shutdown.wait().await };
            let served = tcp::serve(listener, door, tcp::TcpLimits::default(), counters, until);
            if let Err(error) = served.await {
                tracing::error!(%error, "DNS over TCP stopped");
            }
        });
    }
    let routes = status::routes(Arc::clone(&current));
    let admin = admin::serve(config.admin, registry, routes, shutdown.clone())?;
    let until = shutdown.clone();
    tasks.spawn(async move { follower.run(current, until).await });
    Ok(Running {
        dns,
        admin,
        udp,
        tasks,
        shutdown,
    })
}

/// Follows the files and swaps the snapshot.
struct Follower {
    inputs: Inputs,
    token_keys: PathBuf,
    adoption: Adoption,
    metrics: Metrics,
}

impl Follower {
    async fn run(mut self, current: Arc<ArcSwap<Serving>>, shutdown: Shutdown) {
        while !shutdown.is_set() {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            let current = Arc::clone(&current);
            let followed = tokio::task::spawn_blocking(move || {
                self.follow(&current);
                self
            });
            match followed.await {
                Ok(follower) => self = follower,
                Err(error) => {
                    // The snapshot keeps serving; only news no longer arrive.
                    tracing::error!(%error, "following the files failed");
                    return;
                }
            }
        }
    }

    fn follow(&mut self, current: &ArcSwap<Serving>) {
        let outcome = self.adoption.take(self.inputs.poll_texts());
        self.put_in_force(outcome, current);
        let release = self.inputs.poll_release(self.adoption.world());
        let outcome = self.adoption.take(release);
        self.put_in_force(outcome, current);
        if self.inputs.release_is_good() {
            // Also when the one in force has come back, which is no news.
            self.metrics.set_refused(&Source::Release, false);
        }
    }

    fn put_in_force(&self, outcome: Outcome, current: &ArcSwap<Serving>) {
        if outcome.changed {
            current.store(Arc::new(self.serving()));
        }
        for source in &outcome.adopted {
            self.metrics
                .reloads
                .with_label_values(&[source.label(), "adopted"])
                .inc();
            self.metrics.set_refused(source, false);
            tracing::info!(source = %source, "serving the new version");
            if *source == Source::Keys
                && let Some(warning) = secret::exposed(&self.token_keys)
            {
                tracing::warn!("{warning}");
            }
        }
        for (source, report) in &outcome.refused {
            self.metrics
                .reloads
                .with_label_values(&[source.label(), "refused"])
                .inc();
            self.metrics.set_refused(source, true);
            for finding in &report.findings {
                tracing::error!("{finding}; the last good version stays in force");
            }
        }
        for finding in &outcome.misfits.findings {
            tracing::error!("{finding}; what does not fit is not routed");
        }
    }

    fn serving(&self) -> Serving {
        let world = self.adoption.world();
        if let Some(release) = &world.release {
            let (v4, v6) = release.map.range_counts();
            self.metrics
                .generation
                .set(i64::try_from(release.generation).unwrap_or(i64::MAX));
            self.metrics
                .published
                .set(i64::try_from(release.built_at).unwrap_or(i64::MAX));
            self.metrics
                .rows
                .with_label_values(&["ipv4"])
                .set(v4 as i64);
            self.metrics
                .rows
                .with_label_values(&["ipv6"])
                .set(v6 as i64);
        }
        let (snapshot, routing) = world.build(&self.metrics);
        let misfits = routing.services.iter().filter(|service| !service.fits);
        self.metrics.misfits.set(misfits.count() as i64);
        Serving { snapshot, routing }
    }
}

/// The one door for both transports.
#[derive(Clone)]
struct Door {
    current: Arc<ArcSwap<Serving>>,
    metrics: Metrics,
}

impl Answerer for Door {
    type Worker = Attendant;

    fn worker(&self) -> Attendant {
        Attendant {
            current: Cache::new(Arc::clone(&self.current)),
            scratch: Scratch::new(),
            now: unix_seconds(),
            started: Instant::now(),
            now_ms: 0,
            metrics: self.metrics.clone(),
        }
    }
}

/// Answers for one thread or connection.
struct Attendant {
    current: Cache<Arc<ArcSwap<Serving>>, Arc<Serving>>,
    scratch: Scratch,
    /// Unix time at the start of the batch.
    now: u64,
    started: Instant,
    /// Milliseconds since `started`.
    now_ms: u64,
    metrics: Metrics,
}

impl Worker for Attendant {
    fn begin_batch(&mut self) {
        self.now = unix_seconds();
        self.now_ms = self.started.elapsed().as_millis() as u64;
    }

    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply {
        let meta = Meta {
            source: from.source,
            local: from.local,
            transport: if from.transport.is_datagram() {
                Transport::Udp
            } else {
                Transport::Tcp
            },
            now: self.now,
            now_ms: self.now_ms,
        };
        // Looks at one pointer; the snapshot stays put for the whole query.
        let serving = self.current.load();
        let reply = match respond(&serving.snapshot, query, &meta, &mut self.scratch, out) {
            Answered::Send(length) => Reply::Send(length),
            Answered::Drop(_) => Reply::Silent,
        };
        let sent = !matches!(reply, Reply::Silent);
        self.metrics.count(self.scratch.summary(), from, sent);
        reply
    }
}

fn unix_seconds() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}
