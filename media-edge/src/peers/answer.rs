//! The incoming side: other edges ask for room, for parts of titles, and offer sessions.

use std::sync::Arc;
use std::time::Duration;

use quinn::Connection;
use rtsp::peer::{Fetch, Message, Part};

use super::{Link, Peers, peer_key};
use crate::content::{Availability, Title, encode_outline};
use crate::edge::Edge;
use crate::handoff;

/// A stream has to say what it wants within this.
const FIRST_MESSAGE_DEADLINE: Duration = Duration::from_secs(2);
/// Longest wait for a frame that this edge itself has to fetch, and longest stall of the reader.
const FRAME_DEADLINE: Duration = Duration::from_secs(3);
/// Most frames sent for one fetch.
const FRAMES_MAX: u32 = 1_000;

/// Accepts other edges until shutdown; then the endpoint closes once the sessions have ended.
pub async fn accept(peers: Peers, edge: Arc<Edge>) {
    loop {
        let incoming = tokio::select! {
            incoming = peers.inner.endpoint.accept() => incoming,
            () = edge.shutdown.wait() => break,
        };
        let Some(incoming) = incoming else { return };
        // Unproven addresses first have to show that they receive what we send.
        if !incoming.remote_address_validated() {
            let _ = incoming.retry();
            continue;
        }
        let edge = Arc::clone(&edge);
        tokio::spawn(async move {
            match incoming.await {
                Ok(connection) => serve(connection, edge).await,
                Err(error) => tracing::debug!(%error, "an edge's connection failed"),
            }
        });
    }
    edge.finished().await;
    peers.close();
}

async fn serve(connection: Connection, edge: Arc<Edge>) {
    while let Ok(stream) = connection.accept_bi().await {
        // The map may have changed since the handshake: an edge taken out of it is a stranger from then on.
        let fleet = edge.fleet.load_full();
        let peer = peer_key(&connection).and_then(|key| fleet.by_key(&key));
        let Some(peer) = peer.map(|peer| peer.name.clone()) else {
            connection.close(1_u8.into(), b"not in the map");
            return;
        };
        let edge = Arc::clone(&edge);
        tokio::spawn(async move {
            if let Err(error) = answer(Link::new(stream), &peer, &edge).await {
                tracing::debug!(
                    peer,
                    error = format!("{error:#}"),
                    "a peer's stream ended early"
                );
            }
        });
    }
}

async fn answer(mut link: Link, peer: &str, edge: &Arc<Edge>) -> anyhow::Result<()> {
    let first = tokio::time::timeout(FIRST_MESSAGE_DEADLINE, link.receive()).await??;
    match first {
        Some(Message::Probe {}) => {
            let sessions = u32::try_from(edge.room()).unwrap_or(u32::MAX);
            link.send(&Message::Room { sessions }).await?;
            link.finish();
            Ok(())
        }
        Some(Message::Fetch(fetch)) => answer_fetch(&mut link, fetch, edge).await,
        Some(Message::Offer(offer)) => handoff::second::receive(link, peer, *offer, edge).await,
        Some(other) => anyhow::bail!("a stream began with {}", other.kind()),
        None => anyhow::bail!("a stream ended before it began"),
    }
}

async fn answer_fetch(link: &mut Link, fetch: Fetch, edge: &Edge) -> anyhow::Result<()> {
    let title = edge.library.title(&fetch.title, None, fetch.hops).await;
    let (Some(title), true) = (title, fetch.hops <= crate::content::HOPS_MAX) else {
        let refused = Message::Refused {
            handoff: String::new(),
            reason: "no_title".to_owned(),
        };
        link.send(&refused).await?;
        link.finish();
        return Ok(());
    };
    link.send(&Message::Granted {}).await?;
    match fetch.part {
        Part::Outline => {
            let outline = encode_outline(&title.manifest, &title.descriptions);
            link.send_data(&outline).await?;
        }
        Part::Frames {
            description,
            first,
            count,
        } => {
            for at in 0..count.min(FRAMES_MAX) {
                let position = u64::from(first) + u64::from(at);
                let send = send_frame(link, &title, description, position);
                tokio::time::timeout(FRAME_DEADLINE, send).await??;
            }
        }
    }
    link.finish();
    Ok(())
}

async fn send_frame(
    link: &mut Link,
    title: &Title,
    description: u8,
    position: u64,
) -> anyhow::Result<()> {
    // Without this a position past the end would begin the title anew.
    anyhow::ensure!(
        title.frame(description, position, false).is_some(),
        "no such frame"
    );
    loop {
        match title.data(description, position) {
            Availability::Ready(data) => {
                link.send_data(&u32::try_from(data.len())?.to_be_bytes())
                    .await?;
                return link.send_data(&data).await;
            }
            Availability::Coming => title.wait(description, position).await,
            Availability::Failed => anyhow::bail!("a frame cannot be read"),
        }
    }
}
