//! Stands between a client and a server and keeps a copy of what they say, so that the octets an outside client
//! sent and got can be looked at.

use std::{
    io::{self, Read, Write},
    net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

/// What went through, in order.
#[derive(Debug, Default)]
pub struct Overheard {
    /// From the client.
    pub queries: Vec<Vec<u8>>,
    /// From the server.
    pub replies: Vec<Vec<u8>>,
    /// Connections that the client made.
    pub connections: usize,
}

/// How long a server may think about a datagram.
const PATIENCE: Duration = Duration::from_secs(5);
const LOOPBACK: (Ipv4Addr, u16) = (Ipv4Addr::LOCALHOST, 0);

/// Runs a client that is given the tap's address instead of the server's, over UDP.
///
/// # Errors
/// When a socket fails.
pub fn udp<T>(
    server: SocketAddr,
    client: impl FnOnce(SocketAddr) -> T,
) -> io::Result<(T, Overheard)> {
    let front = UdpSocket::bind(LOOPBACK)?;
    let address = front.local_addr()?;
    let heard = Mutex::default();
    let answer = thread::scope(|scope| {
        let relay = scope.spawn(|| relay_datagrams(&front, server, &heard));
        let answer = client(address);
        // A datagram without octets, which no client sends, ends the relay.
        UdpSocket::bind(LOOPBACK)?.send_to(&[], address)?;
        relay.join().unwrap_or(Ok(()))?;
        io::Result::Ok(answer)
    })?;
    Ok((answer, inner(heard)))
}

fn relay_datagrams(
    front: &UdpSocket,
    server: SocketAddr,
    heard: &Mutex<Overheard>,
) -> io::Result<()> {
    let mut octets = vec![0; 65_535];
    loop {
        let (length, client) = front.recv_from(&mut octets)?;
        if length == 0 {
            return Ok(());
        }
        let query = octets[..length].to_vec();
        let back = UdpSocket::bind(LOOPBACK)?;
        back.set_read_timeout(Some(PATIENCE))?;
        back.send_to(&query, server)?;
        keep(heard, |heard| heard.queries.push(query));
        // Silence of the server is the client's to report.
        if let Ok((length, _)) = back.recv_from(&mut octets) {
            front.send_to(&octets[..length], client)?;
            keep(heard, |heard| heard.replies.push(octets[..length].to_vec()));
        }
    }
}

/// The same over TCP.
///
/// # Errors
/// When a socket fails.
pub fn tcp<T>(
    server: SocketAddr,
    client: impl FnOnce(SocketAddr) -> T,
) -> io::Result<(T, Overheard)> {
    let front = TcpListener::bind(LOOPBACK)?;
    let address = front.local_addr()?;
    let (heard, done) = (Mutex::default(), AtomicBool::new(false));
    let answer = thread::scope(|scope| {
        let relay = scope.spawn(|| -> io::Result<()> {
            loop {
                let (stream, _) = front.accept()?;
                if done.load(Ordering::Acquire) {
                    return Ok(());
                }
                relay_connection(stream, server, &heard)?;
            }
        });
        let answer = client(address);
        done.store(true, Ordering::Release);
        TcpStream::connect(address)?;
        relay.join().unwrap_or(Ok(()))?;
        io::Result::Ok(answer)
    })?;
    Ok((answer, inner(heard)))
}

fn relay_connection(
    client: TcpStream,
    server: SocketAddr,
    heard: &Mutex<Overheard>,
) -> io::Result<()> {
    let server = TcpStream::connect(server)?;
    keep(heard, |heard| heard.connections += 1);
    thread::scope(|scope| {
        scope.spawn(|| {
            let keep_reply = |message| keep(heard, |heard| heard.replies.push(message));
            relay_messages(&server, &client, keep_reply)
        });
        let keep_query = |message| keep(heard, |heard| heard.queries.push(message));
        relay_messages(&client, &server, keep_query)
    })
}

/// Passes messages on until the sender ends; then the receiver is told so.
fn relay_messages(from: &TcpStream, to: &TcpStream, keep: impl Fn(Vec<u8>)) -> io::Result<()> {
    while let Ok(message) = read_message(from) {
        keep(message.clone());
        if write_message(to, &message).is_err() {
            break;
        }
    }
    // It may have gone already.
    let _ = to.shutdown(Shutdown::Write);
    Ok(())
}

/// Reads a message with its length in front (RFC 1035 §4.2.2).
///
/// # Errors
/// When the stream ends or fails.
pub fn read_message(mut stream: impl Read) -> io::Result<Vec<u8>> {
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut message = vec![0; usize::from(u16::from_be_bytes(length))];
    stream.read_exact(&mut message)?;
    Ok(message)
}

/// Writes a message with its length in front, in one piece (RFC 7766 §8).
///
/// # Errors
/// When the stream fails, or the message is longer than 65,535 octets.
pub fn write_message(mut stream: impl Write, message: &[u8]) -> io::Result<()> {
    let length = u16::try_from(message.len()).map_err(io::Error::other)?;
    stream.write_all(&[&length.to_be_bytes(), message].concat())
}

fn keep(heard: &Mutex<Overheard>, note: impl FnOnce(&mut Overheard)) {
    note(
        &mut heard
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner()),
    );
}

fn inner(heard: Mutex<Overheard>) -> Overheard {
    heard
        .into_inner()
        .unwrap_or_else(|poisoned| poisoned.into_inner())
}
