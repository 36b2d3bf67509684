//! Streams multiple-description media over RTSP and hands sessions to other edges.
//!
//! ```text
//!  player ──RTSP──► serve ──frames──◄ content ◄── titles folder
//!                     │ send (TCP, UDP)    ▲
//!                     │ sessions           └────── peers (QUIC) ◄──► other edges
//!                     └ handoff ───────────────────┘    fleet ◄── releases (traffic map)
//! ```
//! One task per connection owns its session; everything shared is in [`edge::Edge`].

pub mod admin;
pub mod alternative;
pub mod commands;
pub mod config;
pub mod content;
pub mod edge;
pub mod fleet;
pub mod handoff;
pub mod identity;
pub mod metrics;
pub mod peers;
pub mod releases;
pub mod report;
pub mod send;
pub mod serve;
pub mod sessions;
pub mod title;

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::bail;
use arc_swap::ArcSwap;
use service::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinSet;

use crate::alternative::Alternative;
use crate::content::{Fetcher, Library};
use crate::edge::{Edge, Mode};
use crate::fleet::Fleet;
use crate::handoff::second::Incoming;
use crate::metrics::Metrics;
use crate::peers::Peers;
use crate::serve::{Listener, PerSource};
use crate::sessions::Sessions;

pub use crate::config::Config;

/// A running edge.
#[derive(Debug)]
pub struct Running {
    /// The bound RTSP addresses, in the order of the configuration.
    pub rtsp: Vec<SocketAddr>,
    /// The bound address for other edges.
    pub handoff: SocketAddr,
    /// The bound admin address.
    pub admin: SocketAddr,
    /// The public half of the edge's identity.
    pub public_key: [u8; 32],
    /// What the edge's connections share: sessions, mode, fleet.
    pub edge: Arc<Edge>,
    tasks: JoinSet<()>,
}

/// Binds everything and starts serving. Needs a running tokio runtime (several threads when releases are followed).
pub async fn start(config: Config, shutdown: Shutdown) -> anyhow::Result<Running> {
    let problems = config.problems();
    if !problems.is_empty() {
        bail!(problems.join("; "));
    }
    let key = identity::load_or_create(&config.identity)?;
    let registry = service::metrics::registry("media-edge");
    let metrics = Arc::new(Metrics::new(&registry)?);
    let fleet = Arc::new(ArcSwap::from_pointee(Fleet::default()));
    if let Some(releases) = &config.releases {
        releases::follow(
            releases,
            Arc::clone(&fleet),
            Arc::clone(&metrics),
            shutdown.clone(),
        )?;
    }
    let peers = Peers::bind(
        config.handoff,
        &key,
        Arc::clone(&fleet),
        Arc::clone(&metrics),
    )?;
    let mut listeners = Vec::new();
    for address in &config.listen {
        listeners.push(Listener::bind(*address, &shutdown).await?);
    }
    let believed = config.report_clients_believed.iter();
    let edge = Arc::new(Edge {
        believed: believed
            .filter_map(|network| report::parse_network(network))
            .collect(),
        library: Library::new(
            config.titles.clone(),
            config.sources.clone(),
            config.limits.pulled_octets,
            Arc::new(peers.clone()) as Arc<dyn Fetcher>,
        ),
        sessions: Arc::new(Sessions::new(config.limits.sessions)),
        incoming: Incoming::default(),
        alternative: Alternative::default(),
        mode: watch::Sender::new(Mode::Serving),
        public_key: key.verifying_key().to_bytes(),
        key,
        fleet,
        peers: peers.clone(),
        metrics,
        shutdown: shutdown.clone(),
        config,
    });
    let admin = service::admin::serve(
        edge.config.admin,
        registry,
        admin::routes(Arc::clone(&edge)),
        shutdown,
    )?;
    let (rtsp, handoff) = (listeners.iter().map(|l| l.local).collect(), peers.local()?);
    let mut tasks = JoinSet::new();
    let per_source = Arc::new(PerSource::default());
    for listener in listeners {
        tasks.spawn(listener.serve(Arc::clone(&edge), Arc::clone(&per_source)));
    }
    tasks.spawn(peers::accept(peers, Arc::clone(&edge)));
    tasks.spawn(Arc::clone(&edge).watch_load());
    Ok(Running {
        rtsp,
        handoff,
        admin,
        public_key: edge.public_key,
        edge,
        tasks,
    })
}

impl Running {
    /// Returns after the shutdown, once players have been told goodbye.
    pub async fn wait(mut self) -> anyhow::Result<()> {
        while self.tasks.join_next().await.is_some() {}
        Ok(())
    }
}
