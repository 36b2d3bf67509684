//! Framed messages on a stream (RFC 7766), whatever carries it: pipelined queries, all answers of one read in one write.
//!
//! Plain answers come in the order of their queries. A zone transfer is sent piece by piece, and queries that arrive
//! meanwhile are answered between the pieces (RFC 7766 §6.2.1.1 and §7 allow answers out of order).

use std::collections::VecDeque;
use std::future::ready;
use std::io;
use std::mem;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::{Instant, timeout, timeout_at};

use crate::accept::{End, Guest};
use crate::{Answers, Reply, Worker};

/// The length in front of every message (RFC 1035 §4.2.2).
pub(crate) const PREFIX: usize = 2;
/// Longest message that a prefix can announce.
pub(crate) const MESSAGE_MAX: usize = 65_535;
/// First size of a connection's input: dozens of queries; it grows only for a longer message.
const INPUT_START: usize = 4096;
/// Output of a connection: two longest answers; a fuller one is written before the next answer.
const OUTPUT: usize = 2 * (PREFIX + MESSAGE_MAX);
/// Transfers under way on one connection; a client that asks for more is read no further until one has ended.
const STREAMS_MAX: usize = 4;

/// Reads, answers and writes until something ends it.
pub(crate) async fn converse<W: Worker, S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    guest: &mut Guest<W>,
) -> End {
    let mut connection = Connection {
        stream,
        guest,
        input: Vec::with_capacity(INPUT_START),
        output: Vec::new(),
        filled: 0,
        streams: VecDeque::new(),
    };
    let end = connection.run().await.err().unwrap_or(End::Closed);
    let write = connection.guest.limits.write;
    let _ = timeout(write, connection.stream.shutdown()).await;
    end
}

struct Connection<'g, W, S> {
    stream: S,
    guest: &'g mut Guest<W>,
    /// What was read and not yet answered: whole messages, then the beginning of one.
    input: Vec<u8>,
    /// Framed answers in its first `filled` octets; made at the first query.
    output: Vec<u8>,
    filled: usize,
    /// Transfers, the first of which is being sent.
    streams: VecDeque<Box<dyn Answers>>,
}

impl<W: Worker, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, W, S> {
    async fn run(&mut self) -> Result<(), End> {
        let mut deadline = self.idle_deadline(Instant::now());
        // The client has not closed its side.
        let mut more = true;
        loop {
            let was_empty = self.input.is_empty();
            let streaming = !self.streams.is_empty();
            if streaming {
                self.send_on().await?;
                if more && self.streams.len() < STREAMS_MAX {
                    more = self.read_ready().await?;
                }
            } else if more {
                more = self.read(deadline).await?;
            } else {
                return Ok(());
            }
            let answered_any = self.answer_all().await?;
            let now = Instant::now();
            if answered_any || streaming {
                self.guest.seat.touch(now);
            }
            if self.input.is_empty() {
                deadline = self.idle_deadline(now);
            } else if was_empty || answered_any || streaming {
                // The first octets of a message start its clock; further ones do not set it back.
                deadline = now + self.guest.limits.message;
            }
        }
    }

    fn idle_deadline(&self, now: Instant) -> Instant {
        now + self.guest.seat.idle(self.guest.limits.idle)
    }

    /// Waits for more input; false when there will be no more.
    async fn read(&mut self, deadline: Instant) -> Result<bool, End> {
        tokio::select! {
            () = self.guest.closing.wait() => Ok(false),
            read = timeout_at(deadline, self.stream.read_buf(&mut self.input)) => match read {
                Err(_) => Err(End::TimedOut),
                Ok(read) => is_more(read),
            },
        }
    }

    /// Takes what input there is, without waiting; false when there will be no more.
    async fn read_ready(&mut self) -> Result<bool, End> {
        tokio::select! {
            biased;
            read = self.stream.read_buf(&mut self.input) => is_more(read),
            () = ready(()) => Ok(true),
        }
    }

    /// Answers the whole messages of the input; true if there was any.
    async fn answer_all(&mut self) -> Result<bool, End> {
        let (mut at, mut queries, mut answered) = (0, 0, 0);
        let mut ended = Ok(());
        while let Some(end) = frame_end(&self.input, at)
            && self.streams.len() < STREAMS_MAX
        {
            if queries == 0 {
                self.guest.worker.begin_batch();
                if self.output.is_empty() {
                    // Zeroed by the kernel page by page, as answers reach them: short ones cost one page.
                    self.output = vec![0; OUTPUT];
                }
            }
            queries += 1;
            if self.is_full() {
                self.flush().await?;
            }
            let query = &self.input[at + PREFIX..end];
            let room = &mut self.output[self.filled + PREFIX..][..MESSAGE_MAX];
            at = end;
            match self.guest.worker.answer(query, &self.guest.arrival, room) {
                Reply::Send(length) => {
                    self.frame(length);
                    answered += 1;
                }
                Reply::Stream(answers) => self.streams.push_back(answers),
                Reply::Silent => {
                    ended = Err(End::Malformed);
                    break;
                }
            }
        }
        self.input.drain(..at);
        self.flush().await?;
        let counters = self.guest.tally.counters();
        counters.queries.add_shared(queries);
        counters.answered.add_shared(answered);
        self.make_room();
        ended.map(|()| queries > 0)
    }

    /// Sends the next part of the first transfer, as much as the output holds.
    async fn send_on(&mut self) -> Result<(), End> {
        let mut count = 0;
        while let Some(answers) = self.streams.front_mut()
            && self.filled + PREFIX + MESSAGE_MAX <= OUTPUT
        {
            let room = &mut self.output[self.filled + PREFIX..][..MESSAGE_MAX];
            if let Some(length) = answers.next(room) {
                self.frame(length);
                count += 1;
            } else {
                self.streams.pop_front();
            }
        }
        self.flush().await?;
        self.guest.tally.counters().answered.add_shared(count);
        // A fast client must not keep this thread from the other connections.
        tokio::task::yield_now().await;
        Ok(())
    }

    /// Puts the length in front of the message that was written behind the output, which takes it in.
    fn frame(&mut self, length: usize) {
        let (length, start) = (length.min(MESSAGE_MAX), self.filled + PREFIX);
        self.output[self.filled..start].copy_from_slice(&(length as u16).to_be_bytes());
        self.filled = start + length;
    }

    /// A longest message no longer fits.
    fn is_full(&self) -> bool {
        self.filled + PREFIX + MESSAGE_MAX > OUTPUT
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.filled == 0 {
            return Ok(());
        }
        let answers = &self.output[..mem::take(&mut self.filled)];
        let write = async {
            self.stream.write_all(answers).await?;
            // TLS may hold octets back that the socket did not take at once.
            self.stream.flush().await
        };
        match timeout(self.guest.limits.write, write).await {
            Err(_) => Err(End::TimedOut),
            Ok(Err(_)) => Err(End::Closed),
            Ok(Ok(())) => Ok(()),
        }
    }

    /// Sees that the rest of a begun message fits, and that a long one does not keep its memory for ever.
    fn make_room(&mut self) {
        if self.input.is_empty() && self.input.capacity() > INPUT_START {
            self.input = Vec::with_capacity(INPUT_START);
        } else if self.input.len() == self.input.capacity() {
            self.input.reserve(INPUT_START);
        }
    }
}

fn is_more(read: io::Result<usize>) -> Result<bool, End> {
    read.map(|count| count > 0).map_err(|_| End::Closed)
}

/// Where the message that begins at `at` ends, if all of it is there.
fn frame_end(input: &[u8], at: usize) -> Option<usize> {
    let length = input
        .get(at..)?
        .first_chunk::<PREFIX>()
        .map(|octets| u16::from_be_bytes(*octets))?;
    let end = at + PREFIX + usize::from(length);
    (end <= input.len()).then_some(end)
}
