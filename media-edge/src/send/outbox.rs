//! What waits to be written to one RTSP connection: messages and interleaved packets, in order, bounded.
//!
//! A frame goes out in one gathered write while the connection keeps up; what the socket does not take waits here.
//! A frame is queued whole or not at all: half a frame would be worth nothing and break the framing.

use std::io::{self, IoSlice};

use mdc::rtp::Packet;
use rtsp::codec::interleaved_header;
use tokio::net::TcpStream;

/// Above this, frames are left out until the reader catches up; about three seconds of a 2 Mbit/s title.
pub const FRAMES_OCTETS_MAX: usize = 768 * 1024;
/// Above this the connection is given up: it reads neither frames nor answers.
const OCTETS_MAX: usize = 4 * 1024 * 1024;
/// Most slices in one write (IOV_MAX is 1024 on Linux).
const SLICES_MAX: usize = 1_000;
/// Prefix of an interleaved packet: four octets of framing, up to fourteen of headers.
const PREFIX_MAX: usize = 18;

/// The queue.
#[derive(Debug, Default)]
pub struct Outbox {
    waiting: Vec<u8>,
    written: usize,
    prefixes: Vec<([u8; PREFIX_MAX], usize)>,
}

impl Outbox {
    /// Octets waiting.
    pub fn len(&self) -> usize {
        self.waiting.len() - self.written
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Appends a message or control packet.
    ///
    /// # Errors
    /// When the reader has let far too much pile up.
    pub fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.len() + bytes.len() > OCTETS_MAX {
            return Err(io::Error::other("the client does not read"));
        }
        self.compact();
        self.waiting.extend_from_slice(bytes);
        Ok(())
    }

    /// Appends one interleaved packet.
    ///
    /// # Errors
    /// As [`Outbox::push`].
    pub fn push_interleaved(&mut self, channel: u8, packet: &[u8]) -> io::Result<()> {
        let length = u16::try_from(packet.len()).map_err(io::Error::other)?;
        self.push(&interleaved_header(channel, length))?;
        self.push(packet)
    }

    /// Writes a frame's packets, gathered; what the socket does not take is queued. Returns octets of RTP.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn send_frame(
        &mut self,
        stream: &TcpStream,
        channel: u8,
        packets: &[Packet<'_>],
    ) -> io::Result<u64> {
        self.prefixes.clear();
        for packet in packets {
            let length = u16::try_from(packet.octets()).map_err(io::Error::other)?;
            let mut prefix = [0; PREFIX_MAX];
            let used = 4 + packet.header().len();
            let (framing, header) = prefix.split_at_mut(4);
            framing.copy_from_slice(&interleaved_header(channel, length));
            if let Some(header) = header.get_mut(..packet.header().len()) {
                header.copy_from_slice(packet.header());
            }
            self.prefixes.push((prefix, used));
        }
        let slices: Vec<IoSlice<'_>> = self
            .prefixes
            .iter()
            .zip(packets)
            .flat_map(|((prefix, used), packet)| {
                [
                    IoSlice::new(prefix.get(..*used).unwrap_or_default()),
                    IoSlice::new(packet.payload),
                ]
            })
            .collect();
        let mut rest = slices.as_slice();
        let mut skip = 0; // octets of the first slice already written
        if self.is_empty() {
            (rest, skip) = write_gathered(stream, rest)?;
        }
        if self.written > 0 && self.written == self.waiting.len() {
            self.waiting.clear();
            self.written = 0;
        }
        for slice in rest {
            self.waiting
                .extend_from_slice(slice.get(skip..).unwrap_or_default());
            skip = 0;
        }
        Ok(packets.iter().map(|packet| packet.octets() as u64).sum())
    }

    /// Writes as much as the socket takes.
    ///
    /// # Errors
    /// When the connection is broken.
    pub fn flush(&mut self, stream: &TcpStream) -> io::Result<()> {
        while !self.is_empty() {
            match stream.try_write(self.waiting.get(self.written..).unwrap_or_default()) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(octets) => self.written += octets,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) => return Err(error),
            }
        }
        self.compact();
        Ok(())
    }

    /// Forgets what is written once that is the larger part.
    fn compact(&mut self) {
        if self.written * 2 >= self.waiting.len() {
            self.waiting.drain(..self.written);
            self.written = 0;
        }
    }
}

/// Writes slices until the socket is full; returns those left and how much of the first is written.
fn write_gathered<'s, 'b>(
    stream: &TcpStream,
    mut slices: &'s [IoSlice<'b>],
) -> io::Result<(&'s [IoSlice<'b>], usize)> {
    while !slices.is_empty() {
        let batch = slices.get(..slices.len().min(SLICES_MAX)).unwrap_or(slices);
        let mut octets = match stream.try_write_vectored(batch) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(octets) => octets,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok((slices, 0)),
            Err(error) => return Err(error),
        };
        while let Some((first, after)) = slices.split_first() {
            if octets < first.len() {
                break;
            }
            octets -= first.len();
            slices = after;
        }
        if octets > 0 {
            return Ok((slices, octets)); // a short write: the socket is full
        }
    }
    Ok((slices, 0))
}

#[cfg(test)]
mod tests {
    use mdc::rtp::{Continuity, packetize};
    use mdc::title::Frame;
    use rtsp::codec::{Codec, Event};
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn frames_stay_whole_and_in_order_when_the_reader_is_slow() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let mut reader = TcpStream::connect(listener.local_addr().unwrap())
            .await
            .unwrap();
        let (writer, _) = listener.accept().await.unwrap();
        let continuity = Continuity::new(&[1; 32], "t", 0);
        let mut outbox = Outbox::default();
        let nal = vec![0x41; 40_000];
        let mut sent = 0_u64;
        // Nobody reads: the kernel's buffers fill first, then the outbox.
        while outbox.len() < 3 * nal.len() {
            let frame = Frame {
                number: 0,
                rtp_time: sent,
                idr: false,
                offset: 0,
                size: 0,
                first_packet: sent,
                packets: 0,
            };
            let packets: Vec<_> =
                packetize(std::iter::once(&nal[..]), &frame, &continuity, 96, 1_200).collect();
            outbox.send_frame(&writer, 0, &packets).unwrap();
            outbox.push_interleaved(1, b"report").unwrap();
            sent += packets.len() as u64;
        }
        let (mut codec, mut buffer) = (Codec::new(), vec![0; 60_000]);
        let (mut received, mut next) = (0, continuity.seq_base);
        while received < sent {
            outbox.flush(&writer).unwrap();
            let octets = reader.read(&mut buffer).await.unwrap();
            codec.push(&buffer[..octets]);
            while let Some(event) = codec.next_event().unwrap() {
                let Event::Interleaved {
                    channel: 0,
                    payload,
                } = event
                else {
                    continue;
                };
                assert_eq!(u16::from_be_bytes([payload[2], payload[3]]), next);
                next = next.wrapping_add(1);
                received += 1;
            }
        }
    }

    #[test]
    fn a_reader_that_takes_nothing_is_given_up() {
        let mut outbox = Outbox::default();
        let chunk = vec![0; OCTETS_MAX / 2];
        outbox.push(&chunk).unwrap();
        outbox.push(&chunk).unwrap();
        assert!(outbox.push(b"x").is_err());
    }
}
