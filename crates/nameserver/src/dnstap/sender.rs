//! The task that carries messages to the collector: it connects, agrees on the content, and connects again when the
//! collector goes away.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use service::shutdown::Shutdown;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::mpsc::{self, error::TryRecvError};
use tokio::time::{Instant, sleep, timeout};

use super::frames::{CONTROL_MAX, Control};
use super::{Fate, Told};

/// Pause between looks at the queue. Workers never wake this task: waking costs more than an answer.
const PAUSE: Duration = Duration::from_millis(10);
/// Messages are gathered up to so many octets for one write.
const WRITE_SIZE: usize = 64 << 10;
/// Pause before another try to connect.
const RECONNECT: Duration = Duration::from_secs(1);
/// How long the collector may take for a step of the handshake, or to take a write.
const PATIENCE: Duration = Duration::from_secs(5);
/// At the end: how long to wait for the last messages of workers, and for the collector to confirm.
const LAST: Duration = Duration::from_secs(1);

/// The collector's end of the queue.
pub(crate) struct Sender {
    socket: PathBuf,
    waiting: mpsc::Receiver<Vec<u8>>,
    told: Arc<Told>,
    /// A write, and how many messages are in it.
    batch: Vec<u8>,
    gathered: u64,
}

impl Sender {
    pub(super) fn new(socket: PathBuf, waiting: mpsc::Receiver<Vec<u8>>, told: Arc<Told>) -> Self {
        Self {
            socket,
            waiting,
            told,
            batch: Vec::new(),
            gathered: 0,
        }
    }

    /// Sends until the end of the server.
    pub(crate) async fn run(mut self, ending: Shutdown) -> anyhow::Result<()> {
        let socket = self.socket.display().to_string();
        let mut complained = false;
        while !ending.is_set() {
            match connect(&self.socket).await {
                Ok(mut stream) => {
                    complained = false;
                    tracing::info!(socket, "dnstap: the collector listens");
                    self.told.connected.store(true, Ordering::Relaxed);
                    let ended = self.carry(&mut stream, &ending).await;
                    self.told.connected.store(false, Ordering::Relaxed);
                    match ended {
                        Ok(()) => return Ok(()),
                        Err(error) => {
                            tracing::warn!(socket, %error, "dnstap: the collector is gone")
                        }
                    }
                }
                Err(error) if !complained => {
                    complained = true;
                    tracing::warn!(socket, %error, "dnstap: no collector; it is tried again");
                }
                Err(_) => {}
            }
            tokio::select! {
                () = ending.wait() => {}
                () = sleep(RECONNECT) => {}
            }
        }
        Ok(())
    }

    /// Carries messages until the end of the server.
    async fn carry(&mut self, stream: &mut UnixStream, ending: &Shutdown) -> io::Result<()> {
        let mut end = None;
        loop {
            let all_gone = self.gather();
            if self.gathered > 0 {
                self.write(stream).await?;
                continue;
            }
            let last = *end.get_or_insert_with(|| Instant::now() + LAST);
            if !ending.is_set() {
                end = None;
            } else if all_gone || Instant::now() > last {
                return finish(stream).await;
            }
            // A collector says nothing before the end: whatever can be read is its going away.
            if let Ok(read) = timeout(PAUSE, stream.read_u8()).await {
                return Err(read.map_or_else(|error| error, |_| said_something()));
            }
        }
    }

    /// Takes what waits, up to a write; true if there are no workers any more.
    fn gather(&mut self) -> bool {
        while self.batch.len() < WRITE_SIZE {
            match self.waiting.try_recv() {
                Ok(frame) => {
                    self.batch.extend_from_slice(&frame);
                    self.gathered += 1;
                }
                Err(TryRecvError::Empty) => return false,
                Err(TryRecvError::Disconnected) => return true,
            }
        }
        false
    }

    async fn write(&mut self, stream: &mut UnixStream) -> io::Result<()> {
        let written = in_time(stream.write_all(&self.batch)).await;
        let fate = if written.is_ok() {
            Fate::Sent
        } else {
            Fate::Dropped
        };
        self.told.add(fate, std::mem::take(&mut self.gathered));
        self.batch.clear();
        written
    }
}

/// Connects and agrees on the content.
async fn connect(socket: &PathBuf) -> io::Result<UnixStream> {
    let mut stream = in_time(UnixStream::connect(socket)).await?;
    in_time(stream.write_all(&Control::Ready.frame())).await?;
    in_time(expect(&mut stream, Control::Accept)).await?;
    in_time(stream.write_all(&Control::Start.frame())).await?;
    Ok(stream)
}

/// Says that this was all, and waits until the collector has it.
async fn finish(stream: &mut UnixStream) -> io::Result<()> {
    in_time(stream.write_all(&Control::Stop.frame())).await?;
    // It has everything; whether it says so in time no longer matters.
    let _ = timeout(LAST, expect(stream, Control::Finish)).await;
    Ok(())
}

/// Reads one control frame of this kind.
async fn expect(stream: &mut UnixStream, kind: Control) -> io::Result<()> {
    let (escape, length) = (stream.read_u32().await?, stream.read_u32().await?);
    if escape != 0 || length as usize > CONTROL_MAX {
        return Err(said_something());
    }
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).await?;
    if kind.is(&body) {
        Ok(())
    } else {
        Err(said_something())
    }
}

async fn in_time<T>(step: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    match timeout(PATIENCE, step).await {
        Ok(done) => done,
        Err(_) => Err(io::ErrorKind::TimedOut.into()),
    }
}

fn said_something() -> io::Error {
    io::Error::new(
        io::ErrorKind::InvalidData,
        "it does not speak dnstap over Frame Streams",
    )
}
