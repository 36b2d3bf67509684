//! One description read from its MP4: every frame with its number, time, place and packet numbers.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::Timing;
use super::timing::CLOCK_HZ;
use crate::mp4::{self, Mp4Error, Track, TrackKind};
use crate::nal::{self, Avcc};
use crate::rtp;

/// Largest frame accepted, in octets; keeps packet counts within 16 bits.
pub const FRAME_OCTETS_MAX: u32 = 4 << 20;

/// One frame of a description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Frame {
    /// Number at the full frame rate, all descriptions counted.
    pub number: u32,
    /// 90 kHz ticks from the title's start.
    pub rtp_time: u64,
    /// Whether decoding can start here; its packets begin with the parameter sets.
    pub idr: bool,
    /// First octet in the MP4 file.
    pub offset: u64,
    /// Octets in the MP4 file.
    pub size: u32,
    /// RTP packets of this description before this frame.
    pub first_packet: u64,
    /// RTP packets of this frame, parameter sets included.
    pub packets: u16,
}

/// A description's index: what an edge needs to send any frame of it, except the frames' bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Its index in the title, from 0.
    pub index: u8,
    /// Frame rate and cadence of the title.
    pub timing: Timing,
    /// Largest RTP payload, in octets.
    pub payload_limit: u16,
    /// Sequence parameter set (NAL unit without start code).
    pub sps: Vec<u8>,
    /// Picture parameter set (NAL unit without start code).
    pub pps: Vec<u8>,
    /// Octets of each NAL unit's length in the file, 1 to 4.
    pub length_size: u8,
    /// The frames in order; never empty, and the first is an IDR.
    pub frames: Vec<Frame>,
    /// The sound in the same file.
    pub audio: Option<Audio>,
}

/// The sound track, for an `m=audio` line (RFC 3640).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Audio {
    /// AudioSpecificConfig (`config=` in the SDP, in hexadecimal).
    pub config: Vec<u8>,
    /// Samples per second, the RTP clock rate.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
    /// Access units in order.
    pub samples: Vec<AudioSample>,
}

/// One AAC access unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AudioSample {
    /// Ticks of [`Audio::rate`] from the title's start; the encoder's run-in has negative times.
    pub time: i64,
    /// First octet in the MP4 file.
    pub offset: u64,
    /// Octets in the MP4 file.
    pub size: u32,
}

/// Why a file is not a description of this title.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DescriptionError {
    /// Not a usable MP4 file.
    #[error(transparent)]
    Mp4(#[from] Mp4Error),
    /// No H.264 video track, or not one set of parameters.
    #[error("{0}")]
    Video(&'static str),
    /// A frame whose time, kind or bytes are wrong.
    #[error("frame {position} of the file: {problem}")]
    Frame {
        /// Position in the file, from 0.
        position: usize,
        /// What is wrong.
        problem: &'static str,
    },
}

impl Description {
    /// Reads description `index` of a title from its whole MP4 file.
    ///
    /// Frame numbers come from the timestamps, so a frame dropped by an encoder leaves a gap and
    /// shifts nothing. Frames of another description, or out of order, are errors.
    pub fn read(
        file: &[u8],
        timing: &Timing,
        index: u8,
        payload_limit: u16,
    ) -> Result<Description, DescriptionError> {
        let payload_limit = payload_limit.clamp(rtp::PAYLOAD_LIMIT_MIN, rtp::PAYLOAD_LIMIT_MAX);
        let (mut video, mut audio) = (None, None);
        for track in mp4::read(file)? {
            match &track.kind {
                TrackKind::Avc(avcc) if video.is_none() => video = Some((avcc.clone(), track)),
                TrackKind::Aac { .. } if audio.is_none() => audio = read_audio(&track),
                _ => {}
            }
        }
        let (avcc, track) = video.ok_or(DescriptionError::Video("no H.264 track"))?;
        let sets = (
            &avcc.sequence_parameter_sets[..],
            &avcc.picture_parameter_sets[..],
        );
        let ([sps], [pps]) = sets else {
            return Err(DescriptionError::Video("not exactly one SPS and one PPS"));
        };
        if sps.len() < 4 || pps.is_empty() {
            return Err(DescriptionError::Video("an empty parameter set"));
        }
        let mut description = Description {
            index,
            timing: timing.clone(),
            payload_limit,
            sps: sps.clone(),
            pps: pps.clone(),
            length_size: avcc.length_size,
            frames: Vec::with_capacity(track.samples.len()),
            audio,
        };
        for position in 0..track.samples.len() {
            let frame = description
                .read_frame(file, &track, position)
                .map_err(|problem| DescriptionError::Frame { position, problem })?;
            description.frames.push(frame);
        }
        match description.frames.first() {
            Some(first) if first.idr => Ok(description),
            Some(_) => Err(DescriptionError::Video("the first frame is not an IDR")),
            None => Err(DescriptionError::Video("no frames")),
        }
    }

    fn read_frame(
        &self,
        file: &[u8],
        track: &Track,
        position: usize,
    ) -> Result<Frame, &'static str> {
        let sample = track.samples.get(position).ok_or("missing")?;
        let time =
            u128::try_from(sample.time).map_err(|_| "its time is before the title's start")?;
        let ticks = (time * u128::from(CLOCK_HZ)).div_ceil(u128::from(track.timescale));
        let number = u64::try_from(ticks)
            .ok()
            .and_then(|t| self.timing.frame_at(t));
        let number = number.ok_or("its time is too late")?;
        if self.timing.description_of(number) != self.index {
            return Err("its time belongs to another description");
        }
        let previous = self.frames.last();
        if previous.is_some_and(|p| p.number >= number) {
            return Err("it does not follow the frame before (B-frames?)");
        }
        if sample.size > FRAME_OCTETS_MAX {
            return Err("it is too large");
        }
        let mut frame = Frame {
            number,
            rtp_time: self.timing.rtp_time(number),
            idr: false,
            offset: sample.offset,
            size: sample.size,
            first_packet: previous.map_or(0, |p| p.first_packet + u64::from(p.packets)),
            packets: 0,
        };
        let bytes = self
            .frame_bytes(&frame, file)
            .ok_or("it is outside the file")?;
        if !Avcc::new(bytes, self.length_size).is_whole() {
            return Err("its bytes are not length-prefixed NAL units");
        }
        frame.idr = Avcc::new(bytes, self.length_size).any(|n| nal::unit_type(n) == nal::TYPE_IDR);
        let packets: u64 = self
            .nals(&frame, bytes)
            .map(|n| rtp::packet_count(n.len(), self.payload_limit))
            .sum();
        frame.packets = u16::try_from(packets).map_err(|_| "it has too many packets")?;
        Ok(frame)
    }

    /// The bytes of a frame in the whole file; None if the file is another one.
    pub fn frame_bytes<'a>(&self, frame: &Frame, file: &'a [u8]) -> Option<&'a [u8]> {
        let start = usize::try_from(frame.offset).ok()?;
        file.get(start..start.checked_add(usize::try_from(frame.size).ok()?)?)
    }

    /// The NAL units to send for a frame, `bytes` being its bytes in the file: an IDR's begin with
    /// SPS and PPS, so that a receiver can join at it without the SDP's.
    pub fn nals<'a>(&'a self, frame: &Frame, bytes: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let sets = if frame.idr {
            &[self.sps.as_slice(), self.pps.as_slice()][..]
        } else {
            &[]
        };
        let sets: Vec<&[u8]> = sets.to_vec();
        let in_band = |n: &&[u8]| !matches!(nal::unit_type(n), nal::TYPE_SPS | nal::TYPE_PPS);
        sets.into_iter()
            .chain(Avcc::new(bytes, self.length_size).filter(in_band))
    }

    /// RTP packets of the whole description.
    pub fn packets(&self) -> u64 {
        self.frames
            .last()
            .map_or(0, |f| f.first_packet + u64::from(f.packets))
    }

    /// Position in [`Description::frames`] of the first frame at or after `rtp_time`.
    pub fn position_at(&self, rtp_time: u64) -> usize {
        self.frames.partition_point(|f| f.rtp_time < rtp_time)
    }

    /// Position of the last IDR at or before `rtp_time` (the first frame if there is none).
    pub fn idr_before(&self, rtp_time: u64) -> usize {
        let until = self.frames.partition_point(|f| f.rtp_time <= rtp_time);
        self.frames
            .get(..until)
            .and_then(|f| f.iter().rposition(|f| f.idr))
            .unwrap_or(0)
    }

    /// Position of the first IDR at or after `rtp_time`.
    pub fn idr_after(&self, rtp_time: u64) -> Option<usize> {
        let from = self.position_at(rtp_time);
        self.frames
            .get(from..)
            .and_then(|f| f.iter().position(|f| f.idr))
            .map(|i| from + i)
    }

    /// Frame `position` of the title repeated without end: position `n` past the last is the first
    /// again, with number, time and packet count going on. `title_frames` is the manifest's count.
    ///
    /// None only past frame number 2³²−1.
    pub fn repeated(&self, position: u64, title_frames: u32) -> Option<Frame> {
        let count = self.frames.len() as u64;
        let round = position.checked_div(count)?;
        let frame = self.frames.get(usize::try_from(position % count).ok()?)?;
        let last = self.frames.last().map_or(0, |f| f.number.saturating_add(1));
        let period = u64::from(self.timing.round_up(title_frames.max(last)));
        let number = u64::from(frame.number).checked_add(round.checked_mul(period)?)?;
        let number = u32::try_from(number).ok()?;
        let first_packet = frame
            .first_packet
            .checked_add(round.checked_mul(self.packets())?)?;
        Some(Frame {
            number,
            rtp_time: self.timing.rtp_time(number),
            first_packet,
            ..*frame
        })
    }
}

fn read_audio(track: &Track) -> Option<Audio> {
    let TrackKind::Aac {
        config, channels, ..
    } = &track.kind
    else {
        return None;
    };
    let sample = |s: &mp4::Sample| AudioSample {
        time: s.time,
        offset: s.offset,
        size: s.size,
    };
    Some(Audio {
        config: config.clone(),
        rate: track.timescale,
        channels: *channels,
        samples: track.samples.iter().map(sample).collect(),
    })
}
