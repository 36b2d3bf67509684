//! Carries DNS messages: batched UDP and TCP sockets around one answer function.
//!
//! ```text
//! udp: thread per worker, own SO_REUSEPORT socket:  recvmmsg → answer … answer → sendmmsg
//! tcp: task per connection:                         read → answer … answer → one write
//! ```
//!
//! What an answer is, this crate does not know: a program plugs in an [`Answerer`].

#![deny(unsafe_code)]

mod batch;
pub mod counters;
pub mod pair;
pub mod tcp;
pub mod udp;

use std::net::SocketAddr;
use std::sync::Arc;

/// Makes workers; shared by all sockets.
pub trait Answerer: Send + Sync + 'static {
    /// What answers on one thread or connection.
    type Worker: Worker;

    /// A new worker with buffers of its own.
    fn worker(&self) -> Self::Worker;
}

impl<A: Answerer> Answerer for Arc<A> {
    type Worker = A::Worker;

    fn worker(&self) -> A::Worker {
        A::worker(self)
    }
}

/// Answers the queries of one UDP thread or one TCP connection, one after another.
pub trait Worker: Send + 'static {
    /// Called before each batch: the place to load the current snapshot, once for all its queries.
    fn begin_batch(&mut self);

    /// Writes the answer into `out` and returns its length; `None` says nothing.
    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Option<usize>;
}

/// Where a query came from and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The client, or its resolver.
    pub source: SocketAddr,
    /// The address that was asked, also on a wildcard bind.
    pub local: SocketAddr,
    /// TCP; else UDP.
    pub tcp: bool,
}
