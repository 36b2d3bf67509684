//! UDP: one thread and one SO_REUSEPORT socket per worker, blocking, batch in and batch out.
//!
//! A worker is stopped by a flag and `shutdown(2)` on its socket: Linux then lets a blocked receive
//! return at once, and every later one too, so no time-out is needed and no wake-up can be missed.

use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use socket2::{Domain, Protocol, Socket, Type};

use crate::batch::Batch;
use crate::control;
use crate::counters::{UdpCounters, UdpReader};
use crate::datagram::Seen;
use crate::proxy::Trusted;
use crate::{Answerer, Reply, Worker};

/// Receive buffer asked for: the default of about 200 KiB holds 190 queries, 10 ms at 20,000 a second.
const RECEIVE_BUFFER: usize = 4 << 20;
/// Send buffer asked for: one batch of full answers, so that a burst is not lost on our side.
const SEND_BUFFER: usize = 1 << 20;
/// Batches still answered after the stop: what the receive buffer may hold, but no end to a flood.
const LAST_BATCHES: usize = 128;
/// Pause after a failed receive, so that a lasting error does not spin.
const FAILURE_PAUSE: Duration = Duration::from_millis(5);

/// Running workers; dropping it stops them.
#[derive(Debug)]
pub struct UdpHandle {
    local: SocketAddr,
    stop: Arc<AtomicBool>,
    sockets: Vec<Arc<Socket>>,
    threads: Vec<JoinHandle<()>>,
    counters: Arc<[UdpCounters]>,
}

impl UdpHandle {
    /// The bound address; all workers share its port.
    pub fn local(&self) -> SocketAddr {
        self.local
    }

    /// Reads the counters of all workers, also after the stop.
    pub fn counters(&self) -> UdpReader {
        UdpReader(Arc::clone(&self.counters))
    }

    /// Asks the workers to end after the datagrams that have already arrived; does not wait.
    pub fn shutdown(&self) {
        self.stop.store(true, Ordering::Release);
        for socket in &self.sockets {
            // An unconnected socket reports ENOTCONN, and still wakes its reader.
            let _ = socket.shutdown(Shutdown::Read);
        }
    }

    /// Stops the workers and waits for them: milliseconds.
    pub fn stop(mut self) {
        self.join();
    }

    fn join(&mut self) {
        self.shutdown();
        for thread in self.threads.drain(..) {
            // A panic inside was counted where it happened.
            let _ = thread.join();
        }
    }
}

impl Drop for UdpHandle {
    fn drop(&mut self) {
        self.join();
    }
}

/// Binds `workers` sockets to one address (port 0: the same free port for all) and starts a thread each.
///
/// A wildcard address answers from the address that was asked; an IPv6 one serves IPv6 only, so bind
/// `0.0.0.0` beside it. Fails if the address cannot be bound or a thread cannot be started.
pub fn spawn<A: Answerer>(
    listen: SocketAddr,
    workers: usize,
    trusted: &Trusted,
    answerer: &A,
) -> io::Result<UdpHandle> {
    let workers = workers.max(1);
    let first = bind(listen, false)?;
    let local = first
        .local_addr()?
        .as_socket()
        .ok_or(io::ErrorKind::AddrNotAvailable)?;
    let mut sockets = vec![Arc::new(first)];
    for _ in 1..workers {
        sockets.push(Arc::new(bind(local, true)?));
    }
    let mut handle = UdpHandle {
        local,
        stop: Arc::default(),
        sockets,
        threads: Vec::with_capacity(workers),
        counters: (0..workers).map(|_| UdpCounters::default()).collect(),
    };
    for (index, socket) in handle.sockets.iter().enumerate() {
        let run = Run {
            worker: answerer.worker(),
            socket: Arc::clone(socket),
            stop: Arc::clone(&handle.stop),
            counters: Arc::clone(&handle.counters),
            index,
            local,
            trusted: trusted.clone(),
        };
        let builder = thread::Builder::new().name(format!("udp-{index}"));
        handle
            .threads
            .push(builder.spawn(move || run.until_stopped())?);
    }
    Ok(handle)
}

/// Binds one worker's socket. The first is bound alone, so that an address which another server has is an
/// error even if that server shares its own; only then may the others join it.
fn bind(address: SocketAddr, joins: bool) -> io::Result<Socket> {
    let v6 = address.is_ipv6();
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    if v6 {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_port(joins)?;
    // The kernel gives what `net.core.rmem_max` allows; less still serves.
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = control::ignore_path_mtu(socket.as_fd(), v6);
    if address.ip().is_unspecified() {
        control::report_local_address(socket.as_fd(), v6)?;
    }
    socket.bind(&address.into())?;
    socket.set_reuse_port(true)?;
    Ok(socket)
}

/// One worker thread.
struct Run<W> {
    worker: W,
    socket: Arc<Socket>,
    stop: Arc<AtomicBool>,
    counters: Arc<[UdpCounters]>,
    index: usize,
    local: SocketAddr,
    trusted: Trusted,
}

impl<W: Worker> Run<W> {
    fn until_stopped(mut self) {
        let mut batch = Batch::new(self.local.ip().is_unspecified());
        // A panic of the answerer costs one batch, not the thread: the kernel would go on giving
        // this socket its share of the queries.
        while catch_unwind(AssertUnwindSafe(|| self.serve(&mut batch))).is_err() {
            self.counters().panics.add(1);
        }
    }

    fn counters(&self) -> &UdpCounters {
        &self.counters[self.index]
    }

    fn serve(&mut self, batch: &mut Batch) {
        let socket = Arc::clone(&self.socket);
        let socket = socket.as_fd();
        let mut last_batches = LAST_BATCHES;
        loop {
            let received = batch.receive(socket);
            // Of a socket that was shut down only queued datagrams come, then empty ones without source.
            let stopping = self.stop.load(Ordering::Acquire);
            match received {
                Ok(count) => {
                    let drained = self.serve_batch(batch, count, socket);
                    last_batches -= usize::from(stopping);
                    if stopping && (drained || last_batches == 0) {
                        return;
                    }
                }
                Err(_) if stopping => return,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(_) => {
                    self.counters().receive_failed.add(1);
                    thread::sleep(FAILURE_PAUSE);
                }
            }
        }
    }

    /// Answers one batch; true if it held nothing but the marks of a socket that was shut down.
    fn serve_batch(&mut self, batch: &mut Batch, count: usize, socket: BorrowedFd<'_>) -> bool {
        self.worker.begin_batch();
        let mut seen = Seen::default();
        for index in 0..count {
            let slot = batch.slot(index);
            let Some(peer) = slot.source else { continue };
            seen.received += 1;
            let local = slot
                .local
                .map_or(self.local, |ip| SocketAddr::new(ip, self.local.port()));
            if slot.cut {
                seen.oversized += 1;
                continue;
            }
            let Some((query, from)) = seen.admit(slot.query, (peer, local), &self.trusted) else {
                continue;
            };
            match self.worker.answer(query, &from, slot.answer) {
                Reply::Send(length) => batch.queue(index, length),
                Reply::Silent | Reply::Stream(_) => seen.silent += 1,
            }
        }
        if seen.received == 0 {
            return true;
        }
        let (queued, failed) = (batch.queued(), batch.send(socket));
        seen.count(self.counters(), queued, failed);
        false
    }
}
