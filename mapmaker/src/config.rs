//! What `mapmaker run` is told: its files, and how often to look at them.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use serde::Deserialize;
use service::config::{ConfigError, beside};

use crate::build::BuildOptions;
use crate::inputs::Files;

/// The configuration (TOML, unknown keys refused).
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// What the map is made from.
    pub world: PathBuf,
    /// Which services it is made for.
    pub services: PathBuf,
    /// Measurements that edges and players append to, besides those that `world` names; `*` stands for any
    /// characters.
    pub measurements: Vec<PathBuf>,
    /// Folder that releases are published to.
    pub releases: PathBuf,
    /// Signing key; made on first use, with the public key beside it.
    pub key: PathBuf,
    /// Seconds between looks at the inputs; a map is built when one has changed.
    pub interval_seconds: u64,
    /// Where metrics and health are served over HTTP.
    pub admin: SocketAddr,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            world: "zones/world.toml".into(),
            services: "zones/services.toml".into(),
            measurements: vec!["run/*/measurements.csv".into()],
            releases: "run/releases".into(),
            key: "run/release.key".into(),
            interval_seconds: 10,
            admin: SocketAddr::from((Ipv4Addr::LOCALHOST, 9303)),
        }
    }
}

impl Config {
    /// Reads a configuration file; relative paths in it are relative to its folder.
    ///
    /// # Errors
    /// An unreadable file, or anything wrong in it, with file, line and column.
    pub fn load(path: &Path) -> Result<Config, ConfigError> {
        let mut config: Config = service::config::load(path)?;
        let single = [
            &mut config.world,
            &mut config.services,
            &mut config.releases,
            &mut config.key,
        ];
        for file in single.into_iter().chain(config.measurements.iter_mut()) {
            *file = beside(path, file);
        }
        Ok(config)
    }

    /// What each build is told.
    pub fn build_options(&self) -> BuildOptions {
        BuildOptions {
            files: Files {
                world: self.world.clone(),
                services: self.services.clone(),
                measurements: self.measurements.clone(),
            },
            out: self.releases.clone(),
            key: Some(self.key.clone()),
            ..BuildOptions::default()
        }
    }
}
