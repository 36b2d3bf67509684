//! One pair of UDP ports per RTSP address, shared by all sessions: RTP goes out of the even one, RTCP of the odd one,
//! and receiver reports are matched to sessions by where they come from.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use mdc::rtp::Packet;
use service::shutdown::Shutdown;
use socket2::{Domain, Protocol, Socket, Type};
use tokio::net::UdpSocket;

use super::rtcp;

/// Send and receive buffer wanted, octets: an IDR of every session at the same moment.
const BUFFER_OCTETS: usize = 4 << 20;
/// How often a pair of neighbouring ports is looked for.
const PAIR_TRIES: usize = 64;
/// Largest control packet read.
const RTCP_OCTETS_MAX: usize = 1_500;

/// The pair of ports.
#[derive(Debug)]
pub struct Ports {
    rtp: UdpSocket,
    rtcp: UdpSocket,
    /// The two port numbers.
    pub numbers: (u16, u16),
    feedback: Mutex<HashMap<SocketAddr, Arc<Feedback>>>,
    started: Instant,
}

/// What a client's receiver reports said last.
#[derive(Debug, Default)]
pub struct Feedback {
    /// Milliseconds after the ports' start; 0 for never.
    last_ms: AtomicU64,
    /// Fraction lost, of 256.
    pub fraction_lost: AtomicU64,
}

impl Feedback {
    /// When the last report came, if any.
    pub fn last(&self, ports: &Ports) -> Option<Instant> {
        match self.last_ms.load(Ordering::Relaxed) {
            0 => None,
            ms => Some(ports.started + std::time::Duration::from_millis(ms)),
        }
    }
}

/// Keeps a stream's entry; it leaves when this is dropped.
#[derive(Debug)]
pub struct Registration {
    /// What comes back.
    pub feedback: Arc<Feedback>,
    from: SocketAddr,
    ports: Arc<Ports>,
}

impl Drop for Registration {
    fn drop(&mut self) {
        let mut feedback = self
            .ports
            .feedback
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if feedback
            .get(&self.from)
            .is_some_and(|entry| Arc::ptr_eq(entry, &self.feedback))
        {
            feedback.remove(&self.from);
        }
    }
}

impl Ports {
    /// Binds a pair on `address`, an even port and the next one (RFC 3550 §11), and reads reports until shutdown.
    pub fn bind(address: IpAddr, shutdown: Shutdown) -> io::Result<Arc<Ports>> {
        let (rtp, rtcp) = bind_pair(address)?;
        let numbers = (rtp.local_addr()?.port(), rtcp.local_addr()?.port());
        let ports = Arc::new(Ports {
            rtp: UdpSocket::from_std(rtp)?,
            rtcp: UdpSocket::from_std(rtcp)?,
            numbers,
            feedback: Mutex::default(),
            started: Instant::now() - std::time::Duration::from_millis(1),
        });
        let reading = Arc::clone(&ports);
        tokio::spawn(async move {
            tokio::select! {
                () = reading.read_reports() => {}
                () = shutdown.wait() => {}
            }
        });
        Ok(ports)
    }

    /// Reports from this address belong to the stream until the registration is dropped.
    pub fn register(self: &Arc<Self>, from: SocketAddr) -> Registration {
        let entry = Arc::new(Feedback::default());
        let mut feedback = self.feedback.lock().unwrap_or_else(PoisonError::into_inner);
        feedback.insert(from, Arc::clone(&entry));
        Registration {
            feedback: entry,
            from,
            ports: Arc::clone(self),
        }
    }

    /// Sends a frame's packets; returns octets sent and packets that the socket did not take.
    pub fn send_frame(
        &self,
        to: SocketAddr,
        packets: &[Packet<'_>],
        scratch: &mut Vec<u8>,
    ) -> (u64, u64) {
        let (mut octets, mut dropped) = (0, 0);
        for packet in packets {
            scratch.clear();
            packet.write_to(scratch);
            match self.rtp.try_send_to(scratch, to) {
                Ok(_) => octets += scratch.len() as u64,
                Err(_) => dropped += 1,
            }
        }
        (octets, dropped)
    }

    /// Sends a control packet; it may get lost like any other.
    pub fn send_control(&self, to: SocketAddr, packet: &[u8]) {
        let _ = self.rtcp.try_send_to(packet, to);
    }

    async fn read_reports(&self) {
        let mut packet = [0; RTCP_OCTETS_MAX];
        let mut opening = [0; 64];
        loop {
            tokio::select! {
                received = self.rtcp.recv_from(&mut packet) => {
                    let Ok((octets, from)) = received else { continue };
                    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
                    let feedback = self.feedback.lock().unwrap_or_else(PoisonError::into_inner);
                    let Some(entry) = feedback.get(&from) else { continue };
                    let Some(report) = rtcp::read_report(packet.get(..octets).unwrap_or_default()) else {
                        continue;
                    };
                    let ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
                    entry.last_ms.store(ms, Ordering::Relaxed);
                    if let Some(lost) = report.fraction_lost {
                        entry.fraction_lost.store(u64::from(lost), Ordering::Relaxed);
                    }
                }
                // Clients send something here to open their firewall; it means nothing to us.
                _ = self.rtp.recv_from(&mut opening) => {}
            }
        }
    }
}

fn bind_pair(address: IpAddr) -> io::Result<(std::net::UdpSocket, std::net::UdpSocket)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    // Sockets with odd ports are kept until the end, or the system would offer the same port again.
    let mut odd = Vec::new();
    for _ in 0..PAIR_TRIES {
        let first = bind(SocketAddr::new(address, 0))?;
        let port = first.local_addr()?.port();
        if port % 2 == 1 {
            odd.push(first);
            continue;
        }
        match bind(SocketAddr::new(address, port + 1)) {
            Ok(second) => return Ok((first, second)),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<std::net::UdpSocket> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::DGRAM,
        Some(Protocol::UDP),
    )?;
    socket.set_nonblocking(true)?;
    // A smaller buffer than wanted still works.
    let _ = socket.set_send_buffer_size(BUFFER_OCTETS);
    let _ = socket.set_recv_buffer_size(BUFFER_OCTETS);
    socket.bind(&address.into())?;
    Ok(socket.into())
}
