//! A zone transfer on its way out: the engine composes the messages, the transport paces them.

use std::net::SocketAddr;
use std::sync::Arc;

use dns_engine::transfer::Sending;
use dns_transport::Answers;

use super::Transfers;
use super::settings::shown;
use crate::unix_seconds;

/// The messages of one transfer.
pub(crate) struct Outgoing {
    sending: Box<Sending>,
    to: SocketAddr,
    octets: u64,
    transfers: Arc<Transfers>,
}

impl Outgoing {
    pub(crate) fn new(sending: Box<Sending>, to: SocketAddr, transfers: &Arc<Transfers>) -> Self {
        Self {
            sending,
            to,
            octets: 0,
            transfers: Arc::clone(transfers),
        }
    }
}

impl Answers for Outgoing {
    fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        // A slow secondary takes longer than signatures are good for.
        self.sending.set_now(unix_seconds());
        let length = self.sending.next(out)?;
        self.octets += length as u64;
        Some(length)
    }
}

impl Drop for Outgoing {
    /// The last message is sent, or the other side has left.
    fn drop(&mut self) {
        let Self {
            sending,
            to,
            octets,
            transfers,
        } = self;
        let (taken, sent) = (sending.is_done(), sending.sent());
        transfers
            .counts
            .went(sending.origin(), sent, taken, *octets);
        let (zone, serial) = (shown(sending.origin()), sending.serial());
        if taken {
            tracing::info!(zone, secondary = %to, serial, ?sent, octets, "transferred to a secondary");
        } else {
            tracing::warn!(zone, secondary = %to, serial, ?sent, octets, "a secondary has left half-way");
        }
    }
}
