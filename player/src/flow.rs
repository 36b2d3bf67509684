//! One description coming from one server: packets in, access units out, and what RTCP wants to know.

use std::time::{Duration, Instant};

use mdc::rtp::{AccessUnit, Clock, Counts, Depacketizer};
use rtcp_types::{
    Bye, Compound, Packet, ReceiverReport, ReportBlock, RtcpPacketWriter, RtcpPacketWriterExt,
    Sdes, SdesChunk, SdesItem,
};
use rtp_types::RtpPacket;

use crate::session::SetUp;

/// Packets kept until PLAY's answer says what their timestamps mean. It comes within a round trip, but in
/// that time a server that starts at an IDR may send seconds of the title at once.
const EARLY_PACKETS_MAX: usize = 16_384;
/// Octets of them: two seconds at 32 Mbit/s.
const EARLY_OCTETS_MAX: u64 = 8 << 20;
/// Packets of a foreign source tolerated before the stream is given up as broken.
const FOREIGN_MAX: u64 = 200;
/// The clock of H.264 over RTP, ticks per second (RFC 6184 §8.2.1).
const TICKS_PER_SECOND: f64 = 90_000.0;

/// The packets of one description from one server.
pub struct Flow {
    /// The connection they come on.
    pub connection: u64,
    /// Which description.
    pub description: u8,
    /// Access units completed so far.
    pub units: u64,
    /// Of those, how many decoding can start at.
    pub idrs: u64,
    /// Octets of RTP so far.
    pub octets: u64,
    /// When the last packet came.
    pub last_packet: Option<Instant>,
    /// Highest frame number delivered; kept by the play loop, which knows what numbers mean.
    pub highest: Option<u32>,
    /// The server said good-bye (RTCP BYE).
    pub ended: bool,
    channels: (u8, u8),
    ssrc: Option<u32>,
    foreign: u64,
    intake: Intake,
    reception: Reception,
    epoch: Instant,
}

enum Intake {
    /// PLAY is not answered yet.
    Waiting(Vec<(Vec<u8>, Instant)>),
    Running(Box<Depacketizer>),
}

/// Figures for receiver reports (RFC 3550 §6.4.1).
#[derive(Default)]
struct Reception {
    first_sequence: Option<u32>,
    transit: Option<f64>,
    jitter: f64,
    sender_report: Option<(u32, Instant)>,
    prior: (u64, u64),
}

impl Flow {
    /// A flow whose PLAY has not been answered yet; timestamps count from `epoch`.
    pub fn new(connection: u64, set_up: &SetUp, epoch: Instant) -> Flow {
        Flow {
            connection,
            description: set_up.description,
            units: 0,
            idrs: 0,
            octets: 0,
            last_packet: None,
            highest: None,
            ended: false,
            channels: (set_up.rtp, set_up.rtcp),
            ssrc: set_up.ssrc,
            foreign: 0,
            intake: Intake::Waiting(Vec::new()),
            reception: Reception::default(),
            epoch,
        }
    }

    /// Whether packets of this connection and channel are this flow's.
    pub fn carries(&self, connection: u64, channel: u8) -> bool {
        self.connection == connection && (channel == self.channels.0 || channel == self.channels.1)
    }

    /// RTCP is sent here.
    pub fn rtcp_channel(&self) -> u8 {
        self.channels.1
    }

    /// The synchronisation source, once known.
    pub fn ssrc(&self) -> Option<u32> {
        self.ssrc
    }

    /// Packet totals.
    pub fn counts(&self) -> Counts {
        match &self.intake {
            Intake::Waiting(_) => Counts::default(),
            Intake::Running(depacketizer) => depacketizer.counts(),
        }
    }

    /// PLAY is answered: `clock` says what timestamps mean (`None`: the first packet is time 0).
    pub fn start(&mut self, clock: Option<Clock>) {
        let Intake::Waiting(early) = &mut self.intake else {
            return;
        };
        let early = std::mem::take(early);
        self.intake = Intake::Running(Box::new(Depacketizer::new(clock)));
        for (packet, at) in early {
            self.take_rtp(&packet, at);
        }
    }

    /// Takes a packet on one of the flow's channels.
    ///
    /// # Errors
    /// The stream is from somebody else: too many packets of another source.
    pub fn packet(&mut self, channel: u8, packet: Vec<u8>, at: Instant) -> Result<(), String> {
        if channel == self.channels.1 {
            self.take_rtcp(&packet, at);
            return Ok(());
        }
        self.octets += packet.len() as u64;
        self.last_packet = Some(at);
        match &mut self.intake {
            Intake::Waiting(early)
                if early.len() < EARLY_PACKETS_MAX && self.octets <= EARLY_OCTETS_MAX =>
            {
                early.push((packet, at));
            }
            Intake::Waiting(_) => return Err("packets without end before PLAY's answer".into()),
            Intake::Running(_) => self.take_rtp(&packet, at),
        }
        if self.foreign > FOREIGN_MAX && self.units == 0 {
            let announced = self.ssrc.map_or("?".into(), |ssrc| format!("{ssrc:08x}"));
            return Err(format!(
                "the packets are not of the announced source {announced}"
            ));
        }
        Ok(())
    }

    /// The next finished access unit.
    pub fn pop(&mut self) -> Option<AccessUnit> {
        let Intake::Running(depacketizer) = &mut self.intake else {
            return None;
        };
        let unit = depacketizer.pop()?;
        self.units += u64::from(unit.complete);
        self.idrs += u64::from(unit.complete && unit.idr);
        Some(unit)
    }

    /// Gives up gaps that were waited for long enough.
    pub fn expire(&mut self, now: Instant) {
        let now_ms = self.millis(now);
        if let Intake::Running(depacketizer) = &mut self.intake {
            depacketizer.expire(now_ms);
        }
    }

    fn take_rtp(&mut self, packet: &[u8], at: Instant) {
        let now_ms = self.millis(at);
        let seconds = at.saturating_duration_since(self.epoch).as_secs_f64();
        let Intake::Running(depacketizer) = &mut self.intake else {
            return;
        };
        let Ok(parsed) = RtpPacket::parse(packet) else {
            self.foreign += 1;
            return;
        };
        if *self.ssrc.get_or_insert(parsed.ssrc()) != parsed.ssrc() {
            self.foreign += 1;
            return;
        }
        self.reception.arrival(&parsed, seconds);
        // A refused packet is counted by the depacketizer.
        if depacketizer.push(packet, now_ms).is_err() {
            self.foreign += 1;
        }
    }

    fn take_rtcp(&mut self, packet: &[u8], at: Instant) {
        let Ok(compound) = Compound::parse(packet) else {
            return;
        };
        for part in compound.flatten() {
            match part {
                Packet::Sr(report) => {
                    // The middle 32 bits of the NTP timestamp (RFC 3550 §6.4.1, LSR).
                    let middle = (report.ntp_timestamp() >> 16) & 0xffff_ffff;
                    self.reception.sender_report = u32::try_from(middle).ok().map(|m| (m, at));
                }
                Packet::Bye(bye) => {
                    let ours = |ssrc| self.ssrc.is_none_or(|own| own == ssrc);
                    self.ended |= bye.ssrcs().any(ours);
                }
                _ => {}
            }
        }
    }

    /// A compound receiver report with SDES CNAME and, at the end, BYE (RFC 3550 §6.1); `None` before
    /// the first packet.
    pub fn report(
        &mut self,
        own_ssrc: u32,
        cname: &str,
        bye: bool,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let Intake::Running(depacketizer) = &self.intake else {
            return None;
        };
        let (ssrc, highest) = (self.ssrc?, depacketizer.highest_sequence()?);
        let block = self
            .reception
            .block(ssrc, highest, depacketizer.counts().lost, now);
        let item = SdesItem::builder(SdesItem::CNAME, cname);
        let mut compound = Compound::builder()
            .add_packet(ReceiverReport::builder(own_ssrc).add_report_block(block))
            .add_packet(Sdes::builder().add_chunk(SdesChunk::builder(own_ssrc).add_item(item)));
        if bye {
            compound = compound.add_packet(Bye::builder().add_source(own_ssrc));
        }
        let mut bytes = vec![0; compound.calculate_size().ok()?];
        compound.write_into(&mut bytes).ok()?;
        Some(bytes)
    }

    fn millis(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.epoch).as_millis()).unwrap_or(u64::MAX)
    }
}

impl Reception {
    /// Interarrival jitter (RFC 3550 §A.8).
    fn arrival(&mut self, packet: &RtpPacket<'_>, seconds: f64) {
        self.first_sequence
            .get_or_insert(packet.sequence_number().into());
        let transit = seconds * TICKS_PER_SECOND - f64::from(packet.timestamp());
        if let Some(before) = self.transit.replace(transit) {
            let difference = (transit - before).abs();
            // A timestamp that wrapped around is no jitter.
            if difference < TICKS_PER_SECOND * 60.0 {
                self.jitter += (difference - self.jitter) / 16.0;
            }
        }
    }

    fn block(
        &mut self,
        ssrc: u32,
        highest: u32,
        lost: u64,
        now: Instant,
    ) -> rtcp_types::ReportBlockBuilder {
        let first = self.first_sequence.unwrap_or(highest);
        let expected = u64::from(highest.wrapping_sub(first)) + 1;
        let (prior_expected, prior_lost) = std::mem::replace(&mut self.prior, (expected, lost));
        let interval = expected.saturating_sub(prior_expected);
        let fraction = (lost.saturating_sub(prior_lost) * 256)
            .checked_div(interval)
            .unwrap_or(0);
        let (last, delay) = self
            .sender_report
            .map_or((0, Duration::ZERO), |(middle, at)| {
                (middle, now.saturating_duration_since(at))
            });
        ReportBlock::builder(ssrc)
            .fraction_lost(u8::try_from(fraction).unwrap_or(u8::MAX))
            .cumulative_lost(u32::try_from(lost).unwrap_or(u32::MAX).min(0x7f_ffff))
            .extended_sequence_number(highest)
            .interarrival_jitter(self.jitter as u32)
            .last_sender_report_timestamp(last)
            .delay_since_last_sender_report_timestamp((delay.as_secs_f64() * 65_536.0) as u32)
    }
}
