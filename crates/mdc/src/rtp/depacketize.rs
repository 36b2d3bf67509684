//! RTP packets → access units, in the face of loss, reordering, duplicates and wrap-around.
//!
//! ```text
//!  push ─► unwrap sequence ─► late or duplicate? drop ─► in order? ──► assemble ─► pop
//!                                                   └─► hold (≤ 32 packets, ≤ 60 ms), then skip the gap
//! ```
//! One depacketizer belongs to one description *from one edge*; during a handoff two run side by side
//! and the merger takes the first copy of each frame.

use std::collections::{BTreeMap, VecDeque};

use rtp_types::RtpPacket;
use thiserror::Error;

use crate::nal;

/// Packets held behind a gap before it is given up; reordering in practice stays within a few packets.
pub const REORDER_PACKETS: usize = 32;

/// Longest wait for a gap to fill, in milliseconds: about two frames at 30 per second.
pub const REORDER_MS: u64 = 60;

/// A sequence jump larger than this is a restarted sender, once a second packet confirms it
/// (RFC 3550 §A.1, MAX_DROPOUT).
const JUMP_MAX: u64 = 3_000;

/// Largest access unit assembled, in octets.
const UNIT_OCTETS_MAX: usize = 8 << 20;

/// Which RTP timestamp is which time of the title, and optionally the first sequence number: RTP-Info's
/// `rtptime` and `seq` beside the start of the answered `Range`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Clock {
    /// An RTP timestamp …
    pub rtptime: u32,
    /// … and the title time it stands for, in 90 kHz ticks.
    pub rtp_time: u64,
    /// Sequence number of the first packet, if known: then loss before the first arrival is noticed.
    pub sequence: Option<u16>,
}

/// One coded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AccessUnit {
    /// 90 kHz ticks from the title's start.
    pub rtp_time: u64,
    /// NAL units with start codes (Annex B), as decoders take them.
    pub data: Vec<u8>,
    /// Whether decoding can start here.
    pub idr: bool,
    /// Whether every octet of the picture arrived; an incomplete one must not be decoded.
    pub complete: bool,
    /// Packets found lost since the unit before.
    pub lost_before: u32,
}

/// Totals since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets taken in, duplicates included.
    pub received: u64,
    /// Packets never seen.
    pub lost: u64,
    /// Packets seen twice, or after their gap was given up.
    pub late_or_duplicate: u64,
    /// Packets refused: not RTP, another SSRC, an unknown payload structure.
    pub refused: u64,
}

/// Why a packet was refused; the stream goes on.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum PacketError {
    /// Not an RTP packet.
    #[error("not an RTP packet: {0}")]
    NotRtp(String),
    /// Another synchronization source than the first packet's.
    #[error("SSRC {0:08x} is not this stream's")]
    OtherSource(u32),
    /// A sequence number far from the others; two in a row restart the stream.
    #[error("sequence number {0} is far away")]
    FarAway(u16),
}

/// Assembles the access units of one description.
#[derive(Debug, Default)]
pub struct Depacketizer {
    clock: Option<Clock>,
    ssrc: Option<u32>,
    /// Extended number of the packet wanted next.
    next: Option<u64>,
    /// After a far jump: the sequence number that would confirm it.
    suspect: Option<u16>,
    held: BTreeMap<u64, Vec<u8>>,
    held_since: u64,
    /// Packets lost since the last unit was finished / right before the packet being taken.
    lost: u32,
    gap: bool,
    /// RTP timestamp last seen and the title time it was.
    last_time: Option<(u32, i64)>,
    unit: Option<Assembly>,
    ready: VecDeque<AccessUnit>,
    counts: Counts,
}

#[derive(Debug)]
struct Assembly {
    timestamp: u32,
    rtp_time: i64,
    data: Vec<u8>,
    idr: bool,
    has_slice: bool,
    in_fragment: bool,
    damaged: bool,
    began_after_gap: bool,
}

impl Depacketizer {
    /// A new stream. Without a clock, the first packet's timestamp is taken as the title's time 0.
    pub fn new(clock: Option<Clock>) -> Depacketizer {
        let next = clock
            .and_then(|c| c.sequence)
            .map(|s| EXTENDED_START + u64::from(s));
        Depacketizer {
            clock,
            next,
            ..Depacketizer::default()
        }
    }

    /// Takes one packet; `now_ms` is the caller's clock. [`Depacketizer::pop`] all units afterwards.
    pub fn push(&mut self, packet: &[u8], now_ms: u64) -> Result<(), PacketError> {
        let taken = self.take(packet, now_ms);
        match &taken {
            Ok(()) => self.counts.received += 1,
            Err(_) => self.counts.refused += 1,
        }
        self.expire(now_ms);
        taken
    }

    /// The next finished unit in sending order; complete or not.
    pub fn pop(&mut self) -> Option<AccessUnit> {
        self.ready.pop_front()
    }

    /// Gives up gaps that have been waited for longer than [`REORDER_MS`].
    pub fn expire(&mut self, now_ms: u64) {
        if !self.held.is_empty() && now_ms.saturating_sub(self.held_since) >= REORDER_MS {
            self.skip_gap(now_ms);
        }
    }

    /// The stream has ended: everything held comes out; a last unit without its marker is incomplete.
    pub fn finish(&mut self) {
        while !self.held.is_empty() {
            self.skip_gap(0);
        }
        self.finish_unit(true);
    }

    /// Totals since the start.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Extended (unwrapped) number of the highest packet handled so far, for receiver reports
    /// (RFC 3550 §6.4.1): the low 16 bits are the sequence number, the high ones count cycles. None
    /// before the first packet.
    pub fn highest_sequence(&self) -> Option<u32> {
        let held = self.held.last_key_value().map(|(number, _)| *number);
        let handled = self
            .next
            .filter(|_| self.ssrc.is_some())
            .map(|next| next - 1);
        let last = held.or(handled)?;
        Some((last.wrapping_sub(EXTENDED_START) & 0xffff_ffff) as u32)
    }

    fn take(&mut self, packet: &[u8], now_ms: u64) -> Result<(), PacketError> {
        let parsed = RtpPacket::parse(packet).map_err(|e| PacketError::NotRtp(e.to_string()))?;
        if self.ssrc.is_some_and(|ssrc| ssrc != parsed.ssrc()) {
            return Err(PacketError::OtherSource(parsed.ssrc()));
        }
        self.ssrc = Some(parsed.ssrc());
        let sequence = parsed.sequence_number();
        let next = *self
            .next
            .get_or_insert(EXTENDED_START + u64::from(sequence));
        let ahead = i64::from(sequence.wrapping_sub((next & 0xffff) as u16) as i16);
        if ahead.unsigned_abs() > JUMP_MAX {
            return self.far_away(&parsed, sequence, now_ms);
        }
        self.suspect = None;
        let number = next.wrapping_add_signed(ahead);
        if number < next || self.held.contains_key(&number) {
            self.counts.late_or_duplicate += 1;
        } else if number == next {
            self.assemble(&parsed);
            self.next = Some(next + 1);
            self.release(now_ms);
        } else {
            if self.held.is_empty() {
                self.held_since = now_ms;
            }
            self.held.insert(number, packet.to_vec());
            if self.held.len() > REORDER_PACKETS {
                self.skip_gap(now_ms);
            }
        }
        Ok(())
    }

    fn far_away(
        &mut self,
        parsed: &RtpPacket<'_>,
        sequence: u16,
        now_ms: u64,
    ) -> Result<(), PacketError> {
        if self.suspect != Some(sequence) {
            self.suspect = Some(sequence.wrapping_add(1));
            return Err(PacketError::FarAway(sequence));
        }
        while !self.held.is_empty() {
            self.skip_gap(now_ms);
        }
        let cycle = self.next.unwrap_or(EXTENDED_START) & !0xffff;
        self.suspect = None;
        self.note_gap(1); // the first packet of the new sequence was spent on the suspicion
        self.assemble(parsed);
        self.next = Some(cycle + 0x1_0000 + u64::from(sequence) + 1);
        Ok(())
    }

    /// Counts the missing packets in front of the first held one as lost, and goes on there.
    fn skip_gap(&mut self, now_ms: u64) {
        let first = self.held.first_key_value().map(|(number, _)| *number);
        let (Some(first), Some(next)) = (first, self.next) else {
            return;
        };
        self.note_gap(first.saturating_sub(next));
        self.next = Some(first);
        self.release(now_ms);
    }

    /// Assembles held packets as long as they follow.
    fn release(&mut self, now_ms: u64) {
        while let Some(next) = self.next {
            let Some(packet) = self.held.remove(&next) else {
                break;
            };
            if let Ok(parsed) = RtpPacket::parse(&packet) {
                self.assemble(&parsed);
            }
            self.next = Some(next + 1);
            self.held_since = now_ms;
        }
    }

    fn note_gap(&mut self, packets: u64) {
        self.gap |= packets > 0;
        self.counts.lost += packets;
        self.lost = self
            .lost
            .saturating_add(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    fn assemble(&mut self, packet: &RtpPacket<'_>) {
        let after_gap = std::mem::take(&mut self.gap);
        let timestamp = packet.timestamp();
        if self.unit.as_ref().is_some_and(|u| u.timestamp != timestamp) {
            self.finish_unit(after_gap); // its end, marker and all, was in the gap
        }
        let rtp_time = self.title_time(timestamp);
        let unit = self
            .unit
            .get_or_insert_with(|| Assembly::new(timestamp, rtp_time, after_gap));
        if after_gap && !unit.data.is_empty() {
            unit.damaged = true;
            unit.in_fragment = false;
        }
        unit.payload(packet.payload());
        if packet.marker_bit() {
            self.finish_unit(false);
        }
    }

    fn finish_unit(&mut self, end_lost: bool) {
        let Some(unit) = self.unit.take() else { return };
        let Ok(rtp_time) = u64::try_from(unit.rtp_time) else {
            return;
        }; // before the title's start
        self.ready.push_back(AccessUnit {
            rtp_time,
            idr: unit.idr,
            complete: unit.has_slice && !unit.damaged && !unit.in_fragment && !end_lost,
            data: unit.data,
            lost_before: std::mem::take(&mut self.lost),
        });
    }

    /// Unwraps a 32-bit timestamp against the last one (RFC 3550 §5.1: it wraps every 13 hours).
    fn title_time(&mut self, timestamp: u32) -> i64 {
        let clock = *self.clock.get_or_insert(Clock {
            rtptime: timestamp,
            rtp_time: 0,
            sequence: None,
        });
        let start = (
            clock.rtptime,
            i64::try_from(clock.rtp_time).unwrap_or(i64::MAX),
        );
        let (last, last_time) = self.last_time.unwrap_or(start);
        let time = last_time.saturating_add(i64::from(timestamp.wrapping_sub(last) as i32));
        self.last_time = Some((timestamp, time));
        time
    }
}

/// Extended sequence numbers start one cycle up, so that going back at the start cannot underflow.
const EXTENDED_START: u64 = 0x1_0000;

impl Assembly {
    fn new(timestamp: u32, rtp_time: i64, began_after_gap: bool) -> Assembly {
        Assembly {
            timestamp,
            rtp_time,
            data: Vec::new(),
            idr: false,
            has_slice: false,
            in_fragment: false,
            damaged: false,
            began_after_gap,
        }
    }

    /// RFC 6184 §5.6 (single), §5.7.1 (STAP-A), §5.8 (FU-A); anything else damages the unit.
    fn payload(&mut self, payload: &[u8]) {
        if self.data.len() + payload.len() > UNIT_OCTETS_MAX {
            self.damaged = true;
            return;
        }
        match nal::unit_type(payload) {
            1..=23 => self.whole_unit(payload),
            24 => self.aggregate(payload.get(1..).unwrap_or_default()),
            28 => self.fragment(payload),
            _ => self.damaged = true,
        }
    }

    fn whole_unit(&mut self, unit: &[u8]) {
        self.damaged |= self.in_fragment;
        self.in_fragment = false;
        self.note_unit(unit.first().copied().unwrap_or(0), unit.get(1).copied());
        nal::push_annex_b(&mut self.data, unit);
    }

    fn aggregate(&mut self, mut rest: &[u8]) {
        while let Some((length, after)) = rest.split_first_chunk::<2>() {
            let length = usize::from(u16::from_be_bytes(*length));
            let Some((unit, next)) = after
                .split_at_checked(length)
                .filter(|(u, _)| !u.is_empty())
            else {
                self.damaged = true;
                return;
            };
            self.whole_unit(unit);
            rest = next;
        }
        self.damaged |= !rest.is_empty();
    }

    fn fragment(&mut self, payload: &[u8]) {
        let [indicator, header, piece @ ..] = payload else {
            self.damaged = true;
            return;
        };
        let (start, end) = (header & 0x80 != 0, header & 0x40 != 0);
        if start {
            self.damaged |= self.in_fragment;
            let nal_header = indicator & 0xe0 | header & 0x1f;
            self.note_unit(nal_header, piece.first().copied());
            nal::push_annex_b(&mut self.data, &[nal_header]);
        } else if !self.in_fragment {
            self.damaged = true;
            return;
        }
        self.data.extend_from_slice(piece);
        self.in_fragment = !end;
    }

    /// A picture whose first slice does not start at macroblock 0 has lost its beginning
    /// (`first_mb_in_slice` is an Exp-Golomb code: a leading 1 bit means 0).
    fn note_unit(&mut self, nal_header: u8, first: Option<u8>) {
        if !nal::is_slice(&[nal_header]) {
            return;
        }
        if !self.has_slice && self.began_after_gap && first.is_none_or(|b| b & 0x80 == 0) {
            self.damaged = true;
        }
        self.has_slice = true;
        self.idr |= nal::unit_type(&[nal_header]) == nal::TYPE_IDR;
    }
}
