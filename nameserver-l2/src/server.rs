//! The running server: sockets, the snapshot they answer from, and the tasks that follow files and probe edges.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use arc_swap::ArcSwap;
use dns_engine::Snapshot;
use dns_transport::{counters::TcpCounters, pair, tcp, udp};
use service::diagnostic::{Report, Severity};
use service::{admin, secret, shutdown::Shutdown, watch::POLL_INTERVAL};
use tokio::task::JoinSet;

use crate::config::Config;
use crate::door::Door;
use crate::explain::{self, Explainer};
use crate::inputs::Inputs;
use crate::metrics::{self, Counters, Reloads};
use crate::probe;
use crate::view::View;

/// The bound addresses of a server that answers, and its end.
#[derive(Debug)]
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

/// Reads everything, binds everything and starts to answer. What cannot be read is reported and waited for; until then
/// its names get REFUSED or SERVFAIL.
///
/// # Errors
/// When there is no address to listen on, or one cannot be bound.
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    anyhow::ensure!(
        !config.listen.is_empty(),
        "`listen` is empty: nobody could ask this server"
    );
    let registry = service::metrics::registry("nameserver-l2");
    let (counters, view) = (
        Arc::<Counters>::default(),
        Arc::new(View::new(config.probe)),
    );
    let reloads = metrics::register(&registry, &counters, &view).context("metrics")?;
    let (follower, current) =
        Follower::new(config.clone(), view.clone(), counters.clone(), reloads);

    let door = Door { current, counters };
    let (mut udp, mut dns, mut tasks) = (Vec::new(), Vec::new(), JoinSet::new());
    for listen in &config.listen {
        let (handle, listener) = pair::bind(*listen, config.worker_count(), &door)?;
        let tcp_counters = TcpCounters::default();
        door.counters
            .follow(handle.counters(), tcp_counters.clone());
        dns.push(handle.local());
        udp.push(handle);
        let (door, shutdown) = (door.clone(), shutdown.clone());
        tasks.spawn(async move {
            let until = async move { shutdown.wait().await };
            let limits = tcp::TcpLimits::default();
            let served = tcp::serve(listener, door, limits, tcp_counters, until).await;
            if let Err(error) = served {
                tracing::error!(%error, "TCP ended");
            }
        });
    }
    let routes = explain::routes(follower.explainer.clone());
    let admin = admin::serve(config.admin, registry, routes, shutdown.clone())?;
    tasks.spawn(probe::run(view, config.probe, shutdown.clone()));
    tasks.spawn(follower.run(shutdown.clone()));
    Ok(Running {
        dns,
        admin,
        udp,
        tasks,
        shutdown,
    })
}

/// Follows the files and swaps what they lead to.
struct Follower {
    inputs: Inputs,
    view: Arc<View>,
    counters: Arc<Counters>,
    reloads: Reloads,
    current: Arc<ArcSwap<Snapshot>>,
    explainer: Arc<ArcSwap<Explainer>>,
}

impl Follower {
    /// Reads everything once.
    fn new(
        config: Config,
        view: Arc<View>,
        counters: Arc<Counters>,
        reloads: Reloads,
    ) -> (Follower, Arc<ArcSwap<Snapshot>>) {
        let mut inputs = Inputs::new(config);
        let (snapshot, tokens, _) = inputs.snapshot(&view, &counters);
        let current = Arc::new(ArcSwap::from_pointee(snapshot));
        let explainer = Explainer::new(tokens, view.clone(), None);
        let explainer = Arc::new(ArcSwap::from_pointee(explainer));
        let mut follower = Follower {
            inputs,
            view,
            counters,
            reloads,
            current: current.clone(),
            explainer,
        };
        follower.follow();
        // A start beside a bad release: the reader then has the one before.
        follower.follow();
        (follower, current)
    }

    async fn run(mut self, shutdown: Shutdown) {
        while !shutdown.is_set() {
            tokio::select! {
                () = shutdown.wait() => return,
                () = tokio::time::sleep(POLL_INTERVAL) => {}
            }
            let followed = tokio::task::spawn_blocking(move || {
                self.follow();
                self
            });
            match followed.await {
                Ok(follower) => self = follower,
                Err(error) => {
                    // What is in force keeps serving; only news no longer arrive.
                    tracing::error!(%error, "following the files failed");
                    return;
                }
            }
        }
    }

    fn follow(&mut self) {
        let news = self.inputs.poll();
        if let Some(plan) = news.plan {
            tracing::info!(
                generation = plan.generation,
                edges = plan.map.edges().len(),
                "new release"
            );
            self.view.adopt(plan);
        }
        if news.snapshot {
            let (snapshot, tokens, odd) = self.inputs.snapshot(&self.view, &self.counters);
            log(&odd);
            self.current.store(Arc::new(snapshot));
            let services = self.inputs.services().cloned();
            self.explainer.store(Arc::new(Explainer::new(
                tokens,
                self.view.clone(),
                services,
            )));
        }
        for source in news.adopted {
            let total = &self.reloads.total;
            total.with_label_values(&[source, "adopted"]).inc();
            self.set_refused(source, 0);
            tracing::info!(source, "serving the new version");
            if source == "keys"
                && let Some(warning) = secret::exposed(self.inputs.keys_file())
            {
                tracing::warn!("{warning}");
            }
        }
        for (source, report) in news.refused {
            let total = &self.reloads.total;
            total.with_label_values(&[source, "refused"]).inc();
            self.set_refused(source, 1);
            tracing::error!(source, "refused; what was served before goes on");
            log(&report);
        }
        // Of several zone files some may be good and others not.
        self.set_refused("zone", self.inputs.refused_zones());
        if self.inputs.release_is_good() {
            // Also when the one in force has come back, which is no news.
            self.set_refused("release", 0);
        }
    }

    fn set_refused(&self, source: &str, count: usize) {
        let gauge = self.reloads.refused.with_label_values(&[source]);
        gauge.set(count as i64);
    }
}

fn log(report: &Report) {
    for finding in &report.findings {
        match finding.severity {
            Severity::Error => tracing::error!("{finding}"),
            Severity::Warning => tracing::warn!("{finding}"),
        }
    }
}
