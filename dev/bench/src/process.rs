//! A server as a process: started on the servers' core, asked to end by its process id, waited for.

use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use signpost_tests::daemon;

use crate::pin;
use crate::questions::Questions;

/// How long a server may take until it answers rightly: the slowest loads a million records.
const PATIENCE: Duration = Duration::from_secs(120);
/// How long one query is waited for before it is sent again.
const ANSWER: Duration = Duration::from_millis(20);

/// A running server.
pub(crate) struct Server {
    /// UDP and TCP.
    pub(crate) dns: SocketAddr,
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts a program that will answer on `dns`; what it writes goes into a file in `folder`.
    pub(crate) fn start(
        command: &mut Command,
        dns: SocketAddr,
        folder: &Path,
    ) -> anyhow::Result<Server> {
        fs::create_dir_all(folder)?;
        let log = folder.join(format!("log-{}", dns.port()));
        let output = File::create(&log).context("a file for a server's log")?;
        command.stdin(Stdio::null());
        command.stdout(output.try_clone()?).stderr(output);
        let child = pin::spawn(command)?;
        Ok(Server { dns, child, log })
    }

    /// Its process id.
    pub(crate) fn process(&self) -> u32 {
        self.child.id()
    }

    /// Waits until the first of these questions gets a right answer; how long that took, with the answer's length.
    pub(crate) fn until_right(
        &mut self,
        questions: &Questions,
    ) -> anyhow::Result<(Duration, usize)> {
        let start = Instant::now();
        loop {
            let answer = ask(self.dns, questions.message(0), ANSWER)?;
            let reason = match answer {
                Some(answer) if questions.fits(0, &answer) => match questions.judge(0, &answer) {
                    Ok(()) => return Ok((start.elapsed(), answer.len())),
                    Err(reason) => reason,
                },
                Some(answer) => format!("it answers {:02x?}", &answer[..answer.len().min(12)]),
                None => "it does not answer".to_owned(),
            };
            let ended = self.child.try_wait()?;
            if ended.is_some() || start.elapsed() > PATIENCE {
                let log = fs::read_to_string(&self.log).unwrap_or_default();
                let tail = &log[log.floor_char_boundary(log.len().saturating_sub(2000))..];
                bail!("{reason}; it wrote:\n{tail}");
            }
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        daemon::end(&mut self.child);
    }
}

/// Asks once over UDP; `None` if nothing came in time.
pub(crate) fn ask(
    server: SocketAddr,
    message: &[u8],
    time: Duration,
) -> io::Result<Option<Vec<u8>>> {
    let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
    socket.connect(server)?;
    socket.set_read_timeout(Some(time))?;
    let mut answer = vec![0; 4096];
    // A port where nobody listens (yet) refuses.
    let received = socket.send(message).and_then(|_| socket.recv(&mut answer));
    if received.is_err() {
        std::thread::sleep(Duration::from_millis(1));
    }
    Ok(received.ok().map(|length| {
        answer.truncate(length);
        answer
    }))
}
