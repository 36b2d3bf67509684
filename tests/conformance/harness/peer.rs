//! Other people's name servers, as oracles: Knot DNS, NSD and BIND over the same zone files, each on a free port of
//! 127.0.0.1 with everything it writes in a folder of its own, and ended with the test.

use std::{
    fmt::Write,
    fs::{self, File},
    io,
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use signpost_tests::{daemon, port};
use tempfile::TempDir;

use crate::exchange::Client;

/// A zone and its file.
#[derive(Debug, Clone)]
pub struct ZoneFile {
    /// With the final dot.
    pub origin: String,
    /// Where it is.
    pub path: PathBuf,
}

/// Which name server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// CZ.NIC's, 3.2 in Debian 12.
    Knot,
    /// NLnet Labs', 4.6 in Debian 12.
    Nsd,
    /// ISC's, 9.18 in Debian 12.
    Bind,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Knot, Self::Nsd, Self::Bind];

    /// The program and the Debian package that has it.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Self::Knot => ("knotd", "knot"),
            Self::Nsd => ("nsd", "nsd"),
            Self::Bind => ("named", "bind9"),
        }
    }
}

/// A running name server of another make.
#[derive(Debug)]
pub struct Peer {
    /// Which.
    pub kind: Kind,
    /// UDP and TCP.
    pub dns: SocketAddr,
    child: Child,
    folder: TempDir,
}

/// How long a server may take to load its zones.
const PATIENCE: Duration = Duration::from_secs(60);
/// Ports are free when picked, which somebody else may notice too.
const TRIES: usize = 3;

impl Peer {
    /// Starts it and waits until it serves every zone; `None`, after saying so, where it is not installed.
    ///
    /// # Panics
    /// When it does not come up, with what it wrote; and where it is missing though tools are required.
    pub fn start(kind: Kind, zones: &[ZoneFile]) -> Option<Self> {
        Self::run(kind, zones, None)
    }

    /// The same with cookies of this secret, 32 hexadecimal digits, which BIND and Knot insist on.
    ///
    /// # Panics
    /// As above.
    pub fn with_cookies(kind: Kind, zones: &[ZoneFile], secret: &str) -> Option<Self> {
        Self::run(kind, zones, Some(secret))
    }

    fn run(kind: Kind, zones: &[ZoneFile], cookies: Option<&str>) -> Option<Self> {
        let (program, package) = kind.program();
        let program = daemon::find(program, package)?;
        let mut said = String::new();
        for _ in 0..TRIES {
            let launched = Self::launch(kind, &program, zones, cookies);
            let mut peer = launched.expect("a server can be launched");
            match peer.until_ready(zones) {
                Ok(()) => return Some(peer),
                Err(log) => said = log,
            }
        }
        panic!("{kind:?} does not start:\n{said}");
    }

    /// Starts it at an address, with a configuration that is made for the folder it may write to, and does not wait;
    /// `None`, after saying so, where it is not installed.
    ///
    /// # Panics
    /// When it cannot be launched; and where it is missing though tools are required.
    pub fn configured(
        kind: Kind,
        dns: SocketAddr,
        text: impl FnOnce(&Path) -> String,
    ) -> Option<Self> {
        let (program, package) = kind.program();
        let program = daemon::find(program, package)?;
        let peer = Self::launch_with(kind, &program, dns, text);
        Some(peer.expect("a server can be launched"))
    }

    /// Has it read its zone files anew.
    ///
    /// # Panics
    /// When it is not there any more.
    pub fn reload(&self) {
        let process = self.child.id().to_string();
        let asked = Command::new("kill").args(["-HUP", &process]).status();
        assert!(asked.is_ok_and(|status| status.success()), "{}", self.log());
    }

    fn launch(
        kind: Kind,
        program: &daemon::Tool,
        zones: &[ZoneFile],
        cookies: Option<&str>,
    ) -> io::Result<Self> {
        let dns = port::free()?;
        Self::launch_with(kind, program, dns, |folder| match kind {
            Kind::Knot => knot(folder, dns, zones, cookies),
            Kind::Nsd => nsd(folder, dns, zones, cookies),
            Kind::Bind => bind(folder, dns, zones, cookies),
        })
    }

    fn launch_with(
        kind: Kind,
        program: &daemon::Tool,
        dns: SocketAddr,
        text: impl FnOnce(&Path) -> String,
    ) -> io::Result<Self> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("server.conf");
        let arguments: &[&str] = match kind {
            Kind::Knot => &["-c"],
            Kind::Nsd => &["-d", "-c"],
            Kind::Bind => &["-g", "-c"],
        };
        fs::write(&file, text(folder.path()))?;
        let log = File::create(folder.path().join("log"))?;
        let mut command: Command = program.command();
        command.args(arguments).arg(&file).stdin(Stdio::null());
        command.stdout(log.try_clone()?).stderr(log);
        let child = command.spawn()?;
        Ok(Self {
            kind,
            dns,
            child,
            folder,
        })
    }

    /// What it wrote, if it ended or never answers.
    fn until_ready(&mut self, zones: &[ZoneFile]) -> Result<(), String> {
        let until = Instant::now() + PATIENCE;
        let mut client = Client::new(self.dns);
        for zone in zones {
            let soa = crate::question::Question::new(&zone.origin, 6).octets(1);
            let served = |reply: &[u8]| reply.len() > 12 && reply[3] & 0xF == 0 && reply[7] == 1;
            while !client
                .udp_within(&soa, Duration::from_millis(200))
                .is_some_and(|r| served(&r))
            {
                let ended = self.child.try_wait().map_err(|error| error.to_string())?;
                if ended.is_some() || Instant::now() > until {
                    return Err(self.log());
                }
            }
        }
        Ok(())
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Peer {
    /// Asks it to end, so that its own children end as well, and waits for it.
    fn drop(&mut self) {
        daemon::end(&mut self.child);
    }
}

fn knot(folder: &Path, dns: SocketAddr, zones: &[ZoneFile], cookies: Option<&str>) -> String {
    let (module, wanted) = cookies.map_or_else(Default::default, |secret| {
        let module = format!("mod-cookies:\n  - id: default\n    secret: 0x{secret}\n");
        (module, "    global-module: mod-cookies/default\n")
    });
    let mut text = format!(
        "server:\n  listen: {}@{}\n  rundir: {folder:?}\n  udp-workers: 1\n  tcp-workers: 1\n  background-workers: 1\n\
         log:\n  - target: stderr\n    any: warning\n\
         database:\n  storage: {folder:?}\n\
         {module}template:\n  - id: default\n{wanted}    storage: {folder:?}\n    semantic-checks: off\n    zonefile-sync: -1\n    \
         zonefile-load: whole\n    journal-content: none\nzone:\n",
        dns.ip(),
        dns.port(),
    );
    for ZoneFile { origin, path } in zones {
        writeln!(text, "  - domain: {origin}\n    file: {path:?}").expect("a string takes all");
    }
    text
}

fn nsd(folder: &Path, dns: SocketAddr, zones: &[ZoneFile], cookies: Option<&str>) -> String {
    let cookies = cookies.map_or_else(String::new, |secret| {
        format!("  answer-cookie: yes\n  cookie-secret: {secret:?}\n")
    });
    let mut text = format!(
        "server:\n  ip-address: {}@{}\n  username: \"\"\n  chroot: \"\"\n  zonesdir: {folder:?}\n  database: \"\"\n  \
         zonelistfile: \"{at}/zone.list\"\n  xfrdfile: \"{at}/xfrd.state\"\n  xfrdir: {folder:?}\n  \
         pidfile: \"{at}/nsd.pid\"\n  server-count: 1\n  minimal-responses: no\n  rrl-ratelimit: 0\n  \
         rrl-whitelist-ratelimit: 0\n  do-ip6: no\n{cookies}remote-control:\n  control-enable: no\n",
        dns.ip(),
        dns.port(),
        at = folder.display(),
    );
    for ZoneFile { origin, path } in zones {
        writeln!(text, "zone:\n  name: {origin:?}\n  zonefile: {path:?}")
            .expect("a string takes all");
    }
    text
}

fn bind(folder: &Path, dns: SocketAddr, zones: &[ZoneFile], cookies: Option<&str>) -> String {
    let cookies = match cookies {
        None => "answer-cookie no;".to_owned(),
        Some(secret) => format!(
            "answer-cookie yes; require-server-cookie yes; cookie-algorithm siphash24; cookie-secret {secret:?};"
        ),
    };
    let mut text = format!(
        "options {{\n  directory {folder:?};\n  listen-on port {} {{ {}; }};\n  listen-on-v6 {{ none; }};\n  \
         pid-file none;\n  session-keyfile none;\n  recursion no;\n  dnssec-validation no;\n  empty-zones-enable no;\n  \
         minimal-responses no-auth;\n  notify no;\n  allow-transfer {{ none; }};\n  check-names primary ignore;\n  \
         check-integrity no;\n  check-mx ignore;\n  check-spf ignore;\n  check-sibling no;\n  {cookies}\n  zero-no-soa-ttl no;\n  \
         rrset-order {{ order none; }};\n}};\ncontrols {{ }};\n",
        dns.port(),
        dns.ip(),
    );
    for ZoneFile { origin, path } in zones {
        writeln!(text, "zone {origin:?} {{ type primary; file {path:?}; }};")
            .expect("a string takes all");
    }
    text
}
