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
    /// A constant quantizer (0 to 51) instead of a bit rate.
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
    let target = folder::Target::prepare(out, &name, settings.replace)?;
    let mut source = Source::open(input)?;
    let total = source.total();
    let mut splitter = Splitter::new(split_settings(&name, &source, settings)?)?;
    let step = source.fps().0.div_ceil(source.fps().1).max(1);
    while let Some(picture) = source
        .next()
        .with_context(|| format!("cannot read {input}"))?
    {
        splitter
            .push(picture)
            .with_context(|| format!("cannot encode {input}"))?;
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
    let title = splitter
        .finish(audio.as_ref())
        .with_context(|| format!("cannot make a title of {input}"))?;
    let folder = target.write(&title)?;
    Ok(Created {
        folder,
        manifest: title.manifest,
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
        ensure!(quantizer <= 51, "a quantizer is 0 to 51, not {quantizer}");
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
mod tests {
    use mdc::title::Description;

    use super::*;

    fn quick() -> Settings {
        Settings {
            quantizer: Some(34),
            ..Settings::default()
        }
    }

    #[test]
    fn the_pattern_becomes_a_title_whose_files_read_back() {
        let out = tempfile::tempdir().unwrap();
        let mut seen = Vec::new();
        let created = create("pattern:160x96@15:2s", out.path(), &quick(), |p| {
            seen.push(p)
        })
        .unwrap();
        assert_eq!(created.folder, out.path().join("pattern"));
        assert_eq!(
            seen.last(),
            Some(&Progress {
                frames: 30,
                total: Some(30)
            })
        );
        let text = std::fs::read_to_string(created.folder.join("title.toml")).unwrap();
        let manifest = Manifest::parse(&text).unwrap();
        assert_eq!(manifest, created.manifest);
        let timing = manifest.timing().unwrap();
        for (d, stream) in (0u8..).zip(&manifest.descriptions) {
            let file = std::fs::read(created.folder.join(&stream.file)).unwrap();
            let description = Description::read(&file, &timing, d, manifest.payload_limit).unwrap();
            assert_eq!(description.frames.len(), 15);
        }
        let left = std::fs::read_dir(out.path()).unwrap().count();
        assert_eq!(left, 1, "only the title is left in the output folder");
    }

    #[test]
    fn a_y4m_file_is_read_without_ffmpeg() {
        let out = tempfile::tempdir().unwrap();
        let header = mdc::y4m::Header {
            width: 64,
            height: 48,
            fps: (10, 1),
        };
        let mut writer = mdc::y4m::Writer::new(Vec::new(), header).unwrap();
        (0..6).for_each(|k| writer.write(&mdc::pattern::picture(k, 64, 48)).unwrap());
        let path = out.path().join("Sea Side.y4m");
        std::fs::write(&path, writer.finish().unwrap()).unwrap();
        let created = create(path.to_str().unwrap(), out.path(), &quick(), |_| {}).unwrap();
        assert_eq!(
            (created.manifest.name.as_str(), created.manifest.frames),
            ("Sea-Side", 6)
        );
    }

    #[test]
    fn an_existing_title_is_replaced_only_when_told_to() {
        let out = tempfile::tempdir().unwrap();
        let make = |seconds: u32, settings: &Settings| {
            create(
                &format!("pattern:64x48@10:{seconds}s"),
                out.path(),
                settings,
                |_| {},
            )
        };
        make(1, &quick()).unwrap();
        assert!(
            make(2, &quick())
                .unwrap_err()
                .to_string()
                .contains("exists")
        );
        let replaced = make(
            2,
            &Settings {
                replace: true,
                ..quick()
            },
        )
        .unwrap();
        assert_eq!(replaced.manifest.frames, 20);
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
    }

    #[test]
    fn failures_leave_nothing_behind() {
        let out = tempfile::tempdir().unwrap();
        let empty = out.path().join("empty.y4m");
        std::fs::write(&empty, "YUV4MPEG2 W64 H48 F10:1\n").unwrap();
        for input in [
            empty.to_str().unwrap(),
            "/nowhere/at-all.y4m",
            "pattern:0x0@1:1s",
            "pattern:nonsense",
        ] {
            assert!(
                create(input, out.path(), &quick(), |_| {}).is_err(),
                "{input}"
            );
        }
        let bad_name = Settings {
            name: Some("../x".into()),
            ..quick()
        };
        assert!(create("pattern:64x48@10:1s", out.path(), &bad_name, |_| {}).is_err());
        assert_eq!(
            std::fs::read_dir(out.path()).unwrap().count(),
            1,
            "only empty.y4m"
        );
    }

    #[test]
    fn any_video_and_its_sound_come_in_through_ffmpeg() {
        if !ffmpeg::tools_for_test() {
            return;
        }
        let out = tempfile::tempdir().unwrap();
        let clip = out.path().join("clip.mkv");
        let lavfi = [
            "-f",
            "lavfi",
            "-i",
            "testsrc2=s=161x97:r=25:d=2",
            "-f",
            "lavfi",
            "-i",
            "sine=d=2",
        ];
        let made = std::process::Command::new("ffmpeg")
            .args(["-nostdin", "-v", "error"])
            .args(lavfi)
            .arg(&clip)
            .status()
            .unwrap();
        assert!(made.success());
        let created = create(clip.to_str().unwrap(), out.path(), &quick(), |_| {}).unwrap();
        let manifest = &created.manifest;
        assert_eq!(
            (manifest.width, manifest.height, manifest.fps),
            (160, 96, (25, 1))
        );
        assert_eq!(
            (manifest.frames, manifest.audio.as_ref().map(|a| a.rate)),
            (50, Some(44_100))
        );
        for (d, stream) in (0u8..).zip(&manifest.descriptions) {
            let path = created.folder.join(&stream.file);
            let file = std::fs::read(&path).unwrap();
            let timing = manifest.timing().unwrap();
            let description = Description::read(&file, &timing, d, manifest.payload_limit).unwrap();
            let audio = description.audio.unwrap();
            let last = audio.samples.last().unwrap();
            assert!(
                (last.time - 2 * 44_100).abs() < 2_048,
                "sound ends at {}",
                last.time
            );
            let decoded = std::process::Command::new("ffmpeg")
                .args(["-nostdin", "-v", "error", "-i"])
                .arg(&path)
                .args(["-f", "null", "-"])
                .output()
                .unwrap();
            assert!(
                decoded.status.success() && decoded.stderr.is_empty(),
                "{decoded:?}"
            );
        }
    }

    #[test]
    fn a_file_that_is_no_video_gives_ffmpegs_reason() {
        if !ffmpeg::tools_for_test() {
            return;
        }
        let out = tempfile::tempdir().unwrap();
        let path = out.path().join("letter.mp4");
        std::fs::write(&path, "Dear editor,").unwrap();
        let error = create(path.to_str().unwrap(), out.path(), &quick(), |_| {}).unwrap_err();
        assert!(format!("{error:#}").contains("ffmpeg"), "{error:#}");
    }
}
