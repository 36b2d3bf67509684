//! Other people's resolvers between clients and us: Unbound and PowerDNS Recursor, both told to pass client subnets on.
//! Each is on a free port of 127.0.0.1, knows our zones and no other server, and is ended with the test.

use std::{
    fmt::Write,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::Path,
    process::{Child, Stdio},
    time::{Duration, Instant},
};

use signpost_tests::{daemon, port};
use tempfile::TempDir;

use crate::{exchange::Client, question::Question};

/// Which resolver.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// NLnet Labs', 1.17 in Debian 12, with its subnet cache.
    Unbound,
    /// PowerDNS', 4.8 in Debian 12.
    Recursor,
}

impl Kind {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Unbound, Self::Recursor];

    /// The program and the Debian package that has it.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Unbound => ("unbound", "unbound"),
            Self::Recursor => ("pdns_recursor", "pdns-recursor"),
        }
    }
}

/// A running resolver.
#[derive(Debug)]
pub struct Resolver {
    /// Which.
    pub kind: Kind,
    /// UDP and TCP.
    pub dns: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// A zone, with the final dot, and the server that has it.
pub type Stub<'a> = (&'a str, SocketAddr);

/// How long a resolver may take to start.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports are free when picked, which somebody else may notice too.
const TRIES: usize = 3;

impl Resolver {
    /// Starts it and waits until it answers for the first zone; `None`, after saying so, where it is not installed.
    ///
    /// # Panics
    /// When it does not come up, with what it wrote; and where it is missing though tools are required.
    pub fn start(kind: Kind, stubs: &[Stub<'_>]) -> Option<Self> {
        let (program, package) = kind.program();
        let program = daemon::find(program, package)?;
        let mut said = String::new();
        for _ in 0..TRIES {
            let mut resolver =
                Self::launch(kind, &program, stubs).expect("a resolver can be launched");
            if resolver.is_ready(stubs) {
                return Some(resolver);
            }
            said = fs::read_to_string(resolver.folder.path().join("log")).unwrap_or_default();
        }
        panic!("{kind:?} does not start:\n{said}");
    }

    fn launch(kind: Kind, program: &daemon::Tool, stubs: &[Stub<'_>]) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let dns = port::free()?;
        let mut command = program.command();
        match kind {
            Kind::Unbound => {
                let file = folder.path().join("unbound.conf");
                fs::write(&file, unbound(folder.path(), dns, stubs))?;
                command.args(["-d", "-c"]).arg(file);
            }
            Kind::Recursor => {
                fs::write(
                    folder.path().join("recursor.conf"),
                    recursor(folder.path(), dns, stubs),
                )?;
                command.arg(format!("--config-dir={}", folder.path().display()));
            }
        }
        let log = File::create(folder.path().join("log"))?;
        command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        Ok(Self {
            kind,
            dns,
            child: command.spawn()?,
            folder,
        })
    }

    fn is_ready(&mut self, stubs: &[Stub<'_>]) -> bool {
        let until = Instant::now() + PATIENCE;
        let mut client = Client::new(self.dns);
        let mut soa = Question::new(stubs[0].0, 6);
        soa.flags = 0x0100;
        let soa = soa.octets(1);
        let answered = |reply: &[u8]| reply.len() > 12 && reply[3] & 0xF == 0 && reply[7] == 1;
        while Instant::now() < until && matches!(self.child.try_wait(), Ok(None)) {
            let reply = client.udp_within(&soa, Duration::from_millis(200));
            if reply.is_some_and(|reply| answered(&reply)) {
                return true;
            }
        }
        false
    }
}

impl Drop for Resolver {
    fn drop(&mut self) {
        daemon::end(&mut self.child);
    }
}

fn unbound(folder: &Path, dns: SocketAddr, stubs: &[Stub<'_>]) -> String {
    let mut text = format!(
        "server:\n  interface: {ip}@{port}\n  port: {port}\n  username: \"\"\n  chroot: \"\"\n  directory: {folder:?}\n  \
         pidfile: \"\"\n  do-daemonize: no\n  use-syslog: no\n  logfile: \"\"\n  num-threads: 1\n  do-ip6: no\n  \
         do-not-query-localhost: no\n  module-config: \"subnetcache iterator\"\n  send-client-subnet: 127.0.0.1\n  \
         client-subnet-always-forward: yes\n  max-client-subnet-ipv4: 24\n  max-client-subnet-ipv6: 56\n  \
         qname-minimisation: yes\n  use-caps-for-id: yes\n  local-zone: \"test.\" nodefault\n  \
         msg-cache-size: 64m\n  rrset-cache-size: 64m\n  outbound-msg-retry: 5\n  infra-cache-min-rtt: 1000\n",
        ip = dns.ip(),
        port = dns.port(),
    );
    for (zone, server) in stubs {
        let (ip, port) = (server.ip(), server.port());
        writeln!(
            text,
            "stub-zone:\n  name: {zone:?}\n  stub-addr: {ip}@{port}"
        )
        .expect("a string takes all");
    }
    text + "remote-control:\n  control-enable: no\n"
}

fn recursor(folder: &Path, dns: SocketAddr, stubs: &[Stub<'_>]) -> String {
    let zones: Vec<String> = stubs
        .iter()
        .map(|(zone, server)| format!("{zone}={server}"))
        .collect();
    format!(
        "local-address={ip}\nlocal-port={port}\nsocket-dir={at}\nconfig-dir={at}\ndaemon=no\nthreads=1\n\
         pdns-distributes-queries=no\nforward-zones={zones}\nallow-from=127.0.0.0/8\ndont-query=\nhint-file=no\n\
         security-poll-suffix=\ndnssec=off\nedns-subnet-allow-list=127.0.0.0/8\nuse-incoming-edns-subnet=yes\n\
         ecs-add-for=127.0.0.0/8\nqname-minimization=yes\nwrite-pid=no\n",
        ip = dns.ip(),
        port = dns.port(),
        at = folder.display(),
        zones = zones.join(","),
    )
}
