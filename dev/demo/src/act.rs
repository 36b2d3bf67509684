//! The show itself: three clients are routed, one of them plays, and the edges it plays from are drained one after the other.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use player::dns::{ResolverSpec, Resolvers};
use player::events::{Happening, Listener};
use player::name::{ClientNet, ServiceName};
use player::resolve::{ServerSet, resolve};
use player::{Options, Source};
use service::shutdown::Shutdown;
use tokio::sync::mpsc;

use crate::cast::Cast;
use crate::epilogue;
use crate::show::{self, Picture};
use crate::stage::{Stage, TITLE};
use crate::summary::Summary;

/// The routed service.
pub(crate) const SERVICE: &str = "_rtsp._tcp.live.stream.example.";
/// The zone of the tokens.
pub(crate) const TOKENS: &str = "edge.stream.example";

/// Who asks: real access networks on three continents. The first one plays.
pub(crate) const CLIENTS: [(&str, &str); 3] = [
    ("90.0.0.0/24", "Orange, France"),
    ("73.1.0.0/16", "Comcast, United States"),
    ("126.0.0.0/16", "SoftBank, Japan"),
];

/// The playing edge is drained when this part of the title has been shown.
const DRAIN_AT: [f64; 2] = [0.25, 0.6];

/// Performs it all.
pub(crate) async fn perform(
    stage: &Stage,
    cast: &Cast,
    shutdown: Shutdown,
) -> anyhow::Result<Summary> {
    let service: ServiceName = SERVICE.parse()?;
    let resolvers = resolvers(cast)?;
    for (network, place) in CLIENTS {
        let set = routed(&resolvers, &service, network).await?;
        show::routed(network, place, &set, cast);
    }
    let (network, _) = CLIENTS[0];
    let options = Options {
        title: Some(TITLE.into()),
        resolvers,
        client: Some(client(network)?),
        ..Options::new(Source::Service(service))
    };
    let (sender, happenings) = mpsc::unbounded_channel();
    let listener: Listener = Arc::new(move |happening| {
        // The stage crew may have gone home when the play ends.
        sender.send(happening).ok();
    });
    let crew = stage_crew(stage, cast, happenings);
    let (report, drained) = tokio::join!(player::play(options, listener, shutdown), crew);
    drained?;
    let learnt = epilogue::learn(stage, cast).await?;
    show::learnt(&learnt);
    Summary::new(stage, report, learnt).context("the play")
}

async fn routed(
    resolvers: &[ResolverSpec],
    service: &ServiceName,
    network: &str,
) -> anyhow::Result<ServerSet> {
    let resolvers = Resolvers::new(resolvers)?;
    let mut rng: rand::rngs::StdRng = rand::make_rng();
    Ok(resolve(&resolvers, service, Some(&client(network)?), &mut rng).await?)
}

/// Both levels directly: on loopback they live on ports that no delegation can name.
fn resolvers(cast: &Cast) -> anyhow::Result<Vec<ResolverSpec>> {
    [cast.l1.to_string(), format!("{TOKENS}={}", cast.l2)]
        .iter()
        .map(|text| text.parse().map_err(anyhow::Error::msg))
        .collect()
}

fn client(network: &str) -> anyhow::Result<ClientNet> {
    network
        .parse()
        .map_err(|error| anyhow::anyhow!("{network}: {error}"))
}

/// Watches the play, keeps the bar, and drains the playing edge when its time has come.
async fn stage_crew(
    stage: &Stage,
    cast: &Cast,
    mut happenings: mpsc::UnboundedReceiver<Happening>,
) -> anyhow::Result<()> {
    let picture = Picture::new(stage.frames);
    let mut playing: Option<SocketAddr> = None;
    let mut drains = DRAIN_AT
        .iter()
        .map(|part| (f64::from(stage.frames) * part) as u32)
        .peekable();
    let mut drained: Option<SocketAddr> = None;
    let mut moving: Option<SocketAddr> = None;
    while let Some(happening) = happenings.recv().await {
        picture.note(&happening, cast);
        match happening {
            Happening::Raced(lap, _) => playing = Some(lap.address),
            Happening::HandoffBegun { to, .. } => moving = Some(to),
            Happening::HandoffDone { .. } => {
                playing = moving.take();
                // Back in service, as an operator would after the maintenance.
                if let Some(admin) = drained.take() {
                    media_edge::commands::ask(admin, "POST", "/resume").await?;
                }
            }
            Happening::Position(frame) if drains.next_if(|at| frame >= *at).is_some() => {
                let Some(edge) = playing.and_then(|address| cast.edge_at(address)) else {
                    continue;
                };
                picture.drains(&edge.name);
                media_edge::commands::ask(edge.admin, "POST", "/drain").await?;
                drained = Some(edge.admin);
            }
            _ => {}
        }
    }
    picture.end();
    Ok(())
}
