//! An answerer that echoes, for tests through real sockets.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dns_transport::{Answerer, Answers, Arrival, Reply, Worker};

/// Answers every query with its own octets and the address that was asked; see [`EchoWorker::answer`].
#[derive(Default)]
pub(crate) struct Echo {
    workers: AtomicUsize,
    /// Messages of streams made so far, by all workers.
    pub(crate) streamed: Arc<AtomicUsize>,
}

pub(crate) struct EchoWorker {
    number: usize,
    streamed: Arc<AtomicUsize>,
}

impl Answerer for Echo {
    type Worker = EchoWorker;

    fn worker(&self) -> EchoWorker {
        EchoWorker {
            number: self.workers.fetch_add(1, Relaxed),
            streamed: Arc::clone(&self.streamed),
        }
    }
}

impl Worker for EchoWorker {
    fn begin_batch(&mut self) {}

    /// `who` gets the worker's number, `silent` nothing, `panic` panics, `big` as many octets as fit, `stream`
    /// [`STREAM`] messages that begin with their number, all others `query|local ip|transport`.
    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Reply {
        // Over QUIC an identifier of zero stands in front.
        match query.strip_prefix(b"\0\0").unwrap_or(query) {
            b"silent" => return Reply::Silent,
            b"who" => {
                out[0] = b'0' + self.number as u8;
                return Reply::Send(1);
            }
            b"panic" => panic!("asked to"),
            b"big" => {
                out.fill(b'b');
                return Reply::Send(out.len());
            }
            b"stream" => {
                return Reply::Stream(Box::new(Numbers {
                    next: 0,
                    streamed: Arc::clone(&self.streamed),
                }));
            }
            _ => {}
        }
        let mut text = query.to_vec();
        let transport = format!("{:?}", from.transport).to_lowercase();
        text.extend(format!("|{}|{transport}", from.local.ip()).bytes());
        out[..text.len()].copy_from_slice(&text);
        Reply::Send(text.len())
    }
}

/// Messages of a stream.
pub(crate) const STREAM: u32 = 1000;
/// Octets of each.
pub(crate) const STREAM_MESSAGE: usize = 60_000;

struct Numbers {
    next: u32,
    streamed: Arc<AtomicUsize>,
}

impl Answers for Numbers {
    fn next(&mut self, out: &mut [u8]) -> Option<usize> {
        if self.next == STREAM {
            return None;
        }
        out[..4].copy_from_slice(&self.next.to_be_bytes());
        self.next += 1;
        self.streamed.fetch_add(1, Relaxed);
        Some(STREAM_MESSAGE)
    }
}
