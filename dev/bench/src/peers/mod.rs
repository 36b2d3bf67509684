//! Other name servers beside ours: each gets the same zones, one worker thread, and a folder of its own.

mod bind;
mod gdnsd;
mod knot;
mod nsd;
mod pdns;

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use signpost_tests::{daemon, port};

use crate::process::Server;
use crate::questions::Questions;
use crate::works::geo::{self, Kind};

/// Which name server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(crate) enum Peer {
    /// gdnsd: small and fast, knows geography.
    Gdnsd,
    /// Knot DNS.
    Knot,
    /// NSD.
    Nsd,
    /// BIND.
    Bind,
    /// PowerDNS.
    Pdns,
}

/// A zone and its file.
pub(crate) struct ZoneFile {
    /// With the final dot.
    pub(crate) origin: &'static str,
    pub(crate) path: PathBuf,
}

/// What a peer is to serve.
pub(crate) struct Setup {
    /// Its own; it exists.
    pub(crate) folder: PathBuf,
    pub(crate) dns: SocketAddr,
    pub(crate) zones: Vec<ZoneFile>,
    /// Answer by client in the zone of [`geo`] as well, if it can.
    pub(crate) by_client: bool,
    /// Further sections for Knot's configuration.
    pub(crate) more: String,
}

impl Peer {
    /// In the table and in JSON.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Peer::Gdnsd => "gdnsd",
            Peer::Knot => "knot",
            Peer::Nsd => "nsd",
            Peer::Bind => "bind",
            Peer::Pdns => "pdns",
        }
    }

    /// The program and the Debian package that has it.
    fn program(self) -> (&'static str, &'static str) {
        match self {
            Peer::Gdnsd => ("gdnsd", "gdnsd"),
            Peer::Knot => ("knotd", "knot"),
            Peer::Nsd => ("nsd", "nsd"),
            Peer::Bind => ("named", "bind9"),
            Peer::Pdns => ("pdns_server", "pdns-server"),
        }
    }

    /// The signal at which it looks for new zone files, if there is one.
    pub(crate) fn rereads_at(self) -> Option<Signal> {
        match self {
            Peer::Knot | Peer::Nsd | Peer::Bind => Some(Signal::HUP),
            Peer::Gdnsd | Peer::Pdns => None,
        }
    }

    /// What it answers by client subnet, if anything.
    pub(crate) fn by_client(self) -> Option<Questions> {
        match self {
            Peer::Gdnsd => Some(geo::clients(Kind::Addresses)),
            Peer::Knot if knot::geoip().is_some() => Some(geo::clients(Kind::Services)),
            _ => None,
        }
    }

    /// Starts it over these zones; it may not answer yet. `None`, after saying so, where it is not installed.
    pub(crate) fn start(
        self,
        folder: &Path,
        zones: Vec<ZoneFile>,
        by_client: bool,
    ) -> anyhow::Result<Option<Server>> {
        let dns = port::free()?;
        let setup = Setup {
            folder: folder.join(format!("{}-{}", self.name(), dns.port())),
            dns,
            zones,
            by_client,
            more: String::new(),
        };
        let Some(mut command) = self.prepare(&setup)? else {
            return Ok(None);
        };
        Server::start(&mut command, dns, &setup.folder).map(Some)
    }

    /// Writes its configuration, and gives the command that runs it; `None` where it is not installed.
    pub(crate) fn prepare(self, setup: &Setup) -> anyhow::Result<Option<Command>> {
        let (program, package) = self.program();
        let Some(tool) = daemon::find(program, package) else {
            return Ok(None);
        };
        fs::create_dir_all(&setup.folder)?;
        let mut command: Command = tool.command();
        match self {
            Peer::Gdnsd => gdnsd::prepare(setup, &mut command)?,
            Peer::Knot => knot::prepare(setup, &mut command)?,
            Peer::Nsd => nsd::prepare(setup, &mut command)?,
            Peer::Bind => bind::prepare(setup, &mut command)?,
            Peer::Pdns => pdns::prepare(setup, &mut command)?,
        }
        Ok(Some(command))
    }

    /// What it calls itself, for the table; empty where it does not say.
    pub(crate) fn version(self) -> String {
        let (program, package) = self.program();
        let flag = match self {
            Peer::Knot | Peer::Pdns => "--version",
            Peer::Nsd | Peer::Bind => "-v",
            Peer::Gdnsd => "-V",
        };
        let Some(tool) = daemon::find(program, package) else {
            return String::new();
        };
        let Ok(output) = tool.command().arg(flag).output() else {
            return String::new();
        };
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let numbers = text.split(|c: char| !(c.is_ascii_digit() || c == '.'));
        let version = numbers.map(|word| word.trim_matches('.'));
        let mut version = version.filter(|word| word.split('.').count() >= 3);
        version.next().unwrap_or_default().to_owned()
    }
}
