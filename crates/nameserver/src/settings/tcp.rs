//! `[tcp]`: connections.

use std::num::{NonZeroU32, NonZeroUsize};
use std::time::Duration;

use dns_transport::StreamLimits;
use serde::Deserialize;

/// `[tcp]`: caps and deadlines of connections, for each listening address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Tcp {
    /// Open connections. One more, and the one that wastes most is closed.
    pub connections: NonZeroUsize,
    /// Open connections of one source: an IPv4 address or an IPv6 /64.
    pub connections_per_source: NonZeroUsize,
    /// Milliseconds to wait for the first octet of a query.
    pub idle_ms: NonZeroU32,
    /// Milliseconds from the first octet of a query to its last.
    pub message_ms: NonZeroU32,
    /// Milliseconds for a client to take its answers.
    pub write_ms: NonZeroU32,
    /// Milliseconds that open connections get to finish when the server ends.
    pub drain_ms: u32,
}

impl Default for Tcp {
    fn default() -> Self {
        let limits = StreamLimits::default();
        let count = |count| NonZeroUsize::new(count).unwrap_or(NonZeroUsize::MIN);
        let millis = |time: Duration| time.as_millis() as u32; // seconds
        let nonzero = |time| NonZeroU32::new(millis(time)).unwrap_or(NonZeroU32::MIN);
        Self {
            connections: count(limits.connections_max),
            connections_per_source: count(limits.connections_per_source_max),
            idle_ms: nonzero(limits.idle),
            message_ms: nonzero(limits.message),
            write_ms: nonzero(limits.write),
            drain_ms: millis(limits.drain),
        }
    }
}

impl Tcp {
    /// What is told to clients that ask how long they may stay (RFC 7828), in units of 100 ms: a little less than they may.
    pub(crate) fn keepalive(&self) -> u16 {
        u16::try_from(self.idle_ms.get() / 125).unwrap_or(u16::MAX)
    }

    pub(crate) fn limits(&self) -> StreamLimits {
        let time = |millis: NonZeroU32| Duration::from_millis(millis.get().into());
        StreamLimits {
            connections_max: self.connections.get(),
            connections_per_source_max: self.connections_per_source.get(),
            idle: time(self.idle_ms),
            message: time(self.message_ms),
            write: time(self.write_ms),
            drain: Duration::from_millis(self.drain_ms.into()),
            ..StreamLimits::default()
        }
    }
}
