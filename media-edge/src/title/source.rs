//! Where a new title's pictures come from: the test pattern, a y4m file, or ffmpeg.

use std::fs::File;
use std::io::BufReader;
use std::path::Path;

use anyhow::{Context, bail, ensure};
use mdc::picture::Yuv420;
use mdc::y4m;

use super::ffmpeg::Decoding;

/// Longest test pattern, in frames: an hour at 60 per second.
const PATTERN_FRAMES_MAX: u32 = 216_000;

/// An opened input.
pub(super) enum Source {
    Pattern(Pattern),
    Y4m {
        reader: y4m::Reader<BufReader<File>>,
        octets: u64,
    },
    Ffmpeg {
        decoding: Decoding,
        input: String,
    },
}

/// `pattern:<width>x<height>@<fps>:<seconds>s`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Pattern {
    width: usize,
    height: usize,
    fps: u32,
    frames: u32,
    next: u32,
}

impl Source {
    /// Opens an input and learns its size and frame rate.
    pub(super) fn open(input: &str) -> anyhow::Result<Source> {
        if let Some(spec) = input.strip_prefix("pattern:") {
            return Pattern::parse(spec).map(Source::Pattern);
        }
        if !Path::new(input)
            .extension()
            .is_some_and(|e| e.eq_ignore_ascii_case("y4m"))
        {
            return Ok(Source::Ffmpeg {
                decoding: Decoding::start(input)?,
                input: input.to_string(),
            });
        }
        let file = File::open(input).with_context(|| format!("cannot open {input}"))?;
        let octets = file.metadata().map_or(0, |m| m.len());
        let reader = y4m::Reader::new(BufReader::with_capacity(1 << 20, file));
        let reader = reader.with_context(|| format!("cannot read {input}"))?;
        Ok(Source::Y4m { reader, octets })
    }

    /// Width and height in pixels, even.
    pub(super) fn size(&self) -> (usize, usize) {
        match self {
            Source::Pattern(p) => (p.width, p.height),
            Source::Y4m { reader, .. } => (reader.header().width, reader.header().height),
            Source::Ffmpeg { decoding, .. } => (decoding.header().width, decoding.header().height),
        }
    }

    /// Frames per second: numerator, denominator.
    pub(super) fn fps(&self) -> (u32, u32) {
        match self {
            Source::Pattern(p) => (p.fps, 1),
            Source::Y4m { reader, .. } => reader.header().fps,
            Source::Ffmpeg { decoding, .. } => decoding.header().fps,
        }
    }

    /// Number of frames, where it is known beforehand.
    pub(super) fn total(&self) -> Option<u32> {
        match self {
            Source::Pattern(p) => Some(p.frames),
            Source::Y4m { reader, octets } => {
                let header = reader.header();
                let frame =
                    header.width as u64 * header.height as u64 * 3 / 2 + "FRAME\n".len() as u64;
                u32::try_from(octets / frame).ok()
            }
            Source::Ffmpeg { .. } => None,
        }
    }

    /// The next picture; None at the end.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Yuv420>> {
        match self {
            Source::Pattern(p) => Ok(p.next()),
            Source::Y4m { reader, .. } => Ok(reader.read()?),
            Source::Ffmpeg { decoding, .. } => decoding.next(),
        }
    }

    /// The input that may have sound; only ffmpeg's can.
    pub(super) fn audio_input(&self) -> Option<&str> {
        match self {
            Source::Ffmpeg { input, .. } => Some(input),
            Source::Pattern(_) | Source::Y4m { .. } => None,
        }
    }
}

impl Pattern {
    fn parse(spec: &str) -> anyhow::Result<Pattern> {
        let hint =
            "a pattern is pattern:<width>x<height>@<fps>:<seconds>s, as in pattern:640x360@30:20s";
        let parts = || -> Option<(usize, usize, u32, u32)> {
            let (size, rest) = spec.split_once('@')?;
            let (width, height) = size.split_once('x')?;
            let (fps, seconds) = rest.split_once(':')?;
            let seconds = seconds.strip_suffix('s')?;
            Some((
                width.parse().ok()?,
                height.parse().ok()?,
                fps.parse().ok()?,
                seconds.parse().ok()?,
            ))
        };
        let Some((width, height, fps, seconds)) = parts() else {
            bail!("{hint}")
        };
        let even = |side: usize| (16..=3_840).contains(&side) && side.is_multiple_of(2);
        ensure!(
            even(width) && even(height),
            "width and height are even, 16 to 3840; {hint}"
        );
        ensure!(
            (1..=240).contains(&fps) && seconds > 0,
            "1 to 240 frames per second; {hint}"
        );
        let frames = fps
            .checked_mul(seconds)
            .filter(|frames| *frames <= PATTERN_FRAMES_MAX);
        let frames =
            frames.with_context(|| format!("at most {PATTERN_FRAMES_MAX} frames; {hint}"))?;
        Ok(Pattern {
            width,
            height,
            fps,
            frames,
            next: 0,
        })
    }

    fn next(&mut self) -> Option<Yuv420> {
        let number = self.next;
        self.next += 1;
        (number < self.frames).then(|| mdc::pattern::picture(number, self.width, self.height))
    }
}

/// A title name from an input: the file name without its ending, other characters as `-`.
pub(super) fn name_of(input: &str) -> String {
    if input.starts_with("pattern:") {
        return "pattern".to_string();
    }
    let stem = Path::new(input)
        .file_stem()
        .map(|s| s.to_string_lossy().into_owned())
        .unwrap_or_default();
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.') {
            c
        } else {
            '-'
        }
    };
    let name: String = stem
        .trim_start_matches('.')
        .chars()
        .map(plain)
        .take(64)
        .collect();
    if name.is_empty() {
        "title".to_string()
    } else {
        name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patterns_are_understood_or_explained() {
        let pattern = Pattern::parse("640x360@30:20s").unwrap();
        assert_eq!(
            pattern,
            Pattern {
                width: 640,
                height: 360,
                fps: 30,
                frames: 600,
                next: 0
            }
        );
        for spec in [
            "",
            "640x360",
            "640x360@30",
            "640x360@30:20",
            "641x360@30:1s",
            "64x48@0:1s",
            "64x48@30:0s",
            "64x48@240:99999999s",
        ] {
            assert!(
                Pattern::parse(spec)
                    .unwrap_err()
                    .to_string()
                    .contains("640x360@30:20s"),
                "{spec}"
            );
        }
    }

    #[test]
    fn names_come_from_the_file() {
        assert_eq!(name_of("/films/Blue Danube (1).mkv"), "Blue-Danube--1-");
        assert_eq!(name_of("pattern:640x360@30:20s"), "pattern");
        assert_eq!(name_of("/"), "title");
        assert!(mdc::title::is_title_name(&name_of("/films/Öde.mp4")));
    }
}
