//! Sends a query's octets and waits for the answer's, over UDP or TCP.

use std::{
    io,
    net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use crate::tap::{read_message, write_message};

/// How long an answer may take on loopback.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// Asks one server.
#[derive(Debug)]
pub struct Client {
    server: SocketAddr,
    udp: UdpSocket,
    tcp: Option<TcpStream>,
    buffer: Vec<u8>,
}

impl Client {
    /// Asks from a free port of 127.0.0.1.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn new(server: SocketAddr) -> Self {
        Self::from(Ipv4Addr::LOCALHOST, server)
    }

    /// Asks over UDP from a free port of another address of loopback.
    ///
    /// # Panics
    /// When no socket can be had.
    pub fn from(source: Ipv4Addr, server: SocketAddr) -> Self {
        let udp = UdpSocket::bind((source, 0)).expect("a free port of loopback");
        udp.connect(server).expect("a route to loopback");
        Self {
            server,
            udp,
            tcp: None,
            buffer: vec![0; 65_535],
        }
    }

    /// Sends a datagram.
    ///
    /// # Panics
    /// When it cannot be sent.
    pub fn send(&self, query: &[u8]) {
        // An earlier datagram to a port where nobody listened is reported here; then this one was not sent.
        let sent = self.udp.send(query).or_else(|_| self.udp.send(query));
        sent.expect("a datagram is sent");
    }

    /// Waits for the answer with this query's identifier.
    pub fn receive(&mut self, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
        let until = Instant::now() + patience;
        loop {
            let left = until
                .checked_duration_since(Instant::now())
                .filter(|left| !left.is_zero())?;
            self.udp.set_read_timeout(Some(left)).ok()?;
            let length = self.udp.recv(&mut self.buffer).ok()?;
            if self.buffer[..length].get(..2) == query.get(..2) {
                return Some(self.buffer[..length].to_vec());
            }
        }
    }

    /// Waits for any datagram.
    pub fn receive_any(&mut self, patience: Duration) -> Option<Vec<u8>> {
        self.udp.set_read_timeout(Some(patience)).ok()?;
        let length = self.udp.recv(&mut self.buffer).ok()?;
        Some(self.buffer[..length].to_vec())
    }

    /// One datagram there and one back; `None` if none comes in this time.
    pub fn udp_within(&mut self, query: &[u8], patience: Duration) -> Option<Vec<u8>> {
        self.send(query);
        self.receive(query, patience)
    }

    /// One datagram there and one back; `None` if none comes within five seconds.
    pub fn udp(&mut self, query: &[u8]) -> Option<Vec<u8>> {
        self.udp_within(query, PATIENCE)
    }

    /// One message there and one back on a connection that is kept; opened again where the server closed it.
    ///
    /// # Errors
    /// When there is no connection to be had, or it ends before the answer.
    pub fn tcp(&mut self, query: &[u8]) -> io::Result<Vec<u8>> {
        if let Some(stream) = &self.tcp
            && let Ok(reply) = write_message(stream, query).and_then(|()| read_message(stream))
        {
            return Ok(reply);
        }
        let stream = TcpStream::connect(self.server)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_nodelay(true)?;
        write_message(&stream, query)?;
        let reply = read_message(&stream)?;
        self.tcp = Some(stream);
        Ok(reply)
    }
}
