//! The null responder: answers everything with the query's own octets and as many more as wanted, without a look at it. What
//! it costs is the kernel's share, below which no server on sockets gets. A thread for UDP, one for all connections.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::thread;

use rustix::buffer::spare_capacity;
use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};

use crate::mmsg::{Receiver, SIZE, Wait};

/// Datagrams a call.
const BATCH: usize = 64;
/// Octets read from a connection at once: more than a client has under way.
const READ: usize = 64 << 10;
/// Connections that are told at once to have something.
const EVENTS: usize = 64;
/// The listening socket among the connections' numbers.
const LISTENER: u64 = 0;

/// What every answer is like.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct Shape {
    /// Octets of an answer.
    #[arg(long)]
    pub(crate) size: usize,
    /// Response code.
    #[arg(long)]
    pub(crate) rcode: u8,
    /// Number of records that the header claims.
    #[arg(long)]
    pub(crate) answers: u16,
}

impl Shape {
    /// Makes a query's header that of an answer.
    pub(crate) fn mark(self, message: &mut [u8]) {
        if let [_, _, flags, code, _, _, many, few, ..] = message {
            (*flags, *code) = (0x84, self.rcode);
            [*many, *few] = self.answers.to_be_bytes();
        }
    }
}

/// Answers on UDP and TCP until the process is ended.
pub(crate) fn serve(address: SocketAddr, shape: Shape) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    let socket = UdpSocket::bind(address)?;
    thread::spawn(move || serve_streams(&listener, shape));
    let mut receiver = Receiver::new(BATCH);
    loop {
        let count = receiver.receive(&socket, Wait::Yes)?;
        for index in 0..count {
            shape.mark(receiver.buffer(index));
        }
        receiver.send_back(&socket, count, shape.size.min(SIZE));
    }
}

/// Answers on all connections, one read and one write for what a client has sent together.
pub(crate) fn serve_streams(listener: &TcpListener, shape: Shape) -> io::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections = HashMap::new();
    let mut events = Vec::with_capacity(EVENTS);
    let mut buffers = Buffers::default();
    for next in 1.. {
        epoll::wait(&epoll, spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let number = { event.data }.u64();
            if number == LISTENER {
                let (stream, _) = listener.accept()?;
                stream.set_nodelay(true)?;
                epoll::add(&epoll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                connections.insert(next, stream);
            } else if let Some(stream) = connections.get_mut(&number)
                && !buffers.serve(stream, shape)
            {
                connections.remove(&number);
            }
        }
    }
    Ok(())
}

/// Of the thread, for whichever connection has something.
#[derive(Default)]
struct Buffers {
    queries: Vec<u8>,
    answers: Vec<u8>,
}

impl Buffers {
    /// False if the connection is over. A query that is cut off by the end of the read ends it as well: the clients of this
    /// server write whole ones, and few enough for one read.
    fn serve(&mut self, stream: &mut TcpStream, shape: Shape) -> bool {
        self.queries.resize(READ, 0);
        let Ok(read @ 1..) = stream.read(&mut self.queries) else {
            return false;
        };
        self.answers.clear();
        let mut rest = &self.queries[..read];
        while let Some(([high, low], message)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes([*high, *low]));
            let Some((query, behind)) = message.split_at_checked(length) else {
                return false;
            };
            rest = behind;
            let start = self.answers.len() + 2;
            self.answers.extend((shape.size as u16).to_be_bytes());
            self.answers.extend(&query[..length.min(shape.size)]);
            self.answers.resize(start + shape.size, 0);
            shape.mark(&mut self.answers[start..]);
        }
        stream.write_all(&self.answers).is_ok()
    }
}
