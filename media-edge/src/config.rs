//! The edge's configuration file. Relative paths are relative to the file's folder.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use service::config::ConfigError;

/// Everything an operator can say about an edge. Without any of it the edge serves `titles/` on loopback.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The edge's name in the traffic map; other edges and tickets know it by that.
    pub name: String,
    /// Where players connect (RTSP over TCP; a pair of UDP ports for media is opened at the same addresses).
    pub listen: Vec<SocketAddr>,
    /// Where other edges connect (QUIC over UDP).
    pub handoff: SocketAddr,
    /// Metrics, health, session list, drain. Keep it on loopback.
    pub admin: SocketAddr,
    /// The folder of titles, one sub-folder each.
    pub titles: PathBuf,
    /// The edge's Ed25519 key; created on first use.
    pub identity: PathBuf,
    /// Where the traffic map comes from; without it the edge serves but cannot hand sessions on.
    pub releases: Option<Releases>,
    /// Edges, by their names in the map, to ask for titles that are missing here.
    pub sources: Vec<String>,
    /// The file that measurement lines from players' race reports are appended to.
    pub reports: Option<PathBuf>,
    /// Networks, as `ADDRESS/LENGTH`, whose players are believed when they state another client network than their own
    /// address. Loopback always is: there the address says nothing.
    pub report_clients_believed: Vec<String>,
    /// Start a title again when it ends, as a channel does.
    pub repeat_titles: bool,
    /// How much the edge takes on.
    pub limits: Limits,
}

/// The release folder and what is believed in it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    /// The folder of releases.
    pub folder: PathBuf,
    /// File with the publisher's public key.
    pub trusted_key: PathBuf,
    /// File that remembers the highest generation seen, so that an old map cannot be played back.
    pub state: PathBuf,
}

/// How much the edge takes on.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Limits {
    /// Most sessions; more are redirected, or refused with 453.
    pub sessions: usize,
    /// Above this many sessions the edge hands some on to others.
    pub sessions_soft: usize,
    /// Most connections from one address.
    pub connections_per_source: usize,
    /// A session without any sign of life for this long is ended, seconds.
    pub session_timeout_seconds: u64,
    /// A session is not moved for load before it has been here this long, seconds: nobody is sent to and fro.
    pub handoff_min_stay_seconds: u64,
    /// Memory for titles pulled from other edges, octets.
    pub pulled_octets: usize,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            name: "edge".to_owned(),
            listen: vec![SocketAddr::from(([127, 0, 0, 1], 8554))],
            handoff: SocketAddr::from(([127, 0, 0, 1], 8555)),
            admin: SocketAddr::from(([127, 0, 0, 1], 9401)),
            titles: PathBuf::from("titles"),
            identity: PathBuf::from("edge.key"),
            releases: None,
            sources: Vec::new(),
            reports: None,
            report_clients_believed: Vec::new(),
            repeat_titles: false,
            limits: Limits::default(),
        }
    }
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            sessions: 1_000,
            sessions_soft: 900,
            connections_per_source: 100,
            session_timeout_seconds: 60,
            handoff_min_stay_seconds: 10,
            pulled_octets: 256 << 20,
        }
    }
}

impl Config {
    /// Reads the file and resolves its paths.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config = service::config::load(path)?;
        config.resolve(path);
        Ok(config)
    }

    fn resolve(&mut self, file: &Path) {
        let releases = self
            .releases
            .iter_mut()
            .flat_map(|r| [&mut r.folder, &mut r.trusted_key, &mut r.state]);
        let paths = [&mut self.titles, &mut self.identity].into_iter();
        for path in paths.chain(&mut self.reports).chain(releases) {
            *path = service::config::beside(file, path);
        }
    }

    /// What is wrong with the values, one sentence each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        if !rtsp::locator::is_title(&self.name) {
            problems.push(format!(
                "name {:?} may have letters, digits, `.`, `-`, `_`, and at most 64 of them",
                self.name
            ));
        }
        if self.listen.is_empty() {
            problems.push("listen names no address, so no player can connect".to_owned());
        }
        if self.limits.sessions_soft > self.limits.sessions {
            problems.push("limits.sessions_soft is above limits.sessions".to_owned());
        }
        if self.limits.session_timeout_seconds < 5 {
            problems
                .push("limits.session_timeout_seconds below 5 ends healthy sessions".to_owned());
        }
        for network in &self.report_clients_believed {
            if crate::report::parse_network(network).is_none() {
                problems.push(format!(
                    "report_clients_believed: {network:?} is not ADDRESS/LENGTH"
                ));
            }
        }
        problems
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_default_has_no_problems() {
        assert_eq!(Config::default().problems(), Vec::<String>::new());
    }

    #[test]
    fn the_deployed_example_loads() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/media-edge.toml");
        let config = Config::load(&example).unwrap();
        assert_eq!(config.problems(), Vec::<String>::new());
        assert!(config.titles.starts_with(example.parent().unwrap()));
    }

    #[test]
    fn unknown_keys_are_refused() {
        assert!(service::config::parse::<Config>("x.toml", "listne = []\n").is_err());
    }

    #[test]
    fn contradictions_are_named() {
        let mut config = Config {
            name: "../x".into(),
            listen: vec![],
            ..Config::default()
        };
        config.limits.sessions = 1;
        assert_eq!(config.problems().len(), 3);
    }
}
