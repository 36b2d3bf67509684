//! The closed loop over TCP and TLS: connections with pipelined queries. When half of a window is answered, that half is
//! asked anew in one write. The client sets TCP_NODELAY and acknowledges at once, so that a server that writes twice and has not
//! turned Nagle's algorithm off is not measured as 43 ms of waiting.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::{Ids, Load, Slot, Tally, Turn};
use crate::questions::Questions;

const CONNECTIONS: usize = 16;
const WINDOW: usize = 16;
const IDS: Ids = Ids { bits: 8 };
/// A connection that waits for so long for any answer has failed.
const STALLED_AFTER: Duration = Duration::from_secs(3);
/// Octets taken from a connection at once.
const READ: usize = 64 << 10;

/// The generator.
pub(crate) struct Streams<'q, S> {
    questions: &'q Questions,
    turn: Turn,
    connections: Vec<Connection<S>>,
    writing: Vec<u8>,
}

/// What a connection is made of.
pub(crate) trait Stream: Read + Write {
    /// The socket below.
    fn socket(&self) -> &TcpStream;
}

impl Stream for TcpStream {
    fn socket(&self) -> &TcpStream {
        self
    }
}

type Tls = StreamOwned<ClientConnection, TcpStream>;

impl Stream for Tls {
    fn socket(&self) -> &TcpStream {
        &self.sock
    }
}

struct Connection<S> {
    stream: S,
    slots: Vec<Slot>,
    free: Vec<usize>,
    /// What was read and is no whole message yet.
    pending: Vec<u8>,
    heard: Instant,
}

/// Plain connections; asks nothing yet.
pub(crate) fn tcp(server: SocketAddr, questions: &Questions) -> io::Result<Streams<'_, TcpStream>> {
    Streams::new(questions, || connect(server))
}

/// Connections with the handshake done, to a server that calls itself [`SERVER_NAME`].
pub(crate) fn tls<'q>(
    server: SocketAddr,
    config: &Arc<ClientConfig>,
    questions: &'q Questions,
) -> io::Result<Streams<'q, Tls>> {
    let name = ServerName::try_from(SERVER_NAME).map_err(io::Error::other)?;
    Streams::new(questions, || {
        let mut socket = connect(server)?;
        let connection = ClientConnection::new(Arc::clone(config), name.clone());
        let mut connection = connection.map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        Ok(StreamOwned::new(connection, socket))
    })
}

/// In the certificate of a server that is asked over TLS.
pub(crate) const SERVER_NAME: &str = "ns.media.test";

fn connect(server: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(server)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(STALLED_AFTER))?;
    Ok(stream)
}

impl<'q, S: Stream> Streams<'q, S> {
    fn new(questions: &'q Questions, connect: impl Fn() -> io::Result<S>) -> io::Result<Self> {
        let connection = |_| {
            let stream = connect()?;
            stream.socket().set_nonblocking(true)?;
            Ok(Connection {
                stream,
                slots: vec![Slot::default(); WINDOW],
                free: (0..WINDOW).collect(),
                pending: Vec::with_capacity(2 * READ),
                heard: Instant::now(),
            })
        };
        Ok(Self {
            questions,
            turn: Turn::new(questions),
            connections: (0..CONNECTIONS)
                .map(connection)
                .collect::<io::Result<_>>()?,
            writing: Vec::new(),
        })
    }

    fn serve(&mut self, at: usize, now: Instant, tally: &mut Tally) -> io::Result<()> {
        let Connection {
            stream,
            slots,
            free,
            pending,
            heard,
        } = &mut self.connections[at];
        if free.len() * 2 >= WINDOW {
            self.writing.clear();
            for place in free.drain(..) {
                let number = self.turn.take();
                let round = slots[place].round.wrapping_add(1);
                slots[place] = Slot {
                    question: number as u32,
                    round,
                    waits: true,
                };
                let message = self.questions.message(number);
                self.writing.extend((message.len() as u16).to_be_bytes());
                self.writing.extend(IDS.id(place, round).to_be_bytes());
                self.writing.extend(&message[2..]);
            }
            // A window is far smaller than a socket's buffer: it takes all of it, or the server has stopped reading.
            stream.write_all(&self.writing)?;
        }
        let length = pending.len();
        pending.resize(length + READ, 0);
        let read = match stream.read(&mut pending[length..]) {
            Ok(0) => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => 0,
            Err(error) => return Err(error),
        };
        pending.truncate(length + read);
        if read == 0 {
            return match now.saturating_duration_since(*heard) > STALLED_AFTER {
                true => Err(io::ErrorKind::TimedOut.into()),
                false => Ok(()),
            };
        }
        *heard = now;
        socket2::SockRef::from(stream.socket()).set_tcp_quickack(true)?;
        let mut rest = pending.as_slice();
        while let Some((answer, behind)) = first_message(rest) {
            rest = behind;
            match IDS.slot(slots, answer) {
                Some(place) => {
                    slots[place].waits = false;
                    tally.count(self.questions, slots[place].question as usize, answer);
                    free.push(place);
                }
                None => tally.stray += 1,
            }
        }
        let used = pending.len() - rest.len();
        pending.drain(..used);
        Ok(())
    }
}

/// The first whole message behind its length (RFC 1035 §4.2.2), and what follows.
fn first_message(octets: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = octets.split_first_chunk::<2>()?;
    rest.split_at_checked(u16::from_be_bytes(*length).into())
}

impl<S: Stream> Load for Streams<'_, S> {
    fn run_for(&mut self, time: Duration) -> io::Result<Tally> {
        let mut tally = Tally::default();
        let start = Instant::now();
        for connection in &mut self.connections {
            connection.heard = start; // a pause between two runs is ours
        }
        loop {
            let now = Instant::now();
            tally.elapsed = now - start;
            if tally.elapsed >= time {
                return Ok(tally);
            }
            for at in 0..self.connections.len() {
                self.serve(at, now, &mut tally)?;
            }
        }
    }
}
