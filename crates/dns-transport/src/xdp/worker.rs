//! One thread and its socket: a batch of frames in, answers out. Blocks when there is nothing.

use std::io;
use std::os::unix::net::UnixStream;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use super::packet::{self, Unfit};
use super::socket::{Waited, XdpSocket};
use crate::counters::UdpCounters;
use crate::datagram::Seen;
use crate::proxy::Trusted;
use crate::{Reply, Worker};

/// Batches still answered after the stop: all that the receive ring may hold.
const LAST_BATCHES: usize = 64;
/// A look that brought so many is followed by a pause and not by a wait: more are on their way. Virtual links and fast cards
/// tell of packets one by one, and each batch has its own cost (a call, a wake-up): in a pause they gather.
const SEVERAL: usize = 2;
/// That pause, to which the kernel adds some 50 microseconds as it likes to end sleeps together. What a query waits for its
/// answer at most because of it is less than any network's delay; below some 20,000 queries a second there is none.
const PAUSE: Duration = Duration::from_micros(10);
/// Pause after a failed wait, so that a lasting error does not spin.
const FAILURE_PAUSE: Duration = Duration::from_millis(5);

/// What the thread owns.
pub(super) struct Run<W> {
    pub(super) worker: W,
    pub(super) socket: XdpSocket,
    pub(super) counters: Arc<[UdpCounters]>,
    pub(super) queue: usize,
    pub(super) trusted: Trusted,
    /// Octets of the interface's largest packet.
    pub(super) mtu: usize,
    /// Numbers for packets; never zero.
    pub(super) random: u64,
    pub(super) stop: Arc<AtomicBool>,
    /// Its other end is closed at the stop, which ends a wait.
    pub(super) stopped: Arc<UnixStream>,
}

impl<W: Worker> Run<W> {
    /// Answers until the stop and what had come by then, or until the interface is gone: false.
    pub(super) fn until_stopped(mut self) -> bool {
        loop {
            // A panic of the answerer costs one batch, not the queue.
            match catch_unwind(AssertUnwindSafe(|| self.serve())) {
                Ok(stopped) => return stopped,
                Err(_) => self.counters().panics.add(1),
            }
        }
    }

    fn counters(&self) -> &UdpCounters {
        &self.counters[self.queue]
    }

    fn serve(&mut self) -> bool {
        let mut last_batches = LAST_BATCHES;
        let mut recent = 0;
        loop {
            let stopping = self.stop.load(Ordering::Acquire);
            let count = self.socket.receive();
            if count > 0 {
                self.serve_batch(count);
                recent += count;
                last_batches -= usize::from(stopping);
            }
            if stopping && (count == 0 || last_batches == 0) {
                return true;
            }
            if count == 0 && recent >= SEVERAL {
                thread::sleep(PAUSE);
                recent = 0;
            } else if count == 0 {
                recent = 0;
                match self.socket.wait(&self.stopped) {
                    Ok(Waited::Woken) => {}
                    Ok(Waited::Gone) => return false,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => self.failed(),
                }
            }
        }
    }

    fn failed(&self) {
        self.counters().receive_failed.add(1);
        thread::sleep(FAILURE_PAUSE);
    }

    fn serve_batch(&mut self, count: usize) {
        self.worker.begin_batch();
        let (mut seen, mut queued, mut failed) = (Seen::default(), 0, 0);
        for index in 0..count {
            seen.received += 1;
            match self.answer(index, &mut seen) {
                Some(true) => queued += 1,
                Some(false) => (queued, failed) = (queued + 1, failed + 1),
                None => {}
            }
        }
        // An interface that is down takes nothing; the frames go when it is up again, or never.
        if queued > failed && self.socket.send().is_err() {
            failed = queued;
        }
        seen.count(self.counters(), queued, failed);
    }

    /// Answers one frame: whether the answer was lined up, if there is one.
    fn answer(&mut self, index: usize, seen: &mut Seen) -> Option<bool> {
        let Some(slot) = self.socket.slot(index) else {
            return Some(false);
        };
        let datagram = match packet::parse(slot.received) {
            Ok(datagram) => datagram,
            Err(Unfit::Malformed) => {
                seen.malformed += 1;
                return None;
            }
            Err(Unfit::Source) => {
                seen.refused += 1;
                return None;
            }
        };
        let ends = (datagram.source, datagram.local);
        let (query, from) = seen.admit(datagram.payload, ends, &self.trusted)?;
        let start = packet::headers(datagram.local);
        // The interface carries no more: what is longer has to come over TCP.
        let end = (packet::ETHERNET + self.mtu).min(slot.answer.len());
        let Some(out) = slot.answer.get_mut(start..end) else {
            return Some(false);
        };
        match self.worker.answer(query, &from, out) {
            Reply::Send(length) => {
                let id = next(&mut self.random);
                let addressed = packet::address(slot.received, slot.answer, length, id);
                Some(addressed.is_some_and(|length| self.socket.queue(length)))
            }
            Reply::Silent | Reply::Stream(_) => {
                seen.silent += 1;
                None
            }
        }
    }
}

/// The next number, for nobody to guess easily (Marsaglia's xorshift, multiplied).
fn next(state: &mut u64) -> u16 {
    *state ^= *state >> 12;
    *state ^= *state << 25;
    *state ^= *state >> 27;
    (state.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 48) as u16
}
