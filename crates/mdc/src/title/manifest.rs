//! `title.toml`: what a title is, and what every edge must agree on to send identical packets.

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::timing::{Timing, TimingError};
use crate::rtp::{PAYLOAD_LIMIT_MAX, PAYLOAD_LIMIT_MIN};

/// Longest title name; it has to fit an RTSP URL and a file name.
const NAME_MAX: usize = 64;

/// Widest and highest picture, in pixels: what OpenH264 codes.
const SIDE_MAX: u32 = 3_840;

/// The manifest of one title, as in `title.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The folder's name and the path in the URL: letters, digits, `-`, `_`, `.`.
    pub name: String,
    /// Picture width in pixels, even.
    pub width: u32,
    /// Picture height in pixels, even.
    pub height: u32,
    /// Full frame rate: numerator, denominator.
    pub fps: (u32, u32),
    /// Frames of all descriptions together.
    pub frames: u32,
    /// Largest RTP payload in octets; part of the packet numbering, so it belongs to the title.
    pub payload_limit: u16,
    /// The description of each frame of one round: `[0, 1]` deals them in turn.
    pub cadence: Vec<u8>,
    /// One entry per description, in order.
    #[serde(rename = "description", default)]
    pub descriptions: Vec<Stream>,
    /// The sound that every description carries whole, if there is any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audio: Option<AudioEntry>,
}

/// One description's file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stream {
    /// File name beside `title.toml`.
    pub file: String,
    /// Frames in this description.
    pub frames: u32,
    /// Average bit rate of the video, bits per second.
    pub bitrate: u32,
}

/// The sound in every description's MP4.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AudioEntry {
    /// `aac`.
    pub codec: String,
    /// Samples per second.
    pub rate: u32,
    /// Channels.
    pub channels: u16,
}

/// Why a manifest is refused.
#[derive(Debug, Error)]
pub enum ManifestError {
    /// Not TOML, or not of this shape; the text says line and column.
    #[error("{0}")]
    Toml(#[from] toml::de::Error),
    /// Frame rate or cadence.
    #[error(transparent)]
    Timing(#[from] TimingError),
    /// A value outside its range.
    #[error("{0}")]
    Value(String),
}

impl Manifest {
    /// Reads and checks `title.toml`.
    pub fn parse(text: &str) -> Result<Manifest, ManifestError> {
        let manifest: Manifest = toml::from_str(text)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// The text of `title.toml`; [`Manifest::parse`] of it gives the same manifest.
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("a manifest is a table of plain values")
    }

    /// Frame rate and cadence, checked.
    pub fn timing(&self) -> Result<Timing, TimingError> {
        Timing::new(self.fps, self.cadence.clone())
    }

    /// Length of the title in 90 kHz ticks.
    pub fn duration(&self) -> Result<u64, TimingError> {
        Ok(self.timing()?.rtp_time(self.frames))
    }

    fn check(&self) -> Result<(), ManifestError> {
        let refuse = |text: String| Err(ManifestError::Value(text));
        let timing = self.timing()?;
        if !is_title_name(&self.name) {
            return refuse(format!("name {:?} is not a title name", self.name));
        }
        let side = |pixels: u32| (16..=SIDE_MAX).contains(&pixels) && pixels.is_multiple_of(2);
        if !side(self.width) || !side(self.height) {
            let (width, height) = (self.width, self.height);
            return refuse(format!(
                "{width}x{height} is not an even size of 16 to {SIDE_MAX}"
            ));
        }
        if !(PAYLOAD_LIMIT_MIN..=PAYLOAD_LIMIT_MAX).contains(&self.payload_limit) {
            return refuse(format!(
                "payload_limit {} is not between {PAYLOAD_LIMIT_MIN} and {PAYLOAD_LIMIT_MAX}",
                self.payload_limit
            ));
        }
        if self.descriptions.len() != usize::from(timing.descriptions()) {
            return refuse(format!(
                "{} descriptions, but the cadence names {}",
                self.descriptions.len(),
                timing.descriptions()
            ));
        }
        if let Some(stream) = self.descriptions.iter().find(|s| !is_title_name(&s.file)) {
            return refuse(format!("file {:?} is not a plain file name", stream.file));
        }
        Ok(())
    }
}

/// Whether `name` is one path component that is safe in a URL and on disk.
pub fn is_title_name(name: &str) -> bool {
    let plain = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    !name.is_empty() && name.len() <= NAME_MAX && !name.starts_with('.') && name.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Manifest {
        Manifest {
            name: "harbour".into(),
            width: 640,
            height: 360,
            fps: (30_000, 1_001),
            frames: 600,
            payload_limit: 1_200,
            cadence: vec![0, 1],
            descriptions: (0..2)
                .map(|d| Stream {
                    file: format!("d{d}.mp4"),
                    frames: 300,
                    bitrate: 400_000,
                })
                .collect(),
            audio: Some(AudioEntry {
                codec: "aac".into(),
                rate: 48_000,
                channels: 2,
            }),
        }
    }

    #[test]
    fn survives_writing_and_reading() {
        assert_eq!(Manifest::parse(&example().to_toml()).unwrap(), example());
    }

    #[test]
    fn refuses_unknown_keys_and_bad_values() {
        let text = example().to_toml();
        let refused = |from: &str, to: &str| {
            assert!(text.contains(from), "{from} not in {text}");
            assert!(
                Manifest::parse(&text.replace(from, to)).is_err(),
                "{to} was accepted"
            );
        };
        refused("width = 640", "wide = 640");
        refused("width = 640", "width = 641");
        refused("\"harbour\"", "\"../etc\"");
        refused("\"d1.mp4\"", "\"/d1.mp4\"");
        refused("payload_limit = 1200", "payload_limit = 3");
        refused("30000", "0");
        refused("cadence = [0, 1]", "cadence = [0]");
    }
}
