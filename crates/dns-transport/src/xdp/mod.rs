//! UDP below the sockets: an XDP program hands the queries of an interface to AF_XDP sockets, one for each receive queue, and
//! the answers leave by the way the queries came. Nothing of the kernel's network stack is in between: no routes, no
//! firewall, no socket buffers. Everything else that arrives goes to the kernel, and to the sockets, as before.
//!
//! ```text
//!            ┌ filter (eBPF) ─ UDP to our addresses ─► AF_XDP socket ─► packet ─► worker ─► packet ─► AF_XDP socket ─┐
//! interface ─┤                                                                                                     ├─► interface
//!            └ all else ─► the kernel's stack ─► sockets (TCP, fragments, loopback) ───────────────────────────────┘
//! ```
//!
//! It needs CAP_NET_ADMIN, CAP_BPF and CAP_NET_RAW, and Linux 5.9. The program stays as long as the process.

mod assembler;
mod bpf;
mod checksum;
mod filter;
mod interface;
#[cfg(test)]
mod interpreter;
mod memory;
mod packet;
mod socket;
mod worker;

use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::io;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

use self::interface::Interface;
use self::socket::XdpSocket;
use self::worker::Run;
use crate::Answerer;
use crate::counters::{Serving, UdpCounters, UdpReader};
use crate::proxy::Trusted;

/// Which interface, and how.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Its name.
    pub interface: String,
    /// How many of its receive queues; all of them without it. The others stay the kernel's.
    pub queues: Option<NonZeroU32>,
    /// Where the program runs; without it in the driver if that can, else behind it.
    pub mode: Option<Mode>,
}

/// Where the program runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// In the driver, before the kernel has made anything of a frame.
    Native,
    /// Behind the driver: works with all of them, and saves less.
    Generic,
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Native => "native",
            Self::Generic => "generic",
        })
    }
}

/// Running workers on one interface; dropping it stops them and takes the program away.
#[derive(Debug)]
pub struct XdpHandle {
    interface: String,
    mode: Mode,
    zero_copy: bool,
    /// Holds the program on the interface.
    link: Option<OwnedFd>,
    stop: Arc<AtomicBool>,
    /// Closed at the stop.
    wake: Option<UnixStream>,
    threads: Vec<JoinHandle<()>>,
    serving: Serving,
    counters: Arc<[UdpCounters]>,
}

impl XdpHandle {
    /// The interface's name.
    pub fn interface(&self) -> &str {
        &self.interface
    }

    /// Where the program runs.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// True if frames are not copied between the network card and the workers, on any queue.
    pub fn is_zero_copy(&self) -> bool {
        self.zero_copy
    }

    /// How many queues are served now.
    pub fn serving(&self) -> Serving {
        self.serving.clone()
    }

    /// Reads the counters of all workers, also after the stop.
    pub fn counters(&self) -> UdpReader {
        UdpReader(Arc::clone(&self.counters))
    }

    /// Takes the program off the interface, so that new queries go to the sockets, and asks the workers to end after those
    /// that have already arrived; does not wait.
    pub fn shutdown(&mut self) {
        self.link = None;
        self.stop.store(true, Ordering::Release);
        self.wake = None;
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

impl Drop for XdpHandle {
    fn drop(&mut self) {
        self.join();
    }
}

/// Looks whether there is such an interface.
///
/// # Errors
/// When there is none, or it is none of Ethernet.
pub fn exists(interface: &str) -> io::Result<()> {
    Interface::look(interface).map(drop)
}

/// Asks the kernel whether this process may do it at all; changes nothing.
///
/// # Errors
/// What the kernel says: mostly that a capability is missing.
pub fn permitted() -> io::Result<()> {
    let asked = bpf::create_socket_map(1).map(drop);
    asked.map_err(|error| refused(&error))
}

/// Serves the addresses of `listen` that queries to this interface can have; of a wildcard these are the interface's own and
/// those of the loopback interface that are not only local, as they are now. The sockets must be bound already.
///
/// # Errors
/// When there is no such interface, none of the addresses can be served, or the kernel refuses; then nothing has changed.
pub fn spawn<A: Answerer>(
    options: &Options,
    listen: &[SocketAddr],
    trusted: &Trusted,
    answerer: &A,
) -> io::Result<XdpHandle> {
    let interface = Interface::look(&options.interface)?;
    let destinations = destinations(listen, &interface);
    if destinations.is_empty() {
        return Err(io::Error::other(
            "no address to listen on can be asked there",
        ));
    }
    let queues = options.queues.map_or(interface.queues, NonZeroU32::get);
    let queues = queues.min(interface.queues);
    let sockets = bpf::create_socket_map(queues).map_err(|error| refused(&error))?;
    let (link, mode) = attach(options.mode, &interface, &destinations, &sockets)?;
    let (wake, stopped) = UnixStream::pair()?;
    let mut handle = XdpHandle {
        interface: options.interface.clone(),
        mode,
        zero_copy: false,
        link: Some(link),
        stop: Arc::default(),
        wake: Some(wake),
        threads: Vec::new(),
        serving: Serving::default(),
        counters: (0..queues).map(|_| UdpCounters::default()).collect(),
    };
    let stopped = Arc::new(stopped);
    for queue in 0..queues {
        let bound = XdpSocket::bind(interface.index, queue, mode == Mode::Native);
        let socket = bound.map_err(|error| named(&format!("queue {queue}"), &error))?;
        handle.zero_copy |= socket.is_zero_copy();
        bpf::put_socket(sockets.as_fd(), queue, socket.as_fd())?;
        let run = Run {
            worker: answerer.worker(),
            socket,
            counters: Arc::clone(&handle.counters),
            queue: queue as usize,
            trusted: trusted.clone(),
            mtu: interface.mtu,
            random: RandomState::new().hash_one(queue) | 1,
            stop: Arc::clone(&handle.stop),
            stopped: Arc::clone(&stopped),
        };
        let (serving, name) = (handle.serving.clone(), handle.interface.clone());
        let builder = thread::Builder::new().name(format!("xdp-{queue}"));
        handle.serving.0.fetch_add(1, Ordering::Relaxed);
        let thread = builder.spawn(move || {
            if !run.until_stopped() {
                tracing::error!("XDP: {name} is gone; what else arrives is served by sockets");
            }
            serving.0.fetch_sub(1, Ordering::Relaxed);
        });
        handle.threads.push(thread?);
    }
    Ok(handle)
}

/// Loads the program and puts it on the interface. Its map is still empty, so it leaves everything to the kernel.
fn attach(
    wanted: Option<Mode>,
    interface: &Interface,
    destinations: &[SocketAddr],
    sockets: &OwnedFd,
) -> io::Result<(OwnedFd, Mode)> {
    use std::os::fd::AsRawFd;

    let program = filter::filter(destinations, interface.link_address, sockets.as_raw_fd());
    let program = program.ok_or_else(|| io::Error::other("too many addresses to listen on"))?;
    let program = bpf::load(&program).map_err(|error| named("the program", &error))?;
    let attach = |mode| {
        let flags = match mode {
            Mode::Native => bpf::NATIVE,
            Mode::Generic => bpf::GENERIC,
        };
        let link = bpf::attach(program.as_fd(), interface.index, flags)?;
        Ok((link, mode))
    };
    let attached = match wanted {
        Some(mode) => attach(mode),
        None => attach(Mode::Native).or_else(|native: io::Error| {
            // If it cannot be there at all, the first reason is the one to tell.
            attach(Mode::Generic).map_err(|_: io::Error| native)
        }),
    };
    attached.map_err(|error| match error.raw_os_error() {
        Some(libc::EBUSY | libc::EEXIST) => io::Error::other("it has an XDP program already"),
        _ => named("the program on it", &error),
    })
}

/// What queries can be addressed to, wildcards spelt out. An address that is written down is taken as it is, but for those
/// that no interface but loopback brings.
fn destinations(listen: &[SocketAddr], interface: &Interface) -> Vec<SocketAddr> {
    let mut all: Vec<SocketAddr> = Vec::new();
    for address in listen {
        let here = interface.addresses.iter().copied();
        let here = here.filter(|ip| ip.is_ipv4() == address.is_ipv4());
        if address.ip().is_unspecified() {
            all.extend(here.map(|ip| SocketAddr::new(ip, address.port())));
        } else if !address.ip().is_loopback() {
            all.push(SocketAddr::new(address.ip(), address.port()));
        }
    }
    all.sort();
    all.dedup();
    all
}

/// What the kernel said, and what it may have meant.
fn refused(error: &io::Error) -> io::Error {
    let text = match error.raw_os_error() {
        Some(libc::EPERM) => " (it takes CAP_NET_ADMIN, CAP_BPF and CAP_NET_RAW)",
        _ => "",
    };
    io::Error::new(error.kind(), format!("bpf(2): {error}{text}"))
}

fn named(what: &str, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{what}: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Arrival, Reply, Worker};

    struct Silent;

    impl Answerer for Silent {
        type Worker = Self;

        fn worker(&self) -> Self {
            Self
        }
    }

    impl Worker for Silent {
        fn begin_batch(&mut self) {}

        fn answer(&mut self, _: &[u8], _: &Arrival, _: &mut [u8]) -> Reply {
            Reply::Silent
        }
    }

    fn check(listen: &[&str], expected: &[&str]) {
        let interface = Interface {
            index: 1,
            link_address: [0; 6],
            mtu: 1500,
            queues: 1,
            addresses: ["192.0.2.1", "198.51.100.53", "2001:db8::1"]
                .map(|text| text.parse().unwrap())
                .to_vec(),
        };
        let parse = |list: &[&str]| -> Vec<SocketAddr> {
            list.iter().map(|text| text.parse().unwrap()).collect()
        };
        assert_eq!(destinations(&parse(listen), &interface), parse(expected));
    }

    #[test]
    fn wildcards_mean_the_addresses_that_are_here() {
        check(&["0.0.0.0:53"], &["192.0.2.1:53", "198.51.100.53:53"]);
        check(&["[::]:53", "[2001:db8::1]:53"], &["[2001:db8::1]:53"]);
    }

    #[test]
    fn an_address_is_taken_as_it_is_written_unless_it_is_local_only() {
        check(
            &["203.0.113.1:5300", "127.0.0.1:53", "[::1]:53"],
            &["203.0.113.1:5300"],
        );
    }

    #[test]
    fn an_interface_that_cannot_be_served_is_an_error_that_says_so() {
        let check = |interface: &str, expected: &str| {
            let options = Options {
                interface: interface.to_owned(),
                queues: None,
                mode: None,
            };
            let listen = ["0.0.0.0:53".parse().unwrap()];
            let error = spawn(&options, &listen, &Trusted::default(), &Silent).unwrap_err();
            assert_eq!(error.to_string(), expected);
        };
        check("nowhere0", "no interface nowhere0");
        check("lo", "lo is no Ethernet interface");
    }
}
