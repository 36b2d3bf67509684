//! What the operator sets: where to listen, where the files are, how edges are probed. Everything has a default that runs
//! on loopback; zones, services, keys and releases are in files of their own, re-read while running.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nameserver::Settings;
use nameserver::dnssec::Dnssec;
use nameserver::dnstap::Dnstap;
use nameserver::settings::{self, Cookies, Identity, Proxy, RateLimit, Tcp, Tls, UdpPayload, Xdp};
use nameserver::transfer::Transfer;
use serde::Deserialize;
use service::config::ConfigError;
use service::logs::Log;

/// Most addresses in one answer: eight AAAA records and a token fit into 512 octets.
pub const ANSWERS_MAX: usize = 8;

/// The configuration of one second-level name server (TOML, unknown keys refused).
#[derive(Clone, Debug, Deserialize)]
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
    /// Zone files, or folders of `*.zone` files; a single one needs no list. Those that `services` names as token zones hold tokens.
    #[serde(deserialize_with = "settings::one_or_more")]
    pub zones: Vec<PathBuf>,
    /// Which zones are token zones, their TTL, and the profile of each service (TOML).
    pub services: PathBuf,
    /// Folder that the mapmaker publishes releases to.
    pub releases: PathBuf,
    /// Public keys that releases have to be signed with; one of them is enough.
    pub trusted_key: PathBuf,
    /// Remembers the highest generation accepted, so that no older one is taken after a restart.
    pub state: PathBuf,
    /// Seconds after which a release is out of date by its age alone, which answers then say (RFC 8914). Only for maps that
    /// are published regularly, as one that does not change is not published again.
    pub stale_seconds: Option<NonZeroU32>,
    /// Keys that open tokens; the first level reads the same file.
    pub token_keys: PathBuf,
    /// Addresses in an answer at most, 1 to 8.
    pub answers: usize,
    /// TTL of addresses in seconds, where `services` says nothing about the token zone.
    pub ttl: u32,
    /// Region for tokens whose region and placement the map no longer knows; without it they get SERVFAIL.
    pub default_region: Option<String>,
    /// How edges are probed.
    pub probe: Probe,
}

/// RTSP OPTIONS probes of every edge address.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Probe {
    /// Milliseconds from one probe of an address to the next.
    pub interval_ms: u64,
    /// Milliseconds that connecting and answering may take together.
    pub timeout_ms: u64,
    /// Good probes in a row that make a dead address live again.
    pub rise: u32,
    /// Failed probes in a row that make a live address dead.
    pub fall: u32,
}

impl Default for Config {
    /// Loopback, with the worked example's ports and the files beside the configuration.
    fn default() -> Config {
        Config {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 5302))],
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9302)),
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
            state: "run/nameserver-l2.state".into(),
            stale_seconds: None,
            token_keys: "run/token-keys.toml".into(),
            answers: 3,
            ttl: 10,
            default_region: None,
            probe: Probe::default(),
        }
    }
}

impl Default for Probe {
    /// A dead edge leaves the answers after two failed probes: within three seconds.
    fn default() -> Probe {
        Probe {
            interval_ms: 1000,
            timeout_ms: 800,
            rise: 2,
            fall: 2,
        }
    }
}

impl Probe {
    /// From one probe of an address to the next; never below ten milliseconds.
    pub fn interval(&self) -> Duration {
        Duration::from_millis(self.interval_ms.max(10))
    }

    /// What one probe may take.
    pub fn timeout(&self) -> Duration {
        Duration::from_millis(self.timeout_ms.max(1))
    }
}

impl Config {
    /// Reads a configuration file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// An unreadable file, TOML that does not parse, an unknown key or a value of the wrong type, each with file, line
    /// and column.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config = service::config::load(path)?;
        let files = [
            &mut config.services,
            &mut config.releases,
            &mut config.trusted_key,
            &mut config.state,
            &mut config.token_keys,
        ];
        let files = files.into_iter().chain(&mut config.zones);
        for file in files.chain(settings::paths(
            &mut config.tls,
            &mut config.cookies,
            &mut config.dnssec,
            &mut config.dnstap,
            &mut config.transfer,
        )) {
            *file = service::config::beside(path, file);
        }
        Ok(config)
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

    /// Addresses in an answer, within 1 and [`ANSWERS_MAX`].
    pub fn answer_count(&self) -> usize {
        self.answers.clamp(1, ANSWERS_MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deployed_example_is_read_and_its_paths_are_beside_it() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nameserver-l2.toml");
        let config = Config::load(&path).unwrap();
        assert_eq!(config.listen, Config::default().listen);
        assert_eq!(config.admin, Config::default().admin);
        assert!(
            config.zones.iter().all(|zone| zone.is_file()),
            "{:?}",
            config.zones
        );
        assert!(config.services.is_file());
    }

    #[test]
    fn the_example_spells_the_defaults_out() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nameserver-l2.toml");
        let (example, default) = (Config::load(&path).unwrap(), Config::default());
        let mut settings = example.settings();
        // Paths of the example's.
        settings.dnssec.keys = default.settings().dnssec.keys;
        settings.transfer.folder = default.settings().transfer.folder;
        let (settings, defaults) = (
            format!("{settings:#?}"),
            format!("{:#?}", default.settings()),
        );
        assert_eq!(settings, defaults);
        let program = |config: &Config| format!("{:?} {:?}", config.answers, config.probe);
        assert_eq!(program(&example), program(&default));
    }

    #[test]
    fn what_the_example_shows_as_a_comment_is_read_when_it_is_none() {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/nameserver-l2.toml");
        let text = settings::uncommented(&std::fs::read_to_string(path).unwrap());
        let config: Config = service::config::parse("l2.toml", &text).unwrap();
        assert!(
            config.dnstap.socket.is_some() && config.cookies.secrets.is_some(),
            "{text}"
        );
    }

    #[test]
    fn a_misspelt_key_is_named() {
        let error = service::config::parse::<Config>("l2.toml", "[probe]\nintervall_ms = 5\n");
        let text = error.unwrap_err().to_string();
        assert!(
            text.starts_with("l2.toml:2:1: error: unknown field `intervall_ms`"),
            "{text}"
        );
        assert!(text.ends_with("(did you mean `interval_ms`?)"), "{text}");
    }

    #[test]
    fn the_answer_count_stays_within_its_bounds() {
        for (written, expected) in [(0, 1), (3, 3), (99, ANSWERS_MAX)] {
            assert_eq!(
                Config {
                    answers: written,
                    ..Config::default()
                }
                .answer_count(),
                expected
            );
        }
    }
}
