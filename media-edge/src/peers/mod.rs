//! The other edges over QUIC: one endpoint for both directions, one connection per peer, one stream per matter.

mod answer;
mod link;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use arc_swap::ArcSwap;
use ed25519_dalek::SigningKey;
use quinn::{Connection, Endpoint};
use rtsp::peer::{Fetch, Message, Offer};
use tokio::sync::Mutex;

use crate::content::{FetchError, Fetcher, FrameData};
use crate::fleet::Fleet;
use crate::metrics::Metrics;

pub use answer::accept;
pub use link::Link;

/// Longest wait for a connection or a short answer: a handoff has to try several edges within seconds.
const ANSWER_DEADLINE: Duration = Duration::from_millis(1_500);
/// Longest wait for the next frame of a fetch.
const FRAME_DEADLINE: Duration = Duration::from_secs(2);
/// Longest outline accepted.
const OUTLINE_OCTETS_MAX: usize = 16 << 20;

/// The outgoing side; cheap to clone.
#[derive(Debug, Clone)]
pub struct Peers {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    endpoint: Endpoint,
    key: SigningKey,
    fleet: Arc<ArcSwap<Fleet>>,
    metrics: Arc<Metrics>,
    /// One slot per peer, locked while connecting, so that a burst of fetches makes one connection.
    connections: Mutex<HashMap<String, Arc<Mutex<Option<Connection>>>>>,
}

/// Why an edge will not take a session.
#[derive(Debug, thiserror::Error)]
pub enum OfferError {
    /// It said so.
    #[error("refused: {0}")]
    Refused(String),
    /// It cannot be reached, or answered something else.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl Peers {
    /// Binds the endpoint.
    pub fn bind(
        listen: SocketAddr,
        key: &SigningKey,
        fleet: Arc<ArcSwap<Fleet>>,
        metrics: Arc<Metrics>,
    ) -> anyhow::Result<Peers> {
        let config = tls::server_config(key, Arc::clone(&fleet))?;
        let endpoint = Endpoint::server(config, listen)
            .with_context(|| format!("handoff address {listen} cannot be bound"))?;
        let inner = Inner {
            endpoint,
            key: key.clone(),
            fleet,
            metrics,
            connections: Mutex::default(),
        };
        Ok(Peers {
            inner: Arc::new(inner),
        })
    }

    /// Where other edges reach this one.
    pub fn local(&self) -> anyhow::Result<SocketAddr> {
        Ok(self.inner.endpoint.local_addr()?)
    }

    /// Ends every connection at once.
    pub fn close(&self) {
        self.inner.endpoint.close(0_u8.into(), b"shutting down");
    }

    /// How many more sessions an edge would take.
    pub async fn probe(&self, edge: &str) -> anyhow::Result<u32> {
        let ask = async {
            let mut link = self.open(edge).await?;
            link.send(&Message::Probe {}).await?;
            match link.receive().await? {
                Some(Message::Room { sessions }) => Ok(sessions),
                other => bail!("{edge} answered a probe with {}", kind(other.as_ref())),
            }
        };
        tokio::time::timeout(ANSWER_DEADLINE, ask).await?
    }

    /// Offers a session; with `Ok` the edge is prepared, and the link carries the rest of the handoff.
    ///
    /// The other edge keeps the session's clock from the offer's receipt on, so `position` is asked only once the
    /// connection stands: for the position (90 kHz ticks) after the time that the offer is expected to travel.
    pub async fn offer(
        &self,
        edge: &str,
        offer: &Offer,
        position: impl FnOnce(Duration) -> u64,
    ) -> Result<Link, OfferError> {
        let ask = async {
            let (mut link, connection) = self.open_on(edge).await?;
            let mut offer = offer.clone();
            offer.position = position(connection.rtt() / 2);
            let id = offer.handoff.clone();
            link.send(&Message::Offer(Box::new(offer))).await?;
            match link.receive().await? {
                Some(Message::Prepared { handoff }) if handoff == id => Ok(link),
                Some(Message::Refused { reason, .. }) => Err(OfferError::Refused(reason)),
                other => {
                    let kind = kind(other.as_ref());
                    Err(anyhow::anyhow!("{edge} answered an offer with {kind}").into())
                }
            }
        };
        // Preparing includes fetching the first frames.
        match tokio::time::timeout(2 * ANSWER_DEADLINE, ask).await {
            Ok(answer) => answer,
            Err(late) => Err(anyhow::Error::from(late).into()),
        }
    }

    /// A new stream to an edge of the map.
    async fn open(&self, edge: &str) -> anyhow::Result<Link> {
        Ok(self.open_on(edge).await?.0)
    }

    /// As [`Peers::open`], with the connection the stream belongs to.
    async fn open_on(&self, edge: &str) -> anyhow::Result<(Link, Connection)> {
        let open = async {
            let connection = self.connection(edge).await?;
            Ok((Link::new(connection.open_bi().await?), connection))
        };
        tokio::time::timeout(ANSWER_DEADLINE, open).await?
    }

    async fn connection(&self, name: &str) -> anyhow::Result<Connection> {
        let fleet = self.inner.fleet.load_full();
        let edge = fleet
            .edge(name)
            .with_context(|| format!("{name} is not in the map"))?;
        let (Some(address), Some(key)) = (edge.handoff, edge.public_key) else {
            bail!("{name} takes no connections from other edges");
        };
        let slot = {
            let mut connections = self.inner.connections.lock().await;
            connections.retain(|name, _| fleet.edge(name).is_some());
            Arc::clone(connections.entry(name.to_owned()).or_default())
        };
        let mut slot = slot.lock().await;
        if let Some(connection) = slot.as_ref() {
            let same = connection.remote_address() == address && peer_key(connection) == Some(key);
            if same && connection.close_reason().is_none() {
                return Ok(connection.clone());
            }
        }
        let config = tls::client_config(&self.inner.key, key)?;
        let connecting = self
            .inner
            .endpoint
            .connect_with(config, address, "edge.invalid")?;
        let connection = tokio::time::timeout(ANSWER_DEADLINE, connecting)
            .await
            .with_context(|| format!("{name} at {address} does not answer"))??;
        *slot = Some(connection.clone());
        Ok(connection)
    }

    async fn fetch(&self, edge: &str, fetch: Fetch) -> Result<Link, FetchError> {
        let ask = async {
            let mut link = self.open(edge).await?;
            link.send(&Message::Fetch(fetch)).await?;
            link.finish();
            let answer = link.receive().await?;
            anyhow::Ok((link, answer))
        };
        // The edge may have to ask another one first.
        let answer = tokio::time::timeout(2 * ANSWER_DEADLINE, ask).await;
        match answer
            .map_err(anyhow::Error::from)
            .and_then(|answer| answer)
        {
            Ok((link, Some(Message::Granted {}))) => Ok(link),
            Ok((_, Some(Message::Refused { .. }))) => Err(FetchError::Missing(edge.to_owned())),
            Ok((_, other)) => {
                let kind = kind(other.as_ref());
                Err(failed(edge, &anyhow::anyhow!("answered with {kind}")))
            }
            Err(error) => Err(failed(edge, &error)),
        }
    }

    fn count<T>(&self, result: Result<T, FetchError>) -> Result<T, FetchError> {
        let label = match &result {
            Ok(_) => "ok",
            Err(FetchError::Missing(_)) => "missing",
            Err(FetchError::Failed { .. }) => "failed",
        };
        self.inner.metrics.fetches.with_label_values(&[label]).inc();
        result
    }
}

impl Fetcher for Peers {
    fn outline(&self, edge: &str, fetch: Fetch) -> crate::content::Fetching<Vec<u8>> {
        let (peers, edge) = (self.clone(), edge.to_owned());
        Box::pin(async move {
            let get = async {
                let mut link = peers.fetch(&edge, fetch).await?;
                let rest = link.receive_rest(OUTLINE_OCTETS_MAX);
                match tokio::time::timeout(5 * FRAME_DEADLINE, rest).await {
                    Ok(rest) => rest.map_err(|error| failed(&edge, &error)),
                    Err(late) => Err(failed(&edge, &late.into())),
                }
            };
            peers.count(get.await)
        })
    }

    fn frames(
        &self,
        edge: &str,
        fetch: Fetch,
        sizes: Vec<u32>,
        mut each: Box<dyn FnMut(FrameData) + Send>,
    ) -> crate::content::Fetching<()> {
        let (peers, edge) = (self.clone(), edge.to_owned());
        Box::pin(async move {
            let get = async {
                let mut link = peers.fetch(&edge, fetch).await?;
                for size in sizes {
                    let frame =
                        tokio::time::timeout(FRAME_DEADLINE, receive_frame(&mut link, size))
                            .await
                            .map_err(anyhow::Error::from)
                            .and_then(|frame| frame);
                    each(frame.map_err(|error| failed(&edge, &error))?);
                }
                Ok(())
            };
            peers.count(get.await)
        })
    }
}

/// A frame with its length in front, which has to be the one the outline said.
async fn receive_frame(link: &mut Link, size: u32) -> anyhow::Result<FrameData> {
    let length = link.receive_data(4).await?;
    if length != size.to_be_bytes() {
        bail!("a frame of another size than the outline says");
    }
    Ok(link.receive_data(usize::try_from(size)?).await?.into())
}

/// What a peer said, as far as it belongs in a log.
fn kind(message: Option<&Message>) -> &'static str {
    message.map_or("nothing", Message::kind)
}

fn failed(edge: &str, error: &anyhow::Error) -> FetchError {
    FetchError::Failed {
        edge: edge.to_owned(),
        problem: format!("{error:#}"),
    }
}

/// The key that the other end of a connection proved to hold.
fn peer_key(connection: &Connection) -> Option<[u8; 32]> {
    let identity = connection.peer_identity()?;
    let keys = identity.downcast_ref::<Vec<rustls::pki_types::CertificateDer<'static>>>()?;
    tls::key_of(keys.first()?)
}
