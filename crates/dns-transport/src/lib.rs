//! Carries DNS messages: batched UDP and TCP sockets around one answer function.
//!
//! ```text
//! udp: thread per worker, own SO_REUSEPORT socket:  recvmmsg → answer … answer → sendmmsg
//! xdp: thread per receive queue, below the sockets:  rings → answer … answer → rings   (feature `xdp`)
//! tcp: task per connection:                         read → answer … answer → one write
//! ```
//!
//! What an answer is, this crate does not know: a program plugs in an [`Answerer`].

#![deny(unsafe_code)]

mod accept;
pub mod ask;
mod batch;
mod certificate;
mod control;
pub mod counters;
mod datagram;
mod exchange;
mod expiry;
mod framed;
pub mod https;
mod message;
pub mod pair;
pub mod proxy;
pub mod quic;
mod seats;
pub mod tcp;
pub mod tls;
pub mod transfer;
pub mod udp;
#[cfg(feature = "xdp")]
pub mod xdp;

use std::net::SocketAddr;
use std::sync::Arc;

pub use accept::{Server, StreamLimits};
pub use certificate::{Certificate, CertificateError};

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

    /// Writes the answer into `out`, or says what else is to be done.
    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply;
}

/// What a worker says to one query.
pub enum Reply {
    /// Nothing. A stream ends with it: a client that sends what deserves no answer is not read on.
    Silent,
    /// The first n octets of `out`.
    Send(usize),
    /// Several messages, one after another (a zone transfer). A datagram cannot carry them: there it is silence.
    Stream(Box<dyn Answers>),
}

/// Messages of one reply, made as fast as the client takes them.
pub trait Answers: Send {
    /// Writes the next message into `out`, 65,535 octets, and returns its length; `None` after the last.
    fn next(&mut self, out: &mut [u8]) -> Option<usize>;
}

/// Where a query came from and how.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// The client, or its resolver.
    pub source: SocketAddr,
    /// The address that was asked, also on a wildcard bind.
    pub local: SocketAddr,
    /// How it came.
    pub transport: Transport,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// Framed messages on a stream (RFC 7766).
    Tcp,
    /// The same inside TLS (RFC 7858).
    Tls,
    /// HTTP requests inside TLS (RFC 8484).
    Https,
    /// A QUIC stream per query (RFC 9250).
    Quic,
}

impl Transport {
    /// True where an answer is one datagram: its size is limited, its source may be forged.
    pub fn is_datagram(self) -> bool {
        self == Self::Udp
    }

    /// True where nobody between can read the messages.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Quic)
    }
}
