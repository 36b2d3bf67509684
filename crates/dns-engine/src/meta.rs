//! What a transport knows about a query besides its octets.

use std::net::SocketAddr;

/// What the transport knows about a query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Meta {
    /// Where it came from.
    pub source: SocketAddr,
    /// The address it was sent to.
    pub local: SocketAddr,
    /// Decides the size limit and which options make sense.
    pub transport: Transport,
    /// Unix time in seconds.
    pub now: u64,
    /// Milliseconds since any moment, of a clock that does not jump: what rates are measured with.
    pub now_ms: u64,
}

/// How a query came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    /// Datagrams: the answer may be truncated, the source may be forged.
    Udp,
    /// A stream: up to 65,535 octets (RFC 7766).
    Tcp,
    /// A stream under TLS (RFC 7858).
    Tls,
    /// An HTTPS exchange (RFC 8484).
    Https,
    /// A QUIC stream (RFC 9250).
    Quic,
}

impl Transport {
    /// True if answers are datagrams, small ones, to a source that nothing has proved.
    pub fn is_datagram(self) -> bool {
        self == Self::Udp
    }

    /// True if nobody on the way can read the answer, only see its size.
    pub fn is_encrypted(self) -> bool {
        matches!(self, Self::Tls | Self::Https | Self::Quic)
    }
}
