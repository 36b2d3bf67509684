//! A real validating resolver, Unbound, in front of the servers under test.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use anyhow::Context;
use tempfile::TempDir;

use crate::{daemon, dig::dig, port};

/// How long it may take to answer its first query, on a machine that has other things to do.
const START: Duration = Duration::from_secs(60);

/// A running Unbound.
pub struct Unbound {
    /// Where it answers.
    pub address: SocketAddr,
    child: Child,
    folder: TempDir,
}

impl Unbound {
    /// Starts it with these zones, each asked of one server, and these lines in its `server:` clause. It sends client
    /// subnets on to all of them, validates, and uses denials as far as it can (RFC 8198).
    ///
    /// # Errors
    /// When it cannot be started, or does not answer in time.
    pub fn start(zones: &[(&str, SocketAddr)], server: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let address = port::free()?;
        let mut text = format!(
            "server:\n interface: 127.0.0.1\n port: {port}\n directory: {folder:?}\n{FIXED} {server}\n\
             remote-control:\n control-enable: no\n",
            port = address.port(),
            folder = folder.path(),
        );
        for (zone, at) in zones {
            text += &format!(
                "stub-zone:\n name: {zone:?}\n stub-addr: {}@{}\n stub-no-cache: no\n",
                at.ip(),
                at.port()
            );
        }
        let file = folder.path().join("unbound.conf");
        std::fs::write(&file, text)?;
        let log = std::fs::File::create(folder.path().join("log"))?;
        let program = daemon::find("unbound", "unbound").context("unbound is not there")?;
        let child = program
            .command()
            .args(["-d", "-c"])
            .arg(&file)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .context("unbound cannot be started")?;
        let mut unbound = Self {
            address,
            child,
            folder,
        };
        unbound.wait()?;
        Ok(unbound)
    }

    /// What it logged so far.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.log_file()).unwrap_or_default()
    }

    fn log_file(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn wait(&mut self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                anyhow::bail!("unbound ended with {status}: {}", self.log());
            }
            let answer = dig(self.address, &["localhost.", "A", "+recurse", "+time=1"]);
            if answer.status == "NOERROR" {
                return Ok(());
            }
        }
        anyhow::bail!("unbound does not answer: {}", self.log())
    }
}

impl Drop for Unbound {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// One thread, no privileges, nothing from outside this machine; what comes from it is not a mistake.
const FIXED: &str = " do-daemonize: no
 chroot: \"\"
 username: \"\"
 pidfile: \"\"
 use-syslog: no
 logfile: \"\"
 verbosity: 1
 val-log-level: 2
 num-threads: 1
 so-rcvbuf: 0
 so-sndbuf: 0
 do-ip6: no
 do-not-query-localhost: no
 root-hints: \"\"
 module-config: \"subnetcache validator iterator\"
 send-client-subnet: 127.0.0.1
 client-subnet-always-forward: yes
 max-client-subnet-ipv4: 24
 aggressive-nsec: yes
 qname-minimisation: yes
 harden-dnssec-stripped: yes
 harden-algo-downgrade: yes
 val-bogus-ttl: 0
 val-sig-skew-min: 0
 cache-min-ttl: 0
";
