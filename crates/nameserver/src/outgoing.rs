//! A zone transfer on its way out: the engine composes the messages, the transport paces them.

use dns_engine::transfer::Sending;
use dns_transport::Answers;

use crate::unix_seconds;

/// The messages of one transfer.
pub(crate) struct Outgoing(pub(crate) Box<Sending>);

impl Answers for Outgoing {
    fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        // A slow secondary takes longer than signatures are good for.
        self.0.set_now(unix_seconds());
        self.0.next(out)
    }
}
