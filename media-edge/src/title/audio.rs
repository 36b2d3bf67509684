//! The input's sound as AAC, encoded by ffmpeg; every description carries it whole.

use std::process::Command;

use anyhow::Context;
use mdc::mp4::{AudioTrack, adts};

use super::ffmpeg;

/// Samples that ffmpeg's AAC encoder puts in front of the sound.
const PRIMING: u32 = 1_024;

/// Encodes the first audio stream of `input`; None if there is none.
pub(super) fn encode(input: &str) -> anyhow::Result<Option<AudioTrack>> {
    let mut probe = Command::new("ffprobe");
    probe.args([
        "-v",
        "error",
        "-select_streams",
        "a:0",
        "-show_entries",
        "stream=codec_type",
    ]);
    probe.args(["-of", "csv=p=0", input]);
    if ffmpeg::output(probe)?.trim_ascii().is_empty() {
        return Ok(None);
    }
    let mut encode = Command::new("ffmpeg");
    encode.args(["-nostdin", "-v", "error", "-i", input, "-map", "0:a:0"]);
    // Sound that starts late is led in with silence, so that time 0 is the video's.
    encode.args([
        "-af",
        "aresample=async=1:first_pts=0",
        "-c:a",
        "aac",
        "-b:a",
        "96k",
        "-ac",
        "2",
    ]);
    encode.args(["-f", "adts", "-"]);
    let stream = ffmpeg::output(encode)?;
    let track = adts::read(&stream).with_context(|| format!("cannot use the sound of {input}"))?;
    Ok(Some(AudioTrack {
        priming: PRIMING,
        ..track
    }))
}
