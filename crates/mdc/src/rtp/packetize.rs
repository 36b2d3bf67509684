//! NAL units → RTP packets: single NAL unit packets, and FU-A fragments of equal size (RFC 6184 §5.6, §5.8).
//!
//! All fragments of a unit but the last have the same size, which UDP segmentation offload needs; the
//! payload is borrowed from the frame, so a sender gathers headers and slices without copying.

use std::iter::Peekable;

use super::Continuity;
use crate::title::Frame;

/// Largest RTP payload by default, in octets: with headers well below 1280, the smallest IPv6 MTU.
pub const PAYLOAD_LIMIT: u16 = 1_200;
/// Smallest payload limit accepted.
pub const PAYLOAD_LIMIT_MIN: u16 = 64;
/// Largest payload limit accepted; a packet has to fit an interleaved frame's 16-bit length (RFC 2326 §10.12).
pub const PAYLOAD_LIMIT_MAX: u16 = 65_000;

/// Octets of the RTP header (no CSRC, no extension).
pub const HEADER_OCTETS: usize = 12;

/// FU indicator and FU header.
const FU_OCTETS: usize = 2;
const TYPE_FU_A: u8 = 28;

/// One RTP packet: up to 14 octets of header (RTP, and FU indicator + header in fragments) and a slice.
#[derive(Debug, Clone, Copy)]
pub struct Packet<'a> {
    header: [u8; HEADER_OCTETS + FU_OCTETS],
    header_octets: u8,
    /// What follows the header: a whole NAL unit or a piece of one, borrowed from the frame.
    pub payload: &'a [u8],
}

impl Packet<'_> {
    /// The octets in front of [`Packet::payload`].
    pub fn header(&self) -> &[u8] {
        &self.header[..usize::from(self.header_octets)]
    }

    /// Octets of the whole packet.
    pub fn octets(&self) -> usize {
        self.header().len() + self.payload.len()
    }

    /// Appends the whole packet.
    pub fn write_to(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.header());
        out.extend_from_slice(self.payload);
    }
}

/// Packets that a NAL unit of `octets` octets becomes.
pub fn packet_count(octets: usize, payload_limit: u16) -> u64 {
    let limit = usize::from(payload_limit.clamp(PAYLOAD_LIMIT_MIN, PAYLOAD_LIMIT_MAX));
    if octets == 0 {
        0
    } else if octets <= limit {
        1
    } else {
        (octets - 1).div_ceil(limit - FU_OCTETS) as u64
    }
}

/// The packets of one frame in order; the marker bit is on the last.
///
/// `nals` are the frame's units from [`crate::title::Description::nals`]; `payload_limit` is the title's.
pub fn packetize<'a, I: Iterator<Item = &'a [u8]>>(
    nals: I,
    frame: &Frame,
    continuity: &Continuity,
    payload_type: u8,
    payload_limit: u16,
) -> Packets<'a, I> {
    Packets {
        nals: nals.peekable(),
        fragments: None,
        next: frame.first_packet,
        continuity: *continuity,
        timestamp: continuity.timestamp(frame.rtp_time),
        payload_type: payload_type & 0x7f,
        payload_limit: payload_limit.clamp(PAYLOAD_LIMIT_MIN, PAYLOAD_LIMIT_MAX),
    }
}

/// The packets of one frame, see [`packetize`].
#[derive(Debug)]
pub struct Packets<'a, I: Iterator<Item = &'a [u8]>> {
    nals: Peekable<I>,
    fragments: Option<Fragments<'a>>,
    next: u64,
    continuity: Continuity,
    timestamp: u32,
    payload_type: u8,
    payload_limit: u16,
}

#[derive(Debug)]
struct Fragments<'a> {
    nal_header: u8,
    rest: &'a [u8],
    size: usize,
    started: bool,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Packets<'a, I> {
    type Item = Packet<'a>;

    fn next(&mut self) -> Option<Packet<'a>> {
        if let Some(fragments) = self.fragments.take() {
            return Some(self.fragment(fragments));
        }
        let nal = self.nals.find(|n| !n.is_empty())?;
        if nal.len() <= usize::from(self.payload_limit) {
            let marker = self.no_more_units();
            return Some(self.packet(&[], nal, marker));
        }
        let (nal_header, rest) = nal.split_first()?;
        let count = packet_count(nal.len(), self.payload_limit) as usize;
        let size = rest.len().div_ceil(count);
        Some(self.fragment(Fragments {
            nal_header: *nal_header,
            rest,
            size,
            started: false,
        }))
    }
}

impl<'a, I: Iterator<Item = &'a [u8]>> Packets<'a, I> {
    fn no_more_units(&mut self) -> bool {
        while self.nals.next_if(|n| n.is_empty()).is_some() {}
        self.nals.peek().is_none()
    }

    fn fragment(&mut self, unit: Fragments<'a>) -> Packet<'a> {
        let (piece, rest) = unit.rest.split_at(unit.size.min(unit.rest.len()));
        let (start, end) = (u8::from(!unit.started) << 7, u8::from(rest.is_empty()) << 6);
        let indicator = unit.nal_header & 0xe0 | TYPE_FU_A;
        let header = start | end | unit.nal_header & 0x1f;
        let marker = rest.is_empty() && self.no_more_units();
        if !rest.is_empty() {
            self.fragments = Some(Fragments {
                rest,
                started: true,
                ..unit
            });
        }
        self.packet(&[indicator, header], piece, marker)
    }

    fn packet(&mut self, extra: &[u8], payload: &'a [u8], marker: bool) -> Packet<'a> {
        let mut header = [0; HEADER_OCTETS + FU_OCTETS];
        header[0] = 0x80; // version 2, no padding, extension or CSRC
        header[1] = u8::from(marker) << 7 | self.payload_type;
        header[2..4].copy_from_slice(&self.continuity.sequence(self.next).to_be_bytes());
        header[4..8].copy_from_slice(&self.timestamp.to_be_bytes());
        header[8..12].copy_from_slice(&self.continuity.ssrc.to_be_bytes());
        header[HEADER_OCTETS..HEADER_OCTETS + extra.len()].copy_from_slice(extra);
        self.next += 1;
        Packet {
            header,
            header_octets: (HEADER_OCTETS + extra.len()) as u8,
            payload,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTINUITY: Continuity = Continuity {
        ssrc: 9,
        seq_base: 0xfffe,
        time_base: 100,
    };

    fn frame() -> Frame {
        Frame {
            number: 4,
            rtp_time: 12_000,
            idr: false,
            offset: 0,
            size: 0,
            first_packet: 1,
            packets: 0,
        }
    }

    #[test]
    fn sizes_are_equal_but_the_last_and_counts_agree() {
        for size in (1..400).chain([1_200, 1_201, 2_396, 2_397, 2_398, 9_999, 100_000]) {
            for limit in [64, 100, 1_200] {
                let nal = vec![0x65u8; size];
                let packets: Vec<_> = packetize(
                    [nal.as_slice()].into_iter(),
                    &frame(),
                    &CONTINUITY,
                    96,
                    limit,
                )
                .collect();
                assert_eq!(
                    packets.len() as u64,
                    packet_count(size, limit),
                    "{size} octets, limit {limit}"
                );
                let sizes: Vec<_> = packets.iter().map(Packet::octets).collect();
                let (last, others) = sizes.split_last().unwrap();
                assert!(others.iter().all(|s| *s == sizes[0]) && *last <= sizes[0]);
                assert!(sizes[0] <= usize::from(limit) + HEADER_OCTETS);
            }
        }
    }

    #[test]
    fn an_independent_parser_reads_the_header() {
        let units: [&[u8]; 3] = [&[0x67; 20], &[0x68; 4], &[0x65; 3_000]];
        let packets: Vec<Vec<u8>> = packetize(units.into_iter(), &frame(), &CONTINUITY, 96, 1_200)
            .map(|p| {
                let mut bytes = Vec::new();
                p.write_to(&mut bytes);
                bytes
            })
            .collect();
        assert_eq!(packets.len(), 5);
        for (i, bytes) in packets.iter().enumerate() {
            let parsed = rtp_types::RtpPacket::parse(bytes).unwrap();
            assert_eq!(parsed.sequence_number(), 0xffff_u16.wrapping_add(i as u16));
            assert_eq!(
                (parsed.timestamp(), parsed.ssrc(), parsed.payload_type()),
                (12_100, 9, 96)
            );
            assert_eq!(parsed.marker_bit(), i == 4);
        }
    }
}
