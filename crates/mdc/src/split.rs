//! Pictures in, a title out: each description an H.264 stream of its own, IDRs staggered between them.
//!
//! ```text
//!  frame   0  1  2  3 …          28 29 30 31 32 …         58 59 60 61
//!  D0      I     P     …          P     P     P  …         P     I          GOP 2 s
//!  D1         I     P  …             P     I     …            P     P       half a GOP later
//! ```

use thiserror::Error;

use crate::codec::{CodecError, Encoder, Rate};
use crate::mp4::{self, AudioTrack, VideoTrack, WriteError};
use crate::picture::Yuv420;
use crate::rtp::PAYLOAD_LIMIT;
use crate::stamp;
use crate::title::{AudioEntry, Manifest, Stream, Timing, TimingError, is_title_name};

/// How a title is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The title's name, see [`is_title_name`].
    pub name: String,
    /// Frame rate and the frames' descriptions.
    pub timing: Timing,
    /// Bits for all descriptions together, or the quantizer of each.
    pub rate: Rate,
    /// Milliseconds between a description's IDRs.
    pub gop_ms: u32,
    /// Largest RTP payload, in octets.
    pub payload_limit: u16,
    /// Whether to draw the frame number into each picture ([`crate::stamp`]).
    pub stamp: bool,
}

impl Settings {
    /// Two descriptions in turn, GOPs of 2 s, about a tenth of a bit per pixel.
    pub fn new(
        name: &str,
        width: usize,
        height: usize,
        fps: (u32, u32),
    ) -> Result<Settings, TimingError> {
        let timing = Timing::in_turn(fps, 2)?;
        let bits = width as u64 * height as u64 * u64::from(fps.0) / u64::from(fps.1) / 10;
        let bits = u32::try_from(bits.clamp(100_000, 20_000_000)).unwrap_or(u32::MAX);
        Ok(Settings {
            name: name.to_string(),
            timing,
            rate: Rate::Bitrate(bits),
            gop_ms: 2_000,
            payload_limit: PAYLOAD_LIMIT,
            stamp: false,
        })
    }
}

/// The finished title: write `title.toml` and the files beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Title {
    /// What `title.toml` says.
    pub manifest: Manifest,
    /// The MP4 file of each description, in order; names are in the manifest.
    pub files: Vec<Vec<u8>>,
}

/// A finished title whose coded frames the caller has: [`mp4::write`] joins each track with its data.
#[derive(Debug, Clone)]
pub struct Outline {
    /// What `title.toml` says.
    pub manifest: Manifest,
    /// The video track of each description, in order.
    pub tracks: Vec<VideoTrack>,
}

/// Why a title cannot be made. `E` is the error of the pictures' source.
#[derive(Debug, Error)]
pub enum SplitError<E> {
    /// The source of pictures failed.
    #[error(transparent)]
    Source(E),
    /// Encoding or writing failed.
    #[error(transparent)]
    Failed(#[from] Failure),
}

/// Why pictures cannot become a title.
#[derive(Debug, Error)]
pub enum Failure {
    /// The name is not a title name.
    #[error("{0:?} is not a title name (letters, digits, `-`, `_`, `.`; at most 64)")]
    Name(String),
    /// Fewer pictures than descriptions.
    #[error("too few pictures: every description needs one")]
    TooShort,
    /// The encoder.
    #[error(transparent)]
    Codec(#[from] CodecError),
    /// The MP4 writer.
    #[error(transparent)]
    Mp4(#[from] WriteError),
}

/// Encodes all pictures of an iterator in memory; a long video goes through [`Splitter`] instead.
pub fn encode_title<E>(
    pictures: impl Iterator<Item = Result<Yuv420, E>>,
    settings: Settings,
    audio: Option<&AudioTrack>,
) -> Result<Title, SplitError<E>> {
    let mut splitter = Splitter::new(settings)?;
    let mut data = vec![Vec::new(); splitter.chains.len()];
    for picture in pictures {
        let (description, coded) = splitter.push(picture.map_err(SplitError::Source)?)?;
        if let Some(data) = data.get_mut(usize::from(description)) {
            data.extend_from_slice(&coded);
        }
    }
    let Outline { manifest, tracks } = splitter.finish(audio)?;
    let mut files = Vec::with_capacity(tracks.len());
    for (track, data) in tracks.iter().zip(&data) {
        let mut file = Vec::with_capacity(data.len());
        mp4::write(track, &mut data.as_slice(), audio, &mut file).map_err(Failure::from)?;
        files.push(file);
    }
    Ok(Title { manifest, files })
}

/// Deals pictures to the descriptions' encoders.
pub struct Splitter {
    settings: Settings,
    chains: Vec<Chain>,
    gop: u32,
    next: u32,
}

struct Chain {
    encoder: Encoder,
    /// First frame number at or after which the next IDR is due.
    idr_due: u32,
    track: VideoTrack,
    octets: u64,
}

impl Splitter {
    /// Prepares one encoder per description.
    pub fn new(settings: Settings) -> Result<Splitter, Failure> {
        if !is_title_name(&settings.name) {
            return Err(Failure::Name(settings.name));
        }
        let timing = &settings.timing;
        let (num, den) = timing.fps();
        let fps = f64::from(num) / f64::from(den);
        let gop =
            timing.round_up(((fps * f64::from(settings.gop_ms) / 1_000.0).round() as u32).max(1));
        let descriptions = timing.descriptions();
        let chain = |d: u8| -> Result<Chain, Failure> {
            let frames = timing.cadence().iter().filter(|c| **c == d).count();
            let share = frames as f64 / timing.cadence().len() as f64;
            let rate = match settings.rate {
                Rate::Bitrate(bits) => Rate::Bitrate((f64::from(bits) * share) as u32),
                quantizer => quantizer,
            };
            Ok(Chain {
                encoder: Encoder::new(rate, fps * share)?,
                idr_due: gop / u32::from(descriptions) * u32::from(d),
                track: VideoTrack::default(),
                octets: 0,
            })
        };
        let chains = (0..descriptions).map(chain).collect::<Result<_, _>>()?;
        Ok(Splitter {
            chains,
            gop,
            next: 0,
            settings,
        })
    }

    /// Pictures taken so far.
    pub fn frames(&self) -> u32 {
        self.next
    }

    /// Encodes the next picture; gives its description and the octets to append to that one's data.
    pub fn push(&mut self, mut picture: Yuv420) -> Result<(u8, Vec<u8>), Failure> {
        let number = self.next;
        if self.settings.stamp {
            stamp::draw(&mut picture, number);
        }
        let description = self.settings.timing.description_of(number);
        let chain = self.chains.get_mut(usize::from(description));
        let chain = chain.expect("there is a chain for every description of the cadence");
        let first = chain.track.frames.is_empty();
        let due = number >= chain.idr_due;
        while number >= chain.idr_due {
            chain.idr_due += self.gop;
        }
        let coded = chain.encoder.encode(&picture, first || due)?;
        chain.track.width = u16::try_from(picture.width()).unwrap_or(u16::MAX);
        chain.track.height = u16::try_from(picture.height()).unwrap_or(u16::MAX);
        let size = u32::try_from(coded.avcc.len()).unwrap_or(u32::MAX);
        chain
            .track
            .frames
            .push((self.settings.timing.rtp_time(number), coded.idr, size));
        chain.octets += u64::from(size);
        self.next += 1;
        Ok((description, coded.avcc))
    }

    /// The title, but for its frames' octets; `audio` is named in the manifest.
    pub fn finish(self, audio: Option<&AudioTrack>) -> Result<Outline, Failure> {
        let timing = &self.settings.timing;
        let seconds = timing.rtp_time(self.next) as f64 / 90_000.0;
        let (mut tracks, mut descriptions) = (Vec::new(), Vec::new());
        let (mut width, mut height) = (0, 0);
        for (chain, d) in self.chains.into_iter().zip(0u8..) {
            let mut track = chain.track;
            let last = timing.frame_at(track.frames.last().ok_or(Failure::TooShort)?.0);
            track.end = timing.rtp_time(timing.successor(last.ok_or(Failure::TooShort)?));
            track.sps = chain.encoder.sps().to_vec();
            track.pps = chain.encoder.pps().to_vec();
            (width, height) = (u32::from(track.width), u32::from(track.height));
            descriptions.push(Stream {
                file: format!("d{d}.mp4"),
                frames: track.frames.len() as u32,
                bitrate: (chain.octets as f64 * 8.0 / seconds) as u32,
            });
            tracks.push(track);
        }
        let audio = audio.map(|a| AudioEntry {
            codec: "aac".into(),
            rate: a.rate,
            channels: a.channels,
        });
        let manifest = Manifest {
            name: self.settings.name,
            width,
            height,
            fps: timing.fps(),
            frames: self.next,
            payload_limit: self.settings.payload_limit,
            cadence: timing.cadence().to_vec(),
            descriptions,
            audio,
        };
        Ok(Outline { manifest, tracks })
    }
}
