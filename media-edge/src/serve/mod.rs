//! RTSP connections: accept, read requests, answer, send frames when they are due.

mod connection;
mod describe;
mod moving;
mod pace;
mod play;
mod requests;
pub mod schedule;

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context;
use tokio::net::TcpListener;

use crate::edge::Edge;
use crate::send::udp::Ports;
use connection::Connection;

/// A bound RTSP address.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    ports: Arc<Ports>,
    /// The address.
    pub local: SocketAddr,
}

/// Connections per client address.
#[derive(Debug, Default)]
pub struct PerSource {
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection counted; it is given back when this is dropped.
#[derive(Debug)]
struct Counted {
    source: IpAddr,
    per_source: Arc<PerSource>,
}

impl PerSource {
    fn count(self: &Arc<Self>, source: IpAddr, limit: usize) -> Option<Counted> {
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(source).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        Some(Counted {
            source,
            per_source: Arc::clone(self),
        })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        let mut counts = self
            .per_source
            .counts
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.source) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.source);
            }
        }
    }
}

impl Listener {
    /// Binds the address and, on the same IP, a pair of UDP ports.
    pub async fn bind(
        address: SocketAddr,
        shutdown: &service::shutdown::Shutdown,
    ) -> anyhow::Result<Listener> {
        let listener = TcpListener::bind(address)
            .await
            .with_context(|| format!("RTSP address {address} cannot be bound"))?;
        let local = listener.local_addr()?;
        let ports = Ports::bind(address.ip(), shutdown.clone())
            .with_context(|| format!("no pair of UDP ports is free on {}", address.ip()))?;
        Ok(Listener {
            listener,
            ports,
            local,
        })
    }

    /// Accepts connections until shutdown.
    pub async fn serve(self, edge: Arc<Edge>, per_source: Arc<PerSource>) {
        loop {
            let accepted = tokio::select! {
                accepted = self.listener.accept() => accepted,
                () = edge.shutdown.wait() => return,
            };
            let (stream, peer) = match accepted {
                Ok(accepted) => accepted,
                Err(error) => {
                    // Out of descriptors, most likely: wait for some to be given back.
                    tracing::warn!(%error, "a connection could not be accepted");
                    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
                    continue;
                }
            };
            let source = peer.ip().to_canonical();
            let limit = edge.config.limits.connections_per_source;
            let Some(counted) = per_source.count(source, limit) else {
                continue;
            };
            let (edge, ports) = (Arc::clone(&edge), Arc::clone(&self.ports));
            tokio::spawn(async move {
                let _counted = counted;
                edge.metrics.connections.inc();
                if let Ok(connection) = Connection::new(stream, peer, Arc::clone(&edge), ports) {
                    Box::pin(connection.run()).await;
                }
                edge.metrics.connections.dec();
            });
        }
    }
}
