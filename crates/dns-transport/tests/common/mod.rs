//! An answerer that echoes, for tests through real sockets.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use dns_transport::{Answerer, Arrival, Worker};

/// Answers every query with its own octets and the address that was asked; see [`EchoWorker::answer`].
#[derive(Default)]
pub(crate) struct Echo {
    workers: AtomicUsize,
}

pub(crate) struct EchoWorker {
    number: usize,
}

impl Answerer for Echo {
    type Worker = EchoWorker;

    fn worker(&self) -> EchoWorker {
        EchoWorker {
            number: self.workers.fetch_add(1, Relaxed),
        }
    }
}

impl Worker for EchoWorker {
    fn begin_batch(&mut self) {}

    /// `who` gets the worker's number, `silent` nothing, `panic` panics, `big` as many octets as fit, all others
    /// `query|local ip|transport`.
    fn answer(&mut self, query: &[u8], from: &Arrival, out: &mut [u8]) -> Option<usize> {
        match query {
            b"silent" => return None,
            b"who" => {
                out[0] = b'0' + self.number as u8;
                return Some(1);
            }
            b"panic" => panic!("asked to"),
            b"big" => {
                out.fill(b'b');
                return Some(out.len());
            }
            _ => {}
        }
        let mut text = query.to_vec();
        let transport = if from.tcp { "tcp" } else { "udp" };
        text.extend(format!("|{}|{transport}", from.local.ip()).bytes());
        out.get_mut(..text.len())?.copy_from_slice(&text);
        Some(text.len())
    }
}
