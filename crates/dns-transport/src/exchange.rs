//! What the queries of one connection share where they run side by side: streams of HTTP/2 and of QUIC.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::Instant;

use crate::accept::{Guest, StreamLimits, Tally};
use crate::framed::MESSAGE_MAX;
use crate::seats::Seat;
use crate::{Answers, Arrival, Reply, Worker};

/// A query beyond this is unusual; only a few of a connection are read at the same time, the others wait. Without this a
/// hundred streams, each short of its last octet, would hold megabytes.
pub(crate) const LONG_QUERY: usize = 4096;
const LONG_QUERIES_MAX: usize = 4;
/// What a stream may send ahead of us. A connection may for all its streams, so that those which wait do not use up
/// what the others need.
pub(crate) const STREAM_WINDOW: u32 = 2 * LONG_QUERY as u32;

pub(crate) struct Exchange<W> {
    desk: Mutex<Desk<W>>,
    arrival: Arrival,
    long: Semaphore,
    pub(crate) limits: StreamLimits,
    pub(crate) seat: Seat,
    pub(crate) tally: Tally,
}

struct Desk<W> {
    worker: W,
    /// For one longest answer; made at the first query.
    room: Vec<u8>,
}

/// What there is to send.
pub(crate) enum Answer {
    Silence,
    One(Bytes),
    Several(Box<dyn Answers>),
}

impl<W: Worker> Exchange<W> {
    /// Takes all of a guest but what tells that the server stops.
    pub(crate) fn new(guest: Guest<W>) -> Self {
        Self {
            desk: Mutex::new(Desk {
                worker: guest.worker,
                room: Vec::new(),
            }),
            arrival: guest.arrival,
            long: Semaphore::new(LONG_QUERIES_MAX),
            limits: guest.limits,
            seat: guest.seat,
            tally: guest.tally,
        }
    }

    /// Answers one query; it is sent by the caller, who counts that.
    pub(crate) fn answer(&self, query: &[u8]) -> Answer {
        self.tally.counters().queries.add_shared(1);
        // A panic costs the query it happened at; the worker is used on, as it is for datagrams.
        let mut desk = self.desk.lock().unwrap_or_else(PoisonError::into_inner);
        let Desk { worker, room } = &mut *desk;
        if room.is_empty() {
            room.resize(MESSAGE_MAX, 0);
        }
        worker.begin_batch();
        match worker.answer(query, &self.arrival, room) {
            Reply::Silent => Answer::Silence,
            Reply::Send(length) => {
                Answer::One(Bytes::copy_from_slice(&room[..length.min(MESSAGE_MAX)]))
            }
            Reply::Stream(answers) => Answer::Several(answers),
        }
    }

    /// The permission to read more than [`LONG_QUERY`] octets of a query.
    pub(crate) async fn long(&self) -> SemaphorePermit<'_> {
        let permit = self.long.acquire().await;
        permit.expect("the semaphore is never closed")
    }

    /// Answers were sent.
    pub(crate) fn answered(&self, count: u64) {
        self.tally.counters().answered.add_shared(count);
        self.seat.touch(Instant::now());
    }

    /// When the connection has idled too long, unless it does something until then.
    pub(crate) fn idle_deadline(&self) -> Instant {
        self.seat.active() + self.seat.idle(self.limits.idle)
    }
}
