//! `ffmpeg` as a child process that decodes any video to y4m on a pipe. Run beside us, never linked.

use std::io::{BufReader, ErrorKind, Read};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread::JoinHandle;

use anyhow::{Context, anyhow, bail};
use mdc::picture::Yuv420;
use mdc::y4m;

/// What ffmpeg says on stderr, kept up to this many octets.
const COMPLAINT_MAX: u64 = 4_096;

/// A running decoder.
pub(super) struct Decoding {
    child: Running,
    reader: y4m::Reader<BufReader<ChildStdout>>,
}

impl Decoding {
    /// Starts ffmpeg on the first video stream of `input`, odd sizes cut to even ones, at a constant
    /// frame rate (which y4m implies).
    pub(super) fn start(input: &str) -> anyhow::Result<Decoding> {
        let even = "scale=trunc(iw/2)*2:trunc(ih/2)*2";
        let mut command = Command::new("ffmpeg");
        command.args([
            "-nostdin", "-v", "error", "-i", input, "-map", "0:v:0", "-vf", even,
        ]);
        command.args(["-pix_fmt", "yuv420p", "-f", "yuv4mpegpipe", "-"]);
        let (mut child, stdout) = Running::spawn(command)?;
        match y4m::Reader::new(BufReader::with_capacity(1 << 20, stdout)) {
            Ok(reader) => Ok(Decoding { child, reader }),
            Err(error) => Err(child.complaint().unwrap_or_else(|| error.into()))
                .context(format!("cannot read {input}")),
        }
    }

    pub(super) fn header(&self) -> y4m::Header {
        self.reader.header()
    }

    /// The next picture; at the end, an error if ffmpeg failed.
    pub(super) fn next(&mut self) -> anyhow::Result<Option<Yuv420>> {
        let read = self.reader.read();
        if let Ok(Some(picture)) = read {
            return Ok(Some(picture));
        }
        match self.child.complaint() {
            Some(complaint) => Err(complaint),
            None => Ok(read?),
        }
    }
}

/// Runs `program` to its end and gives its stdout.
pub(super) fn output(command: Command) -> anyhow::Result<Vec<u8>> {
    let (mut child, mut stdout) = Running::spawn(command)?;
    let mut bytes = Vec::new();
    stdout.read_to_end(&mut bytes)?;
    child.complaint().map_or(Ok(bytes), Err)
}

/// A child that is ended when dropped, with a thread that drains its stderr.
struct Running {
    child: Child,
    program: String,
    stderr: Option<JoinHandle<String>>,
}

impl Running {
    fn spawn(mut command: Command) -> anyhow::Result<(Running, ChildStdout)> {
        let program = command.get_program().to_string_lossy().into_owned();
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = match command.spawn() {
            Ok(child) => child,
            Err(e) if e.kind() == ErrorKind::NotFound => bail!(
                "{program} is needed to read this input and is not installed: `apt-get install ffmpeg` \
                 (y4m files and pattern:… work without it)"
            ),
            Err(e) => return Err(e).context(format!("cannot start {program}")),
        };
        let stdout = child.stdout.take().context("no stdout")?;
        let mut pipe = child.stderr.take().context("no stderr")?;
        let stderr = std::thread::spawn(move || {
            let mut text = Vec::new();
            let _ = pipe.by_ref().take(COMPLAINT_MAX).read_to_end(&mut text);
            let _ = std::io::copy(&mut pipe, &mut std::io::sink());
            String::from_utf8_lossy(&text).trim().to_string()
        });
        Ok((
            Running {
                child,
                program,
                stderr: Some(stderr),
            },
            stdout,
        ))
    }

    /// Waits for the end of the child, whose output has ended; Some if it failed.
    fn complaint(&mut self) -> Option<anyhow::Error> {
        let stderr = self.stderr.take()?;
        let status = self.child.wait().ok()?;
        let text = stderr.join().unwrap_or_default();
        (!status.success()).then(|| {
            anyhow!(
                "{} says: {}",
                self.program,
                if text.is_empty() { "nothing" } else { &text }
            )
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether ffmpeg is there; tests skip without it, unless SIGNPOST_REQUIRE_TOOLS=1.
#[cfg(test)]
pub(super) fn tools_for_test() -> bool {
    let there = Command::new("ffmpeg").arg("-version").output().is_ok();
    let required = std::env::var("SIGNPOST_REQUIRE_TOOLS").is_ok_and(|v| v == "1");
    assert!(
        there || !required,
        "ffmpeg is required: apt-get install ffmpeg"
    );
    if !there {
        eprintln!("skipped: ffmpeg is not installed (Debian package: ffmpeg)");
    }
    there
}
