//! `media-edge title create`: any video → a title folder that this and every other edge can serve.
//!
//! ```text
//!  FILE            ffmpeg ─► y4m on a pipe ┐
//!  FILE.y4m        read directly           ├─► mdc::split ─► OUT/NAME/{title.toml, d0.mp4, d1.mp4}
//!  pattern:640x360@30:20s  drawn           ┘
//! ```

mod audio;
mod ffmpeg;
mod folder;
mod source;

use std::path::{Path, PathBuf};

use anyhow::{Context, ensure};
use mdc::codec::Rate;
use mdc::rtp::PAYLOAD_LIMIT;
use mdc::split::{self, Splitter};
use mdc::title::{Manifest, Timing};

use source::Source;

/// How a title is made; the default suits most inputs.
#[derive(Debug, Clone)]
pub struct Settings {
    /// The title's name; None: the input's file name without its ending.
    pub name: Option<String>,
    /// Bits per second of all descriptions together; None: about a tenth of a bit per pixel.
    pub bitrate: Option<u32>,
    /// A constant quantizer (12, finest, to 51; smaller ones count as 12) instead of a bit rate.
    pub quantizer: Option<u8>,
    /// The description of each frame of one round; `[0, 1]` deals them in turn.
    pub cadence: Vec<u8>,
    /// Milliseconds between a description's IDRs.
    pub gop_ms: u32,
    /// Largest RTP payload, in octets.
    pub payload_limit: u16,
    /// Whether to draw the frame number into the pictures (the test pattern always has it).
    pub stamp: bool,
    /// Whether to take the input's sound along.
    pub audio: bool,
    /// Whether to replace a title of the same name.
    pub replace: bool,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            name: None,
            bitrate: None,
            quantizer: None,
            cadence: vec![0, 1],
            gop_ms: 2_000,
            payload_limit: PAYLOAD_LIMIT,
            stamp: false,
            audio: true,
            replace: false,
        }
    }
}

/// How far a running creation is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Frames encoded.
    pub frames: u32,
    /// Frames in all, where that is known beforehand.
    pub total: Option<u32>,
}

/// A finished title.
#[derive(Debug, Clone)]
pub struct Created {
    /// The title's folder.
    pub folder: PathBuf,
    /// What its `title.toml` says.
    pub manifest: Manifest,
}

/// Makes the title `<out>/<name>` from `input`; blocks until it is complete, then renames it into
/// place, so nobody ever sees half a title.
///
/// `input` is a path (`*.y4m` is read directly, anything else through `ffmpeg`) or
/// `pattern:<width>x<height>@<fps>:<seconds>s`. `progress` is called about once a second of video.
pub fn create(
    input: &str,
    out: &Path,
    settings: &Settings,
    mut progress: impl FnMut(Progress),
) -> anyhow::Result<Created> {
    let name = settings
        .name
        .clone()
        .unwrap_or_else(|| source::name_of(input));
    let mut target = folder::Target::prepare(out, &name, settings.replace)?;
    let mut source = Source::open(input)?;
    let total = source.total();
    let mut splitter = Splitter::new(split_settings(&name, &source, settings)?)?;
    let step = source.fps().0.div_ceil(source.fps().1).max(1);
    while let Some(picture) = source
        .next()
        .with_context(|| format!("cannot read {input}"))?
    {
        let coded = splitter
            .push(picture)
            .with_context(|| format!("cannot encode {input}"))?;
        target.spool(coded.0, &coded.1)?;
        if splitter.frames().is_multiple_of(step) {
            progress(Progress {
                frames: splitter.frames(),
                total,
            });
        }
    }
    progress(Progress {
        frames: splitter.frames(),
        total,
    });
    let audio = match source.audio_input().filter(|_| settings.audio) {
        Some(path) => audio::encode(path)?,
        None => None,
    };
    let outline = splitter
        .finish(audio.as_ref())
        .with_context(|| format!("cannot make a title of {input}"))?;
    let folder = target.write(&outline, audio.as_ref())?;
    Ok(Created {
        folder,
        manifest: outline.manifest,
    })
}

fn split_settings(
    name: &str,
    source: &Source,
    settings: &Settings,
) -> anyhow::Result<split::Settings> {
    let (width, height) = source.size();
    let defaults = split::Settings::new(name, width, height, source.fps())?;
    if let Some(quantizer) = settings.quantizer {
        ensure!(quantizer <= 51, "a quantizer is 12 to 51, not {quantizer}");
        ensure!(
            settings.bitrate.is_none(),
            "a bit rate and a quantizer exclude each other"
        );
    }
    let rate = match (settings.bitrate, settings.quantizer) {
        (_, Some(quantizer)) => Rate::Quantizer(quantizer),
        (Some(bits), None) => Rate::Bitrate(bits),
        (None, None) => defaults.rate,
    };
    Ok(split::Settings {
        timing: Timing::new(source.fps(), settings.cadence.clone())?,
        rate,
        gop_ms: settings.gop_ms,
        payload_limit: settings.payload_limit,
        stamp: settings.stamp,
        ..defaults
    })
}

#[cfg(test)]
mod tests;
