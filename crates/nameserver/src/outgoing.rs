//! A zone transfer on its way out: the engine composes the messages, the transport paces them.

use std::time::{SystemTime, UNIX_EPOCH};

use dns_engine::transfer::Sending;
use dns_transport::Answers;

/// The messages of one transfer.
pub(crate) struct Outgoing(pub(crate) Box<Sending>);

impl Answers for Outgoing {
    fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        // A slow secondary takes longer than signatures are good for.
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        self.0.set_now(now.map_or(0, |since| since.as_secs()));
        self.0.next(out)
    }
}
