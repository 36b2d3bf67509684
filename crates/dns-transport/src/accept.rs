//! The accept loop that all stream listeners share: it gives every connection a seat and a task, whatever its octets mean.

use std::future::Future;
use std::io;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};

use crate::counters::{StreamCell, StreamCounters};
use crate::proxy::{self, Trusted};
use crate::seats::{Seat, Seats};
use crate::{Answerer, Arrival, Transport};

/// Caps and deadlines of a listener for connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamLimits {
    /// Open connections in total. One more, and the one that wastes most is closed.
    pub connections_max: usize,
    /// Open connections of one source: an IPv4 address or an IPv6 /64. One more, and its longest idle one is closed.
    pub connections_per_source_max: usize,
    /// Longest wait for the first octet of a query, and what RFC 7828 should advertise. From half of
    /// `connections_max` on it falls, to a tenth.
    pub idle: Duration,
    /// Longest time from the first octet of a query to its last.
    pub message: Duration,
    /// Requests of one connection under way at the same time: streams of HTTP/2 and QUIC.
    pub requests_max: u32,
    /// Longest time for a TLS or QUIC handshake.
    pub handshake: Duration,
    /// Longest time for a client to take a batch of answers.
    pub write: Duration,
    /// Longest time that open connections get to finish after the shutdown.
    pub drain: Duration,
}

impl Default for StreamLimits {
    /// 1,024 connections hold at most 270 MiB (a longest query, two longest answers), commonly 10; ten seconds
    /// idle is what peers allow.
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_source_max: 64,
            idle: Duration::from_secs(10),
            message: Duration::from_secs(5),
            requests_max: 100,
            handshake: Duration::from_secs(5),
            write: Duration::from_secs(5),
            drain: Duration::from_secs(3),
        }
    }
}

/// What a listener is told: who answers, within which limits, and where it counts.
#[derive(Debug, Clone)]
pub struct Server<A> {
    /// Makes a worker for each connection.
    pub answerer: A,
    /// Caps and deadlines.
    pub limits: StreamLimits,
    /// Balancers in front of it.
    pub trusted: Trusted,
    /// Made by the caller, who may read them while the listener runs.
    pub counters: StreamCounters,
}

impl<A> Server<A> {
    /// With default limits, nothing in front, and counters of its own.
    pub fn new(answerer: A) -> Self {
        Self {
            answerer,
            limits: StreamLimits::default(),
            trusted: Trusted::default(),
            counters: StreamCounters::default(),
        }
    }
}

/// One accepted connection, apart from its octets.
pub(crate) struct Guest<W> {
    pub(crate) worker: W,
    pub(crate) arrival: Arrival,
    pub(crate) limits: StreamLimits,
    pub(crate) seat: Seat,
    pub(crate) tally: Tally,
    pub(crate) closing: Closing,
}

impl<W> Guest<W> {
    /// Reads from a balancer who its client is.
    async fn be_introduced(&mut self, stream: &mut TcpStream) -> Result<(), End> {
        let header = timeout(self.limits.message, proxy::read(stream)).await;
        let header = header.map_err(|_| End::TimedOut)?;
        let header = header.map_err(|_| End::Unproxied)?;
        if let Some(route) = header.route {
            self.arrival.source = route.source;
            self.arrival.local = route.destination;
        }
        self.claim_seat();
        Ok(())
    }

    /// Counts the connection against its source, now that it is known.
    pub(crate) fn claim_seat(&self) {
        let evicted = self.seat.claim(self.arrival.source.ip());
        let accept = &self.tally.counters.accept;
        accept.evicted.add_shared(u64::from(evicted));
    }
}

/// Tells a connection that the server stops.
#[derive(Clone)]
pub(crate) struct Closing(watch::Receiver<bool>);

impl Closing {
    pub(crate) fn new(receiver: &watch::Receiver<bool>) -> Self {
        Self(receiver.clone())
    }

    pub(crate) fn is_set(&self) -> bool {
        *self.0.borrow()
    }

    pub(crate) async fn wait(&mut self) {
        // Errors only if the listener is gone, which means the same.
        let _ = self.0.wait_for(|closing| *closing).await;
    }
}

/// Why a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum End {
    /// The client closed, the connection broke, or the server stops.
    Closed,
    /// A deadline.
    TimedOut,
    /// The client sent what gets no answer; on a stream there is no point in reading on.
    Malformed,
    /// A balancer did not say whose connection it is.
    Unproxied,
    /// The client gave up, or shares no protocol, version or cipher with us.
    HandshakeFailed,
}

/// The counters of one connection. Dropping it counts the connection as closed, however it ended: also by a panic of
/// the answerer, evicted, or cut off at the end of the drain.
pub(crate) struct Tally {
    counters: StreamCounters,
    number: u64,
}

impl Tally {
    pub(crate) fn new(counters: &StreamCounters, number: u64) -> Self {
        Self {
            counters: counters.clone(),
            number,
        }
    }

    pub(crate) fn counters(&self) -> &StreamCell {
        self.counters.cell(self.number)
    }

    pub(crate) fn end(&self, end: End) {
        match end {
            End::Closed => {}
            End::TimedOut => self.counters().timed_out.add_shared(1),
            End::Malformed => self.counters().malformed.add_shared(1),
            End::Unproxied => self.counters().unproxied.add_shared(1),
            End::HandshakeFailed => self.counters().handshake_failed.add_shared(1),
        }
    }
}

impl Drop for Tally {
    fn drop(&mut self) {
        self.counters().closed.add_shared(1);
    }
}

/// Pause after an accept that failed for lack of descriptors or memory, when no connection could be closed for it.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// The same when some could, whose descriptors are free as soon as their tasks have been dropped.
const EVICTION_PAUSE: Duration = Duration::from_millis(1);
/// Least time between two warnings about failed accepts.
const WARNING_PAUSE: Duration = Duration::from_secs(1);
/// Of so many connections one is closed when descriptors run out: room for a burst, and little lost.
const EVICTED_OF: usize = 16;

/// Accepts until `shutdown` resolves; then open connections finish what they have read.
pub(crate) async fn serve<A: Answerer, C: Future<Output = ()> + Send + 'static>(
    listener: TcpListener,
    server: Server<A>,
    transport: Transport,
    shutdown: impl Future<Output = ()> + Send,
    converse: impl Fn(TcpStream, Guest<A::Worker>) -> C + Clone + Send + 'static,
) -> io::Result<()> {
    let Server {
        answerer,
        limits,
        trusted,
        counters,
    } = server;
    let local = listener.local_addr()?;
    let (closing, closed) = watch::channel(false);
    let seats = Seats::new(limits.connections_max, limits.connections_per_source_max);
    let mut connections = JoinSet::new();
    let (mut number, mut warned) = (0_u64, None::<Instant>);
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
                    if warned.is_none_or(|at| at.elapsed() > WARNING_PAUSE) {
                        warned = Some(Instant::now());
                        let open = seats.taken();
                        tracing::warn!(%error, open, "cannot accept DNS connections just now");
                    }
                    let pause = make_room(&seats, &counters);
                    tokio::select! {
                        () = &mut shutdown => break,
                        () = sleep(pause) => {}
                    }
                }
                continue;
            }
        };
        counters.accept.accepted.add(1);
        number += 1;
        let (seat, evicted) = seats.take();
        let is_proxy = trusted.contains(source.ip());
        let evicted = u64::from(evicted) + u64::from(!is_proxy && seat.claim(source.ip()));
        counters.accept.evicted.add_shared(evicted);
        // Without this, a small last segment waits for the client's delayed acknowledgement: 40 ms.
        let _ = stream.set_nodelay(true);
        let arrival = Arrival {
            source,
            // The listener's address may be a wildcard; the connection knows the one that was asked.
            local: stream.local_addr().unwrap_or(local),
            transport,
        };
        let place = seat.place();
        let guest = Guest {
            worker: answerer.worker(),
            arrival,
            limits,
            seat,
            tally: Tally::new(&counters, number),
            closing: Closing::new(&closed),
        };
        let converse = converse.clone();
        let task = connections.spawn(async move {
            let (mut stream, mut guest) = (stream, guest);
            if is_proxy && let Err(end) = guest.be_introduced(&mut stream).await {
                return guest.tally.end(end);
            }
            converse(stream, guest).await;
        });
        Seat::attach(&seats, place, task);
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

/// After a failed accept: closes the connections that waste most, and tells how long to wait for their descriptors.
fn make_room(seats: &Seats, counters: &StreamCounters) -> Duration {
    let wanted = seats.taken().div_ceil(EVICTED_OF);
    let evicted = (0..wanted).take_while(|_| seats.evict()).count();
    counters.accept.evicted.add_shared(evicted as u64);
    if evicted > 0 {
        EVICTION_PAUSE
    } else {
        ACCEPT_PAUSE
    }
}
