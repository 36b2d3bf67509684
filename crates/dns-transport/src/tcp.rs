//! TCP (RFC 7766): one task per connection, pipelined queries, all answers of one read in one write.
//!
//! Every wait has a deadline and every count a cap, as each connection costs memory until it ends.

use std::collections::HashMap;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout, timeout_at};

use crate::counters::{TcpCell, TcpCounters};
use crate::{Answerer, Answers, Arrival, Reply, Transport, Worker};

/// Caps and deadlines of a TCP listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TcpLimits {
    /// Open connections in total.
    pub connections_max: usize,
    /// Open connections of one source: an IPv4 address or an IPv6 /64.
    pub connections_per_source_max: usize,
    /// Longest wait for the first octet of a query.
    pub idle: Duration,
    /// Longest time from the first octet of a query to its last.
    pub message: Duration,
    /// Longest time for a client to take a batch of answers.
    pub write: Duration,
    /// Longest time that open connections get to finish after the shutdown.
    pub drain: Duration,
}

impl Default for TcpLimits {
    /// 1,024 connections hold at most 270 MiB (a longest query, two longest answers), commonly 10; ten seconds
    /// idle is what peers allow.
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_source_max: 64,
            idle: Duration::from_secs(10),
            message: Duration::from_secs(5),
            write: Duration::from_secs(5),
            drain: Duration::from_secs(3),
        }
    }
}

/// Pause after an accept that failed for lack of descriptors or memory: trying on at once would spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The length in front of every message (RFC 1035 §4.2.2).
const PREFIX: usize = 2;
/// Longest message that a prefix can announce.
const MESSAGE_MAX: usize = 65_535;
/// First size of a connection's input: dozens of queries; it grows only for a longer message.
const INPUT_START: usize = 4096;
/// Output of a connection: two longest answers; a fuller one is written before the next answer.
const OUTPUT: usize = 2 * (PREFIX + MESSAGE_MAX);

/// Serves a bound listener until `shutdown` resolves; then open connections finish what they have read.
pub async fn serve<A: Answerer>(
    listener: TcpListener,
    answerer: A,
    limits: TcpLimits,
    counters: TcpCounters,
    shutdown: impl Future<Output = ()> + Send,
) -> io::Result<()> {
    let local = listener.local_addr()?;
    let (closing, closed) = watch::channel(false);
    let sources = Arc::new(Sources::default());
    let mut connections = JoinSet::new();
    let mut number = 0_u64;
    tokio::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept() => accepted,
        };
        let (stream, source) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                counters.accept.failed.add(1);
                if !is_about_one_connection(&error) {
                    tracing::warn!(%error, "cannot accept DNS connections just now");
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = sleep(ACCEPT_PAUSE) => {}
                    }
                }
                continue;
            }
        };
        counters.accept.accepted.add(1);
        number += 1;
        let cell = number;
        let seat = sources.take(source.ip(), limits.connections_per_source_max);
        let (Some(seat), true) = (seat, connections.len() < limits.connections_max) else {
            counters.accept.turned_away.add(1);
            counters.cell(cell).closed.add_shared(1);
            continue;
        };
        // Without this, a small last segment waits for the client's delayed acknowledgement: 40 ms.
        let _ = stream.set_nodelay(true);
        // The listener's address may be a wildcard; the connection knows the one that was asked.
        let local = stream.local_addr().unwrap_or(local);
        let arrival = Arrival {
            source,
            local,
            transport: Transport::Tcp,
        };
        let (worker, closed, counters) = (answerer.worker(), closed.clone(), counters.clone());
        connections.spawn(async move {
            let _seat = seat;
            let cell = counters.cell(cell);
            let _open = Open(cell);
            converse::<_, TcpStream>(stream, worker, arrival, limits, cell, closed).await;
        });
    }
    drop(listener);
    let _ = closing.send(true);
    let drained = async { while connections.join_next().await.is_some() {} };
    if timeout(limits.drain, drained).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

/// True for errors that end one connection before it began, false for those of the whole process.
fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(
        error.kind(),
        ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted
    )
}

/// A connection until it is dropped, which counts it as closed however it ended: also by a panic of the answerer, or cut
/// off at the end of the drain.
struct Open<'c>(&'c TcpCell);

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.closed.add_shared(1);
    }
}

/// Connections per source.
#[derive(Default)]
struct Sources(Mutex<HashMap<IpAddr, usize>>);

/// One connection's place in the count of its source.
struct Seat {
    sources: Arc<Sources>,
    key: IpAddr,
}

impl Sources {
    fn take(self: &Arc<Self>, ip: IpAddr, max: usize) -> Option<Seat> {
        let key = match ip.to_canonical() {
            IpAddr::V4(ip) => IpAddr::V4(ip),
            IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & !u128::from(u64::MAX)).into(),
        };
        let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = counts.entry(key).or_default();
        if *count >= max {
            return None;
        }
        *count += 1;
        Some(Seat {
            sources: Arc::clone(self),
            key,
        })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut counts = self
            .sources
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.key);
            }
        }
    }
}

/// Why a conversation ended.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// The client closed, the connection broke, or the server stops.
    Closed,
    TimedOut,
    /// The client sent what gets no answer; on a stream there is no point in reading on.
    Malformed,
}

/// Reads, answers and writes until something ends it.
async fn converse<W: Worker, S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    worker: W,
    arrival: Arrival,
    limits: TcpLimits,
    cell: &TcpCell,
    closing: watch::Receiver<bool>,
) {
    let input = Vec::with_capacity(INPUT_START);
    let mut connection = Connection {
        stream,
        worker,
        arrival,
        limits,
        cell,
        input,
        output: Vec::new(),
        filled: 0,
    };
    match connection.run(closing).await {
        End::Closed => {}
        End::TimedOut => cell.timed_out.add_shared(1),
        End::Malformed => cell.malformed.add_shared(1),
    }
    let _ = timeout(limits.write, connection.stream.shutdown()).await;
}

struct Connection<'c, W, S> {
    stream: S,
    worker: W,
    arrival: Arrival,
    limits: TcpLimits,
    cell: &'c TcpCell,
    /// What was read and not yet answered: whole messages, then the beginning of one.
    input: Vec<u8>,
    /// Framed answers in its first `filled` octets; made at the first query.
    output: Vec<u8>,
    filled: usize,
}

impl<W: Worker, S: AsyncRead + AsyncWrite + Unpin> Connection<'_, W, S> {
    async fn run(&mut self, mut closing: watch::Receiver<bool>) -> End {
        let mut deadline = Instant::now() + self.limits.idle;
        loop {
            let was_empty = self.input.is_empty();
            let read = tokio::select! {
                // Errors only if the listener is gone, which means the same.
                _ = closing.wait_for(|closing| *closing) => return End::Closed,
                read = timeout_at(deadline, self.stream.read_buf(&mut self.input)) => read,
            };
            let answered_any = match read {
                Err(_) => return End::TimedOut,
                Ok(Err(_) | Ok(0)) => return End::Closed,
                Ok(Ok(_)) => match self.answer_all().await {
                    Ok(answered_any) => answered_any,
                    Err(end) => return end,
                },
            };
            if self.input.is_empty() {
                deadline = Instant::now() + self.limits.idle;
            } else if was_empty || answered_any {
                // The first octets of a message start its clock; further ones do not set it back.
                deadline = Instant::now() + self.limits.message;
            }
        }
    }

    /// Answers every whole message of the input; true if there was any.
    async fn answer_all(&mut self) -> Result<bool, End> {
        let (mut at, mut queries, mut answered) = (0, 0, 0);
        let mut ended = Ok(());
        while let Some(end) = frame_end(&self.input, at) {
            if queries == 0 {
                self.worker.begin_batch();
                if self.output.is_empty() {
                    // Zeroed by the kernel page by page, as answers reach them: short ones cost one page.
                    self.output = vec![0; OUTPUT];
                }
            }
            queries += 1;
            self.flush_if_full().await?;
            let query = &self.input[at + PREFIX..end];
            let start = self.filled + PREFIX;
            let room = &mut self.output[start..start + MESSAGE_MAX];
            at = end;
            match self.worker.answer(query, &self.arrival, room) {
                Reply::Send(length) => {
                    self.frame(length);
                    answered += 1;
                }
                Reply::Stream(answers) => answered += self.stream(answers).await?,
                Reply::Silent => {
                    ended = Err(End::Malformed);
                    break;
                }
            }
        }
        self.input.drain(..at);
        self.flush().await?;
        self.cell.queries.add_shared(queries);
        self.cell.answered.add_shared(answered);
        self.make_room();
        ended.map(|()| queries > 0)
    }

    /// Writes one message after another, never more ahead of the client than the output holds; how many there were.
    async fn stream(&mut self, mut answers: Box<dyn Answers>) -> Result<u64, End> {
        let mut count = 0;
        loop {
            if self.flush_if_full().await? {
                // A fast client must not keep this thread from the other connections.
                tokio::task::yield_now().await;
            }
            let start = self.filled + PREFIX;
            let Some(length) = answers.next(&mut self.output[start..start + MESSAGE_MAX]) else {
                return Ok(count);
            };
            self.frame(length);
            count += 1;
        }
    }

    /// Puts the length in front of the message that was written behind the output, which takes it in.
    fn frame(&mut self, length: usize) {
        let (length, start) = (length.min(MESSAGE_MAX), self.filled + PREFIX);
        self.output[self.filled..start].copy_from_slice(&(length as u16).to_be_bytes());
        self.filled = start + length;
    }

    /// Writes the output if a longest message no longer fits behind it; true if it did.
    async fn flush_if_full(&mut self) -> Result<bool, End> {
        let full = self.filled + PREFIX + MESSAGE_MAX > OUTPUT;
        if full {
            self.flush().await?;
        }
        Ok(full)
    }

    async fn flush(&mut self) -> Result<(), End> {
        if self.filled == 0 {
            return Ok(());
        }
        let answers = &self.output[..std::mem::take(&mut self.filled)];
        match timeout(self.limits.write, self.stream.write_all(answers)).await {
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

/// Where the message that begins at `at` ends, if all of it is there.
fn frame_end(input: &[u8], at: usize) -> Option<usize> {
    let length = input
        .get(at..)?
        .first_chunk::<PREFIX>()
        .map(|octets| u16::from_be_bytes(*octets))?;
    let end = at + PREFIX + usize::from(length);
    (end <= input.len()).then_some(end)
}

/// Binds a listener for [`serve`] (port 0 allowed), reusing an address that is only lingering.
pub fn bind(listen: SocketAddr) -> io::Result<TcpListener> {
    use socket2::{Domain, Protocol, Socket, Type};
    let socket = Socket::new(
        Domain::for_address(listen),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if listen.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&listen.into())?;
    // Connections that wait to be accepted during a burst.
    socket.listen(1024)?;
    TcpListener::from_std(socket.into())
}
