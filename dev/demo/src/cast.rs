//! The programs of the show, started in this process through the same doors as their `run` commands.

use std::net::SocketAddr;

use anyhow::Context;
use service::shutdown::Shutdown;
use tokio::task::JoinSet;

use crate::stage::Stage;

/// Everything that runs.
pub(crate) struct Cast {
    /// First level, DNS.
    pub(crate) l1: SocketAddr,
    /// First level, metrics.
    pub(crate) l1_admin: SocketAddr,
    /// Second level, DNS.
    pub(crate) l2: SocketAddr,
    /// Edges, in the stage's order.
    pub(crate) edges: Vec<RunningEdge>,
    tasks: JoinSet<anyhow::Result<()>>,
}

/// An edge that runs.
pub(crate) struct RunningEdge {
    pub(crate) name: String,
    pub(crate) region: String,
    /// Where players connect.
    pub(crate) rtsp: Vec<SocketAddr>,
    /// Drain and resume.
    pub(crate) admin: SocketAddr,
}

impl Cast {
    /// The edge that players know by this address.
    pub(crate) fn edge_at(&self, address: SocketAddr) -> Option<&RunningEdge> {
        self.edges.iter().find(|edge| edge.rtsp.contains(&address))
    }

    /// The generation that the first level serves, as its metrics tell.
    pub(crate) async fn generation_at_l1(&self) -> anyhow::Result<u64> {
        let metrics = media_edge::commands::ask(self.l1_admin, "GET", "/metrics").await?;
        let line = metrics
            .lines()
            .find_map(|line| line.strip_prefix("signpost_map_generation "));
        line.and_then(|value| value.trim().parse().ok())
            .context("L1 tells no generation")
    }

    /// Waits for all programs, after the shutdown.
    pub(crate) async fn ended(mut self) -> anyhow::Result<()> {
        while let Some(ended) = self.tasks.join_next().await {
            ended.context("a program panicked")??;
        }
        Ok(())
    }
}

/// Starts the edges, then both levels of name servers.
pub(crate) async fn start(stage: &Stage, shutdown: Shutdown) -> anyhow::Result<Cast> {
    let mut tasks = JoinSet::new();
    let mut edges = Vec::new();
    for edge in &stage.edges {
        let config = media_edge::Config::load(&edge.config)?;
        let running = media_edge::start(config, shutdown.clone())
            .await
            .with_context(|| format!("media-edge {}", edge.name))?;
        edges.push(RunningEdge {
            name: edge.name.clone(),
            region: edge.region.clone(),
            rtsp: running.rtsp.clone(),
            admin: running.admin,
        });
        tasks.spawn(running.wait());
    }
    let config = nameserver_l2::Config::load(&stage.dir.join("nameserver-l2.toml"))?;
    let l2 = nameserver_l2::start(config, shutdown.clone())
        .await
        .context("nameserver-l2")?;
    let config = nameserver_l1::Config::load(&stage.dir.join("nameserver-l1.toml"))?;
    let l1 = nameserver_l1::start(config, shutdown)
        .await
        .context("nameserver-l1")?;
    let (l1_dns, l2_dns, l1_admin) = (first(&l1.dns)?, first(&l2.dns)?, l1.admin);
    tasks.spawn(l1.wait());
    tasks.spawn(l2.wait());
    Ok(Cast {
        l1: l1_dns,
        l1_admin,
        l2: l2_dns,
        edges,
        tasks,
    })
}

fn first(addresses: &[SocketAddr]) -> anyhow::Result<SocketAddr> {
    addresses
        .first()
        .copied()
        .context("no address to listen on")
}
