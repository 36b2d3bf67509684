//! Everything our servers read, in a folder of its own, and the servers over it.

use std::env;
use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::rc::Rc;
use std::sync::Arc;

use anyhow::Context;
use distribution::{SigningKey, keys, release};
use nameserver::dnssec::command::{Action, Keys};
use nameserver::dnssec::{self, Moment, command};
use route_token::KeyRing;
use rustls::{ClientConfig, RootCertStore};
use signpost_tests::port;
use traffic_map::Map;

use crate::load::stream::SERVER_NAME;
use crate::process::Server;
use crate::works::{statics, tokens};
use crate::world::{self, Scale};

/// Releases that are kept.
const KEEP: usize = 3;
/// Folder of the keys that sign.
const ZONE_KEYS: &str = "zone-keys";
/// In seconds.
const MONTH: u64 = 30 * 86_400;
/// When releases say they were built, in Unix seconds: the same every time.
const BUILT_AT: u64 = 1_790_000_000;

/// Which of our servers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Level {
    /// nameserver-l1.
    L1,
    /// nameserver-l2.
    L2,
}

impl Level {
    /// Its program.
    pub(crate) fn program(self) -> &'static str {
        match self {
            Level::L1 => "nameserver-l1",
            Level::L2 => "nameserver-l2",
        }
    }

    /// Its configuration's place in the site.
    pub(crate) fn config(self) -> &'static str {
        match self {
            Level::L1 => "l1.toml",
            Level::L2 => "l2.toml",
        }
    }
}

/// Files, keys and releases.
pub(crate) struct Site {
    pub(crate) folder: PathBuf,
    pub(crate) ring: Rc<KeyRing>,
    key: SigningKey,
    scale: Scale,
    rtsp_port: u16,
    /// Threads of each server for UDP.
    pub(crate) workers: usize,
}

impl Site {
    /// Writes zones, services and keys; no release yet. Edges answer probes on `rtsp_port`.
    pub(crate) fn new(folder: &Path, scale: &Scale, rtsp_port: u16) -> anyhow::Result<Site> {
        let site = Site {
            folder: folder.to_owned(),
            ring: Rc::new(KeyRing::from_toml(&KeyRing::generate([7; 32]))?),
            key: keys::generate(),
            scale: *scale,
            rtsp_port,
            workers: 1,
        };
        fs::create_dir_all(site.path("zones"))?;
        keys::write_public_key(&site.path("release.pub"), &site.key.verifying_key())?;
        site.write("token-keys.toml", &site.ring.to_toml())?;
        let owner_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(site.path("token-keys.toml"), owner_only)?;
        site.write("services.toml", &tokens::services(scale.services))?;
        site.write("zones/stream.test.zone", &tokens::zone(scale.services))?;
        site.write("zones/media.test.zone", &statics::zone(statics::NAMES, 1))?;
        site.write("l2/edge.stream.test.zone", tokens::TOKEN_ZONE)?;
        for level in [Level::L1, Level::L2] {
            let ephemeral = SocketAddr::from(([127, 0, 0, 1], 0));
            site.configure(level, level.config(), ephemeral, ephemeral, "")?;
        }
        Ok(site)
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// Writes a file the way careful editors do: aside, then over the old one.
    pub(crate) fn write(&self, name: &str, text: &str) -> anyhow::Result<()> {
        let (path, aside) = (self.path(name), self.path(&format!("{name}.new")));
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        fs::write(&aside, text).and_then(|()| fs::rename(&aside, &path))?;
        Ok(())
    }

    /// How many services there are.
    pub(crate) fn services(&self) -> usize {
        self.scale.services
    }

    /// The map of a generation, in the site's size.
    pub(crate) fn map(&self, generation: u64) -> anyhow::Result<Map> {
        world::map(&self.scale, generation, self.rtsp_port)
    }

    /// Publishes an encoded map as the newest release.
    pub(crate) fn publish(&self, map: &[u8]) -> anyhow::Result<u64> {
        let blobs = [("map", map)];
        let folder = self.path("releases");
        Ok(release::publish(
            &folder, &self.key, &blobs, BUILT_AT, KEEP,
        )?)
    }

    /// The release in force, as a server reads it.
    pub(crate) fn read_back(&self) -> anyhow::Result<Map> {
        let release = release::load(&self.path("releases"), &[self.key.verifying_key()])?;
        Ok(Map::decode(release.blob("map").context("a map")?)?)
    }

    /// What oracles know of the release in force.
    pub(crate) fn known(&self) -> anyhow::Result<tokens::Known> {
        Ok(tokens::Known {
            maps: Rc::new(vec![self.read_back()?]),
            ring: Rc::clone(&self.ring),
            services: self.scale.services,
            edges: self.scale.edges,
        })
    }

    /// Writes a configuration over this site; `more` is added to it.
    pub(crate) fn configure(
        &self,
        level: Level,
        file: &str,
        dns: SocketAddr,
        admin: SocketAddr,
        more: &str,
    ) -> anyhow::Result<()> {
        let zones = match level {
            Level::L1 => "zones",
            Level::L2 => "l2",
        };
        let text = format!(
            "listen = [\"{dns}\"]\nadmin = \"{admin}\"\nworkers = {}\nzones = \"{zones}\"\n\
             services = \"services.toml\"\nreleases = \"releases\"\ntrusted_key = \"release.pub\"\n\
             state = \"{file}.state\"\ntoken_keys = \"token-keys.toml\"\n{more}",
            self.workers
        );
        self.write(file, &text)
    }

    /// Makes a key for the services' zone, and the lines of a configuration that sign it. The budget is out of the way; the
    /// cache holds `cache_mebibytes`.
    pub(crate) fn sign(&self, cache_mebibytes: u32) -> anyhow::Result<String> {
        let table = format!(
            "[dnssec]\nzones = [\"{}\"]\nkeys = {ZONE_KEYS:?}\nsignatures_per_second = 4000000\n\
             cache_mebibytes = {cache_mebibytes}\n",
            tokens::ZONE
        );
        if !self.path(ZONE_KEYS).exists() {
            let zone = tokens::ZONE.parse()?;
            let generate = Action::Generate {
                zone,
                keys: Keys::Csk,
                algorithm: None,
            };
            self.on_keys(&generate, dnssec::now())?;
        }
        Ok(table)
    }

    /// The DS records that the parent of the signed zone has, as lines of a zone file, once every cache that knows the zone
    /// unsigned has forgotten it.
    pub(crate) fn ds(&self) -> anyhow::Result<String> {
        let zone = tokens::ZONE.parse()?;
        self.on_keys(&Action::Ds { zone }, Moment(dnssec::now().0 + MONTH))
    }

    /// What an operator does with the keys, and what that prints.
    fn on_keys(&self, action: &Action, now: Moment) -> anyhow::Result<String> {
        let text = format!("zones = [{:?}]\nkeys = {ZONE_KEYS:?}\n", tokens::ZONE);
        let dnssec = dnssec::Dnssec {
            keys: self.path(ZONE_KEYS),
            ..toml::from_str(&text)?
        };
        command::run(&dnssec, action, now)
    }

    /// Makes a certificate, and the lines of a configuration that show it on `listen`; and what a client trusts.
    pub(crate) fn certify(&self, listen: SocketAddr) -> anyhow::Result<(String, ClientConfig)> {
        let made = rcgen::generate_simple_self_signed([SERVER_NAME.to_owned()])?;
        self.write("tls.crt", &made.cert.pem())?;
        self.write("tls.key", &made.signing_key.serialize_pem())?;
        let owner_only = fs::Permissions::from_mode(0o600);
        fs::set_permissions(self.path("tls.key"), owner_only)?;
        let table = format!(
            "[tls]\ncertificate = \"tls.crt\"\nkey = \"tls.key\"\nlisten_tls = [\"{listen}\"]\n"
        );
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone())?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let client = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok((table, client))
    }

    /// A server's command over a configuration of the site.
    pub(crate) fn command(
        &self,
        level: Level,
        programs: Option<&Path>,
        file: &str,
    ) -> anyhow::Result<Command> {
        let mut command = match programs {
            Some(folder) => {
                let mut command = Command::new(folder.join(level.program()));
                command.arg("run");
                command
            }
            None => {
                let mut command = Command::new(env::current_exe()?);
                command.args(["serve", level.program()]);
                command
            }
        };
        command.arg("--config").arg(self.path(file));
        Ok(command)
    }

    /// Starts a server; `programs` is the folder of the real ones, without it this program serves by itself.
    pub(crate) fn start(
        &self,
        level: Level,
        programs: Option<&Path>,
        more: &str,
    ) -> anyhow::Result<Ours> {
        let (dns, admin) = (port::free()?, port::free()?);
        let file = format!("{}-{}.toml", level.program(), dns.port());
        self.configure(level, &file, dns, admin, more)?;
        let mut command = self.command(level, programs, &file)?;
        let server = Server::start(&mut command, dns, &self.folder)?;
        Ok(Ours { server, admin })
    }
}

/// A running server of ours.
pub(crate) struct Ours {
    pub(crate) server: Server,
    admin: SocketAddr,
}

impl Ours {
    /// A number from its metrics: that of the line that begins so; `None` if there is none yet.
    pub(crate) fn metric(&self, line: &str) -> Option<f64> {
        use std::io::{Read, Write};
        let mut stream = std::net::TcpStream::connect(self.admin).ok()?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        )
        .ok()?;
        let mut page = String::new();
        stream.read_to_string(&mut page).ok()?;
        let value = page.lines().find_map(|found| found.strip_prefix(line))?;
        value.trim().parse().ok()
    }
}
