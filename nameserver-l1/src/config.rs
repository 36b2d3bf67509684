//! What the operator sets: where to listen and where the files are. Everything has a default that
//! runs on loopback; the zones and services themselves are in their own files, re-read while running.

use std::{
    net::{Ipv4Addr, SocketAddr},
    num::NonZeroU32,
    path::{Path, PathBuf},
};

use nameserver::{
    Settings,
    dnssec::Dnssec,
    dnstap::Dnstap,
    settings::{self, Cookies, Identity, Proxy, RateLimit, Tcp, Tls, UdpPayload, Xdp},
    transfer::Transfer,
};
use serde::Deserialize;
use service::config::ConfigError;
use service::logs::Log;

/// The configuration of one first-level name server (TOML, unknown keys refused).
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Addresses to answer on, UDP and TCP on each; port 0 takes a free one.
    pub listen: Vec<SocketAddr>,
    /// Where metrics, health and `explain` are served over HTTP.
    pub admin: SocketAddr,
    /// UDP threads for each address; 0 means one for each core.
    pub workers: usize,
    /// Largest UDP answer in octets.
    pub udp_payload: UdpPayload,
    /// Interfaces whose UDP queries are taken below the sockets.
    pub xdp: Xdp,
    /// Caps and deadlines of connections.
    pub tcp: Tcp,
    /// TLS, HTTPS and QUIC, and the certificate for them.
    pub tls: Tls,
    /// Balancers in front of the server.
    pub proxy: Proxy,
    /// Proof that a client's address is not forged.
    pub cookies: Cookies,
    /// How many datagrams a source may have answered.
    pub rate_limit: RateLimit,
    /// Which zones are signed.
    pub dnssec: Dnssec,
    /// What the server says about itself.
    pub identity: Identity,
    /// Copies of queries and answers for a collector.
    pub dnstap: Dnstap,
    /// Zones that come from other servers and go to them.
    pub transfer: Transfer,
    /// How the log is written.
    pub log: Log,
    /// Zone files, or folders of `*.zone` files; a single one needs no list. A file `NAME.zone` holds the zone NAME.
    #[serde(deserialize_with = "settings::one_or_more")]
    pub zones: Vec<PathBuf>,
    /// Which names are token services (TOML).
    pub services: PathBuf,
    /// Folder that the mapmaker publishes releases to.
    pub releases: PathBuf,
    /// Public key that releases have to be signed with.
    pub trusted_key: PathBuf,
    /// Remembers the highest generation accepted, so that no older one is taken after a restart.
    pub state: PathBuf,
    /// Seconds after which a release is out of date by its age alone, which answers then say (RFC 8914). Only for maps that
    /// are published regularly, as one that does not change is not published again.
    pub stale_seconds: Option<NonZeroU32>,
    /// Keys that seal tokens; the second level reads the same file.
    pub token_keys: PathBuf,
}

impl Default for Config {
    /// Loopback, with the worked example's ports and the files beside the configuration.
    fn default() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5301))],
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9301)),
            workers: 0,
            udp_payload: UdpPayload::default(),
            xdp: Xdp::default(),
            tcp: Tcp::default(),
            tls: Tls::default(),
            proxy: Proxy::default(),
            cookies: Cookies::default(),
            rate_limit: RateLimit::default(),
            dnssec: Dnssec::default(),
            identity: Identity::default(),
            dnstap: Dnstap::default(),
            transfer: Transfer::default(),
            log: Log::default(),
            zones: vec!["zones".into()],
            services: "zones/services.toml".into(),
            releases: "run/releases".into(),
            trusted_key: "run/release.pub".into(),
            state: "run/nameserver-l1.state".into(),
            stale_seconds: None,
            token_keys: "run/token-keys.toml".into(),
        }
    }
}

impl Config {
    /// Reads a configuration file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// An unreadable file, TOML that does not parse, an unknown key or a value of the wrong type,
    /// each with file, line and column.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = service::config::load(path)?;
        Ok(config.beside(path))
    }

    /// What both levels have in common.
    pub fn settings(&self) -> Settings {
        Settings {
            listen: self.listen.clone(),
            admin: self.admin,
            workers: self.workers,
            udp_payload: self.udp_payload,
            xdp: self.xdp.clone(),
            tcp: self.tcp,
            tls: self.tls.clone(),
            proxy: self.proxy.clone(),
            cookies: self.cookies.clone(),
            rate_limit: self.rate_limit.clone(),
            dnssec: self.dnssec.clone(),
            identity: self.identity.clone(),
            dnstap: self.dnstap.clone(),
            transfer: self.transfer.clone(),
        }
    }

    fn beside(mut self, file: &Path) -> Self {
        let files = [
            &mut self.services,
            &mut self.releases,
            &mut self.trusted_key,
            &mut self.state,
            &mut self.token_keys,
        ];
        let files = files.into_iter().chain(&mut self.zones);
        for path in files.chain(settings::paths(
            &mut self.tls,
            &mut self.cookies,
            &mut self.dnssec,
            &mut self.dnstap,
            &mut self.transfer,
        )) {
            *path = service::config::beside(file, path);
        }
        self
    }
}
