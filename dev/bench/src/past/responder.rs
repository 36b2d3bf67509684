//! The responder that is measured: a null responder in one of many ways to the kernel.

use std::io;
use std::net::SocketAddr;
use std::net::UdpSocket;
use std::thread;

use anyhow::Context;
use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use socket2::{Domain, Socket, Type};

use super::batch::{Batch, Extras, set_option, steer_by_core};
use super::uring;
use crate::mmsg::Wait;
use crate::null::Shape;
use crate::pin;

/// How it asks the kernel.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct How {
    /// Datagrams a call; 0: `recvfrom` and `sendto`.
    #[arg(long, default_value_t = 64)]
    batch: usize,
    /// Waits with `epoll_wait` before each batch.
    #[arg(long)]
    epoll: bool,
    /// Learns which address was asked, and answers from it.
    #[arg(long)]
    pktinfo: bool,
    /// Takes joined datagrams.
    #[arg(long)]
    gro: bool,
    /// Sends answers to one client as one.
    #[arg(long)]
    gso: bool,
    /// On io_uring.
    #[arg(long)]
    uring: bool,
    /// Microseconds of busy polling (SO_BUSY_POLL, SO_PREFER_BUSY_POLL).
    #[arg(long)]
    busy_poll: Option<i32>,
    /// Octets of the receive buffer.
    #[arg(long)]
    receive_buffer: Option<usize>,
    /// Threads with a socket each, on a core each.
    #[arg(long, default_value_t = 1)]
    workers: usize,
    /// Which of the sockets is given a datagram.
    #[arg(long, default_value = "hash")]
    steer: Steer,
}

/// Which of several sockets is given a datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Steer {
    /// That of a hash of both ends, as the kernel does by itself.
    Hash,
    /// That of the core at work, by a filter.
    Core,
    /// That which prefers this core (SO_INCOMING_CPU).
    Incoming,
}

/// Answers until the process is ended.
pub(crate) fn serve(address: SocketAddr, shape: Shape, how: &How) -> anyhow::Result<()> {
    if how.workers == 1 {
        let socket = bind(address, how, 0)?;
        return answer(&socket, shape, how).context("answering");
    }
    let sockets = (0..how.workers).map(|number| bind(address, how, number));
    let sockets: Vec<UdpSocket> = sockets.collect::<anyhow::Result<_>>()?;
    if how.steer == Steer::Core {
        steer_by_core(&sockets[0]).context("steering by core")?;
    }
    let start = |(core, socket): (usize, UdpSocket)| {
        let how = how.clone();
        thread::spawn(move || {
            pin::this_thread(core)?;
            answer(&socket, shape, &how).context("answering")
        })
    };
    let workers: Vec<_> = sockets.into_iter().enumerate().map(start).collect();
    for worker in workers {
        worker.join().expect("a worker does not panic")?;
    }
    Ok(())
}

fn bind(address: SocketAddr, how: &How, number: usize) -> anyhow::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(address), Type::DGRAM, None)?;
    if how.workers > 1 {
        socket.set_reuse_port(true)?;
    }
    if how.pktinfo {
        set_option(&socket, libc::IPPROTO_IP, libc::IP_PKTINFO, 1).context("IP_PKTINFO")?;
    }
    if how.gro {
        set_option(&socket, libc::SOL_UDP, libc::UDP_GRO, 1).context("UDP_GRO")?;
    }
    if let Some(time) = how.busy_poll {
        let set = |option, value| set_option(&socket, libc::SOL_SOCKET, option, value);
        set(libc::SO_BUSY_POLL, time).context("SO_BUSY_POLL")?;
        set(libc::SO_PREFER_BUSY_POLL, 1).context("SO_PREFER_BUSY_POLL")?;
    }
    if let Some(octets) = how.receive_buffer {
        socket.set_recv_buffer_size(octets)?;
    }
    if how.steer == Steer::Incoming {
        let core = i32::try_from(number)?;
        let (level, option) = (libc::SOL_SOCKET, libc::SO_INCOMING_CPU);
        set_option(&socket, level, option, core).context("SO_INCOMING_CPU")?;
    }
    // All addresses, where the kernel is to say which was asked.
    let address = match how.pktinfo {
        true => SocketAddr::from(([0, 0, 0, 0], address.port())),
        false => address,
    };
    socket.bind(&address.into())?;
    Ok(socket.into())
}

fn answer(socket: &UdpSocket, shape: Shape, how: &How) -> io::Result<()> {
    if how.uring {
        return uring::serve(socket, shape);
    }
    if how.batch == 0 {
        return answer_singly(socket, shape);
    }
    let extras = Extras {
        pktinfo: how.pktinfo,
        gro: how.gro,
        gso: how.gso,
    };
    let mut batch = Batch::new(how.batch, extras);
    let events = epoll::create(CreateFlags::CLOEXEC)?;
    let mut told = Vec::with_capacity(1);
    if how.epoll {
        epoll::add(&events, socket, EventData::new_u64(0), EventFlags::IN)?;
    }
    loop {
        let wait = match how.epoll {
            true => {
                epoll::wait(&events, spare_capacity(&mut told), None)?;
                told.clear();
                Wait::No
            }
            false => Wait::Yes,
        };
        let count = batch.receive(socket, wait)?;
        batch.answer(socket, count, shape);
    }
}

fn answer_singly(socket: &UdpSocket, shape: Shape) -> io::Result<()> {
    let mut message = [0; 2048];
    let size = shape.size.min(message.len());
    loop {
        let (_, client) = socket.recv_from(&mut message)?;
        shape.mark(&mut message[..size]);
        // A client that has gone away is not waited for.
        let _ = socket.send_to(&message[..size], client);
    }
}
