//! What datagrams have in common, whether a socket brought them or a frame: whom to answer, and what became of them.

use std::net::SocketAddr;

use crate::counters::UdpCounters;
use crate::proxy::{self, Trusted};
use crate::{Arrival, Transport};

/// What one batch held.
#[derive(Debug, Default)]
pub(crate) struct Seen {
    pub(crate) received: usize,
    pub(crate) refused: usize,
    pub(crate) oversized: usize,
    pub(crate) unproxied: usize,
    pub(crate) malformed: usize,
    pub(crate) silent: usize,
}

impl Seen {
    /// The query in a datagram and where it came from, if it may be answered; else counts why not.
    pub(crate) fn admit<'d>(
        &mut self,
        datagram: &'d [u8],
        (peer, local): (SocketAddr, SocketAddr),
        trusted: &Trusted,
    ) -> Option<(&'d [u8], Arrival)> {
        if is_no_client(peer, local) {
            self.refused += 1;
            return None;
        }
        let mut from = Arrival {
            source: peer,
            local,
            transport: Transport::Udp,
        };
        if !trusted.contains(peer.ip()) {
            return Some((datagram, from));
        }
        let Ok(header) = proxy::parse(datagram) else {
            self.unproxied += 1;
            return None;
        };
        if let Some(route) = header.route {
            (from.source, from.local) = (route.source, route.destination);
        }
        Some((&datagram[header.length..], from))
    }

    /// Adds them up, with the answers that were lined up and those of them that could not be sent.
    pub(crate) fn count(&self, counters: &UdpCounters, queued: usize, failed: usize) {
        counters.batches.add(1);
        counters.received.add(self.received);
        counters.refused_source.add(self.refused);
        counters.oversized.add(self.oversized);
        counters.unproxied.add(self.unproxied);
        counters.malformed.add(self.malformed);
        counters.silent.add(self.silent);
        counters.answered.add(queued - failed);
        counters.send_failed.add(failed);
    }
}

/// Sources that a forged query would set talking with us for ever: ourselves, and services that answer anything (echo,
/// daytime, quote, chargen, time). Port 0 cannot be answered. Other low ports stay: resolvers use 53, and address
/// translators may use any.
fn is_no_client(peer: SocketAddr, local: SocketAddr) -> bool {
    peer == local || matches!(peer.port(), 0 | 7 | 13 | 17 | 19 | 37)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_and_ourselves_are_no_clients() {
        let local = "192.0.2.1:53".parse().unwrap();
        for (peer, expected) in [
            ("192.0.2.1:53", true),
            ("192.0.2.2:53", false),
            ("192.0.2.1:54", false),
            ("198.51.100.1:7", true),
            ("198.51.100.1:0", true),
            ("[2001:db8::1]:19", true),
            ("[2001:db8::1]:1024", false),
        ] {
            assert_eq!(
                is_no_client(peer.parse().unwrap(), local),
                expected,
                "{peer}"
            );
        }
    }
}
